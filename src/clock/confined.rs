//! Values that are touched on their own thread only, wherever their owner goes.
//!
//! The timers of thread-bound runtimes (monoio's, glommio's, a `LocalSet`'s) are not `Send`, but a context that waits
//! for one is. [`Confined`] is `Send` and `Sync`, and lends its value on its own thread alone. Dropped elsewhere, it
//! sends the value home:
//!
//! ```text
//! own thread       ── make ── poll ──────────────── open the mail: drop ──▶
//! another thread                └─ drop ─▶ mailbox ─┘
//! ```
//!
//! The mail is opened whenever its thread makes, lends or drops a confined value, and when that thread ends. What
//! arrives later is leaked, because no thread may touch it any more.
//!
//! 1. A [`Mailbox`] belongs to one thread, whose thread-local [`HOME`] alone holds it as its own. A box to which a
//!    reference exists is not freed, so no other box has its address: equal addresses mean the same thread.
//! 2. The value of a `Confined` is made on the thread of its `home`, and lent and dropped only where [`is_home`] says
//!    that this is that thread.
//! 3. A [`Parcel`] is opened only by the thread of the mailbox that it lies in. Elsewhere its drop does nothing.
//! 4. No value is dropped under a mailbox's lock, because its destructor is foreign code.
//! 5. No value is dropped inside of [`in_wake`], because some runtimes (compio) wake under the lock that their timers'
//!    destructors take. It is put [`ASIDE`], and dropped with the next mail. If the thread ends first, it is leaked: its
//!    runtime may have been dropped by then.

use crate::unwind;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A value and the thread that it belongs to.
pub(super) struct Confined<T: 'static> {
    home: Arc<Mailbox>,
    value: ManuallyDrop<T>,
}

// SAFETY: moving a `Confined` moves the bytes of its value and touches nothing that they refer to. The value itself
// stays with its thread (invariant 2), also when it is sent home (invariant 3).
unsafe impl<T> Send for Confined<T> {}

// SAFETY: a shared reference lends the value on its own thread only (invariant 2).
unsafe impl<T> Sync for Confined<T> {}

impl<T> Confined<T> {
    /// Confines a value to this thread. `None` while the thread ends, because then the mail would not be opened; the
    /// value was dropped.
    pub(super) fn new(make: impl FnOnce() -> T) -> Option<Self> {
        let home = home()?;
        home.open();
        Some(Confined {
            home,
            value: ManuallyDrop::new(make()),
        })
    }

    /// Whether this is the value's own thread.
    pub(super) fn is_here(&self) -> bool {
        is_home(&self.home)
    }

    /// The value, on its own thread.
    pub(super) fn get(&self) -> Option<&T> {
        self.is_here().then(|| &*self.value)
    }

    /// The value, on its own thread.
    pub(super) fn get_mut(&mut self) -> Option<&mut T> {
        self.is_here().then(|| &mut *self.value)
    }
}

impl<T> Drop for Confined<T> {
    fn drop(&mut self) {
        if self.is_here() {
            // SAFETY: the value is there until here, and this is its thread (invariant 2).
            drop_at_home(unsafe { ManuallyDrop::take(&mut self.value) });
            self.home.open();
        } else {
            // SAFETY: the value is there until here. It is only moved.
            let value = unsafe { ManuallyDrop::take(&mut self.value) };
            self.home.send(Parcel::new(value));
        }
    }
}

/// A value on its way to its own thread.
struct Parcel(ManuallyDrop<Box<dyn Any>>);

// SAFETY: as for `Confined`; opened at home only (invariant 3).
unsafe impl Send for Parcel {}

impl Parcel {
    /// Boxes a value without touching it.
    fn new<T: 'static>(value: T) -> Self {
        Parcel(ManuallyDrop::new(Box::new(value)))
    }
}

/// The values that other threads have sent home. `None` once the thread has ended.
struct Mailbox(Mutex<Option<Vec<Parcel>>>);

