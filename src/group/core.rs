//! The engine of a group: who runs, who has ended, what ended it, and who hears of it.
//!
//! It knows nothing of what the tasks return, nor of the executor, so both flavours and the aggregator
//! share it.
//!
//! # Invariants
//!
//! 1. **Record, cancel, release, wake.** A task that ends does so in this order ([`Core::complete`]): its
//!    outcome is stored, the context is cancelled if that outcome ends the group, its place counts as
//!    finished, and only then is anybody woken. So an echo of the cancellation can never be the first error,
//!    and whoever finds the group finished finds its outcome too.
//! 2. **What happened first is the error.** The group's context is the judge: its end has an order. A task
//!    whose failure ended it is the first failure; if something else had ended it, that is the error.
//! 3. **A finished task has no future.** A job drops its future before it completes, so `live() == 0` means
//!    that nothing of the user's runs or exists any more.
//! 4. **Nobody sleeps through an end.** A seat's waker and the phase that its job has been told of are one word
//!    (`slot`): a job that parks has seen the phase, or is found by who sets it, seat by seat.
//! 5. **No foreign code under a lock.** Wakers are cloned, dropped and woken, and errors made, outside.
//! 6. **A queued task counts as live.** So no end is declared over its head, and whoever frees a place
//!    finds it.

mod admission;
mod cancellation;
mod completion;
mod seat;
mod waiting;

use super::alarm::Alarm;
use super::failures::Failures;
use super::roster::Roster;
use super::table::Table;
use crate::context::{Context, Hook};
use crate::error::Error;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Apart, Mutex, MutexGuard};
use std::panic::Location;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::time::Duration;

pub(crate) use admission::{Admission, Newcomer, Over};
use cancellation::Rules;
pub(crate) use completion::Outcome;
pub(crate) use seat::Seat;
use seat::{Timing, armed};

/// What the tasks of a group are to do now. It only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Work.
    Run,
    /// The context has ended: come to an end by yourselves, there is a little time.
    Grace,
    /// One more poll, then be dropped.
    Drop,
    /// All have ended.
    Over,
}

impl Phase {
    #[inline]
    fn from_u8(phase: u8) -> Self {
        match phase {
            0 => Self::Run,
            1 => Self::Grace,
            2 => Self::Drop,
            _ => Self::Over,
        }
    }
}

pub(crate) struct Core {
    ctx: Context,
    /// Whether the clock was asked when the group was made, so that the first task needs not ask again.
    timely: bool,
    phase: AtomicU8,
    /// How many tasks there have been, queued ones included (wrapping). Written under the roster's lock.
    spawned: Apart<AtomicU32>,
    /// High half: how many have finished (wrapping). Low half: the list of those not yet looked at, as the
    /// index of the newest plus 1. One word, so that finishing is one atomic step.
    finished: Apart<AtomicU64>,
    /// How many of the live ones are background tasks.
    background: AtomicUsize,
    seats: Table<Seat>,
    roster: Apart<Mutex<Roster>>,
    /// Whether places have been given back, so that they may not be in the order of spawning any more.
    shuffled: AtomicBool,
    /// Whether `Roster::limit` is set: without it the end of a task takes no lock of the roster's.
    limited: AtomicBool,
    /// Who polls `wait` or `next`.
    owner: Mutex<Option<Waker>>,
    /// Whether the owner is to be woken for each task that finishes, not just for the last.
    wake_for_each: AtomicBool,
    /// Whether `rules` are any but the default.
    ruled: AtomicBool,
    rules: Mutex<Rules>,
    /// How many successes suffice; 0: all have to succeed.
    needed: AtomicUsize,
    succeeded: AtomicUsize,
    /// Whether failures leave the others alone.
    tolerant: AtomicBool,
    /// Whether any task did not end in success.
    flawed: AtomicBool,
    /// Whether the context's end was the group's own doing, and no failure.
    ended_by_us: AtomicBool,
    /// The failure that ended the group, and whose it was.
    first: OnceLock<(u32, Error)>,
    failures: Mutex<Failures>,
    /// Whether the context's deadlines have their timers armed for us: see [`Core::arm`].
    armed: AtomicU8,
    alarms: Mutex<Vec<Alarm>>,
    stragglers_due: AtomicBool,
    /// Whether times are taken, and which: they cost a clock reading for each poll.
    timing: OnceLock<Timing>,
    pub(super) origin: &'static Location<'static>,
}

impl Core {
    pub(crate) fn new(
        parent: &Context,
        timeout: Option<Duration>,
        origin: &'static Location<'static>,
    ) -> Arc<Self> {
        let timely = timeout.is_some();
        if timely {
            parent.is_done(); // a deadline that is past counts, even if its timer is late
        }
        let core = Arc::new_cyclic(|core: &Weak<Self>| Self {
            ctx: parent.group(timeout, core.clone(), origin),
            timely,
            phase: AtomicU8::new(Phase::Run as u8),
            spawned: Apart::new(AtomicU32::new(0)),
            finished: Apart::new(AtomicU64::new(0)),
            background: AtomicUsize::new(0),
            seats: Table::new(),
            roster: Apart::new(Mutex::new(Roster::new())),
            shuffled: AtomicBool::new(false),
            limited: AtomicBool::new(false),
            owner: Mutex::new(None),
            wake_for_each: AtomicBool::new(false),
            ruled: AtomicBool::new(false),
            rules: Mutex::new(Rules::default()),
            needed: AtomicUsize::new(0),
            succeeded: AtomicUsize::new(0),
            tolerant: AtomicBool::new(false),
            flawed: AtomicBool::new(false),
            ended_by_us: AtomicBool::new(false),
            first: OnceLock::new(),
            failures: Mutex::new(Failures::default()),
            armed: AtomicU8::new(armed::NO),
            alarms: Mutex::new(Vec::new()),
            stragglers_due: AtomicBool::new(false),
            timing: OnceLock::new(),
            origin,
        });
        // Only now, for its end needs a group to hear of it.
        let at_once = timeout.is_some_and(|timeout| timeout.is_zero());
        if !core.ctx.join_parent(at_once) {
            core.clone().ended();
        }
        core
    }

    pub(crate) fn context(&self) -> &Context {
        &self.ctx
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        Phase::from_u8(self.phase.load(Ordering::Acquire))
    }

    /// Whether all have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.phase() == Phase::Over
    }

    /// Goes on to `phase`, unless that has been reached. Returns whether this call did it.
    fn advance(&self, phase: Phase) -> bool {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel) < phase as u8
    }

    #[inline]
    pub(super) fn seat(&self, index: u32) -> &Seat {
        self.seats.get(index)
    }

    pub(super) fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock()
    }

    /// How many tasks have not finished, those in the queue among them.
    pub(crate) fn live(&self) -> usize {
        // In this order: there are never more finished than spawned.
        let finished = self.finished.load(Ordering::Acquire);
        live(self.spawned.load(Ordering::Acquire), finished)
    }

    /// How many tasks there have been, queued ones included.
    pub(super) fn spawned(&self) -> u32 {
        self.spawned.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.ctx.life().is_some_and(|life| life.has_ended())
    }
}

fn live(spawned: u32, finished: u64) -> usize {
    spawned.wrapping_sub((finished >> 32) as u32) as usize
}
