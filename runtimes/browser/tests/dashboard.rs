//! The dashboard over `fetch`: the page's own, and one that a test can watch.
#![cfg(all(target_family = "wasm", target_os = "unknown"))]

use runtime_browser::dashboard;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen(inline_js = r#"
const real = window.fetch;
let aborted = [];

// Fails for /down; answers /hangs never, unless it is aborted; leaves the rest to the browser.
export function watch() {
    aborted = [];
    window.fetch = (url, init) => {
        if (url === "/down") return Promise.reject(new TypeError("connection refused"));
        if (url !== "/hangs") return real(url, init);
        return new Promise((_, reject) => init.signal.addEventListener("abort", () => {
            aborted.push(url);
            reject(init.signal.reason);
        }));
    };
}

export function aborts() { return aborted.length; }

export function text(error) { return error.message; }
"#)]
extern "C" {
    fn watch();
    fn aborts() -> usize;
    fn text(error: JsValue) -> String;
}

async fn ask(profile: &str, orders: &str, millis: u32) -> Result<String, String> {
    watch();
    let line = dashboard(profile.to_owned(), orders.to_owned(), millis).await;
    line.map_err(|error| text(error.into()))
}

#[wasm_bindgen_test]
async fn both_answer() {
    let line = ask("data:,Name: Alice", "data:,Order: 5", 5000).await;
    assert_eq!(line.as_deref(), Ok("Name: Alice | Order: 5"));
}

#[wasm_bindgen_test]
async fn request_of_a_dropped_task_is_aborted() {
    let error = ask("/down", "/hangs", 60_000).await.unwrap_err();
    assert_eq!(error, "profile: TypeError: connection refused");
    assert_eq!(aborts(), 1);
}

/// Both hang, because how soon a browser answers is its own affair.
#[wasm_bindgen_test]
async fn timeout_aborts_the_requests() {
    let error = ask("/hangs", "/hangs", 20).await.unwrap_err();
    assert!(
        error.ends_with("dashboard's timeout of 20ms (waiting for profile, orders)"),
        "{error}"
    );
    assert_eq!(aborts(), 2);
}
