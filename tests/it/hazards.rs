//! The 35 known hazards, each with the tests that would fail without its cure; and those tests that stand nowhere else.

use crate::executor::{Executor, Living, Polled, on_wake, watched};
use crate::faults::tools::{HOUR, apart, eager, held, inline, panics, poll_once, yields};
use crate::support::{Count, SECOND, at_most, counting, manual, poll};
use failfast::{
    Aggregator, BoxError, Context, ContextError, Error, ErrorKind, Group, InPlaceGroup, LocalGroup,
    LocalTask, Task,
};
use futures::executor::block_on;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fs;
use std::future::{Future, pending, poll_fn, ready};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::thread;

/// Hazard by hazard, in the order of their list: what it is, and the functions of the tests that hold it off.
const HAZARDS: [(&str, &[&str]); 35] = [
    (
        "a dropped handle cancels its task or detaches it",
        &[
            "over_a_smol_executor",
            "let_their_handles_go_though_they_ended_within_spawn",
            "handle_is_kept_until_its_task_has_ended",
        ],
    ),
    (
        "executors treat panics each in their own way",
        &["task_panics", "panics_in_poll_in_drop_and_in_both"],
    ),
    (
        "an executor drops its tasks from any thread, under its locks",
        &[
            "drops_under_the_lock_that_its_wakers_take",
            "executor_is_dropped_with_its_tasks",
            "dropping_thread_is_not_blocked_though_the_wakers_want_its_lock",
        ],
    ),
    (
        "a waker polls inline, owns the task, blocks or panics",
        &[
            "waker_panics",
            "waker_blocks",
            "waker_owns_the_task_and_polls_inline",
            "a_waker_that_panics_keeps_nobody_asleep",
            "waiters_of_one_context",
        ],
    ),
    (
        "a broadcast that wakes under its lock hangs after an executor went",
        &["executor_goes_with_a_task_that_waits_for_the_end"],
    ),
    (
        "a waker that asks during the cancel deadlocks",
        &["a_waker_that_asks_inline_finds_it_done"],
    ),
    (
        "a token is dropped before the future it stands for",
        &["unpolled_future_is_gone_when_wait_returns"],
    ),
    (
        "register and check against set and wake",
        &[
            "a_waiter_that_comes_while_the_context_ends_is_never_missed",
            "a_child_made_while_its_parent_ends_is_never_missed",
        ],
    ),
    (
        "one panicking waker kills the only timer thread",
        &[
            "a_panicking_waker_stops_nobody",
            "sleeper_of_the_systems_clock",
        ],
    ),
    (
        "a slow waker delays every timer, and a fork stops them",
        &[
            "a_blocking_waker_delays_no_foreign_timer",
            "child_wakes_though_its_parent_withdrew_its_sleeps",
        ],
    ),
    (
        "each deadline costs a timer",
        &[
            "what_completes_at_once_arms_no_timer",
            "group_arms_one_timer_for_all_its_tasks",
        ],
    ),
    (
        "a limit set late, or a spawn at the limit, hangs",
        &[
            "limit_is_set_after_the_first_task",
            "group_is_cancelled_while_two_wait_for_a_place",
            "task_awaits_its_own_fork",
        ],
    ),
    (
        "results after the last error are lost, and panics stick",
        &[
            "results_come_in_the_order_of_spawning",
            "error_does_not_stick_to_the_next_group",
            "task_spawns_during_wait",
        ],
    ),
    (
        "results are kept until they are joined, and drop does not wait",
        &[
            "next_for_a_hundred_thousand_results_keeps_none",
            "no_end_keeps_results_beside_a_handle",
        ],
    ),
    (
        "a wait without a close hangs, or returns before a spawn ran",
        &[
            "wait_on_an_empty_group",
            "spawn_after_wait_returned",
            "handles_that_are_kept_do_not_hold_wait_up",
        ],
    ),
    (
        "a limit of zero hangs",
        &["in_place_exactly_so_many_run_at_once"],
    ),
    (
        "an own timeout looks like the caller's end",
        &["own_timeout_and_callers_end_are_told_apart"],
    ),
    (
        "the root cause is masked by an echo",
        &[
            "echoes_come_before_and_after_in_the_order_of_spawning",
            "run_gives_the_root_cause_for_every_echo",
        ],
    ),
    (
        "a cancelled front waiter loses a place",
        &[
            "front_waiter_is_dropped_after_it_was_woken",
            "front_waiter_is_ready_and_does_not_use_its_place",
        ],
    ),
    (
        "deep trees overflow the stack",
        &[
            "a_deep_tree_is_made_cancelled_and_dropped",
            "snapshot_of_nested_groups",
        ],
    ),
    (
        "a future that registers no waker, where only the woken are polled",
        &[
            "sources_answer_at_once",
            "contexts_waiters_are_woken",
            "groups_waiters_are_woken",
            "forks_are_woken",
        ],
    ),
    (
        "timers and channels wake themselves in their own poll",
        &[
            "it_is_polled_once_for_each_poll_of_its_waiter",
            "tokio_sleep_beside_a_busy_channel_does_not_spin",
            "tasks_in_place_cost_a_bounded_number_of_polls_each",
        ],
    ),
    (
        "a key and an address are used again",
        &["child_made_meanwhile_is_ended_by_the_root"],
    ),
    (
        "a waker panics when it is woken from another thread",
        &[
            "waker_that_refuses_other_threads",
            "deadline_of_a_group_is_refused_before_it_comes",
            "sleep_of_a_task_is_refused",
        ],
    ),
    (
        "executors that want Sync, run within spawn, refuse, or assert the thread",
        &[
            "tasks_are_sync",
            "executor_runs_its_tasks_within_spawn",
            "executor_refuses_every_other_task",
            "handle_asserts_its_thread_when_dropped",
        ],
    ),
    (
        "Instant::now panics on the web",
        &["clock_of_the_standard_library_is_read_in_one_place"],
    ),
    (
        "endless short tasks under one waiter",
        &[
            "spawned_by_a_task_in_place_stay_flat",
            "through_a_handle_beside_a_pending_wait_stay_flat",
            "taken_with_next_stay_flat",
        ],
    ),
    (
        "work added after the parent's end on an idle group",
        &[
            "work_added_on_an_executor_is_never_polled",
            "work_added_in_place_is_never_polled",
        ],
    ),
    (
        "a critical section is cut in the middle",
        &[
            "shielded_section_is_finished_on_an_executor",
            "shielded_section_is_finished_in_place",
            "loop_of_shields_ends",
        ],
    ),
    (
        "the own cancel and the outer deadline at once",
        &[
            "outer_deadline_during_the_grace_of_an_own_cancel",
            "outer_deadline_and_own_failure_in_one_moment",
        ],
    ),
    (
        "composites over a long-lived signal",
        &[
            "links_that_go_in_any_order_leave_nothing",
            "a_hundred_thousand_composites_leave_nothing",
        ],
    ),
    (
        "a slow body between two next starves the tasks",
        &["body_of_run_and_tasks_in_place_take_turns"],
    ),
    (
        "a context used after success must say why it is over",
        &["success_says_where_the_group_was_made"],
    ),
    (
        "error chains repeat themselves",
        &[
            "each_text_stands_once_in_a_chain",
            "error_of_a_sleep_displays_the_root_cause",
        ],
    ),
    (
        "tests at small sizes only",
        &[
            "wait_in_place_gives_all_in_order_with_exact_polls",
            "sources_answer_after_some_yields",
        ],
    ),
];

