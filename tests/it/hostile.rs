//! Hostile executors, tasks and users: nothing hangs, nothing aborts, and the first cause is never lost.
//!
//! Every test runs under a watchdog: a hang is a failure.

use crate::executor::{Executor, Life, Living, Polled, on_wake, remote, watched};
use crate::group::{pending_in, told};
use failfast::clock::ManualClock;
use failfast::{Context, Ending, Error, ErrorKind, Group, InPlaceGroup, LocalInPlaceGroup, Task};
use futures::FutureExt;
use futures::executor::block_on;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{self, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const ONE: NonZeroUsize = NonZeroUsize::MIN;

async fn stuck(life: Life) -> Result<u32, Infallible> {
    let _life = life;
    pending().await
}

fn poll_with(task: &mut Task, waker: &Waker) -> Poll<()> {
    Pin::new(task).poll(&mut task::Context::from_waker(waker))
}

/// A value whose destructor panics, with a payload whose destructor panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        struct Payload;
        impl Drop for Payload {
            fn drop(&mut self) {
                panic!("the payload's destructor");
            }
        }
        std::panic::panic_any(Payload);
    }
}

mod executors {
    use super::*;

    /// Polls inline in `spawn`, and keeps what is not ready.
    #[test]
    fn polls_inline_in_spawn() {
        watched(|| {
            let kept = Arc::new(Mutex::new(Vec::new()));
            let keep = kept.clone();
            let living = Living::default();
            let group = Group::new(move |mut task: Task| {
                if poll_with(&mut task, Waker::noop()).is_pending() {
                    keep.lock().unwrap().push(task);
                }
            })
            .with_limit(ONE);
            let handle = group.handle();
            for number in 0..50 {
                let handle = handle.clone();
                group.spawn(async move {
                    let _ = handle.spawn(async move { Ok::<_, Infallible>(number + 100) });
                    Ok::<_, Infallible>(number)
                });
            }
            let mut wait = Polled::new(group.wait());
            while wait.is_pending() {
                let tasks = std::mem::take(&mut *kept.lock().unwrap());
                for mut task in tasks {
                    while poll_with(&mut task, Waker::noop()).is_pending() {}
                }
                if kept.lock().unwrap().is_empty() && wait.poll().is_ready() {
                    break;
                }
            }
            assert_eq!(living.count(), 0);
        });
    }

