//! smol's global executor.

use conformance::{Executor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, Group};
use std::time::Duration;

pub(super) struct SmolGlobal;

impl Runtime for SmolGlobal {
    const NAME: &'static str = "smol::spawn";
    const TRIES_HUGE_SIZES: bool = true;

    type Place = Executor<smol::Task<()>>;
    type Sleep = smol::Timer;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        smol::block_on(scenario(Executor::new(smol::spawn)))
    }

    fn documented_group(_: Context) -> Group<()> {
        Group::new(smol::spawn)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        smol::Timer::after(time)
    }

    fn clock() -> impl Clock {
        smol::Timer::after
    }
}
