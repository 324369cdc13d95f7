//! What belongs to one process and not to its forked children.
//!
//! A forked child has a copy of its parent's memory and none of its threads: a lock that another thread held is
//! locked for ever, and a timer's thread doesn't exist. So a child must not touch what it inherited, but make its
//! own. This is checked before anything is trusted, hence at each arming of a sleep; `getpid` is a system call
//! and would triple the price of one (100 to 140 ns measured, where arming and dropping take 60). Instead the C
//! library calls a handler in the child (`pthread_atfork`), which counts; the check is one load.
//!
//! A child made by a bare system call runs no such handler. It is noticed by its process id, wherever
//! [`OfProcess::check`] is called: at most a millisecond's worth of deadlines are armed unchecked.
//!
//! 1. `FORKS` only grows. In the child it is greater than it was in its parent before any other code runs there,
//!    or [`OfProcess::check`] makes it so.
//! 2. What [`PerProcess::current`] points to is null or leaked: a reference to it is valid for ever.
//! 3. The handler only adds to an atomic, which a child may do between `fork` and `exec`.

use std::ops::Deref;
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// How often this process and its ancestors were forked, as far as seen.
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// Whether the C library counts each fork from now on. (Miri has no `pthread_atfork`.)
#[cfg(all(
    not(miri),
    any(
        target_os = "linux",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
        target_os = "solaris",
        target_os = "illumos",
    )
))]
fn watch() -> bool {
    use std::ffi::c_int;
    use std::sync::atomic::AtomicBool;

    type Handler = Option<unsafe extern "C" fn()>;

    unsafe extern "C" {
        fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int;
    }

    extern "C" fn in_child() {
        // Relaxed, because the child has one thread.
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    static ASKED: AtomicBool = AtomicBool::new(false);
    static WATCHED: AtomicBool = AtomicBool::new(false);

    // A thread that finds `ASKED` set while another is still registering reads `WATCHED` as false, which only costs it a
    // reading of the process id for each use.
    if !ASKED.swap(true, Ordering::AcqRel) {
        // SAFETY: the signature is POSIX's. The handler keeps invariant 3, and a null pointer stands for none.
        let failed = unsafe { pthread_atfork(None, None, Some(in_child)) };
        WATCHED.store(failed == 0, Ordering::Release);
    }
    WATCHED.load(Ordering::Acquire)
}

/// Other systems that can fork: no handler counts, so each use reads the process id.
#[cfg(all(
    unix,
    any(
        miri,
        not(any(
            target_os = "linux",
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly",
            target_os = "solaris",
            target_os = "illumos",
        ))
    )
))]
fn watch() -> bool {
    false
}

/// No forks, nothing to watch.
#[cfg(not(unix))]
fn watch() -> bool {
    true
}

/// A static that each process makes for itself.
pub(super) struct PerProcess<T: 'static> {
    current: AtomicPtr<OfProcess<T>>,
}

