//! async-global-executor, tasks that stay on their thread.

use ::async_global_executor::{Task, block_on, spawn_local};
use async_io::Timer;
use conformance::{LocalExecutor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, LocalGroup};
use std::time::Duration;

pub(crate) struct AsyncGlobalExecutorLocal;

impl Runtime for AsyncGlobalExecutorLocal {
    const NAME: &'static str = "async-global-executor, local";

    type Place = LocalExecutor<Task<()>>;
    type Sleep = Timer;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        block_on(scenario(LocalExecutor::new(spawn_local)))
    }

    fn documented_group(_: Context) -> LocalGroup<()> {
        LocalGroup::new(async_global_executor::spawn_local)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Timer::after(time)
    }

    fn clock() -> impl Clock {
        async_io::Timer::after
    }
}
