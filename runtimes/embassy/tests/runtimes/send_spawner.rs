//! embassy's executor, through a `SendSpawner`: from any thread.

use super::run::{after, run};
use conformance::{Executor, Runtime};
use embassy_time::Timer;
use failfast::Task;
use failfast::clock::Clock;
use std::time::Duration;

pub(crate) struct AnySpawner;

/// A pool of tasks. embassy needs its size in advance: 2,000 tasks are the most that a case has at once.
#[embassy_executor::task(pool_size = 4_096)]
async fn run_task(task: Task) {
    task.await;
}

impl Runtime for AnySpawner {
    const NAME: &'static str = "embassy, SendSpawner";

    type Place = Executor<()>;
    type Sleep = Timer;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        run(|spawner| {
            let spawner = spawner.make_send();
            scenario(Executor::new(move |task| {
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
