//! For what would hang if it were wrong.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Runs it on a thread of its own, and fails if it does not end.
pub(crate) fn ends<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let thread = thread::spawn(move || done.send(run()));
    match result.recv_timeout(Duration::from_secs(60)) {
        Ok(output) => output,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(payload) => std::panic::resume_unwind(payload),
            Ok(_) => unreachable!("it sends before it ends"),
        },
    }
}
