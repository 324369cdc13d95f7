//! In place is fair and linear: a bounded number of polls whatever shares a budget, and no endless round of wakes.

use super::tools::{SIZES, counted, yields};
use crate::executor::{Executor, Polled, watched};
use crate::support::{Count, at_most};
use failfast::{Aggregator, Context, Group, InPlaceGroup, LocalInPlaceGroup};
use futures::StreamExt;
use std::convert::Infallible;
use std::future::{Future, pending};

/// Fault 4: tasks in place that share tokio's cooperative budget cost about n²/256 polls.
mod budget {
    use super::*;

    fn on_tokio<O>(future: impl Future<Output = O>) -> O {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    /// A value that is there, behind a channel that spends the budget.
    fn budgeted(
        polls: &Count,
        value: usize,
    ) -> impl Future<Output = Result<usize, BoxErr>> + Send + use<> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        sender.send(value).unwrap();
        counted(polls, receiver)
    }

    type BoxErr = tokio::sync::oneshot::error::RecvError;

    /// Fault 4: a group's tasks.
    #[test]
    fn tasks_in_place_cost_a_bounded_number_of_polls_each() {
        watched(|| {
            for size in [0, 1, 127, 128, 129, 255, 256, 257, 1_000, 4_096, 10_000] {
                let polls = Count::default();
                let results = on_tokio(async {
                    let group = InPlaceGroup::new(&Context::background());
                    (0..size).for_each(|n| group.spawn(budgeted(&polls, n)));
                    group.wait().await.unwrap()
                });
                assert!(results.into_iter().eq(0..size));
                assert!(
                    polls.get() <= 3 * size,
                    "{} polls of {size} tasks",
                    polls.get()
                );
            }
        });
    }

    /// Fault 4: with `next`, whose caller never returns to tokio for a new budget while results are at hand: one
    /// batch of 32 futile polls for each result at most.
    #[test]
    fn next_costs_a_bounded_number_of_polls_each() {
        watched(|| {
            for size in [129, 1_000, 4_096, 10_000] {
                let polls = Count::default();
                let taken = on_tokio(async {
                    let mut group = LocalInPlaceGroup::new(&Context::background());
                    (0..size).for_each(|n| group.spawn(budgeted(&polls, n)));
                    let mut taken = 0;
                    while let Some(result) = group.next().await {
                        result.unwrap();
                        taken += 1;
                    }
                    taken
                });
                assert_eq!(taken, size);
                assert!(
                    polls.get() <= 33 * size,
                    "{} polls of {size} tasks",
                    polls.get()
                );
            }
        });
    }

    /// Fault 4: an aggregator's sources, and a map.
    #[test]
    fn sources_and_items_cost_a_bounded_number_of_polls_each() {
        watched(|| {
            for size in [129, 1_000, 4_096] {
                let polls = Count::default();
                let count = polls.clone();
                let sources = (0..size).map(|n| {
                    let count = count.clone();
                    (format!("s{n}"), move |_: Context, (): ()| {
                        budgeted(&count, n)
                    })
                });
                let all = Aggregator::in_place().sources(sources);
                let answers =
                    on_tokio(async { all.aggregate(&Context::background(), ()).await.unwrap() });
                assert_eq!(answers.len(), size);
                let group = InPlaceGroup::new(&Context::background());
                let mapped = on_tokio(group.try_map(0..size, |n| budgeted(&polls, n)));
                assert_eq!(mapped.unwrap().len(), size);
                assert!(
                    polls.get() <= 6 * size,
                    "{} polls of {size} sources and items",
                    polls.get()
                );
            }
        });
    }
}

/// Fault 4's other side: only what was woken is polled.
mod polls_are_exact {
    use super::*;

    /// Fault 4: each task once, and once more for each time that it was woken.
    #[test]
    fn task_is_polled_once_for_each_wake() {
        watched(|| {
            for &size in SIZES {
                let polls = Count::default();
                let group = InPlaceGroup::new(&Context::background());
                for n in 0..size {
                    group.spawn(counted(&polls, async move {
                        yields(n % 5).await;
                        Ok::<_, Infallible>(n)
                    }));
                }
                let results = futures::executor::block_on(group.wait()).unwrap();
                assert!(results.into_iter().eq(0..size));
                assert_eq!(polls.get(), (0..size).map(|n| n % 5 + 1).sum::<usize>());
            }
        });
    }

    /// Fault 4: beside one that wakes itself for ever, its siblings and its caller go on.
    #[test]
    fn task_that_wakes_itself_for_ever_starves_no_other() {
        watched(|| {
            let group = InPlaceGroup::<usize>::new(&Context::background());
            group.spawn(async {
                yields(usize::MAX).await;
                Ok::<_, Infallible>(0)
            });
            group.spawn(async {
                yields(1_000).await;
                Err("refused")
            });
            let error = futures::executor::block_on(group.wait()).unwrap_err();
            assert_eq!(error.to_string(), "task 1: refused");
        });
    }