    /// Never runs its tasks: the group is not misled, and the limit for stragglers ends the wait.
    #[test]
    fn never_polls() {
        watched(|| {
            let clock = ManualClock::new();
            let kept = Mutex::new(Vec::new());
            let parent = Context::background()
                .with_clock(clock.clone())
                .with_timeout(SECOND);
            let (group, _) =
                Group::with_context(&parent, move |task: Task| kept.lock().unwrap().push(task));
            let group = group.with_straggler_limit(SECOND);
            let living = Living::default();
            group.spawn_named("profile", stuck(living.one()));
            let mut wait = Polled::new(group.wait());
            assert!(wait.is_pending());
            // No task was ever polled: the group itself waits for its deadline, from the first spawn on.
            clock.advance(SECOND);
            assert!(parent.is_done());
            assert!(wait.is_pending());
            clock.advance(SECOND);
            let error = wait.ready().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stragglers);
            assert_eq!(pending_in(&error), ["profile"]);
            assert!(error.is_deadline_exceeded());
            drop(wait);
            assert_eq!(living.count(), 0, "dropped with its executor, the spawner");
        });
    }

    /// "An executor that … forgets to run a task never hangs": the deadline is kept without a task's help.
    #[test]
    fn never_polls_until_the_deadline() {
        watched(|| {
            let clock = ManualClock::new();
            let kept = Mutex::new(Vec::new());
            let parent = Context::background()
                .with_clock(clock.clone())
                .with_timeout(SECOND);
            let (group, ctx) =
                Group::with_context(&parent, move |task: Task| kept.lock().unwrap().push(task));
            let group = group.with_straggler_limit(SECOND);
            group.spawn_named("profile", pending::<Result<(), Infallible>>());
            let mut wait = Polled::new(group.wait());
            assert!(wait.is_pending());
            clock.advance(SECOND); // nothing is polled: the limit for stragglers begins all the same
            assert_eq!(clock.armed(), 1);
            clock.advance(SECOND);
            assert!(wait.is_woken());
            assert_eq!(wait.ready().unwrap_err().kind(), ErrorKind::Stragglers);
            assert!(ctx.is_done());
        });
    }

    /// Drops, or refuses: before `spawn` returns, and with every ending, limit, and way to wait.
    #[test]
    fn drops_before_the_first_poll() {
        watched(|| {
            for ending in [Ending::FailFast, Ending::Settle, Ending::FirstOk] {
                let living = Living::default();
                let group = Group::new(drop::<Task>).with_limit(ONE).with_ending(ending);
                for _ in 0..3 {
                    group.spawn_named("profile", stuck(living.one()));
                }
                let error = block_on(group.wait()).unwrap_err();
                assert_eq!(told(&error), (ErrorKind::Lost, Some("profile")), "{error}");
                assert_eq!(living.count(), 0);
            }
            let mut group = Group::new(drop::<Task>);
            group.spawn(pending::<Result<(), Infallible>>());
            let lost = block_on(group.next()).unwrap().unwrap_err();
            assert_eq!(lost.kind(), ErrorKind::Lost);
            assert!(block_on(group.next()).is_none());
        });
    }

    #[test]
    fn panics_in_spawn() {
        watched(|| {
            let living = Living::default();
            let group = Group::new(|task: Task| {
                let _task = task;
                panic!("no runtime here")
            });
            let life = living.one();
            let spawned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                group.spawn(async move {
                    let _life = life;
                    Ok::<_, Infallible>(())
                });
            }));
            assert!(spawned.is_err(), "it is the caller's to know");
            assert_eq!(block_on(group.wait()).unwrap_err().kind(), ErrorKind::Lost);
            assert_eq!(living.count(), 0);
        });
    }

    /// Drops half-way, on another thread, with its own lock held, which its wakers take.
    #[test]
    fn drops_under_the_lock_that_its_wakers_take() {
        watched(|| {
            type Queue = Arc<Mutex<Vec<Option<Task>>>>;
            let queue: Queue = Queue::default();
            let spawner = queue.clone();
            let living = Living::default();
            let group = Group::new(move |task| spawner.lock().unwrap().push(Some(task)));
            group.spawn_named("profile", stuck(living.one()));
            group.spawn(stuck(living.one()));
            let lock = queue.clone();
            let waker = on_wake(move || drop(lock.lock().unwrap()));
            for place in 0..2 {
                let mut task = queue.lock().unwrap()[place].take().unwrap();
                assert!(poll_with(&mut task, &waker).is_pending());
                queue.lock().unwrap()[place] = Some(task);
            }
            let executor = queue.clone();
            let shutdown = thread::spawn(move || {
                let mut queue = executor.lock().unwrap();
                queue.iter_mut().for_each(|task| drop(task.take()));
            });
            shutdown
                .join()
                .expect("a thread that drops tasks is never blocked");
            let error = block_on(group.wait()).unwrap_err();
            assert_eq!(told(&error), (ErrorKind::Lost, Some("profile")));
            assert_eq!(living.count(), 0);
        });
    }

    /// "A dropped task never blocks the thread that drops it, and starts no thread of its own": dropping ten thousand
    /// of them under the lock that their wakers take is not held up, though a waker of theirs blocks.
    #[test]
    fn drops_ten_thousand_tasks_at_once_while_a_waker_blocks() {
        watched(|| {
            let living = Living::default();
            let shelf = Arc::new(Mutex::new(Vec::new()));
            let keep = shelf.clone();
            let root = Context::background();
            let (unblock, blocked) = mpsc::channel::<()>();
            let blocked = Mutex::new(blocked);
            let groups: Vec<_> = (0..10_000)
                .map(|_| {
                    let keep = keep.clone();
                    let spawn = move |task: Task| keep.lock().unwrap().push(task);
                    let (group, _) = Group::<u32>::with_context(&root, spawn);
                    group.spawn(stuck(living.one()));
                    group
                })
                .collect();
            let _callback = groups[0].context().on_done(move || {
                let _ = blocked.lock().unwrap().recv();
            });
            let threads = threads();
            let dropping = thread::spawn(move || {
                let mut shelf = shelf.lock().unwrap();
                shelf.drain(..).for_each(drop);
            });
            dropping.join().unwrap();
            assert_eq!(living.count(), 0);
            let more = self::threads().saturating_sub(threads);
            assert!(more < 64, "{more} threads more, other tests' included");
            drop(unblock);
            for group in groups {
                assert_eq!(block_on(group.wait()).unwrap_err().kind(), ErrorKind::Lost);
            }
        });
    }

    /// How many threads this process has; 0 where that can't be seen.
    fn threads() -> usize {
        std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
    }

    #[test]
    fn polls_from_many_threads_in_turn() {
        watched(|| {
            let executor = Arc::new(Mutex::new(Vec::<Task>::new()));
            let spawner = executor.clone();
            let living = Living::default();
            let group = Group::new(move |task| spawner.lock().unwrap().push(task));
            let (end, task) = remote::<_, &str>(&living);
            group.spawn(task);
            let mut task = executor.lock().unwrap().pop().unwrap();
            for _ in 0..20 {
                task = thread::spawn(move || {
                    assert!(poll_with(&mut task, &on_wake(|| {})).is_pending());
                    task
                })
                .join()
                .unwrap();
            }
            end.succeed(7);
            thread::spawn(move || assert!(poll_with(&mut task, Waker::noop()).is_ready()))
                .join()
                .unwrap();
            assert_eq!(block_on(group.wait()).unwrap(), [7]);
        });
    }

    /// Polls a thousand times for nothing, and after completion.
    #[test]
    fn polls_spuriously() {
        watched(|| {
            let executor = Executor::new();
            let group = Group::new(executor.spawner());
            let living = Living::default();
            let (end, task) = remote::<_, &str>(&living);
            group.spawn(task);
            for _ in 0..1000 {
                assert!(!executor.poll(0));
            }
            end.succeed(1);
            executor.run();
            assert_eq!(executor.drive(group.wait()).unwrap(), [1]);

            let kept = Arc::new(Mutex::new(Vec::new()));
            let keep = kept.clone();
            let group = Group::new(move |task: Task| keep.lock().unwrap().push(task));
            group.spawn(async { Ok::<_, Infallible>(1) });
            let mut task = kept.lock().unwrap().pop().unwrap();
            for _ in 0..1000 {
                assert!(poll_with(&mut task, Waker::noop()).is_ready());
            }
            assert_eq!(block_on(group.wait()).unwrap(), [1]);
        });
    }

    /// Its wakers panic: the others are woken all the same.
    #[test]
    fn waker_panics() {
        watched(|| {
            let kept = Arc::new(Mutex::new(Vec::new()));
            let keep = kept.clone();
            let living = Living::default();
            let group = Group::new(move |task: Task| keep.lock().unwrap().push(task));
            for _ in 0..3 {
                group.spawn(stuck(living.one()));
            }
            let woken = Arc::new(AtomicUsize::new(0));
            for task in kept.lock().unwrap().iter_mut() {
                let woken = woken.clone();
                let waker = on_wake(move || {
                    woken.fetch_add(1, SeqCst);
                    panic!("a waker");
                });
                assert!(poll_with(task, &waker).is_pending());
            }
            group.cancel_with("enough");
            assert_eq!(woken.load(SeqCst), 3);
            for task in kept.lock().unwrap().iter_mut() {
                assert!(poll_with(task, Waker::noop()).is_ready());
            }
            assert!(block_on(group.wait()).unwrap_err().is_canceled());
            assert_eq!(living.count(), 0);
        });
    }

    /// Its waker blocks 300 ms: no lock is held meanwhile.
    #[test]
    fn waker_blocks() {
        watched(|| {
            let executor = Arc::new(Mutex::new(Vec::<Task>::new()));
            let spawner = executor.clone();
            let group = Group::new(move |task| spawner.lock().unwrap().push(task));
            group.spawn(pending::<Result<(), Infallible>>());
            let (begun, begins) = mpsc::channel();
            let waker = on_wake(move || {
                begun.send(()).unwrap();
                thread::sleep(Duration::from_millis(300));
            });
            let mut task = executor.lock().unwrap().pop().unwrap();
            assert!(poll_with(&mut task, &waker).is_pending());
            let ctx = group.context().clone();
            thread::scope(|scope| {
                scope.spawn(|| group.cancel_with("enough"));
                begins.recv().unwrap();
                let begin = Instant::now();
                assert!(ctx.is_done());
                assert!(
                    group
                        .try_spawn(pending::<Result<(), Infallible>>())
                        .is_err()
                );
                assert!(poll_with(&mut task, Waker::noop()).is_ready());
                assert!(
                    begin.elapsed() < Duration::from_millis(250),
                    "held up by a waker"
                );
            });
            assert!(block_on(group.wait()).is_err());
        });
    }

    /// Its waker owns the task it wakes, polls it inline, and drops it.
    #[test]
    fn waker_owns_the_task_and_polls_inline() {
        watched(|| {
            let living = Living::default();
            let group = Group::new(|task: Task| {
                let cell = Arc::new(Mutex::new(Some(task)));
                let owner = cell.clone();
                let waker = on_wake(move || {
                    let task = owner.lock().unwrap().take();
                    if let Some(mut task) = task {
                        assert!(poll_with(&mut task, Waker::noop()).is_ready());
                    }
                });
                let task = cell.lock().unwrap().take();
                let mut task = task.unwrap();
                if poll_with(&mut task, &waker).is_pending() {
                    *cell.lock().unwrap() = Some(task);
                }
            });
            for _ in 0..3 {
                group.spawn(stuck(living.one()));
            }
            group.spawn_named("profile", async { Err("refused") });
            assert_eq!(
                living.count(),
                0,
                "woken, polled and dropped from inside the failure"
            );
            assert_eq!(
                block_on(group.wait()).unwrap_err().to_string(),
                "profile: refused"
            );
        });
    }

    /// Shuts down during a cancel: from inside the waker that the cancel calls.
    #[test]
    fn shuts_down_during_cancel() {
        watched(|| {
            let executor = Arc::new(Mutex::new(Vec::<Task>::new()));
            let spawner = executor.clone();
            let living = Living::default();
            let group = Group::new(move |task| spawner.lock().unwrap().push(task));
            for _ in 0..3 {
                group.spawn(stuck(living.one()));
            }
            let shutdown = executor.clone();
            let waker = on_wake(move || drop(std::mem::take(&mut *shutdown.lock().unwrap())));
            for task in executor.lock().unwrap().iter_mut() {
                assert!(poll_with(task, &waker).is_pending());
            }
            group.cancel_with("enough");
            assert_eq!(living.count(), 0);
            let error = block_on(group.wait()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "context canceled: enough (waiting for task 0, task 1, task 2)"
            );
        });
    }

    /// Runs tasks in reverse or random order.
    #[test]
    fn runs_in_random_order() {
        watched(|| {
            let mut rng = fastrand::Rng::with_seed(7);
            for _ in 0..100 {
                let executor = Executor::new();
                let group =
                    Group::new(executor.spawner()).with_limit(NonZeroUsize::new(4).unwrap());
                for number in 0..20 {
                    group.spawn(async move { Ok::<_, Infallible>(number) });
                }
                let mut wait = Polled::new(group.wait());
                let all = loop {
                    if let Poll::Ready(all) = wait.poll() {
                        break all.unwrap();
                    }
                    let woken = executor.woken();
                    executor.poll(woken[rng.usize(0..woken.len())]);
                };
                assert_eq!(all, Vec::from_iter(0..20));
            }
        });
    }
}

