//! Real time: one timer for the whole process, one alarm for all its sleeps.
//!
//! Most deadlines never come. So arming a sleep is a push under a lock, and
//! dropping it a removal; only a deadline earlier than all others of its shard
//! has to look at the alarm, and only one earlier than all others has to set it,
//! which costs a thread switch. Each thread arms in a shard of its own, as far
//! as there are enough, so that two threads share nothing on this path.
//!
//! ```text
//! shard 0       ──┬───────┬──────────┬──▶      a heap and a lock each
//! shard 1       ──┆────┬──┆──┬───────┆──▶
//! alarm           ▲    ┆  ┆  ┆       ┆         one Delay, for the earliest
//! it rings        ╰─ take what is due, set the next ▲, hand the wakers over
//! ```
//!
//! 1. The alarm is set for the earliest promise of any shard (`shard.rs`) or
//!    for an earlier moment, or some thread is on its way to set it or to look.
//!    It may ring for nothing.
//! 2. No thread holds two locks. futures-timer is called under none.
//! 3. The thread that rings never runs a foreign waker, unless no other thread
//!    can be had.
//! 4. If futures-timer's thread dies, it wakes all that wait for it while it
//!    unwinds, our timer too, and fails what comes later: each leads to a thread
//!    of our own.
//! 5. A forked child makes a timer of its own (`fork.rs`), and neither locks
//!    nor drops anything of its parent's: another thread may have held that
//!    lock. It wakes what waited with its parent, which then arms again.
//! 6. Nothing of the user's is polled here, so no timer is polled inside its own
//!    poll.

use super::alarm::{Alarm, Errand};
use super::dispatch::Dispatcher;
use super::fork::{OfProcess, PerProcess};
use super::heap::Key;
use super::shard::Shard;
use super::sleep::{Outcome, TimerError};
use super::time::Instant;
use super::{Clock, Sleep};
use crate::unwind;
use futures_timer::Delay;
use std::cell::Cell;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

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
/// # Forked processes
///
/// Every sleep that a forked child polls fires there, kept by a thread of the
/// child's own; those that it inherited are woken when the child first uses
/// this clock, and arm again. (If the parent had never used this clock, but
/// another of its crates had used futures-timer, then a sleep in the child
/// relies on a thread that has ended, which can't be seen.)
///
/// # Errors
///
/// Its sleeps end with [`TimerError`] where no thread can be started, and in the tasks of a thread-bound group whose
/// executor's wakers panic on other threads (monoio's, without its feature `sync`). A [`LocalClock`](super::LocalClock) is
/// the cure.
///
/// # Examples
///
/// ```
/// use failfast::clock::{Clock, SystemClock};
/// use std::time::Duration;
///
/// let deadline = SystemClock.now() + Duration::from_millis(1);
/// smol::block_on(SystemClock.sleep_until(deadline))?;
/// assert!(SystemClock.now() >= deadline);
/// # Ok::<(), failfast::clock::TimerError>(())
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
            armed: None,
        })
    }
}

pub(super) struct SystemSleep {
    deadline: Instant,
    armed: Option<Armed>,
}

/// Where a sleep is armed.
struct Armed {
    timer: &'static OfProcess<Timer>,
    shard: usize,
    key: Key,
}

impl SystemSleep {
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    #[inline]
    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<Outcome> {
        match &self.armed {
            // Invariant 5: what a parent armed is armed again.
            Some(armed) if armed.timer.is_ours() => {
                armed.timer.shards[armed.shard].check(&armed.key, waker)
            }
            _ => self.arm(waker),
        }
    }

    #[inline]
    fn arm(&mut self, waker: &Waker) -> Poll<Outcome> {
        self.armed = arm(self.deadline, waker.clone());
        match self.armed {
            Some(_) => Poll::Pending,
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for SystemSleep {
    #[inline]
    fn drop(&mut self) {
        match self.armed.take() {
            Some(armed) if armed.timer.is_ours() => {
                armed.timer.shards[armed.shard].disarm(armed.key);
            }
            _ => {}
        }
    }
}

/// A power of two. A ringing alarm looks at each, at 20 ns or so.
const SHARDS: usize = 16;

static TIMER: PerProcess<Timer> = PerProcess::new();

pub(super) struct Timer {
    pub(super) shards: [Shard; SHARDS],
    alarm: Mutex<Alarm>,
    /// For our own thread: the alarm is set for an earlier moment.
    changed: Condvar,
    dispatcher: Dispatcher,
}

/// This process's timer.
#[inline]
pub(super) fn timer() -> &'static OfProcess<Timer> {
    TIMER.get(Timer::new, Timer::inherit)
}

/// The same, if this process has made one: a child that only drops what it inherited needs none.
#[inline]
pub(super) fn timer_if_made() -> Option<&'static OfProcess<Timer>> {
    TIMER.made()
}

/// The same, also after a fork that no handler saw. Costs a system call.
pub(super) fn timer_checked() -> &'static OfProcess<Timer> {
    loop {
        let timer = timer();
        if timer.check() {
            return timer;
        }
    }
}

/// The threads that run foreign code for this process.
#[cfg_attr(
    failfast_loom,
    allow(dead_code, reason = "models have no executor to spare")
)]
pub(super) fn dispatcher() -> &'static Dispatcher {
    let timer: &'static Timer = timer_checked();
    &timer.dispatcher
}

/// This thread's shard. Threads take turns.
#[inline]
pub(super) fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| {
        // Relaxed, because any spread over the shards is correct.
        let shard = (own.get()).unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        own.set(Some(shard));
        shard
    })
}

