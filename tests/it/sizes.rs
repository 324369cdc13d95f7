//! Sizes around every threshold: 0 to 3, 12 and 13, 29 to 33, 63 to 65, 127 to 129, 255 to 257, 1,000, 4,096, and
//! one of 100,000; in place and on several executors. Every check is exact, and linear by counts, never by time.

use crate::executor::{Executor, Living, LocalExecutor, Polled, watched};
use crate::faults::tools::{HOSTS, HOUR, SIZES, counted, yields};
use crate::support::{Count, OnDrop, SECOND, at_most, counting, manual, poll};
use failfast::clock::Clock;
use failfast::{Context, Ending, ErrorKind, Group, InPlaceGroup, LocalGroup, LocalInPlaceGroup};
use futures::StreamExt;
use futures::executor::block_on;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The one size that is beyond every table, block and budget.
const HUGE: usize = 100_000;

/// The sizes for executors with threads.
fn sizes() -> impl Iterator<Item = usize> {
    SIZES.iter().copied().filter(|size| *size <= 1_000)
}

/// A task that yields up to three times, the later ones less often than the earlier.
async fn work(n: usize) -> Result<usize, Infallible> {
    yields(3 - n % 4).await;
    Ok(n)
}

/// How many polls `work` takes for the numbers below `size`.
fn polls_of_work(size: usize) -> usize {
    (0..size).map(|n| 4 - n % 4).sum()
}

mod tasks {
    use super::*;

    #[test]
    fn wait_in_place_gives_all_in_order_with_exact_polls() {
        watched(|| {
            for &size in SIZES.iter().chain([&HUGE]) {
                let polls = Count::default();
                let group = InPlaceGroup::new(&Context::background());
                (0..size).for_each(|n| group.spawn(counted(&polls, work(n))));
                assert!(
                    block_on(group.wait()).unwrap().into_iter().eq(0..size),
                    "{size}"
                );
                assert_eq!(polls.get(), polls_of_work(size));
            }
        });
    }

    #[test]
    fn wait_by_hand_gives_all_in_order_with_exact_polls_and_wakes() {
        watched(|| {
            for size in SIZES.iter().copied().filter(|size| *size <= 257) {
                let executor = Executor::new();
                let group = Group::new(executor.spawner());
                (0..size).for_each(|n| group.spawn(work(n)));
                let mut wait = Polled::new(group.wait());
                if size > 0 {
                    assert!(wait.is_pending());
                }
                executor.run();
                assert!(wait.wakes() <= 1, "{size}: woken {} times", wait.wakes());
                assert!(wait.ready().unwrap().into_iter().eq(0..size), "{size}");
                assert_eq!(
                    (0..size).map(|n| executor.polls(n)).sum::<usize>(),
                    polls_of_work(size)
                );
            }
        });
    }

    #[test]
    fn wait_on_executors_gives_all_in_order() {
        for host in HOSTS {
            watched(move || {
                for size in sizes() {
                    let group = Group::new(host.spawn);
                    (0..size).for_each(|n| group.spawn(work(n)));
                    let all = block_on(group.wait()).unwrap();
                    assert!(all.into_iter().eq(0..size), "{}, {size}", host.name);
                }
            });
        }
    }

    #[test]
    fn huge_number_on_an_executor() {
        watched(|| {
            let group = Group::new(smol::spawn);
            (0..HUGE).for_each(|n| group.spawn(async move { Ok::<_, Infallible>(n) }));
            assert!(block_on(group.wait()).unwrap().into_iter().eq(0..HUGE));
        });
    }

    #[test]
    fn local_groups_give_all_in_order() {
        watched(|| {
            for size in SIZES.iter().copied().filter(|size| *size <= 257) {
                let executor = LocalExecutor::new();
                let group = LocalGroup::new(executor.spawner());
                let in_place = LocalInPlaceGroup::new(&Context::background());
                for n in 0..size {
                    let value = Rc::new(n);
                    let shared = value.clone();
                    group.spawn(async move {
                        yields(n % 3).await;
                        Ok::<_, Infallible>(value)
                    });
                    in_place.spawn(async move {
                        yields(n % 3).await;
                        Ok::<_, Infallible>(shared)
                    });
                }
                let all = executor.drive(group.wait()).unwrap();
                assert!(all.iter().map(|n| **n).eq(0..size), "{size}");
                assert_eq!(block_on(in_place.wait()).unwrap(), all);
            }
        });
    }

