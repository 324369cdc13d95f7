//! What of contexts a runtime could spoil: waking, time, and being passed to tasks.

use super::tools::{Census, Gate, assert_ended, kind, why};
use super::{Place, Runtime};
use crate::time::Instant;
use failfast::clock::ManualClock;
use failfast::context::ContextErrorKind;
use failfast::{BoxError, Context, ContextError};
use futures::future::join;
use futures_lite::future::yield_now;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_millis(20);

/// §2: `done`: any number of waiters, and each is released.
pub async fn done_wakes_every_waiter<R: Runtime>(place: R::Place) {
    let (ctx, canceller) = R::background().with_cancel();
    let group = place.group(&R::background());
    let ready = Gate::default();
    for number in 0..100 {
        let (done, ready) = (ctx.done(), ready.clone());
        group.spawn(async move {
            if number == 99 {
                ready.open();
            }
            done.await;
            Ok::<_, Infallible>(number)
        });
    }
    let cancel = async {
        ready.wait().await;
        canceller.cancel();
    };
    let (outcome, ()) = join(group.wait(), cancel).await;
    assert!(outcome.unwrap().into_iter().eq(0..100));
}

/// §2: `run`: the future is dropped when the context ends.
pub async fn run_until_the_end<R: Runtime>(place: R::Place) {
    let (ctx, canceller) = R::background().with_cancel();
    let group = place.group(&R::background());
    let (running, census) = (Gate::default(), Census::default());
    let (opening, citizen) = (running.clone(), census.citizen());
    group.spawn(async move {
        let forever = async move {
            let _citizen = citizen;
            opening.open();
            pending::<()>().await
        };
        Ok::<_, Infallible>(ctx.run(forever).await)
    });
    let cancel = async {
        running.wait().await;
        canceller.cancel_with("enough");
    };
    let (outcome, ()) = join(group.wait(), cancel).await;
    let [Err(error)] = &outcome.unwrap()[..] else {
        panic!("it ran to its end")
    };
    assert_eq!(error.kind(), ContextErrorKind::Canceled);
    assert_eq!(error.to_string(), "context canceled: enough");
    assert_eq!((census.born(), census.live()), (1, 0));
}

/// §2: `run`: what completes first is the result.
pub async fn run_to_completion<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background());
    let ctx = group.context().clone();
    group.spawn(async move {
        ctx.run(async {
            R::sleep(SHORT).await;
            5
        })
        .await
    });
    assert_eq!(group.wait().await.unwrap(), [5]);
}

/// §2 and §3: `sleep`, by the system's clock, neither early nor for ever.
pub async fn sleep<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background());
    let ctx = group.context().clone();
    group.spawn(async move {
        let start = Instant::now();
        ctx.sleep(SHORT).await?;
        Ok::<_, ContextError>(start.elapsed())
    });
    let slept = group.wait().await.unwrap()[0];
    assert!(SHORT <= slept && slept < 10 * SECOND, "{slept:?}");
}

/// §2: `sleep` ends when the context does.
pub async fn sleep_is_cut_short<R: Runtime>(place: R::Place) {
    let ctx = R::background().with_timeout(SHORT);
    let group = place.group(&R::background());
    let start = Instant::now();
    group.spawn(async move { Ok::<_, Infallible>(ctx.sleep(3600 * SECOND).await) });
    let outcomes = group.wait().await.unwrap();
    let [Err(error)] = &outcomes[..] else {
        panic!("it slept to its end")
    };
    assert_eq!(error.kind(), ContextErrorKind::DeadlineExceeded);
    assert!(start.elapsed() >= SHORT);
}

/// §3: a runtime's own timers are a clock.
pub async fn sleep_by_the_runtimes_own_clock<R: Runtime>(place: R::Place) {
    let ctx = R::background().with_clock(R::clock());
    let group = place.group(&ctx.with_timeout(3 * SHORT));
    let ctx = group.context().clone();
    group.spawn(async move {
        let start = Instant::now();
        ctx.sleep(SHORT).await?;
        let slept = start.elapsed();
        assert!(slept >= SHORT, "{slept:?}");
        ctx.sleep(3600 * SECOND).await.unwrap_or(());
        pending::<Result<(), ContextError>>().await
    });
    let error = group.wait().await.unwrap_err();
    assert!(error.is_deadline_exceeded(), "{error}");
}

/// §3: with a `ManualClock` the same test runs in virtual time on any runtime.
pub async fn deadline_in_virtual_time<R: Runtime>(place: R::Place) {
    let clock = ManualClock::new();
    let ctx = R::background()
        .with_clock(clock.clone())
        .with_timeout_cause(3600 * SECOND, "an hour has passed");
    let group = place.group::<()>(&ctx);
    group.spawn(async { pending::<Result<_, Infallible>>().await });
    let start = clock.now();
    let advance = async {
        while !clock.advance_to_next() {
            R::others_run().await;
        }
    };
    let (outcome, ()) = join(group.wait(), advance).await;
    let error = outcome.unwrap_err();
    assert!(error.is_deadline_exceeded());
    assert_ended(&error, "context deadline exceeded: an hour has passed");
    assert_eq!(clock.now() - start, 3600 * SECOND);
    assert_eq!(clock.armed(), 0);
}

