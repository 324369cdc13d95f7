//! What a group returns in the end: the root cause, each failure once, and why its context is over.

use super::tools::{HOSTS, apart, panics, yields};
use crate::executor::{Executor, Polled, remote, watched};
use crate::executor::{Living, LocalExecutor};
use crate::support::{SECOND, at_most, manual};
use failfast::context::ContextErrorKind;
use failfast::{BoxError, Context, Ending, Error, ErrorKind, Group, InPlaceGroup, LocalGroup};
use futures::executor::block_on;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Barrier, Mutex};

/// Fault 12: `with_ending` after a tolerated failure corrupted the context.
mod ending_is_set_late {
    use super::*;

    /// Fault 12: it panics at its caller, names the reason, and leaves nothing hanging.
    #[test]
    fn after_the_first_spawn_it_panics_at_its_caller() {
        apart(|| {
            let told = Arc::new(Mutex::new(String::new()));
            let hook = told.clone();
            std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
                *hook.lock().unwrap() = info.to_string();
            }));
            let group = InPlaceGroup::<()>::new(&Context::background()).with_ending(Ending::Settle);
            let ctx = group.context().clone();
            group.spawn(async { Err("one") });
            let line = line!() + 1;
            assert!(panics(|| group.with_ending(Ending::FailFast)));
            drop(std::panic::take_hook());
            let told = told.lock().unwrap();
            assert!(told.contains(&format!("endings.rs:{line}")), "{told}");
            assert!(told.contains("ending"), "{told}");
            assert!(ctx.is_done(), "the group that unwound is not over");
        });
    }

    /// Fault 12: the failure that is tolerated leaves context and cause alone.
    #[test]
    fn tolerated_failure_leaves_the_context_alone() {
        watched(|| {
            let mut group =
                InPlaceGroup::<u32>::new(&Context::background()).with_ending(Ending::Settle);
            group.spawn(async { Err("one") });
            assert!(block_on(group.next()).unwrap().is_err());
            assert!(!group.context().is_done() && group.context().cause().is_none());
            group.spawn(async { Ok::<_, Infallible>(2) });
            assert_eq!(block_on(group.next()).unwrap().unwrap(), 2);
        });
    }

    /// Fault 12: before the first spawn any of them may be set, also twice.
    #[test]
    fn before_the_first_spawn_the_last_counts() {
        watched(|| {
            let group = InPlaceGroup::new(&Context::background())
                .with_ending(Ending::Settle)
                .with_ending(Ending::FirstOk);
            group.spawn(async { Err("one") });
            group.spawn(async { Ok::<_, Infallible>(2) });
            group.spawn(pending::<Result<_, Infallible>>());
            assert_eq!(block_on(group.wait()).unwrap(), [2]);
        });
    }
}

/// Fault 14: the body's echo of the cancellation masked the root cause.
mod body_echoes {
    use super::*;

    async fn sleeps(group: InPlaceGroup<'static, ()>) -> Result<(), BoxError> {
        let ctx = group.context().clone();
        // Both are polled by one task: the sleep is cut short by the end that the group's failure makes.
        let (_, slept) = futures::join!(group.wait(), ctx.sleep(super::super::tools::HOUR));
        slept?;
        Ok(())
    }

    /// Fault 14: a plain `?` on a sleep displays the failure behind the cancellation.
    #[test]
    fn error_of_a_sleep_displays_the_root_cause() {
        watched(|| {
            let group = InPlaceGroup::new(&Context::background());
            group.spawn_named("profile", async { Err("connection refused") });
            let error = block_on(sleeps(group)).unwrap_err();
            assert_eq!(
                error.to_string(),
                "context canceled: profile: connection refused"
            );
        });
    }

    /// Fault 14: `run` gives the root cause, whichever way its body echoes the end.
    #[test]
    fn run_gives_the_root_cause_for_every_echo() {
        for way in 0..6 {
            watched(move || {
                let (group, ctx) = Group::<()>::with_context(&Context::background(), smol::spawn);
                group.spawn_named("profile", async { Err("connection refused") });
                let body = async move {
                    match way {
                        0 => ctx.sleep(super::super::tools::HOUR).await?,
                        1 => ctx.run(pending::<()>()).await?,
                        2 => {
                            ctx.done().await;
                            ctx.check()?;
                        }
                        3 => ctx.try_run(pending::<Result<(), Infallible>>()).await?,
                        4 => {
                            ctx.done().await;
                            return Err(Box::new(ctx.cause().unwrap()) as BoxError);
                        }
                        _ => {
                            ctx.done().await;
                            let nested = InPlaceGroup::<()>::new(&ctx);
                            nested.spawn(pending::<Result<_, Infallible>>());
                            nested.wait().await?;
                        }
                    }
                    Ok(())
                };
                let error = block_on(group.run(body)).unwrap_err();
                assert_eq!(
                    error.to_string(),
                    "profile: connection refused",
                    "way {way}"
                );
                assert!(
                    error.others().is_empty(),
                    "way {way}: an echo was returned as a failure"
                );
            });
        }
    }

