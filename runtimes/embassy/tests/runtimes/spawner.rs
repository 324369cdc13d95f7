//! embassy's executor, through a `Spawner`: tasks of the executor's own thread.

use super::run::{after, run, spawner};
use conformance::{LocalExecutor, Runtime};
use embassy_time::Timer;
use failfast::clock::Clock;
use failfast::{Context, LocalGroup, LocalTask};
use std::time::Duration;

pub(crate) struct LocalSpawner;

/// A pool of tasks. embassy needs its size in advance: all cases at once, one a core, have some 5,500.
#[embassy_executor::task(pool_size = 8_192)]
async fn run_task(task: LocalTask) {
    task.await;
}

impl Runtime for LocalSpawner {
    const NAME: &'static str = "embassy, Spawner";

    type Place = LocalExecutor<()>;
    type Sleep = Timer;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        run(|spawner| {
            scenario(LocalExecutor::new(move |task| {
                if let Ok(token) = run_task(task) {
                    spawner.spawn(token);
                }
            }))
        });
    }

    fn documented_group(_: Context) -> LocalGroup<()> {
        let spawner = spawner();
        LocalGroup::new(move |task| {
            if let Ok(token) = run_task(task) {
                spawner.spawn(token);
            }
        })
    }

    fn sleep(time: Duration) -> Self::Sleep {
        after(time)
    }

    fn clock() -> impl Clock {
        |left: Duration| Timer::after_micros(left.as_nanos().div_ceil(1000) as u64)
    }
}
