//! Every call of foreign code is made to panic in turn, and everything else goes on.
//!
//! Clocks are in `clocks`, destructors of whole collections in `drops`.

use super::tools::{Bomb, apart, inline, panics, poll_once, yields};
use crate::executor::{Executor, Living, Polled, watched};
use crate::support::{Count, SECOND, at_most, counting, manual, poll};
use failfast::clock::{Clock, SystemClock};
use failfast::{Aggregator, Context, Ending, ErrorKind, Group, InPlaceGroup, Task};
use futures::FutureExt;
use futures::executor::block_on;
use std::convert::Infallible;
use std::fmt;
use std::future::{pending, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{self, RawWaker, RawWakerVTable, Waker};

/// A waker of which one thing panics, from a moment that the test chooses.
mod waker {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(super) enum What {
        Clone,
        Wake,
        Drop,
    }

    pub(super) const ALL: [What; 3] = [What::Clone, What::Wake, What::Drop];

    pub(super) struct Bad {
        what: What,
        begun: AtomicBool,
        pub(super) woken: Count,
    }

    impl Bad {
        pub(super) fn new(what: What) -> Arc<Self> {
            Arc::new(Self {
                what,
                begun: AtomicBool::new(false),
                woken: Count::default(),
            })
        }

        pub(super) fn begin(&self) {
            self.begun.store(true, SeqCst);
        }

        pub(super) fn end(&self) {
            self.begun.store(false, SeqCst);
        }

        fn check(&self, what: What) {
            assert!(
                !(self.begun.load(SeqCst) && self.what == what),
                "the waker fails"
            );
        }

        /// Leaked where its own drop would panic, because that drop is the test's, not the library's.
        pub(super) fn waker(self: &Arc<Self>) -> Waker {
            // SAFETY: the table's functions keep the contract of `RawWaker` for a pointer made by `Arc::into_raw`.
            unsafe { Waker::from_raw(raw(self.clone())) }
        }
    }

    fn raw(bad: Arc<Bad>) -> RawWaker {
        static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_raw);
        RawWaker::new(Arc::into_raw(bad).cast(), &TABLE)
    }

    /// Takes over the reference that the pointer is.
    unsafe fn own(data: *const ()) -> Arc<Bad> {
        // SAFETY: the caller passes a pointer that `raw` made and that has no other owner.
        unsafe { Arc::from_raw(data.cast::<Bad>()) }
    }

    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: the reference is given back by `forget` at once.
        let bad = std::mem::ManuallyDrop::new(unsafe { own(data) });
        bad.check(What::Clone);
        raw(Arc::clone(&bad))
    }

    unsafe fn wake(data: *const ()) {
        // SAFETY: `wake` takes over the waker's reference.
        let bad = unsafe { own(data) };
        bad.woken.add();
        bad.check(What::Wake);
    }

    unsafe fn wake_by_ref(data: *const ()) {
        // SAFETY: the reference stays the waker's.
        let bad = std::mem::ManuallyDrop::new(unsafe { own(data) });
        bad.woken.add();
        bad.check(What::Wake);
    }

    unsafe fn drop_raw(data: *const ()) {
        // SAFETY: `drop` takes over the waker's reference.
        let bad = unsafe { own(data) };
        bad.check(What::Drop);
    }
}

use waker::{ALL, Bad, What};