    #[test]
    fn next_gives_each_once() {
        watched(|| {
            for &size in SIZES {
                let mut group = InPlaceGroup::new(&Context::background());
                (0..size).for_each(|n| group.spawn(work(n)));
                let mut seen = vec![false; size];
                while let Some(result) = block_on(group.next()) {
                    assert!(
                        !std::mem::replace(&mut seen[result.unwrap()], true),
                        "given twice"
                    );
                }
                assert!(seen.into_iter().all(|seen| seen), "{size}: one is missing");
            }
        });
    }

    #[test]
    fn next_on_executors_gives_each_once() {
        for host in HOSTS {
            watched(move || {
                for size in sizes() {
                    let mut group = Group::new(host.spawn);
                    (0..size).for_each(|n| group.spawn(work(n)));
                    let mut taken: Vec<_> = block_on((&mut group).map(Result::unwrap).collect());
                    taken.sort_unstable();
                    assert!(taken.into_iter().eq(0..size), "{}, {size}", host.name);
                }
            });
        }
    }

    #[test]
    fn group_that_is_dropped_drops_each_once() {
        watched(|| {
            for &size in SIZES.iter().chain([&HUGE]) {
                let dropped = Count::default();
                let group = InPlaceGroup::<()>::new(&Context::background());
                for _ in 0..size {
                    let guard = OnDrop(dropped.clone());
                    group.spawn(async move {
                        pending::<()>().await;
                        drop(guard);
                        Ok::<_, Infallible>(())
                    });
                }
                let mut wait = Box::pin(group.wait());
                if size > 0 {
                    assert!(crate::faults::tools::poll_once(wait.as_mut()).is_pending());
                }
                drop(wait);
                assert_eq!(dropped.get(), size);
            }
        });
    }

    #[test]
    fn failure_among_many_wakes_each_of_the_others_once() {
        watched(|| {
            for size in SIZES.iter().copied().filter(|size| *size <= 257) {
                let executor = Executor::new();
                let group = Group::<()>::new(executor.spawner());
                (0..size).for_each(|_| group.spawn(pending::<Result<_, Infallible>>()));
                executor.run();
                group.spawn_named("bad", async { Err("refused") });
                let error = executor.drive(group.wait()).unwrap_err();
                assert_eq!(error.to_string(), "bad: refused");
                assert!(
                    (0..size).all(|n| (executor.wakes(n), executor.polls(n)) == (1, 2)),
                    "{size}"
                );
            }
        });
    }

    #[test]
    fn outcomes_are_complete() {
        for host in HOSTS {
            watched(move || {
                for size in sizes() {
                    let group = Group::new(host.spawn).with_ending(Ending::Settle);
                    for n in 0..size {
                        group.spawn(async move {
                            yields(n % 3).await;
                            if n % 3 == 1 { Err("refused") } else { Ok(n) }
                        });
                    }
                    let told = block_on(group.outcomes()).unwrap();
                    assert_eq!(told.len(), size);
                    for (n, (name, outcome)) in told.into_iter().enumerate() {
                        assert_eq!(name, format!("task {n}").as_str());
                        assert_eq!(outcome.ok(), (n % 3 != 1).then_some(n));
                    }
                }
            });
        }
    }
}

mod limits {
    use super::*;

