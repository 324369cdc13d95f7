//! Section 4 of the contract: fail fast; what happened first is the error; one error shape.

use crate::executor::{Executor, Life, Living, Polled, Remote, on_wake, remote};
use crate::group::*;
use crate::support::{Deaf, SECOND, at_most};
use failfast::clock::ManualClock;
use failfast::context::ContextErrorKind;
use failfast::{Context, Ending, Error, ErrorKind, Group};
use futures::FutureExt;
use smol::future::yield_now;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// "The first failure (by completion) is recorded, *then* the context is cancelled with it as the cause,
/// then the slot is released, then waiters wake."
#[test]
fn waker_of_each_waiter_finds_the_failure_recorded() {
    let pair = pair(|group| group.with_limit(at_most(2)));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let look = |who: &'static str| {
        let (seen, ctx) = (seen.clone(), pair.group.context().clone());
        on_wake(move || {
            let cause = ctx.cause().map(|cause| cause.to_string());
            seen.lock().unwrap().push((who, ctx.is_done(), cause));
        })
    };
    let mut done = Box::pin(pair.group.context().done());
    let done_waker = look("done");
    assert!(
        done.as_mut()
            .poll(&mut std::task::Context::from_waker(&done_waker))
            .is_pending()
    );
    let ready_waker = look("ready");
    let wait_waker = look("wait");
    let mut turn = Box::pin(pair.group.ready());
    assert!(
        turn.as_mut()
            .poll(&mut std::task::Context::from_waker(&ready_waker))
            .is_pending()
    );
    pair.one.fail("connection refused");
    pair.executor.poll(0);
    let cause = Some("one: connection refused".to_owned());
    let told = std::mem::take(&mut *seen.lock().unwrap());
    assert!(
        told.iter().all(|(_, done, why)| *done && *why == cause),
        "{told:?}"
    );
    let who: Vec<_> = told.iter().map(|(who, ..)| *who).collect();
    assert!(who.contains(&"done") && who.contains(&"ready"), "{who:?}");
    drop(turn);
    let mut wait = Box::pin(pair.group.wait());
    assert!(
        wait.as_mut()
            .poll(&mut std::task::Context::from_waker(&wait_waker))
            .is_pending()
    );
    pair.executor.run(); // the sibling ends: the slot is released before the waiter is woken
    assert_eq!(*seen.lock().unwrap(), [("wait", true, cause)]);
    assert!(wait.as_mut().now_or_never().unwrap().is_err());
}

/// "then the slot is released, then waiters wake": a waiter that wakes finds the task gone.
#[test]
fn waker_of_wait_finds_the_task_gone() {
    let pair = pair(|group| group);
    let (sender, receiver) = mpsc::channel();
    let living = pair.living.clone();
    let waker = on_wake(move || sender.send(living.count()).unwrap());
    let mut wait = Box::pin(pair.group.wait());
    assert!(
        wait.as_mut()
            .poll(&mut std::task::Context::from_waker(&waker))
            .is_pending()
    );
    pair.one.succeed(1);
    pair.executor.run();
    assert!(receiver.try_recv().is_err(), "woken for nothing");
    pair.two.succeed(2);
    pair.executor.run();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [0]);
    assert_eq!(wait.as_mut().now_or_never().unwrap().unwrap(), [1, 2]);
}

/// "Siblings' echoes of the cancellation never replace or hide it."
#[test]
fn echoes_come_before_and_after_in_the_order_of_spawning() {
    for culprit in 0..3 {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        for number in 0..3 {
            let ctx = group.context().clone();
            group.spawn(async move {
                if number != culprit {
                    ctx.done().await;
                    return Err("context canceled".to_owned());
                }
                yield_now().await; // so that all have started
                Err(format!("failure of {number}"))
            });
        }
        for number in 0..3 {
            executor.poll(number);
        }
        executor.run_backwards();
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("task {culprit}: failure of {culprit}")
        );
        assert_eq!(error.others().len(), 2, "a text of their own is no echo");
    }
}