mod tasks {
    use super::*;

    struct PanicsIn {
        poll: bool,
        _drop: Option<Bomb>,
    }

    impl Future for PanicsIn {
        type Output = Result<u32, Infallible>;

        fn poll(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Self::Output> {
            if self.poll {
                panic!("in poll");
            }
            Poll::Ready(Ok(1))
        }
    }

    fn error_of(poll: bool, bomb: Option<Bomb>) -> Error {
        let executor = Executor::new();
        let group = Group::new(executor.spawner());
        let living = Living::default();
        group.spawn(stuck(living.one()));
        group.spawn_named("hostile", PanicsIn { poll, _drop: bomb });
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(living.count(), 0);
        error
    }

    #[test]
    fn panics_in_poll_in_drop_and_in_both() {
        watched(|| {
            assert_eq!(
                error_of(true, None).to_string(),
                "hostile: panicked: in poll"
            );
            let payload = "hostile: panicked: a payload that is not text";
            assert_eq!(error_of(false, Some(Bomb)).to_string(), payload);
            assert_eq!(
                error_of(true, Some(Bomb)).to_string(),
                "hostile: panicked: in poll"
            );
        });
    }

    /// A future that panics when an executor, or the queue, drops it unpolled.
    #[test]
    fn panics_in_drop_unpolled() {
        watched(|| {
            let group = Group::new(drop::<Task>);
            group.spawn(PanicsIn {
                poll: false,
                _drop: Some(Bomb),
            });
            assert_eq!(block_on(group.wait()).unwrap_err().kind(), ErrorKind::Lost);

            let executor = Executor::new();
            let group = Group::new(executor.spawner()).with_limit(ONE);
            group.spawn(async { Err("refused") });
            group.spawn(PanicsIn {
                poll: false,
                _drop: Some(Bomb),
            });
            group.spawn(PanicsIn {
                poll: false,
                _drop: Some(Bomb),
            });
            let error = executor.drive(group.wait()).unwrap_err();
            assert_eq!(error.to_string(), "task 0: refused");

            let late = Group::new(drop::<Task>);
            late.cancel_with("enough");
            late.spawn(PanicsIn {
                poll: false,
                _drop: Some(Bomb),
            });
            assert!(block_on(late.wait()).unwrap_err().is_canceled());
        });
    }

