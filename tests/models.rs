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

#[path = "../src/sync/model.rs"]
mod model;

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

// The context.

/// Weakened: `register` that checks the end before it takes the lane sleeps for ever.
#[test]
fn cancel_against_register() {
    // Section 2: `done()` never sleeps through the end.
    check(3, || {
        let (ctx, canceller) = Context::background().with_cancel();
        let canceling = thread::spawn(move || canceller.cancel());
        block_on(ctx.done());
        assert!(ctx.is_done() && ctx.err().is_some() && ctx.cause().is_some());
        canceling.join().unwrap();
    });
}

/// Weakened: with a `register` that checks the end before it takes the lane, the other sleeps for ever.
#[test]
fn cancel_against_two_waiters_one_of_whom_leaves() {
    // Section 2: any number of waiters; cancel-safe.
    check(2, || {
        let (ctx, canceller) = Context::background().with_cancel();
        let other = ctx.clone();
        let waiting = thread::spawn(move || block_on(other.done()));
        let mut leaver = ctx.done();
        let left = poll_once(&mut leaver);
        let canceling = thread::spawn(move || canceller.cancel());
        drop(leaver);
        waiting.join().unwrap();
        canceling.join().unwrap();
        assert!(left.is_pending() && ctx.is_done());
    });
}

/// Weakened: a `renew` that keeps the earlier waker wakes the wrong task.
#[test]
fn cancel_against_rewatch_with_another_waker() {
    // Section 2: it is the waker of the latest poll that is woken.
    check(3, || {
        let (ctx, canceller) = Context::background().with_cancel();
        let mut done = ctx.done();
        assert!(poll_once(&mut done).is_pending());
        let canceling = thread::spawn(move || canceller.cancel());
        block_on(done);
        canceling.join().unwrap();
    });
}

/// Weakened: `add_child` that checks the end before it takes the lane makes a child that never ends.
#[test]
fn child_created_against_cancel() {
    // Section 2: a child ends with its parent, whenever it was born.
    check(3, || {
        let (parent, canceller) = Context::background().with_cancel();
        let canceling = thread::spawn(move || canceller.cancel_with(Refused(1)));
        let (child, _keep) = parent.with_cancel();
        let grandchild = child.with_value(1);
        block_on(grandchild.done());
        assert_eq!(child.cause().unwrap().downcast_ref(), Some(&Refused(1)));
        canceling.join().unwrap();
    });
}

/// Weakened: `add_child` that checks the end before it takes the lane makes a next child that is not done.
#[test]
fn child_dropped_against_cancel() {
    // Section 2: ended children unlink, in either order.
    check(3, || {
        let (parent, canceller) = Context::background().with_cancel();
        let (child, its) = parent.with_cancel();
        its.disarm();
        let canceling = thread::spawn(move || canceller.cancel());
        drop(child);
        let (next, _keep) = parent.with_cancel();
        canceling.join().unwrap();
        assert!(next.is_done());
    });
}

/// Weakened: `EndSlot::change` with relaxed orderings shows the child's end before the parent's.
#[test]
fn child_seen_done_means_parent_done() {
    // Section 2: an end comes from above, and for ever. (That all below are done is promised by a cancel that returns.)
    check(3, || {
        let (parent, canceller) = Context::background().with_cancel();
        let (child, keep) = parent.with_cancel();
        let watching = thread::spawn(move || {
            if child.is_done() {
                assert!(child.err().is_some());
                assert!(parent.is_done() && parent.cause().is_some());
            }
            drop(keep);
        });
        canceller.cancel();
        watching.join().unwrap();
    });
}

