//! Hazard 29: a `BEGIN` without its end.

use super::*;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn add(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    fn told(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

type Opener = futures::channel::oneshot::Sender<()>;

/// Begins, commits under a shield once it is let, and then waits for what never comes.
fn transaction(
    ctx: Context,
    log: &Log,
) -> (
    Opener,
    impl Future<Output = Result<(), BoxError>> + Send + use<>,
) {
    let (opener, gate) = futures::channel::oneshot::channel();
    let log = log.clone();
    let whole = async move {
        let commit = async {
            log.add("begin");
            let _ = gate.await;
            log.add("commit");
        };
        ctx.shield(commit).await;
        pending::<()>().await;
        log.add("never");
        Ok(())
    };
    (opener, whole)
}

/// Hazard 29.
#[test]
fn shielded_section_is_finished_on_an_executor() {
    watched(|| {
        let executor = Executor::new();
        let (group, ctx) = Group::<()>::with_context(&Context::background(), executor.spawner());
        let log = Log::default();
        let (opener, task) = transaction(ctx, &log);
        group.spawn(task);
        group.spawn_named("bad", async { Err("refused") });
        executor.run();
        assert_eq!(log.told(), ["begin"]);
        opener.send(()).unwrap();
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "bad: refused");
        assert_eq!(log.told(), ["begin", "commit"]);
    });
}

/// Hazard 29.
#[test]
fn shielded_section_is_finished_in_place() {
    watched(|| {
        let group = InPlaceGroup::<()>::new(&Context::background());
        let log = Log::default();
        let (opener, task) = transaction(group.context().clone(), &log);
        group.spawn(task);
        group.spawn_named("bad", async { Err("refused") });
        let mut wait = Polled::new(group.wait());
        assert!(wait.is_pending());
        while wait.is_woken() {
            assert!(wait.is_pending());
        }
        assert_eq!(log.told(), ["begin"]);
        opener.send(()).unwrap();
        assert!(wait.is_woken());
        assert_eq!(wait.ready().unwrap_err().to_string(), "bad: refused");
        assert_eq!(log.told(), ["begin", "commit"]);
    });
}

/// Hazard 29: an in-place group inside a task: the shield holds both.
#[test]
fn shield_in_a_nested_group_holds_every_enclosing_task() {
    watched(|| {
        let executor = Executor::new();
        let (group, ctx) = Group::<()>::with_context(&Context::background(), executor.spawner());
        let log = Log::default();
        let inner = InPlaceGroup::<()>::new(&ctx);
        let (opener, task) = transaction(inner.context().clone(), &log);
        inner.spawn(task);
        group.spawn(async move { inner.wait().await.map(drop) });
        executor.run();
        group.cancel_with("over");
        executor.run();
        assert_eq!(log.told(), ["begin"]);
        opener.send(()).unwrap();
        assert!(executor.drive(group.wait()).is_err());
        assert_eq!(log.told(), ["begin", "commit"]);
    });
}

/// Hazard 29: without a shield the same section is cut, which shows that the test can fail.
#[test]
fn section_without_a_shield_is_cut() {
    watched(|| {
        let executor = Executor::new();
        let group = Group::<()>::new(executor.spawner());
        let log = Log::default();
        let own = log.clone();
        let stuck = pending::<()>;
        group.spawn(async move {
            own.add("begin");
            stuck().await;
            own.add("commit");
            Ok::<_, Infallible>(())
        });
        executor.run();
        group.cancel_with("over");
        assert!(executor.drive(group.wait()).is_err());
        assert_eq!(log.told(), ["begin"]);
    });
}

/// Hazard 29's other side: shields one after the other do not keep a cancelled task for ever.
#[test]
fn loop_of_shields_ends() {
    watched(|| {
        let executor = Executor::new();
        let (group, ctx) = Group::<()>::with_context(&Context::background(), executor.spawner());
        let sections = Count::default();
        let count = sections.clone();
        group.spawn(async move {
            loop {
                ctx.shield(yields(2)).await;
                count.add();
            }
            #[allow(unreachable_code)]
            Ok::<_, Infallible>(())
        });
        for _ in 0..7 {
            executor.step();
        }
        let before = sections.get();
        group.cancel_with("over");
        assert_eq!(
            executor.drive(group.wait()).unwrap_err().kind(),
            ErrorKind::Canceled
        );
        assert!(
            sections.get() - before <= 2,
            "{} sections after the end",
            sections.get() - before
        );
    });
}

/// Hazard 29: the straggler limit bounds a shield that never ends.
#[test]
fn straggler_limit_bounds_a_shield() {
    watched(|| {
        let (clock, ctx) = manual();
        let executor = Executor::new();
        let (group, ctx) = Group::<()>::with_context(&ctx, executor.spawner());
        let group = group.with_straggler_limit(SECOND);
        group.spawn_named("slow", async move {
            ctx.shield(pending::<()>()).await;
            Ok::<_, Infallible>(())
        });
        executor.run();
        group.cancel_with("over");
        let mut wait = Polled::new(group.wait());
        executor.run();
        assert!(wait.is_pending());
        clock.advance(SECOND);
        executor.run();
        let error = wait.ready().unwrap_err();
        assert_eq!(
            (error.kind(), error.pending().len()),
            (ErrorKind::Stragglers, 1)
        );
    });
}

/// Hazard 29: outside of a group's task a shield does nothing but run its future.
#[test]
fn shield_outside_of_a_task_is_the_future_itself() {
    watched(|| {
        let (ctx, canceller) = Context::background().with_cancel();
        canceller.cancel();
        assert_eq!(block_on(ctx.shield(async { 5 })), 5);
    });
}
