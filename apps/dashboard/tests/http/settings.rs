//! The knobs over HTTP.

use crate::support::{Dashboard, plain_settings};

#[test]
fn settings_change_all_or_nothing() {
    let dashboard = Dashboard::start();
    let before = dashboard.get("/api/settings").body;
    let mut wrong = plain_settings();
    wrong.services.ads.hang = true;
    wrong.services.orders.failure_percent = 101;
    let body = serde_json::to_string(&wrong).unwrap();
    let answer = dashboard.send(format!(
        "PUT /api/settings HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json()["error"],
        "orders: a percentage is at most 100"
    );
    assert_eq!(dashboard.get("/api/settings").body, before);
}

#[test]
fn settings_are_answered_as_set() {
    let dashboard = Dashboard::start();
    let mut settings = plain_settings();
    settings.services.ads.delay_ms = 123;
    settings.policies.timeout_ms = 456;
    dashboard.set(&settings);
    let answer = dashboard.get("/api/settings").json();
    assert_eq!(answer["services"]["ads"]["delay_ms"], 123);
    assert_eq!(answer["policies"]["timeout_ms"], 456);
}
