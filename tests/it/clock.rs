//! Every clock, polled by hand; real time only where that is the subject.

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

mod contract {
    use super::*;

    fn sleep_is_a_future<
        T: Future<Output = Result<(), TimerError>> + Send + Sync + Unpin + 'static,
    >() {
    }
    fn shared<T: Send + Sync + Clone + std::fmt::Debug + 'static>() {}

    #[test]
    fn auto_traits() {
        sleep_is_a_future::<Sleep>();
        shared::<SystemClock>();
        shared::<ManualClock>();
        shared::<LocalClock>();
        shared::<TimerError>();
    }

    #[test]
    fn a_clock_is_an_object_and_an_arc_of_one_is_a_clock() {
        let clocks: Vec<Arc<dyn Clock>> = vec![
            Arc::new(SystemClock),
            Arc::new(smol::Timer::after),
            Arc::new(futures_timer::Delay::new),
            Arc::new(async_std::task::sleep),
            Arc::new((Instant::now, smol::Timer::after)),
            Arc::new(LocalClock::new(smol::Timer::after)),
            Arc::new(Arc::new(SystemClock)),
        ];
        for clock in clocks {
            let deadline = Clock::now(&clock) + Duration::from_millis(2);
            assert_eq!(smol::block_on(clock.sleep_until(deadline)), Ok(()));
            assert!(Instant::now() >= deadline);
        }
    }
}

mod function {
    use super::*;

    #[test]
    fn tokio_sleep_is_a_clock() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let sleep = Clock::sleep_until(&tokio::time::sleep, Instant::now() + SOON);
        // Made outside the runtime, polled inside: the function runs there.
        assert_eq!(runtime.block_on(sleep), Ok(()));
    }

    #[test]
    fn tokio_sleep_outside_tokio_is_an_error() {
        let sleep = Clock::sleep_until(&tokio::time::sleep, Instant::now() + SOON);
        let error = smol::block_on(sleep).unwrap_err();
        assert!(error.to_string().contains("reactor"), "{error}");
    }

    #[test]
    fn called_on_first_poll_with_what_is_left() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let clock = move |left: Duration| {
            log.lock().unwrap().push(left);
            ready(())
        };
        let mut late = clock.sleep_until(Instant::now() + HOUR);
        assert!(asked.lock().unwrap().is_empty());
        let (_, waker) = counting();
        assert_eq!(poll(&mut late, &waker), DONE);
        let past = Instant::now() - Duration::from_millis(1);
        assert_eq!(poll(&mut clock.sleep_until(past), &waker), DONE);
        let asked = asked.lock().unwrap();
        assert!(asked[0] <= HOUR && asked[0] > HOUR / 2);
        assert_eq!(asked[1], Duration::ZERO);
    }

    #[test]
    fn a_panic_while_making_or_polling_is_an_error_and_stays_one() {
        fn panicking(_: Duration) -> std::future::Ready<()> {
            panic!("no timer today")
        }
        let sleeps = [
            Clock::sleep_until(&panicking, Instant::now()),
            Sleep::new(async { panic!("no timer today") }),
        ];
        for mut sleep in sleeps {
            let (_, waker) = counting();
            let first = poll(&mut sleep, &waker);
            let Poll::Ready(Err(error)) = &first else {
                panic!("{first:?}")
            };
            assert!(error.to_string().ends_with("no timer today"));
            assert_eq!(poll(&mut sleep, &waker), first);
        }
    }

    #[test]
    fn a_panic_while_dropping_is_contained() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let bomb = Bomb;
        drop(Sleep::new(async move {
            let _bomb = bomb;
            pending::<()>().await;
        }));
    }

    #[test]
    fn ready_again_after_ready() {
        let (_, waker) = counting();
        let mut sleep = Sleep::new(async { "any output" });
        assert_eq!(poll(&mut sleep, &waker), DONE);
        assert_eq!(poll(&mut sleep, &waker), DONE);
    }
}

mod own_poll {
    use super::*;

    /// A poll of the sleep is one poll of the timer, whatever the timer wakes meanwhile.
    fn polled_once(sleep: impl FnOnce(&Arc<Count>) -> Sleep) {
        let polls = Arc::new(Count::default());
        let mut sleep = sleep(&polls);
        let (woken, waker) = counting();
        for times in 1..5 {
            assert_eq!(poll(&mut sleep, &waker), Poll::Pending);
            assert_eq!((polls.get(), woken.get()), (times, times));
        }
        assert_eq!(poll(&mut sleep, &waker), DONE);
        assert_eq!((polls.get(), woken.get()), (5, 4));
    }

