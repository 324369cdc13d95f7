//! Clocks: timers that wake themselves, budgets that are spent, and a clock that breaks.

use crate::executor::{Polled, watched};
use crate::faults::tools::apart;
use crate::support::{Count, GENEROUS, SECOND, eventually};
use failfast::clock::{Clock, LocalClock, ManualClock, Sleep, SystemClock};
use failfast::{BoxError, Context, InPlaceGroup, LocalGroup};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, OnceLock, mpsc};
use std::task::{self, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// The timers of foreign clocks go by real time: the shortest one that is still to come when it is armed.
const SHORT: Duration = Duration::from_millis(5);

/// Wakes itself in its first poll, as a timer does whose task's budget is spent.
struct Restless {
    first: bool,
    timer: smol::Timer,
}

impl Future for Restless {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.timer).poll(cx).map(drop)
    }
}

fn restless(duration: Duration) -> Restless {
    Restless {
        first: true,
        timer: smol::Timer::after(duration),
    }
}

fn short_of_restless_clocks() -> [Context; 2] {
    let root = Context::background();
    [
        root.with_clock(restless).with_timeout(SHORT),
        root.with_clock(LocalClock::new(restless))
            .with_timeout(SHORT),
    ]
}

/// A timer woke itself in its first poll, was not polled again, and the callback was never called.
#[test]
fn callback_of_a_timer_that_wakes_itself() {
    watched(|| {
        for ctx in short_of_restless_clocks() {
            let called = Count::default();
            let _callback = ctx.on_done(called.adder());
            eventually("the callback", || called.get() == 1);
        }
    });
}

/// A timer woke itself in its first poll, was not polled again, and the group waited beyond its deadline.
#[test]
fn group_of_a_timer_that_wakes_itself() {
    watched(|| {
        for ctx in short_of_restless_clocks() {
            let executor: &smol::LocalExecutor<'static> = Box::leak(Box::default());
            let error = smol::block_on(executor.run(async {
                let (group, _ctx) =
                    LocalGroup::<()>::with_context(&ctx, move |task| executor.spawn(task));
                group.spawn(pending::<Result<(), BoxError>>());
                group.wait().await.unwrap_err()
            }));
            assert!(error.to_string().contains("deadline exceeded"), "{error}");
        }
    });
}

/// A tokio timer was armed by a task whose budget was spent, and the callback was never called.
#[test]
fn local_clock_is_armed_with_tokios_budget_spent() {
    watched(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let set = tokio::task::LocalSet::new();
        let task = set.spawn_local(async {
            let ctx = Context::background()
                .with_clock(LocalClock::new(tokio::time::sleep))
                .with_timeout(SHORT);
            let called = Count::default();
            let callback = poll_fn(|cx| {
                while tokio::task::coop::has_budget_remaining() {
                    let step = tokio::task::coop::poll_proceed(cx);
                    step.map(|step| step.made_progress()).is_ready();
                }
                Poll::Ready(ctx.on_done(called.adder()))
            });
            let _callback = callback.await;
            while called.get() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        set.block_on(&runtime, task).unwrap();
    });
}

static BROKEN: AtomicBool = AtomicBool::new(false);
static ASKED: OnceLock<Context> = OnceLock::new();

#[derive(Clone)]
struct Breaks;

impl Clock for Breaks {
    fn now(&self) -> Instant {
        assert!(!BROKEN.load(SeqCst), "the clock");
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        SystemClock.sleep_until(deadline)
    }
}

/// Counts the records of an end by a broken clock, and reads the context in each of the first ones.
struct Asks(OnceLock<Count>);

impl log::Log for Asks {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if !record.args().to_string().contains("can't be kept") {
            return;
        }
        let count = self.0.get_or_init(Count::default);
        count.add();
        if let Some(ctx) = ASKED.get().filter(|_| count.get() < 50) {
            let _ = ctx.is_done();
        }
    }

    fn flush(&self) {}
}