    /// Fault 14: the body's own failure is a task's, named `body`, and echoes of it are none.
    #[test]
    fn bodys_own_failure_is_the_error() {
        for host in HOSTS {
            watched(move || {
                let (group, ctx) = Group::<()>::with_context(&Context::background(), host.spawn);
                group.spawn(async move { ctx.sleep(super::super::tools::HOUR).await });
                let error =
                    block_on(group.run(async { Err::<(), _>("refused".into()) })).unwrap_err();
                assert_eq!(error.to_string(), "body: refused");
                assert_eq!(error.task().unwrap(), &"body");
                assert!(error.others().is_empty());
            });
        }
    }

    /// Fault 14: tasks that echo at once, before or after the failure is recorded, are never the error.
    #[test]
    fn echoes_of_many_tasks_are_never_the_error() {
        for host in HOSTS {
            watched(move || {
                for _ in 0..20 {
                    let (group, ctx) =
                        Group::<()>::with_context(&Context::background(), host.spawn);
                    for _ in 0..33 {
                        let ctx = ctx.clone();
                        group.spawn(async move { ctx.sleep(super::super::tools::HOUR).await });
                    }
                    group.spawn_named("profile", async { Err("refused") });
                    let error = block_on(group.wait()).unwrap_err();
                    assert_eq!(error.to_string(), "profile: refused", "{}", host.name);
                    assert!(
                        error.others().is_empty() && error.omitted() == 0,
                        "{}",
                        host.name
                    );
                }
            });
        }
    }
}

/// Fault 16: after a success the context's error was "canceled", without the reason.
mod context_after_the_end {
    use super::*;

    fn told(ctx: &Context) -> String {
        assert_eq!(ctx.err().unwrap().kind(), ContextErrorKind::Canceled);
        format!("{} | {}", ctx.err().unwrap(), ctx.cause().unwrap())
    }

    /// Fault 16: it names the place where the group was made.
    #[test]
    fn success_holds_where_the_group_was_made() {
        watched(|| {
            let line = line!() + 1;
            let (group, ctx) = Group::with_context(&Context::background(), smol::spawn);
            group.spawn(async { Ok::<_, Infallible>(()) });
            block_on(group.wait()).unwrap();
            let told = told(&ctx);
            assert!(told.contains(&format!("endings.rs:{line}")), "{told}");
            assert!(told.contains("has finished"), "{told}");
        });
    }

    /// Fault 16: also what was derived from it, linked to it, or made after.
    #[test]
    fn descendants_hold_it_too() {
        watched(|| {
            let group = InPlaceGroup::new(&Context::background());
            let ctx = group.context().clone();
            let child = ctx.with_timeout(super::super::tools::HOUR);
            let linked = Context::linked([ctx.clone(), Context::background().with_cancel().0]);
            group.spawn(async { Ok::<_, Infallible>(()) });
            block_on(group.wait()).unwrap();
            for ctx in [child, ctx.with_value(5)] {
                assert!(told(&ctx).contains("has finished"));
            }
            drop(linked);
        });
    }

    /// Fault 16: `stop` and a dropped canceller have a cause of their own.
    #[test]
    fn other_ends_have_causes_of_their_own() {
        watched(|| {
            let group = InPlaceGroup::<()>::new(&Context::background());
            group.stop();
            assert!(
                told(group.context()).contains("stopped"),
                "{}",
                told(group.context())
            );
            let (ctx, canceller) = Context::background().with_cancel();
            drop(canceller);
            assert!(told(&ctx).contains("canceller"), "{}", told(&ctx));
        });
    }
}

/// Fault 19: `next` ignored stragglers.
mod stragglers {
    use super::*;

    /// Fault 19: it yields them where `wait` would return them, and then ends.
    #[test]
    fn next_yields_them() {
        watched(|| {
            let (clock, ctx) = manual();
            let (ctx, canceller) = ctx.with_cancel();
            let executor = Executor::new();
            let (group, _) = Group::<()>::with_context(&ctx, executor.spawner());
            let mut group = group.with_straggler_limit(SECOND);
            group.spawn_named("slow", pending::<Result<_, Infallible>>());
            executor.run();
            canceller.cancel();
            let mut next = Polled::new(group.next_named());
            assert!(next.is_pending());
            clock.advance(SECOND);
            assert!(next.is_woken(), "it ignores the limit");
            let error = next.ready().unwrap().1.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stragglers);
            assert_eq!(error.pending(), ["slow"]);
            drop(next);
            assert!(block_on(group.next()).is_none());
        });
    }
}

