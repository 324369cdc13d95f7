//! Scripted sources, virtual time, and polling by hand.

use failfast::clock::{Clock, ManualClock};
use failfast::policy::Fault;
use failfast::{BoxError, Context};
use futures::task::{ArcWake, waker};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A background that goes by a clock of its own.
pub(crate) fn manual() -> (ManualClock, Context) {
    let clock = ManualClock::new();
    (clock.clone(), Context::background().with_clock(clock))
}

/// An error that is identified by its number.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("failure {0}")]
pub(crate) struct Failure(pub(crate) u32);

/// What a scripted source does when it is called.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers after so long, by the clock alone: its context does not matter to it.
    Answer(u32, Duration),
    /// Fails after so long, the same way.
    Fail(u32, Duration),
    /// Waits for its context's end, and returns that.
    Wait,
    /// Never answers, and ignores its context.
    Hang,
    Panic,
}

/// What a source was called with, and how the call ended.
#[derive(Default)]
struct Log {
    contexts: Vec<Context>,
    /// Calls whose future lives.
    open: usize,
}

/// A source that does one act after the other, and the last again and again.
#[derive(Clone)]
pub(crate) struct Script {
    acts: Arc<Mutex<VecDeque<Act>>>,
    log: Arc<Mutex<Log>>,
    clock: ManualClock,
}

impl Script {
    pub(crate) fn new(clock: &ManualClock, acts: impl IntoIterator<Item = Act>) -> Self {
        Self {
            acts: Arc::new(Mutex::new(acts.into_iter().collect())),
            log: Arc::default(),
            clock: clock.clone(),
        }
    }

    /// How often it was called.
    pub(crate) fn calls(&self) -> usize {
        self.log.lock().unwrap().contexts.len()
    }

    /// How many of its calls are under way.
    pub(crate) fn open(&self) -> usize {
        self.log.lock().unwrap().open
    }

    /// The context of a call, counted from 0.
    pub(crate) fn context(&self, call: usize) -> Context {
        self.log.lock().unwrap().contexts[call].clone()
    }

    /// The source itself.
    pub(crate) fn source(
        &self,
    ) -> impl Fn(Context, ()) -> Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send>>
    + Send
    + Sync
    + Clone
    + use<> {
        let script = self.clone();
        move |ctx, ()| script.call(ctx)
    }

    fn call(&self, ctx: Context) -> Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send>> {
        let act = {
            let mut acts = self.acts.lock().unwrap();
            match acts.len() {
                1 => acts[0].clone(),
                _ => acts.pop_front().expect("an act"),
            }
        };
        let open = Open::new(&self.log, &ctx);
        let clock = self.clock.clone();
        Box::pin(async move {
            let _open = open;
            match act {
                Act::Answer(answer, after) => {
                    sleep(&clock, after).await;
                    Ok(answer)
                }
                Act::Fail(number, after) => {
                    sleep(&clock, after).await;
                    Err(Failure(number).into())
                }
                Act::Wait => {
                    ctx.done().await;
                    Err(ctx.err().expect("it is done").into())
                }
                Act::Hang => std::future::pending().await,
                Act::Panic => panic!("boom"),
            }
        })
    }
}

/// A call that is under way.
struct Open(Arc<Mutex<Log>>);

impl Open {
    fn new(log: &Arc<Mutex<Log>>, ctx: &Context) -> Self {
        let mut state = log.lock().unwrap();
        state.contexts.push(ctx.clone());
        state.open += 1;
        drop(state);
        Self(log.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().unwrap().open -= 1;
    }
}

async fn sleep(clock: &ManualClock, duration: Duration) {
    if !duration.is_zero() {
        let until = clock.now() + duration;
        clock.sleep_until(until).await.expect("a manual clock");
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl ArcWake for Wakes {
    fn wake_by_ref(wakes: &Arc<Self>) {
        wakes.0.fetch_add(1, SeqCst);
    }
}

/// A future that is polled by hand, and only when it was woken.
pub(crate) struct Hand<F> {
    future: Option<Pin<Box<F>>>,
    wakes: Arc<Wakes>,
}

impl<F: Future> Hand<F> {
    pub(crate) fn new(future: F) -> Self {
        let future = Some(Box::pin(future));
        let wakes = Arc::default();
        Self { future, wakes }
    }

    /// Polls it once.
    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        let waker = waker(self.wakes.clone());
        let future = self.future.as_mut().expect("it was dropped");
        let polled = future.as_mut().poll(&mut task::Context::from_waker(&waker));
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }

    /// How often it has been woken since the last call of this.
    pub(crate) fn wakes(&self) -> usize {
        self.wakes.0.swap(0, SeqCst)
    }

    /// Polls it for as long as it is woken.
    pub(crate) fn settle(&mut self) -> Poll<F::Output> {
        loop {
            let polled = self.poll();
            if polled.is_ready() || self.wakes() == 0 {
                return polled;
            }
        }
    }

    /// [`settle`](Self::settle), unless it is through or was dropped.
    pub(crate) fn settle_if_open(&mut self) -> Option<Poll<F::Output>> {
        self.future.is_some().then(|| self.settle())
    }

    /// [`finish`](Self::finish), unless it is through or was dropped.
    pub(crate) fn finish_if_open(&mut self, clock: &ManualClock) -> Option<F::Output> {
        self.future.is_some().then(|| self.finish(clock))
    }

    pub(crate) fn cancel(&mut self) {
        self.future = None;
    }

    /// Runs it to its end, with the clock set forward whenever it waits.
    ///
    /// # Panics
    ///
    /// If it waits for nothing that the clock could bring.
    pub(crate) fn finish(&mut self, clock: &ManualClock) -> F::Output {
        loop {
            if let Poll::Ready(output) = self.settle() {
                return output;
            }
            assert!(clock.advance_to_next(), "it waits, and no timer is armed");
        }
    }
}

/// The number of the failure in a fault.
pub(crate) fn failure(fault: &Fault) -> Option<u32> {
    fault.downcast_ref::<Failure>().map(|failure| failure.0)
}

/// A logger that keeps what it is given.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<(log::Level, String)>>>);

impl Lines {
    /// The texts of a level, in order.
    pub(crate) fn of(&self, level: log::Level) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        let of_level = lines.iter().filter(|(of, _)| *of == level);
        of_level.map(|(_, text)| text.clone()).collect()
    }
}

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = (record.level(), record.args().to_string());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}
