//! The attempts of one call, and how each ended.

use super::record;
use super::wrapped::Asked;
use crate::attempt::Attempt;
use crate::clock::Instant;
use crate::context::Context;
use crate::error::{Fault, FaultKind, KEPT, Stop, Tried};
use crate::group::observe_attempt;
use crate::observe::AttemptKind;
use log::Level;
use std::fmt;
use std::time::Duration;

/// The attempts that failed, and the last real error.
#[derive(Default)]
pub(super) struct Trail {
    /// When the first attempt began.
    began: Option<Instant>,
    attempts: u32,
    /// With the number of the attempt, by which they began. Fewer than twice [`KEPT`].
    tried: Vec<(u32, Tried)>,
    /// The last failure; an end only if there was no other.
    last: Option<Fault>,
    /// The last failure of the source itself.
    real: Option<Fault>,
    /// The wait that the last failure demands, of the service or of a policy inside.
    advised: Option<Duration>,
    /// The same, by the failure that is being judged.
    advice: Option<Duration>,
}

/// An attempt that has begun.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub(super) attempt: Attempt,
    /// `None`: it is the first, and in its first poll.
    at: Option<Instant>,
}

impl Begun {
    /// The first attempt. The clock is read only if it does not end in its first poll.
    pub(super) fn first() -> Self {
        Self {
            attempt: Attempt::FIRST,
            at: None,
        }
    }

    pub(super) fn further(attempt: Attempt, at: Instant) -> Self {
        Self {
            attempt,
            at: Some(at),
        }
    }

    /// Its first poll is over.
    #[inline]
    pub(super) fn is_pending(&mut self, ctx: &Context) {
        if self.at.is_none() {
            self.at = Some(ctx.now());
        }
    }

    /// When it began, or now.
    fn at(self, now: Instant) -> Instant {
        self.at.unwrap_or(now)
    }
}

impl Trail {
    /// The first attempt goes on beside others, which may fail before it does.
    pub(super) fn begin(&mut self, first: Begun) {
        self.began = self.began.or(first.at);
    }

    /// An attempt failed, or was cut short by an end.
    pub(super) fn failed(&mut self, begun: Begun, fault: Fault, now: Instant) {
        let cut = fault.end().is_some();
        if !cut || fault.attempts() > 0 {
            self.push(begun, Some(&fault), now);
        }
        let advised = fault.retry_after().or(self.advice.take());
        if !cut || advised.is_some() {
            self.advised = advised;
        }
        if is_real(&fault) {
            self.real = Some(fault.clone());
        }
        if !cut || self.last.is_none() {
            self.last = Some(fault);
        }
    }

    /// The answer is this failure, whichever came last.
    pub(super) fn prefer(&mut self, fault: Fault) {
        self.advised = fault.retry_after().or(self.advised);
        self.real = Some(fault);
    }

    /// The wait that the next failure demands.
    pub(super) fn advised(&mut self, after: Duration) -> Duration {
        self.advice = Some(after);
        after
    }

    /// An attempt was cut short by another's outcome.
    pub(super) fn cut(&mut self, begun: Begun, now: Instant) {
        self.push(begun, None, now);
    }

    fn push(&mut self, begun: Begun, fault: Option<&Fault>, now: Instant) {
        let at = begun.at(now);
        let began = *self.began.get_or_insert(at);
        let after = at.saturating_duration_since(began);
        let inner = fault.map_or(&[][..], Fault::history);
        self.attempts = self
            .attempts
            .saturating_add(fault.map_or(1, |fault| fault.attempts().max(1)));
        let number = begun.attempt.number();
        self.tried.extend(inner.iter().cloned().map(|mut tried| {
            tried.after = tried.after.saturating_add(after);
            (number, tried)
        }));
        if inner.is_empty() {
            let tried = Tried {
                attempt: begun.attempt,
                after,
                took: now.saturating_duration_since(at),
                error: fault.filter(|fault| fault.end().is_none()).map(Fault::bare),
            };
            self.tried.push((number, tried));
        }
        if self.tried.len() >= 2 * KEPT {
            self.forget_the_first();
        }
    }

    /// Keeps only those that the answer may still hold, because a call may be tried for as long as its caller waits.
    fn forget_the_first(&mut self) {
        self.sort();
        self.tried.drain(..self.tried.len() - KEPT);
    }

    /// In the order of their begin. Those of one attempt stay in their order, because the sort is stable.
    fn sort(&mut self) {
        self.tried.sort_by_key(|(number, _)| *number);
    }

    /// The answer of a call that has failed: the last failure of the source itself, or what else there was.
    pub(super) fn end(mut self, stop: Stop) -> Fault {
        self.sort();
        let Some(fault) = self.real.or(self.last) else {
            unreachable!("something has failed")
        };
        let history = self.tried.into_iter().map(|(_, tried)| tried).collect();
        fault.with_trail(self.attempts, stop, self.advised, history)
    }

    /// How long an attempt took.
    pub(super) fn took(begun: Begun, now: Instant) -> Duration {
        now.saturating_duration_since(begun.at(now))
    }
}

/// Whether the source itself failed, or was too late.
fn is_real(fault: &Fault) -> bool {
    matches!(fault.kind(), FaultKind::Failed | FaultKind::TimedOut { .. })
}

/// Reports an attempt to the observer, unless the source makes attempts of its own, and reports those.
#[inline]
pub(super) fn observe<A, P, R>(
    asked: &Asked<A, P, R>,
    attempt: Attempt,
    kind: AttemptKind,
    fault: Option<&Fault>,
) where
    A: crate::source::Source<R>,
{
    if !asked.source().nature().makes_attempts {
        observe_attempt(attempt, kind, fault);
    }
}

/// [`observe`] for an attempt that has failed, or was cut short by its caller's end.
pub(super) fn observe_failure<A, P, R>(asked: &Asked<A, P, R>, begun: Begun, fault: &Fault)
where
    A: crate::source::Source<R>,
{
    match fault.end() {
        None => observe(asked, begun.attempt, AttemptKind::Failed, Some(fault)),
        Some(_) => observe(asked, begun.attempt, AttemptKind::Cut, None),
    }
}

/// Reports a refused call to the observer, and passes the fault on.
#[cold]
pub(super) fn observe_refusal(ctx: &Context, fault: Fault) -> Fault {
    if let FaultKind::Rejected(_) = fault.kind() {
        observe_attempt(ctx.attempt(), AttemptKind::Rejected, Some(&fault));
    }
    fault
}

/// The one record of an attempt. None where the source makes attempts of its own, which have theirs.
pub(super) fn record<A, P, R, T: fmt::Display>(
    asked: &Asked<A, P, R>,
    begun: Begun,
    ends: impl FnOnce(Duration) -> T,
) where
    A: crate::source::Source<R>,
{
    if asked.source().nature().makes_attempts {
        return;
    }
    record::write(&asked.ctx, asked.name.as_ref(), Level::Debug, || {
        let took = Trail::took(begun, asked.ctx.now());
        let hedge = if begun.attempt.is_hedge() {
            " (hedge)"
        } else {
            ""
        };
        format!("attempt {}{hedge} {}", begun.attempt.number(), ends(took))
    });
}