/// Faults 19 and 28: with `next` and `wait` a failure was returned twice, or omitted.
mod each_failure_is_returned_once {
    use super::*;

    /// The failures that an error lists.
    fn texts(error: &Error) -> Vec<String> {
        let others = error.others().iter().map(Error::to_string);
        std::iter::once(error.to_string()).chain(others).collect()
    }

    /// Fault 28: the first failure was known by its place, which a later task used again.
    #[test]
    fn none_is_omitted_after_next_took_the_first() {
        watched(|| {
            let mut group =
                InPlaceGroup::<()>::new(&Context::background()).with_ending(Ending::Settle);
            group.spawn_named("a", async { Err("first") });
            let first = block_on(group.next()).unwrap().unwrap_err();
            group.spawn_named("b", async { Err("second") });
            group.spawn_named("c", async { Err("third") });
            let rest = block_on(group.wait()).unwrap_err();
            assert_eq!(texts(&first), ["a: first"]);
            assert_eq!(texts(&rest), ["b: second", "c: third"]);
        });
    }

    /// Faults 19 and 28: however many were taken with `next`, the rest is what `wait` returns.
    #[test]
    fn next_and_wait_share_them_out() {
        watched(|| {
            for count in [1, 2, 3, 12, 16] {
                for taken in 0..count {
                    let mut group =
                        InPlaceGroup::<()>::new(&Context::background()).with_ending(Ending::Settle);
                    let mut told = BTreeSet::new();
                    for n in 0..taken {
                        group.spawn(ready(Err(format!("e{n}"))));
                        told.extend(texts(&block_on(group.next()).unwrap().unwrap_err()));
                    }
                    for n in taken..count {
                        group.spawn(ready(Err(format!("e{n}"))));
                    }
                    let rest = texts(&block_on(group.wait()).unwrap_err());
                    assert_eq!(rest.len(), count - taken);
                    assert!(
                        rest.into_iter().all(|text| told.insert(text)),
                        "returned twice"
                    );
                    assert_eq!(told.len(), count);
                }
            }
        });
    }

    /// Fault 19: where all were taken with `next`, `wait` has nothing left to return.
    #[test]
    fn wait_after_all_were_taken() {
        watched(|| {
            let mut group = InPlaceGroup::new(&Context::background()).with_ending(Ending::Settle);
            group.spawn(ready(Err("refused")));
            assert!(block_on(group.next()).unwrap().is_err());
            group.spawn(ready(Ok::<_, Infallible>(2)));
            assert_eq!(block_on(group.wait()).unwrap(), [2]);
        });
    }

    /// Fault 28: with a fail-fast group, whose first failure `next` returns, in any order of completion.
    #[test]
    fn later_task_takes_the_place_of_the_first_that_failed() {
        watched(|| {
            let executor = Executor::new();
            let living = Living::default();
            let mut group = Group::<u32>::new(executor.spawner()).with_ending(Ending::Settle);
            let (one, first) = remote(&living);
            group.spawn_named("one", first);
            executor.run();
            one.fail("1");
            executor.run();
            assert_eq!(
                executor
                    .drive(group.next())
                    .unwrap()
                    .unwrap_err()
                    .to_string(),
                "one: 1"
            );
            let ends: Vec<_> = (2..6)
                .map(|n| {
                    let (end, task) = remote(&living);
                    group.spawn_named(format!("{n}"), task);
                    end
                })
                .collect();
            executor.run();
            ends.into_iter().rev().for_each(|end| end.fail("x"));
            executor.run_backwards();
            let error = executor.drive(group.wait()).unwrap_err();
            let told: BTreeSet<_> = texts(&error).into_iter().collect();
            assert_eq!(told.len(), 4, "{told:?}");
        });
    }

    /// Fault 19: among concurrent failures the first one is the error, and the sum is right.
    #[test]
    fn first_of_many_concurrent_failures_is_the_error() {
        watched(|| {
            for host in HOSTS {
                for size in [2, 16, 17, 18, 33, 65] {
                    let (group, ctx) =
                        Group::<()>::with_context(&Context::background(), host.spawn);
                    for n in 0..size {
                        group.spawn(async move {
                            yields(n % 2).await;
                            Err(format!("e{n}"))
                        });
                    }
                    let error = block_on(group.wait()).unwrap_err();
                    let cause = ctx.cause().unwrap().to_string();
                    assert_eq!(
                        cause,
                        error.to_string(),
                        "{}: the first was not it",
                        host.name
                    );
                    let told: BTreeSet<_> = texts(&error).into_iter().collect();
                    assert_eq!(told.len(), 1 + error.others().len());
                    assert!(told.len() + error.omitted() <= size);
                }
            }
        });
    }

