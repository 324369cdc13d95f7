//! Timers that wake themselves, and clocks that panic, stand still or run backwards.

use crate::context::{canceled, deadline_exceeded, waiting, why};
use crate::executor::{Polled, watched};
use crate::support::{
    Count, CountedClock, GENEROUS, OnDrop, SECOND, counting, eventually, manual, poll,
};
use failfast::clock::{Clock, LocalClock, ManualClock, Sleep};
use failfast::{Context, InPlaceGroup};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// A clock whose timers wake themselves in each of their first polls, as tokio's do when a task has spent its budget,
/// and are ready after that.
#[derive(Clone, Default)]
struct SelfWaking {
    /// Self-wakes, for each timer.
    times: usize,
    polls: Arc<AtomicUsize>,
    /// A timer was polled from inside its own poll.
    nested: Arc<AtomicUsize>,
}

struct SelfWakingTimer {
    clock: SelfWaking,
    left: usize,
    polling: Arc<Mutex<bool>>,
}

impl SelfWaking {
    fn times(times: usize) -> Self {
        Self {
            times,
            ..Self::default()
        }
    }

    fn polls(&self) -> usize {
        self.polls.load(SeqCst)
    }
}

impl Clock for SelfWaking {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, _: Instant) -> Sleep {
        Sleep::new(SelfWakingTimer {
            clock: self.clone(),
            left: self.times,
            polling: Arc::default(),
        })
    }
}

impl Future for SelfWakingTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        self.clock.polls.fetch_add(1, SeqCst);
        if std::mem::replace(&mut *self.polling.lock().unwrap(), true) {
            self.clock.nested.fetch_add(1, SeqCst);
        }
        let ready = self.left == 0;
        if !ready {
            self.left -= 1;
            cx.waker().wake_by_ref();
        }
        *self.polling.lock().unwrap() = false;
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

#[test]
fn a_timer_that_wakes_itself_is_polled_once_for_each_poll_of_the_waiter() {
    // "A timer is never polled again from inside its own poll"; a poll of the waiter returns, and its task is woken.
    let by_another = manual().1.with_timeout(GENEROUS);
    for (times, parent) in [1, 2, 3, 64, 128, 1_000]
        .into_iter()
        .flat_map(|times| [(times, Context::background()), (times, by_another.clone())])
    {
        let clock = SelfWaking::times(times);
        let ctx = parent.with_clock(clock.clone()).with_timeout(GENEROUS);
        let (woken, waker) = counting();
        let mut done = ctx.done();
        let mut polls = 0;
        while poll(&mut done, &waker).is_pending() {
            polls += 1;
            // The task is woken, so that it polls again. On a slow machine the nudge, a millisecond later, may come in
            // between, and poll the timer by itself.
            eventually("a wake-up, or a nudge", || {
                woken.get() == polls || clock.polls() > polls || ctx.is_done()
            });
            assert!(clock.polls() >= polls, "each poll gets on");
            assert!(polls <= times);
        }
        assert_eq!(clock.nested.load(SeqCst), 0);
        assert!(clock.polls() <= times + 1);
        assert_eq!(ctx.err(), Some(deadline_exceeded()));
    }
}

#[test]
fn a_timer_that_always_wakes_itself_costs_a_bounded_number_of_polls() {
    // Version 1 polled it for ever, at 100 %, inside of the first poll.
    let clock = SelfWaking::times(usize::MAX);
    let ctx = Context::background()
        .with_clock(clock.clone())
        .with_timeout(GENEROUS);
    let done = waiting(&ctx, Waker::noop());
    let callback = ctx.on_done(|| unreachable!("it was stopped"));
    let begin = Instant::now();
    thread::sleep(Duration::from_millis(50)); // real time is the subject here: what happens without a caller
    let most = begin.elapsed().as_millis() as usize + 10;
    assert!(
        clock.polls() <= most,
        "{} polls in {most} ms",
        clock.polls()
    );
    assert!(callback.stop());
    drop(done);
}

