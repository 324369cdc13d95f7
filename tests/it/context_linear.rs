//! Costs that must not grow faster than what they are for: each of these took minutes, or gigabytes, if it did.

use crate::context::{cancelable, canceled, deadline_exceeded, waiting, why};
use crate::support::{Count, GENEROUS, OnDrop, SECOND, counting, manual};
use failfast::Context;
use failfast::clock::ManualClock;
use std::time::Instant;

const MANY: usize = 100_000;

/// Runs `work`; n² steps would take far longer than this allows.
fn soon(work: impl FnOnce()) {
    let begin = Instant::now();
    work();
    assert!(begin.elapsed() < GENEROUS / 2, "{:?}", begin.elapsed());
}

#[test]
fn callbacks_move_up_many_levels() {
    // One at each level, and the levels go from the leaf up.
    soon(|| {
        let (root, canceller) = cancelable();
        let called = Count::default();
        let mut ctx = root.clone();
        for _ in 0..MANY {
            let (below, keep) = ctx.with_cancel();
            keep.disarm();
            drop(below.on_done(called.adder()));
            ctx = below;
        }
        drop(ctx);
        assert_eq!(called.get(), 0);
        canceller.cancel();
        assert_eq!(called.get(), MANY);
    });
}

#[test]
fn many_callbacks_move_up_together() {
    soon(|| {
        let (root, canceller) = cancelable();
        let called = Count::default();
        let mut ctx = root.clone();
        for _ in 0..1_000 {
            let (below, keep) = ctx.with_cancel();
            keep.disarm();
            ctx = below;
        }
        for _ in 0..MANY {
            drop(ctx.on_done(called.adder()));
        }
        drop(ctx);
        canceller.cancel();
        assert_eq!(called.get(), MANY);
    });
}

#[test]
fn a_linked_context_of_many_sources_with_a_callback_is_dropped() {
    soon(|| {
        let sources: Vec<_> = (0..MANY).map(|_| cancelable()).collect();
        let called = Count::default();
        let linked = Context::linked(sources.iter().map(|(ctx, _)| ctx.clone()));
        drop(linked.on_done(called.adder()));
        drop(linked);
        sources[MANY / 2].1.cancel();
        assert_eq!(called.get(), 1);
    });
}

#[test]
fn many_sources_with_deadlines_are_linked_and_read() {
    soon(|| {
        let (clock, root) = manual();
        let sources: Vec<_> = (0..MANY as u32)
            .map(|number| root.with_timeout(SECOND * (1 + (number + 7) % MANY as u32)))
            .collect();
        let linked = Context::linked(sources);
        let mut below = linked.clone();
        for _ in 0..MANY {
            assert!(!below.is_done());
            below = below.with_value(1).with_cancel().0.without_cancel();
        }
        let (woken, waker) = counting();
        let done = waiting(&linked, &waker);
        assert_eq!(clock.armed(), 1, "the earliest alone");
        clock.advance(SECOND);
        assert_eq!((woken.get(), linked.err()), (1, Some(deadline_exceeded())));
        drop(done);
    });
}

#[test]
fn links_of_links_with_deadlines_by_many_clocks() {
    soon(|| {
        let mut ctx = Context::background();
        for _ in 0..2_000 {
            let timed = Context::background()
                .with_clock(ManualClock::new())
                .with_timeout(SECOND);
            ctx = Context::linked([ctx, timed]);
        }
        assert!(!ctx.is_done());
    });
}

#[test]
fn values_and_timeouts_many_levels_deep() {
    soon(|| {
        let (clock, root) = manual();
        let mut ctx = root;
        for level in 0..MANY as u32 {
            ctx = ctx
                .with_value(level)
                .with_timeout(SECOND * (2 * MANY as u32 - level));
        }
        assert!(!ctx.is_done());
        clock.advance(SECOND * (MANY as u32 + 1));
        assert!(ctx.is_done());
    });
}

#[test]
fn clocks_and_timeouts_many_levels_deep() {
    soon(|| {
        let mut ctx = Context::background();
        for _ in 0..20_000 {
            ctx = ctx.with_clock(ManualClock::new()).with_timeout(SECOND);
        }
        assert!(!ctx.is_done());
    });
}

#[test]
fn a_long_lived_context_keeps_nothing_of_short_ones() {
    // "Ended or dropped children leave nothing", a million times (hazard 31): nothing is left to be called or dropped.
    let (server, shutdown) = cancelable();
    let (woken, waker) = counting();
    let dropped = Count::default();
    for round in 0..MANY {
        let (request, canceller) = server.with_cancel();
        let linked = Context::linked([request.clone(), server.clone()]);
        let guard = OnDrop(dropped.clone());
        let callback = linked.on_done(move || drop(guard));
        drop(waiting(&linked, &waker));
        match round % 3 {
            0 => assert!(callback.stop()),
            _ => drop(callback),
        }
        drop(linked);
        canceller.cancel();
        assert_eq!(dropped.get(), round + 1);
        assert_eq!(request.err(), Some(canceled()));
    }
    shutdown.cancel_with("shutdown");
    assert_eq!((woken.get(), why(&server).as_str()), (0, "shutdown"));
}

#[test]
fn a_callback_of_a_dropped_linked_context_leaves_the_sources_that_did_not_call_it() {
    // Version 1 left 150 bytes in the long-lived parent for each.
    let (clock, root) = manual();
    let server = root.with_timeout(SECOND * 9);
    for sources in [2, 3, 31] {
        let called = Count::default();
        let mut pairs: Vec<_> = (0..sources).map(|_| server.with_cancel()).collect();
        let linked = Context::linked(pairs.iter().map(|(ctx, _)| ctx.clone()));
        drop(linked.on_done(called.adder()));
        drop(linked);
        let (last, canceller) = pairs.pop().unwrap();
        for (ctx, keep) in pairs {
            keep.disarm();
            drop(ctx); // the callback waits with the server now
        }
        assert_eq!((called.get(), clock.armed()), (0, 1));
        canceller.cancel();
        assert_eq!(
            (called.get(), clock.armed()),
            (1, 0),
            "nothing waits for the server"
        );
        assert!(last.is_done() && !server.is_done());
    }
}
