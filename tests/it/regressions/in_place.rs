//! Groups in place: which waiter drives them, and for how long.

use super::finish;
use crate::executor::{Polled, watched};
use crate::faults::tools::panics;
use crate::support::{Count, GENEROUS, at_most, poll};
use failfast::clock::{Clock, Sleep, SystemClock};
use failfast::{BoxError, Context, Error, InPlaceGroup};
use futures::FutureExt;
use futures::channel::{mpsc, oneshot};
use futures::executor::block_on;
use std::cell::Cell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, RawWaker, RawWakerVTable, Waker};
use std::thread;
use std::time::Instant;

/// A handle that waited in `ready` was taken for the group's driver: the owner behind it was not woken for a task.
#[test]
fn owner_behind_a_handle_in_ready_is_woken() {
    watched(|| {
        let mut group = InPlaceGroup::<u32>::new(&Context::background()).with_limit(at_most(2));
        let handle = group.handle();
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let polls = Count::default();
        group.spawn(async move {
            handle.ready().await?;
            Ok::<_, Error>(1)
        });
        group.spawn({
            let (waker, polls) = (waker.clone(), polls.clone());
            poll_fn(move |cx| {
                polls.add();
                if polls.get() == 3 {
                    return Poll::Ready(Ok::<_, BoxError>(2));
                }
                *waker.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            })
        });
        assert!(Polled::new(group.next()).is_pending());
        let mut ready = Polled::new(group.ready());
        while ready.is_pending() {
            let waker = waker.lock().unwrap().take();
            if let Some(waker) = waker {
                waker.wake();
            }
            assert!(ready.is_woken(), "hangs: the group has no driver");
        }
        assert_eq!(polls.get(), 3);
    });
}

thread_local! {
    /// The waker of a task, which the next clone of [`WAKES_IN_CLONE`]'s waker wakes.
    static TASK: Cell<Option<Waker>> = const { Cell::new(None) };
    static WAKES: Cell<usize> = const { Cell::new(0) };
}

static WAKES_IN_CLONE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        TASK.take().into_iter().for_each(Waker::wake);
        RawWaker::new(data, &WAKES_IN_CLONE)
    },
    |_| WAKES.set(WAKES.get() + 1),
    |_| WAKES.set(WAKES.get() + 1),
    |_| (),
);

/// A task is woken after the drive, and before its driver stands in line, where it would be found.
#[test]
fn task_is_woken_while_ready_clones_its_waker() {
    let group = InPlaceGroup::<()>::new(&Context::background()).with_limit(at_most(1));
    group.spawn(poll_fn(|cx| {
        TASK.set(Some(cx.waker().clone()));
        Poll::<Result<(), BoxError>>::Pending
    }));
    // SAFETY: the functions use thread-locals alone, so that any data and any number of them will do.
    let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &WAKES_IN_CLONE)) };
    let mut ready = Box::pin(group.ready());
    assert!(poll(&mut ready, &waker).is_pending());
    assert_eq!(WAKES.get(), 1, "hangs: nothing polls the task");
}

/// The queue was not served while the owner awaited an item of a stream, at a limit of one.
#[test]
fn queue_is_served_while_an_item_is_awaited() {
    let mut results = watched(|| {
        let group = InPlaceGroup::<u32>::new(&Context::background()).with_limit(at_most(1));
        let handle = group.handle();
        let (items, stream) = mpsc::unbounded::<u32>();
        items.unbounded_send(0).unwrap();
        let items = Mutex::new(Some(items));
        let mut map = Polled::new(group.try_map_stream(stream, move |item| {
            let (handle, items) = (handle.clone(), items.lock().unwrap().take());
            async move {
                if let Some(items) = items {
                    // A child that gives the next item, and ends the stream.
                    let child = async move {
                        items.unbounded_send(7).unwrap();
                        Ok::<_, BoxError>(100)
                    };
                    assert!(handle.spawn(child).is_ok());
                }
                Ok::<_, BoxError>(item)
            }
        }));
        finish(&mut map).unwrap()
    });
    results.sort();
    assert_eq!(results, [0, 7, 100]);
}

