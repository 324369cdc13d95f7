//! tokio on several threads, through a `Handle`.

use super::{Executor, Runtime};
use std::time::Duration;
use tokio::task::JoinHandle;

pub(super) struct TokioMultiThread;

impl Runtime for TokioMultiThread {
    type Place = Executor<JoinHandle<()>>;

    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .expect("a runtime");
        let handle = runtime.handle().clone();
        let place = Executor::new(move |task| handle.spawn(task));
        runtime.block_on(scenario(place))
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(time)
    }
}

cases!(TokioMultiThread, send);