/// "`others`: real failures, no echoes": the context's own error is one, as it is and inside one of the user's.
#[test]
fn echoes_are_not_among_the_others() {
    #[derive(Debug, thiserror::Error)]
    #[error("no page: {0}")]
    struct NoPage(#[source] failfast::ContextError);

    for wrapped in [false, true] {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let ctx = group.context().clone();
        group.spawn(async move {
            let echo = ctx.run(pending::<()>()).await.unwrap_err();
            match wrapped {
                false => Err(failfast::BoxError::from(echo)),
                true => Err(NoPage(echo).into()),
            }
        });
        group.spawn_named("profile", async {
            yield_now().await;
            Err("refused")
        });
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "profile: refused");
        assert_eq!(error.others().len(), 0);
    }
}

/// "by completion", not by the order of spawning.
#[test]
fn second_task_fails_before_the_first() {
    let pair = pair(|group| group.with_grace(SECOND));
    pair.two.fail("came first");
    pair.executor.run();
    pair.one.fail("came second");
    pair.executor.run();
    let error = pair.executor.drive(pair.group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "two: came first");
    assert_eq!(error.others()[0].to_string(), "one: came second");
}

/// "bounded: the first N and a count"
#[test]
fn hundred_tasks_fail() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    for number in 0..100 {
        group.spawn(async move {
            yield_now().await; // so that all have started before the first fails
            Err(format!("failure {number}"))
        });
    }
    let error = executor.drive(group.wait()).unwrap_err();
    let others = error.others();
    let told: Vec<_> = others.iter().map(ToString::to_string).collect();
    let first: Vec<_> = (1..=told.len())
        .map(|n| format!("task {n}: failure {n}"))
        .collect();
    assert_eq!(told, first);
    assert!((1..99).contains(&told.len()));
    assert_eq!(error.omitted() + told.len(), 99);
}

/// "The others, in the order of their coming".
#[test]
fn tasks_fail_in_another_order_than_they_were_spawned() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    for number in 0..5 {
        group.spawn(async move {
            yield_now().await;
            Err(format!("failure {number}"))
        });
    }
    for number in 0..5 {
        executor.poll(number);
    }
    executor.run_backwards();
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 4: failure 4");
    let others = error.others();
    let told: Vec<_> = others
        .iter()
        .map(|other| other.task().unwrap().as_str())
        .collect();
    assert_eq!(told, ["task 3", "task 2", "task 1", "task 0"]);
}

/// "Memory follows the living": a failure that `next` has returned is not kept, because it is returned once.
#[test]
fn failure_is_freed_once_next_has_returned_it() {
    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Refused(Life);
    let executor = Executor::new();
    let mut group = group::<()>(&executor).with_ending(Ending::Settle);
    let living = Living::default();
    for count in 0..2 {
        let refused = Refused(living.one());
        group.spawn(async move { Err(refused) });
        executor.run();
        assert_eq!(living.count(), 1, "in round {count}");
        drop(Polled::new(group.next()).ready().unwrap().unwrap_err());
        assert_eq!(living.count(), 0, "in round {count}");
    }
}

/// A failure that was tolerated and returned by `next` is returned once: not by `wait` again.
#[test]
fn failure_that_next_has_returned_is_not_returned_by_wait_again() {
    let executor = Executor::new();
    let mut group = group::<()>(&executor).with_ending(Ending::Settle);
    group.spawn(async { Err("first") });
    let first = executor.drive(group.next()).unwrap().unwrap_err();
    assert_eq!(first.to_string(), "task 0: first");
    group.spawn(async { Err("second") });
    group.spawn(async { Err("third") });
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 1: second");
    let others: Vec<_> = error.others().iter().map(ToString::to_string).collect();
    assert_eq!(others, ["task 2: third"]);
}

/// Names are kept by place, however many had none before.
#[test]
fn task_with_a_name_fails_among_many_without() {
    for before in [3, 4, 5, 40] {
        let executor = Executor::new();
        let mut group = group(&executor);
        for number in 0..before {
            group.spawn(async move { Ok::<_, Infallible>(number) });
        }
        group.spawn_named("profile", async move { Ok::<_, Infallible>(before) });
        executor.run();
        for number in 0..=before {
            let (name, result) = Polled::new(group.next_named()).ready().unwrap();
            let expected = if number == before {
                "profile".to_owned()
            } else {
                format!("task {number}")
            };
            assert_eq!(
                (name.as_str(), result.unwrap()),
                (expected.as_str(), number)
            );
        }
        for number in 0..=before {
            group.spawn(async move { Ok::<_, Infallible>(number) });
        }
        executor.run();
        let named = executor.drive(group.wait_named()).unwrap();
        assert!(
            named.iter().all(|(name, _)| name.starts_with("task ")),
            "{named:?}"
        );
    }
}

