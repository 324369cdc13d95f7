//! Section 2 of the contract, sentence by sentence; time is virtual.

use crate::support::{
    Count, GENEROUS, OnDrop, SECOND, counting, eventually, manual, on_wake, poll,
};
use failfast::{Canceller, Clock, Context, ContextError, Done, ManualClock, OnDone, Sleep};
use futures::FutureExt;
use std::future::{Future, pending, ready};
use std::mem::ManuallyDrop;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Poll, RawWaker, RawWakerVTable, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ContextError::{Canceled, DeadlineExceeded};

fn cancelable() -> (Context, Canceller) {
    Context::background().with_cancel()
}

fn why(ctx: &Context) -> String {
    ctx.cause()
        .map_or("alive".to_owned(), |cause| cause.to_string())
}

/// A `Done` that was polled once, and waits.
fn waiting(ctx: &Context, waker: &Waker) -> Done {
    let mut done = ctx.done();
    assert_eq!(poll(&mut done, waker), Poll::Pending);
    done
}

#[test]
fn auto_traits() {
    // "Cheap to clone"; it travels with the call, into any task.
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn movable<T: Send + Sync + Unpin + 'static>() {}
    shared::<Context>();
    shared::<ContextError>();
    shared::<failfast::Cause>();
    movable::<Canceller>();
    movable::<Done>();
    movable::<OnDone>();
    fn future<F: Future + Send>(_: F) {}
    future(Context::background().run(async {}));
    future(Context::background().sleep(SECOND));
}

mod end {
    use super::*;

    #[test]
    fn a_background_never_ends() {
        // "background(): never ends".
        let ctx = Context::background();
        let (woken, waker) = counting();
        drop(waiting(&ctx, &waker));
        assert!(!ctx.is_done());
        assert_eq!(
            (ctx.err(), ctx.deadline(), ctx.remaining(), woken.get()),
            (None, None, None, 0)
        );
        assert!(ctx.cause().is_none());
        assert!(Context::default().done().now_or_never().is_none());
    }

    #[test]
    fn errors_display_as_in_go() {
        // "`ContextError` displays `context canceled` and `context deadline exceeded`, as Go does."
        assert_eq!(Canceled.to_string(), "context canceled");
        assert_eq!(DeadlineExceeded.to_string(), "context deadline exceeded");
    }

    #[test]
    fn cancel_without_a_cause_is_its_own_cause() {
        // Where nobody gave a reason the cause is the plain error, as Go's `Cause` says.
        let (ctx, canceller) = cancelable();
        canceller.cancel();
        assert_eq!(ctx.err(), Some(Canceled));
        assert_eq!(
            ctx.cause().unwrap().downcast_ref::<ContextError>(),
            Some(&Canceled)
        );
    }

    #[test]
    fn a_given_cause_still_classifies() {
        // "A cause still classifies: err() says Canceled or DeadlineExceeded whatever the cause is."
        let (ctx, canceller) = cancelable();
        canceller.cancel_with(DeadlineExceeded);
        assert_eq!(ctx.err(), Some(Canceled));
        let (clock, root) = manual();
        let late = root.with_timeout_cause(SECOND, Canceled);
        clock.advance(SECOND);
        assert_eq!(late.err(), Some(DeadlineExceeded));
        assert_eq!(late.cause().unwrap().downcast_ref(), Some(&Canceled));
    }

    #[test]
    fn first_cancel_wins_for_ever() {
        // "they change together, once, for ever. First wins".
        let (ctx, canceller) = cancelable();
        canceller.cancel_with("first");
        canceller.cancel_with("second");
        canceller.cancel();
        drop(canceller);
        assert_eq!((ctx.err(), why(&ctx)), (Some(Canceled), "first".to_owned()));
    }

    #[test]
    fn cancel_before_the_deadline_wins_for_ever() {
        let (clock, root) = manual();
        let (parent, canceller) = root.with_cancel();
        let child = parent.with_timeout_cause(SECOND, "too slow");
        canceller.cancel_with("client left");
        clock.advance(SECOND * 2);
        assert_eq!(
            (child.err(), why(&child)),
            (Some(Canceled), "client left".to_owned())
        );
    }

    #[test]
    fn deadline_before_the_cancel_wins_even_if_nobody_looked() {
        // "First wins: the context's own end or an ancestor's, whichever came first": by the clock, not by
        // who asks first.
        let (clock, root) = manual();
        let (parent, canceller) = root.with_cancel();
        let child = parent.with_timeout_cause(SECOND, "too slow");
        clock.advance(SECOND * 2);
        canceller.cancel_with("client left");
        assert_eq!(
            (child.err(), why(&child)),
            (Some(DeadlineExceeded), "too slow".to_owned())
        );
        assert_eq!(
            (parent.err(), why(&parent)),
            (Some(Canceled), "client left".to_owned())
        );
    }

    #[test]
    fn ancestors_deadline_before_the_own_cancel_wins_even_if_nobody_looked() {
        let (clock, root) = manual();
        let (child, canceller) = root.with_timeout_cause(SECOND, "too slow").with_cancel();
        clock.advance(SECOND);
        canceller.cancel_with("too late");
        assert_eq!(
            (child.err(), why(&child)),
            (Some(DeadlineExceeded), "too slow".to_owned())
        );
    }

    #[test]
    fn earlier_deadline_below_wins_even_if_the_parent_is_asked_first() {
        let (clock, root) = manual();
        let parent = root.with_timeout_cause(SECOND * 2, "parent's");
        let child = parent.with_timeout_cause(SECOND, "child's");
        let grandchild = child.with_value(1).with_cancel().0;
        let other = parent.with_cancel();
        clock.advance(SECOND * 3);
        assert_eq!(why(&parent), "parent's");
        assert_eq!(why(&child), "child's");
        assert_eq!(why(&grandchild), "context canceled"); // its canceller was dropped at once
        assert_eq!(why(&other.0), "parent's");
    }

    #[test]
    fn earlier_deadline_beside_wins_when_the_ancestors_late_end_is_shown_by_a_cousin() {
        let (clock, root) = manual();
        let top = root.with_timeout_cause(SECOND * 3, "top's");
        let beside = top.with_timeout_cause(SECOND, "beside's");
        let (cousin, canceller) = top.with_cancel();
        clock.advance(SECOND * 5);
        canceller.cancel_with("cousin's");
        assert_eq!(
            [why(&top), why(&beside), why(&cousin)],
            ["top's", "beside's", "top's"]
        );
    }

    #[test]
    fn the_parents_end_reaches_every_descendant_with_its_cause() {
        // "A child ends when its parent does"; "why; never masked by what it led to".
        let (root, canceller) = cancelable();
        let (child, _child) = root.with_cancel();
        let (grandchild, _grandchild) = child.with_value(1).with_cancel();
        let timed = grandchild.with_timeout(SECOND);
        canceller.cancel_with("root cause");
        for ctx in [&root, &child, &grandchild, &timed] {
            assert_eq!(
                (ctx.err(), why(ctx)),
                (Some(Canceled), "root cause".to_owned())
            );
        }
    }

    #[test]
    fn a_child_cant_end_its_parent() {
        // "A child can't end its parent."
        let (clock, root) = manual();
        let (parent, _parent) = root.with_cancel();
        let (child, canceller) = parent.with_cancel();
        let timed = parent.with_timeout(SECOND);
        canceller.cancel();
        clock.advance(SECOND);
        assert!(child.is_done() && timed.is_done());
        assert_eq!(parent.err(), None);
    }

    #[test]
    fn cancel_of_one_child_leaves_the_siblings() {
        let (parent, _parent) = cancelable();
        let (one, canceller) = parent.with_cancel();
        let (other, _other) = parent.with_cancel();
        canceller.cancel();
        assert!(one.is_done() && !other.is_done());
    }

    #[test]
    fn a_child_of_an_ended_parent_is_born_done_with_its_cause() {
        let (parent, canceller) = cancelable();
        canceller.cancel_with("over");
        let (child, _child) = parent.with_cancel();
        let grandchild = child.with_timeout_cause(SECOND, "own");
        for ctx in [child, grandchild] {
            assert_eq!((ctx.err(), why(&ctx)), (Some(Canceled), "over".to_owned()));
        }
    }

