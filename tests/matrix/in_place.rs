//! No executor: the waiting task polls the tasks.

use conformance::{Nowhere, Runtime};
use failfast::clock::Clock;
use failfast::{Context, InPlaceGroup};
use std::time::Duration;

pub(super) struct InPlace;

impl Runtime for InPlace {
    const NAME: &'static str = "in place";
    const TRIES_HUGE_SIZES: bool = true;

    type Place = Nowhere;
    type Sleep = futures_timer::Delay;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        futures::executor::block_on(scenario(Nowhere))
    }

    fn documented_group(ctx: Context) -> InPlaceGroup<'static, ()> {
        InPlaceGroup::new(&ctx)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        futures_timer::Delay::new(time)
    }

    fn clock() -> impl Clock {
        futures_timer::Delay::new
    }
}
