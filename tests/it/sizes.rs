//! Sizes around every threshold: 0 to 3, 12 and 13, 29 to 33, 63 to 65, 127 to 129, 255 to 257, 1,000, 4,096, and
//! one of 100,000; in place and on several executors. Every check is exact, and linear by counts, never by time.

mod contexts;
mod forks;
mod limits;
mod nesting;
mod ordered;
mod quorums;
mod tasks;
mod waiters_for_a_place;

use crate::executor::{Executor, Living, LocalExecutor, Polled, watched};
use crate::faults::tools::{HOSTS, HOUR, SIZES, counted, yields};
use crate::support::{Count, OnDrop, SECOND, at_most, counting, manual, poll};
use failfast::clock::Clock;
use failfast::{Context, Ending, ErrorKind, Group, InPlaceGroup, LocalGroup, LocalInPlaceGroup};
use futures::StreamExt;
use futures::executor::block_on;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The one size that is beyond every table, block and budget.
const HUGE: usize = 100_000;

/// The sizes for executors with threads.
fn sizes() -> impl Iterator<Item = usize> {
    SIZES.iter().copied().filter(|size| *size <= 1_000)
}

/// A task that yields up to three times, the later ones less often than the earlier.
async fn work(n: usize) -> Result<usize, Infallible> {
    yields(3 - n % 4).await;
    Ok(n)
}

/// How many polls `work` takes for the numbers below `size`.
fn polls_of_work(size: usize) -> usize {
    (0..size).map(|n| 4 - n % 4).sum()
}
