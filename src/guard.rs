//! Foreign code, contained: what a user's callback, waker or destructor throws stops here.

use crate::error::message_of;
use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// What a panic threw.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Calls foreign code. Whoever gets the payload must not simply drop it: see [`discard`].
///
/// `AssertUnwindSafe` holds because no state of ours is borrowed while foreign code runs.
#[inline]
pub(crate) fn contain<R>(foreign: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(foreign))
}

/// Calls foreign code whose panic nobody waits for: it is logged, and harms nobody else.
pub(crate) fn shield(what: &str, foreign: impl FnOnce()) {
    if let Err(payload) = contain(foreign) {
        tell(what, &payload);
        discard(payload);
    }
}

/// Drops a value of the user's, whose destructor may panic; and so may what it panics with, which is why
/// that is forgotten: there is no one left to tell.
pub(crate) fn discard<T>(value: T) {
    if mem::needs_drop::<T>() {
        if let Err(payload) = contain(|| drop(value)) {
            tell("a destructor", &payload);
            mem::forget(payload);
        }
    }
}

/// Logs; the logger is foreign, too.
fn tell(what: &str, payload: &Payload) {
    let told = contain(|| log::error!("{what} panicked: {}", message_of(&**payload)));
    mem::forget(told);
}

/// Wakes, whatever the waker does.
pub(crate) fn wake(waker: Waker) {
    shield("a waker", || waker.wake());
}

/// How long [`aside`] waits for what it started.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(50);

/// Runs foreign code for a destructor that an executor may be calling under a lock of its own, which the
/// foreign code may want: on another thread, waited for, but not for long. The rare way out, for tasks
/// that an executor dropped; where no thread can be had, it runs here.
#[cfg(not(failfast_loom))]
pub(crate) fn aside(foreign: impl FnOnce() + Send + 'static) {
    use std::sync::{Arc, mpsc};

    let foreign = Arc::new(crate::sync::Mutex::new(Some(foreign)));
    let (done, finished) = mpsc::channel::<()>();
    let theirs = foreign.clone();
    let run = move || {
        let foreign = theirs.lock().take();
        foreign.into_iter().for_each(|foreign| foreign());
        drop(done);
    };
    match std::thread::Builder::new()
        .name("failfast-wake".to_owned())
        .spawn(run)
    {
        Ok(_) => drop(finished.recv_timeout(PATIENCE)),
        Err(_) => {
            let foreign = foreign.lock().take();
            foreign.into_iter().for_each(|foreign| foreign());
        }
    }
}

/// The model checker has no executor that holds locks.
#[cfg(failfast_loom)]
pub(crate) fn aside(foreign: impl FnOnce() + Send + 'static) {
    foreign()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use log::{LevelFilter, Log, Metadata, Record};
    use std::panic::panic_any;
    use std::sync::{Mutex, Once};

    /// What was logged.
    struct Memory(Mutex<Vec<String>>);

    static MEMORY: Memory = Memory(Mutex::new(Vec::new()));

    /// Has a global logger that would take everything, but is to be told of errors only.
    pub(crate) fn listen() {
        static SET: Once = Once::new();
        SET.call_once(|| {
            log::set_logger(&MEMORY).expect("nobody else sets a logger");
            log::set_max_level(LevelFilter::Error);
        });
    }

    impl Log for Memory {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            self.0.lock().unwrap().push(record.args().to_string());
        }

        fn flush(&self) {}
    }

    #[test]
    fn a_panic_that_nobody_waits_for_is_logged() {
        struct Bomb(&'static str);
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic_any(self.0);
            }
        }
        listen();
        shield("a callback", || panic!("the first"));
        discard(Bomb("the second"));
        let lines = MEMORY.0.lock().unwrap();
        for line in [
            "a callback panicked: the first",
            "a destructor panicked: the second",
        ] {
            assert!(lines.iter().any(|known| known == line), "{lines:?}");
        }
    }
}