    fn restless(polls: &Arc<Count>) -> impl Fn(Duration) -> Restless + Clone + Send + Sync + use<> {
        let polls = polls.clone();
        move |_| Restless {
            polls: polls.clone(),
            left: 5,
        }
    }

    #[test]
    fn of_a_function_clock() {
        polled_once(|polls| restless(polls).sleep_until(Instant::now() + HOUR));
    }

    #[test]
    fn of_a_pair_clock() {
        polled_once(|polls| (Instant::now, restless(polls)).sleep_until(Instant::now() + HOUR));
    }

    #[test]
    fn of_a_local_clock() {
        polled_once(|polls| LocalClock::new(restless(polls)).sleep_until(Instant::now() + HOUR));
    }

    #[test]
    fn of_a_foreign_clock() {
        polled_once(|polls| Sleep::new(restless(polls)(HOUR)));
    }

    #[test]
    fn tokio_with_its_budget_spent() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (woken, waker) = counting();
        let mut sleep = Clock::sleep_until(&tokio::time::sleep, Instant::now());
        runtime.block_on(async {
            let spent = std::future::poll_fn(|cx| {
                while tokio::task::coop::has_budget_remaining() {
                    let step = tokio::task::coop::poll_proceed(cx);
                    step.map(|step| step.made_progress()).is_ready();
                }
                Poll::Ready(poll(&mut sleep, &waker))
            });
            assert_eq!(spent.await, Poll::Pending);
            tokio::task::yield_now().await;
            assert!(woken.get() > 0, "tokio wakes it so that it is polled again");
        });
        assert_eq!(runtime.block_on(sleep), Ok(()), "in a poll of its own");
    }
}

mod pair {
    use super::*;

    /// Time that is paused: the pair reads and sleeps by a clock that stands still.
    fn paused(
        time: &ManualClock,
    ) -> (
        impl Fn() -> Instant + use<>,
        impl Fn(Duration) -> Sleep + Clone + use<>,
    ) {
        let (now, sleep) = (time.clone(), time.clone());
        (
            move || now.now(),
            move |left| sleep.sleep_until(sleep.now() + left),
        )
    }

    #[test]
    fn goes_by_its_own_time() {
        let time = ManualClock::new();
        let clock = paused(&time);
        time.advance(HOUR);
        assert_eq!(clock.now(), time.now());
        let (woken, waker) = counting();
        let mut sleep = armed(&clock, HOUR, &waker);
        time.advance(HOUR - Duration::from_nanos(1));
        assert_eq!((woken.get(), poll(&mut sleep, &waker)), (0, Poll::Pending));
        time.advance(Duration::from_nanos(1));
        assert_eq!((woken.get(), poll(&mut sleep, &waker)), (1, DONE));
    }

    #[test]
    fn armed_by_the_first_poll_and_disarmed_by_drop() {
        let time = ManualClock::new();
        let clock = paused(&time);
        let mut sleep = clock.sleep_until(clock.now() + HOUR);
        assert_eq!(time.armed(), 0);
        assert_eq!(poll(&mut sleep, Waker::noop()), Poll::Pending);
        assert_eq!(time.armed(), 1);
        drop(sleep);
        assert_eq!(time.armed(), 0);
    }

    #[test]
    fn a_deadline_already_past_is_ready_at_once() {
        let time = ManualClock::new();
        let clock = paused(&time);
        let past = clock.now() - SOON;
        assert_eq!(poll(&mut clock.sleep_until(past), Waker::noop()), DONE);
    }

    #[test]
    fn first_polled_late_it_ends_late_but_never_early() {
        let time = ManualClock::new();
        let clock = paused(&time);
        let deadline = clock.now() + HOUR;
        let mut sleep = clock.sleep_until(deadline);
        time.advance(HOUR / 2);
        while poll(&mut sleep, Waker::noop()).is_pending() {
            assert!(time.advance_to_next());
        }
        assert!(time.now() >= deadline);
    }

