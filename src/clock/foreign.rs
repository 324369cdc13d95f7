//! Running what is not ours: wakers, timers, loggers. Any of it may panic, and
//! none of it may stop us.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Runs `work`. A panic in it becomes its message.
pub(super) fn run<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(message)
}

/// Wakes. A panic is logged, not passed on.
pub(super) fn wake(waker: Waker) {
    if let Err(panic) = run(|| waker.wake()) {
        // The logger is foreign as well.
        let _ = run(|| log::error!("a waker panicked when its timer fired: {panic}"));
    }
}

fn message(payload: Box<dyn Any + Send>) -> String {
    let message = (payload.downcast_ref::<&str>().map(ToString::to_string))
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned());
    discard(payload);
    message
}

/// A payload may panic when it is dropped; what that throws is not looked at.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(another);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::panic_any;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(run(|| 1), Ok(1));
        assert_eq!(run(|| panic!("plain")), Err::<(), _>("plain".to_owned()));
        assert_eq!(run(|| panic!("{}", 7)), Err::<(), _>("7".to_owned()));
        assert!(run(|| panic_any(7)).is_err());
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_contained() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        assert!(run(|| panic_any(Bomb)).is_err());
    }
}
