//! The waker of a flight: it wakes every waiter.
//!
//! An allocation of its own, because a timer or a socket may keep a waker for long after the flight has landed, and must
//! not keep the flight's future, which need not be `Send`.
//!
//! # Invariants
//!
//! 1. A waiter is registered from a poll that returns pending until it is woken. Woken once, it is not woken again before
//!    its next poll, however often the flight is.
//! 2. `is_woken` is set by each wake and cleared before each poll of the flight begins. So it is set exactly while
//!    there may be news that no poll has looked at.
//! 3. No foreign code under the lock.

use crate::sync::Mutex;
use crate::unwind;
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::task::{Wake, Waker};

#[derive(Default)]
pub(super) struct Wakers(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: BTreeMap<u64, Waker>,
    is_woken: bool,
}

/// What a waiter's registration found.
pub(super) struct Registered {
    /// The waiter was registered already: it has been polled for a reason of its own.
    pub(super) before: bool,
    /// The flight was woken, and has not been polled since.
    pub(super) is_woken: bool,
}

impl Wakers {
    pub(super) fn register(&self, waiter: u64, waker: Waker) -> Registered {
        let mut state = self.0.lock();
        let old = state.waiting.insert(waiter, waker);
        let registered = Registered {
            before: old.is_some(),
            is_woken: state.is_woken,
        };
        drop(state);
        unwind::discard(old);
        registered
    }

    pub(super) fn remove(&self, waiter: u64) {
        let waker = self.0.lock().waiting.remove(&waiter);
        unwind::discard(waker);
    }

    /// A poll of the flight begins.
    pub(super) fn begin_poll(&self) {
        self.0.lock().is_woken = false;
    }

    /// A poll of the flight ended pending. Waiters that were woken during it, and found the flight being polled, are
    /// woken again, because the one that has polled it may never be polled again.
    pub(super) fn end_poll(&self) {
        if self.0.lock().is_woken {
            self.wake_all();
        }
    }

    pub(super) fn wake_all(&self) {
        let waiting = mem::take(&mut self.0.lock().waiting);
        waiting.into_values().for_each(unwind::wake);
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Set before the wakers are called, because a waiter that is woken reads it when it registers (invariant 2).
        self.0.lock().is_woken = true;
        self.wake_all();
    }
}
