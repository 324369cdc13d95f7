//! What a reader of the page sees and does.

use serde_json::json;

use crate::support::Dashboard;
use crate::webdriver::{Browser, ENTER, SPACE, TAB};

const LOADED: &str = "return document.querySelector('#outcome').dataset.state === 'complete'";

#[test]
fn the_page_renders_and_asks_no_other_host() {
    let dashboard = Dashboard::start();
    let browser = Browser::open(&dashboard.app().url());
    browser.click("#load button");
    browser.until(LOADED);
    assert!(browser.text("#card-profile").contains("Alice"));
    assert!(browser.text("#card-orders").contains("Kite"));
    browser.until("return document.querySelectorAll('.row[data-state=succeeded]').length === 4");
    browser.until("return document.querySelectorAll('#counts tr').length === 6");
    browser.until(
        "return document.querySelector('#snapshot').textContent.includes('listener: running')",
    );
    browser.until(
        "return document.querySelector('#outcomes').innerText.match(/complete\\s*1/) !== null",
    );
    assert_eq!(browser.state("#connection"), "live");
    let elsewhere = browser.run(
        "return performance.getEntriesByType('resource').map((entry) => new URL(entry.name))
            .filter((url) => url.origin !== location.origin).length",
    );
    assert_eq!(elsewhere, json!(0));
    assert_eq!(browser.complaints(), Vec::<serde_json::Value>::new());
    browser.screenshot("page");
}

#[test]
fn a_failing_profile_shows_its_error_and_the_others_as_cancelled() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| {
        let services = &mut settings.services;
        services.profile.delay_ms = 300;
        services.profile.failure_percent = 100;
        services.inventory.hang = true;
        services.recommendations.hang = true;
        services.ads.hang = true;
    });
    let browser = Browser::open(&dashboard.app().url());
    browser.click("#load button");
    browser.until("return document.querySelector('#outcome').dataset.state === 'failed'");
    assert!(browser.text("#outcome").contains("HTTP 502"));
    assert!(
        browser
            .text("#card-profile")
            .contains("failed, as its knob says")
    );
    for other in ["orders", "recommendations", "ads"] {
        assert_eq!(
            browser.state(&format!("#card-{other}")),
            "cancelled",
            "{other}"
        );
    }
    browser.until("return document.querySelectorAll('.row[data-state=cancelled]').length === 3");
    browser.until("return document.querySelectorAll('.row[data-state=failed]').length === 1");
    browser.screenshot("failing-profile");
}

#[test]
fn a_closed_tab_cancels_the_calls_behind_its_page() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| {
        let services = &mut settings.services;
        services.profile.hang = true;
        services.inventory.hang = true;
        services.prices.hang = true;
        services.recommendations.hang = true;
        services.ads.hang = true;
    });
    let browser = Browser::open(&dashboard.app().url());
    browser.click("#load button");
    dashboard.until("all are called", |seen| {
        seen.into_iter().all(|(_, seen)| seen.in_flight == 1)
    });
    browser.until("return document.querySelectorAll('.row[data-state=running]').length === 4");
    browser
        .until("return document.querySelector('#counts-ads td:last-child')?.textContent === '1'");
    browser.until(
        "return document.querySelector('#snapshot').textContent.includes('profile: running')",
    );
    browser.screenshot("before-the-tab-closes");
    browser.close_tab();
    dashboard.until("all have noticed", |seen| {
        seen.into_iter()
            .all(|(_, seen)| seen.cancelled == 1 && seen.in_flight == 0)
    });
    // Another tab shows it.
    browser.go(&dashboard.app().url());
    browser
        .until("return document.querySelector('#outcomes')?.innerText.match(/left\\s*1/) !== null");
    browser.screenshot("after-the-tab-closed");
}

#[test]
fn a_page_of_another_reader_is_drawn_as_it_happens() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| settings.services.profile.hang = true);
    let browser = Browser::open(&dashboard.app().url());
    browser.until("return document.querySelector('#connection').dataset.state === 'live'");
    let reader = dashboard.ask(3);
    // It is not over, and the others' bars stand already.
    browser.until("return document.querySelectorAll('.row[data-state=succeeded]').length === 3");
    browser.until("return document.querySelectorAll('.row[data-state=running]').length === 1");
    drop(reader);
    browser.until("return document.querySelectorAll('.row[data-state=cancelled]').length === 1");
}

#[test]
fn a_knob_that_is_turned_changes_the_service() {
    let dashboard = Dashboard::start();
    let browser = Browser::open(&dashboard.app().url());
    browser.until("return document.querySelector('#ads-delay_ms') !== null");
    browser.fill("#ads-delay_ms", "120");
    browser.click("#profile-hang");
    browser.click("#retry");
    let is_set = || {
        let set = dashboard.get("/api/settings").json();
        set["services"]["ads"]["delay_ms"] == 120
            && set["services"]["profile"]["hang"] == true
            && set["policies"]["retry"] == true
    };
    crate::support::eventually("the knobs are turned", is_set, || {
        dashboard.get("/api/settings").body
    });
    browser.fill("#orders-failure_percent", "101");
    browser
        .until("return document.querySelector('#complaint').textContent.includes('at most 100')");
}

#[test]
fn all_can_be_done_with_the_keyboard() {
    let dashboard = Dashboard::start();
    let browser = Browser::open(&dashboard.app().url());
    browser.until("return document.querySelector('#ads-hang') !== null");
    browser.run("document.querySelector('#user').focus()");
    browser.press(ENTER);
    browser.until(LOADED);
    // From the first element on, each press reaches another one; none is a trap.
    browser.run("document.querySelector('.skip').focus()");
    let mut reached = Vec::new();
    while !reached.iter().any(|id| id == "ads-hang") {
        assert!(reached.len() < 60, "{reached:?}");
        browser.press(TAB);
        let id = browser.run("return document.activeElement.id");
        reached.push(id.as_str().unwrap_or_default().to_owned());
    }
    for id in [
        "user",
        "repeat",
        "recent",
        "trace",
        "picture",
        "reset",
        "timeout_ms",
        "hedge",
        "profile-delay_ms",
    ] {
        assert!(
            reached.iter().any(|reached| reached == id),
            "{id} is not among {reached:?}"
        );
    }
    browser.press(SPACE);
    let is_set = || dashboard.get("/api/settings").json()["services"]["ads"]["hang"] == true;
    crate::support::eventually("the box is checked", is_set, || {
        dashboard.get("/api/settings").body
    });
}
