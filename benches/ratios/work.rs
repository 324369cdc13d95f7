//! What the tasks do.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{self, Poll, Waker};
use std::time::Duration;

use futures::future::{self, Either};
use futures_timer::Delay;

/// The deadline of every task, which never comes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// What a task gives. The error is there to be carried, as in any real task.
pub(crate) type Outcome = Result<usize, io::Error>;

/// A task that goes through its executor's queue once, and then answers.
pub(crate) async fn work(answer: usize) -> Outcome {
    yield_once().await;
    Ok(answer)
}

pub(crate) fn yield_once() -> impl Future<Output = ()> + Send {
    let mut yielded = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// What people write for a deadline: `select` against a timer of one's own.
pub(crate) async fn in_time<T, E: Debug>(work: impl Future<Output = Result<T, E>>) -> T {
    match future::select(pin!(work), Delay::new(DEADLINE)).await {
        Either::Left((outcome, _)) => outcome.expect("work succeeds"),
        Either::Right(_) => unreachable!("nothing here takes 5 s"),
    }
}

/// Pending for ever, once `started` has counted its first poll.
pub(crate) async fn hang(started: &AtomicUsize) -> Outcome {
    started.fetch_add(1, Ordering::Release);
    std::future::pending().await
}

/// Waits until so many tasks hang.
pub(crate) async fn all_hang(started: &AtomicUsize, tasks: usize) {
    while started.load(Ordering::Acquire) < tasks {
        yield_once().await;
    }
}

/// Polls a future once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut task::Context::from_waker(Waker::noop()))
}
