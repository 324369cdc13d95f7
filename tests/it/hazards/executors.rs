//! Executors with habits of their own.

use super::*;

/// Hazard 5: its waker owns the task; it goes with the task pending, and then the end wakes.
#[test]
fn executor_goes_with_a_task_that_waits_for_the_end() {
    watched(|| {
        let (ctx, canceller) = Context::background().with_cancel();
        let (woken, waker) = counting();
        let mut beside = ctx.done();
        let executor = smol::Executor::new();
        let task = executor.spawn({
            let ctx = ctx.clone();
            async move {
                ctx.done().await;
            }
        });
        assert!(executor.try_tick());
        assert!(poll(&mut beside, &waker).is_pending());
        drop(executor);
        canceller.cancel();
        assert_eq!(woken.get(), 1);
        drop(task);
    });
}

/// Hazard 7: a struct's field order is the guarantee that "gone" means gone.
#[test]
fn unpolled_future_is_gone_when_wait_returns() {
    watched(|| {
        for in_place in [false, true] {
            let living = Living::default();
            let executor = Executor::new();
            let stuck = || {
                let life = living.one();
                async move {
                    let _life = life;
                    pending::<Result<(), Infallible>>().await
                }
            };
            let error = if in_place {
                let group = InPlaceGroup::new(&Context::background());
                (0..5).for_each(|_| group.spawn(stuck()));
                group.cancel_with("over");
                block_on(group.wait()).unwrap_err()
            } else {
                let group = Group::new(executor.spawner());
                (0..5).for_each(|_| group.spawn(stuck()));
                group.cancel_with("over");
                executor.drive(group.wait()).unwrap_err()
            };
            assert_eq!((error.kind(), living.count()), (ErrorKind::Canceled, 0));
        }
    });
}

/// Hazard 11: however many tasks, the group's deadline is one timer.
#[test]
fn group_arms_one_timer_for_all_its_tasks() {
    watched(|| {
        let (clock, ctx) = manual();
        let executor = Executor::new();
        let (group, below) = Group::<()>::with_context(&ctx.with_timeout(HOUR), executor.spawner());
        for _ in 0..100 {
            let below = below.clone();
            group.spawn(async move {
                below.done().await;
                Ok::<_, Infallible>(())
            });
        }
        executor.run();
        assert_eq!(clock.armed(), 1);
        group.stop();
        executor.run();
        assert!(executor.drive(group.wait()).is_ok());
        assert_eq!(clock.armed(), 0);
    });
}

/// Hazard 25: some executors require `Sync` futures.
#[test]
fn tasks_are_sync() {
    fn wanted<F: Future<Output = ()> + Send + Sync + Unpin + 'static>() {}
    wanted::<Task>();
    let group = Group::new(|task: Task| {
        let shared: Box<dyn Future<Output = ()> + Send + Sync> = Box::new(task);
        let mut shared = Box::into_pin(shared);
        assert!(poll_once(shared.as_mut()).is_ready());
    });
    // A future that is not `Sync` itself.
    group.spawn(async {
        let cell = std::cell::Cell::new(1);
        yields(0).await;
        Ok::<_, Infallible>(cell.get())
    });
    assert_eq!(block_on(group.wait()).unwrap(), [1]);
}

/// Hazard 25: some run tasks inside `spawn`, which may spawn again there.
#[test]
fn executor_runs_its_tasks_within_spawn() {
    watched(|| {
        for limit in [1, 2, 100] {
            let group = Group::new(eager).with_limit(at_most(limit));
            let handle = group.handle();
            for n in 0..10 {
                let handle = handle.clone();
                group.spawn(async move {
                    assert!(handle.spawn(ready(Ok::<_, Infallible>(100 + n))).is_ok());
                    Ok::<_, Infallible>(n)
                });
            }
            let mut all = block_on(group.wait()).unwrap();
            all.sort_unstable();
            assert!(all.into_iter().eq((0..10).chain(100..110)), "limit {limit}");
        }
    });
}

/// Hazard 25: some refuse, as a full pool does: those are lost, and their places are free.
#[test]
fn executor_refuses_every_other_task() {
    watched(|| {
        let turn = Count::default();
        let group = Group::new(move |task: Task| {
            turn.add();
            if turn.get() % 2 == 0 {
                drop(task);
            } else {
                inline(task);
            }
        });
        let group = group
            .with_ending(failfast::Ending::Settle)
            .with_limit(at_most(1));
        (0..40).for_each(|n| group.spawn_named(format!("t{n}"), ready(Ok::<_, Infallible>(n))));
        let told = block_on(group.outcomes()).unwrap();
        assert_eq!(told.len(), 40);
        let lost: Vec<_> = told
            .iter()
            .filter_map(|(_, outcome)| outcome.as_ref().err())
            .collect();
        assert!(!lost.is_empty() && lost.iter().all(|error| error.kind() == ErrorKind::Lost));
    });
}

/// Hazard 25: some assert the thread when what `spawn` returned is dropped.
#[test]
fn handle_asserts_its_thread_when_dropped() {
    struct Bound(thread::ThreadId, Count, Count);
    impl Drop for Bound {
        fn drop(&mut self) {
            let count = if thread::current().id() == self.0 {
                &self.1
            } else {
                &self.2
            };
            count.add();
        }
    }
    watched(|| {
        let (here, elsewhere) = (Count::default(), Count::default());
        let executor = crate::executor::LocalExecutor::new();
        let (spawner, counts) = (executor.spawner(), (here.clone(), elsewhere.clone()));
        let group = LocalGroup::<()>::new(move |task: LocalTask| {
            failfast::Spawn::spawn(&spawner, task);
            Bound(thread::current().id(), counts.0.clone(), counts.1.clone())
        });
        let ctx = group.context().clone();
        let fork = group.fork("fork", pending::<Result<u8, Infallible>>());
        group.spawn(pending::<Result<_, Infallible>>());
        group.spawn(ready(Ok::<_, Infallible>(())));
        executor.run();
        // The end comes from another thread, and so does the last reference to a fork.
        thread::spawn(move || {
            fork.cancel();
            drop(fork);
            drop(ctx);
        })
        .join()
        .unwrap();
        group.cancel_with("over");
        assert!(executor.drive(group.wait()).is_err());
        assert_eq!((here.get(), elsewhere.get()), (3, 0));
    });
}

/// Hazard 24: the task's waker works on its own thread only; the wait ends all the same, and no other task is
/// harmed.
#[test]
fn waker_that_refuses_other_threads() {
    watched(|| {
        let own = thread::current().id();
        let refused = Count::default();
        let count = refused.clone();
        let waker = on_wake(move || {
            if thread::current().id() != own {
                count.add();
                panic!("woken from another thread");
            }
        });
        let (ctx, canceller) = Context::background().with_cancel();
        let (woken, other) = counting();
        let (mut bound, mut beside) = (ctx.done(), ctx.done());
        assert!(poll(&mut bound, &waker).is_pending());
        assert!(poll(&mut beside, &other).is_pending());
        let unwound = thread::spawn(move || panics(|| canceller.cancel()))
            .join()
            .unwrap();
        assert!(!unwound, "it came out of cancel");
        assert_eq!((woken.get(), refused.get()), (1, 1));
        // Whenever its thread comes by again, it finds the end.
        assert!(poll(&mut bound, &waker).is_ready());
    });
}
