//! Contexts: deep chains, wide links, and a shield whose group moves to another task.

use crate::executor::{Executor, Polled, watched};
use crate::faults::tools::apart;
use crate::support::Count;
use failfast::{BoxError, Context, Group, InPlaceGroup};
use futures::channel::oneshot;
use std::future::{Future, poll_fn};
use std::task::Poll;

/// Contexts that held each other as values overflowed the stack when the last one was dropped.
#[test]
fn values_that_hold_contexts_are_dropped() {
    struct Previous(#[allow(dead_code, reason = "it is there to be dropped")] Context);
    apart(|| {
        let mut ctx = Context::background();
        for _ in 0..50_000 {
            ctx = ctx.with_value(Previous(ctx.clone()));
        }
        drop(ctx);
    });
}

/// Contexts that held each other in their callbacks overflowed the stack when the last one was dropped.
#[test]
fn callbacks_that_hold_contexts_are_dropped() {
    apart(|| {
        let mut ctx = Context::background();
        for _ in 0..50_000 {
            let (next, canceller) = Context::background().with_cancel();
            canceller.disarm();
            let inner = ctx;
            drop(next.on_done(move || drop(inner)));
            ctx = next;
        }
        drop(ctx);
    });
}

/// The sources of a linked context ended together, and each of them went through all of its children.
#[test]
fn many_sources_of_many_children_end_together() {
    // As many steps as sources times children outlast the watchdog.
    const MANY: usize = 30_000;
    watched(|| {
        let (root, canceller) = Context::background().with_cancel();
        let sources: Vec<_> = (0..MANY).map(|_| root.with_cancel()).collect();
        let linked = Context::linked(sources.iter().map(|(ctx, _)| ctx.clone()));
        let children: Vec<_> = (0..MANY).map(|_| linked.with_cancel()).collect();
        canceller.cancel();
        assert!(children.iter().all(|(ctx, _)| ctx.is_done()));
    });
}

/// A group in place moved to another task with a shielded future in it, and the shield held no more.
#[test]
fn shield_moves_with_its_group() {
    for moved in [false, true] {
        watched(move || {
            let executor = Executor::new();
            let finished = Count::default();
            let (ctx, canceller) = Context::background().with_cancel();
            let inner = InPlaceGroup::<()>::new(&ctx);
            let shielding = inner.context().clone();
            let (end, ended) = oneshot::channel::<()>();
            inner.spawn({
                let finished = finished.clone();
                async move {
                    let shielded = async move {
                        let _ = ended.await;
                        finished.add();
                    };
                    shielding.shield(shielded).await;
                    Ok::<_, BoxError>(())
                }
            });
            let mut inner = Box::pin(async move { drop(inner.wait().await) });
            let outer = Group::<()>::new(executor.spawner());
            let (give, given) = oneshot::channel();
            outer.spawn(async move {
                poll_fn(|cx| {
                    assert!(inner.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                canceller.cancel();
                poll_fn(|cx| {
                    assert!(inner.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                if moved {
                    drop(give.send(inner));
                } else {
                    inner.await;
                }
                Ok::<_, BoxError>(())
            });
            outer.spawn(async move {
                if let Ok(inner) = given.await {
                    inner.await;
                }
                Ok::<_, BoxError>(())
            });
            executor.run();
            end.send(()).unwrap();
            let mut wait = Polled::new(outer.wait());
            executor.finish(&mut wait).unwrap();
            assert_eq!(finished.get(), 1, "moved: {moved}");
        });
    }
}
