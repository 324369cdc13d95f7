//! Destructors: every one runs, one that panics keeps no other from running, and none aborts the process.

use super::tools::{Bomb, apart, is_gone, panics, poll_once, token};
use crate::executor::{Executor, Living, watched};
use crate::support::{Count, at_most};
use failfast::{Context, Ending, Group, GroupHandle, InPlaceGroup, LocalGroup, LocalTask, Task};
use futures::executor::block_on;
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

/// Fault 8: a group dropped while a handle spawned panicked, and skipped the rest of its drop.
mod group_is_dropped_while_a_handle_spawns {
    use super::*;

    /// Large, so that to make room for one takes long.
    #[allow(dead_code, reason = "they are there to be moved and dropped")]
    struct Large([u8; 8_192], Option<crate::executor::Life>);

    /// Fault 8: in place.
    #[test]
    fn in_place_everything_is_dropped() {
        watched(|| {
            for round in 0..60 {
                let living = Living::default();
                let group = InPlaceGroup::<Large>::new(&Context::background());
                for _ in 0..[1, 3, 4, 15, 16, 63, 64, 256][round % 8] {
                    group.spawn(keeping(&living));
                }
                dropped_while_spawning(group.handle(), move || drop(group), &living, round);
            }
        });
    }

    /// Fault 8: on an executor.
    #[test]
    fn on_an_executor_everything_is_dropped() {
        watched(|| {
            for round in 0..60 {
                let living = Living::default();
                let group = Group::<Large>::new(super::super::tools::inline);
                for _ in 0..[1, 3, 4, 15, 16, 63, 64, 256][round % 8] {
                    group.spawn(keeping(&living));
                }
                let handle = group.handle();
                race(round, move || drop(group), {
                    let living = living.clone();
                    move || (0..8).for_each(|_| drop(handle.spawn(keeping(&living))))
                });
                assert_eq!(living.count(), 0, "round {round}");
            }
        });
    }

    fn keeping(living: &Living) -> impl Future<Output = Result<Large, Infallible>> + Send + use<> {
        let life = living.one();
        async move { Ok(Large([0; 8_192], Some(life))) }
    }

    fn dropped_while_spawning(
        handle: GroupHandle<Large, failfast::group::Scoped<'static>>,
        drop_group: impl FnOnce() + Send + 'static,
        living: &Living,
        round: usize,
    ) {
        let alive = living.clone();
        let spawning = move || (0..8).for_each(|_| drop(handle.spawn(keeping(&alive))));
        race(round, drop_group, spawning);
        assert_eq!(living.count(), 0, "round {round}");
    }

    /// Does both at once, and fails if one of them panics.
    fn race(
        round: usize,
        one: impl FnOnce() + Send + 'static,
        other: impl FnOnce() + Send + 'static,
    ) {
        let start = Arc::new(Barrier::new(2));
        let begin = start.clone();
        let thread = thread::spawn(move || {
            begin.wait();
            other();
        });
        start.wait();
        for _ in 0..round * 20 {
            std::hint::spin_loop();
        }
        assert!(!panics(one), "round {round}: to drop the group panicked");
        thread.join().unwrap();
    }
}

/// Fault 22: the destructors of one collection were not contained one by one.
mod one_by_one {
    use super::*;

    /// Fault 22: callbacks that were never called.
    #[test]
    fn callbacks() {
        apart(|| {
            for count in [1, 2, 3, 65] {
                let dropped = Count::default();
                let (ctx, canceller) = Context::background().with_cancel();
                canceller.disarm();
                for _ in 0..count {
                    let bomb = Bomb(dropped.clone());
                    let _ = ctx.on_done(move || drop(bomb));
                }
                assert!(!panics(|| drop(ctx)), "{count}: a panic came out");
                assert_eq!(dropped.get(), count);
            }
        });
    }

    /// Fault 22: callbacks that are called, each of which drops what panics.
    #[test]
    fn callbacks_that_are_called() {
        apart(|| {
            let dropped = Count::default();
            let (ctx, canceller) = Context::background().with_cancel();
            for _ in 0..3 {
                let bomb = Bomb(dropped.clone());
                let _ = ctx.on_done(move || drop(bomb));
            }
            assert!(!panics(|| canceller.cancel()), "a panic came out");
            assert_eq!(dropped.get(), 3);
        });
    }