/// Weakened: `add_child` that checks the end before it takes the lane makes a child that is not done.
#[test]
fn cancel_against_cancel_of_an_ancestor_and_a_new_child() {
    // Section 2: when the cancel that ended a context returns, every descendant is done, the newest included.
    check(2, || {
        let (root, from_above) = Context::background().with_cancel();
        let (middle, canceller) = root.with_cancel();
        let canceling = thread::spawn(move || from_above.cancel_with(Refused(1)));
        let below = middle.clone();
        let bearing = thread::spawn(move || below.with_value(1).with_cancel());
        canceller.cancel_with(Refused(2));
        assert!(middle.is_done());
        let (child, keep) = bearing.join().unwrap();
        canceling.join().unwrap();
        assert!(child.is_done() && root.is_done());
        let cause = |ctx: &Context| {
            ctx.cause()
                .unwrap()
                .downcast_ref::<Refused>()
                .map(|it| it.0)
        };
        assert_eq!(cause(&root), Some(1));
        assert_eq!(cause(&child), cause(&middle));
        drop(keep);
    });
}

/// Weakened: `disarm` that cancels if it is the last ends the context with another cause.
#[test]
fn canceller_dropped_against_its_clone_disarmed() {
    // Section 2: cancelled when the last clone that was not disarmed is dropped; disarming the last cancels nothing.
    check(3, || {
        let (ctx, one) = Context::background().with_cancel();
        let other = one.clone();
        let disarming = thread::spawn(move || other.disarm());
        drop(one);
        disarming.join().unwrap();
        let (cancelled, why) = (ctx.is_done(), ctx.cause().map(|cause| cause.to_string()));
        assert!(!cancelled || why.as_deref() == Some("its canceller was dropped"));
    });
}

/// Weakened: `EndSlot::change` as a load and a store replaces the end that has been read.
#[test]
fn own_end_against_parents() {
    // Section 2: first wins; err and cause are one fact.
    check(3, || {
        let (parent, canceller) = Context::background().with_cancel();
        let (child, its) = parent.with_cancel();
        let canceling = thread::spawn(move || canceller.cancel_with(Refused(1)));
        its.cancel_with(Refused(2));
        let before = child.cause().unwrap();
        canceling.join().unwrap();
        assert!(std::ptr::eq(
            before.downcast_ref::<Refused>().unwrap(),
            child.cause().unwrap().downcast_ref::<Refused>().unwrap()
        ));
        assert_eq!(parent.cause().unwrap().downcast_ref(), Some(&Refused(1)));
    });
}

/// Weakened: `EndSlot::change` with relaxed orderings shows the end before its source's.
#[test]
fn linked_against_cancel() {
    // Section 2: linked ends when the first of several ends, with that one's cause.
    check(2, || {
        let (one, its) = Context::background().with_cancel();
        let (other, others) = Context::background().with_cancel();
        let canceling = thread::spawn(move || its.cancel_with(Refused(1)));
        let also = thread::spawn(move || others.cancel_with(Refused(2)));
        let linked = Context::linked([one.clone(), other.clone()]);
        block_on(linked.done());
        let Refused(which) = *linked.cause().unwrap().downcast_ref::<Refused>().unwrap();
        assert!(if which == 1 { &one } else { &other }.is_done());
        canceling.join().unwrap();
        also.join().unwrap();
    });
}

/// Weakened: `stop` that answers by the mark, not by what it took, is true although the callback is called.
#[test]
fn on_done_against_cancel_and_stop() {
    // Section 2: a callback runs once; `stop` is true only if it prevented the call.
    check(3, || {
        let (ctx, canceller) = Context::background().with_cancel();
        let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let its_calls = calls.clone();
        let canceling = thread::spawn(move || canceller.cancel());
        let callback = ctx.on_done(move || {
            its_calls.fetch_add(1, Ordering::SeqCst);
        });
        let stopped = callback.stop();
        assert!(!callback.stop());
        canceling.join().unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), usize::from(!stopped));
    });
}

/// Weakened: the timer's turn with relaxed orderings has two threads at the sleep.
#[test]
fn timer_fired_against_context_dropped() {
    // Sections 2 and 3: a deadline that fires while the last handle is dropped leaves every other context as it was,
    // and keeps nothing.
    check(2, || {
        let clock = ManualClock::new();
        let ctx = Context::background()
            .with_clock(clock.clone())
            .with_timeout(Duration::from_secs(1));
        let mut done = ctx.done();
        assert!(poll_once(&mut done).is_pending());
        let its_clock = clock.clone();
        let firing = thread::spawn(move || its_clock.advance(Duration::from_secs(1)));
        drop(ctx);
        drop(done);
        firing.join().unwrap();
        assert_eq!(clock.armed(), 0);
    });
}