    /// Fault 19: threads that fail at one moment.
    #[test]
    fn threads_fail_at_one_moment() {
        watched(|| {
            for _ in 0..20 {
                let start = Arc::new(Barrier::new(17));
                let spawn = |mut task: failfast::Task| {
                    drop(std::thread::spawn(move || {
                        while super::super::tools::poll_once(std::pin::Pin::new(&mut task))
                            .is_pending()
                        {}
                    }));
                };
                let (group, ctx) = Group::<()>::with_context(&Context::background(), spawn);
                for n in 0..17 {
                    let start = start.clone();
                    group.spawn(async move {
                        start.wait();
                        Err(format!("e{n}"))
                    });
                }
                let error = block_on(group.wait()).unwrap_err();
                assert_eq!(ctx.cause().unwrap().to_string(), error.to_string());
                assert_eq!(1 + error.others().len() + error.omitted(), 17);
            }
        });
    }
}

/// Fault 19: the echo of a background task at a deadline turned `Ok` into `Err`.
mod background_task_echoes {
    use super::*;

    /// Fault 19: the main tasks are done, and it meets the deadline.
    #[test]
    fn deadline_after_the_main_tasks_are_done() {
        watched(|| {
            let (clock, ctx) = manual();
            let executor = Executor::new();
            let (group, ctx) = Group::with_context(&ctx.with_timeout(SECOND), executor.spawner());
            group.spawn_background(async move {
                ctx.done().await;
                ctx.check()
            });
            group.spawn(ready(Ok::<_, Infallible>(5)));
            executor.run();
            clock.advance(SECOND);
            executor.run();
            assert_eq!(executor.drive(group.wait()).unwrap(), [5]);
        });
    }

    /// Fault 19: the end is the group's own, as its main tasks finish.
    #[test]
    fn end_of_the_group() {
        watched(|| {
            for size in [1, 2, 33] {
                let executor = LocalExecutor::new();
                let (group, ctx) =
                    LocalGroup::with_context(&Context::background(), executor.spawner());
                for _ in 0..size {
                    let ctx = ctx.clone();
                    group.spawn_background(async move {
                        ctx.done().await;
                        Err::<(), BoxError>(Box::new(ctx.err().unwrap()))
                    });
                }
                group.spawn(ready(Ok::<_, Infallible>(5)));
                assert_eq!(executor.drive(group.wait()).unwrap(), [5]);
            }
        });
    }
}

/// Fault 24: a missed quorum kept its results until the last handle was gone.
mod missed_quorum {
    use super::*;

    /// Fault 24: they are gone when `wait` returns.
    #[test]
    fn keeps_no_result_beside_a_handle() {
        watched(|| {
            for (size, quorum) in [(0, 1), (1, 2), (2, 3), (31, 33)] {
                let living = Living::default();
                let group = InPlaceGroup::new(&Context::background())
                    .with_ending(Ending::Quorum(at_most(quorum)));
                let handle = group.handle();
                for _ in 0..size {
                    group.spawn(ready(Ok::<_, Infallible>(living.one())));
                }
                let error = block_on(group.wait()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Quorum);
                assert_eq!(living.count(), 0, "{size} of {quorum}");
                drop(handle);
            }
        });
    }

    /// Fault 24: every other way for a group to end without giving its results.
    #[test]
    fn no_end_keeps_results_beside_a_handle() {
        watched(|| {
            for end in 0..4 {
                let living = Living::default();
                let (ctx, canceller) = Context::background().with_cancel();
                let group = InPlaceGroup::new(&ctx);
                let (handle, below) = (group.handle(), group.context().clone());
                for _ in 0..3 {
                    group.spawn(ready(Ok::<_, Infallible>(living.one())));
                }
                group.spawn(async move {
                    yields(3).await;
                    match end {
                        0 => Err("refused"),
                        1 => panic!("at the end"),
                        2 => {
                            canceller.cancel();
                            pending().await
                        }
                        _ => pending().await,
                    }
                });
                let mut wait = Polled::new(group.wait());
                if end == 3 {
                    assert!(wait.is_pending());
                    drop(wait);
                } else {
                    while wait.is_pending() {
                        assert!(wait.is_woken());
                    }
                }
                assert_eq!(living.count(), 0, "end {end}");
                drop((handle, below));
            }
        });
    }
}
