//! A lock for the few instructions that the library runs under one.
//!
//! Taking it is one atomic read-modify-write, and giving it back is a store: half of what a lock costs that must see
//! on its release whether a thread sleeps for it, and a fan-out takes two locks a task. The price is paid by a thread
//! that finds it held, which is rare and short, because no foreign code runs under it: it spins for a moment, then
//! yields, then sleeps for moments that grow. So a thread of a higher priority than the holder's can't starve it.
//!
//! It is not fair, has no poisoning (what it guards is left consistent before any foreign code runs), and wakes no
//! thread. A loop that takes it again as soon as it has given it back keeps other threads out for as long as it runs,
//! because none of them is woken in between: such a loop must be short, or use std's lock, as the clock's shards do.
//!
//! # Invariant
//!
//! `held` is set by the one swap that found it clear, and cleared by the guard of that thread. In between the value is
//! that guard's alone.
#![allow(unsafe_code, reason = "see the invariant")]

use std::cell::UnsafeCell;
use std::fmt;
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often a thread looks, twice as long after each time, before it yields. In all some 100 ns.
const SPINS: u32 = 6;

/// After how many looks it sleeps; until then it yields.
const SLEEPS: u32 = SPINS + 32;

/// How long it sleeps first, and at most.
const NAPS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

#[derive(Default)]
pub(crate) struct Lock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value goes from thread to thread, one at a time, by the invariant.
unsafe impl<T: Send> Send for Lock<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Lock<T> {}

// As std's: a panic leaves the value consistent.
impl<T> UnwindSafe for Lock<T> {}
impl<T> RefUnwindSafe for Lock<T> {}

/// The value, until it is dropped.
#[must_use = "the lock is given back at once if the guard is dropped"]
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
    /// `Sync` only where the value is, and bound to its thread, as std's is.
    _value: PhantomData<(&'a mut T, *const ())>,
}

// SAFETY: `&Guard` gives `&T` alone.
unsafe impl<T: Sync> Sync for Guard<'_, T> {}

impl<T> Lock<T> {
    #[inline]
    pub(crate) const fn new(value: T) -> Self {
        Self {
            held: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        match self.try_lock() {
            Some(guard) => guard,
            None => self.wait(),
        }
    }

    /// `None` if it is held.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        // Acquire: pairs with the release of the guard before, so this holder sees the value as that one left it.
        let held = self.held.swap(true, Ordering::Acquire);
        // Made only if it is ours, because its drop gives the lock back.
        (!held).then(|| Guard {
            lock: self,
            _value: PhantomData,
        })
    }

    #[cold]
    fn wait(&self) -> Guard<'_, T> {
        let mut tries = 0;
        loop {
            Pause::after(tries).run();
            tries = tries.saturating_add(1);
            // A look first, because a swap would take the cache line from the holder. Relaxed, because `try_lock` acquires.
            if !self.held.load(Ordering::Relaxed) {
                if let Some(guard) = self.try_lock() {
                    return guard;
                }
            }
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

/// What a thread does before it looks again.
#[derive(Debug, PartialEq)]
enum Pause {
    Spin(u32),
    Yield,
    Sleep(Duration),
}

impl Pause {
    fn after(tries: u32) -> Self {
        match tries {
            0..SPINS => Self::Spin(1 << tries),
            SPINS..SLEEPS => Self::Yield,
            SLEEPS.. => {
                let doubled = 1 << (tries - SLEEPS).min(16);
                Self::Sleep(NAPS.0.saturating_mul(doubled).min(NAPS.1))
            }
        }
    }

    fn run(self) {
        match self {
            Self::Spin(times) => (0..times).for_each(|_| spin_loop()),
            Self::Yield => thread::yield_now(),
            Self::Sleep(time) => thread::sleep(time),
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value is the guard's (the invariant).
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the value is the guard's (the invariant).
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the acquire in `try_lock`, so the next holder sees what was done to the value. A store and not
        // a read-modify-write, because no thread registers to be woken.
        self.lock.held.store(false, Ordering::Release);
    }
}

impl<T: fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Lock");
        match self.try_lock() {
            Some(guard) => debug.field("value", &*guard),
            None => debug.field("value", &format_args!("<held>")),
        };
        debug.finish()
    }
}

#[cfg(all(test, not(failfast_loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Arc, mpsc};

    #[test]
    fn it_is_held_until_the_guard_is_dropped() {
        let lock = Lock::new(1);
        let mut guard = lock.lock();
        assert!(lock.try_lock().is_none());
        *guard = 2;
        drop(guard);
        assert_eq!(*lock.lock(), 2);
    }

    #[test]
    fn a_panic_gives_it_back() {
        let lock = Lock::new(1);
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = lock.lock();
            panic!("under the lock");
        }));
        assert!(unwound.is_err() && lock.try_lock().is_some());
    }

    #[test]
    fn no_step_of_many_threads_is_lost() {
        for threads in [2, 3, 8, 33] {
            let lock = Arc::new(Lock::new(0));
            let inside = Arc::new(AtomicUsize::new(0));
            let each = |_| {
                let (lock, inside) = (lock.clone(), inside.clone());
                thread::spawn(move || {
                    for _ in 0..10_000 {
                        let mut guard = lock.lock();
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                        *guard += 1;
                        inside.fetch_sub(1, Ordering::Relaxed);
                    }
                })
            };
            let running: Vec<_> = (0..threads).map(each).collect();
            running
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            assert_eq!(*lock.lock(), threads * 10_000);
        }
    }

    /// It spins, yields and sleeps, and then takes the lock.
    #[test]
    fn whoever_waits_long_gets_it_in_the_end() {
        let lock = Arc::new(Lock::new(0));
        let guard = lock.lock();
        let (waits, is_waiting) = mpsc::channel();
        let other = {
            let lock = lock.clone();
            thread::spawn(move || {
                waits.send(()).unwrap();
                *lock.lock() += 1;
            })
        };
        is_waiting.recv().unwrap();
        thread::sleep(Duration::from_millis(5)); // longer than it spins and yields; shorter would pass, too
        drop(guard);
        other.join().unwrap();
        assert_eq!(*lock.lock(), 1);
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let all: Vec<_> = [0, 5, 6, 37, 38, 39, 100, u32::MAX]
            .map(Pause::after)
            .into();
        let sleep = |micros| Pause::Sleep(Duration::from_micros(micros));
        let expected = [
            Pause::Spin(1),
            Pause::Spin(32),
            Pause::Yield,
            Pause::Yield,
            sleep(50),
            sleep(100),
            sleep(1_000),
            sleep(1_000),
        ];
        assert_eq!(all, expected);
    }
}
