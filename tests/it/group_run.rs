//! Section 4 of the contract: `run`, a body that takes part.

use crate::executor::{Executor, Life, Living, Polled, remote};
use crate::group::*;
use crate::support::{Count, SECOND, manual, on_wake, poll};
use failfast::{BoxError, Context, ErrorKind, Group, InPlaceGroup, LocalInPlaceGroup};
use smol::future::yield_now;
use std::convert::Infallible;
use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Poll;

#[test]
fn body_gives_the_value() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    assert_eq!(executor.drive(group.run(ready(Ok(5)))).unwrap(), 5);
}

/// "It returns when every task is gone, after an early `Ok` too."
#[test]
fn body_is_through_before_the_tasks() {
    let Pair {
        executor,
        group,
        living,
        one,
        two,
    } = pair(|group| group);
    let ctx = group.context().clone();
    let mut run = Polled::new(group.run(ready(Ok(5))));
    assert!(run.is_pending());
    assert!(!ctx.is_done(), "the tasks go on");
    one.succeed(1);
    executor.run();
    assert!(run.is_pending());
    two.succeed(2);
    executor.run();
    assert_eq!(living.count(), 0);
    assert_eq!(run.ready().unwrap(), 5);
    assert!(ctx.is_done());
}

/// The value is the body's: no result is kept, not even of a task that has ended before.
#[test]
fn results_are_dropped_while_the_body_runs() {
    let executor = Executor::new();
    let group = group::<Life>(&executor);
    let results = Living::default();
    let (one, task) = remote::<_, &str>(&Living::default());
    group.spawn(task);
    let (two, task) = remote::<_, &str>(&Living::default());
    group.spawn(task);
    executor.run();
    one.succeed(results.one());
    executor.run();
    assert_eq!(results.count(), 1, "`wait` would return it");
    let mut run = Polled::new(group.run(pending::<Result<(), BoxError>>()));
    assert!(run.is_pending());
    assert_eq!(results.count(), 0);
    two.succeed(results.one());
    executor.run();
    assert_eq!(results.count(), 0);
}

/// "Nothing outlives `run`": the last result has been dropped when it is woken.
#[test]
fn result_is_dropped_before_the_run_is_woken() {
    let executor = Executor::new();
    let group = group::<Life>(&executor);
    let results = Living::default();
    let (one, task) = remote::<_, &str>(&Living::default());
    group.spawn(task);
    executor.run();
    let (seen, its_results) = (Arc::new(Mutex::new(Vec::new())), results.clone());
    let sees = seen.clone();
    let waker = on_wake(move || sees.lock().unwrap().push(its_results.count()));
    let mut run = Box::pin(group.run(ready(Ok(5))));
    assert!(poll(&mut run, &waker).is_pending());
    one.succeed(results.one());
    executor.run();
    assert_eq!(*seen.lock().unwrap(), [0]);
    assert!(matches!(poll(&mut run, &waker), Poll::Ready(Ok(5))));
}

#[test]
fn task_fails_after_the_body_was_through() {
    let Pair {
        executor,
        group,
        living,
        one,
        two,
    } = pair(|group| group);
    let mut run = Polled::new(group.run(ready(Ok(5))));
    assert!(run.is_pending());
    two.fail("refused");
    executor.run();
    let error = run.ready().unwrap_err();
    assert_eq!(error.to_string(), "two: refused");
    assert_eq!(living.count(), 0);
    drop(one);
}

/// "`body` is polled by the caller, beside the group."
#[test]
fn body_is_polled_beside_the_tasks() {
    let pair = pair(|group| group);
    let living = Living::default();
    let (body, its) = remote::<u32, BoxError>(&living);
    let polls = Count::default();
    let count = polls.clone();
    let mut its = Box::pin(its);
    let counted = poll_fn(move |cx| {
        count.add();
        its.as_mut().poll(cx)
    });
    let mut run = Polled::new(pair.group.run(counted));
    assert!(run.is_pending());
    assert_eq!(polls.get(), 1);
    pair.one.succeed(1);
    pair.executor.run();
    let _ = run.poll();
    body.succeed(5);
    assert!(run.is_woken());
    assert!(run.is_pending(), "a task is left");
    pair.two.succeed(2);
    pair.executor.run();
    assert_eq!(run.ready().unwrap(), 5);
    assert_eq!(living.count(), 0);
}

/// "Its failure is a task's failure, named `body`."
#[test]
fn body_fails() {
    let Pair {
        executor,
        group,
        living,
        ..
    } = pair(|group| group);
    let ctx = group.context().clone();
    let run = group.run(ready(Err::<u32, BoxError>("no template".into())));
    let error = executor.drive(run).unwrap_err();
    assert_eq!(told(&error), (ErrorKind::Task, Some("body")));
    assert_eq!(error.to_string(), "body: no template");
    assert_eq!(ctx.cause().unwrap().to_string(), "body: no template");
    assert_eq!(living.count(), 0, "the tasks are cancelled, and waited for");
}

