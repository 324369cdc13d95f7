//! Policies, seen in the browser.

use std::time::Duration;

use dashboard::app::Config;

use crate::support::{Dashboard, plain_settings};
use crate::webdriver::Browser;

fn breaker_is(browser: &Browser, state: &str) {
    browser.until(&format!(
        "return document.querySelector('#breaker').dataset.state === '{state}'"
    ));
}

#[test]
fn the_breaker_opens_and_closes() {
    let dashboard = Dashboard::start_with(Config {
        breaker_open: Duration::from_secs(3),
        ..Config::default()
    });
    let mut settings = plain_settings();
    settings.policies.optional = true;
    dashboard.set(&settings);
    let browser = Browser::open(&dashboard.app().url());
    breaker_is(&browser, "closed");
    browser.fill("#recommendations-failure_percent", "100");
    for page in 1..=5 {
        browser.click("#load button");
        dashboard.until_stats("the page is counted", |stats| {
            stats["outcomes"]["partial"] == page
        });
    }
    breaker_is(&browser, "open");
    browser.until(
        "return document.querySelector('#card-recommendations').dataset.state === 'missing'",
    );
    browser.screenshot("breaker-open");
    browser.fill("#recommendations-failure_percent", "0");
    breaker_is(&browser, "half_open");
    browser.click("#load button");
    breaker_is(&browser, "closed");
    browser.until(
        "return document.querySelector('#card-recommendations').dataset.state === 'succeeded'",
    );
    browser.screenshot("breaker-closed");
}

#[test]
fn each_attempt_is_drawn_below_its_task() {
    let dashboard = Dashboard::start();
    let mut settings = plain_settings();
    settings.policies.retry = true;
    settings.policies.hedge = true;
    settings.services.profile.delay_ms = 100;
    settings.services.profile.failure_percent = 100;
    settings.services.inventory.hang = true;
    settings.services.recommendations.hang = true;
    dashboard.set(&settings);
    let browser = Browser::open(&dashboard.app().url());
    browser.click("#load button");
    browser.until("return document.querySelector('#outcome').dataset.state === 'failed'");
    browser
        .until("return document.querySelectorAll('.row.attempt[data-state=failed]').length === 3");
    browser.until(
        "return document.querySelectorAll('.row.attempt[data-state=cancelled]').length === 2",
    );
    browser.until("return document.querySelectorAll('.row:not(.attempt)').length === 4");
    browser.until(
        "return document.querySelector('#outcomes').innerText.match(/failed\\s*1/) !== null",
    );
    browser.screenshot("attempts");
}
