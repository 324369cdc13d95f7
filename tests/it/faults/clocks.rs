//! Foreign timers that wake themselves, and clocks that fail: nothing spins, and nothing but their own waits is
//! ended.

use super::tools::{HOUR, apart, panics, poll_once};
use crate::executor::{Executor, Polled, watched};
use crate::support::{Count, SECOND, counting, eventually, manual, poll};
use failfast::clock::{Clock, ManualClock, Sleep};
use failfast::context::ContextErrorKind;
use failfast::{Aggregator, Context, ErrorKind, Group, InPlaceGroup};
use futures::FutureExt;
use futures::executor::block_on;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

/// Fault 2: a timer that wakes itself in its own poll, as tokio's does once the budget of its task is spent.
mod timer_wakes_itself_in_its_poll {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        /// How many of the polls were on this thread. A nudge comes on another.
        static POLLS_HERE: Cell<usize> = const { Cell::new(0) };
    }

    /// Goes by a manual clock; while the budget is spent its sleeps wake themselves and stay pending.
    #[derive(Clone)]
    struct Budgeted {
        clock: ManualClock,
        spent: Arc<AtomicBool>,
        polls: Count,
    }

    impl Budgeted {
        fn new() -> Self {
            Self {
                clock: ManualClock::new(),
                spent: Arc::new(AtomicBool::new(true)),
                polls: Count::default(),
            }
        }
    }

    impl Clock for Budgeted {
        fn now(&self) -> Instant {
            self.clock.now()
        }

        fn sleep_until(&self, deadline: Instant) -> Sleep {
            let mut sleep = self.clock.sleep_until(deadline);
            let own = self.clone();
            Sleep::new(poll_fn(move |cx| {
                own.polls.add();
                POLLS_HERE.set(POLLS_HERE.get() + 1);
                if own.spent.load(SeqCst) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                sleep.poll_unpin(cx).map(drop)
            }))
        }
    }

    /// Fault 2: it was polled again at once, for ever.
    #[test]
    fn it_is_polled_once_for_each_poll_of_its_waiter() {
        watched(|| {
            let clock = Budgeted::new();
            let ctx = Context::background()
                .with_clock(clock.clone())
                .with_timeout(SECOND);
            let (woken, waker) = counting();
            let mut done = ctx.done();
            for round in 1..=100 {
                assert!(poll(&mut done, &waker).is_pending());
                assert!(
                    clock.polls.get() <= 2 * round,
                    "{} polls in {round}",
                    clock.polls.get()
                );
            }
            assert!(woken.get() >= 1, "nothing would ever poll it again");
            clock.spent.store(false, SeqCst);
            assert!(poll(&mut done, &waker).is_pending());
            clock.clock.advance(SECOND);
            assert!(poll(&mut done, &waker).is_ready());
            assert_eq!(
                ctx.err().unwrap().kind(),
                ContextErrorKind::DeadlineExceeded
            );
        });
    }

    /// Fault 2: each kind of waiter is woken so that it can poll again, and completes when the budget is back.
    #[test]
    fn every_waiter_goes_on_when_the_budget_is_back() {
        watched(|| {
            let clock = Budgeted::new();
            let ctx = Context::background()
                .with_clock(clock.clone())
                .with_timeout(SECOND);
            let own = Context::background().with_clock(clock.clone());
            let mut waits = [
                Polled::new(async { ctx.done().await }),
                Polled::new(async { drop(ctx.run(pending::<()>()).await) }),
                Polled::new(async { drop(ctx.sleep(HOUR).await) }),
                Polled::new(async { own.sleep(SECOND).await.unwrap() }),
            ];
            waits.iter_mut().for_each(|wait| assert!(wait.is_pending()));
            assert!(
                waits.iter().any(Polled::is_woken),
                "nothing would ever poll it again"
            );
            clock.spent.store(false, SeqCst);
            waits.iter_mut().for_each(|wait| assert!(wait.is_pending()));
            clock.clock.advance(SECOND);
            for (n, wait) in waits.iter_mut().enumerate() {
                assert!(wait.is_woken(), "waiter {n} sleeps for ever");
                wait.ready();
            }
        });
    }

    /// Fault 2: a group that waits is polled a bounded number of times while the budget is spent.
    #[test]
    fn group_in_place_does_not_spin() {
        watched(|| {
            let clock = Budgeted::new();
            let ctx = Context::background()
                .with_clock(clock.clone())
                .with_timeout(SECOND);
            let group = InPlaceGroup::<()>::new(&ctx);
            group.spawn(pending::<Result<_, Infallible>>());
            let mut wait = Polled::new(group.wait());
            for _ in 0..100 {
                assert!(wait.is_pending());
            }
            assert!(clock.polls.get() <= 16 * 101, "{} polls", clock.polls.get());
            clock.spent.store(false, SeqCst);
            assert!(wait.is_pending());
            clock.clock.advance(SECOND);
            assert_eq!(
                wait.ready().unwrap_err().kind(),
                ErrorKind::DeadlineExceeded
            );
        });
    }

    /// Fault 2: a callback has no task that could poll the timer; it is called all the same.
    #[test]
    fn callback_is_called_though_no_task_polls_the_timer() {
        watched(|| {
            let clock = Budgeted::new();
            let ctx = Context::background()
                .with_clock(clock.clone())
                .with_timeout(SECOND);
            let called = Count::default();
            let _ = ctx.on_done(called.adder());
            assert!(
                POLLS_HERE.get() <= 1,
                "polled again from inside its own poll"
            );
            clock.spent.store(false, SeqCst);
            clock.clock.advance(SECOND);
            eventually("the callback is called", || called.get() == 1);
        });
    }

    /// Fault 2: with tokio itself, whose budget a busy channel spends.
    #[test]
    fn tokio_sleep_beside_a_busy_channel_does_not_spin() {
        watched(|| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(2).enable_all().build().unwrap();
            let received = runtime.block_on(async {
                let ctx = Context::background()
                    .with_clock(tokio::time::sleep)
                    .with_timeout(HOUR);
                let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
                (0..1_000).for_each(|n| sender.send(n).unwrap());
                drop(sender);
                let all = async {
                    let mut received = 0;
                    while receiver.recv().await.is_some() {
                        received += 1;
                    }
                    received
                };
                ctx.run(all).await.unwrap()
            });
            assert_eq!(received, 1_000);
        });
    }

    /// Fault 2: groups and aggregators whose tasks spend tokio's budget, under a deadline by tokio's clock.
    #[test]
    fn tokio_sleep_beside_busy_tasks_does_not_spin() {
        async fn busy() -> Result<usize, Infallible> {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            (0..1_000).for_each(|n| sender.send(n).unwrap());
            drop(sender);
            let mut received = 0;
            while receiver.recv().await.is_some() {
                received += 1;
            }
            Ok(received)
        }
        watched(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let ctx = Context::background()
                    .with_clock(tokio::time::sleep)
                    .with_timeout(HOUR);
                let group = InPlaceGroup::new(&ctx);
                (0..40).for_each(|_| group.spawn(busy()));
                assert_eq!(group.wait().await.unwrap(), [1_000; 40]);
                let (group, _) = Group::with_context(&ctx, tokio::spawn);
                (0..40).for_each(|_| group.spawn(busy()));
                assert_eq!(group.wait().await.unwrap(), [1_000; 40]);
                let sources = (0..40).map(|n| (format!("s{n}"), |_: Context, (): ()| busy()));
                let all = Aggregator::in_place().sources(sources);
                assert_eq!(all.aggregate(&ctx, ()).await.unwrap(), [1_000; 40]);
            });
        });
    }
}

