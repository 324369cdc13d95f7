//! Every clock, polled by hand; real time only where that is the subject.

mod contract;
mod function;
mod local;
mod manual;
mod own_poll;
mod pair;
mod system;

use failfast::clock::{Clock, LocalClock, ManualClock, Sleep, SystemClock, TimerError};
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for any machine, short enough to notice.
const GENEROUS: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(50);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

fn counting() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), Waker::from(count))
}

/// A waker that runs a function.
struct Run<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Run<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn on_wake(action: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Run(action)))
}

/// Ends the process if `case` hangs, because a test that hangs shows nothing.
fn watched(case: impl FnOnce()) {
    let (done, over) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if over.recv_timeout(GENEROUS * 6) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("hangs");
            std::process::abort();
        }
    });
    case();
    drop(done);
    watchdog.join().expect("the watchdog only waits");
}

/// Numbers of sleeps around every constant of the heap, the shards and the dispatcher.
const SIZES: [u64; 22] = [
    0, 1, 2, 3, 12, 13, 29, 30, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 257, 1000, 4096,
    100_000,
];

/// A timer that wakes itself inside its own poll, as tokio's do, and counts its polls.
struct Restless {
    polls: Arc<Count>,
    left: usize,
}

impl Future for Restless {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls.0.fetch_add(1, SeqCst);
        self.left -= 1;
        match self.left {
            0 => Poll::Ready(()),
            _ => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// A waker that records when it was woken.
fn telling() -> (Receiver<Instant>, Waker) {
    let (sender, receiver) = mpsc::channel();
    (
        receiver,
        on_wake(move || sender.send(Instant::now()).unwrap_or(())),
    )
}

fn poll(sleep: &mut Sleep, waker: &Waker) -> Poll<Result<(), TimerError>> {
    Pin::new(sleep).poll(&mut Context::from_waker(waker))
}

fn armed(clock: &impl Clock, after: Duration, waker: &Waker) -> Sleep {
    let mut sleep = clock.sleep_until(clock.now() + after);
    assert_eq!(poll(&mut sleep, waker), Poll::Pending);
    sleep
}

const DONE: Poll<Result<(), TimerError>> = Poll::Ready(Ok(()));
