//! A task for each of many items: `try_map`, `try_map_stream`, `try_for_each`. conc's `iter` and `stream`
//! cases are among them, written anew.

use crate::executor::{Executor, Living, Polled, remote};
use crate::support::at_most;
use failfast::{Context, ErrorKind, Group, InPlaceGroup};
use futures::channel::mpsc;
use futures::executor::block_on;
use futures::stream;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// conc `iter`, "empty": "results in order, fail fast" of nothing.
#[test]
fn nothing_is_mapped_to_nothing() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner());
    let mapped = executor.drive(group.try_map([0_u32; 0], |n| ready(Ok::<_, Infallible>(n))));
    assert_eq!(mapped.unwrap(), [0; 0]);
    assert_eq!(executor.spawned(), 0);
}

/// conc `iter` and `stream`, "stays in order, whichever is first".
#[test]
fn results_are_in_order_though_the_last_finished_first() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner());
    let mut mapped = Polled::new(group.try_map(0..100, |n| ready(Ok::<_, Infallible>(n * n))));
    assert!(mapped.is_pending());
    executor.run_backwards();
    assert_eq!(
        mapped.ready().unwrap(),
        (0..100).map(|n| n * n).collect::<Vec<_>>()
    );
}

/// conc `iter`, "huge inputs", with a limit: "`with_limit`: at most n run".
#[test]
fn limit_is_kept_in_place_too() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(7));
    let mapped = block_on(group.try_map(0..1_000, |n| {
        let (running, most) = (running.clone(), most.clone());
        async move {
            most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            for _ in 0..20 {
                smol::future::yield_now().await; // long enough for the others to come
            }
            running.fetch_sub(1, SeqCst);
            Ok::<_, Infallible>(n)
        }
    }));
    assert_eq!(mapped.unwrap().len(), 1_000);
    assert_eq!(most.load(SeqCst), 7);
}

/// "An item is taken only when there is a place for its task", and none after a failure.
#[test]
fn items_are_taken_as_places_come_free_and_not_after_a_failure() {
    let executor = Executor::new();
    let living = Living::default();
    let (fails, first) = remote::<u32, &str>(&living);
    let (_later, second) = remote(&living);
    let mut tasks = vec![second, first];
    let taken = Cell::new(0);
    let items = std::iter::from_fn(|| {
        taken.set(taken.get() + 1);
        tasks.pop()
    });
    let group = Group::new(executor.spawner()).with_limit(at_most(1));
    let mut mapped = Polled::new(group.try_map(items, |task| task));
    assert!(mapped.is_pending());
    assert_eq!(taken.get(), 1);
    fails.fail("out of paper");
    executor.run();
    assert_eq!(
        mapped.ready().unwrap_err().to_string(),
        "task 0: out of paper"
    );
    assert_eq!(taken.get(), 1);
}

/// "At once: also while the stream is being waited for."
#[test]
fn failure_ends_the_wait_for_a_stream_that_gives_nothing() {
    let executor = Executor::new();
    let (sender, items) = mpsc::unbounded();
    let group = Group::new(executor.spawner());
    let mut mapped = Polled::new(
        group.try_map_stream(items, |n: u32| async move { Err::<u32, _>(n.to_string()) }),
    );
    assert!(mapped.is_pending());
    sender.unbounded_send(5).unwrap();
    assert!(mapped.is_pending());
    executor.run();
    assert_eq!(mapped.ready().unwrap_err().to_string(), "task 0: 5");
    assert!(sender.is_closed());
}

/// "Dropping it cancels the tasks."
#[test]
fn dropped_map_leaves_nothing() {
    let executor = Executor::new();
    let living = Living::default();
    let group = Group::new(executor.spawner());
    let mut mapped = Polled::new(group.try_for_each(0..3, |_| {
        let one = living.one();
        async move {
            pending::<()>().await;
            drop(one);
            Ok::<_, Infallible>(())
        }
    }));
    assert!(mapped.is_pending());
    executor.run();
    assert_eq!(living.count(), 3);
    drop(mapped);
    executor.run();
    assert_eq!(living.count(), 0);
}

/// The parent's end is the error, and nothing more is started.
#[test]
fn ended_parent_maps_nothing() {
    let (parent, canceller) = Context::background().with_cancel();
    canceller.cancel_with("closed");
    let executor = Executor::new();
    let (group, _) = Group::with_context(&parent, executor.spawner());
    group.spawn(ready(Ok::<_, Infallible>(1)));
    let mapped =
        executor.drive(group.try_map_stream(stream::repeat(2), |n| ready(Ok::<_, Infallible>(n))));
    let error = mapped.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Canceled);
    assert_eq!(error.cause().unwrap().to_string(), "closed");
    assert!(
        error.to_string().starts_with("context canceled: closed"),
        "{error}"
    );
    assert_eq!(executor.spawned(), 0);
}

/// "`try_map`, `try_for_each`, `ordered` are an error unless every item was taken": also after `stop`, which alone is
/// none.
#[test]
fn group_is_stopped_before_every_item_was_taken() {
    for map in [true, false] {
        let executor = Executor::new();
        let living = Living::default();
        let group = Group::<u32>::new(executor.spawner()).with_limit(at_most(1));
        let handle = group.handle();
        let taken = Cell::new(0);
        let items = (0..10).inspect(|_| taken.set(taken.get() + 1));
        let task = |_| {
            let (_, task) = remote::<u32, Infallible>(&living);
            task
        };
        let mut each = Polled::new(async {
            match map {
                true => group.try_map(items, task).await.map(drop),
                false => group.try_for_each(items, task).await,
            }
        });
        assert!(each.is_pending());
        handle.stop();
        let error = executor.finish(&mut each).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Canceled);
        drop(each);
        assert_eq!((taken.get(), living.count()), (1, 0));
    }
}

/// … and once every item was taken, `stop` is no error.
#[test]
fn group_is_stopped_after_every_item_was_taken() {
    let executor = Executor::new();
    let group = Group::<u32>::new(executor.spawner());
    let handle = group.handle();
    let mut mapped = Polled::new(group.try_map(0..3, |n| ready(Ok::<_, Infallible>(n))));
    assert!(mapped.is_pending());
    executor.run();
    handle.stop();
    assert_eq!(mapped.ready().unwrap(), [0, 1, 2]);
}

/// … also where the last item's task has the only place, and the place for one more is awaited.
#[test]
fn group_is_stopped_after_every_item_was_taken_at_its_limit() {
    let executor = Executor::new();
    let group = Group::<u32>::new(executor.spawner()).with_limit(at_most(1));
    let handle = group.handle();
    let mut mapped = Polled::new(group.try_map([7], |n| async move {
        smol::future::yield_now().await;
        Ok::<_, Infallible>(n)
    }));
    assert!(mapped.is_pending());
    assert!(!executor.poll(0));
    handle.stop();
    assert_eq!(executor.finish(&mut mapped).unwrap(), [7]);
}

/// In place the items are taken in turns of 32, because each may poll tasks.
#[test]
fn executor_gets_its_turn_after_every_32_items_in_place() {
    for items in [0, 1, 31, 32, 33, 63, 64, 65, 1_000] {
        let group = InPlaceGroup::<()>::new(&Context::background());
        let mut each =
            Polled::new(group.try_for_each(0..items, |_| ready(Ok::<_, Infallible>(()))));
        for turn in 0..items / 32 {
            assert!(each.is_pending(), "turn {turn} of {items} items");
            assert!(each.is_woken(), "turn {turn} of {items} items");
        }
        each.ready().unwrap();
    }
}
