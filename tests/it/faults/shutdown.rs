//! Executors that are shut down, and processes that are forked.

use super::tools::{apart, poll_once};
use crate::executor::on_wake;
use crate::support::{Count, eventually};
use failfast::{Context, ErrorKind, Group, Task};
use futures::executor::block_on;
use std::collections::HashSet;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task;
use std::thread;

/// Fault 10: lost tasks blocked the thread that dropped them up to 50 ms each, and started a thread each.
mod executor_is_shut_down {
    use super::*;

    type Tasks = Arc<Mutex<Vec<Task>>>;
    type Waits = Vec<Pin<Box<dyn Future<Output = ErrorKind>>>>;

    /// Many groups, each waited for, and their tasks.
    fn groups(count: usize, waker: &task::Waker) -> (Tasks, Waits) {
        let tasks = Tasks::default();
        let wait = |_| {
            let inbox = tasks.clone();
            let group = Group::<()>::new(move |task| inbox.lock().unwrap().push(task));
            group.spawn(pending::<Result<_, Infallible>>());
            let mut wait: Pin<Box<dyn Future<Output = ErrorKind>>> =
                Box::pin(async { group.wait().await.unwrap_err().kind() });
            assert!(
                wait.as_mut()
                    .poll(&mut task::Context::from_waker(waker))
                    .is_pending()
            );
            wait
        };
        let waits = (0..count).map(wait).collect();
        (tasks, waits)
    }

    /// Fault 10: the executor drops its tasks under a lock that its wakers take. 1,000 waits of 50 ms would be
    /// more than the watchdog allows.
    #[test]
    fn dropping_thread_is_not_blocked_though_the_wakers_take_its_lock() {
        apart(|| {
            const GROUPS: usize = 1_000;
            let lock = Arc::new(Mutex::new(()));
            let (woken, threads) = (Count::default(), Arc::new(Mutex::new(HashSet::new())));
            let (wanted, count, ids) = (lock.clone(), woken.clone(), threads.clone());
            let waker = on_wake(move || {
                ids.lock().unwrap().insert(thread::current().id());
                drop(wanted.lock());
                count.add();
            });
            let (tasks, waits) = groups(GROUPS, &waker);
            let lost = std::mem::take(&mut *tasks.lock().unwrap());
            let guard = lock.lock().unwrap();
            drop(lost);
            drop(guard);
            eventually("each waiter is woken", || woken.get() >= GROUPS);
            let threads = threads.lock().unwrap().len();
            assert!(threads <= 64, "{threads} threads for {GROUPS} groups");
            for wait in waits {
                assert_eq!(block_on(wait), ErrorKind::Lost);
            }
        });
    }

    /// Fault 10: no thread is started for each lost task.
    #[test]
    fn no_thread_is_started_for_each_group() {
        apart(|| {
            const GROUPS: usize = 10_000;
            let (woken, threads) = (Count::default(), Arc::new(Mutex::new(HashSet::new())));
            let (count, ids) = (woken.clone(), threads.clone());
            let waker = on_wake(move || {
                ids.lock().unwrap().insert(thread::current().id());
                count.add();
            });
            let (tasks, waits) = groups(GROUPS, &waker);
            drop(std::mem::take(&mut *tasks.lock().unwrap()));
            eventually("each waiter is woken", || woken.get() >= GROUPS);
            let threads = threads.lock().unwrap().len();
            assert!(threads <= 64, "{threads} threads for {GROUPS} groups");
            assert!(
                waits
                    .into_iter()
                    .all(|wait| block_on(wait) == ErrorKind::Lost)
            );
        });
    }

    /// Fault 10: a runtime that goes with the groups that its own tasks wait for.
    #[test]
    fn runtime_goes_with_groups_in_flight() {
        apart(|| {
            let dropped = Count::default();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .build()
                .unwrap();
            let started = Count::default();
            for _ in 0..1_000 {
                let (guard, began) = (crate::support::OnDrop(dropped.clone()), started.clone());
                drop(runtime.spawn(async move {
                    let _guard = guard;
                    let group = Group::<()>::new(tokio::spawn);
                    group.spawn(pending::<Result<_, Infallible>>());
                    began.add();
                    drop(group.wait().await);
                }));
            }
            eventually("all have started", || started.get() == 1_000);
            drop(runtime);
            assert_eq!(dropped.get(), 1_000);
        });
    }

    /// Fault 10: from outside, a waiter gets the error that its tasks were lost.
    #[test]
    fn waits_from_outside_get_the_error() {
        apart(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .build()
                .unwrap();
            let handle = runtime.handle().clone();
            let groups: Vec<_> = (0..500)
                .map(|_| {
                    let handle = handle.clone();
                    let group = Group::<()>::new(move |task| handle.spawn(task));
                    group.spawn_named("profile", pending::<Result<_, Infallible>>());
                    Box::pin(group.wait())
                })
                .collect();
            drop(runtime);
            for mut wait in groups {
                let ended = match poll_once(wait.as_mut()) {
                    task::Poll::Ready(ended) => ended,
                    task::Poll::Pending => block_on(wait),
                };
                let error = ended.unwrap_err();
                assert_eq!(
                    (error.kind(), *error.task().unwrap() == "profile"),
                    (ErrorKind::Lost, true)
                );
            }
        });
    }
}

/// Fault 21: a forked child trusted the alarm of a sleep that was withdrawn, and hung.
#[cfg(unix)]
mod process_is_forked {
    use super::*;
    use crate::support::counting;
    use std::time::Duration;

    /// Whether a forked child wakes from a deadline so far away.
    fn child_wakes(millis: u64) -> bool {
        // SAFETY: the child calls nothing but this library, and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: it is async-signal-safe, and ends the child should it hang.
            unsafe { libc::alarm(10) };
            block_on(
                Context::background()
                    .with_timeout(Duration::from_millis(millis))
                    .done(),
            );
            // SAFETY: it ends the child without running its parent's destructors.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: `child` is our child, and `status` is ours to write.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }

    /// Waits for a deadline a moment, and withdraws.
    fn arm_and_withdraw(millis: u64) {
        let (_, waker) = counting();
        let timed = Context::background().with_timeout(Duration::from_millis(millis));
        assert!(crate::support::poll(&mut timed.done(), &waker).is_pending());
    }

    /// Fault 21: no sleep is armed any more when it forks; earlier, later, and of the same moment.
    #[test]
    fn child_wakes_though_its_parent_withdrew_its_sleeps() {
        apart(|| {
            arm_and_withdraw(10);
            arm_and_withdraw(60);
            for millis in [1, 10, 30, 60, 90] {
                assert!(child_wakes(millis), "{millis} ms: it hangs");
            }
            arm_and_withdraw(5_000);
            assert!(child_wakes(20), "it trusts an alarm that its parent had");
        });
    }

    /// Fault 21: sleeps are armed in the parent when it forks.
    #[test]
    fn child_wakes_though_its_parent_has_sleeps_armed() {
        apart(|| {
            let (_, waker) = counting();
            for parents in [20, 5_000] {
                let timed = Context::background().with_timeout(Duration::from_millis(parents));
                let mut done = timed.done();
                assert!(crate::support::poll(&mut done, &waker).is_pending());
                assert!(child_wakes(10), "earlier than its parent's");
                assert!(child_wakes(40), "later or earlier than its parent's");
            }
            block_on(
                Context::background()
                    .with_timeout(Duration::from_millis(10))
                    .done(),
            );
        });
    }
}
