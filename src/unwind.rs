//! Running foreign code: wakers, callbacks, clocks, loggers and destructors of the user's.
//!
//! Any of it may panic, and none of it may stop the library or harm another task.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Calls foreign code and returns the payload of its panic. The caller must not simply drop the payload: see [`discard`].
///
/// `AssertUnwindSafe` holds because no state of the library's is borrowed while foreign code runs.
#[inline]
pub(crate) fn contain<R>(foreign: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(foreign))
}

/// [`contain`], where only the panic's message is of use.
#[inline]
pub(crate) fn contain_text<R>(foreign: impl FnOnce() -> R) -> Result<R, String> {
    contain(foreign).map_err(|payload| {
        let text = message_of(&*payload).to_owned();
        discard(payload);
        text
    })
}

/// Calls foreign code for which no caller waits: a panic is logged and goes no further.
pub(crate) fn shield(what: &str, foreign: impl FnOnce()) {
    if let Err(payload) = contain(foreign) {
        report(what, &payload);
        discard(payload);
    }
}

/// Drops a value of the user's. Its destructor may panic. The payload is leaked, because its destructor may panic, too.
#[inline]
pub(crate) fn discard<T>(value: T) {
    if mem::needs_drop::<T>() {
        if let Err(payload) = contain(|| drop(value)) {
            report("a destructor", &payload);
            mem::forget(payload);
        }
    }
}

/// Drops the values of a collection one by one, because a second panic while one unwinds would abort the process.
pub(crate) fn discard_each<T>(values: impl IntoIterator<Item = T>) {
    values.into_iter().for_each(discard);
}

thread_local! {
    static CAUGHT: Cell<u64> = const { Cell::new(0) };
}

/// How many panics of foreign code this thread has caught and logged.
#[cfg_attr(
    any(failfast_loom, all(target_family = "wasm", target_os = "unknown")),
    allow(dead_code, reason = "asked on other threads alone")
)]
pub(crate) fn caught() -> u64 {
    CAUGHT.get()
}

/// Logs a panic. The logger is foreign code, too.
fn report(what: &str, payload: &Payload) {
    CAUGHT.set(CAUGHT.get() + 1);
    let logged = contain(|| log::error!("{what} panicked: {}", message_of(&**payload)));
    mem::forget(logged);
}

thread_local! {
    /// `None` while this thread is dropping nothing.
    static QUEUE: RefCell<Option<Vec<Box<dyn Any>>>> = const { RefCell::new(None) };
}

/// [`discard`], for what may hold others of its kind, which hold others, and so on: errors within errors, contexts within
/// values of contexts. Called from within one of their destructors, it only queues, so that no chain of them is too
/// deep for the stack.
pub(crate) fn discard_in_turn<T: 'static>(value: T) {
    let mut value = Some(value);
    // Where the thread itself is ending, its queue may have been destroyed. Then the value is dropped at once.
    let _ = QUEUE.try_with(|queue| match &mut *queue.borrow_mut() {
        Some(queue) => queue.extend(value.take().map(|value| Box::new(value) as Box<dyn Any>)),
        idle => *idle = Some(Vec::new()),
    });
    if let Some(value) = value {
        discard(value);
        while let Some(next) = next_in_turn() {
            discard(next);
        }
    }
}

/// The last that was queued, because its holder has just been dropped. `None`, and idle again, if there is none.
fn next_in_turn() -> Option<Box<dyn Any>> {
    let next = QUEUE.try_with(|queue| {
        let mut queue = queue.borrow_mut();
        let next = queue.as_mut().and_then(Vec::pop);
        if next.is_none() {
            *queue = None;
        }
        next
    });
    next.ok().flatten()
}

thread_local! {
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// This is a thread of the library's: no task is at home here.
#[cfg_attr(
    all(target_family = "wasm", target_os = "unknown"),
    allow(dead_code, reason = "there are none")
)]
pub(crate) fn mark_as_ours() {
    IS_OURS.set(true);
}

/// Wakes, whatever the waker does.
#[inline]
pub(crate) fn wake(waker: Waker) {
    if let Err(payload) = contain(|| waker.wake()) {
        report(
            match IS_OURS.get() {
                true => FOREIGN_WAKER,
                false => "a waker",
            },
            &payload,
        );
        discard(payload);
    }
}

/// What panicked, and what may help, because its task may sleep for ever.
const FOREIGN_WAKER: &str = "a waker, woken on a thread of failfast's (a runtime that can't have that needs its own \
    timers, as in `with_clock(LocalClock::new(monoio::time::sleep))`),";

thread_local! {
    /// `None` while this thread wakes nothing in turn.
    static WAKING: RefCell<Option<VecDeque<Waker>>> = const { RefCell::new(None) };
}

/// [`wake`], for a line of waiters. A waker may poll its task inline, which then wakes the next of the line, and so on.
/// Called from within such a waker, it only queues, so that no line is too long for the stack.
pub(crate) fn wake_in_turn(waker: Waker) {
    let mut waker = Some(waker);
    // Where the thread itself is ending, its queue may have been destroyed. Then the waker is called at once.
    let _ = WAKING.try_with(|queue| match &mut *queue.borrow_mut() {
        Some(queue) => queue.extend(waker.take()),
        idle => *idle = Some(VecDeque::new()),
    });
    if let Some(waker) = waker {
        wake(waker);
        while let Some(next) = next_to_wake() {
            wake(next);
        }
    }
}

/// `None`, and idle again, if there is none.
fn next_to_wake() -> Option<Waker> {
    let next = WAKING.try_with(|queue| {
        let mut queue = queue.borrow_mut();
        let next = queue.as_mut().and_then(VecDeque::pop_front);
        if next.is_none() {
            *queue = None;
        }
        next
    });
    next.ok().flatten()
}

/// The text of a panic's payload, which is nearly always a string.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a payload that is not text")
}
