//! Nothing starts late, and what is set late still counts.

use super::tools::{SIZES, inline, poll_once};
use crate::executor::{Executor, Polled, on_wake, watched};
use crate::support::{Count, SECOND, at_most, manual};
use failfast::clock::ManualClock;
use failfast::{Context, ErrorKind, Group, InPlaceGroup, Task};
use futures::executor::block_on;
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{self, Waker};
use std::time::Duration;

/// A task that counts its start and is ready.
fn counted(polls: &Count) -> impl Future<Output = Result<(), Infallible>> + Send + use<> {
    let polls = polls.clone();
    async move {
        polls.add();
        Ok(())
    }
}

/// Fault 3: tasks that are ready at once armed no timer, so that nothing ever ended a loop of them.
mod loop_of_ready_tasks {
    use super::*;

    /// Fault 3: each task takes a second of the clock's; the loop ends with the tenth, exactly.
    #[test]
    fn next_and_spawn_in_place_end_at_the_deadline() {
        watched(|| {
            let (clock, ctx) = manual();
            let mut group = InPlaceGroup::new(&ctx.with_timeout(10 * SECOND));
            let polls = Count::default();
            let one = |polls: &Count| {
                let (clock, polls) = (clock.clone(), polls.clone());
                async move {
                    polls.add();
                    clock.advance(SECOND);
                    Ok::<_, Infallible>(())
                }
            };
            let error = loop {
                group.spawn(one(&polls));
                match block_on(group.next()) {
                    Some(Ok(())) => {}
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            };
            assert_eq!(polls.get(), 10, "started late");
            assert!(error.is_none_or(|error| error.is_deadline_exceeded()));
        });
    }

    /// Fault 3: on an executor that polls in `spawn`.
    #[test]
    fn next_and_spawn_on_an_executor_end_at_the_deadline() {
        watched(|| {
            let (clock, ctx) = manual();
            let (mut group, _) = Group::with_context(&ctx.with_timeout(10 * SECOND), inline);
            let polls = Count::default();
            loop {
                clock.advance(SECOND);
                group.spawn(counted(&polls));
                match block_on(group.next()) {
                    Some(Ok(())) => {}
                    _ => break,
                }
            }
            assert_eq!(polls.get(), 9, "started late");
        });
    }

    /// Fault 3: by the system's clock, where the loop never waits for anything.
    #[test]
    fn loop_that_never_waits_ends_by_the_systems_clock() {
        watched(|| {
            let ctx = Context::background().with_timeout(Duration::from_millis(20));
            let mut group = InPlaceGroup::new(&ctx);
            loop {
                group.spawn(ready(Ok::<_, Infallible>(())));
                if !matches!(block_on(group.next()), Some(Ok(()))) {
                    break;
                }
            }
            assert!(ctx.is_done());
        });
    }

    /// Fault 3: the same, where the thread only spawns.
    #[test]
    fn loop_that_only_spawns_is_refused_by_the_systems_clock() {
        watched(|| {
            let ctx = Context::background().with_timeout(Duration::from_millis(20));
            let (group, _) = Group::<()>::with_context(&ctx, inline);
            let handle = group.handle();
            while handle.spawn(ready(Ok::<_, Infallible>(()))).is_ok() {}
            assert!(ctx.is_done());
        });
    }
}

/// Fault 3: after the deadline nothing is polled for the first time, by whichever way it came.
mod after_the_deadline {
    use super::*;

    /// Fault 3: an executor that comes late to tasks that it already has.
    #[test]
    fn executor_comes_late() {
        watched(|| {
            for &size in SIZES.iter().filter(|size| **size > 0 && **size <= 257) {
                let (clock, ctx) = manual();
                let executor = Executor::new();
                let (group, _) = Group::with_context(&ctx.with_timeout(SECOND), executor.spawner());
                let polls = Count::default();
                (0..size).for_each(|_| group.spawn(counted(&polls)));
                clock.advance(SECOND);
                let error = executor.drive(group.wait()).unwrap_err();
                assert_eq!(
                    (error.kind(), polls.get()),
                    (ErrorKind::DeadlineExceeded, 0)
                );
                assert_eq!(executor.alive().len(), 0);
            }
        });
    }

