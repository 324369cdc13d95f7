//! What of groups a runtime could spoil.

use super::tools::{Census, Gate};
use super::{Place, Runtime, play};
use failfast::{Context, ContextError, Ending, Error, ManualClock};
use futures::future::{join, poll_fn, select};
use smol::future::yield_now;
use std::convert::Infallible;
use std::future::pending;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn background() -> Context {
    Context::background()
}

const fn at_most(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).unwrap()
}

/// §4: an empty group returns at once.
pub(crate) fn empty_group<R: Runtime>() {
    play::<R>(async |place| {
        let mut wait = pin!(place.group::<()>(&background()).wait());
        let first = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await;
        assert!(matches!(first, Poll::Ready(Ok(results)) if results.is_empty()));
    });
}

/// §4: results come in the order of spawning, though the tasks end in the reverse.
pub(crate) fn results_in_order_of_spawning<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group(&background());
        let gates: Vec<_> = (0..10).map(|_| Gate::default()).collect();
        for number in 0..10 {
            let (own, next) = (gates[number].clone(), gates.get(number + 1).cloned());
            group.spawn(async move {
                if let Some(next) = next {
                    next.wait().await;
                }
                own.open();
                Ok::<_, Infallible>(number)
            });
        }
        assert!(group.wait().await.unwrap().into_iter().eq(0..10));
    });
}

/// §4: the first failure is recorded, and every task's future is dropped when `wait` returns.
pub(crate) fn first_failure_is_recorded_and_siblings_are_gone<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group::<()>(&background());
        let census = Census::default();
        for number in 0..10 {
            let (citizen, ctx) = (census.citizen(), group.context().clone());
            group.spawn_named(format!("page {number}"), async move {
                let _citizen = citizen;
                match number {
                    7 => yield_now().await,
                    _ => ctx.done().await,
                }
                Err::<(), _>(format!("error of {number}"))
            });
        }
        let error = group.wait().await.unwrap_err();
        assert_eq!(census.live(), 0);
        assert_eq!(error.to_string(), "page 7: error of 7");
        assert!(matches!(&error, Error::Task { name, .. } if name == "page 7"));
    });
}

/// §4: recorded, then the context is cancelled with it as the cause: that is what siblings see.
pub(crate) fn siblings_see_the_failure_as_the_cause<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group::<()>(&background());
        let (waiting, seen) = (Gate::default(), async_channel::unbounded());
        let (opening, ctx, sender) = (waiting.clone(), group.context().clone(), seen.0);
        group.spawn(async move {
            opening.open();
            ctx.done().await;
            let cause = ctx.cause().map(|cause| cause.to_string());
            let _ = sender.try_send((ctx.err(), cause));
            Err::<(), _>("an echo")
        });
        group.spawn_named("profile", async move {
            waiting.wait().await;
            Err::<(), _>("down")
        });
        let error = group.wait().await.unwrap_err();
        assert_eq!(error.to_string(), "profile: down");
        let expected = (
            Some(ContextError::Canceled),
            Some("profile: down".to_owned()),
        );
        assert_eq!(seen.1.try_recv(), Ok(expected));
    });
}

/// §4: a panic is contained in the task, cancels the siblings, and is reported as one.
pub(crate) fn panic_is_contained<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group::<()>(&background());
        let census = Census::default();
        let citizen = census.citizen();
        group.spawn(async move {
            let _citizen = citizen;
            pending::<Result<_, Infallible>>().await
        });
        group.spawn_named("orders", async {
            yield_now().await;
            if true {
                std::panic::resume_unwind(Box::new("out of stock")); // without the hook's message
            }
            Ok::<_, Infallible>(())
        });
        let error = group.wait().await.unwrap_err();
        assert_eq!(census.live(), 0);
        assert_eq!(error.to_string(), "orders: panicked: out of stock");
        let Error::Panicked { panic, .. } = error else {
            panic!("{error:?}")
        };
        let payload = panic.take_payload().unwrap();
        assert_eq!(payload.downcast_ref(), Some(&"out of stock"));

        let again = place.group(&background());
        again.spawn(async { Ok::<_, Infallible>(5) });
        assert_eq!(again.wait().await.unwrap(), [5], "the executor lives");
    });
}

/// §4: services that never look at the context are cancelled all the same, by a deadline too.
pub(crate) fn tasks_that_ignore_the_context<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group::<()>(&background().with_timeout(Duration::from_millis(10)));
        let census = Census::default();
        for _ in 0..10 {
            let citizen = census.citizen();
            group.spawn(async move {
                let _citizen = citizen;
                pending::<Result<_, Infallible>>().await
            });
        }
        assert!(group.wait().await.unwrap_err().is_deadline_exceeded());
        assert_eq!((census.born(), census.live()), (10, 0));
    });
}

