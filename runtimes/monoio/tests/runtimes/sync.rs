//! monoio with its feature `sync`: its tasks can be woken from any thread, so the system's clock works too.

use super::monoio::Monoio;
use conformance::Runtime;
use failfast::clock::Clock;
use failfast::{Context, LocalGroup};
use std::time::Duration;

pub(crate) struct Sync;

impl Runtime for Sync {
    const NAME: &'static str = "monoio, sync";

    type Place = <Monoio as Runtime>::Place;
    type Sleep = <Monoio as Runtime>::Sleep;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        Monoio::run(scenario);
    }

    fn documented_group(_: Context) -> LocalGroup<()> {
        LocalGroup::new(monoio::spawn)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Monoio::sleep(time)
    }

    fn clock() -> impl Clock {
        Monoio::clock()
    }

    async fn others_run() {
        Monoio::others_run().await;
    }
}