    #[test]
    fn a_child_of_a_parent_whose_deadline_passed_unseen_is_born_done_with_its_cause() {
        let (clock, root) = manual();
        let parent = root.with_timeout_cause(SECOND, "parent's");
        clock.advance(SECOND);
        let (child, canceller) = parent.with_cancel();
        canceller.cancel_with("own");
        assert_eq!(
            (child.err(), why(&child)),
            (Some(DeadlineExceeded), "parent's".to_owned())
        );
    }

    #[test]
    fn clones_are_one_context() {
        let (ctx, canceller) = cancelable();
        let clone = ctx.clone();
        canceller.cancel_with("once");
        assert_eq!(why(&clone), "once");
    }

    #[test]
    fn an_own_cause_is_shared_not_copied() {
        // "any error ... `downcast_ref` gets it back".
        let (ctx, canceller) = cancelable();
        let child = ctx.with_cancel();
        canceller.cancel_with(std::io::Error::other("disk full"));
        let (one, two) = (ctx.cause().unwrap(), child.0.cause().unwrap());
        let (one, two): (&std::io::Error, &std::io::Error) =
            (one.downcast_ref().unwrap(), two.downcast_ref().unwrap());
        assert!(std::ptr::eq(one, two));
    }
}

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
        assert_eq!((child.err(), parent.err()), (Some(DeadlineExceeded), None));
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
        assert_eq!(ctx.err(), Some(DeadlineExceeded));
    }

    #[test]
    fn a_cause_of_a_deadline_shows_only_if_that_fired() {
        // "A deadline's cause shows only if that deadline fired."
        let (clock, root) = manual();
        let parent = root.with_timeout_cause(SECOND, "parent's");
        let later = parent.with_timeout_cause(SECOND * 2, "later");
        let earlier = parent.with_timeout_cause(SECOND / 2, "earlier");
        let (canceled, canceller) = root.with_timeout_cause(SECOND, "never").with_cancel();
        canceller.cancel_with("canceled");
        clock.advance(SECOND * 3);
        assert_eq!([why(&later), why(&earlier)], ["parent's", "earlier"]);
        assert_eq!(
            (canceled.err(), why(&canceled)),
            (Some(Canceled), "canceled".to_owned())
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
            (Some(Canceled), "own end".to_owned())
        );
        assert_eq!(why(&parent), "parent's");
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
            (Some(DeadlineExceeded), "child's".to_owned())
        );
        assert_eq!(parent.err(), None);
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
            assert_eq!(ctx.err(), Some(DeadlineExceeded));
            let run = ctx.run(async { unreachable!("user work started") });
            assert_eq!(run.now_or_never(), Some(Err::<(), _>(DeadlineExceeded)));
            assert_eq!(
                ctx.sleep(Duration::ZERO).now_or_never(),
                Some(Err(DeadlineExceeded))
            );
            assert_eq!(ctx.done().now_or_never(), Some(()));
        }
        assert_eq!(clock.armed(), 0);
    }

    #[test]
    fn a_timeout_too_long_to_tell_is_none() {
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
        // A clock whose timer never fires, but whose hands move.
        #[derive(Clone)]
        struct Deaf(ManualClock);
        impl Clock for Deaf {
            fn now(&self) -> Instant {
                self.0.now()
            }
            fn sleep_until(&self, _: Instant) -> Sleep {
                Sleep::new(pending::<()>())
            }
        }
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
        // Real time is the subject here: nobody advances anything.
        let begin = Instant::now();
        let ctx = Context::background().with_timeout(Duration::from_millis(20));
        smol::block_on(ctx.done());
        assert!(begin.elapsed() >= Duration::from_millis(20) && begin.elapsed() < GENEROUS);
        assert_eq!(ctx.err(), Some(DeadlineExceeded));
    }
}

mod timers {
    use super::*;

