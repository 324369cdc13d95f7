//! Failures that an ending omits, and results that are never returned.

use crate::executor::{Executor, watched};
use crate::faults::tools::{Bomb, apart, panics, poll_once};
use crate::support::{Count, at_most};
use failfast::{BoxError, Context, Ending, Fork, Group, GroupHandle, InPlaceGroup};
use futures::executor::block_on;
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Mutex;

/// An error that does something when it is dropped.
struct Acts<F: FnMut()>(F);

impl<F: FnMut()> Drop for Acts<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl<F: FnMut()> fmt::Debug for Acts<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("acts")
    }
}

impl<F: FnMut()> fmt::Display for Acts<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("acts")
    }
}

impl<F: FnMut()> std::error::Error for Acts<F> {}

/// An omitted failure was dropped under the group's lock, and its destructor, which took a snapshot, hung.
#[test]
fn omitted_failure_looks_at_its_group() {
    watched(|| {
        let executor = Executor::new();
        let group = Group::<u32>::new(executor.spawner()).with_ending(Ending::FirstOk);
        for _ in 0..30 {
            let handle: GroupHandle<u32> = group.handle();
            let error = Acts(move || drop(handle.snapshot()));
            group.spawn(async move { Err(error) });
        }
        executor.run();
        group.spawn(async { Ok::<_, BoxError>(1) });
        assert_eq!(executor.drive(group.wait()).unwrap(), [1]);
    });
}

/// Results that `run` does not return panicked in their destructors.
#[test]
fn results_beside_a_body_panic_in_their_destructors() {
    apart(|| {
        let drops = Count::default();
        let group = InPlaceGroup::<Bomb>::new(&Context::background());
        for _ in 0..3 {
            let bomb = Bomb(drops.clone());
            group.spawn(async move { Ok::<_, BoxError>(bomb) });
        }
        assert_eq!(block_on(group.run(async { Ok(5) })).unwrap(), 5);
        assert_eq!(drops.get(), 3);
    });
}

/// Values without a size are sorted out from the failures when the wait begins.
#[test]
fn omitted_failure_beside_values_without_a_size_looks_at_its_group() {
    watched(|| {
        let executor = Executor::new();
        let group = Group::<()>::new(executor.spawner());
        for _ in 0..30 {
            let handle: GroupHandle<()> = group.handle();
            let error = Acts(move || drop(handle.snapshot()));
            group.spawn(async move {
                smol::future::yield_now().await; // the last poll of all but the first
                Err(error)
            });
        }
        executor.run();
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!((error.others().len(), error.omitted()), (16, 13));
    });
}

/// An omitted failure panicked in its destructor, and the panic came out of `wait`.
#[test]
fn omitted_failure_panics_in_its_destructor() {
    apart(|| {
        let drops = Count::default();
        let group = InPlaceGroup::<u32>::new(&Context::background()).with_ending(Ending::FirstOk);
        for _ in 0..40 {
            let error = Bomb(drops.clone());
            group.spawn(async { Err(error) });
        }
        group.spawn(async { Ok::<_, BoxError>(1) });
        assert_eq!(block_on(group.wait()).unwrap(), [1]);
        assert_eq!(drops.get(), 40);
    });
}

/// An omitted failure polled a fork of its group in its destructor, and hung.
#[test]
fn omitted_failure_polls_a_fork_of_its_group() {
    watched(|| {
        let group = InPlaceGroup::<u32>::new(&Context::background())
            .with_ending(Ending::FirstOk)
            .with_limit(at_most(100));
        let error = || {
            let mut fork: Fork<u32> = group.fork("fork", pending::<Result<u32, BoxError>>());
            Acts(move || {
                let _ = poll_once(Pin::new(&mut fork));
            })
        };
        for _ in 0..25 {
            let error = error();
            group.spawn_background(async { Err(error) });
        }
        for _ in 0..20 {
            let error = error();
            group.spawn(async { Err(error) });
        }
        group.spawn(async { Ok::<_, BoxError>(1) });
        assert_eq!(block_on(group.wait()).unwrap(), [1]);
    });
}

/// Results beside a failure panicked in their destructors, and the second one aborted the process.
#[test]
fn results_beside_a_failure_panic_in_their_destructors() {
    apart(|| {
        let drops = Count::default();
        let group = InPlaceGroup::<Bomb>::new(&Context::background());
        for _ in 0..3 {
            let bomb = Bomb(drops.clone());
            group.spawn(async { Ok::<_, BoxError>(bomb) });
        }
        group.spawn(async { Err("no") });
        let told = Mutex::new(String::new());
        assert!(!panics(|| {
            let error = block_on(group.wait()).map(std::mem::forget).unwrap_err();
            *told.lock().unwrap() = error.to_string();
        }));
        assert_eq!(told.into_inner().unwrap(), "task 3: no");
        assert_eq!(drops.get(), 3);
    });
}

/// The thread that completed the failing task held the error until it had woken the owner, so that the owner nearly
/// always found it in use.
#[test]
fn downcast_after_the_wait_gives_the_error_away_whatever_the_thread_of_the_task() {
    watched(|| {
        for round in 0..2_000 {
            let group = Group::<()>::new(smol::spawn);
            group.spawn(async { Err(std::io::Error::other("refused")) });
            let error = block_on(group.wait()).unwrap_err();
            let refused = error.downcast::<std::io::Error>();
            assert_eq!(refused.unwrap().to_string(), "refused", "round {round}");
        }
    });
}

#[test]
fn downcast_after_a_settled_wait_gives_later_errors_away_too() {
    watched(|| {
        for _ in 0..500 {
            let group = Group::<()>::new(smol::spawn).with_ending(Ending::Settle);
            for _ in 0..3 {
                group.spawn(async { Err(std::io::Error::other("refused")) });
            }
            for (_, outcome) in block_on(group.outcomes()).unwrap() {
                assert!(outcome.unwrap_err().downcast::<std::io::Error>().is_ok());
            }
        }
    });
}
