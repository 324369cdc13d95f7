//! Whether the clock's threads can wake the tasks of this thread.
//!
//! A waker may be used on any thread, says its type. Those of some thread-bound runtimes panic there (monoio's, without its
//! feature `sync`), so that a task which waits for the system's clock would sleep for ever. Nothing about a waker shows
//! that. Nor does a wake-up of the task that is being polled: every executor only notes it, and polls the task again
//! by itself. So another thread has to wake a task that is asleep, while the task's own thread waits for what comes of it:
//!
//! ```text
//! the tasks' thread    ── a task: pending ── another's poll ── wait ──┬─ sound: the task is polled once more
//! another thread                                └── wake the task ────┘─ broken: it is woken here, and its wait refused
//! ```
//!
//! Only a group has what this takes, a task and another one that is polled on the same thread (`group/reach.rs`). And only
//! where it is thread-bound: an executor that wants `Send` tasks wakes them from everywhere.
//!
//! # States
//!
//! Of each kind of waker (wakers with one table of functions are of a kind), on each thread:
//!
//! ```text
//! Unknown ──▶ Sound       after `ENOUGH` wake-ups without a panic
//!    ├──────▶ Broken      after one panic
//!    └──────▶ Unfinished  a wake-up goes on for long: what comes of it is noted when it is over
//! ```
//!
//! One wake-up is not enough, because it shows nothing if the task had just been woken anyway.

use super::TimerError;
use std::task::{RawWakerVTable, Waker};

#[cfg(not(any(failfast_loom, all(target_family = "wasm", target_os = "unknown"))))]
mod threads;

#[cfg(any(failfast_loom, all(target_family = "wasm", target_os = "unknown")))]
pub(crate) use alone::{has_relied, is_broken, is_sound, rely, standing, try_out};
#[cfg(not(any(failfast_loom, all(target_family = "wasm", target_os = "unknown"))))]
pub(crate) use threads::{has_relied, is_broken, is_sound, rely, standing, try_out};

/// What is known of a kind of waker on this thread.
#[cfg_attr(
    any(failfast_loom, all(target_family = "wasm", target_os = "unknown")),
    allow(dead_code, reason = "all are sound there")
)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Unknown,
    Sound,
    Broken,
    Unfinished,
}

/// A waker's table of functions.
pub(crate) type WakerKind = *const RawWakerVTable;

#[inline]
pub(crate) fn kind_of(waker: &Waker) -> WakerKind {
    waker.vtable()
}

/// Why a wait can't go by the system's clock.
pub(crate) fn refusal() -> TimerError {
    TimerError::new(
        "the system's clock wakes tasks from a thread of its own, where this executor's wakers panic: go by the \
         runtime's own timers, as in `ctx.with_clock(LocalClock::new(monoio::time::sleep))`",
    )
}

/// One thread, or the model checker, whose threads are none of the clock's.
#[cfg(any(failfast_loom, all(target_family = "wasm", target_os = "unknown")))]
mod alone {
    use super::{Standing, WakerKind};
    use crate::unwind;
    use std::task::Waker;

    pub(crate) fn is_broken(_: &Waker) -> bool {
        false
    }

    pub(crate) fn is_sound(_: &Waker) -> bool {
        true
    }

    pub(crate) fn rely() {}

    pub(crate) fn has_relied() -> bool {
        false
    }

    pub(crate) fn standing(_: WakerKind) -> Standing {
        Standing::Sound
    }

    pub(crate) fn try_out(_: WakerKind, sleeper: Waker) -> Standing {
        unwind::wake(sleeper);
        Standing::Sound
    }
}
