//! Section 4 of the contract: the table of endings, and background tasks.

use crate::executor::{Executor, Living, LocalExecutor, Polled};
use crate::group::*;
use crate::support::{SECOND, at_most, eventually, manual};
use failfast::{Context, Ending, ErrorKind, Group, LocalGroup, LocalInPlaceGroup};
use std::convert::Infallible;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

/// `FailFast`: all results, or the first failure; the rest cancelled.
#[test]
fn fail_fast() {
    let pair = pair(|group| group.with_ending(Ending::FailFast));
    pair.one.fail("refused");
    let error = pair.executor.drive(pair.group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "one: refused");
    assert_eq!(pair.living.count(), 0);
    drop(pair.two);
}

/// `Settle`: nothing ends it early; all results, or the first failure; the rest runs on.
#[test]
fn settle() {
    let pair = pair(|group| group.with_ending(Ending::Settle));
    let ctx = pair.group.context().clone();
    pair.one.fail("refused");
    pair.executor.run();
    assert!(!ctx.is_done());
    assert_eq!(pair.living.count(), 1);
    pair.two.succeed(2);
    let outcomes = pair.executor.drive(pair.group.outcomes()).unwrap();
    assert_eq!(
        outcomes[0].1.as_ref().unwrap_err().to_string(),
        "one: refused"
    );
    assert_eq!(outcomes[1].1.as_ref().unwrap(), &2);
    assert!(ctx.is_done());
}

#[test]
fn settle_and_wait() {
    let failed = pair(|group| group.with_ending(Ending::Settle));
    failed.two.fail("first");
    failed.executor.run();
    failed.one.fail("second");
    let error = failed.executor.drive(failed.group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "two: first");
    assert_eq!(error.others()[0].to_string(), "one: second");

    let fine = pair(|group| group.with_ending(Ending::Settle));
    fine.one.succeed(1);
    fine.two.succeed(2);
    assert_eq!(fine.executor.drive(fine.group.wait()).unwrap(), [1, 2]);
}

#[test]
fn settle_and_next_return_every_failure() {
    let pair = pair(|group| group.with_ending(Ending::Settle));
    let mut group = pair.group;
    pair.one.fail("first");
    pair.executor.run();
    pair.two.fail("second");
    for expected in ["one: first", "two: second"] {
        let told = pair.executor.drive(group.next()).unwrap().unwrap_err();
        assert_eq!(told.to_string(), expected);
    }
    assert!(pair.executor.drive(group.next()).is_none());
}

/// `FirstOk`: the first success; that one result; the rest cancelled.
#[test]
fn first_ok() {
    let pair = pair(|group| group.with_ending(Ending::FirstOk));
    pair.group.spawn(async { Err("refused") });
    pair.executor.run();
    assert!(!pair.group.context().is_done());
    pair.two.succeed(2);
    assert_eq!(pair.executor.drive(pair.group.wait()).unwrap(), [2]);
    assert_eq!(pair.living.count(), 0);
    drop(pair.one);
}

/// … the first failure if none succeeded, and all the others with it.
#[test]
fn first_ok_when_all_fail() {
    let executor = Executor::new();
    let group = group::<u32>(&executor).with_ending(Ending::FirstOk);
    for number in 0..30 {
        group.spawn(async move { Err(format!("mirror {number} is down")) });
    }
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "task 0: mirror 0 is down");
    // Only the values are kept: 16 of the others are, and the rest is counted.
    assert_eq!((error.others().len(), error.omitted()), (16, 13));
}

/// Two succeed at the same time: one result all the same.
#[test]
fn first_ok_when_two_succeed() {
    let pair = pair(|group| group.with_ending(Ending::FirstOk).with_grace(SECOND));
    pair.two.succeed(2);
    pair.executor.run();
    pair.one.succeed(1);
    assert_eq!(pair.executor.drive(pair.group.wait()).unwrap(), [2]);
}

