//! The one switch between std's locks, atomics and cells and the model checker's.
//!
//! `Arc` and `OnceLock` are std's in both worlds.

#[cfg(failfast_loom)]
use loom::sync as primitives;
#[cfg(not(failfast_loom))]
use std::sync as primitives;

pub(crate) use primitives::atomic;

pub(crate) use primitives::MutexGuard;

#[cfg(failfast_loom)]
pub(crate) use loom::cell::UnsafeCell;
use std::sync::PoisonError;

/// What is in an atomic that nobody else can reach. The model checker does not see what std's `Arc` orders, so
/// there it takes a step of its own, which sees the latest.
#[inline]
pub(crate) fn sole(word: &mut atomic::AtomicU8) -> u8 {
    #[cfg(failfast_loom)]
    return word.fetch_or(0, atomic::Ordering::AcqRel);
    #[cfg(not(failfast_loom))]
    *word.get_mut()
}

/// A lock that ignores poisoning: what it guards is left consistent before any
/// foreign code runs, so a panic elsewhere is no reason to refuse it.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(primitives::Mutex<T>);

impl<T> Mutex<T> {
    #[inline]
    pub(crate) fn new(value: T) -> Self {
        Mutex(primitives::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// std's, with the model checker's face, which sees every access.
#[cfg(not(failfast_loom))]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(failfast_loom))]
impl<T> UnsafeCell<T> {
    #[inline]
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// To read what is in it.
    #[inline]
    pub(crate) fn with<R>(&self, look: impl FnOnce(*const T) -> R) -> R {
        look(self.0.get())
    }

    /// To write to it.
    #[inline]
    pub(crate) fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
        change(self.0.get())
    }
}

/// Keeps what every thread writes out of the cache lines of what every thread reads.
///
/// By room on both sides, not by alignment: allocators take long to align.
#[repr(C)]
pub(crate) struct Apart<T> {
    before: Room,
    value: T,
    after: Room,
}

/// A cache line that nobody uses.
pub(crate) type Room = [std::mem::MaybeUninit<u8>; 64];

pub(crate) const ROOM: Room = [const { std::mem::MaybeUninit::uninit() }; 64];

impl<T> Apart<T> {
    #[inline]
    pub(crate) const fn new(value: T) -> Self {
        Self {
            before: ROOM,
            value,
            after: ROOM,
        }
    }
}

impl<T> std::ops::Deref for Apart<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}
