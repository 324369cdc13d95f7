//! Lists of sources of any size, on every executor: each is answered, fails, or ends at its deadline.

use super::tools::{HOSTS, Host, SIZES, yields};
use crate::executor::{Polled, watched};
use crate::support::{Count, SECOND, at_most, manual};
use failfast::clock::{Clock, ManualClock};
use failfast::{Aggregator, Context, Ending, ErrorKind, Group, InPlaceGroup, Name};
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::{BoxFuture, try_join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll, Wake, Waker};

type Answer = Result<usize, String>;
type Answers = Aggregator<usize, Vec<usize>>;

/// The sizes for tests that run on every executor.
fn sizes() -> impl Iterator<Item = usize> {
    SIZES.iter().copied().filter(|size| *size <= 1_000)
}

fn hosts() -> impl Iterator<Item = (&'static str, Aggregator<usize, ()>)> {
    let on = |host: &'static Host| (host.name, Aggregator::new(host.spawn));
    std::iter::once(("in place", Aggregator::in_place())).chain(HOSTS.iter().map(on))
}

/// `count` sources, each of which does what `act` returns for its number.
fn list<F>(
    host: Aggregator<usize, ()>,
    count: usize,
    act: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
) -> Answers
where
    F: Future<Output = Answer> + Send + 'static,
{
    host.with_timeout(super::tools::HOUR)
        .sources((0..count).map(move |n| {
            let act = act.clone();
            let source = move |_: Context, request: usize| {
                act(n).map(move |r| Ok::<_, String>(r? + request))
            };
            (format!("s{n}"), source)
        }))
}

mod every_size {
    use super::*;

    /// Fault 1: 31 sources or more hung, because an answer registered no waker and `try_join_all` polls only
    /// what was woken above 30.
    #[test]
    fn sources_answer_at_once() {
        for (name, host) in hosts() {
            watched(move || {
                for size in sizes() {
                    let all = list(host.clone(), size, |n| async move { Ok(n) });
                    let answers = block_on(all.aggregate(&Context::background(), 5)).unwrap();
                    assert!(answers.into_iter().eq(5..size + 5), "{name}, {size}");
                }
            });
        }
    }

    /// Fault 1: the same where each source waits before it answers, and the last may be the first.
    #[test]
    fn sources_answer_after_some_yields() {
        for (name, host) in hosts() {
            watched(move || {
                for size in sizes() {
                    let slow = move |n: usize| async move {
                        yields((size - n) % 4).await;
                        Ok(n)
                    };
                    let all = list(host.clone(), size, slow);
                    let answers = block_on(all.aggregate(&Context::background(), 0)).unwrap();
                    assert!(answers.into_iter().eq(0..size), "{name}, {size}");
                }
            });
        }
    }

    /// Fault 1: the failure of any one of a list ends it, wherever it stands.
    #[test]
    fn one_source_fails() {
        for (name, host) in hosts() {
            watched(move || {
                for size in sizes().filter(|size| *size > 0) {
                    for bad in [0, size / 2, size - 1] {
                        let act = move |n: usize| async move {
                            yields(2).await;
                            if n == bad {
                                return Err("refused".to_owned());
                            }
                            pending().await
                        };
                        let all = list(host.clone(), size, act);
                        let error = block_on(all.aggregate(&Context::background(), 0)).unwrap_err();
                        let expected = format!("s{bad}: refused");
                        assert_eq!(error.to_string(), expected, "{name}, {size}");
                    }
                }
            });
        }
    }

    /// Fault 1: the deadline ended a list of more than 30 no more than an answer did.
    #[test]
    fn deadline_passes() {
        for (name, host) in hosts() {
            watched(move || {
                for size in sizes().filter(|size| *size > 0) {
                    let (clock, ctx) = manual();
                    let stuck = list(host.clone(), size, |_| pending()).with_timeout(SECOND);
                    let error = until_deadline(&clock, stuck.aggregate(&ctx, 0)).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{name}, {size}");
                    assert_eq!(error.pending().len(), size, "{name}, {size}");
                }
            });
        }
    }