impl Mailbox {
    fn new() -> Self {
        Mailbox(Mutex::new(Some(Vec::new())))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Parcel>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the parcel to the mailbox's thread, or leaks it if that has ended.
    fn send(&self, parcel: Parcel) {
        if let Some(parcels) = &mut *self.lock() {
            parcels.push(parcel);
        }
    }

    /// Drops what has arrived, and what was put aside. Called on the mailbox's own thread.
    fn open(&self) {
        if is_in_wake() {
            return; // invariant 5
        }
        drop_all(ASIDE.try_with(RefCell::take).unwrap_or_default());
        let parcels = self.lock().as_mut().map(std::mem::take);
        drop_all(parcels.unwrap_or_default());
    }

    /// Drops what has arrived, and takes nothing in any more. Called on the mailbox's own thread.
    fn close(&self) {
        let parcels = self.lock().take();
        drop_all(parcels.unwrap_or_default());
    }
}

/// Called on the thread that the parcels belong to.
fn drop_all(parcels: Vec<Parcel>) {
    for Parcel(value) in parcels {
        unwind::discard(ManuallyDrop::into_inner(value));
    }
}

/// A thread's own mailbox; closed when the thread ends.
struct Home(Arc<Mailbox>);

impl Drop for Home {
    fn drop(&mut self) {
        self.0.close();
    }
}

thread_local! {
    /// Whether [`in_wake`] is running.
    static WAKING: Cell<bool> = const { Cell::new(false) };
    /// What invariant 5 keeps from being dropped. Its own destructor leaks it (invariant 3).
    static ASIDE: RefCell<Vec<Parcel>> = const { RefCell::new(Vec::new()) };
    static HOME: Home = Home(Arc::new(Mailbox::new()));
}

/// Runs what the wake-up of a timer leads to (invariant 5).
pub(crate) fn in_wake<R>(work: impl FnOnce() -> R) -> R {
    struct Restore(bool);

    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = WAKING.try_with(|waking| waking.set(self.0));
        }
    }

    let before = WAKING.try_with(|waking| waking.replace(true));
    let _restore = before.ok().map(Restore);
    work()
}

/// Whether this is called from inside of the wake-up of a timer.
pub(crate) fn is_in_wake() -> bool {
    // The model checker's threads share one of the system's.
    !cfg!(failfast_loom) && WAKING.try_with(Cell::get).unwrap_or(false)
}

/// Called on the thread that the value belongs to.
fn drop_at_home<T: 'static>(value: T) {
    if !is_in_wake() {
        return unwind::discard(value);
    }
    let parcel = Parcel::new(value);
    // While the thread ends, the parcel is leaked.
    let _ = ASIDE.try_with(|aside| aside.borrow_mut().push(parcel));
}

/// This thread's mailbox, unless the thread is ending.
fn home() -> Option<Arc<Mailbox>> {
    HOME.try_with(|home| home.0.clone()).ok()
}

