//! Ending, one by one: record, cancel, release, wake.

use super::super::failures::Failed;
use super::super::roster::Roster;
use super::{Core, live, seat};
use crate::context::{End, Released};
use crate::error::{Cause, Error, Name};
use crate::guard;
use crate::sync::atomic::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

/// How a task ended.
pub(crate) enum Outcome {
    Success,
    Failure(Failed),
    /// It was dropped because the group had ended.
    Cancelled,
}

/// Whom the end of a task wakes: the last step of invariant 1.
#[must_use = "nobody has been woken yet: run it"]
pub(crate) struct Wakes {
    released: Option<Released>,
    owner: Option<Waker>,
    ready: Option<Waker>,
}

impl Wakes {
    #[inline]
    pub(crate) fn run(self) {
        if let Some(released) = self.released {
            released.run();
        }
        self.owner.into_iter().for_each(guard::wake);
        self.ready.into_iter().for_each(guard::wake);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.released.is_none() && self.owner.is_none() && self.ready.is_none()
    }
}

/// Ending, one by one.
impl Core {
    /// Whether one more success is wanted: it then counts.
    #[inline]
    pub(crate) fn counts_success(&self) -> bool {
        match self.needed.load(Ordering::Relaxed) {
            0 => true,
            needed => self.succeeded.fetch_add(1, Ordering::AcqRel) < needed,
        }
    }

    /// A task has ended: invariant 1. Its future is gone (invariant 3), its result is stored.
    ///
    /// Returns whom to wake, which is the caller's to do.
    #[inline]
    pub(crate) fn complete(&self, index: u32, outcome: Outcome, background: bool) -> Wakes {
        let state = if matches!(outcome, Outcome::Success) {
            seat::SUCCEEDED
        } else {
            seat::FELL
        };
        let released = match outcome {
            Outcome::Success => self.enough(),
            Outcome::Failure(failed) => self.fail(index, failed),
            Outcome::Cancelled => {
                if !background && !self.is_flawed() {
                    self.skip(); // once: a store each would be one too many for those who come after
                }
                None
            }
        };
        if background {
            self.background.fetch_sub(1, Ordering::AcqRel);
        }
        let owner = if self.release(index, state) {
            self.owner.lock().take()
        } else {
            None
        };
        Wakes {
            released,
            owner,
            ready: self.next_ready(),
        }
    }

    /// The executor has dropped a task. There is nobody to start the next in the queue: the owner has to.
    pub(crate) fn complete_lost(&self, index: u32, outcome: Outcome, background: bool) -> Wakes {
        let mut wakes = self.complete(index, outcome, background);
        if wakes.owner.is_none() && self.is_limited() {
            wakes.owner = self.owner.lock().take();
        }
        wakes
    }

    /// Ends the group if the last success was the one that it took.
    #[inline]
    pub(super) fn enough(&self) -> Option<Released> {
        let needed = self.needed.load(Ordering::Relaxed);
        if needed == 0 || self.succeeded.load(Ordering::Acquire) < needed {
            return None;
        }
        Some(self.end_by_us())
    }

    pub(super) fn fail(&self, index: u32, failed: Failed) -> Option<Released> {
        let error = failed.into_error(self.name(index));
        let tolerant = self.tolerant.load(Ordering::Relaxed);
        self.failures.lock().record(index, &error, !tolerant);
        self.flawed.store(true, Ordering::Release);
        if tolerant {
            if !self.has_ended() {
                let _ = self.first.set((index, error));
            }
            return None;
        }
        let cause = Cause::given(Arc::new(error.alone()), self.origin);
        let mut error = Some(error);
        let note = || {
            let first = error.take().map(|error| self.first.set((index, error)));
            debug_assert!(matches!(first, Some(Ok(())))); // invariant 2: a context ends once
        };
        let released = self.mark(End::canceled_by(cause), note);
        guard::discard(error); // perhaps the last of it: not everyone's is kept
        Some(released)
    }

    /// Ends the context; `note` notes it, if this is what ended it, before anybody can see it.
    pub(super) fn mark(&self, end: End, note: impl FnOnce()) -> Released {
        match self.ctx.life() {
            Some(life) => life.mark(end, note).1,
            None => Released::default(),
        }
    }

    pub(super) fn end_by_us(&self) -> Released {
        let note = || self.ended_by_us.store(true, Ordering::Release);
        self.mark(End::canceled(self.origin), note)
    }

    /// Counts the task as finished. Returns whether the owner waits for that.
    #[inline]
    pub(super) fn release(&self, index: u32, state: u8) -> bool {
        let seat = self.seat(index);
        seat.state.store(state, Ordering::Relaxed);
        let mut old = self.finished.load(Ordering::Relaxed);
        let new = loop {
            seat.next.store(old as u32, Ordering::Relaxed);
            let count = ((old >> 32) as u32).wrapping_add(1);
            let new = u64::from(count) << 32 | u64::from(index + 1);
            match self
                .finished
                .compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => break new,
                Err(other) => old = other,
            }
        };
        // All who came in before the last release did so before this load sees them finished.
        let left = live(self.spawned.load(Ordering::Acquire), new);
        left <= self.background.load(Ordering::Acquire)
            || self.wake_for_each.load(Ordering::Relaxed)
    }

    /// Those who have finished since the last call, the first first.
    pub(crate) fn take_finished(&self, into: &mut VecDeque<u32>) {
        let list = self
            .finished
            .fetch_and(!u64::from(u32::MAX), Ordering::AcqRel) as u32;
        let mut next = list;
        let known = into.len();
        while let Some(index) = next.checked_sub(1) {
            into.push_back(index);
            next = self.seat(index).next.load(Ordering::Relaxed);
        }
        into.make_contiguous()[known..].reverse();
    }

    pub(crate) fn name(&self, index: u32) -> Name {
        self.name_in(&self.roster.lock(), index)
    }

    pub(in crate::group) fn name_in(&self, roster: &Roster, index: u32) -> Name {
        let number = || Name::of_number(self.seat(index).number() as usize);
        roster.name(index).cloned().unwrap_or_else(number)
    }

    /// The failure of the task at `index`. The one that ended the group is known even if too many came at
    /// once for all to be kept.
    pub(crate) fn failure(&self, index: u32) -> Option<Error> {
        let first = self
            .first
            .get()
            .filter(|_| self.is_first(index) && !self.is_tolerant());
        first
            .map(|(_, error)| error.clone())
            .or_else(|| self.failures.lock().of(index))
    }

    /// Forgets the failure at `index`, which somebody has been told.
    pub(crate) fn forget_failure(&self, index: u32) {
        let forgotten = self.failures.lock().forget(index);
        guard::discard(forgotten);
    }
}
