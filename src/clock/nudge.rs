//! Small jobs of ours that are run a little later, with no task to run them.

use super::{Clock, Sleep, SystemClock};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Wake, Waker};
use std::time::Duration;

/// Runs `work` on the dispatcher's threads when `after` has passed by the system's clock, or earlier if the system's
/// clock can't keep the time. Never on this stack, as long as another thread can be had.
pub(crate) fn nudge(after: Duration, work: impl FnOnce() + Send + 'static) {
    let nudge = Arc::new(Nudge {
        work: Mutex::new(Some(Box::new(work))),
        sleep: Mutex::new(None),
    });
    let mut sleep = SystemClock.sleep_until(SystemClock.now() + after);
    let waker = Waker::from(nudge.clone());
    match Pin::new(&mut sleep).poll_as_timer(&mut task::Context::from_waker(&waker)) {
        task::Poll::Pending => *lock(&nudge.sleep) = Some(sleep),
        task::Poll::Ready(_) => super::aside(move || nudge.run()),
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A job and the sleep that wakes it. The two keep each other alive until the sleep ends, which it always does.
struct Nudge {
    work: Mutex<Option<Work>>,
    sleep: Mutex<Option<Sleep>>,
}

impl Nudge {
    fn run(&self) {
        let work = lock(&self.work).take();
        if let Some(work) = work {
            work();
        }
    }
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        // Also if it was woken before the sleep was put there: then the last owner drops both.
        drop(lock(&self.sleep).take());
        self.run();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    const GENEROUS: Duration = Duration::from_secs(60);

    #[test]
    fn runs_once_later_and_elsewhere_and_is_freed() {
        for after in [
            Duration::ZERO,
            Duration::from_millis(1),
            Duration::from_millis(20),
        ] {
            let (done, told) = mpsc::channel();
            let begin = Instant::now();
            nudge(after, move || done.send(thread::current().id()).unwrap());
            assert_ne!(told.recv_timeout(GENEROUS).unwrap(), thread::current().id());
            assert!(begin.elapsed() >= after);
            assert!(told.recv_timeout(GENEROUS).is_err(), "the job is gone");
        }
    }

    #[test]
    fn woken_twice_it_runs_once() {
        let (done, told) = mpsc::channel();
        let work: Work = Box::new(move || done.send(()).unwrap());
        let waker = Waker::from(Arc::new(Nudge {
            work: Mutex::new(Some(work)),
            sleep: Mutex::new(None),
        }));
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(told.iter().count(), 1);
    }
}