    /// Fault 3: every way to spawn, on an executor.
    #[test]
    fn work_added_on_an_executor_is_never_polled() {
        watched(|| {
            let (clock, ctx) = manual();
            let executor = Executor::new();
            let (mut group, below) =
                Group::with_context(&ctx.with_timeout(SECOND), executor.spawner());
            group.spawn(async { Ok::<_, Infallible>(()) });
            executor.run();
            assert!(block_on(group.next()).unwrap().is_ok());
            clock.advance(SECOND);
            let polls = Count::default();
            let handle = group.handle();
            group.spawn(counted(&polls));
            group.spawn_named("named", counted(&polls));
            group.spawn_background(counted(&polls));
            assert!(group.try_spawn(counted(&polls)).is_err());
            let fork = group.fork("fork", counted(&polls));
            assert!(handle.spawn(counted(&polls)).is_err());
            assert!(handle.try_spawn(counted(&polls)).is_err());
            assert!(handle.spawn_named("named", counted(&polls)).is_err());
            assert!(handle.spawn_background(counted(&polls)).is_err());
            let late = handle.fork("late", counted(&polls));
            assert!(block_on(group.ready()).is_err() && block_on(handle.ready()).is_err());
            executor.run();
            assert!(executor.drive(fork).is_err() && executor.drive(late).is_err());
            assert!(below.is_done());
            drop(executor.drive(group.wait()));
            assert_eq!(polls.get(), 0);
        });
    }

    /// Fault 3: every way to spawn, in place.
    #[test]
    fn work_added_in_place_is_never_polled() {
        watched(|| {
            let (clock, ctx) = manual();
            let mut group = InPlaceGroup::new(&ctx.with_timeout(SECOND));
            group.spawn(async { Ok::<_, Infallible>(()) });
            assert!(block_on(group.next()).unwrap().is_ok());
            clock.advance(SECOND);
            let polls = Count::default();
            let handle = group.handle();
            group.spawn(counted(&polls));
            group.spawn_named("named", counted(&polls));
            group.spawn_background(counted(&polls));
            assert!(group.try_spawn(counted(&polls)).is_err());
            let fork = group.fork("fork", counted(&polls));
            assert!(handle.spawn(counted(&polls)).is_err());
            assert!(handle.try_spawn(counted(&polls)).is_err());
            assert!(handle.spawn_background(counted(&polls)).is_err());
            drop(block_on(group.wait()));
            assert!(block_on(fork).is_err());
            assert_eq!(polls.get(), 0);
        });
    }

    /// Fault 3: tasks in the queue of a limit, for which a place comes free only after the deadline.
    #[test]
    fn queue_goes_no_further() {
        watched(|| {
            for in_place in [false, true] {
                let (clock, ctx) = manual();
                let ctx = ctx.with_timeout(SECOND);
                let polls = Count::default();
                let first = {
                    let clock = clock.clone();
                    async move {
                        clock.advance(SECOND);
                        Ok::<_, Infallible>(())
                    }
                };
                let error = if in_place {
                    let group = InPlaceGroup::new(&ctx).with_limit(at_most(1));
                    group.spawn(first);
                    (0..5).for_each(|_| group.spawn(counted(&polls)));
                    block_on(group.wait()).unwrap_err()
                } else {
                    let executor = Executor::new();
                    let (group, _) = Group::with_context(&ctx, executor.spawner());
                    let group = group.with_limit(at_most(1));
                    group.spawn(first);
                    (0..5).for_each(|_| group.spawn(counted(&polls)));
                    executor.drive(group.wait()).unwrap_err()
                };
                assert_eq!(
                    (error.kind(), polls.get()),
                    (ErrorKind::DeadlineExceeded, 0)
                );
            }
        });
    }

    /// Fault 3: tasks in place that stand behind the one that failed.
    #[test]
    fn tasks_in_place_behind_a_failed_one_are_not_polled() {
        watched(|| {
            for &size in SIZES {
                let group = InPlaceGroup::new(&Context::background());
                let polls = Count::default();
                group.spawn(async { Err("refused") });
                (0..size).for_each(|_| group.spawn(counted(&polls)));
                let error = block_on(group.wait()).unwrap_err();
                assert_eq!(
                    (error.to_string().as_str(), polls.get()),
                    ("task 0: refused", 0)
                );
            }
        });
    }

