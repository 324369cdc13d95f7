//! An executor a scenario, on the scenario's thread.

use embassy_executor::{Executor, Spawner};
use embassy_time::Timer;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

/// The scenarios that run at once, and those that failed.
#[embassy_executor::task(pool_size = 256)]
async fn main_task(scenario: LocalBoxFuture<'static, ()>) {
    scenario.await;
}

thread_local! {
    static SPAWNER: Cell<Option<Spawner>> = const { Cell::new(None) };
}

/// That of the scenario that this thread runs.
pub(crate) fn spawner() -> Spawner {
    SPAWNER.get().expect("a scenario")
}

/// embassy's executors live for ever, so each is leaked.
pub(crate) fn run<S>(scenario: impl FnOnce(Spawner) -> S)
where
    S: Future<Output = ()> + 'static,
{
    let executor = Box::leak(Box::new(Executor::new()));
    let outcome = Rc::new(Cell::new(None));
    let (init, done) = (outcome.clone(), outcome.clone());
    executor.run_until(
        |spawner| {
            SPAWNER.set(Some(spawner));
            let scenario = AssertUnwindSafe(scenario(spawner)).catch_unwind();
            let token = main_task(Box::pin(scenario.map(move |ended| init.set(Some(ended)))));
            spawner.spawn(token.expect("room for a scenario"));
        },
        || {
            let ended = done.take();
            let is_done = ended.is_some();
            done.set(ended);
            is_done
        },
    );
    if let Some(Err(panic)) = outcome.take() {
        resume_unwind(panic);
    }
}

/// embassy's timers count microseconds.
pub(crate) fn after(time: Duration) -> Timer {
    let micros = time.as_nanos().div_ceil(1000);
    Timer::after_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}