/// A broken clock was logged before the context had ended: again by each reader meanwhile, the logger among them.
#[test]
fn broken_clock_is_logged_once() {
    static LOGGER: Asks = Asks(OnceLock::new());
    apart(|| {
        log::set_logger(&LOGGER).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        let count = LOGGER.0.get_or_init(Count::default);
        let armed = || {
            BROKEN.store(false, SeqCst);
            let root = Context::background().with_clock(Breaks);
            let ctx = root.with_timeout(GENEROUS);
            BROKEN.store(true, SeqCst);
            ctx
        };
        let ctx = ASKED.get_or_init(armed);
        assert!(ctx.is_done());
        assert_eq!(count.get(), 1);
        for round in 2..50 {
            let (ctx, barrier) = (armed(), Barrier::new(4));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        barrier.wait();
                        let _ = ctx.is_done();
                    });
                }
            });
            assert_eq!(count.get(), round);
        }
    });
}

/// The timers of a runtime that wakes them under the lock that their destructors take, as compio does.
#[derive(Clone, Default)]
struct Wheel(Rc<RefCell<Vec<task::Waker>>>);

impl Wheel {
    fn turn(&self) {
        let mut wheel = self.0.borrow_mut();
        wheel.drain(..).for_each(task::Waker::wake);
    }
}

struct OnWheel(Wheel, Count);

impl Future for OnWheel {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        self.0.0.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for OnWheel {
    fn drop(&mut self) {
        if self.0.0.try_borrow_mut().is_ok() {
            self.1.add();
        } else {
            panic!("dropped inside of its own wake-up");
        }
    }
}

/// A deadline came by a timer that was dropped inside its own wake-up: its runtime panicked.
#[test]
fn timer_that_ends_a_context_is_dropped_after_its_wake_up() {
    let (wheel, drops) = (Wheel::default(), Count::default());
    let (timers, dropped) = (wheel.clone(), drops.clone());
    let clock = LocalClock::new(move |_| OnWheel(timers.clone(), dropped.clone()));
    let ctx = Context::background()
        .with_clock(clock.clone())
        .with_timeout(SHORT);
    let ended = Count::default();
    let _callback = ctx.on_done(ended.adder());
    thread::sleep(SHORT); // by which the deadline is past when the wheel turns
    wheel.turn();
    assert_eq!((ended.get(), drops.get()), (1, 0));
    drop(LocalClock::new(|_| pending::<()>()));
    assert_eq!(drops.get(), 1);
}

/// A clock whose sleeps take their time to be dropped, as foreign code may.
#[derive(Clone)]
struct Slow {
    clock: ManualClock,
    dropping: mpsc::SyncSender<()>,
    dropped: Arc<Mutex<mpsc::Receiver<()>>>,
}

struct SlowDrop(Slow);

impl Drop for SlowDrop {
    fn drop(&mut self) {
        self.0.dropping.send(()).unwrap();
        self.0.dropped.lock().unwrap().recv().unwrap();
    }
}

impl Clock for Slow {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn sleep_until(&self, _: Instant) -> Sleep {
        let slow = SlowDrop(self.clone());
        Sleep::new(poll_fn(move |_| {
            let _ = &slow;
            Poll::<()>::Pending
        }))
    }
}

/// A timer that another thread was just dropping was not looked at, so that a task started after its deadline: the first
/// of its group, or one that came after others.
#[test]
fn task_is_spawned_after_a_deadline_whose_timer_is_being_dropped() {
    for others in [false, true] {
        watched(move || spawn_after_the_deadline(others));
    }
}

fn spawn_after_the_deadline(others: bool) {
    let (dropping, is_dropping) = mpsc::sync_channel(1);
    let (drops, dropped) = mpsc::sync_channel(1);
    let clock = ManualClock::new();
    let slow = Slow {
        clock: clock.clone(),
        dropping,
        dropped: Arc::new(Mutex::new(dropped)),
    };
    let ctx = Context::background().with_clock(slow).with_timeout(SECOND);
    let mut done = ctx.done();
    let mut cx = task::Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut done).poll(&mut cx).is_pending());
    let leaves = thread::spawn(move || drop(done));
    is_dropping.recv().unwrap();

    let group = InPlaceGroup::new(&ctx);
    if others {
        group.spawn(pending::<Result<(), Infallible>>());
    }
    clock.advance(SECOND);
    let starts = Count::default();
    let count = starts.clone();
    group.spawn(async move {
        count.add();
        Ok::<_, Infallible>(())
    });
    let error = Polled::new(group.wait()).poll();
    drops.send(()).unwrap();
    leaves.join().unwrap();
    let error = match error {
        Poll::Ready(ended) => ended.unwrap_err(),
        Poll::Pending => panic!("it waits"),
    };
    assert!(error.is_deadline_exceeded());
    assert_eq!(starts.get(), 0);
}
