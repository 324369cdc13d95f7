//! What of groups a runtime could spoil.

use super::tools::{Census, Gate, assert_ended, at_most, kind, why};
use super::{Place, Runtime};
use failfast::clock::ManualClock;
use failfast::context::ContextErrorKind::Canceled;
use failfast::{BoxError, ContextError, Ending, ErrorKind};
use futures::StreamExt as _;
use futures::future::{join, poll_fn, select};
use futures_lite::future::yield_now;
use std::convert::Infallible;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// §4: an empty group returns at once.
pub async fn empty_group<R: Runtime>(place: R::Place) {
    let mut wait = pin!(place.group::<()>(&R::background()).wait());
    let first = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await;
    assert!(matches!(first, Poll::Ready(Ok(results)) if results.is_empty()));
}

/// The runtime's line of `docs/RUNTIMES.md` makes a group.
pub async fn line_of_the_documents<R: Runtime>(_: R::Place) {
    let group = R::documented_group(R::background());
    assert_eq!(group.wait().await.unwrap(), []);
}

/// §4: results come in the order of spawning, though the tasks end in the reverse.
pub async fn results_in_order_of_spawning<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background());
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
}

/// §4: the first failure is recorded, and every task's future is dropped when `wait` returns.
pub async fn first_failure_is_recorded_and_siblings_are_gone<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
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
    assert_eq!(error.kind(), ErrorKind::Task);
    assert_eq!(error.task().unwrap(), "page 7");
}

/// §4: recorded, then the context is cancelled with it as the cause: that is what siblings see.
pub async fn siblings_see_the_failure_as_the_cause<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    let (waiting, seen) = (Gate::default(), async_channel::unbounded());
    let (opening, ctx, sender) = (waiting.clone(), group.context().clone(), seen.0);
    group.spawn(async move {
        opening.open();
        ctx.done().await;
        let _ = sender.try_send((kind(&ctx), why(&ctx), ctx.err().unwrap().to_string()));
        Err::<(), _>("an echo")
    });
    group.spawn_named("profile", async move {
        waiting.wait().await;
        Err::<(), _>("down")
    });
    let error = group.wait().await.unwrap_err();
    assert_eq!(error.to_string(), "profile: down");
    let (kind, cause, error) = seen.1.try_recv().unwrap();
    assert_eq!((kind, &*cause), (Some(Canceled), "profile: down"));
    assert_eq!(error, "context canceled: profile: down");
}

/// §4: a panic is contained in the task, cancels the siblings, and is reported as one.
pub async fn panic_is_contained<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
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
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(error.task().unwrap(), "orders");
    let resumes = || error.resume_unwind();
    let payload = catch_unwind(AssertUnwindSafe(resumes)).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"out of stock"));

    let again = place.group(&R::background());
    again.spawn(async { Ok::<_, Infallible>(5) });
    assert_eq!(again.wait().await.unwrap(), [5], "the executor lives");
}

/// §4: services that never look at the context are cancelled all the same, by a deadline too.
pub async fn tasks_that_ignore_the_context<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background().with_timeout(Duration::from_millis(10)));
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
}

/// §4: dropping the `wait` future cancels every task.
pub async fn dropping_wait<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
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
    assert_eq!(kind(&ctx), Some(Canceled));
    census.extinct().await;
    assert_eq!(census.live(), 0);
}

/// §4: dropping the group cancels every task.
pub async fn dropping_the_group<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    let (ctx, census) = (group.context().clone(), Census::default());
    let citizen = census.citizen();
    group.spawn(async move {
        let _citizen = citizen;
        pending::<Result<_, Infallible>>().await
    });
    drop(group);
    assert_eq!(kind(&ctx), Some(Canceled));
    census.extinct().await;
}

/// §4: parent already ended: no task starts, and its end is the error.
pub async fn parent_ended_before<R: Runtime>(place: R::Place) {
    let (ctx, canceller) = R::background().with_cancel();
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
    assert_eq!(error.kind(), ErrorKind::Canceled);
    assert_eq!(error.task(), None);
    assert_ended(&error, "context canceled: closed");
    assert!(!started.is_open());
    assert_eq!(census.live(), 0);
}

/// §4: parent ends while all tasks succeed: `Ok`.
pub async fn parent_ends_and_all_succeed<R: Runtime>(place: R::Place) {
    let (ctx, canceller) = R::background().with_cancel();
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
}