/// §2: `on_done` callbacks run once each; a stopped one does not; the failure of a task is an end.
pub async fn on_done<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    let (sender, receiver) = async_channel::unbounded();
    let stopped = {
        let sender = sender.clone();
        group.context().on_done(move || {
            let _ = sender.try_send("stopped");
        })
    };
    let ctx = group.context().clone();
    let kept = ctx.on_done(move || {
        let _ = sender.try_send("called");
    });
    assert!(stopped.stop());
    assert!(!stopped.stop());
    group.spawn(async { Err("down") });
    group.wait().await.unwrap_err();
    assert!(!kept.stop());
    assert_eq!(receiver.recv().await, Ok("called"));
    assert!(receiver.recv().await.is_err(), "each is called once");
}

/// §2: a value travels to the tasks, the nearest of its type.
pub async fn values_reach_the_tasks<R: Runtime>(place: R::Place) {
    let request = R::background().with_value(1_u64).with_value("user");
    let group = place.group(&request.with_value(2_u64));
    for _ in 0..2 {
        let ctx = group.context().clone();
        group.spawn(async move {
            yield_now().await;
            let number = *ctx.value::<u64>().expect("a number");
            Ok::<_, Infallible>((number, ctx.value::<&str>().copied()))
        });
    }
    assert_eq!(group.wait().await.unwrap(), [(2, Some("user")); 2]);
}

/// §2: a linked context ends when the first of several ends, with that one's cause.
pub async fn linked<R: Runtime>(place: R::Place) {
    let (request, _request) = R::background().with_cancel();
    let (server, shutdown) = R::background().with_cancel();
    let group = place.group::<()>(&Context::linked([request.clone(), server]));
    let running = Gate::default();
    let opening = running.clone();
    group.spawn(async move {
        opening.open();
        pending::<Result<_, Infallible>>().await
    });
    let shut_down = async {
        running.wait().await;
        shutdown.cancel_with("shutting down");
    };
    let (outcome, ()) = join(group.wait(), shut_down).await;
    let error = outcome.unwrap_err();
    assert_ended(&error, "context canceled: shutting down");
    assert_eq!(error.pending(), ["task 0"]);
    assert!(!request.is_done());
}

/// §2: `check` and `try_run`: one `?`, and the cause comes with it.
pub async fn check_and_try_run<R: Runtime>(place: R::Place) {
    let (ctx, canceller) = R::background().with_cancel();
    let group = place.group(&R::background());
    let running = Gate::default();
    let opening = running.clone();
    let own = ctx.clone();
    group.spawn(async move {
        own.check()?;
        let page = own.try_run(async { Ok::<_, std::fmt::Error>("page") });
        let page = page.await?;
        opening.open();
        own.done().await;
        let forever = async {
            pending::<()>().await;
            Ok::<_, std::fmt::Error>(())
        };
        let cut = own.try_run(forever).await.unwrap_err();
        let checked = own.check().unwrap_err();
        Ok::<_, BoxError>((page, cut.to_string(), checked.to_string()))
    });
    let cancel = async {
        running.wait().await;
        canceller.cancel_with("client went away");
    };
    let (outcome, ()) = join(group.wait(), cancel).await;
    let said = "context canceled: client went away".to_owned();
    assert_eq!(outcome.unwrap(), [("page", said.clone(), said)]);
}

/// §2: `try_run`: the future's own error, as it is.
pub async fn try_run_fails<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    let ctx = group.context().clone();
    group.spawn_named("page", async move {
        ctx.try_run(async { Err::<(), _>(std::io::Error::other("down")) })
            .await
    });
    let error = group.wait().await.unwrap_err();
    assert_eq!(error.to_string(), "page: down");
    assert!(error.downcast_ref::<std::io::Error>().is_some());
}

/// §2: each clone of a canceller may cancel; the last that is dropped does.
pub async fn last_canceller_is_dropped<R: Runtime>(place: R::Place) {
    let (ctx, canceller) = R::background().with_cancel();
    let group = place.group::<()>(&ctx);
    let running = Gate::default();
    let opening = running.clone();
    group.spawn(async move {
        opening.open();
        pending::<Result<_, Infallible>>().await
    });
    let clone = canceller.clone();
    let cancel = async {
        running.wait().await;
        drop(canceller);
        assert!(!ctx.is_done(), "a clone lives");
        drop(clone);
    };
    let (outcome, ()) = join(group.wait(), cancel).await;
    let error = outcome.unwrap_err();
    assert!(error.is_canceled());
    assert_eq!(kind(&ctx), Some(ContextErrorKind::Canceled));
    assert_eq!(why(&ctx), "its canceller was dropped");
}

/// §2: `shield`: a commit that has begun runs on to its end though a sibling fails.
pub async fn shield_holds_a_commit_through_a_siblings_failure<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    let (begun, failed, census) = (Gate::default(), Gate::default(), Census::default());
    let committed = Gate::default();
    let (ctx, begins, fails) = (group.context().clone(), begun.clone(), failed.clone());
    let (commits, citizen) = (committed.clone(), census.citizen());
    group.spawn_named("commit", async move {
        let _citizen = citizen;
        let own = ctx.clone();
        ctx.shield(async move {
            begins.open();
            own.done().await;
            fails.open();
            for _ in 0..10 {
                yield_now().await; // more than the one poll that every task has after the end
            }
            commits.open();
        })
        .await;
        pending::<Result<(), Infallible>>().await
    });
    group.spawn_named("profile", async move {
        begun.wait().await;
        Err::<(), _>("down")
    });
    let error = group.wait().await.unwrap_err();
    assert_eq!(error.to_string(), "profile: down");
    assert!(failed.is_open() && committed.is_open());
    assert_eq!((census.born(), census.live()), (1, 0));
}
