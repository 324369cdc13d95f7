//! Section 4 of the contract: memory follows the living, as far as it can be seen without counting bytes (those are
//! counted in `tests/memory.rs`): what is kept, and by what.

use crate::executor::{Executor, Life, Living, LocalExecutor, Polled, remote};
use crate::group::*;
use crate::support::{self, at_most};
use failfast::{Context, Ending, Group, InPlaceGroup, LocalGroup, LocalInPlaceGroup, Spawn, Task};
use futures::FutureExt;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll, Wake, Waker};

/// A waker that lives.
struct Alive(#[allow(dead_code)] Life);

impl Wake for Alive {
    fn wake(self: Arc<Self>) {}
}

fn waker(living: &Living) -> Waker {
    Waker::from(Arc::new(Alive(living.one())))
}

/// An executor that lives, and keeps its tasks.
struct Keeper {
    _life: Life,
    tasks: Arc<Mutex<Vec<Task>>>,
}

impl Spawn for Keeper {
    type Handle = ();

    fn spawn(&self, task: Task) {
        self.tasks.lock().unwrap().push(task);
    }
}

/// "a finished task keeps no handle and no waker"
#[test]
fn finished_task_keeps_no_waker() {
    let tasks = Arc::new(Mutex::new(Vec::<Task>::new()));
    let keep = tasks.clone();
    let group = Group::new(move |task| keep.lock().unwrap().push(task));
    let (wakers, living) = (Living::default(), Living::default());
    let (end, task) = remote::<_, Infallible>(&living);
    group.spawn(task);
    let mut task = tasks.lock().unwrap().pop().unwrap();
    assert!(support::poll(&mut task, &waker(&wakers)).is_pending());
    assert!(wakers.count() > 0);
    end.succeed(1);
    assert!(support::poll(&mut task, &waker(&wakers)).is_ready());
    assert_eq!(wakers.count(), 0);
    drop(task);
    assert_eq!(Polled::new(group.wait()).ready().unwrap(), [1]);
}

/// … nor does one that was polled by many: the last waker is kept alone.
#[test]
fn task_keeps_its_last_waker_alone() {
    let tasks = Arc::new(Mutex::new(Vec::<Task>::new()));
    let keep = tasks.clone();
    let group = Group::<u32>::new(move |task| keep.lock().unwrap().push(task));
    let wakers = Living::default();
    group.spawn(pending::<Result<u32, Infallible>>());
    let mut task = tasks.lock().unwrap().pop().unwrap();
    for _ in 0..10 {
        assert!(support::poll(&mut task, &waker(&wakers)).is_pending());
    }
    assert!(wakers.count() <= 1, "{} wakers", wakers.count());
    drop(group);
    assert!(support::poll(&mut task, Waker::noop()).is_ready());
    assert_eq!(wakers.count(), 0);
}

/// "Dropped early, nothing leaks, the executor included: a handle that a task keeps makes no cycle"
#[test]
fn task_that_keeps_a_handle_makes_no_cycle() {
    for dropped in ["group", "wait", "executor first", "nothing"] {
        let (executors, living) = (Living::default(), Living::default());
        let tasks = Arc::new(Mutex::new(Vec::new()));
        let keeper = Keeper {
            _life: executors.one(),
            tasks: tasks.clone(),
        };
        let group = Group::<u32>::new(keeper).with_limit(at_most(1));
        let (handle, queued) = (group.handle(), group.handle());
        let (life, other) = (living.one(), living.one());
        group.spawn(async move {
            let _all = (handle, life);
            pending::<Result<u32, Infallible>>().await
        });
        group.spawn(async move {
            let _all = (queued, other);
            Ok::<_, Infallible>(1)
        });
        for task in tasks.lock().unwrap().iter_mut() {
            let _ = support::poll(task, Waker::noop());
        }
        match dropped {
            "group" => drop(group),
            "wait" => drop(group.wait()),
            "executor first" => {
                tasks.lock().unwrap().clear();
                drop(group);
            }
            _ => {
                group.cancel_with("enough");
                let mut wait = Polled::new(group.wait());
                let _ = wait.poll();
                for task in tasks.lock().unwrap().iter_mut() {
                    let _ = support::poll(task, Waker::noop());
                }
                assert!(wait.ready().is_err());
            }
        }
        tasks.lock().unwrap().clear();
        assert_eq!(living.count(), 0, "{dropped}");
        support::eventually("the executor is let go of", || executors.count() == 0);
    }
}

/// The same where the tasks, never polled again, are kept by their executor, and that by the group alone.
#[test]
fn executor_that_owns_its_tasks_is_dropped_with_the_group() {
    let (executors, living) = (Living::default(), Living::default());
    let keeper = Keeper {
        _life: executors.one(),
        tasks: Arc::default(),
    };
    let group = Group::<u32>::new(keeper);
    let (handle, life) = (group.handle(), living.one());
    group.spawn(async move {
        let _all = (handle, life);
        pending::<Result<u32, Infallible>>().await
    });
    drop(group);
    support::eventually("all is gone", || {
        (executors.count(), living.count()) == (0, 0)
    });
}

/// A task that returns a handle, after the group was dropped.
#[test]
fn task_returns_a_handle() {
    let executor = Executor::new();
    let living = Living::default();
    type Answer = (Box<dyn std::any::Any + Send>, Life);
    let group = Group::<Answer>::new(executor.spawner());
    let (handle, life) = (group.handle(), living.one());
    let (told, task) = remote::<(), &str>(&living);
    group.spawn(async move {
        task.await?;
        Ok::<Answer, &str>((Box::new(handle), life))
    });
    executor.run();
    told.succeed(());
    drop(group);
    executor.run();
    assert_eq!(living.count(), 0);
}

#[test]
fn task_in_place_that_keeps_a_handle_makes_no_cycle() {
    let living = Living::default();
    let group = InPlaceGroup::<u32>::new(&Context::background());
    let (handle, life) = (group.handle(), living.one());
    group.spawn(async move {
        let _all = (handle, life);
        pending::<Result<u32, Infallible>>().await
    });
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    drop(wait);
    assert_eq!(living.count(), 0);
}

/// A context, a handle, a canceller and a waker that outlive the group keep nothing of the user's alive.
#[test]
fn what_outlives_the_group_keeps_nothing() {
    let executor = Executor::new();
    let living = Living::default();
    let group = group::<Life>(&executor);
    let (ctx, handle) = (group.context().clone(), group.handle());
    let fork = group.fork("fork", stuck::<u32>(living.one()));
    let result = living.one();
    group.spawn(async { Ok::<_, Infallible>(result) });
    let own = living.one();
    let wakers = Arc::new(Mutex::new(Vec::new()));
    let keep = wakers.clone();
    group.spawn(std::future::poll_fn(move |cx| {
        let _ = &own;
        keep.lock().unwrap().push(cx.waker().clone());
        Poll::<Result<Life, Infallible>>::Pending
    }));
    executor.run();
    drop(group);
    executor.run();
    assert_eq!(living.count(), 0);
    wakers.lock().unwrap().drain(..).for_each(Waker::wake);
    executor.run();
    drop((ctx, handle, fork));
}

/// The same in place, where wakers are the group's own; on both flavors.
#[test]
fn wakers_that_outlive_a_group_in_place_keep_nothing() {
    struct Keeps(
        #[expect(dead_code, reason = "it lives as long")] Life,
        Arc<Mutex<Vec<Waker>>>,
    );
    impl Future for Keeps {
        type Output = Result<u32, Infallible>;

        fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
            self.1.lock().unwrap().push(cx.waker().clone());
            Poll::Pending
        }
    }
    let (living, wakers) = (Living::default(), Arc::default());
    let group = InPlaceGroup::new(&Context::background());
    group.spawn(Keeps(living.one(), Arc::clone(&wakers)));
    assert!(Polled::new(group.wait()).is_pending()); // and is dropped
    let local = LocalInPlaceGroup::new(&Context::background());
    local.spawn(Keeps(living.one(), Arc::clone(&wakers)));
    assert!(Polled::new(local.wait()).is_pending());
    assert_eq!(living.count(), 0);
    let wakers = std::mem::take(&mut *wakers.lock().unwrap());
    assert_eq!(wakers.len(), 2);
    std::thread::spawn(move || wakers.into_iter().for_each(Waker::wake))
        .join()
        .unwrap();
}