/// §4: `cancel_with(cause)` ends a group without a failure.
pub async fn cancel_with<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    group.spawn(async { pending::<Result<_, Infallible>>().await });
    group.cancel_with("not needed");
    let error = group.wait().await.unwrap_err();
    assert!(error.is_canceled());
    assert_ended(&error, "context canceled: not needed");
    assert_eq!(error.pending(), ["task 0"]);
}

/// §4: the group's context ends with the group, on success too, and its cause is that.
pub async fn context_ends_with_the_group<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background());
    let ctx = group.context().clone();
    group.spawn(async { Ok::<_, Infallible>(5) });
    assert_eq!(group.wait().await.unwrap(), [5]);
    ctx.done().await;
    assert_eq!(kind(&ctx), Some(Canceled));
    let why = why(&ctx);
    assert!(why.starts_with("the group made at "), "{why}");
    assert!(
        why.contains(".rs:") && why.ends_with(" has finished"),
        "{why}"
    );
}

/// §4: a task may spawn into its own group, also during `wait`.
pub async fn spawning_from_inside<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background());
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
}

/// §4: and at the limit, without deadlock.
pub async fn spawning_from_inside_at_the_limit<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background()).with_limit(at_most(1));
    let handle = group.handle();
    group.spawn(async move {
        let spawned = handle.spawn(async { Ok::<_, Infallible>("second") });
        assert!(spawned.is_ok());
        yield_now().await;
        Ok::<_, Infallible>("first")
    });
    assert_eq!(group.wait().await.unwrap(), ["first", "second"]);
}

/// §4: after the end it gets its future back.
pub async fn spawning_after_the_end<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background());
    let handle = group.handle();
    group.spawn(async { Ok::<_, Infallible>(1) });
    group.wait().await.unwrap();
    let late = async { Ok::<_, Infallible>(2) };
    let Err(late) = handle.spawn(late) else {
        panic!("the group has ended");
    };
    assert_eq!(late.await, Ok(2));
}

/// §4: `with_limit`: n run at once, and no more; `spawn` queues beyond it.
pub async fn limit<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background()).with_limit(at_most(2));
    let (census, first, second) = (Census::default(), Gate::default(), Gate::default());
    for number in 0..20 {
        let (census, first, second) = (census.clone(), first.clone(), second.clone());
        group.spawn(async move {
            let _running = census.citizen();
            match number {
                // The two wait for each other, so that both are there at one time.
                0 => {
                    first.open();
                    second.wait().await;
                }
                1 => {
                    second.open();
                    first.wait().await;
                }
                _ => yield_now().await,
            }
            Ok::<_, Infallible>(number)
        });
    }
    assert!(group.wait().await.unwrap().into_iter().eq(0..20));
    assert_eq!((census.born(), census.live()), (20, 0));
    assert_eq!(census.peak(), 2);
}

/// §4: queued work is skipped after a failure.
pub async fn limit_skips_the_queue_after_a_failure<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background()).with_limit(at_most(1));
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
}

/// §4: `try_spawn` hands the future back at the limit; `ready` completes when there is a place.
pub async fn try_spawn_and_ready<R: Runtime>(place: R::Place) {
    let mut group = place.group(&R::background()).with_limit(at_most(1));
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
}

/// §4: `next` gives results as they complete.
pub async fn next_as_they_complete<R: Runtime>(place: R::Place) {
    let mut group = place.group(&R::background());
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
}

/// §4: `next` and fail fast: the failure comes once, when it happened.
pub async fn next_returns_the_failure_once<R: Runtime>(place: R::Place) {
    let mut group = place.group::<()>(&R::background());
    group.spawn(async { pending::<Result<_, Infallible>>().await });
    group.spawn_named("orders", async { Err("down") });
    let error = group.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "orders: down");
    assert!(group.next().await.is_none());
}

/// §4: groups within groups.
pub async fn nested<R: Runtime>(place: R::Place) {
    let outer = place.group(&R::background());
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
}

/// §4: the moment one falls, all stop: through the levels, with the root cause at hand.
pub async fn failure_crosses_nested_groups<R: Runtime>(place: R::Place) {
    #[derive(Debug, thiserror::Error)]
    #[error("disk full")]
    struct DiskFull;

    let outer = place.group::<Vec<()>>(&R::background());
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
}

