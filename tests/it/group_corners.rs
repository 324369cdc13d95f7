//! What went wrong in groups once, and what executors' handles are kept for.

use crate::executor::{Executor, Life, Living, Polled, remote};
use crate::support::{SECOND, at_most};
use failfast::{Context, Ending, ErrorKind, Group, InPlaceGroup};
use futures::FutureExt;
use smol::future::yield_now;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn, ready};
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

/// "kept until the task has ended", and no longer: "a finished task keeps no handle".
mod spawned {
    use super::*;
    use crate::support::{Count, OnDrop};
    use failfast::Task;

    /// An executor that runs nothing by itself and gives handles back.
    #[derive(Clone, Default)]
    struct Observed {
        tasks: Arc<Mutex<Vec<Task>>>,
        spawned: Count,
        /// How many of its handles have been dropped.
        dropped: Count,
    }

    impl failfast::Spawn for Observed {
        type Handle = OnDrop;

        fn spawn(&self, task: Task) -> OnDrop {
            self.tasks.lock().unwrap().push(task);
            self.spawned.add();
            OnDrop(self.dropped.clone())
        }
    }

    impl Observed {
        /// Polls each task once, and drops those that have ended.
        fn poll_all(&self) {
            let tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
            for mut task in tasks {
                if (&mut task).now_or_never().is_none() {
                    self.tasks.lock().unwrap().push(task);
                }
            }
        }

        fn run(&self) {
            while !self.tasks.lock().unwrap().is_empty() {
                self.poll_all();
            }
        }
    }

    #[test]
    fn handle_is_dropped_once_the_task_has_ended() {
        for limit in [None, Some(1)] {
            let observed = Observed::default();
            let mut group = Group::new(observed.clone());
            if let Some(limit) = limit {
                group = group.with_limit(at_most(limit));
            }
            for round in 0..3 {
                group.spawn(ready(Ok::<_, Infallible>(5)));
                assert_eq!(observed.dropped.get(), round);
                observed.run();
                assert_eq!(observed.dropped.get(), round + 1, "at a limit of {limit:?}");
            }
            assert_eq!(Polled::new(group.wait()).ready().unwrap(), [5, 5, 5]);
            assert_eq!(observed.dropped.get(), 3);
        }
    }

    /// Ended before `spawn` returned, so before there is a handle to drop.
    #[test]
    fn handle_of_a_task_that_ended_inside_spawn_is_dropped() {
        let dropped = Count::default();
        let count = dropped.clone();
        let group = Group::new(move |mut task: Task| {
            assert!((&mut task).now_or_never().is_some());
            OnDrop(count.clone())
        });
        for round in 0..3 {
            assert_eq!(dropped.get(), round);
            group.spawn(ready(Ok::<_, Infallible>(5)));
        }
        assert_eq!(dropped.get(), 3);
        assert_eq!(Polled::new(group.wait()).ready().unwrap(), [5, 5, 5]);
    }

    #[test]
    fn handle_is_kept_while_the_next_in_the_queue_runs() {
        let observed = Observed::default();
        let mut group = Group::new(observed.clone()).with_limit(at_most(1));
        let living = Living::default();
        let (second, task) = remote::<_, Infallible>(&living);
        group.spawn(ready(Ok::<_, Infallible>(1)));
        group.spawn(task);
        observed.poll_all();
        observed.poll_all(); // the second runs, whether the executor has one task more or not
        assert_eq!(Polled::new(group.next()).ready().unwrap().unwrap(), 1);
        assert_eq!(
            observed.dropped.get() + 1,
            observed.spawned.get(),
            "the second would be cancelled"
        );
        second.succeed(2);
        observed.run();
        let handle = group.handle();
        assert_eq!(Polled::new(group.wait()).ready().unwrap(), [2]);
        assert_eq!(observed.dropped.get(), observed.spawned.get());
        drop(handle);
    }

    #[test]
    fn handles_and_results_are_dropped_after_wait_though_a_group_handle_is_kept() {
        let (observed, results) = (Observed::default(), Count::default());
        let group = Group::new(observed.clone());
        let handle = group.handle();
        let result = OnDrop(results.clone());
        group.spawn(async { Ok::<_, Infallible>(result) });
        group.spawn(async { Err("refused") });
        observed.run();
        assert!(Polled::new(group.wait()).ready().is_err());
        assert_eq!((observed.dropped.get(), results.get()), (2, 1));
        drop(handle);
    }
}
