//! Permits, and the line of calls that wait for one.
//!
//! # Invariants
//!
//! 1. `taken` counts the permits that are out, those included that were handed to a waiter which has not been polled
//!    since. It is never more than `limit`.
//! 2. A waiter is in the line only while all permits are out. So a permit that comes back goes to the head of the line,
//!    if there is one, and a new call that finds a permit has overtaken nothing.
//! 3. A waiter whose ticket is not in the line has been handed a permit, and gives it back when it is dropped.
//! 4. No foreign code under the lock: wakers are cloned before, and woken and dropped after.

use crate::policy::line::{Line, Ticket};
use crate::sync::Mutex;
use crate::unwind;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

pub(super) struct Permits {
    limit: NonZeroUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: usize,
    line: Line,
}

/// One call's right to run. Dropping it hands it on.
#[must_use = "dropping a permit hands it on at once"]
pub(super) struct Permit(Arc<Permits>);

/// All permits are out, and the line is as long as it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Permits {
    pub(super) fn new(limit: NonZeroUsize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }

    pub(super) fn limit(&self) -> NonZeroUsize {
        self.limit
    }

    /// How many permits are out, and how many calls wait for one.
    pub(super) fn in_use(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.taken, state.line.len())
    }

    /// Takes a permit, or joins the line, unless that has `most` waiters already.
    fn enter(&self, most: usize, waker: Waker) -> Result<Option<Ticket>, Full> {
        let mut state = self.state.lock();
        let entered = if state.take(self.limit) {
            Ok(None)
        } else if state.line.len() >= most {
            Err(Full)
        } else {
            return Ok(Some(state.line.join(waker)));
        };
        drop(state);
        unwind::discard(waker);
        entered
    }

    /// Whether a waiter has been handed a permit. If not, `waker` will be woken when it is.
    fn is_served(&self, ticket: Ticket, waker: Waker) -> bool {
        let mut state = self.state.lock();
        // The waker is registered in the step in which the line is looked at, so a permit that comes later wakes it.
        let unused = state.line.renew(ticket, waker);
        let waits = state.line.contains(ticket);
        drop(state);
        unwind::discard(unused);
        !waits
    }

    /// A permit comes back, and goes to the head of the line if there is one (invariant 2).
    fn release(&self) {
        let mut state = self.state.lock();
        // Handed over under the lock, because otherwise a new call could take the permit before the head of the line.
        let next = state.line.pop();
        if next.is_none() {
            state.taken -= 1;
        }
        drop(state);
        next.flatten().into_iter().for_each(unwind::wake_in_turn);
    }

    /// A waiter waits no longer.
    fn leave(&self, ticket: Ticket) {
        let left = self.state.lock().line.leave(ticket);
        match left {
            Some(waker) => unwind::discard(waker),
            None => self.release(), // invariant 3
        }
    }
}

impl State {
    fn take(&mut self, limit: NonZeroUsize) -> bool {
        let there = self.taken < limit.get();
        self.taken += usize::from(there);
        there
    }
}

impl Permit {
    /// A permit, if one is there.
    #[inline]
    pub(super) fn take(permits: &Arc<Permits>) -> Option<Self> {
        let taken = permits.state.lock().take(permits.limit);
        taken.then(|| Self(permits.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A wait for a permit. Dropping it gives up its place, or the permit that it was handed.
pub(super) struct Acquire {
    permits: Arc<Permits>,
    ticket: Option<Ticket>,
}

impl Acquire {
    pub(super) fn new(permits: Arc<Permits>) -> Self {
        Self {
            permits,
            ticket: None,
        }
    }

    /// `most`: how many may wait.
    pub(super) fn poll(
        &mut self,
        most: usize,
        cx: &mut task::Context<'_>,
    ) -> Poll<Result<Permit, Full>> {
        let served = match self.ticket {
            Some(ticket) => self.permits.is_served(ticket, cx.waker().clone()),
            None => {
                self.ticket = self.permits.enter(most, cx.waker().clone())?;
                self.ticket.is_none()
            }
        };
        if !served {
            return Poll::Pending;
        }
        self.ticket = None; // from here on it is the permit that gives itself back
        Poll::Ready(Ok(Permit(self.permits.clone())))
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.permits.leave(ticket);
        }
    }
}
