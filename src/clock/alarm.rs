//! What wakes the timer up, and for when.
//!
//! Everything here happens under the alarm's lock and only decides; what is to
//! be done comes back as an [`Errand`], for when the lock is free.

use super::time::Instant;
use futures_timer::Delay;
use std::time::Duration;

/// An alarm that is late by this much will not ring.
const OVERDUE: Duration = Duration::from_secs(1);

/// What rings.
enum Keeper {
    /// futures-timer's thread, which other crates share and may kill.
    FuturesTimer(Option<Delay>),
    /// A thread of our own, running or about to.
    Thread,
    /// Nothing yet: that thread is to be started.
    Nobody,
}

/// What to do once the lock is free.
#[must_use = "an errand that is not run is an alarm that never rings"]
pub(super) enum Errand {
    /// Set a `Delay` for `at`, and bring it back with its `generation`.
    SetDelay { at: Instant, generation: u64 },
    /// Wake our own thread, to look again.
    Notify,
    /// Start our own thread.
    StartThread,
}

pub(super) struct Alarm {
    /// It rings at this moment: it is set, or the thread that has the errand sets it.
    rings_at: Option<Instant>,
    /// Of two threads that set a `Delay` at once, the later errand wins.
    generation: u64,
    keeper: Keeper,
}

impl Alarm {
    /// A forked child can't use futures-timer, whose thread its parent may have started.
    pub(super) fn new(forked: bool) -> Self {
        Alarm {
            rings_at: None,
            generation: 0,
            keeper: match forked {
                true => Keeper::Nobody,
                false => Keeper::FuturesTimer(None),
            },
        }
    }

    pub(super) fn rings_at(&self) -> Option<Instant> {
        self.rings_at
    }

    /// Makes the alarm ring at `deadline` or before.
    pub(super) fn rely(&mut self, deadline: Instant, now: Instant) -> Option<Errand> {
        match self.rings_at {
            Some(at) if at <= deadline && !is_overdue(at, now) => None,
            Some(at) => Some(self.set(at.min(deadline))),
            None => Some(self.set(deadline)),
        }
    }

    /// Whether this is the moment it was set for. If so, the caller looks at every shard, and then sets it anew
    /// by [`rely`](Self::rely). If not, it is still to ring, or another thread is looking.
    pub(super) fn rang(&mut self, now: Instant) -> bool {
        let rang = self.rings_at.is_some_and(|at| at <= now);
        if rang {
            self.rings_at = None;
        }
        rang
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
        let mut alarm = Alarm::new(false);
        assert!(matches!(
            alarm.rely(at, Instant::now()),
            Some(Errand::SetDelay { at: when, generation: 1 }) if when == at
        ));
        (alarm, at)
    }

    #[test]
    fn set_again_for_an_earlier_deadline_only() {
        let (mut alarm, at) = set();
        let now = at - MILLISECOND * 9;
        assert!(alarm.rely(at + MILLISECOND, now).is_none());
        assert!(alarm.rely(at, now).is_none());
        let earlier = at - MILLISECOND;
        assert!(matches!(
            alarm.rely(earlier, now),
            Some(Errand::SetDelay { at: when, generation: 2 }) if when == earlier
        ));
    }

    #[test]
    fn set_again_and_no_later_if_it_should_have_rung_long_ago() {
        let (mut alarm, at) = set();
        let late = at + OVERDUE;
        assert!(alarm.rely(late, late - MILLISECOND).is_none());
        assert!(matches!(
            alarm.rely(late, late),
            Some(Errand::SetDelay { at: when, .. }) if when == at
        ));
    }

    #[test]
    fn rang_at_its_moment_but_not_before_and_once() {
        let (mut alarm, at) = set();
        assert!(!alarm.rang(at - MILLISECOND));
        assert_eq!(alarm.rings_at(), Some(at), "it is still to come");
        assert!(alarm.rang(at));
        assert!(!alarm.rang(at), "another thread is looking");
        assert!(alarm.rely(at + MILLISECOND, at).is_some());
    }

    #[test]
    fn our_own_thread_is_started_once_and_told_of_the_earlier() {
        let (mut alarm, at) = set();
        let (_, errand) = alarm.leave_futures_timer();
        assert!(matches!(errand, Some(Errand::StartThread)));
        assert!(alarm.leave_futures_timer().1.is_none(), "once");
        let earlier = at - MILLISECOND;
        assert!(matches!(alarm.rely(earlier, earlier), Some(Errand::Notify)));
        alarm.no_thread();
        assert!(matches!(alarm.rely(at, earlier), Some(Errand::StartThread)));
    }

    #[test]
    fn a_forked_child_starts_a_thread_of_its_own() {
        let mut alarm = Alarm::new(true);
        let at = Instant::now();
        assert!(matches!(alarm.rely(at, at), Some(Errand::StartThread)));
        assert!(matches!(
            alarm.rely(at - MILLISECOND, at),
            Some(Errand::Notify)
        ));
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
