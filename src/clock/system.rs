//! Real time: one timer for the whole process, one alarm for all its sleeps.
//!
//! Most deadlines never come. So arming a sleep is a push under a lock, and
//! dropping it a removal; only a deadline earlier than all others has to set an
//! alarm, which costs a thread switch.
//!
//! ```text
//! sleeps      ──┬───────┬──┬─────────┬──▶      one heap
//! alarm         ▲       ┆  ┆         ┆         one Delay, for the earliest
//! it rings      ╰─ take what is due, set the next ▲, hand the wakers over
//! ```
//!
//! 1. While the lock is free, the alarm is set for the earliest deadline or for
//!    an earlier moment, or some thread is on its way to set it or to look. It
//!    may ring for nothing.
//! 2. No foreign code runs under the lock: wakers are cloned, woken and dropped
//!    while it is free. futures-timer isn't called under it either.
//! 3. The thread that rings never runs a foreign waker, unless no other thread
//!    can be had.
//! 4. A sleep ends under the lock, and its waker is registered under the lock:
//!    one of the two sees the other.
//! 5. If futures-timer's thread dies, it wakes all who wait for it while it
//!    unwinds, us too, and fails all who come later: each leads to a thread of
//!    our own.

use super::alarm::{Alarm, Errand};
use super::dispatch::Dispatcher;
use super::entry::{Entry, Outcome};
use super::heap::{Heap, Key};
use super::{Clock, Sleep, TimerError, foreign};
use futures_timer::Delay;
use std::pin::Pin;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

/// Real time, on any executor: the default clock.
///
/// All its sleeps share one timer of futures-timer's, so that a deadline that
/// doesn't come costs tens of nanoseconds, allocates nothing, and switches to
/// no other thread. It is as precise as that timer: a sleep never ends early,
/// and ends late by what the operating system takes to schedule a thread.
///
/// Wakers run on threads named `failfast-timer`, started when first needed and
/// ended when idle. One that panics is logged; one that blocks keeps no other
/// sleep from ending. If futures-timer's only thread is dead, because some
/// waker of another crate panicked on it, a thread of our own keeps the time.
///
/// A forked child notices that its parent's timer is gone as soon as it arms a
/// sleep with a deadline earlier than any other or later than all so far.
///
/// # Errors
///
/// Its sleeps end with [`TimerError`] only where no thread can be started.
///
/// # Examples
///
/// ```
/// use failfast::{Clock, SystemClock};
/// use std::time::Duration;
///
/// let deadline = SystemClock.now() + Duration::from_millis(1);
/// smol::block_on(SystemClock.sleep_until(deadline))?;
/// # Ok::<(), failfast::TimerError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[inline]
    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::system(SystemSleep {
            deadline,
            key: None,
        })
    }
}

pub(super) struct SystemSleep {
    deadline: Instant,
    key: Option<Key>,
}

impl SystemSleep {
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    #[inline]
    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<Outcome> {
        if let Some(key) = &self.key {
            return TIMER.check(key, waker);
        }
        self.key = TIMER.arm(self.deadline, waker.clone());
        match self.key {
            Some(_) => Poll::Pending,
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for SystemSleep {
    #[inline]
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            TIMER.disarm(key);
        }
    }
}

static TIMER: LazyLock<Timer> = LazyLock::new(Timer::new);

/// What futures-timer wakes.
static RING: LazyLock<Waker> = LazyLock::new(|| Waker::from(Arc::new(Ring)));

struct Timer {
    state: Mutex<State>,
    /// For our own thread: there is an earlier deadline.
    changed: Condvar,
    dispatcher: Dispatcher,
}

struct State {
    heap: Heap<Entry>,
    alarm: Alarm,
}

/// Arming, asking and disarming: the fast paths.
impl Timer {
    fn new() -> Self {
        Timer {
            state: Mutex::new(State {
                heap: Heap::new(),
                alarm: Alarm::new(),
            }),
            changed: Condvar::new(),
            dispatcher: Dispatcher::new(),
        }
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if the deadline is past.
    #[inline]
    fn arm(&'static self, deadline: Instant, waker: Waker) -> Option<Key> {
        let mut state = self.lock();
        if state.alarm.covers(deadline) {
            return Some(state.heap.insert(deadline, Entry::Waiting(waker)));
        }
        drop(state);
        self.arm_with_care(deadline, waker)
    }

    #[cold]
    fn arm_with_care(&'static self, deadline: Instant, waker: Waker) -> Option<Key> {
        if deadline <= Instant::now() {
            return None;
        }
        let (key, errand) = self.lock().arm(deadline, waker);
        self.run(errand);
        Some(key)
    }

    #[inline]
    fn check(&self, key: &Key, waker: &Waker) -> Poll<Outcome> {
        let answer = self.lock().heap.get(key).answer(waker);
        answer.unwrap_or_else(|| self.register(key, waker))
    }

    fn register(&self, key: &Key, waker: &Waker) -> Poll<Outcome> {
        let waker = waker.clone();
        let mut state = self.lock();
        let entry = state.heap.get_mut(key);
        let answer = entry.answer(&waker);
        let stale = entry.register(waker);
        // Invariant 2: a waker's drop is foreign code.
        drop(state);
        drop(stale);
        answer.unwrap_or(Poll::Pending)
    }

    #[inline]
    fn disarm(&self, key: Key) {
        let entry = self.lock().heap.remove(key);
        // Invariant 2: the lock is free again.
        drop(entry);
    }
}

impl State {
    fn arm(&mut self, deadline: Instant, waker: Waker) -> (Key, Option<Errand>) {
        let key = self.heap.insert(deadline, Entry::Waiting(waker));
        let earliest = self.heap.earliest().unwrap_or(deadline);
        (key, self.alarm.rely(deadline, earliest))
    }

