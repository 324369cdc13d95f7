//! Telling time: the port, the future it gives, and the clocks that come with
//! the crate.
//!
//! | file | owns |
//! |---|---|
//! | `clock.rs` | the trait, `Sleep`, and functions as clocks |
//! | `clock/system.rs` | the process's one shared timer |
//! | `clock/alarm.rs` | who wakes that timer up, and when |
//! | `clock/dispatch.rs` | the threads that run wakers |
//! | `clock/manual.rs` | time that stands still |
//! | `clock/heap.rs`, `clock/entry.rs` | armed sleeps |
//! | `clock/foreign.rs` | running what may panic |

mod alarm;
mod dispatch;
mod entry;
mod foreign;
mod heap;
mod manual;
mod system;

pub use manual::ManualClock;
pub use system::SystemClock;

use manual::ManualSleep;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};
use std::time::{Duration, Instant};
use system::SystemSleep;
use thiserror::Error;

/// What tells the time, and wakes when it has come.
///
/// [`SystemClock`] is the one to use unless there is a reason. A runtime's own
/// sleep function is a clock too (`smol::Timer::after`, `tokio::time::sleep`),
/// as is any `Fn(Duration) -> impl Future` that is `Clone`: `now` is then
/// [`Instant::now`], and the function is called on a sleep's first poll, with
/// what is left until its deadline. [`ManualClock`] is for tests.
///
/// A clock of your own returns [`Sleep::new`] from `sleep_until`.
///
/// # Examples
///
/// ```
/// use failfast::{Clock, SystemClock};
/// use std::time::Duration;
///
/// async fn nap(clock: &dyn Clock) {
///     let deadline = clock.now() + Duration::from_millis(1);
///     clock.sleep_until(deadline).await.expect("time passes");
/// }
///
/// smol::block_on(nap(&SystemClock));
/// smol::block_on(nap(&smol::Timer::after));
/// ```
pub trait Clock: Send + Sync {
    /// The time, as this clock tells it.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Clock, SystemClock};
    /// assert!(SystemClock.now() <= std::time::Instant::now());
    /// ```
    fn now(&self) -> Instant;

    /// A future that is ready once this clock shows `deadline` or later; at once
    /// if it does already.
    ///
    /// Nothing is armed before the first poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Clock, SystemClock};
    /// use std::time::Duration;
    ///
    /// let deadline = SystemClock.now() + Duration::from_millis(1);
    /// smol::block_on(SystemClock.sleep_until(deadline))?;
    /// assert!(SystemClock.now() >= deadline);
    /// # Ok::<(), failfast::TimerError>(())
    /// ```
    fn sleep_until(&self, deadline: Instant) -> Sleep;
}

impl<F, Fut> Clock for F
where
    F: Fn(Duration) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
{
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        let make = self.clone();
        // Runs on the first poll: only then is the duration known, and the
        // caller in its runtime.
        Sleep::new(async move { make(deadline.saturating_duration_since(Instant::now())).await })
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Instant {
        C::now(self)
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        C::sleep_until(self, deadline)
    }
}

/// A future that is ready at a deadline. Made by [`Clock::sleep_until`].
///
/// Armed on its first poll. Only the waker of the latest poll is woken. Polled
/// again after it was ready, it gives the same answer again.
///
/// # Cancel safety
///
/// Dropping it disarms it and leaves nothing behind. It may be moved, polled
/// from different tasks, and dropped from inside any waker.
///
/// # Panics
///
/// Never, whatever the timer does.
///
/// # Errors
///
/// [`TimerError`] if the timer can't fire any more. It never just hangs.
///
/// # Examples
///
/// ```
/// use failfast::{Clock, SystemClock};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let sleep = SystemClock.sleep_until(SystemClock.now() + second);
/// drop(sleep); // never polled: never armed
/// ```
#[must_use = "a sleep does nothing, and arms nothing, unless it is awaited"]
pub struct Sleep {
    stage: Stage,
}

enum Stage {
    System(SystemSleep),
    Manual(ManualSleep),
    Foreign(ForeignSleep),
    /// Its timer is gone, its outcome stays.
    Ended(Result<(), TimerError>),
}

