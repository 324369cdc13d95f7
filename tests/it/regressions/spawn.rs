//! Room under a limit: the waiters for it, and which of them is woken.

use crate::executor::{Executor, Polled, watched};
use crate::support::at_most;
use failfast::{BoxError, Ending, Error, Group};
use futures::channel::{mpsc, oneshot};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// A task that awaited its fork lent its place, and the waiter in `ready` was not woken.
#[test]
fn lent_place_wakes_the_waiter_in_ready() {
    watched(|| {
        let executor = Executor::new();
        let group = Group::<()>::new(executor.spawner()).with_limit(at_most(2));
        let (end, ended) = oneshot::channel::<()>();
        let (go, gone) = oneshot::channel::<()>();
        let fork = group.fork("fork", async move {
            let _ = ended.await;
            Ok::<_, BoxError>(())
        });
        group.spawn(async move {
            let _ = gone.await;
            fork.await?;
            Ok::<_, Error>(())
        });
        executor.run();
        let mut ready = Polled::new(group.ready());
        assert!(ready.is_pending());
        go.send(()).unwrap();
        executor.run();
        assert!(ready.is_woken(), "there is room, and no waiter is woken");
        ready.ready().unwrap();
        drop(ready);
        end.send(()).unwrap();
        executor.drive(group.wait()).unwrap();
    });
}

/// A task that the executor dropped freed its place, and an owner that waited in `ready` hung.
#[test]
fn lost_task_frees_its_place_for_an_owner_in_ready() {
    watched(|| {
        let executor = Executor::new();
        let group = Group::<u32>::new(executor.spawner())
            .with_ending(Ending::Settle)
            .with_limit(at_most(1));
        group.spawn(async { Ok::<_, BoxError>(1) });
        group.spawn(async { Ok::<_, BoxError>(2) });
        let mut ready = Polled::new(group.ready());
        assert!(ready.is_pending());
        executor.lose(0);
        executor.finish(&mut ready).unwrap();
    });
}

/// A task that the executor dropped freed its place, and the queue stood while the owner awaited an item.
#[test]
fn lost_task_frees_its_place_for_the_queue_while_an_item_is_awaited() {
    watched(|| {
        let executor = Executor::new();
        let group = Group::<u32>::new(executor.spawner())
            .with_ending(Ending::Settle)
            .with_limit(at_most(2));
        let (items, stream) = mpsc::unbounded::<u32>();
        let (end, ended) = oneshot::channel::<()>();
        let handle = group.handle();
        group.spawn(async { Ok::<_, BoxError>(1) });
        let seen = Arc::new(AtomicBool::new(false));
        let end = std::sync::Mutex::new(Some(end));
        let mut map = Polled::new(group.try_map_stream(stream, {
            let seen = seen.clone();
            move |item| {
                let end = end.lock().unwrap().take();
                let seen = seen.clone();
                async move {
                    seen.store(item == 9, SeqCst);
                    drop(end);
                    Ok::<_, BoxError>(item)
                }
            }
        }));
        assert!(map.is_pending());
        let until_the_item = async move {
            let _ = ended.await;
            Ok::<_, BoxError>(2)
        };
        assert!(handle.spawn(until_the_item).is_ok());
        let queued = async move {
            items.unbounded_send(9).unwrap();
            Ok::<_, BoxError>(3)
        };
        assert!(handle.spawn(queued).is_ok());
        executor.lose(0);
        let _ = executor.finish(&mut map);
        assert!(seen.load(SeqCst), "the task in the queue gave the item");
    });
}
