//! Memory that was never freed, or that grew for as long as a group lived.

use crate::executor::{Life, Living, settle_losses, watched};
use crate::faults::tools::{apart, held, panics};
use crate::support::{SECOND, at_most, manual};
use failfast::{BoxError, Context, Ending, ErrorKind, Group, InPlaceGroup, Task};
use futures::executor::block_on;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

/// How many bytes each round leaves behind, once the first ones have made what stays.
fn growth(mut round: impl FnMut()) -> isize {
    const ROUNDS: isize = 50;
    round();
    round();
    let before = held();
    for _ in 0..ROUNDS {
        round();
    }
    (held() - before) / ROUNDS
}

/// What a thread keeps for its next tasks goes with the thread.
#[test]
fn thread_that_ran_tasks_ends() {
    apart(|| {
        let each = growth(|| {
            let run = || {
                let group = InPlaceGroup::<()>::new(&Context::background());
                for _ in 0..100 {
                    group.spawn(async { Ok::<_, BoxError>(()) });
                }
                block_on(group.wait())
            };
            std::thread::spawn(run).join().unwrap().unwrap();
        });
        assert!(each < 100, "{each} bytes a thread");
    });
}

/// The executor returns handles, and has none for a task when its spawn function panics.
#[test]
fn tasks_whose_spawn_panics_are_freed() {
    apart(|| {
        let each = growth(|| {
            for _ in 0..100 {
                let group = Group::<()>::new(|_: Task| -> Box<u8> { panic!("no more tasks") });
                let task = async { Ok::<_, BoxError>(()) };
                assert!(panics(
                    || group.spawn_named("a long name ".repeat(100), task)
                ));
                let error = block_on(group.wait()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Lost);
            }
            settle_losses(); // what a loss wakes is woken, and dropped, on another thread
        });
        assert!(each < 10_000, "{each} bytes for 100 tasks");
    });
}

/// Tasks in the queue of a group that was canceled were never freed.
#[test]
fn queued_tasks_of_a_canceled_group_are_freed() {
    apart(|| {
        let each = growth(|| {
            let kept = Arc::new(Mutex::new(Vec::<Task>::new()));
            let tasks = kept.clone();
            let group = Group::<()>::new(move |task: Task| tasks.lock().unwrap().push(task))
                .with_limit(at_most(1));
            for _ in 0..100 {
                group.spawn(async { Ok::<_, BoxError>(()) });
            }
            group.cancel_with("over");
            drop(group);
            kept.lock().unwrap().clear();
        });
        assert!(each < 100, "{each} bytes a group of 100 tasks");
    });
}

/// A task that was spawned after its group's deadline was never freed.
#[test]
fn tasks_after_the_deadline_are_freed() {
    apart(|| {
        let each = growth(|| {
            let (clock, root) = manual();
            let (group, _ctx) =
                Group::<()>::with_context(&root.with_timeout(SECOND), |task: Task| task);
            clock.advance(2 * SECOND);
            group.spawn(async { Ok::<_, BoxError>(()) });
            drop(group);
        });
        assert!(each < 100, "{each} bytes a task");
    });
}

/// Tasks in the queue of a group in place that was dropped were never freed.
#[test]
fn queued_tasks_of_a_dropped_group_in_place_are_freed() {
    apart(|| {
        let each = growth(|| {
            let group = InPlaceGroup::<()>::new(&Context::background()).with_limit(at_most(1));
            for _ in 0..100 {
                group.spawn(async { Ok::<_, BoxError>(()) });
            }
            drop(group);
        });
        assert!(each < 100, "{each} bytes a group of 100 tasks");
    });
}

/// In place, a task that woke itself in its last poll was never freed.
#[test]
fn tasks_that_wake_themselves_in_their_last_poll_are_freed() {
    apart(|| {
        for count in [1, 2, 31, 32, 33, 64] {
            let each = growth(|| {
                let group = InPlaceGroup::<()>::new(&Context::background());
                for _ in 0..count {
                    group.spawn(poll_fn(|cx| {
                        cx.waker().wake_by_ref();
                        Poll::Ready(Ok::<_, BoxError>(()))
                    }));
                }
                block_on(group.wait()).unwrap();
            });
            assert!(each < 100, "{count} tasks: {each} bytes");
        }
    });
}

/// The failures of dropped forks and of background tasks piled up in a group that settles, for as long as it lived.
#[test]
fn failures_of_forks_do_not_pile_up() {
    #[derive(Debug)]
    struct Failure(#[allow(dead_code, reason = "it is there to be dropped")] Life);
    impl fmt::Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("failure")
        }
    }
    impl std::error::Error for Failure {}
    watched(|| {
        block_on(async {
            let living = Living::default();
            let mut group =
                InPlaceGroup::<u32>::new(&Context::background()).with_ending(Ending::Settle);
            for _ in 0..1_000 {
                group.spawn(async { Ok::<_, BoxError>(1) });
                let (one, other) = (Failure(living.one()), Failure(living.one()));
                drop(group.fork("fork", async { Err::<u32, _>(one) }));
                group.spawn_background(async { Err(other) });
                group.next().await.unwrap().unwrap();
            }
            let alive = living.count();
            assert!(alive < 100, "{alive} errors are kept");
        });
    });
}

/// Forks that a group refused because it was over left their names behind, for as long as a handle lived.
#[test]
fn refused_forks_do_not_pile_up() {
    apart(|| {
        let group = InPlaceGroup::<()>::new(&Context::background());
        let handle = group.handle();
        group.spawn(async { Err("no") });
        block_on(group.wait()).unwrap_err();
        let before = held();
        for _ in 0..10_000 {
            let name = "a name of some length that is kept on the heap".to_string();
            drop(handle.fork(name, async { Ok::<_, BoxError>(()) }));
        }
        let left = held() - before;
        assert!(left < 10_000, "{left} bytes after 10,000 refused forks");
    });
}

/// Forks that a failed group refused overflowed the stack, or took forever, when the group was dropped.
#[test]
fn group_that_refused_many_forks_is_dropped() {
    apart(|| {
        let mut group = InPlaceGroup::<()>::new(&Context::background());
        let handle = group.handle();
        group.spawn(async { Err("no") });
        assert!(block_on(group.next()).unwrap().is_err());
        for _ in 0..10_000 {
            drop(handle.fork("fork", async { Ok::<_, BoxError>(()) }));
        }
        drop(group);
    });
}