/// §4: dropping the `wait` future cancels every task.
pub(crate) fn dropping_wait<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group::<()>(&background());
        let (ctx, running, census) = (group.context().clone(), Gate::default(), Census::default());
        for _ in 0..10 {
            let (running, citizen) = (running.clone(), census.citizen());
            group.spawn(async move {
                let _citizen = citizen;
                running.open();
                pending::<Result<_, Infallible>>().await
            });
        }
        let raced = select(Box::pin(group.wait()), Box::pin(running.wait())).await;
        drop(raced);
        assert_eq!(ctx.err(), Some(ContextError::Canceled));
        census.extinct().await;
        assert_eq!(census.live(), 0);
    });
}

/// §4: dropping the group cancels every task.
pub(crate) fn dropping_the_group<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group::<()>(&background());
        let (ctx, census) = (group.context().clone(), Census::default());
        let citizen = census.citizen();
        group.spawn(async move {
            let _citizen = citizen;
            pending::<Result<_, Infallible>>().await
        });
        drop(group);
        assert_eq!(ctx.err(), Some(ContextError::Canceled));
        census.extinct().await;
    });
}

/// §4: parent already ended: no task starts, `Error::Context`.
pub(crate) fn parent_ended_before<R: Runtime>() {
    play::<R>(async |place| {
        let (ctx, canceller) = background().with_cancel();
        canceller.cancel_with("closed");
        let group = place.group::<()>(&ctx);
        let (started, census) = (Gate::default(), Census::default());
        let (opening, citizen) = (started.clone(), census.citizen());
        group.spawn(async move {
            let _citizen = citizen;
            opening.open();
            Ok::<_, Infallible>(())
        });
        let error = group.wait().await.unwrap_err();
        assert!(matches!(error, Error::Context { .. }), "{error:?}");
        assert_eq!(error.to_string(), "context canceled: closed");
        assert!(!started.is_open());
        assert_eq!(census.live(), 0);
    });
}

/// §4: parent ends while all tasks succeed: `Ok`.
pub(crate) fn parent_ends_and_all_succeed<R: Runtime>() {
    play::<R>(async |place| {
        let (ctx, canceller) = background().with_cancel();
        let group = place.group(&ctx);
        let waiting = Gate::default();
        let (opening, ctx) = (waiting.clone(), group.context().clone());
        group.spawn(async move {
            opening.open();
            ctx.done().await;
            Ok::<_, Infallible>("made it")
        });
        let cancel = async {
            waiting.wait().await;
            canceller.cancel();
        };
        let (outcome, ()) = join(group.wait(), cancel).await;
        assert_eq!(outcome.unwrap(), ["made it"]);
    });
}

/// §4: `cancel_with(cause)` ends a group without a failure.
pub(crate) fn cancel_with<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group::<()>(&background());
        group.spawn(async { pending::<Result<_, Infallible>>().await });
        group.cancel_with("not needed");
        let error = group.wait().await.unwrap_err();
        assert!(error.is_canceled());
        assert_eq!(error.to_string(), "context canceled: not needed");
    });
}

/// §4: the group's context ends with the group, on success too.
pub(crate) fn context_ends_with_the_group<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group(&background());
        let ctx = group.context().clone();
        group.spawn(async { Ok::<_, Infallible>(5) });
        assert_eq!(group.wait().await.unwrap(), [5]);
        ctx.done().await;
        assert_eq!(ctx.err(), Some(ContextError::Canceled));
    });
}

/// §4: a task may spawn into its own group, also during `wait`.
pub(crate) fn spawning_from_inside<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group(&background());
        let handle = group.handle();
        group.spawn(async move {
            for number in 1..10 {
                yield_now().await;
                let spawned = handle.spawn(async move {
                    yield_now().await;
                    Ok::<_, Infallible>(number)
                });
                assert!(spawned.is_ok());
            }
            Ok::<_, Infallible>(0)
        });
        assert!(group.wait().await.unwrap().into_iter().eq(0..10));
    });
}

/// §4: and at the limit, without deadlock.
pub(crate) fn spawning_from_inside_at_the_limit<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group(&background()).with_limit(at_most(1));
        let handle = group.handle();
        group.spawn(async move {
            let spawned = handle.spawn(async { Ok::<_, Infallible>("second") });
            assert!(spawned.is_ok());
            yield_now().await;
            Ok::<_, Infallible>("first")
        });
        assert_eq!(group.wait().await.unwrap(), ["first", "second"]);
    });
}

