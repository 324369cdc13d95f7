//! Being polled: what a task shows to the others, and how it waits without sleeping through an end.

use super::{Core, Phase};
use crate::guard;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

/// What one task shows to the others.
#[derive(Default)]
pub(in crate::group) struct Seat {
    pub(super) waker: Mutex<Option<Waker>>,
    /// The next in the list of the finished, as its index plus 1.
    pub(super) next: AtomicU32,
    /// How often it was polled, as of the last time it had to wait.
    pub(super) polls: AtomicU32,
    /// How it ended: see `seat`.
    pub(super) state: AtomicU8,
    /// Whether it came from the queue and took the place of another in the executor.
    pub(super) no_handle: AtomicBool,
    /// When it was last polled, in nanoseconds after `Core::since`, plus 1; 0: not that we knew.
    pub(super) polled_at: AtomicU64,
}

// How a task ended.
pub(super) const LIVE: u8 = 0;
pub(super) const SUCCEEDED: u8 = 1;
/// It failed, or was cancelled.
pub(super) const FELL: u8 = 2;

impl Seat {
    pub(in crate::group) fn polls(&self) -> u32 {
        self.polls.load(Ordering::Relaxed)
    }

    pub(in crate::group) fn is_finished(&self) -> bool {
        self.state.load(Ordering::Relaxed) != LIVE
    }
}

/// Whether a group waits for its context's deadlines.
pub(super) mod armed {
    pub(in crate::group::core) const NO: u8 = 0;
    pub(in crate::group::core) const YES: u8 = 1;
    pub(in crate::group::core) const NEVER_AGAIN: u8 = 2;
}

/// Being polled.
impl Core {
    /// A poll begins.
    #[inline]
    pub(crate) fn polling(&self, index: u32) {
        if self.timed.load(Ordering::Relaxed) {
            self.note_time(self.seat(index));
        }
    }

    pub(in crate::group) fn start_timing(&self, now: Instant) {
        self.since.get_or_init(|| now);
        self.timed.store(true, Ordering::Relaxed);
    }

    /// When the task was last polled, if that has been noted.
    pub(in crate::group) fn polled_at(&self, index: u32) -> Option<Instant> {
        let nanos = self
            .seat(index)
            .polled_at
            .load(Ordering::Relaxed)
            .checked_sub(1)?;
        Some(*self.since.get()? + Duration::from_nanos(nanos))
    }

    fn note_time(&self, seat: &Seat) {
        let now = self.ctx.clock().now();
        let since = self.since.get().copied().unwrap_or(now);
        let nanos = now.saturating_duration_since(since).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        seat.polled_at
            .store(nanos.saturating_add(1), Ordering::Relaxed);
    }

    /// Leaves the waker, to be woken when the phase moves on from `seen`. False if it has (invariant 4).
    ///
    /// `polls`: how often the task has been polled. After the first time the waker may well be there.
    #[inline]
    pub(crate) fn park(&self, index: u32, waker: &Waker, seen: Phase, polls: u32) -> bool {
        self.arm();
        let seat = self.seat(index);
        seat.polls.store(polls, Ordering::Relaxed);
        if polls > 1 {
            let current = seat.waker.lock();
            if self.phase() != seen {
                return false;
            }
            if current
                .as_ref()
                .is_some_and(|current| current.will_wake(waker))
            {
                return true;
            }
        }
        let waker = waker.clone();
        let mut current = seat.waker.lock();
        let replaced = current.replace(waker);
        let parked = self.phase() == seen;
        drop(current);
        if replaced.is_some() {
            guard::discard(replaced);
        }
        parked
    }

    /// Has the context's deadlines armed, from the first task on that has to wait: a fan-out that never
    /// waits costs no timer.
    #[inline]
    pub(super) fn arm(&self) {
        if self.armed.load(Ordering::Relaxed) == armed::NO {
            self.arm_now();
        }
    }

    /// The same from who waits for stragglers, or for a place: tasks that are not polled arm nothing.
    pub(crate) fn arm_for_stragglers(&self) {
        let limit = self.rules.lock().straggler_limit;
        if limit.is_some() {
            self.arm();
        }
    }

    fn arm_now(&self) {
        let (no, yes) = (armed::NO, armed::YES);
        if self
            .armed
            .compare_exchange(no, yes, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            if let Some(life) = self.ctx.life() {
                life.want_timers(1);
            }
        }
    }

    /// Gives the timers up, for good.
    pub(super) fn disarm(&self) {
        if self.armed.swap(armed::NEVER_AGAIN, Ordering::AcqRel) == armed::YES {
            if let Some(life) = self.ctx.life() {
                life.unwant_timers(1);
            }
        }
    }
}
