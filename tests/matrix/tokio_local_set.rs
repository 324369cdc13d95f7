//! A tokio `LocalSet`.

use conformance::local::virtual_time::hours_pass_at_once;
use conformance::{LocalExecutor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, LocalGroup};
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

    fn documented_group(_: Context) -> LocalGroup<()> {
        LocalGroup::new(tokio::task::spawn_local)
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
    let place = LocalExecutor::new(spawn_local);
    let scenario = hours_pass_at_once::<TokioLocalSet>(place, tokio::time::sleep);
    LocalSet::new().block_on(&runtime, scenario);
}
