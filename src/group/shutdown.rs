//! From the end of a group's context to the end of its last task: grace, the last poll, and the limit for
//! stragglers.

use super::engine::Engine;
use super::state::State;
use crate::context::{ClockRef, Context, Node, NodeRef, OnDone};
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::unwind;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    /// The group's context has not ended.
    Run,
    /// It has, and tasks may finish by themselves for a while.
    Grace,
    /// Each task is polled once more, unless it was since the end, and then dropped.
    Drop,
}

/// No grace is set.
const NO_GRACE: u8 = 0;
/// A grace is set, and not over.
const GRACE: u8 = 1;
const GRACE_OVER: u8 = 2;

/// Whether a grace is set, and over: read by each poll, so apart from what the lock guards.
#[derive(Default)]
pub(super) struct Ladder(AtomicU8);

impl Ladder {
    /// The phase of a group whose context has ended.
    #[inline]
    pub(super) fn phase(&self) -> Phase {
        // Acquire: pairs with `end_grace`, which comes before the visit to the cells (invariant 3 of `engine`).
        match self.0.load(Ordering::Acquire) {
            GRACE => Phase::Grace,
            _ => Phase::Drop,
        }
    }

    fn begin_grace(&self) {
        // An exchange and not a store, because a grace that is over must stay over. AcqRel: pairs with `phase` and
        // `end_grace`. A failure needs no order, because it changes nothing.
        let _ = self
            .0
            .compare_exchange(NO_GRACE, GRACE, Ordering::AcqRel, Ordering::Relaxed);
    }

    pub(super) fn end_grace(&self) {
        self.0.store(GRACE_OVER, Ordering::Release);
    }
}

#[derive(Default)]
pub(super) struct Shutdown {
    grace: Option<Duration>,
    pub(super) straggler_limit: Option<Duration>,
    /// Failures do not end the group.
    pub(super) tolerant: bool,
    pub(super) stragglers_due: bool,
    armed: Armed,
    alarms: Vec<Alarm>,
}

/// Which alarms have been armed, so that each is armed once.
#[derive(Clone, Copy, Default)]
struct Armed {
    grace: bool,
    stragglers: bool,
}

impl Shutdown {
    pub(super) fn is_tolerant(&self) -> bool {
        self.tolerant
    }

    pub(super) fn has_alarms(&self) -> bool {
        !self.alarms.is_empty()
    }

    /// The alarms, to be dropped under no lock, because that runs the clock's code.
    pub(super) fn take_alarms(&mut self) -> Vec<Alarm> {
        std::mem::take(&mut self.alarms)
    }
}

impl Engine {
    pub(super) fn set_grace(&self, node: &NodeRef, grace: Duration) {
        self.lock().shutdown.grace = Some(grace);
        self.ladder.begin_grace();
        if node.is_marked() {
            self.arm_shutdown(node);
        }
    }

    pub(super) fn set_straggler_limit(&self, node: &NodeRef, limit: Duration) {
        self.lock().shutdown.straggler_limit = Some(limit);
        if node.is_marked() {
            self.arm_shutdown(node);
        }
    }

    /// Arms what limits the time after the end: before any task is woken, because one that blocks its thread in a
    /// waker must not put off the limits.
    pub(super) fn arm_shutdown(&self, node: &NodeRef) {
        let (grace, stragglers) = self.lock().unarmed();
        if grace.is_none() && stragglers.is_none() {
            return;
        }
        // The clock is foreign. A limit that can't be kept has passed.
        let armed = unwind::contain(|| {
            let mut alarms = Vec::new();
            alarms
                .extend(grace.map(|after| Alarm::new(node, &self.clock, after, Engine::drop_now)));
            alarms.extend(
                stragglers.map(|after| Alarm::new(node, &self.clock, after, Engine::give_up)),
            );
            alarms
        });
        match armed {
            Ok(alarms) => self.keep_alarms(alarms),
            Err(payload) => {
                unwind::discard(payload);
                self.drop_now();
                self.give_up();
            }
        }
    }

    fn keep_alarms(&self, mut alarms: Vec<Alarm>) {
        let mut state = self.lock();
        if !(state.closed && state.is_empty()) {
            state.shutdown.alarms.append(&mut alarms);
        }
        drop(state);
        drop(alarms); // all have ended meanwhile
    }

    /// The grace is over.
    pub(super) fn drop_now(&self) {
        self.ladder.end_grace();
        self.wake_members();
        self.wake_owner();
    }

    /// The stragglers' time is over.
    pub(super) fn give_up(&self) {
        self.lock().shutdown.stragglers_due = true;
        self.wake_owner();
    }

    pub(super) fn has_straggler_limit(&self) -> bool {
        self.lock().shutdown.straggler_limit.is_some()
    }

    /// Stops the alarms, once all tasks have ended or the group is dropped; under no lock, because that runs the clock's
    /// code.
    pub(super) fn stop_alarms(&self) {
        let alarms = self.lock().shutdown.take_alarms();
        drop(alarms);
    }
}

impl State {
    /// After how long which alarm is to go off that has not been armed yet.
    fn unarmed(&mut self) -> (Option<Duration>, Option<Duration>) {
        let Shutdown {
            grace,
            straggler_limit,
            armed,
            ..
        } = &mut self.shutdown;
        let of_grace = grace.filter(|_| !armed.grace);
        // The stragglers' time begins when the grace ends.
        let after = |limit: Duration| grace.unwrap_or_default().saturating_add(limit);
        let of_stragglers = straggler_limit.filter(|_| !armed.stragglers).map(after);
        armed.grace |= of_grace.is_some();
        armed.stragglers |= of_stragglers.is_some();
        (of_grace, of_stragglers)
    }
}

/// A time limit that a group sets itself once it has ended: it goes off without a poll. Stops when dropped.
pub(super) struct Alarm(OnDone);

impl Alarm {
    /// Calls `ring` after a while, by the clock of the group's context, if the group is still there.
    fn new(node: &NodeRef, clock: &ClockRef, after: Duration, ring: fn(&Engine)) -> Self {
        let group: Weak<Node> = Arc::downgrade(node);
        // A context of its own: the group's has ended, and a deadline brings its own timer.
        let limit = Context::by_clock(clock).with_timeout(after);
        Self(limit.on_done(move || {
            let node = group.upgrade();
            let engine = node
                .as_ref()
                .and_then(|node| node.kind.as_any()?.downcast_ref());
            if let Some(engine) = engine {
                ring(engine);
            }
        }))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.stop();
    }
}