    /// Polls until it waits, advances the time to the deadline, and waits for the end.
    fn until_deadline<O>(clock: &ManualClock, future: impl Future<Output = O>) -> O {
        let mut future = Box::pin(future);
        block_on(poll_fn(|cx| {
            let poll = future.as_mut().poll(cx);
            if poll.is_pending() {
                clock.advance(SECOND);
            }
            poll
        }))
    }

    /// Fault 1: the caller's cancellation.
    #[test]
    fn caller_cancels() {
        for (name, host) in hosts() {
            watched(move || {
                for size in sizes().filter(|size| *size > 0) {
                    let (ctx, canceller) = Context::background().with_cancel();
                    let stuck = list(host.clone(), size, |_| pending());
                    let mut waiting = Box::pin(stuck.aggregate(&ctx, 0));
                    assert!(super::super::tools::poll_once(waiting.as_mut()).is_pending());
                    canceller.cancel();
                    let error = block_on(waiting).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Canceled, "{name}, {size}");
                }
            });
        }
    }

    /// Fault 1: a source in place is polled when it was woken, and only then.
    #[test]
    fn each_source_is_polled_once_for_each_wake() {
        watched(|| {
            for &size in SIZES {
                let polls = Count::default();
                let count = polls.clone();
                let thrice = move |n: usize| {
                    super::super::tools::counted(&count, async move {
                        yields(3).await;
                        Ok(n)
                    })
                };
                let all = list(Aggregator::in_place(), size, thrice);
                let answers = block_on(all.aggregate(&Context::background(), 0)).unwrap();
                assert_eq!((answers.len(), polls.get()), (size, 4 * size));
            }
        });
    }

    /// Fault 1: under a limit, in place and on executors.
    #[test]
    fn limit_is_kept_for_a_list() {
        for (name, host) in hosts() {
            watched(move || {
                for size in [29, 30, 31, 32, 33, 65, 257] {
                    let slow = |n: usize| async move {
                        yields(n % 3).await;
                        Ok(n)
                    };
                    let all = list(host.clone(), size, slow).with_limit(at_most(7));
                    let answers = block_on(all.aggregate(&Context::background(), 0)).unwrap();
                    assert!(answers.into_iter().eq(0..size), "{name}, {size}");
                }
            });
        }
    }

    /// Fault 1: every source of a settled list is in the result, whether it failed or not.
    #[test]
    fn settled_list_holds_every_outcome() {
        for (name, host) in hosts() {
            watched(move || {
                for size in sizes() {
                    let odd = |n: usize| async move {
                        yields(n % 2).await;
                        if n % 2 == 1 {
                            Err("odd".to_owned())
                        } else {
                            Ok(n)
                        }
                    };
                    let all = list(host.clone(), size, odd).settled();
                    let told = block_on(all.aggregate(&Context::background(), 0)).unwrap();
                    let failed: Vec<_> = told.iter().map(|outcome| outcome.is_err()).collect();
                    assert!(
                        failed.into_iter().eq((0..size).map(|n| n % 2 == 1)),
                        "{name}, {size}"
                    );
                }
            });
        }
    }

    /// Fault 1: lists below lists, each longer than 30.
    #[test]
    fn lists_nest() {
        for (name, host) in hosts() {
            watched(move || {
                let inner = list(host.clone(), 33, |n| async move {
                    yields(n % 3).await;
                    Ok(n)
                });
                let sum = inner.map(|answers| answers.into_iter().sum::<usize>());
                let outer = host.sources((0..33).map(|n| (format!("o{n}"), sum.clone())));
                let sums = block_on(outer.aggregate(&Context::background(), 0)).unwrap();
                assert_eq!(sums, vec![(0..33).sum::<usize>(); 33], "{name}");
            });
        }
    }
}

/// The kind of fault 1: every future that the library gives is polled by combinators that poll only what was woken.
mod in_a_crowd {
    use super::*;