    /// How many are inside at once, and the most there ever were.
    #[derive(Clone, Default)]
    struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);

    impl Gauge {
        fn enter(&self) {
            let now = self.0.0.fetch_add(1, SeqCst) + 1;
            self.0.1.fetch_max(now, SeqCst);
        }

        fn leave(&self) {
            self.0.0.fetch_sub(1, SeqCst);
        }

        fn most(&self) -> usize {
            self.0.1.load(SeqCst)
        }
    }

    fn inside(
        gauge: &Gauge,
        n: usize,
    ) -> impl Future<Output = Result<usize, Infallible>> + Send + use<> {
        let gauge = gauge.clone();
        async move {
            gauge.enter();
            yields(2).await;
            gauge.leave();
            Ok(n)
        }
    }

    #[test]
    fn in_place_exactly_so_many_run_at_once() {
        watched(|| {
            for limit in SIZES.iter().copied().filter(|limit| *limit > 0) {
                for size in [0, 1, limit - 1, limit, limit + 1, 2 * limit] {
                    let gauge = Gauge::default();
                    let group =
                        InPlaceGroup::new(&Context::background()).with_limit(at_most(limit));
                    (0..size).for_each(|n| group.spawn(inside(&gauge, n)));
                    assert!(block_on(group.wait()).unwrap().into_iter().eq(0..size));
                    assert_eq!(gauge.most(), size.min(limit), "{size} tasks, limit {limit}");
                }
            }
        });
    }

    #[test]
    fn on_executors_no_more_run_at_once() {
        for host in HOSTS {
            watched(move || {
                for limit in [1, 2, 3, 31, 64, 65, 257] {
                    let gauge = Gauge::default();
                    let group = Group::new(host.spawn).with_limit(at_most(limit));
                    (0..600).for_each(|n| group.spawn(inside(&gauge, n)));
                    assert!(block_on(group.wait()).unwrap().into_iter().eq(0..600));
                    assert!(
                        gauge.most() <= limit,
                        "{}: {} at {limit}",
                        host.name,
                        gauge.most()
                    );
                }
            });
        }
    }

    #[test]
    fn huge_queue_at_a_limit_of_one() {
        watched(|| {
            let polls = Count::default();
            let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(1));
            for n in 0..HUGE {
                group.spawn(counted(&polls, async move { Ok::<_, Infallible>(n) }));
            }
            assert!(block_on(group.wait()).unwrap().into_iter().eq(0..HUGE));
            assert_eq!(polls.get(), HUGE);
        });
    }

    #[test]
    fn map_takes_every_item_and_keeps_the_limit() {
        watched(|| {
            for &size in SIZES {
                for limit in [1, 2, 33] {
                    let gauge = Gauge::default();
                    let group =
                        InPlaceGroup::new(&Context::background()).with_limit(at_most(limit));
                    let all = block_on(group.try_map(0..size, |n| inside(&gauge, n))).unwrap();
                    assert!(all.into_iter().eq(0..size));
                    assert!(gauge.most() <= limit, "{} at {limit}", gauge.most());
                }
            }
        });
    }

    #[test]
    fn map_starts_as_many_as_the_limit_lets() {
        watched(|| {
            for limit in [1, 2, 3, 31, 33, 65] {
                let entered = Count::default();
                let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(limit));
                // Each waits until as many as the limit are inside: it ends only if they are at once.
                let together = |n: usize| {
                    let entered = entered.clone();
                    async move {
                        entered.add();
                        let round = (n / limit + 1) * limit;
                        while entered.get() < round {
                            yields(1).await;
                        }
                        Ok::<_, Infallible>(n)
                    }
                };
                let all = block_on(group.try_map(0..4 * limit, together)).unwrap();
                assert!(all.into_iter().eq(0..4 * limit));
            }
        });
    }

    #[test]
    fn try_spawn_is_refused_from_the_limit_on() {
        watched(|| {
            for limit in SIZES.iter().copied().filter(|limit| *limit > 0) {
                let group =
                    InPlaceGroup::<()>::new(&Context::background()).with_limit(at_most(limit));
                let stuck = pending::<Result<(), Infallible>>;
                let accepted = (0..limit + 3)
                    .filter(|_| group.try_spawn(stuck()).is_ok())
                    .count();
                assert_eq!(accepted, limit);
            }
        });
    }
}

mod quorums {
    use super::*;

