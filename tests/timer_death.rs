//! What kills futures-timer's only thread, or keeps any from starting, harms no
//! sleep of ours. It does harm the process, so each case has one of its own.

use failfast::{Clock, SystemClock, TimerError};
use std::env;
use std::future::Future;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

const GENEROUS: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(50);
const LATER: Duration = Duration::from_millis(300);
const INSIDE: &str = "FAILFAST_TEST_INSIDE";

/// Runs the test `name` in a process of its own.
fn alone(name: &str, variables: &[(&str, &str)], case: fn()) {
    if env::var_os(INSIDE).is_some() {
        return case();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{out}\n{err}"
    );
}

struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("a foreign waker panics on futures-timer's thread");
    }
}

struct Tell(mpsc::Sender<Instant>);

impl Wake for Tell {
    fn wake(self: Arc<Self>) {
        self.0.send(Instant::now()).unwrap_or(());
    }
}

fn telling() -> (Receiver<Instant>, Waker) {
    let (sender, receiver) = mpsc::channel();
    (receiver, Waker::from(Arc::new(Tell(sender))))
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Kills futures-timer's thread and waits until it is dead.
fn kill_futures_timer() {
    let (told, waker) = telling();
    let mut witness = futures_timer::Delay::new(GENEROUS);
    let mut bomb = futures_timer::Delay::new(SOON);
    assert!(poll(&mut witness, &waker).is_pending());
    assert!(poll(&mut bomb, &Waker::from(Arc::new(Bomb))).is_pending());
    told.recv_timeout(GENEROUS)
        .expect("it tells all when it dies");
}

fn fires(after: Duration) {
    let (told, waker) = telling();
    let deadline = SystemClock.now() + after;
    let mut sleep = SystemClock.sleep_until(deadline);
    assert_eq!(poll(&mut sleep, &waker), Poll::Pending);
    assert!(told.recv_timeout(GENEROUS).expect("it fires") >= deadline);
    assert_eq!(poll(&mut sleep, &waker), Poll::Ready(Ok(())));
}

#[test]
fn killed_while_a_sleep_is_armed() {
    alone("killed_while_a_sleep_is_armed", &[], || {
        let (told, waker) = telling();
        let deadline = SystemClock.now() + LATER;
        let mut sleep = SystemClock.sleep_until(deadline);
        assert!(poll(&mut sleep, &waker).is_pending());
        kill_futures_timer();
        assert!(told.recv_timeout(GENEROUS).expect("it fires all the same") >= deadline);
        assert_eq!(poll(&mut sleep, &waker), Poll::Ready(Ok(())));
        fires(SOON);
        fires(SOON);
    });
}

#[test]
fn killed_before_the_first_sleep() {
    alone("killed_before_the_first_sleep", &[], || {
        kill_futures_timer();
        fires(SOON);
        fires(SOON);
    });
}

#[test]
fn killed_after_a_sleep_was_dropped() {
    alone("killed_after_a_sleep_was_dropped", &[], || {
        let mut early = SystemClock.sleep_until(SystemClock.now() + SOON * 5);
        assert!(poll(&mut early, Waker::noop()).is_pending());
        drop(early);
        kill_futures_timer();
        fires(LATER);
    });
}

#[test]
fn own_thread_takes_an_earlier_deadline_and_survives_panics() {
    alone(
        "own_thread_takes_an_earlier_deadline_and_survives_panics",
        &[],
        || {
            kill_futures_timer();
            let mut late = SystemClock.sleep_until(SystemClock.now() + GENEROUS * 100);
            assert!(poll(&mut late, Waker::noop()).is_pending());
            let mut bomb = SystemClock.sleep_until(SystemClock.now() + SOON);
            assert!(poll(&mut bomb, &Waker::from(Arc::new(Bomb))).is_pending());
            fires(SOON * 2);
        },
    );
}

#[test]
fn no_thread_can_be_started() {
    // Stacks of this size can't be had.
    let stack = (usize::MAX / 4).to_string();
    alone(
        "no_thread_can_be_started",
        &[("RUST_MIN_STACK", &stack)],
        || {
            assert!(thread::Builder::new().spawn(|| ()).is_err(), "the premise");
            for _ in 0..3 {
                let (told, waker) = telling();
                let mut sleep = SystemClock.sleep_until(SystemClock.now() + SOON);
                let failed: Result<(), TimerError> = match poll(&mut sleep, &waker) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => {
                        told.recv_timeout(GENEROUS).expect("woken to see the error");
                        smol::future::block_on(&mut sleep)
                    }
                };
                let message = failed.expect_err("no one keeps the time").to_string();
                assert!(message.contains("no thread could be started"), "{message}");
            }
        },
    );
}

/// The child waits for a sleep of its own and says so by its exit code.
#[cfg(unix)]
#[test]
fn forked_while_a_sleep_is_armed() {
    alone("forked_while_a_sleep_is_armed", &[], || {
        let (told, waker) = telling();
        let mut parents = SystemClock.sleep_until(SystemClock.now() + LATER);
        assert!(poll(&mut parents, &waker).is_pending());
        // SAFETY: the child uses only what this test is about, and then leaves.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let outcome = std::panic::catch_unwind(|| {
                fires(LATER * 2);
                fires(SOON);
            });
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(i32::from(outcome.is_err())) };
        }
        let mut status = -1;
        // SAFETY: `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child's sleeps fire");
        told.recv_timeout(GENEROUS).expect("and the parent's does");
    });
}
