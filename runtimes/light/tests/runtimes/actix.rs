//! actix-rt: the single-threaded workers of actix-web.

use actix_rt::System;
use actix_rt::task::JoinHandle;
use actix_rt::time::{Sleep, sleep};
use conformance::local::virtual_time::hours_pass_at_once;
use conformance::{LocalExecutor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, LocalGroup};
use std::time::Duration;

pub(crate) struct Actix;

impl Runtime for Actix {
    const NAME: &'static str = "actix-rt";

    type Place = LocalExecutor<JoinHandle<()>>;
    type Sleep = Sleep;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        System::new().block_on(scenario(LocalExecutor::new(actix_rt::spawn)))
    }

    fn documented_group(_: Context) -> LocalGroup<()> {
        LocalGroup::new(actix_rt::spawn)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        sleep(time)
    }

    /// The runtime's time, which a test may pause.
    fn clock() -> impl Clock {
        (|| tokio::time::Instant::now().into_std(), sleep)
    }
}

/// In paused time the next timer is due as soon as nothing else is left to do.
pub(crate) fn hours_of_paused_time_pass_at_once() {
    let system = System::with_tokio_rt(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true);
        builder.build().expect("a runtime")
    });
    let place = LocalExecutor::new(actix_rt::spawn);
    system.block_on(hours_pass_at_once::<Actix>(place, sleep));
}
