//! Each policy of the page, by what the services see of it.

use std::time::Duration;

use dashboard::app::Config;
use serde_json::{Value, json};

use crate::support::{Answer, Dashboard, plain_settings};

/// The breaker's state, as the page shows it.
fn breaker(dashboard: &Dashboard) -> Value {
    dashboard.get("/api/stats").json()["breaker"].clone()
}

#[test]
fn what_is_optional_may_fail() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| {
        settings.policies.optional = true;
        settings.services.recommendations.failure_percent = 100;
        settings.services.ads.failure_percent = 100;
    });
    let page = dashboard.get("/api/pages/7");
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(page.json()["profile"]["name"], "Alice");
    assert_eq!(
        (&page.json()["recommendations"], &page.json()["ads"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(dashboard.get("/api/stats").json()["outcomes"]["partial"], 1);
}

#[test]
fn what_is_not_optional_fails_the_page() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| settings.services.ads.failure_percent = 100);
    let page = dashboard.get("/api/pages/7");
    assert_eq!((page.status, &page.json()["source"]), (502, &json!("ads")));
}

#[test]
fn ads_that_hang_leave_time_for_the_answer() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| {
        settings.policies.optional = true;
        settings.policies.timeout_ms = 1_000;
        settings.services.ads.hang = true;
    });
    let page = dashboard.get("/api/pages/7");
    assert_eq!(
        (page.status, &page.json()["ads"]),
        (200, &Value::Null),
        "{}",
        page.body
    );
}

#[test]
fn a_failing_profile_is_asked_three_times() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| {
        settings.policies.retry = true;
        settings.services.profile.failure_percent = 100;
    });
    let page = dashboard.get("/api/pages/7");
    assert_eq!(page.status, 502);
    assert!(page.body.contains("(3 attempts)"), "{}", page.body);
    assert_eq!(dashboard.counts().profile.failed, 3);
}

#[test]
fn a_user_who_is_not_known_is_asked_for_once() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| settings.policies.retry = true);
    assert_eq!(dashboard.get("/api/pages/99").status, 404);
    assert_eq!(dashboard.counts().profile.failed, 1);
}

#[test]
fn slow_recommendations_are_asked_for_twice_and_the_loser_is_cancelled() {
    let dashboard = Dashboard::start();
    let mut settings = plain_settings();
    settings.policies.hedge = true;
    settings.services.recommendations.delay_ms = 600;
    dashboard.set(&settings);
    let mut reader = dashboard.ask(7);
    dashboard.until("the first is called", |seen| {
        seen.recommendations.started == 1
    });
    // The second is to hang, so that the first one wins.
    settings.services.recommendations.hang = true;
    dashboard.app().controls().set_behaviors(settings.services);
    assert_eq!(Answer::read(&mut reader).status, 200);
    dashboard.until("one has answered, one was cancelled", |seen| {
        let seen = seen.recommendations;
        (seen.started, seen.answered, seen.cancelled) == (2, 1, 1)
    });
}

#[test]
fn the_breaker_opens_after_failures_and_closes_once_a_probe_succeeds() {
    let dashboard = Dashboard::start_with(Config {
        breaker_open: Duration::from_secs(2),
        ..Config::default()
    });
    let mut settings = plain_settings();
    settings.policies.optional = true;
    settings.services.recommendations.failure_percent = 100;
    dashboard.set(&settings);
    assert_eq!(breaker(&dashboard), "closed");
    for _ in 0..5 {
        assert_eq!(dashboard.get("/api/pages/7").status, 200);
    }
    assert_eq!(breaker(&dashboard), "open");
    let asked = dashboard.counts().recommendations.started;
    assert_eq!(
        dashboard.get("/api/pages/7").json()["recommendations"],
        Value::Null
    );
    assert_eq!(
        dashboard.counts().recommendations.started,
        asked,
        "an open breaker lets none through"
    );

    settings.services.recommendations.failure_percent = 0;
    dashboard.set(&settings);
    crate::support::eventually(
        "it lets a probe through",
        || breaker(&dashboard) == "half_open",
        || breaker(&dashboard),
    );
    assert!(dashboard.get("/api/pages/7").json()["recommendations"].is_array());
    assert_eq!(breaker(&dashboard), "closed");
}

#[test]
fn an_open_breaker_before_something_that_must_be_there_is_503_with_its_retry_after() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| settings.services.recommendations.failure_percent = 100);
    for _ in 0..5 {
        assert_eq!(dashboard.get("/api/pages/7").status, 502);
    }
    let page = dashboard.get("/api/pages/7");
    assert_eq!(
        (page.status, page.header("retry-after")),
        (503, Some("5")),
        "{}",
        page.body
    );
    assert!(
        page.body.contains("recommendations is open"),
        "{}",
        page.body
    );
}
