//! The 35 known hazards, each with the tests that would fail without its cure; and those tests that stand nowhere else.

mod bodies;
mod chains;
mod ends;
mod executors;
mod handles;
mod shields;

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
            "dropping_thread_is_not_blocked_though_the_wakers_take_its_lock",
        ],
    ),
    (
        "a waker polls inline, owns the task, blocks or panics",
        &[
            "waker_panics",
            "waker_blocks",
            "waker_owns_the_task_and_polls_inline",
            "a_waker_that_panics_keeps_no_other_asleep",
            "waiters_of_one_context",
        ],
    ),
    (
        "a broadcast that wakes under its lock hangs after an executor went",
        &["executor_goes_with_a_task_that_waits_for_the_end"],
    ),
    (
        "a waker that reads the context during the cancel deadlocks",
        &["a_waker_that_reads_inline_finds_it_done"],
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
            "a_panicking_waker_stops_no_other",
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
        &["own_timeout_and_callers_end_are_distinguished"],
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
        "executors that require Sync, run within spawn, refuse, or assert the thread",
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
        "a context used after success must hold why it is over",
        &["success_holds_where_the_group_was_made"],
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

/// A body that is polled, dropped and never polled again shows nothing of a group that was leaked.
#[test]
fn leaked_group_is_a_leak_and_nothing_worse() {
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