/// §4: `with_grace(d)` gives tasks `d` to finish on their own.
pub async fn grace<R: Runtime>(place: R::Place) {
    let clock = ManualClock::new();
    let (ctx, canceller) = R::background().with_clock(clock.clone()).with_cancel();
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
}

/// §4: background tasks are cancelled when the main tasks are done.
pub async fn background_task<R: Runtime>(place: R::Place) {
    let (group, census) = (place.group(&R::background()), Census::default());
    let citizen = census.citizen();
    group.spawn_background(async move {
        let _citizen = citizen;
        pending::<Result<_, Infallible>>().await
    });
    group.spawn(async { Ok::<_, Infallible>(5) });
    assert_eq!(group.wait().await.unwrap(), [5]);
    assert_eq!(census.live(), 0);
}

/// §4, endings: settle runs all, and returns every outcome.
pub async fn settle<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background()).with_ending(Ending::Settle);
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
}

/// §4, endings: the first success cancels the rest.
pub async fn first_ok<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background()).with_ending(Ending::FirstOk);
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
}

/// §4, endings: k successes are enough; out of reach is the end.
pub async fn quorum<R: Runtime>(place: R::Place) {
    let quorum = || {
        place
            .group(&R::background())
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
}

/// §4: `stop`: an end without a failure; `wait` returns what finished.
pub async fn stop<R: Runtime>(place: R::Place) {
    let (group, census) = (place.group(&R::background()), Census::default());
    let (handle, ctx) = (group.handle(), group.context().clone());
    let finished = Gate::default();
    let finishing = finished.clone();
    group.spawn(async move {
        finishing.open();
        Ok::<_, Infallible>("finished")
    });
    let citizen = census.citizen();
    group.spawn(async move {
        let _citizen = citizen;
        finished.wait().await;
        yield_now().await;
        handle.stop();
        pending::<Result<_, Infallible>>().await
    });
    let (late, outside) = (Gate::default(), group.handle());
    assert_eq!(group.wait().await.unwrap(), ["finished"]);
    assert_eq!(census.live(), 0);
    assert_eq!(kind(&ctx), Some(Canceled));
    assert!(outside.ready().await.is_err());
    let starting = late.clone();
    let refused = outside.spawn(async move {
        starting.open();
        Ok::<_, Infallible>("late")
    });
    assert!(refused.is_err() && !late.is_open());
}

/// §4: `stop` by the group itself: `ready` is an error from then on, and nothing starts.
pub async fn stop_before_the_first_task<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    group.ready().await.unwrap();
    group.stop();
    assert!(group.ready().await.is_err());
    let (started, census) = (Gate::default(), Census::default());
    let (starting, citizen) = (started.clone(), census.citizen());
    group.spawn(async move {
        let _citizen = citizen;
        starting.open();
        Ok::<_, Infallible>(())
    });
    assert_eq!(group.wait().await.unwrap(), []);
    assert!(!started.is_open());
    assert_eq!(census.live(), 0);
}

/// §4: after `stop`, `run` gives the body's value if it is through by its last poll, else kind `Canceled`.
pub async fn run_after_stop<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    let (handle, ctx) = (group.handle(), group.context().clone());
    let through = async move {
        handle.stop();
        ctx.done().await;
        Ok("through")
    };
    assert_eq!(group.run(through).await.unwrap(), "through");

    let group = place.group::<()>(&R::background());
    let handle = group.handle();
    let never = async move {
        handle.stop();
        pending::<Result<(), BoxError>>().await
    };
    let error = group.run(never).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Canceled);
}

/// §4: `ordered`: results in order as they come, at most the limit ahead.
pub async fn ordered<R: Runtime>(place: R::Place) {
    let census = Census::default();
    let group = place.group(&R::background()).with_limit(at_most(4));
    let counting = census.clone();
    let mut pages = group.ordered(0..20_u32, move |number| {
        let citizen = counting.citizen();
        async move {
            let _citizen = citizen;
            for _ in 0..(number * 7) % 5 {
                yield_now().await;
            }
            Ok::<_, Infallible>(number)
        }
    });
    let mut expected = 0..20;
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert_eq!(Some(page), expected.next());
        assert!(census.born() <= page as usize + 1 + 4, "at most 4 ahead");
    }
    assert_eq!(expected.next(), None);
    drop(pages);
    assert!(census.peak() <= 4, "{} ran at once", census.peak());
    assert_eq!((census.born(), census.live()), (20, 0));
}