/// The value of one process, with the sign that distinguishes it from its children's.
pub(super) struct OfProcess<T> {
    forks: usize,
    process: u32,
    watched: bool,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    pub(super) const fn new() -> Self {
        PerProcess {
            current: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The value of this process. `make` is passed whether a parent's was there before; if so, `inherit` is run once,
    /// with the new value and the parent's, which is never used again.
    #[inline]
    pub(super) fn get(
        &'static self,
        make: fn(forked: bool) -> T,
        inherit: fn(&'static T, parents: &'static T),
    ) -> &'static OfProcess<T> {
        // Acquire: pairs with the release in `renew`, which publishes what is pointed to.
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: invariant 2.
        match unsafe { current.as_ref() } {
            Some(value) if value.is_ours() => value,
            _ => self.renew(make, inherit),
        }
    }

    /// The value of this process, if it has made one.
    #[inline]
    pub(super) fn made(&'static self) -> Option<&'static OfProcess<T>> {
        // Acquire: as in `get`.
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: invariant 2.
        unsafe { current.as_ref() }.filter(|value| value.is_ours())
    }

    #[cold]
    fn renew(
        &'static self,
        make: fn(bool) -> T,
        inherit: fn(&'static T, &'static T),
    ) -> &'static OfProcess<T> {
        loop {
            // Acquire: as in `get`.
            let current = self.current.load(Ordering::Acquire);
            // SAFETY: invariant 2.
            let parents = unsafe { current.as_ref() };
            match parents {
                Some(value) if value.is_ours() => return value,
                _ => {}
            }
            let made = Box::into_raw(Box::new(OfProcess::new(make)));
            // AcqRel: publishes what `made` points to, and orders it after the parent's, which `inherit` reads. A failure
            // needs no more than `Acquire`, because the loop reads again.
            let published =
                self.current
                    .compare_exchange(current, made, Ordering::AcqRel, Ordering::Acquire);
            if published.is_err() {
                // SAFETY: `made` comes from `Box::into_raw` and was not published.
                drop(unsafe { Box::from_raw(made) });
                continue;
            }
            // SAFETY: `made` was published, and so is leaked (invariant 2).
            let made = unsafe { &*made };
            if let Some(parents) = parents {
                inherit(&made.value, &parents.value);
            }
            return made;
        }
    }
}

impl<T> OfProcess<T> {
    fn new(make: fn(bool) -> T) -> Self {
        let watched = watch();
        let forks = FORKS.load(Ordering::Relaxed);
        OfProcess {
            forks,
            process: process::id(),
            watched,
            value: make(forks > 0),
        }
    }

    /// Whether this process made it, as far as forks are seen. One load.
    #[inline]
    pub(super) fn is_ours(&self) -> bool {
        // Relaxed, because a fork orders everything before it, and a fork that no handler saw is found by `check`.
        self.forks == FORKS.load(Ordering::Relaxed)
    }

    /// Whether [`is_ours`](Self::is_ours) sees every fork that goes through the C library.
    pub(super) fn sees_forks(&self) -> bool {
        self.watched
    }

    /// [`is_ours`](Self::is_ours), also after a fork that no handler saw. A system call.
    pub(super) fn check(&self) -> bool {
        if self.process != process::id() {
            let seen = self.forks;
            // An exchange, because of several threads one has to count. Relaxed: see `is_ours`.
            let _ = FORKS.compare_exchange(seen, seen + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.is_ours()
    }
}

impl<T> Deref for OfProcess<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn one_value_a_process_whoever_asks_first() {
        static VALUE: PerProcess<AtomicUsize> = PerProcess::new();
        fn get() -> &'static OfProcess<AtomicUsize> {
            VALUE.get(|_| AtomicUsize::new(0), |_, _| panic!("nothing to inherit"))
        }
        let count = || {
            for _ in 0..100 {
                get().fetch_add(1, Ordering::Relaxed);
            }
        };
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(count)).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(get().load(Ordering::Relaxed), 400);
        assert!(get().check() && get().is_ours());
    }

    /// Two that are first at once: while one makes its value, the other publishes its own.
    #[test]
    fn value_that_comes_second_is_dropped_for_the_first() {
        static VALUE: PerProcess<Made> = PerProcess::new();
        static MADE: AtomicUsize = AtomicUsize::new(0);
        static DROPPED: AtomicUsize = AtomicUsize::new(0);
        struct Made(usize);
        impl Drop for Made {
            fn drop(&mut self) {
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
        }
        fn make() -> Made {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            if number == 0 {
                assert_eq!(get(), 1, "published first");
            }
            Made(number)
        }
        fn get() -> usize {
            let value = VALUE.get(|_| make(), |_, _| panic!("nothing to inherit"));
            value.0
        }
        assert_eq!(get(), 1);
        assert_eq!(get(), 1);
        assert_eq!(MADE.load(Ordering::Relaxed), 2);
        assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
    }
}
