//! The contract on a context's deadlines, and on the timers behind them; time is virtual.

use crate::context::{canceled, deadline_exceeded, waiting, why};
use crate::support::{Count, CountedClock, Deaf, GENEROUS, SECOND, counting, manual, poll};
use failfast::Context;
use failfast::clock::{Clock, ManualClock, Sleep};
use futures::FutureExt;
use std::future::{pending, ready};
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

mod deadline {
    use super::*;

    #[test]
    fn effective_deadline_is_the_earliest_of_all() {
        // "Effective deadline = the earliest of its own and all ancestors'."
        let (clock, root) = manual();
        let at = |seconds| clock.now() + SECOND * seconds;
        let parent = root.with_deadline(at(5));
        let (canceled, _canceller) = parent.with_cancel();
        assert_eq!(canceled.deadline(), Some(at(5)));
        assert_eq!(canceled.with_deadline(at(9)).deadline(), Some(at(5)));
        assert_eq!(canceled.with_deadline(at(2)).deadline(), Some(at(2)));
        assert_eq!(
            canceled
                .with_deadline(at(2))
                .with_deadline(at(9))
                .with_value(1)
                .deadline(),
            Some(at(2))
        );
        let both = Context::linked([root.with_deadline(at(7)), parent]);
        assert_eq!(both.deadline(), Some(at(5)));
        assert_eq!(both.without_cancel().deadline(), None);
    }

    #[test]
    fn effective_deadline_by_another_clock_is_still_the_earliest() {
        let (clock, root) = manual();
        let parent = root.with_deadline(clock.now() + SECOND);
        let other = ManualClock::new();
        let child = parent
            .with_clock(other.clone())
            .with_deadline(clock.now() + SECOND * 5);
        assert_eq!(child.deadline(), parent.deadline());
        other.advance(SECOND * 6);
        assert_eq!(
            (child.err(), parent.err()),
            (Some(deadline_exceeded()), None)
        );
    }