#[test]
fn a_timer_that_wakes_itself_is_polled_again_without_a_poll_of_the_task() {
    // There is no task behind a callback: a nudge polls the timer again.
    let clock = SelfWaking::times(3);
    let ctx = Context::background()
        .with_clock(clock.clone())
        .with_timeout(GENEROUS);
    let called = Count::default();
    drop(ctx.on_done(called.adder()));
    eventually("the callback", || called.get() == 1);
    assert_eq!(clock.nested.load(SeqCst), 0);
    assert_eq!(ctx.err(), Some(deadline_exceeded()));
}

#[test]
fn a_waiter_that_goes_leaves_the_timer_that_woke_itself_to_the_others() {
    let clock = SelfWaking::times(2);
    let ctx = Context::background()
        .with_clock(clock)
        .with_timeout(GENEROUS);
    let (woken, waker) = counting();
    let first = waiting(&ctx, Waker::noop());
    let _second = waiting(&ctx, &waker);
    drop(first); // it was to come again, and never does
    eventually("the second's wake-up", || woken.get() >= 1 && ctx.is_done());
}

#[test]
fn run_and_sleep_yield_to_timers_that_wake_themselves() {
    let clock = SelfWaking::times(2);
    let root = Context::background().with_clock(clock.clone());
    let run = root.with_timeout(GENEROUS).run(pending::<()>());
    assert_eq!(smol::block_on(run), Err(deadline_exceeded()));
    assert_eq!(smol::block_on(root.sleep(GENEROUS)), Ok(()));
    assert_eq!(clock.nested.load(SeqCst), 0);
}

thread_local! {
    /// This thread holds the lock of an [`Underlocked`] driver.
    static HOLDS: Cell<bool> = const { Cell::new(false) };
}

/// A clock whose driver wakes under the lock that its timers take when they are polled, as embassy's does.
#[derive(Clone)]
struct Underlocked {
    begin: Instant,
    passed: Arc<AtomicI64>,
    polls: Arc<AtomicUsize>,
    driver: Arc<Mutex<Vec<Waker>>>,
}

impl Underlocked {
    fn new() -> Self {
        Self {
            begin: Instant::now(),
            passed: Arc::default(),
            polls: Arc::default(),
            driver: Arc::default(),
        }
    }

    fn wake(&self) {
        let mut waiting = self.driver.lock().unwrap();
        HOLDS.set(true);
        waiting.drain(..).for_each(Waker::wake);
        HOLDS.set(false);
    }
}

impl Clock for Underlocked {
    fn now(&self) -> Instant {
        let passed = u64::try_from(self.passed.load(SeqCst)).unwrap();
        self.begin + Duration::from_secs(passed)
    }

    fn sleep_until(&self, _: Instant) -> Sleep {
        let clock = self.clone();
        Sleep::new(poll_fn(move |cx| {
            assert!(!HOLDS.get(), "it would wait for its own thread");
            clock.driver.lock().unwrap().push(cx.waker().clone());
            clock.polls.fetch_add(1, SeqCst);
            Poll::<()>::Pending
        }))
    }
}

#[test]
fn a_timer_that_is_woken_early_is_not_polled_inside_of_the_wake_up() {
    let clock = Underlocked::new();
    let ctx = Context::background()
        .with_clock(clock.clone())
        .with_timeout(3 * SECOND);
    let called = Count::default();
    drop(ctx.on_done(called.adder()));
    for early in 1..3 {
        clock.passed.store(early, SeqCst);
        let polls = clock.polls.load(SeqCst);
        clock.wake();
        eventually("a poll on another stack", || {
            clock.polls.load(SeqCst) == polls + 1
        });
        assert_eq!((ctx.err(), called.get()), (None, 0));
    }
    clock.passed.store(3, SeqCst);
    clock.wake();
    assert_eq!(called.get(), 1);
    assert_eq!(ctx.err(), Some(deadline_exceeded()));
}

