//! The state of a node in one word: alive, ended plainly, or ended by an [`End`].
//!
//! # States
//!
//! ```text
//! ALIVE ──set──▶ an End
//!   └──end_plainly──▶ a Plain ──get──▶ an End, made when it is first read
//! ```
//!
//! # Invariants
//!
//! 1. The word leaves `ALIVE` once, by one compare-and-swap: the first end wins.
//! 2. A word that is neither `ALIVE` nor a `Plain` is `Arc::into_raw` of an `End`. The slot owns that reference, and
//!    the word never changes again, so the `End` lives as long as the slot.
//! 3. Each store of an address releases, and each load acquires, so a thread that sees the address sees the `End`.
#![allow(unsafe_code, reason = "asking costs one load")]

use crate::error::End;
use crate::sync::atomic::{AtomicPtr, Ordering};
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;

/// Nothing has ended it.
const ALIVE: *mut End = ptr::null_mut();

/// An end that needs no more to be told than where its node was made: nobody may ever read it, so it is no [`End`] yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plain {
    /// The node's work is done.
    Finished,
    Canceled,
    CancellerDropped,
}

impl Plain {
    const ALL: [Self; 3] = [Self::Finished, Self::Canceled, Self::CancellerDropped];

    /// The word. No `End` has this address, because it is not aligned.
    const fn word(self) -> *mut End {
        ptr::without_provenance_mut(1 + self as usize)
    }

    #[inline]
    fn of(word: *mut End) -> Option<Self> {
        let index = word.addr().checked_sub(1)?;
        Self::ALL.get(index).copied()
    }

    pub(super) fn end(self, origin: &'static Location<'static>) -> Arc<End> {
        match self {
            Self::Finished => End::finished(origin),
            Self::Canceled => End::canceled(origin),
            Self::CancellerDropped => End::canceller_dropped(origin),
        }
    }
}

const _: () = assert!(align_of::<End>() > Plain::ALL.len());

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
    pub(super) fn end_plainly(&self, plain: Plain) -> bool {
        self.change(ALIVE, plain.word()).is_ok()
    }

    /// The end. One that is plain is made now, of a node that was made at `origin`; of several that are made at once, one
    /// stays.
    #[inline]
    pub(super) fn get(&self, origin: &'static Location<'static>) -> Option<Arc<End>> {
        let word = self.0.load(Ordering::Acquire);
        match Plain::of(word) {
            Some(plain) => Some(self.upgrade(plain, origin)),
            None => (word != ALIVE).then(|| share(word)),
        }
    }

    #[cold]
    fn upgrade(&self, plain: Plain, origin: &'static Location<'static>) -> Arc<End> {
        let new = Arc::into_raw(plain.end(origin)).cast_mut();
        match self.change(plain.word(), new) {
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
        if end != ALIVE && Plain::of(end).is_none() {
            // SAFETY: the slot owns this reference (invariant 2), and no reference to the slot is left.
            drop(unsafe { Arc::from_raw(end) });
        }
    }
}
