//! A dashboard in a page: two services asked by `fetch`, and what is dropped is aborted.
#![cfg(all(target_family = "wasm", target_os = "unknown"))]