    /// A result that is not returned panics when it is dropped.
    #[test]
    fn surplus_result_panics_in_drop() {
        watched(|| {
            struct Value(Option<Bomb>);
            let executor = Executor::new();
            let group = Group::new(executor.spawner()).with_ending(Ending::FirstOk);
            group.spawn(async { Ok::<_, Infallible>(Value(None)) });
            group.spawn(async { Ok::<_, Infallible>(Value(Some(Bomb))) });
            let values = executor.drive(group.wait()).unwrap();
            assert!(values.len() == 1 && values[0].0.is_none());
        });
    }

    #[test]
    fn error_panics_on_its_way_into_a_box() {
        watched(|| {
            struct Hostile;
            impl From<Hostile> for failfast::BoxError {
                fn from(_: Hostile) -> Self {
                    panic!("no such error")
                }
            }
            let executor = Executor::new();
            let group = Group::<()>::new(executor.spawner());
            group.spawn_named("hostile", async { Err(Hostile) });
            let error = executor.drive(group.wait()).unwrap_err();
            assert_eq!(error.to_string(), "hostile: panicked: no such error");
        });
    }

    /// Spawns in drop: while the group lives it is let in, after that the future comes back.
    #[test]
    fn spawns_in_drop() {
        watched(|| {
            struct InDrop<F: FnMut()>(F);
            impl<F: FnMut()> Drop for InDrop<F> {
                fn drop(&mut self) {
                    (self.0)();
                }
            }
            for cancelled in [false, true] {
                let executor = Executor::new();
                let group = Group::new(executor.spawner()).with_limit(ONE);
                let handle = group.handle();
                let (told, tells) = mpsc::channel();
                group.spawn(async move {
                    let _spawns = InDrop(move || {
                        let spawned = handle.spawn(async { Ok::<_, Infallible>(2) });
                        told.send(spawned.is_ok()).unwrap();
                    });
                    if cancelled {
                        pending::<()>().await;
                    }
                    Ok::<_, Infallible>(1)
                });
                executor.poll(0);
                if cancelled {
                    group.cancel_with("enough");
                }
                let result = executor.drive(group.wait());
                assert_eq!(tells.recv(), Ok(!cancelled));
                match result {
                    Ok(values) => assert_eq!(values, [1, 2]),
                    Err(error) => assert!(cancelled && error.is_canceled()),
                }
            }
        });
    }