/// Calls `act` with a waker that fails, and leaks the test's own.
fn with_waker<R>(bad: &Arc<Bad>, act: impl FnOnce(&mut task::Context<'_>) -> R) -> R {
    let waker = std::mem::ManuallyDrop::new(bad.waker());
    act(&mut task::Context::from_waker(&waker))
}

mod waker_panics {
    use super::*;

    /// Fault 6's kind: among the waiters of one context, the others are woken, and the canceller returns.
    #[test]
    fn waiters_of_one_context() {
        apart(|| {
            for what in ALL {
                let (ctx, canceller) = Context::background().with_cancel();
                let bad = Bad::new(what);
                let (woken, waker) = counting();
                let (mut first, mut middle, mut last) = (ctx.done(), ctx.done(), ctx.done());
                assert!(poll(&mut first, &waker).is_pending());
                if what == What::Clone {
                    bad.begin();
                }
                // The clone is the poller's own: it may learn of it.
                let _ = panics(|| with_waker(&bad, |cx| middle.poll_unpin(cx)));
                assert!(poll(&mut last, &waker).is_pending());
                bad.begin();
                assert!(
                    !panics(|| canceller.cancel()),
                    "{what:?}: it came out of cancel"
                );
                assert_eq!(woken.get(), 2, "{what:?}: others sleep for ever");
                assert!(ctx.is_done());
                bad.end();
            }
        });
    }

    /// Fault 6's kind: a waker that is replaced by the next poll's.
    #[test]
    fn waker_that_is_replaced() {
        apart(|| {
            for what in [What::Clone, What::Drop] {
                let (ctx, canceller) = Context::background().with_cancel();
                let bad = Bad::new(what);
                let (woken, waker) = counting();
                let mut done = ctx.done();
                let _ = with_waker(&bad, |cx| done.poll_unpin(cx));
                bad.begin();
                let _ = panics(|| poll(&mut done, &waker));
                assert!(poll(&mut done, &waker).is_pending());
                canceller.cancel();
                assert_eq!(woken.get(), 1, "{what:?}");
            }
        });
    }

    /// Fault 6's kind: waiters for a group; its tasks are dropped, and its context ends.
    #[test]
    fn waiters_for_a_group() {
        apart(|| {
            for what in [What::Wake, What::Drop] {
                let executor = Executor::new();
                let group = Group::new(executor.spawner());
                let ctx = group.context().clone();
                let (woken, waker) = counting();
                let mut done = ctx.done();
                assert!(poll(&mut done, &waker).is_pending());
                group.spawn(async {
                    yields(1).await;
                    Ok::<_, Infallible>(5)
                });
                let bad = Bad::new(what);
                let mut wait = Box::pin(group.wait());
                assert!(with_waker(&bad, |cx| wait.as_mut().poll(cx)).is_pending());
                bad.begin();
                assert!(
                    !panics(|| executor.run()),
                    "{what:?}: it came out of the task"
                );
                assert_eq!(block_on(wait).unwrap(), [5], "{what:?}");
                assert_eq!(woken.get(), 1, "{what:?}");
                bad.end();
            }
        });
    }

    /// Fault 6's kind: a task's waker, which the group's end wakes; the others are woken too.
    #[test]
    fn task_of_a_group() {
        apart(|| {
            for what in [What::Wake, What::Drop] {
                let tasks = Arc::new(Mutex::new(Vec::new()));
                let inbox = tasks.clone();
                let group = Group::<()>::new(move |task: Task| inbox.lock().unwrap().push(task));
                (0..3).for_each(|_| group.spawn(pending::<Result<_, Infallible>>()));
                let bad = Bad::new(what);
                let (woken, waker) = counting();
                let mut tasks = std::mem::take(&mut *tasks.lock().unwrap());
                for (n, task) in tasks.iter_mut().enumerate() {
                    let polled = match n {
                        1 => with_waker(&bad, |cx| task.poll_unpin(cx)),
                        _ => poll(task, &waker),
                    };
                    assert!(polled.is_pending());
                }
                bad.begin();
                assert!(
                    !panics(|| group.cancel_with("over")),
                    "{what:?}: it came out of cancel"
                );
                assert_eq!(woken.get(), 2, "{what:?}: others sleep for ever");
                bad.end();
                tasks
                    .iter_mut()
                    .for_each(|task| assert!(poll(task, &waker).is_ready()));
                assert!(block_on(group.wait()).is_err());
            }
        });
    }

    /// Fault 6's kind: a waiter for a place; the place goes to the next.
    #[test]
    fn a_waiter_for_a_place() {
        apart(|| {
            for what in [What::Wake, What::Drop] {
                let executor = Executor::new();
                let group = Group::new(executor.spawner()).with_limit(at_most(1));
                group.spawn(async {
                    yields(1).await;
                    Ok::<_, Infallible>(5)
                });
                let bad = Bad::new(what);
                let mut front = Box::pin(group.ready());
                assert!(with_waker(&bad, |cx| front.as_mut().poll(cx)).is_pending());
                let mut behind = Polled::new(group.ready());
                assert!(behind.is_pending());
                bad.begin();
                assert!(
                    !panics(|| executor.run()),
                    "{what:?}: it came out of the task"
                );
                bad.end();
                drop(front);
                assert!(behind.is_woken(), "{what:?}: the place is lost");
                assert!(behind.ready().is_ok());
            }
        });
    }

    /// Fault 6's kind: a sleeper of each clock; the others of the same moment are woken.
    #[test]
    fn sleeper_of_a_clock() {
        apart(|| {
            for what in ALL {
                let (clock, _) = manual();
                let at = clock.now() + SECOND;
                let bad = Bad::new(what);
                let (woken, waker) = counting();
                let mut sleeps: Vec<_> = (0..3).map(|_| clock.sleep_until(at)).collect();
                assert!(poll(&mut sleeps[0], &waker).is_pending());
                if what == What::Clone {
                    bad.begin();
                }
                let _ = panics(|| with_waker(&bad, |cx| sleeps[1].poll_unpin(cx)));
                assert!(poll(&mut sleeps[2], &waker).is_pending());
                bad.begin();
                let _ = panics(|| clock.advance(SECOND));
                assert_eq!(woken.get(), 2, "{what:?}: others sleep for ever");
                bad.end();
            }
        });
    }

    /// Fault 6's kind: the system's clock goes on for all other sleeps.
    #[test]
    fn sleeper_of_the_systems_clock() {
        apart(|| {
            for what in ALL {
                let at = SystemClock.now() + std::time::Duration::from_millis(10);
                let bad = Bad::new(what);
                let mut sleep = SystemClock.sleep_until(at);
                if what == What::Clone {
                    bad.begin();
                }
                let _ = panics(|| with_waker(&bad, |cx| sleep.poll_unpin(cx)));
                bad.begin();
                for _ in 0..3 {
                    let later = SystemClock.now() + std::time::Duration::from_millis(15);
                    block_on(SystemClock.sleep_until(later)).unwrap();
                }
                bad.end();
            }
        });
    }

    /// Fault 6's kind: a waiter for a fork; the group and the other forks go on.
    #[test]
    fn a_waiter_for_a_fork() {
        apart(|| {
            for what in [What::Wake, What::Drop] {
                let executor = Executor::new();
                let group = Group::<()>::new(executor.spawner());
                let one = |n: u32| async move {
                    yields(1).await;
                    Ok::<_, Infallible>(n)
                };
                let (mut first, second) =
                    (group.fork("first", one(1)), group.fork("second", one(2)));
                let bad = Bad::new(what);
                assert!(with_waker(&bad, |cx| first.poll_unpin(cx)).is_pending());
                bad.begin();
                assert!(
                    !panics(|| executor.run()),
                    "{what:?}: it came out of the task"
                );
                assert_eq!(block_on(second).unwrap(), 2);
                assert_eq!(block_on(first).unwrap(), 1);
                assert!(block_on(group.wait()).is_ok());
                bad.end();
            }
        });
    }
}

mod callback_panics {
    use super::*;

    /// Fault 6's kind: callbacks and waiters beside it are called and woken.
    #[test]
    fn others_are_called_and_woken() {
        watched(|| {
            let (ctx, canceller) = Context::background().with_cancel();
            let child = ctx.with_value(5).with_cancel();
            let (called, (woken, waker)) = (Count::default(), counting());
            let mut done = child.0.done();
            assert!(poll(&mut done, &waker).is_pending());
            for n in 0..5 {
                let count = called.clone();
                let _ = [&ctx, &child.0][n % 2].on_done(move || {
                    count.add();
                    assert_ne!(n % 2, 0, "the callback fails");
                });
            }
            assert!(!panics(|| canceller.cancel()), "it came out of cancel");
            assert_eq!((called.get(), woken.get()), (5, 1));
        });
    }

    /// Fault 6's kind: on a context that has ended it is called at once, and the caller goes on.
    #[test]
    fn on_an_ended_context() {
        watched(|| {
            let (ctx, canceller) = Context::background().with_cancel();
            canceller.cancel();
            let told = panics(|| drop(ctx.on_done(|| panic!("the callback fails"))));
            assert!(!told, "it came out of on_done");
        });
    }

    /// Fault 6's kind: on the thread of the system's timer, which others need.
    #[test]
    fn on_the_timers_thread() {
        watched(|| {
            let soon = Context::background().with_timeout(std::time::Duration::from_millis(5));
            let _ = soon.on_done(|| panic!("the callback fails"));
            let later = Context::background().with_timeout(std::time::Duration::from_millis(10));
            block_on(later.done());
            block_on(soon.done());
            assert!(later.is_done() && soon.is_done());
        });
    }
}

mod destructor_panics {
    use super::*;

    /// Fault 22's kind: of a result, while siblings run.
    #[test]
    fn of_a_result_that_is_not_kept() {
        apart(|| {
            let dropped = Count::default();
            let executor = Executor::new();
            let group = Group::new(executor.spawner()).with_ending(Ending::FirstOk);
            let living = Living::default();
            for _ in 0..3 {
                let (life, bomb) = (living.one(), Bomb(dropped.clone()));
                group.spawn(async move {
                    let _life = life;
                    Ok::<_, Infallible>(bomb)
                });
            }
            let mut results = executor.drive(group.wait()).unwrap();
            assert_eq!((results.len(), living.count()), (1, 0));
            std::mem::forget(results.pop());
        });
    }

    /// Fault 22's kind: of a future that is dropped by the end; its siblings end too.
    #[test]
    fn of_a_future() {
        apart(|| {
            for in_place in [false, true] {
                let dropped = Count::default();
                let living = Living::default();
                let executor = Executor::new();
                let failing = async {
                    yields(2).await;
                    Err("refused")
                };
                let stuck = || {
                    let (life, bomb) = (living.one(), Bomb(dropped.clone()));
                    async move {
                        let _kept = (life, bomb);
                        pending::<Result<(), Infallible>>().await
                    }
                };
                let error = if in_place {
                    let group = InPlaceGroup::new(&Context::background());
                    (0..3).for_each(|_| group.spawn(stuck()));
                    group.spawn(failing);
                    block_on(group.wait()).unwrap_err()
                } else {
                    let group = Group::new(executor.spawner());
                    (0..3).for_each(|_| group.spawn(stuck()));
                    group.spawn(failing);
                    executor.drive(group.wait()).unwrap_err()
                };
                assert_eq!(error.to_string(), "task 3: refused");
                assert_eq!((living.count(), dropped.get()), (0, 3));
            }
        });
    }

    /// Fault 22's kind: of an error, on its way or at its end.
    #[test]
    fn of_an_error() {
        apart(|| {
            let dropped = Count::default();
            let group = InPlaceGroup::<()>::new(&Context::background());
            group.spawn(ready(Err(Bomb(dropped.clone()))));
            let error = block_on(group.wait()).unwrap_err();
            assert_eq!(error.to_string(), "task 0: boom");
            let (clone, cause) = (error.clone(), error.cause().cloned());
            for what in [
                Box::new(move || drop(error)) as Box<dyn FnOnce()>,
                Box::new(move || drop(clone)),
                Box::new(move || drop(cause)),
            ] {
                assert!(!panics(what), "a panic came out");
            }
            assert_eq!(dropped.get(), 1);
        });
    }

    /// Fault 22's kind: of a value that a context carries, while its lifetime goes on.
    #[test]
    fn of_a_value() {
        apart(|| {
            let dropped = Count::default();
            let (ctx, canceller) = Context::background().with_cancel();
            let below = ctx.with_value(Bomb(dropped.clone())).with_cancel();
            let (woken, waker) = counting();
            let mut done = below.0.done();
            assert!(poll(&mut done, &waker).is_pending());
            assert!(!panics(|| drop(below)), "a panic came out");
            canceller.cancel();
            assert_eq!((dropped.get(), woken.get()), (1, 1));
        });
    }

    /// Fault 22's kind: of a spawner's handle, at its task's end and when the group goes.
    #[test]
    fn of_a_handle() {
        apart(|| {
            let dropped = Count::default();
            let tasks = Arc::new(Mutex::new(Vec::new()));
            let (inbox, count) = (tasks.clone(), dropped.clone());
            let group = Group::new(move |task: Task| {
                inbox.lock().unwrap().push(task);
                Bomb(count.clone())
            });
            for n in 0..3 {
                group.spawn(ready(Ok::<_, Infallible>(n)));
            }
            let told = panics(|| {
                for mut task in std::mem::take(&mut *tasks.lock().unwrap()) {
                    assert!(poll_once(Pin::new(&mut task)).is_ready());
                }
            });
            assert!(!told, "it came out of the task");
            assert_eq!(block_on(group.wait()).unwrap(), [0, 1, 2]);
            assert_eq!(dropped.get(), 3);
        });
    }

    /// Fault 22's kind: of handles whose tasks end before `spawn` returns, or never.
    #[test]
    fn of_a_handle_whose_task_has_ended_before() {
        apart(|| {
            let dropped = Count::default();
            let count = dropped.clone();
            let group = Group::new(move |task: Task| {
                inline(task);
                Bomb(count.clone())
            });
            assert!(
                !panics(|| group.spawn(ready(Ok::<_, Infallible>(5)))),
                "it came out of spawn"
            );
            assert_eq!(block_on(group.wait()).unwrap(), [5]);
            assert_eq!(dropped.get(), 1);
        });
    }
}

mod spawner_panics {
    use super::*;

    /// A spawner that fails for the tasks whose turn it is.
    fn failing(every: usize) -> impl Fn(Task) + Send + Sync + 'static {
        let spawned = Count::default();
        move |task| {
            spawned.add();
            assert_ne!(spawned.get() % every, 0, "the spawner fails");
            inline(task);
        }
    }

    /// Fault 30: the caller learns of it, the task is lost, and the others' results are there.
    #[test]
    fn others_go_on() {
        watched(|| {
            for size in [2, 3, 31, 65] {
                let group = Group::new(failing(2)).with_ending(Ending::Settle);
                for n in 0..size {
                    let told = panics(|| group.spawn(ready(Ok::<_, Infallible>(n))));
                    assert_eq!(told, n % 2 == 1);
                }
                let outcomes = block_on(group.outcomes()).unwrap();
                assert_eq!(outcomes.len(), size);
                for (n, (_, outcome)) in outcomes.into_iter().enumerate() {
                    match n % 2 {
                        0 => assert_eq!(outcome.unwrap(), n),
                        _ => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Lost),
                    }
                }
            }
        });
    }

    /// Fault 30: it leaked its place under `next`.
    #[test]
    fn each_is_returned_once_by_next() {
        watched(|| {
            let mut group = Group::new(failing(2)).with_ending(Ending::Settle);
            for n in 0..1_000 {
                let _ = panics(|| group.spawn(ready(Ok::<_, Infallible>(n))));
                let told = block_on(group.next()).unwrap();
                assert_eq!(told.is_ok(), n % 2 == 0);
                assert!(block_on(group.next()).is_none());
            }
        });
    }

    /// Fault 30: at a limit, its place goes to the next.
    #[test]
    fn its_place_is_free_again() {
        watched(|| {
            let group = Group::new(failing(2))
                .with_ending(Ending::Settle)
                .with_limit(at_most(1));
            for n in 0..100 {
                assert!(block_on(group.ready()).is_ok());
                let _ = panics(|| group.spawn(ready(Ok::<_, Infallible>(n))));
            }
            assert_eq!(block_on(group.outcomes()).unwrap().len(), 100);
        });
    }

    /// Fault 30: an aggregator on it fails, and the sources that were spawned are gone.
    #[test]
    fn aggregation_fails_and_leaves_nothing() {
        watched(|| {
            let living = Living::default();
            let alive = living.clone();
            let sources = (0..5).map(|n| {
                let alive = alive.clone();
                let source = move |_: Context, (): ()| {
                    let life = alive.one();
                    async move {
                        let _life = life;
                        Ok::<_, Infallible>(n)
                    }
                };
                (format!("s{n}"), source)
            });
            let all = Aggregator::new(failing(3)).sources(sources);
            // Whether it unwinds or is the error of a lost source, it does not hang.
            let told =
                panics(|| assert!(block_on(all.aggregate(&Context::background(), ())).is_err()));
            let _ = told;
            assert_eq!(living.count(), 0);
        });
    }
}

