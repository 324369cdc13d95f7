//! Every width and both colors; the picture and the trace.

use serde_json::json;

use crate::support::Dashboard;
use crate::webdriver::Browser;

/// What is wider than the window, if anything is.
const TOO_WIDE: &str = "return [...document.querySelectorAll('main *')]
    .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .filter((element) => element.closest('pre, thead') === null)
    .map((element) => `${element.tagName} ${element.id} ${element.className}`)";

/// A page on which something of everything has happened.
fn eventful() -> (Dashboard, Browser) {
    let dashboard = Dashboard::start();
    let browser = Browser::open(&dashboard.app().url());
    browser.click("#load button");
    browser.until("return document.querySelector('#outcome').dataset.state === 'complete'");
    dashboard.set_with(|settings| {
        settings.services.orders.delay_ms = 120;
        settings.services.orders.failure_percent = 100;
        settings.services.recommendations.hang = true;
    });
    browser.click("#load button");
    browser.until("return document.querySelector('#outcome').dataset.state === 'failed'");
    browser.until("return document.querySelectorAll('.row[data-state=cancelled]').length === 1");
    browser.until(
        "return document.querySelector('#outcomes')?.innerText.match(/failed\\s*1/) !== null",
    );
    (dashboard, browser)
}

#[test]
fn it_fits_a_phone() {
    let (_running, browser) = eventful();
    let phone = json!({"width": 375, "height": 812, "deviceScaleFactor": 2, "mobile": true});
    browser.command("Emulation.setDeviceMetricsOverride", phone);
    browser.until("return document.documentElement.clientWidth === 375");
    assert_eq!(browser.run(TOO_WIDE), json!([]));
    browser.screenshot("phone");
}

#[test]
fn it_follows_the_reader_into_the_dark() {
    let (_running, browser) = eventful();
    let brightness = "const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
        return r + g + b";
    let light = browser.run(brightness).as_u64().unwrap();
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    browser.command("Emulation.setEmulatedMedia", dark);
    let dark = browser.run(brightness).as_u64().unwrap();
    assert!(light > 600 && dark < 150, "{light} and {dark}");
    assert_eq!(browser.run(TOO_WIDE), json!([]));
    browser.screenshot("dark");
}

#[test]
fn the_picture_and_the_trace_can_be_opened() {
    let (dashboard, browser) = eventful();
    let link = |id: &str| {
        let link = browser.run(&format!(
            "return new URL(document.getElementById({id:?}).href).pathname"
        ));
        link.as_str().unwrap().to_owned()
    };
    let (picture, trace) = (link("picture"), link("trace"));
    let trace = dashboard.get(&trace).json();
    let names: Vec<_> = trace["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["name"])
        .collect();
    for name in ["profile", "orders", "recommendations", "ads"] {
        assert!(
            names.iter().any(|known| **known == name),
            "{name} is not in {names:?}"
        );
    }
    browser.go(&format!("{}{picture}", dashboard.app().url()));
    let root = browser.run("return document.documentElement.nodeName");
    assert_eq!(root, json!("svg"));
    assert!(
        browser
            .run("return document.documentElement.textContent")
            .as_str()
            .unwrap()
            .contains("recommendations")
    );
    browser.screenshot("picture");
}
