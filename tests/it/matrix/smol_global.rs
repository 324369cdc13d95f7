//! smol's global executor.

use super::{Executor, Runtime};
use std::time::Duration;

pub(super) struct SmolGlobal;

impl Runtime for SmolGlobal {
    type Place = Executor<smol::Task<()>>;

    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T {
        smol::block_on(scenario(Executor::new(smol::spawn)))
    }

    async fn sleep(time: Duration) {
        smol::Timer::after(time).await;
    }
}

cases!(SmolGlobal, send);