mod logger_panics {
    use super::*;

    pub(super) struct Logger(pub(super) &'static str);

    impl log::Log for Logger {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            assert_ne!(self.0, "enabled", "the logger fails");
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            assert_ne!(self.0, "log", "the logger fails");
            assert!(!record.args().to_string().is_empty());
        }

        fn flush(&self) {}
    }

    /// Fault 19: `Log::enabled` ran unshielded.
    #[test]
    fn result_is_given_all_the_same() {
        watched(|| {
            for what in ["enabled", "log"] {
                for fails in [false, true] {
                    let source =
                        move |_: Context, (): ()| ready(if fails { Err("refused") } else { Ok(5) });
                    let all = Aggregator::in_place()
                        .with_logger(Logger(what))
                        .source("one", source);
                    let told = block_on(all.aggregate(&Context::background(), ()));
                    assert_eq!(told.is_err(), fails, "{what}");
                }
            }
        });
    }

    /// Fault 19: where the aggregation is dropped.
    #[test]
    fn dropped_aggregation_does_not_unwind() {
        watched(|| {
            for what in ["enabled", "log"] {
                let stuck = |_: Context, (): ()| pending::<Result<(), Infallible>>();
                let all = Aggregator::in_place()
                    .with_logger(Logger(what))
                    .source("one", stuck);
                let ctx = Context::background();
                let mut half = Box::pin(all.aggregate(&ctx, ()));
                assert!(poll_once(half.as_mut()).is_pending());
                assert!(!panics(|| drop(half)), "{what}");
            }
        });
    }