/// Whether `mailbox` is this thread's (invariant 1).
fn is_home(mailbox: &Arc<Mailbox>) -> bool {
    HOME.try_with(|home| Arc::ptr_eq(&home.0, mailbox))
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::panic::catch_unwind;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread::{self, ThreadId};

    /// Checks at every touch that it is on its own thread. Not `Send`.
    struct Bound {
        thread: ThreadId,
        drops: Arc<AtomicUsize>,
        _count: Rc<Cell<u32>>,
    }

    impl Bound {
        fn new(drops: &Arc<AtomicUsize>) -> Self {
            Bound {
                thread: thread::current().id(),
                drops: drops.clone(),
                _count: Rc::default(),
            }
        }

        fn touch(&self) {
            assert_eq!(thread::current().id(), self.thread, "touched elsewhere");
        }
    }

    impl Drop for Bound {
        fn drop(&mut self) {
            if thread::current().id() != self.thread {
                // A panic would be contained.
                std::process::abort();
            }
            self.drops.fetch_add(1, SeqCst);
        }
    }

    fn confined(drops: &Arc<AtomicUsize>) -> Confined<Bound> {
        Confined::new(|| Bound::new(drops)).expect("the thread is alive")
    }

    fn elsewhere<R: Send>(act: impl FnOnce() -> R + Send) -> R {
        thread::scope(|scope| scope.spawn(act).join().expect("no panic"))
    }

    #[test]
    fn lent_and_dropped_at_home() {
        let drops = Arc::default();
        let mut value = confined(&drops);
        value.get().expect("at home").touch();
        value.get_mut().expect("at home").touch();
        drop(value);
        assert_eq!(drops.load(SeqCst), 1);
    }

    #[test]
    fn not_lent_elsewhere_and_back_again() {
        let drops = Arc::default();
        let value = confined(&drops);
        let mut value = elsewhere(move || {
            let mut value = value;
            assert!(value.get().is_none() && value.get_mut().is_none() && !value.is_here());
            value
        });
        value.get_mut().expect("at home again").touch();
    }

    #[test]
    fn dropped_elsewhere_it_is_dropped_at_home_on_the_next_use() {
        let drops = Arc::default();
        let value = confined(&drops);
        elsewhere(move || drop(value));
        assert_eq!(drops.load(SeqCst), 0);
        drop(confined(&drops));
        assert_eq!(drops.load(SeqCst), 2);
    }

    #[test]
    fn dropped_elsewhere_it_is_dropped_when_its_thread_ends() {
        let drops: Arc<AtomicUsize> = Arc::default();
        let count = drops.clone();
        thread::spawn(move || {
            let value = confined(&count);
            elsewhere(move || drop(value));
            assert_eq!(count.load(SeqCst), 0);
        })
        .join()
        .expect("no panic");
        assert_eq!(drops.load(SeqCst), 1);
    }

    #[test]
    fn leaked_if_its_thread_is_gone() {
        let drops: Arc<AtomicUsize> = Arc::default();
        let count = drops.clone();
        let value = thread::spawn(move || confined(&count))
            .join()
            .expect("no panic");
        assert!(value.get().is_none());
        drop(value);
        assert_eq!((drops.load(SeqCst), Arc::strong_count(&drops)), (0, 2));
    }

    #[test]
    fn a_thread_that_ends_confines_nothing_more() {
        struct Late(Arc<AtomicUsize>);
        impl Drop for Late {
            fn drop(&mut self) {
                if Confined::new(|| ()).is_none() {
                    self.0.fetch_add(1, SeqCst);
                }
            }
        }
        thread_local! {
            static LATE: Cell<Option<Late>> = const { Cell::new(None) };
        }
        let refused: Arc<AtomicUsize> = Arc::default();
        let count = refused.clone();
        thread::spawn(move || {
            // Registered first, so destroyed last on most systems; either way nothing breaks.
            LATE.set(Some(Late(count)));
            drop(Confined::new(|| ()));
        })
        .join()
        .expect("no panic");
        assert!(refused.load(SeqCst) <= 1);
    }

    #[test]
    fn dropped_inside_of_a_wake_up_it_is_dropped_on_the_next_use_after_it() {
        let drops = Arc::default();
        let (value, other) = (confined(&drops), confined(&drops));
        elsewhere(move || drop(other)); // mail
        in_wake(|| {
            in_wake(|| ());
            drop(value);
            drop(confined(&drops));
            assert_eq!(drops.load(SeqCst), 0);
        });
        assert_eq!(drops.load(SeqCst), 0);
        drop(confined(&drops));
        assert_eq!(drops.load(SeqCst), 4);
    }

    #[test]
    fn dropped_inside_of_a_wake_up_it_is_leaked_if_its_thread_ends() {
        let drops: Arc<AtomicUsize> = Arc::default();
        let count = drops.clone();
        let thread = thread::spawn(move || in_wake(|| drop(confined(&count))));
        thread.join().expect("no panic");
        assert_eq!((drops.load(SeqCst), Arc::strong_count(&drops)), (0, 2));
    }

    #[test]
    fn one_destructor_that_panics_keeps_no_other_from_running() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let drops = Arc::default();
        let bombs = [0, 1].map(|_| Confined::new(|| Bomb).expect("the thread is alive"));
        let value = confined(&drops);
        elsewhere(move || drop((bombs, value)));
        catch_unwind(|| drop(Confined::new(|| Bomb))).expect("contained");
        assert_eq!(drops.load(SeqCst), 1);
    }

    #[test]
    fn a_destructor_may_drop_and_make_confined_values() {
        struct Chain(Option<Box<Confined<Chain>>>);
        impl Drop for Chain {
            fn drop(&mut self) {
                drop(self.0.take());
                drop(Confined::new(|| ()));
            }
        }
        let inner = Confined::new(|| Chain(None)).map(Box::new);
        let outer = Confined::new(|| Chain(inner)).expect("the thread is alive");
        elsewhere(move || drop(outer));
        drop(Confined::new(|| ()));
    }
}
