//! embassy's executor, through a `SendSpawner`: from any thread.

use super::run::{after, run, spawner};
use conformance::{Executor, Runtime};
use embassy_time::Timer;
use failfast::clock::Clock;
use failfast::{Context, Group, Task};
use std::time::Duration;

pub(crate) struct AnySpawner;

/// A pool of tasks. embassy needs its size in advance: all cases at once, one a core, have some 5,500.
#[embassy_executor::task(pool_size = 8_192)]
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

    fn documented_group(_: Context) -> Group<()> {
        let spawner = spawner().make_send();
        Group::new(move |task| {
            if let Ok(token) = run_task(task) {
                spawner.spawn(token);
            }
        })
    }

    fn sleep(time: Duration) -> Self::Sleep {
        after(time)
    }

    fn clock() -> impl Clock {
        after
    }
}