    #[test]
    fn exactly_so_many_results_are_given() {
        watched(|| {
            for quorum in SIZES.iter().copied().filter(|quorum| *quorum > 0) {
                let group = InPlaceGroup::new(&Context::background())
                    .with_ending(Ending::Quorum(at_most(quorum)));
                (0..quorum + 3).for_each(|n| group.spawn(work(n)));
                let results = block_on(group.wait()).unwrap();
                assert_eq!(results.len(), quorum);
                assert!(
                    results.is_sorted_by(|a, b| a < b),
                    "not in the order of spawning"
                );
            }
        });
    }

    #[test]
    fn quorum_is_out_of_reach_by_one() {
        watched(|| {
            for quorum in SIZES.iter().copied().filter(|quorum| *quorum > 1) {
                let group = InPlaceGroup::new(&Context::background())
                    .with_ending(Ending::Quorum(at_most(quorum)));
                for n in 0..quorum {
                    group.spawn(async move {
                        if n == quorum / 2 {
                            Err("refused")
                        } else {
                            Ok(n)
                        }
                    });
                }
                let error = block_on(group.wait()).unwrap_err();
                assert!(
                    matches!(error.kind(), ErrorKind::Quorum | ErrorKind::Task),
                    "{quorum}: {error}"
                );
            }
        });
    }

    #[test]
    fn quorums_on_executors() {
        for host in HOSTS {
            watched(move || {
                for quorum in sizes().filter(|quorum| *quorum > 0) {
                    let group = Group::new(host.spawn).with_ending(Ending::Quorum(at_most(quorum)));
                    (0..quorum + 3).for_each(|n| group.spawn(work(n)));
                    assert_eq!(
                        block_on(group.wait()).unwrap().len(),
                        quorum,
                        "{}",
                        host.name
                    );
                }
            });
        }
    }
}

mod contexts {
    use super::*;

    #[test]
    fn link_ends_with_any_of_its_sources() {
        watched(|| {
            for &size in SIZES {
                for which in [0, size / 2, size.saturating_sub(1)] {
                    let sources: Vec<_> = (0..size)
                        .map(|_| Context::background().with_cancel())
                        .collect();
                    let linked = Context::linked(sources.iter().map(|(source, _)| source.clone()));
                    let (woken, waker) = counting();
                    let mut done = linked.done();
                    assert!(poll(&mut done, &waker).is_pending() && !linked.is_done());
                    if size == 0 {
                        continue;
                    }
                    sources[which].1.cancel_with(format!("c{which}"));
                    assert!(linked.is_done() && poll(&mut done, &waker).is_ready());
                    assert_eq!(linked.cause().unwrap().to_string(), format!("c{which}"));
                    sources.iter().for_each(|(_, canceller)| canceller.cancel());
                    assert_eq!(woken.get(), 1, "{size}, {which}");
                }
            }
        });
    }

    #[test]
    fn link_ends_with_the_earliest_of_its_deadlines() {
        watched(|| {
            for size in SIZES.iter().copied().filter(|size| *size > 0) {
                let (clock, ctx) = manual();
                let sources = (0..size)
                    .map(|n| ctx.with_timeout(SECOND * (1 + (n + size / 2) % size) as u32));
                let linked = Context::linked(sources.collect::<Vec<_>>());
                assert_eq!(linked.deadline(), Some(clock.now() + SECOND));
                let (woken, waker) = counting();
                let mut done = linked.done();
                assert!(poll(&mut done, &waker).is_pending());
                clock.advance(SECOND);
                assert_eq!(
                    (linked.is_done(), woken.get(), clock.armed()),
                    (true, 1, 0),
                    "{size}"
                );
            }
        });
    }

    #[test]
    fn every_depth_is_ended_by_the_top() {
        watched(|| {
            for &depth in SIZES.iter().chain([&HUGE]) {
                let (top, canceller) = Context::background().with_cancel();
                let mut chain = vec![top];
                for level in 0..depth {
                    let (below, disarmed) = chain[level].with_cancel();
                    disarmed.disarm();
                    chain.push(below);
                }
                let (woken, waker) = counting();
                let mut done = chain[depth].done();
                assert!(poll(&mut done, &waker).is_pending());
                canceller.cancel_with("over");
                assert!(chain.iter().all(Context::is_done), "{depth}");
                assert_eq!(chain[depth].cause().unwrap().to_string(), "over");
                assert_eq!(woken.get(), 1);
            }
        });
    }

