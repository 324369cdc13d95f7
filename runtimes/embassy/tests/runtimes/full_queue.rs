//! A queue of 128 timers, and more deadlines than that.

use super::run::{after, run, spawner};
use failfast::{Context, LocalGroup, LocalTask};
use futures::future::join_all;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

#[embassy_executor::task(pool_size = 400)]
async fn run_task(task: LocalTask) {
    task.await;
}

/// Where the queue is full, embassy wakes what waits in it early, and under the queue's lock.
pub(crate) fn more_deadlines_than_the_queue_holds() {
    run(|_| async {
        let groups = (0..400).map(|_| {
            let spawner = spawner();
            let ctx = Context::background()
                .with_clock(after)
                .with_timeout(Duration::from_millis(50));
            let (group, _) = LocalGroup::<()>::with_context(&ctx, move |task| {
                if let Ok(token) = run_task(task) {
                    spawner.spawn(token);
                }
            });
            group.spawn(pending::<Result<(), Infallible>>());
            group.wait()
        });
        for outcome in join_all(groups).await {
            let error = outcome.unwrap_err();
            assert!(error.is_deadline_exceeded(), "{error}");
        }
    });
}
