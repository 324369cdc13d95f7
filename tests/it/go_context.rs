//! Go's own cases for `context` (context_test.go, x_test.go, afterfunc_test.go), written anew.

use crate::context::{canceled, deadline_exceeded};
use crate::support::{Count, GENEROUS, SECOND, counting, eventually, manual, poll};
use failfast::clock::ManualClock;
use failfast::context::ContextErrorKind::{self, Canceled, DeadlineExceeded};
use failfast::{Canceller, Context};
use futures::FutureExt;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

fn cause(ctx: &Context) -> Option<String> {
    ctx.cause().map(|cause| cause.to_string())
}

fn is_released(ctx: &Context) -> bool {
    ctx.done().now_or_never().is_some()
}

fn contexts(pairs: &[(Context, Canceller)]) -> Vec<Context> {
    pairs.iter().map(|(ctx, _)| ctx.clone()).collect()
}

/// TestBackground, TestTODO: the root has no deadline, no error, no value, and a name. Ours has no TODO, because a
/// second name for the same thing has no use for the compiler.
#[test]
fn background() {
    let ctx = Context::background();
    assert!(!is_released(&ctx) && ctx.err().is_none() && ctx.deadline().is_none());
    assert_eq!(format!("{ctx:?}"), "Background");
}

/// TestWithCancel: cancelling ends the context at once, and the error is that. The layer has a name.
#[test]
fn with_cancel() {
    let (ctx, canceller) = Context::background().with_cancel();
    assert_eq!(format!("{ctx:?}"), "Background.with_cancel");
    assert!(!is_released(&ctx) && ctx.err().is_none());
    canceller.cancel();
    assert!(is_released(&ctx));
    assert_eq!(ctx.err(), Some(canceled()));
}

/// TestParentFinishesChild: an ended parent ends cancelable, value and timed children, direct and grand, with
/// its error; and what is made under it afterwards is born ended.
#[test]
fn parent_finishes_child() {
    let (clock, root) = manual();
    let (parent, canceller) = root.with_cancel();
    let (child, _keep) = parent.with_cancel();
    let value = parent.with_value("value");
    let value_child = value.with_cancel();
    let timed = value.with_timeout(GENEROUS);
    let family = [&parent, &child, &value, &value_child.0, &timed];
    assert!(
        family
            .iter()
            .all(|ctx| !is_released(ctx) && ctx.err().is_none())
    );
    canceller.cancel();
    for ctx in family {
        assert!(is_released(ctx) && ctx.err() == Some(canceled()));
    }
    let (born, _keep) = value.with_cancel();
    assert!(is_released(&born) && born.err() == Some(canceled()));
    assert_eq!(clock.armed(), 0);
}

/// TestChildFinishesFirst: a child that ends leaves its parent alone, whether that can end or not.
#[test]
fn child_finishes_first() {
    let (cancelable, _keep) = Context::background().with_cancel();
    for parent in [Context::background(), cancelable] {
        let (child, canceller) = parent.with_cancel();
        canceller.cancel();
        assert!(is_released(&child) && child.err() == Some(canceled()));
        assert!(!is_released(&parent) && parent.err().is_none());
    }
}

/// Waits like Go's `testDeadline`: in virtual time, not before and not after `after`.
fn ends_after(clock: &ManualClock, ctx: &Context, after: Duration) {
    let (woken, waker) = counting();
    let mut done = ctx.done();
    assert_eq!(poll(&mut done, &waker), Poll::Pending);
    clock.advance(after - Duration::from_nanos(1));
    assert_eq!(woken.get(), 0);
    clock.advance(Duration::from_nanos(1));
    assert_eq!((woken.get(), poll(&mut done, &waker)), (1, Poll::Ready(())));
    assert_eq!(ctx.err(), Some(deadline_exceeded()));
}

/// TestDeadline: alone, under a value, and with a later one on top: the earlier counts. Past ones end at once.
#[test]
fn deadline() {
    let (clock, root) = manual();
    let at = |after| clock.now() + after;
    ends_after(&clock, &root.with_deadline(at(SECOND)), SECOND);
    ends_after(
        &clock,
        &root.with_deadline(at(SECOND)).with_value(1),
        SECOND,
    );
    let layered = root
        .with_deadline(at(SECOND))
        .with_value(1)
        .with_deadline(at(SECOND * 2));
    ends_after(&clock, &layered, SECOND);
    assert!(is_released(&root.with_deadline(clock.now() - SECOND)));
    assert!(is_released(&root.with_deadline(clock.now())));
}