/// The queue was not served while the owner awaited an item, where one queued task waited for another.
#[test]
fn queue_of_tasks_that_wait_for_each_other_is_served_while_an_item_is_awaited() {
    let mut results = watched(|| {
        let group = InPlaceGroup::<u32>::new(&Context::background()).with_limit(at_most(2));
        let handle = group.handle();
        let (items, stream) = mpsc::unbounded::<u32>();
        items.unbounded_send(0).unwrap();
        let (go, gone) = oneshot::channel::<()>();
        let first = Mutex::new(Some((items, gone, handle)));
        let mut map = Polled::new(group.try_map_stream(stream, move |item| {
            let first = first.lock().unwrap().take();
            async move {
                if let Some((items, gone, handle)) = first {
                    let _ = gone.await;
                    let (tell, told) = oneshot::channel::<()>();
                    let waiting = async move {
                        let _ = told.await;
                        Ok::<_, BoxError>(100)
                    };
                    assert!(handle.spawn(waiting).is_ok());
                    let telling = async move {
                        tell.send(()).unwrap();
                        items.unbounded_send(7).unwrap();
                        Ok::<_, BoxError>(101)
                    };
                    assert!(handle.spawn(telling).is_ok());
                }
                Ok::<_, BoxError>(item)
            }
        }));
        while map.poll().is_pending() && map.is_woken() {}
        go.send(()).unwrap();
        assert!(map.is_woken());
        finish(&mut map).unwrap()
    });
    results.sort();
    assert_eq!(results, [0, 7, 100, 101]);
}

/// Two threads waited in `ready`, a task was woken from a third, and neither of the two polled it.
#[test]
fn two_threads_drive() {
    watched(|| {
        for _ in 0..50 {
            let group = InPlaceGroup::<()>::new(&Context::background()).with_limit(at_most(1));
            let (wakers, woken) = std::sync::mpsc::channel::<Waker>();
            let polls = Count::default();
            group.spawn(poll_fn(move |cx| {
                polls.add();
                if polls.get() > 50 {
                    return Poll::Ready(Ok::<_, BoxError>(()));
                }
                wakers.send(cx.waker().clone()).unwrap();
                Poll::Pending
            }));
            thread::scope(|scope| {
                scope.spawn(move || woken.iter().for_each(Waker::wake));
                for _ in 0..2 {
                    scope.spawn(|| block_on(group.ready()).unwrap());
                }
            });
        }
    });
}

/// Under a deadline, a drive ended the first task before its spawner had had the timer armed, and later tasks were
/// lost or refused.
#[test]
fn task_ends_before_the_deadline_is_watched() {
    watched(|| {
        let ctx = Context::background().with_timeout(GENEROUS);
        let mut group = InPlaceGroup::<()>::new(&ctx);
        let handle = group.handle();
        let done = Arc::new(AtomicUsize::new(0));
        let spawning = thread::spawn(move || {
            for round in 1..=200 {
                let task = {
                    let done = done.clone();
                    async move {
                        done.fetch_add(1, SeqCst);
                        Ok::<_, BoxError>(())
                    }
                };
                assert!(handle.spawn(task).is_ok(), "refused in round {round}");
                while done.load(SeqCst) < round {
                    thread::yield_now();
                }
            }
        });
        while !spawning.is_finished() {
            let _ = group.next().now_or_never();
        }
        spawning.join().unwrap();
    });
}

/// `try_for_each` ran every item in one poll, and the executor had no turn.
#[test]
fn try_for_each_leaves_the_executor_its_turn() {
    watched(|| {
        let polls = Count::default();
        let group = InPlaceGroup::<()>::new(&Context::background()).with_limit(at_most(1));
        let mut each = Polled::new(group.try_for_each(0..10_000, {
            let polls = polls.clone();
            move |_| {
                let polls = polls.clone();
                async move {
                    polls.add();
                    Ok::<_, BoxError>(())
                }
            }
        }));
        assert!(each.is_pending());
        assert!(polls.get() < 1_000, "{} polls in one", polls.get());
    });
}

/// A clock panicked in a drive, and the panic came out of `wait`.
#[test]
fn clock_panics_in_a_drive() {
    #[derive(Clone)]
    struct Fails(Arc<AtomicBool>);
    impl Clock for Fails {
        fn now(&self) -> Instant {
            assert!(!self.0.load(SeqCst), "the clock");
            Instant::now()
        }
        fn sleep_until(&self, deadline: Instant) -> Sleep {
            SystemClock.sleep_until(deadline)
        }
    }
    watched(|| {
        let fails = Arc::new(AtomicBool::new(false));
        let ctx = Context::background().with_clock(Fails(fails.clone()));
        let group = InPlaceGroup::<u32>::new(&ctx);
        group.spawn(async { Ok::<_, BoxError>(1) });
        fails.store(true, SeqCst);
        assert!(!panics(|| block_on(group.wait())));
    });
}
