//! Section 2 of the contract: `shield`, a critical section, and what it holds.

use crate::executor::{Executor, Living, Polled, Remote, remote, watched};
use crate::group::*;
use crate::support::{SECOND, manual};
use failfast::{BoxError, Context, ErrorKind, Group, InPlaceGroup};
use futures::FutureExt;
use smol::future::yield_now;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;

/// A transaction under a shield, which the test ends.
struct Transaction {
    commit: Remote<(), Infallible>,
    committed: Arc<AtomicBool>,
    living: Living,
}

impl Transaction {
    fn new() -> (Self, impl Future<Output = ()> + Send + use<>) {
        let living = Living::default();
        let (commit, told) = remote::<(), Infallible>(&living);
        let committed = Arc::new(AtomicBool::new(false));
        let (done, life) = (committed.clone(), living.one());
        let work = async move {
            let _life = life;
            let Ok(()) = told.await;
            done.store(true, SeqCst);
        };
        let transaction = Self {
            commit,
            committed,
            living,
        };
        (transaction, work)
    }

    fn commit(self) -> Arc<AtomicBool> {
        self.commit.succeed(());
        self.committed
    }

    fn is_open(&self) -> bool {
        self.living.count() == 2 && !self.committed.load(SeqCst)
    }
}

/// "while `f` runs, the task that polls it is not dropped by its group's cancellation; it is cancelled when `f` is
/// through"
#[test]
fn sibling_fails_during_a_transaction() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let ctx = group.context().clone();
    let (transaction, work) = Transaction::new();
    let living = Living::default();
    let life = living.one();
    group.spawn(async move {
        let _life = life;
        ctx.shield(work).await;
        pending::<Result<(), Infallible>>().await
    });
    let (fail, task) = remote::<(), &str>(&Living::default());
    group.spawn_named("profile", task);
    executor.run();
    fail.fail("refused");
    executor.run();
    let mut wait = Polled::new(group.wait());
    for _ in 0..3 {
        assert!(wait.is_pending());
        executor.poll(0);
        assert!(transaction.is_open());
    }
    let committed = transaction.commit();
    executor.run();
    assert!(committed.load(SeqCst));
    assert_eq!(living.count(), 0, "cancelled when it is through");
    assert_eq!(wait.ready().unwrap_err().to_string(), "profile: refused");
    assert!(executor.alive().is_empty());
}

/// What a shield gives is what its future gives, and what comes after it in the same poll is done.
#[test]
fn task_finishes_in_the_poll_in_which_its_shield_is_through() {
    let executor = Executor::new();
    let group = group::<u32>(&executor);
    let ctx = group.context().clone();
    let (told, task) = remote::<u32, &str>(&Living::default());
    group.spawn(async move { ctx.shield(task).await });
    executor.run();
    group.cancel_with("enough");
    executor.run();
    told.succeed(5);
    assert_eq!(
        executor.drive(group.wait()).unwrap(),
        [5],
        "all tasks succeed"
    );
}

#[test]
fn shield_that_is_ready_at_once() {
    let executor = Executor::new();
    let group = group::<u32>(&executor);
    let ctx = group.context().clone();
    group.spawn(async move {
        let answer = ctx.shield(async { 5 }).await;
        Ok::<_, Infallible>(answer)
    });
    assert_eq!(executor.drive(group.wait()).unwrap(), [5]);
}

/// "One first polled in the last poll after the end still holds, once"
#[test]
fn shield_is_first_polled_in_the_last_poll() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let ctx = group.context().clone();
    let (transaction, work) = Transaction::new();
    let (second, more) = Transaction::new();
    group.spawn(async move {
        ctx.done().await;
        ctx.shield(work).await;
        ctx.shield(more).await;
        Ok::<_, Infallible>(())
    });
    executor.run();
    group.cancel_with("enough");
    executor.run();
    executor.poll(0);
    assert!(transaction.is_open());
    let committed = transaction.commit();
    executor.run();
    assert!(committed.load(SeqCst));
    assert_eq!(second.living.count(), 0, "a later one does not hold");
    assert!(!second.committed.load(SeqCst));
    assert!(executor.drive(group.wait()).unwrap_err().is_canceled());
}