/// §4: `ordered` and fail fast: one error ends it, and it is the last item.
pub async fn ordered_fails<R: Runtime>(place: R::Place) {
    let census = Census::default();
    let counting = census.clone();
    let group = place.group(&R::background()).with_limit(at_most(2));
    let mut pages = group.ordered(0..20_u32, move |number| {
        let citizen = counting.citizen();
        async move {
            let _citizen = citizen;
            yield_now().await;
            match number {
                3 => Err("no page 3"),
                number => Ok(number),
            }
        }
    });
    let mut seen = Vec::new();
    let error = loop {
        match pages.next().await.expect("an error is owed") {
            Ok(page) => seen.push(page),
            Err(error) => break error,
        }
    };
    assert_eq!(error.downcast_ref::<Infallible>(), None);
    assert!(error.to_string().ends_with("no page 3"), "{error}");
    assert!(
        seen.iter().copied().eq(0..seen.len() as u32) && seen.len() <= 3,
        "{seen:?}"
    );
    assert!(pages.next().await.is_none());
    drop(pages);
    assert_eq!(census.live(), 0);
    assert!(
        census.born() <= 3 + 1 + 2,
        "{} were asked for",
        census.born()
    );
}

/// §4: a handle spawns by name and in the background, waits for room, and looks inside, while the group is waited
/// for.
pub async fn handle_feeds_a_group_that_is_waited_for<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background());
    let (handle, census) = (group.handle(), Census::default());
    let citizen = census.citizen();
    let (begun, release) = (Gate::default(), Gate::default());
    let (begins, released) = (begun.clone(), release.wait());
    group.spawn_named("listener", async move {
        begins.open();
        released.await;
        Ok::<_, Infallible>(0)
    });
    let feed = async {
        begun.wait().await;
        handle.ready().await.unwrap();
        let named = handle.spawn_named("connection", async { Ok::<_, Infallible>(1) });
        assert!(named.is_ok());
        let background = handle.spawn_background(async move {
            let _citizen = citizen;
            pending::<Result<_, Infallible>>().await
        });
        assert!(background.is_ok());
        assert!(handle.snapshot().to_string().contains("listener"));
        assert!(handle.snapshot().to_json().contains("\"listener\""));
        assert!(!handle.context().is_done());
        release.open();
    };
    let (outcome, ()) = join(group.wait_named(), feed).await;
    let [(first, 0), (second, 1)] = &outcome.unwrap()[..] else {
        panic!("two results, in the order of spawning")
    };
    assert_eq!((&**first, &**second), ("listener", "connection"));
    assert_eq!(census.live(), 0);
}

/// §4: a handle waits for room at the limit, while the group is waited for.
pub async fn handle_is_ready_when_there_is_room<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background()).with_limit(at_most(2));
    let (handle, census, fed) = (group.handle(), Census::default(), Gate::default());
    let last = fed.wait();
    group.spawn(async move {
        last.await;
        Ok::<_, Infallible>(0)
    });
    let feed = async {
        for number in 1..10 {
            handle.ready().await.unwrap();
            let census = census.clone();
            let spawned = handle.try_spawn(async move {
                let _running = census.citizen();
                yield_now().await;
                Ok::<_, Infallible>(number)
            });
            assert!(spawned.is_ok(), "no other task takes the place");
        }
        fed.open();
    };
    let (outcome, ()) = join(group.wait(), feed).await;
    assert!(outcome.unwrap().into_iter().eq(0..10));
    assert_eq!((census.born(), census.live()), (9, 0));
    assert_eq!(census.peak(), 1, "beside the first, which waits");
}

/// §4: a handle cancels a group that is waited for.
pub async fn handle_cancels<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    let (handle, begun) = (group.handle(), Gate::default());
    let begins = begun.clone();
    group.spawn_named("listener", async move {
        begins.open();
        pending::<Result<_, Infallible>>().await
    });
    let end = async {
        begun.wait().await;
        handle.cancel_with("shutting down");
    };
    let (outcome, ()) = join(group.wait(), end).await;
    let error = outcome.unwrap_err();
    assert_eq!(
        error.to_string(),
        "context canceled: shutting down (waiting for listener)"
    );
    assert!(handle.ready().await.is_err());
}
