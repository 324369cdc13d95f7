//! futures' `ThreadPool`.

use conformance::{Executor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, Group};
use futures::executor::{ThreadPool, block_on};
use std::time::Duration;

pub(super) struct FuturesThreadPool;

impl Runtime for FuturesThreadPool {
    const NAME: &'static str = "futures, ThreadPool";

    type Place = Executor<()>;
    type Sleep = futures_timer::Delay;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let pool = ThreadPool::builder().pool_size(2).create().expect("a pool");
        block_on(scenario(Executor::new(move |task| pool.spawn_ok(task))))
    }

    fn documented_group(_: Context) -> Group<()> {
        let pool = ThreadPool::new().expect("a pool");
        Group::new(move |task| pool.spawn_ok(task))
    }

    fn sleep(time: Duration) -> Self::Sleep {
        futures_timer::Delay::new(time)
    }

    fn clock() -> impl Clock {
        futures_timer::Delay::new
    }
}
