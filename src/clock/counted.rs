//! A sleep by the system's clock that is armed while its count is above zero: what a context has for its deadline.
//!
//! A [`Sleep`](super::Sleep) belongs to one task at a time, and runs a clock's foreign code, so that a context that uses
//! one needs a turn, in which no lock is held. The system's clock needs neither: here a change of the count is one atomic
//! step, and where it becomes one or zero, the lock that arms or disarms also decides between threads that do both at once.
//!
//! # Invariants
//!
//! 1. `armed` is read and written under the lock of the shard `home` of this process's timer alone. `home` is set before
//!    that lock is taken for the first time, by the thread that raised the count from zero: while it arms, no other does.
//!    (A child that no fork handler saw must not use one context on two threads before it has armed a sleep: until then
//!    they may take the parent's timer for their own.)
//! 2. While the count is above zero and the owner has not ended, the sleep is armed, or it has ended and its waker is about
//!    to run, or the thread that raised the count from zero is on its way to arm it.
//! 3. While the count is zero, or the owner has ended, the sleep is not armed, or the thread that changed that is on its way,
//!    or else the one that raised the count is on its way to register: it finds the end there, and lowers the count.
//! 4. No foreign code runs under the lock: the waker is the owner's, and is dropped while the lock is free.
//! 5. What was armed by a parent process is neither touched nor trusted (invariant 5 of `system`).

use super::entry::Entry;
use super::fork::OfProcess;
use super::heap::Key;
use super::shard::State;
use super::sleep::Outcome;
use super::system::{Timer, own_shard, timer, timer_checked, timer_if_made};
use super::time::Instant;
use crate::unwind;
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

/// Whose sleep it is. None of these is foreign code.
pub(crate) trait Sleeper {
    fn deadline(&self) -> Instant;

    /// Nothing is to be armed any more.
    fn has_ended(&self) -> bool;

    /// Woken when the sleep ends. It then calls [`CountedSleep::look`].
    fn waker(&self) -> Waker;
}

pub(crate) struct CountedSleep {
    /// How many want it armed.
    wanted: AtomicUsize,
    /// Which shard it is armed in, plus one. 0: it never was.
    home: AtomicUsize,
    armed: UnsafeCell<Option<Armed>>,
}

struct Armed {
    timer: &'static OfProcess<Timer>,
    key: Key,
}

// SAFETY: `armed` goes from thread to thread under a lock (invariant 1).
unsafe impl Sync for CountedSleep {}

impl CountedSleep {
    #[inline]
    pub(crate) fn new() -> Option<Self> {
        // The model checker sees neither the clock's locks nor what they guard.
        cfg!(not(failfast_loom)).then(|| Self {
            wanted: AtomicUsize::new(0),
            home: AtomicUsize::new(0),
            armed: UnsafeCell::new(None),
        })
    }

    pub(crate) fn wanted(&self) -> usize {
        self.wanted.load(Ordering::Acquire)
    }

    /// One more wants it armed. Ready if it has ended, which the owner is to see to.
    #[inline]
    pub(crate) fn want(&self, sleeper: &impl Sleeper) -> Poll<Outcome> {
        // AcqRel, here and below: a thread that finds a count sees what the one that left it had done, `home` above all.
        match self.wanted.fetch_add(1, Ordering::AcqRel) {
            0 => self.look(sleeper),
            _ => Poll::Pending,
        }
    }

    /// `less` want it no longer.
    #[inline]
    pub(crate) fn unwant(&self, less: usize) {
        if self.wanted.fetch_sub(less, Ordering::AcqRel) == less {
            self.disarm(|| self.wanted() == 0);
        }
    }

    /// The owner has ended.
    pub(crate) fn stop(&self) {
        self.disarm(|| true);
    }

    /// Arms it where it should be and is not. Ready if it has ended.
    #[inline]
    pub(crate) fn look(&self, sleeper: &impl Sleeper) -> Poll<Outcome> {
        let (timer, home) = (timer(), self.home());
        let mut state = timer.shards[home].lock();
        // SAFETY: under the lock.
        if let Some(polled) = unsafe { self.poll(&mut state, timer, sleeper) } {
            return polled;
        }
        if state.covers(sleeper.deadline()) {
            // SAFETY: under the lock.
            unsafe { self.insert(&mut state, timer, sleeper) };
            return Poll::Pending;
        }
        drop(state);
        self.arm_with_care(sleeper, home)
    }

    #[cold]
    fn arm_with_care(&self, sleeper: &impl Sleeper, home: usize) -> Poll<Outcome> {
        let (now, deadline) = (Instant::now(), sleeper.deadline());
        if deadline <= now {
            return Poll::Ready(Ok(()));
        }
        let timer = timer_checked();
        {
            let mut state = timer.shards[home].lock();
            // SAFETY: under the lock.
            if let Some(polled) = unsafe { self.poll(&mut state, timer, sleeper) } {
                return polled;
            }
            if timer.sees_forks() {
                state.promise(deadline);
            }
            // SAFETY: under the lock.
            unsafe { self.insert(&mut state, timer, sleeper) };
        }
        Timer::keep_promise(timer, deadline, now);
        Poll::Pending
    }