/// `Quorum(k)`: k successes; the k results; the rest cancelled.
#[test]
fn quorum_is_reached() {
    let executor = Executor::new();
    let group = group(&executor).with_ending(Ending::Quorum(at_most(2)));
    let living = Living::default();
    group.spawn(stuck(living.one()));
    group.spawn(async { Ok::<_, Infallible>(1) });
    group.spawn(async { Err("refused") });
    group.spawn(async { Ok::<_, Infallible>(3) });
    group.spawn(async { Ok::<_, Infallible>(4) });
    assert_eq!(executor.drive(group.wait()).unwrap(), [1, 3]);
    assert_eq!(living.count(), 0);
}

/// … or k out of reach: the first failure; the rest cancelled.
#[test]
fn quorum_is_out_of_reach() {
    let executor = Executor::new();
    let group = group::<u32>(&executor).with_ending(Ending::Quorum(at_most(2)));
    let living = Living::default();
    group.spawn(stuck(living.one()));
    group.spawn(stuck(living.one()));
    group.spawn_named("first", async { Err("refused") });
    group.spawn_named("second", async { Err("refused") });
    let mut wait = Polled::new(group.wait());
    executor.poll(2);
    assert!(wait.is_pending());
    executor.run();
    assert!(wait.is_pending(), "two may still succeed");
    executor.lose(0);
    eventually("woken by the loss", || wait.is_woken());
    assert!(wait.is_pending());
    executor.run();
    let error = wait.ready().unwrap_err();
    assert_eq!(error.to_string(), "first: refused");
    assert_eq!(error.others().len(), 2);
    assert_eq!(living.count(), 0);
}

/// … and the wait is woken for that, though a task still runs.
#[test]
fn wait_is_woken_when_a_quorum_is_out_of_reach() {
    let enough = Ending::Quorum(at_most(2));
    let Pair {
        executor,
        group,
        living,
        one,
        two,
    } = pair(|group| group.with_ending(enough));
    group.spawn(stuck(living.one()));
    executor.run();
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    one.fail("refused");
    executor.run();
    assert!(wait.is_pending());
    two.fail("refused");
    executor.run();
    assert!(wait.is_woken());
    assert_eq!(executor.finish(&mut wait).unwrap_err().others().len(), 1);
    assert_eq!(living.count(), 0);
}

#[test]
fn quorum_of_too_few_tasks() {
    let executor = Executor::new();
    let few = group(&executor).with_ending(Ending::Quorum(at_most(3)));
    few.spawn(async { Ok::<_, Infallible>(1) });
    executor.run(); // before there is a waiter, whose presence means that no more are to come
    let error = executor.drive(few.wait()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Quorum);
    assert!(error.to_string().starts_with("1 of the 3 "), "{error}");
    let empty = group::<u32>(&executor).with_ending(Ending::FirstOk);
    let error = Polled::new(empty.wait()).ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Quorum);
    assert!(error.to_string().starts_with("0 of the 1 "), "{error}");
}

/// "`with_ending` after the first spawn panics at its caller, saying so".
#[test]
fn ending_is_set_after_the_first_spawn() {
    let executor = Executor::new();
    let group = group::<u32>(&executor);
    group.spawn(async { Ok::<_, Infallible>(1) });
    let set = AssertUnwindSafe(|| drop(group.with_ending(Ending::Settle)));
    let payload = std::panic::catch_unwind(set).unwrap_err();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap();
    assert!(
        text.contains("with_ending") && text.contains("spawn"),
        "{text}"
    );
    executor.run();
    assert!(executor.alive().is_empty());
}

/// "The context's end ends them all."
#[test]
fn context_ends_every_ending() {
    let endings = [
        Ending::FailFast,
        Ending::Settle,
        Ending::FirstOk,
        Ending::Quorum(at_most(2)),
    ];
    for ending in endings {
        let pair = pair(|group| group.with_ending(ending));
        pair.group.cancel_with("enough");
        let error = pair.executor.drive(pair.group.wait()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "context canceled: enough (waiting for one, two)",
            "{ending:?}"
        );
        assert_eq!(pair.living.count(), 0);
        drop((pair.one, pair.two));
    }
}