/// "Failures are tolerated": what ends the group is the cancellation.
#[test]
fn context_is_cancelled_after_a_failure_that_was_tolerated() {
    let (parent, canceller) = Context::background().with_cancel();
    let executor = Executor::new();
    let (group, _) = Group::<u32>::with_context(&parent, executor.spawner());
    let group = group.with_ending(Ending::FirstOk);
    let living = Living::default();
    group.spawn(async { Err("refused") });
    group.spawn(stuck(living.one()));
    executor.run();
    canceller.cancel_with("client went away");
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "context canceled: client went away (waiting for task 1)"
    );
}

/// A place that is used again has nothing of the task before.
#[test]
fn task_without_a_name_fails_in_the_place_of_one_with_a_name() {
    let executor = Executor::new();
    let mut group = group(&executor);
    group.spawn_named("profile", async { Ok::<_, Infallible>(1) });
    executor.run();
    assert_eq!(Polled::new(group.next()).ready().unwrap().unwrap(), 1);
    group.spawn(async { Err::<u32, _>("refused") });
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 1: refused");
}

/// "A panic is contained in the task, cancels the siblings like an error, and is reported as one."
#[test]
fn task_panics() {
    let Pair {
        executor,
        group,
        living,
        ..
    } = pair(|group| group);
    group.spawn_named("orders", async {
        if true {
            panic!("index out of bounds");
        }
        Ok::<_, Infallible>(0)
    });
    let ctx = group.context().clone();
    let error = executor.drive(group.wait()).unwrap_err();
    assert!(told(&error) == (ErrorKind::Panicked, Some("orders")));
    assert_eq!(error.to_string(), "orders: panicked: index out of bounds");
    assert_eq!(ctx.cause().unwrap().to_string(), error.to_string());
    assert_eq!(living.count(), 0);
}

/// "payload kept; `resume_unwind`"
#[test]
fn panic_with_a_payload_that_is_no_text() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    group.spawn(async {
        std::panic::panic_any(42_u64);
        #[expect(unreachable_code, reason = "it gives the task its type")]
        Ok::<_, Infallible>(())
    });
    let error = executor.drive(group.wait()).unwrap_err();
    let resumed = std::panic::catch_unwind(AssertUnwindSafe(|| error.resume_unwind())).unwrap_err();
    assert_eq!(resumed.downcast_ref::<u64>(), Some(&42));
}

/// `resume_unwind`, "of another kind: panics with the error's text".
#[test]
fn resume_unwind_of_what_is_no_panic() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    group.spawn(async { Err("an error") });
    let error = executor.drive(group.wait()).unwrap_err();
    let resumed = std::panic::catch_unwind(AssertUnwindSafe(|| error.resume_unwind())).unwrap_err();
    let text = resumed.downcast_ref::<String>().map(String::as_str);
    let text = text.or(resumed.downcast_ref::<&str>().copied());
    assert!(text.unwrap().contains("task 0: an error"), "{text:?}");
}

/// "a `Task` dropped before it completed is `ErrorKind::Lost`, with its name"
#[test]
fn executor_drops_a_task() {
    let pair = pair(|group| group);
    pair.executor.lose(1);
    let error = pair.executor.drive(pair.group.wait()).unwrap_err();
    assert!(told(&error) == (ErrorKind::Lost, Some("two")));
    assert!(error.to_string().starts_with("two: lost"));
    assert_eq!(pair.living.count(), 0);
    drop(pair.one);
}

/// "Parent ends while all tasks succeed: `Ok`."
#[test]
fn tasks_succeed_though_the_parent_has_ended() {
    let executor = Executor::new();
    let (parent, canceller) = Context::background().with_cancel();
    let (group, ctx) = Group::with_context(&parent, executor.spawner());
    let living = Living::default();
    group.spawn(until_done(ctx.clone(), living.one(), 1));
    group.spawn(until_done(ctx, living.one(), 2));
    executor.run();
    canceller.cancel();
    assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
    assert_eq!(living.count(), 0);
}

