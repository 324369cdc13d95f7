//! Wakers that act: one runs a function when it is woken, the other whenever it is cloned, woken or dropped.
//!
//! If a policy did any of that under its lock, a function that takes the lock would wait for it for ever.

use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Wake, Waker};

struct Act<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Act<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// A waker that runs a function when it is woken.
pub(crate) fn on_wake(action: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Act(action)))
}

struct Nosy(Box<dyn Fn() + Send + Sync>);

pub(crate) fn nosy(look: impl Fn() + Send + Sync + 'static) -> Waker {
    let data = Arc::into_raw(Arc::new(Nosy(Box::new(look))));
    // SAFETY: the functions keep the contract: the data is a counted reference that each waker owns.
    unsafe { Waker::from_raw(RawWaker::new(data.cast(), &TABLE)) }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, forget);

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker that is being cloned holds a reference.
    unsafe {
        Arc::increment_strong_count(data.cast::<Nosy>());
        look(data);
    }
    RawWaker::new(data, &TABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the waker's own reference ends here.
    unsafe {
        look(data);
        forget(data);
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker holds a reference.
    unsafe { look(data) }
}

unsafe fn forget(data: *const ()) {
    // SAFETY: the waker's own reference ends here.
    unsafe {
        look(data);
        drop(Arc::from_raw(data.cast::<Nosy>()));
    }
}

/// # Safety
///
/// Called with a living waker's data.
unsafe fn look(data: *const ()) {
    // SAFETY: by the caller's promise.
    unsafe { ((*data.cast::<Nosy>()).0)() }
}