/// Weakened: the timer's turn with relaxed orderings has two threads at the sleep.
#[test]
fn timer_fired_against_first_waiter() {
    // Sections 2 and 3: armed on the first poll; never sleeps through the deadline.
    check(2, || {
        let clock = ManualClock::new();
        let ctx = Context::background()
            .with_clock(clock.clone())
            .with_timeout(Duration::from_secs(1));
        let its_clock = clock.clone();
        let firing = thread::spawn(move || its_clock.advance(Duration::from_secs(1)));
        block_on(ctx.done());
        assert!(ctx.err().unwrap().is_deadline_exceeded());
        firing.join().unwrap();
        assert_eq!(clock.armed(), 0);
    });
}

/// Weakened: `EndSlot::change` as a load and a store has kind and cause disagree.
#[test]
fn timer_fired_against_cancel() {
    // Section 2: first wins, and err and cause agree about it.
    check(2, || {
        let clock = ManualClock::new();
        let (parent, canceller) = Context::background()
            .with_clock(clock.clone())
            .with_cancel();
        let ctx = parent.with_timeout_cause(Duration::from_secs(1), Refused(1));
        let mut done = ctx.done();
        assert!(poll_once(&mut done).is_pending());
        let its_clock = clock.clone();
        let firing = thread::spawn(move || its_clock.advance(Duration::from_secs(1)));
        canceller.cancel_with(Refused(2));
        firing.join().unwrap();
        let expected = match ctx.err().unwrap().kind() {
            ContextErrorKind::DeadlineExceeded => 1,
            _ => 2,
        };
        assert_eq!(
            ctx.cause().unwrap().downcast_ref(),
            Some(&Refused(expected))
        );
        assert_eq!(clock.armed(), 0);
    });
}

// The group.

