//! async-std's global executor.

use super::{Executor, Runtime};
use async_std::task::{self, JoinHandle};
use std::time::Duration;

pub(super) struct AsyncStd;

impl Runtime for AsyncStd {
    type Place = Executor<JoinHandle<()>>;

    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T {
        task::block_on(scenario(Executor::new(task::spawn)))
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + Send + 'static {
        task::sleep(time)
    }
}

cases!(AsyncStd, send);
