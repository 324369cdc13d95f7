//! Policies: every rule by its number and its promise, in virtual time, polled by hand.

mod support;
mod timeout;
