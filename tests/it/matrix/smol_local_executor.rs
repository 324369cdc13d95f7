//! A smol `LocalExecutor`.

use super::{LocalExecutor, Runtime};
use std::rc::Rc;
use std::time::Duration;

pub(super) struct SmolLocalExecutor;

impl Runtime for SmolLocalExecutor {
    type Place = LocalExecutor<smol::Task<()>>;

    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T {
        let executor = Rc::new(smol::LocalExecutor::new());
        let spawner = executor.clone();
        let place = LocalExecutor::new(move |task| spawner.spawn(task));
        smol::block_on(executor.run(scenario(place)))
    }

    async fn sleep(time: Duration) {
        smol::Timer::after(time).await;
    }
}

cases!(SmolLocalExecutor, local);
