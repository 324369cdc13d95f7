//! The future that a clock gives, whichever timer is behind it.

use super::local::LocalSleep;
use super::manual::ManualSleep;
use super::reach;
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
use super::system::SystemSleep;
use crate::unwind;
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll, ready};
use thiserror::Error;

/// How a sleep ends.
pub(super) type Outcome = Result<(), TimerError>;

/// A future that is ready at a deadline. Made by [`Clock::sleep_until`](super::Clock::sleep_until).
///
/// Armed on its first poll. Only the waker of the latest poll is woken. Polled
/// again after it was ready, it gives the same answer again.
///
/// A poll of it polls the timer behind it at most once: a timer that wakes
/// itself inside its own poll (tokio's do, when a task has spent its budget) is
/// polled again only when the sleep is.
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
/// use failfast::clock::{Clock, SystemClock};
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
    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    System(SystemSleep),
    Manual(ManualSleep),
    Local(LocalSleep),
    Foreign(ForeignSleep),
    /// Its timer has been dropped, its outcome stays.
    Ended(Outcome),
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
    /// use failfast::clock::{Clock, Sleep};
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
    /// # Ok::<(), failfast::clock::TimerError>(())
    /// ```
    pub fn new<F>(timer: F) -> Sleep
    where
        F: Future + Send + 'static,
    {
        Sleep {
            stage: Stage::Foreign(ForeignSleep::new(timer)),
        }
    }

    /// One of a clock that panicked, with this text, when a sleep was made.
    pub(crate) fn broken(panic: String) -> Sleep {
        Sleep {
            stage: Stage::Ended(Err(TimerError::panicked(&panic))),
        }
    }

    pub(super) fn manual(sleep: ManualSleep) -> Sleep {
        Sleep {
            stage: Stage::Manual(sleep),
        }
    }

    pub(super) fn local(sleep: LocalSleep) -> Sleep {
        Sleep {
            stage: Stage::Local(sleep),
        }
    }

    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    #[inline]
    pub(super) fn system(sleep: SystemSleep) -> Sleep {
        Sleep {
            stage: Stage::System(sleep),
        }
    }

    /// Whether a poll on this thread can do anything but fail. False only for the timer of a thread-bound runtime
    /// on another thread: a driver there leaves it to its own thread.
    pub(crate) fn belongs_here(&self) -> bool {
        match &self.stage {
            Stage::Local(sleep) => sleep.belongs_here(),
            _ => true,
        }
    }
}

impl Sleep {
    /// [`poll`](Future::poll) with a waker of the library's own, which any thread may wake.
    #[inline]
    pub(crate) fn poll_as_timer(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Outcome> {
        let polled = match &mut self.stage {
            #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
            Stage::System(sleep) => sleep.poll(cx.waker()),
            Stage::Manual(sleep) => sleep.poll(cx.waker()),
            Stage::Local(sleep) => sleep.poll(cx),
            Stage::Foreign(sleep) => sleep.poll(cx),
            Stage::Ended(outcome) => return Poll::Ready(outcome.clone()),
        };
        if let Poll::Ready(outcome) = &polled {
            self.stage = Stage::Ended(outcome.clone());
        }
        polled
    }

    /// Whether the timer behind it is a user's, or a runtime's, and may be polled on any thread.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.stage, Stage::Foreign(_))
    }

    /// Whether it waits for the system's clock.
    #[inline]
    pub(crate) fn is_of_the_system(&self) -> bool {
        #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
        return matches!(self.stage, Stage::System(_));
        #[cfg(all(target_family = "wasm", target_os = "unknown"))]
        return false;
    }
}

impl Future for Sleep {
    type Output = Outcome;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Outcome> {
        let polled = self.as_mut().poll_as_timer(cx);
        if !self.is_of_the_system() {
            return polled;
        }
        if reach::is_broken(cx.waker()) {
            self.stage = Stage::Ended(Err(reach::refusal()));
            return self.poll_as_timer(cx);
        }
        reach::rely();
        polled
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Sleep");
        match &self.stage {
            #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
            Stage::System(sleep) => debug.field("deadline", &sleep.deadline()),
            Stage::Manual(sleep) => debug.field("deadline", &sleep.deadline()),
            Stage::Local(sleep) => debug.field("deadline", &sleep.deadline()),
            Stage::Foreign(_) => &mut debug,
            Stage::Ended(outcome) => debug.field("ended", outcome),
        };
        debug.finish_non_exhaustive()
    }
}

pin_project! {
    /// A timer whose output is of no interest.
    pub(super) struct Ticking<F> {
        #[pin]
        timer: F,
    }
}

impl<F> Ticking<F> {
    pub(super) fn new(timer: F) -> Self {
        Ticking { timer }
    }
}

impl<F: Future> Future for Ticking<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        ready!(self.project().timer.poll(cx));
        Poll::Ready(())
    }
}

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A timer of the user's. The mutex is never locked, only reached through
/// `&mut`: it makes what is merely `Send` also `Sync`.
struct ForeignSleep {
    timer: Mutex<Option<Timer>>,
}

impl ForeignSleep {
    fn new<F: Future + Send + 'static>(timer: F) -> Self {
        let timer: Timer = Box::pin(Ticking::new(timer));
        ForeignSleep {
            timer: Mutex::new(Some(timer)),
        }
    }

    fn timer(&mut self) -> &mut Option<Timer> {
        self.timer.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Outcome> {
        match self.timer() {
            Some(timer) => poll_timer(timer.as_mut(), cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for ForeignSleep {
    fn drop(&mut self) {
        unwind::discard(self.timer().take());
    }
}

/// Polls a timer of the user's once, and contains what it throws.
pub(super) fn poll_timer<F>(timer: Pin<&mut F>, cx: &mut task::Context<'_>) -> Poll<Outcome>
where
    F: Future<Output = ()> + ?Sized,
{
    match unwind::contain_text(|| timer.poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(TimerError::panicked(&panic))),
    }
}

/// A timer can't fire, and why.
///
/// Whatever waited for it has ended with this error instead of waiting for
/// ever. Seen in practice: a clock made of `tokio::time::sleep` used outside
/// tokio, a [`LocalClock`](super::LocalClock) used on another thread, or a
/// machine so short of threads that none can be had to keep time.
///
/// # Examples
///
/// ```
/// use failfast::clock::Clock;
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
    pub(super) fn new(why: impl Into<Arc<str>>) -> Self {
        TimerError { why: why.into() }
    }

    pub(super) fn panicked(text: &str) -> Self {
        TimerError::new(format!("it panicked: {text}"))
    }
}
