//! Nothing is started once the deadline has passed.

use crate::executor::{Executor, Polled, watched};
use crate::support::{Count, SECOND, at_most, manual};
use failfast::clock::ManualClock;
use failfast::{BoxError, Context, Group, InPlaceGroup};
use futures::executor::block_on;
use std::future::Future;

fn with_deadline() -> (ManualClock, Context) {
    let (clock, root) = manual();
    (clock, root.with_timeout(SECOND))
}

async fn overrunning(clock: ManualClock) -> Result<(), BoxError> {
    clock.advance(2 * SECOND);
    Ok(())
}

fn started(count: &Count) -> impl Future<Output = Result<(), BoxError>> + Send + use<> {
    let count = count.clone();
    async move {
        count.add();
        Ok(())
    }
}

/// In place, a task was started after the deadline while the owner awaited an item of a stream.
#[test]
fn while_an_item_is_awaited_in_place() {
    watched(|| {
        let (clock, ctx) = with_deadline();
        let group = InPlaceGroup::<()>::new(&ctx);
        let handle = group.handle();
        let late = Count::default();
        let items = futures::stream::pending::<u32>();
        let mut map = Polled::new(group.try_map_stream(items, |_| async { Ok::<_, BoxError>(()) }));
        assert!(map.is_pending());
        assert!(handle.spawn(started(&late)).is_ok());
        clock.advance(2 * SECOND);
        let _ = map.poll();
        assert_eq!(late.get(), 0);
    });
}

/// In place, the deadline passed in one task's poll, and the next task was started in the same drive.
#[test]
fn in_the_same_drive_in_place() {
    watched(|| {
        let (clock, ctx) = with_deadline();
        let group = InPlaceGroup::<()>::new(&ctx);
        let late = Count::default();
        group.spawn(overrunning(clock));
        group.spawn(started(&late));
        let result = block_on(group.wait());
        assert_eq!(late.get(), 0, "{result:?}");
    });
}

/// The deadline passed in one task's poll, and the next task in the queue was started in its place.
#[test]
fn next_in_the_queue() {
    watched(|| {
        let (clock, ctx) = with_deadline();
        let executor = Executor::new();
        let (group, _ctx) = Group::<()>::with_context(&ctx, executor.spawner());
        let group = group.with_limit(at_most(1));
        let late = Count::default();
        group.spawn(overrunning(clock));
        group.spawn(started(&late));
        let result = executor.drive(group.wait());
        assert_eq!(late.get(), 0, "{result:?}");
    });
}