/// "Parent ended before: nothing starts."
#[test]
fn parent_had_ended_before_the_group_was_made() {
    let executor = Executor::new();
    let late = Context::background().with_timeout(Duration::ZERO);
    let (group, ctx) = Group::with_context(&late, executor.spawner());
    let living = Living::default();
    let life = living.one();
    group.spawn(async move {
        let _life = life;
        unreachable!("it must not be polled");
        #[expect(unreachable_code, reason = "it gives the task its type")]
        Ok::<_, Infallible>(())
    });
    assert!(ctx.is_done());
    assert_eq!((executor.spawned(), living.count()), (0, 0));
    let error = executor.drive(group.wait()).unwrap_err();
    assert!(error.is_deadline_exceeded() && !error.is_canceled());
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(error.task().is_none());
}

/// "Every end says why. A group that ended well: "the group made at FILE:LINE has finished"."
#[test]
fn context_after_success() {
    let executor = Executor::new();
    let (group, ctx) = Group::with_context(&Context::background(), executor.spawner());
    let why = format!("the group made at {}:{} has finished", file!(), line!() - 1);
    group.spawn(async { Ok::<_, Infallible>(()) });
    executor.run();
    assert!(!ctx.is_done());
    executor.drive(group.wait()).unwrap();
    assert_eq!(
        ctx.err().map(|error| error.kind()),
        Some(ContextErrorKind::Canceled)
    );
    assert_eq!(ctx.cause().unwrap().to_string(), why);
    assert_eq!(
        ctx.err().unwrap().to_string(),
        format!("context canceled: {why}")
    );
}

/// "What happened first is the error."
mod first_is_the_error {
    use super::*;

    fn tasks_return(then: impl Fn(Remote<u32>)) -> (Error, Error) {
        let clock = ManualClock::new();
        let parent = Context::background()
            .with_clock(clock.clone())
            .with_timeout(SECOND);
        let by_deadline = ended_by(&parent, |_| clock.advance(SECOND), &then);
        let by_hand = ended_by(
            &Context::background(),
            |group| group.cancel_with(std::io::Error::other("disk full")),
            &then,
        );
        (by_deadline, by_hand)
    }

    fn ended_by(
        parent: &Context,
        end: impl FnOnce(&Group<u32>),
        then: impl Fn(Remote<u32>),
    ) -> Error {
        let executor = Executor::new();
        let (group, _) = Group::with_context(parent, executor.spawner());
        let group = group.with_grace(SECOND);
        let living = Living::default();
        let (one, task) = remote::<_, &str>(&living);
        group.spawn(task);
        let (two, task) = remote::<_, &str>(&living);
        group.spawn(task);
        executor.run();
        end(&group);
        two.succeed(2);
        then(one);
        executor.run();
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(living.count(), 0);
        error
    }

    #[test]
    fn context_ends_before_a_task_fails() {
        let (deadline, by_hand) = tasks_return(|task| task.fail("context deadline exceeded"));
        assert!(deadline.is_deadline_exceeded());
        assert_eq!(
            deadline.to_string(),
            "context deadline exceeded (waiting for task 0, task 1)"
        );
        assert_eq!(deadline.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(pending_in(&deadline), ["task 0", "task 1"]);
        assert!(by_hand.is_canceled());
        assert_eq!(
            by_hand.to_string(),
            "context canceled: disk full (waiting for task 0, task 1)"
        );
        assert_eq!(by_hand.kind(), ErrorKind::Canceled);
        assert!(by_hand.downcast_ref::<std::io::Error>().is_some());
    }

    #[test]
    fn parent_is_cancelled_before_a_task_panics() {
        let executor = Executor::new();
        let (parent, canceller) = Context::background().with_cancel();
        let (group, ctx) = Group::<()>::with_context(&parent, executor.spawner());
        group.spawn(async move {
            ctx.done().await;
            if ctx.is_done() {
                panic!("out of order");
            }
            Ok::<_, Infallible>(())
        });
        executor.run();
        canceller.cancel_with("client went away");
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "context canceled: client went away (waiting for task 0)"
        );
    }

