//! Section 4 of the contract: limits, and handles.

use crate::executor::{Executor, Living, Polled, remote};
use crate::group::*;
use crate::support::at_most;
use failfast::{Context, Ending, ErrorKind, LocalInPlaceGroup};
use futures::FutureExt;
use std::convert::Infallible;
use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

/// "at most n run. `spawn` queues beyond it"
#[test]
fn twenty_tasks_at_a_limit_of_three() {
    let executor = Executor::new();
    let group = group(&executor).with_limit(at_most(3));
    let running = Arc::new(AtomicUsize::new(0));
    for number in 0..20 {
        let running = running.clone();
        group.spawn(async move {
            assert!(running.fetch_add(1, SeqCst) < 3);
            let mut first = true;
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                match std::mem::take(&mut first) {
                    true => Poll::Pending,
                    false => Poll::Ready(()),
                }
            })
            .await;
            running.fetch_sub(1, SeqCst);
            Ok::<_, Infallible>(number)
        });
    }
    assert_eq!(executor.spawned(), 3);
    assert_eq!(executor.drive(group.wait()).unwrap(), Vec::from_iter(0..20));
}

/// "`try_spawn(f) -> Result<(), F>` hands the future back"
#[test]
fn try_spawn_at_the_limit_and_below() {
    let executor = Executor::new();
    let group = group(&executor).with_limit(at_most(1));
    let living = Living::default();
    let (one, task) = remote::<_, &str>(&living);
    assert!(group.try_spawn(task).is_ok());
    let Err(back) = group.try_spawn(ready(Ok::<_, Infallible>(2))) else {
        panic!("the limit is reached");
    };
    one.succeed(1);
    executor.run();
    assert!(group.try_spawn(back).is_ok());
    assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
}

#[test]
fn try_spawn_after_the_end_hands_the_future_back() {
    let executor = Executor::new();
    let group = group(&executor);
    group.cancel_with("enough");
    assert!(group.try_spawn(ready(Ok::<_, Infallible>(1))).is_err());
    assert_eq!(
        executor.drive(group.wait()).unwrap(),
        [],
        "no place was promised"
    );
}

/// `ready` is "first come, first served".
#[test]
fn three_wait_for_one_place() {
    let pair = pair(|group| group.with_limit(at_most(2)));
    let mut line: Vec<_> = (0..3).map(|_| Polled::new(pair.group.ready())).collect();
    assert!(line.iter_mut().all(Polled::is_pending));
    pair.one.succeed(1);
    pair.executor.run();
    let wakes: Vec<_> = line.iter().map(Polled::wakes).collect();
    assert_eq!(wakes, [1, 0, 0]);
    assert!(line[1].is_pending(), "it is not its turn");
    line[0].ready().unwrap();
    assert!(pair.group.try_spawn(ready(Ok::<_, Infallible>(3))).is_ok());
    assert!(line[1].is_pending());
    pair.executor.run();
    line[1].ready().unwrap();
    line[2].ready().unwrap();
    drop((line, pair.two));
}

/// "A dropped front waiter passes its turn": no permit is lost (hazard 19).
#[test]
fn front_waiter_is_dropped_after_it_was_woken() {
    let pair = pair(|group| group.with_limit(at_most(2)));
    let mut front = Polled::new(pair.group.ready());
    let mut second = Polled::new(pair.group.ready());
    assert!(front.is_pending() && second.is_pending());
    pair.one.succeed(1);
    pair.executor.run();
    assert_eq!((front.wakes(), second.wakes()), (1, 0));
    drop(front);
    assert_eq!(second.wakes(), 1);
    second.ready().unwrap();
    drop((second, pair.two));
}

#[test]
fn front_waiter_is_ready_and_does_not_use_its_place() {
    let pair = pair(|group| group.with_limit(at_most(2)));
    let mut front = Polled::new(pair.group.ready());
    let mut second = Polled::new(pair.group.ready());
    assert!(front.is_pending() && second.is_pending());
    pair.one.succeed(1);
    pair.executor.run();
    front.ready().unwrap();
    assert_eq!(second.wakes(), 1);
    second.ready().unwrap();
    drop((front, second, pair.two));
}

/// "released by cancellation"
#[test]
fn group_is_cancelled_while_two_wait_for_a_place() {
    let pair = pair(|group| group.with_limit(at_most(2)));
    let mut line: Vec<_> = (0..2).map(|_| Polled::new(pair.group.ready())).collect();
    assert!(line.iter_mut().all(Polled::is_pending));
    pair.group.cancel_with("enough");
    for one in &mut line {
        assert_eq!(one.wakes(), 1);
        assert!(one.ready().unwrap_err().is_canceled());
    }
    drop((line, pair.one, pair.two));
}

