//! Section 4 of the contract: what `wait`, `next` and the stream give, and in what order.

use crate::executor::{Executor, Living, Polled};
use crate::group::*;
use crate::support::{SECOND, at_most};
use failfast::{Context, Ending, Group, LocalInPlaceGroup};
use futures::StreamExt;
use std::convert::Infallible;

/// "in the order of spawning", whatever the order of completion.
#[test]
fn wait_after_the_last_finished_first() {
    let executor = Executor::new();
    let group = group(&executor);
    for number in 0..20 {
        group.spawn(async move { Ok::<_, Infallible>(number) });
    }
    executor.run_backwards();
    assert_eq!(executor.drive(group.wait()).unwrap(), Vec::from_iter(0..20));
}

#[test]
fn wait_named_gives_names_and_numbers() {
    let executor = Executor::new();
    let group = group(&executor);
    group.spawn_named("profile", async { Ok::<_, Infallible>(1) });
    group.spawn(async { Ok::<_, Infallible>(2) });
    group.spawn_named(format!("page {}", 3), async { Ok::<_, Infallible>(3) });
    let named = executor.drive(group.wait_named()).unwrap();
    let named: Vec<_> = named
        .iter()
        .map(|(name, value)| (&**name, *value))
        .collect();
    assert_eq!(named, [("profile", 1), ("task 1", 2), ("page 3", 3)]);
}

/// "in the order of spawning", also where a later task has the place of an earlier one.
#[test]
fn wait_after_a_freed_place_was_used_again() {
    let executor = Executor::new();
    let mut group = group(&executor);
    for number in 0..3 {
        group.spawn(async move { Ok::<_, Infallible>(number) });
    }
    executor.run();
    assert_eq!(Polled::new(group.next()).ready().unwrap().unwrap(), 0);
    group.spawn(async { Ok::<_, Infallible>(3) });
    executor.run();
    assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2, 3]);
}

/// "An empty group returns at once."
#[test]
fn wait_on_an_empty_group() {
    let executor = Executor::new();
    assert_eq!(
        Polled::new(group::<u32>(&executor).wait()).ready().unwrap(),
        []
    );
    assert!(
        Polled::new(group::<u32>(&executor).next())
            .ready()
            .is_none()
    );
    let local = LocalInPlaceGroup::<u32>::new(&Context::background());
    assert_eq!(Polled::new(local.wait()).ready().unwrap(), []);
}

/// "any Future<Output = Result<T, impl Into<BoxError>>>": each task its own error type.
#[test]
fn tasks_with_errors_of_different_types() {
    let executor = Executor::new();
    let group = group(&executor);
    group.spawn(async { Ok::<_, std::io::Error>(1) });
    group.spawn(async { Ok::<_, String>(2) });
    group.spawn(async { Ok::<_, failfast::BoxError>(3) });
    assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2, 3]);
}

/// "`next().await` gives results as they complete and frees them."
#[test]
fn next_in_the_order_of_completion() {
    let pair = pair(|group| group);
    let mut group = pair.group;
    pair.two.succeed(2);
    pair.executor.run();
    assert_eq!(pair.executor.drive(group.next()).unwrap().unwrap(), 2);
    let mut next = Polled::new(group.next_named());
    assert!(next.is_pending());
    pair.one.succeed(1);
    pair.executor.run();
    assert_eq!(next.wakes(), 1);
    let (name, value) = next.ready().unwrap();
    assert_eq!((&*name, value.unwrap()), ("one", 1));
    drop(next);
    assert!(pair.executor.drive(group.next()).is_none());
}

/// "(and `Stream`)"
#[test]
fn stream_ends_with_the_last_result() {
    let executor = Executor::new();
    let mut group = group(&executor);
    for number in 0..5 {
        group.spawn(async move { Ok::<_, Infallible>(number) });
    }
    executor.run_backwards();
    let all = executor.drive(async {
        let mut all = Vec::new();
        while let Some(number) = StreamExt::next(&mut group).await {
            all.push(number.unwrap());
        }
        all
    });
    assert_eq!(all, [4, 3, 2, 1, 0]);
}

/// "frees them": the results, and the tasks' places.
#[test]
fn next_for_a_hundred_thousand_results_keeps_none() {
    let executor = Executor::new();
    let mut group = group(&executor);
    let results = Living::default();
    for _ in 0..100_000 {
        let result = results.one();
        group.spawn(async move { Ok::<_, Infallible>(result) });
        drop(executor.drive(group.next()).unwrap().unwrap());
        assert_eq!(results.count(), 0);
    }
    // Whatever the group keeps for a task, `outcomes` would list.
    assert_eq!(executor.drive(group.outcomes()).unwrap().len(), 0);
}

