//! Wakers that count or act, and polling by hand.

use failfast::Context;
use failfast::clock::{Clock, ManualClock, Sleep};
use std::future::{Future, pending};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{self, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Long enough for any machine, short enough to notice.
pub(crate) const GENEROUS: Duration = Duration::from_secs(60);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const fn at_most(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).unwrap()
}

/// How often something happened.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn get(&self) -> usize {
        self.0.load(SeqCst)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    /// A callback that counts its call.
    pub(crate) fn adder(&self) -> impl Fn() + Send + Sync + 'static {
        let count = self.clone();
        move || count.add()
    }
}

struct Act<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Act<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// A waker that runs a function.
pub(crate) fn on_wake(action: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Act(action)))
}

/// A waker that counts how often it was woken.
pub(crate) fn counting() -> (Count, Waker) {
    let count = Count::default();
    (count.clone(), on_wake(count.adder()))
}

pub(crate) fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut task::Context::from_waker(waker))
}

/// A background that goes by a clock of its own.
pub(crate) fn manual() -> (ManualClock, Context) {
    let clock = ManualClock::new();
    (clock.clone(), Context::background().with_clock(clock))
}

/// A clock that counts how often it is read.
#[derive(Clone, Default)]
pub(crate) struct CountedClock(pub(crate) ManualClock, pub(crate) Count);

impl Clock for CountedClock {
    fn now(&self) -> Instant {
        self.1.add();
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        self.0.sleep_until(deadline)
    }
}

/// A clock whose timers never fire, but whose hands move.
#[derive(Clone)]
pub(crate) struct Deaf(pub(crate) ManualClock);

impl Clock for Deaf {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, _: Instant) -> Sleep {
        Sleep::new(pending::<()>())
    }
}

/// Counts its drop.
pub(crate) struct OnDrop(pub(crate) Count);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add();
    }
}

/// Waits until `condition` holds, in real time; fails if it never does.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < GENEROUS, "{what}: not in {GENEROUS:?}");
        std::thread::yield_now();
    }
}