/// "Queued work is skipped after a failure", unpolled, and distinguished from finished work.
#[test]
fn task_fails_before_those_in_the_queue() {
    let executor = Executor::new();
    let group = group::<()>(&executor).with_limit(at_most(1));
    let living = Living::default();
    group.spawn(async { Err("refused") });
    for _ in 0..5 {
        let life = living.one();
        group.spawn(async move {
            let _life = life;
            unreachable!("it must not be polled");
            #[expect(unreachable_code, reason = "it gives the task its type")]
            Ok::<_, Infallible>(())
        });
    }
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 0: refused");
    assert_eq!(error.others().len(), 0);
    assert_eq!(living.count(), 0);
}

#[test]
fn outcomes_of_those_that_were_skipped() {
    let executor = Executor::new();
    let group = group(&executor)
        .with_limit(at_most(1))
        .with_ending(Ending::Settle);
    let living = Living::default();
    group.spawn(until_done(group.context().clone(), living.one(), 1));
    group.spawn(until_done(group.context().clone(), living.one(), 2));
    executor.run();
    group.cancel_with("enough");
    let outcomes = executor.drive(group.outcomes()).unwrap();
    assert_eq!(outcomes[0].1.as_ref().unwrap(), &1);
    let skipped = outcomes[1].1.as_ref().unwrap_err();
    assert_eq!(skipped.kind(), ErrorKind::Canceled);
    assert!(
        skipped.to_string().starts_with("context canceled: enough"),
        "{skipped}"
    );
    assert_eq!(living.count(), 0);
}

/// A wider limit has room for some of the waiters.
#[test]
fn limit_is_raised_while_tasks_are_queued() {
    let executor = Executor::new();
    let mut group = group(&executor).with_limit(at_most(1));
    for number in 0..4 {
        group.spawn(async move { Ok::<_, Infallible>(number) });
    }
    assert_eq!(executor.spawned(), 1);
    group = group.with_limit(at_most(3));
    assert_eq!(executor.spawned(), 3);
    assert_eq!(executor.drive(group.wait()).unwrap(), [0, 1, 2, 3]);
}

/// "A task may spawn into its own group through `group.handle()`."
mod handles {
    use super::*;

    /// "also during `wait` and at the limit, without deadlock"
    #[test]
    fn task_spawns_a_tree_of_tasks_at_a_limit_of_one() {
        type Handle = failfast::GroupHandle<u32>;
        fn node(
            handle: Handle,
            depth: u32,
        ) -> futures::future::BoxFuture<'static, Result<u32, &'static str>> {
            async move {
                for _ in 0..if depth > 0 { 2 } else { 0 } {
                    handle
                        .spawn(node(handle.clone(), depth - 1))
                        .map_err(|_| "ended")?;
                }
                Ok(depth)
            }
            .boxed()
        }
        let executor = Executor::new();
        let group = group(&executor).with_limit(at_most(1));
        group.spawn(node(group.handle(), 5));
        let mut all = executor.drive(group.wait()).unwrap();
        assert_eq!(all.len(), 63);
        all.sort_unstable();
        assert_eq!((all[0], all[62]), (0, 5));
    }

    /// "after the end it gets its future back"
    #[test]
    fn spawn_after_wait_returned() {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let handle = group.handle();
        executor.drive(group.wait()).unwrap();
        let back = handle.spawn(ready(Ok::<_, Infallible>(1))).unwrap_err();
        assert_eq!(back.into_inner().unwrap(), 1);
        assert!(
            handle
                .clone()
                .try_spawn(pending::<Result<u32, Infallible>>())
                .is_err()
        );
        assert!(
            handle
                .spawn_named("late", pending::<Result<u32, Infallible>>())
                .is_err()
        );
        assert!(handle.context().is_done());
        assert_eq!(executor.spawned(), 0);
    }

    #[test]
    fn spawn_after_the_group_was_dropped() {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let handle = group.handle();
        drop(group);
        assert!(handle.spawn(ready(Ok::<_, Infallible>(1))).is_err());
    }

    /// Its error names the tasks that are still there, but for those in the background.
    #[test]
    fn ready_after_the_end_of_a_group_with_tasks() {
        let executor = Executor::new();
        let group = group::<u32>(&executor).with_limit(at_most(1));
        group.spawn_named("slow", stuck(Living::default().one()));
        group.spawn_background(pending::<Result<(), Infallible>>());
        group.spawn_named("queued", stuck(Living::default().one()));
        executor.run();
        group.cancel_with("enough");
        let error = Polled::new(group.ready()).ready().unwrap_err();
        assert_eq!(pending_in(&error), ["slow", "queued"]);
    }

