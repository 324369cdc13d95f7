//! How long a request lives: to its caller's deadline, to the server's, to the end of its connection.

use std::time::{Duration, Instant};

use dashboard::app::Config;
use dashboard::http::Limits;
use serde_json::json;

use crate::support::{Dashboard, WATCHDOG, plain_settings};

fn all_hang(dashboard: &Dashboard) {
    dashboard.set_with(|settings| {
        let services = &mut settings.services;
        services.profile.hang = true;
        services.inventory.hang = true;
        services.prices.hang = true;
        services.recommendations.hang = true;
        services.ads.hang = true;
    });
}

#[test]
fn the_callers_deadline_ends_the_page_and_all_behind_it() {
    let dashboard = Dashboard::start();
    all_hang(&dashboard);
    let page = dashboard.get_with("/api/pages/7", "grpc-timeout: 10m\r\n");
    assert_eq!(page.status, 504, "{}", page.body);
    assert!(
        page.json()["late"]
            .as_array()
            .is_some_and(|late| !late.is_empty()),
        "{}",
        page.body
    );
    dashboard.until("nothing is left", |seen| {
        seen.into_iter().all(|(_, seen)| seen.in_flight == 0)
    });
}

#[test]
fn a_deadline_that_has_passed_asks_no_service() {
    let dashboard = Dashboard::start();
    let page = dashboard.get_with("/api/pages/7", "grpc-timeout: 0n\r\n");
    assert_eq!(page.status, 504, "{}", page.body);
    let late = ["profile", "orders", "recommendations", "ads"];
    assert_eq!(page.json()["late"], json!(late));
    assert!(
        dashboard
            .counts()
            .into_iter()
            .all(|(_, seen)| seen.started == 0)
    );
}

#[test]
fn the_servers_limit_caps_the_callers_deadline() {
    let limits = Limits {
        request: Duration::from_millis(100),
        ..Limits::default()
    };
    let dashboard = Dashboard::start_with(Config {
        limits,
        ..Config::default()
    });
    dashboard.set(&plain_settings());
    all_hang(&dashboard);
    let since = Instant::now();
    let page = dashboard.get_with("/api/pages/7", "grpc-timeout: 99H\r\n");
    assert_eq!(page.status, 504);
    assert!(since.elapsed() < WATCHDOG);
}

#[test]
fn a_reader_who_hangs_up_cancels_all_behind_the_page() {
    let dashboard = Dashboard::start();
    all_hang(&dashboard);
    let stream = dashboard.ask(7);
    dashboard.until("all are called", |seen| {
        seen.into_iter().all(|(_, seen)| seen.in_flight == 1)
    });
    drop(stream);
    dashboard.until("all have noticed", |seen| {
        seen.into_iter()
            .all(|(_, seen)| seen.cancelled == 1 && seen.in_flight == 0)
    });
    dashboard.until_stats("the page is counted as left", |stats| {
        stats["outcomes"]["left"] == 1
    });
    let wasted = dashboard.get("/api/stats").json();
    assert_eq!(
        wasted["calls"],
        json!({"useful": 0, "wasted": 6, "finished_late": 0})
    );
}
