//! `ordered`: the order, early results, and the executor's turns.

use crate::executor::{Executor, Polled, watched};
use crate::faults::tools::{Bomb, apart, panics};
use crate::support::{Count, at_most};
use failfast::group::Scoped;
use failfast::{BoxError, Context, Group, GroupHandle, InPlaceGroup};
use futures::StreamExt;
use futures::future::BoxFuture;
use std::future::pending;

/// Forks that tasks made by a handle took numbers of the order, and results were given for the wrong items.
#[test]
fn forks_take_no_turn() {
    let results: Vec<Result<u32, String>> = watched(|| {
        let executor = Executor::new();
        let group = Group::<u32>::new(executor.spawner()).with_limit(at_most(1));
        let handle = group.handle();
        let ordered = group.ordered(0..4_u32, move |item| {
            let handle = handle.clone();
            async move {
                let child = handle.fork("child", async move { Ok::<_, BoxError>(item) });
                Ok::<_, BoxError>(child.await?)
            }
        });
        let ordered = ordered.map(|result| result.map_err(|error| error.to_string()));
        executor.drive(ordered.collect())
    });
    assert_eq!(results, [Ok(0), Ok(1), Ok(2), Ok(3)]);
}

/// Results that came before their turn panicked in their destructors, and the second one aborted the process.
#[test]
fn early_results_panic_in_their_destructors() {
    apart(|| {
        let drops = Count::default();
        let group = InPlaceGroup::<Bomb>::new(&Context::background());
        let mut ordered = group.ordered(0..5_u32, {
            let drops = drops.clone();
            move |item| {
                let drops = drops.clone();
                async move {
                    if item == 0 {
                        pending::<()>().await;
                    }
                    Ok::<_, BoxError>(Bomb(drops))
                }
            }
        });
        assert!(Polled::new(ordered.next()).is_pending());
        assert!(!panics(|| drop(ordered)));
        assert_eq!(drops.get(), 4);
    });
}

/// In place, tasks that each spawned the next one kept the executor from its turn: one poll ran them all.
#[test]
fn chain_of_spawns_leaves_the_executor_its_turn() {
    type Handle = GroupHandle<u32, Scoped<'static>>;
    fn chain(
        handle: Handle,
        left: usize,
        polls: Count,
    ) -> BoxFuture<'static, Result<u32, BoxError>> {
        Box::pin(async move {
            polls.add();
            if left > 0 {
                let next = chain(handle.clone(), left - 1, polls);
                let _ = handle.spawn(next);
            }
            Ok(7)
        })
    }
    watched(|| {
        let polls = Count::default();
        let group = InPlaceGroup::<u32>::new(&Context::background());
        let handle = group.handle();
        assert!(
            handle
                .spawn(chain(handle.clone(), 10_000, polls.clone()))
                .is_ok()
        );
        let mut ordered = group.ordered(0..1_u32, |_| pending::<Result<u32, BoxError>>());
        assert!(Polled::new(ordered.next()).is_pending());
        assert!(polls.get() < 1_000, "{} polls in one", polls.get());
    });
}
