//! Hostile tasks: in their polls, their drops and their results.

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