/// "if it returns an echo of the group's end, the root cause is the error"
#[test]
fn body_returns_an_echo() {
    let (_clock, root) = manual();
    let executor = Executor::new();
    let (group, ctx) = Group::<()>::with_context(&root, executor.spawner());
    group.spawn_named("profile", async { Err("refused") });
    let error = executor.drive(group.run(async {
        ctx.sleep(60 * SECOND).await?;
        Ok(5)
    }));
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "profile: refused");
    assert_eq!(error.others().len(), 0, "the echo is no failure");
}

/// … also where the echo is the failure of its own fork.
#[test]
fn body_passes_on_the_failure_of_its_fork() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let fork = group.fork("profile", async { Err::<u32, _>("refused") });
    let error = executor.drive(group.run(async { Ok(fork.await?) }));
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "profile: refused");
    assert_eq!(error.others().len(), 0);
}

/// … and wrapped in an error of the user's.
#[test]
fn body_returns_the_failure_of_its_fork() {
    #[derive(Debug, thiserror::Error)]
    #[error("no page: {0}")]
    struct NoPage(#[source] failfast::Error);

    let executor = Executor::new();
    let group = group::<()>(&executor);
    let fork = group.fork("profile", async { Err::<u32, _>("refused") });
    let run = group.run(async { fork.await.map_err(|error| NoPage(error).into()) });
    let error = executor.drive(run).unwrap_err();
    assert_eq!(error.to_string(), "profile: refused");
    assert_eq!(error.others().len(), 0);
}

#[test]
fn body_returns_an_echo_of_the_parents_end() {
    let executor = Executor::new();
    let (parent, canceller) = Context::background().with_cancel();
    let (group, ctx) = Group::<()>::with_context(&parent, executor.spawner());
    let mut run = Polled::new(group.run(async {
        ctx.run(pending::<()>()).await?;
        Ok(5)
    }));
    assert!(run.is_pending());
    canceller.cancel_with("client went away");
    assert!(run.is_woken());
    let error = executor.finish(&mut run).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Canceled);
    assert_eq!(error.cause().unwrap().to_string(), "client went away");
}

/// A failure of the body's own that comes after the end is among the others of what came first.
#[test]
fn body_fails_in_its_last_poll() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let ctx = group.context().clone();
    group.spawn_named("profile", async { Err("refused") });
    let run = group.run(async {
        ctx.done().await;
        Err::<u32, BoxError>("can't tidy up".into())
    });
    let error = executor.drive(run).unwrap_err();
    assert_eq!(error.to_string(), "profile: refused");
    let others: Vec<_> = error.others().iter().map(ToString::to_string).collect();
    assert_eq!(others, ["body: can't tidy up"]);
}

/// "on the group's end it is polled once more and dropped"
#[test]
fn body_that_never_looks_is_polled_once_more() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let living = Living::default();
    let (life, ctx) = (living.one(), group.context().clone());
    let polls = Arc::new(Mutex::new(Vec::new()));
    let seen = polls.clone();
    let (fail, task) = remote::<(), &str>(&Living::default());
    group.spawn_named("profile", task);
    let mut run = Polled::new(group.run(poll_fn(move |_| {
        let _ = &life;
        seen.lock().unwrap().push(ctx.is_done());
        Poll::<Result<u32, BoxError>>::Pending
    })));
    assert!(run.is_pending());
    executor.run();
    fail.fail("refused");
    executor.run();
    assert_eq!(
        executor.finish(&mut run).unwrap_err().to_string(),
        "profile: refused"
    );
    assert_eq!(*polls.lock().unwrap(), [false, true]);
    assert_eq!(living.count(), 0);
}

/// "its panic is contained, as a task's"
#[test]
fn body_panics() {
    let Pair {
        executor,
        group,
        living,
        ..
    } = pair(|group| group);
    let run = group.run(async {
        if true {
            std::panic::resume_unwind(Box::new("bug"));
        }
        Ok(5)
    });
    let error = executor.drive(run).unwrap_err();
    assert_eq!(told(&error), (ErrorKind::Panicked, Some("body")));
    assert_eq!(error.to_string(), "body: panicked: bug");
    assert_eq!(living.count(), 0);
}

/// "Parent ended before: nothing starts."
#[test]
fn parent_had_ended_before_the_body() {
    let (clock, root) = manual();
    let executor = Executor::new();
    let (group, _) = Group::<()>::with_context(&root.with_timeout(SECOND), executor.spawner());
    clock.advance(SECOND);
    let polls = Count::default();
    let count = polls.clone();
    let run = group.run(poll_fn(move |_| {
        count.add();
        Poll::Ready(Ok(5))
    }));
    assert!(executor.drive(run).unwrap_err().is_deadline_exceeded());
    assert_eq!(polls.get(), 0);
}

