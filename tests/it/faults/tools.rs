//! What the tests of the faults share: processes of their own, bytes and allocations of a thread, executors
//! behind one type, tasks that yield, and destructors that panic.

use crate::executor::watched;
use crate::support::Count;
use failfast::Task;
use std::alloc::{GlobalAlloc, Layout, System};
use std::any::Any;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::task::{self, Poll, Waker};
use std::time::Duration;

/// One hour of a clock that the test moves.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// The sizes around every threshold that the library or its dependencies are known to have.
pub(crate) const SIZES: &[usize] = &[
    0, 1, 2, 3, 12, 13, 29, 30, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1_000, 4_096,
];

/// The variable by which the test binary runs one test in a process of its own.
const APART: &str = "FAILFAST_TEST_APART";

/// Runs the test, a closure written in the test's own function, in a process of its own and under a watchdog.
/// An abort is then a failure of this one test.
pub(crate) fn apart<F: FnOnce() + Send + 'static>(test: F) {
    let path = std::any::type_name::<F>().split_once("::").unwrap().1;
    let name = path.trim_end_matches("::{{closure}}");
    if std::env::var(APART).is_ok_and(|only| only == name) {
        return watched(test);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(APART, name)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && told.contains("1 passed");
    assert!(passed, "{}: {told}\n{errors}", output.status);
}

/// Counts the bytes that the process has allocated and not freed, and the allocations of each thread.
struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn note(bytes: isize) {
    // It orders nothing: it is read by the thread that allocates, or once the others are idle.
    HELD.fetch_add(bytes, Relaxed);
    if bytes > 0 {
        // A thread that is going away may allocate after its thread-locals have gone.
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    }
}

// SAFETY: it forwards to the system's allocator, and counts in what needs neither allocation nor drop.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bytes that are allocated and not freed, by any thread: to be read in a process of its own alone.
pub(crate) fn held() -> isize {
    HELD.load(Relaxed)
}

/// How often this thread has allocated.
pub(crate) fn allocations() -> usize {
    CALLS.get()
}

/// Yields so many times.
pub(crate) async fn yields(mut times: usize) {
    poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Counts its polls.
pub(crate) fn counted<F: Future>(
    polls: &Count,
    future: F,
) -> impl Future<Output = F::Output> + use<F> {
    let (polls, mut future) = (polls.clone(), Box::pin(future));
    poll_fn(move |cx| {
        polls.add();
        future.as_mut().poll(cx)
    })
}

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut task::Context::from_waker(Waker::noop()))
}

/// Polls the task once and drops it, through or not: an executor for tasks that are ready at once.
pub(crate) fn inline(mut task: Task) {
    let _ = poll_once(Pin::new(&mut task));
}

/// Polls the task to its end at once, however often it yields: an executor for tasks that never wait.
pub(crate) fn eager(mut task: Task) {
    while poll_once(Pin::new(&mut task)).is_pending() {}
}

/// An executor behind one type.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) spawn: fn(Task) -> Box<dyn Any + Send>,
}

static TOKIO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
});

static POOL: LazyLock<futures::executor::ThreadPool> = LazyLock::new(|| {
    let mut builder = futures::executor::ThreadPool::builder();
    builder.pool_size(2).create().unwrap()
});

/// Executors with threads of their own, so that any thread may wait for their tasks.
pub(crate) const HOSTS: &[Host] = &[
    Host {
        name: "smol",
        spawn: |task| Box::new(smol::spawn(task)),
    },
    Host {
        name: "tokio",
        spawn: |task| Box::new(TOKIO.spawn(task)),
    },
    Host {
        name: "async-std",
        spawn: |task| Box::new(async_std::task::spawn(task)),
    },
    Host {
        name: "thread pool",
        spawn: |task| {
            POOL.spawn_ok(task);
            Box::new(())
        },
    },
];

/// A destructor that panics, and counts that it ran.
pub(crate) struct Bomb(pub(crate) Count);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.add();
        panic!("the destructor");
    }
}

impl std::fmt::Debug for Bomb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bomb")
    }
}

impl std::fmt::Display for Bomb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("boom")
    }
}

impl std::error::Error for Bomb {}

/// Whether `act` panics.
pub(crate) fn panics<R>(act: impl FnOnce() -> R) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err()
}

/// Whether the value that `weak` leads to is gone.
pub(crate) fn is_gone<T>(weak: &std::sync::Weak<T>) -> bool {
    weak.strong_count() == 0
}

/// A shared value and its weak reference, which shows whether the holders of the value have been dropped.
pub(crate) fn token() -> (Arc<()>, std::sync::Weak<()>) {
    let strong = Arc::new(());
    let weak = Arc::downgrade(&strong);
    (strong, weak)
}

mod harness {
    use super::*;

    #[test]
    fn a_test_runs_apart_under_its_own_name() {
        apart(|| assert!(std::env::var(APART).unwrap().ends_with("its_own_name")));
    }

    #[test]
    fn bytes_and_allocations_are_counted() {
        apart(|| {
            let (bytes, calls) = (held(), allocations());
            let memory = Vec::<u8>::with_capacity(1_000);
            assert_eq!((held() - bytes, allocations() - calls), (1_000, 1));
            drop(memory);
            assert_eq!(held(), bytes);
        });
    }
}
