//! A value that one thread at a time works on, with a count of the waiters for which it is kept.
//!
//! No thread waits for a turn: one that comes while another has it leaves a note, and the other then goes round once
//! more. So foreign code may run in a turn, where it must not run under a lock.
//!
//! # The word
//!
//! ```text
//! count of waiters … | BUSY | NOTE
//! ```
//!
//! # Invariants
//!
//! 1. `BUSY` is set by the one compare-and-swap that found it clear, and cleared by the holder of that turn. In between the
//!    value is that holder's alone.
//! 2. `NOTE` is set only while `BUSY` is. `BUSY` is cleared by a compare-and-swap that finds no `NOTE`, so no note is
//!    lost.
//! 3. Each change of the word acquires and releases: what one thread did to the value, and what another did before it left
//!    a note, is seen in the next turn.
#![allow(
    unsafe_code,
    reason = "a lock would cost two more atomic steps for arming and for disarming"
)]

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{UnsafeCell, this_thread};

const NOTE: usize = 1;
const BUSY: usize = 2;
const ONE: usize = 4;

pub(super) struct Turn<T> {
    word: AtomicUsize,
    /// Which thread has the turn, 0 for none. Each thread compares with itself alone.
    thread: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: the value goes from thread to thread, one at a time (invariant 1).
unsafe impl<T: Send> Sync for Turn<T> {}

/// A turn at a value. It has to be worked off.
#[must_use = "a turn that is dropped loses the notes that are left for it"]
pub(super) struct Held<'a, T>(&'a Turn<T>);

impl<T> Turn<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            word: AtomicUsize::new(0),
            thread: AtomicUsize::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// The count of waiters (Acquire: invariant 3).
    pub(super) fn wanted(&self) -> usize {
        self.word.load(Ordering::Acquire) / ONE
    }

    /// Adds a waiter. The turn is the caller's if it is the first.
    #[inline]
    pub(super) fn want(&self) -> Option<Held<'_, T>> {
        self.change(|count| count + 1, |count| count == 0)
    }

    /// Removes `less` waiters. The turn is the caller's if they were the last.
    #[inline]
    pub(super) fn unwant(&self, less: usize) -> Option<Held<'_, T>> {
        self.change(|count| count - less, |count| count == less)
    }

    /// The turn, or a note for the thread that has it.
    pub(super) fn claim(&self) -> Option<Held<'_, T>> {
        self.change(|count| count, |_| true)
    }

    /// Whether another thread has the turn.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.word.load(Ordering::Acquire) & BUSY != 0 && !self.is_mine() // Acquire: invariant 3
    }

    /// Whether this thread has the turn: the caller runs inside of it.
    pub(super) fn is_mine(&self) -> bool {
        // Relaxed, because a thread sees its own stores in their order, and other threads never store its address.
        self.thread.load(Ordering::Relaxed) == this_thread()
    }

    #[inline]
    fn change(
        &self,
        count: impl Fn(usize) -> usize,
        acts: impl Fn(usize) -> bool,
    ) -> Option<Held<'_, T>> {
        // Relaxed, because the exchange acquires, and is tried again with the current word if this one is out of date.
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let acts = acts(word / ONE);
            let flag = match (acts, word & BUSY) {
                (false, _) => 0,
                (true, 0) => BUSY,
                (true, _) => NOTE,
            };
            let new = (count(word / ONE) * ONE) | (word & (BUSY | NOTE)) | flag;
            match self.swap(word, new) {
                Ok(()) => return (flag == BUSY).then(|| Held(self)),
                Err(other) => word = other,
            }
        }
    }

    /// Invariant 3.
    fn swap(&self, from: usize, to: usize) -> Result<(), usize> {
        self.word
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
    }

    /// Gives the turn back. True if there is a note: then it is kept.
    fn next(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let noted = word & NOTE != 0;
            let new = word & !if noted { NOTE } else { BUSY };
            match self.swap(word, new) {
                Ok(()) => return noted,
                Err(other) => word = other,
            }
        }
    }
}

impl<T> Held<'_, T> {
    /// Works on the value, and again for each note that was left meanwhile.
    pub(super) fn work(self, mut step: impl FnMut(&mut T)) {
        loop {
            self.0.thread.store(this_thread(), Ordering::Relaxed);
            // SAFETY: this thread has the turn (invariant 1), and the reference ends with the step.
            self.0.value.with_mut(|value| step(unsafe { &mut *value }));
            self.0.thread.store(0, Ordering::Relaxed);
            if !self.0.next() {
                return std::mem::forget(self);
            }
        }
    }
}

/// After a panic in a step.
impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.0.thread.store(0, Ordering::Relaxed);
        while self.0.next() {}
    }
}

#[cfg(all(test, not(failfast_loom)))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// With a note or without: those that come later have turns, one step each.
    #[test]
    fn turn_is_free_after_a_panic_in_a_step() {
        for notes in 0..3 {
            let turn = Turn::new(0);
            let step = |_: &mut i32| {
                for _ in 0..notes {
                    assert!(turn.claim().is_none(), "a note for this very turn");
                }
                panic!("in a step");
            };
            let held = turn.claim().expect("it is free");
            assert!(catch_unwind(AssertUnwindSafe(|| held.work(step))).is_err());
            assert!(!turn.is_mine());
            turn.claim().expect("free again").work(|steps| *steps += 1);
            turn.claim().expect("and again").work(|steps| {
                *steps += 1;
                assert_eq!(*steps, 2, "with {notes} notes");
            });
        }
    }
}
