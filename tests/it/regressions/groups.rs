//! Groups: queues after a loss, places that are used again, and errors that panic when they are dropped.

use crate::executor::{Executor, Life, Living, Polled, remote};
use crate::support::{SECOND, at_most};
use failfast::{Context, Ending, ErrorKind, Group, InPlaceGroup};
use smol::future::yield_now;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// A result is due from the next in the queue, though the task before it was lost.
#[test]
fn queue_goes_on_after_a_task_was_lost() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner())
        .with_limit(at_most(1))
        .with_ending(Ending::Settle);
    group.spawn(pending::<Result<u32, &str>>());
    group.spawn(async { Ok::<_, &str>(2) });
    executor.lose(0);
    let outcomes = executor.drive(group.outcomes()).unwrap();
    assert_eq!(outcomes[0].1.as_ref().unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(outcomes[1].1.as_ref().unwrap(), &2);
}

/// `ready` is served though the task before the queue was lost.
#[test]
fn ready_comes_after_a_task_was_lost_before_the_queue() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner())
        .with_limit(at_most(1))
        .with_ending(Ending::Settle);
    group.spawn(pending::<Result<u32, &str>>());
    group.spawn(async { Ok::<_, &str>(2) });
    let mut turn = Polled::new(group.ready());
    assert!(turn.is_pending());
    executor.lose(0);
    executor.finish(&mut turn).unwrap();
}

#[test]
fn background_task_beyond_the_first_places_ends_while_next_is_called() {
    let executor = Executor::new();
    let mut group = Group::new(executor.spawner());
    for number in 0..4 {
        group.spawn(async move { Ok::<_, Infallible>(number) });
    }
    group.spawn_background(async { Ok::<_, Infallible>(()) });
    for number in 0..4 {
        assert_eq!(executor.drive(group.next()).unwrap().unwrap(), number);
    }
    assert!(executor.drive(group.next()).is_none());
}

/// "frees them": also those that came out of the queue, on an executor with handles.
#[test]
fn queued_tasks_are_freed_as_they_are_taken() {
    struct Handle;
    impl Drop for Handle {
        fn drop(&mut self) {}
    }
    let executor = Executor::new();
    let spawner = executor.spawner();
    let mut group = Group::new(move |task| {
        failfast::Spawn::spawn(&spawner, task);
        Handle
    })
    .with_limit(at_most(1));
    for number in 0..10 {
        group.spawn(async move { Ok::<_, Infallible>(number) });
    }
    for number in 0..10 {
        assert_eq!(executor.drive(group.next()).unwrap().unwrap(), number);
    }
    assert_eq!(executor.drive(group.outcomes()).unwrap().len(), 0);
}

#[test]
fn in_place_task_takes_the_place_of_one_that_woke_itself_last() {
    let executor = Executor::<failfast::Task>::new();
    let mut group = InPlaceGroup::new(&Context::background());
    group.spawn(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Ready(Ok::<_, Infallible>(1))
    }));
    assert_eq!(executor.drive(group.next()).unwrap().unwrap(), 1);
    assert!(executor.drive(group.next()).is_none());
    group.spawn(async { Ok::<_, Infallible>(2) });
    assert_eq!(executor.drive(group.next()).unwrap().unwrap(), 2);
}

/// "each only when it was woken": by its own waker, not by that of one before it.
#[test]
fn in_place_task_is_not_polled_for_a_late_wake_of_one_before_it() {
    let executor = Executor::<failfast::Task>::new();
    let mut group = InPlaceGroup::new(&Context::background());
    let late = Arc::new(Mutex::new(None::<Waker>));
    let keep = late.clone();
    group.spawn(poll_fn(move |cx| {
        *keep.lock().unwrap() = Some(cx.waker().clone());
        Poll::Ready(Ok::<_, Infallible>(1))
    }));
    assert_eq!(executor.drive(group.next()).unwrap().unwrap(), 1);
    let polls = Arc::new(AtomicUsize::new(0));
    let count = polls.clone();
    group.spawn(poll_fn(move |_| {
        count.fetch_add(1, SeqCst);
        Poll::<Result<u32, Infallible>>::Pending
    }));
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    assert_eq!(polls.load(SeqCst), 1);
    late.lock().unwrap().take().unwrap().wake();
    assert!(wait.is_pending());
    assert_eq!(polls.load(SeqCst), 1);
}

/// "The others' errors are there for who asks", whatever was read before.
#[test]
fn others_are_complete_though_ready_returned_the_error_before() {
    let executor = Executor::new();
    let group = Group::<()>::new(executor.spawner()).with_grace(SECOND);
    let living = Living::default();
    let (first, task) = remote::<(), &str>(&living);
    group.spawn(task);
    let (second, task) = remote::<(), &str>(&living);
    group.spawn(task);
    executor.run();
    first.fail("first");
    executor.run();
    assert!(Polled::new(group.ready()).ready().is_err());
    second.fail("second");
    executor.run();
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.others().len(), 1);
}

/// "Nothing hangs": an error that is not kept may panic when it is dropped.
#[test]
fn dropped_error_of_one_of_many_panics() {
    #[derive(Debug)]
    struct Bomb(Life);
    impl std::fmt::Display for Bomb {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bomb")
        }
    }
    impl std::error::Error for Bomb {}
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0.count() > 17 {
                panic!("dropped");
            }
        }
    }
    let executor = Executor::new();
    let group = Group::<()>::new(executor.spawner());
    let living = Living::default();
    for _ in 0..18 {
        let bomb = Bomb(living.one());
        group.spawn(async move {
            yield_now().await; // so that all have started before the first fails
            Err(bomb)
        });
    }
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 0: bomb");
    assert_eq!(error.omitted(), 1);
}

/// The first cause is never lost: nor when the failed future's destructor panics with a bomb.
#[test]
fn failed_task_panics_in_drop_with_a_payload_that_panics() {
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            panic!("payload dropped");
        }
    }
    struct Fails;
    impl Future for Fails {
        type Output = Result<(), &'static str>;
        fn poll(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Self::Output> {
            Poll::Ready(Err("refused"))
        }
    }
    impl Drop for Fails {
        fn drop(&mut self) {
            std::panic::panic_any(Payload);
        }
    }
    let executor = Executor::new();
    let group = Group::new(executor.spawner());
    group.spawn(Fails);
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 0: refused");
}
