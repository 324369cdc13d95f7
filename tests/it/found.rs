//! What the simulation found, as small as it gets.

use failfast::{Context, Ending, Group};
use futures::task::noop_waker_ref;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::{self, Poll};

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
