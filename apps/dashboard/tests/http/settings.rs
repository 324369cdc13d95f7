//! The knobs over HTTP.

use crate::support::{Running, plain_settings};

#[test]
fn settings_change_all_or_nothing() {
    let running = Running::start();
    let before = running.get("/api/settings").body;
    let mut wrong = plain_settings();
    wrong.services.ads.hang = true;
    wrong.services.orders.failure_percent = 101;
    let body = serde_json::to_string(&wrong).unwrap();
    let answer = running.send(format!(
        "PUT /api/settings HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json()["error"],
        "orders: a percentage is at most 100"
    );
    assert_eq!(running.get("/api/settings").body, before);
}

#[test]
fn settings_are_answered_as_set() {
    let running = Running::start();
    let mut settings = plain_settings();
    settings.services.ads.delay_ms = 123;
    settings.policies.timeout_ms = 456;
    running.set(&settings);
    let answer = running.get("/api/settings").json();
    assert_eq!(answer["services"]["ads"]["delay_ms"], 123);
    assert_eq!(answer["policies"]["timeout_ms"], 456);
}
