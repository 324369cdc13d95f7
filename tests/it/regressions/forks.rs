//! Forks: dropped ones, finished ones, and those whose waiters are polled at odd times.

use crate::executor::{Executor, Polled, watched};
use crate::faults::tools::{Bomb, apart, panics, poll_once};
use crate::support::{Count, OnDrop, at_most};
use failfast::{BoxError, Context, Group, InPlaceGroup, Task};
use futures::channel::oneshot;
use futures::executor::block_on;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{self, RawWaker, RawWakerVTable, Wake, Waker};

type Kept = Arc<Mutex<Vec<Task>>>;

fn kept() -> (Kept, Group<()>) {
    let kept = Kept::default();
    let tasks = kept.clone();
    let group = Group::<()>::new(move |task: Task| tasks.lock().unwrap().push(task));
    (kept, group)
}

/// The result of a dropped fork panicked in its destructor: the panic came out of the task, and the body was dropped
/// again.
#[test]
fn result_of_a_dropped_fork_panics_in_its_destructor() {
    apart(|| {
        let (kept, group) = kept();
        let (bombs, bodies) = (Count::default(), Count::default());
        let (bomb, body) = (Bomb(bombs.clone()), OnDrop(bodies.clone()));
        drop(group.fork("fork", async move {
            let _body = &body;
            Ok::<_, BoxError>(bomb)
        }));
        let mut task = kept.lock().unwrap().pop().unwrap();
        assert!(!panics(|| poll_once(Pin::new(&mut task))));
        assert!(!panics(|| drop(task)));
        assert_eq!((bombs.get(), bodies.get()), (1, 1));
        block_on(group.wait()).unwrap();
    });
}

/// The same in place: the panic came out of `wait`.
#[test]
fn result_of_a_dropped_fork_panics_in_its_destructor_in_place() {
    apart(|| {
        let group = InPlaceGroup::<()>::new(&Context::background());
        let bombs = Count::default();
        let bomb = Bomb(bombs.clone());
        drop(group.fork("fork", async move { Ok::<_, BoxError>(bomb) }));
        assert!(!panics(|| block_on(group.wait()).unwrap()));
        assert_eq!(bombs.get(), 1);
    });
}

static ARMED: AtomicBool = AtomicBool::new(false);
static LOUD: RawWakerVTable =
    RawWakerVTable::new(|p| RawWaker::new(p, &LOUD), |_| (), |_| (), loud);

fn loud(_: *const ()) {
    assert!(
        !ARMED.load(SeqCst) || std::thread::panicking(),
        "the waker's destructor"
    );
}

/// The executor's waker panicked in its destructor when a dropped fork finished: the panic came out of the task, and
/// the body was dropped twice.
#[test]
fn body_of_a_dropped_fork_is_dropped_once_though_the_waker_panics() {
    watched(|| {
        let (kept, group) = kept();
        let bodies = Count::default();
        let body = OnDrop(bodies.clone());
        drop(group.fork("fork", async move {
            let _body = &body;
            Ok::<_, BoxError>(1)
        }));
        let mut task = kept.lock().unwrap().pop().unwrap();
        // SAFETY: the table's functions never look at the pointer.
        let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &LOUD)) };
        let waker = std::mem::ManuallyDrop::new(waker);
        ARMED.store(true, SeqCst);
        let polled = panics(|| {
            let _ = Pin::new(&mut task).poll(&mut task::Context::from_waker(&waker));
        });
        let dropped = panics(|| drop(task));
        ARMED.store(false, SeqCst);
        assert_eq!((polled, dropped, bodies.get()), (false, false, 1));
    });
}

/// A fork that had finished and was kept went on holding the executor's waker.
#[test]
fn finished_fork_lets_go_of_the_executors_waker() {
    struct Quiet;
    impl Wake for Quiet {
        fn wake(self: Arc<Self>) {}
    }
    watched(|| {
        let (kept, group) = kept();
        let (end, ended) = oneshot::channel::<()>();
        let fork = group.fork("fork", async move {
            let _ = ended.await;
            Ok::<_, BoxError>(1)
        });
        let quiet = Arc::new(Quiet);
        let waker = Waker::from(quiet.clone());
        let mut task = kept.lock().unwrap().pop().unwrap();
        let mut cx = task::Context::from_waker(&waker);
        assert!(Pin::new(&mut task).poll(&mut cx).is_pending());
        end.send(()).unwrap();
        assert!(Pin::new(&mut task).poll(&mut cx).is_ready());
        drop((task, waker, group));
        assert_eq!(
            Arc::strong_count(&quiet),
            1,
            "the fork keeps the executor's task"
        );
        drop(fork);
    });
}

/// Forks were awaited one after the other by a waker that polls at once, and more tasks ran than the limit allows.
#[test]
fn limit_holds_though_a_waker_polls_inline() {
    type Body = Pin<Box<dyn Future<Output = ()> + Send>>;
    struct Inline(Mutex<Option<Body>>);
    impl Wake for Inline {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }
        fn wake_by_ref(self: &Arc<Self>) {
            let waker = Waker::from(self.clone());
            let Ok(mut body) = self.0.try_lock() else {
                return;
            };
            let Some(future) = body.as_mut() else { return };
            let mut cx = task::Context::from_waker(&waker);
            if future.as_mut().poll(&mut cx).is_ready() {
                *body = None;
            }
        }
    }
    watched(|| {
        let executor = Executor::new();
        let group = Group::<()>::new(executor.spawner()).with_limit(at_most(1));
        let fork = |name| group.fork(name, async { Ok::<_, BoxError>(()) });
        let (one, two, three) = (fork("one"), fork("two"), fork("three"));
        let inline = Arc::new(Inline(Mutex::new(Some(Box::pin(async move {
            one.await.unwrap();
            two.await.unwrap();
        })))));
        inline.wake_by_ref();
        while executor.step() {
            let running = executor.alive().len();
            assert!(running <= 1, "{running} ran at a limit of 1");
        }
        assert!(inline.0.lock().unwrap().is_none());
        Polled::new(three).ready().unwrap();
        executor.drive(group.wait()).unwrap();
    });
}