    #[test]
    fn tokio_now_and_sleep_are_a_clock() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let clock = (
            || tokio::time::Instant::now().into_std(),
            tokio::time::sleep,
        );
        runtime.block_on(async {
            let deadline = clock.now() + Duration::from_millis(2);
            assert_eq!(clock.sleep_until(deadline).await, Ok(()));
            assert!(clock.now() >= deadline);
        });
    }

    #[test]
    fn a_panic_while_making_is_an_error() {
        fn panicking(_: Duration) -> std::future::Ready<()> {
            panic!("no timer today")
        }
        let sleep = (Instant::now, panicking).sleep_until(Instant::now());
        let error = smol::block_on(sleep).unwrap_err();
        assert!(error.to_string().ends_with("no timer today"));
    }
}

mod local {
    use super::*;
    use std::rc::Rc;
    use std::thread::ThreadId;

    /// What one thread's timers did, and where.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<(&'static str, ThreadId)>>>);

    impl Log {
        fn add(&self, what: &'static str) {
            self.0.lock().unwrap().push((what, thread::current().id()));
        }

        /// What happened; all of it on `home`.
        fn at(&self, home: ThreadId) -> Vec<&'static str> {
            let log = self.0.lock().unwrap();
            assert!(log.iter().all(|&(_, thread)| thread == home), "{log:?}");
            log.iter().map(|&(what, _)| what).collect()
        }
    }

    /// A part of a function or of a timer that notes where it is dropped. Not `Send`.
    struct Part(&'static str, Log, Rc<()>);

    impl Drop for Part {
        fn drop(&mut self) {
            self.1.add(self.0);
        }
    }

    /// A clock of this thread's, whose function and timers log. Its timers never end.
    fn logging(log: &Log) -> LocalClock {
        let function = Part("function dropped", log.clone(), Rc::default());
        LocalClock::new(move |_| {
            let log = &function.1;
            log.add("made");
            let timer = Part("timer dropped", log.clone(), function.2.clone());
            std::future::poll_fn(move |_| {
                timer.1.add("polled");
                Poll::<()>::Pending
            })
        })
    }

    fn elsewhere<R: Send>(act: impl FnOnce() -> R + Send) -> R {
        thread::scope(|scope| scope.spawn(act).join().expect("no panic"))
    }

    fn home() -> ThreadId {
        thread::current().id()
    }

    #[test]
    fn at_home_it_is_a_clock_like_any_other() {
        let rc = Rc::new(());
        let clock = LocalClock::new(move |left| {
            let rc = rc.clone();
            async move {
                smol::Timer::after(left).await;
                drop(rc);
            }
        });
        let deadline = clock.now() + Duration::from_millis(2);
        assert_eq!(smol::block_on(clock.sleep_until(deadline)), Ok(()));
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn made_polled_and_dropped_at_home() {
        let log = Log::default();
        let clock = logging(&log);
        let sleep = clock.sleep_until(Instant::now() + HOUR);
        assert!(log.at(home()).is_empty(), "armed by the first poll");
        drop(sleep);
        drop(armed(&clock, HOUR, Waker::noop()));
        drop(clock);
        let expected = ["made", "polled", "timer dropped", "function dropped"];
        assert_eq!(log.at(home()), expected);
    }

    #[test]
    fn first_polled_elsewhere_it_is_an_error_and_stays_one() {
        let log = Log::default();
        let clock = logging(&log);
        let mut sleep = clock.sleep_until(Instant::now() + HOUR);
        let answer = elsewhere(|| poll(&mut sleep, Waker::noop()));
        let Poll::Ready(Err(error)) = &answer else {
            panic!("{answer:?}")
        };
        assert!(error.to_string().contains("thread"), "{error}");
        assert_eq!(poll(&mut sleep, Waker::noop()), answer);
        assert!(log.at(home()).is_empty());
    }

    #[test]
    fn armed_at_home_and_polled_elsewhere_its_timer_comes_back() {
        let log = Log::default();
        let clock = logging(&log);
        let mut sleep = armed(&clock, HOUR, Waker::noop());
        assert!(elsewhere(|| poll(&mut sleep, Waker::noop())).is_ready());
        assert_eq!(log.at(home()), ["made", "polled"]);
        drop(armed(&clock, HOUR, Waker::noop()));
        let log = log.at(home());
        assert_eq!(
            log.iter().filter(|&&what| what == "timer dropped").count(),
            2
        );
    }

    #[test]
    fn moved_elsewhere_and_back_it_goes_on() {
        let log = Log::default();
        let clock = logging(&log);
        let sleep = armed(&clock, HOUR, Waker::noop());
        let mut sleep = elsewhere(move || sleep);
        assert_eq!(poll(&mut sleep, Waker::noop()), Poll::Pending);
        assert_eq!(log.at(home()), ["made", "polled", "polled"]);
    }

    #[test]
    fn dropped_elsewhere_it_is_dropped_at_home_on_the_next_use() {
        let log = Log::default();
        let clock = logging(&log);
        let sleep = armed(&clock, HOUR, Waker::noop());
        elsewhere(move || drop((sleep, clock)));
        assert_eq!(log.at(home()), ["made", "polled"]);
        drop(LocalClock::new(smol::Timer::after));
        let expected = ["made", "polled", "timer dropped", "function dropped"];
        assert_eq!(log.at(home()), expected);
    }

    #[test]
    fn dropped_elsewhere_it_is_dropped_when_its_thread_ends() {
        let log = Log::default();
        let noted = log.clone();
        let thread = thread::spawn(move || {
            let clock = logging(&noted);
            let sleep = armed(&clock, HOUR, Waker::noop());
            elsewhere(move || drop((sleep, clock)));
        });
        let home = thread.thread().id();
        thread.join().expect("no panic");
        let expected = ["made", "polled", "timer dropped", "function dropped"];
        assert_eq!(log.at(home), expected);
    }

    #[test]
    fn its_thread_gone_it_is_leaked_and_an_error() {
        let log = Log::default();
        let noted = log.clone();
        let thread = thread::spawn(move || {
            let clock = logging(&noted);
            let sleep = armed(&clock, HOUR, Waker::noop());
            (clock, sleep)
        });
        let home = thread.thread().id();
        let (clock, mut sleep) = thread.join().expect("no panic");
        assert!(matches!(
            poll(&mut sleep, Waker::noop()),
            Poll::Ready(Err(_))
        ));
        let mut new = clock.sleep_until(Instant::now());
        assert!(matches!(poll(&mut new, Waker::noop()), Poll::Ready(Err(_))));
        drop((clock, sleep, new));
        assert_eq!(log.at(home), ["made", "polled"]);
    }

    #[test]
    fn a_timer_that_ends_wakes_across_threads() {
        // The waker is another thread's; the timer stays at home.
        let clock = LocalClock::new(smol::Timer::after);
        let (told, waker) = telling();
        let mut sleep = armed(&clock, SOON, &waker);
        told.recv_timeout(GENEROUS).unwrap();
        assert_eq!(poll(&mut sleep, &waker), DONE);
    }

    #[test]
    fn a_panic_while_making_polling_or_dropping_is_contained() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let making = LocalClock::new(|_| -> std::future::Ready<()> { panic!("made") });
        let polling = LocalClock::new(|_| async { panic!("polled") });
        let dropping = LocalClock::new(|_| {
            let bomb = Bomb;
            async move {
                pending::<()>().await;
                drop(bomb);
            }
        });
        for clock in [making, polling] {
            let mut sleep = clock.sleep_until(Instant::now());
            assert!(matches!(
                poll(&mut sleep, Waker::noop()),
                Poll::Ready(Err(_))
            ));
        }
        drop(armed(&dropping, HOUR, Waker::noop()));
        let sleep = armed(&dropping, HOUR, Waker::noop());
        elsewhere(move || drop(sleep));
        drop(dropping);
    }
}

