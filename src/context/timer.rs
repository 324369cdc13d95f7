//! The timer behind a deadline: armed while there are waiters, driven by the clock's own wake-up.
//!
//! # Invariants
//!
//! 1. The timer is armed while `wanted` is above zero, and dropped when that becomes zero or the node has ended. A thread
//!    that changes that has the turn, or leaves a note for the one that has it. Meanwhile the timer shows nothing, so
//!    its flag has the clock read by all that look at it, and so does one that begins to want it.
//! 2. The clock's code runs in the turn, outside of every lock, and contained: a panic ends the node, and nothing else.
//! 3. A wake-up that comes from inside of the timer's own poll only sets `due`. The timer is not polled again in that
//!    call stack, because some timers (tokio's, when a task has spent its budget) would do the same for ever. It is
//!    polled again by the next [`poll_due`](super::Node::poll_due), or by a nudge of the system's timer a moment later.
//! 4. A wake-up from elsewhere sets `due` and drives: if by the clock the deadline has passed, the node ends,
//!    else the timer is polled again. A user's timer is then polled as under 3, because some drivers (embassy's) wake under
//!    the lock that a poll of their timers takes.
//! 5. A waker of the timer's holds the node, and finds it by the node's own address.
//!
//! The system's clock is not foreign code. Its timers are [`CountedSleep`]s, without turns and notes, so that 1 to 3 and
//! the flag are of the others.
#![allow(
    unsafe_code,
    reason = "a waker that is the node itself costs no allocation"
)]

use super::deadline::{ClockPanicked, Own};
use super::due::Flag;
use super::let_go::let_go;
use super::node::{Base, NodeRef};
use super::turn::{Held, Turn};
use crate::clock::{
    Clock, CountedSleep, Instant, Sleep, Sleeper, SystemClock, TimerError, in_wake, is_in_wake,
    nudge, reach,
};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::unwind;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool as StdAtomicBool;
use std::task::{self, Poll, RawWaker, RawWakerVTable, Waker};
use std::time::Duration;

/// How long after a timer woke itself it is polled again, if no task does so before.
const NUDGE: Duration = Duration::from_millis(1);

pub(super) struct Timer {
    /// The timer may have to be polled.
    due: Flag,
    by: By,
}

enum By {
    /// The system's clock.
    Counted(CountedSleep),
    /// Another, whose code is foreign.
    Driven(Driven),
}

struct Driven {
    turn: Turn<Option<Sleep>>,
    /// It was woken where it must not be polled: inside of its own poll, or early (invariants 3 and 4).
    woke_itself: AtomicBool,
    /// A nudge is under way.
    nudged: AtomicBool,
    /// Its sleep is one of the system's clock, whichever clock made it. Advice, so that no model needs to see it.
    by_system: StdAtomicBool,
}

impl Timer {
    #[inline]
    pub(super) fn new(by_system: bool) -> Self {
        let counted = by_system.then(CountedSleep::new).flatten();
        Self {
            due: Flag::default(),
            by: counted.map_or_else(|| By::Driven(Driven::new()), By::Counted),
        }
    }

    fn is_due(&self) -> bool {
        self.due.is_due()
    }

    /// Whether the clock has to be read. Not by what the clock's own code leads to, or reading it would not end.
    fn is_unclear(&self) -> bool {
        let is_mine = || self.driven().is_some_and(|driven| driven.turn.is_mine());
        self.due.is_set() && (self.is_due() || !is_mine())
    }

    fn driven(&self) -> Option<&Driven> {
        match &self.by {
            By::Counted(_) => None,
            By::Driven(driven) => Some(driven),
        }
    }
}

impl Driven {
    fn new() -> Self {
        Self {
            turn: Turn::new(None),
            woke_itself: AtomicBool::new(false),
            nudged: AtomicBool::new(false),
            by_system: StdAtomicBool::new(false),
        }
    }

    /// Relaxed, because it is set and read by the thread that has the turn.
    fn take_woke_itself(&self) -> bool {
        let woke = self.woke_itself.load(Ordering::Relaxed);
        if woke {
            self.woke_itself.store(false, Ordering::Relaxed);
        }
        woke
    }
}