    #[test]
    fn task_fails_before_the_deadline() {
        let clock = ManualClock::new();
        let parent = Context::background()
            .with_clock(clock.clone())
            .with_timeout(SECOND);
        let executor = Executor::new();
        let (group, ctx) = Group::<()>::with_context(&parent, executor.spawner());
        group.spawn(async { Err("refused") });
        executor.run();
        clock.advance(SECOND);
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "task 0: refused");
        assert!(!error.is_deadline_exceeded() && !error.is_canceled());
        assert_eq!(
            ctx.err().map(|error| error.kind()),
            Some(ContextErrorKind::Canceled)
        );
    }

    /// The failure finds the deadline passed, which no timer has shown, and is no more than a later failure.
    #[test]
    fn task_fails_after_a_deadline_whose_timer_is_late() {
        let clock = ManualClock::new();
        let parent = Context::background()
            .with_clock(Deaf(clock.clone()))
            .with_timeout(SECOND);
        let executor = Executor::new();
        let (group, _) = Group::<u32>::with_context(&parent, executor.spawner());
        let (task, future) = remote(&Living::default());
        group.spawn(future);
        executor.run();
        clock.advance(SECOND);
        task.fail("refused");
        executor.run();
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        let others: Vec<_> = error.others().iter().map(Error::to_string).collect();
        assert_eq!(others, ["task 0: refused"]);
    }

    /// `cancel_with(cause)` "ends a group without a failure".
    #[test]
    fn cancel_with_after_all_succeeded() {
        let executor = Executor::new();
        let group = group(&executor);
        group.spawn(async { Ok::<_, Infallible>(1) });
        executor.run();
        group.cancel_with("too late");
        assert_eq!(executor.drive(group.wait()).unwrap(), [1]);
    }
}

/// "One error shape."
mod error_shape {
    use super::*;
    use std::error::Error as _;

    #[derive(Debug, thiserror::Error)]
    #[error("connection refused")]
    struct Refused(#[source] std::io::Error);

    fn failed(name: Option<&'static str>) -> (Error, Context) {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let ctx = group.context().clone();
        for _ in 0..3 {
            group.spawn(async { Ok::<_, Infallible>(()) });
        }
        let fail = async { Err(Refused(std::io::Error::other("port closed"))) };
        match name {
            Some(name) => group.spawn_named(name, fail),
            None => group.spawn(fail),
        }
        (executor.drive(group.wait()).unwrap_err(), ctx)
    }

    #[test]
    fn display_of_named_and_unnamed() {
        assert_eq!(
            failed(Some("profile")).0.to_string(),
            "profile: connection refused"
        );
        assert_eq!(failed(None).0.to_string(), "task 3: connection refused");
    }

    /// "Each text is there once in a chain": the task's own error, which the error quotes, is reached by
    /// `downcast_ref`, and `source` goes on from there.
    #[test]
    fn source_goes_on_from_the_tasks_own_error() {
        let (error, _) = failed(Some("profile"));
        let own = error.downcast_ref::<Refused>().unwrap();
        assert_eq!(own.to_string(), "connection refused");
        assert_eq!(error.source().unwrap().to_string(), "port closed");
        assert!(error.source().unwrap().source().is_none());
    }

    #[test]
    fn downcast_gets_the_tasks_error_back() {
        let (error, _) = failed(Some("profile"));
        assert!(error.downcast_ref::<Refused>().is_some());
        assert!(error.downcast_ref::<std::io::Error>().is_some());
        assert!(error.downcast_ref::<std::fmt::Error>().is_none());
    }

    /// "It is shared, not copied, with the context's cause."
    #[test]
    fn clones_and_the_cause_share_the_error() {
        let (error, ctx) = failed(Some("profile"));
        let address = |error: &Refused| std::ptr::from_ref(error);
        let one = address(error.downcast_ref().unwrap());
        assert_eq!(one, address(error.clone().downcast_ref().unwrap()));
        assert_eq!(one, address(ctx.cause().unwrap().downcast_ref().unwrap()));
        assert_eq!(
            ctx.cause().unwrap().to_string(),
            "profile: connection refused"
        );
    }

    #[test]
    fn error_is_clone_send_and_sync() {
        fn check<E: Clone + Send + Sync + 'static>() {}
        check::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>(), "one word wide");
    }
}