/// "so a loop of shields ends"
#[test]
fn loop_of_shields_ends() {
    watched(|| {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let ctx = group.context().clone();
        let rounds = Arc::new(AtomicUsize::new(0));
        let count = rounds.clone();
        group.spawn(async move {
            loop {
                ctx.shield(yield_now()).await;
                count.fetch_add(1, SeqCst);
            }
            #[expect(unreachable_code, reason = "it gives the task its type")]
            Ok::<_, Infallible>(())
        });
        for _ in 0..10 {
            executor.poll(0);
        }
        group.cancel_with("enough");
        let before = rounds.load(SeqCst);
        assert!(executor.drive(group.wait()).unwrap_err().is_canceled());
        assert!(
            rounds.load(SeqCst) <= before + 2,
            "{before}, then {rounds:?}"
        );
    });
}

/// "a shield inside nested in-place groups holds every enclosing task up to the executor's"
#[test]
fn shield_in_nested_groups_in_place() {
    for cancel_inner in [false, true] {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let (transaction, work) = Transaction::new();
        let ctx = group.context().clone();
        let living = Living::default();
        let life = living.one();
        let inner_handle = Arc::new(Mutex::new(None));
        let its_handle = inner_handle.clone();
        group.spawn(async move {
            let _life = life;
            let outer = InPlaceGroup::<u32>::new(&ctx);
            let below = outer.context().clone();
            outer.spawn(async move {
                let inner = InPlaceGroup::<u32>::new(&below);
                *its_handle.lock().unwrap() = Some(inner.handle());
                let lowest = inner.context().clone();
                inner.spawn(async move {
                    lowest.shield(work).await;
                    Ok::<_, Infallible>(1)
                });
                inner.spawn(pending::<Result<u32, Infallible>>());
                Ok::<_, failfast::Error>(inner.wait().await?[0])
            });
            Ok::<_, failfast::Error>(outer.wait().await?[0])
        });
        executor.run();
        match cancel_inner {
            true => inner_handle
                .lock()
                .unwrap()
                .take()
                .unwrap()
                .cancel_with("inner"),
            false => group.cancel_with("outer"),
        }
        executor.run();
        executor.poll(0);
        assert!(transaction.is_open());
        assert_eq!(living.count(), 1);
        let committed = transaction.commit();
        assert!(executor.drive(group.wait()).is_err());
        assert!(committed.load(SeqCst));
        assert_eq!(living.count(), 0);
    }
}

/// "`run`'s body counts as a task"
#[test]
fn shield_in_the_body_of_run() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let (transaction, work) = Transaction::new();
    let ctx = group.context().clone();
    group.spawn_named("profile", async { Err("refused") });
    let mut run = Polled::new(group.run(async move {
        ctx.shield(work).await;
        pending::<Result<u32, BoxError>>().await
    }));
    assert!(run.is_pending());
    executor.run();
    for _ in 0..3 {
        assert!(run.is_pending());
        assert!(transaction.is_open());
    }
    let committed = transaction.commit();
    assert!(run.is_woken());
    let error = executor.finish(&mut run).unwrap_err();
    assert_eq!(error.to_string(), "profile: refused");
    assert!(committed.load(SeqCst));
}

/// … from its first poll to its last: a shield that begins in between holds it, and one that begins later does not.
#[test]
fn shields_of_the_body_begin_in_its_second_poll_and_after_the_end() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let handle = group.handle();
    let (first, its) = Transaction::new();
    let (second, others) = Transaction::new();
    let ctx = group.context().clone();
    let mut run = Polled::new(group.run(async move {
        yield_now().await;
        ctx.shield(its).await;
        ctx.shield(others).await;
        Ok(())
    }));
    assert!(run.is_pending());
    assert!(run.is_pending());
    handle.cancel_with("enough");
    assert!(run.is_pending());
    assert!(first.is_open() && second.is_open());
    let committed = first.commit();
    assert!(executor.finish(&mut run).unwrap_err().is_canceled());
    assert!(committed.load(SeqCst));
    assert!(!second.committed.load(SeqCst));
    assert_eq!(second.living.count(), 0);
}

/// "It counts from its first pending poll until it is ready or dropped"
#[test]
fn shield_that_was_not_polled_or_was_dropped_holds_no_task() {
    for polled in [false, true] {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let ctx = group.context().clone();
        let living = Living::default();
        let life = living.one();
        group.spawn(async move {
            let _life = life;
            let mut shield = Box::pin(ctx.shield(pending::<()>()));
            let kept = match polled {
                true => {
                    assert!(futures::poll!(&mut shield).is_pending());
                    drop(shield);
                    None
                }
                false => Some(shield),
            };
            pending::<()>().await;
            drop(kept);
            Ok::<_, Infallible>(())
        });
        executor.run();
        group.cancel_with("enough");
        assert!(executor.drive(group.wait()).unwrap_err().is_canceled());
        assert_eq!(living.count(), 0);
    }
}

