//! The list of all cases. A test checks that none is missing.

/// Passes every case, as `file: name`, to a macro, behind what that is given.
#[macro_export]
macro_rules! for_each_case {
    ($($macro:ident)::+ { $($arguments:tt)* }) => {
        $($macro)::+! {
            $($arguments)*;
            kata: both_answer_in_source_order
            kata: slow_poke
            kata: domino
            kata: mirror
            kata: both_fail_and_the_first_by_time_wins
            kata: service_that_ignores_its_context
            kata: callers_deadline_is_earlier
            kata: timeout_is_earlier
            kata: caller_cancels
            kata: caller_cancels_with_a_cause
            kata: context_already_canceled
            kata: context_already_past_its_deadline
            kata: deadline_between_fast_and_slow
            kata: no_sources
            kata: thousand_calls_at_once
            kata: log_on_success
            kata: log_on_failure
            kata: log_levels_of_an_end
            kata: log_level_of_ones_own
            kata: defaults
            kata: default_logger_is_the_global_one
            kata: each_option_alone
            kata: all_options_together
            kata: dropping_the_aggregation
            aggregator: many_sources
            aggregator: many_sources_and_one_fails
            aggregator: many_sources_and_a_deadline
            aggregator: many_sources_at_a_limit
            aggregator: settled
            aggregator: settled_sources
            aggregator: settled_and_the_caller_cancels
            aggregator: nested_aggregators
            aggregator: nested_aggregators_and_the_outer_timeout
            aggregator: dropped_aggregation_logs_one_debug_record
            group: empty_group
            group: line_of_the_documents
            group: results_in_order_of_spawning
            group: first_failure_is_recorded_and_siblings_are_gone
            group: siblings_see_the_failure_as_the_cause
            group: panic_is_contained
            group: tasks_that_ignore_the_context
            group: dropping_wait
            group: dropping_the_group
            group: parent_ended_before
            group: parent_ends_and_all_succeed
            group: cancel_with
            group: context_ends_with_the_group
            group: spawning_from_inside
            group: spawning_from_inside_at_the_limit
            group: spawning_after_the_end
            group: limit
            group: limit_skips_the_queue_after_a_failure
            group: try_spawn_and_ready
            group: next_as_they_complete
            group: next_returns_the_failure_once
            group: nested
            group: failure_crosses_nested_groups
            group: grace
            group: background_task
            group: settle
            group: first_ok
            group: quorum
            fork: fork_and_run
            fork: run_waits_for_the_tasks
            fork: fork_fails_and_the_body_echoes
            fork: forks_return_how_they_ended
            fork: fork_is_canceled_alone
            fork: dropped_fork_goes_on
            fork: fork_awaited_at_the_limit
            fork: body_fails
            fork: body_panics
            fork: body_ends_with_the_group
            group: stop
            group: stop_before_the_first_task
            group: run_after_stop
            group: ordered
            group: ordered_fails
            group: handle_feeds_a_group_that_is_waited_for
            group: handle_is_ready_when_there_is_room
            group: handle_cancels
            late: nothing_starts_late_by_spawn
            late: nothing_starts_late_after_a_quick_task
            late: nothing_starts_late_by_try_spawn
            late: nothing_starts_late_by_a_handle
            late: nothing_starts_late_from_the_queue
            late: nothing_starts_late_in_a_loop
            context: done_wakes_every_waiter
            context: run_until_the_end
            context: run_to_completion
            context: sleep
            context: sleep_is_cut_short
            context: sleep_by_the_runtimes_own_clock
            context: deadline_in_virtual_time
            context: on_done
            context: values_reach_the_tasks
            context: linked
            context: check_and_try_run
            context: try_run_fails
            context: last_canceller_is_dropped
            context: shield_holds_a_commit_through_a_siblings_failure
        }
    };
}

/// A [`Suite`](crate::harness::Suite): every case on a runtime, over the groups of a flavor (`send`, `local`, `scoped`
/// or `local_scoped`), as `suite!(send, smol_global::SmolGlobal)`. Its tests are called by the runtime's module.
#[macro_export]
macro_rules! suite {
    ($flavor:ident, $module:ident::$runtime:ident) => {
        $crate::for_each_case! { conformance::suite { @ $flavor $module $runtime } }
    };
    (@ $flavor:ident $module:ident $runtime:ident; $($file:ident: $case:ident)*) => {
        $crate::harness::Suite::new::<$module::$runtime>(
            ::std::stringify!($module),
            &[$((::std::stringify!($case), || {
                <$module::$runtime as $crate::Runtime>::run(|place| {
                    $crate::watched::<$module::$runtime>($crate::$flavor::$file::$case::<$module::$runtime>(place))
                })
            })),*],
        )
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    macro_rules! names {
        (; $($file:ident: $case:ident)*) => {
            [$(concat!(stringify!($file), "::", stringify!($case))),*]
        };
    }

    /// The public functions of a file of cases.
    fn cases(file: &str, source: &str) -> Vec<String> {
        let lines = source
            .lines()
            .filter_map(|line| line.strip_prefix("pub async fn "));
        let names = lines.map(|rest| rest.split(['<', '(']).next().unwrap_or(rest));
        names.map(|name| format!("{file}::{name}")).collect()
    }

    #[test]
    fn every_case_is_in_the_table_once() {
        let table = for_each_case! { names {} };
        let sources = [
            cases("aggregator", include_str!("cases/aggregator.rs")),
            cases("context", include_str!("cases/context.rs")),
            cases("fork", include_str!("cases/fork.rs")),
            cases("group", include_str!("cases/group.rs")),
            cases("late", include_str!("cases/late.rs")),
            cases("kata", include_str!("cases/kata.rs")),
        ]
        .concat();
        let listed: BTreeSet<_> = table.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(listed.len(), table.len(), "a case is listed twice");
        assert_eq!(listed, sources.into_iter().collect());
    }
}
