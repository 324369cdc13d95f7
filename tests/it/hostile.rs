//! Hostile executors, tasks and users: nothing hangs, nothing aborts, and the first cause is never lost.
//!
//! Every test runs under a watchdog: a hang is a failure.

mod executors;
mod tasks;
mod users;

use crate::executor::{Executor, Life, Living, Polled, on_wake, remote, watched};
use crate::group::{pending_in, told};
use failfast::clock::ManualClock;
use failfast::{Context, Ending, Error, ErrorKind, Group, InPlaceGroup, LocalInPlaceGroup, Task};
use futures::FutureExt;
use futures::executor::block_on;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{self, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const ONE: NonZeroUsize = NonZeroUsize::MIN;

async fn stuck(life: Life) -> Result<u32, Infallible> {
    let _life = life;
    pending().await
}

fn poll_with(task: &mut Task, waker: &Waker) -> Poll<()> {
    Pin::new(task).poll(&mut task::Context::from_waker(waker))
}

/// A value whose destructor panics, with a payload whose destructor panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        struct Payload;
        impl Drop for Payload {
            fn drop(&mut self) {
                panic!("the payload's destructor");
            }
        }
        std::panic::panic_any(Payload);
    }
}
