//! Memory follows the living: what has finished keeps its result at most, and what is over keeps nothing.

use super::tools::{
    HOUR, allocations, apart, eager, held, inline, is_gone, panics, poll_once, token, yields,
};
use crate::executor::{Executor, Living, Polled, watched};
use crate::support::{Count, OnDrop, at_most, eventually};
use failfast::{
    Aggregator, BoxError, Context, Ending, Group, InPlaceGroup, LocalInPlaceGroup, Task,
};
use futures::executor::block_on;
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll, Waker};

/// A future of 8 KiB and more.
async fn large(value: u32) -> Result<u32, Infallible> {
    let kept = [value; 2_048];
    yields(1).await;
    Ok(std::hint::black_box(kept)[7])
}

/// Fault 5: places, handles and wakers of finished tasks were kept to the group's end.
mod finished_tasks {
    use super::*;

    const TASKS: usize = 10_000;
    /// What the contract allows a finished task of `T = u32`.
    const ALLOWED: isize = TASKS as isize * (4 + 64) + 16_384;

    /// Fault 5: on an executor, with large futures and small results.
    #[test]
    fn keep_their_results_alone() {
        apart(|| {
            let group = Group::new(eager);
            let before = held();
            (0..TASKS as u32).for_each(|n| group.spawn(large(n)));
            let kept = held() - before;
            assert!(kept <= ALLOWED, "{kept} bytes for {TASKS} results");
            assert!(
                block_on(group.wait())
                    .unwrap()
                    .into_iter()
                    .eq(0..TASKS as u32)
            );
        });
    }

    /// Fault 5: in place, beside one that goes on.
    #[test]
    fn keep_their_results_alone_in_place() {
        apart(|| {
            let group = InPlaceGroup::<u32>::new(&Context::background());
            group.spawn(pending::<Result<_, Infallible>>());
            (0..TASKS as u32).for_each(|n| group.spawn(large(n)));
            let full = held();
            let mut wait = Polled::new(group.wait());
            loop {
                assert!(wait.is_pending());
                if !wait.is_woken() {
                    break;
                }
            }
            // The futures, of 8 KiB each, are gone; their results may be in new nodes.
            let freed = full - held();
            let least = TASKS as isize * 8_192 - ALLOWED;
            assert!(
                freed >= least,
                "{freed} bytes freed, of {TASKS} futures of 8 KiB"
            );
        });
    }

    /// Fault 5: background tasks keep nothing at all.
    #[test]
    fn of_the_background_keep_nothing() {
        apart(|| {
            let group = Group::<u32>::new(eager);
            let background = || async {
                yields(1).await;
                Ok::<_, BoxError>(())
            };
            (0..100).for_each(|_| group.spawn_background(background()));
            let before = held();
            (0..TASKS).for_each(|_| group.spawn_background(background()));
            let kept = held() - before;
            assert!(kept <= 1_024, "{kept} bytes for {TASKS} tasks");
        });
    }

    /// Fault 5: tasks of `T = ()` keep nothing while `wait` is pending.
    #[test]
    fn without_results_keep_nothing_while_wait_is_pending() {
        apart(|| {
            let group = Group::<()>::new(|mut task: Task| {
                if poll_once(Pin::new(&mut task)).is_pending() {
                    std::mem::forget(task);
                }
            });
            let handle = group.handle();
            group.spawn(pending::<Result<_, Infallible>>());
            let mut wait = Box::pin(group.wait());
            assert!(poll_once(wait.as_mut()).is_pending());
            let one = |_| assert!(handle.spawn(ready(Ok::<_, Infallible>(()))).is_ok());
            (0..1_000).for_each(one);
            let before = held();
            (0..TASKS).for_each(one);
            let kept = held() - before;
            assert!(kept <= 1_024, "{kept} bytes for {TASKS} tasks");
        });
    }

    /// Fault 5: what `spawn` returned is dropped with its task, not with the group.
    #[test]
    fn let_their_handles_go() {
        watched(|| {
            let (tasks, dropped) = (Arc::new(Mutex::new(Vec::new())), Count::default());
            let (inbox, count) = (tasks.clone(), dropped.clone());
            let group = Group::new(move |task: Task| {
                inbox.lock().unwrap().push(task);
                OnDrop(count.clone())
            });
            for n in 0..100 {
                group.spawn(ready(Ok::<_, Infallible>(n)));
            }
            for mut task in std::mem::take(&mut *tasks.lock().unwrap()) {
                assert!(poll_once(Pin::new(&mut task)).is_ready());
            }
            assert_eq!(dropped.get(), 100, "handles of finished tasks are kept");
            assert_eq!(block_on(group.wait()).unwrap().len(), 100);
        });
    }

