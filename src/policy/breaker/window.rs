//! The last calls of a closed circuit.
//!
//! Only failures are kept, each with its number and its moment, and only while they are recent. The circuit trips if
//! there are `failures` of them. So a success is a counter, and memory does not depend on `of_calls`.

use super::circuit::Terms;
use crate::clock::Instant;
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Window {
    /// How many calls there have been.
    calls: u64,
    /// In the order of their moments.
    failures: VecDeque<Failure>,
}

#[derive(Debug)]
struct Failure {
    call: u64,
    at: Instant,
}

impl Window {
    pub(super) fn success(&mut self) {
        self.calls += 1;
    }

    /// Returns whether there have been too many.
    pub(super) fn failure(&mut self, terms: &Terms, now: Instant) -> bool {
        self.calls += 1;
        let call = self.calls;
        self.set_back(now);
        while let Some(oldest) = self.failures.front() {
            if oldest.is_recent(terms, call, now) {
                break;
            }
            self.failures.pop_front();
        }
        self.failures.push_back(Failure { call, at: now });
        u64::try_from(self.failures.len()).is_ok_and(|count| count >= terms.failures.get().into())
    }

    /// Moves failures of the future to `now`: the circuit's invariant 4. They are the last, because they are in order.
    fn set_back(&mut self, now: Instant) {
        let future = self.failures.iter_mut().rev();
        for failure in future.take_while(|failure| failure.at > now) {
            failure.at = now;
        }
    }

    pub(super) fn clear(&mut self) {
        self.failures.clear();
    }
}

impl Failure {
    /// A failure at this very moment is always recent, also if the window is zero.
    fn is_recent(&self, terms: &Terms, call: u64, now: Instant) -> bool {
        let of_calls = terms.of_calls.max(terms.failures);
        let age = now.saturating_duration_since(self.at);
        call - self.call < u64::from(of_calls.get())
            && (age == Duration::ZERO || age < terms.window)
    }
}