/// §4: after the end it gets its future back.
pub(crate) fn spawning_after_the_end<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group(&background());
        let handle = group.handle();
        group.spawn(async { Ok::<_, Infallible>(1) });
        group.wait().await.unwrap();
        let late = async { Ok::<_, Infallible>(2) };
        let Err(late) = handle.spawn(late) else {
            panic!("the group has ended");
        };
        assert_eq!(late.await, Ok(2));
    });
}

/// §4: `with_limit`: at most n run; `spawn` queues beyond it.
pub(crate) fn limit<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group(&background()).with_limit(at_most(2));
        let census = Census::default();
        for number in 0..20 {
            let census = census.clone();
            group.spawn(async move {
                let _running = census.citizen();
                yield_now().await;
                Ok::<_, Infallible>(number)
            });
        }
        assert!(group.wait().await.unwrap().into_iter().eq(0..20));
        assert_eq!((census.born(), census.live()), (20, 0));
        assert!(census.peak() <= 2, "{} ran at once", census.peak());
    });
}

/// §4: queued work is skipped after a failure.
pub(crate) fn limit_skips_the_queue_after_a_failure<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group::<()>(&background()).with_limit(at_most(1));
        let (started, census) = (Gate::default(), Census::default());
        group.spawn_named("first", async { Err("down") });
        for _ in 0..10 {
            let (started, citizen) = (started.clone(), census.citizen());
            group.spawn(async move {
                let _citizen = citizen;
                started.open();
                Ok::<_, Infallible>(())
            });
        }
        let error = group.wait().await.unwrap_err();
        assert_eq!(error.to_string(), "first: down");
        assert_eq!(census.live(), 0);
        assert!(!started.is_open());
    });
}

/// §4: `try_spawn` hands the future back at the limit; `ready` tells when there is a place.
pub(crate) fn try_spawn_and_ready<R: Runtime>() {
    play::<R>(async |place| {
        let mut group = place.group(&background()).with_limit(at_most(1));
        let gate = Gate::default();
        let waiting = gate.wait();
        let first = group.try_spawn(async move {
            waiting.await;
            Ok::<_, Infallible>(1)
        });
        assert!(first.is_ok());
        let Err(second) = group.try_spawn(async { Ok::<_, Infallible>(2) }) else {
            panic!("the limit is 1");
        };
        gate.open();
        assert_eq!(group.next().await.unwrap().unwrap(), 1);
        group.ready().await.unwrap();
        assert!(group.try_spawn(second).is_ok());
        assert_eq!(group.wait().await.unwrap(), [2]);
    });
}

/// §4: `next` gives results as they complete.
pub(crate) fn next_as_they_complete<R: Runtime>() {
    play::<R>(async |place| {
        let mut group = place.group(&background());
        let gates: Vec<_> = (0..3).map(|_| Gate::default()).collect();
        for (number, gate) in gates.iter().enumerate() {
            let open = gate.wait();
            group.spawn_named(format!("page {number}"), async move {
                open.await;
                Ok::<_, Infallible>(number)
            });
        }
        for number in [1, 2, 0] {
            gates[number].open();
            let (name, result) = group.next_named().await.unwrap();
            assert_eq!(name, format!("page {number}"));
            assert_eq!(result.unwrap(), number);
        }
        assert!(group.next().await.is_none());
        assert_eq!(group.wait().await.unwrap(), [0; 0], "taken is taken");
    });
}

/// §4: `next` and fail fast: the failure comes once, when it happened.
pub(crate) fn next_tells_the_failure_once<R: Runtime>() {
    play::<R>(async |place| {
        let mut group = place.group::<()>(&background());
        group.spawn(async { pending::<Result<_, Infallible>>().await });
        group.spawn_named("orders", async { Err("down") });
        let error = group.next().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "orders: down");
        assert!(group.next().await.is_none());
    });
}

/// §4: groups within groups.
pub(crate) fn nested<R: Runtime>() {
    play::<R>(async |place| {
        let outer = place.group(&background());
        for shelf in 0..3 {
            let (place, ctx) = (place.clone(), outer.context().clone());
            outer.spawn(async move {
                let inner = place.group(&ctx);
                for book in 0..3 {
                    inner.spawn(async move {
                        yield_now().await;
                        Ok::<_, Infallible>(shelf * 3 + book)
                    });
                }
                inner.wait().await
            });
        }
        let books = outer.wait().await.unwrap().concat();
        assert!(books.into_iter().eq(0..9));
    });
}