    /// More than the threshold of `try_join_all`.
    const CROWD: usize = 40;

    /// Starts all of `crowd` under `FuturesUnordered` and, through it, `try_join_all`; makes `event` happen; and
    /// waits for all. A future that registered no waker is never polled again.
    fn all_are_woken(
        crowd: Vec<BoxFuture<'static, Result<(), String>>>,
        event: impl FnOnce() + Send + 'static,
    ) {
        watched(move || {
            let mut event = Some(event);
            let mut all = try_join_all(crowd);
            let told = block_on(poll_fn(|cx| {
                let poll = all.poll_unpin(cx);
                if let (Poll::Pending, Some(event)) = (&poll, event.take()) {
                    event();
                }
                poll
            }));
            assert_eq!(told.unwrap().len(), CROWD);
        });
    }

    fn crowd<F>(one: impl Fn(usize) -> F) -> Vec<BoxFuture<'static, Result<(), String>>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        (0..CROWD).map(|n| one(n).map(Ok).boxed()).collect()
    }

    /// Fault 1: `done`, `run` and `sleep` of contexts.
    #[test]
    fn contexts_waiters_are_woken() {
        let (ctx, canceller) = Context::background().with_cancel();
        let waiters = crowd(|n| {
            let ctx = ctx.clone();
            async move {
                match n % 4 {
                    0 => ctx.done().await,
                    1 => assert!(ctx.run(pending::<()>()).await.is_err()),
                    2 => assert!(ctx.sleep(super::super::tools::HOUR).await.is_err()),
                    _ => assert!(
                        ctx.try_run(pending::<Result<(), Infallible>>())
                            .await
                            .is_err()
                    ),
                }
            }
        });
        all_are_woken(waiters, move || canceller.cancel());
    }

    /// Fault 1: sleeps, of contexts and of clocks.
    #[test]
    fn sleepers_are_woken() {
        let (clock, ctx) = manual();
        let at = clock.now() + SECOND;
        let waiters = crowd(|n| {
            let (clock, ctx) = (clock.clone(), ctx.clone());
            async move {
                match n % 2 {
                    0 => ctx.sleep(SECOND).await.unwrap(),
                    _ => clock.sleep_until(at).await.unwrap(),
                }
            }
        });
        all_are_woken(waiters, move || clock.advance(SECOND));
    }

    /// Fault 1: `wait`, `outcomes`, `next` and `run` of groups on an executor.
    #[test]
    fn groups_waiters_are_woken() {
        let gate = Gate::default();
        let waiters = crowd(|n| {
            let gate = gate.clone();
            let mut group = Group::<()>::new(smol::spawn);
            group.spawn(gate.wait());
            async move {
                match n % 4 {
                    0 => drop(group.wait().await.unwrap()),
                    1 => drop(group.outcomes().await.unwrap()),
                    2 => group.next().await.unwrap().unwrap(),
                    _ => group.run(async { Ok(()) }).await.unwrap(),
                }
            }
        });
        all_are_woken(waiters, move || gate.open());
    }

    /// Fault 1: the same of groups in place.
    #[test]
    fn waiters_of_groups_in_place_are_woken() {
        let gate = Gate::default();
        let waiters = crowd(|n| {
            let gate = gate.clone();
            let mut group = InPlaceGroup::<()>::new(&Context::background());
            group.spawn(gate.wait());
            async move {
                match n % 4 {
                    0 => drop(group.wait().await.unwrap()),
                    1 => drop(group.outcomes().await.unwrap()),
                    2 => group.next().await.unwrap().unwrap(),
                    _ => group.run(async { Ok(()) }).await.unwrap(),
                }
            }
        });
        all_are_woken(waiters, move || gate.open());
    }

    /// Fault 1: forks, each awaited beside the others by one task.
    #[test]
    fn forks_are_woken() {
        let gate = Gate::default();
        let group = Group::<()>::new(smol::spawn);
        let forks: Vec<_> = (0..CROWD)
            .map(|n| group.fork(format!("f{n}"), gate.wait()))
            .collect();
        let waiters = forks
            .into_iter()
            .map(|fork| async { fork.await.map_err(|e| e.to_string()) }.boxed());
        all_are_woken(waiters.collect(), move || gate.open());
        assert!(watched(|| block_on(group.wait())).unwrap().is_empty());
    }

    /// Fault 1: the waiters for a place.
    #[test]
    fn waiters_for_a_place_are_woken() {
        let gate = Gate::default();
        let group = Group::<()>::new(smol::spawn).with_limit(at_most(1));
        group.spawn(gate.wait());
        let waiters = crowd(|_| {
            let handle = group.handle();
            async move { handle.ready().await.unwrap() }
        });
        all_are_woken(waiters, move || gate.open());
    }

    /// Fault 1: aggregations beside each other.
    #[test]
    fn aggregations_are_woken() {
        let gate = Gate::default();
        let waiters = crowd(|n| {
            let gate = gate.clone();
            let host = if n % 2 == 0 {
                Aggregator::in_place()
            } else {
                Aggregator::new(smol::spawn)
            };
            let one = host.source("one", move |_: Context, _: ()| gate.wait());
            async move {
                let ((),) = one.aggregate(&Context::background(), ()).await.unwrap();
            }
        });
        all_are_woken(waiters, move || gate.open());
    }

    /// Fault 1: streams, of which each is polled only when it was woken.
    #[test]
    fn streams_are_woken() {
        watched(|| {
            let streams: FuturesUnordered<_> = (0..CROWD)
                .map(|n| {
                    let group = Group::new(smol::spawn).with_limit(at_most(2));
                    let ordered = group.ordered(0..5, move |item| async move {
                        yields(n % 3).await;
                        Ok::<_, Infallible>(item)
                    });
                    ordered.map(Result::unwrap).collect::<Vec<_>>()
                })
                .collect();
            let told: Vec<_> = block_on(streams.collect());
            assert_eq!(told, vec![vec![0, 1, 2, 3, 4]; CROWD]);
        });
    }

    /// Closed until it is opened; any number may wait.
    #[derive(Clone, Default)]
    struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

    impl Gate {
        fn open(&self) {
            let wakers = {
                let mut gate = self.0.lock().unwrap();
                gate.0 = true;
                std::mem::take(&mut gate.1)
            };
            wakers.into_iter().for_each(Waker::wake);
        }

        fn wait(&self) -> impl Future<Output = Result<(), Infallible>> + Send + use<> {
            let gate = self.clone();
            poll_fn(move |cx| {
                let mut gate = gate.0.lock().unwrap();
                if gate.0 {
                    return Poll::Ready(Ok(()));
                }
                gate.1.push(cx.waker().clone());
                Poll::Pending
            })
        }
    }
}

