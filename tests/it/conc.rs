//! The cases of `github.com/sourcegraph/conc`, written anew; where we differ on purpose, a test has the reason.

use crate::executor::{Executor, Living, remote};
use failfast::clock::ManualClock;
use failfast::{Context, Ending, ErrorKind, Group};
use std::convert::Infallible;
use std::future::{pending, ready};
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// `WaitGroup`, "all spawned run".
#[test]
fn all_spawned_run() {
    let executor = Executor::new();
    let count = Arc::new(AtomicUsize::new(0));
    let group = Group::new(executor.spawner());
    for _ in 0..100 {
        let count = count.clone();
        group.spawn(async move { Ok::<_, Infallible>(count.fetch_add(1, SeqCst)) });
    }
    executor.drive(group.wait()).unwrap();
    assert_eq!(count.load(SeqCst), 100);
}

async fn panics(message: &'static str) -> Result<u32, Infallible> {
    if true {
        std::panic::panic_any(message);
    }
    Ok(0)
}

/// `WaitGroup`, "panic is propagated", "one is propagated", "is caught by waitandrecover".
///
/// We differ: conc's `Wait` panics; ours returns an error, like any other, and panics on demand.
#[test]
fn panic_is_propagated_on_demand() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner()).with_ending(Ending::Settle);
    group.spawn(panics("super bad thing"));
    group.spawn(panics("super badder thing"));
    let error = executor.drive(group.wait()).unwrap_err();
    let payload =
        std::panic::catch_unwind(AssertUnwindSafe(|| error.clone().resume_unwind())).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"super bad thing"));
    let others: Vec<_> = error.others().iter().map(|other| other.kind()).collect();
    assert_eq!(others, [ErrorKind::Panicked]);
}

/// `WaitGroup`, "non-panics do not overwrite panic", "non-panics run successfully": that is `Settle`.
#[test]
fn others_run_beside_a_panic() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner()).with_ending(Ending::Settle);
    group.spawn(ready(Ok::<_, Infallible>(1)));
    group.spawn(panics("super bad thing"));
    group.spawn(ready(Ok::<_, Infallible>(3)));
    let outcomes = executor.drive(group.outcomes()).unwrap();
    let succeeded: Vec<_> = outcomes
        .iter()
        .map(|(_, outcome)| outcome.is_ok())
        .collect();
    assert_eq!(succeeded, [true, false, true]);
}

/// `Pool`, "panics do not exhaust goroutines": a panic gives its place back.
#[test]
fn panics_do_not_exhaust_the_limit() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner())
        .with_limit(NonZeroUsize::new(2).unwrap())
        .with_ending(Ending::Settle);
    for _ in 0..10 {
        group.spawn(panics("super bad thing"));
    }
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.others().len(), 9);
}

/// `Pool`, "panics on configuration after init", "panics on invalid WithMaxGoroutines".
///
/// We differ: nothing panics. A limit of 0 can't be expressed, and the limit may be changed at any time.
#[test]
fn limit_is_set_after_the_first_task() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner());
    group.spawn(ready(Ok::<_, Infallible>(1)));
    let group = group.with_limit(NonZeroUsize::MIN);
    group.spawn(ready(Ok::<_, Infallible>(2)));
    assert_eq!(executor.spawned(), 1);
    assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
}

/// "limit", at 1, 10 and 100: never more at once, results in order.
#[test]
fn limit() {
    for limit in [1, 10, 100] {
        let executor = Executor::new();
        let group = Group::new(executor.spawner()).with_limit(NonZeroUsize::new(limit).unwrap());
        let current = Arc::new(AtomicUsize::new(0));
        for number in 0..limit * 10 {
            let current = current.clone();
            group.spawn(async move {
                let now = current.fetch_add(1, SeqCst) + 1;
                let mut yielded = false;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    match std::mem::replace(&mut yielded, true) {
                        true => std::task::Poll::Ready(()),
                        false => std::task::Poll::Pending,
                    }
                })
                .await;
                current.fetch_sub(1, SeqCst);
                if now > limit {
                    Err("too many")
                } else {
                    Ok(number)
                }
            });
        }
        assert_eq!(
            executor.drive(group.wait()).unwrap(),
            Vec::from_iter(0..limit * 10)
        );
        assert_eq!(current.load(SeqCst), 0);
    }
}