    fn take_due(&mut self, now: Instant) -> Vec<Waker> {
        let mut due = Vec::new();
        while self.heap.earliest().is_some_and(|deadline| deadline <= now) {
            due.extend(self.heap.pop().and_then(|entry| entry.end(Ok(()))));
        }
        due
    }

    fn fail_all(&mut self, error: &TimerError) -> Vec<Waker> {
        let mut failed = Vec::new();
        while let Some(entry) = self.heap.pop() {
            failed.extend(entry.end(Err(error.clone())));
        }
        failed
    }
}

/// Ringing, and setting the alarm anew.
impl Timer {
    /// Ends what is due. The lock is free while wakers are handed over.
    fn ring(&'static self) -> Option<Errand> {
        let now = Instant::now();
        let mut state = self.lock();
        let due = state.take_due(now);
        let earliest = state.heap.earliest();
        let errand = state.alarm.rang(earliest, now);
        drop(state);
        self.dispatcher.hand_over(due);
        errand
    }

    /// Runs an errand, and those it leads to. The lock is free.
    fn run(&'static self, mut errand: Option<Errand>) {
        while let Some(next) = errand {
            errand = match next {
                Errand::SetDelay { at, generation } => self.set_delay(at, generation),
                Errand::Notify => self.notify(),
                Errand::StartThread => self.start_thread(),
            };
        }
    }

    fn set_delay(&'static self, at: Instant, generation: u64) -> Option<Errand> {
        match foreign::run(|| delay_until(at)) {
            Ok((delay, Poll::Pending)) => self.keep(delay, generation),
            Ok((_, Poll::Ready(()))) => self.ring(),
            // Invariant 5: `timer has gone away`.
            Err(_) => self.leave_futures_timer(),
        }
    }

    fn keep(&self, delay: Delay, generation: u64) -> Option<Errand> {
        let useless = self.lock().alarm.keep(delay, generation);
        drop(useless);
        None
    }

    fn leave_futures_timer(&self) -> Option<Errand> {
        let (delay, errand) = self.lock().alarm.leave_futures_timer();
        drop(delay);
        errand
    }
}

/// A `Delay` is made anew each time: a reset of one that fired would not notice
/// that its thread is dead.
fn delay_until(at: Instant) -> (Delay, Poll<()>) {
    let mut delay = Delay::new(at.saturating_duration_since(Instant::now()));
    let mut context = task::Context::from_waker(&RING);
    let polled = Future::poll(Pin::new(&mut delay), &mut context);
    (delay, polled)
}

struct Ring;

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// Called on futures-timer's thread; also while that thread unwinds, and
    /// never again afterwards (invariant 5). Nothing may escape: it would kill
    /// that thread.
    fn wake_by_ref(self: &Arc<Self>) {
        let _ = foreign::run(|| {
            let errand = match thread::panicking() {
                true => TIMER.leave_futures_timer(),
                false => TIMER.ring(),
            };
            TIMER.run(errand);
        });
    }
}

/// A thread of our own, where futures-timer's is dead.
impl Timer {
    fn notify(&self) -> Option<Errand> {
        self.changed.notify_one();
        None
    }

    fn start_thread(&'static self) -> Option<Errand> {
        let thread = thread::Builder::new().name("failfast-clock".to_owned());
        if let Err(error) = thread.spawn(|| TIMER.keep_time()) {
            self.fail_all(&TimerError::new(format!(
                "no thread could be started to keep the time: {error}"
            )));
        }
        None
    }

    fn fail_all(&'static self, error: &TimerError) {
        let mut state = self.lock();
        state.alarm.no_thread();
        let failed = state.fail_all(error);
        drop(state);
        self.dispatcher.hand_over(failed);
    }

    fn keep_time(&'static self) -> ! {
        let mut state = self.lock();
        loop {
            let due = state.take_due(Instant::now());
            let earliest = state.heap.earliest();
            state.alarm.rings_at(earliest);
            state = match due.is_empty() {
                true => self.wait(state, earliest),
                false => self.hand_over(state, due),
            };
        }
    }

    fn hand_over(
        &'static self,
        state: MutexGuard<'static, State>,
        due: Vec<Waker>,
    ) -> MutexGuard<'static, State> {
        drop(state);
        self.dispatcher.hand_over(due);
        self.lock()
    }

    fn wait(
        &'static self,
        state: MutexGuard<'static, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'static, State> {
        let Some(until) = until else {
            return self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        let patience = until.saturating_duration_since(Instant::now());
        let woken = self.changed.wait_timeout(state, patience);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }
}