    /// Fault 5: and of a task that ended before `spawn` returned.
    #[test]
    fn let_their_handles_go_though_they_ended_within_spawn() {
        watched(|| {
            let dropped = Count::default();
            let count = dropped.clone();
            let group = Group::new(move |task: Task| {
                inline(task);
                OnDrop(count.clone())
            });
            (0..100).for_each(|n| group.spawn(ready(Ok::<_, Infallible>(n))));
            assert_eq!(dropped.get(), 100, "handles of finished tasks are kept");
        });
    }

    /// Fault 5: the last waker, and with it an executor's whole task, is dropped.
    #[test]
    fn let_their_wakers_go() {
        watched(|| {
            let tasks = Arc::new(Mutex::new(Vec::new()));
            let inbox = tasks.clone();
            let group = Group::<()>::new(move |task: Task| inbox.lock().unwrap().push(task));
            let (kept, gone) = token();
            let waker = crate::executor::on_wake(move || drop(kept.clone()));
            for times in 0..3 {
                group.spawn(async move {
                    yields(times).await;
                    Ok::<_, Infallible>(())
                });
            }
            let mut cx = task::Context::from_waker(&waker);
            for mut task in std::mem::take(&mut *tasks.lock().unwrap()) {
                while Pin::new(&mut task).poll(&mut cx).is_pending() {}
            }
            drop(waker);
            assert!(is_gone(&gone), "the waker of a finished task is kept");
        });
    }

    /// Fault 5: nor does a context, a handle or a fork keep the bodies of those that are over.
    #[test]
    fn are_not_kept_by_context_handle_or_fork() {
        watched(|| {
            let living = Living::default();
            let executor = Executor::new();
            let group = Group::<u32>::new(executor.spawner());
            let (handle, ctx) = (group.handle(), group.context().clone());
            let life = living.one();
            let fork = group.fork("fork", async move {
                let _life = life;
                pending::<Result<u32, Infallible>>().await
            });
            let life = living.one();
            group.spawn(async move {
                let _life = life;
                Ok::<_, Infallible>(5)
            });
            executor.run();
            group.cancel_with("over");
            assert!(executor.drive(group.wait()).is_err());
            assert_eq!(living.count(), 0);
            drop((handle, ctx, fork));
        });
    }
}

/// Fault 5: servers, whose groups live for months.
mod endless_tasks {
    use super::*;

    const TASKS: usize = 100_000;

    /// Fault 5: taken with `next`.
    #[test]
    fn taken_with_next_stay_flat() {
        apart(|| {
            let mut group = Group::new(inline);
            let mut turn = |n: usize| {
                group.spawn(ready(Ok::<_, Infallible>(n)));
                assert_eq!(block_on(group.next()).unwrap().unwrap(), n);
            };
            (0..1_000).for_each(&mut turn);
            let before = held();
            (0..TASKS).for_each(&mut turn);
            let grown = held() - before;
            assert!(grown <= 1_024, "{grown} bytes");
        });
    }

    /// Fault 5: taken with `next`, in place, many at a time, in any order of completion.
    #[test]
    fn taken_with_next_in_place_stay_flat() {
        apart(|| {
            let mut group = InPlaceGroup::new(&Context::background());
            let mut turn = |n: usize| {
                for _ in 0..10 {
                    group.spawn(async move {
                        yields(n % 4).await;
                        Ok::<_, Infallible>(n)
                    });
                }
                while block_on(group.next()).is_some() {}
            };
            (0..100).for_each(&mut turn);
            let before = held();
            (0..TASKS / 20).for_each(&mut turn);
            let grown = held() - before;
            assert!(grown <= 1_024, "{grown} bytes");
        });
    }

    /// Fault 5: an in-place group leaked a slot and a bell for each task that a task spawned.
    #[test]
    fn spawned_by_a_task_in_place_stay_flat() {
        apart(|| {
            let group = InPlaceGroup::<()>::new(&Context::background());
            let handle = group.handle();
            let grown = Arc::new(Mutex::new(Vec::new()));
            let told = grown.clone();
            group.spawn(async move {
                let mut before = 0;
                for n in 0..TASKS {
                    assert!(handle.spawn(ready(Ok::<_, Infallible>(()))).is_ok());
                    if n % 8 == 0 {
                        yields(1).await;
                    }
                    match n {
                        1_000 => before = held(),
                        n if n % 16_000 == 0 && n > 1_000 => {
                            told.lock().unwrap().push(held() - before)
                        }
                        _ => {}
                    }
                }
                Ok::<_, Infallible>(())
            });
            assert!(block_on(group.wait()).is_ok());
            let grown = grown.lock().unwrap();
            assert!(grown.iter().all(|bytes| *bytes <= 16_384), "{grown:?}");
        });
    }

