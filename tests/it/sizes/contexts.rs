//! Contexts, links, waiters, callbacks and deadlines of every number.

use super::*;

#[test]
fn link_ends_with_any_of_its_sources() {
    watched(|| {
        for &size in SIZES {
            for which in [0, size / 2, size.saturating_sub(1)] {
                let sources: Vec<_> = (0..size)
                    .map(|_| Context::background().with_cancel())
                    .collect();
                let linked = Context::linked(sources.iter().map(|(source, _)| source.clone()));
                let (woken, waker) = counting();
                let mut done = linked.done();
                assert!(poll(&mut done, &waker).is_pending() && !linked.is_done());
                if size == 0 {
                    continue;
                }
                sources[which].1.cancel_with(format!("c{which}"));
                assert!(linked.is_done() && poll(&mut done, &waker).is_ready());
                assert_eq!(linked.cause().unwrap().to_string(), format!("c{which}"));
                sources.iter().for_each(|(_, canceller)| canceller.cancel());
                assert_eq!(woken.get(), 1, "{size}, {which}");
            }
        }
    });
}

#[test]
fn link_ends_with_the_earliest_of_its_deadlines() {
    watched(|| {
        for size in SIZES.iter().copied().filter(|size| *size > 0) {
            let (clock, ctx) = manual();
            let sources =
                (0..size).map(|n| ctx.with_timeout(SECOND * (1 + (n + size / 2) % size) as u32));
            let linked = Context::linked(sources.collect::<Vec<_>>());
            assert_eq!(linked.deadline(), Some(clock.now() + SECOND));
            let (woken, waker) = counting();
            let mut done = linked.done();
            assert!(poll(&mut done, &waker).is_pending());
            clock.advance(SECOND);
            assert_eq!(
                (linked.is_done(), woken.get(), clock.armed()),
                (true, 1, 0),
                "{size}"
            );
        }
    });
}

#[test]
fn every_depth_is_ended_by_the_top() {
    watched(|| {
        for &depth in SIZES.iter().chain([&HUGE]) {
            let (top, canceller) = Context::background().with_cancel();
            let mut chain = vec![top];
            for level in 0..depth {
                let (below, disarmed) = chain[level].with_cancel();
                disarmed.disarm();
                chain.push(below);
            }
            let (woken, waker) = counting();
            let mut done = chain[depth].done();
            assert!(poll(&mut done, &waker).is_pending());
            canceller.cancel_with("over");
            assert!(chain.iter().all(Context::is_done), "{depth}");
            assert_eq!(chain[depth].cause().unwrap().to_string(), "over");
            assert_eq!(woken.get(), 1);
        }
    });
}

#[test]
fn every_width_is_ended_by_the_parent() {
    watched(|| {
        for &width in SIZES.iter().chain([&HUGE]) {
            let (parent, canceller) = Context::background().with_cancel();
            let called = Count::default();
            let children: Vec<_> = (0..width)
                .map(|_| {
                    let (child, disarmed) = parent.with_cancel();
                    disarmed.disarm();
                    let _ = child.on_done(called.adder());
                    child
                })
                .collect();
            canceller.cancel();
            assert!(children.iter().all(Context::is_done), "{width}");
            assert_eq!(called.get(), width);
        }
    });
}

#[test]
fn every_waiter_is_woken_once() {
    watched(|| {
        for &size in SIZES.iter().chain([&HUGE]) {
            let (ctx, canceller) = Context::background().with_cancel();
            let (woken, waker) = counting();
            let mut waits: Vec<_> = (0..size).map(|_| ctx.done()).collect();
            waits
                .iter_mut()
                .for_each(|done| assert!(poll(done, &waker).is_pending()));
            // Every third goes before the end.
            let mut n = 0;
            waits.retain(|_| {
                n += 1;
                n % 3 != 0
            });
            canceller.cancel();
            assert_eq!(woken.get(), waits.len(), "{size}");
            waits
                .iter_mut()
                .for_each(|done| assert!(poll(done, &waker).is_ready()));
        }
    });
}

#[test]
fn every_callback_is_called_once_unless_it_was_stopped() {
    watched(|| {
        for &size in SIZES.iter().chain([&HUGE]) {
            let (ctx, canceller) = Context::background().with_cancel();
            let called = Count::default();
            let callbacks: Vec<_> = (0..size).map(|_| ctx.on_done(called.adder())).collect();
            let stopped = callbacks
                .iter()
                .step_by(3)
                .filter(|callback| callback.stop())
                .count();
            canceller.cancel();
            assert_eq!(called.get(), size - stopped, "{size}");
            assert!(callbacks.iter().all(|callback| !callback.stop()));
        }
    });
}

#[test]
fn every_deadline_of_one_moment_fires_once() {
    watched(|| {
        for &size in SIZES {
            let (clock, ctx) = manual();
            let called = Count::default();
            let at = clock.now() + SECOND;
            let timed: Vec<_> = (0..size).map(|_| ctx.with_deadline(at)).collect();
            timed
                .iter()
                .for_each(|ctx| drop(ctx.on_done(called.adder())));
            clock.advance(SECOND);
            assert_eq!((called.get(), clock.armed()), (size, 0), "{size}");
        }
    });
}

#[test]
fn every_sleep_of_a_manual_clock_is_woken_at_its_time() {
    watched(|| {
        for &size in SIZES {
            let (clock, _) = manual();
            let (woken, waker) = counting();
            let begin = clock.now();
            let mut sleeps: Vec<_> = (0..size)
                .map(|n| clock.sleep_until(begin + SECOND * (n % 7 + 1) as u32))
                .collect();
            sleeps
                .iter_mut()
                .for_each(|sleep| assert!(poll(sleep, &waker).is_pending()));
            for second in 1..=7 {
                clock.advance(SECOND);
                assert_eq!(woken.get(), (0..size).filter(|n| n % 7 < second).count());
            }
        }
    });
}

#[test]
fn every_value_of_a_chain_is_found() {
    watched(|| {
        struct Deep(usize);
        for &size in SIZES {
            let mut ctx = Context::background().with_value(Deep(size));
            for n in 0..size {
                ctx = ctx.with_value(n);
            }
            assert_eq!(ctx.value::<Deep>().map(|deep| deep.0), Some(size));
            assert_eq!(ctx.value::<usize>().copied(), size.checked_sub(1));
        }
    });
}
