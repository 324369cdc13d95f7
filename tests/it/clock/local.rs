//! `LocalClock`: timers that are bound to a thread.

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
