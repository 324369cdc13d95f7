//! Section 4 of the contract: nothing starts late. Once the deadline has passed or the group has ended, no task is
//! polled for the first time; exactly so under a `ManualClock`.

use crate::executor::{Executor, Living, LocalExecutor, Polled, remote, watched};
use crate::group::*;
use crate::support::{Count, SECOND, at_most, manual};
use failfast::clock::ManualClock;
use failfast::{Context, ErrorKind, Group, InPlaceGroup, LocalGroup};
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

/// A task that counts its polls and takes a tenth of a second.
fn takes_a_tenth(
    clock: &ManualClock,
    polls: &Count,
) -> impl Future<Output = Result<u32, Infallible>> + Send + use<> {
    let (clock, polls) = (clock.clone(), polls.clone());
    poll_fn(move |_| {
        polls.add();
        clock.advance(SECOND / 10);
        Poll::Ready(Ok(1))
    })
}

/// "A deadline that is past starts no work", though the clock was not read since the group was made.
#[test]
fn deadline_passes_between_the_group_and_its_first_task() {
    let clock = ManualClock::new();
    let root = Context::background().with_clock(clock.clone());
    let executor = Executor::new();
    let (group, _) = Group::with_context(&root.with_timeout(SECOND), executor.spawner());
    clock.advance(SECOND);
    let polls = Arc::new(AtomicUsize::new(0));
    let its_polls = polls.clone();
    group.spawn(poll_fn(move |_| {
        its_polls.fetch_add(1, SeqCst);
        Poll::Ready(Ok::<_, Infallible>(()))
    }));
    executor.run();
    let error = executor.drive(group.wait()).unwrap_err();
    assert!(error.is_deadline_exceeded(), "{error}");
    assert_eq!(polls.load(SeqCst), 0, "no user work starts");
}

/// `spawn` and `next` in a loop end, though no task is ever polled twice.
#[test]
fn spawn_and_next_in_a_loop() {
    watched(|| {
        let (clock, root) = manual();
        let executor = Executor::new();
        let (mut group, _) = Group::with_context(&root.with_timeout(SECOND), executor.spawner());
        let polls = Count::default();
        let error = loop {
            group.spawn(takes_a_tenth(&clock, &polls));
            if let Err(error) = executor.drive(group.next()).unwrap() {
                break error;
            }
        };
        assert!(error.is_deadline_exceeded(), "{error}");
        assert_eq!(polls.get(), 10, "ten tenths");
    });
}

#[test]
fn spawn_and_next_in_a_loop_in_place() {
    watched(|| {
        let (clock, root) = manual();
        let executor = Executor::<failfast::Task>::new();
        let mut group = InPlaceGroup::new(&root.with_timeout(SECOND));
        let polls = Count::default();
        let error = loop {
            group.spawn(takes_a_tenth(&clock, &polls));
            if let Err(error) = executor.drive(group.next()).unwrap() {
                break error;
            }
        };
        assert!(error.is_deadline_exceeded(), "{error}");
        assert_eq!(polls.get(), 10);
    });
}

/// "nor by an executor that comes late to a task it already has"
#[test]
fn executor_comes_late() {
    let (clock, root) = manual();
    let executor = Executor::new();
    let (group, _) = Group::with_context(&root.with_timeout(SECOND), executor.spawner());
    let polls = Count::default();
    for _ in 0..20 {
        group.spawn(takes_a_tenth(&clock, &polls));
    }
    executor.run();
    assert_eq!(polls.get(), 10);
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    // The tenth had not finished either at that moment: the deadline passed while it was polled.
    let rest: Vec<_> = (9..20).map(|number| format!("task {number}")).collect();
    assert_eq!(pending_in(&error), rest);
}

#[test]
fn thread_bound_executor_comes_late() {
    let (clock, root) = manual();
    let executor = LocalExecutor::new();
    let (group, _) = LocalGroup::with_context(&root.with_timeout(SECOND), executor.spawner());
    let polls = Count::default();
    for _ in 0..20 {
        group.spawn(takes_a_tenth(&clock, &polls));
    }
    assert!(
        executor
            .drive(group.wait())
            .unwrap_err()
            .is_deadline_exceeded()
    );
    assert_eq!(polls.get(), 10);
}

/// "not by `spawn`, `try_spawn`, a handle": each is refused, or spawns what is never polled.
#[test]
fn deadline_has_passed_before_each_way_to_spawn() {
    let (clock, root) = manual();
    let executor = Executor::new();
    let (group, _) = Group::<u32>::with_context(&root.with_timeout(SECOND), executor.spawner());
    let handle = group.handle();
    let polls = Count::default();
    let task = || takes_a_tenth(&clock, &polls);
    group.spawn(pending::<Result<u32, Infallible>>());
    clock.advance(SECOND);
    assert!(group.try_spawn(task()).is_err());
    assert!(handle.spawn(task()).is_err());
    assert!(handle.try_spawn(task()).is_err());
    assert!(handle.spawn_named("late", task()).is_err());
    assert!(
        handle
            .spawn_background(pending::<Result<(), Infallible>>())
            .is_err()
    );
    group.spawn(task());
    group.spawn_named("late", task());
    let fork = handle.fork("late", task());
    executor.run();
    assert_eq!((polls.get(), executor.spawned()), (0, 1));
    assert!(executor.drive(fork).unwrap_err().is_deadline_exceeded());
    assert!(
        executor
            .drive(group.wait())
            .unwrap_err()
            .is_deadline_exceeded()
    );
}

