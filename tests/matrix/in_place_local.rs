//! No executor, and tasks that stay on their thread.

use conformance::{LocalNowhere, Runtime};
use failfast::clock::Clock;
use failfast::{Context, LocalInPlaceGroup};
use std::time::Duration;

pub(super) struct InPlaceLocal;

impl Runtime for InPlaceLocal {
    const NAME: &'static str = "in place, on one thread";

    type Place = LocalNowhere;
    type Sleep = futures_timer::Delay;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        futures::executor::block_on(scenario(LocalNowhere))
    }

    fn documented_group(ctx: Context) -> LocalInPlaceGroup<'static, ()> {
        LocalInPlaceGroup::new(&ctx)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        futures_timer::Delay::new(time)
    }

    fn clock() -> impl Clock {
        futures_timer::Delay::new
    }
}
