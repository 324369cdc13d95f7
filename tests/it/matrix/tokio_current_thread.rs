//! tokio on the current thread.

use super::{Executor, Runtime};
use std::time::Duration;
use tokio::task::JoinHandle;

pub(super) struct TokioCurrentThread;

impl Runtime for TokioCurrentThread {
    type Place = Executor<JoinHandle<()>>;

    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(scenario(Executor::new(tokio::spawn)))
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(time)
    }
}

cases!(TokioCurrentThread, send);