    /// Fault 19: `with_level`'s function.
    #[test]
    fn level_function_panics() {
        watched(|| {
            let all = Aggregator::in_place()
                .with_logger(Logger("neither"))
                .with_level(|_| panic!("the function fails"))
                .source("one", |_: Context, (): ()| ready(Err::<(), _>("refused")));
            let told = block_on(all.aggregate(&Context::background(), ())).unwrap_err();
            assert_eq!(told.to_string(), "one: refused");
        });
    }
}

mod display_panics {
    use super::*;

    #[derive(Debug)]
    struct Mute;

    impl fmt::Display for Mute {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("the display fails");
        }
    }

    impl std::error::Error for Mute {}

    /// Fault 29's kind: of a failure that is recorded, logged and waited for.
    #[test]
    fn of_a_failure() {
        watched(|| {
            let source = |_: Context, (): ()| ready(Err::<(), _>(Mute));
            let all = Aggregator::in_place()
                .with_logger(logger_panics::Logger("neither"))
                .source("one", source);
            let told = block_on(all.aggregate(&Context::background(), ())).unwrap_err();
            assert!(told.downcast_ref::<Mute>().is_some());
            let group = InPlaceGroup::<()>::new(&Context::background());
            let ctx = group.context().clone();
            group.spawn(ready(Err(Mute)));
            let told = block_on(group.wait()).unwrap_err();
            assert!(told.downcast_ref::<Mute>().is_some() && ctx.is_done());
        });
    }

    /// Fault 29's kind: of a cause.
    #[test]
    fn of_a_cause() {
        watched(|| {
            let (ctx, canceller) = Context::background().with_cancel();
            let (woken, waker) = counting();
            let mut done = ctx.done();
            assert!(poll(&mut done, &waker).is_pending());
            assert!(!panics(|| canceller.cancel_with(Mute)));
            assert_eq!(woken.get(), 1);
            assert!(ctx.is_done() && ctx.cause().unwrap().downcast_ref::<Mute>().is_some());
        });
    }
}