#[test]
fn tokios_sleep_is_a_clock_for_a_task_that_has_spent_its_budget() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ctx = Context::background()
            .with_clock(tokio::time::sleep)
            .with_timeout(Duration::from_millis(20));
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
            if Instant::now() > Instant::now() + GENEROUS {
                break;
            }
            if !tokio::task::coop::has_budget_remaining() {
                break;
            }
        }
        assert_eq!(ctx.run(pending::<()>()).await, Err(deadline_exceeded()));
    });
}

/// A clock whose readings can be made to panic.
#[derive(Clone)]
struct Moody {
    clock: ManualClock,
    panics: Arc<Mutex<bool>>,
}

impl Moody {
    fn new() -> (Self, Context) {
        let clock = Self {
            clock: ManualClock::new(),
            panics: Arc::default(),
        };
        (clock.clone(), Context::background().with_clock(clock))
    }

    fn panic_from_now_on(&self) {
        *self.panics.lock().unwrap() = true;
    }
}

impl Clock for Moody {
    fn now(&self) -> Instant {
        let panics = *self.panics.lock().unwrap();
        assert!(!panics, "no time today");
        self.clock.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        self.clock.sleep_until(deadline)
    }
}

#[test]
fn a_clock_that_panics_ends_what_waits_on_it_and_nothing_else() {
    // "A clock of the user's that panics ... ends what waits on it with an error, and nothing else."
    let (parent, canceller) = Context::background().with_cancel();
    let (clock, _) = Moody::new();
    let timed = parent.with_clock(clock.clone()).with_timeout(SECOND);
    let (above, below) = (counting(), counting());
    let waiters = (waiting(&parent, &above.1), waiting(&timed, &below.1));
    clock.panic_from_now_on();
    assert_eq!(timed.err(), Some(canceled()));
    assert!(why(&timed).contains("no time today"), "{}", why(&timed));
    assert_eq!((above.0.get(), below.0.get()), (0, 1));
    assert!(!parent.is_done());
    canceller.cancel();
    assert_eq!((above.0.get(), below.0.get()), (1, 1));
    drop(waiters);
}

#[test]
fn a_clock_that_panics_hangs_none_of_its_parents_waiters() {
    // The parent's cancel reads the clock of a context below it, which panics: in version 1 no waiter was woken then.
    for below in [1, 2, 31] {
        let (parent, canceller) = Context::background().with_cancel();
        let (clock, _) = Moody::new();
        let timed: Vec<_> = (0..below)
            .map(|_| parent.with_clock(clock.clone()).with_timeout(SECOND))
            .collect();
        let (woken, waker) = counting();
        let waiters: Vec<_> = timed.iter().map(|ctx| waiting(ctx, &waker)).collect();
        let done = waiting(&parent, &waker);
        clock.panic_from_now_on();
        canceller.cancel_with("over");
        assert_eq!(woken.get(), below + 1);
        assert!(timed.iter().chain([&parent]).all(|ctx| why(ctx) == "over"));
        drop((waiters, done));
    }
}

#[test]
fn a_clock_that_panics_makes_no_deadlines() {
    let (clock, root) = Moody::new();
    clock.panic_from_now_on();
    let at = Instant::now() + GENEROUS;
    for ctx in [root.with_timeout(SECOND), root.with_deadline(at)] {
        assert_eq!(ctx.err(), Some(canceled()));
        assert!(why(&ctx).contains("no time today"), "{}", why(&ctx));
    }
    let sleep = smol::block_on(root.sleep(SECOND));
    assert!(sleep.unwrap_err().to_string().contains("no time today"));
    assert!(
        root.now() >= Instant::now() - GENEROUS,
        "the system's instead"
    );
}

/// A clock that shows a given time, and whose timers never fire.
#[derive(Clone)]
struct Hands {
    start: Instant,
    seconds: Arc<AtomicI64>,
}

