//! embassy's executor, through a `Spawner`: tasks of the executor's own thread.

use super::run::{after, run};
use conformance::{LocalExecutor, Runtime};
use embassy_time::Timer;
use failfast::LocalTask;
use failfast::clock::Clock;
use std::time::Duration;

pub(crate) struct LocalSpawner;

/// A pool of tasks. embassy needs its size in advance: 2,000 tasks are the most that a case has at once.
#[embassy_executor::task(pool_size = 4_096)]
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

    fn sleep(time: Duration) -> Self::Sleep {
        after(time)
    }

    fn clock() -> impl Clock {
        after
    }
}
