//! pollster: no executor, only a `block_on`.

use ::pollster::block_on;
use conformance::{Nowhere, Runtime};
use failfast::clock::Clock;
use failfast::{Context, InPlaceGroup};
use futures_timer::Delay;
use std::time::Duration;

pub(crate) struct Pollster;

impl Runtime for Pollster {
    const NAME: &'static str = "pollster, in place";

    type Place = Nowhere;
    type Sleep = Delay;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        block_on(scenario(Nowhere))
    }

    fn documented_group(ctx: Context) -> InPlaceGroup<'static, ()> {
        InPlaceGroup::new(&ctx)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Delay::new(time)
    }

    fn clock() -> impl Clock {
        Delay::new
    }
}
