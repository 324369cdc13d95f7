//! The flag that a clock's wake-up sets, because a timer may have to be polled, and a view of it from any node below.
#![allow(
    unsafe_code,
    reason = "each poll of each task looks at the flag: finding its timer anew costs five times as much"
)]

use crate::sync::atomic::{AtomicBool, Ordering};
use std::ptr::NonNull;

/// A timer's flag.
#[derive(Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    /// Acquire: pairs with `set`, so a thread that sees the flag sees what the clock did before.
    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Release: pairs with `is_set`.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Cleared before the timer is polled, in its turn, so that a wake-up during the poll sets the flag again.
    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Release);
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
