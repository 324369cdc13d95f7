//! Section 4 of the contract: `stop`, an end without a failure.

use crate::executor::{Executor, Living, Polled, remote};
use crate::group::*;
use crate::support::{Count, SECOND, at_most, manual};
use failfast::{Context, Ending, ErrorKind, Group, InPlaceGroup};
use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::task::Poll;

/// "`wait` returns what finished"
#[test]
fn wait_after_stop_returns_what_finished() {
    let pair = pair(|group| group);
    pair.one.succeed(1);
    pair.executor.run();
    pair.group.stop();
    assert_eq!(pair.executor.drive(pair.group.wait()).unwrap(), [1]);
    assert_eq!(pair.living.count(), 0);
    drop(pair.two);
}

/// … and those that finish in the last poll.
#[test]
fn task_finishes_in_its_last_poll_after_stop() {
    let executor = Executor::new();
    let group = group(&executor);
    let living = Living::default();
    group.spawn(until_done(group.context().clone(), living.one(), 1));
    group.spawn(stuck(living.one()));
    group.spawn(until_done(group.context().clone(), living.one(), 3));
    executor.run();
    group.stop();
    assert_eq!(executor.drive(group.wait()).unwrap(), [1, 3]);
    assert_eq!(living.count(), 0);
}

/// "`ready()` is `Err` from then on"
#[test]
fn nothing_is_let_in_after_stop() {
    let executor = Executor::new();
    let group = group::<u32>(&executor).with_limit(at_most(1));
    let living = Living::default();
    group.spawn(stuck(living.one()));
    let handle = group.handle();
    let mut waiting = Polled::new(group.ready());
    assert!(waiting.is_pending());
    executor.run();
    handle.stop();
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.ready().unwrap_err().kind(), ErrorKind::Canceled);
    drop(waiting);
    for _ in 0..2 {
        assert!(Polled::new(group.ready()).ready().is_err());
        assert!(Polled::new(handle.ready()).ready().is_err());
    }
    assert!(group.try_spawn(ready(Ok::<_, Infallible>(1))).is_err());
    assert!(handle.spawn(ready(Ok::<_, Infallible>(1))).is_err());
    assert!(
        handle
            .spawn_background(ready(Ok::<_, Infallible>(())))
            .is_err()
    );
    group.spawn(ready(Ok::<_, Infallible>(1)));
    assert_eq!(executor.drive(group.wait()).unwrap(), []);
    assert_eq!((executor.spawned(), living.count()), (1, 0));
}

/// "Every end says why."
#[test]
fn context_has_the_cause_that_the_group_was_stopped() {
    let executor = Executor::new();
    let (group, ctx) = Group::<u32>::with_context(&Context::background(), executor.spawner());
    let made = format!("the group made at {}:{} was stopped", file!(), line!() - 1);
    group.stop();
    assert!(ctx.err().unwrap().is_canceled());
    assert_eq!(ctx.cause().unwrap().to_string(), made);
    group.stop();
    group.cancel_with("too late");
    assert_eq!(
        ctx.cause().unwrap().to_string(),
        made,
        "the first end is the end"
    );
    assert_eq!(executor.drive(group.wait()).unwrap(), []);
}

/// "Handles have it too": a task stops its own group while that is waited for.
#[test]
fn task_stops_its_own_group() {
    let executor = Executor::new();
    let group = group(&executor);
    let living = Living::default();
    let handle = group.handle();
    group.spawn(stuck(living.one()));
    group.spawn(async move {
        handle.stop();
        Ok::<_, Infallible>(2)
    });
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    executor.run();
    assert!(wait.is_woken());
    assert_eq!(wait.ready().unwrap(), [2]);
    assert_eq!(living.count(), 0);
}

/// What happened first is the error.
#[test]
fn task_failed_before_stop() {
    let pair = pair(|group| group.with_grace(SECOND));
    pair.two.fail("refused");
    pair.executor.run();
    pair.group.stop();
    pair.one.succeed(1);
    let error = pair.executor.drive(pair.group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "two: refused");
}

