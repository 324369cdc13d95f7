//! Ending, as a whole: the ladder of cancellation.

use super::super::alarm::Alarm;
use super::seat::{self, Seat};
use super::{Core, Phase};
use crate::context::{End, Hook};
use crate::error::Cause;
use crate::guard;
use crate::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

/// The ladder of cancellation.
#[derive(Clone, Copy, Default)]
pub(super) struct Rules {
    grace: Option<Duration>,
    pub(super) straggler_limit: Option<Duration>,
}

/// Ending, as a whole.
impl Core {
    pub(crate) fn set_grace(&self, grace: Duration) {
        self.rules.lock().grace = Some(grace);
        self.ruled.store(true, Ordering::Release);
    }

    pub(crate) fn set_straggler_limit(&self, limit: Duration) {
        self.rules.lock().straggler_limit = Some(limit);
        self.ruled.store(true, Ordering::Release);
    }

    /// What was set, without a lock if nothing was.
    pub(super) fn rules(&self) -> Rules {
        match self.ruled.load(Ordering::Acquire) {
            true => *self.rules.lock(),
            false => Rules::default(),
        }
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
        if let Some(life) = self.ctx.life() {
            let note = || self.ended_by_us.store(true, Ordering::Release);
            life.close(End::canceled(self.origin), note);
        }
        self.stop_alarms();
    }

    /// The group is being dropped: nobody waits, so there is no grace.
    pub(crate) fn abandon(&self) {
        if self.is_over() {
            return;
        }
        if self.ruled.load(Ordering::Acquire) {
            *self.rules.lock() = Rules::default();
        }
        self.finish();
        self.drop_now();
        self.disarm(); // whoever else ended it may find no group any more
        self.stop_alarms(); // the ladder has been climbed
    }

    /// The last rung but one: everyone is polled once more, unless that has happened, and dropped.
    pub(in crate::group) fn drop_now(self: &Core) {
        if self.advance(Phase::Drop) {
            self.wake_tasks(Phase::Drop);
        }
    }

    pub(in crate::group) fn stragglers_are_due(&self) {
        self.stragglers_due.store(true, Ordering::Release);
        self.wake_owner();
    }

    /// Tells every task that is there of the phase. Who comes later is refused: the context has ended.
    fn wake_tasks(&self, phase: Phase) {
        let length = self.roster.lock().length;
        let live = (0..length)
            .map(|index| self.seat(index))
            .filter(|seat| seat.is_live());
        live.filter_map(|seat| seat.waker.advance(phase as u8))
            .for_each(guard::wake);
    }

    pub(super) fn stop_alarms(&self) {
        if !self.ruled.load(Ordering::Acquire) {
            return;
        }
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
        self.is_over() && !self.is_flawed()
    }

    /// Whether the failure of the task at `index` is what ended the group.
    pub(crate) fn is_first(&self, index: u32) -> bool {
        self.first.get().is_some_and(|(first, _)| *first == index)
    }

    /// The tasks whose outcome has not been taken, background tasks left out, in the order of spawning.
    pub(crate) fn remaining(&self) -> Vec<u32> {
        let length = self.roster.lock().length;
        let is_ours =
            |seat: &Seat| !seat.is(seat::VACANT) && !seat.background.load(Ordering::Relaxed);
        let ours = (0..length).filter(|index| is_ours(self.seat(*index)));
        let mut remaining: Vec<_> = ours
            .map(|index| (self.seat(index).number(), index))
            .collect();
        remaining.sort_unstable();
        remaining.into_iter().map(|(_, index)| index).collect()
    }

    /// Whether places are in the order of spawning.
    pub(crate) fn is_in_order(&self) -> bool {
        !self.shuffled.load(Ordering::Relaxed)
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Acquire)
    }
}

impl Hook for Core {
    fn ended(self: Arc<Self>) {
        let Rules { grace, .. } = self.rules();
        let phase = if grace.is_some() {
            Phase::Grace
        } else {
            Phase::Drop
        };
        if !self.advance(phase) {
            return;
        }
        self.disarm();
        self.wake_tasks(phase);
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
    fn set_alarms(self: &Arc<Self>, phase: Phase) {
        let Rules {
            grace,
            straggler_limit,
        } = self.rules();
        let mut alarms = Vec::new();
        let grace = grace.filter(|_| phase == Phase::Grace);
        if let Some(grace) = grace {
            alarms.push(Alarm::new(
                &self.ctx,
                Arc::downgrade(self),
                grace,
                Core::drop_now,
            ));
        }
        if let Some(limit) = straggler_limit {
            let after = grace.unwrap_or_default().saturating_add(limit);
            alarms.push(Alarm::new(
                &self.ctx,
                Arc::downgrade(self),
                after,
                Core::stragglers_are_due,
            ));
        }
        if alarms.is_empty() {
            return;
        }
        self.alarms.lock().append(&mut alarms);
        if self.is_over() {
            self.stop_alarms(); // all ended meanwhile, and found none to stop
        }
    }
}