#[test]
fn wait_after_some_were_taken_with_next() {
    let executor = Executor::new();
    let mut group = group(&executor);
    for number in 0..4 {
        group.spawn(async move { Ok::<_, Infallible>(number) });
    }
    executor.poll(2);
    assert_eq!(executor.drive(group.next()).unwrap().unwrap(), 2);
    assert_eq!(executor.drive(group.wait()).unwrap(), [0, 1, 3]);
}

/// "No result is lost if it is dropped."
/// … and is woken by each, not by the last alone.
#[test]
fn next_is_woken_by_every_outcome() {
    let mut pair = pair(|group| group);
    for (remote, value) in [(pair.two, 2), (pair.one, 1)] {
        let mut next = Polled::new(pair.group.next());
        assert!(next.is_pending());
        remote.succeed(value);
        pair.executor.run();
        assert_eq!(next.wakes(), 1);
        assert_eq!(next.ready().unwrap().unwrap(), value);
    }
}

#[test]
fn next_dropped_before_the_result_came() {
    let pair = pair(|group| group);
    let mut group = pair.group;
    let mut next = Polled::new(group.next());
    assert!(next.is_pending());
    pair.one.succeed(1);
    pair.executor.run();
    drop(next);
    assert_eq!(pair.executor.drive(group.next()).unwrap().unwrap(), 1);
    drop(pair.two);
}

/// "Cancelled" is returned once, whatever the ending: `while let Some(..) = group.next().await` ends.
#[test]
fn next_returns_the_contexts_end_once_in_a_group_of_any_ending() {
    let endings = [
        Ending::FailFast,
        Ending::Settle,
        Ending::FirstOk,
        Ending::Quorum(at_most(2)),
    ];
    for ending in endings {
        let pair = pair(|group| group.with_ending(ending));
        let mut group = pair.group;
        group.cancel_with("enough");
        let mut told = Vec::new();
        while let Some(outcome) = pair.executor.drive(group.next()) {
            told.push(outcome.unwrap_err().to_string());
            assert!(told.len() < 10, "{told:?}");
        }
        assert_eq!(
            told,
            ["context canceled: enough (waiting for one, two)"],
            "{ending:?}"
        );
        drop((pair.one, pair.two));
    }
}

/// … and after a failure that was returned, the end is returned all the same.
#[test]
fn next_returns_failures_and_then_the_contexts_end() {
    let pair = pair(|group| group.with_ending(Ending::Settle));
    let mut group = pair.group;
    pair.one.fail("refused");
    pair.executor.run();
    group.cancel_with("enough");
    for expected in ["one: refused", "context canceled: enough (waiting for two)"] {
        let told = pair.executor.drive(group.next()).unwrap().unwrap_err();
        assert_eq!(told.to_string(), expected);
    }
    assert!(pair.executor.drive(group.next()).is_none());
    drop(pair.two);
}

/// A failure that ends the group comes once; the echoes are not returned.
#[test]
fn next_returns_the_first_failure_once() {
    let pair = pair(|group| group);
    let mut group = pair.group;
    pair.two.fail("connection refused");
    pair.executor.run();
    let error = pair.executor.drive(group.next()).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "two: connection refused");
    assert!(pair.executor.drive(group.next()).is_none());
    assert_eq!(pair.living.count(), 0);
    drop(pair.one);
}

#[test]
fn next_returns_the_contexts_end_last() {
    let pair = pair(|group| group.with_grace(SECOND));
    let mut group = pair.group;
    group.cancel_with("shutting down");
    pair.one.succeed(1);
    pair.executor.run();
    assert_eq!(pair.executor.drive(group.next()).unwrap().unwrap(), 1);
    pair.two.fail("echo");
    pair.executor.run();
    let (name, error) = pair.executor.drive(group.next_named()).unwrap();
    assert_eq!(name, "group");
    assert_eq!(
        error.unwrap_err().to_string(),
        "context canceled: shutting down (waiting for one, two)"
    );
    assert!(pair.executor.drive(group.next()).is_none());
}

/// Large results are kept in boxes, small ones are not: `next` gives both.
#[test]
fn next_gives_results_of_every_size() {
    fn gives<const N: usize>() {
        let executor = Executor::new();
        let mut group: Group<[u8; N]> = group(&executor);
        for number in 0..3 {
            group.spawn(async move { Ok::<_, Infallible>([number; N]) });
        }
        executor.run();
        for number in 0..3 {
            let next = Polled::new(group.next()).ready().unwrap();
            assert_eq!(next.unwrap(), [number; N], "{N} bytes");
        }
        assert!(Polled::new(group.next()).ready().is_none());
    }
    gives::<0>();
    gives::<1>();
    gives::<2>();
    gives::<31>();
    gives::<32>();
    gives::<33>();
    gives::<64>();
    gives::<65>();
    gives::<4096>();
}