/// The names of the functions in the files below.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let source = fs::read_to_string(path).unwrap();
            let names = source
                .lines()
                .filter_map(|line| line.split_once("fn ")?.1.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_hazard_has_its_tests() {
    let mut found = BTreeSet::new();
    functions(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"),
        &mut found,
    );
    for (number, (hazard, tests)) in (1..).zip(HAZARDS) {
        assert!(!tests.is_empty(), "hazard {number}, {hazard}: no test");
        let missing: Vec<_> = tests
            .iter()
            .filter(|test| !found.contains(**test))
            .collect();
        assert!(
            missing.is_empty(),
            "hazard {number}, {hazard}: no {missing:?}"
        );
    }
}

mod handles {
    use super::*;

    /// Hazard 1.
    #[test]
    fn handle_is_kept_until_its_task_has_ended() {
        watched(|| {
            let executor = Executor::new();
            let dropped = Count::default();
            let (count, spawner) = (dropped.clone(), executor.spawner());
            let group = Group::new(move |task: Task| {
                failfast::Spawn::spawn(&spawner, task);
                crate::support::OnDrop(count.clone())
            });
            for n in 0..40 {
                group.spawn(async move {
                    yields(2).await;
                    Ok::<_, Infallible>(n)
                });
            }
            assert!(executor.step());
            assert_eq!(
                dropped.get(),
                0,
                "a handle was dropped before its task had ended"
            );
            executor.run();
            assert_eq!(dropped.get(), 40);
            assert_eq!(executor.drive(group.wait()).unwrap().len(), 40);
        });
    }

    /// Hazard 15.
    #[test]
    fn handles_that_are_kept_do_not_hold_wait_up() {
        watched(|| {
            let group = InPlaceGroup::new(&Context::background());
            let handles: Vec<_> = (0..3).map(|_| group.handle()).collect();
            group.spawn(ready(Ok::<_, Infallible>(5)));
            assert_eq!(block_on(group.wait()).unwrap(), [5]);
            assert!(
                handles
                    .iter()
                    .all(|handle| handle.spawn(ready(Ok::<_, Infallible>(6))).is_err())
            );
        });
    }
}

mod executors {
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
            let (group, below) =
                Group::<()>::with_context(&ctx.with_timeout(HOUR), executor.spawner());
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

    /// Hazard 25: some executors want `Sync` futures.
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

    /// Hazard 24: the task's waker works on its own thread only; the wait ends all the same, and nobody else suffers.
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
}

/// Hazard 26: on the web the standard library's clock panics, and its `Instant` is another type than the one in use.
#[test]
fn clock_of_the_standard_library_is_read_in_one_place() {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    namers_of_instant(&root, &mut found);
    found.retain(|path| !path.ends_with("clock/time.rs"));
    assert!(
        found.is_empty(),
        "they name std's Instant, not that of clock/time.rs: {found:?}"
    );
}

/// The sources, without their tests, that name `std::time::Instant` outside of comments.
fn namers_of_instant(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            namers_of_instant(&path, found);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap_or_default();
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        let names = |line: &str| line.contains("std::time::") && line.contains("Instant");
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        if !path.ends_with("tests.rs") && code.lines().filter(is_code).any(names) {
            found.push(path);
        }
    }
}

