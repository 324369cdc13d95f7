//! Section 4 of the contract: nothing outlives `wait`, and the ladder of cancellation.

use crate::executor::{Executor, Life, Living, Polled, on_wake, remote};
use crate::group::*;
use crate::support::{self, SECOND, at_most};
use failfast::clock::ManualClock;
use failfast::{Context, Ending, ErrorKind, Group, InPlaceGroup};
use std::convert::Infallible;
use std::future::{pending, poll_fn, ready};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

/// "each task is woken and polled once more, with its context already done, then dropped"
#[test]
fn sibling_that_never_looks_is_polled_once_more() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let living = Living::default();
    let (life, ctx) = (living.one(), group.context().clone());
    let polls = Arc::new(Mutex::new(Vec::new()));
    let seen = polls.clone();
    group.spawn(poll_fn(move |_| {
        let _ = &life;
        seen.lock().unwrap().push(ctx.is_done());
        Poll::<Result<(), Infallible>>::Pending
    }));
    let (fail, task) = remote::<(), &str>(&living);
    group.spawn(task);
    executor.run();
    fail.fail("refused");
    executor.poll(1);
    assert_eq!(executor.wakes(0), 1);
    assert!(executor.poll(0), "dropped after that poll");
    assert_eq!(*polls.lock().unwrap(), [false, true]);
    assert_eq!(living.count(), 0);
    assert!(executor.drive(group.wait()).is_err());
}

/// A task that finishes with Ok during all this is finished, not failed.
#[test]
fn sibling_finishes_in_its_last_poll() {
    let executor = Executor::new();
    let group = group(&executor).with_ending(Ending::Settle);
    let living = Living::default();
    group.spawn(until_done(group.context().clone(), living.one(), 1));
    group.spawn(stuck(living.one()));
    executor.run();
    group.cancel_with("enough");
    let outcomes = executor.drive(group.outcomes()).unwrap();
    assert_eq!(outcomes[0].1.as_ref().unwrap(), &1);
    assert!(outcomes[1].1.as_ref().unwrap_err().is_canceled());
    assert_eq!(living.count(), 0);
}

/// "It returns when every task's future has been dropped."
#[test]
fn wait_while_a_task_is_not_polled_any_more() {
    let pair = pair(|group| group);
    pair.one.fail("refused");
    pair.executor.poll(0);
    let mut wait = Polled::new(pair.group.wait());
    assert!(wait.is_pending());
    assert_eq!(pair.living.count(), 1);
    pair.executor.poll(1);
    assert_eq!(pair.living.count(), 0);
    assert_eq!(wait.wakes(), 1);
    assert!(wait.ready().is_err());
    drop(pair.two);
}

/// "`with_grace(d)` gives them `d` to finish on their own first."
#[test]
fn grace_passes() {
    let clock = ManualClock::new();
    let executor = Executor::new();
    let parent = Context::background().with_clock(clock.clone());
    let (group, ctx) = Group::with_context(&parent, executor.spawner());
    let group = group.with_grace(SECOND);
    let living = Living::default();
    group.spawn(stuck::<u32>(living.one()));
    let cleanup = ctx.clone();
    let life = living.one();
    let tidy = clock.clone();
    group.spawn(async move {
        let _life = life;
        cleanup.done().await;
        let soon = tidy.now() + SECOND / 2;
        failfast::clock::Clock::sleep_until(&tidy, soon).await?;
        Ok::<_, failfast::BoxError>(2)
    });
    executor.run();
    group.cancel_with("enough");
    let mut wait = Polled::new(group.wait_named());
    executor.run();
    assert!(wait.is_pending());
    assert_eq!(living.count(), 2);
    clock.advance(SECOND / 2);
    executor.run();
    assert_eq!(living.count(), 1, "it finished on its own");
    clock.advance(SECOND / 2 - Duration::from_nanos(1));
    executor.run();
    assert_eq!(living.count(), 1);
    let polls = executor.polls(0);
    clock.advance(Duration::from_nanos(1));
    executor.run();
    assert_eq!(living.count(), 0);
    assert_eq!(executor.polls(0), polls + 1, "one call, to drop it");
    assert!(wait.ready().unwrap_err().is_canceled());
    assert_eq!(clock.armed(), 0);
}