impl Clock for Hands {
    fn now(&self) -> Instant {
        let seconds = self.seconds.load(SeqCst);
        self.start + Duration::from_secs(1_000) + SECOND * u32::try_from(seconds).unwrap()
    }

    fn sleep_until(&self, _: Instant) -> Sleep {
        Sleep::new(pending::<()>())
    }
}

#[test]
fn a_clock_that_stands_still_or_runs_backwards_harms_nothing_else() {
    let hands = Hands {
        start: Instant::now(),
        seconds: Arc::new(AtomicI64::new(10)),
    };
    let (parent, canceller) = Context::background().with_cancel();
    let ctx = parent.with_clock(hands.clone()).with_timeout(SECOND * 5);
    let (woken, waker) = counting();
    let _done = waiting(&ctx, &waker);
    hands.seconds.store(0, SeqCst); // backwards
    assert_eq!((ctx.err(), ctx.remaining()), (None, Some(SECOND * 15)));
    hands.seconds.store(15, SeqCst);
    assert_eq!(ctx.err(), Some(deadline_exceeded()));
    hands.seconds.store(0, SeqCst);
    assert_eq!(
        (ctx.err(), woken.get()),
        (Some(deadline_exceeded()), 1),
        "for ever"
    );
    let still = parent.with_clock(hands).with_timeout(SECOND * 5);
    let _done = waiting(&still, &waker);
    canceller.cancel_with("others can still end it");
    assert_eq!(
        (why(&still).as_str(), woken.get()),
        ("others can still end it", 2)
    );
}

#[test]
fn a_timer_that_is_woken_early_is_polled_again_and_fires_later() {
    // A wake-up before its time: by the clock it is early, so the timer is polled again a moment later.
    let early: Arc<Mutex<Vec<Waker>>> = Arc::default();
    struct Early(Arc<Mutex<Vec<Waker>>>, ManualClock);
    impl Clock for Early {
        fn now(&self) -> Instant {
            self.1.now()
        }
        fn sleep_until(&self, deadline: Instant) -> Sleep {
            let (wakers, mut real) = (self.0.clone(), self.1.sleep_until(deadline));
            Sleep::new(std::future::poll_fn(move |cx| {
                wakers.lock().unwrap().push(cx.waker().clone());
                Pin::new(&mut real).poll(cx)
            }))
        }
    }
    let clock = ManualClock::new();
    let ctx = Context::background()
        .with_clock(Early(early.clone(), clock.clone()))
        .with_timeout(SECOND);
    let (woken, waker) = counting();
    let _done = waiting(&ctx, &waker);
    for _ in 0..5 {
        let wakers = std::mem::take(&mut *early.lock().unwrap());
        assert_eq!(wakers.len(), 1);
        wakers.into_iter().for_each(Waker::wake);
        eventually("a poll", || early.lock().unwrap().len() == 1);
    }
    assert_eq!((woken.get(), ctx.err()), (0, None));
    clock.advance(SECOND);
    assert_eq!((woken.get(), ctx.err()), (1, Some(deadline_exceeded())));
    early.lock().unwrap().clear();
}

#[test]
fn a_timers_waker_holds_the_context_while_there_is_a_waiter() {
    // A callback whose other handles are gone waits for the deadline. If the clock loses the waker, nothing can end the
    // context any more, and it goes.
    let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
    let keep = kept.clone();
    let clock = move |_: Duration| {
        let keep = keep.clone();
        std::future::poll_fn(move |cx| {
            *keep.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })
    };
    let dropped = Count::default();
    let ctx = Context::background()
        .with_clock(clock)
        .with_timeout(GENEROUS);
    let guard = OnDrop(dropped.clone());
    drop(ctx.on_done(move || drop(guard)));
    drop(ctx);
    assert_eq!(dropped.get(), 0);
    let waker = kept.lock().unwrap().take();
    drop(waker);
    assert_eq!(dropped.get(), 1);
}