    /// Fault 5: beside a listener, through a handle, while `wait` is pending; at a limit too.
    #[test]
    fn through_a_handle_beside_a_pending_wait_stay_flat() {
        apart(|| {
            for limit in [None, Some(3)] {
                let executor = Executor::new();
                let living = Living::default();
                let mut group = Group::<()>::new(executor.spawner());
                if let Some(limit) = limit {
                    group = group.with_limit(at_most(limit));
                }
                let handle = group.handle();
                group.spawn_background(pending::<Result<(), Infallible>>());
                let (listener, task) = crate::executor::remote::<(), Infallible>(&living);
                group.spawn(task);
                let mut wait = Polled::new(group.wait());
                assert!(wait.is_pending());
                for _ in 0..1_000 {
                    let life = living.one();
                    let task = async move {
                        drop(life);
                        Ok::<_, Infallible>(())
                    };
                    assert!(handle.spawn(task).is_ok());
                    executor.run();
                    assert_eq!(living.count(), 1, "only the listener lives");
                }
                listener.succeed(());
                executor.run();
                // The background task is ended by the wait, and goes with its next poll.
                let mut ended = wait.poll();
                if ended.is_pending() {
                    executor.run();
                    ended = wait.poll();
                }
                assert!(matches!(ended, Poll::Ready(Ok(_))));
            }
        });
    }

    /// Fault 5: handles from before a limit was set were kept, and walked, for ever.
    #[test]
    fn from_before_a_limit_are_let_go() {
        watched(|| {
            let (tasks, dropped) = (Arc::new(Mutex::new(Vec::new())), Count::default());
            let (inbox, count) = (tasks.clone(), dropped.clone());
            let group = Group::new(move |task: Task| {
                inbox.lock().unwrap().push(task);
                OnDrop(count.clone())
            });
            (0..10).for_each(|n| group.spawn(ready(Ok::<_, Infallible>(n))));
            let group = group.with_limit(at_most(2));
            let mut tasks = std::mem::take(&mut *tasks.lock().unwrap());
            tasks
                .iter_mut()
                .for_each(|task| assert!(poll_once(Pin::new(task)).is_ready()));
            assert_eq!(dropped.get(), 10);
            assert_eq!(block_on(group.wait()).unwrap().len(), 10);
        });
    }

    /// Fault 30: spawns whose spawner panics, under `next`.
    #[test]
    fn that_the_spawner_refuses_with_a_panic_stay_flat() {
        apart(|| {
            let mut group =
                Group::<()>::new(|_: Task| panic!("the spawner fails")).with_ending(Ending::Settle);
            let mut turn = |_: usize| {
                assert!(panics(|| group.spawn(ready(Ok::<_, Infallible>(())))));
                assert!(block_on(group.next()).unwrap().is_err());
            };
            std::panic::set_hook(Box::new(|_| {}));
            (0..100).for_each(&mut turn);
            let before = held();
            (0..2_000).for_each(&mut turn);
            drop(std::panic::take_hook());
            // What a loss wakes is woken from another thread, which may be a little behind.
            eventually("nothing is left", || held() - before <= 4_096);
        });
    }

    /// Fault 5: aggregations, one after the other.
    #[test]
    fn of_an_aggregator_stay_flat() {
        apart(|| {
            let source = |_: Context, n: usize| ready(Ok::<_, Infallible>(n));
            let all = Aggregator::in_place().sources((0..5).map(|n| (format!("s{n}"), source)));
            let ctx = Context::background();
            let turn = |n: usize| assert_eq!(block_on(all.aggregate(&ctx, n)).unwrap(), [n; 5]);
            (0..100).for_each(turn);
            let before = held();
            (0..5_000).for_each(turn);
            let grown = held() - before;
            assert!(grown <= 1_024, "{grown} bytes");
        });
    }
}

/// Fault 19: what was done for each that ever was, and what a context kept.
mod follows_the_living {
    use super::*;

