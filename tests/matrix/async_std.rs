//! async-std's global executor.

use async_std::task::{self, JoinHandle};
use conformance::{Executor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, Group};
use futures::future::BoxFuture;
use std::time::Duration;

pub(super) struct AsyncStd;

impl Runtime for AsyncStd {
    const NAME: &'static str = "async-std";

    type Place = Executor<JoinHandle<()>>;
    type Sleep = BoxFuture<'static, ()>;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        task::block_on(scenario(Executor::new(task::spawn)))
    }

    fn documented_group(_: Context) -> Group<()> {
        Group::new(async_std::task::spawn)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Box::pin(task::sleep(time))
    }

    fn clock() -> impl Clock {
        async_std::task::sleep
    }
}
