//! Who wakes the timer up, and for when.
//!
//! Everything here happens under the timer's lock and only decides; what is to
//! be done comes back as an [`Errand`], for when the lock is free.

use futures_timer::Delay;
use std::mem;
use std::process;
use std::time::{Duration, Instant};

/// How far past a deadline that was checked the check still holds: at most one
/// check for each such span of time, however many sleeps are armed.
const TRUST: Duration = Duration::from_millis(1);

/// An alarm that is late by this much will not ring.
const OVERDUE: Duration = Duration::from_secs(1);

/// Who rings.
enum Keeper {
    /// futures-timer's thread, which other crates share and may kill.
    FuturesTimer(Option<Delay>),
    /// A thread of our own, running or about to.
    Thread,
    /// No one: that thread is to be started.
    Nobody,
}

/// What to do once the lock is free.
pub(super) enum Errand {
    /// Set a `Delay` for `at`, and bring it back with its `generation`.
    SetDelay { at: Instant, generation: u64 },
    /// Tell our own thread to look again.
    Notify,
    /// Start our own thread.
    StartThread,
}

pub(super) struct Alarm {
    /// It rings at this moment: it is set, or whoever has the errand sets it.
    rings_at: Option<Instant>,
    /// Deadlines up to here need no check that anyone is there to ring.
    trusted_until: Instant,
    /// Of two threads that set a `Delay` at once, the later errand wins.
    generation: u64,
    keeper: Keeper,
    /// A forked child has none of its parent's threads.
    process: u32,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Alarm {
            rings_at: None,
            trusted_until: Instant::now(),
            generation: 0,
            keeper: Keeper::FuturesTimer(None),
            process: process::id(),
        }
    }

    /// Whether a sleep until `deadline` may rely on the alarm as it is. The fast
    /// path: it asks neither the clock nor the kernel.
    #[inline]
    pub(super) fn covers(&self, deadline: Instant) -> bool {
        deadline <= self.trusted_until && self.rings_at.is_some_and(|at| at <= deadline)
    }

    /// Sees to it that the alarm rings for a new sleep until `deadline`, the
    /// `earliest` of all being at least as early.
    pub(super) fn rely(&mut self, deadline: Instant, earliest: Instant) -> Option<Errand> {
        let trusted = deadline.checked_add(TRUST).unwrap_or(deadline);
        self.trusted_until = self.trusted_until.max(trusted);
        if self.notice_fork() || !self.is_set_for(deadline) {
            return Some(self.set(earliest));
        }
        None
    }

    /// What follows the alarm's ringing: a new one for the `earliest` deadline
    /// left. Nothing if the one that is set is still to come.
    pub(super) fn rang(&mut self, earliest: Option<Instant>, now: Instant) -> Option<Errand> {
        if self.rings_at.is_some_and(|at| at > now) {
            return None;
        }
        self.rings_at = earliest;
        // Our own thread looks for itself.
        match self.keeper {
            Keeper::Thread => None,
            _ => earliest.map(|at| self.set(at)),
        }
    }

    /// Our own thread says when it looks again.
    pub(super) fn rings_at(&mut self, at: Option<Instant>) {
        self.rings_at = at;
    }

    /// Keeps a `Delay` that was set. Gives back whichever is of no use.
    pub(super) fn keep(&mut self, delay: Delay, generation: u64) -> Option<Delay> {
        match &mut self.keeper {
            Keeper::FuturesTimer(kept) if self.generation == generation => kept.replace(delay),
            _ => Some(delay),
        }
    }

    /// futures-timer's thread is dead: ours it is. The `Delay` is to be dropped.
    pub(super) fn leave_futures_timer(&mut self) -> (Option<Delay>, Option<Errand>) {
        let Keeper::FuturesTimer(delay) = &mut self.keeper else {
            return (None, None);
        };
        let delay = delay.take();
        self.keeper = Keeper::Thread;
        (delay, Some(Errand::StartThread))
    }

    /// Our own thread couldn't be started: the next sleep that is armed tries
    /// again.
    pub(super) fn no_thread(&mut self) {
        self.keeper = Keeper::Nobody;
        self.rings_at = None;
    }

    fn is_set_for(&self, deadline: Instant) -> bool {
        (self.rings_at).is_some_and(|at| at <= deadline && !is_overdue(at, Instant::now()))
    }

    fn notice_fork(&mut self) -> bool {
        let forked = self.process != process::id();
        if forked {
            self.process = process::id();
            // The parent's `Delay` is the parent's: nothing of it may be touched.
            mem::forget(mem::replace(&mut self.keeper, Keeper::Nobody));
        }
        forked
    }

    fn set(&mut self, at: Instant) -> Errand {
        self.rings_at = Some(at);
        self.generation += 1;
        match self.keeper {
            Keeper::FuturesTimer(_) => Errand::SetDelay {
                at,
                generation: self.generation,
            },
            Keeper::Thread => Errand::Notify,
            Keeper::Nobody => {
                self.keeper = Keeper::Thread;
                Errand::StartThread
            }
        }
    }
}

