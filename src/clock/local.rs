//! The timers of thread-bound runtimes, which are not `Send`, behind a clock that is.

use super::confined::Confined;
use super::sleep::{self, Outcome, Ticking};
use super::time::Instant;
use super::{Clock, Sleep, TimerError};
use crate::unwind;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

type Timer = Pin<Box<dyn Future<Output = ()>>>;

type Make = Box<dyn Fn(Duration) -> Timer>;

/// The sleep function of a thread-bound runtime: its timers need not be `Send`.
///
/// For runtimes such as monoio, glommio, compio or ntex, and for timers that hold an `Rc`:
/// `LocalClock::new(monoio::time::sleep)`. The clock belongs to the thread that made it. It is `Send` and `Sync`
/// itself, because a context is, and checks at each use that it is at home:
///
/// - A sleep that is polled on another thread ends with [`TimerError`].
/// - A timer that is dropped on another thread goes back to its own thread, which drops it when it next uses a
///   `LocalClock`, or when it ends. If that thread has ended, the timer is leaked. The same holds for the function.
/// - A timer that ends a context is not dropped inside its own wake-up, where its runtime may hold a lock (compio does),
///   but when its thread next uses a `LocalClock`; it is leaked if the thread ends before.
///
/// `now` is [`Instant::now`], on any thread.
///
/// # Where it is needed
///
/// Where no other thread may wake a task: the wakers of monoio without its feature `sync` panic there, and the system's
/// clock wakes from threads of its own. A [`LocalGroup`](crate::LocalGroup) finds that out. The first few of its tasks on a
/// thread that wait for the system's clock are woken once by another thread, in a poll that waits for it; if that panics, the
/// group ends at once with an error that names this clock, and so does what its tasks wait for by their own waker. What
/// waits behind another (in `join_all`, in a group in place) is not polled for that. A task of the runtime's own
/// that waits alone can't be tried in this way: it sleeps on, and the log says why. With `panic = "abort"` nothing is tried.
///
/// # Panics
///
/// Never. A panic in the function or in its timer ends the sleep with [`TimerError`].
///
/// # Errors
///
/// Its sleeps end with [`TimerError`] on any other thread.
///
/// # Examples
///
/// ```
/// use failfast::clock::{Clock, LocalClock};
/// use std::rc::Rc;
/// use std::time::Duration;
///
/// let runtime = Rc::new("not Send");
/// let clock = LocalClock::new(move |left| {
///     let runtime = runtime.clone();
///     async move {
///         smol::Timer::after(left).await;
///         drop(runtime);
///     }
/// });
/// let deadline = clock.now() + Duration::from_millis(1);
/// smol::block_on(clock.sleep_until(deadline))?;
///
/// let elsewhere = std::thread::spawn(move || smol::block_on(clock.sleep_until(deadline)));
/// assert!(elsewhere.join().expect("no panic").is_err());
/// # Ok::<(), failfast::clock::TimerError>(())
/// ```
#[derive(Clone)]
pub struct LocalClock {
    /// `None` if it was made while its thread ended.
    make: Option<Arc<Confined<Make>>>,
}

impl LocalClock {
    /// A clock of this thread's, whose timers `sleep` makes. It is called on a sleep's first poll, with what is left
    /// until its deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::clock::LocalClock;
    /// let clock = LocalClock::new(smol::Timer::after);
    /// ```
    pub fn new<F, Fut>(sleep: F) -> Self
    where
        F: Fn(Duration) -> Fut + 'static,
        Fut: Future + 'static,
    {
        let make = move |left| -> Timer { Box::pin(Ticking::new(sleep(left))) };
        LocalClock {
            make: Confined::new(|| Box::new(make) as Make).map(Arc::new),
        }
    }
}

impl Clock for LocalClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::local(LocalSleep {
            clock: self.clone(),
            deadline,
            timer: None,
        })
    }
}

impl fmt::Debug for LocalClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalClock").finish_non_exhaustive()
    }
}

pub(super) struct LocalSleep {
    clock: LocalClock,
    deadline: Instant,
    timer: Option<Confined<Timer>>,
}

impl LocalSleep {
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn belongs_here(&self) -> bool {
        self.clock.make.as_ref().is_some_and(|make| make.is_here())
    }

    pub(super) fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Outcome> {
        if self.timer.is_none() {
            match self.arm() {
                Ok(timer) => self.timer = Some(timer),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        match self.timer.as_mut().and_then(Confined::get_mut) {
            Some(timer) => sleep::poll_timer(timer.as_mut(), cx),
            None => Poll::Ready(Err(strayed())),
        }
    }

    fn arm(&self) -> Result<Confined<Timer>, TimerError> {
        let make = self
            .clock
            .make
            .as_deref()
            .and_then(Confined::get)
            .ok_or_else(strayed)?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timer =
            unwind::contain_text(|| make(left)).map_err(|text| TimerError::panicked(&text))?;
        Confined::new(|| timer).ok_or_else(strayed)
    }
}

fn strayed() -> TimerError {
    TimerError::new("a LocalClock's sleep was polled on a thread other than the clock's")
}