/// TestTimeout: the same, relative.
#[test]
fn timeout() {
    let (clock, root) = manual();
    ends_after(&clock, &root.with_timeout(SECOND), SECOND);
    ends_after(&clock, &root.with_timeout(SECOND).with_value(1), SECOND);
    ends_after(
        &clock,
        &root
            .with_timeout(SECOND)
            .with_value(1)
            .with_timeout(SECOND * 2),
        SECOND,
    );
}

/// TestCanceledTimeout: cancelling beats a timer that has not fired, and the error is the cancellation's.
#[test]
fn canceled_timeout() {
    let (clock, root) = manual();
    let (ctx, canceller) = root.with_timeout(SECOND).with_value(1).with_cancel();
    canceller.cancel();
    assert!(is_released(&ctx) && ctx.err() == Some(canceled()));
    clock.advance(SECOND * 2);
    assert_eq!(ctx.err(), Some(canceled()));
}

/// TestValues: each key finds its own value, the nearest; a nil key there is a missing type here. Go compares
/// keys by type and value; ours are types alone, which can't collide between packages.
#[test]
fn values() {
    #[derive(Clone, Debug, PartialEq)]
    struct One(&'static str);
    #[derive(Clone, Debug, PartialEq)]
    struct Two(&'static str);
    #[derive(Clone, Debug, PartialEq)]
    struct Three(&'static str);
    let check = |ctx: &Context, one, two, three| {
        assert_eq!(ctx.value::<One>().map(|value| value.0), one);
        assert_eq!(ctx.value::<Two>().map(|value| value.0), two);
        assert_eq!(ctx.value::<Three>().map(|value| value.0), three);
    };
    let c0 = Context::background();
    check(&c0, None, None, None);
    let c1 = c0.with_value(One("c1k1"));
    check(&c1, Some("c1k1"), None, None);
    let c2 = c1.with_value(Two("c2k2"));
    check(&c2, Some("c1k1"), Some("c2k2"), None);
    let c3 = c2.with_value(Three("c3k3"));
    check(&c3, Some("c1k1"), Some("c2k2"), Some("c3k3"));
    check(
        &c3.with_value(One("c4k1")),
        Some("c4k1"),
        Some("c2k2"),
        Some("c3k3"),
    );
    check(
        &c3.with_timeout(GENEROUS).with_cancel().0,
        Some("c1k1"),
        Some("c2k2"),
        Some("c3k3"),
    );
}

/// TestSimultaneousCancels: a hundred random descendants, all cancelled at once from as many threads: each ends, none
/// hangs.
#[test]
fn simultaneous_cancels() {
    let tree = random_tree(100);
    let nodes = contexts(&tree);
    let start = Arc::new(Barrier::new(tree.len()));
    let threads: Vec<_> = tree
        .into_iter()
        .map(|(_, canceller)| {
            let start = start.clone();
            thread::spawn(move || {
                start.wait();
                canceller.cancel();
            })
        })
        .collect();
    for ctx in &nodes {
        smol::block_on(ctx.done());
        assert_eq!(ctx.err(), Some(canceled()));
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

/// A root and its descendants, each under a random one of those before it.
fn random_tree(nodes: usize) -> Vec<(Context, Canceller)> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut tree = vec![Context::background().with_cancel()];
    while tree.len() < nodes {
        let parent = random.usize(..tree.len());
        tree.push(tree[parent].0.with_cancel());
    }
    tree
}

/// TestInterlockedCancels: cancels that each wait for another's end, across one random tree of a hundred and two
/// roots: the child's end cancels the parent's canceller, and so on up. No deadlock.
#[test]
fn interlocked_cancels() {
    let (parent, parents) = Context::background().with_cancel();
    let (child, children) = parent.with_cancel();
    let waits_for_parent = thread::spawn(move || {
        smol::block_on(parent.done());
        children.cancel();
    });
    parents.cancel();
    eventually("the end of the child", || child.is_done());
    waits_for_parent.join().unwrap();

    let tree = random_tree(100);
    let nodes = contexts(&tree);
    let (go, begin) = Context::background().with_cancel();
    let mut before = go;
    let threads: Vec<_> = tree
        .into_iter()
        .rev()
        .map(|(ctx, canceller)| {
            let waited_for = std::mem::replace(&mut before, ctx);
            thread::spawn(move || {
                smol::block_on(waited_for.done());
                canceller.cancel_with("its turn");
            })
        })
        .collect();
    begin.cancel();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    for ctx in nodes {
        assert_eq!(cause(&ctx).as_deref(), Some("its turn"));
    }
}

/// TestLayersCancel: a random stack of values, cancels and timeouts answers each value, lives until it is ended, and
/// ends as a whole when the lowest cancel is called.
#[test]
fn layers_cancel() {
    layers(true);
}

/// TestLayersTimeout: the same stack, ended by the earliest of its timeouts.
#[test]
fn layers_timeout() {
    layers(false);
}

fn layers(cancel: bool) {
    struct Level(usize);
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..100 {
        let (clock, root) = manual();
        let (bottom, canceller) = root.with_timeout(SECOND * 20).with_cancel();
        let (mut ctx, mut kept, mut last) = (bottom, Vec::new(), None);
        for level in 0..50 {
            match random.u32(..3) {
                0 => {
                    ctx = ctx.with_value(Level(level));
                    last = Some(level);
                }
                1 => {
                    let (child, keep) = ctx.with_cancel();
                    kept.push(keep);
                    ctx = child;
                }
                _ => ctx = ctx.with_timeout(SECOND * random.u32(20..60)),
            }
        }
        assert_eq!(ctx.value::<Level>().map(|level| level.0), last);
        assert_eq!(ctx.remaining(), Some(SECOND * 20));
        clock.advance(SECOND * 19);
        assert!(!is_released(&ctx) && ctx.err().is_none());
        if cancel {
            canceller.cancel();
        } else {
            clock.advance(SECOND);
        }
        let ended = if cancel {
            canceled()
        } else {
            deadline_exceeded()
        };
        assert!(is_released(&ctx) && ctx.err() == Some(ended));
        assert_eq!(ctx.value::<Level>().map(|level| level.0), last);
        assert_eq!(clock.armed(), 0);
    }
}

/// TestWithCancelCanceledParent: a child of an ended parent is ended before `with_cancel` returns, with the
/// parent's cause (TestCause's `WithCancelCause_parent_canceled`).
#[test]
fn with_cancel_of_canceled_parent() {
    let (parent, canceller) = Context::background().with_cancel();
    canceller.cancel_with("because");
    let (child, _keep) = parent.with_cancel();
    assert!(is_released(&child));
    assert_eq!(
        (child.err(), cause(&child)),
        (Some(canceled()), cause(&parent))
    );
}

/// TestWithValueChecksKey: there is nothing to check. A nil or incomparable key can't be expressed: the key
/// is the type.
#[test]
fn value_of_unit_type() {
    assert_eq!(Context::background().with_value(()).value(), Some(&()));
}

/// TestDeadlineExceededSupportsTimeout, TestInvalidDerivedFail, XTestCustomContext have no counterpart: there is
/// no net.Error, no nil parent, and no way to bring a context type of one's own: `Context` is a struct.
#[test]
fn deadline_exceeded_is_an_error_like_any_other() {
    let error: Box<dyn std::error::Error + Send + Sync> = deadline_exceeded().into();
    assert_eq!(error.to_string(), "context deadline exceeded");
}

/// TestCause: which error and which cause, for every way to end, in Go's own rows.
mod causes {
    use super::*;

    type Row = (
        &'static str,
        fn() -> Context,
        Option<ContextErrorKind>,
        Option<&'static str>,
    );

    const PLAIN: Option<&str> = Some("context canceled");
    const LATE: Option<&str> = Some("context deadline exceeded");

    fn ended(parent: &Context, cause: Option<&'static str>) -> Context {
        let (ctx, canceller) = parent.with_cancel();
        match cause {
            Some(cause) => canceller.cancel_with(cause),
            None => canceller.cancel(),
        }
        ctx
    }

    fn background() -> Context {
        Context::background()
    }

    const ROWS: &[Row] = &[
        ("Background", background, None, None),
        (
            "WithoutCancel",
            || background().without_cancel(),
            None,
            None,
        ),
        (
            "WithCancel",
            || ended(&background(), None),
            Some(Canceled),
            PLAIN,
        ),
        (
            "WithCancelCause",
            || ended(&background(), Some("parent")),
            Some(Canceled),
            Some("parent"),
        ),
        // Go's `cancel(nil)` is `cancel()`.
        (
            "WithCancelCause: parent cause before child",
            || {
                let (ctx, canceller) = background().with_cancel();
                let (child, own) = ctx.with_cancel();
                canceller.cancel_with("parent");
                own.cancel_with("child");
                child
            },
            Some(Canceled),
            Some("parent"),
        ),
        (
            "WithCancelCause: child cause before parent, the parent's",
            || {
                let (ctx, canceller) = background().with_cancel();
                let (_child, own) = ctx.with_cancel();
                own.cancel_with("child");
                canceller.cancel_with("parent");
                ctx
            },
            Some(Canceled),
            Some("parent"),
        ),
        (
            "WithCancelCause: child cause before parent, the child's",
            || {
                let (ctx, canceller) = background().with_cancel();
                let (child, own) = ctx.with_cancel();
                own.cancel_with("child");
                canceller.cancel_with("parent");
                child
            },
            Some(Canceled),
            Some("child"),
        ),
        (
            "WithCancel under WithCancelCause",
            || ended(&background(), Some("parent")).with_cancel().0,
            Some(Canceled),
            Some("parent"),
        ),
        (
            "WithCancelCause under a canceled WithCancel",
            || ended(&ended(&background(), None), Some("child")),
            Some(Canceled),
            PLAIN,
        ),
        (
            "WithTimeoutCause: a zero timeout",
            || background().with_timeout_cause(Duration::ZERO, "too slow"),
            Some(DeadlineExceeded),
            Some("too slow"),
        ),
        (
            "WithTimeout: a zero timeout",
            || background().with_timeout(Duration::ZERO),
            Some(DeadlineExceeded),
            LATE,
        ),
        (
            "WithTimeout under a canceled parent",
            || ended(&background(), Some("parent")).with_timeout(Duration::ZERO),
            Some(Canceled),
            Some("parent"),
        ),
        (
            "WithTimeoutCause: cancelled before the timeout",
            || ended(&background().with_timeout_cause(GENEROUS, "too slow"), None),
            Some(Canceled),
            PLAIN,
        ),
        // Go's own call of a timed context's cancel drops the timeout's cause, too.
        (
            "WithTimeoutCause under an earlier WithTimeout",
            || {
                let (clock, root) = manual();
                let ctx = root
                    .with_timeout(SECOND)
                    .with_timeout_cause(SECOND * 2, "too slow");
                clock.advance(SECOND * 3);
                ctx
            },
            Some(DeadlineExceeded),
            LATE,
        ),
        (
            "WithTimeoutCause over a later WithTimeout",
            || {
                let (clock, root) = manual();
                let ctx = root
                    .with_timeout(SECOND * 2)
                    .with_timeout_cause(SECOND, "too slow");
                clock.advance(SECOND * 3);
                ctx
            },
            Some(DeadlineExceeded),
            Some("too slow"),
        ),
        (
            "WithCancelCause under a WithTimeout that passed",
            || ended(&background().with_timeout(Duration::ZERO), Some("child")),
            Some(DeadlineExceeded),
            LATE,
        ),
        (
            "WithoutCancel of a canceled context",
            || ended(&background(), Some("parent")).without_cancel(),
            None,
            None,
        ),
        (
            "WithCancelCause under WithoutCancel",
            || {
                ended(
                    &ended(&background(), Some("parent")).without_cancel(),
                    Some("child"),
                )
            },
            Some(Canceled),
            Some("child"),
        ),
        (
            "WithValue of a canceled context",
            || ended(&background(), Some("parent")).with_value(1),
            Some(Canceled),
            Some("parent"),
        ),
    ];

    /// TestCause.
    #[test]
    fn every_row() {
        for (name, make, error, why) in ROWS {
            let ctx = make();
            assert_eq!(
                (ctx.err().map(|error| error.kind()), cause(&ctx).as_deref()),
                (*error, *why),
                "{name}"
            );
        }
    }

    /// TestCauseRace: the cause is there with the error, for every thread that sees the error first.
    #[test]
    fn is_visible_with_the_error() {
        for _ in 0..500 {
            let (ctx, canceller) = Context::background().with_cancel();
            let ender = thread::spawn(move || canceller.cancel_with("the cause"));
            eventually("the error", || ctx.err().is_some());
            assert_eq!(cause(&ctx).as_deref(), Some("the cause"));
            ender.join().unwrap();
        }
    }
}

/// TestWithoutCancel, TestWithoutCancel's values: nothing of the lifetime passes, every value does.
#[test]
fn without_cancel() {
    let ctx = Context::background()
        .with_value("value")
        .with_timeout(Duration::ZERO);
    let free = ctx.without_cancel();
    assert!(ctx.is_done() && !is_released(&free));
    assert_eq!(
        (free.err(), free.deadline(), free.value()),
        (None, None, Some(&"value"))
    );
    assert!(cause(&free).is_none());
    assert_eq!(
        format!("{free:?}"),
        "Background.with_value(&str).without_cancel"
    );
}

/// TestCancelRemoves, TestWithCancelRemoves...: an ended child is no longer with its parent. What can be seen
/// from outside: its waiters are not woken again; the memory is counted in `tests/memory.rs`.
#[test]
fn cancel_removes() {
    let (parent, parents) = Context::background().with_cancel();
    let (child, canceller) = parent.with_cancel();
    let (woken, waker) = counting();
    let mut done = child.done();
    assert_eq!(poll(&mut done, &waker), Poll::Pending);
    canceller.cancel();
    parents.cancel();
    assert_eq!(woken.get(), 1);
}

/// afterfunc_test.go. Go runs each function in a goroutine of its own; we have no executor, so ours run on the thread
/// that ends the context, before `cancel` returns. That makes them exact, and requires that they be short.
mod after_func {
    use super::*;

    /// TestAfterFuncCalledAfterCancel, and TestAfterFuncCalledAfterTimeout.
    #[test]
    fn called_after_cancel_and_after_timeout() {
        let (clock, root) = manual();
        let ((one, canceller), two) = (root.with_cancel(), root.with_timeout(SECOND));
        let called = Count::default();
        let (first, second) = (one.on_done(called.adder()), two.on_done(called.adder()));
        assert_eq!(called.get(), 0);
        canceller.cancel();
        assert_eq!(called.get(), 1);
        clock.advance(SECOND);
        assert_eq!(called.get(), 2);
        assert!(!first.stop() && !second.stop());
    }

    /// TestAfterFuncCalledImmediately: registered on an ended context, it is called at once.
    #[test]
    fn called_immediately() {
        let (ctx, canceller) = Context::background().with_cancel();
        canceller.cancel();
        let called = Count::default();
        drop(ctx.on_done(called.adder()));
        assert_eq!(called.get(), 1);
    }

    /// TestAfterFuncNotCalledAfterStop: stopped, it is not called; only the first stop returns that it was the one.
    #[test]
    fn not_called_after_stop() {
        let (ctx, canceller) = Context::background().with_cancel();
        let called = Count::default();
        let callback = ctx.on_done(called.adder());
        assert_eq!([callback.stop(), callback.stop()], [true, false]);
        canceller.cancel();
        assert_eq!(called.get(), 0);
    }

    /// TestAfterFuncCalledAsynchronously: the call doesn't wait for its caller's locks in Go. Here the thread that
    /// cancels makes the call; reads by another thread are not held up by it.
    #[test]
    fn a_callback_that_waits_holds_up_its_canceller_only() {
        let (ctx, canceller) = Context::background().with_cancel();
        let (release, wait) = mpsc::channel::<()>();
        drop(ctx.on_done(move || wait.recv().unwrap_or(())));
        let ender = thread::spawn(move || canceller.cancel());
        eventually("the end", || ctx.is_done());
        assert!(is_released(&ctx.with_cancel().0));
        drop(release);
        ender.join().unwrap();
    }

    /// Example AfterFunc_cond: the callback wakes the threads that wait on a condition.
    #[test]
    fn wakes_a_condition() {
        let pair = Arc::new((Mutex::new(false), std::sync::Condvar::new()));
        let (ctx, canceller) = Context::background().with_cancel();
        let theirs = pair.clone();
        drop(ctx.on_done(move || {
            *theirs.0.lock().unwrap() = true;
            theirs.1.notify_all();
        }));
        let ender = thread::spawn(move || canceller.cancel());
        let guard = pair.0.lock().unwrap();
        let (_guard, late) = pair
            .1
            .wait_timeout_while(guard, GENEROUS, |done| !*done)
            .unwrap();
        assert!(!late.timed_out());
        ender.join().unwrap();
    }

    /// Example AfterFunc_merge: two contexts made into one by a callback, values of the one, end of both. That
    /// is `Context::linked`.
    #[test]
    fn merges_two_contexts() {
        let ((one, first), (two, second)) = (
            Context::background().with_cancel(),
            Context::background().with_cancel(),
        );
        let (by_hand, canceller) = one.with_cancel();
        let other = two.clone();
        let stop = two.on_done(move || {
            canceller.cancel_with(other.cause().unwrap());
        });
        let linked = Context::linked([one, two]);
        second.cancel_with("the second");
        assert!(!stop.stop());
        for ctx in [by_hand, linked] {
            assert_eq!(cause(&ctx).as_deref(), Some("the second"));
        }
        drop(first);
    }

    /// Go's afterFuncContext: functions below one parent run for the parent's end, each once, and not if their
    /// own context ended before.
    #[test]
    fn runs_once_below_a_parent() {
        let (parent, parents) = Context::background().with_cancel();
        let (child, children) = parent.with_cancel();
        let called = Count::default();
        drop(parent.on_done(called.adder()));
        drop(child.on_done(called.adder()));
        children.cancel();
        assert_eq!(called.get(), 1);
        parents.cancel();
        assert_eq!(called.get(), 2);
    }
}
