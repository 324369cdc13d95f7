//! What the simulation found, as small as it gets.

use failfast::{Context, Ending, Error, Group, ManualClock, Task};
use futures::task::noop_waker_ref;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

fn polled<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = pin!(future);
    future
        .as_mut()
        .poll(&mut task::Context::from_waker(noop_waker_ref()))
}

#[test]
fn task_spawned_in_place_after_one_that_was_woken_in_its_last_poll() {
    // Section 4: whoever polls `next` polls the tasks, each when it was woken; a new one is.
    let mut group = Group::in_place(&Context::background());
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
    let group = Group::<_, ()>::in_place(&Context::background()).with_ending(Ending::Settle);
    group.spawn(async { Err(fmt::Error) });
    group.spawn(pending::<Result<(), fmt::Error>>());
    group.cancel_with("enough");
    let Poll::Ready(Ok(outcomes)) = polled(group.outcomes()) else {
        unreachable!("in place, a cancelled group ends in one poll")
    };
    assert_eq!(
        outcomes[0].1.as_ref().unwrap_err().name().unwrap(),
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
    let (group, _) = Group::<_, u32>::with_context(&parent, spawn);
    let group = group
        .with_limit(NonZeroUsize::MIN)
        .with_straggler_limit(Duration::from_secs(1));
    group.spawn_named("first", async { Ok::<_, fmt::Error>(1) });
    group.spawn_named("second", pending::<Result<u32, fmt::Error>>());
    let mut task = shelf.lock().unwrap().pop().unwrap();
    assert!(
        polled(Pin::new(&mut task)).is_pending(),
        "the first ends, and the second is next in its task"
    );
    group.cancel_with("enough");
    let mut wait = pin!(group.wait());
    assert!(polled(wait.as_mut()).is_pending());
    clock.advance(Duration::from_secs(1)); // and the executor never polls its task again
    let Poll::Ready(Err(error)) = polled(wait.as_mut()) else {
        unreachable!("the limit has passed")
    };
    assert!(
        matches!(&error, Error::Stragglers { names, .. } if names[..] == ["second"]),
        "{error:?}"
    );
}
