//! Being polled: what a task shows to the others, and how it waits without sleeping through an end.

use super::super::table::Table;
use super::{Core, Phase};
use crate::slot::WakerSlot;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

/// What one task shows to the others.
#[derive(Default)]
pub(crate) struct Seat {
    /// Its waker, and the phase that it has been told of: the slot's step.
    pub(super) waker: WakerSlot,
    /// See `seat`. It becomes live under the roster's lock.
    pub(super) state: AtomicU8,
    pub(super) background: AtomicBool,
    /// Whether it came from the queue and took the place of another in the executor.
    pub(super) no_handle: AtomicBool,
    /// Which one it is in the order of spawning, counted from 0.
    pub(super) number: AtomicU32,
    /// The next in the list of the finished, as its index plus 1.
    pub(super) next: AtomicU32,
    /// How often it was polled, as of the last time it had to wait.
    pub(super) polls: AtomicU32,
}

// What a seat's task is doing.
pub(super) const VACANT: u8 = 0;
pub(super) const QUEUED: u8 = 1;
pub(super) const LIVE: u8 = 2;
pub(super) const SUCCEEDED: u8 = 3;
/// It failed, or was cancelled.
pub(super) const FELL: u8 = 4;

/// When things happened, once somebody has asked.
pub(super) struct Timing {
    since: Instant,
    times: Table<Times>,
}

/// When a task was spawned, and when it was last polled.
#[derive(Default)]
struct Times {
    spawned: Noted,
    polled: Noted,
}

/// In nanoseconds after `Timing::since`, plus 1; 0: not that we knew.
#[derive(Default)]
struct Noted(AtomicU64);

impl Timing {
    fn note(&self, noted: &Noted, now: Instant) {
        let after = now.saturating_duration_since(self.since);
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        noted.0.store(nanos.saturating_add(1), Ordering::Relaxed);
    }

    fn when(&self, noted: &Noted) -> Option<Instant> {
        let nanos = noted.0.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.since + Duration::from_nanos(nanos))
    }
}

impl Seat {
    pub(in crate::group) fn polls(&self) -> u32 {
        self.polls.load(Ordering::Relaxed)
    }

    pub(in crate::group) fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    pub(in crate::group) fn is_queued(&self) -> bool {
        self.is(QUEUED)
    }

    /// Whether it has a task that has not ended.
    pub(in crate::group) fn is_live(&self) -> bool {
        self.is(LIVE) || self.is(QUEUED)
    }

    pub(super) fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::Relaxed) == state
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
    /// A poll begins: in which phase.
    #[inline]
    pub(crate) fn polling(&self, index: u32, seat: &Seat) -> Phase {
        if self.is_timed() {
            self.note_poll(index);
        }
        Phase::from_u8(seat.waker.step())
    }

    /// Whether times are taken.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.timing.get().is_some()
    }

    pub(in crate::group) fn start_timing(&self, now: Instant) {
        let times = Table::new();
        self.timing.get_or_init(|| Timing { since: now, times });
    }

    pub(super) fn note_spawn(&self, index: u32, now: Instant) {
        if let Some(timing) = self.timing.get() {
            timing.note(&timing.times.make(index).spawned, now);
        }
    }

    fn note_poll(&self, index: u32) {
        if let Some(timing) = self.timing.get() {
            let now = self.ctx.clock().now();
            timing.note(&timing.times.make(index).polled, now);
        }
    }

    /// When the task was spawned, and when it was last polled, if that has been noted.
    pub(in crate::group) fn times(&self, index: u32) -> (Option<Instant>, Option<Instant>) {
        let Some(timing) = self.timing.get() else {
            return (None, None);
        };
        let times = timing.times.make(index);
        (timing.when(&times.spawned), timing.when(&times.polled))
    }

    pub(super) fn forget_times(&self, index: u32) {
        if let Some(timing) = self.timing.get() {
            let times = timing.times.make(index);
            times.spawned.0.store(0, Ordering::Relaxed);
            times.polled.0.store(0, Ordering::Relaxed);
        }
    }

    /// Leaves the waker, to be woken when the phase moves on from `seen`. False if it has (invariant 4).
    ///
    /// `polls`: how often the task has been polled.
    #[inline]
    pub(crate) fn park(&self, seat: &Seat, waker: &Waker, seen: Phase, polls: u32) -> bool {
        self.arm();
        seat.polls.store(polls, Ordering::Relaxed);
        #[allow(unsafe_code, reason = "see `slot`")]
        // SAFETY: a seat is one job's until it is vacated, when the job has ended; and the job parks while it
        // is polled, by one thread at a time.
        unsafe {
            seat.waker.park(waker, seen as u8)
        }
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
        if self.rules().straggler_limit.is_some() {
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