mod manual {
    use super::*;

    #[test]
    fn fires_at_its_deadline_and_not_before() {
        let clock = ManualClock::new();
        let (count, waker) = counting();
        let mut sleep = armed(&clock, HOUR, &waker);
        clock.advance(HOUR - Duration::from_nanos(1));
        assert_eq!((count.get(), poll(&mut sleep, &waker)), (0, Poll::Pending));
        clock.advance(Duration::from_nanos(1));
        assert_eq!((count.get(), poll(&mut sleep, &waker)), (1, DONE));
        assert_eq!(poll(&mut sleep, &waker), DONE);
    }

    #[test]
    fn armed_by_the_first_poll_and_disarmed_by_drop() {
        let clock = ManualClock::new();
        let (count, waker) = counting();
        let mut sleep = clock.sleep_until(clock.now() + HOUR);
        assert_eq!(clock.armed(), 0);
        assert!(poll(&mut sleep, &waker).is_pending());
        assert_eq!(clock.armed(), 1);
        drop(sleep);
        assert_eq!(clock.armed(), 0);
        clock.advance(HOUR);
        assert_eq!((count.get(), Arc::strong_count(&count)), (0, 2));
    }

    #[test]
    fn a_deadline_already_past_is_ready_at_once() {
        let clock = ManualClock::new();
        let (count, waker) = counting();
        assert_eq!(poll(&mut clock.sleep_until(clock.now()), &waker), DONE);
        let mut late = clock.sleep_until(clock.now() + HOUR);
        clock.advance(HOUR * 2);
        assert_eq!(poll(&mut late, &waker), DONE);
        assert_eq!((count.get(), clock.armed()), (0, 0));
    }

