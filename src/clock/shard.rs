//! The sleeps of some of the threads, and what the alarm has promised them.
//!
//! 1. While the lock is free and `promise` is set, the alarm looks at this shard at the promised moment or before, or
//!    some thread is on its way to do so. It may look for nothing.
//! 2. While the lock is free, the promise is no later than the earliest deadline in here, or the thread that armed
//!    that sleep is on its way.
//! 3. A sleep ends under the lock, and its waker is registered under the lock: one of the two sees the other.
//! 4. No foreign code runs under the lock: wakers are cloned, woken and dropped while it is free.

use super::entry::{self, Entry};
use super::heap::{Heap, Key};
use super::sleep::{Outcome, TimerError};
use super::time::Instant;
use crate::unwind;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// How far past a deadline that was checked the check still holds: at most one
/// check for each such span of time, however many sleeps are armed.
const TRUST: Duration = Duration::from_millis(1);

/// So many sleeps end in one go: a crowd that is due at once must not keep others from arming.
const BATCH: usize = 256;

/// Aligned, so that two threads with a shard each share no cache line.
#[repr(align(128))]
pub(super) struct Shard {
    /// std's lock, and not `crate::sync`'s: [`end_due`](Shard::end_due) takes it again and again, and must let others in.
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) heap: Heap<Entry>,
    promise: Option<Instant>,
    /// Deadlines up to here need no check that a thread is there to keep the promise.
    trusted_until: Option<Instant>,
}

impl Shard {
    pub(super) fn new() -> Self {
        Shard {
            state: Mutex::new(State {
                heap: Heap::new(),
                promise: None,
                trusted_until: None,
            }),
        }
    }

    /// A poisoned lock is used on, because no foreign code runs under it.
    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Arms a sleep that may rely on the alarm as it is. Neither reads the clock nor calls the kernel.
    #[inline]
    pub(super) fn arm_trusting(&self, deadline: Instant, waker: Waker) -> Result<Key, Waker> {
        let mut state = self.lock();
        match state.covers(deadline) {
            true => Ok(state.heap.insert(deadline, Entry::Waiting(waker))),
            false => Err(waker),
        }
    }

    /// Arms a sleep for which the caller sets the alarm as soon as this returns. `lasting`: later sleeps may rely on
    /// that alarm.
    pub(super) fn arm(&self, deadline: Instant, waker: Waker, lasting: bool) -> Key {
        let mut state = self.lock();
        if lasting {
            state.promise(deadline);
        }
        state.heap.insert(deadline, Entry::Waiting(waker))
    }

    #[inline]
    pub(super) fn disarm(&self, key: Key) {
        let entry = self.lock().heap.remove(key);
        // Invariant 4: the lock is free again.
        unwind::discard(entry);
    }

    #[inline]
    pub(super) fn check(&self, key: &Key, waker: &Waker) -> Poll<Outcome> {
        entry::poll(|| self.lock(), |state| &mut state.heap, key, waker)
    }

    /// Ends what is due, and promises the next look for the earliest deadline left, which it returns.
    pub(super) fn end_due(&self, now: Instant, due: &mut Vec<Waker>) -> Option<Instant> {
        loop {
            let mut state = self.lock();
            if state.end_due(now, due) {
                let earliest = state.heap.earliest();
                state.promise = state.promise.and(earliest);
                return earliest;
            }
        }
    }

    /// No thread keeps the time: ends all sleeps with `error`, and takes the promise back.
    pub(super) fn fail_all(&self, error: &TimerError, failed: &mut Vec<Waker>) {
        let mut state = self.lock();
        state.promise = None;
        while let Some(entry) = state.heap.pop() {
            failed.extend(entry.end(Err(error.clone())));
        }
    }

    /// In a forked child: the wakers of its parent's sleeps, unless the parent held the lock.
    pub(super) fn bequeath(&self, wakers: &mut Vec<Waker>) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        while let Some(entry) = state.heap.pop() {
            wakers.extend(entry.end(Ok(())));
        }
    }
}

