//! Calls that are dropped at random, on real threads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{self, Poll, Wake, Waker};
use std::thread;

const THREADS: usize = 4;

/// How many calls are dropped before they have ended.
pub(crate) fn cancellations() -> usize {
    100_000
}

/// Makes calls on several threads until so many have been dropped unfinished: each before its first poll, after some
/// polls, or after it was woken. Each thread keeps some calls at a time, and polls those that were woken.
pub(crate) fn storm<F: Future>(
    cancellations: usize,
    call: impl Fn(&mut fastrand::Rng) -> F + Sync,
) {
    let dropped = AtomicUsize::new(0);
    thread::scope(|scope| {
        for seed in 0..THREADS as u64 {
            let (call, dropped) = (&call, &dropped);
            scope.spawn(move || {
                let mut dice = fastrand::Rng::with_seed(seed);
                let mut living = Vec::new();
                while dropped.load(SeqCst) < cancellations {
                    if living.len() < 8 {
                        living.push(Living::new(call(&mut dice)));
                    }
                    let which = dice.usize(..living.len());
                    match dice.u8(..3) {
                        0 => {
                            living.swap_remove(which);
                            dropped.fetch_add(1, SeqCst);
                        }
                        _ => drop(
                            living[which]
                                .poll_if_woken()
                                .then(|| living.swap_remove(which)),
                        ),
                    }
                }
            });
        }
    });
}

struct Living<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(1, SeqCst);
    }
}

impl<F: Future> Living<F> {
    fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            woken: Arc::new(Woken(AtomicUsize::new(1))),
        }
    }

    /// True if it has ended.
    fn poll_if_woken(&mut self) -> bool {
        if self.woken.0.swap(0, SeqCst) == 0 {
            return false;
        }
        let waker = Waker::from(self.woken.clone());
        let polled = self
            .future
            .as_mut()
            .poll(&mut task::Context::from_waker(&waker));
        matches!(polled, Poll::Ready(_))
    }
}
