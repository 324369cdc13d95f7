//! Policies: every rule by its number and its promise, in virtual time, polled by hand.

mod aggregated;
mod auto_traits;
mod backoff;
mod breaker;
mod coalesce;
mod fallback;
mod fault;
mod hedge;
mod limit;
mod rate;
mod records;
mod retry;
mod rules;
mod stack;
mod storm;
mod support;
mod timeout;
mod types;
mod wakers;
mod watchdog;
