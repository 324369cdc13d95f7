//! What all models of the model checker share, those of `tests/models/` as well.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{self, Poll, Wake, Waker};

/// Runs a model in every interleaving that the builder asks for. One alone is none: the model checker has seen nothing
/// then that the threads have in common.
pub(crate) fn explore(builder: loom::model::Builder, model: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    builder.check(move || {
        count.fetch_add(1, SeqCst);
        model();
    });
    let runs = runs.load(SeqCst);
    assert!(runs > 1, "a model with one interleaving shows nothing");
    println!("{runs} interleavings");
}

/// Where a thread sleeps. (Not loom's `park`: its `unpark` also ends the wait for a lock.)
#[derive(Default)]
struct Bed {
    woken: loom::sync::Mutex<bool>,
    bell: loom::sync::Condvar,
}

impl Wake for Bed {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.bell.notify_one();
    }
}

/// Polls when woken, and never otherwise: a wake-up that is lost is a deadlock, which loom reports.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let bed = Arc::<Bed>::default();
    let waker = Waker::from(bed.clone());
    let mut cx = task::Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        let mut woken = bed.woken.lock().unwrap();
        while !std::mem::take(&mut *woken) {
            woken = bed.bell.wait(woken).unwrap();
        }
    }
}