/// Echoes of `stop` are no failures either.
#[test]
fn task_returns_an_echo_of_stop() {
    let executor = Executor::new();
    let (group, ctx) = Group::<u32>::with_context(&Context::background(), executor.spawner());
    group.spawn(async { Ok::<_, Infallible>(1) });
    group.spawn(async move { ctx.run(std::future::pending::<u32>()).await });
    executor.run();
    group.stop();
    assert_eq!(executor.drive(group.wait()).unwrap(), [1]);
}

#[test]
fn queue_is_skipped_after_stop() {
    let executor = Executor::new();
    let group = group(&executor).with_limit(at_most(1));
    let living = Living::default();
    let (first, task) = remote::<_, Infallible>(&living);
    group.spawn(task);
    let polls = Count::default();
    for _ in 0..5 {
        let (polls, life) = (polls.clone(), living.one());
        group.spawn(poll_fn(move |_| {
            let _ = &life;
            polls.add();
            Poll::Ready(Ok::<_, Infallible>(2))
        }));
    }
    executor.run();
    first.succeed(1);
    group.stop();
    assert_eq!(executor.drive(group.wait()).unwrap(), [1]);
    assert_eq!((polls.get(), living.count()), (0, 0));
}

#[test]
fn next_after_stop_gives_what_finished_and_ends() {
    let pair = pair(|group| group);
    let mut group = pair.group;
    pair.two.succeed(2);
    pair.executor.run();
    group.stop();
    pair.executor.run();
    assert_eq!(pair.executor.drive(group.next()).unwrap().unwrap(), 2);
    assert!(pair.executor.drive(group.next()).is_none());
    drop(pair.one);
}

#[test]
fn outcomes_after_stop() {
    let pair = pair(|group| group.with_ending(Ending::Settle));
    pair.two.succeed(2);
    pair.executor.run();
    pair.group.stop();
    let outcomes = pair.executor.drive(pair.group.outcomes()).unwrap();
    assert_eq!(
        outcomes[0].1.as_ref().unwrap_err().kind(),
        ErrorKind::Canceled
    );
    assert_eq!(outcomes[1].1.as_ref().unwrap(), &2);
    drop(pair.one);
}

#[test]
fn background_tasks_end_with_stop() {
    let pair = pair(|group| group);
    pair.group.spawn_background(stuck(pair.living.one()));
    pair.executor.run();
    pair.group.stop();
    assert_eq!(pair.executor.drive(pair.group.wait()).unwrap(), []);
    assert_eq!(pair.living.count(), 0);
    drop((pair.one, pair.two));
}

/// The ladder is the same: grace first.
#[test]
fn grace_after_stop() {
    let (clock, root) = manual();
    let executor = Executor::new();
    let (group, _) = Group::<u32>::with_context(&root, executor.spawner());
    let group = group.with_grace(SECOND);
    let living = Living::default();
    let (one, task) = remote::<_, Infallible>(&living);
    group.spawn(task);
    group.spawn(stuck(living.one()));
    executor.run();
    group.stop();
    executor.run();
    assert_eq!(living.count(), 2);
    one.succeed(1);
    executor.run();
    clock.advance(SECOND);
    assert_eq!(executor.drive(group.wait()).unwrap(), [1]);
    assert_eq!((living.count(), clock.armed()), (0, 0));
}

#[test]
fn group_in_place_is_stopped() {
    let executor = Executor::<failfast::Task>::new();
    let living = Living::default();
    let group = InPlaceGroup::new(&Context::background());
    let handle = group.handle();
    group.spawn(stuck(living.one()));
    group.spawn(async { Ok::<_, Infallible>(2) });
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    handle.stop();
    assert!(wait.is_woken());
    assert_eq!(executor.finish(&mut wait).unwrap(), [2]);
    assert_eq!(living.count(), 0);
}