    /// Fault 22: values of a chain.
    #[test]
    fn values() {
        apart(|| {
            for count in [1, 2, 3, 65] {
                let dropped = Count::default();
                let mut ctx = Context::background();
                for n in 0..count {
                    ctx = ctx.with_value((n, Bomb(dropped.clone())));
                }
                assert!(!panics(|| drop(ctx)), "{count}: a panic came out");
                assert_eq!(dropped.get(), count);
            }
        });
    }

    /// Fault 22: failures that were not read.
    #[test]
    fn unread_failures() {
        apart(|| {
            for count in [1, 2, 3, 17, 40] {
                let dropped = Count::default();
                let group =
                    InPlaceGroup::<()>::new(&Context::background()).with_ending(Ending::Settle);
                for _ in 0..count {
                    group.spawn(ready(Err(Bomb(dropped.clone()))));
                }
                group.spawn(pending::<Result<_, Infallible>>());
                let mut wait = Box::pin(group.wait());
                assert!(poll_once(wait.as_mut()).is_pending());
                assert!(!panics(|| drop(wait)), "{count}: a panic came out");
                assert_eq!(dropped.get(), count);
            }
        });
    }

    /// Fault 22: failures that were read, dropped with the error.
    #[test]
    fn failures_of_one_error() {
        apart(|| {
            for count in [1, 2, 3, 17] {
                let dropped = Count::default();
                let group =
                    InPlaceGroup::<()>::new(&Context::background()).with_ending(Ending::Settle);
                for _ in 0..count {
                    group.spawn(ready(Err(Bomb(dropped.clone()))));
                }
                let error = block_on(group.wait()).unwrap_err();
                assert!(!panics(|| drop(error)), "{count}: a panic came out");
                assert_eq!(dropped.get(), count);
            }
        });
    }

    /// Fault 22: results that were not taken.
    #[test]
    fn unread_results() {
        apart(|| {
            for count in [1, 2, 3, 65] {
                let dropped = Count::default();
                let group = InPlaceGroup::new(&Context::background());
                for _ in 0..count {
                    group.spawn(ready(Ok::<_, Infallible>(Bomb(dropped.clone()))));
                }
                group.spawn(pending::<Result<_, Infallible>>());
                let mut wait = Box::pin(group.wait());
                assert!(poll_once(wait.as_mut()).is_pending());
                assert!(!panics(|| drop(wait)), "{count}: a panic came out");
                assert_eq!(dropped.get(), count);
            }
        });
    }

    /// Fault 22: results of a group that failed, on an executor.
    #[test]
    fn results_beside_a_failure() {
        apart(|| {
            let dropped = Count::default();
            let executor = Executor::new();
            let group = Group::new(executor.spawner());
            for _ in 0..3 {
                group.spawn(ready(Ok::<_, Infallible>(Bomb(dropped.clone()))));
            }
            group.spawn(ready(Err("refused")));
            let error = executor.drive(group.wait()).map(drop).unwrap_err();
            assert_eq!(
                (error.to_string().as_str(), dropped.get()),
                ("task 3: refused", 3)
            );
        });
    }

    /// Fault 22: a quorum that was missed, whose results went with the last handle.
    #[test]
    fn results_of_a_missed_quorum() {
        apart(|| {
            let dropped = Count::default();
            let group =
                InPlaceGroup::new(&Context::background()).with_ending(Ending::Quorum(at_most(3)));
            let handle = group.handle();
            for _ in 0..2 {
                group.spawn(ready(Ok::<_, Infallible>(Bomb(dropped.clone()))));
            }
            let told = panics(|| assert!(block_on(group.wait()).map(drop).is_err()));
            assert!(!told && !panics(|| drop(handle)), "a panic came out");
            assert_eq!(dropped.get(), 2);
        });
    }

    /// Fault 22: futures of tasks that are not through, in place and in the queue of a limit.
    #[test]
    fn futures() {
        apart(|| {
            for limit in [1, 2, 100] {
                let dropped = Count::default();
                let group =
                    InPlaceGroup::<()>::new(&Context::background()).with_limit(at_most(limit));
                for _ in 0..5 {
                    let bomb = Bomb(dropped.clone());
                    group.spawn(async move {
                        pending::<()>().await;
                        drop(bomb);
                        Ok::<_, Infallible>(())
                    });
                }
                let mut wait = Box::pin(group.wait());
                assert!(poll_once(wait.as_mut()).is_pending());
                assert!(!panics(|| drop(wait)), "{limit}: a panic came out");
                assert_eq!(dropped.get(), 5);
            }
        });
    }