    /// Fault 19: the end wakes the tasks that live, not those that ever were.
    #[test]
    fn end_wakes_the_living_only() {
        watched(|| {
            let executor = Executor::new();
            let group = Group::<()>::new(executor.spawner());
            (0..1_000).for_each(|_| group.spawn(ready(Ok::<_, Infallible>(()))));
            executor.run();
            (0..3).for_each(|_| group.spawn(pending::<Result<_, Infallible>>()));
            executor.run();
            group.cancel_with("over");
            let wakes: usize = (0..1_000).map(|n| executor.wakes(n)).sum();
            assert_eq!(wakes, 0);
            assert!((1_000..1_003).all(|n| executor.wakes(n) == 1));
            assert!(executor.drive(group.wait()).is_err());
        });
    }

    /// Fault 19: a snapshot shows, and allocates for, the tasks that live.
    #[test]
    fn snapshot_is_as_large_as_the_number_of_live_tasks() {
        apart(|| {
            let mut group = InPlaceGroup::<usize>::new(&Context::background());
            (0..10_000).for_each(|n| group.spawn(ready(Ok::<_, Infallible>(n))));
            while block_on(group.next()).is_some() {}
            (0..3).for_each(|_| group.spawn(pending::<Result<_, Infallible>>()));
            let before = held();
            let snapshot = group.snapshot();
            let bytes = held() - before;
            assert!(bytes <= 4_096, "{bytes} bytes for three tasks");
            assert!(snapshot.to_string().lines().count() <= 10, "{snapshot}");
        });
    }

    /// Fault 19: the peak is not kept: a group whose many tasks were taken is as small as a new one.
    #[test]
    fn peak_of_a_group_is_not_kept() {
        apart(|| {
            let mut group = LocalInPlaceGroup::new(&Context::background());
            let mut turn = |count: usize| {
                (0..count).for_each(|n| group.spawn(ready(Ok::<_, Infallible>(n))));
                while block_on(group.next()).is_some() {}
            };
            turn(1_000); // what the thread keeps of them serves the others
            let before = held();
            turn(100_000);
            let kept = held() - before;
            assert!(kept <= 16_384, "{kept} bytes");
        });
    }

    /// Fault 19: a context that outlives its group pinned the group's memory, and its spawner.
    #[test]
    fn context_that_is_kept_pins_neither_results_nor_spawner() {
        apart(|| {
            let (spawner, weak) = token();
            let living = Living::default();
            let before = held();
            let mut kept = Vec::with_capacity(100);
            for _ in 0..100 {
                let spawner = spawner.clone();
                let (group, ctx) = Group::with_context(&Context::background(), move |task| {
                    let _ = &spawner;
                    inline(task);
                });
                for _ in 0..100 {
                    group.spawn(ready(Ok::<_, Infallible>(living.one())));
                }
                assert_eq!(block_on(group.wait()).unwrap().len(), 100);
                kept.push(ctx);
            }
            let bytes = held() - before;
            assert!(bytes <= 100 * 2_048, "{bytes} bytes for 100 contexts");
            drop(spawner);
            assert!(is_gone(&weak), "a context keeps the spawner");
            assert!(kept.iter().all(Context::is_done) && living.count() == 0);
        });
    }

    /// Fault 19: `next` formatted names that it dropped; a turn now allocates for the task alone.
    #[test]
    fn next_makes_no_name() {
        apart(|| {
            let mut group = InPlaceGroup::new(&Context::background());
            let mut turn = |n: usize| {
                group.spawn(ready(Ok::<_, Infallible>(n)));
                assert!(block_on(group.next()).unwrap().is_ok());
            };
            (0..100).for_each(&mut turn);
            let before = allocations();
            (0..1_000).for_each(&mut turn);
            let calls = allocations() - before;
            assert!(calls <= 2_000, "{calls} allocations in 1,000 turns");
        });
    }
}

/// Fault 17: places were `u32` and unchecked, and numbers wrapped.
mod numbers {
    use super::*;

    /// Fault 17: each task has a number of its own, 64 bits wide, also where its place was free again.
    #[test]
    fn each_task_has_its_own() {
        watched(|| {
            let mut group = InPlaceGroup::new(&Context::background());
            for n in 0..10_000 {
                group.spawn(ready(Ok::<_, Infallible>(n)));
                let (name, result) = block_on(group.next_named()).unwrap();
                assert_eq!((name, result.unwrap()), (format!("task {n}").into(), n));
            }
        });
    }
}

/// Fault 23: `Group::new` held four times the size of `T` on the stack.
mod large_results {
    use super::*;

    type Large = [u8; 524_288];
    const SIZE: isize = size_of::<Large>() as isize;