/// "… and moves when another task polls it"
#[test]
fn shield_is_moved_to_another_task() {
    type Moved = Pin<Box<dyn Future<Output = ()> + Send>>;
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let ctx = group.context().clone();
    let (transaction, work) = Transaction::new();
    let (first, second) = (Living::default(), Living::default());
    let (give, taken) = futures::channel::oneshot::channel::<Moved>();
    let life = first.one();
    group.spawn(async move {
        let _life = life;
        let mut shield: Moved = Box::pin(ctx.shield(work));
        assert!(futures::poll!(&mut shield).is_pending());
        let _ = give.send(shield);
        pending::<Result<(), Infallible>>().await
    });
    let life = second.one();
    group.spawn(async move {
        let _life = life;
        if let Ok(shield) = taken.await {
            shield.await;
        }
        pending::<Result<(), Infallible>>().await
    });
    executor.run();
    group.cancel_with("enough");
    executor.run();
    assert_eq!((first.count(), second.count()), (0, 1));
    assert!(transaction.is_open());
    let committed = transaction.commit();
    assert!(executor.drive(group.wait()).unwrap_err().is_canceled());
    assert!(committed.load(SeqCst));
    assert_eq!(second.count(), 0);
}

/// "Outside our tasks it does nothing."
#[test]
fn shield_outside_of_a_task() {
    let (ctx, canceller) = Context::background().with_cancel();
    assert_eq!(Polled::new(ctx.shield(async { 5 })).ready(), 5);
    let (transaction, work) = Transaction::new();
    let mut shield = Polled::new(ctx.shield(work));
    assert!(shield.is_pending());
    canceller.cancel();
    assert!(shield.is_pending());
    assert!(transaction.is_open());
    let committed = transaction.commit();
    assert!(shield.is_woken());
    shield.ready();
    assert!(committed.load(SeqCst));
}

/// A shield that is polled by a task belongs to that task, "not to `ctx`".
#[test]
fn shield_of_a_context_that_is_not_the_groups() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let (transaction, work) = Transaction::new();
    group.spawn(async move {
        Context::background().shield(work).await;
        Ok::<_, Infallible>(())
    });
    executor.run();
    group.cancel_with("enough");
    executor.run();
    assert!(transaction.is_open());
    let committed = transaction.commit();
    assert!(executor.drive(group.wait()).is_ok(), "all tasks succeed");
    assert!(committed.load(SeqCst));
}

/// "Only a *group's* cancellation respects it: `ctx.run` … cut it."
#[test]
fn run_cuts_a_shield() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let (child, canceller) = group.context().with_cancel();
    let (transaction, work) = Transaction::new();
    group.spawn(async move {
        assert!(child.run(child.shield(work)).await.is_err());
        Ok::<_, Infallible>(())
    });
    executor.run();
    canceller.cancel();
    executor.run();
    assert_eq!(transaction.living.count(), 0);
    assert!(!transaction.committed.load(SeqCst));
    executor.drive(group.wait()).unwrap();
}

/// … and so does a dropped in-place group.
#[test]
fn dropped_group_in_place_cuts_a_shield() {
    let (transaction, work) = Transaction::new();
    let group = InPlaceGroup::<()>::new(&Context::background());
    let ctx = group.context().clone();
    group.spawn(async move {
        ctx.shield(work).await;
        Ok::<_, Infallible>(())
    });
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    drop(wait);
    assert_eq!(transaction.living.count(), 0);
    assert!(!transaction.committed.load(SeqCst));
}

/// "nor dropping a group on an executor (it runs on to its end)"
#[test]
fn dropped_group_on_an_executor_lets_a_shield_run_on() {
    for waited in [false, true] {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let ctx = group.context().clone();
        let (transaction, work) = Transaction::new();
        group.spawn(async move {
            ctx.shield(work).await;
            pending::<Result<(), Infallible>>().await
        });
        executor.run();
        match waited {
            true => {
                let mut wait = Polled::new(group.wait());
                assert!(wait.is_pending());
            }
            false => drop(group),
        }
        executor.run();
        assert!(transaction.is_open());
        let committed = transaction.commit();
        executor.run();
        assert!(committed.load(SeqCst));
        assert!(executor.alive().is_empty());
    }
}