    /// Fault 22: forks' answers that were not awaited.
    #[test]
    fn answers_of_forks() {
        apart(|| {
            let dropped = Count::default();
            let group = InPlaceGroup::<()>::new(&Context::background());
            let bomb = || ready(Ok::<_, Infallible>(Bomb(dropped.clone())));
            let forks: Vec<_> = (0..3)
                .map(|n| group.fork(format!("f{n}"), bomb()))
                .collect();
            assert!(block_on(group.wait()).is_ok());
            for fork in forks {
                assert!(!panics(|| drop(fork)), "a panic came out");
            }
            assert_eq!(dropped.get(), 3);
        });
    }

    /// Fault 22: the causes of contexts.
    #[test]
    fn causes() {
        apart(|| {
            let dropped = Count::default();
            let (ctx, canceller) = Context::background().with_cancel();
            let child = ctx.with_cancel();
            canceller.cancel_with(Bomb(dropped.clone()));
            let errors = (ctx.err(), child.0.cause());
            let late = Context::background()
                .with_timeout_cause(super::super::tools::HOUR, Bomb(dropped.clone()));
            for what in [
                Box::new(move || drop(errors)) as Box<dyn FnOnce()>,
                Box::new(move || drop((ctx, child, canceller))),
                Box::new(move || drop(late)),
            ] {
                assert!(!panics(what), "a panic came out");
            }
            assert_eq!(dropped.get(), 2);
        });
    }
}

/// Fault 9: a handle that a task keeps made a cycle with the spawner and its executor.
mod task_keeps_a_handle {
    use super::*;

    /// Fault 9: local, with smol's executor.
    #[test]
    fn local_executor_is_freed_with_its_group() {
        watched(|| {
            let executor = Rc::new(smol::LocalExecutor::new());
            let weak = Rc::downgrade(&executor);
            let spawner = executor.clone();
            block_on(executor.run(async move {
                let group = LocalGroup::<()>::new(move |task: LocalTask| spawner.spawn(task));
                let handle = group.handle();
                group.spawn(async move {
                    let _handle = handle;
                    pending::<Result<_, Infallible>>().await
                });
                smol::future::yield_now().await;
                drop(group);
            }));
            drop(executor);
            assert_eq!(weak.strong_count(), 0, "the executor is kept");
        });
    }

    type Tasks = Arc<Mutex<Vec<Task>>>;

    /// Fault 9: on an executor whose tasks go with it; the group is dropped, waited for, or leaked.
    #[test]
    fn executor_is_freed_with_its_group() {
        watched(|| {
            for waited in [false, true] {
                let tasks = Tasks::default();
                let weak = Arc::downgrade(&tasks);
                let inbox = tasks.clone();
                let group = Group::<()>::new(move |task| inbox.lock().unwrap().push(task));
                let living = Living::default();
                for _ in 0..3 {
                    let (handle, life) = (group.handle(), living.one());
                    group.spawn(async move {
                        let _kept = (handle, life);
                        pending::<Result<_, Infallible>>().await
                    });
                }
                tasks
                    .lock()
                    .unwrap()
                    .iter_mut()
                    .for_each(|task| assert!(poll_once(Pin::new(task)).is_pending()));
                if waited {
                    let mut wait = Box::pin(group.wait());
                    assert!(poll_once(wait.as_mut()).is_pending());
                    drop(wait);
                } else {
                    drop(group);
                }
                // The executor polls the woken tasks, and is shut down.
                for mut task in std::mem::take(&mut *tasks.lock().unwrap()) {
                    let _ = poll_once(Pin::new(&mut task));
                }
                drop(tasks);
                assert_eq!(living.count(), 0, "a task is kept");
                assert!(is_gone(&weak), "the executor is kept");
            }
        });
    }