    /// `None`: it is to be armed.
    ///
    /// # Safety
    ///
    /// `state` is that of `home`, of `timer`, which is this process's.
    #[inline]
    unsafe fn poll(
        &self,
        state: &mut State,
        timer: &'static OfProcess<Timer>,
        sleeper: &impl Sleeper,
    ) -> Option<Poll<Outcome>> {
        // SAFETY: invariant 1, by the caller's promise.
        let armed = unsafe { &mut *self.armed.get() };
        if let Some(ours) = armed.take_if(|armed| ptr::eq(armed.timer, timer)) {
            let outcome = match state.heap.get(&ours.key) {
                Entry::Waiting(_) => {
                    *armed = Some(ours);
                    return Some(Poll::Pending);
                }
                Entry::Fired => Ok(()),
                Entry::Failed(error) => Err(error.clone()),
            };
            state.heap.remove(ours.key); // without a waker any more
            return Some(Poll::Ready(outcome));
        }
        let needless = self.wanted() == 0 || sleeper.has_ended();
        needless.then_some(Poll::Pending)
    }

    /// # Safety
    ///
    /// As [`poll`](Self::poll).
    #[inline]
    unsafe fn insert(
        &self,
        state: &mut State,
        timer: &'static OfProcess<Timer>,
        sleeper: &impl Sleeper,
    ) {
        let entry = Entry::Waiting(sleeper.waker());
        let key = state.heap.insert(sleeper.deadline(), entry);
        // SAFETY: invariant 1, by the caller's promise.
        unsafe { *self.armed.get() = Some(Armed { timer, key }) };
    }

    #[inline]
    fn disarm(&self, if_so: impl FnOnce() -> bool) {
        let Some(home) = self.home.load(Ordering::Acquire).checked_sub(1) else {
            return;
        };
        // Without a timer of its own nothing is armed by this process (invariant 5).
        let Some(timer) = timer_if_made() else {
            return;
        };
        let mut state = timer.shards[home].lock();
        if !if_so() {
            return; // it was wanted again before the lock was ours
        }
        // SAFETY: invariant 1.
        let armed = unsafe { (*self.armed.get()).take() };
        let ours = armed.filter(|armed| ptr::eq(armed.timer, timer));
        let entry = ours.map(|armed| state.heap.remove(armed.key));
        drop(state);
        unwind::discard(entry);
    }

    #[inline]
    fn home(&self) -> usize {
        match self.home.load(Ordering::Acquire) {
            0 => {
                let own = own_shard();
                self.home.store(own + 1, Ordering::Release);
                own
            }
            home => home - 1,
        }
    }
}

/// While it waits, its waker keeps the owner alive: only one that has ended may still be in the list.
impl Drop for CountedSleep {
    #[inline]
    fn drop(&mut self) {
        if self.armed.get_mut().is_some() {
            self.stop();
        }
    }
}

