//! Every interleaving, by loom: the real engine through its public API, two threads or more in each model.
//!
//! ```text
//! RUSTFLAGS="--cfg failfast_loom" cargo test --release --test models
//! ```
//!
//! Under the flag the library's locks and atomics are loom's, so loom decides at each of them which thread
//! goes on and, for an atomic, which of the values that the memory model allows is read. It tries all the
//! ways there are with at most so many preemptions as each model says; more of them find more, slower:
//! `LOOM_MAX_PREEMPTIONS=4` overrides it.
//!
//! Not modelled: `SystemClock` (a thread of its own, real time), and std's `Arc`, `Weak` and `OnceLock`, in
//! whose midst loom never switches.
#![cfg(failfast_loom)]
#![allow(missing_docs, reason = "a test, and empty without the flag")]

#[path = "../../src/sync/model.rs"]
mod model;

mod aggregations;
mod contexts;
mod forks;
mod groups;
mod in_place;

use failfast::clock::ManualClock;
use failfast::context::ContextErrorKind;
use failfast::{
    Aggregator, Context, Ending, Error, ErrorKind, Group, InPlaceGroup, LocalInPlaceGroup, Task,
};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use model::block_on;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::num::NonZeroUsize;
use std::panic::{catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll, Waker};
use std::time::Duration;

const ONE: NonZeroUsize = NonZeroUsize::MIN;
const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Runs `model` in every interleaving with at most `preemptions` of them.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.max_branches = 100_000;
    model::explore(builder, model);
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut task::Context::from_waker(Waker::noop()))
}

/// A spawner: each task on a thread of its own.
fn on_a_thread(task: Task) {
    thread::spawn(move || block_on(task));
}

/// A spawner that keeps its tasks, for the model to run them where it likes.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<Task>>>);

impl failfast::Spawn for Shelf {
    type Handle = ();

    fn spawn(&self, task: Task) {
        self.0.lock().unwrap().push(task);
    }
}

impl Shelf {
    fn take(&self) -> Task {
        self.0.lock().unwrap().remove(0)
    }
}

#[derive(Debug, PartialEq)]
struct Refused(u32);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused {}", self.0)
    }
}

impl std::error::Error for Refused {}

type Outcome = Result<u32, Refused>;

fn refusal(error: &Error) -> Option<&Refused> {
    error.downcast_ref()
}

/// Counts the guards that are alive.
struct Alive(Arc<std::sync::atomic::AtomicUsize>);

impl Alive {
    fn new(count: &Arc<std::sync::atomic::AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until the last of them is dropped; if none is, that is a livelock, which loom reports.
fn until_zero(count: &std::sync::atomic::AtomicUsize) {
    while count.load(Ordering::SeqCst) > 0 {
        thread::yield_now();
    }
}

/// Not ready yet, so often; then it is.
fn after(mut polls: u32, outcome: Outcome) -> impl Future<Output = Outcome> {
    let mut outcome = Some(outcome);
    poll_fn(move |cx| {
        if polls == 0 {
            return Poll::Ready(outcome.take().unwrap());
        }
        polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

// The tool itself: it must see what is to be seen.

/// Register, then look; against: set, then wake. The protocol that everything here rests upon, with the
/// lock or the order taken away.
fn register_against_set(order: Ordering) {
    check(2, move || {
        let (done, registered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (its_done, its_registered) = (done.clone(), registered.clone());
        let ender = thread::spawn(move || {
            its_done.swap(true, order);
            its_registered.swap(false, order)
        });
        registered.swap(true, order);
        let seen = match order {
            Ordering::Relaxed => done.load(order),
            _ => done.swap(false, order),
        };
        let woken = ender.join().unwrap();
        assert!(seen || woken, "the wake-up is lost");
    });
}

#[test]
fn planted_fault_is_seen() {
    let found = catch_unwind(|| register_against_set(Ordering::Relaxed));
    assert!(found.is_err(), "loom did not see a lost wake-up");
    register_against_set(Ordering::AcqRel);
}

#[test]
fn planted_hang_is_seen() {
    let found = catch_unwind(|| {
        check(2, || {
            let flag = Arc::new(AtomicBool::new(false));
            let waker: Arc<loom::sync::Mutex<Option<Waker>>> = Arc::default();
            let (its_flag, its_waker) = (flag.clone(), waker.clone());
            thread::spawn(move || {
                its_flag.store(true, Ordering::SeqCst);
                let waker = its_waker.lock().unwrap().take();
                waker.into_iter().for_each(Waker::wake);
            });
            block_on(poll_fn(move |cx| {
                // The fault: it looks before it registers, and not again.
                if flag.load(Ordering::SeqCst) {
                    return Poll::Ready(());
                }
                *waker.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            }));
        })
    });
    assert!(
        found.is_err(),
        "loom did not see a task that is never woken"
    );
}
