//! bevy's task pool, on threads of its own.

use bevy_tasks::{Task, TaskPool, TaskPoolBuilder, block_on};
use conformance::{Executor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, Group};
use futures_timer::Delay;
use std::sync::LazyLock;
use std::time::Duration;

pub(crate) struct MultiThreaded;

/// One for the program, as in a game. (bevy's own, `AsyncComputeTaskPool::get()`, is made by its `TaskPoolPlugin`.)
static POOL: LazyLock<TaskPool> = LazyLock::new(|| TaskPoolBuilder::new().num_threads(2).build());

impl Runtime for MultiThreaded {
    const NAME: &'static str = "bevy_tasks, multi_threaded";

    type Place = Executor<Task<()>>;
    type Sleep = Delay;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        block_on(scenario(Executor::new(|task| POOL.spawn(task))))
    }

    fn documented_group(_: Context) -> Group<()> {
        Group::new(|task| POOL.spawn(task))
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Delay::new(time)
    }

    fn clock() -> impl Clock {
        Delay::new
    }
}