/// "Bounded by `with_straggler_limit`; the grace does not cut it".
#[test]
fn grace_does_not_cut_a_shield_and_the_limit_ends_the_wait() {
    let (clock, root) = manual();
    let executor = Executor::new();
    let (group, ctx) = Group::<()>::with_context(&root, executor.spawner());
    let group = group.with_grace(SECOND).with_straggler_limit(SECOND);
    let (transaction, work) = Transaction::new();
    group.spawn_named("commit", async move {
        ctx.shield(work).await;
        Ok::<_, Infallible>(())
    });
    executor.run();
    group.cancel_with("enough");
    let mut wait = Polled::new(group.wait());
    executor.run();
    clock.advance(SECOND);
    executor.run();
    executor.poll(0);
    assert!(wait.is_pending());
    assert!(transaction.is_open());
    clock.advance(SECOND);
    assert!(wait.is_woken());
    let error = wait.ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stragglers);
    assert_eq!(pending_in(&error), ["commit"]);
    drop(wait);
    executor.run();
    assert!(transaction.is_open(), "it runs on to its end");
    let committed = transaction.commit();
    executor.run();
    assert!(committed.load(SeqCst));
    assert!(executor.alive().is_empty());
}

/// "nor `Fork::cancel`"
#[test]
fn cancel_of_a_fork_does_not_cut_a_shield() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let ctx = group.context().clone();
    let (transaction, work) = Transaction::new();
    let fork = group.fork("commit", async move {
        ctx.shield(work).await;
        pending::<Result<u32, Infallible>>().await
    });
    executor.run();
    fork.cancel();
    executor.run();
    executor.poll(0);
    assert!(transaction.is_open());
    let committed = transaction.commit();
    executor.run();
    assert!(committed.load(SeqCst));
    assert_eq!(
        executor.drive(fork).unwrap_err().kind(),
        ErrorKind::Canceled
    );
    executor.drive(group.wait()).unwrap();
}

/// "(restored on unwind)": a task in place that panics hides no other task's shield.
#[test]
fn task_in_place_panics_beside_a_shield() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let (transaction, work) = Transaction::new();
    let ctx = group.context().clone();
    group.spawn(async move {
        let place = InPlaceGroup::<()>::new(&Context::background());
        place.spawn(async {
            if true {
                std::panic::resume_unwind(Box::new("bug"));
            }
            Ok::<_, Infallible>(())
        });
        assert!(place.wait().await.is_err());
        ctx.shield(work).await;
        Ok::<_, Infallible>(())
    });
    executor.run();
    group.cancel_with("enough");
    executor.run();
    assert!(transaction.is_open());
    let committed = transaction.commit();
    assert!(executor.drive(group.wait()).is_ok());
    assert!(committed.load(SeqCst));
}

/// Two shields of one task, at once: it is held until both are through.
#[test]
fn two_shields_at_once() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let ctx = group.context().clone();
    let (one, first) = Transaction::new();
    let (two, second) = Transaction::new();
    group.spawn(async move {
        futures::future::join(ctx.shield(first), ctx.shield(second)).await;
        Ok::<_, Infallible>(())
    });
    executor.run();
    group.cancel_with("enough");
    executor.run();
    let committed = one.commit();
    executor.run();
    assert!(committed.load(SeqCst) && two.is_open());
    let committed = two.commit();
    assert!(executor.drive(group.wait()).is_ok());
    assert!(committed.load(SeqCst));
}

/// A shield in a task that the executor drops, or never polls, holds up no other task.
#[test]
fn executor_drops_a_task_with_a_shield() {
    let executor = Executor::new();
    let group = group::<()>(&executor);
    let ctx = group.context().clone();
    let (transaction, work) = Transaction::new();
    group.spawn_named("commit", async move {
        ctx.shield(work).await;
        Ok::<_, Infallible>(())
    });
    executor.run();
    executor.lose(0);
    assert_eq!(transaction.living.count(), 0);
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(told(&error), (ErrorKind::Lost, Some("commit")));
}

/// Polled again after it was ready, as any future, it is the caller's fault; a fused one is not.
#[test]
fn shield_can_be_fused() {
    let mut shield = Box::pin(Context::background().shield(async { 5 }).fuse());
    assert_eq!(Polled::new(&mut shield).ready(), 5);
    assert!(matches!(Polled::new(&mut shield).poll(), Poll::Pending));
}