/// Fault 22: two answers whose destructors panic aborted the process; one panicked out of `aggregate`.
mod bombs {
    use super::super::tools::{Bomb, apart, panics, poll_once};
    use super::*;

    type Boom = Result<Bomb, String>;

    fn answers(host: Aggregator<(), ()>, count: usize, armed: &Count) -> Aggregator<(), Vec<Bomb>> {
        let armed = armed.clone();
        let sources = (0..=count).map(move |n| {
            let armed = armed.clone();
            let source = move |_: Context, (): ()| {
                let armed = armed.clone();
                async move {
                    if n < count {
                        return Boom::Ok(Bomb(armed));
                    }
                    yields(5).await;
                    Err("refused".to_owned())
                }
            };
            (format!("s{n}"), source)
        });
        host.sources(sources)
    }

    /// Fault 22: in place.
    #[test]
    fn answers_panic_in_drop_in_place() {
        apart(|| failed_with(Aggregator::in_place()));
    }

    /// Fault 22: on an executor.
    #[test]
    fn answers_panic_in_drop_on_an_executor() {
        apart(|| failed_with(Aggregator::new(smol::spawn)));
    }

    fn failed_with(host: Aggregator<(), ()>) {
        for count in [1, 2, 3, 31, 65] {
            let dropped = Count::default();
            let all = answers(host.clone(), count, &dropped);
            let error = block_on(all.aggregate(&Context::background(), ())).unwrap_err();
            assert_eq!(error.to_string(), format!("s{count}: refused"));
            assert!(dropped.get() <= count);
        }
    }