mod callers_functions_panic {
    use super::*;

    /// Fault 29's kind: the function of a map, and its items; what was spawned is gone.
    #[test]
    fn function_or_items_of_a_map() {
        watched(|| {
            for items_panic in [false, true] {
                let living = Living::default();
                let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(2));
                let items =
                    (0..9).inspect(move |n| assert!(!(items_panic && *n == 5), "the items fail"));
                let mapped = group.try_map(items, |n| {
                    assert!(items_panic || n != 5, "the function fails");
                    let life = living.one();
                    async move {
                        yields(n % 3).await;
                        drop(life);
                        Ok::<_, Infallible>(n)
                    }
                });
                // It is the caller's own code that fails: it may learn of it by a panic or an error.
                let failed = panics(|| assert!(block_on(mapped).is_err()));
                let _ = failed;
                assert_eq!(living.count(), 0);
            }
        });
    }

    /// Fault 29's kind: the source itself, when it is called.
    #[test]
    fn source_that_panics_when_it_is_called() {
        watched(|| {
            for host in [Aggregator::in_place(), Aggregator::new(smol::spawn)] {
                let source = |_: Context, (): ()| -> std::future::Ready<Result<(), Infallible>> {
                    panic!("the source fails")
                };
                let all = host.source("one", source);
                let told = block_on(all.aggregate(&Context::background(), ())).unwrap_err();
                assert_eq!(told.kind(), ErrorKind::Panicked);
                assert_eq!(told.task().unwrap(), &"one");
            }
        });
    }
}
