//! actix-rt: the single-threaded workers of actix-web.

use actix_rt::System;
use actix_rt::task::JoinHandle;
use actix_rt::time::{Sleep, sleep};
use conformance::{LocalExecutor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, LocalGroup};
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;
use std::time::Instant;

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

    fn sleep(time: Duration) -> Self::Sleep {
        sleep(time)
    }

    fn clock() -> impl Clock {
        paused_or_not()
    }
}

/// The runtime's time, which a test may pause.
fn paused_or_not() -> impl Clock {
    (|| tokio::time::Instant::now().into_std(), sleep)
}

/// In paused time a deadline passes as soon as nothing else is left to do.
pub(crate) fn hour_of_paused_time_passes_at_once() {
    const HOUR: Duration = Duration::from_secs(3600);
    let system = System::with_tokio_rt(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true);
        builder.build().expect("a runtime")
    });
    let began = Instant::now();
    system.block_on(async {
        let ctx = Context::background()
            .with_clock(paused_or_not())
            .with_timeout(HOUR);
        let (group, ctx) = LocalGroup::<()>::with_context(&ctx, actix_rt::spawn);
        let start = ctx.now();
        group.spawn(pending::<Result<(), Infallible>>());
        assert!(group.wait().await.unwrap_err().is_deadline_exceeded());
        assert!(ctx.now() - start >= HOUR);
    });
    assert!(began.elapsed() < HOUR);
}