/// Whether an alarm set for `at` should have rung long ago.
fn is_overdue(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) >= OVERDUE
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// An alarm that is set for the moment it gives, a minute from now.
    fn set() -> (Alarm, Instant) {
        let at = Instant::now() + Duration::from_secs(60);
        let mut alarm = Alarm::new();
        assert!(matches!(
            alarm.rely(at, at),
            Some(Errand::SetDelay { at: when, generation: 1 }) if when == at
        ));
        (alarm, at)
    }

    #[test]
    fn covers_what_comes_soon_after_a_deadline_that_was_checked() {
        let (alarm, at) = set();
        assert!(!Alarm::new().covers(at));
        assert!(alarm.covers(at) && alarm.covers(at + TRUST));
        assert!(
            !alarm.covers(at - MILLISECOND),
            "it rings too late for that"
        );
        assert!(!alarm.covers(at + TRUST + MILLISECOND));
    }

    #[test]
    fn set_again_for_an_earlier_deadline_only() {
        let (mut alarm, at) = set();
        assert!(alarm.rely(at + TRUST * 2, at).is_none());
        assert!(alarm.covers(at + TRUST * 3), "checked, too");
        let (before, earlier) = (at - MILLISECOND, at - MILLISECOND * 2);
        assert!(matches!(
            alarm.rely(before, earlier),
            Some(Errand::SetDelay { at: when, generation: 2 }) if when == earlier
        ));
    }

    #[test]
    fn set_again_if_it_should_have_rung_long_ago() {
        let (mut alarm, at) = set();
        alarm.rings_at(Some(Instant::now() - OVERDUE));
        assert!(alarm.rely(at, at).is_some());
        assert!(is_overdue(at, at + OVERDUE));
        assert!(!is_overdue(at, at + OVERDUE - MILLISECOND));
    }

    #[test]
    fn rang_at_its_moment_but_not_before_it_is_set_for_the_next() {
        let (mut alarm, at) = set();
        let next = at + MILLISECOND;
        assert!(alarm.rang(Some(next), at - MILLISECOND).is_none());
        assert!(alarm.covers(at), "it is still to come");
        assert!(matches!(
            alarm.rang(Some(next), at),
            Some(Errand::SetDelay { at: when, generation: 2 }) if when == next
        ));
        assert!(alarm.rang(None, next).is_none());
        assert!(!alarm.covers(next), "nobody is left to ring for");
    }

    #[test]
    fn our_own_thread_is_told_of_the_earlier_but_looks_for_itself_when_it_rang() {
        let (mut alarm, at) = set();
        let (_, errand) = alarm.leave_futures_timer();
        assert!(matches!(errand, Some(Errand::StartThread)));
        assert!(alarm.leave_futures_timer().1.is_none(), "once");
        assert!(alarm.rang(Some(at + MILLISECOND), at).is_none());
        assert!(alarm.covers(at + MILLISECOND));
        assert!(matches!(alarm.rely(at, at), Some(Errand::Notify)));
        alarm.no_thread();
        assert!(matches!(alarm.rely(at, at), Some(Errand::StartThread)));
    }

    #[test]
    fn of_two_delays_the_later_errands_is_kept() {
        let (mut alarm, at) = set();
        assert!(alarm.rely(at - MILLISECOND, at - MILLISECOND).is_some());
        assert!(alarm.keep(Delay::new(MILLISECOND), 1).is_some());
        assert!(alarm.keep(Delay::new(MILLISECOND), 2).is_none());
        assert!(
            alarm.keep(Delay::new(MILLISECOND), 2).is_some(),
            "the one before"
        );
        drop(alarm.leave_futures_timer());
        assert!(alarm.keep(Delay::new(MILLISECOND), 2).is_some());
    }
}