/// "After `stop()`: the body's value if it is through by its last poll, else kind `Canceled`."
#[test]
fn group_is_stopped_while_the_body_runs() {
    for tidy in [true, false] {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let living = Living::default();
        let (handle, ctx) = (group.handle(), group.context().clone());
        group.spawn(stuck(living.one()));
        let life = living.one();
        let mut run = Polled::new(group.run(async move {
            let _life = life;
            ctx.done().await;
            if !tidy {
                pending::<()>().await;
            }
            Ok("value")
        }));
        assert!(run.is_pending());
        executor.run();
        handle.stop();
        let outcome = executor.finish(&mut run);
        match tidy {
            true => assert_eq!(outcome.unwrap(), "value"),
            false => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Canceled),
        }
        assert_eq!(living.count(), 0);
    }
}

#[test]
fn group_is_stopped_after_the_body_was_through() {
    let executor = Executor::new();
    let group = group::<u32>(&executor);
    let living = Living::default();
    let handle = group.handle();
    group.spawn(stuck(living.one()));
    let mut run = Polled::new(group.run(ready(Ok(5))));
    assert!(run.is_pending());
    executor.run();
    handle.stop();
    executor.run();
    assert_eq!(run.ready().unwrap(), 5);
    assert_eq!(living.count(), 0);
}

/// "Dropped early, nothing leaks": `run` as `wait`.
/// "While a body runs, its deadlines' timers are armed", those of the parent too, and no longer.
#[test]
fn timer_of_the_parent_is_armed_while_the_body_runs() {
    let (clock, root) = manual();
    let parent = root.with_timeout(SECOND);
    for dropped in [false, true] {
        let executor = Executor::new();
        let (group, _) = Group::<()>::with_context(&parent, executor.spawner());
        let (body, its) = remote::<_, BoxError>(&Living::default());
        let mut run = Polled::new(group.run(its));
        assert!(run.is_pending());
        assert_eq!(clock.armed(), 1);
        if !dropped {
            body.succeed(5);
            assert_eq!(run.ready().unwrap(), 5);
        }
        drop(run);
        assert_eq!(clock.armed(), 0);
    }
}

/// The error names the body with the tasks.
#[test]
fn body_and_task_are_pending_at_the_end() {
    let executor = Executor::new();
    let group = group::<u32>(&executor);
    let handle = group.handle();
    group.spawn_named("slow", stuck(Living::default().one()));
    let mut run = Polled::new(group.run(pending::<Result<(), BoxError>>()));
    assert!(run.is_pending());
    executor.run();
    handle.cancel_with("enough");
    let error = executor.finish(&mut run).unwrap_err();
    assert_eq!(pending_in(&error), ["slow", "body"]);
}

#[test]
fn run_is_dropped() {
    let pair = pair(|group| group);
    let life = pair.living.one();
    let ctx = pair.group.context().clone();
    let mut run = Polled::new(pair.group.run(async move {
        let _life = life;
        pending::<Result<u32, BoxError>>().await
    }));
    assert!(run.is_pending());
    drop(run);
    assert!(ctx.is_done());
    assert_eq!(pair.living.count(), 2);
    pair.executor.run();
    assert_eq!(pair.living.count(), 0);
    drop((pair.one, pair.two));
}

/// "in place, `run(body)` polls both": a body that takes its time starves no task.
#[test]
fn tasks_in_place_go_on_while_the_body_waits() {
    let executor = Executor::<failfast::Task>::new();
    let group = InPlaceGroup::<()>::new(&Context::background());
    let done = Count::default();
    for _ in 0..100 {
        let done = done.clone();
        group.spawn(async move {
            yield_now().await;
            done.add();
            Ok::<_, Infallible>(())
        });
    }
    let seen = done.clone();
    let run = group.run(async move {
        while seen.get() < 100 {
            yield_now().await;
        }
        Ok(seen.get())
    });
    assert_eq!(executor.drive(run).unwrap(), 100);
}

/// The body may borrow, and need not be `Send`, whatever the group.
#[test]
fn body_borrows_from_the_caller() {
    let executor = Executor::new();
    let (group, local) = (group::<()>(&executor), Rc::new(5));
    let run = group.run(async { Ok(&local) });
    assert_eq!(**executor.drive(run).unwrap(), 5);

    let place = LocalInPlaceGroup::<u32>::new(&Context::background());
    place.spawn(async { Ok::<_, Infallible>(*local) });
    assert_eq!(
        *executor.drive(place.run(async { Ok(&*local) })).unwrap(),
        5
    );
}
