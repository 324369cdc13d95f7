//! Tokens, and the line of calls that wait for one.
//!
//! # Invariants
//!
//! 1. A token is taken by the head of the line, or by a new call that finds the line empty, in the poll that then goes on
//!    to the call. So a waiter that leaves has nothing to give back, and those behind it are one token better off at once.
//! 2. Only the head has a timer armed. Whatever becomes the head is woken, so that it arms its own.
//! 3. No foreign code under the lock: clocks are read and wakers cloned before; wakers are woken and dropped after.

use super::bucket::{Bucket, Pace};
use crate::clock::{Instant, Sleep, TimerError};
use crate::context::Context;
use crate::policy::line::{Line, Ticket};
use crate::sync::Mutex;
use crate::unwind;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker, ready};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Tokens(Mutex<State>);

#[derive(Default)]
struct State {
    bucket: Bucket,
    line: Line,
}

/// Why there is no token.
#[derive(Debug)]
pub(super) enum Refused {
    /// It would come after the caller's deadline.
    TooLate { wait: Duration },
    /// The context's clock can't fire.
    Broken(TimerError),
}

/// What a waiter finds.
enum Position {
    Served,
    /// Its token comes after so long.
    Head(Duration),
    Behind,
}

impl Tokens {
    /// How many calls wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().line.len()
    }

    /// Returns a token that was taken, and not used. The head may find it sooner than its timer.
    pub(super) fn give_back(&self, pace: &Pace) {
        let mut state = self.0.lock();
        state.bucket.give_back(pace);
        let head = state.line.call_head();
        drop(state);
        head.into_iter().for_each(unwind::wake_in_turn);
    }

    /// Takes a token if there is one and no call waits for it.
    #[inline]
    pub(super) fn take(&self, pace: &Pace, now: Instant) -> bool {
        let mut state = self.0.lock();
        state.bucket.refill(pace, now);
        state.line.is_empty() && state.bucket.take(pace)
    }

    /// Joins the line, unless the token at its end comes too late for a caller that has no more than `left`.
    fn join(
        &self,
        pace: &Pace,
        now: Instant,
        left: Option<Duration>,
        waker: Waker,
    ) -> Result<Ticket, Refused> {
        let mut state = self.0.lock();
        state.bucket.refill(pace, now);
        let wait = state.bucket.wait(pace, state.line.len());
        if left.is_none_or(|left| wait < left) {
            return Ok(state.line.join(waker));
        }
        drop(state);
        unwind::discard(waker);
        Err(Refused::TooLate { wait })
    }

    /// Serves a waiter if it is its turn.
    fn serve(&self, pace: &Pace, now: Instant, ticket: Ticket, waker: Waker) -> Position {
        let mut state = self.0.lock();
        state.bucket.refill(pace, now);
        let is_head = state.line.is_head(ticket);
        if is_head && state.bucket.take(pace) {
            let left = state.leave(ticket);
            drop(state);
            unwind::discard(waker);
            left.settle();
            return Position::Served;
        }
        let wait = state.bucket.wait(pace, 0);
        let unused = state.line.renew(ticket, waker);
        drop(state);
        unwind::discard(unused);
        match is_head {
            true => Position::Head(wait),
            false => Position::Behind,
        }
    }
}

impl State {
    /// A waiter has been served, or waits no longer. If it was the head, another one is now (invariant 2).
    fn leave(&mut self, ticket: Ticket) -> Leaver {
        let was_head = self.line.is_head(ticket);
        let own = self.line.leave(ticket).flatten();
        let next = was_head.then(|| self.line.call_head()).flatten();
        Leaver { own, next }
    }
}

/// The wakers that a leaver leaves: its own, and that of the new head. To be settled under no lock.
#[must_use = "the new head has to be woken"]
struct Leaver {
    own: Option<Waker>,
    next: Option<Waker>,
}

impl Leaver {
    fn settle(self) {
        unwind::discard(self.own);
        self.next.into_iter().for_each(unwind::wake_in_turn);
    }
}

/// A wait for a token. Dropping it gives up its place.
pub(super) struct Take {
    tokens: Arc<Tokens>,
    ticket: Option<Ticket>,
    /// The head's timer, and what it waits for.
    timer: Option<(Instant, Sleep)>,
}

impl Take {
    pub(super) fn new(tokens: Arc<Tokens>) -> Self {
        Self {
            tokens,
            ticket: None,
            timer: None,
        }
    }

    pub(super) fn poll(
        &mut self,
        pace: &Pace,
        ctx: &Context,
        cx: &mut task::Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        let slept_until = self.poll_timer(cx)?;
        // A sleep counts, also by a clock that stands still or runs backwards.
        let now = slept_until.into_iter().fold(ctx.now(), Instant::max);
        let ticket = match self.ticket {
            Some(ticket) => ticket,
            None => {
                let (left, waker) = (ctx.remaining(), cx.waker().clone());
                *self
                    .ticket
                    .insert(self.tokens.join(pace, now, left, waker)?)
            }
        };
        match self.tokens.serve(pace, now, ticket, cx.waker().clone()) {
            Position::Served => {
                self.ticket = None;
                Poll::Ready(Ok(()))
            }
            Position::Head(wait) if self.timer.is_none() => {
                self.arm(ctx, now.checked_add(wait), cx)
            }
            Position::Head(_) | Position::Behind => Poll::Pending,
        }
    }

    /// If the timer that is armed has fired, the time that it had been armed for.
    fn poll_timer(&mut self, cx: &mut task::Context<'_>) -> Result<Option<Instant>, Refused> {
        let Some((until, sleep)) = &mut self.timer else {
            return Ok(None);
        };
        let until = *until;
        match Pin::new(sleep).poll(cx) {
            Poll::Pending => Ok(None),
            Poll::Ready(slept) => {
                self.timer = None;
                slept.map(|()| Some(until)).map_err(Refused::Broken)
            }
        }
    }

    /// `until`: `None` if it is beyond what an `Instant` can hold. Then only the context can end the wait.
    fn arm(
        &mut self,
        ctx: &Context,
        until: Option<Instant>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        let Some(until) = until else {
            return Poll::Pending;
        };
        let clock = ctx.clock();
        let sleep = unwind::contain_text(|| clock.sleep_until(until));
        let sleep = sleep.unwrap_or_else(Sleep::broken);
        let (_, sleep) = self.timer.insert((until, sleep));
        ready!(Pin::new(sleep).poll(cx)).map_err(Refused::Broken)?;
        // It is polled again by the next poll, not by this one, because a timer may be ready each time.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Take {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let left = self.tokens.0.lock().leave(ticket);
            left.settle();
        }
    }
}
