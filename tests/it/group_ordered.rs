//! Section 4 of the contract: `ordered`, results in order as they come.

use crate::executor::{Executor, Life, Living, Polled, Remote, remote};
use crate::group::*;
use crate::support::{SECOND, at_most, manual};
use failfast::{Context, ErrorKind, Group, InPlaceGroup, LocalInPlaceGroup};
use futures::StreamExt;
use smol::future::yield_now;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// Items that are tasks of the test's, and how many have been taken.
struct Items {
    tell: Vec<Option<Remote<usize>>>,
    taken: Arc<AtomicUsize>,
    living: Living,
}

impl Items {
    fn new() -> Self {
        Self {
            tell: Vec::new(),
            taken: Arc::default(),
            living: Living::default(),
        }
    }

    fn taken(&self) -> usize {
        self.taken.load(SeqCst)
    }

    fn succeed(&mut self, number: usize) {
        self.tell[number].take().unwrap().succeed(number);
    }

    fn fail(&mut self, number: usize) {
        self.tell[number].take().unwrap().fail("refused");
    }
}

macro_rules! stream {
    ($items:ident, $group:expr, $many:expr) => {{
        let tasks: Vec<_> = (0..$many)
            .map(|_| {
                let (tell, task) = remote::<usize, &'static str>(&$items.living);
                $items.tell.push(Some(tell));
                task
            })
            .collect();
        let taken = $items.taken.clone();
        let items = tasks.into_iter().inspect(move |_| {
            taken.fetch_add(1, SeqCst);
        });
        $group.ordered(items, |task| task)
    }};
}

#[test]
fn results_are_in_order_though_the_last_finished_first() {
    let executor = Executor::new();
    let mut stream = group(&executor).ordered(0..100, |n| ready(Ok::<_, Infallible>(n * n)));
    let mut next = Polled::new(stream.next());
    let _ = next.poll();
    drop(next);
    executor.run_backwards();
    let all: Vec<_> = executor.drive(async { stream.by_ref().map(Result::unwrap).collect().await });
    assert_eq!(all, Vec::from_iter((0..100).map(|n| n * n)));
    assert!(executor.drive(stream.next()).is_none(), "and it stays over");
}

#[test]
fn no_items_give_no_results() {
    let executor = Executor::new();
    let mut stream = group(&executor).ordered([0_u32; 0], |n| ready(Ok::<_, Infallible>(n)));
    assert!(executor.drive(stream.next()).is_none());
    assert_eq!(executor.spawned(), 0);
}

/// "at most the limit ahead": of the items that have been yielded, not of those that have finished.
#[test]
fn items_are_taken_at_most_the_limit_ahead() {
    let executor = Executor::new();
    let mut items = Items::new();
    let mut stream = stream!(items, group(&executor).with_limit(at_most(3)), 10);
    assert!(items.taken() <= 3);
    {
        let mut next = Polled::new(stream.next());
        assert!(next.is_pending());
        executor.run();
        assert_eq!(items.taken(), 3);
        items.succeed(2);
        items.succeed(1);
        executor.run();
        assert!(next.is_pending(), "the first is due");
        assert_eq!(items.taken(), 3, "the first has not been given yet");
        items.succeed(0);
        executor.run();
        assert!(next.is_woken());
        assert_eq!(next.ready().unwrap().unwrap(), 0);
    }
    for number in [1, 2] {
        assert_eq!(Polled::new(stream.next()).ready().unwrap().unwrap(), number);
    }
    let mut next = Polled::new(stream.next());
    assert!(next.is_pending());
    executor.run();
    assert_eq!(items.taken(), 6);
    drop(next);
    drop(stream);
    executor.run();
    assert_eq!(items.living.count(), 0);
}

#[test]
fn limit_is_kept_in_place() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = most.clone();
    let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(7));
    let stream = group.ordered(0..1_000, move |n| {
        let (running, most) = (running.clone(), most.clone());
        async move {
            most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            for _ in 0..20 + n % 5 {
                yield_now().await;
            }
            running.fetch_sub(1, SeqCst);
            Ok::<_, Infallible>(n)
        }
    });
    let all: Vec<_> = futures::executor::block_on(stream.map(Result::unwrap).collect());
    assert_eq!(all, Vec::from_iter(0..1_000));
    assert_eq!(peak.load(SeqCst), 7);
}

/// Fail fast: the failure comes at once, though one before it is still due; and nothing is taken any more.
#[test]
fn task_fails() {
    let executor = Executor::new();
    let mut items = Items::new();
    let mut stream = stream!(items, group(&executor).with_limit(at_most(3)), 10);
    let mut next = Polled::new(stream.next());
    assert!(next.is_pending());
    executor.run();
    items.fail(1);
    executor.run();
    let error = executor.finish(&mut next).unwrap().unwrap_err();
    drop(next);
    assert_eq!(told(&error), (ErrorKind::Task, Some("task 1")));
    assert_eq!(items.taken(), 3);
    assert!(
        executor.drive(stream.next()).is_none(),
        "the error is the last"
    );
    executor.run();
    assert_eq!(
        items.living.count(),
        items.tell.len() - 3,
        "those that were never taken"
    );
    drop(stream);
    assert_eq!(items.living.count(), 0);
}

