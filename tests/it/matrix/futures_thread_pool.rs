//! futures' `ThreadPool`.

use super::{Executor, Runtime};
use futures::executor::{ThreadPool, block_on};
use std::time::Duration;

pub(super) struct FuturesThreadPool;

impl Runtime for FuturesThreadPool {
    type Place = Executor<()>;

    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T {
        let pool = ThreadPool::builder().pool_size(2).create().expect("a pool");
        block_on(scenario(Executor::new(move |task| pool.spawn_ok(task))))
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + Send + 'static {
        futures_timer::Delay::new(time)
    }
}

cases!(FuturesThreadPool, send);