    /// Fault 22: each answer of a tuple is dropped, though those before it panicked.
    #[test]
    fn every_answer_of_a_tuple_is_dropped() {
        apart(|| {
            let dropped = Count::default();
            let bomb = |dropped: &Count| {
                let dropped = dropped.clone();
                move |_: Context, (): ()| {
                    let dropped = dropped.clone();
                    async move { Boom::Ok(Bomb(dropped)) }
                }
            };
            let all = Aggregator::in_place()
                .source("a", bomb(&dropped))
                .source("b", bomb(&dropped))
                .source("c", |_: Context, (): ()| async {
                    yields(3).await;
                    Err::<(), _>("refused")
                });
            let error = block_on(all.aggregate(&Context::background(), ()))
                .map(drop)
                .unwrap_err();
            assert_eq!(
                (error.to_string().as_str(), dropped.get()),
                ("c: refused", 2)
            );
        });
    }

    /// Fault 22: an aggregation that is dropped half-way.
    #[test]
    fn aggregation_is_dropped_with_answers_that_panic() {
        apart(|| {
            let dropped = Count::default();
            let all = answers(Aggregator::in_place(), 40, &dropped);
            let ctx = Context::background();
            let mut half = Box::pin(all.aggregate(&ctx, ()));
            assert!(poll_once(half.as_mut()).is_pending());
            assert!(!panics(|| drop(half)), "the panic came out of drop");
            assert!(dropped.get() <= 40);
        });
    }

    /// Fault 22: requests.
    #[test]
    fn requests_panic_in_drop() {
        apart(|| {
            #[derive(Clone)]
            struct Request {
                _last: Arc<Bomb>,
            }
            for host in [Aggregator::in_place(), Aggregator::new(smol::spawn)] {
                let dropped = Count::default();
                let all = host.sources((0..3).map(|n| {
                    let source =
                        move |_: Context, _: Request| async move { Ok::<_, Infallible>(n) };
                    (format!("s{n}"), source)
                }));
                let request = Request {
                    _last: Arc::new(Bomb(dropped.clone())),
                };
                let told =
                    panics(|| block_on(all.aggregate(&Context::background(), request)).map(drop));
                assert!(!told, "the panic came out of aggregate");
                assert_eq!(dropped.get(), 1);
            }
        });
    }
}

/// Fault 3: sources are not called late.
mod late {
    use super::*;

    /// Fault 3: in place, a source was called although one before it had failed.
    #[test]
    fn no_source_is_called_after_one_failed() {
        watched(|| {
            for &size in SIZES.iter().filter(|size| **size > 0) {
                let calls = Count::default();
                let count = calls.clone();
                let act = move |_| {
                    count.add();
                    async { Err("refused".to_owned()) }
                };
                let all = list(Aggregator::in_place(), size, act);
                let error = block_on(all.aggregate(&Context::background(), 0)).unwrap_err();
                assert_eq!(
                    (error.to_string().as_str(), calls.get()),
                    ("s0: refused", 1)
                );
            }
        });
    }

    /// Fault 3: an executor that comes after the deadline called the source all the same.
    #[test]
    fn no_source_is_called_by_an_executor_that_comes_after_the_deadline() {
        watched(|| {
            for size in [1, 2, 31, 65] {
                let (clock, ctx) = manual();
                let executor = crate::executor::Executor::new();
                let calls = Count::default();
                let count = calls.clone();
                let act = move |n| {
                    count.add();
                    async move { Ok(n) }
                };
                let all = list(Aggregator::new(executor.spawner()), size, act).with_timeout(SECOND);
                let mut waiting = Box::pin(all.aggregate(&ctx, 0));
                assert!(super::super::tools::poll_once(waiting.as_mut()).is_pending());
                clock.advance(SECOND);
                let error = executor.drive(waiting).unwrap_err();
                assert_eq!(
                    (error.kind(), calls.get()),
                    (ErrorKind::DeadlineExceeded, 0)
                );
            }
        });
    }

