//! The state of a node in one word: alive, finished, or ended by an [`End`].
//!
//! # States
//!
//! ```text
//! ALIVE ──set──▶ an End
//!   └──finish──▶ FINISHED ──get──▶ an End, made when it is first read
//! ```
//!
//! # Invariants
//!
//! 1. The word leaves `ALIVE` once, by one compare-and-swap: the first end wins.
//! 2. A word that is neither `ALIVE` nor `FINISHED` is `Arc::into_raw` of an `End`. The slot owns that reference, and
//!    the word never changes again, so the `End` lives as long as the slot.
//! 3. Each store of an address releases, and each load acquires, so a thread that sees the address sees the `End`.
#![allow(unsafe_code, reason = "asking costs one load")]

use crate::error::End;
use crate::sync::atomic::{AtomicPtr, Ordering};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

/// Nothing has ended it.
const ALIVE: *mut End = ptr::null_mut();

/// It ended well, and the `End` has not been read yet. No `End` has this address, because it is not aligned.
const FINISHED: *mut End = ptr::without_provenance_mut(1);

pub(super) struct EndSlot(AtomicPtr<End>);

impl EndSlot {
    pub(super) fn new() -> Self {
        Self(AtomicPtr::new(ALIVE))
    }

    /// Whether it has ended (invariant 3: a caller that sees it ended sees what was done before).
    #[inline]
    pub(super) fn is_set(&self) -> bool {
        !self.0.load(Ordering::Acquire).is_null()
    }

    /// Ends it, unless it has ended. Returns whether this was the end.
    pub(super) fn set(&self, end: Arc<End>) -> bool {
        let new = Arc::into_raw(end).cast_mut();
        let won = self.change(ALIVE, new).is_ok();
        if !won {
            // SAFETY: made by `into_raw` above, and not stored.
            drop(unsafe { Arc::from_raw(new) });
        }
        won
    }

    /// Ends it without an `End`, unless it has ended. Returns whether this was the end.
    #[inline]
    pub(super) fn finish(&self) -> bool {
        self.change(ALIVE, FINISHED).is_ok()
    }

    /// The end. `make` makes the one of a node that finished; of several that are made at once, one stays.
    #[inline]
    pub(super) fn get(&self, make: impl FnOnce() -> Arc<End>) -> Option<Arc<End>> {
        match self.0.load(Ordering::Acquire) {
            ALIVE => None,
            FINISHED => Some(self.upgrade(make())),
            end => Some(share(end)),
        }
    }

    #[cold]
    fn upgrade(&self, end: Arc<End>) -> Arc<End> {
        let new = Arc::into_raw(end).cast_mut();
        match self.change(FINISHED, new) {
            Ok(_) => share(new),
            Err(other) => {
                // SAFETY: made by `into_raw` above, and not stored.
                drop(unsafe { Arc::from_raw(new) });
                share(other)
            }
        }
    }

    fn change(&self, from: *mut End, to: *mut End) -> Result<*mut End, *mut End> {
        // Release for what `to` points to, acquire for the `End` that came first (invariant 3).
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

/// Another reference to the `End` of a slot that the caller has borrowed.
#[inline]
fn share(end: *mut End) -> Arc<End> {
    // SAFETY: the slot owns this reference as long as it lives (invariant 2), and it is borrowed.
    let owned = ManuallyDrop::new(unsafe { Arc::from_raw(end) });
    Arc::clone(&owned)
}

impl Drop for EndSlot {
    fn drop(&mut self) {
        let end = self.0.load(Ordering::Acquire);
        if end != ALIVE && end != FINISHED {
            // SAFETY: the slot owns this reference (invariant 2), and no reference to the slot is left.
            drop(unsafe { Arc::from_raw(end) });
        }
    }
}