/// "with_straggler_limit(d) bounds the wait …; what is still running then is named in the error."
#[test]
fn stragglers_are_named_after_grace_and_limit() {
    let clock = ManualClock::new();
    let executor = Executor::new();
    let parent = Context::background().with_clock(clock.clone());
    let (group, _) = Group::<u32>::with_context(&parent, executor.spawner());
    let group = group
        .with_grace(SECOND)
        .with_straggler_limit(2 * SECOND)
        .with_limit(at_most(3));
    let living = Living::default();
    group.spawn_named("slow", stuck(living.one()));
    group.spawn_named("quick", stuck(living.one()));
    group.spawn_named("slower", stuck(living.one()));
    group.spawn_named("queued", stuck(living.one()));
    executor.run();
    group.cancel_with("enough");
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    clock.advance(SECOND);
    executor.poll(1); // the others block their threads: no thread polls them
    clock.advance(2 * SECOND - Duration::from_nanos(1));
    assert!(wait.is_pending());
    clock.advance(Duration::from_nanos(1));
    let error = wait.ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stragglers);
    assert_eq!(pending_in(&error), ["slow", "slower"]);
    assert!(error.to_string().contains("2s"), "how long: {error}");
    assert_eq!(error.cause().unwrap().to_string(), "enough");
    assert!(error.is_canceled());
    drop(wait);
    executor.run();
    assert_eq!(
        living.count(),
        0,
        "they are still dropped as soon as they come back"
    );
}

/// The same with a thread that is really blocked, in real time.
#[test]
fn straggler_blocks_its_thread() {
    let pool = futures::executor::ThreadPool::builder()
        .pool_size(2)
        .create()
        .unwrap();
    let group = Group::new(move |task| pool.spawn_ok(task)).with_straggler_limit(SECOND / 10);
    let (sender, blocked) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel();
    group.spawn_named("blocker", async move {
        started.send(()).unwrap();
        let _ = blocked.recv();
        Ok::<_, Infallible>(())
    });
    starts.recv().unwrap();
    group.spawn_named("profile", async { Err("refused") });
    let error = futures::executor::block_on(group.wait()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stragglers);
    assert_eq!(pending_in(&error), ["blocker"]);
    assert!(error.to_string().ends_with("blocker"), "{error}");
    assert_eq!(error.cause().unwrap().to_string(), "profile: refused");
    drop(sender);
}

/// No limit is needed where all come back in time: no error, no timer left.
#[test]
fn straggler_limit_is_not_reached() {
    let clock = ManualClock::new();
    let executor = Executor::new();
    let parent = Context::background().with_clock(clock.clone());
    let (group, _) = Group::<u32>::with_context(&parent, executor.spawner());
    let group = group.with_straggler_limit(SECOND);
    let living = Living::default();
    group.spawn(stuck(living.one()));
    group.cancel_with("enough");
    assert!(executor.drive(group.wait()).unwrap_err().is_canceled());
    assert_eq!(clock.armed(), 0);
    assert_eq!(living.count(), 0);
}

/// "a grace or straggler limit set after the end takes effect"
#[test]
fn straggler_limit_is_set_after_the_end() {
    let (clock, root) = support::manual();
    let executor = Executor::new();
    let (group, _) = Group::<u32>::with_context(&root, executor.spawner());
    group.spawn_named("slow", stuck(Living::default().one()));
    executor.run();
    group.cancel_with("enough");
    let mut wait = Polled::new(group.with_straggler_limit(SECOND).wait());
    assert!(wait.is_pending());
    assert_eq!(clock.armed(), 1);
    clock.advance(SECOND);
    assert!(wait.is_woken());
    let error = wait.ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stragglers);
    assert_eq!(pending_in(&error), ["slow"]);
}

