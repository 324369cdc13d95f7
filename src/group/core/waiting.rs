//! Waiting for it all, and what came of it.

use super::Core;
use super::seat::{self, Seat};
use crate::context::End;
use crate::error::Error;
use crate::guard;
use crate::sync::atomic::Ordering;
use std::mem;
use std::task::Waker;

/// Waiting for it all.
impl Core {
    /// Makes `waker` the one to be woken when the group has finished (or each task).
    pub(crate) fn watch(&self, waker: &Waker, each: bool) {
        let each = each || self.needed.load(Ordering::Relaxed) > 0;
        if each && !self.wake_for_each.load(Ordering::Relaxed) {
            self.wake_for_each.store(true, Ordering::Relaxed);
            // Who finishes after this step sees the flag, and who finished before it is seen by us.
            self.finished.fetch_or(0, Ordering::AcqRel);
        } else if !each {
            self.wake_for_each.store(false, Ordering::Relaxed);
        }
        // Cloned first, even if that turns out to be for nothing: cheaper than a lock to find out.
        let unused = {
            let mut new = Some(waker.clone());
            let mut owner = self.owner.lock();
            if !owner
                .as_ref()
                .is_some_and(|current| current.will_wake(waker))
            {
                mem::swap(&mut *owner, &mut new);
            }
            new
        };
        guard::discard(unused);
    }

    /// Nobody waits any more.
    pub(crate) fn unwatch(&self) {
        let owner = self.owner.lock().take();
        guard::discard(owner);
    }

    /// Lets nobody in any more, if nobody is left whom the group needs: true if so. Under the roster's lock,
    /// so that who is let in is not cancelled by a decision made without him.
    pub(crate) fn close_if_useless(&self) -> bool {
        let is_useless = || self.is_idle() || self.is_out_of_reach();
        if !is_useless() {
            return false;
        }
        let mut roster = self.roster.lock();
        let useless = is_useless();
        roster.closed |= useless;
        useless
    }

    /// Whether only background tasks are left.
    pub(crate) fn is_idle(&self) -> bool {
        self.live() <= self.background.load(Ordering::Acquire)
    }

    /// Whether enough successes can't be had any more, supposing that nobody else comes in.
    pub(super) fn is_out_of_reach(&self) -> bool {
        let needed = self.needed.load(Ordering::Relaxed);
        // In this order: a task stops being live after all else it does, so that it is counted as one or
        // the other, or, for a moment, as both; never as neither.
        let live = self.live();
        let background = self.background.load(Ordering::Acquire);
        let possible = self.succeeded.load(Ordering::Acquire) + live.saturating_sub(background);
        needed > 0 && possible < needed
    }

    pub(crate) fn are_stragglers_due(&self) -> bool {
        self.stragglers_due.load(Ordering::Acquire)
    }

    /// What ended the group; `None` if it succeeded. To be asked when all have ended.
    pub(crate) fn verdict(&self) -> Option<Error> {
        let needed = self.needed.load(Ordering::Relaxed);
        if needed == 0 {
            // Flawed without an error: only the echoes of our own end, when all was done.
            return self.is_flawed().then(|| self.error()).flatten();
        }
        let succeeded = self.succeeded.load(Ordering::Acquire);
        let missed = || self.error().unwrap_or(Error::Quorum { needed, succeeded });
        (succeeded < needed).then(missed)
    }

    /// What ended the group, or will.
    pub(crate) fn error(&self) -> Option<Error> {
        if self.needed.load(Ordering::Relaxed) > 0 {
            // Failures are tolerated, so they ended nothing as long as somebody else did.
            return self.context_error().or_else(|| self.first_failure());
        }
        self.first_failure().or_else(|| self.context_error())
    }

    /// What the context's end says, if that was not the group's own doing.
    pub(crate) fn context_error(&self) -> Option<Error> {
        let by_us = self.ended_by_us.load(Ordering::Acquire);
        self.ctx.end_state().filter(|_| !by_us).map(End::into_error)
    }

    /// What to tell those who find that the group has ended.
    pub(crate) fn end_error(&self) -> Error {
        let ended = || {
            self.ctx
                .end_state()
                .unwrap_or_else(|| End::canceled(self.origin))
                .into_error()
        };
        match self.is_tolerant() {
            true => ended(), // no failure ended it
            false => self.error().unwrap_or_else(ended),
        }
    }

    pub(super) fn first_failure(&self) -> Option<Error> {
        let (index, first) = self.first.get()?;
        if self.live() == 0 || self.are_stragglers_due() {
            let (others, omitted) = self.failures.lock().others(*index);
            first.set_others(others, omitted); // once: so not before all are known
        }
        Some(first.clone())
    }

    /// The names of those who did not succeed, in the order of their places.
    pub(crate) fn unsuccessful(&self) -> Vec<String> {
        let fell = |seat: &Seat| !seat.is(seat::VACANT) && !seat.is(seat::SUCCEEDED);
        let roster = self.roster.lock();
        let unsuccessful = (0..roster.length).filter(|index| fell(self.seat(*index)));
        unsuccessful
            .map(|index| self.name_in(&roster, index).to_string())
            .collect()
    }

    /// Those who are still running.
    pub(crate) fn stragglers(&self) -> Error {
        let roster = self.roster.lock();
        let running = (0..roster.length).filter(|index| self.seat(*index).is(seat::LIVE));
        let mut names: Vec<_> = running
            .map(|index| (self.seat(index).number(), self.name_in(&roster, index)))
            .collect();
        drop(roster);
        names.sort_by_key(|(number, _)| *number);
        let names = names.into_iter().map(|(_, name)| name).collect();
        let after = self.rules().straggler_limit.unwrap_or_default();
        Error::Stragglers {
            names,
            after,
            error: Box::new(self.end_error()),
        }
    }

    pub(super) fn wake_owner(&self) {
        let owner = self.owner.lock().take();
        owner.into_iter().for_each(guard::wake);
    }
}