    #[test]
    fn every_width_is_ended_by_the_parent() {
        watched(|| {
            for &width in SIZES.iter().chain([&HUGE]) {
                let (parent, canceller) = Context::background().with_cancel();
                let called = Count::default();
                let children: Vec<_> = (0..width)
                    .map(|_| {
                        let (child, disarmed) = parent.with_cancel();
                        disarmed.disarm();
                        let _ = child.on_done(called.adder());
                        child
                    })
                    .collect();
                canceller.cancel();
                assert!(children.iter().all(Context::is_done), "{width}");
                assert_eq!(called.get(), width);
            }
        });
    }

    #[test]
    fn every_waiter_is_woken_once() {
        watched(|| {
            for &size in SIZES.iter().chain([&HUGE]) {
                let (ctx, canceller) = Context::background().with_cancel();
                let (woken, waker) = counting();
                let mut waits: Vec<_> = (0..size).map(|_| ctx.done()).collect();
                waits
                    .iter_mut()
                    .for_each(|done| assert!(poll(done, &waker).is_pending()));
                // Every third goes before the end.
                let mut n = 0;
                waits.retain(|_| {
                    n += 1;
                    n % 3 != 0
                });
                canceller.cancel();
                assert_eq!(woken.get(), waits.len(), "{size}");
                waits
                    .iter_mut()
                    .for_each(|done| assert!(poll(done, &waker).is_ready()));
            }
        });
    }

    #[test]
    fn every_callback_is_called_once_unless_it_was_stopped() {
        watched(|| {
            for &size in SIZES.iter().chain([&HUGE]) {
                let (ctx, canceller) = Context::background().with_cancel();
                let called = Count::default();
                let callbacks: Vec<_> = (0..size).map(|_| ctx.on_done(called.adder())).collect();
                let stopped = callbacks
                    .iter()
                    .step_by(3)
                    .filter(|callback| callback.stop())
                    .count();
                canceller.cancel();
                assert_eq!(called.get(), size - stopped, "{size}");
                assert!(callbacks.iter().all(|callback| !callback.stop()));
            }
        });
    }

    #[test]
    fn every_deadline_of_one_moment_fires_once() {
        watched(|| {
            for &size in SIZES {
                let (clock, ctx) = manual();
                let called = Count::default();
                let at = clock.now() + SECOND;
                let timed: Vec<_> = (0..size).map(|_| ctx.with_deadline(at)).collect();
                timed
                    .iter()
                    .for_each(|ctx| drop(ctx.on_done(called.adder())));
                clock.advance(SECOND);
                assert_eq!((called.get(), clock.armed()), (size, 0), "{size}");
            }
        });
    }

    #[test]
    fn every_sleep_of_a_manual_clock_is_woken_at_its_time() {
        watched(|| {
            for &size in SIZES {
                let (clock, _) = manual();
                let (woken, waker) = counting();
                let begin = clock.now();
                let mut sleeps: Vec<_> = (0..size)
                    .map(|n| clock.sleep_until(begin + SECOND * (n % 7 + 1) as u32))
                    .collect();
                sleeps
                    .iter_mut()
                    .for_each(|sleep| assert!(poll(sleep, &waker).is_pending()));
                for second in 1..=7 {
                    clock.advance(SECOND);
                    assert_eq!(woken.get(), (0..size).filter(|n| n % 7 < second).count());
                }
            }
        });
    }

    #[test]
    fn every_value_of_a_chain_is_found() {
        watched(|| {
            struct Deep(usize);
            for &size in SIZES {
                let mut ctx = Context::background().with_value(Deep(size));
                for n in 0..size {
                    ctx = ctx.with_value(n);
                }
                assert_eq!(ctx.value::<Deep>().map(|deep| deep.0), Some(size));
                assert_eq!(ctx.value::<usize>().copied(), size.checked_sub(1));
            }
        });
    }
}

