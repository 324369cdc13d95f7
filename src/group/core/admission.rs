//! Coming in: places, the limit, and the line of those who wait for one.

use super::super::roster::{Roster, Ticket};
use super::{Core, Phase, seat};
use crate::error::Name;
use crate::guard;
use crate::sync::atomic::Ordering;
use std::panic::Location;
use std::task::Waker;

/// What a new task is.
pub(crate) struct Newcomer {
    pub(crate) name: Option<Name>,
    pub(crate) location: &'static Location<'static>,
    pub(crate) background: bool,
}

impl Newcomer {
    pub(crate) fn new(name: Option<Name>, location: &'static Location<'static>) -> Self {
        Self {
            name,
            location,
            background: false,
        }
    }
}

/// Where a new task goes.
pub(crate) enum Admission {
    Start(u32),
    Queue(u32),
    /// The limit is reached, and the task is not one to queue.
    Full,
    /// The group has ended.
    Over,
}

/// The group has ended.
pub(crate) struct Over;

/// Coming in.
impl Core {
    /// Gives the newcomer a place. `queue`: whether it may wait for one if the limit is reached.
    #[inline]
    pub(crate) fn admit(&self, newcomer: Newcomer, queue: bool) -> Admission {
        self.ask_clock_once();
        let now = self.is_timed().then(|| self.ctx.clock().now()); // foreign: before the place is taken
        let mut roster = self.roster.lock();
        if roster.closed || self.has_ended() {
            return Admission::Over;
        }
        // Background tasks serve the others: they would wait for them for ever.
        let full =
            !newcomer.background && self.limited.load(Ordering::Relaxed) && self.is_full(&roster);
        if full && !queue {
            return Admission::Full;
        }
        let Newcomer {
            name,
            location,
            background,
        } = newcomer;
        let number = roster.spawned;
        let index = roster.enter(name, location);
        let seat = self.seats.make(index);
        let state = if full { seat::QUEUED } else { seat::LIVE };
        seat.state.store(state, Ordering::Relaxed);
        seat.number.store(number, Ordering::Relaxed);
        if background {
            seat.background.store(true, Ordering::Relaxed);
            self.background.fetch_add(1, Ordering::AcqRel);
        }
        self.spawned.store(roster.spawned, Ordering::Release);
        drop(roster);
        if let Some(now) = now {
            self.note_spawn(index, now);
        }
        if full {
            Admission::Queue(index)
        } else {
            Admission::Start(index)
        }
    }

    /// A deadline that is past counts, even if nobody waited for it so far.
    #[inline]
    fn ask_clock_once(&self) {
        if !self.timely && self.spawned() == 0 {
            self.ctx.is_done();
        }
    }

    pub(super) fn is_full(&self, roster: &Roster) -> bool {
        roster.queued > 0 || self.running(roster) >= roster.limit
    }

    pub(super) fn running(&self, roster: &Roster) -> usize {
        // The limit is not for background tasks, so they take nobody's place.
        let background = self.background.load(Ordering::Acquire);
        self.live().saturating_sub(roster.queued + background)
    }

    /// Counts a task that was refused because the group had ended: what it should have done is not done.
    pub(crate) fn skip(&self) {
        self.flawed.store(true, Ordering::Release);
    }

    pub(crate) fn set_limit(&self, limit: usize) {
        self.roster.lock().limit = limit;
        self.limited.store(true, Ordering::Release);
    }

    /// The task at `index` is in the queue.
    pub(crate) fn queued(&self) {
        self.roster.lock().queued += 1;
    }

    /// Whether a task from the queue may start now: then it no longer counts as queued. Asked by whoever
    /// has freed a place, and by whoever has queued a task, so that none is forgotten (invariant 6).
    pub(crate) fn may_start_queued(&self) -> bool {
        if !self.limited.load(Ordering::Acquire) {
            return false;
        }
        let mut roster = self.roster.lock();
        let may = roster.queued > 0 && (self.running(&roster) < roster.limit || self.has_ended());
        roster.queued -= usize::from(may);
        may
    }

    /// The task at `index` has left the queue: it runs as soon as the executor polls it.
    pub(crate) fn dequeued(&self, index: u32) {
        self.seat(index).state.store(seat::LIVE, Ordering::Relaxed);
    }

    /// The task at `index` is run without a handle of the executor's being kept for it. Said before it runs,
    /// so whoever finds it finished knows.
    pub(crate) fn goes_without_handle(&self, index: u32) {
        self.seat(index).no_handle.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_no_handle(&self, index: u32) -> bool {
        self.seat(index).no_handle.load(Ordering::Relaxed)
    }

    /// Frees a place whose outcome has been taken.
    pub(crate) fn vacate(&self, index: u32) {
        let seat = self.seat(index);
        guard::discard(seat.waker.take());
        seat.polls.store(0, Ordering::Relaxed);
        self.forget_times(index);
        seat.background.store(false, Ordering::Relaxed);
        seat.no_handle.store(false, Ordering::Relaxed);
        seat.state.store(seat::VACANT, Ordering::Relaxed);
        self.shuffled.store(true, Ordering::Relaxed);
        let name = self.roster.lock().leave(index);
        drop(name);
    }

    /// Lets nobody in any more, if there is nobody: true if so.
    pub(crate) fn close_if_idle(&self) -> bool {
        if self.live() > 0 {
            return false;
        }
        let mut roster = self.roster.lock();
        let idle = self.live() == 0;
        roster.closed |= idle;
        idle
    }
}

/// Waiting for a free place.
impl Core {
    /// `Ok(true)`: there is one. `Ok(false)`: `waker` will be woken. `Err`: the group has ended.
    pub(crate) fn poll_ready(
        &self,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Result<bool, Over> {
        let waker = waker.clone();
        self.ask_clock_once();
        let mut roster = self.roster.lock();
        // The phase tells of the end only when it is known what it was (invariant 1); who comes before that
        // stands in line, and is called.
        if roster.closed || self.phase() > Phase::Run {
            drop(roster);
            return Err(Over);
        }
        let free = !self.has_ended()
            && roster.is_first(*ticket)
            && !(self.is_limited() && self.is_full(&roster));
        let (unused, next) = match free {
            // Whoever is next may find a place too, or this one may not use its turn.
            true => (
                ticket.take().and_then(|ticket| roster.leave_line(ticket)),
                roster.call_first(),
            ),
            false => (roster.stand_in_line(ticket, waker), None),
        };
        drop(roster);
        guard::discard(unused);
        next.into_iter().for_each(guard::wake);
        if !free {
            self.arm();
        }
        Ok(free)
    }

    /// Leaves the line, and passes on a wake-up that may have been for it.
    pub(crate) fn leave_line(&self, ticket: Ticket) {
        let (left, next) = {
            let mut roster = self.roster.lock();
            (roster.leave_line(ticket), roster.call_first())
        };
        guard::discard(left);
        next.into_iter().for_each(guard::wake);
    }

    /// A place is free: the first in line is to be told.
    #[inline]
    pub(super) fn next_ready(&self) -> Option<Waker> {
        if self.is_limited() {
            self.roster.lock().call_first()
        } else {
            None
        }
    }

    pub(super) fn wake_ready(&self) {
        let line = self.roster.lock().call_all();
        line.into_iter().for_each(guard::wake);
    }
}
