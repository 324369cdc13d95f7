//! The page, and what it answers where it can't be put together.

use crate::support::{Dashboard, plain_settings, send_to};
use dashboard::app::Config;
use dashboard::upstream::Options;
use serde_json::json;

#[test]
fn a_page_holds_what_all_services_answer() {
    let page = Dashboard::start().get("/api/pages/7");
    assert_eq!(page.status, 200);
    let page = page.json();
    assert_eq!(page["profile"], json!({"name": "Alice", "city": "Lisbon"}));
    assert_eq!(page["orders"].as_array().unwrap().len(), 3);
    assert_eq!(page["recommendations"].as_array().unwrap().len(), 3);
    assert!(page["ads"]["slogan"].is_string());
}

#[test]
fn a_failing_profile_is_named_and_all_others_are_cancelled() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| {
        let services = &mut settings.services;
        services.profile.delay_ms = 200;
        services.profile.failure_percent = 100;
        services.inventory.hang = true;
        services.prices.hang = true;
        services.recommendations.hang = true;
        services.ads.hang = true;
    });
    let mut stream = dashboard.ask(7);
    dashboard.until("all are called", |seen| {
        seen.as_ref().into_iter().all(|(_, seen)| seen.started == 1)
    });
    let page = crate::support::Answer::read(&mut stream);
    assert_eq!(page.status, 502);
    assert_eq!(page.json()["source"], "profile");
    assert!(
        page.body.contains("failed, as its knob says"),
        "{}",
        page.body
    );
    dashboard.until("all others have noticed", |seen| {
        let others = [
            seen.orders,
            seen.inventory,
            seen.prices,
            seen.recommendations,
            seen.ads,
        ];
        seen.profile.failed == 1
            && others
                .iter()
                .all(|seen| seen.cancelled == 1 && seen.in_flight == 0)
    });
}

#[test]
fn a_user_who_is_not_known_is_404() {
    let page = Dashboard::start().get("/api/pages/99");
    assert_eq!(page.status, 404);
    assert_eq!(page.json()["error"], "profile: there is no user 99");
}

#[test]
fn a_busy_service_is_429_with_its_retry_after() {
    let services = Options {
        at_once: 0,
        ..Options::default()
    };
    let dashboard = Dashboard::start_with(Config {
        services,
        ..Config::default()
    });
    dashboard.set(&plain_settings());
    let page = dashboard.get("/api/pages/7");
    assert_eq!(page.status, 429, "{}", page.body);
    assert_eq!(page.header("retry-after"), Some("1"));
}

#[test]
fn a_late_service_is_504_with_what_was_late_behind_it() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| {
        settings.policies.timeout_ms = 300;
        settings.services.inventory.hang = true;
    });
    let page = dashboard.get("/api/pages/7");
    assert_eq!(page.status, 504);
    // The orders service gives up a little sooner than the front, and returns why, unless the machine is too busy for
    // that.
    let late = page.json()["late"].clone();
    assert!(
        [json!(["inventory"]), json!(["orders"])].contains(&late),
        "{late}"
    );
}

#[test]
fn a_service_says_which_of_those_behind_it_was_late() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| settings.services.inventory.hang = true);
    let orders = dashboard.app().services().orders.address;
    let request =
        "GET /orders/7 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ngrpc-timeout: 300m\r\n\r\n";
    let answer = send_to(orders, request);
    assert_eq!(
        (answer.status, answer.json()["late"].clone()),
        (504, json!(["inventory"]))
    );
}

#[test]
fn one_page_asks_each_service_once_and_keeps_the_connections() {
    let dashboard = Dashboard::start();
    for number in 1..=5 {
        assert_eq!(dashboard.get("/api/pages/7").status, 200);
        let seen = dashboard.counts();
        assert!(
            seen.into_iter().all(|(_, seen)| seen.answered == number),
            "{seen:?}"
        );
        assert_eq!(dashboard.app().open_connections().1, 6);
    }
}

#[test]
fn the_callers_request_id_is_kept() {
    let dashboard = Dashboard::start();
    let page = dashboard.get_with("/api/pages/7", "x-request-id: from-the-test\r\n");
    assert_eq!(page.header("x-request-id"), Some("from-the-test"));
    assert_eq!(page.json()["id"], "from-the-test");
    let replaced = dashboard.get_with("/api/pages/7", "x-request-id: <b>\r\n");
    assert_ne!(replaced.header("x-request-id"), Some("<b>"));
}

#[test]
fn the_files_of_the_page_ask_no_other_host() {
    let dashboard = Dashboard::start();
    let index = dashboard.get("/");
    assert_eq!(index.status, 200);
    assert_eq!(
        index.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = index.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'self'"));
    for path in [
        "/",
        "/style.css",
        "/icon.svg",
        "/app.js",
        "/page.js",
        "/knobs.js",
        "/timeline.js",
        "/stats.js",
    ] {
        let file = dashboard.get(path);
        assert_eq!(file.status, 200, "{path}");
        let without = file.body.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !without.contains("http://") && !without.contains("https://"),
            "{path}"
        );
    }
}