    /// Fault 3: the items of a map are not pulled.
    #[test]
    fn map_pulls_no_item() {
        watched(|| {
            let (clock, ctx) = manual();
            let ctx = ctx.with_timeout(SECOND);
            clock.advance(SECOND);
            let (items, polls) = (Count::default(), Count::default());
            let count = items.clone();
            let group = InPlaceGroup::new(&ctx);
            let mapped = group.try_map((0..100).inspect(move |_| count.add()), |_| counted(&polls));
            assert!(block_on(mapped).unwrap_err().is_deadline_exceeded());
            assert_eq!(polls.get(), 0);
            assert!(items.get() <= 1, "{} items were taken", items.get());
        });
    }
}

/// Fault 11: the alarms of grace and straggler limit are armed before any task is woken.
mod alarms {
    use super::*;

    type Slot = Arc<Mutex<Option<Task>>>;

    /// A spawner that keeps its tasks, and the wakers that they were polled with.
    fn keeping() -> (Slot, impl Fn(Task) + Send + Sync + 'static) {
        let slot = Slot::default();
        let inbox = slot.clone();
        (slot, move |task| *inbox.lock().unwrap() = Some(task))
    }

    /// Fault 11: an inline waker whose task blocks kept the limit from being armed at all.
    #[test]
    fn straggler_limit_is_armed_before_the_first_waker_runs() {
        watched(|| armed_before(|group| group.with_straggler_limit(SECOND)));
    }

    /// Fault 11: the same for the grace.
    #[test]
    fn grace_is_armed_before_the_first_waker_runs() {
        watched(|| armed_before(|group| group.with_grace(SECOND)));
    }

    fn armed_before(set: impl FnOnce(Group<()>) -> Group<()>) {
        let (clock, ctx) = manual();
        let (ctx, canceller) = ctx.with_cancel();
        let (slot, spawn) = keeping();
        let group = set(Group::<()>::with_context(&ctx, spawn).0);
        group.spawn(pending::<Result<_, Infallible>>());
        let armed = Arc::new(AtomicUsize::new(usize::MAX));
        let (seen, asked) = (armed.clone(), clock.clone());
        let waker = on_wake(move || seen.store(asked.armed(), SeqCst));
        let mut task = slot.lock().unwrap().take().unwrap();
        assert!(
            Pin::new(&mut task)
                .poll(&mut task::Context::from_waker(&waker))
                .is_pending()
        );
        let mut wait = Polled::new(group.wait());
        assert!(wait.is_pending());
        canceller.cancel();
        assert_eq!(
            armed.load(SeqCst),
            1,
            "the alarm was not armed when the task was woken"
        );
    }

    /// Fault 11: the waker takes longer than the limit; `wait` still ends with the limit.
    #[test]
    fn waker_that_takes_longer_than_the_limit_is_a_straggler() {
        watched(|| {
            let (clock, ctx) = manual();
            let (ctx, canceller) = ctx.with_cancel();
            let (slot, spawn) = keeping();
            let group = Group::<()>::with_context(&ctx, spawn)
                .0
                .with_straggler_limit(SECOND);
            group.spawn_named("slow", pending::<Result<_, Infallible>>());
            let slow = clock.clone();
            let waker = on_wake(move || slow.advance(2 * SECOND));
            let mut task = slot.lock().unwrap().take().unwrap();
            assert!(
                Pin::new(&mut task)
                    .poll(&mut task::Context::from_waker(&waker))
                    .is_pending()
            );
            let mut wait = Polled::new(group.wait());
            assert!(wait.is_pending());
            canceller.cancel();
            let error = wait.ready().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stragglers);
            assert_eq!(error.pending(), ["slow"]);
        });
    }
}

/// Fault 25: a limit or grace set after the end was ignored.
mod set_after_the_end {
    use super::*;

    struct Ended {
        clock: ManualClock,
        executor: Executor,
        group: Group<()>,
        polls: Count,
    }

    /// A group that has ended while its only task is not polled any more.
    fn ended() -> Ended {
        let (clock, ctx) = manual();
        let (ctx, canceller) = ctx.with_cancel();
        let executor = Executor::new();
        let (group, _) = Group::with_context(&ctx, executor.spawner());
        let polls = Count::default();
        let count = polls.clone();
        group.spawn_named("slow", async move {
            count.add();
            pending::<Result<_, Infallible>>().await
        });
        executor.run();
        canceller.cancel();
        Ended {
            clock,
            executor,
            group,
            polls,
        }
    }