impl State {
    #[inline]
    pub(super) fn covers(&self, deadline: Instant) -> bool {
        self.promise.is_some_and(|at| at <= deadline)
            && self.trusted_until.is_some_and(|until| deadline <= until)
    }

    pub(super) fn promise(&mut self, deadline: Instant) {
        let earlier = self.promise.filter(|&at| at <= deadline);
        self.promise = earlier.or(Some(deadline));
        let trusted = deadline.checked_add(TRUST).unwrap_or(deadline);
        self.trusted_until = self.trusted_until.max(Some(trusted));
    }

    /// False if more are due.
    fn end_due(&mut self, now: Instant, due: &mut Vec<Waker>) -> bool {
        for _ in 0..BATCH {
            match self.heap.earliest() {
                Some(deadline) if deadline <= now => {
                    due.extend(self.heap.pop().and_then(|entry| entry.end(Ok(()))));
                }
                _ => return true,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn trusting(shard: &Shard, deadline: Instant) -> bool {
        match shard.arm_trusting(deadline, Waker::noop().clone()) {
            Ok(key) => {
                shard.disarm(key);
                true
            }
            Err(_) => false,
        }
    }

    /// A shard that was promised a look at the moment it gives, a minute from now, and a sleep until then.
    fn promised() -> (Shard, Instant, Key) {
        let at = Instant::now() + Duration::from_secs(60);
        let shard = Shard::new();
        assert!(!trusting(&shard, at));
        let key = shard.arm(at, Waker::noop().clone(), true);
        (shard, at, key)
    }

    #[test]
    fn relies_on_the_promise_soon_after_a_deadline_that_was_checked() {
        let (shard, at, _key) = promised();
        assert!(trusting(&shard, at) && trusting(&shard, at + TRUST));
        assert!(
            !trusting(&shard, at - MILLISECOND),
            "the look comes too late"
        );
        assert!(!trusting(&shard, at + TRUST + MILLISECOND), "to be checked");
    }

    #[test]
    fn no_promise_lasts_where_forks_go_unseen() {
        let at = Instant::now() + Duration::from_secs(60);
        let shard = Shard::new();
        let _key = shard.arm(at, Waker::noop().clone(), false);
        assert!(!trusting(&shard, at));
    }

    #[test]
    fn after_a_look_the_promise_is_for_the_earliest_left() {
        let (shard, at, key) = promised();
        let mut due = Vec::new();
        assert_eq!(shard.end_due(at - MILLISECOND, &mut due), Some(at));
        assert!(due.is_empty() && trusting(&shard, at));
        assert_eq!(shard.end_due(at, &mut due), None);
        assert_eq!(due.len(), 1);
        assert_eq!(shard.check(&key, Waker::noop()), Poll::Ready(Ok(())));
        assert!(!trusting(&shard, at), "no look is to come");
    }

    #[test]
    fn a_crowd_ends_in_batches_and_all_of_it() {
        for size in [0, 1, BATCH - 1, BATCH, BATCH + 1, 1000] {
            let shard = Shard::new();
            let at = Instant::now();
            let arm = |_| shard.arm(at, Waker::noop().clone(), true);
            let _keys: Vec<Key> = (0..size).map(arm).collect();
            let mut due = Vec::new();
            assert_eq!(shard.end_due(at, &mut due), None);
            assert_eq!(due.len(), size);
        }
    }

    #[test]
    fn a_child_takes_over_the_wakers_but_never_waits_for_the_lock() {
        let (shard, _, _key) = promised();
        let mut wakers = Vec::new();
        let held = shard.lock();
        shard.bequeath(&mut wakers);
        assert!(wakers.is_empty());
        drop(held);
        shard.bequeath(&mut wakers);
        assert_eq!(wakers.len(), 1);
    }
}
