//! futures' `LocalPool`.

use super::{LocalExecutor, Runtime};
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt as _;
use std::time::Duration;

pub(super) struct FuturesLocalPool;

impl Runtime for FuturesLocalPool {
    type Place = LocalExecutor<()>;

    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T {
        let mut pool = LocalPool::new();
        let spawner = pool.spawner();
        let place = LocalExecutor::new(move |task| {
            // A pool that is shut down drops the task, which is then lost: the group knows.
            let _ = spawner.spawn_local(task);
        });
        pool.run_until(scenario(place))
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + Send + 'static {
        futures_timer::Delay::new(time)
    }
}

cases!(FuturesLocalPool, local);