/// Weakened: `progress` that does not look again after it has cloned the waker misses the last end.
#[test]
fn last_end_against_first_poll_of_wait() {
    // Section 4: `wait` returns when every task's future has been dropped.
    check(3, || {
        let alive = Arc::default();
        let group = Group::new(on_a_thread);
        let witness = Alive::new(&alive);
        group.spawn(async move {
            let _witness = witness;
            Outcome::Ok(1)
        });
        assert_eq!(block_on(group.wait()).unwrap(), [1]);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// Weakened: `sorted` that does not sort gives the results in the order of completion.
#[test]
fn two_ends_against_wait() {
    // Section 4: results in the order of spawning, whichever came first.
    check(2, || {
        let group = Group::new(on_a_thread);
        group.spawn(async { Outcome::Ok(1) });
        group.spawn(async { Outcome::Ok(2) });
        assert_eq!(block_on(group.wait()).unwrap(), [1, 2]);
    });
}

/// Weakened: `release` without the owner's wake leaves `next` asleep.
#[test]
fn place_used_again_through_a_handle_that_was_kept_too_long() {
    // Section 4: `next` frees results; the place of one that was taken before `spawn` returned is freed there.
    check(2, || {
        let inline = |mut task: Task| {
            assert!(poll_once(&mut task).is_ready());
            Box::new(0_u8) // a handle, for it is dropped
        };
        let mut group = Group::<u32>::new(inline);
        let handle = group.handle();
        let spawning = thread::spawn(move || {
            let first = handle.spawn(async { Outcome::Ok(1) }).is_ok();
            let second = handle.spawn(async { Outcome::Ok(2) }).is_ok();
            usize::from(first) + usize::from(second)
        });
        let mut results = usize::from(block_on(group.next()).is_some());
        let spawned = spawning.join().unwrap();
        while let Some(result) = block_on(group.next()) {
            assert!(result.is_ok());
            results += 1;
        }
        assert_eq!(results, spawned);
    });
}

/// Weakened: `poll_outcome` that does not look again after it has registered sleeps for ever.
#[test]
fn next_against_completion() {
    // Section 4: `next` gives each result once, as they complete.
    check(2, || {
        let mut group = Group::new(on_a_thread);
        group.spawn(async { Outcome::Ok(1) });
        group.spawn(async { Outcome::Ok(2) });
        let mut seen = Vec::new();
        while let Some(result) = block_on(group.next()) {
            seen.push(result.unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

/// Weakened: with a `complete` that releases the slot before it cancels, `wait` ends the context with another cause.
#[test]
fn first_error_against_second() {
    // Section 4: the first failure, by completion, is the error, the cause, and stays it.
    check(2, || {
        let (group, ctx) = Group::<u32>::with_context(&Context::background(), on_a_thread);
        group.spawn(async { Err(Refused(1)) });
        group.spawn(async { Err(Refused(2)) });
        let error = block_on(group.wait()).unwrap_err();
        let cause = ctx.cause().unwrap();
        assert_eq!(refusal(&error), cause.downcast_ref());
        assert_eq!(error.kind(), ErrorKind::Task);
        assert!(error.others().len() <= 1);
    });
}

/// Weakened: `fail` without `demote_first` gives an error that is not the cause.
#[test]
fn panic_against_cancel() {
    // Section 4: what happened first is the error.
    check(2, || {
        let (parent, canceller) = Context::background().with_cancel();
        let (group, ctx) = Group::<u32>::with_context(&parent, on_a_thread);
        group.spawn(async {
            resume_unwind(Box::new("bang"));
            #[allow(unreachable_code)]
            Outcome::Ok(1)
        });
        let canceling = thread::spawn(move || canceller.cancel_with(Refused(2)));
        let error = block_on(group.wait()).unwrap_err();
        match ctx.cause().unwrap().downcast_ref::<Refused>() {
            Some(_) => assert_eq!(error.kind(), ErrorKind::Canceled),
            None => assert_eq!(error.kind(), ErrorKind::Panicked),
        }
        canceling.join().unwrap();
    });
}

/// Weakened: `poll` that does not look at the phase again after `park` is never woken.
#[test]
fn task_parks_against_cancel() {
    // Section 4: on cancellation each task is woken, polled once more and dropped.
    check(2, || {
        let alive = Arc::default();
        let (parent, canceller) = Context::background().with_cancel();
        let (group, _) = Group::<u32>::with_context(&parent, on_a_thread);
        let witness = Alive::new(&alive);
        group.spawn(async move {
            let _witness = witness;
            pending::<Outcome>().await
        });
        let canceling = thread::spawn(move || canceller.cancel());
        assert!(block_on(group.wait()).unwrap_err().is_canceled());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        canceling.join().unwrap();
    });
}

/// Weakened: `add_child` that checks the end before it takes the lane makes a group that is never cancelled.
#[test]
fn group_born_against_cancel_of_its_parent() {
    // Section 4: parent already ended: no task starts; else it is cancelled. Never missed.
    check(2, || {
        let (parent, canceller) = Context::background().with_cancel();
        let canceling = thread::spawn(move || canceller.cancel());
        let (group, _) = Group::<u32>::with_context(&parent, on_a_thread);
        group.spawn(pending::<Outcome>());
        assert!(block_on(group.wait()).unwrap_err().is_canceled());
        canceling.join().unwrap();
    });
}

/// Weakened: `retire` that leaves no `COMPLETE` to a spawner which has not settled leaks the handle.
#[test]
fn handle_stored_against_task_finished() {
    // Section 1: what `spawn` returned is kept until the task has ended, and no longer.
    check(2, || {
        let handles = Arc::default();
        let its_handles = Arc::clone(&handles);
        let mut group = Group::new(move |task| {
            on_a_thread(task);
            Alive::new(&its_handles)
        });
        group.spawn(async { Outcome::Ok(1) });
        assert_eq!(block_on(group.next()).unwrap().unwrap(), 1);
        until_zero(&handles);
        assert!(block_on(group.next()).is_none());
    });
}

/// Weakened: `settle` with a relaxed ordering has the handle read before it is written.
#[test]
fn handle_stored_against_outcome_taken_elsewhere() {
    // Section 1, with `next` taking the outcome while `spawn` has not returned.
    check(2, || {
        let handles = Arc::default();
        let its_handles = Arc::clone(&handles);
        let mut group = Group::new(move |task| {
            on_a_thread(task);
            Alive::new(&its_handles)
        });
        let handle = group.handle();
        let spawning = thread::spawn(move || {
            assert!(handle.spawn(async { Outcome::Ok(2) }).is_ok());
        });
        let mut seen = 0;
        while seen == 0 {
            match block_on(group.next()) {
                Some(result) => seen = result.unwrap(),
                None => thread::yield_now(),
            }
        }
        spawning.join().unwrap();
        assert_eq!(seen, 2);
        until_zero(&handles);
    });
}

/// Weakened: with a `leave_line` that does not call the next in line, that one sleeps for ever.
#[test]
fn slot_released_against_waiter_cancelled() {
    // Section 4: a cancelled waiter's turn goes to the next; backpressure never hangs.
    check(2, || {
        let shelf = Shelf::default();
        let group = Arc::new(Group::new(shelf.clone()).with_limit(ONE));
        group.spawn(async { Outcome::Ok(1) });
        let mut first = Box::pin(async { group.ready().await });
        assert!(poll_once(&mut first).is_pending());
        let running = thread::spawn(move || block_on(shelf.take()));
        let its_group = group.clone();
        let second = thread::spawn(move || block_on(its_group.ready()).is_ok());
        drop(first);
        assert!(second.join().unwrap());
        running.join().unwrap();
    });
}

/// Weakened: `complete` that cancels before it records the failure gives `ready` the kind `Canceled`.
#[test]
fn ready_against_first_error() {
    // Section 4: recorded, then cancelled: a task that sees the end sees its cause.
    check(2, || {
        let group = Arc::new(Group::<u32>::new(on_a_thread).with_limit(ONE));
        group.spawn(async { Err(Refused(1)) });
        for _ in 0..2 {
            if let Err(error) = block_on(group.ready()) {
                assert_eq!(error.kind(), ErrorKind::Task, "{error:?}");
            }
        }
    });
}

/// Weakened: `release` that starts nothing from the queue, and does not wake the owner to do so, leaves the job
/// there.
#[test]
fn queued_job_against_slot_released() {
    // Section 4: what is queued runs, whichever task frees the place, and whenever.
    check(2, || {
        let group = Group::new(on_a_thread).with_limit(ONE);
        group.spawn(async { Outcome::Ok(1) });
        group.spawn(async { Outcome::Ok(2) });
        assert_eq!(block_on(group.wait()).unwrap(), [1, 2]);
    });
}

/// Weakened: `progress` that does not look again after it has cloned the waker misses the last end.
#[test]
fn queued_job_against_failure() {
    // Section 4: queued work is skipped after a failure, and nothing hangs.
    check(2, || {
        let group = Group::new(on_a_thread).with_limit(ONE);
        group.spawn(async { Err(Refused(1)) });
        group.spawn(async { Outcome::Ok(2) });
        let error = block_on(group.wait()).unwrap_err();
        assert_eq!(refusal(&error), Some(&Refused(1)));
    });
}

/// Weakened: an `admit` that does not look at `closed` takes a task whose result is never returned.
#[test]
fn handle_spawns_against_last_end() {
    // Section 4: a handle's task is either run, or given back: never taken and lost.
    check(2, || {
        let group = Group::new(on_a_thread);
        let handle = group.handle();
        group.spawn(async { Outcome::Ok(1) });
        let spawning = thread::spawn(move || handle.spawn(after(2, Ok(2))).is_ok());
        let results = block_on(group.wait()).unwrap();
        match spawning.join().unwrap() {
            true => assert_eq!(results, [1, 2]),
            false => assert_eq!(results, [1]),
        }
    });
}

/// Weakened: `poll` that does not look at the phase again after `park` is never woken.
#[test]
fn group_dropped_against_task_running() {
    // Section 4: dropped early, nothing leaks.
    check(3, || {
        let alive = Arc::default();
        let (group, ctx) = Group::<u32>::with_context(&Context::background(), Shelf::default());
        let shelf = Shelf::default();
        drop(group);
        assert!(ctx.is_done());
        let group = Group::new(shelf.clone());
        let witness = Alive::new(&alive);
        group.spawn(async move {
            let _witness = witness;
            pending::<Outcome>().await
        });
        let running = thread::spawn(move || block_on(shelf.take()));
        drop(group);
        running.join().unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// Weakened: with a `complete` that wakes no waiter when the executor drops the task, `wait` sleeps for ever.
#[test]
fn executor_drops_task_against_cancel() {
    // Section 1: a task that the executor dropped is lost, or was cancelled: `wait` returns.
    check(2, || {
        let shelf = Shelf::default();
        let (parent, canceller) = Context::background().with_cancel();
        let (group, _) = Group::<u32>::with_context(&parent, shelf.clone());
        group.spawn_named("it", pending::<Outcome>());
        let dropping = thread::spawn(move || drop(shelf.take()));
        let canceling = thread::spawn(move || canceller.cancel());
        let error = block_on(group.wait()).unwrap_err();
        let is_lost =
            error.kind() == ErrorKind::Lost && error.task().is_some_and(|name| *name == "it");
        assert!(error.is_canceled() || is_lost);
        dropping.join().unwrap();
        canceling.join().unwrap();
    });
}

/// Weakened: an `is_out_of_reach` that does not count the tasks that have succeeded ends the group too early.
#[test]
fn quorum_against_wait() {
    // Section 4: as many successes as are needed are never counted as too few while they come in.
    check(2, || {
        let group = Group::new(on_a_thread).with_ending(Ending::Quorum(TWO));
        group.spawn(async { Outcome::Ok(1) });
        group.spawn(after(2, Ok(2)));
        assert_eq!(block_on(group.wait()).unwrap(), [1, 2]);
    });
}

/// Weakened: with a `release` that wakes the owner only when the group is idle, `wait` sleeps for ever.
#[test]
fn quorum_out_of_reach_against_first_poll_of_wait() {
    // Section 4: nothing hangs: the failure that puts the quorum out of reach ends the group.
    check(2, || {
        let group = Group::<u32>::new(on_a_thread).with_ending(Ending::Quorum(TWO));
        group.spawn(async { Err(Refused(1)) });
        group.spawn(pending::<Outcome>());
        let error = block_on(group.wait()).unwrap_err();
        assert_eq!(refusal(&error), Some(&Refused(1)));
    });
}

/// Weakened: `poll` that does not look at the phase again after `park` is never woken.
#[test]
fn background_task_against_last_end() {
    // Section 4: background tasks are cancelled when the others are done, and `wait` returns.
    check(2, || {
        let group = Group::new(on_a_thread);
        group.spawn_background(pending::<Result<(), Refused>>());
        group.spawn(async { Outcome::Ok(1) });
        assert_eq!(block_on(group.wait()).unwrap(), [1]);
    });
}

/// Weakened: `take_waker` and `write_waker` with relaxed orderings have the waker read before it is written.
#[test]
fn grace_over_against_task_finishing() {
    // Section 4: with grace a task may finish by itself; when it is over, it is dropped.
    check(2, || {
        let clock = ManualClock::new();
        let (parent, canceller) = Context::background()
            .with_clock(clock.clone())
            .with_cancel();
        let (group, _) = Group::<u32>::with_context(&parent, on_a_thread);
        let group = group.with_grace(Duration::from_secs(1));
        group.spawn(pending::<Outcome>());
        let ending = thread::spawn(move || {
            canceller.cancel();
            clock.advance(Duration::from_secs(1));
        });
        assert!(block_on(group.wait()).unwrap_err().is_canceled());
        ending.join().unwrap();
    });
}

/// Weakened: with a `deliver` that does not wake the waiter, that sleeps for ever.
#[test]
fn fork_against_its_waiter() {
    // Section 4: a fork gives its task's result, in either order.
    check(2, || {
        let group = Group::<()>::new(on_a_thread);
        let fork = group.fork("fork", after(1, Ok(5)));
        assert_eq!(block_on(fork).unwrap(), 5);
        block_on(group.wait()).unwrap();
    });
}

/// Weakened: with a `deliver` that does not wake the waiter, that sleeps for ever.
#[test]
fn fork_cancelled_against_completion() {
    // Section 4: its answer or kind Canceled, and the group does not fail either way.
    check(2, || {
        let alive = Arc::default();
        let witness = Alive::new(&alive);
        let group = Group::<()>::new(on_a_thread);
        let fork = group.fork("fork", async move {
            let _witness = witness;
            Outcome::Ok(5)
        });
        fork.cancel();
        match block_on(fork) {
            Ok(answer) => assert_eq!(answer, 5),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Canceled),
        }
        block_on(group.wait()).unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// Weakened: `complete` that releases the slot before it delivers leaves an answer alive after the wait.
#[test]
fn fork_dropped_against_completion() {
    // Section 4: the task goes on, and its answer is dropped with the last reference.
    check(3, || {
        let alive = Arc::default();
        let witness = Alive::new(&alive);
        let group = Group::<()>::new(on_a_thread);
        let fork = group.fork("fork", async move { Ok::<_, Refused>(witness) });
        let dropping = thread::spawn(move || drop(fork));
        block_on(group.wait()).unwrap();
        dropping.join().unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// Weakened: `lend` that does not serve the queue leaves the child in it.
#[test]
fn fork_awaited_by_a_task_at_a_limit_of_one() {
    // Section 4: a task that awaits a fork does not count against the limit; and never hangs.
    check(2, || {
        let group = Group::<u32>::new(on_a_thread).with_limit(ONE);
        let handle = group.handle();
        group.spawn(async move { handle.fork("child", async { Outcome::Ok(5) }).await });
        assert_eq!(block_on(group.wait()).unwrap(), [5]);
    });
}

/// Weakened: `end_by_us` that marks the node before it stores `our_end` makes the stop a failure.
#[test]
fn stop_against_last_end() {
    // Section 4: what finished is returned; no failure either way.
    check(2, || {
        let group = Group::<u32>::new(on_a_thread);
        let handle = group.handle();
        group.spawn(after(1, Ok(1)));
        let stopping = thread::spawn(move || handle.stop());
        let results = block_on(group.wait()).unwrap();
        assert!(results.is_empty() || results == [1]);
        stopping.join().unwrap();
    });
}

/// Weakened: a `poll` that does not look whether the frame is held cuts the critical section.
#[test]
fn shield_through_against_cancel() {
    // Section 2: the critical section is never cut, and what comes after it is, once it is through.
    check(2, || {
        let committed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let its = committed.clone();
        let (parent, canceller) = Context::background().with_cancel();
        let (group, ctx) = Group::<u32>::with_context(&parent, on_a_thread);
        let begun = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let beginning = begun.clone();
        group.spawn(async move {
            beginning.store(true, Ordering::SeqCst);
            let answer = ctx.shield(after(1, Ok(5))).await;
            its.store(true, Ordering::SeqCst);
            answer
        });
        let canceling = thread::spawn(move || canceller.cancel());
        let _ = block_on(group.wait());
        canceling.join().unwrap();
        assert_eq!(
            begun.load(Ordering::SeqCst),
            committed.load(Ordering::SeqCst)
        );
    });
}

/// Weakened: `record` that does not have the failure end the group leaves the body asleep.
#[test]
fn body_of_run_against_a_failure() {
    // Section 4: the first failure is the error; the body's echo is not.
    check(2, || {
        let (group, ctx) = Group::<u32>::with_context(&Context::background(), on_a_thread);
        group.spawn(async { Err(Refused(1)) });
        let error = block_on(group.run(async move {
            ctx.run(pending::<()>()).await?;
            Ok(5)
        }));
        assert_eq!(refusal(&error.unwrap_err()), Some(&Refused(1)));
    });
}

// In place.

/// Set and woken by another thread; nothing but the waker orders the two.
#[derive(Clone, Default)]
struct Flag(Arc<(AtomicBool, Mutex<Option<Waker>>)>);

/// Weakened: `note_woken` and `take_woken` with relaxed orderings have the poll miss the flag.
#[test]
fn wake_against_poll_in_place() {
    // Section 4: each is polled when it was woken: a flag that is set before the wake is seen.
    check(3, || {
        let flag = Flag::default();
        let its_flag = flag.clone();
        let mut group = LocalInPlaceGroup::new(&Context::background());
        group.spawn(poll_fn(move |cx| {
            its_flag
                .0
                .1
                .lock()
                .unwrap()
                .get_or_insert_with(|| cx.waker().clone());
            match its_flag.0.0.load(Ordering::Relaxed) {
                true => Poll::Ready(Outcome::Ok(1)),
                false => Poll::Pending,
            }
        }));
        let mut next = Box::pin(group.next());
        assert!(poll_once(&mut next).is_pending());
        let waker = flag.0.1.lock().unwrap().clone().unwrap();
        waker.wake_by_ref(); // a spurious one, which is being served while the other comes
        let setting = thread::spawn(move || {
            flag.0.0.store(true, Ordering::Relaxed);
            waker.wake();
        });
        assert_eq!(block_on(next).unwrap().unwrap(), 1);
        setting.join().unwrap();
    });
}

/// Weakened: `leave` that does not look at what was pushed during the drive leaves the new task unpolled.
#[test]
fn spawn_against_poll_in_place() {
    // Section 4: a task that comes while the others are being polled is polled, too.
    check(3, || {
        let group = InPlaceGroup::<u32>::new(&Context::background());
        let handle = group.handle();
        group.spawn(pending::<Outcome>());
        let spawning = thread::spawn(move || handle.spawn(async { Err(Refused(1)) }).is_ok());
        let error = block_on(group.wait()).unwrap_err();
        assert_eq!(refusal(&error), Some(&Refused(1)));
        assert!(spawning.join().unwrap());
    });
}

/// Weakened: `note_woken` and `take_woken` with relaxed orderings lose the end of the context.
#[test]
fn cancel_against_poll_in_place() {
    // Section 4: same engine, same semantics.
    check(2, || {
        let (parent, canceller) = Context::background().with_cancel();
        let group = InPlaceGroup::new(&parent);
        group.spawn(pending::<Outcome>());
        let canceling = thread::spawn(move || canceller.cancel());
        assert!(block_on(group.wait()).unwrap_err().is_canceled());
        canceling.join().unwrap();
    });
}

// The aggregator.

/// Weakened: `progress` that does not look again after it has cloned the waker misses the last end.
#[test]
fn aggregation_of_a_success_and_a_failure() {
    // Section 5: all answers, or the first failure, and nothing is left.
    check(2, || {
        let aggregator = Aggregator::new(on_a_thread)
            .with_timeout(Duration::from_secs(5))
            .source("profile", async |_: Context, _: ()| Outcome::Ok(1))
            .source("orders", async |_: Context, _: ()| Outcome::Err(Refused(2)));
        let ctx = Context::background().with_clock(ManualClock::new());
        let error = block_on(aggregator.aggregate(&ctx, ())).unwrap_err();
        assert_eq!(error.to_string(), "orders: refused 2");
    });
}

/// Weakened: `progress` that does not look again after it has cloned the waker misses the last end.
#[test]
fn aggregation_of_two_successes() {
    // Section 5: in the order of the sources.
    check(2, || {
        let aggregator = Aggregator::new(on_a_thread)
            .source("profile", async |_: Context, _: ()| Outcome::Ok(1))
            .source("orders", async |_: Context, _: ()| Outcome::Ok(2));
        let ctx = Context::background().with_clock(ManualClock::new());
        assert_eq!(block_on(aggregator.aggregate(&ctx, ())).unwrap(), (1, 2));
    });
}