/// Watching a node, which is waiting for its deadlines.
impl Base {
    /// See [`Node::watch`](super::Node::watch). `cx` is that of a future that waits: if a timer wakes itself in its own poll, the future's
    /// task is woken, so that it comes again.
    pub(super) fn watch(&self, mut cx: Option<&mut task::Context<'_>>) {
        if !self.has_deadline() {
            return;
        }
        if let Some(owner) = self.sole_owner() {
            return self.watch_by(owner, cx);
        }
        for owner in self.owners() {
            self.watch_by(owner, cx.as_deref_mut());
        }
    }

    fn watch_by(&self, owner: &Self, cx: Option<&mut task::Context<'_>>) {
        owner.want(cx);
        if owner.is_marked() && !self.is_marked() {
            self.end_as(owner); // the walk of another thread, which ended the owner, has yet to come here
        }
    }

    fn want(&self, cx: Option<&mut task::Context<'_>>) {
        let Some(own) = &self.own else { return };
        match &own.timer.by {
            By::Counted(sleep) => {
                let polled = sleep.want(&Waiting { node: self, own });
                self.look_at(polled);
            }
            By::Driven(driven) => match driven.turn.want() {
                Some(turn) => self.drive(turn, cx),
                // It is being armed or dropped, so that it does not show yet whether the deadline has passed; and the
                // caller may start a task next.
                None if driven.turn.is_elsewhere() => {
                    self.expire_if_past();
                }
                None => {}
            },
        }
        if own.goes_by_system() {
            reach::rely();
        }
    }

    /// `count` watch no longer.
    pub(super) fn unwatch(&self, count: usize) {
        if !self.has_deadline() {
            return;
        }
        if let Some(owner) = self.sole_owner() {
            return owner.unwant(count);
        }
        for owner in self.owners() {
            owner.unwant(count);
        }
    }

    /// `count` registrations of a node that is being dropped watch the owners above no longer.
    pub(super) fn unwatch_above(&self, count: usize) {
        for owner in self.owners_above() {
            owner.unwant(count);
        }
    }

    fn unwant(&self, count: usize) {
        match self.timer().map(|timer| &timer.by) {
            Some(By::Counted(sleep)) => sleep.unwant(count),
            Some(By::Driven(driven)) => {
                if let Some(turn) = driven.turn.unwant(count) {
                    self.drive(turn, None);
                }
            }
            None => {}
        }
    }

    /// See [`Node::poll_due`](super::Node::poll_due).
    #[inline]
    pub(super) fn poll_due(&self, cx: Option<&mut task::Context<'_>>) -> bool {
        // The flag before the end, because the one that clears the flag sets the end before.
        let unclear = match self.sole_due() {
            Some(is_set) => is_set,
            None => self.has_deadline() && self.is_any_unclear(),
        };
        self.is_marked() || (unclear && self.poll_timers(cx))
    }

    #[cold]
    fn is_any_unclear(&self) -> bool {
        self.owners()
            .any(|owner| owner.timer().is_some_and(Timer::is_unclear))
    }

    #[cold]
    fn poll_timers(&self, mut cx: Option<&mut task::Context<'_>>) -> bool {
        if !self.is_any_unclear() {
            return self.is_marked();
        }
        if self.expire_if_past() {
            return true;
        }
        for owner in self.owners() {
            let timer = owner.timer().filter(|timer| timer.is_due());
            let driven = timer.and_then(Timer::driven);
            if let Some(turn) = driven.and_then(|driven| driven.turn.claim()) {
                owner.drive(turn, cx.as_deref_mut());
            }
        }
        self.is_marked()
    }

    /// After the end, under no lock: `count` registrations that the end took watch no longer, and the timer goes.
    pub(super) fn settle(&self, count: usize) {
        if count > 0 {
            self.unwatch(count);
        }
        match self.timer().map(|timer| &timer.by) {
            Some(By::Counted(sleep)) if sleep.wanted() > 0 => sleep.stop(),
            Some(By::Driven(driven)) if driven.turn.wanted() > 0 => {
                if let Some(turn) = driven.turn.claim() {
                    self.drive(turn, None);
                }
            }
            _ => {}
        }
        self.release_cause();
    }

