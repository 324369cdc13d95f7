//! Policies: every rule by its number and its promise, in virtual time, polled by hand.

mod backoff;
mod fallback;
mod hedge;
mod records;
mod retry;
mod support;
mod timeout;
mod types;