#[test]
fn a_sleep_longer_than_an_instant_can_hold_waits_for_the_end() {
    let (_, root) = manual();
    let (ctx, canceller) = root.with_cancel();
    let mut sleep = pin!(ctx.sleep(Duration::MAX));
    let (woken, waker) = counting();
    assert_eq!(poll(&mut sleep, &waker), Poll::Pending);
    canceller.cancel();
    assert_eq!(
        (woken.get(), poll(&mut sleep, &waker)),
        (1, Poll::Ready(Err(canceled())))
    );
}

/// A timer that is bound to the thread which armed it can't be polled on another one: there the system's timer keeps the
/// deadline.
#[test]
fn timer_of_a_local_clock_that_is_due_on_another_thread_is_replaced() {
    let fires = Arc::new(Mutex::new(None::<Waker>));
    let slot = fires.clone();
    let never_ready = LocalClock::new(move |_| {
        let slot = slot.clone();
        std::future::poll_fn(move |cx| {
            *slot.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })
    });
    let ctx = Context::background()
        .with_clock(never_ready)
        .with_timeout(Duration::from_millis(100));
    let (_, waker) = counting();
    let mut done = ctx.done();
    assert!(poll(&mut done, &waker).is_pending(), "armed here");
    let fired = fires.lock().unwrap().take().unwrap();
    watched(move || {
        fired.wake();
        futures::executor::block_on(done);
    });
    assert!(ctx.err().unwrap().is_deadline_exceeded());
}

#[test]
fn either_of_two_clocks_ends_a_wait_that_was_polled_before() {
    for late in [0, 1] {
        let clocks = [ManualClock::new(), ManualClock::new()];
        let ctx = Context::background()
            .with_clock(clocks[0].clone())
            .with_timeout(SECOND)
            .with_clock(clocks[1].clone())
            .with_timeout(SECOND);
        let mut waits = Polled::new(ctx.run(pending::<()>()));
        assert!(waits.is_pending() && waits.is_pending());
        clocks[late].advance(SECOND);
        assert!(waits.is_woken());
        assert!(waits.ready().unwrap_err().is_deadline_exceeded());
    }
}

#[test]
fn polls_of_tasks_read_no_clock_while_no_timer_is_due() {
    for clocks in [1, 2] {
        let all: Vec<_> = (0..clocks).map(|_| CountedClock::default()).collect();
        let ctx = all.iter().fold(Context::background(), |ctx, clock| {
            ctx.with_clock(clock.clone()).with_timeout(SECOND)
        });
        let group = InPlaceGroup::new(&ctx);
        group.spawn(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<Result<(), Infallible>>::Pending
        }));
        let mut waits = Polled::new(group.wait());
        assert!(waits.is_pending());
        let read = || all.iter().map(|clock| clock.1.get()).sum::<usize>();
        let before = read();
        for _ in 0..100 {
            assert!(waits.is_pending());
        }
        assert_eq!(read(), before, "{clocks} clocks");
    }
}

/// A timer that two other threads' wake-ups meet in its own first poll, and that is ready in the next.
#[test]
fn two_wake_ups_during_a_poll_of_the_timer_lead_to_another() {
    let clock = |_| {
        let mut polled_before = false;
        poll_fn(move |cx| {
            if std::mem::replace(&mut polled_before, true) {
                return Poll::Ready(());
            }
            let waker = cx.waker();
            thread::scope(|scope| {
                scope.spawn(|| (0..2).for_each(|_| waker.wake_by_ref()));
            });
            Poll::Pending
        })
    };
    let ctx = Context::background()
        .with_clock(clock)
        .with_timeout(GENEROUS);
    let called = Count::default();
    drop(ctx.on_done(called.adder()));
    assert_eq!(called.get(), 1, "there is no task that would come again");
}