    /// Whether a deadline that can end the node goes by the system's clock.
    pub(super) fn goes_by_system(&self) -> bool {
        let by_system = |owner: &Self| owner.own.as_ref().is_some_and(Own::goes_by_system);
        match self.sole_owner() {
            Some(owner) => by_system(owner),
            None => self.has_deadline() && self.owners().any(by_system),
        }
    }

    /// Ends the node if the clock's threads could not wake this task at its deadline: see [`reach`]. Returns whether it
    /// has.
    #[inline]
    pub(super) fn refuses(&self, waker: &Waker) -> bool {
        reach::is_broken(waker) && self.refuse()
    }

    #[cold]
    fn refuse(&self) -> bool {
        if !self.goes_by_system() {
            return false;
        }
        self.fail(reach::refusal());
        self.is_marked()
    }

    /// Where the flag of the node's own timer is.
    pub(super) fn due_flag(&self) -> Option<&Flag> {
        self.timer().map(|timer| &timer.due)
    }

    fn timer(&self) -> Option<&Timer> {
        self.own.as_ref().map(|own| &own.timer)
    }
}

impl Own {
    /// Whether the system's clock wakes what waits for it. Of another clock's sleep that is known once it is armed.
    #[inline]
    fn goes_by_system(&self) -> bool {
        match &self.timer.by {
            By::Counted(_) => true,
            By::Driven(driven) => {
                self.clock.is_system() || driven.by_system.load(Ordering::Relaxed)
            }
        }
    }
}

/// Driving the timer.
impl Base {
    /// Brings the timer to where it should be (invariant 1).
    fn drive(&self, turn: Held<'_, Option<Sleep>>, cx: Option<&mut task::Context<'_>>) {
        turn.work(|sleep| self.step(sleep));
        let driven = self.timer().and_then(Timer::driven);
        if driven.is_some_and(Driven::take_woke_itself) && !self.is_marked() {
            self.come_again(cx);
        }
    }

    fn step(&self, sleep: &mut Option<Sleep>) {
        let Some((own, driven)) = self
            .own
            .as_ref()
            .and_then(|own| Some((own, own.timer.driven()?)))
        else {
            return;
        };
        let work = own.timer.due.work(); // a wake-up that comes after this leaves a note as well
        if self.is_marked() || driven.turn.wanted() == 0 {
            return unwind::discard(sleep.take());
        }
        match self.look(own, driven, work.was_due, sleep) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(())) => {
                unwind::discard(sleep.take());
                self.expire();
            }
            Err(why) => {
                unwind::discard(sleep.take());
                self.fail(why);
            }
        }
    }

    /// Whether the deadline has passed. `due`: the clock has woken us, so reading it may be enough.
    fn look(
        &self,
        own: &Own,
        driven: &Driven,
        due: bool,
        sleep: &mut Option<Sleep>,
    ) -> Result<Poll<()>, crate::error::BoxError> {
        if due && own.clock.read().map_err(ClockPanicked)? >= own.at {
            return Ok(Poll::Ready(()));
        }
        if due && is_in_wake() && sleep.as_ref().is_some_and(Sleep::is_foreign) {
            own.timer.due.set(); // invariant 4
            driven.woke_itself.store(true, Ordering::Relaxed);
            return Ok(Poll::Pending);
        }
        if sleep.as_ref().is_some_and(|sleep| !sleep.belongs_here()) {
            // A timer that is bound to another thread, where it may not be polled again. Its clock shows the
            // system's time, so the system's timer can keep the deadline as well.
            unwind::discard(sleep.replace(SystemClock.sleep_until(own.at)));
        }
        let polled = unwind::contain_text(|| {
            let sleep = sleep.get_or_insert_with(|| own.clock.sleep_until(own.at));
            if sleep.is_of_the_system() {
                driven.by_system.store(true, Ordering::Relaxed);
            }
            let waker = self.borrowed_waker();
            Pin::new(sleep).poll_as_timer(&mut task::Context::from_waker(&waker))
        });
        match polled.map_err(ClockPanicked)? {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
            Poll::Ready(Err(broken)) => Err(broken.into()),
        }
    }

    /// The clock woke us.
    fn wake_timer(&self) {
        let Some(own) = &self.own else { return };
        let driven = match &own.timer.by {
            By::Driven(driven) => driven,
            By::Counted(sleep) => {
                let polled = sleep.look(&Waiting { node: self, own });
                return in_wake(|| self.look_at(polled));
            }
        };
        // `claim` releases it to the thread that has the turn, which finds the note.
        own.timer.due.set();
        if driven.turn.is_mine() {
            return driven.woke_itself.store(true, Ordering::Relaxed); // invariant 3
        }
        if let Some(turn) = driven.turn.claim() {
            in_wake(|| self.drive(turn, None));
        }
    }

    /// Invariant 3: schedules another poll of the timer, after this call stack has returned.
    #[cold]
    fn come_again(&self, cx: Option<&mut task::Context<'_>>) {
        if let Some(cx) = cx {
            unwind::shield("a waker", || cx.waker().wake_by_ref());
        }
        // The task may never come: the nudge does.
        // AcqRel: pairs with `nudged`. If the flag is set, the nudge that is under way clears it and then reads `due`.
        let driven = self.timer().and_then(Timer::driven);
        if driven.is_some_and(|driven| !driven.nudged.swap(true, Ordering::AcqRel)) {
            let node = self.upgrade();
            nudge(NUDGE, move || {
                node.iter().for_each(|node| node.base().nudged())
            });
        }
    }

    fn nudged(&self) {
        let timer = self.timer();
        let Some((timer, driven)) = timer.and_then(|timer| Some((timer, timer.driven()?))) else {
            return;
        };
        // Before the look at `due`, because a wake-up that comes after the look must start a nudge of its own. AcqRel: pairs with
        // `come_again`, whose `due` is seen here if it has found the flag set.
        driven.nudged.swap(false, Ordering::AcqRel);
        if !timer.is_due() {
            return;
        }
        if let Some(turn) = driven.turn.claim() {
            unwind::shield("a context's timer", || self.drive(turn, None));
        }
    }
}