#[test]
fn grace_is_set_after_the_end() {
    let (clock, root) = support::manual();
    let executor = Executor::new();
    let (group, _) = Group::<u32>::with_context(&root, executor.spawner());
    let living = Living::default();
    group.spawn(stuck(living.one()));
    executor.run();
    group.cancel_with("enough");
    let group = group.with_grace(SECOND);
    executor.run();
    assert_eq!(
        living.count(),
        1,
        "it has not been polled between the end and the grace"
    );
    clock.advance(SECOND);
    executor.run();
    assert_eq!((living.count(), clock.armed()), (0, 0));
    assert!(executor.drive(group.wait()).unwrap_err().is_canceled());
}

/// Each is armed once, though each is set after the end.
#[test]
fn grace_and_limit_are_set_one_after_the_other_after_the_end() {
    let grace_first: fn(Group<u32>) -> Group<u32> =
        |group| group.with_grace(SECOND).with_straggler_limit(SECOND);
    let limit_first: fn(Group<u32>) -> Group<u32> =
        |group| group.with_straggler_limit(SECOND).with_grace(SECOND);
    for set in [grace_first, limit_first] {
        let (clock, root) = support::manual();
        let executor = Executor::new();
        let (group, _) = Group::<u32>::with_context(&root, executor.spawner());
        group.spawn(stuck(Living::default().one()));
        executor.run();
        group.cancel_with("enough");
        let group = set(group);
        assert_eq!(clock.armed(), 2);
        drop(group);
        assert_eq!(clock.armed(), 0);
    }
}

/// "`next` yields kind `Stragglers` where `wait` would return it."
#[test]
fn next_yields_stragglers() {
    let (clock, root) = support::manual();
    let executor = Executor::new();
    let (group, _) = Group::<u32>::with_context(&root, executor.spawner());
    let mut group = group.with_straggler_limit(SECOND);
    let living = Living::default();
    group.spawn_named("slow", stuck(living.one()));
    let (one, task) = remote::<_, Infallible>(&living);
    group.spawn(task);
    executor.run();
    one.succeed(1);
    executor.poll(1);
    group.cancel_with("enough");
    assert_eq!(Polled::new(group.next()).ready().unwrap().unwrap(), 1);
    let mut next = Polled::new(group.next());
    assert!(next.is_pending());
    clock.advance(SECOND);
    assert_eq!(next.wakes(), 1);
    let error = next.ready().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stragglers);
    assert_eq!(pending_in(&error), ["slow"]);
    drop(next);
    assert!(executor.drive(group.next()).is_none(), "it is the last");
}

/// "both are armed before any task is woken": a waker that never comes back voids neither.
#[test]
fn grace_and_limit_are_armed_before_a_task_is_woken() {
    let (clock, root) = support::manual();
    let shelf = Arc::new(Mutex::new(Vec::<failfast::Task>::new()));
    let keep = shelf.clone();
    let spawn = move |task| keep.lock().unwrap().push(task);
    let (group, _) = Group::<u32>::with_context(&root, spawn);
    let group = group.with_grace(SECOND).with_straggler_limit(SECOND);
    group.spawn(stuck(Living::default().one()));
    let (told, tells) = mpsc::channel();
    let its_clock = clock.clone();
    let waker = on_wake(move || told.send(its_clock.armed()).unwrap());
    let mut task = shelf.lock().unwrap().pop().unwrap();
    assert!(support::poll(&mut task, &waker).is_pending());
    group.cancel_with("enough");
    assert_eq!(tells.recv(), Ok(2));
}

/// "Dropping the group, or the `wait` future, cancels every task."
#[test]
fn group_and_wait_and_next_are_dropped() {
    for how in 0..3 {
        let pair = pair(|group| group.with_grace(SECOND).with_limit(at_most(2)));
        let ctx = pair.group.context().clone();
        pair.group.spawn(stuck(pair.living.one())); // in the queue: dropped at once
        match how {
            0 => drop(pair.group),
            1 => drop(pair.group.wait()),
            _ => {
                let mut wait = Polled::new(pair.group.wait());
                assert!(wait.is_pending());
            }
        }
        assert!(ctx.is_done());
        assert_eq!(pair.living.count(), 2);
        assert_eq!(pair.executor.woken(), [0, 1]);
        pair.executor.run();
        assert_eq!(pair.living.count(), 0);
        assert!(pair.executor.alive().is_empty());
        drop((pair.one, pair.two));
    }
}