#[test]
fn polls_of_tasks_read_no_clock_again_after_an_early_wake_up() {
    #[derive(Clone, Default)]
    struct Early(CountedClock, Arc<Mutex<Option<Waker>>>);

    impl Clock for Early {
        fn now(&self) -> Instant {
            self.0.now()
        }

        fn sleep_until(&self, _: Instant) -> Sleep {
            let slot = self.1.clone();
            Sleep::new(poll_fn(move |cx| {
                *slot.lock().unwrap() = Some(cx.waker().clone());
                Poll::<()>::Pending
            }))
        }
    }

    let clock = Early::default();
    let ctx = Context::background()
        .with_clock(clock.clone())
        .with_timeout(SECOND);
    let group = InPlaceGroup::new(&ctx);
    group.spawn(pending::<Result<(), Infallible>>());
    let mut waits = Polled::new(group.wait());
    assert!(waits.is_pending());
    let early = clock.1.lock().unwrap().take().unwrap();
    early.wake();
    assert!(waits.is_pending(), "the timer is polled again");
    eventually("the timer's poll", || clock.1.lock().unwrap().is_some());
    let read = || clock.0.1.get();
    let before = read();
    for _ in 0..100 {
        assert!(waits.is_pending());
    }
    assert_eq!(read(), before);
}

/// A clock whose timers do in their polls what the test likes; time stands still.
#[derive(Clone)]
struct Acts<F>(Instant, F);

impl<F: Fn(&mut task::Context<'_>) -> Poll<()> + Clone + Send + Sync + 'static> Clock for Acts<F> {
    fn now(&self) -> Instant {
        self.0
    }

    fn sleep_until(&self, _: Instant) -> Sleep {
        let act = self.1.clone();
        Sleep::new(poll_fn(move |cx| act(cx)))
    }
}

fn acting(
    act: impl Fn(&mut task::Context<'_>) -> Poll<()> + Clone + Send + Sync + 'static,
) -> Context {
    let clock = Acts(Instant::now(), act);
    Context::background().with_clock(clock).with_timeout(SECOND)
}

#[test]
fn a_timer_that_wakes_itself_and_is_ready_is_not_polled_again() {
    let polls = Count::default();
    let count = polls.clone();
    let ctx = acting(move |cx| {
        count.add();
        cx.waker().wake_by_ref();
        Poll::Ready(())
    });
    let (woken, waker) = counting();
    assert_eq!(poll(&mut ctx.done(), &waker), Poll::Ready(()));
    assert_eq!((polls.get(), woken.get()), (1, 0));
    assert_eq!(ctx.err(), Some(deadline_exceeded()));
}

/// The wake-up comes while another thread polls the timer: that one polls it once more.
#[test]
fn a_timer_that_is_woken_elsewhere_while_it_is_polled_is_polled_once_more() {
    let polls = Count::default();
    let count = polls.clone();
    let ctx = acting(move |cx| {
        count.add();
        if count.get() == 1 {
            let waker = cx.waker().clone();
            thread::spawn(move || waker.wake()).join().unwrap();
        }
        Poll::Pending
    });
    let done = waiting(&ctx, Waker::noop());
    assert_eq!((polls.get(), ctx.err()), (2, None));
    drop(done);
}

/// Hostile: the timer is due, and its poll polls what waits for it.
#[test]
fn a_timer_whose_poll_polls_its_own_waiter_is_polled_once_more() {
    static CTX: Mutex<Option<Context>> = Mutex::new(None);
    watched(|| {
        let polls = Count::default();
        let count = polls.clone();
        let ctx = acting(move |cx| {
            count.add();
            if count.get() == 1 {
                cx.waker().wake_by_ref();
                let ctx = CTX.lock().unwrap().take().unwrap();
                let mut done = ctx.done();
                assert!(poll(&mut done, Waker::noop()).is_pending());
                assert!(poll(&mut done, Waker::noop()).is_pending());
            }
            Poll::Pending
        });
        *CTX.lock().unwrap() = Some(ctx.clone());
        let done = waiting(&ctx, Waker::noop());
        assert_eq!((polls.get(), ctx.err()), (2, None));
        drop(done);
    });
}
