//! The dashboard over plain HTTP, as a reader or an attacker meets it. Each test starts one of its own.

mod bad_input;
mod dependencies;
mod lifetimes;
mod live;
mod pages;
mod policies;
mod server;
mod settings;
mod shutdown;
#[path = "../support/mod.rs"]
mod support;