/// "an error unless every item was taken": after the parent's end, and after `stop`.
#[test]
fn group_ends_before_every_item_was_taken() {
    for stopped in [false, true] {
        let executor = Executor::new();
        let (parent, canceller) = Context::background().with_cancel();
        let (group, _) = Group::<usize>::with_context(&parent, executor.spawner());
        let handle = group.handle();
        let mut items = Items::new();
        let mut stream = stream!(items, group.with_limit(at_most(1)), 3);
        let mut next = Polled::new(stream.next());
        assert!(next.is_pending());
        executor.run();
        items.succeed(0);
        executor.run();
        assert_eq!(next.ready().unwrap().unwrap(), 0);
        drop(next);
        match stopped {
            true => handle.stop(),
            false => canceller.cancel_with("closed"),
        }
        let error = executor.drive(stream.next()).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Canceled);
        assert!(executor.drive(stream.next()).is_none());
    }
}

/// The same when every item was taken: results that are still due are missing.
#[test]
fn group_ends_before_every_result_was_yielded() {
    for stopped in [false, true] {
        let executor = Executor::new();
        let (parent, canceller) = Context::background().with_cancel();
        let (group, _) = Group::<usize>::with_context(&parent, executor.spawner());
        let handle = group.handle();
        let mut items = Items::new();
        let mut stream = stream!(items, group, 3);
        let mut next = Polled::new(stream.next());
        assert!(next.is_pending());
        executor.run();
        items.succeed(1);
        executor.run();
        assert!(next.is_pending(), "the first is due");
        drop(next);
        match stopped {
            true => handle.stop(),
            false => canceller.cancel_with("closed"),
        }
        let error = executor.drive(stream.next()).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Canceled);
        assert!(executor.drive(stream.next()).is_none());
        assert_eq!(items.living.count(), 0);
    }
}

/// … whether it is items that are left, or results.
#[test]
fn group_is_stopped_before_the_first_item_or_after_the_last_was_taken() {
    for polls in [0, 1] {
        let executor = Executor::new();
        let group = group(&executor);
        let handle = group.handle();
        let mut stream = group.ordered(0..3, |_| pending::<Result<u32, Infallible>>());
        for _ in 0..polls {
            assert!(Polled::new(stream.next()).is_pending());
        }
        handle.stop();
        let error = executor.drive(stream.next()).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Canceled);
        assert!(executor.drive(stream.next()).is_none());
    }
}

/// `stop` once every item was taken, and is through: no error.
#[test]
fn group_is_stopped_when_every_item_is_through() {
    let executor = Executor::new();
    let group = group(&executor);
    let handle = group.handle();
    let mut stream = group.ordered(0..3, |n| ready(Ok::<_, Infallible>(n)));
    let mut next = Polled::new(stream.next());
    let _ = next.poll();
    drop(next);
    executor.run();
    handle.stop();
    let all = executor.drive(async {
        stream
            .by_ref()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
            .await
    });
    assert_eq!(all, [0, 1, 2]);
}

/// What is not of an item is not kept.
#[test]
fn result_of_a_task_that_was_there_before_is_dropped() {
    let executor = Executor::new();
    let group = group::<Life>(&executor);
    let results = Living::default();
    let life = results.one();
    group.spawn(async move { Ok::<_, Infallible>(life) });
    let mut stream = group.ordered(0..1, |_| pending::<Result<Life, Infallible>>());
    let mut next = Polled::new(stream.next());
    assert!(next.is_pending());
    executor.run();
    assert!(next.is_woken());
    assert!(next.is_pending());
    assert_eq!(results.count(), 0);
}

/// "Nothing outlives it": it ends when every task is gone.
#[test]
fn stream_ends_after_the_last_task() {
    let (clock, root) = manual();
    let executor = Executor::new();
    let (group, _) = Group::<()>::with_context(&root, executor.spawner());
    let mut stream = group.with_grace(SECOND).ordered(0..2, |item| async move {
        match item {
            0 => pending().await,
            _ => Err("refused"),
        }
    });
    let error = executor.drive(stream.next()).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "task 1: refused");
    let mut next = Polled::new(stream.next());
    assert!(next.is_pending());
    assert_eq!(executor.alive(), [0]);
    clock.advance(SECOND);
    assert!(executor.finish(&mut next).is_none());
    assert!(executor.alive().is_empty());
}

#[test]
fn stream_is_dropped() {
    let executor = Executor::new();
    let living = Living::default();
    let lives: Vec<_> = (0..3).map(|_| living.one()).collect();
    let mut stream = group(&executor).ordered(lives, |life| async move {
        pending::<()>().await;
        drop(life);
        Ok::<_, Infallible>(())
    });
    let mut next = Polled::new(stream.next());
    assert!(next.is_pending());
    executor.run();
    assert_eq!(living.count(), 3);
    drop(next);
    drop(stream);
    executor.run();
    assert_eq!(living.count(), 0);
    assert!(executor.alive().is_empty());
}

/// In place, items, the function and the tasks may borrow from the caller; the local flavor's need not be `Send`.
#[test]
fn stream_in_place_borrows_from_the_caller() {
    let lines = ["one", "three", "seven"].map(str::to_owned);
    let seen = Mutex::new(Vec::new());
    let group = InPlaceGroup::new(&Context::background());
    let mut stream = group.ordered(&lines, |line| {
        seen.lock().unwrap().push(line.as_str());
        async move { Ok::<_, Infallible>(line.len()) }
    });
    fn is_send(_: &impl Send) {}
    is_send(&stream);
    let first = futures::executor::block_on(stream.next());
    assert_eq!(first.unwrap().unwrap(), 3);
    drop(stream);
    assert!(seen.lock().unwrap().starts_with(&["one"]));

    let shared = Rc::new(5);
    let group = LocalInPlaceGroup::new(&Context::background());
    let stream = group.ordered([1, 2], |n| {
        let shared = &shared;
        async move { Ok::<_, Infallible>(**shared + n) }
    });
    let all: Vec<_> = futures::executor::block_on(stream.map(Result::unwrap).collect());
    assert_eq!(all, [6, 7]);
}
