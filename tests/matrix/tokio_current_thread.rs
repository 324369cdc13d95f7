//! tokio on the current thread.

use conformance::{Executor, Runtime};
use failfast::clock::Clock;
use std::time::Duration;
use tokio::task::JoinHandle;

pub(super) struct TokioCurrentThread;

impl Runtime for TokioCurrentThread {
    const NAME: &'static str = "tokio, current thread";

    type Place = Executor<JoinHandle<()>>;
    type Sleep = tokio::time::Sleep;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(scenario(Executor::new(tokio::spawn)))
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
