//! Hostile executors, and hostile wakers on them.

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
        assert!(spawned.is_err(), "it is for the caller to check");
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
            let group = Group::new(executor.spawner()).with_limit(NonZeroUsize::new(4).unwrap());
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
