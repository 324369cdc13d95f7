//! compio, all contexts by its own timers.

use super::compio::Compio;
use conformance::Runtime;
use failfast::clock::{Clock, LocalClock};
use failfast::{Context, LocalGroup};
use std::time::Duration;

pub(crate) struct OwnClock;

impl Runtime for OwnClock {
    const NAME: &'static str = "compio, by its own clock";

    type Place = <Compio as Runtime>::Place;
    type Sleep = <Compio as Runtime>::Sleep;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        Compio::run(scenario);
    }

    fn documented_group(ctx: Context) -> LocalGroup<()> {
        LocalGroup::with_context(
            &ctx.with_clock(LocalClock::new(compio::time::sleep)),
            compio::runtime::spawn,
        )
        .0
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Compio::sleep(time)
    }

    fn clock() -> impl Clock {
        Compio::clock()
    }

    fn background() -> Context {
        Context::background().with_clock(Self::clock())
    }
}