    /// Its error names what had not finished at the end, though the group is gone.
    #[test]
    fn ready_after_a_canceled_group_was_dropped() {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let handle = group.handle();
        group.spawn_named("slow", stuck(Living::default().one()));
        executor.run();
        group.cancel_with("enough");
        executor.run();
        drop(group);
        let error = Polled::new(handle.ready()).ready().unwrap_err();
        assert_eq!(
            error.to_string(),
            "context canceled: enough (waiting for slow)"
        );
    }

    /// All that stand in line are woken, not the first alone, for whose place there is room.
    #[test]
    fn wait_returns_while_two_wait_for_a_place() {
        let executor = Executor::new();
        let group = group::<u32>(&executor).with_limit(at_most(1));
        let handle = group.handle();
        group.spawn(ready(Ok::<_, Infallible>(1)));
        let [mut first, mut second] = [(); 2].map(|()| Polled::new(handle.ready()));
        assert!(first.is_pending() && second.is_pending());
        let mut wait = Polled::new(group.wait());
        assert!(wait.is_pending());
        executor.run();
        assert_eq!(wait.ready().unwrap(), [1]);
        assert!(first.is_woken() && second.is_woken());
        assert!(first.ready().is_err() && second.ready().is_err());
    }

    #[test]
    fn task_in_place_spawns_during_wait() {
        let executor = Executor::<failfast::Task>::new();
        let group = LocalInPlaceGroup::new(&Context::background()).with_limit(at_most(1));
        let handle = group.handle();
        group.spawn(async move {
            let shared = Rc::new(1);
            let other = shared.clone();
            handle
                .spawn(async move { Ok::<_, Infallible>(other) })
                .map_err(|_| "ended")?;
            Ok::<_, &str>(shared)
        });
        assert_eq!(
            executor.drive(group.wait()).unwrap(),
            [Rc::new(1), Rc::new(1)]
        );
    }
}

/// Tasks that take the place of others wake nothing.
#[test]
fn wait_at_a_limit_is_woken_once() {
    let executor = Executor::new();
    let group = group::<u32>(&executor).with_limit(at_most(2));
    for number in 0..10 {
        group.spawn(ready(Ok::<_, Infallible>(number)));
    }
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    for _ in 0..8 {
        executor.step();
    }
    assert_eq!(wait.wakes(), 0);
    executor.run();
    assert_eq!(wait.wakes(), 1);
    assert_eq!(wait.ready().unwrap(), Vec::from_iter(0..10));
}

/// Between two tasks in one place the executor gets its turn; those that are dropped take none.
#[test]
fn executor_gets_its_turn_between_two_tasks_in_one_place() {
    let executor = Executor::new();
    let group = group::<u32>(&executor).with_limit(at_most(1));
    let begun = Arc::new(AtomicUsize::new(0));
    for number in 0..5 {
        let begun = begun.clone();
        group.spawn(async move {
            begun.fetch_add(1, SeqCst);
            Ok::<_, Infallible>(number)
        });
    }
    for turn in 1..3 {
        assert!(!executor.poll(0));
        assert_eq!(begun.load(SeqCst), turn);
        assert_eq!(executor.woken(), [0]);
    }
    group.cancel_with("enough");
    assert!(executor.poll(0));
    assert_eq!(begun.load(SeqCst), 2);
    assert!(executor.drive(group.wait()).unwrap_err().is_canceled());
}

#[test]
fn debug_shows_how_many_live() {
    let pair = pair(|group| group);
    let handle = pair.group.handle();
    for shown in [format!("{:?}", pair.group), format!("{handle:?}")] {
        assert!(shown.contains("live: 2"), "{shown}");
    }
    pair.one.fail("refused");
    pair.executor.run();
    for shown in [format!("{:?}", pair.group), format!("{handle:?}")] {
        assert!(shown.contains("live: 0"), "{shown}");
    }
    drop(pair.two);
}

#[test]
fn debug_counts_those_in_the_queue() {
    let executor = Executor::new();
    let group = group::<u32>(&executor).with_limit(at_most(2));
    for _ in 0..5 {
        group.spawn(pending::<Result<u32, Infallible>>());
    }
    assert_eq!(
        format!("{group:?}"),
        "Group { live: 5, queued: 3, phase: Run }"
    );
}