    /// Sleeps that log their name and the time they see.
    fn logging(
        clock: &ManualClock,
        log: &Arc<Mutex<Vec<(u64, Duration)>>>,
        name: u64,
        at: u64,
    ) -> Sleep {
        let (seen, log, start) = (clock.clone(), log.clone(), clock.now());
        let waker = on_wake(move || log.lock().unwrap().push((name, seen.now() - start)));
        armed(clock, Duration::from_secs(at), &waker)
    }

    #[test]
    fn one_long_step_fires_in_order_and_each_sees_its_own_time() {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let _sleeps: Vec<Sleep> = [(1, 5), (2, 3), (3, 5), (4, 1)]
            .map(|(name, at)| logging(&clock, &log, name, at))
            .into();
        clock.advance(HOUR);
        let second = Duration::from_secs;
        let expected = [
            (4, second(1)),
            (2, second(3)),
            (1, second(5)),
            (3, second(5)),
        ];
        assert_eq!(*log.lock().unwrap(), expected);
    }

    #[test]
    fn advance_to_next_fires_all_that_is_due_then_and_no_more() {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let _sleeps = [(1, 5), (2, 5), (3, 6)].map(|(name, at)| logging(&clock, &log, name, at));
        assert!(clock.advance_to_next());
        assert_eq!(log.lock().unwrap().len(), 2);
        assert!(clock.advance_to_next());
        assert_eq!(log.lock().unwrap().len(), 3);
        let now = clock.now();
        assert!(!clock.advance_to_next());
        assert_eq!(clock.now(), now);
    }

    #[test]
    fn a_waker_that_arms_another_within_the_step_sees_it_fire() {
        let clock = ManualClock::new();
        let (count, waker) = counting();
        let (inner, kept) = (clock.clone(), Mutex::new(Vec::new()));
        let arms = on_wake(move || kept.lock().unwrap().push(armed(&inner, SOON, &waker)));
        let _sleep = armed(&clock, SOON, &arms);
        clock.advance(SOON * 2);
        assert_eq!(count.get(), 1);
    }

    #[test]
    fn a_panicking_waker_stops_no_other() {
        let clock = ManualClock::new();
        let (count, waker) = counting();
        let _first = armed(&clock, SOON, &on_wake(|| panic!("waker")));
        let _second = armed(&clock, SOON, &waker);
        clock.advance(SOON);
        assert_eq!(count.get(), 1);
    }

    #[test]
    fn a_waker_may_drop_and_poll_and_advance_inline() {
        let clock = ManualClock::new();
        let (count, waker) = counting();
        let others = Mutex::new(vec![
            armed(&clock, HOUR, &waker),
            armed(&clock, HOUR, &waker),
        ]);
        let inner = clock.clone();
        let busy = on_wake(move || {
            let mut others = others.lock().unwrap();
            others.pop();
            others
                .iter_mut()
                .for_each(|sleep| assert!(poll(sleep, &waker).is_pending()));
            drop(others);
            inner.advance(HOUR);
        });
        let start = clock.now();
        let _sleep = armed(&clock, SOON, &busy);
        clock.advance(SOON);
        assert_eq!(count.get(), 1);
        assert_eq!(clock.now() - start, HOUR + SOON, "never back");
    }

    #[test]
    fn only_the_latest_waker_is_woken_and_the_others_are_let_go() {
        let clock = ManualClock::new();
        let ((first, one), (second, two)) = (counting(), counting());
        let mut sleep = armed(&clock, SOON, &one);
        assert!(poll(&mut sleep, &two).is_pending());
        assert_eq!(Arc::strong_count(&first), 2);
        clock.advance(SOON);
        assert_eq!((first.get(), second.get()), (0, 1));
    }