mod ends {
    use super::*;

    /// Hazard 17.
    #[test]
    fn own_timeout_and_callers_end_are_told_apart() {
        watched(|| {
            let stuck = |_: Context, (): ()| pending::<Result<(), Infallible>>();
            let all = Aggregator::in_place()
                .with_name("dashboard")
                .with_timeout(2 * SECOND)
                .source("one", stuck);
            let (clock, ctx) = manual();
            for (callers, own) in [(None, true), (Some(SECOND), false), (Some(HOUR), true)] {
                let caller = callers.map_or(ctx.clone(), |timeout| ctx.with_timeout(timeout));
                let mut waiting = Box::pin(all.aggregate(&caller, ()));
                assert!(poll_once(waiting.as_mut()).is_pending());
                clock.advance(2 * SECOND);
                let error = block_on(waiting).unwrap_err();
                assert!(error.is_deadline_exceeded() && error.is_timeout());
                assert_eq!(
                    error.to_string().contains("dashboard's timeout of 2s"),
                    own,
                    "{error}"
                );
            }
            let (caller, canceller) = ctx.with_cancel();
            let mut waiting = Box::pin(all.aggregate(&caller, ()));
            assert!(poll_once(waiting.as_mut()).is_pending());
            canceller.cancel();
            let error = block_on(waiting).unwrap_err();
            assert!(error.is_canceled() && !error.is_timeout(), "{error}");
        });
    }

    /// Hazard 30: the group is cancelled by its owner; during the grace, the caller's deadline passes.
    #[test]
    fn outer_deadline_during_the_grace_of_an_own_cancel() {
        watched(|| {
            let (clock, ctx) = manual();
            let outer = ctx.with_timeout(SECOND);
            let executor = Executor::new();
            let (group, _) = Group::<()>::with_context(&outer, executor.spawner());
            let group = group.with_grace(10 * SECOND);
            group.spawn(pending::<Result<_, Infallible>>());
            executor.run();
            group.cancel_with("own");
            let mut run = Polled::new(outer.run(group.wait()));
            assert!(run.is_pending());
            clock.advance(SECOND);
            assert!(run.is_woken(), "the outer deadline is lost");
            assert!(run.ready().unwrap_err().is_deadline_exceeded());
            assert!(outer.err().unwrap().is_deadline_exceeded());
        });
    }

