//! monoio: tasks that stay on their thread, and are woken from there alone; so all contexts go by its own timers.

use ::monoio::task::JoinHandle;
use ::monoio::time::{self, Sleep};
use ::monoio::{FusionDriver, RuntimeBuilder, spawn};
use conformance::{LocalExecutor, Runtime};
use failfast::clock::{Clock, LocalClock};
use failfast::{Context, LocalGroup};
use std::time::Duration;

pub(crate) struct Monoio;

impl Runtime for Monoio {
    const NAME: &'static str = "monoio";

    type Place = LocalExecutor<JoinHandle<()>>;
    type Sleep = Sleep;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let runtime = RuntimeBuilder::<FusionDriver>::new().enable_timer().build();
        let mut runtime = runtime.expect("a runtime");
        // As a task: under `block_on` a future that wakes itself is polled again before any task runs.
        let scenario = async { spawn(scenario(LocalExecutor::new(spawn))).await };
        runtime.block_on(scenario);
    }

    fn documented_group(ctx: Context) -> LocalGroup<()> {
        LocalGroup::with_context(
            &ctx.with_clock(LocalClock::new(monoio::time::sleep)),
            monoio::spawn,
        )
        .0
    }

    fn sleep(time: Duration) -> Self::Sleep {
        time::sleep(time)
    }

    fn clock() -> impl Clock {
        LocalClock::new(time::sleep)
    }

    /// A task that wakes itself runs again before all others; one that another wakes runs after them.
    async fn others_run() {
        spawn(async {}).await;
    }

    fn background() -> Context {
        Context::background().with_clock(Self::clock())
    }
}
