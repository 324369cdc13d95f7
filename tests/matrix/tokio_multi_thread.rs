//! tokio on several threads, through a `Handle`.

use conformance::{Executor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, Group};
use std::time::Duration;
use tokio::task::JoinHandle;

pub(super) struct TokioMultiThread;

impl Runtime for TokioMultiThread {
    const NAME: &'static str = "tokio, several threads";

    type Place = Executor<JoinHandle<()>>;
    type Sleep = tokio::time::Sleep;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .expect("a runtime");
        let handle = runtime.handle().clone();
        let place = Executor::new(move |task| handle.spawn(task));
        runtime.block_on(scenario(place))
    }

    fn documented_group(_: Context) -> Group<()> {
        let handle = tokio::runtime::Handle::current();
        Group::new(move |task| handle.spawn(task))
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
