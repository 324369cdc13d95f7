//! The result of a call that was admitted.
//!
//! # Invariants
//!
//! 1. It is settled once: by its answer, by the panic that comes out of its source, or by being dropped.
//! 2. Clocks, loggers and the user's `counting` run under no lock.

use super::circuit::{Admission, Verdict};
use super::{Breaker, Settings};
use crate::clock::Instant;
use crate::context::Context;
use crate::error::{Fault, Name};
use crate::policy::waits;
use crate::policy::wrapped::Asked;
use std::mem;
use std::task::Poll;
use std::time::Duration;

/// A call that was let through. Dropped before it is settled, it does not count, unless it was slow.
pub struct Guard {
    breaker: Breaker,
    ctx: Context,
    source: Option<Name>,
    /// `None` once it is settled.
    admission: Option<Admission>,
    /// Where slowness is a failure.
    stopwatch: Option<Stopwatch>,
}

/// How long a call takes, without its waits for permits and tokens.
struct Stopwatch {
    begun: Instant,
    waited: Duration,
    /// Since when it waits.
    waits_since: Option<Instant>,
}

/// How the end of a call counts, apart from slowness.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    Nothing,
    Success,
    Failure,
}

impl Guard {
    #[inline]
    pub(super) fn new<A, R>(asked: &Asked<A, Breaker, R>, admission: Admission) -> Self {
        let measures = asked.policy().0.slow_after.is_some();
        Self {
            breaker: asked.policy().clone(),
            ctx: asked.ctx.clone(),
            source: asked.name.clone(),
            admission: Some(admission),
            stopwatch: measures.then(|| Stopwatch::begin(asked.ctx.now())),
        }
    }

    /// Polls the call, and measures it if slowness matters.
    #[inline]
    pub(super) fn poll<T>(&mut self, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
        if self.stopwatch.is_none() {
            return self.settle_panic(poll);
        }
        let now = self.ctx.now();
        let (polled, waits) = self.settle_panic(|| waits::observe(poll));
        if let Some(stopwatch) = &mut self.stopwatch {
            stopwatch.polled(now, waits && polled.is_pending());
        }
        polled
    }

    /// Runs the source. If it panics, that is a failure at once: whatever catches it may keep the call for long.
    #[inline]
    pub(super) fn settle_panic<T>(&mut self, foreign: impl FnOnce() -> T) -> T {
        let armed = OnPanic(self);
        let output = foreign();
        mem::forget(armed);
        output
    }

    /// The call has ended, with this fault or with an answer.
    #[inline]
    pub(super) fn settle(&mut self, fault: Option<&Fault>) {
        let count = match fault {
            None => Count::Success,
            Some(fault) => self.judge(fault),
        };
        self.close(count);
    }

    #[cold]
    fn judge(&mut self, fault: &Fault) -> Count {
        let breaker = self.breaker.clone();
        match self.settle_panic(|| breaker.counts(fault)) {
            None => Count::Nothing,
            Some(false) => Count::Success,
            Some(true) => Count::Failure,
        }
    }

    fn close(&mut self, count: Count) {
        let Some(admission) = self.admission.take() else {
            return;
        };
        let Settings {
            terms,
            slow_after,
            circuit,
            ..
        } = &*self.breaker.0;
        // A success is counted without the time, unless it may have been slow. The clock is read before the lock, because
        // it is foreign code.
        let needs_time = count == Count::Failure || self.stopwatch.is_some();
        let now = needs_time.then(|| self.ctx.now());
        let failed_at =
            now.filter(|now| count == Count::Failure || self.is_slow(*slow_after, *now));
        let mut circuit = circuit.lock();
        let transition = match (failed_at, count) {
            (Some(now), _) => circuit.settle(terms, admission, Verdict::Failure(now)),
            (None, Count::Success) => circuit.settle(terms, admission, Verdict::Success),
            (None, _) => {
                circuit.abandon(admission);
                None
            }
        };
        drop(circuit); // because the logger is foreign code
        let source = self.source.as_ref();
        self.breaker.record(&self.ctx, source, transition);
    }

    fn is_slow(&self, slow_after: Option<Duration>, now: Instant) -> bool {
        let took = self.stopwatch.as_ref().map(|watch| watch.took(now));
        took.zip(slow_after)
            .is_some_and(|(took, slow)| took >= slow)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.close(Count::Nothing);
    }
}

/// Settles the call when its source unwinds.
struct OnPanic<'a>(&'a mut Guard);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        self.0.close(Count::Failure);
    }
}

impl Stopwatch {
    fn begin(now: Instant) -> Self {
        Self {
            begun: now,
            waited: Duration::ZERO,
            waits_since: None,
        }
    }

    /// It was polled, and that poll began at `now`.
    fn polled(&mut self, now: Instant, waits: bool) {
        if waits {
            self.waits_since.get_or_insert(now);
        } else if let Some(since) = self.waits_since.take() {
            self.waited = self
                .waited
                .saturating_add(now.saturating_duration_since(since));
        }
    }

    fn took(&self, now: Instant) -> Duration {
        let until = self.waits_since.unwrap_or(now);
        until
            .saturating_duration_since(self.begun)
            .saturating_sub(self.waited)
    }
}