/// A clock of which one thing panics, from a moment that the test chooses.
#[derive(Clone)]
struct Faulty {
    clock: ManualClock,
    what: u8,
    now_panics: Arc<AtomicU8>,
}

const NOW: u8 = 1;
const SLEEP_UNTIL: u8 = 2;
const POLL: u8 = 3;
const DROP: u8 = 4;
const ALL: [u8; 4] = [NOW, SLEEP_UNTIL, POLL, DROP];

impl Faulty {
    fn new(clock: &ManualClock, what: u8) -> Self {
        Self {
            clock: clock.clone(),
            what,
            now_panics: Arc::default(),
        }
    }

    fn begin(&self) {
        self.now_panics.store(self.what, SeqCst);
    }

    fn check(&self, what: u8) {
        assert_ne!(self.now_panics.load(SeqCst), what, "the clock fails");
    }
}

struct DropsBadly(Faulty);

impl Drop for DropsBadly {
    fn drop(&mut self) {
        self.0.check(DROP);
    }
}

impl Clock for Faulty {
    fn now(&self) -> Instant {
        self.check(NOW);
        self.clock.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        self.check(SLEEP_UNTIL);
        let own = DropsBadly(self.clone());
        let mut sleep = self.clock.sleep_until(deadline);
        Sleep::new(poll_fn(move |cx| {
            own.0.check(POLL);
            sleep.poll_unpin(cx).map(drop)
        }))
    }
}

