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
use std::sync::{PoisonError, TryLockError};

/// A lock that ignores poisoning, because what it guards is left consistent before any foreign code runs.
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

    /// `None` if another thread holds the lock.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// std's cell with the interface of the model checker's, which sees every access.
#[cfg(not(failfast_loom))]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(failfast_loom))]
impl<T> UnsafeCell<T> {
    #[inline]
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// For reading.
    #[inline]
    pub(crate) fn with<R>(&self, look: impl FnOnce(*const T) -> R) -> R {
        look(self.0.get())
    }

    /// For writing.
    #[inline]
    pub(crate) fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
        change(self.0.get())
    }
}

/// An address that no other living thread has.
#[cfg(not(failfast_loom))]
pub(crate) fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// The model checker's threads share one of the system's.
#[cfg(failfast_loom)]
pub(crate) fn this_thread() -> usize {
    loom::thread_local! {
        static HERE: Box<u8> = Box::new(0);
    }
    HERE.with(|here| std::ptr::from_ref(&**here).addr())
}