/// `ErrorPool`, "wait error is all returned errors"; `ResultErrorPool`, "WithCollectErrored".
///
/// We differ: an error is one error. The first is it, the others are beside it, and `outcomes` has each.
#[test]
fn all_errors_are_there_on_demand() {
    let spawn = |executor: &Executor| {
        let group = Group::new(executor.spawner()).with_ending(Ending::Settle);
        group.spawn(ready(Err::<u32, _>("err1")));
        group.spawn(ready(Ok::<_, &str>(0)));
        group.spawn(ready(Err::<u32, _>("err2")));
        group
    };
    let executor = Executor::new();
    let error = executor.drive(spawn(&executor).wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 0: err1");
    assert_eq!(error.others()[0].to_string(), "task 2: err2");

    // Its issue 156: results after the last error were lost.
    let executor = Executor::new();
    let outcomes = executor.drive(spawn(&executor).outcomes()).unwrap();
    assert_eq!(outcomes.len(), 3);
    assert_eq!(outcomes[1].1.as_ref().unwrap(), &0);
}

/// `ContextPool`, "context error propagates": canceled, timed out, return before timed out.
#[test]
fn context_error_propagates() {
    let clock = ManualClock::new();
    let root = Context::background().with_clock(clock.clone());

    let (parent, canceller) = root.with_cancel();
    let executor = Executor::new();
    let (group, _) = Group::with_context(&parent, executor.spawner());
    group.spawn(pending::<Result<(), Infallible>>());
    canceller.cancel();
    assert!(executor.drive(group.wait()).unwrap_err().is_canceled());

    let executor = Executor::new();
    let (group, _) = Group::with_context(&root.with_timeout(SECOND), executor.spawner());
    group.spawn(pending::<Result<(), Infallible>>());
    executor.run();
    clock.advance(SECOND);
    assert!(
        executor
            .drive(group.wait())
            .unwrap_err()
            .is_deadline_exceeded()
    );

    let executor = Executor::new();
    let (group, _) = Group::with_context(&root.with_timeout(SECOND), executor.spawner());
    group.spawn(ready(Ok::<_, Infallible>(())));
    executor.drive(group.wait()).unwrap();
}

/// `ContextPool`, "WithCancelOnError", "WithFailFast", "WithFirstError": one thing here, the default.
///
/// We differ from "WithCancelOnError": the echoes of the cancellation are never part of the error.
#[test]
fn failure_cancels_the_others() {
    let executor = Executor::new();
    let (group, ctx) = Group::with_context(&Context::background(), executor.spawner());
    let looks = ctx.clone();
    group.spawn(async move {
        looks.done().await;
        Err(looks.err().unwrap())
    });
    group.spawn(ready(Err::<u32, _>("err1")));
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 1: err1");
    assert!(error.downcast_ref::<failfast::ContextError>().is_none());
}

/// `ContextPool`, "no WithCancelOnError": that is `Settle`.
#[test]
fn failure_leaves_the_others_alone() {
    let executor = Executor::new();
    let living = Living::default();
    let group = Group::new(executor.spawner()).with_ending(Ending::Settle);
    let (slow, task) = remote::<_, &str>(&living);
    group.spawn(task);
    group.spawn(ready(Err::<u32, _>("err1")));
    executor.run();
    assert!(!group.context().is_done());
    slow.succeed(0);
    assert_eq!(
        executor.drive(group.wait()).unwrap_err().to_string(),
        "task 1: err1"
    );
}

/// `ContextPool`, "WithCancelOnError and panic": a panic cancels the others, too.
#[test]
fn panic_cancels_the_others() {
    let executor = Executor::new();
    let (group, ctx) = Group::with_context(&Context::background(), executor.spawner());
    let cancelled = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let (ctx, cancelled) = (ctx.clone(), cancelled.clone());
        group.spawn(async move {
            ctx.done().await;
            cancelled.fetch_add(1, SeqCst);
            Err::<u32, _>(ctx.err().unwrap())
        });
    }
    group.spawn(panics("abort!"));
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 2: panicked: abort!");
    assert_eq!(cancelled.load(SeqCst), 2);
}

/// "reuse" (its issue 128): the error of one use stuck to the next.
///
/// We differ: `wait` consumes the group, so there is no next use.
#[test]
fn error_does_not_stick_to_the_next_group() {
    let executor = Executor::new();
    for error in ["err1", "err2"] {
        let group = Group::<u32>::new(executor.spawner());
        group.spawn(ready(Err(error)));
        let told = executor.drive(group.wait()).unwrap_err();
        assert_eq!(told.to_string(), format!("task 0: {error}"));
        assert!(told.others().is_empty());
    }
}

/// Hazard 13: a task that spawns during `Wait` panics there. Here it is let in.
#[test]
fn task_spawns_during_wait() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner());
    let handle = group.handle();
    group.spawn(async move {
        handle.spawn(ready(Ok::<_, &str>(2))).map_err(|_| "ended")?;
        Ok::<_, &str>(1)
    });
    assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
}

/// `ResultPool`, "deterministic order".
#[test]
fn results_come_in_the_order_of_spawning() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner());
    for number in 0..100 {
        group.spawn(ready(Ok::<_, Infallible>(number)));
    }
    executor.run_backwards();
    assert_eq!(
        executor.drive(group.wait()).unwrap(),
        Vec::from_iter(0..100)
    );
}
