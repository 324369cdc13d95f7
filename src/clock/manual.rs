//! A clock that stands still until it is advanced.
//!
//! 1. `now` never goes back.
//! 2. When a waker runs, the lock is free and `now` is at least its deadline.
//! 3. Sleeps end in the order of their deadlines, equal ones as they were armed.

use super::entry::{self, Entry};
use super::heap::{Heap, Key};
use super::sleep::Outcome;
use super::time::Instant;
use super::{Clock, Sleep};
use crate::sync::Mutex;
use crate::unwind;
use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// A clock for tests: its time passes only when it is advanced.
///
/// Clones show the same time. A test that would take minutes runs in
/// microseconds, on any executor, and always the same way.
///
/// Sleeps end while [`advance`](Self::advance) or
/// [`advance_to_next`](Self::advance_to_next) runs, on the thread that called
/// it, in the order of their deadlines; equal ones in the order they were armed
/// in, which is that of their first polls. A waker finds the clock at its own
/// deadline or later, may arm, drop and poll other sleeps, and may advance the
/// clock further. One that panics is logged and harms no other.
///
/// It does not move by itself. Move it on the thread that polls what waits for it, or from a task there, so that what is
/// to be armed is armed before.
///
/// # Examples
///
/// ```
/// use failfast::clock::{Clock, ManualClock};
/// use futures::FutureExt;
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let hour = Duration::from_secs(3600);
/// let mut sleep = clock.sleep_until(clock.now() + hour);
/// assert!((&mut sleep).now_or_never().is_none());
///
/// clock.advance(hour);
/// assert_eq!(sleep.now_or_never(), Some(Ok(())));
/// ```
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Mutex<State>>,
}

struct State {
    now: Instant,
    heap: Heap<Entry>,
}

impl ManualClock {
    /// A clock that shows the moment it was made at, and stays there.
    ///
    /// # Examples
    ///
    /// ```
    /// let clock = failfast::clock::ManualClock::new();
    /// assert_eq!(clock.now(), clock.now());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            now: Instant::now(),
            heap: Heap::new(),
        };
        ManualClock {
            shared: Arc::new(Mutex::new(state)),
        }
    }

    /// The time this clock shows. The same as [`Clock::now`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// let clock = failfast::clock::ManualClock::new();
    /// let before = clock.now();
    /// clock.advance(Duration::from_millis(5));
    /// assert_eq!(clock.now() - before, Duration::from_millis(5));
    /// ```
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.lock().now
    }

    /// Lets `step` pass, and ends every sleep whose deadline is reached on the
    /// way, also those armed meanwhile. Steps of two threads at once may pass
    /// together.
    ///
    /// # Panics
    ///
    /// If the time would be later than an `Instant` can hold.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::clock::{Clock, ManualClock};
    /// # use futures::FutureExt;
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let sleep = clock.sleep_until(clock.now() + Duration::from_secs(2));
    /// clock.advance(Duration::from_secs(3));
    /// assert_eq!(sleep.now_or_never(), Some(Ok(())));
    /// ```
    pub fn advance(&self, step: Duration) {
        let target = self.now() + step;
        self.advance_until(target);
    }

    /// Lets time pass until the earliest deadline of an armed sleep, and ends
    /// every sleep that is due then.
    ///
    /// False if no sleep is armed: then no time passes either.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::clock::{Clock, ManualClock};
    /// # use futures::FutureExt;
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let tomorrow = clock.now() + Duration::from_secs(86_400);
    /// let mut sleep = clock.sleep_until(tomorrow);
    /// assert!((&mut sleep).now_or_never().is_none());
    ///
    /// assert!(clock.advance_to_next());
    /// assert_eq!(clock.now(), tomorrow);
    /// assert!(!clock.advance_to_next());
    /// ```
    pub fn advance_to_next(&self) -> bool {
        let earliest = self.shared.lock().heap.earliest();
        if let Some(target) = earliest {
            self.advance_until(target);
        }
        earliest.is_some()
    }

    /// How many sleeps are armed: polled, not dropped, and not due yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::clock::{Clock, ManualClock};
    /// # use futures::FutureExt;
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let mut sleep = clock.sleep_until(clock.now() + Duration::from_secs(1));
    /// assert_eq!(clock.armed(), 0);
    /// assert!((&mut sleep).now_or_never().is_none());
    /// assert_eq!(clock.armed(), 1);
    /// drop(sleep);
    /// assert_eq!(clock.armed(), 0);
    /// ```
    #[must_use]
    pub fn armed(&self) -> usize {
        self.shared.lock().heap.len()
    }

    fn advance_until(&self, target: Instant) {
        while let Some(woken) = self.step(target) {
            woken.into_iter().for_each(unwind::wake);
        }
    }

    /// One lock, one sleep, so that a waker may do anything (invariant 2).
    fn step(&self, target: Instant) -> Option<Option<Waker>> {
        let mut state = self.shared.lock();
        match state.heap.earliest().filter(|&deadline| deadline <= target) {
            Some(deadline) => {
                state.now = state.now.max(deadline);
                Some(state.heap.pop()?.end(Ok(())))
            }
            None => {
                state.now = state.now.max(target);
                None
            }
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        ManualClock::now(self)
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::manual(ManualSleep {
            clock: self.clone(),
            deadline,
            key: None,
        })
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        ManualClock::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("now", &self.now())
            .field("armed", &self.armed())
            .finish()
    }
}

pub(super) struct ManualSleep {
    clock: ManualClock,
    deadline: Instant,
    key: Option<Key>,
}

impl ManualSleep {
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<Outcome> {
        match &self.key {
            Some(key) => self.check(key, waker),
            None => self.arm(waker.clone()),
        }
    }

    fn arm(&mut self, waker: Waker) -> Poll<Outcome> {
        let mut state = self.clock.shared.lock();
        if self.deadline <= state.now {
            // The waker is foreign: not dropped under the lock.
            drop(state);
            unwind::discard(waker);
            return Poll::Ready(Ok(()));
        }
        self.key = Some(state.heap.insert(self.deadline, Entry::Waiting(waker)));
        Poll::Pending
    }

    fn check(&self, key: &Key, waker: &Waker) -> Poll<Outcome> {
        entry::poll(
            || self.clock.shared.lock(),
            |state| &mut state.heap,
            key,
            waker,
        )
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let entry = self.clock.shared.lock().heap.remove(key);
            unwind::discard(entry);
        }
    }
}
