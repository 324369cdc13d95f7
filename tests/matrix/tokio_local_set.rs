//! A tokio `LocalSet`.

use conformance::{LocalExecutor, Runtime};
use failfast::clock::Clock;
use std::time::Duration;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

pub(super) struct TokioLocalSet;

impl Runtime for TokioLocalSet {
    const NAME: &'static str = "tokio, LocalSet";

    type Place = LocalExecutor<JoinHandle<()>>;
    type Sleep = tokio::time::Sleep;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        LocalSet::new().block_on(&runtime, scenario(LocalExecutor::new(spawn_local)))
    }

    fn sleep(time: Duration) -> Self::Sleep {
        tokio::time::sleep(time)
    }

    fn clock() -> impl Clock {
        (
            || tokio::time::Instant::now().into_std(),
            tokio::time::sleep,
        )
    }
}
