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
//! 4. **Nobody sleeps through an end.** A job parks under its seat's lock and looks at the phase there; an
//!    end sets the phase before it takes the wakers, seat by seat.
//! 5. **No foreign code under a lock.** Wakers are cloned, dropped and woken, and errors made, outside.
//! 6. **A queued task counts as live.** So no end is declared over its head, and whoever frees a place
//!    finds it.

use super::alarm::Alarm;
use super::failures::{Failed, Failures};
use super::roster::{Entry, Roster, Ticket};
use super::table::Table;
use crate::context::{Context, End, Hook, Released};
use crate::error::{Cause, Error, Name};
use crate::guard;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::panic::Location;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

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
    this: Weak<Core>,
    phase: AtomicU8,
    /// How many tasks there have been, queued ones included (wrapping). Written under the roster's lock.
    spawned: AtomicU32,
    /// High half: how many have finished (wrapping). Low half: the list of those not yet looked at, as the
    /// index of the newest plus 1. One word, so that finishing is one atomic step.
    finished: AtomicU64,
    /// How many of the live ones are background tasks.
    background: AtomicUsize,
    seats: Table<Seat>,
    roster: Mutex<Roster>,
    /// Whether `Roster::limit` is set: without it the end of a task takes no lock of the roster's.
    limited: AtomicBool,
    /// Who polls `wait` or `next`.
    owner: Mutex<Option<Waker>>,
    /// Whether the owner is to be woken for each task that finishes, not just for the last.
    wake_for_each: AtomicBool,
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
    /// Whether times are taken: they cost a clock reading for each poll.
    timed: AtomicBool,
    pub(super) origin: &'static Location<'static>,
    /// Since when.
    since: OnceLock<Instant>,
}

/// What one task shows to the others.
#[derive(Default)]
pub(super) struct Seat {
    waker: Mutex<Option<Waker>>,
    /// The next in the list of the finished, as its index plus 1.
    next: AtomicU32,
    /// How often it was polled, as of the last time it had to wait.
    polls: AtomicU32,
    /// How it ended: see `seat`.
    state: AtomicU8,
    /// Whether it came from the queue and took the place of another in the executor.
    no_handle: AtomicBool,
    /// When it was last polled, in nanoseconds after `Core::since`, plus 1; 0: not that we knew.
    polled_at: AtomicU64,
}

/// The ladder of cancellation.
#[derive(Clone, Copy, Default)]
struct Rules {
    grace: Option<Duration>,
    straggler_limit: Option<Duration>,
}

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

/// How a task ended.
pub(crate) enum Outcome {
    Success,
    Failure(Failed),
    /// It was dropped because the group had ended.
    Cancelled,
}

