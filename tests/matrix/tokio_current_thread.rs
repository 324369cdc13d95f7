//! tokio on the current thread.

use conformance::send::virtual_time::hours_pass_at_once;
use conformance::{Executor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, Group};
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

    fn documented_group(_: Context) -> Group<()> {
        Group::new(tokio::spawn)
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

/// In paused time the next timer is due as soon as nothing else is left to do.
pub(super) fn hours_of_paused_time_pass_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let place = Executor::new(tokio::spawn);
    let scenario = hours_pass_at_once::<TokioCurrentThread>(place, tokio::time::sleep);
    runtime.block_on(scenario);
}
