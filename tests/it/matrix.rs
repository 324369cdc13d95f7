//! The conformance suite: written once, run on every runtime, in both flavors, and without any.
//!
//! | file | owns |
//! |---|---|
//! | `matrix/cases/…` | the cases: the kata's rows, and what of groups and contexts a runtime could spoil |
//! | `matrix/send.rs`, `matrix/local.rs` | the same cases over `Group` and over `LocalGroup` |
//! | `matrix/scoped.rs`, `matrix/local_scoped.rs` | and over `InPlaceGroup` and `LocalInPlaceGroup` |
//! | `matrix/tools.rs` | gates, drop counters, a logger that remembers |
//! | any other | one runtime: how to run a scenario there, how to spawn, how to sleep |
//!
//! To add a runtime: write such a file, and name it below.

use failfast::aggregator::TaskAggregator;
use failfast::group::{LocalScoped, Scoped, TaskGroup};
use failfast::{
    Aggregator, Context, Group, InPlaceGroup, LocalAggregator, LocalGroup, LocalInPlaceGroup,
    LocalTask, Spawn, Task,
};
use futures::future::{Either, select};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A runtime, as the cases see it.
pub(crate) trait Runtime: 'static {
    type Place: Place;

    /// Runs a scenario to its end, where `Self::Place` and `Self::sleep` work.
    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T;

    /// The runtime's own sleep.
    fn sleep(time: Duration) -> impl Future<Output = ()> + Send + 'static;
}

/// Where tasks run: on an executor, or in place.
pub(crate) trait Place: Clone + 'static {
    /// What a group hands out: [`Task`], [`LocalTask`], [`Scoped`] or [`LocalScoped`].
    type Member: 'static;
    /// The same of an aggregator, which has two flavors only: [`Task`] or [`LocalTask`].
    type Flavor: 'static;

    fn group<T: Send + 'static>(&self, ctx: &Context) -> TaskGroup<T, Self::Member>;

    fn aggregator<R: Clone + Send + 'static>(&self) -> TaskAggregator<R, (), Self::Flavor>;
}

/// An executor, by its spawn function; `H` is what that returns.
pub(crate) struct Executor<H>(Arc<dyn Spawn<Task, Handle = H> + Send + Sync>);

/// A thread-bound executor, by its spawn function.
pub(crate) struct LocalExecutor<H>(Rc<dyn Spawn<LocalTask, Handle = H>>);

/// No executor.
#[derive(Clone)]
pub(crate) struct Nowhere;

/// No executor, on one thread.
#[derive(Clone)]
pub(crate) struct LocalNowhere;

impl<H> Executor<H> {
    fn new(spawn: impl Fn(Task) -> H + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }
}

impl<H> LocalExecutor<H> {
    fn new(spawn: impl Fn(LocalTask) -> H + 'static) -> Self {
        Self(Rc::new(spawn))
    }
}

macro_rules! executor {
    ($place:ident, $($handle:ident)?, $task:ident, $group:ident, $aggregator:ident) => {
        impl<H> Clone for $place<H> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<H: $($handle +)? 'static> Place for $place<H> {
            type Member = $task;
            type Flavor = $task;

            #[track_caller]
            fn group<T: Send + 'static>(&self, ctx: &Context) -> $group<T> {
                $group::with_context(ctx, self.0.clone()).0
            }

            fn aggregator<R: Clone + Send + 'static>(&self) -> $aggregator<R, ()> {
                $aggregator::new(self.0.clone())
            }
        }
    };
}

macro_rules! nowhere {
    ($place:ident, $member:ident, $task:ident, $group:ident, $aggregator:ident) => {
        impl Place for $place {
            type Member = $member<'static>;
            type Flavor = $task;

            #[track_caller]
            fn group<T: Send + 'static>(&self, ctx: &Context) -> $group<'static, T> {
                $group::new(ctx)
            }

            fn aggregator<R: Clone + Send + 'static>(&self) -> $aggregator<R, ()> {
                $aggregator::in_place()
            }
        }
    };
}

executor!(Executor, Send, Task, Group, Aggregator);
executor!(LocalExecutor, , LocalTask, LocalGroup, LocalAggregator);
nowhere!(Nowhere, Scoped, Task, InPlaceGroup, Aggregator);
nowhere!(
    LocalNowhere,
    LocalScoped,
    LocalTask,
    LocalInPlaceGroup,
    LocalAggregator
);

/// Far longer than any case takes.
const HANGS: Duration = Duration::from_secs(60);

/// Runs a scenario on a runtime; one that hangs fails.
fn play<R: Runtime>(scenario: impl AsyncFnOnce(R::Place)) {
    R::run(async |place| {
        let hangs = futures_timer::Delay::new(HANGS);
        if let Either::Right(_) = select(pin!(scenario(place)), hangs).await {
            panic!("hangs: {HANGS:?} have passed");
        }
    })
}

/// Every case as a test of its own. One that is missing here is dead code, and the lint tells.
macro_rules! cases {
    ($runtime:ty, $flavor:ident) => {
        cases! { @ $runtime, $flavor,
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
            group: next_tells_the_failure_once
            group: nested
            group: failure_crosses_nested_groups
            group: grace
            group: background_task
            group: settle
            group: first_ok
            group: quorum
            group: fork_and_run
            group: run_waits_for_the_tasks
            group: fork_fails_and_the_body_echoes
            group: forks_tell_how_they_ended
            group: fork_is_canceled_alone
            group: dropped_fork_goes_on
            group: fork_awaited_at_the_limit
            group: body_fails
            group: body_panics
            group: body_ends_with_the_group
            group: stop
            group: stop_before_the_first_task
            group: run_after_stop
            group: ordered
            group: ordered_fails
            group: handle_feeds_a_group_that_is_waited_for
            group: handle_is_ready_when_there_is_room
            group: handle_cancels
            group: nothing_starts_late_by_spawn
            group: nothing_starts_late_after_a_quick_task
            group: nothing_starts_late_by_try_spawn
            group: nothing_starts_late_by_a_handle
            group: nothing_starts_late_from_the_queue
            group: nothing_starts_late_in_a_loop
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
    (@ $runtime:ty, $flavor:ident, $($file:ident: $case:ident)*) => {
        $(
            #[test]
            fn $case() {
                crate::matrix::$flavor::$file::$case::<$runtime>();
            }
        )*
    };
}

mod local;
mod local_scoped;
mod scoped;
mod send;
mod tools;

mod async_std;
mod futures_local_pool;
mod futures_thread_pool;
mod in_place;
mod in_place_local;
mod smol_executor;
mod smol_global;
mod smol_local_executor;
mod tokio_current_thread;
mod tokio_local_set;
mod tokio_multi_thread;