/// A task's waker, a fork, a context and a handle of `$group`: each in turn is the last that is left, and is used.
macro_rules! the_last_left {
    ($group:expr, $run:expr) => {
        let run = $run;
        for last in ["waker", "fork", "context", "handle"] {
            let (living, wakers) = (Living::default(), Arc::new(Mutex::new(Vec::new())));
            let mut group = $group;
            let (life, keep) = (living.one(), wakers.clone());
            let fork = group.fork("fork", stuck::<u32>(living.one()));
            group.spawn(std::future::poll_fn(move |cx| {
                let _ = &life;
                keep.lock().unwrap().push(cx.waker().clone());
                Poll::<Result<u32, Infallible>>::Pending
            }));
            let mut left = (
                Some(fork),
                Some(group.context().clone()),
                Some(group.handle()),
            );
            assert!(Polled::new(group.next()).is_pending());
            run();
            drop(group);
            run();
            assert_eq!(living.count(), 0, "{last}");
            let wakers = std::mem::take(&mut *wakers.lock().unwrap());
            assert!(!wakers.is_empty());
            let mut wakers = Some(wakers);
            if last != "waker" {
                wakers = None;
            }
            if last != "fork" {
                left.0 = None;
            }
            if last != "context" {
                left.1 = None;
            }
            if last != "handle" {
                left.2 = None;
            }
            wakers.into_iter().flatten().for_each(Waker::wake);
            if let Some(fork) = left.0 {
                let answer = fork.now_or_never();
                assert!(matches!(answer, Some(Err(_))), "{answer:?}");
            }
            if let Some(ctx) = left.1 {
                assert!(ctx.check().is_err() && ctx.done().now_or_never().is_some());
            }
            if let Some(handle) = left.2 {
                let late = handle.fork("late", stuck::<u32>(living.one()));
                assert!(matches!(late.now_or_never(), Some(Err(_))));
                handle.stop();
            }
            run();
            assert_eq!(living.count(), 0, "{last}");
        }
    };
}

