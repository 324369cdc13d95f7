//! Real time in a browser, where there are no threads: each sleep is a timeout of the page's event loop.

use super::sleep::Outcome;
use super::time::Instant;
use super::{Clock, Sleep};
use futures_timer::Delay;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Real time: the page's timers.
///
/// On other systems than the web it shares one timer among all sleeps, and its documentation is longer.
///
/// # Examples
///
/// ```no_run
/// use failfast::clock::{Clock, SystemClock};
/// let now = SystemClock.now();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// A timeout of the page counts milliseconds in 31 bits.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::new(async move {
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                // Rounded up: a timeout counts whole milliseconds.
                let left = left + Duration::from_micros(999);
                Delay::new(left.min(LONGEST)).await;
            }
        })
    }
}

pub(crate) trait Sleeper {
    fn deadline(&self) -> Instant;
    fn has_ended(&self) -> bool;
    fn waker(&self) -> Waker;
}

/// On other systems than the web, a sleep without foreign code. Here there is none: contexts use a [`Sleep`].
pub(crate) enum CountedSleep {}

impl CountedSleep {
    pub(crate) fn new() -> Option<Self> {
        None
    }

    pub(crate) fn wanted(&self) -> usize {
        match *self {}
    }

    pub(crate) fn want(&self, _: &impl Sleeper) -> Poll<Outcome> {
        match *self {}
    }

    pub(crate) fn unwant(&self, _: usize) {
        match *self {}
    }

    pub(crate) fn stop(&self) {
        match *self {}
    }

    pub(crate) fn look(&self, _: &impl Sleeper) -> Poll<Outcome> {
        match *self {}
    }
}