    /// Fault 9: in place, where the group itself is the executor.
    #[test]
    fn group_in_place_is_freed() {
        watched(|| {
            for polled in [false, true] {
                let (kept, weak) = token();
                let group = InPlaceGroup::<()>::new(&Context::background());
                let handle = group.handle();
                group.spawn(async move {
                    let _kept = (handle, kept);
                    pending::<Result<_, Infallible>>().await
                });
                let mut wait = Box::pin(group.wait());
                if polled {
                    assert!(poll_once(wait.as_mut()).is_pending());
                }
                drop(wait);
                assert!(is_gone(&weak), "the task is kept");
            }
        });
    }

    /// Fault 9: the spawner, where handles outlive the group.
    #[test]
    fn spawner_is_freed_though_handles_are_kept() {
        watched(|| {
            let (kept, weak) = token();
            let group = Group::<()>::new(move |task| {
                let _ = &kept;
                super::super::tools::inline(task);
            });
            let handle = group.handle();
            group.spawn(ready(Ok::<_, Infallible>(())));
            assert!(block_on(group.wait()).is_ok());
            assert!(handle.spawn(ready(Ok::<_, Infallible>(()))).is_err());
            drop(handle);
            assert!(is_gone(&weak), "the spawner is kept");
        });
    }
}

/// Fault 27: a task that returned a handle after its group was dropped made a cycle for ever.
mod late_result_holds_a_handle {
    use super::*;

    type Value = Box<dyn std::any::Any + Send>;

    /// Fault 27: the group is dropped from inside the task's last poll, which then returns a handle.
    #[test]
    fn group_is_dropped_in_the_tasks_last_poll() {
        watched(|| {
            let (kept, weak) = token();
            let slot = Arc::new(Mutex::new(None));
            let inbox = slot.clone();
            let group = Group::<Value>::new(move |task: Task| {
                let _ = &kept;
                *inbox.lock().unwrap() = Some(task);
            });
            let handle = group.handle();
            let own = Arc::new(Mutex::new(None));
            let mine = own.clone();
            group.spawn(async move {
                drop(mine.lock().unwrap().take());
                Ok::<Value, Infallible>(Box::new(handle))
            });
            *own.lock().unwrap() = Some(group);
            let mut task = slot.lock().unwrap().take().unwrap();
            assert!(poll_once(Pin::new(&mut task)).is_ready());
            drop((task, slot));
            assert!(is_gone(&weak), "the handle in the result keeps the spawner");
        });
    }

    /// Fault 27: the group is dropped by another thread while the task is being polled.
    #[test]
    fn group_is_dropped_while_the_task_is_polled() {
        watched(|| {
            let (kept, weak) = token();
            let slot = Arc::new(Mutex::new(None));
            let inbox = slot.clone();
            let group = Group::<Value>::new(move |task: Task| {
                let _ = &kept;
                *inbox.lock().unwrap() = Some(task);
            });
            let handle = group.handle();
            let (entered, dropped) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
            let (inside, outside) = (entered.clone(), dropped.clone());
            group.spawn(async move {
                inside.wait();
                outside.wait();
                Ok::<Value, Infallible>(Box::new(handle))
            });
            let mut task: Task = slot.lock().unwrap().take().unwrap();
            let polling =
                thread::spawn(move || while poll_once(Pin::new(&mut task)).is_pending() {});
            entered.wait();
            drop(group);
            dropped.wait();
            polling.join().unwrap();
            drop(slot);
            assert!(is_gone(&weak), "the handle in the result keeps the spawner");
        });
    }

    /// Fault 27: results that hold handles, of a group that is waited for, fails, or is dropped.
    #[test]
    fn results_that_hold_handles_make_no_cycle() {
        watched(|| {
            for end in 0..3 {
                let (kept, weak) = token();
                let group = Group::<Value>::new(move |task| {
                    let _ = &kept;
                    super::super::tools::inline(task);
                });
                for _ in 0..3 {
                    let handle = group.handle();
                    group.spawn(async move { Ok::<Value, Infallible>(Box::new(handle)) });
                }
                match end {
                    0 => assert_eq!(block_on(group.wait()).unwrap().len(), 3),
                    1 => {
                        group.spawn(async { Err("refused") });
                        assert!(block_on(group.wait()).is_err());
                    }
                    _ => drop(group),
                }
                assert!(
                    is_gone(&weak),
                    "end {end}: the handles in the results keep the spawner"
                );
            }
        });
    }
}