/// Whatever of a group is left last can be used, and frees what it held: each kind of group. The address sanitizer
/// finds what an assertion can't.
#[test]
fn the_last_left_of_each_kind_of_group_is_used() {
    let executor = Executor::new();
    the_last_left!(group::<u32>(&executor), || executor.run());
    let local = LocalExecutor::new();
    the_last_left!(LocalGroup::<u32>::new(local.spawner()), || local.run());
    the_last_left!(InPlaceGroup::<u32>::new(&Context::background()), || ());
    the_last_left!(LocalInPlaceGroup::<u32>::new(&Context::background()), || ());
}

/// Results that will not be returned are freed as soon as that is certain.
#[test]
fn results_beyond_a_quorum_are_freed() {
    let executor = Executor::new();
    let living = Living::default();
    let few = group(&executor).with_ending(Ending::Quorum(at_most(3)));
    for _ in 0..2 {
        let result = living.one();
        few.spawn(async { Ok::<_, Infallible>(result) });
    }
    let handle = few.handle();
    assert!(executor.drive(few.wait()).is_err());
    assert_eq!(living.count(), 0, "a missed quorum keeps no results");
    drop(handle);
}

/// A local group's tasks go with it, too.
#[test]
fn local_group_is_dropped() {
    let executor = LocalExecutor::new();
    let living = Living::default();
    let group = LocalGroup::<u32>::new(executor.spawner());
    let (handle, life) = (group.handle(), living.one());
    group.spawn(async move {
        let _all = (handle, life);
        pending::<Result<u32, Infallible>>().await
    });
    executor.run();
    drop(group);
    executor.run();
    assert_eq!(living.count(), 0);
    assert!(executor.alive().is_empty());
}
