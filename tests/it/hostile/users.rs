//! Hostile users: what is leaked, dropped or called at the wrong time.

use super::*;
use failfast::GroupHandle;
use failfast::clock::{Clock, Sleep};

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

/// A clock that spawns into the group for which its timer is made: of the two tasks, one has the timer armed.
#[test]
fn clock_spawns_while_the_group_arms_its_timer() {
    struct Spawns(ManualClock, Mutex<Option<GroupHandle<u32>>>);
    impl Clock for Spawns {
        fn now(&self) -> Instant {
            self.0.now()
        }
        fn sleep_until(&self, deadline: Instant) -> Sleep {
            if let Some(handle) = self.1.lock().unwrap().take() {
                assert!(handle.spawn(stuck(Living::default().one())).is_ok());
            }
            self.0.sleep_until(deadline)
        }
    }
    watched(|| {
        for by_deadline in [false, true] {
            let (executor, manual) = (Executor::new(), ManualClock::new());
            let clock = Arc::new(Spawns(manual.clone(), Mutex::default()));
            let ctx = Context::background()
                .with_clock(clock.clone())
                .with_timeout(SECOND);
            let (group, _) = Group::with_context(&ctx, executor.spawner());
            *clock.1.lock().unwrap() = Some(group.handle());
            group.spawn(stuck(Living::default().one()));
            executor.run();
            assert_eq!((executor.spawned(), manual.armed()), (2, 1));
            match by_deadline {
                true => manual.advance(SECOND),
                false => group.handle().stop(),
            }
            let ended = executor.drive(group.wait());
            let late = ended.is_err_and(|error| error.is_deadline_exceeded());
            assert_eq!((late, manual.armed()), (by_deadline, 0));
        }
    });
}
