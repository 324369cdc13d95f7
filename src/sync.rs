//! The one switch between our locks, std's atomics and cells, and the model checker's.
//!
//! `Arc` and `OnceLock` are std's in both worlds.

#[cfg_attr(
    failfast_loom,
    allow(dead_code, reason = "the model checker has its own")
)]
mod lock;
#[cfg(all(test, failfast_loom))]
pub(crate) mod model;

#[cfg(failfast_loom)]
use loom::sync as primitives;
#[cfg(not(failfast_loom))]
use std::sync as primitives;

pub(crate) use primitives::atomic;

#[cfg(not(failfast_loom))]
pub(crate) use lock::{Guard as MutexGuard, Lock as Mutex};

#[cfg(failfast_loom)]
pub(crate) use loom::{cell::UnsafeCell, sync::MutexGuard};

/// A lock that ignores poisoning, because what it guards is left consistent before any foreign code runs.
#[cfg(failfast_loom)]
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(failfast_loom)]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// `None` if another thread holds the lock.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
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
