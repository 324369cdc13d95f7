//! futures' `LocalPool`.

use conformance::{LocalExecutor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, LocalGroup};
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt as _;
use std::time::Duration;

pub(super) struct FuturesLocalPool;

impl Runtime for FuturesLocalPool {
    const NAME: &'static str = "futures, LocalPool";

    type Place = LocalExecutor<()>;
    type Sleep = futures_timer::Delay;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let mut pool = LocalPool::new();
        let spawner = pool.spawner();
        let place = LocalExecutor::new(move |task| {
            // A pool that is shut down drops the task, which is then lost: the group is notified.
            let _ = spawner.spawn_local(task);
        });
        pool.run_until(scenario(place))
    }

    fn documented_group(_: Context) -> LocalGroup<()> {
        let spawner = LocalPool::new().spawner();
        LocalGroup::new(move |task| drop(spawner.spawn_local(task)))
    }

    fn sleep(time: Duration) -> Self::Sleep {
        futures_timer::Delay::new(time)
    }

    fn clock() -> impl Clock {
        futures_timer::Delay::new
    }
}
