//! No executor: whoever waits polls the tasks.

use super::{Nowhere, Runtime};
use std::time::Duration;

pub(super) struct InPlace;

impl Runtime for InPlace {
    type Place = Nowhere;

    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T {
        futures::executor::block_on(scenario(Nowhere))
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + Send + 'static {
        futures_timer::Delay::new(time)
    }
}

cases!(InPlace, scoped);
