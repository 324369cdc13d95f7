//! What the simulation, and readings, found, as small as it gets.

use crate::group::pending_in;
use failfast::clock::{Clock, ManualClock, Sleep};
use failfast::{Aggregator, Context, Ending, ErrorKind, Group, InPlaceGroup, Task};
use futures::task::noop_waker_ref;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::{Duration, Instant};

fn polled<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = pin!(future);
    future
        .as_mut()
        .poll(&mut task::Context::from_waker(noop_waker_ref()))
}

#[test]
fn task_spawned_in_place_after_one_that_was_woken_in_its_last_poll() {
    // Section 4: a poll of `next` polls the tasks, each when it was woken; a new one is.
    let mut group = InPlaceGroup::new(&Context::background());
    group.spawn(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Ready(Ok::<_, fmt::Error>(1))
    }));
    assert!(matches!(polled(group.next()), Poll::Ready(Some(Ok(1)))));
    assert!(matches!(polled(group.next()), Poll::Ready(None)));

    group.spawn(async { Ok::<_, fmt::Error>(2) });
    assert!(matches!(polled(group.next()), Poll::Ready(Some(Ok(2)))));
}

#[test]
fn task_cancelled_in_a_settling_group_after_a_sibling_failed() {
    // Section 4: what ended the group is the context; the failure was tolerated.
    let group = InPlaceGroup::<()>::new(&Context::background()).with_ending(Ending::Settle);
    group.spawn(async { Err(fmt::Error) });
    group.spawn(pending::<Result<(), fmt::Error>>());
    let handle = group.handle();
    let mut outcomes = pin!(group.outcomes());
    assert!(polled(outcomes.as_mut()).is_pending());
    handle.cancel_with("enough");
    let Poll::Ready(Ok(outcomes)) = polled(outcomes.as_mut()) else {
        unreachable!("in place, a cancelled group ends in one poll")
    };
    assert_eq!(
        outcomes[0].1.as_ref().unwrap_err().task().unwrap(),
        "task 0"
    );
    for (_, outcome) in &outcomes[1..] {
        assert!(outcome.as_ref().unwrap_err().is_canceled());
    }
}

#[test]
fn straggler_that_came_from_the_queue_and_was_not_polled_yet() {
    // Section 4: what is still running when the limit has passed is named in the error.
    let clock = ManualClock::new();
    let parent = Context::background().with_clock(clock.clone());
    let shelf = Arc::new(Mutex::new(Vec::new()));
    let its_shelf = shelf.clone();
    let spawn = move |task: Task| its_shelf.lock().unwrap().push(task);
    let (group, _) = Group::<u32>::with_context(&parent, spawn);
    let group = group
        .with_limit(NonZeroUsize::MIN)
        .with_straggler_limit(Duration::from_secs(1));
    group.spawn_named("first", async { Ok::<_, fmt::Error>(1) });
    group.spawn_named("second", pending::<Result<u32, fmt::Error>>());
    let mut task = shelf.lock().unwrap().pop().unwrap();
    // The first ends; the second is next, in the same task of the executor's or in one of its own.
    let _ = polled(Pin::new(&mut task));
    group.cancel_with("enough");
    let mut wait = pin!(group.wait());
    assert!(polled(wait.as_mut()).is_pending());
    clock.advance(Duration::from_secs(1)); // and the executor never polls its task again
    let Poll::Ready(Err(error)) = polled(wait.as_mut()) else {
        unreachable!("the limit has passed")
    };
    assert_eq!(error.kind(), ErrorKind::Stragglers);
    assert_eq!(pending_in(&error), ["second"]);
}

/// A parent whose deadline has passed, though that has not been noticed: no timer is armed for it.
fn past() -> Context {
    let clock = ManualClock::new();
    let parent = Context::background().with_clock(clock.clone());
    let parent = parent.with_timeout(Duration::from_secs(1));
    clock.advance(Duration::from_secs(1));
    parent
}

#[test]
fn ready_under_a_deadline_that_has_passed() {
    // Section 4: parent already ended: no task starts.
    let group = InPlaceGroup::<u32>::new(&past());
    assert!(matches!(polled(group.ready()), Poll::Ready(Err(_))));
}

#[test]
fn aggregation_with_a_timeout_beyond_time_under_a_deadline_that_has_passed() {
    // Section 2: a deadline that is past: no user work starts.
    let asked = Arc::new(AtomicBool::new(false));
    let its_asked = asked.clone();
    let aggregator =
        Aggregator::in_place()
            .with_timeout(Duration::MAX)
            .source("source", move |_, ()| {
                its_asked.store(true, SeqCst);
                async { Ok::<_, fmt::Error>(1) }
            });
    let outcome = polled(aggregator.aggregate(&past(), ()));
    assert!(matches!(outcome, Poll::Ready(Err(error)) if error.is_deadline_exceeded()));
    assert!(!asked.load(SeqCst));
}

/// Panics once, on demand.
#[derive(Clone, Default)]
struct Broken(Arc<AtomicBool>);

impl Clock for Broken {
    fn now(&self) -> Instant {
        assert!(!self.0.swap(false, SeqCst), "no time");
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        ManualClock::new().sleep_until(deadline)
    }
}

#[test]
fn clock_panics_while_a_task_is_spawned() {
    // Section 2: a clock that panics ends what waits on it, and nothing else: no task waits on it here.
    let clock = Broken::default();
    let group = InPlaceGroup::<u32>::new(&Context::background().with_clock(clock.clone()));
    group.snapshot(); // from now on times are taken
    group.spawn(async { Ok::<_, fmt::Error>(1) });
    clock.0.store(true, SeqCst);
    let spawning = AssertUnwindSafe(|| group.spawn(async { Ok::<_, fmt::Error>(2) }));
    assert!(catch_unwind(spawning).is_ok());
    assert!(matches!(polled(group.wait()), Poll::Ready(Ok(results)) if results == [1, 2]));
}