/// §4: the moment one falls, all stop: through the levels, with the root cause at hand.
pub(crate) fn failure_crosses_nested_groups<R: Runtime>() {
    #[derive(Debug, thiserror::Error)]
    #[error("disk full")]
    struct DiskFull;

    play::<R>(async |place| {
        let outer = place.group::<Vec<()>>(&background());
        let (running, census) = (Gate::default(), Census::default());
        let opening = running.clone();
        for name in ["left", "right"] {
            let (place, ctx, citizen) = (place.clone(), outer.context().clone(), census.citizen());
            let (opening, running) = (opening.clone(), running.clone());
            outer.spawn_named(name, async move {
                let inner = place.group(&ctx);
                inner.spawn_named("leaf", async move {
                    let _citizen = citizen;
                    if name == "left" {
                        opening.open();
                        return pending().await;
                    }
                    running.wait().await;
                    Err(DiskFull)
                });
                inner.wait().await
            });
        }
        let error = outer.wait().await.unwrap_err();
        assert_eq!(error.to_string(), "right: leaf: disk full");
        assert!(error.downcast_ref::<DiskFull>().is_some());
        census.extinct().await;
        assert_eq!(census.live(), 0);
    });
}

/// §4: `with_grace(d)` gives tasks `d` to finish on their own.
pub(crate) fn grace<R: Runtime>() {
    play::<R>(async |place| {
        let clock = ManualClock::new();
        let (ctx, canceller) = background().with_clock(clock.clone()).with_cancel();
        let group = place.group(&ctx).with_grace(2 * SECOND);
        let (running, saving) = (Gate::default(), Gate::default());
        let (own, begun, ended) = (group.context().clone(), running.clone(), saving.clone());
        group.spawn(async move {
            begun.open();
            own.done().await;
            let save = own.without_cancel().sleep(SECOND);
            ended.open();
            save.await?;
            Ok::<_, ContextError>("saved")
        });
        let end = async {
            running.wait().await;
            canceller.cancel();
            saving.wait().await;
            clock.advance(SECOND);
        };
        let (outcome, ()) = join(group.wait(), end).await;
        assert_eq!(outcome.unwrap(), ["saved"]);
    });
}

/// §4: background tasks are cancelled when the main tasks are done.
pub(crate) fn background_task<R: Runtime>() {
    play::<R>(async |place| {
        let (group, census) = (place.group(&background()), Census::default());
        let citizen = census.citizen();
        group.spawn_background(async move {
            let _citizen = citizen;
            pending::<Result<_, Infallible>>().await
        });
        group.spawn(async { Ok::<_, Infallible>(5) });
        assert_eq!(group.wait().await.unwrap(), [5]);
        assert_eq!(census.live(), 0);
    });
}

/// §4, endings: settle runs all, and tells every outcome.
pub(crate) fn settle<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group(&background()).with_ending(Ending::Settle);
        group.spawn_named("profile", async { Err("down") });
        group.spawn_named("orders", async {
            yield_now().await;
            Ok::<_, Infallible>(5)
        });
        let outcomes = group.outcomes().await.unwrap();
        assert_eq!(
            outcomes[0].1.as_ref().unwrap_err().to_string(),
            "profile: down"
        );
        assert_eq!(outcomes[1].1.as_ref().unwrap(), &5);
    });
}

/// §4, endings: the first success cancels the rest.
pub(crate) fn first_ok<R: Runtime>() {
    play::<R>(async |place| {
        let group = place.group(&background()).with_ending(Ending::FirstOk);
        let census = Census::default();
        let citizen = census.citizen();
        group.spawn(async { Err("the mirror is down") });
        group.spawn(async move {
            let _citizen = citizen;
            pending::<Result<_, Infallible>>().await
        });
        group.spawn(async { Ok::<_, Infallible>("page") });
        assert_eq!(group.wait().await.unwrap(), ["page"]);
        assert_eq!(census.live(), 0);
    });
}

/// §4, endings: k successes are enough; out of reach is the end.
pub(crate) fn quorum<R: Runtime>() {
    play::<R>(async |place| {
        let quorum = || {
            place
                .group(&background())
                .with_ending(Ending::Quorum(at_most(2)))
        };
        let reached = quorum();
        reached.spawn(async { pending::<Result<_, Infallible>>().await });
        reached.spawn(async { Ok::<_, Infallible>(1) });
        reached.spawn(async { Ok::<_, Infallible>(2) });
        assert_eq!(reached.wait().await.unwrap(), [1, 2]);

        let out_of_reach = quorum();
        out_of_reach.spawn(async { pending::<Result<_, Infallible>>().await });
        out_of_reach.spawn_named("second", async { Err("down") });
        assert_eq!(
            out_of_reach.wait().await.unwrap_err().to_string(),
            "second: down"
        );
    });
}