    #[test]
    fn remaining_counts_down_to_zero_by_the_contexts_clock() {
        let (clock, root) = manual();
        assert_eq!(root.remaining(), None);
        let ctx = root.with_timeout(SECOND * 3);
        assert_eq!(ctx.remaining(), Some(SECOND * 3));
        clock.advance(SECOND);
        assert_eq!(ctx.remaining(), Some(SECOND * 2));
        clock.advance(SECOND * 5);
        assert_eq!(ctx.remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn it_ends_at_its_deadline_not_before() {
        let (clock, root) = manual();
        let ctx = root.with_timeout(SECOND);
        clock.advance(SECOND - Duration::from_nanos(1));
        assert_eq!(ctx.err(), None);
        clock.advance(Duration::from_nanos(1));
        assert_eq!(ctx.err(), Some(deadline_exceeded()));
    }

    #[test]
    fn a_cause_of_a_deadline_shows_only_if_that_fired() {
        // "A deadline's cause shows only if that deadline fired."
        let (clock, root) = manual();
        let parent = root.with_timeout_cause(SECOND, "parent's");
        let later = parent.with_timeout_cause(SECOND * 2, "later");
        let earlier = parent.with_timeout_cause(SECOND / 2, "earlier");
        let (ended, canceller) = root.with_timeout_cause(SECOND, "never").with_cancel();
        canceller.cancel_with("canceled");
        clock.advance(SECOND * 3);
        assert_eq!([why(&later), why(&earlier)], ["parent's", "earlier"]);
        assert_eq!(
            (ended.err(), why(&ended)),
            (Some(canceled()), "canceled".to_owned())
        );
    }

    #[test]
    fn of_two_deadlines_at_one_moment_the_ancestors_fires() {
        let (clock, root) = manual();
        let parent = root.with_timeout_cause(SECOND, "the parent's");
        let child = parent.with_timeout_cause(SECOND, "the child's");
        clock.advance(SECOND);
        assert_eq!(why(&child), "the parent's");
        assert_eq!(why(&parent), "the parent's");
    }

    #[test]
    fn a_child_with_a_later_deadline_keeps_its_own_cause_for_its_own_end() {
        // "A child keeps its own cause even if its deadline is later than its parent's and never fires."
        let (clock, root) = manual();
        let parent = root.with_timeout_cause(SECOND, "parent's");
        let (child, canceller) = parent
            .with_timeout_cause(SECOND * 2, "child's")
            .with_cancel();
        canceller.cancel_with("own end");
        clock.advance(SECOND * 3);
        assert_eq!(
            (child.err(), why(&child)),
            (Some(canceled()), "own end".to_owned())
        );
        assert_eq!(why(&parent), "parent's");
    }

    #[test]
    fn of_two_clocks_deadlines_that_have_passed_the_earlier_ends_it_whichever_is_nearer() {
        for (above, below) in [(1, 2), (2, 1), (1, 1)] {
            let (one, two) = (ManualClock::new(), ManualClock::new());
            let at = |seconds| two.now() + SECOND * seconds;
            let parent = Context::background()
                .with_clock(one.clone())
                .with_deadline_cause(at(above), "above");
            let child = parent
                .with_clock(two.clone())
                .with_deadline_cause(at(below), "below");
            one.advance(SECOND * 3);
            two.advance(SECOND * 3);
            // Of two at one moment it is the nearer's.
            let first = if above < below { "above" } else { "below" };
            assert_eq!(why(&child), first, "{above} s above, {below} s below");
            assert_eq!(why(&parent), "above");
        }
    }

    #[test]
    fn passed_unseen_by_the_systems_clock_it_comes_before_the_cancellers_drop() {
        let at = Instant::now() + Duration::from_millis(2);
        let (ctx, canceller) = Context::background()
            .with_deadline_cause(at, "the deadline")
            .with_cancel();
        while Instant::now() < at {
            std::thread::yield_now();
        }
        drop(canceller);
        assert_eq!(why(&ctx), "the deadline");
    }

    #[test]
    fn a_later_deadline_by_a_faster_clock_keeps_its_own_cause() {
        let (_, root) = manual();
        let parent = root.with_timeout_cause(SECOND, "parent's");
        let fast = ManualClock::new();
        let child = parent
            .with_clock(fast.clone())
            .with_timeout_cause(SECOND * 9, "child's");
        fast.advance(SECOND * 9);
        assert_eq!(
            (child.err(), why(&child)),
            (Some(deadline_exceeded()), "child's".to_owned())
        );
        assert_eq!(parent.err(), None);
    }

    #[test]
    fn a_parents_end_wins_though_an_own_deadline_that_is_no_earlier_has_passed_by_another_clock() {
        for later in [Duration::ZERO, SECOND] {
            let (clock, root) = manual();
            let fast = ManualClock::new();
            let at = clock.now() + SECOND;
            let parent = root.with_deadline_cause(at, "parent's");
            let child = parent
                .with_clock(fast.clone())
                .with_deadline_cause(at + later, "child's");
            fast.advance(SECOND * 9);
            clock.advance(SECOND);
            assert_eq!([why(&parent), why(&child)], ["parent's", "parent's"]);
        }
    }

    #[test]
    fn a_past_deadline_is_born_done_and_no_work_starts() {
        // "A deadline that is past: born done, and no user work starts."
        let (clock, root) = manual();
        clock.advance(SECOND);
        let past = [
            root.with_deadline(clock.now()),
            root.with_deadline(clock.now() - SECOND),
            root.with_timeout(Duration::ZERO),
            root.with_deadline_cause(clock.now(), "late"),
            root.with_timeout_cause(Duration::ZERO, "late"),
        ];
        for ctx in past {
            assert_eq!(ctx.err(), Some(deadline_exceeded()));
            let run = ctx.run(async { unreachable!("user work started") });
            assert_eq!(run.now_or_never(), Some(Err::<(), _>(deadline_exceeded())));
            assert_eq!(
                ctx.sleep(Duration::ZERO).now_or_never(),
                Some(Err(deadline_exceeded()))
            );
            assert_eq!(ctx.done().now_or_never(), Some(()));
        }
        assert_eq!(clock.armed(), 0);
    }

    #[test]
    fn a_timeout_too_long_for_an_instant_is_none() {
        let ctx = Context::background().with_timeout(Duration::MAX);
        assert_eq!((ctx.deadline(), ctx.err()), (None, None));
        let (_, waker) = counting();
        assert_eq!(
            poll(&mut pin!(ctx.sleep(Duration::MAX)), &waker),
            Poll::Pending
        );
    }

    #[test]
    fn asking_ends_it_while_its_timer_is_late() {
        let clock = Deaf(ManualClock::new());
        let ctx = Context::background()
            .with_clock(clock.clone())
            .with_timeout(SECOND);
        let (woken, waker) = counting();
        let mut done = waiting(&ctx, &waker);
        clock.0.advance(SECOND);
        assert_eq!(woken.get(), 0);
        // "`is_done()` true means every waiter has been released."
        assert!(ctx.is_done());
        assert_eq!(woken.get(), 1);
        assert_eq!(poll(&mut done, &waker), Poll::Ready(()));
    }

    #[test]
    fn the_system_clock_ends_it_too() {
        // Real time is the subject here: the clock advances by itself.
        let begin = Instant::now();
        let ctx = Context::background().with_timeout(Duration::from_millis(20));
        smol::block_on(ctx.done());
        assert!(begin.elapsed() >= Duration::from_millis(20) && begin.elapsed() < GENEROUS);
        assert_eq!(ctx.err(), Some(deadline_exceeded()));
    }
}

mod timers {
    use super::*;

    #[test]
    fn no_waiter_means_no_timer() {
        // No thread, task or timer is spent on a context without a waiter.
        let (clock, root) = manual();
        let ctx = root.with_timeout(SECOND);
        let (child, canceller) = ctx.with_cancel();
        let never_polled = (ctx.done(), child.done());
        let both = Context::linked([ctx.clone(), child.clone()]);
        assert!(!ctx.is_done() && !child.is_done() && !both.is_done());
        assert_eq!(clock.armed(), 0);
        drop((never_polled, canceller));
    }

    #[test]
    fn armed_by_the_first_waiter_and_disarmed_by_the_last() {
        let (clock, root) = manual();
        let ctx = root.with_timeout(SECOND);
        let child = ctx.with_value(1).with_cancel();
        let both = Context::linked([child.0.clone()]);
        let (_, waker) = counting();
        let waiters = [
            waiting(&ctx, &waker),
            waiting(&child.0, &waker),
            waiting(&both, &waker),
        ];
        assert_eq!(clock.armed(), 1); // one timer for all of them
        let callback = both.on_done(|| {});
        for waiter in waiters {
            assert_eq!(clock.armed(), 1);
            drop(waiter);
        }
        assert_eq!(clock.armed(), 1);
        assert!(callback.stop());
        assert_eq!(clock.armed(), 0);
        let _again = waiting(&both, &waker);
        assert_eq!(clock.armed(), 1);
    }

    #[test]
    fn disarmed_by_the_end() {
        let (clock, root) = manual();
        let (parent, canceller) = root.with_timeout(SECOND * 9).with_cancel();
        let child = parent.with_timeout(SECOND);
        let (woken, waker) = counting();
        let _waiters = [
            waiting(&parent, &waker),
            waiting(&child, &waker),
            waiting(&child, &waker),
        ];
        assert_eq!(clock.armed(), 2);
        canceller.cancel();
        assert_eq!((clock.armed(), woken.get()), (0, 3));
    }

    #[test]
    fn the_end_of_a_child_leaves_the_timer_to_its_parents_waiters() {
        let (clock, root) = manual();
        let parent = root.with_timeout(SECOND);
        let (child, canceller) = parent.with_cancel();
        let (woken, waker) = counting();
        let waiter = waiting(&parent, &waker);
        drop(waiting(&child, Waker::noop()));
        let left = waiting(&child, Waker::noop());
        canceller.cancel();
        drop(left);
        assert_eq!(clock.armed(), 1);
        clock.advance(SECOND);
        assert_eq!((woken.get(), clock.armed()), (1, 0));
        drop(waiter);
    }

    #[test]
    fn disarmed_by_the_end_of_one_source_of_a_linked() {
        let (clock, root) = manual();
        let (one, canceller) = root.with_cancel();
        let both = Context::linked([one, root.with_timeout(SECOND)]);
        let (woken, waker) = counting();
        let _waiter = waiting(&both, &waker);
        assert_eq!(clock.armed(), 1);
        canceller.cancel();
        assert_eq!((clock.armed(), woken.get()), (0, 1));
    }

    #[test]
    fn an_ancestors_timer_wakes_waiters_far_below() {
        let (clock, root) = manual();
        let top = root.with_timeout_cause(SECOND, "top's");
        let (child, _child) = top.with_cancel();
        let below = Context::linked([child.with_timeout(SECOND * 5), Context::background()]);
        let (woken, waker) = counting();
        let mut done = waiting(&below, &waker);
        clock.advance(SECOND);
        assert_eq!(woken.get(), 1);
        assert_eq!(poll(&mut done, &waker), Poll::Ready(()));
        assert_eq!(why(&below), "top's");
    }

    #[test]
    fn two_clocks_two_timers() {
        let (one, two) = (ManualClock::new(), ManualClock::new());
        let parent = Context::background()
            .with_clock(one.clone())
            .with_timeout_cause(SECOND, "one's");
        let child = parent
            .with_clock(two.clone())
            .with_timeout_cause(SECOND, "two's");
        let (woken, waker) = counting();
        let waiter = waiting(&child, &waker);
        assert_eq!((one.armed(), two.armed()), (1, 1));
        two.advance(SECOND);
        assert_eq!(
            (woken.get(), why(&child), parent.is_done()),
            (1, "two's".to_owned(), false)
        );
        assert_eq!((one.armed(), two.armed()), (0, 0));
        drop(waiter);
    }

    #[test]
    fn two_clocks_two_timers_for_those_below_too() {
        let (one, two) = (ManualClock::new(), ManualClock::new());
        let parent = Context::background()
            .with_clock(one.clone())
            .with_timeout(SECOND);
        let child = parent.with_clock(two.clone()).with_timeout(SECOND);
        let (below, _below) = child.with_cancel();
        let (woken, waker) = counting();
        let waiter = waiting(&below, &waker);
        assert_eq!((one.armed(), two.armed()), (1, 1));
        one.advance(SECOND);
        assert_eq!((woken.get(), below.err()), (1, Some(deadline_exceeded())));
        assert_eq!((one.armed(), two.armed()), (0, 0));
        drop(waiter);
    }

    #[test]
    fn two_deadlines_by_one_clock_are_one_reading() {
        // "An atomic load; with a deadline that is still open, one reading of the clock as well."
        let count = Count::default();
        let root =
            Context::background().with_clock(CountedClock(ManualClock::new(), count.clone()));
        let both = Context::linked([root.with_timeout(SECOND), root.with_timeout(SECOND * 2)]);
        let before = count.get();
        assert!(!both.is_done());
        assert_eq!(count.get() - before, 1);
    }

    #[test]
    fn a_timer_that_panics_when_made_ends_the_context() {
        // "A timer that cannot fire ... ends what waits on it with an error; it never hangs and never
        // panics in the caller."
        struct Broken;
        impl Clock for Broken {
            fn now(&self) -> Instant {
                Instant::now()
            }
            fn sleep_until(&self, _: Instant) -> Sleep {
                panic!("no timers today")
            }
        }
        let ctx = Context::background()
            .with_clock(Broken)
            .with_timeout(GENEROUS);
        let (_, waker) = counting();
        assert_eq!(poll(&mut ctx.done(), &waker), Poll::Ready(()));
        assert_eq!(ctx.err(), Some(canceled()));
        assert!(why(&ctx).contains("no timers today"), "{}", why(&ctx));
    }

    #[test]
    fn a_timer_that_panics_when_polled_ends_the_context() {
        let clock = |_: Duration| async { panic!("no runtime here") };
        let ctx = Context::background()
            .with_clock(clock)
            .with_timeout(GENEROUS);
        let (called, (_, waker)) = (Count::default(), counting());
        drop(ctx.on_done(called.adder()));
        assert_eq!(poll(&mut ctx.done(), &waker), Poll::Ready(()));
        assert_eq!((ctx.err(), called.get()), (Some(canceled()), 1));
        assert!(why(&ctx).contains("no runtime here"), "{}", why(&ctx));
        let root = Context::background().with_clock(clock);
        assert_eq!(root.sleep(GENEROUS).now_or_never(), Some(Err(canceled())));
    }

    #[test]
    fn a_timer_that_fires_early_ends_it_by_its_deadline() {
        let ctx = Context::background()
            .with_clock(|_: Duration| ready(()))
            .with_timeout(GENEROUS);
        assert_eq!(ctx.done().now_or_never(), Some(()));
        assert_eq!(ctx.err(), Some(deadline_exceeded()));
    }

    #[test]
    fn a_dying_childs_callback_keeps_its_parents_timer() {
        // "dropping it leaves the callback in place": what can still end the context still does, even where the
        // child's own timer holds no reference.
        let (clock, root) = manual();
        let parent = root.with_timeout(SECOND * 5);
        let deaf = parent.with_clock(Deaf(ManualClock::new()));
        let called = Count::default();
        drop(deaf.with_timeout(SECOND * 9).on_done(called.adder()));
        drop(deaf);
        assert_eq!(clock.armed(), 1);
        clock.advance(SECOND * 5);
        assert_eq!((called.get(), clock.armed()), (1, 0));
    }

    #[test]
    fn a_dying_childs_callback_arms_its_parents_timer() {
        // The same where the child's own deadline came first, so the parent's had no waiter.
        #[derive(Clone)]
        struct HalfDeaf(ManualClock, Instant);
        impl Clock for HalfDeaf {
            fn now(&self) -> Instant {
                self.0.now()
            }
            fn sleep_until(&self, deadline: Instant) -> Sleep {
                match deadline < self.1 {
                    true => Sleep::new(pending::<()>()),
                    false => self.0.sleep_until(deadline),
                }
            }
        }
        let clock = ManualClock::new();
        let root =
            Context::background().with_clock(HalfDeaf(clock.clone(), clock.now() + SECOND * 2));
        let parent = root.with_timeout(SECOND * 5);
        let called = Count::default();
        let child = parent.with_timeout(SECOND);
        drop(child.on_done(called.adder()));
        assert_eq!(clock.armed(), 0);
        drop(child);
        assert_eq!(clock.armed(), 1);
        clock.advance(SECOND * 5);
        assert_eq!((called.get(), clock.armed()), (1, 0));
    }
}