    /// Fault 3: the context that the aggregation is given has ended before.
    #[test]
    fn no_source_is_called_under_a_context_that_has_ended() {
        watched(|| {
            for (_, host) in hosts() {
                let (ctx, canceller) = Context::background().with_cancel();
                canceller.cancel();
                let calls = Count::default();
                let count = calls.clone();
                let act = move |n| {
                    count.add();
                    async move { Ok(n) }
                };
                let all = list(host, 33, act);
                assert!(block_on(all.aggregate(&ctx, 0)).unwrap_err().is_canceled());
                assert_eq!(calls.get(), 0);
            }
        });
    }
}

/// Fault 1's other side: what an aggregator needs from its waiter.
mod wakes {
    use super::*;

    struct Flag(Count);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.add();
        }
    }

    /// Fault 1: polled only when it was woken, an aggregation over an executor driven by hand still ends.
    #[test]
    fn aggregation_is_polled_only_when_it_was_woken() {
        watched(|| {
            for size in [1, 30, 31, 32, 65, 257] {
                let executor = crate::executor::Executor::new();
                let slow = |n: usize| async move {
                    yields(n % 3).await;
                    Ok(n)
                };
                let all = list(Aggregator::new(executor.spawner()), size, slow);
                let wakes = Count::default();
                let waker = Waker::from(Arc::new(Flag(wakes.clone())));
                let ctx = Context::background();
                let mut waiting = Box::pin(all.aggregate(&ctx, 0));
                let mut seen = usize::MAX;
                while wakes.get() != seen {
                    seen = wakes.get();
                    let mut cx = task::Context::from_waker(&waker);
                    if let Poll::Ready(told) = waiting.as_mut().poll(&mut cx) {
                        assert!(told.unwrap().into_iter().eq(0..size));
                        break;
                    }
                    executor.run();
                    assert_ne!(wakes.get(), seen, "{size}: no task was woken");
                }
            }
        });
    }
}

/// Fault 1's kind: a list that is cut by the deadline after all but one have answered names that one.
#[test]
fn names_of_the_sources_that_did_not_answer_are_complete() {
    watched(|| {
        for size in [1, 2, 31, 32, 129] {
            let (clock, ctx) = manual();
            let last = size - 1;
            let act = move |n: usize| async move {
                if n == last {
                    pending::<()>().await;
                }
                Ok(n)
            };
            let all = list(Aggregator::in_place(), size, act).with_timeout(SECOND);
            let mut waiting = Polled::new(all.aggregate(&ctx, 0));
            assert!(waiting.is_pending());
            while waiting.is_woken() {
                assert!(waiting.is_pending());
            }
            clock.advance(SECOND);
            let error = waiting.ready().unwrap_err();
            assert_eq!(error.pending(), [Name::from(format!("s{last}"))]);
        }
    });
}

/// Fault 1's kind, one layer below: settled groups of any size give each outcome in its place.
#[test]
fn outcomes_of_groups_of_any_size_stand_in_their_order() {
    watched(|| {
        for &size in SIZES {
            let group = InPlaceGroup::new(&Context::background()).with_ending(Ending::Settle);
            for n in 0..size {
                group.spawn(async move {
                    yields((size - n) % 4).await;
                    if n % 2 == 1 { Err("odd") } else { Ok(n) }
                });
            }
            let told = block_on(group.outcomes()).unwrap();
            assert_eq!(told.len(), size);
            for (n, (name, outcome)) in told.into_iter().enumerate() {
                assert_eq!(name, format!("task {n}").as_str());
                assert_eq!(outcome.ok(), (n % 2 == 0).then_some(n));
            }
        }
    });
}
