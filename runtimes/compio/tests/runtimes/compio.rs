//! compio: tasks that stay on their thread, and a handle that cancels.

use ::compio::runtime::{JoinHandle, Runtime as Compios, spawn};
use ::compio::time;
use conformance::{LocalExecutor, Runtime};
use failfast::clock::{Clock, LocalClock};
use failfast::{Context, LocalGroup};
use futures::future::LocalBoxFuture;
use std::time::Duration;

pub(crate) struct Compio;

impl Runtime for Compio {
    const NAME: &'static str = "compio";

    type Place = LocalExecutor<JoinHandle<()>>;
    type Sleep = LocalBoxFuture<'static, ()>;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let runtime = Compios::new().expect("a runtime");
        runtime.block_on(scenario(LocalExecutor::new(spawn)));
    }

    fn documented_group(_: Context) -> LocalGroup<()> {
        LocalGroup::new(compio::runtime::spawn)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Box::pin(time::sleep(time))
    }

    fn clock() -> impl Clock {
        LocalClock::new(time::sleep)
    }
}
