//! No executor, and tasks that stay on their thread.

use super::{LocalNowhere, Runtime};
use std::time::Duration;

pub(super) struct InPlaceLocal;

impl Runtime for InPlaceLocal {
    type Place = LocalNowhere;

    fn run<T>(scenario: impl AsyncFnOnce(Self::Place) -> T) -> T {
        futures::executor::block_on(scenario(LocalNowhere))
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + Send + 'static {
        futures_timer::Delay::new(time)
    }
}

cases!(InPlaceLocal, local_scoped);
