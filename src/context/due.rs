//! The flag that a clock's wake-up sets, because a timer may have to be polled, and a view of it from any node below.
#![allow(
    unsafe_code,
    reason = "each poll of each task looks at the flag: finding its timer anew costs five times as much"
)]

use crate::sync::atomic::{AtomicU8, Ordering};
use std::ptr::NonNull;

/// The clock has woken the timer, which may have to be polled.
const DUE: u8 = 1;

/// The timer is being armed, polled or dropped, so that it does not show whether the deadline has passed.
const BUSY: u8 = 1 << 1;

/// A timer's flag.
#[derive(Default)]
pub(super) struct Flag(AtomicU8);

/// Work on a timer, until it is dropped.
pub(super) struct Work<'a> {
    flag: &'a Flag,
    /// Whether the timer was due.
    pub(super) was_due: bool,
}

impl Flag {
    /// Whether the clock has to be read for whether the deadline has passed. Acquire: pairs with `set` and with the end of
    /// the work, so a thread that sees the flag sees what the clock did before, and one that sees it clear what was found.
    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    pub(super) fn is_due(&self) -> bool {
        self.0.load(Ordering::Acquire) & DUE != 0
    }

    /// Release: pairs with `is_set`.
    pub(super) fn set(&self) {
        self.0.fetch_or(DUE, Ordering::Release);
    }

    /// Not due any more before the timer is polled, in its turn, so that a wake-up during the poll makes it due again.
    pub(super) fn work(&self) -> Work<'_> {
        let before = self.0.swap(BUSY, Ordering::AcqRel);
        Work {
            flag: self,
            was_due: before & DUE != 0,
        }
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // Release: pairs with `is_set`.
        self.flag.0.fetch_and(!BUSY, Ordering::Release);
    }
}

/// Where a flag is.
///
/// # Invariant
///
/// The flag is in the node that has the view, or in one above, which that node keeps alive. Nodes never move.
pub(super) struct View(NonNull<Flag>);

// SAFETY: a flag is `Sync`, and outlives the view by the invariant.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// # Safety
    ///
    /// The invariant.
    pub(super) unsafe fn of(flag: &Flag) -> Self {
        Self(NonNull::from(flag))
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        // SAFETY: the invariant.
        unsafe { self.0.as_ref() }.is_set()
    }
}