    /// Hazard 30: an inner group that fails and is caught does not swallow the outer end.
    #[test]
    fn outer_deadline_and_own_failure_in_one_moment() {
        watched(|| {
            for failure_first in [false, true] {
                let (clock, ctx) = manual();
                let outer = ctx.with_timeout(SECOND);
                let group = InPlaceGroup::<()>::new(&outer);
                let time = clock.clone();
                group.spawn(async move {
                    yields(1).await;
                    if failure_first {
                        return Err("own");
                    }
                    time.advance(SECOND);
                    Err("own")
                });
                let told = block_on(group.wait()).unwrap_err();
                if failure_first {
                    assert_eq!(told.to_string(), "task 0: own");
                    assert!(!outer.is_done());
                    clock.advance(SECOND);
                } else {
                    // The deadline was first: it is the error, and the failure is told beside it.
                    assert_eq!(told.kind(), ErrorKind::DeadlineExceeded);
                    assert_eq!(told.others().len(), 1);
                }
                assert!(outer.err().unwrap().is_deadline_exceeded());
            }
        });
    }

    /// Hazard 30: a task that makes inner groups in a loop, each of which fails, still ends with the outer one.
    #[test]
    fn loop_of_failing_inner_groups_ends_with_the_outer_one() {
        watched(|| {
            let (outer, ctx) = Group::<()>::with_context(&Context::background(), smol::spawn);
            let rounds = Count::default();
            let count = rounds.clone();
            outer.spawn_named("looper", async move {
                loop {
                    count.add();
                    let inner = InPlaceGroup::<()>::new(&ctx);
                    inner.spawn(async { Err("inner") });
                    drop(inner.wait().await);
                    yields(1).await;
                }
                #[allow(unreachable_code)]
                Ok::<_, Infallible>(())
            });
            let seen = rounds.clone();
            outer.spawn_named("outer", async move {
                while seen.get() < 3 {
                    yields(1).await;
                }
                Err("outer down")
            });
            assert_eq!(
                block_on(outer.wait()).unwrap_err().to_string(),
                "outer: outer down"
            );
        });
    }

    /// Hazard 31: races and links over one signal that lives long.
    #[test]
    fn a_hundred_thousand_composites_leave_nothing() {
        apart(|| {
            let (server, _canceller) = Context::background().with_cancel();
            let mut odd = false;
            let mut round = |_: usize| {
                odd = !odd;
                let (request, canceller) = Context::background().with_cancel();
                let linked = Context::linked([server.clone(), request]);
                let callback = linked.on_done(|| {});
                let race = futures::future::select(linked.done(), server.done());
                assert!(poll_once(Box::pin(race).as_mut()).is_pending());
                if odd {
                    canceller.cancel();
                }
                drop(callback);
            };
            (0..1_000).for_each(&mut round);
            let before = held();
            (0..100_000).for_each(&mut round);
            let left = held() - before;
            assert!(left <= 4_096, "{left} bytes");
        });
    }
}

/// Hazard 29: a `BEGIN` without its end.
mod shields {
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
            let (group, ctx) =
                Group::<()>::with_context(&Context::background(), executor.spawner());
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
            let (group, ctx) =
                Group::<()>::with_context(&Context::background(), executor.spawner());
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

    /// Hazard 29: without a shield the same section is cut, which shows that the test can tell.
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
            let (group, ctx) =
                Group::<()>::with_context(&Context::background(), executor.spawner());
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
}

mod bodies {
    use super::*;

    /// Hazard 32: in place, `run` polls the body and the tasks, whichever was woken; neither starves the other.
    #[test]
    fn body_of_run_and_tasks_in_place_take_turns() {
        watched(|| {
            let (clock, ctx) = manual();
            let group = InPlaceGroup::<()>::new(&ctx);
            let beats = Count::default();
            for _ in 0..3 {
                let (ctx, beats) = (ctx.clone(), beats.clone());
                group.spawn_background(async move {
                    loop {
                        ctx.sleep(SECOND).await?;
                        beats.add();
                    }
                    #[allow(unreachable_code)]
                    Ok::<_, ContextError>(())
                });
            }
            let slow = ctx.sleep(10 * SECOND + SECOND / 2);
            let mut run = Polled::new(group.run(async {
                slow.await?;
                Ok(5)
            }));
            for _ in 0..10 {
                assert!(run.is_pending());
                clock.advance(SECOND);
                assert!(run.is_woken(), "the tasks starve");
            }
            assert!(run.is_pending());
            assert_eq!(beats.get(), 30);
            clock.advance(SECOND);
            assert_eq!(run.ready().unwrap(), 5);
        });
    }