    /// Ends its own group, through the canceller of its parent, and goes on.
    #[test]
    fn cancels_its_own_group() {
        watched(|| {
            let executor = Executor::new();
            let (parent, canceller) = Context::background().with_cancel();
            let (group, ctx) = Group::with_context(&parent, executor.spawner());
            let living = Living::default();
            group.spawn(stuck(living.one()));
            group.spawn(async move {
                canceller.cancel_with("I don't like it here");
                assert!(ctx.is_done());
                Ok::<_, Infallible>(2)
            });
            let error = executor.drive(group.wait()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "context canceled: I don't like it here (waiting for task 0, task 1)"
            );
            assert_eq!(living.count(), 0);
        });
    }

    /// Drops its wakers: nothing can wake it but the group's end.
    #[test]
    fn drops_its_wakers() {
        watched(|| {
            let living = Living::default();
            let life = living.one();
            let group = InPlaceGroup::<u32>::new(&Context::background());
            group.spawn(poll_fn(move |cx| {
                let _life = &life;
                std::mem::forget(cx.waker().clone());
                Poll::<Result<u32, Infallible>>::Pending
            }));
            let (fail, task) = remote::<u32, &str>(&living);
            group.spawn(task);
            let mut wait = Polled::new(group.wait());
            assert!(wait.is_pending());
            fail.fail("refused");
            while wait.is_pending() {
                assert!(wait.is_woken());
            }
            assert_eq!(living.count(), 0);
        });
    }