/// By the system's clock.
impl Base {
    /// What has become of the sleep: nothing if it goes on.
    #[inline]
    fn look_at(&self, polled: Poll<Result<(), TimerError>>) {
        match polled {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.expire(),
            Poll::Ready(Err(broken)) => self.fail(broken),
        }
    }
}

/// A node whose deadline is waited for.
struct Waiting<'a> {
    node: &'a Base,
    own: &'a Own,
}

impl Sleeper for Waiting<'_> {
    #[inline]
    fn deadline(&self) -> Instant {
        self.own.at
    }

    #[inline]
    fn has_ended(&self) -> bool {
        self.node.is_marked()
    }

    #[inline]
    fn waker(&self) -> Waker {
        Waker::clone(&self.node.borrowed_waker())
    }
}

/// The node as the waker of its own timer (invariant 5).
impl Base {
    fn borrowed_waker(&self) -> ManuallyDrop<Waker> {
        let base: *const Base = self;
        // SAFETY: the functions keep to invariant 5. This waker is never dropped, and the node outlives
        // it, so it needs none of its own.
        ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(base.cast(), &WAKER)) })
    }
}

static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// The reference that a waker holds.
///
/// # Safety
///
/// `data` is that of a waker of [`Node::borrowed_waker`]'s, or of a clone of it, which is alive.
unsafe fn held(data: *const ()) -> ManuallyDrop<NodeRef> {
    // SAFETY: the waker keeps the node alive.
    let base = unsafe { &*data.cast::<Base>() };
    // SAFETY: the waker holds a reference, or borrows one.
    unsafe { base.me().held() }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: called with a waker's data. The clone keeps the reference made here.
    let node = unsafe { held(data) };
    std::mem::forget(Arc::clone(&node));
    RawWaker::new(data, &WAKER)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: called with a waker's data, and the waker's own reference is dropped here.
    let node = ManuallyDrop::into_inner(unsafe { held(data) });
    unwind::shield("a context's timer", || node.base().wake_timer());
    let_go(node);
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: called with a waker's data.
    let node = unsafe { held(data) };
    unwind::shield("a context's timer", || node.base().wake_timer());
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: called with a waker's data, and the waker's own reference is dropped here.
    let_go(ManuallyDrop::into_inner(unsafe { held(data) }));
}
