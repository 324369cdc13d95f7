//! What other threads can do for monoio's tasks without its feature `sync`: nothing.

use super::monoio::Monoio;
use conformance::Runtime as _;
use failfast::clock::Clock;
use failfast::{Context, LocalGroup};
use futures::future::{Either, select};
use monoio::time::sleep;
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

/// Long after the deadline, on any machine.
const LATER: Duration = Duration::from_millis(500);

/// The trap: the system's timer wakes from a thread of its own. monoio panics at such a wake-up of a task's, which is
/// logged, and drops one of `block_on`'s future. The deadline ends the context, but a waiter is not woken.
pub(crate) fn deadline_by_the_systems_clock_wakes_no_task() {
    Monoio::run(|_| async {
        let ctx = Context::background().with_timeout(Duration::from_millis(10));
        let (group, ctx) = LocalGroup::<()>::with_context(&ctx, monoio::spawn);
        group.spawn(pending::<Result<(), Infallible>>());
        match select(pin!(group.wait()), pin!(sleep(LATER))).await {
            Either::Left(_) => panic!("monoio has become more able: say so in docs/RUNTIMES.md"),
            Either::Right(_) => assert!(ctx.is_done()),
        }
    });
}

/// The cure: monoio's own timers.
pub(crate) fn deadline_by_its_own_clock_ends_the_wait() {
    Monoio::run(|_| async {
        let ctx = Monoio::background().with_timeout(Duration::from_millis(10));
        let (group, _) = LocalGroup::<()>::with_context(&ctx, monoio::spawn);
        group.spawn(pending::<Result<(), Infallible>>());
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