    /// Fault 4: a poll of the group returns to its executor, though a task always has something to do.
    #[test]
    fn one_poll_of_the_group_is_bounded() {
        watched(|| {
            for size in [1, 2, 64, 65, 1_000] {
                let polls = Count::default();
                let group = InPlaceGroup::<()>::new(&Context::background());
                for _ in 0..size {
                    group.spawn(counted(&polls, async {
                        yields(usize::MAX).await;
                        Ok::<_, Infallible>(())
                    }));
                }
                let mut wait = Polled::new(group.wait());
                assert!(wait.is_pending() && wait.is_woken());
                assert!(
                    polls.get() <= 4 * size.max(256),
                    "{} polls of {size}",
                    polls.get()
                );
            }
        });
    }
}

/// Fault 20: in place, 65 waiters on `ready` woke each other for ever.
mod crowd_of_waiters {
    use super::*;

    /// Polls woken tasks until there are none, and drops those that are through; returns how many polls that took.
    fn settle(waits: &mut Vec<Polled<'_, ()>>, bound: usize) -> usize {
        let mut polls = 0;
        loop {
            let before = polls;
            waits.retain_mut(|wait| {
                if !wait.is_woken() {
                    return true;
                }
                polls += 1;
                assert!(polls <= bound, "they wake each other for ever");
                wait.is_pending()
            });
            if polls == before {
                return polls;
            }
        }
    }

    /// Fault 20: they come to rest, for any size.
    #[test]
    fn waiters_for_a_place_in_place_come_to_rest() {
        watched(|| {
            for size in [1, 2, 32, 63, 64, 65, 66, 100, 129, 257] {
                let group = InPlaceGroup::<()>::new(&Context::background()).with_limit(at_most(1));
                group.spawn(pending::<Result<_, Infallible>>());
                let mut waits: Vec<_> = (0..size)
                    .map(|_| Polled::new(async { drop(group.ready().await) }))
                    .collect();
                waits.iter_mut().for_each(|wait| assert!(wait.is_pending()));
                settle(&mut waits, 4 * size);
                group.stop();
                settle(&mut waits, 4 * size);
                assert_eq!(waits.len(), 0, "{size}: some were not woken at the end");
            }
        });
    }

    /// Fault 20: on an executor.
    #[test]
    fn waiters_for_a_place_on_an_executor_come_to_rest() {
        watched(|| {
            for size in [1, 64, 65, 257] {
                let executor = Executor::new();
                let group = Group::<()>::new(executor.spawner()).with_limit(at_most(1));
                group.spawn(pending::<Result<_, Infallible>>());
                executor.run();
                let mut waits: Vec<_> = (0..size)
                    .map(|_| Polled::new(async { drop(group.ready().await) }))
                    .collect();
                waits.iter_mut().for_each(|wait| assert!(wait.is_pending()));
                settle(&mut waits, size);
                group.stop();
                executor.run();
                settle(&mut waits, 4 * size);
                assert_eq!(waits.len(), 0, "{size}: some were not woken at the end");
            }
        });
    }

    /// Fault 20: the same where one task polls all of them.
    #[test]
    fn crowd_in_one_task_comes_to_rest() {
        watched(|| {
            for size in [64, 65, 257] {
                let group = InPlaceGroup::<()>::new(&Context::background()).with_limit(at_most(1));
                group.spawn(pending::<Result<_, Infallible>>());
                let polls = Count::default();
                let crowd: futures::stream::FuturesUnordered<_> =
                    (0..size).map(|_| counted(&polls, group.ready())).collect();
                let mut all = Polled::new(crowd.for_each(|_| async {}));
                assert!(all.is_pending());
                for _ in 0..100 {
                    if all.is_woken() {
                        assert!(all.is_pending());
                    }
                }
                assert!(
                    polls.get() <= 4 * size,
                    "{} polls of {size} waiters",
                    polls.get()
                );
            }
        });
    }

    /// Fault 20's kind: waiters for the end of one context, polled again and again, wake no task.
    #[test]
    fn waiters_for_one_end_come_to_rest() {
        watched(|| {
            for size in [1, 64, 65, 257] {
                let (ctx, canceller) = Context::background().with_cancel();
                let mut waits: Vec<_> = (0..size).map(|_| Polled::new(ctx.done())).collect();
                for _ in 0..3 {
                    waits.iter_mut().for_each(|wait| assert!(wait.is_pending()));
                }
                assert_eq!(settle(&mut waits, 0), 0);
                canceller.cancel();
                assert_eq!(settle(&mut waits, size), size);
                assert_eq!(waits.len(), 0);
            }
        });
    }
}
