//! Tasks that an executor drops, and bodies that outlive their group's patience.

use crate::executor::{Executor, Polled, on_wake, watched};
use crate::faults::tools::{Bomb, apart, panics};
use crate::support::{Count, SECOND, at_most, eventually, manual};
use failfast::{BoxError, Group, Task};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::{task, thread};

/// An executor dropped a task, and the waiter of a fork in the queue was woken on the thread that dropped.
#[test]
fn waiter_for_a_queued_fork_is_woken_on_another_thread() {
    watched(|| {
        let kept = Arc::new(Mutex::new(Vec::<Task>::new()));
        let tasks = kept.clone();
        let group = Group::<u32>::new(move |task: Task| tasks.lock().unwrap().push(task))
            .with_limit(at_most(1));
        group.spawn(async { Ok::<_, BoxError>(1) });
        let mut fork = group.fork("queued", async { Ok::<_, BoxError>(2) });
        let (here, elsewhere) = (Count::default(), Count::default());
        let dropping = thread::current().id();
        let waker = {
            let (here, elsewhere) = (here.clone(), elsewhere.clone());
            on_wake(move || match thread::current().id() == dropping {
                true => here.add(),
                false => elsewhere.add(),
            })
        };
        let mut cx = task::Context::from_waker(&waker);
        assert!(Pin::new(&mut fork).poll(&mut cx).is_pending());
        let task = kept.lock().unwrap().pop().unwrap();
        drop(task);
        eventually("woken by the loss", || here.get() + elsewhere.get() > 0);
        assert_eq!((here.get(), elsewhere.get()), (0, 1));
    });
}

/// The body of `run` was dropped when the stragglers' time was over, and its destructor's panic came out of `run`.
#[test]
fn body_of_run_panics_in_its_destructor_when_stragglers_are_given_up() {
    apart(|| {
        let (clock, root) = manual();
        let executor = Executor::new();
        let (group, ctx) = Group::<()>::with_context(&root, executor.spawner());
        let group = group.with_straggler_limit(SECOND);
        group.spawn(async { Ok::<_, BoxError>(()) });
        let handle = group.handle();
        let drops = Count::default();
        let bomb = Bomb(drops.clone());
        let mut run = Polled::new(group.run(async move {
            let _bomb = bomb;
            ctx.shield(std::future::pending::<()>()).await;
            Ok::<_, BoxError>(())
        }));
        assert!(run.is_pending());
        handle.cancel_with("over");
        assert!(run.is_pending());
        clock.advance(SECOND);
        assert!(!panics(|| run.ready().unwrap_err()));
        drop(run);
        assert_eq!(drops.get(), 1);
    });
}
