//! What can only be seen from inside: how errors are made, shared, taken apart and dropped.

mod by_value;
mod chains;
mod contexts;
mod holding;
mod panics;
mod shape;
mod text;

use super::*;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// An error with a source behind it that it does not display.
#[derive(Debug)]
struct RequestFailed(io::Error);

impl fmt::Display for RequestFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("request failed")
    }
}

impl StdError for RequestFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

/// An error that counts its drops, and panics in them if it is set to.
#[derive(Debug)]
struct Counted {
    dropped: Arc<AtomicUsize>,
    panics: bool,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counted")
    }
}

impl StdError for Counted {}

impl Drop for Counted {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "a bomb");
    }
}

#[track_caller]
fn here() -> &'static Location<'static> {
    Location::caller()
}

fn request_failed() -> RequestFailed {
    RequestFailed(io::Error::other("connection refused"))
}

fn task(name: &'static str, error: impl Into<BoxError>) -> Error {
    Error::task_failed(name, error.into())
}

fn canceled() -> Arc<End> {
    End::canceled(here())
}

fn canceled_by(reason: impl Into<BoxError>) -> Arc<End> {
    End::canceled_by(reason.into(), here())
}

fn expired() -> Arc<End> {
    End::expired(Instant::now(), None, here())
}

/// As a group does when its first task fails.
fn failed(error: &Error) -> Arc<End> {
    let end = End::failed(error, here());
    error.set_end(&end);
    end
}

fn names(count: usize) -> Vec<Name> {
    (0..count)
        .map(|number| Name::from(format!("t{number}")))
        .collect()
}

/// The text of a report that prints the error and all its sources.
fn report(error: impl StdError + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
}