#[cfg(all(test, not(failfast_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;
    use std::task::Wake;
    use std::thread;
    use std::time::Duration;

    /// A sleep and what a context has around it.
    struct Owner {
        sleep: CountedSleep,
        deadline: Instant,
        ended: AtomicBool,
        woken: mpsc::Sender<()>,
    }

    impl Owner {
        fn new(left: Duration) -> (Arc<Self>, mpsc::Receiver<()>) {
            let (woken, is_woken) = mpsc::channel();
            let owner = Self {
                sleep: CountedSleep::new().unwrap(),
                deadline: Instant::now() + left,
                ended: AtomicBool::new(false),
                woken,
            };
            (Arc::new(owner), is_woken)
        }

        fn want(self: &Arc<Self>) -> Poll<Outcome> {
            self.sleep.want(&Lent(self))
        }

        fn look(self: &Arc<Self>) -> Poll<Outcome> {
            self.sleep.look(&Lent(self))
        }

        fn is_armed(&self) -> bool {
            let Some(home) = self.sleep.home.load(Ordering::Acquire).checked_sub(1) else {
                return false;
            };
            let state = timer().shards[home].lock();
            // SAFETY: under the lock.
            let armed = unsafe { &*self.sleep.armed.get() };
            armed
                .as_ref()
                .is_some_and(|armed| matches!(state.heap.get(&armed.key), Entry::Waiting(_)))
        }
    }

    struct Lent<'a>(&'a Arc<Owner>);

    impl Sleeper for Lent<'_> {
        fn deadline(&self) -> Instant {
            self.0.deadline
        }

        fn has_ended(&self) -> bool {
            self.0.ended.load(Ordering::Acquire)
        }

        fn waker(&self) -> Waker {
            Waker::from(self.0.clone())
        }
    }

    impl Wake for Owner {
        fn wake(self: Arc<Self>) {
            self.woken.send(()).unwrap();
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn armed_by_the_first_and_disarmed_by_the_last() {
        for count in [1, 2, 3, 100] {
            let (owner, _is_woken) = Owner::new(MINUTE);
            assert!(!owner.is_armed());
            for _ in 0..count {
                assert_eq!(owner.want(), Poll::Pending);
                assert!(owner.is_armed());
            }
            owner.sleep.unwant(count - 1);
            assert_eq!((owner.is_armed(), owner.sleep.wanted()), (true, 1));
            owner.sleep.unwant(1);
            assert!(!owner.is_armed());
            assert_eq!(
                Arc::strong_count(&owner),
                1,
                "what is disarmed keeps nothing alive"
            );
        }
    }

    #[test]
    fn armed_again_after_it_was_disarmed() {
        let (owner, _is_woken) = Owner::new(MINUTE);
        for _ in 0..100 {
            assert_eq!(owner.want(), Poll::Pending);
            assert!(owner.is_armed());
            owner.sleep.unwant(1);
            assert!(!owner.is_armed());
        }
    }

    #[test]
    fn a_deadline_that_has_passed_is_ready_and_arms_nothing() {
        let (owner, _is_woken) = Owner::new(Duration::ZERO);
        assert_eq!(owner.want(), Poll::Ready(Ok(())));
        assert!(!owner.is_armed());
        owner.sleep.unwant(1);
    }

    #[test]
    fn it_wakes_once_and_is_ready_then() {
        let (owner, is_woken) = Owner::new(Duration::from_millis(5));
        assert_eq!(owner.want(), Poll::Pending);
        is_woken.recv().unwrap();
        assert!(Instant::now() >= owner.deadline, "never early");
        assert_eq!(owner.look(), Poll::Ready(Ok(())));
        assert!(!owner.is_armed());
        owner.sleep.unwant(1);
        assert_eq!(is_woken.try_recv(), Err(mpsc::TryRecvError::Empty));
    }

    #[test]
    fn an_owner_that_has_ended_arms_nothing_and_stops_what_is_armed() {
        let (owner, _is_woken) = Owner::new(MINUTE);
        assert_eq!(owner.want(), Poll::Pending);
        owner.ended.store(true, Ordering::Release);
        owner.sleep.stop();
        assert!(!owner.is_armed());
        assert_eq!(owner.want(), Poll::Pending);
        assert_eq!(owner.look(), Poll::Pending);
        assert!(!owner.is_armed());
        owner.sleep.unwant(2);
        assert_eq!(owner.sleep.wanted(), 0);
    }

    /// Threads that come and go: whenever all of them have it wanted it is armed, and when none has it is not.
    #[test]
    fn of_arming_and_disarming_at_once_the_count_decides() {
        const THREADS: usize = 4;
        let (owner, _is_woken) = Owner::new(MINUTE);
        let barrier = Arc::new(std::sync::Barrier::new(THREADS));
        let come_and_go = |_| {
            let (owner, barrier) = (owner.clone(), barrier.clone());
            move || {
                for round in 0..2_000 {
                    assert_eq!(owner.want(), Poll::Pending);
                    if round % 100 == 0 {
                        barrier.wait();
                        assert!(owner.is_armed(), "wanted by all, and not armed");
                        barrier.wait();
                    }
                    owner.sleep.unwant(1);
                    if round % 100 == 50 {
                        barrier.wait();
                        assert!(!owner.is_armed(), "wanted by none, and armed");
                        barrier.wait();
                    }
                }
            }
        };
        let threads: Vec<_> = (0..THREADS).map(come_and_go).map(thread::spawn).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!((owner.is_armed(), Arc::strong_count(&owner)), (false, 1));
    }

    /// A wake-up may come late, when the last that wanted it has gone.
    #[test]
    fn looked_at_when_nothing_wants_it_it_arms_nothing() {
        let (owner, _is_woken) = Owner::new(MINUTE);
        assert_eq!(owner.want(), Poll::Pending);
        owner.sleep.unwant(1);
        assert_eq!(owner.look(), Poll::Pending);
        assert_eq!((owner.is_armed(), Arc::strong_count(&owner)), (false, 1));
    }

    #[test]
    fn stopped_before_it_was_ever_armed_it_can_be_armed() {
        let (owner, _is_woken) = Owner::new(MINUTE);
        owner.sleep.stop();
        assert_eq!(owner.want(), Poll::Pending);
        assert!(owner.is_armed());
        owner.sleep.unwant(1);
    }
}