mod waiters_for_a_place {
    use super::*;

    #[test]
    fn each_gets_through_with_a_bounded_number_of_polls() {
        watched(|| {
            for size in SIZES.iter().copied().filter(|size| *size <= 1_000) {
                let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(1));
                let (polls, through) = (Count::default(), Count::default());
                let (line, passed) = (&group, &through);
                let crowd: futures::stream::FuturesUnordered<_> = (0..size)
                    .map(|n| {
                        let one = async move {
                            line.ready().await.unwrap();
                            line.spawn(async move { Ok::<_, Infallible>(n) });
                            passed.add();
                        };
                        counted(&polls, one)
                    })
                    .collect();
                let drain = crowd.for_each(|()| async {});
                block_on(drain);
                assert_eq!(through.get(), size);
                assert!(
                    polls.get() <= 8 * size,
                    "{} polls of {size} waiters",
                    polls.get()
                );
                let mut all = block_on(group.wait()).unwrap();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..size));
            }
        });
    }

    #[test]
    fn end_wakes_each_once() {
        watched(|| {
            for &size in SIZES {
                let group =
                    Group::<()>::new(std::mem::forget::<failfast::Task>).with_limit(at_most(1));
                group.spawn(pending::<Result<_, Infallible>>());
                let mut waits: Vec<_> = (0..size).map(|_| Polled::new(group.ready())).collect();
                waits.iter_mut().for_each(|wait| assert!(wait.is_pending()));
                group.stop();
                for wait in &mut waits {
                    assert_eq!(wait.wakes(), 1, "{size}");
                    assert!(wait.ready().is_err());
                }
            }
        });
    }
}

mod forks {
    use super::*;

    #[test]
    fn body_in_place_gets_all() {
        watched(|| {
            for &size in SIZES {
                let group = InPlaceGroup::<()>::new(&Context::background());
                let forks: Vec<_> = (0..size)
                    .map(|n| group.fork(format!("f{n}"), work(n)))
                    .collect();
                let body = async { Ok(futures::future::try_join_all(forks).await?) };
                assert!(
                    block_on(group.run(body)).unwrap().into_iter().eq(0..size),
                    "{size}"
                );
            }
        });
    }

    #[test]
    fn body_on_executors_gets_all() {
        for host in HOSTS {
            watched(move || {
                for size in sizes() {
                    let group = Group::<()>::new(host.spawn);
                    let forks: Vec<_> = (0..size)
                        .map(|n| group.fork(format!("f{n}"), work(n)))
                        .collect();
                    let body = async { Ok(futures::future::try_join_all(forks).await?) };
                    let all = block_on(group.run(body)).unwrap();
                    assert!(all.into_iter().eq(0..size), "{}, {size}", host.name);
                }
            });
        }
    }

    #[test]
    fn task_at_a_limit_of_one_awaits_all_its_forks() {
        watched(|| {
            for size in SIZES.iter().copied().filter(|size| *size <= 257) {
                let executor = Executor::new();
                let group = Group::new(executor.spawner()).with_limit(at_most(1));
                let handle = group.handle();
                group.spawn(async move {
                    let forks = (0..size).map(|n| handle.fork(format!("f{n}"), work(n)));
                    let all = futures::future::try_join_all(forks.collect::<Vec<_>>()).await?;
                    Ok::<_, failfast::Error>(all.into_iter().sum::<usize>())
                });
                assert_eq!(
                    executor.drive(group.wait()).unwrap(),
                    [(0..size).sum::<usize>()]
                );
            }
        });
    }

