//! A smol executor of one's own, run by two threads.

use conformance::{Executor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, Group};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub(super) struct SmolExecutor;

impl Runtime for SmolExecutor {
    const NAME: &'static str = "smol::Executor";

    type Place = Executor<smol::Task<()>>;
    type Sleep = smol::Timer;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let executor = Arc::new(smol::Executor::new());
        let (running, ended) = async_channel::bounded::<()>(1);
        let spawner = executor.clone();
        let place = Executor::new(move |task| spawner.spawn(task));
        thread::scope(|scope| {
            scope.spawn(|| smol::block_on(executor.run(ended.recv())));
            let _running = running; // dropped at the end, on panic too: the other thread then stops
            smol::block_on(executor.run(scenario(place)));
        })
    }

    fn documented_group(_: Context) -> Group<()> {
        let executor = smol::Executor::new();
        Group::new(move |task| executor.spawn(task))
    }

    fn sleep(time: Duration) -> Self::Sleep {
        smol::Timer::after(time)
    }

    fn clock() -> impl Clock {
        smol::Timer::after
    }
}
