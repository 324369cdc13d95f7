//! What kills futures-timer's only thread, or keeps any from starting, leaves our sleeps as they are. It does break
//! the process, so each case has one of its own.

use failfast::clock::{Clock, SystemClock, TimerError};
use std::env;
use std::future::Future;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
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
        watch_over_this_process();
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

/// Ends the process if the case hangs. (One case has no thread to spare for this.)
fn watch_over_this_process() {
    let _ = thread::Builder::new().spawn(|| {
        thread::sleep(GENEROUS * 6);
        eprintln!("hangs");
        std::process::abort();
    });
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
        .expect("it ends all sleeps when it dies");
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

/// A context arms its deadline in another way than a sleep.
#[test]
fn killed_while_a_context_waits_for_its_deadline() {
    alone("killed_while_a_context_waits_for_its_deadline", &[], || {
        let (told, waker) = telling();
        let deadline = SystemClock.now() + LATER;
        let ctx = failfast::Context::background().with_deadline(deadline);
        let mut done = ctx.done();
        assert!(poll(&mut done, &waker).is_pending());
        kill_futures_timer();
        assert!(told.recv_timeout(GENEROUS).expect("it ends all the same") >= deadline);
        assert!(ctx.err().expect("it has ended").is_deadline_exceeded());
    });
}

#[test]
fn no_thread_can_be_started_for_a_contexts_deadline() {
    let stack = (usize::MAX / 4).to_string();
    alone(
        "no_thread_can_be_started_for_a_contexts_deadline",
        &[("RUST_MIN_STACK", &stack)],
        || {
            assert!(thread::Builder::new().spawn(|| ()).is_err(), "the premise");
            for _ in 0..3 {
                let (told, waker) = telling();
                // Long, because futures-timer's panic may be reported with a slow backtrace, and a deadline that passes wins.
                let ctx = failfast::Context::background().with_timeout(GENEROUS);
                let mut done = ctx.done();
                if poll(&mut done, &waker).is_pending() {
                    told.recv_timeout(GENEROUS).expect("woken to see the error");
                }
                let error = ctx.err().expect("it has ended");
                assert!(error.is_canceled(), "not by its deadline, which is to come");
                let cause = error.cause().to_string();
                assert!(cause.contains("no thread could be started"), "{cause}");
            }
        },
    );
}

/// Runs `case` in a forked child, which ends by a signal if it hangs, and returns its status.
#[cfg(unix)]
fn in_child(case: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child uses only what these tests are about, and then leaves.
    let child = unsafe { libc::fork() };
    if child == 0 {
        child_runs(case);
    }
    child
}

#[cfg(unix)]
fn child_runs(case: impl FnOnce()) -> ! {
    // SAFETY: requests a signal.
    unsafe { libc::alarm(30) };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(case));
    write_counters();
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(i32::from(outcome.is_err())) }
}

/// `_exit` skips what writes them in a build that measures coverage: then much runs in children alone.
#[cfg(unix)]
fn write_counters() {
    #[cfg(coverage)]
    {
        unsafe extern "C" {
            fn __llvm_profile_write_file() -> std::ffi::c_int;
        }
        // SAFETY: the child's other threads, if it has any, may count on meanwhile.
        assert_eq!(unsafe { __llvm_profile_write_file() }, 0);
    }
}

#[cfg(unix)]
fn ended_well(child: libc::pid_t) {
    let mut status = -1;
    // SAFETY: `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child's sleeps fire");
}

#[cfg(unix)]
fn arm_and_drop(after: Duration) {
    let mut sleep = SystemClock.sleep_until(SystemClock.now() + after);
    assert!(poll(&mut sleep, Waker::noop()).is_pending());
}

#[cfg(unix)]
#[test]
fn forked_while_a_sleep_is_armed() {
    alone("forked_while_a_sleep_is_armed", &[], || {
        let (told, waker) = telling();
        let mut parents = SystemClock.sleep_until(SystemClock.now() + LATER);
        assert!(poll(&mut parents, &waker).is_pending());
        ended_well(in_child(|| {
            fires(LATER * 2);
            fires(SOON);
        }));
        told.recv_timeout(GENEROUS).expect("and the parent's does");
    });
}

/// An alarm that was set for a sleep that is gone again rings in the parent only.
#[cfg(unix)]
#[test]
fn forked_after_sleeps_were_withdrawn() {
    alone("forked_after_sleeps_were_withdrawn", &[], || {
        arm_and_drop(Duration::from_millis(10));
        arm_and_drop(Duration::from_millis(60));
        ended_well(in_child(|| fires(Duration::from_millis(30))));
        ended_well(in_child(|| fires(LATER)));
        thread::sleep(Duration::from_millis(100));
        ended_well(in_child(|| fires(Duration::from_millis(30))));
        for _ in 0..5 {
            (0..3).for_each(|_| arm_and_drop(LATER));
            ended_well(in_child(|| fires(SOON)));
            // Covered by the alarm that the parent has set for its own.
            ended_well(in_child(|| fires(LATER)));
        }
    });
}