    #[test]
    fn every_size_fires_in_order_or_is_dropped() {
        for size in SIZES {
            let clock = ManualClock::new();
            let (count, waker) = counting();
            let after = |index: u64| Duration::from_micros(1 + index * 7919 % 5000);
            let sleeps: Vec<Sleep> = (0..size)
                .map(|index| armed(&clock, after(index), &waker))
                .collect();
            assert_eq!(clock.armed() as u64, size);
            let (kept, dropped): (Vec<_>, Vec<_>) =
                (0..).zip(sleeps).partition(|(index, _)| index % 3 > 0);
            drop(dropped);
            assert_eq!(clock.armed(), kept.len());
            clock.advance(Duration::from_micros(2500));
            clock.advance(HOUR);
            assert_eq!((count.get(), clock.armed()), (kept.len(), 0), "{size}");
            for (_, mut sleep) in kept {
                assert_eq!(poll(&mut sleep, &waker), DONE);
            }
        }
    }

    #[test]
    fn debug_shows_what_is_armed() {
        let clock = ManualClock::default();
        let mut sleep = armed(&clock, SOON, Waker::noop());
        assert!(format!("{clock:?}").contains("armed: 1"));
        assert!(format!("{sleep:?}").starts_with("Sleep { deadline: "));
        clock.advance(SOON);
        assert_eq!(poll(&mut sleep, Waker::noop()), DONE);
        assert_eq!(format!("{sleep:?}"), "Sleep { ended: Ok(()), .. }");
    }
}

mod system {
    use super::*;

    #[test]
    fn never_early_and_not_much_late() {
        for _ in 0..5 {
            let deadline = SystemClock.now() + SOON;
            assert_eq!(smol::block_on(SystemClock.sleep_until(deadline)), Ok(()));
            assert!(Instant::now() >= deadline);
            assert!(Instant::now() < deadline + GENEROUS);
        }
    }

    #[test]
    fn a_deadline_already_past_is_ready_at_once() {
        let (_, waker) = counting();
        // Before any that is armed, so that no alarm that is just ringing covers it.
        let past = SystemClock.now() - Duration::from_secs(1);
        assert_eq!(poll(&mut SystemClock.sleep_until(past), &waker), DONE);
        // Also with others armed.
        let _later = armed(&SystemClock, HOUR, &waker);
        assert_eq!(poll(&mut SystemClock.sleep_until(past), &waker), DONE);
    }

    #[test]
    fn an_earlier_deadline_overtakes_a_later_one() {
        let (told, waker) = telling();
        let _late = armed(&SystemClock, HOUR, Waker::noop());
        let _soon = armed(&SystemClock, SOON, &waker);
        told.recv_timeout(GENEROUS).unwrap();
    }

    #[test]
    fn the_next_one_is_armed_when_the_earliest_is_gone() {
        let (told, waker) = telling();
        let earliest = armed(&SystemClock, SOON, Waker::noop());
        let mut next = armed(&SystemClock, SOON * 2, &waker);
        drop(earliest);
        told.recv_timeout(GENEROUS).unwrap();
        assert_eq!(poll(&mut next, &waker), DONE);
    }

