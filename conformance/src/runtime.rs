//! What a runtime has to provide.

use crate::place::Place;
use failfast::Context;
use failfast::clock::Clock;
use failfast::group::TaskGroup;
use futures::future::{Either, select};
use std::pin::pin;
use std::time::Duration;

/// A case that does not apply to a runtime, by its name, and the reason. The harness prints both.
pub type Exception = (&'static str, &'static str);

/// A runtime, as the cases see it.
pub trait Runtime: 'static {
    /// What the registry and the documents call it.
    const NAME: &'static str;

    /// The cases that do not apply to it.
    const EXCEPTIONS: &'static [Exception] = &[];

    /// Whether the sizes above 4,096 are tried as well: on two hosts, because the others would only take longer.
    const TRIES_HUGE_SIZES: bool = false;

    type Place: Place;

    /// The runtime's own timer. `Send` where its tasks are.
    type Sleep: Future + 'static;

    /// Runs a scenario to its end, where `Self::Place`, `Self::sleep` and `Self::clock` work. A panic of the scenario
    /// is the caller's.
    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static;

    /// The runtime's line of `docs/RUNTIMES.md`, word for word: a group as a user makes it.
    fn documented_group(ctx: Context) -> TaskGroup<(), <Self::Place as Place>::Member>;

    /// The runtime's own sleep.
    fn sleep(time: Duration) -> Self::Sleep;

    /// A clock that is made of it.
    fn clock() -> impl Clock;

    /// Yields, for a scenario that looks again and again whether something has happened. On most runtimes a future
    /// that wakes itself stands behind all others; on some, before them.
    async fn others_run() {
        futures_lite::future::yield_now().await;
    }

    /// A background context whose time is this runtime's default: the system's, or, where no other works, its own.
    fn background() -> Context {
        Context::background()
    }
}

/// Far longer than any case takes.
const HANGS: Duration = Duration::from_secs(60);

/// A scenario that fails if it hangs, as far as its thread is free and the runtime's own timers work.
pub async fn watched<R: Runtime>(scenario: impl Future<Output = ()>) {
    let hangs = pin!(R::sleep(HANGS));
    if let Either::Right(_) = select(pin!(scenario), hangs).await {
        panic!("hangs: {HANGS:?} have passed");
    }
}