/// "a queue"
#[test]
fn deadline_passes_before_the_queue_is_served() {
    let (clock, root) = manual();
    let executor = Executor::new();
    let (group, _) = Group::with_context(&root.with_timeout(SECOND), executor.spawner());
    let group = group.with_limit(at_most(1));
    let polls = Count::default();
    for _ in 0..20 {
        group.spawn(takes_a_tenth(&clock, &polls));
    }
    assert!(
        executor
            .drive(group.wait())
            .unwrap_err()
            .is_deadline_exceeded()
    );
    assert_eq!(polls.get(), 10);
}

#[test]
fn deadline_passes_while_tasks_are_polled_in_place() {
    let (clock, root) = manual();
    let executor = Executor::<failfast::Task>::new();
    let group = InPlaceGroup::new(&root.with_timeout(SECOND));
    let polls = Count::default();
    for _ in 0..20 {
        group.spawn(takes_a_tenth(&clock, &polls));
    }
    assert!(
        executor
            .drive(group.wait())
            .unwrap_err()
            .is_deadline_exceeded()
    );
    assert_eq!(polls.get(), 10);
}

/// "or the group has ended": by a failure, a cancellation, or `stop`.
#[test]
fn group_ends_before_an_executor_comes() {
    let ends: [fn(&Group<u32>); 3] = [
        |group| group.spawn(async { Err("refused") }),
        |group| group.cancel_with("enough"),
        |group| group.stop(),
    ];
    for end in ends {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let living = Living::default();
        end(&group);
        executor.run();
        let polls = Count::default();
        let (count, life) = (polls.clone(), living.one());
        group.spawn(poll_fn(move |_| {
            let _ = &life;
            count.add();
            Poll::Ready(Ok::<_, Infallible>(1))
        }));
        let _ = executor.drive(group.wait());
        assert_eq!((polls.get(), living.count()), (0, 0));
    }
}

/// … also one that the executor had before the end.
#[test]
fn group_ends_while_the_executor_has_tasks_that_it_never_polled() {
    let executor = Executor::new();
    let group = group::<u32>(&executor);
    let living = Living::default();
    let polls = Count::default();
    for _ in 0..3 {
        let (count, life) = (polls.clone(), living.one());
        group.spawn(poll_fn(move |_| {
            let _ = &life;
            count.add();
            Poll::Ready(Ok::<_, Infallible>(1))
        }));
    }
    group.cancel_with("enough");
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(pending_in(&error), ["task 0", "task 1", "task 2"]);
    assert_eq!((polls.get(), living.count()), (0, 0));
}

/// In place, a second task is not polled once the first has failed.
#[test]
fn first_task_in_place_fails_before_the_second_is_polled() {
    let executor = Executor::<failfast::Task>::new();
    let group = InPlaceGroup::<u32>::new(&Context::background());
    let polls = Count::default();
    let count = polls.clone();
    group.spawn(async { Err("refused") });
    group.spawn(poll_fn(move |_| {
        count.add();
        Poll::Ready(Ok::<_, Infallible>(1))
    }));
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 0: refused");
    assert_eq!(polls.get(), 0);
}

/// A task that the parent's end caught in the queue of a handle's group.
#[test]
fn deadline_passes_while_an_idle_group_is_fed() {
    watched(|| {
        let (clock, root) = manual();
        let executor = Executor::new();
        let (group, _) = Group::<u32>::with_context(&root.with_timeout(SECOND), executor.spawner());
        let handle = group.handle();
        group.spawn(pending::<Result<u32, Infallible>>());
        let polls = Count::default();
        let mut let_in = 0;
        while handle.spawn(takes_a_tenth(&clock, &polls)).is_ok() {
            let_in += 1;
            executor.run();
        }
        assert_eq!((let_in, polls.get()), (10, 10));
        assert!(
            executor
                .drive(group.wait())
                .unwrap_err()
                .is_deadline_exceeded()
        );
    });
}

/// "A group waits for its context's deadline from its first spawn to its last task."
#[test]
fn timer_is_armed_from_the_first_spawn_to_the_last_task() {
    let (clock, root) = manual();
    let executor = Executor::new();
    let (group, _) = Group::<u32>::with_context(&root.with_timeout(SECOND), executor.spawner());
    assert_eq!(clock.armed(), 0);
    for _ in 0..2 {
        let (one, task) = remote::<_, Infallible>(&Living::default());
        group.spawn(task);
        group.spawn(ready(Ok::<_, Infallible>(1)));
        assert_eq!(clock.armed(), 1);
        executor.run();
        assert_eq!(clock.armed(), 1);
        one.succeed(5);
        executor.run();
        assert_eq!(clock.armed(), 0, "the last task has ended");
    }
    assert_eq!(Polled::new(group.wait()).ready().unwrap(), [5, 1, 5, 1]);
}

/// Tasks on an executor are woken at the deadline, though the group is not polled.
#[test]
fn deadline_passes_while_the_group_is_not_polled() {
    let (clock, root) = manual();
    let executor = Executor::new();
    let (group, ctx) = Group::<u32>::with_context(&root.with_timeout(SECOND), executor.spawner());
    let living = Living::default();
    group.spawn(stuck(living.one()));
    executor.run();
    clock.advance(SECOND);
    assert_eq!(executor.woken(), [0]);
    executor.run();
    assert_eq!(living.count(), 0);
    assert!(ctx.is_done());
    drop(group);
}

/// The error names each task that was refused, by a number of its own.
#[test]
fn tasks_that_are_refused_after_the_end_are_numbered_on() {
    let executor = Executor::new();
    let group = group::<u32>(&executor);
    group.cancel_with("enough");
    for _ in 0..3 {
        group.spawn(ready(Ok::<_, Infallible>(1)));
    }
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(pending_in(&error), ["task 0", "task 1", "task 2"]);
}