    /// Blocks its thread: the others are cancelled meanwhile, and `wait` keeps its promise.
    #[test]
    fn blocks_its_thread() {
        watched(|| {
            let pool = futures::executor::ThreadPool::builder()
                .pool_size(2)
                .create()
                .unwrap();
            let living = Living::default();
            let group = Group::new(move |task| pool.spawn_ok(task));
            let (unblock, blocked) = mpsc::channel::<()>();
            let life = living.one();
            group.spawn(async move {
                let _life = life;
                let _ = blocked.recv();
                Ok::<_, Infallible>(0)
            });
            group.spawn(async { Err("refused") });
            let ctx = group.context().clone();
            let wait = thread::spawn(move || block_on(group.wait()).unwrap_err().to_string());
            block_on(ctx.done());
            assert_eq!(living.count(), 1);
            assert!(!wait.is_finished());
            unblock.send(()).unwrap();
            assert_eq!(wait.join().unwrap(), "task 1: refused");
            assert_eq!(living.count(), 0);
        });
    }
}

mod users {
    use super::*;

    /// `mem::forget` of a group: its tasks go on, and nothing else is affected.
    #[test]
    fn group_is_leaked() {
        watched(|| {
            let executor = Executor::new();
            let living = Living::default();
            let (parent, canceller) = Context::background().with_cancel();
            let (group, ctx) = Group::with_context(&parent, executor.spawner());
            let (end, task) = remote::<_, &str>(&living);
            group.spawn(task);
            group.spawn(stuck(living.one()));
            executor.run();
            std::mem::forget(group);
            end.succeed(1);
            executor.run();
            assert_eq!(living.count(), 1);
            assert!(!ctx.is_done());
            canceller.cancel();
            executor.run();
            assert_eq!(living.count(), 0, "its parent still ends it");
        });
    }

    #[test]
    fn wait_is_leaked() {
        watched(|| {
            let executor = Executor::new();
            let living = Living::default();
            let (parent, canceller) = Context::background().with_cancel();
            let (group, _) = Group::with_context(&parent, executor.spawner());
            group.spawn(stuck(living.one()));
            let mut wait = Box::pin(group.wait());
            assert!((&mut wait).now_or_never().is_none());
            std::mem::forget(wait);
            executor.run();
            canceller.cancel();
            executor.run();
            assert_eq!(living.count(), 0);
            assert!(executor.alive().is_empty());
        });
    }