    #[test]
    fn a_dropped_sleep_wakes_no_task_and_drops_its_waker() {
        let (count, waker) = counting();
        drop(armed(&SystemClock, SOON, &waker));
        assert_eq!(Arc::strong_count(&count), 2);
        let (told, later) = telling();
        let _later = armed(&SystemClock, SOON * 2, &later);
        told.recv_timeout(GENEROUS).unwrap();
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn only_the_latest_waker_is_woken() {
        let (count, first) = counting();
        let (told, second) = telling();
        let mut sleep = armed(&SystemClock, SOON * 5, &first);
        assert!(poll(&mut sleep, &second).is_pending());
        assert_eq!(Arc::strong_count(&count), 2);
        told.recv_timeout(GENEROUS).unwrap();
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn a_panicking_waker_stops_no_other() {
        let panics: Vec<Sleep> = (0..4)
            .map(|_| armed(&SystemClock, SOON, &on_wake(|| panic!("waker"))))
            .collect();
        let (told, waker) = telling();
        let _same_time = armed(&SystemClock, SOON, &waker);
        told.recv_timeout(GENEROUS).unwrap();
        let _later = armed(&SystemClock, SOON, &waker);
        told.recv_timeout(GENEROUS).unwrap();
        drop(panics);
    }

    /// A waker that blocks until it is released; the others may not wait for it.
    fn blocking() -> (Sender<()>, Waker) {
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let block = on_wake(move || gate.lock().unwrap().recv_timeout(GENEROUS).unwrap_or(()));
        (release, block)
    }

    #[test]
    fn a_blocking_waker_delays_no_other_of_the_same_deadline_or_later() {
        let ((one, blocks_one), (two, blocks_two)) = (blocking(), blocking());
        let deadline = SystemClock.now() + SOON;
        let (told, waker) = telling();
        let mut sleeps = Vec::new();
        for (after, waker) in [
            (0, &blocks_one),
            (0, &waker),
            (0, &blocks_two),
            (0, &waker),
            (5, &waker),
        ] {
            let mut sleep = SystemClock.sleep_until(deadline + Duration::from_millis(after));
            assert!(poll(&mut sleep, waker).is_pending());
            sleeps.push(sleep);
        }
        for _ in 0..3 {
            let at = told
                .recv_timeout(GENEROUS / 2)
                .expect("not behind the blocked ones");
            assert!(at >= deadline);
        }
        drop((one, two));
    }

    #[test]
    fn a_blocking_waker_delays_no_foreign_timer() {
        let (release, blocks) = blocking();
        let _blocked = armed(&SystemClock, SOON, &blocks);
        let (told, waker) = telling();
        let mut foreign = futures_timer::Delay::new(SOON * 2);
        assert!(
            Pin::new(&mut foreign)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        told.recv_timeout(GENEROUS / 2).unwrap();
        drop(release);
    }

    #[test]
    fn a_waker_may_drop_and_poll_other_sleeps_inline() {
        let others = Mutex::new(vec![
            armed(&SystemClock, HOUR, Waker::noop()),
            armed(&SystemClock, HOUR, Waker::noop()),
        ]);
        let (done, told) = mpsc::channel();
        let busy = on_wake(move || {
            let (_, fresh) = counting();
            let mut others = others.lock().unwrap();
            others.pop();
            others
                .iter_mut()
                .for_each(|sleep| assert!(poll(sleep, &fresh).is_pending()));
            others.push(armed(&SystemClock, Duration::from_millis(500), &fresh));
            done.send(()).unwrap();
        });
        let _sleep = armed(&SystemClock, SOON, &busy);
        told.recv_timeout(GENEROUS).unwrap();
    }

    #[test]
    fn a_replaced_waker_may_drop_sleeps_when_dropped() {
        /// Owns a sleep, as a task owned by its waker does.
        struct Owner(#[allow(dead_code)] Mutex<Sleep>);
        impl Wake for Owner {
            fn wake(self: Arc<Self>) {}
        }
        let owned = armed(&SystemClock, HOUR, Waker::noop());
        let owner = Waker::from(Arc::new(Owner(Mutex::new(owned))));
        let mut sleep = SystemClock.sleep_until(SystemClock.now() + HOUR);
        assert!(poll(&mut sleep, &owner).is_pending());
        drop(owner);
        assert!(poll(&mut sleep, Waker::noop()).is_pending());
    }

    /// A waker that records when it was woken for the last of `times`.
    fn counting_down(times: u64) -> (Receiver<()>, Waker) {
        let (sender, receiver) = mpsc::channel();
        let left = AtomicUsize::new(times as usize);
        let count = move || {
            if left.fetch_sub(1, SeqCst) == 1 {
                sender.send(()).unwrap_or(());
            }
        };
        (receiver, on_wake(count))
    }

    #[test]
    fn every_size_fires() {
        watched(|| {
            for size in SIZES {
                let (told, waker) = counting_down(size);
                let begin = SystemClock.now() + GENEROUS / 200;
                let mut sleeps: Vec<(Poll<_>, Sleep)> = (0..size)
                    .map(|index| {
                        let after = Duration::from_micros(index * 7919 % 5000);
                        let mut sleep = SystemClock.sleep_until(begin + after);
                        (poll(&mut sleep, &waker), sleep)
                    })
                    .collect();
                // A crowd takes longer to arm than its earliest deadlines are away.
                let ended = sleeps.iter().filter(|(first, _)| first.is_ready()).count();
                (0..ended).for_each(|_| waker.wake_by_ref());
                if size > 0 {
                    told.recv_timeout(GENEROUS).expect("all fire");
                }
                for (_, sleep) in &mut sleeps {
                    assert_eq!(poll(sleep, &waker), DONE);
                }
            }
        });
    }

    #[test]
    fn every_size_is_dropped_while_others_stay() {
        for size in SIZES {
            let (count, waker) = counting();
            let arm = |index: u64| {
                armed(
                    &SystemClock,
                    HOUR + Duration::from_micros(index * 7919 % 5000),
                    &waker,
                )
            };
            let sleeps: Vec<Sleep> = (0..size).map(arm).collect();
            let (told, last) = telling();
            let _soon = armed(&SystemClock, Duration::from_millis(1), &last);
            let (kept, dropped): (Vec<_>, Vec<_>) =
                (0..).zip(sleeps).partition(|(index, _)| index % 3 > 0);
            drop(dropped);
            told.recv_timeout(GENEROUS).unwrap();
            assert_eq!(Arc::strong_count(&count), 2 + kept.len());
            drop(kept);
            assert_eq!((count.get(), Arc::strong_count(&count)), (0, 2));
        }
    }

    #[test]
    fn armed_by_one_thread_polled_and_dropped_by_others() {
        watched(|| {
            let (told, waker) = telling();
            let mut soon = armed(&SystemClock, SOON, &waker);
            let far = armed(&SystemClock, HOUR, &waker);
            let polled = thread::spawn(move || {
                told.recv_timeout(GENEROUS).unwrap();
                poll(&mut soon, Waker::noop())
            });
            assert_eq!(polled.join().unwrap(), DONE);
            thread::spawn(move || drop(far)).join().unwrap();
        });
    }

    #[test]
    fn more_threads_than_shards_each_arm_fire_and_drop() {
        watched(|| {
            let arm = |index: u64| {
                move || {
                    let far = armed(&SystemClock, HOUR, Waker::noop());
                    let deadline = SystemClock.now() + Duration::from_millis(index % 7);
                    assert_eq!(smol::block_on(SystemClock.sleep_until(deadline)), Ok(()));
                    assert!(SystemClock.now() >= deadline);
                    drop(far);
                }
            };
            let threads: Vec<_> = (0..40).map(|index| thread::spawn(arm(index))).collect();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
    }

    #[test]
    fn a_waker_that_panics_when_dropped_is_contained() {
        struct Bomb;
        impl Wake for Bomb {
            fn wake(self: Arc<Self>) {}
        }
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let clock = ManualClock::new();
        let bomb = || Waker::from(Arc::new(Bomb));
        let arm = |clock: &dyn Clock, waker: Waker| {
            let mut sleep = clock.sleep_until(clock.now() + HOUR);
            assert!(poll(&mut sleep, &waker).is_pending());
            // The sleep's clone is the last.
            std::mem::forget(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
                || drop(waker),
            )));
            sleep
        };
        for clock in [&clock as &dyn Clock, &SystemClock] {
            drop(arm(clock, bomb()));
            let mut sleep = arm(clock, bomb());
            assert!(poll(&mut sleep, Waker::noop()).is_pending());
        }
    }

    #[test]
    fn a_hundred_thousand_at_once() {
        let (count, waker) = counting();
        let far: Vec<Sleep> = (0..100_000)
            .map(|index| {
                armed(
                    &SystemClock,
                    HOUR + Duration::from_micros(index * 7919 % 100_000),
                    &waker,
                )
            })
            .collect();
        let (told, last) = telling();
        let _soon = armed(&SystemClock, SOON, &last);
        told.recv_timeout(GENEROUS).unwrap();
        drop(far);
        assert_eq!((count.get(), Arc::strong_count(&count)), (0, 2));
    }

    #[test]
    fn many_threads_arming_and_dropping_and_waiting() {
        let wait = |seed: u64| {
            move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..200 {
                    let after = Duration::from_micros(random.u64(..2000));
                    drop(armed(&SystemClock, after + HOUR, Waker::noop()));
                    let sleep = SystemClock.sleep_until(SystemClock.now() + after);
                    assert_eq!(smol::block_on(sleep), Ok(()));
                }
            }
        };
        let threads: Vec<_> = (0..4).map(|seed| thread::spawn(wait(seed))).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
}
