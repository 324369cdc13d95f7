//! The one switch between std's locks and atomics and the model checker's.
//!
//! `Arc` and `OnceLock` are std's in both worlds.

#[cfg(failfast_loom)]
use loom::sync as primitives;
#[cfg(not(failfast_loom))]
use std::sync as primitives;

pub(crate) use primitives::atomic;

pub(crate) use primitives::MutexGuard;
use std::sync::PoisonError;

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
