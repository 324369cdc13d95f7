//! A smol executor of one's own, run by two threads.

use super::{Executor, Runtime};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub(super) struct SmolExecutor;

impl Runtime for SmolExecutor {
    type Place = Executor<smol::Task<()>>;

    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T {
        let executor = Arc::new(smol::Executor::new());
        let (running, ended) = async_channel::bounded::<()>(1);
        let spawner = executor.clone();
        let place = Executor::new(move |task| spawner.spawn(task));
        thread::scope(|scope| {
            scope.spawn(|| smol::block_on(executor.run(ended.recv())));
            let running = running; // dropped at the end, on panic too: the other thread then stops
            let outcome = smol::block_on(executor.run(scenario(place)));
            drop(running);
            outcome
        })
    }

    async fn sleep(time: Duration) {
        smol::Timer::after(time).await;
    }
}

cases!(SmolExecutor, send);
