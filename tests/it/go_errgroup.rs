//! The cases of Go's `golang.org/x/sync/errgroup`, written anew; where we differ on purpose, a test has the reason.

use crate::executor::{Executor, Living, Polled, remote};
use crate::support::at_most;
use failfast::context::ContextErrorKind;
use failfast::{Context, Group};
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

/// `errDoom` and friends: what each task returns, and what `Wait` is to return.
type Case = (&'static [Result<(), &'static str>], Option<&'static str>);

const CASES: [Case; 4] = [
    (&[], None),
    (&[Ok(())], None),
    (&[Err("doomed")], Some("task 0: doomed")),
    (&[Err("doomed"), Ok(())], Some("task 0: doomed")),
];

/// `ExampleGroup_justErrors`: a group in place of a `WaitGroup`, for the errors alone.
#[test]
fn just_errors() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner());
    for url in ["http://a", "http://b", "http://c"] {
        group.spawn(async move { url.strip_prefix("http://").map(drop).ok_or("not found") });
    }
    assert!(executor.drive(group.wait()).is_ok());
}

/// `ExampleGroup_parallel`: results in the order of the searches. Go's writes them into a slice by index;
/// ours come from `wait`.
#[test]
fn parallel() {
    let executor = Executor::new();
    let (group, _ctx) = Group::with_context(&Context::background(), executor.spawner());
    for kind in ["web", "image", "video"] {
        group.spawn(async move { Ok::<_, Infallible>(format!("{kind} result for \"golang\"")) });
    }
    executor.run_backwards();
    let results = executor.drive(group.wait()).unwrap();
    assert_eq!(results[0], "web result for \"golang\"");
    assert_eq!(results[2], "video result for \"golang\"");
}

/// `TestZeroGroup`: the first error wins, whichever comes after it.
///
/// We differ: Go's test waits after each `Go`, on the same group. Ours is consumed by `wait`, for a group
/// whose context has ended can start nothing that lives (Go's goes on with a cancelled context, silently).
/// `next` gives results as they come.
#[test]
fn first_error_wins() {
    let tasks = [Err("1"), Ok(()), Err("2")];
    for many in 0..=3 {
        let executor = Executor::new();
        let group = Group::new(executor.spawner());
        for result in tasks.into_iter().take(many) {
            group.spawn(ready(result));
        }
        let error = executor
            .drive(group.wait())
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.as_deref(), (many > 0).then_some("task 0: 1"));
    }
}

/// `TestWithContext`: `wait` returns the first error, and the context is done afterwards, on success too.
#[test]
fn with_context() {
    for (tasks, want) in CASES {
        let executor = Executor::new();
        let (group, ctx) = Group::with_context(&Context::background(), executor.spawner());
        for result in tasks {
            group.spawn(ready(*result));
        }
        let error = executor
            .drive(group.wait())
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.as_deref(), want);
        assert!(ctx.is_done());
    }
}

/// `TestTryGo`: it succeeds below the limit, fails at it, and succeeds again once there is room.
///
/// We differ: Go panics where `SetLimit` is called while tasks run, and a limit of 0 blocks all calls. Our limit may
/// be changed at any time, and 0 can't be expressed, because a group that starts nothing waits for ever.
#[test]
fn try_go() {
    let executor = Executor::new();
    let living = Living::default();
    let mut group = Group::new(executor.spawner()).with_limit(at_most(42));
    let mut remotes = Vec::new();
    for _ in 0..42 {
        let (remote, task) = remote::<_, &str>(&living);
        assert!(group.try_spawn(task).is_ok());
        remotes.push(remote);
    }
    assert!(group.try_spawn(ready(Ok::<_, &str>(()))).is_err());
    remotes.into_iter().for_each(|remote| remote.succeed(()));
    executor.run();
    let (last, task) = remote::<_, &str>(&living);
    assert!(group.try_spawn(task).is_ok());
    group = group.with_limit(at_most(1)); // one is running: at the new limit
    assert!(group.try_spawn(ready(Ok::<_, &str>(()))).is_err());
    last.succeed(());
    assert_eq!(executor.drive(group.wait()).unwrap().len(), 43);
}

/// `TestGoLimit`: never more at once than the limit.
///
/// We differ: Go's `Go` blocks the caller at the limit, so it can't be cancelled, and a task that calls it
/// deadlocks. Our `spawn` queues; `ready().await` is the blocking half, and cancellation releases it.
#[test]
fn go_limit() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner()).with_limit(at_most(10));
    let active = Arc::new(AtomicUsize::new(0));
    for _ in 0..=1024 {
        let active = active.clone();
        group.spawn(async move {
            let now = active.fetch_add(1, SeqCst) + 1;
            yield_once().await;
            active.fetch_sub(1, SeqCst);
            if now > 10 {
                Err(format!("saw {now}"))
            } else {
                Ok(())
            }
        });
    }
    assert_eq!(executor.drive(group.wait()).unwrap().len(), 1025);
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        match std::mem::replace(&mut yielded, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// The deadlock of hazard 12: a task that calls `Go` at the limit.
#[test]
fn task_spawns_at_the_limit() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner()).with_limit(at_most(1));
    let handle = group.handle();
    group.spawn(async move {
        handle.spawn(ready(Ok::<_, &str>(2))).map_err(|_| "ended")?;
        Ok::<_, &str>(1)
    });
    assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
}

/// Hazard 12: a wait for a place that can't be cancelled.
#[test]
fn failure_releases_the_waiter_for_a_place() {
    let executor = Executor::new();
    let living = Living::default();
    let group = Group::<()>::new(executor.spawner()).with_limit(at_most(1));
    let (task_fails, task) = remote(&living);
    group.spawn(task);
    let mut place = Polled::new(group.ready());
    assert!(place.is_pending());
    task_fails.fail("doomed");
    executor.run();
    assert_eq!(place.ready().unwrap_err().to_string(), "task 0: doomed");
}

/// `TestCancelCause`: the context's cause is the first error; it is `Canceled` after success.
///
/// We differ: the cause is our whole error, with the task's name; `downcast_ref` gets the task's own. After success
/// it is that the group has finished, and where that was made.
#[test]
fn cancel_cause() {
    for (tasks, want) in CASES {
        let executor = Executor::new();
        let (group, ctx) = Group::with_context(&Context::background(), executor.spawner());
        let finished = format!("the group made at {}:{} has finished", file!(), line!() - 1);
        for result in tasks {
            assert!(group.try_spawn(ready(*result)).is_ok());
        }
        let _ = executor.drive(group.wait());
        assert_eq!(ctx.cause().unwrap().to_string(), want.unwrap_or(&finished));
        assert_eq!(
            ctx.err().map(|error| error.kind()),
            Some(ContextErrorKind::Canceled)
        );
    }
}

/// We differ: a panic in a goroutine of errgroup's ends the program; here it fails the group, and the waiter may go
/// on with it (`resume_unwind`), as conc does.
#[test]
fn task_panics() {
    let executor = Executor::new();
    let group = Group::<()>::new(executor.spawner());
    group.spawn(async {
        if true {
            panic!("boom");
        }
        Ok::<_, Infallible>(())
    });
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 0: panicked: boom");
}
