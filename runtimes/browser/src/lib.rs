//! A dashboard in a page: two services called by `fetch` at once, and a request that is dropped is aborted.
//!
//! ```text
//! cargo build -p runtime-browser --release --target wasm32-unknown-unknown
//! wasm-bindgen --target web --out-dir runtimes/browser/www/pkg target/wasm32-unknown-unknown/release/runtime_browser.wasm
//! cargo run -p runtime-browser --bin serve        # and open http://127.0.0.1:8080
//! ```
#![cfg(all(target_family = "wasm", target_os = "unknown"))]

use failfast::{Context, LocalAggregator};
use std::fmt;
use std::time::Duration;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, RequestInit, Response};

/// Calls both services, and joins their answers: `Name: Alice | Order: 5`. If one fails, or the time has passed, the
/// other's request is aborted, and the error names what happened first.
///
/// # Errors
///
/// The first failure, or the timeout, in words.
#[wasm_bindgen]
pub async fn dashboard(profile: String, orders: String, millis: u32) -> Result<String, JsError> {
    let dashboard = LocalAggregator::new(spawn_local)
        .with_name("dashboard")
        .with_timeout(Duration::from_millis(millis.into()))
        .source("profile", move |_: Context, ()| get(profile.clone()))
        .source("orders", move |_: Context, ()| get(orders.clone()))
        .join(" | ");
    Ok(dashboard.aggregate(&Context::background(), ()).await?)
}

/// Why a request failed, in the browser's words.
#[derive(Debug)]
struct FetchError(String);

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FetchError {}

impl From<JsValue> for FetchError {
    fn from(error: JsValue) -> Self {
        FetchError(String::from(js_sys::Object::from(error).to_string()))
    }
}

/// Aborts a request when it is dropped. After the answer that does nothing.
struct AbortOnDrop(AbortController);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The text that a service answers.
async fn get(url: String) -> Result<String, FetchError> {
    let request = AbortOnDrop(AbortController::new()?);
    let init = RequestInit::new();
    init.set_signal(Some(&request.0.signal()));
    let window = web_sys::window().ok_or_else(|| FetchError("this is no page".to_owned()))?;
    let response = JsFuture::from(window.fetch_with_str_and_init(&url, &init)).await?;
    let response: Response = response.dyn_into()?;
    if !response.ok() {
        return Err(FetchError(format!("HTTP {}", response.status())));
    }
    let text = JsFuture::from(response.text()?).await?;
    Ok(text.as_string().unwrap_or_default())
}
