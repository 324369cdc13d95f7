//! What other threads can do for monoio's tasks without its feature `sync`: nothing. So what goes by the system's clock is
//! refused, and names the cure.

use super::monoio::Monoio;
use conformance::Runtime as _;
use conformance::tools::Memory;
use failfast::clock::Clock;
use failfast::{Context, LocalAggregator, LocalGroup};
use futures::future::{Either, select};
use monoio::time::sleep;
use monoio::{FusionDriver, RuntimeBuilder};
use std::convert::Infallible;
use std::fmt::Display;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

pub(crate) const TESTS: &[(&str, fn())] = &[
    (
        "deadline_by_the_systems_clock_is_refused",
        deadline_by_the_systems_clock_is_refused,
    ),
    (
        "aggregator_by_the_systems_clock_is_refused",
        aggregator_by_the_systems_clock_is_refused,
    ),
    (
        "sleep_by_the_systems_clock_is_refused",
        sleep_by_the_systems_clock_is_refused,
    ),
    (
        "task_alone_by_the_systems_clock_sleeps_on",
        task_alone_by_the_systems_clock_sleeps_on,
    ),
    (
        "deadline_by_its_own_clock_ends_the_wait",
        deadline_by_its_own_clock_ends_the_wait,
    ),
    (
        "clock_on_another_thread_is_an_error",
        clock_on_another_thread_is_an_error,
    ),
];

/// Long before any case ends.
const MOMENT: Duration = Duration::from_millis(10);

/// Long after it, on any machine.
const LATER: Duration = Duration::from_millis(500);

/// Runs a scenario as `block_on`'s own future, which ignores the wake-ups of other threads instead of panicking.
fn block_on<F: Future<Output = ()>>(scenario: F) {
    let runtime = RuntimeBuilder::<FusionDriver>::new().enable_timer().build();
    let mut runtime = runtime.expect("a runtime");
    runtime.block_on(scenario);
}

/// Runs it as a task, and as `block_on`'s future: each on a new thread, because what is known of wakers is known to a thread.
fn both<F: Future<Output = ()> + 'static>(scenario: impl Fn() -> F + Copy + Send + 'static) {
    on_a_thread(move || Monoio::run(move |_| scenario()));
    on_a_thread(move || block_on(scenario()));
}

fn on_a_thread(run: impl FnOnce() + Send + 'static) {
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

#[track_caller]
fn assert_refused(error: impl Display) {
    let text = error.to_string();
    let cure = "the timer cannot fire: the system's clock wakes tasks from a thread of its own, where this executor's \
                wakers panic: go by the runtime's own timers, as in \
                `ctx.with_clock(LocalClock::new(monoio::time::sleep))`";
    assert!(text.contains(cure), "{text}");
}

async fn hang() -> Result<(), Infallible> {
    pending().await
}

/// Without a deadline of the test's own: it is refused before the group's has passed.
pub(crate) fn deadline_by_the_systems_clock_is_refused() {
    for tasks in [1, 2, 5] {
        both(move || async move {
            let ctx = Context::background().with_timeout(Duration::from_secs(3600));
            let (group, ctx) = LocalGroup::<()>::with_context(&ctx, monoio::spawn);
            (0..tasks).for_each(|_| group.spawn(hang()));
            assert_refused(group.wait().await.unwrap_err());
            assert_refused(ctx.err().expect("it has ended"));
        });
    }
}

pub(crate) fn aggregator_by_the_systems_clock_is_refused() {
    both(|| async {
        let line = LocalAggregator::new(monoio::spawn)
            .source("quick", |_: Context, (): ()| async {
                Ok::<_, Infallible>(1)
            })
            .source("slow", |_: Context, (): ()| hang());
        let asked = line.aggregate(&Context::background(), ());
        assert_refused(asked.await.unwrap_err());
    });
}

pub(crate) fn sleep_by_the_systems_clock_is_refused() {
    both(|| async {
        let (group, ctx) = LocalGroup::with_context(&Context::background(), monoio::spawn);
        group.spawn(async move { ctx.sleep(MOMENT).await });
        assert_refused(group.wait().await.unwrap_err());
    });
}

/// What can't be seen in advance: a task that waits alone. The log says what to do.
pub(crate) fn task_alone_by_the_systems_clock_sleeps_on() {
    let logger = Memory::global();
    Monoio::run(|_| async {
        let ctx = Context::background();
        // The test's own timer is looked at first.
        match select(pin!(sleep(LATER)), pin!(ctx.sleep(MOMENT))).await {
            Either::Left(_) => {}
            Either::Right(_) => panic!("monoio has become more able: say so in docs/RUNTIMES.md"),
        }
    });
    let lines = logger.lines();
    let told = lines
        .iter()
        .find(|line| line.message.starts_with("a waker, "));
    let told = &told.expect("a line in the log").message;
    assert!(
        told.contains("LocalClock::new(monoio::time::sleep)"),
        "{told}"
    );
    assert!(told.ends_with("when `sync` feature enabled"), "{told}");
}

/// The cure: monoio's own timers.
pub(crate) fn deadline_by_its_own_clock_ends_the_wait() {
    both(|| async {
        let ctx = Monoio::background().with_timeout(MOMENT);
        let (group, _) = LocalGroup::<()>::with_context(&ctx, monoio::spawn);
        group.spawn(hang());
        assert!(group.wait().await.unwrap_err().is_deadline_exceeded());
    });
}

/// The cure's own limit is an error, not a hang.
pub(crate) fn clock_on_another_thread_is_an_error() {
    Monoio::run(|_| async {
        let clock = Monoio::clock();
        let elsewhere = std::thread::spawn(move || {
            let deadline = clock.now() + Duration::from_secs(3600);
            futures::executor::block_on(clock.sleep_until(deadline)).unwrap_err()
        });
        let error = elsewhere.join().expect("no panic").to_string();
        assert!(
            error.contains("on a thread other than the clock's"),
            "{error}"
        );
    });
}