/// An ending is spoilt by no panic and no loss either.
#[test]
fn settle_with_a_panic_and_a_loss() {
    let executor = Executor::new();
    let group = group(&executor).with_ending(Ending::Settle);
    group.spawn(async {
        if true {
            panic!("bug");
        }
        Ok::<_, Infallible>(0)
    });
    group.spawn(pending::<Result<u32, Infallible>>());
    group.spawn(async { Ok::<_, Infallible>(2) });
    executor.lose(1);
    let outcomes = executor.drive(group.outcomes()).unwrap();
    assert_eq!(
        outcomes[0].1.as_ref().unwrap_err().kind(),
        ErrorKind::Panicked
    );
    assert_eq!(outcomes[1].1.as_ref().unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(outcomes[2].1.as_ref().unwrap(), &2);
}

/// `spawn_background`: "cancelled when the main tasks are done; their failure still fails the group".
mod background {
    use super::*;

    #[test]
    fn main_tasks_are_done() {
        let pair = pair(|group| group);
        pair.group.spawn_background(stuck(pair.living.one()));
        pair.executor.run();
        let mut wait = Polled::new(pair.group.wait());
        pair.one.succeed(1);
        pair.executor.run();
        assert!(wait.is_pending());
        assert_eq!(pair.living.count(), 2);
        pair.two.succeed(2);
        pair.executor.run();
        assert!(wait.is_pending());
        pair.executor.run();
        assert_eq!(wait.ready().unwrap(), [1, 2]);
        assert_eq!(pair.living.count(), 0);
    }

    #[test]
    fn background_task_fails() {
        let pair = pair(|group| group);
        pair.group.spawn_background(async { Err("heartbeat lost") });
        let error = pair.executor.drive(pair.group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "task 2: heartbeat lost");
        assert_eq!(pair.living.count(), 0);
        drop((pair.one, pair.two));
    }

    #[test]
    fn background_task_fails_in_a_local_group() {
        let executor = LocalExecutor::new();
        let group = LocalGroup::<u32>::new(executor.spawner());
        let lost = Rc::new("heartbeat lost");
        group.spawn_background(async move { Err(*lost) });
        executor.run();
        let error = Polled::new(group.wait()).ready().unwrap_err();
        assert_eq!(error.to_string(), "task 0: heartbeat lost");
    }

    /// An echo of the cancellation is no failure.
    #[test]
    fn background_task_returns_an_error_when_it_is_cancelled() {
        let executor = Executor::new();
        let group = group(&executor);
        let ctx = group.context().clone();
        group.spawn_background(async move {
            ctx.done().await;
            Err("context canceled")
        });
        group.spawn(async { Ok::<_, Infallible>(1) });
        assert_eq!(executor.drive(group.wait()).unwrap(), [1]);
    }

    #[test]
    fn background_task_is_done_before_the_main_tasks() {
        let pair = pair(|group| group.with_limit(at_most(2)));
        pair.group
            .spawn_background(async { Ok::<_, Infallible>(()) });
        pair.executor.run();
        assert_eq!(pair.executor.alive(), [0, 1], "the limit is not for it");
        pair.one.succeed(1);
        pair.two.succeed(2);
        assert_eq!(pair.executor.drive(pair.group.wait()).unwrap(), [1, 2]);
    }

    /// "Parent ends while all tasks succeed: `Ok`": an echo of the parent's end does not turn it into a failure.
    #[test]
    fn background_task_returns_an_echo_at_the_deadline() {
        let (clock, root) = manual();
        let executor = Executor::new();
        let (group, ctx) = Group::with_context(&root.with_timeout(SECOND), executor.spawner());
        let (its, living) = (ctx.clone(), Living::default());
        group.spawn_background(async move { its.sleep(60 * SECOND).await });
        group.spawn(until_done(ctx.clone(), living.one(), 1));
        group.spawn(until_done(ctx, living.one(), 2));
        executor.run();
        clock.advance(SECOND);
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
        assert_eq!(living.count(), 0);
    }

    /// "`spawn_background_named`": whose failure it is.
    #[test]
    fn background_task_with_a_name_fails() {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        group.spawn_background_named("heartbeat", async { Err("lost") });
        group.spawn(stuck(Living::default().one()));
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(told(&error), (ErrorKind::Task, Some("heartbeat")));
        assert_eq!(error.to_string(), "heartbeat: lost");
    }

    /// "`GroupHandle` has … `spawn_background`"
    #[test]
    fn handle_spawns_a_background_task() {
        let executor = Executor::new();
        let group = group(&executor).with_limit(at_most(1));
        let living = Living::default();
        let spawned = group.handle().spawn_background(stuck(living.one()));
        assert!(spawned.is_ok());
        group.spawn(async { Ok::<_, Infallible>(1) });
        executor.run();
        assert_eq!(living.count(), 1);
        assert_eq!(executor.drive(group.wait()).unwrap(), [1]);
        assert_eq!(living.count(), 0);
    }

    /// The limit is not for background tasks: or they would wait for the tasks that they serve, or keep them out.
    #[test]
    fn background_task_runs_beside_a_limit_of_one() {
        let executor = Executor::new();
        let living = Living::default();
        let group = group(&executor).with_limit(at_most(1));
        group.spawn_background(stuck(living.one()));
        group.spawn(async { Ok::<_, Infallible>(1) });
        group.spawn_background(stuck(living.one()));
        group.spawn(async { Ok::<_, Infallible>(2) });
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
        assert_eq!(living.count(), 0);
    }

    #[test]
    fn only_background_tasks() {
        let executor = Executor::new();
        let living = Living::default();
        let group = group::<u32>(&executor);
        group.spawn_background(stuck(living.one()));
        assert_eq!(executor.drive(group.wait()).unwrap(), []);
        assert_eq!(living.count(), 0);

        let place = LocalInPlaceGroup::<u32>::new(&Context::background());
        place.spawn_background(stuck(living.one()));
        assert_eq!(executor.drive(place.wait()).unwrap(), []);
        assert_eq!(living.count(), 0);
    }

    /// The ladder is theirs, too: grace, then they are dropped; whether they had started or not, on both hosts.
    #[test]
    fn only_background_tasks_and_grace() {
        for in_place in [false, true] {
            for started in [false, true] {
                let (clock, root) = manual();
                let (executor, living) = (Executor::new(), Living::default());
                let mut wait = if in_place {
                    let group = failfast::InPlaceGroup::<u32>::new(&root).with_grace(SECOND);
                    group.spawn_background(stuck(living.one()));
                    if started {
                        assert!(Polled::new(group.ready()).ready().is_ok());
                    }
                    Polled::new(group.wait())
                } else {
                    let (group, _) = Group::<u32>::with_context(&root, executor.spawner());
                    let group = group.with_grace(SECOND);
                    group.spawn_background(stuck(living.one()));
                    if started {
                        executor.run();
                    }
                    Polled::new(group.wait())
                };
                while wait.is_pending() {
                    executor.run();
                    assert!(wait.is_woken() || clock.advance_to_next(), "hangs");
                }
                drop(wait);
                assert_eq!((living.count(), clock.armed()), (0, 0));
            }
        }
    }

    #[test]
    fn next_does_not_wait_for_background_tasks() {
        let executor = Executor::new();
        let living = Living::default();
        let mut group = group(&executor);
        group.spawn_background(stuck(living.one()));
        group.spawn(async { Ok::<_, Infallible>(1) });
        assert_eq!(executor.drive(group.next()).unwrap().unwrap(), 1);
        assert!(executor.drive(group.next()).is_none());
        assert_eq!(executor.drive(group.wait()).unwrap(), []);
        assert_eq!(living.count(), 0);
    }
}