    #[test]
    fn nobody_waiting_means_no_timer() {
        // "no thread, task or timer is spent on a context that nobody waits for".
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
    fn the_end_of_a_child_leaves_the_timer_to_those_who_wait_for_its_parent() {
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
    fn an_ancestors_timer_wakes_those_who_wait_far_below() {
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
        assert_eq!((woken.get(), below.err()), (1, Some(DeadlineExceeded)));
        assert_eq!((one.armed(), two.armed()), (0, 0));
        drop(waiter);
    }

    #[test]
    fn two_deadlines_by_one_clock_are_one_reading() {
        // "An atomic load; with a deadline that is still open, one reading of the clock as well."
        struct Read(ManualClock, Count);
        impl Clock for Read {
            fn now(&self) -> Instant {
                self.1.add();
                self.0.now()
            }
            fn sleep_until(&self, deadline: Instant) -> Sleep {
                self.0.sleep_until(deadline)
            }
        }
        let count = Count::default();
        let root = Context::background().with_clock(Read(ManualClock::new(), count.clone()));
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
        assert_eq!(ctx.err(), Some(Canceled));
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
        assert_eq!((ctx.err(), called.get()), (Some(Canceled), 1));
        assert!(why(&ctx).contains("no runtime here"), "{}", why(&ctx));
        let root = Context::background().with_clock(clock);
        assert_eq!(root.sleep(GENEROUS).now_or_never(), Some(Err(Canceled)));
    }

    #[test]
    fn a_timer_that_fires_early_ends_it_by_its_deadline() {
        let ctx = Context::background()
            .with_clock(|_: Duration| ready(()))
            .with_timeout(GENEROUS);
        assert_eq!(ctx.done().now_or_never(), Some(()));
        assert_eq!(ctx.err(), Some(DeadlineExceeded));
    }

    #[test]
    fn a_timer_that_wakes_from_inside_its_poll_is_polled_again() {
        let clock = |_: Duration| {
            let mut left = 3;
            futures::future::poll_fn(move |cx| {
                cx.waker().wake_by_ref();
                left -= 1;
                if left == 0 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
        };
        let ctx = Context::background()
            .with_clock(clock)
            .with_timeout(GENEROUS);
        assert_eq!(ctx.done().now_or_never(), Some(()));
    }

    #[test]
    fn a_dying_childs_callback_keeps_its_parents_timer() {
        // "dropping it leaves the callback in place": who can still end the context still does, even where
        // the child's own timer holds nobody.
        #[derive(Clone)]
        struct Deaf(ManualClock);
        impl Clock for Deaf {
            fn now(&self) -> Instant {
                self.0.now()
            }
            fn sleep_until(&self, _: Instant) -> Sleep {
                Sleep::new(pending::<()>())
            }
        }
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
        // The same where the child's own deadline came first, so that nobody waited for the parent's.
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

mod done {
    use super::*;

    #[test]
    fn every_waiter_is_woken_once() {
        // "done(): any number of waiters".
        let (ctx, canceller) = cancelable();
        let wakers: Vec<_> = (0..100).map(|_| counting()).collect();
        let mut waiters: Vec<_> = wakers
            .iter()
            .map(|(_, waker)| waiting(&ctx, waker))
            .collect();
        canceller.cancel();
        canceller.cancel();
        for ((woken, waker), done) in wakers.iter().zip(&mut waiters) {
            assert_eq!(woken.get(), 1);
            assert_eq!(poll(done, waker), Poll::Ready(()));
            assert_eq!(poll(done, waker), Poll::Ready(())); // and ready it stays
        }
    }

    #[test]
    fn a_second_poll_with_another_waker_replaces_the_first() {
        let (ctx, canceller) = cancelable();
        let ((first, one), (second, two)) = (counting(), counting());
        let mut done = waiting(&ctx, &one);
        assert_eq!(poll(&mut done, &two), Poll::Pending);
        assert_eq!(poll(&mut done, &two), Poll::Pending);
        canceller.cancel();
        assert_eq!((first.get(), second.get()), (0, 1));
    }

    #[test]
    fn a_dropped_waiter_is_not_woken_and_leaves_nothing() {
        // "cancel-safe": its waker is let go of at once.
        let (ctx, canceller) = cancelable();
        let (woken, dropped) = (Count::default(), Count::default());
        let (count, guard) = (woken.clone(), OnDrop(dropped.clone()));
        let waker = on_wake(move || {
            let _held = &guard;
            count.add();
        });
        drop(waiting(&ctx, &waker));
        drop(waker);
        assert_eq!(dropped.get(), 1);
        canceller.cancel();
        assert_eq!(woken.get(), 0);
    }

    #[test]
    fn the_end_lets_go_of_the_wakers() {
        let (ctx, canceller) = cancelable();
        let dropped = Count::default();
        let guard = OnDrop(dropped.clone());
        let waker = on_wake(move || {
            let _held = &guard;
        });
        let _done = waiting(&ctx, &waker);
        drop(waker);
        canceller.cancel();
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn a_waiter_outlives_every_handle() {
        // "'static": it needs no context kept beside it.
        let (clock, root) = manual();
        let mut done = root.with_timeout(SECOND).done();
        drop(root);
        let (woken, waker) = counting();
        assert_eq!(poll(&mut done, &waker), Poll::Pending);
        clock.advance(SECOND);
        assert_eq!((woken.get(), poll(&mut done, &waker)), (1, Poll::Ready(())));
    }

    #[test]
    fn an_ended_context_completes_at_the_first_poll() {
        let (ctx, canceller) = cancelable();
        let mut before = ctx.done();
        canceller.cancel();
        let (woken, waker) = counting();
        assert_eq!(poll(&mut before, &waker), Poll::Ready(()));
        assert_eq!(poll(&mut ctx.done(), &waker), Poll::Ready(()));
        assert_eq!(woken.get(), 0);
    }
}

mod run {
    use super::*;

    #[test]
    fn gives_what_the_future_gives() {
        let (ctx, _canceller) = cancelable();
        assert_eq!(ctx.run(ready(7)).now_or_never(), Some(Ok(7)));
        assert_eq!(
            Context::background().run(ready(7)).now_or_never(),
            Some(Ok(7))
        );
    }

    #[test]
    fn the_end_drops_the_future_before_run_returns() {
        // "run(F): F is dropped when the context ends".
        let (ctx, canceller) = cancelable();
        let dropped = Count::default();
        let guard = OnDrop(dropped.clone());
        let mut run = Box::pin(ctx.run(async move {
            let _guard = guard;
            pending::<()>().await
        }));
        let (woken, waker) = counting();
        assert_eq!(poll(&mut run, &waker), Poll::Pending);
        canceller.cancel();
        assert_eq!((woken.get(), dropped.get()), (1, 0));
        assert_eq!(poll(&mut run, &waker), Poll::Ready(Err(Canceled)));
        assert_eq!(dropped.get(), 1); // `run` itself is still there
        drop(run);
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn an_end_during_the_poll_drops_the_future_in_the_same_poll() {
        let (ctx, canceller) = cancelable();
        let dropped = Count::default();
        let guard = OnDrop(dropped.clone());
        let mut run = Box::pin(ctx.run(async move {
            let _guard = guard;
            canceller.cancel_with("by itself");
            pending::<()>().await
        }));
        let (_, waker) = counting();
        assert_eq!(poll(&mut run, &waker), Poll::Ready(Err(Canceled)));
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn a_result_that_comes_with_the_end_counts() {
        let (ctx, canceller) = cancelable();
        let run = ctx.run(async move {
            canceller.cancel();
            5
        });
        assert_eq!(run.now_or_never(), Some(Ok(5)));
    }

    #[test]
    fn an_ended_context_never_polls_the_future_and_drops_it() {
        let (ctx, canceller) = cancelable();
        canceller.cancel();
        let dropped = Count::default();
        let guard = OnDrop(dropped.clone());
        let mut run = Box::pin(ctx.run(async move {
            let _guard = guard;
            unreachable!("it was polled")
        }));
        let (_, waker) = counting();
        assert_eq!(poll(&mut run, &waker), Poll::Ready(Err::<(), _>(Canceled)));
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn the_deadline_wakes_it_once() {
        let (clock, root) = manual();
        let ctx = root.with_timeout(SECOND);
        let mut run = Box::pin(ctx.run(pending::<()>()));
        let (woken, waker) = counting();
        assert_eq!(poll(&mut run, &waker), Poll::Pending);
        clock.advance(SECOND);
        assert_eq!(
            (woken.get(), poll(&mut run, &waker)),
            (1, Poll::Ready(Err(DeadlineExceeded)))
        );
    }

    #[test]
    fn what_completes_at_once_arms_no_timer() {
        let (clock, root) = manual();
        let ctx = root.with_timeout(SECOND);
        assert_eq!(ctx.run(ready(1)).now_or_never(), Some(Ok(1)));
        drop(ctx.run(pending::<()>()));
        assert_eq!(clock.armed(), 0);
    }

    #[test]
    fn dropped_while_it_waits_it_leaves_nothing() {
        let (clock, root) = manual();
        let mut run = Box::pin(root.with_timeout(SECOND).run(pending::<()>()));
        let (woken, waker) = counting();
        assert_eq!(poll(&mut run, &waker), Poll::Pending);
        assert_eq!(clock.armed(), 1);
        drop(run);
        assert_eq!(clock.armed(), 0);
        clock.advance(SECOND);
        assert_eq!(woken.get(), 0);
    }
}

mod sleep {
    use super::*;

    #[test]
    fn sleeps_by_the_contexts_clock() {
        let (clock, root) = manual();
        let (ctx, _canceller) = root.with_cancel();
        let mut sleep = Box::pin(ctx.sleep(SECOND));
        let (woken, waker) = counting();
        assert_eq!(poll(&mut sleep, &waker), Poll::Pending);
        clock.advance(SECOND);
        assert_eq!(
            (woken.get(), poll(&mut sleep, &waker)),
            (1, Poll::Ready(Ok(())))
        );
    }

    #[test]
    fn is_cut_short_by_the_end() {
        let (clock, root) = manual();
        let ctx = root.with_timeout(SECOND);
        let mut sleep = Box::pin(ctx.sleep(SECOND * 5));
        let (woken, waker) = counting();
        assert_eq!(poll(&mut sleep, &waker), Poll::Pending);
        clock.advance(SECOND);
        assert_eq!(poll(&mut sleep, &waker), Poll::Ready(Err(DeadlineExceeded)));
        assert_eq!((woken.get(), clock.armed()), (1, 0));
    }

    #[test]
    fn counts_from_the_call_not_from_the_first_poll() {
        let (clock, root) = manual();
        let sleep = root.sleep(SECOND);
        clock.advance(SECOND);
        assert_eq!(sleep.now_or_never(), Some(Ok(())));
    }

    #[test]
    fn dropping_it_disarms_its_timers() {
        let (clock, root) = manual();
        let mut sleep = Box::pin(root.with_timeout(SECOND * 2).sleep(SECOND));
        let (_, waker) = counting();
        assert_eq!(poll(&mut sleep, &waker), Poll::Pending);
        assert_eq!(clock.armed(), 2);
        drop(sleep);
        assert_eq!(clock.armed(), 0);
    }
}

mod canceller {
    use super::*;

    #[test]
    fn dropping_it_cancels() {
        // "cancels when dropped".
        let (ctx, canceller) = cancelable();
        let (woken, waker) = counting();
        let _done = waiting(&ctx, &waker);
        drop(canceller);
        assert_eq!(
            (ctx.err(), why(&ctx), woken.get()),
            (Some(Canceled), "context canceled".to_owned(), 1)
        );
    }

    #[test]
    fn disarmed_it_leaves_the_context_alone() {
        let (clock, root) = manual();
        let (ctx, canceller) = root.with_timeout(SECOND).with_cancel();
        canceller.disarm();
        assert_eq!(ctx.err(), None);
        clock.advance(SECOND);
        assert_eq!(ctx.err(), Some(DeadlineExceeded));
    }

    #[test]
    fn disarmed_it_lets_go_of_the_context() {
        let dropped = Count::default();
        let (ctx, canceller) = Context::background()
            .with_value(OnDrop(dropped.clone()))
            .with_cancel();
        canceller.disarm();
        drop(ctx);
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn cancel_with_any_error() {
        for (given, told) in [
            ("a text".into(), "a text"),
            (
                Box::<dyn std::error::Error + Send + Sync>::from(std::fmt::Error),
                &*std::fmt::Error.to_string(),
            ),
        ] {
            let (ctx, canceller) = cancelable();
            canceller.cancel_with(given);
            assert_eq!(why(&ctx), told);
        }
    }

    #[test]
    fn a_panic_unwinding_past_it_cancels() {
        let (ctx, canceller) = cancelable();
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _canceller = canceller;
            panic!("the caller fails");
        }));
        assert!(unwound.is_err() && ctx.is_done());
    }
}

mod values {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Id(u32);
    #[derive(Debug, PartialEq)]
    struct User(&'static str);

    #[test]
    fn the_nearest_of_a_type_wins() {
        // "typed; the nearest wins".
        let outer = Context::background()
            .with_value(Id(1))
            .with_value(User("ann"));
        let inner = outer.with_cancel().0.with_value(Id(2)).with_timeout(SECOND);
        assert_eq!((outer.value(), inner.value()), (Some(&Id(1)), Some(&Id(2))));
        assert_eq!(inner.value(), Some(&User("ann")));
        assert_eq!(inner.value::<String>(), None);
    }

    #[test]
    fn values_survive_the_end() {
        // "values survive the end and `without_cancel`".
        let (ctx, canceller) = Context::background().with_value(Id(1)).with_cancel();
        canceller.cancel();
        assert_eq!(ctx.value(), Some(&Id(1)));
        assert_eq!(ctx.with_value(User("bob")).value(), Some(&User("bob")));
    }

    #[test]
    fn without_cancel_keeps_values_and_clock_but_not_the_lifetime() {
        // "values and clock stay, the lifetime does not".
        let (clock, root) = manual();
        let (ctx, canceller) = root.with_value(Id(1)).with_timeout(SECOND).with_cancel();
        let free = ctx.without_cancel();
        canceller.cancel();
        assert_eq!(
            (free.err(), free.deadline(), free.value()),
            (None, None, Some(&Id(1)))
        );
        let timed = free.with_timeout(SECOND);
        assert_eq!(timed.deadline(), Some(clock.now() + SECOND));
        clock.advance(SECOND);
        assert_eq!((timed.err(), free.err()), (Some(DeadlineExceeded), None));
        assert!(free.done().now_or_never().is_none());
    }

    #[test]
    fn a_linked_context_has_the_values_of_all_and_the_first_wins() {
        let one = Context::background().with_value(Id(1));
        let two = Context::background()
            .with_value(Id(2))
            .with_value(User("two"));
        let (ctx, _canceller) = Context::linked([one, two]).with_cancel();
        assert_eq!(
            (ctx.value(), ctx.value()),
            (Some(&Id(1)), Some(&User("two")))
        );
    }

    #[test]
    fn a_context_linked_to_three_has_the_values_of_all() {
        let one = Context::background().with_value(1_u8);
        let two = Context::background().with_value(2_u8).with_value(2_u16);
        let three = Context::background().with_value(3_u16).with_value(3_u32);
        let linked = Context::linked([one, two, three]);
        assert_eq!(
            (linked.value(), linked.value(), linked.value()),
            (Some(&1_u8), Some(&2_u16), Some(&3_u32))
        );
    }

    #[test]
    fn a_linked_contexts_clock_is_that_of_the_first_that_has_one() {
        let (clock, root) = manual();
        let ctx = Context::linked([Context::background().with_value(1), root]).with_timeout(SECOND);
        clock.advance(SECOND);
        assert!(ctx.is_done());
    }

    #[test]
    fn with_clock_counts_for_what_is_below_only() {
        // "everything below tells time by it".
        let (one, root) = manual();
        let above = root.with_timeout(SECOND);
        let two = ManualClock::new();
        let below = above.with_clock(two.clone()).with_timeout(SECOND / 2);
        two.advance(SECOND / 2);
        assert_eq!((below.err(), above.err()), (Some(DeadlineExceeded), None));
        one.advance(SECOND);
        assert_eq!(above.err(), Some(DeadlineExceeded));
    }

    #[test]
    fn a_value_is_dropped_with_the_last_context_that_has_it() {
        let dropped = Count::default();
        let ctx = Context::background().with_value(OnDrop(dropped.clone()));
        let child = ctx.with_cancel();
        drop(ctx);
        assert_eq!(dropped.get(), 0);
        drop(child);
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn links_that_meet_again_are_looked_through_once() {
        // 60 diamonds have 2^60 paths: a look-up that took each would never end.
        let mut ctx = Context::background().with_value(Id(1));
        for number in 0..60_u8 {
            ctx = Context::linked([ctx.with_value(number), ctx.with_value(User("x"))]);
        }
        assert_eq!(ctx.value::<String>(), None);
        assert_eq!((ctx.value(), ctx.value()), (Some(&Id(1)), Some(&59_u8)));
    }
}

mod linked {
    use super::*;

    #[test]
    fn ends_with_the_first_of_several_and_its_cause() {
        // "ends when the first of several ends, with that one's cause".
        let ((one, first), (two, second)) = (cancelable(), cancelable());
        let both = Context::linked([one.clone(), two.clone()]);
        assert_eq!(both.err(), None);
        second.cancel_with("second");
        first.cancel_with("first");
        assert_eq!(
            (both.err(), why(&both)),
            (Some(Canceled), "second".to_owned())
        );
        assert_eq!(why(&one), "first");
    }

    #[test]
    fn of_sources_one_of_which_has_ended_is_born_done() {
        let ((one, _first), (two, second)) = (cancelable(), cancelable());
        second.cancel_with("before");
        let both = Context::linked([one.clone(), two]);
        assert_eq!((why(&both), one.err()), ("before".to_owned(), None));
        assert!(both.with_cancel().0.is_done());
    }

    #[test]
    fn of_nothing_or_backgrounds_never_ends() {
        assert!(Context::linked([]).done().now_or_never().is_none());
        assert!(!Context::linked([Context::background(), Context::background()]).is_done());
    }

    #[test]
    fn the_end_goes_on_in_the_order_of_linking() {
        let (source, canceller) = cancelable();
        let before = [0; 5].map(|_| Context::linked([source.clone()]));
        let [first, second, third, fourth, _] = before.clone();
        let after = [
            Context::linked([third.clone(), second.clone()]),
            Context::linked([fourth, third, first, second]),
        ];
        canceller.cancel();
        for (linked, number) in after.iter().zip([1, 2]) {
            let text = format!("{:#}", linked.cause().unwrap());
            assert!(text.contains(&format!(", number {number} of ")), "{text}");
        }
    }

    #[test]
    fn cannot_end_its_sources() {
        let (source, _source) = cancelable();
        let (both, canceller) = Context::linked([source.clone()]).with_cancel();
        canceller.cancel();
        assert!(both.is_done() && !source.is_done());
    }

    #[test]
    fn earliest_deadline_of_the_sources_ends_it_whoever_is_asked_first() {
        let (clock, root) = manual();
        for ask_source_first in [false, true] {
            let late = root.with_timeout_cause(SECOND * 2, "late");
            let early = root.with_timeout_cause(SECOND, "early");
            let both = Context::linked([late.clone(), early.clone()]);
            clock.advance(SECOND * 3);
            if ask_source_first {
                assert_eq!(why(&late), "late");
            }
            assert_eq!(
                (both.err(), why(&both)),
                (Some(DeadlineExceeded), "early".to_owned())
            );
            assert_eq!([why(&late), why(&early)], ["late", "early"]);
        }
    }

    #[test]
    fn an_earlier_end_wins_though_it_comes_by_a_longer_way() {
        let (clock, root) = manual();
        let early = root.with_timeout_cause(SECOND, "early");
        let late = root.with_timeout_cause(SECOND * 2, "late");
        let (top, canceller) = cancelable();
        let detour = Context::linked([Context::linked([early, top.clone()]), top]);
        let all = Context::linked([late, detour]);
        clock.advance(SECOND * 3);
        canceller.cancel();
        assert_eq!(why(&all), "early");
    }

    #[test]
    fn a_deadline_that_passed_unseen_comes_before_another_sources_cancel() {
        let (clock, root) = manual();
        let timed = root.with_timeout_cause(SECOND, "timed");
        let (other, canceller) = cancelable();
        let chained = Context::linked([Context::linked([other, timed.clone()])]);
        let (woken, waker) = counting();
        clock.advance(SECOND);
        canceller.cancel_with("other");
        assert_eq!(
            (chained.err(), why(&chained)),
            (Some(DeadlineExceeded), "timed".to_owned())
        );
        drop((waker, woken));
    }

    #[test]
    fn cancel_reaches_linked_of_linked_before_it_returns() {
        // "cancelling is synchronous for all descendants", through links too.
        let (source, canceller) = cancelable();
        let mut ctx = source;
        for _ in 0..10 {
            ctx = Context::linked([ctx.with_cancel().0.without_cancel(), ctx]);
            let (child, keep) = ctx.with_cancel();
            keep.disarm();
            ctx = child;
        }
        let (woken, waker) = counting();
        let _done = waiting(&ctx, &waker);
        canceller.cancel_with("far away");
        assert_eq!((why(&ctx), woken.get()), ("far away".to_owned(), 1));
    }

    #[test]
    fn everyone_is_done_before_the_first_is_woken() {
        // A waker that looks around, in the source's tree and in those linked to it, finds all done.
        let (source, canceller) = cancelable();
        let all = [
            source.clone(),
            source.with_value(1).with_timeout(GENEROUS),
            Context::linked([source.clone()]),
            Context::linked([Context::linked([source.clone()])]).with_timeout(GENEROUS),
        ];
        let seen = Count::default();
        let mut waiters = Vec::new();
        for ctx in &all {
            let (looked, family) = (seen.clone(), all.clone());
            let waker = on_wake(move || {
                assert!(family.iter().all(Context::is_done));
                looked.add();
            });
            waiters.push(waiting(ctx, &waker));
        }
        canceller.cancel();
        assert_eq!(seen.get(), all.len());
    }

    #[test]
    fn dropped_it_leaves_nothing_with_its_sources() {
        let (source, canceller) = cancelable();
        let (woken, waker) = counting();
        let both = Context::linked([source.clone(), source.clone()]);
        drop(waiting(&both, &waker));
        drop(both);
        canceller.cancel();
        assert_eq!(woken.get(), 0);
    }

    #[test]
    fn ended_it_lets_go_of_its_other_sources() {
        let ((one, keep), (two, second)) = (cancelable(), cancelable());
        let dropped = Count::default();
        let guard = OnDrop(dropped.clone());
        drop(one.on_done(move || drop(guard)));
        keep.disarm();
        let both = Context::linked([one, two]);
        assert_eq!(dropped.get(), 0);
        second.cancel();
        assert_eq!(
            dropped.get(),
            1,
            "nobody can end the source, nor wait for it"
        );
        assert!(both.is_done());
    }
}

mod on_done {
    use super::*;

    #[test]
    fn is_called_once_by_whoever_ends_the_context() {
        // "`on_done` callbacks run once each".
        let (ctx, canceller) = cancelable();
        let (called, thread) = (Count::default(), Arc::new(Mutex::new(None)));
        let (count, on) = (called.clone(), thread.clone());
        let callback = ctx.on_done(move || {
            count.add();
            *on.lock().unwrap() = Some(thread::current().id());
        });
        assert_eq!(called.get(), 0);
        canceller.cancel();
        canceller.cancel();
        assert_eq!(
            (called.get(), *thread.lock().unwrap()),
            (1, Some(thread::current().id()))
        );
        assert!(!callback.stop());
    }

    #[test]
    fn on_an_ended_context_is_called_at_once() {
        let (clock, root) = manual();
        let ctx = root.with_timeout(SECOND);
        clock.advance(SECOND);
        let called = Count::default();
        let callback = ctx.on_done(called.adder());
        assert_eq!((called.get(), callback.stop()), (1, false));
    }

    #[test]
    fn stop_is_true_once_and_only_if_it_prevented_the_call() {
        // "true once, and only if it prevented the call".
        let (ctx, canceller) = cancelable();
        let (called, dropped) = (Count::default(), Count::default());
        let (count, guard) = (called.clone(), OnDrop(dropped.clone()));
        let callback = ctx.on_done(move || {
            let _guard = guard;
            count.add();
        });
        assert!(callback.stop());
        assert_eq!(dropped.get(), 1);
        assert!(!callback.stop());
        canceller.cancel();
        assert_eq!(called.get(), 0);
    }

    #[test]
    fn on_a_background_can_be_stopped_once() {
        let called = Count::default();
        let callback = Context::background().on_done(called.adder());
        assert_eq!([callback.stop(), callback.stop()], [true, false]);
        assert_eq!(called.get(), 0);
    }

    #[test]
    fn dropping_it_leaves_the_callback_in_place() {
        // "dropping it leaves the callback in place".
        let (ctx, canceller) = cancelable();
        let called = Count::default();
        drop(ctx.on_done(called.adder()));
        canceller.cancel();
        assert_eq!(called.get(), 1);
    }

    #[test]
    fn stays_in_place_when_only_the_parent_is_left() {
        let (parent, canceller) = cancelable();
        let called = Count::default();
        let (child, keep) = parent.with_cancel();
        let (grandchild, keep_too) = child.with_cancel();
        keep.disarm();
        keep_too.disarm();
        drop(grandchild.on_done(called.adder()));
        drop(child);
        drop(grandchild);
        assert_eq!(called.get(), 0);
        canceller.cancel();
        assert_eq!(called.get(), 1);
    }

    #[test]
    fn stays_in_place_when_only_a_deadline_is_left() {
        let (clock, root) = manual();
        let called = Count::default();
        drop(root.with_timeout(SECOND).on_done(called.adder()));
        let (child, keep) = root.with_timeout(SECOND * 2).with_cancel();
        keep.disarm();
        drop(child.on_done(called.adder()));
        drop((child, root));
        clock.advance(SECOND);
        assert_eq!(called.get(), 1);
        clock.advance(SECOND);
        assert_eq!((called.get(), clock.armed()), (2, 0));
    }

    #[test]
    fn stays_in_place_when_only_the_sources_of_a_linked_context_are_left() {
        let ((one, first), (two, second)) = (cancelable(), cancelable());
        let called = Count::default();
        let both = Context::linked([one.clone(), two]);
        drop(both.on_done(called.adder()));
        let (child, keep) = Context::linked([both, one]).with_cancel();
        keep.disarm();
        drop(child.on_done(called.adder()));
        drop(child);
        assert_eq!(called.get(), 0);
        second.cancel();
        assert_eq!(called.get(), 2);
        first.cancel();
        assert_eq!(called.get(), 2);
    }

    #[test]
    fn on_a_linked_context_that_is_gone_needs_no_timer_but_its_sources() {
        let (clock, root) = manual();
        let (called, dropped) = (Count::default(), Count::default());
        let (count, guard) = (called.clone(), OnDrop(dropped.clone()));
        let (timed, untimed) = (root.with_timeout(SECOND), cancelable());
        drop(
            Context::linked([timed.clone(), untimed.0]).on_done(move || {
                let _guard = guard;
                count.add();
            }),
        );
        assert_eq!(clock.armed(), 1);
        untimed.1.cancel();
        assert_eq!((called.get(), dropped.get()), (1, 1));
        clock.advance(SECOND);
        assert_eq!((called.get(), clock.armed(), timed.is_done()), (1, 0, true));
    }

    #[test]
    fn called_by_one_source_of_a_linked_context_that_is_gone_it_leaves_the_others() {
        // "nothing is spent without a waiter": no timer, neither at the first of the others nor the last.
        let (clock, root) = manual();
        let called = Count::default();
        let (first, last) = (root.with_timeout(SECOND), root.with_timeout(SECOND));
        let (between, canceller) = cancelable();
        let linked = Context::linked([first.clone(), between, last.clone()]);
        drop(linked.on_done(called.adder()));
        drop(linked);
        assert_eq!(clock.armed(), 2);
        canceller.cancel();
        assert_eq!((called.get(), clock.armed()), (1, 0));
        assert!(!first.is_done() && !last.is_done());
    }

    #[test]
    fn survives_the_drop_of_many_links_that_meet_again() {
        let (source, canceller) = cancelable();
        let mut ctx = source;
        for _ in 0..60 {
            ctx = Context::linked([ctx.clone(), ctx]);
        }
        for _ in 0..10_000 {
            ctx = Context::linked([ctx]);
        }
        let called = Count::default();
        drop(ctx.on_done(called.adder()));
        drop(ctx);
        canceller.cancel();
        assert_eq!(called.get(), 1);
    }

    #[test]
    fn that_nobody_can_call_any_more_is_dropped() {
        let (ctx, canceller) = cancelable();
        let dropped = Count::default();
        let guard = OnDrop(dropped.clone());
        drop(ctx.on_done(move || drop(guard)));
        canceller.disarm();
        assert_eq!(dropped.get(), 0);
        drop(ctx);
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn one_that_panics_harms_neither_the_others_nor_the_canceller() {
        // "one that panics harms neither the others nor the canceller".
        let (ctx, canceller) = cancelable();
        let (called, (woken, waker)) = (Count::default(), counting());
        drop(ctx.on_done(called.adder()));
        drop(ctx.on_done(|| panic!("a bad callback")));
        drop(ctx.on_done(called.adder()));
        let _done = waiting(&ctx, &waker);
        canceller.cancel();
        assert_eq!((called.get(), woken.get(), ctx.is_done()), (2, 1, true));
        drop(ctx.on_done(|| panic!("a bad callback, at once")));
    }

    #[test]
    fn finds_its_context_done_and_may_do_anything() {
        // Callbacks that cancel relatives, register further callbacks, or drop contexts.
        let (parent, parents) = cancelable();
        let (ctx, canceller) = parent.with_cancel();
        let (sibling, siblings) = parent.with_cancel();
        let (called, inner) = (Count::default(), Count::default());
        let (count, again, own) = (called.clone(), inner.clone(), ctx.clone());
        let relatives = (parent.clone(), sibling.clone());
        let held = ctx.with_value(1).with_timeout(GENEROUS);
        drop(ctx.on_done(move || {
            assert_eq!(own.err(), Some(Canceled));
            drop(own.on_done(again.adder()));
            drop(held);
            siblings.cancel_with("by a callback");
            parents.cancel_with("by a callback");
            assert!(relatives.0.is_done() && relatives.1.is_done());
            drop(relatives.0.on_done(again.adder()));
            count.add();
        }));
        canceller.cancel();
        assert_eq!((called.get(), inner.get()), (1, 2));
        assert_eq!(
            [why(&sibling), why(&parent)],
            ["by a callback", "by a callback"]
        );
    }

    #[test]
    fn may_stop_another_callback_or_itself() {
        let (ctx, canceller) = cancelable();
        let slot: Arc<Mutex<Option<OnDone>>> = Arc::default();
        let (own, stopped) = (slot.clone(), Arc::new(AtomicBool::new(true)));
        let told = stopped.clone();
        *slot.lock().unwrap() = Some(ctx.on_done(move || {
            let callback = own.lock().unwrap().take();
            told.store(callback.is_some_and(|callback| callback.stop()), SeqCst);
        }));
        canceller.cancel();
        assert!(!stopped.load(SeqCst));
    }

    #[test]
    fn stop_against_the_end_calls_or_prevents_never_both() {
        // Threads: the call and `stop` agree.
        for _ in 0..2_000 {
            let (ctx, canceller) = cancelable();
            let called = Count::default();
            let callback = ctx.on_done(called.adder());
            let start = Arc::new(Barrier::new(2));
            let begin = start.clone();
            let ender = thread::spawn(move || {
                begin.wait();
                canceller.cancel();
            });
            start.wait();
            let prevented = callback.stop();
            ender.join().unwrap();
            assert_eq!(called.get(), usize::from(!prevented));
        }
    }
}

mod hostile {
    use super::*;

    #[test]
    fn a_waker_that_asks_inline_finds_it_done() {
        // "Waking runs no user code under a lock".
        let (ctx, canceller) = cancelable();
        let child = ctx.with_timeout(GENEROUS);
        let (asked, looked) = (Count::default(), ctx.clone());
        let count = asked.clone();
        let waker = on_wake(move || {
            assert!(looked.is_done() && looked.cause().is_some() && child.is_done());
            assert!(looked.with_cancel().0.is_done());
            assert_eq!(looked.done().now_or_never(), Some(()));
            count.add();
        });
        let _done = waiting(&ctx, &waker);
        canceller.cancel();
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_asleep() {
        let (clock, root) = manual();
        let (ctx, canceller) = root.with_timeout(SECOND).with_cancel();
        let timed = root.with_timeout(SECOND);
        let (woken, waker) = counting();
        let bad = on_wake(|| panic!("a bad waker"));
        let _waiters: Vec<_> = [&ctx, &timed]
            .into_iter()
            .flat_map(|ctx| {
                [
                    waiting(ctx, &waker),
                    waiting(ctx, &bad),
                    waiting(ctx, &waker),
                ]
            })
            .collect();
        canceller.cancel();
        assert_eq!(woken.get(), 2);
        clock.advance(SECOND);
        assert_eq!((woken.get(), timed.is_done()), (4, true));
    }

    #[test]
    fn a_waker_that_blocks_keeps_nobody_from_asking() {
        let (ctx, canceller) = cancelable();
        let (release, blocked) = mpsc::channel::<()>();
        let (inside, entered) = mpsc::channel();
        let blocked = Mutex::new(blocked);
        let waker = on_wake(move || {
            inside.send(()).unwrap();
            blocked.lock().unwrap().recv().unwrap_or(());
        });
        let done = waiting(&ctx, &waker);
        let ender = thread::spawn(move || canceller.cancel_with("slowly"));
        entered.recv_timeout(GENEROUS).unwrap();
        assert_eq!(why(&ctx), "slowly");
        let called = Count::default();
        drop(ctx.on_done(called.adder()));
        assert!(ctx.with_cancel().0.is_done());
        drop(done);
        assert_eq!(called.get(), 1);
        drop(release);
        ender.join().unwrap();
    }

    #[test]
    fn a_waker_that_owns_the_waiter_frees_it() {
        // Hazard 5: the waker owns the task, the task owns the `Done`.
        let (ctx, canceller) = cancelable();
        let slot: Arc<Mutex<Option<Done>>> = Arc::default();
        let own = slot.clone();
        let waker = on_wake(move || drop(own.lock().unwrap().take()));
        *slot.lock().unwrap() = Some(waiting(&ctx, &waker));
        canceller.cancel();
        assert!(slot.lock().unwrap().is_none());
    }

    /// What a waker's clone and drop do: they enter the context in every way there is.
    struct Reentrant {
        ctx: Context,
        entered: Count,
    }

    impl Reentrant {
        fn enter(&self) {
            self.entered.add();
            let _ = self.ctx.err();
            drop(self.ctx.with_cancel());
            self.ctx.on_done(|| {}).stop();
            drop(Context::linked([self.ctx.clone()]).with_timeout(GENEROUS));
            let _ = poll(&mut self.ctx.done(), Waker::noop());
        }
    }

    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

    fn clone(data: *const ()) -> RawWaker {
        // SAFETY: `data` is what `Arc::into_raw` gave, and each waker owns one count of it.
        let own = unsafe { ManuallyDrop::new(Arc::from_raw(data.cast::<Reentrant>())) };
        own.enter();
        RawWaker::new(Arc::into_raw(Arc::clone(&own)).cast(), &VTABLE)
    }

    fn wake(data: *const ()) {
        release(data);
    }

    fn wake_by_ref(data: *const ()) {
        // SAFETY: as in `clone`.
        unsafe { ManuallyDrop::new(Arc::from_raw(data.cast::<Reentrant>())) }.enter();
    }

    fn release(data: *const ()) {
        // SAFETY: as in `clone`; this one's count is given up.
        unsafe { Arc::from_raw(data.cast::<Reentrant>()) }.enter();
    }

    fn reentrant(ctx: &Context) -> (Count, Waker) {
        let (ctx, entered) = (ctx.clone(), Count::default());
        let data = Arc::into_raw(Arc::new(Reentrant {
            ctx,
            entered: entered.clone(),
        }));
        // SAFETY: see above.
        (entered, unsafe {
            Waker::from_raw(RawWaker::new(data.cast(), &VTABLE))
        })
    }

    #[test]
    fn a_waker_whose_clone_and_drop_enter_the_context_does_no_harm() {
        // "drop replaced wakers outside the lock", and clone them there.
        let (clock, root) = manual();
        let (ctx, canceller) = root.with_timeout(SECOND).with_cancel();
        let (entered, waker) = reentrant(&ctx);
        let (others, other) = reentrant(&ctx);
        let mut done = waiting(&ctx, &waker);
        assert_eq!(poll(&mut done, &other), Poll::Pending); // replaced: the first is dropped
        assert_eq!((entered.get(), others.get()), (2, 1));
        drop(waiting(&ctx, &waker));
        let mut second = waiting(&ctx, &waker);
        canceller.cancel();
        assert_eq!(poll(&mut done, &waker), Poll::Ready(()));
        assert_eq!(poll(&mut second, &waker), Poll::Ready(()));
        drop((waker, other));
        // Each clone was woken or dropped, and so were the two wakers themselves.
        assert_eq!((entered.get(), others.get()), (7, 3));
        assert_eq!(clock.armed(), 0);
    }

    #[test]
    fn a_value_or_callback_whose_drop_enters_the_context_does_no_harm() {
        struct Enters(Context, Count);
        impl Drop for Enters {
            fn drop(&mut self) {
                drop(self.0.with_cancel());
                drop(self.0.on_done(|| {}));
                self.1.add();
            }
        }
        let (ctx, canceller) = cancelable();
        let entered = Count::default();
        let enters = || Enters(ctx.clone(), entered.clone());
        drop(ctx.with_value(enters()));
        let held = enters();
        ctx.on_done(move || drop(held)).stop();
        let held = enters();
        drop(ctx.on_done(move || drop(held)));
        canceller.cancel();
        let held = enters();
        drop(ctx.on_done(move || drop(held)));
        assert_eq!(entered.get(), 4);
    }

    #[test]
    fn a_callback_whose_drop_panics_harms_nobody() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("a bad destructor");
            }
        }
        let (ctx, canceller) = cancelable();
        let bomb = Bomb;
        let callback = ctx.on_done(move || drop(bomb));
        assert!(callback.stop());
        let bomb = Bomb;
        drop(ctx.on_done(move || drop(bomb)));
        let called = Count::default();
        drop(ctx.on_done(called.adder()));
        canceller.cancel();
        assert_eq!(called.get(), 1);
    }
}

mod describe {
    use super::*;

    #[test]
    fn debug_prints_the_chain() {
        // "`Debug` prints the chain as Go's `String` does: what each layer is, and how long is left."
        #[derive(Debug)]
        struct Id;
        let (clock, root) = manual();
        let (ctx, canceller) = root.with_value(Id).with_timeout(SECOND * 2).with_cancel();
        clock.advance(SECOND / 2);
        let id = std::any::type_name::<Id>();
        assert_eq!(
            format!("{ctx:?}"),
            format!("Background.with_clock.with_value({id}).with_deadline(1.5s left).with_cancel")
        );
        canceller.cancel();
        let text = format!("{ctx:?}");
        assert!(
            text.ends_with(".with_deadline(1.5s left).with_cancel(context canceled)"),
            "{text}"
        );
        assert!(format!("{:?}", ctx.without_cancel()).ends_with(".without_cancel"));
        assert_eq!(format!("{:?}", Context::background()), "Background");
    }

    #[test]
    fn debug_of_a_linked_context() {
        let (source, _source) = cancelable();
        let text = format!("{:?}", Context::linked([source]).with_value(1_u8));
        assert_eq!(text, "Background.linked.with_value(u8)");
    }

    #[test]
    fn debug_prints_layers_of_all_kinds_in_their_order() {
        let (clock, ctx) = manual();
        let ctx = ctx.with_value(1_u8).without_cancel().with_value(2_u16);
        assert_eq!(
            format!("{:?}", ctx.with_clock(clock)),
            "Background.with_clock.with_value(u8).without_cancel.with_value(u16).with_clock"
        );
        let (source, _source) = cancelable();
        assert_eq!(
            format!("{:?}", Context::linked([source.with_value(1_u8)])),
            "Background.with_value(u8).linked"
        );
    }

    #[test]
    fn a_cause_tells_which_of_how_many_ended() {
        let ((one, _one), (two, second)) = (cancelable(), cancelable());
        let before = Context::linked([one.clone(), two.clone()]);
        second.cancel();
        for linked in [before, Context::linked([one, two])] {
            let text = format!("{:#}", linked.cause().unwrap());
            assert!(text.contains(", number 1 of 2 linked at "), "{text}");
        }
    }

    #[test]
    fn a_cause_names_every_hop() {
        // "`Display` of a cause chain names every hop (which context of a linked set ended, whose deadline)".
        let (clock, root) = manual();
        let made = line!() + 1;
        let timed = root.with_timeout_cause(SECOND, "the page's budget");
        let first = line!() + 1;
        let one = Context::linked([
            cancelable()
                .0
                .without_cancel()
                .with_cancel()
                .0
                .without_cancel(),
            timed,
        ]);
        let second = line!() + 1;
        let two = Context::linked([
            Context::background().with_timeout(GENEROUS),
            one.with_cancel().0.without_cancel(),
            one,
        ]);
        clock.advance(SECOND);
        let cause = two.cause().unwrap();
        assert_eq!(cause.to_string(), "the page's budget");
        let text = format!("{cause:#}");
        let file = file!();
        assert!(
            text.starts_with(&format!(
                "the page's budget (context made at {file}:{made}:"
            )),
            "{text}"
        );
        let (one, two) = (
            format!("linked at {file}:{first}:"),
            format!("linked at {file}:{second}:"),
        );
        let (one, two) = (text.find(&one).expect(&text), text.find(&two).expect(&text));
        assert!(one < two, "in the order of travel: {text}");
    }

    #[test]
    fn a_cause_shows_its_sources() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("profile failed")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let (ctx, canceller) = cancelable();
        canceller.cancel_with(Outer(std::io::Error::other("connection refused")));
        let cause = ctx.cause().unwrap();
        assert_eq!(cause.to_string(), "profile failed");
        assert!(
            format!("{cause:#}")
                .starts_with("profile failed: connection refused (context made at ")
        );
        assert!(cause.downcast_ref::<std::io::Error>().is_some());
    }

    #[test]
    fn waiters_and_callbacks_tell_how_they_stand() {
        let (ctx, canceller) = cancelable();
        let (done, callback) = (ctx.done(), ctx.on_done(|| {}));
        assert_eq!(
            format!("{done:?} {callback:?}"),
            "Done { done: false } OnDone { waits: true }"
        );
        canceller.cancel();
        assert_eq!(
            format!("{done:?} {callback:?}"),
            "Done { done: true } OnDone { waits: false }"
        );
    }
}

mod race {
    use super::*;

    const ROUNDS: usize = 500;

    #[test]
    fn err_cause_and_doneness_are_one_fact() {
        // "err, cause and 'is done' are one fact: they change together, once, for ever."
        for round in 0..ROUNDS {
            let (root, first) = cancelable();
            let (middle, second) = root.with_cancel();
            let leaf = middle.with_value(1).with_timeout(GENEROUS);
            let start = Arc::new(Barrier::new(4));
            let enders = [first, second].map(|canceller| {
                let start = start.clone();
                thread::spawn(move || {
                    start.wait();
                    canceller.cancel_with(format!("round {round}"));
                })
            });
            let readers = [leaf.clone(), leaf].map(|leaf| {
                let (start, above) = (start.clone(), [root.clone(), middle.clone()]);
                thread::spawn(move || {
                    start.wait();
                    watch(&leaf, &above)
                })
            });
            enders.into_iter().for_each(|ender| ender.join().unwrap());
            let [one, two] = readers.map(|reader| reader.join().unwrap());
            assert_eq!(one, two);
        }
    }

    /// Looks until `leaf` is done, and then that everything said is consistent, and stays.
    fn watch(leaf: &Context, above: &[Context]) -> String {
        loop {
            // A parent seen done means that every descendant is done.
            if above.iter().any(Context::is_done) {
                assert!(leaf.is_done());
            }
            if let Some(error) = leaf.err() {
                let cause = leaf.cause().expect("no cause with the error").to_string();
                assert!(leaf.is_done() && error == Canceled);
                assert!(
                    (0..10).all(|_| leaf.cause().is_some_and(|again| again.to_string() == cause))
                );
                return cause;
            }
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_child_made_while_its_parent_ends_is_never_missed() {
        // "a child created while its parent is being cancelled is never missed".
        for _ in 0..ROUNDS {
            let (parent, canceller) = cancelable();
            let start = Arc::new(Barrier::new(2));
            let begin = start.clone();
            let maker = thread::spawn(move || {
                begin.wait();
                let made: Vec<_> = (0..20)
                    .map(|_| {
                        let (child, keep) = parent.with_cancel();
                        keep.disarm();
                        (child.with_timeout(GENEROUS), Context::linked([child]))
                    })
                    .collect();
                made
            });
            start.wait();
            canceller.cancel_with("over");
            for (timed, linked) in maker.join().unwrap() {
                assert_eq!([why(&timed), why(&linked)], ["over", "over"]);
            }
        }
    }

    #[test]
    fn a_waiter_that_comes_while_the_context_ends_is_never_missed() {
        // Hazard 8: register-then-check against set-then-wake.
        for _ in 0..ROUNDS {
            let (ctx, canceller) = cancelable();
            let start = Arc::new(Barrier::new(2));
            let begin = start.clone();
            let ender = thread::spawn(move || {
                begin.wait();
                canceller.cancel();
            });
            let (woken, waker) = counting();
            start.wait();
            let mut done = ctx.done();
            let ready = poll(&mut done, &waker).is_ready();
            ender.join().unwrap();
            assert!(ready || woken.get() == 1);
        }
    }

    #[test]
    fn timers_armed_and_disarmed_from_many_threads_end_up_right() {
        // Waiters come and go on four threads, ends too: no timer is left, none is missing.
        for _ in 0..200 {
            let (clock, root) = manual();
            let parent = root.with_timeout(SECOND);
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..20 {
                            let (child, canceller) = parent.with_cancel();
                            let done = waiting(&child, Waker::noop());
                            canceller.cancel();
                            drop((done, waiting(&parent, Waker::noop())));
                        }
                    });
                }
            });
            assert_eq!(clock.armed(), 0);
            let (woken, waker) = counting();
            let _done = waiting(&parent, &waker);
            assert_eq!(clock.armed(), 1);
            clock.advance(SECOND);
            assert_eq!(woken.get(), 1);
        }
    }

    #[test]
    fn contexts_dropped_while_their_parent_ends_lose_no_callback() {
        for _ in 0..ROUNDS {
            let (clock, root) = manual();
            let (parent, canceller) = root.with_timeout(SECOND).with_cancel();
            let called = Count::default();
            let children: Vec<_> = (0..8)
                .map(|_| {
                    let (child, keep) = parent.with_cancel();
                    keep.disarm();
                    drop(child.on_done(called.adder()));
                    child
                })
                .collect();
            let start = Arc::new(Barrier::new(2));
            let begin = start.clone();
            let dropper = thread::spawn(move || {
                begin.wait();
                drop(children);
            });
            start.wait();
            canceller.cancel();
            dropper.join().unwrap();
            assert_eq!((called.get(), clock.armed()), (8, 0));
        }
    }

    #[test]
    fn links_made_dropped_and_ended_at_once_lose_no_end() {
        for _ in 0..ROUNDS {
            let ((one, first), (two, second)) = (cancelable(), cancelable());
            let both = Context::linked([one.clone(), two.clone()]);
            let (woken, waker) = counting();
            let _done = waiting(&both, &waker);
            let start = Arc::new(Barrier::new(3));
            let enders = [first, second].map(|canceller| {
                let start = start.clone();
                thread::spawn(move || {
                    start.wait();
                    canceller.cancel_with("an end");
                })
            });
            start.wait();
            let later = Context::linked([both.clone(), one, two]);
            enders.into_iter().for_each(|ender| ender.join().unwrap());
            assert_eq!([why(&both), why(&later)], ["an end", "an end"]);
            assert_eq!(woken.get(), 1);
        }
    }

    #[test]
    fn a_waiter_on_another_thread_is_woken() {
        let (ctx, canceller) = cancelable();
        let waiter = thread::spawn(move || smol::block_on(ctx.done()));
        canceller.cancel();
        eventually("the waiter's end", || waiter.is_finished());
    }
}

mod deep {
    use super::*;

    /// Levels: recursion over so many would overflow any test thread's stack.
    const DEEP: usize = 100_000;

    fn chain(root: &Context, keep: &mut Vec<Context>) -> Context {
        let mut ctx = root.clone();
        for _ in 0..DEEP {
            let (child, canceller) = ctx.with_cancel();
            canceller.disarm();
            keep.push(child.clone());
            ctx = child;
        }
        ctx
    }

    #[test]
    fn a_deep_tree_is_made_cancelled_and_dropped() {
        // "needs no recursion (100,000 levels deep is fine)".
        let (root, canceller) = cancelable();
        let mut all = Vec::new();
        let leaf = chain(&root, &mut all);
        let (woken, waker) = counting();
        let _done = waiting(&leaf, &waker);
        canceller.cancel_with("from the top");
        assert_eq!((why(&leaf), woken.get()), ("from the top".to_owned(), 1));
        assert!(all.iter().all(Context::is_done));
    }

    #[test]
    fn a_deep_tree_is_dropped_alive_from_its_leaf() {
        let (root, canceller) = cancelable();
        let dropped = Count::default();
        let leaf = chain(&root, &mut Vec::new());
        let guard = OnDrop(dropped.clone());
        drop(leaf.on_done(move || drop(guard)));
        drop(leaf);
        assert_eq!(dropped.get(), 0); // the root can still end it
        canceller.cancel();
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn a_deep_chain_of_deadlines() {
        let (clock, root) = manual();
        let mut ctx = root;
        for level in 0..DEEP as u32 {
            ctx = ctx.with_timeout(SECOND * (DEEP as u32 * 2 - level));
        }
        assert_eq!(ctx.remaining(), Some(SECOND * (DEEP as u32 + 1)));
        clock.advance(SECOND * (DEEP as u32 * 3));
        assert_eq!(ctx.err(), Some(DeadlineExceeded));
    }

    #[test]
    fn a_deep_chain_of_links() {
        let (root, canceller) = cancelable();
        let mut ctx = root;
        for _ in 0..DEEP {
            ctx = Context::linked([ctx]);
        }
        canceller.cancel_with("far away");
        assert_eq!(why(&ctx), "far away");
        let text = format!("{:#}", ctx.cause().unwrap());
        assert!(text.len() > DEEP);
    }

    #[test]
    fn a_deep_chain_of_ended_links_with_deadlines_is_dropped() {
        let (clock, root) = manual();
        let (mut ctx, canceller) = root.with_cancel();
        canceller.cancel();
        for level in 0..DEEP as u32 {
            let timeout = SECOND * (DEEP as u32 * 2 - level);
            ctx = Context::linked([ctx.with_timeout(timeout)]);
        }
        assert_eq!(ctx.err(), Some(Canceled));
        drop(ctx);
        assert_eq!(clock.armed(), 0);
    }

    #[test]
    fn a_deep_chain_of_links_is_dropped_alive() {
        let (root, canceller) = cancelable();
        let mut ctx = root.clone();
        for _ in 0..DEEP {
            ctx = Context::linked([ctx.with_timeout(GENEROUS)]);
        }
        drop(ctx);
        canceller.cancel();
        assert!(root.is_done());
    }

    #[test]
    fn a_deep_chain_of_values() {
        let bottom = Context::background().with_value("at the bottom");
        let mut ctx = bottom;
        for level in 0..DEEP {
            ctx = ctx.with_value(level);
            if level % 1_000 == 0 {
                ctx = Context::linked([ctx, Context::background().with_value(0_u8)]);
            }
        }
        assert_eq!(ctx.value(), Some(&"at the bottom"));
        assert_eq!(ctx.value(), Some(&(DEEP - 1)));
        assert!(format!("{ctx:?}").len() > DEEP);
    }
}