#[test]
fn group_in_place_is_dropped() {
    let living = Living::default();
    let group = InPlaceGroup::<u32>::new(&Context::background());
    group.spawn(stuck(living.one()));
    let handle = group.handle();
    let life = living.one();
    group.spawn(async move {
        let _all = (handle, life); // a cycle: the group holds the task, which holds the group
        pending::<Result<u32, Infallible>>().await
    });
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    drop(wait);
    assert_eq!(living.count(), 0);
}

/// "Nothing is spent without a waiter", nor without a task: though there is a handle to the group.
mod over {
    use super::*;

    #[test]
    fn timer_of_the_parent_is_let_go_of() {
        let (clock, root) = support::manual();
        let parent = root.with_timeout(SECOND);
        let executor = Executor::new();
        let (group, _) = Group::<u32>::with_context(&parent, executor.spawner());
        let handle = group.handle();
        let living = Living::default();
        let (one, task) = remote::<_, Infallible>(&living);
        group.spawn(task);
        executor.run();
        assert_eq!(clock.armed(), 1);
        one.succeed(5);
        assert_eq!(executor.drive(group.wait()).unwrap(), [5]);
        assert_eq!((clock.armed(), parent.is_done()), (0, false));
        drop(handle);
    }

    #[test]
    fn groups_below_end_with_it() {
        let executor = Executor::new();
        let (outer, ctx) = Group::with_context(&Context::background(), executor.spawner());
        let (inner, _) = Group::<u32>::with_context(&ctx, executor.spawner());
        let living = Living::default();
        inner.spawn(stuck(living.one()));
        outer.spawn(ready(Ok::<_, Infallible>(1)));
        executor.run();
        assert_eq!(executor.drive(outer.wait()).unwrap(), [1]);
        executor.run();
        assert_eq!(living.count(), 0);
        assert!(executor.drive(inner.wait()).unwrap_err().is_canceled());
    }

    #[test]
    fn alarms_of_the_ladder_are_stopped() {
        let (clock, root) = support::manual();
        let executor = Executor::new();
        let (group, _) = Group::<u32>::with_context(&root, executor.spawner());
        let group = group.with_grace(SECOND).with_straggler_limit(SECOND);
        let handle = group.handle();
        let living = Living::default();
        group.spawn(until_done(group.context().clone(), living.one(), 5));
        executor.run();
        group.cancel_with("enough");
        assert_eq!(clock.armed(), 2);
        assert_eq!(executor.drive(group.wait()).unwrap(), [5]);
        assert_eq!(clock.armed(), 0);
        drop(handle);
    }

    #[test]
    fn waker_of_a_wait_that_was_dropped_is_let_go_of() {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let handle = group.handle();
        let living = Living::default();
        group.spawn(stuck(living.one()));
        executor.run();
        let waker = Waker::from(Arc::new(Alive(living.one())));
        let mut wait = Box::pin(group.wait());
        assert!(support::poll(&mut wait, &waker).is_pending());
        assert_eq!(living.count(), 2);
        drop((wait, waker));
        assert_eq!(living.count(), 1, "the task, until the executor drops it");
        executor.run();
        assert_eq!(living.count(), 0);
        drop(handle);
    }

    /// A waker that lives.
    struct Alive(#[allow(dead_code)] Life);

    impl std::task::Wake for Alive {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn deadline_comes_while_a_waiter_for_a_place_is_all_there_is() {
        let (clock, root) = support::manual();
        let parent = root.with_timeout(SECOND);
        let executor = Executor::new();
        let (group, _) = Group::<u32>::with_context(&parent, executor.spawner());
        let group = group.with_limit(at_most(1));
        let living = Living::default();
        group.spawn(stuck(living.one())); // never polled
        let mut ready = Polled::new(group.ready());
        assert!(ready.is_pending());
        clock.advance(SECOND);
        assert!(ready.is_woken());
        assert!(ready.ready().is_err());
        drop(ready);
    }
}