/// Fault 6: each call of a clock panics in turn; its own waits end with an error, and everything else goes on.
mod clock_panics {
    use super::*;

    /// Fault 6: the parent's waiters hung, because a child's clock panicked when its parent ended.
    #[test]
    fn parents_and_siblings_waiters_are_woken() {
        apart(|| {
            for what in ALL {
                for early in [false, true] {
                    parent_ends(what, early);
                }
            }
        });
    }

    /// The clock begins to fail before or after the child's timer is armed; then the parent's deadline passes.
    fn parent_ends(what: u8, early: bool) {
        let (clock, ctx) = manual();
        let faulty = Faulty::new(&clock, what);
        let parent = ctx.with_timeout(2 * SECOND);
        let child = parent.with_clock(faulty.clone()).with_timeout(SECOND);
        let sibling = parent.with_timeout(SECOND);
        let (parents, siblings) = (counting(), counting());
        let (mut of_parent, mut of_sibling, mut of_child) =
            (parent.done(), sibling.done(), child.done());
        if early {
            faulty.begin();
        }
        assert!(poll(&mut of_parent, &parents.1).is_pending());
        assert!(poll(&mut of_sibling, &siblings.1).is_pending());
        let _ = poll_once(std::pin::Pin::new(&mut of_child));
        faulty.begin();
        clock.advance(SECOND);
        assert_eq!(
            (parents.0.get(), siblings.0.get()),
            (0, 1),
            "{what}, {early}"
        );
        clock.advance(SECOND);
        assert_eq!(
            parents.0.get(),
            1,
            "{what}, {early}: the parent's waiter hangs"
        );
        assert!(poll(&mut of_parent, &parents.1).is_ready());
        assert!(child.is_done() && of_child.now_or_never().is_some());
        assert!(
            !panics(move || drop((child, sibling, parent))),
            "{what}, {early}"
        );
    }

    /// Fault 6: `wait` hung.
    #[test]
    fn group_ends_with_an_error() {
        apart(|| {
            for what in ALL {
                let (clock, ctx) = manual();
                let faulty = Faulty::new(&clock, what);
                let below = ctx.with_clock(faulty.clone()).with_timeout(SECOND);
                let executor = Executor::new();
                let (group, _) = Group::<()>::with_context(&below, executor.spawner());
                group.spawn(pending::<Result<_, Infallible>>());
                executor.run();
                faulty.begin();
                clock.advance(SECOND);
                // The clock may have to be read once more before its failure is noticed.
                let _ = panics(|| below.is_done());
                let error = executor.drive(group.wait()).unwrap_err();
                let kind = error.kind();
                assert!(
                    matches!(kind, ErrorKind::DeadlineExceeded | ErrorKind::Canceled),
                    "{what}: {error}"
                );
            }
        });
    }

    /// Fault 6: a group below another clock ends with its parent.
    #[test]
    fn group_ends_with_its_parent() {
        apart(|| {
            for what in ALL {
                let (clock, ctx) = manual();
                let (parent, canceller) = ctx.with_cancel();
                let faulty = Faulty::new(&clock, what);
                let below = parent.with_clock(faulty.clone()).with_timeout(SECOND);
                let group = InPlaceGroup::<()>::new(&below);
                group.spawn(pending::<Result<_, Infallible>>());
                let mut wait = Polled::new(group.wait());
                assert!(wait.is_pending());
                faulty.begin();
                canceller.cancel();
                assert!(wait.is_woken(), "{what}: it hangs");
                assert_eq!(wait.ready().unwrap_err().kind(), ErrorKind::Canceled);
            }
        });
    }

