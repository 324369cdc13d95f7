//! A smol `LocalExecutor`.

use conformance::{LocalExecutor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, LocalGroup, LocalTask};
use std::rc::Rc;
use std::time::Duration;

pub(super) struct SmolLocalExecutor;

impl Runtime for SmolLocalExecutor {
    const NAME: &'static str = "smol::LocalExecutor";

    type Place = LocalExecutor<smol::Task<()>>;
    type Sleep = smol::Timer;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let executor = Rc::new(smol::LocalExecutor::new());
        let spawner = executor.clone();
        let place = LocalExecutor::new(move |task| spawner.spawn(task));
        smol::block_on(executor.run(scenario(place)))
    }

    fn documented_group(_: Context) -> LocalGroup<()> {
        let executor = smol::LocalExecutor::new();
        LocalGroup::new(move |task: LocalTask| executor.spawn(task))
    }

    fn sleep(time: Duration) -> Self::Sleep {
        smol::Timer::after(time)
    }

    fn clock() -> impl Clock {
        smol::Timer::after
    }
}
