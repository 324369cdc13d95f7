//! Policies: every rule by its number and its promise, in virtual time, polled by hand.

mod breaker;
mod coalesce;
mod limit;
mod nosy;
mod rate;
mod storm;
mod support;
mod timeout;