    /// Hazard 32: a body that is always ready to go on leaves turns for the tasks.
    #[test]
    fn body_that_is_always_ready_starves_no_task() {
        watched(|| {
            let group = InPlaceGroup::<()>::new(&Context::background());
            let fork = group.fork("fork", async {
                yields(100).await;
                Ok::<_, Infallible>(7)
            });
            let mut fork = Box::pin(fork);
            let body = poll_fn(move |cx| match fork.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer.map_err(BoxError::from)),
                Poll::Pending => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            });
            assert_eq!(block_on(group.run(body)).unwrap(), 7);
        });
    }
}

/// Hazard 34: `Display` with the source's text *and* `source()`.
mod chains {
    use super::*;

    /// The texts of an error and of its sources.
    fn texts(error: &(dyn StdError + 'static)) -> Vec<String> {
        std::iter::successors(Some(error), |error| (*error).source())
            .map(ToString::to_string)
            .collect()
    }

    #[derive(Debug, thiserror::Error)]
    #[error("loading the profile")]
    struct Loading(#[source] std::io::Error);

    /// Whether no text repeats the end of the one before it.
    fn says_nothing_twice(error: &(dyn StdError + 'static)) {
        let texts = texts(error);
        for (n, text) in texts.iter().enumerate() {
            let said = texts[..n]
                .iter()
                .any(|before| before.contains(text.as_str()));
            assert!(!said, "{text:?} is said twice: {texts:?}");
        }
    }

    fn failed() -> Error {
        let group = InPlaceGroup::<()>::new(&Context::background());
        group.spawn_named("profile", async {
            Err(Loading(std::io::Error::other("connection refused")))
        });
        block_on(group.wait()).unwrap_err()
    }

    /// Hazard 34: of a failure, its cause, an echo, and each of them nested in a task of another group.
    #[test]
    fn each_text_stands_once_in_a_chain() {
        watched(|| {
            let error = failed();
            assert_eq!(
                texts(&error),
                ["profile: loading the profile", "connection refused"]
            );
            let outer = InPlaceGroup::<()>::new(&Context::background());
            let inner = failed();
            outer.spawn_named("page", async { Err(inner) });
            let nested = block_on(outer.wait()).unwrap_err();
            assert!(
                nested.downcast_ref::<Loading>().is_some()
                    && nested.downcast_ref::<std::io::Error>().is_some()
            );
            let group = InPlaceGroup::<()>::new(&Context::background());
            let ctx = group.context().clone();
            group.spawn_named("profile", async {
                Err(Loading(std::io::Error::other("connection refused")))
            });
            assert!(block_on(group.wait()).is_err());
            let ended = ctx.check().unwrap_err();
            for error in [
                &error as &(dyn StdError + 'static),
                &nested,
                &ended,
                &ctx.cause().unwrap(),
            ] {
                says_nothing_twice(error);
            }
        });
    }

    /// Hazard 34: wrapped by those who quote, and by those who are transparent.
    #[test]
    fn wrapped_by_thiserror_nothing_is_said_twice() {
        #[derive(Debug, thiserror::Error)]
        enum Outer {
            #[error("page")]
            Page(#[from] Error),
            #[error(transparent)]
            Bare(ContextError),
        }
        watched(|| {
            says_nothing_twice(&Outer::from(failed()));
            let (ctx, canceller) = Context::background().with_cancel();
            canceller.cancel_with("shutting down");
            says_nothing_twice(&Outer::Bare(ctx.check().unwrap_err()));
        });
    }
}

/// A body that is polled, dropped and never polled again shows nothing of a group that was forgotten.
#[test]
fn forgotten_group_is_a_leak_and_nothing_worse() {
    // Hazard 3's kind: nothing is polled or dropped again after `forget`.
    watched(|| {
        let polls = Count::default();
        let executor = Executor::new();
        let group = Group::<()>::new(executor.spawner());
        let count = polls.clone();
        group.spawn(poll_fn(
            move |_: &mut task::Context<'_>| -> Poll<Result<(), Infallible>> {
                count.add();
                Poll::Pending
            },
        ));
        executor.run();
        let mut wait: Pin<Box<dyn Future<Output = Result<Vec<()>, Error>>>> =
            Box::pin(group.wait());
        assert!(poll_once(wait.as_mut()).is_pending());
        std::mem::forget(wait);
        executor.run();
        assert_eq!(polls.get(), 1);
    });
}
