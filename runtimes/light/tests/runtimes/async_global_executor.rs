//! async-global-executor, which tide and other web servers of smol's kind run on.

use ::async_global_executor::{Task, block_on, spawn};
use async_io::Timer;
use conformance::{Executor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, Group};
use std::time::Duration;

pub(crate) struct AsyncGlobalExecutor;

impl Runtime for AsyncGlobalExecutor {
    const NAME: &'static str = "async-global-executor";

    type Place = Executor<Task<()>>;
    type Sleep = Timer;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        block_on(scenario(Executor::new(spawn)))
    }

    fn documented_group(_: Context) -> Group<()> {
        Group::new(async_global_executor::spawn)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Timer::after(time)
    }

    fn clock() -> impl Clock {
        async_io::Timer::after
    }
}