impl Core {
    pub(crate) fn new(
        parent: &Context,
        timeout: Option<Duration>,
        origin: &'static Location<'static>,
    ) -> Arc<Self> {
        let core = Arc::new_cyclic(|core: &Weak<Self>| Self {
            ctx: parent.group(timeout, core.clone(), origin),
            this: core.clone(),
            phase: AtomicU8::new(Phase::Run as u8),
            spawned: AtomicU32::new(0),
            finished: AtomicU64::new(0),
            background: AtomicUsize::new(0),
            seats: Table::new(),
            roster: Mutex::new(Roster::new()),
            limited: AtomicBool::new(false),
            owner: Mutex::new(None),
            wake_for_each: AtomicBool::new(false),
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
            timed: AtomicBool::new(false),
            origin,
            since: OnceLock::new(),
        });
        if core.ctx.life().is_some_and(|life| life.has_ended_by_now()) {
            core.ended(); // its end may have come before there was a group to hear of it
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

    /// Goes on to `phase`, unless that has been reached. Returns whether this call did it.
    fn advance(&self, phase: Phase) -> bool {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel) < phase as u8
    }

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

/// Coming in.
impl Core {
    /// Gives the newcomer a place. `queue`: whether it may wait for one if the limit is reached.
    #[inline]
    pub(crate) fn admit(&self, newcomer: Newcomer, queue: bool) -> Admission {
        let spawned_at = self
            .timed
            .load(Ordering::Relaxed)
            .then(|| self.ctx.clock().now());
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
        let index = roster.enter(Entry {
            name,
            number,
            location,
            queued: full,
            background,
            spawned_at,
        });
        self.seats.make(index);
        if background {
            self.background.fetch_add(1, Ordering::AcqRel);
        }
        self.spawned.store(roster.spawned, Ordering::Release);
        if full {
            Admission::Queue(index)
        } else {
            Admission::Start(index)
        }
    }

    fn is_full(&self, roster: &Roster) -> bool {
        roster.queued > 0 || self.running(roster) >= roster.limit
    }

    fn running(&self, roster: &Roster) -> usize {
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

    /// The task at `index` has left the queue.
    pub(crate) fn dequeued(&self, index: u32) {
        if let Some(entry) = self.roster.lock().entries.at(index) {
            entry.queued = false;
        }
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
        let waker = seat.waker.lock().take();
        guard::discard(waker);
        seat.polls.store(0, Ordering::Relaxed);
        seat.polled_at.store(0, Ordering::Relaxed);
        seat.state.store(seat::LIVE, Ordering::Relaxed);
        seat.no_handle.store(false, Ordering::Relaxed);
        drop(self.roster.lock().leave(index));
    }

    /// Lets nobody in any more, if there is nobody: true if so.
    pub(crate) fn close_if_idle(&self) -> bool {
        let mut roster = self.roster.lock();
        let idle = self.live() == 0;
        roster.closed |= idle;
        idle
    }
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

    pub(super) fn start_timing(&self, now: Instant) {
        self.since.get_or_init(|| now);
        self.timed.store(true, Ordering::Relaxed);
    }

    /// When the task was last polled, if that has been noted.
    pub(super) fn polled_at(&self, index: u32) -> Option<Instant> {
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
        let elapsed = now.saturating_duration_since(since).as_nanos();
        seat.polled_at.store(
            u64::try_from(elapsed).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
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
    fn arm(&self) {
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
    fn disarm(&self) {
        if self.armed.swap(armed::NEVER_AGAIN, Ordering::AcqRel) == armed::YES {
            if let Some(life) = self.ctx.life() {
                life.unwant_timers(1);
            }
        }
    }
}

/// How a task ended.
mod seat {
    pub(super) const LIVE: u8 = 0;
    pub(super) const SUCCEEDED: u8 = 1;
    /// It failed, or was cancelled.
    pub(super) const FELL: u8 = 2;
}

impl Seat {
    pub(super) fn polls(&self) -> u32 {
        self.polls.load(Ordering::Relaxed)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.state.load(Ordering::Relaxed) != seat::LIVE
    }
}

/// Whether a group waits for its context's deadlines.
mod armed {
    pub(super) const NO: u8 = 0;
    pub(super) const YES: u8 = 1;
    pub(super) const NEVER_AGAIN: u8 = 2;
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
                self.flawed.fetch_or(!background, Ordering::AcqRel);
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
    fn enough(&self) -> Option<Released> {
        let needed = self.needed.load(Ordering::Relaxed);
        if needed == 0 || self.succeeded.load(Ordering::Acquire) < needed {
            return None;
        }
        Some(self.end_by_us())
    }

    fn fail(&self, index: u32, failed: Failed) -> Option<Released> {
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
    fn mark(&self, end: End, note: impl FnOnce()) -> Released {
        match self.ctx.life() {
            Some(life) => life.mark(end, note).1,
            None => Released::default(),
        }
    }

    fn end_by_us(&self) -> Released {
        let note = || self.ended_by_us.store(true, Ordering::Release);
        self.mark(End::canceled(self.origin), note)
    }

    /// Counts the task as finished. Returns whether the owner waits for that.
    #[inline]
    fn release(&self, index: u32, state: u8) -> bool {
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
        let mut roster = self.roster.lock();
        roster
            .entries
            .at(index)
            .as_ref()
            .map_or_else(|| Name::of_number(index as usize), Entry::name)
    }

    /// The failure of the task at `index`.
    pub(crate) fn failure(&self, index: u32) -> Option<Error> {
        self.failures.lock().of(index)
    }

    /// Forgets the failure at `index`, which somebody has been told.
    pub(crate) fn forget_failure(&self, index: u32) {
        let forgotten = self.failures.lock().forget(index);
        guard::discard(forgotten);
    }
}

/// Ending, as a whole.
impl Core {
    pub(crate) fn set_grace(&self, grace: Duration) {
        self.rules.lock().grace = Some(grace);
    }

    pub(crate) fn set_straggler_limit(&self, limit: Duration) {
        self.rules.lock().straggler_limit = Some(limit);
    }

    pub(crate) fn set_ending(&self, needed: usize, tolerant: bool) {
        self.needed.store(needed, Ordering::Relaxed);
        self.tolerant.store(tolerant, Ordering::Relaxed);
    }

    /// Ends the group's context with a reason.
    pub(crate) fn cancel(&self, cause: Cause) {
        self.mark(End::canceled_by(cause), || {}).run();
    }

    /// Ends the group's context because the group has what it wanted.
    pub(crate) fn finish(&self) {
        self.end_by_us().run();
    }

    /// All have ended: nothing is left to be woken.
    pub(crate) fn over(&self) {
        self.advance(Phase::Over);
        self.disarm();
        self.finish();
        self.stop_alarms();
    }

    /// The group is being dropped: nobody waits, so there is no grace.
    pub(crate) fn abandon(&self) {
        if self.phase() == Phase::Over {
            return;
        }
        *self.rules.lock() = Rules::default();
        self.finish();
        self.drop_now();
        self.disarm(); // whoever else ended it may find no group any more
        self.stop_alarms(); // the ladder has been climbed
    }

    /// The last rung but one: everyone is polled once more, unless that has happened, and dropped.
    pub(super) fn drop_now(self: &Core) {
        if self.advance(Phase::Drop) {
            self.wake_tasks();
        }
    }

    pub(super) fn stragglers_are_due(&self) {
        self.stragglers_due.store(true, Ordering::Release);
        self.wake_owner();
    }

    fn wake_tasks(&self) {
        let length = self.roster.lock().length;
        for index in 0..length {
            let seat = self.seat(index);
            if !seat.is_finished() {
                let waker = seat.waker.lock().take();
                waker.into_iter().for_each(guard::wake);
            }
        }
    }

    fn stop_alarms(&self) {
        // Dropped unlocked: stopping an alarm may drop what the clock keeps for it.
        let alarms = std::mem::take(&mut *self.alarms.lock());
        drop(alarms);
    }

    pub(crate) fn is_tolerant(&self) -> bool {
        self.tolerant.load(Ordering::Relaxed)
    }

    pub(crate) fn is_flawed(&self) -> bool {
        self.flawed.load(Ordering::Acquire)
    }

    /// Whether all have ended, and all well.
    pub(crate) fn has_succeeded(&self) -> bool {
        self.phase() == Phase::Over && !self.is_flawed()
    }

    /// Whether the failure of the task at `index` is what ended the group.
    pub(crate) fn is_first(&self, index: u32) -> bool {
        self.first.get().is_some_and(|(first, _)| *first == index)
    }

    /// The tasks whose outcome has not been taken, background tasks left out, in the order of spawning.
    pub(crate) fn remaining(&self) -> Vec<u32> {
        let roster = self.roster.lock();
        let ours = roster.entries.iter().filter(|(_, entry)| !entry.background);
        let mut remaining: Vec<_> = ours.map(|(index, entry)| (entry.number, index)).collect();
        drop(roster);
        remaining.sort_unstable();
        remaining.into_iter().map(|(_, index)| index).collect()
    }

    /// Whether places are in the order of spawning: until one is given away again.
    pub(crate) fn is_in_order(&self) -> bool {
        let roster = self.roster.lock();
        roster.spawned == roster.length
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Acquire)
    }
}

impl Hook for Core {
    fn ended(&self) {
        let Rules { grace, .. } = *self.rules.lock();
        let phase = if grace.is_some() {
            Phase::Grace
        } else {
            Phase::Drop
        };
        if !self.advance(phase) {
            return;
        }
        self.disarm();
        self.wake_tasks();
        self.wake_ready();
        self.wake_owner();
        // Last, for it asks the clock, which is foreign. A limit that can't be kept has passed.
        if let Err(payload) = guard::contain(|| self.set_alarms(phase)) {
            guard::discard(payload);
            self.drop_now();
            self.stragglers_are_due();
        }
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync> {
        self
    }
}

/// Time limits after the end.
impl Core {
    fn set_alarms(&self, phase: Phase) {
        let Rules {
            grace,
            straggler_limit,
        } = *self.rules.lock();
        let mut alarms = Vec::new();
        let grace = grace.filter(|_| phase == Phase::Grace);
        if let Some(grace) = grace {
            alarms.push(Alarm::new(
                &self.ctx,
                self.this.clone(),
                grace,
                Core::drop_now,
            ));
        }
        if let Some(limit) = straggler_limit {
            let after = grace.unwrap_or_default().saturating_add(limit);
            alarms.push(Alarm::new(
                &self.ctx,
                self.this.clone(),
                after,
                Core::stragglers_are_due,
            ));
        }
        if !alarms.is_empty() {
            self.alarms.lock().append(&mut alarms);
        }
        if self.phase() == Phase::Over {
            self.stop_alarms(); // all ended meanwhile, and found none to stop
        }
    }
}

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
        if self
            .owner
            .lock()
            .as_ref()
            .is_some_and(|current| current.will_wake(waker))
        {
            return;
        }
        let waker = waker.clone();
        let replaced = self.owner.lock().replace(waker);
        guard::discard(replaced);
    }

    /// Nobody waits any more.
    pub(crate) fn unwatch(&self) {
        let owner = self.owner.lock().take();
        guard::discard(owner);
    }

    /// Lets nobody in any more, if nobody is left whom the group needs: true if so. Under the roster's lock,
    /// so that who is let in is not cancelled by a decision made without him.
    pub(crate) fn close_if_useless(&self) -> bool {
        let mut roster = self.roster.lock();
        let useless = self.is_idle() || self.is_out_of_reach();
        roster.closed |= useless;
        useless
    }

    /// Whether only background tasks are left.
    pub(crate) fn is_idle(&self) -> bool {
        self.live() <= self.background.load(Ordering::Acquire)
    }

    /// Whether enough successes can't be had any more, supposing that nobody else comes in.
    fn is_out_of_reach(&self) -> bool {
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

    fn first_failure(&self) -> Option<Error> {
        let (index, first) = self.first.get()?;
        if self.live() == 0 || self.are_stragglers_due() {
            let (others, omitted) = self.failures.lock().others(*index);
            first.set_others(others, omitted); // once: so not before all are known
        }
        Some(first.clone())
    }

    /// The names of those who did not succeed, in the order of their places.
    pub(crate) fn unsuccessful(&self) -> Vec<String> {
        let fell = |index| self.seat(index).state.load(Ordering::Relaxed) != seat::SUCCEEDED;
        let roster = self.roster.lock();
        let unsuccessful = roster.entries.iter().filter(|(index, _)| fell(*index));
        unsuccessful
            .map(|(_, entry)| entry.name().to_string())
            .collect()
    }

    /// Those who are still running.
    pub(crate) fn stragglers(&self) -> Error {
        let roster = self.roster.lock();
        let running = roster
            .entries
            .iter()
            .filter(|(index, entry)| !entry.queued && !self.seat(*index).is_finished());
        let mut names: Vec<_> = running
            .map(|(_, entry)| (entry.number, entry.name()))
            .collect();
        drop(roster);
        names.sort_by_key(|(number, _)| *number);
        let names = names.into_iter().map(|(_, name)| name).collect();
        let after = self.rules.lock().straggler_limit.unwrap_or_default();
        Error::Stragglers {
            names,
            after,
            error: Box::new(self.end_error()),
        }
    }

    fn wake_owner(&self) {
        let owner = self.owner.lock().take();
        owner.into_iter().for_each(guard::wake);
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
    fn next_ready(&self) -> Option<Waker> {
        if self.is_limited() {
            self.roster.lock().call_first()
        } else {
            None
        }
    }

    fn wake_ready(&self) {
        let line = self.roster.lock().call_all();
        line.into_iter().for_each(guard::wake);
    }
}

/// The group has ended.
pub(crate) struct Over;

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