    /// Group, handle, contexts and executor are dropped in every order.
    #[test]
    fn everything_is_dropped_in_any_order() {
        watched(|| {
            let mut rng = fastrand::Rng::with_seed(7);
            for _ in 0..500 {
                let living = Living::default();
                let executor = Executor::new();
                let (parent, canceller) = Context::background().with_cancel();
                let (group, ctx) = Group::with_context(&parent, executor.spawner());
                let group = group.with_limit(NonZeroUsize::new(2).unwrap());
                let handle = group.handle();
                for _ in 0..4 {
                    let (ctx, handle, life) = (ctx.clone(), handle.clone(), living.one());
                    group.spawn(async move {
                        let _all = (handle, life);
                        ctx.done().await;
                        Ok::<_, Infallible>(0)
                    });
                }
                if rng.bool() {
                    executor.run();
                }
                let executor = std::rc::Rc::new(executor);
                let runner = executor.clone();
                let mut things: Vec<Box<dyn std::any::Any>> = vec![
                    Box::new(group),
                    Box::new(handle),
                    Box::new(ctx),
                    Box::new(parent),
                    Box::new(canceller),
                ];
                rng.shuffle(&mut things);
                for thing in things {
                    drop(thing);
                    if rng.bool() {
                        runner.run();
                    }
                }
                executor.run();
                assert_eq!(living.count(), 0);
            }
        });
    }

    /// A callback that cancels relatives: parent, child and sibling, from inside the end.
    #[test]
    fn callback_cancels_relatives() {
        watched(|| {
            let executor = Executor::new();
            let living = Living::default();
            let (parent, canceller) = Context::background().with_cancel();
            let (group, ctx) = Group::with_context(&parent, executor.spawner());
            let (sibling, _) = Group::<u32>::with_context(&parent, executor.spawner());
            let (_child, below) = ctx.with_cancel();
            sibling.spawn(stuck(living.one()));
            group.spawn(stuck(living.one()));
            executor.run();
            let _callback = ctx.on_done(move || {
                below.cancel();
                canceller.cancel_with("by a callback");
                panic!("and then it panics");
            });
            group.cancel_with("enough");
            assert!(parent.is_done());
            let error = executor.drive(group.wait()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "context canceled: enough (waiting for task 0)"
            );
            let error = executor.drive(sibling.wait()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "context canceled: by a callback (waiting for task 0)"
            );
            assert_eq!(living.count(), 0);
        });
    }

    /// A group in place, driven by a different thread each time.
    #[test]
    fn in_place_group_moves_between_threads() {
        watched(|| {
            let living = Living::default();
            let mut group = InPlaceGroup::new(&Context::background());
            for number in 0..20 {
                let life = living.one();
                group.spawn(async move {
                    let _life = life;
                    Ok::<_, Infallible>(number)
                });
            }
            for _ in 0..10 {
                group = thread::spawn(move || {
                    block_on(group.next()).unwrap().unwrap();
                    group
                })
                .join()
                .unwrap();
            }
            assert_eq!(block_on(group.wait()).unwrap().len(), 10);
            assert_eq!(living.count(), 0);
        });
    }

    /// A hundred groups, each in a task of the one before.
    #[test]
    fn groups_are_nested_deep() {
        fn nest(
            ctx: Context,
            depth: u32,
        ) -> futures::future::LocalBoxFuture<'static, Result<u32, Error>> {
            async move {
                if depth == 0 {
                    return Ok(0);
                }
                let group = LocalInPlaceGroup::new(&ctx);
                group.spawn(nest(group.context().clone(), depth - 1));
                Ok(group.wait().await?[0] + 1)
            }
            .boxed_local()
        }
        watched(|| assert_eq!(block_on(nest(Context::background(), 100)).unwrap(), 100));
    }
}
