//! A tokio `LocalSet`.

use super::{LocalExecutor, Runtime};
use std::time::Duration;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

pub(super) struct TokioLocalSet;

impl Runtime for TokioLocalSet {
    type Place = LocalExecutor<JoinHandle<()>>;

    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        LocalSet::new().block_on(&runtime, scenario(LocalExecutor::new(spawn_local)))
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(time)
    }
}

cases!(TokioLocalSet, local);