/// The C library is not notified of such a child; its process id shows it.
#[cfg(target_os = "linux")]
#[test]
fn forked_by_a_bare_system_call() {
    alone("forked_by_a_bare_system_call", &[], || {
        arm_and_drop(Duration::from_millis(10));
        // SAFETY: as `fork`; the arguments request a child that shares nothing.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        if child == 0 {
            child_runs(|| fires(SOON));
        }
        ended_well(libc::pid_t::try_from(child).expect("a process id"));
    });
}

#[cfg(unix)]
#[test]
fn forked_twice() {
    alone("forked_twice", &[], || {
        arm_and_drop(LATER);
        ended_well(in_child(|| {
            arm_and_drop(LATER);
            ended_well(in_child(|| fires(SOON)));
            fires(SOON);
        }));
        fires(SOON);
    });
}

/// A task that waited with the parent is woken in the child as soon as that uses the clock, and arms again.
#[cfg(unix)]
#[test]
fn forked_with_a_sleep_that_goes_on_in_the_child() {
    alone("forked_with_a_sleep_that_goes_on_in_the_child", &[], || {
        let (told, waker) = telling();
        let deadline = SystemClock.now() + LATER;
        let mut sleep = SystemClock.sleep_until(deadline);
        assert!(poll(&mut sleep, &waker).is_pending());
        let mut dropped = SystemClock.sleep_until(deadline);
        assert!(poll(&mut dropped, &waker).is_pending());
        ended_well(in_child(|| {
            drop(dropped);
            fires(SOON);
            told.recv_timeout(GENEROUS).expect("woken to arm again");
            while poll(&mut sleep, &waker).is_pending() {
                told.recv_timeout(GENEROUS).expect("and when it is due");
            }
            assert!(SystemClock.now() >= deadline);
        }));
    });
}

/// Another thread may hold any of the locks at the moment of the fork.
#[cfg(unix)]
#[test]
fn forked_while_other_threads_arm_and_drop() {
    alone("forked_while_other_threads_arm_and_drop", &[], || {
        static OVER: AtomicBool = AtomicBool::new(false);
        let busy = || {
            while !OVER.load(SeqCst) {
                let mut rings = SystemClock.sleep_until(SystemClock.now() + SOON / 50);
                let _ = poll(&mut rings, Waker::noop());
                arm_and_drop(GENEROUS);
            }
        };
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(busy)).collect();
        for _ in 0..30 {
            ended_well(in_child(|| fires(SOON)));
        }
        OVER.store(true, SeqCst);
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
    });
}

#[cfg(unix)]
#[test]
fn forked_with_a_context_that_goes_on_in_the_child() {
    alone(
        "forked_with_a_context_that_goes_on_in_the_child",
        &[],
        || {
            let (told, waker) = telling();
            let deadline = SystemClock.now() + LATER;
            let ctx = failfast::Context::background().with_deadline(deadline);
            let mut done = ctx.done();
            assert!(poll(&mut done, &waker).is_pending());
            let both = || {
                fires(SOON); // the clock is used
                assert!(told.recv_timeout(GENEROUS).expect("it ends") >= deadline);
                assert!(ctx.is_done());
            };
            ended_well(in_child(both));
            both();
        },
    );
}

/// A child that uses no clock has no timer: it starts no thread, and wakes nothing of its parent's executors.
#[cfg(target_os = "linux")]
#[test]
fn forked_child_that_only_drops_what_it_inherited_starts_nothing() {
    alone(
        "forked_child_that_only_drops_what_it_inherited_starts_nothing",
        &[],
        || {
            let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
            let (told, waker) = telling();
            let mut others = SystemClock.sleep_until(SystemClock.now() + GENEROUS);
            assert!(poll(&mut others, &waker).is_pending());
            let ctx = failfast::Context::background().with_timeout(GENEROUS);
            let (below, canceller) = ctx.with_cancel();
            let mut done = [ctx.done(), below.done()];
            for done in &mut done {
                assert!(poll(done, Waker::noop()).is_pending());
            }
            ended_well(in_child(|| {
                canceller.cancel();
                drop((done, ctx, below));
                thread::sleep(SOON);
                assert_eq!(threads(), 1);
                assert!(told.try_recv().is_err(), "its parent's waker was run");
            }));
        },
    );
}