    /// Fault 6: none of the context's methods unwinds, and a wait on it ends.
    #[test]
    fn contexts_methods_do_not_unwind() {
        apart(|| {
            for what in ALL {
                let (clock, ctx) = manual();
                let faulty = Faulty::new(&clock, what);
                let below = ctx.with_clock(faulty.clone());
                let timed = below.with_timeout(SECOND);
                faulty.begin();
                assert!(!panics(|| timed.is_done()), "{what}: is_done");
                assert!(!panics(|| timed.err()), "{what}: err");
                assert!(!panics(|| timed.check()), "{what}: check");
                assert!(!panics(|| timed.cause()), "{what}: cause");
                assert!(!panics(|| timed.remaining()), "{what}: remaining");
                assert!(
                    !panics(|| below.with_timeout(SECOND)),
                    "{what}: with_timeout"
                );
                assert!(!panics(|| timed.on_done(|| {})), "{what}: on_done");
                assert!(
                    !panics(|| poll_once(std::pin::Pin::new(&mut timed.done()))),
                    "{what}: done"
                );
                let mut sleep = Box::pin(below.sleep(SECOND));
                assert!(!panics(|| poll_once(sleep.as_mut())), "{what}: sleep");
                assert!(!panics(|| drop(sleep)), "{what}: drop of a sleep");
                assert!(!panics(|| format!("{timed:?}")), "{what}: Debug");
                assert!(!panics(|| drop((timed, below))), "{what}: drop");
            }
        });
    }

    /// Fault 6: an aggregation under a clock that fails ends, with every source gone.
    #[test]
    fn aggregation_ends() {
        apart(|| {
            for what in [NOW, SLEEP_UNTIL, POLL] {
                let (clock, ctx) = manual();
                let faulty = Faulty::new(&clock, what);
                faulty.begin();
                let below = ctx.with_clock(faulty);
                let stuck = |_: Context, (): ()| pending::<Result<(), Infallible>>();
                let all = Aggregator::in_place()
                    .with_timeout(SECOND)
                    .source("stuck", stuck);
                assert!(block_on(all.aggregate(&below, ())).is_err(), "{what}");
            }
        });
    }
}

/// A clock that stands still, runs backwards, or whose sleeps end at once ends nothing early, and disturbs nothing
/// else.
mod clock_misbehaves {
    use super::*;

    #[derive(Clone)]
    struct Set(Arc<Mutex<Instant>>, bool);

    impl Clock for Set {
        fn now(&self) -> Instant {
            *self.0.lock().unwrap()
        }

        fn sleep_until(&self, _: Instant) -> Sleep {
            if self.1 {
                Sleep::new(async {})
            } else {
                Sleep::new(pending::<()>())
            }
        }
    }

    /// Fault 6's kind: the context ends by the clock's time when it is read, and its siblings go on.
    #[test]
    fn it_runs_backwards() {
        watched(|| {
            let begin = Instant::now() + HOUR;
            let clock = Set(Arc::new(Mutex::new(begin)), false);
            let ctx = Context::background().with_clock(clock.clone());
            let timed = ctx.with_timeout(SECOND);
            *clock.0.lock().unwrap() = begin - Duration::from_secs(60);
            assert!(!timed.is_done());
            let later = ctx.with_timeout(SECOND);
            assert!(!panics(|| timed.remaining()));
            *clock.0.lock().unwrap() = begin + SECOND;
            assert!(timed.is_done() && later.is_done());
        });
    }

    /// Fault 2's kind: sleeps that end at once while the clock stands still must not make a waiter spin in one poll.
    #[test]
    fn it_stands_still_and_its_sleeps_end_at_once() {
        watched(|| {
            let clock = Set(Arc::new(Mutex::new(Instant::now())), true);
            let ctx = Context::background().with_clock(clock);
            let timed = ctx.with_timeout(SECOND);
            let mut done = timed.done();
            for _ in 0..10 {
                // It may report that the timer has failed, or wait on; what counts is that it returns.
                let _ = poll_once(std::pin::Pin::new(&mut done));
            }
            let sibling = Context::background().with_timeout(Duration::ZERO);
            assert!(sibling.is_done());
        });
    }
}
