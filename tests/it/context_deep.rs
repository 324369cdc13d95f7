//! Trees of 100,000 levels.

use crate::context::{cancelable, canceled, deadline_exceeded, waiting, why};
use crate::support::{Count, GENEROUS, OnDrop, SECOND, counting, manual};
use failfast::Context;

/// Levels: recursion over so many would overflow any test thread's stack.
const DEEP: usize = 100_000;

fn chain(root: &Context, keep: &mut Vec<Context>) -> Context {
    let mut ctx = root.clone();
    for _ in 0..DEEP {
        let (child, canceller) = ctx.with_cancel();
        canceller.disarm();
        keep.push(child.clone());
        ctx = child;
    }
    ctx
}

#[test]
fn a_deep_tree_is_made_cancelled_and_dropped() {
    // "needs no recursion (100,000 levels deep is fine)".
    let (root, canceller) = cancelable();
    let mut all = Vec::new();
    let leaf = chain(&root, &mut all);
    let (woken, waker) = counting();
    let _done = waiting(&leaf, &waker);
    canceller.cancel_with("from the top");
    assert_eq!((why(&leaf), woken.get()), ("from the top".to_owned(), 1));
    assert!(all.iter().all(Context::is_done));
}

#[test]
fn a_deep_tree_is_dropped_alive_from_its_leaf() {
    let (root, canceller) = cancelable();
    let dropped = Count::default();
    let leaf = chain(&root, &mut Vec::new());
    let guard = OnDrop(dropped.clone());
    drop(leaf.on_done(move || drop(guard)));
    drop(leaf);
    assert_eq!(dropped.get(), 0); // the root can still end it
    canceller.cancel();
    assert_eq!(dropped.get(), 1);
}

#[test]
fn a_deep_chain_of_deadlines() {
    let (clock, root) = manual();
    let mut ctx = root;
    for level in 0..DEEP as u32 {
        ctx = ctx.with_timeout(SECOND * (DEEP as u32 * 2 - level));
    }
    assert_eq!(ctx.remaining(), Some(SECOND * (DEEP as u32 + 1)));
    clock.advance(SECOND * (DEEP as u32 * 3));
    assert_eq!(ctx.err(), Some(deadline_exceeded()));
}

#[test]
fn a_deep_chain_of_links() {
    let (root, canceller) = cancelable();
    let mut ctx = root;
    for _ in 0..DEEP {
        ctx = Context::linked([ctx]);
    }
    canceller.cancel_with("far away");
    assert_eq!(why(&ctx), "far away");
}

#[test]
fn a_deep_chain_of_links_to_two() {
    let (root, canceller) = cancelable();
    let (other, _other) = cancelable();
    let mut ctx = root;
    for _ in 0..DEEP {
        ctx = Context::linked([ctx, other.clone()]);
    }
    let (woken, waker) = counting();
    let done = waiting(&ctx, &waker);
    canceller.cancel_with("far away");
    assert_eq!((why(&ctx), woken.get()), ("far away".to_owned(), 1));
    drop((ctx, done));
}

#[test]
fn a_deep_chain_of_links_to_two_is_dropped_alive() {
    let (root, _root) = cancelable();
    let (other, canceller) = cancelable();
    let called = Count::default();
    let mut ctx = root;
    for _ in 0..DEEP {
        ctx = Context::linked([ctx, other.clone()]);
    }
    drop(ctx.on_done(called.adder()));
    drop(ctx);
    assert_eq!(called.get(), 0);
    canceller.cancel();
    assert_eq!(called.get(), 1);
}

#[test]
fn a_deep_chain_of_ended_links_with_deadlines_is_dropped() {
    let (clock, root) = manual();
    let (mut ctx, canceller) = root.with_cancel();
    canceller.cancel();
    for level in 0..DEEP as u32 {
        let timeout = SECOND * (DEEP as u32 * 2 - level);
        ctx = Context::linked([ctx.with_timeout(timeout)]);
    }
    assert_eq!(ctx.err(), Some(canceled()));
    drop(ctx);
    assert_eq!(clock.armed(), 0);
}

/// Each link keeps the deadlines of all those before, by two clocks, also when it has let go of them.
#[test]
fn a_deep_chain_of_ended_links_with_deadlines_by_two_clocks_is_dropped() {
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let dropped = small.spawn(|| {
        let ((_, one), (_, two)) = (manual(), manual());
        let [one, two] = [one, two].map(|root| root.with_timeout(SECOND));
        let (source, canceller) = cancelable();
        let mut ctx = Context::linked([source, one.clone(), two]);
        for _ in 0..3_000 {
            ctx = Context::linked([ctx, one.clone()]);
        }
        canceller.cancel();
        assert_eq!(ctx.err(), Some(canceled()));
        drop(ctx);
    });
    dropped.unwrap().join().unwrap();
}

#[test]
fn a_deep_chain_of_links_is_dropped_alive() {
    let (root, canceller) = cancelable();
    let mut ctx = root.clone();
    for _ in 0..DEEP {
        ctx = Context::linked([ctx.with_timeout(GENEROUS)]);
    }
    drop(ctx);
    canceller.cancel();
    assert!(root.is_done());
}

#[test]
fn a_deep_chain_of_values() {
    let bottom = Context::background().with_value("at the bottom");
    let mut ctx = bottom;
    for level in 0..DEEP {
        ctx = ctx.with_value(level);
        if level % 1_000 == 0 {
            ctx = Context::linked([ctx, Context::background().with_value(0_u8)]);
        }
    }
    assert_eq!(ctx.value(), Some(&"at the bottom"));
    assert_eq!(ctx.value(), Some(&(DEEP - 1)));
    assert!(format!("{ctx:?}").len() > DEEP);
}