    /// Fault 23: on a thread of 2 MiB, for each kind of group.
    #[test]
    fn group_without_tasks_needs_no_stack_for_them() {
        apart(|| {
            let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
                let before = held();
                let group = Group::<Large>::new(inline);
                let in_place = InPlaceGroup::<Large>::new(&Context::background());
                let kept = held() - before;
                assert!(kept <= 16_384, "{kept} bytes without a task");
                assert!(in_place.snapshot().to_string().lines().count() <= 5);
                drop((group, in_place));
            });
            thread.unwrap().join().unwrap();
        });
    }

    /// Fault 23: five tasks held 16 times the size of `T`.
    #[test]
    fn tasks_hold_one_result_each() {
        apart(|| {
            // The tasks' own code copies its array about, in a debug build above all.
            let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(|| {
                let before = held();
                let group = Group::<Large>::new(inline);
                for count in 1..=5 {
                    group.spawn(async { Ok::<_, Infallible>([1; 524_288]) });
                    let kept = held() - before;
                    assert!(
                        kept <= count * (SIZE + 1_024) + 16_384,
                        "{kept} bytes for {count}"
                    );
                }
                assert_eq!(block_on(group.wait()).unwrap().len(), 5);
            });
            thread.unwrap().join().unwrap();
        });
    }
}

/// What is dropped while waiting frees everything, at every point.
mod dropped_at_every_point {
    use super::*;

    type Made = Pin<Box<dyn Future<Output = ()>>>;

    async fn work(living: Living, times: usize) -> Result<usize, Infallible> {
        let _life = living.one();
        yields(times).await;
        Ok(times)
    }

    /// Fault 5's kind: polled so many times, then dropped; nothing is left.
    #[test]
    fn nothing_is_left() {
        apart(|| {
            type Make = fn(Living) -> Made;
            let made: [(&str, Make); 6] = [
                ("wait", |living| {
                    Box::pin(async move {
                        let group =
                            InPlaceGroup::new(&Context::background()).with_limit(at_most(2));
                        (0..5).for_each(|n| group.spawn(work(living.clone(), n)));
                        drop(group.wait().await);
                    })
                }),
                ("next", |living| {
                    Box::pin(async move {
                        let mut group = InPlaceGroup::new(&Context::background());
                        (0..5).for_each(|n| group.spawn(work(living.clone(), n)));
                        while group.next().await.is_some() {}
                    })
                }),
                ("ready", |living| {
                    Box::pin(async move {
                        let group =
                            InPlaceGroup::new(&Context::background()).with_limit(at_most(1));
                        for n in 0..4 {
                            drop(group.ready().await);
                            group.spawn(work(living.clone(), n));
                        }
                        drop(group.wait().await);
                    })
                }),
                ("run", |living| {
                    Box::pin(async move {
                        let group = InPlaceGroup::<()>::new(&Context::background());
                        let forks: Vec<_> = (0..4)
                            .map(|n| group.fork(format!("f{n}"), work(living.clone(), n)))
                            .collect();
                        let body = async { Ok(futures::future::try_join_all(forks).await?) };
                        assert_eq!(group.run(body).await.unwrap(), [0, 1, 2, 3]);
                    })
                }),
                ("try_map", |living| {
                    Box::pin(async move {
                        let group =
                            InPlaceGroup::new(&Context::background()).with_limit(at_most(2));
                        drop(group.try_map(0..5, |n| work(living.clone(), n)).await);
                    })
                }),
                ("aggregate", |living| {
                    Box::pin(async move {
                        let sources = (0..4).map(|n| {
                            let living = living.clone();
                            (format!("s{n}"), move |_: Context, (): ()| {
                                work(living.clone(), n)
                            })
                        });
                        let all = Aggregator::in_place().with_timeout(HOUR).sources(sources);
                        drop(all.aggregate(&Context::background(), ()).await);
                    })
                }),
            ];
            for (name, make) in made {
                assert!(
                    (0..200).any(|polls| is_through(name, make, polls)),
                    "{name} never ends"
                );
            }
        });
    }

    /// Polls it so many times, and drops it. Whether it was through.
    fn is_through(name: &str, make: fn(Living) -> Made, polls: usize) -> bool {
        let living = Living::default();
        let before = held();
        let mut made = make(living.clone());
        let mut cx = task::Context::from_waker(Waker::noop());
        let through = (0..polls).any(|_| made.as_mut().poll(&mut cx).is_ready());
        drop(made);
        assert_eq!(living.count(), 0, "{name}, {polls} polls");
        // What is made once for the process, or the thread, may stay from the first time.
        let left = held() - before;
        assert!(
            polls < 2 || left <= 256,
            "{name}, {polls} polls: {left} bytes"
        );
        through
    }
}
