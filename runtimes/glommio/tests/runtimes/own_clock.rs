//! glommio, all contexts by its own timers.

use super::glommio::Glommio;
use conformance::Runtime;
use failfast::clock::{Clock, LocalClock};
use failfast::{Context, LocalGroup};
use std::time::Duration;

pub(crate) struct OwnClock;

impl Runtime for OwnClock {
    const NAME: &'static str = "glommio, by its own clock";

    type Place = <Glommio as Runtime>::Place;
    type Sleep = <Glommio as Runtime>::Sleep;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        Glommio::run(scenario);
    }

    fn documented_group(ctx: Context) -> LocalGroup<()> {
        LocalGroup::with_context(
            &ctx.with_clock(LocalClock::new(glommio::timer::sleep)),
            glommio::spawn_local,
        )
        .0
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Glommio::sleep(time)
    }

    fn clock() -> impl Clock {
        Glommio::clock()
    }

    fn background() -> Context {
        Context::background().with_clock(Self::clock())
    }
}