/// `None` if the deadline is past.
#[inline]
fn arm(deadline: Instant, waker: Waker) -> Option<Armed> {
    let (timer, shard) = (timer(), own_shard());
    match timer.shards[shard].arm_trusting(deadline, waker) {
        Ok(key) => Some(Armed { timer, shard, key }),
        Err(waker) => arm_with_care(deadline, waker, shard),
    }
}

#[cold]
fn arm_with_care(deadline: Instant, waker: Waker, shard: usize) -> Option<Armed> {
    let now = Instant::now();
    if deadline <= now {
        unwind::discard(waker);
        return None;
    }
    let timer = timer_checked();
    let key = timer.shards[shard].arm(deadline, waker, timer.sees_forks());
    Timer::keep_promise(timer, deadline, now);
    Some(Armed { timer, shard, key })
}

impl Timer {
    fn new(forked: bool) -> Self {
        Timer {
            shards: std::array::from_fn(|_| Shard::new()),
            alarm: Mutex::new(Alarm::new(forked)),
            changed: Condvar::new(),
            dispatcher: Dispatcher::new(),
        }
    }

    /// Invariant 5.
    fn inherit(&'static self, parents: &'static Timer) {
        let mut wakers = Vec::new();
        for shard in &parents.shards {
            shard.bequeath(&mut wakers);
        }
        self.dispatcher.hand_over(wakers);
    }

    fn alarm(&self) -> MutexGuard<'_, Alarm> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ringing, and setting the alarm anew.
impl Timer {
    /// Has the alarm set for `deadline`, if it is not set for an earlier moment. No lock is held.
    pub(super) fn keep_promise(&'static self, deadline: Instant, now: Instant) {
        let errand = self.alarm().rely(deadline, now);
        self.run(errand);
    }

    fn ring(&'static self) -> Option<Errand> {
        let now = Instant::now();
        let rang = self.alarm().rang(now);
        rang.then(|| self.look(now)).flatten()
    }

    /// Ends what is due, and sets the alarm for what is left.
    fn look(&'static self, now: Instant) -> Option<Errand> {
        let mut due = Vec::new();
        let looks = self.shards.iter().map(|shard| shard.end_due(now, &mut due));
        let earliest = looks.flatten().min();
        let errand = earliest.and_then(|at| self.alarm().rely(at, now));
        self.dispatcher.hand_over(due);
        errand
    }

    /// Runs an errand, and those it leads to. No lock is held.
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
        match unwind::contain(|| self.delay_until(at)) {
            Ok((delay, Poll::Pending)) => self.keep(delay, generation),
            Ok((_, Poll::Ready(()))) => self.ring(),
            // Invariant 4: `timer has gone away`.
            Err(payload) => {
                unwind::discard(payload);
                self.leave_futures_timer()
            }
        }
    }

    fn keep(&self, delay: Delay, generation: u64) -> Option<Errand> {
        let useless = self.alarm().keep(delay, generation);
        drop(useless);
        None
    }

    fn leave_futures_timer(&self) -> Option<Errand> {
        let (delay, errand) = self.alarm().leave_futures_timer();
        drop(delay);
        errand
    }

    /// A `Delay` is made anew each time: a reset of one that fired would not notice
    /// that its thread is dead.
    fn delay_until(&'static self, at: Instant) -> (Delay, Poll<()>) {
        let mut delay = Delay::new(at.saturating_duration_since(Instant::now()));
        let ring = Waker::from(Arc::new(Ring(self)));
        let polled = Future::poll(Pin::new(&mut delay), &mut task::Context::from_waker(&ring));
        (delay, polled)
    }
}

/// What futures-timer wakes.
struct Ring(&'static Timer);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// Called on futures-timer's thread; also while that thread unwinds, and
    /// never again afterwards (invariant 4). Nothing may escape: it would kill
    /// that thread.
    fn wake_by_ref(self: &Arc<Self>) {
        unwind::shield("the timer", || {
            let errand = match thread::panicking() {
                true => self.0.leave_futures_timer(),
                false => self.0.ring(),
            };
            self.0.run(errand);
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
        if let Err(error) = thread.spawn(|| self.keep_time()) {
            self.fail_all(&TimerError::new(format!(
                "no thread could be started to keep the time: {error}"
            )));
        }
        None
    }

    fn fail_all(&'static self, error: &TimerError) {
        self.alarm().no_thread();
        let mut failed = Vec::new();
        for shard in &self.shards {
            shard.fail_all(error, &mut failed);
        }
        self.dispatcher.hand_over(failed);
    }

    fn keep_time(&'static self) -> ! {
        loop {
            self.wait_for_ring();
            let errand = self.look(Instant::now());
            self.run(errand);
        }
    }

    fn wait_for_ring(&self) {
        let mut alarm = self.alarm();
        loop {
            let now = Instant::now();
            if alarm.rang(now) {
                return;
            }
            let left = alarm.rings_at().map(|at| at.saturating_duration_since(now));
            alarm = self.wait(alarm, left);
        }
    }

    fn wait<'a>(
        &self,
        alarm: MutexGuard<'a, Alarm>,
        left: Option<Duration>,
    ) -> MutexGuard<'a, Alarm> {
        match left {
            None => self
                .changed
                .wait(alarm)
                .unwrap_or_else(PoisonError::into_inner),
            Some(left) => {
                let woken = self.changed.wait_timeout(alarm, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}