    /// Fault 25: it counts from when it was set, or from the end; after both it has passed.
    #[test]
    fn straggler_limit_takes_effect() {
        watched(|| {
            let ended = ended();
            let mut wait = Polled::new(ended.group.with_straggler_limit(SECOND).wait());
            assert!(wait.is_pending());
            ended.clock.advance(SECOND);
            assert!(wait.is_woken(), "it was ignored");
            assert_eq!(wait.ready().unwrap_err().kind(), ErrorKind::Stragglers);
        });
    }

    /// Fault 25: the task has not been dropped yet; within the grace it goes on.
    #[test]
    fn grace_takes_effect() {
        watched(|| {
            let ended = ended();
            let group = ended.group.with_grace(SECOND);
            ended.executor.run();
            assert_eq!(
                ended.executor.alive(),
                [0],
                "it was dropped during its grace"
            );
            ended.clock.advance(SECOND);
            let error = ended.executor.drive(group.wait()).unwrap_err();
            assert_eq!((error.kind(), ended.polls.get()), (ErrorKind::Canceled, 1));
        });
    }

    /// Fault 25: set while a waiter of `next` was there and gone.
    #[test]
    fn straggler_limit_takes_effect_for_next() {
        watched(|| {
            let mut ended = ended();
            assert!(poll_once(Box::pin(ended.group.next()).as_mut()).is_pending());
            let mut group = ended.group.with_straggler_limit(SECOND);
            let mut next = Polled::new(group.next());
            assert!(next.is_pending());
            ended.clock.advance(SECOND);
            assert_eq!(
                next.ready().unwrap().unwrap_err().kind(),
                ErrorKind::Stragglers
            );
        });
    }
}

/// Fault 15: a task that awaits its own child at the limit hung.
mod at_the_limit {
    use super::*;

    /// Fault 15: in place and on executors.
    #[test]
    fn task_awaits_its_own_fork() {
        watched(|| {
            let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(1));
            let handle = group.handle();
            group
                .spawn(async move { handle.fork("child", async { Ok::<_, Infallible>(7) }).await });
            assert_eq!(block_on(group.wait()).unwrap(), [7]);
            for host in super::super::tools::HOSTS {
                let group = Group::new(host.spawn).with_limit(at_most(1));
                let handle = group.handle();
                group.spawn(
                    async move { handle.fork("child", async { Ok::<_, Infallible>(7) }).await },
                );
                assert_eq!(block_on(group.wait()).unwrap(), [7], "{}", host.name);
            }
        });
    }

    /// Fault 15: a chain of tasks, each of which awaits the next.
    #[test]
    fn chain_of_forks_ends() {
        fn chain(
            handle: failfast::GroupHandle<u32>,
            depth: u32,
        ) -> Pin<Box<dyn Future<Output = Result<u32, failfast::Error>> + Send>> {
            Box::pin(async move {
                if depth == 0 {
                    return Ok(0);
                }
                let below = chain(handle.clone(), depth - 1);
                Ok(handle.fork("below", below).await? + 1)
            })
        }
        watched(|| {
            for depth in [1, 2, 31, 65, 200] {
                let executor = Executor::new();
                let group = Group::new(executor.spawner()).with_limit(at_most(1));
                group.spawn(chain(group.handle(), depth));
                assert_eq!(executor.drive(group.wait()).unwrap(), [depth]);
            }
        });
    }
}

/// Fault 3: a task that comes too late ends in its first poll, unpolled, so that the executor drops it.
#[test]
fn late_task_is_dropped_unpolled_by_its_first_poll() {
    watched(|| {
        let (clock, ctx) = manual();
        let slot = Arc::new(Mutex::new(None));
        let inbox = slot.clone();
        let spawn = move |task: Task| *inbox.lock().unwrap() = Some(task);
        let (group, _) = Group::with_context(&ctx.with_timeout(SECOND), spawn);
        let polls = Count::default();
        group.spawn(counted(&polls));
        clock.advance(SECOND);
        let mut task = slot.lock().unwrap().take().unwrap();
        let mut cx = task::Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut task).poll(&mut cx).is_ready());
        assert_eq!(polls.get(), 0);
        assert!(block_on(group.wait()).unwrap_err().is_deadline_exceeded());
    });
}