    #[test]
    fn those_that_are_cancelled_fail_no_group() {
        watched(|| {
            for &size in SIZES {
                let group = InPlaceGroup::<()>::new(&Context::background());
                let living = Living::default();
                let forks: Vec<_> = (0..size)
                    .map(|n| {
                        let life = living.one();
                        group.fork(format!("f{n}"), async move {
                            yields(n % 3).await;
                            Ok::<_, Infallible>(life)
                        })
                    })
                    .collect();
                forks.iter().step_by(2).for_each(failfast::Fork::cancel);
                assert!(block_on(group.wait()).is_ok());
                for (n, fork) in forks.into_iter().enumerate() {
                    match block_on(fork) {
                        Ok(life) => assert_eq!((n % 2, life.count() > 0), (1, true)),
                        Err(error) => assert_eq!((n % 2, error.kind()), (0, ErrorKind::Canceled)),
                    }
                }
                assert_eq!(living.count(), 0);
            }
        });
    }
}

mod ordered {
    use super::*;

    #[test]
    fn results_in_place_are_in_order_and_no_further_ahead_than_the_limit() {
        watched(|| {
            for &size in SIZES {
                for limit in [1, 2, 7, 31, 65] {
                    let taken = Count::default();
                    let count = taken.clone();
                    let items = (0..size).inspect(move |_| count.add());
                    let group =
                        InPlaceGroup::new(&Context::background()).with_limit(at_most(limit));
                    let mut stream = group.ordered(items, work);
                    let mut given = 0;
                    while let Some(result) = block_on(stream.next()) {
                        assert_eq!(result.unwrap(), given);
                        given += 1;
                        assert!(
                            taken.get() <= given + limit,
                            "{} taken, {given} given",
                            taken.get()
                        );
                    }
                    assert_eq!(given, size);
                }
            }
        });
    }

    #[test]
    fn results_on_executors_are_in_order() {
        for host in HOSTS {
            watched(move || {
                for size in sizes() {
                    let group = Group::new(host.spawn).with_limit(at_most(7));
                    let all: Vec<_> =
                        block_on(group.ordered(0..size, work).map(Result::unwrap).collect());
                    assert!(all.into_iter().eq(0..size), "{}, {size}", host.name);
                }
            });
        }
    }

    #[test]
    fn failure_is_the_last_item_wherever_it_stands() {
        watched(|| {
            for size in [1, 2, 3, 31, 65, 257] {
                for bad in [0, size / 2, size - 1] {
                    let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(3));
                    let item = move |n: usize| async move {
                        yields(n % 3).await;
                        if n == bad { Err("refused") } else { Ok(n) }
                    };
                    let told: Vec<_> = block_on(group.ordered(0..size, item).collect());
                    let failed = told.iter().filter(|result| result.is_err()).count();
                    assert_eq!(failed, 1, "{size}, {bad}");
                    assert!(told.last().unwrap().is_err() && told.len() <= bad + 1);
                }
            }
        });
    }
}

mod nesting {
    use super::*;

    /// A group below a group, so many levels deep.
    fn nested(
        ctx: Context,
        depth: usize,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<usize, failfast::Error>> + Send>> {
        Box::pin(async move {
            if depth == 0 {
                return Ok(0);
            }
            let group = InPlaceGroup::new(&ctx);
            group.spawn(nested(group.context().clone(), depth - 1));
            Ok(group.wait().await?[0] + 1)
        })
    }

    #[test]
    fn groups_in_place_nest_to_any_depth_that_the_stack_holds() {
        watched(|| {
            for depth in [0, 1, 2, 3, 12, 13, 31, 33, 64] {
                assert_eq!(
                    block_on(nested(Context::background(), depth)).unwrap(),
                    depth
                );
            }
        });
    }

    #[test]
    fn deadline_of_the_outermost_ends_every_level() {
        watched(|| {
            for depth in [1, 2, 31, 65] {
                let (clock, ctx) = manual();
                let top = ctx.with_timeout(HOUR);
                let mut groups = Vec::new();
                let mut ctx = top;
                for _ in 0..depth {
                    let executor = Executor::new();
                    let (group, below) = Group::<()>::with_context(&ctx, executor.spawner());
                    group.spawn(pending::<Result<_, Infallible>>());
                    executor.run();
                    groups.push((group, executor));
                    ctx = below;
                }
                clock.advance(HOUR);
                for (group, executor) in groups {
                    let error = executor.drive(group.wait()).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                }
            }
        });
    }
}