impl Sleep {
    /// A sleep that is ready when `timer` is: for clocks of your own. What
    /// `timer` returns is dropped.
    ///
    /// # Errors
    ///
    /// A panic in `timer` ends the sleep with [`TimerError`].
    ///
    /// # Examples
    ///
    /// A clock that hurries:
    ///
    /// ```
    /// use failfast::{Clock, Sleep};
    /// use std::time::{Duration, Instant};
    ///
    /// struct TenTimesFaster(Instant);
    ///
    /// impl Clock for TenTimesFaster {
    ///     fn now(&self) -> Instant {
    ///         self.0 + self.0.elapsed() * 10
    ///     }
    ///
    ///     fn sleep_until(&self, deadline: Instant) -> Sleep {
    ///         let left = deadline.saturating_duration_since(self.now());
    ///         Sleep::new(smol::Timer::after(left / 10))
    ///     }
    /// }
    ///
    /// let clock = TenTimesFaster(Instant::now());
    /// smol::block_on(clock.sleep_until(clock.now() + Duration::from_millis(20)))?;
    /// # Ok::<(), failfast::TimerError>(())
    /// ```
    pub fn new<F>(timer: F) -> Sleep
    where
        F: Future + Send + 'static,
    {
        Sleep {
            stage: Stage::Foreign(ForeignSleep::new(timer)),
        }
    }

    fn manual(sleep: ManualSleep) -> Sleep {
        Sleep {
            stage: Stage::Manual(sleep),
        }
    }

    fn system(sleep: SystemSleep) -> Sleep {
        Sleep {
            stage: Stage::System(sleep),
        }
    }
}

impl Future for Sleep {
    type Output = Result<(), TimerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let polled = match &mut self.stage {
            Stage::System(sleep) => sleep.poll(cx.waker()),
            Stage::Manual(sleep) => sleep.poll(cx.waker()),
            Stage::Foreign(sleep) => sleep.poll(cx),
            Stage::Ended(outcome) => return Poll::Ready(outcome.clone()),
        };
        if let Poll::Ready(outcome) = &polled {
            self.stage = Stage::Ended(outcome.clone());
        }
        polled
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Sleep");
        match &self.stage {
            Stage::System(sleep) => debug.field("deadline", &sleep.deadline()),
            Stage::Manual(sleep) => debug.field("deadline", &sleep.deadline()),
            Stage::Foreign(_) => &mut debug,
            Stage::Ended(outcome) => debug.field("ended", outcome),
        };
        debug.finish_non_exhaustive()
    }
}

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Somebody else's timer. The mutex is never locked, only reached through
/// `&mut`: it makes what is merely `Send` also `Sync`.
struct ForeignSleep {
    timer: Mutex<Option<Timer>>,
}

impl ForeignSleep {
    fn new<F: Future + Send + 'static>(timer: F) -> Self {
        let timer: Timer = Box::pin(async move {
            timer.await;
        });
        ForeignSleep {
            timer: Mutex::new(Some(timer)),
        }
    }

    fn timer(&mut self) -> &mut Option<Timer> {
        self.timer.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), TimerError>> {
        let Some(timer) = self.timer() else {
            return Poll::Ready(Ok(()));
        };
        match foreign::run(|| timer.as_mut().poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(TimerError::new(format!("it panicked: {panic}")))),
        }
    }
}

impl Drop for ForeignSleep {
    fn drop(&mut self) {
        let timer = self.timer().take();
        if let Err(panic) = foreign::run(|| drop(timer)) {
            let _ = foreign::run(|| log::error!("a timer panicked when it was dropped: {panic}"));
        }
    }
}

/// A timer can't fire, and why.
///
/// Whatever waited for it has ended with this error instead of waiting for
/// ever. Seen in practice: a clock made of `tokio::time::sleep` used outside
/// tokio, or a machine so short of threads that none can be had to keep time.
///
/// # Examples
///
/// ```
/// use failfast::Clock;
/// use std::time::{Duration, Instant};
///
/// let clock = |_: Duration| async { panic!("no runtime here") };
/// let error = smol::block_on(clock.sleep_until(Instant::now())).unwrap_err();
/// assert_eq!(error.to_string(), "the timer cannot fire: it panicked: no runtime here");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the timer cannot fire: {why}")]
pub struct TimerError {
    why: Arc<str>,
}

impl TimerError {
    fn new(why: impl Into<Arc<str>>) -> Self {
        TimerError { why: why.into() }
    }
}
