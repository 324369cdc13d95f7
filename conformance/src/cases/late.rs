//! Nothing starts late: after a deadline no task is polled for the first time.

use super::tools::{Census, Gate, at_most};
use super::{Place, Runtime};
use failfast::Context;
use failfast::clock::ManualClock;
use futures_lite::future::yield_now;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A clock that stands still, and a context with a deadline by it: in a second.
fn in_a_second() -> (ManualClock, Context) {
    let clock = ManualClock::new();
    let ctx = Context::background()
        .with_clock(clock.clone())
        .with_timeout(SECOND);
    (clock, ctx)
}

/// A task that must not be polled: it records if it was, and when it is dropped.
fn unwelcome(
    started: &Gate,
    census: &Census,
) -> impl Future<Output = Result<u32, Infallible>> + Send + use<> {
    let (started, citizen) = (started.clone(), census.citizen());
    async move {
        let _citizen = citizen;
        started.open();
        Ok(1)
    }
}

/// §4: nothing starts late: not by `spawn`, once the deadline has passed between two spawns.
pub async fn nothing_starts_late_by_spawn<R: Runtime>(place: R::Place) {
    let ((clock, ctx), started, census) = (in_a_second(), Gate::default(), Census::default());
    let group = place.group(&ctx);
    group.spawn(pending::<Result<u32, Infallible>>());
    clock.advance(SECOND);
    group.spawn(unwelcome(&started, &census));
    assert!(group.wait().await.unwrap_err().is_deadline_exceeded());
    assert!(!started.is_open());
    assert_eq!((census.born(), census.live()), (1, 0));
}

/// §4: nor though the task before has long finished, in its first poll.
pub async fn nothing_starts_late_after_a_quick_task<R: Runtime>(place: R::Place) {
    let ((clock, ctx), started, census) = (in_a_second(), Gate::default(), Census::default());
    let mut group = place.group(&ctx);
    group.spawn(async { Ok::<_, Infallible>(0) });
    assert_eq!(group.next().await.unwrap().unwrap(), 0);
    clock.advance(SECOND);
    group.spawn(unwelcome(&started, &census));
    assert!(group.wait().await.unwrap_err().is_deadline_exceeded());
    assert!(!started.is_open());
    assert_eq!((census.born(), census.live()), (1, 0));
}

/// §4: nor by `try_spawn`.
pub async fn nothing_starts_late_by_try_spawn<R: Runtime>(place: R::Place) {
    let ((clock, ctx), started, census) = (in_a_second(), Gate::default(), Census::default());
    let group = place.group(&ctx);
    group.spawn(pending::<Result<u32, Infallible>>());
    clock.advance(SECOND);
    drop(group.try_spawn(unwelcome(&started, &census)));
    assert!(group.wait().await.unwrap_err().is_deadline_exceeded());
    assert!(!started.is_open());
    assert_eq!((census.born(), census.live()), (1, 0));
}

/// §4: nor by a handle, which gives the future back.
pub async fn nothing_starts_late_by_a_handle<R: Runtime>(place: R::Place) {
    let ((clock, ctx), started, census) = (in_a_second(), Gate::default(), Census::default());
    let group = place.group(&ctx);
    let handle = group.handle();
    group.spawn(pending::<Result<u32, Infallible>>());
    clock.advance(SECOND);
    assert!(handle.spawn(unwelcome(&started, &census)).is_err());
    assert!(handle.try_spawn(unwelcome(&started, &census)).is_err());
    assert!(
        handle
            .spawn_named("late", unwelcome(&started, &census))
            .is_err()
    );
    let fork = handle.fork("late", unwelcome(&started, &census));
    assert!(group.wait().await.unwrap_err().is_deadline_exceeded());
    assert!(fork.await.unwrap_err().is_deadline_exceeded());
    assert!(!started.is_open());
    assert_eq!((census.born(), census.live()), (4, 0));
}

/// §4: nor from the queue, when the task before makes room.
pub async fn nothing_starts_late_from_the_queue<R: Runtime>(place: R::Place) {
    let ((clock, ctx), started, census) = (in_a_second(), Gate::default(), Census::default());
    let group = place.group(&ctx).with_limit(at_most(1));
    let own = clock.clone();
    group.spawn(async move {
        yield_now().await;
        own.advance(SECOND); // it is the first to be late, and has its answer
        Ok::<_, Infallible>(0)
    });
    for _ in 0..10 {
        group.spawn(unwelcome(&started, &census));
    }
    let error = group.wait().await.unwrap_err();
    assert!(error.is_deadline_exceeded());
    assert!(!started.is_open());
    assert_eq!((census.born(), census.live()), (10, 0));
}

/// §4: nor in a loop of `next` and `spawn`, which ends at the deadline.
pub async fn nothing_starts_late_in_a_loop<R: Runtime>(place: R::Place) {
    let clock = ManualClock::new();
    let ctx = R::background()
        .with_clock(clock.clone())
        .with_timeout(5 * SECOND);
    let (mut group, census) = (place.group(&ctx), Census::default());
    let mut rounds = 0;
    let error = loop {
        let started = census.clone();
        group.spawn(async move {
            let _started = started.citizen();
            Ok::<_, Infallible>(())
        });
        rounds += 1;
        assert!(rounds <= 6, "it never ends");
        match group.next().await.expect("an answer or the end") {
            Ok(()) => clock.advance(SECOND),
            Err(error) => break error,
        }
    };
    assert!(error.is_deadline_exceeded());
    assert_eq!((census.born(), census.live()), (5, 0));
}
