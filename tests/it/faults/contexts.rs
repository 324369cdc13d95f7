//! The tree of contexts: every node is reached, nothing is left behind, and nothing recurses.

use super::tools::{HOUR, apart, held, inline};
use crate::executor::watched;
use crate::support::{Count, CountedClock, SECOND, counting, manual, on_wake, poll};
use failfast::{Context, Group, InPlaceGroup};
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

/// Fault 7: a chain of contexts that was dropped while an ancestor was cancelled unlinked a stranger.
mod chain_is_dropped_while_an_ancestor_is_cancelled {
    use super::*;

    /// A chain below `ctx`, of which only the leaf is held.
    fn chain(ctx: &Context, depth: usize) -> Context {
        let mut leaf = ctx.clone();
        for _ in 0..depth {
            let (below, canceller) = leaf.with_cancel();
            canceller.disarm();
            leaf = below;
        }
        leaf
    }

    /// Fault 7: a child made meanwhile was missed by the root's cancel.
    #[test]
    fn child_made_meanwhile_is_ended_by_the_root() {
        watched(|| {
            for round in 0..60 {
                for depth in [1, 3, 33, 200] {
                    new_child_is_ended(round, depth);
                }
            }
        });
    }

    fn new_child_is_ended(round: u64, depth: usize) {
        let (root, cancel_root) = Context::background().with_cancel();
        let (ancestor, cancel_ancestor) = root.with_cancel();
        // It held the tree's lock while its callbacks moved up, for long enough that both others met there.
        let (busy, canceller) = root.with_cancel();
        canceller.disarm();
        let called = Count::default();
        for _ in 0..300 {
            let _ = busy.on_done(called.adder());
        }
        let leaf = chain(&ancestor, depth);
        let start = Arc::new(Barrier::new(2));
        let other = start.clone();
        let dropping = thread::spawn(move || {
            other.wait();
            drop(leaf);
        });
        start.wait();
        for _ in 0..round * 40 {
            std::hint::spin_loop();
        }
        drop(busy);
        cancel_ancestor.cancel();
        let (stranger, canceller) = root.with_cancel();
        canceller.disarm();
        let (woken, waker) = counting();
        let mut done = stranger.done();
        assert!(poll(&mut done, &waker).is_pending());
        dropping.join().unwrap();
        cancel_root.cancel();
        assert!(
            stranger.is_done(),
            "round {round}, depth {depth}: a child was missed"
        );
        assert_eq!((woken.get(), called.get()), (1, 300));
    }

    /// Fault 7: chains, children, callbacks and waiters of one root on several threads.
    #[test]
    fn every_leaf_of_a_busy_root_is_ended_once() {
        watched(|| {
            for seed in 0..8 {
                let (root, canceller) = Context::background().with_cancel();
                let threads: Vec<_> = (0..3).map(|n| busy(root.clone(), 8 * seed + n)).collect();
                let kept: Vec<_> = threads
                    .into_iter()
                    .flat_map(|t| t.join().unwrap())
                    .collect();
                canceller.cancel();
                for (leaf, called) in kept {
                    assert!(leaf.is_done(), "a child was missed");
                    assert_eq!(called.get(), 1);
                }
            }
        });
    }

    /// Makes chains below the root, drops or cancels them, and keeps some leaves with a callback.
    fn busy(root: Context, seed: u64) -> thread::JoinHandle<Vec<(Context, Count)>> {
        thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut kept = Vec::new();
            for _ in 0..150 {
                let (top, canceller) = root.with_cancel();
                let leaf = chain(&top, random.usize(1..20));
                if random.bool() {
                    let (beside, disarmed) = root.with_cancel();
                    disarmed.disarm();
                    let called = Count::default();
                    let _ = beside.on_done(called.adder());
                    kept.push((beside, called));
                }
                match random.u8(0..3) {
                    0 => canceller.cancel(),
                    1 => drop((leaf, top)),
                    _ => thread::scope(|scope| {
                        scope.spawn(move || drop(leaf));
                        canceller.cancel();
                    }),
                }
            }
            kept
        })
    }
}

/// Fault 13 and its kind: nothing that walks the tree recurses.
mod deep {
    use super::*;

    const DEEP: usize = 100_000;

    /// Groups below groups.
    fn nested(depth: usize) -> (Group<()>, Vec<Group<()>>) {
        let (top, mut ctx) = Group::<()>::with_context(&Context::background(), inline);
        let mut groups = Vec::new();
        for _ in 0..depth {
            let (group, below) = Group::<()>::with_context(&ctx, inline);
            groups.push(group);
            ctx = below;
        }
        (top, groups)
    }

    /// Fault 13: the snapshot of deep groups overflowed the stack.
    #[test]
    fn snapshot_of_nested_groups() {
        apart(|| {
            let (top, _groups) = nested(DEEP);
            let snapshot = top.snapshot();
            assert!(snapshot.to_json().matches('{').count() > DEEP);
            drop(snapshot);
        });
    }

    /// Fault 13: drawn as a tree, whose text grows with the square of its depth; so it is the stack that is small.
    #[test]
    fn drawing_of_nested_groups() {
        apart(|| {
            let thread = thread::Builder::new().stack_size(128 << 10).spawn(|| {
                let (top, _groups) = nested(2_000);
                assert!(top.snapshot().to_string().lines().count() > 2_000);
            });
            thread.unwrap().join().unwrap();
        });
    }

    /// Fault 13's kind: groups in place, each in a task's context of the one above, cancelled at the top.
    #[test]
    fn nested_groups_are_cancelled_and_dropped() {
        apart(|| {
            let (top, canceller) = Context::background().with_cancel();
            let mut ctx = top;
            let mut groups = Vec::new();
            for _ in 0..DEEP {
                let group = InPlaceGroup::<()>::new(&ctx);
                ctx = group.context().clone();
                groups.push(group);
            }
            canceller.cancel();
            assert!(groups.iter().all(|group| group.context().is_done()));
        });
    }

    /// Fault 13's kind: contexts of every sort, with a waiter at the bottom; made, shown, ended and dropped.
    #[test]
    fn contexts_of_every_sort() {
        apart(|| {
            for sort in 0..6 {
                let (clock, ctx) = manual();
                let (top, canceller) = ctx.with_cancel();
                let mut leaf = top.clone();
                for level in 0..DEEP {
                    leaf = match sort {
                        0 => {
                            let (below, canceller) = leaf.with_cancel();
                            canceller.disarm();
                            below
                        }
                        1 => leaf.with_timeout(HOUR * (DEEP - level) as u32),
                        2 => leaf.with_timeout(HOUR * (1 + level) as u32),
                        3 => Context::linked([leaf.clone(), top.clone()]),
                        4 => leaf.with_value(level),
                        _ => leaf.without_cancel().with_timeout(HOUR),
                    };
                }
                let (woken, waker) = counting();
                let mut done = leaf.done();
                assert!(poll(&mut done, &waker).is_pending());
                assert!(!leaf.is_done());
                match sort {
                    2 | 5 => clock.advance(HOUR),
                    _ => canceller.cancel(),
                }
                assert!(leaf.is_done(), "sort {sort}");
                assert_eq!(woken.get(), 1, "sort {sort}");
                assert!(leaf.cause().is_some() && !format!("{leaf:?}").is_empty());
            }
        });
    }

    /// Fault 13's kind: dropped alive from the leaf, from the top, and with callbacks that move up.
    #[test]
    fn contexts_are_dropped_alive() {
        apart(|| {
            for from_the_leaf in [true, false] {
                let mut chain = vec![Context::background()];
                for level in 0..DEEP {
                    let (below, canceller) = chain[level].with_cancel();
                    canceller.disarm();
                    chain.push(below);
                }
                if from_the_leaf {
                    while chain.pop().is_some() {}
                } else {
                    let leaf = chain.pop();
                    drop(chain);
                    drop(leaf);
                }
            }
        });
    }
}

/// Fault 26: callbacks orphaned by links stayed in a long-lived parent for ever.
mod long_lived_parent {
    use super::*;

    /// What `round`, run often, leaves behind in bytes; the first rounds may fill what is kept once.
    fn left_by(rounds: usize, round: impl Fn(&Context)) -> isize {
        let (server, _canceller) = Context::background().with_cancel();
        (0..100).for_each(|_| round(&server));
        let before = held();
        (0..rounds).for_each(|_| round(&server));
        held() - before
    }

    /// Fault 26: linked, callback, drop the link, drop one source, cancel the other.
    #[test]
    fn orphaned_callbacks_of_links_leave_nothing() {
        apart(|| {
            let left = left_by(10_000, |server| {
                let (request, canceller) = server.with_cancel();
                canceller.disarm();
                let (other, canceller) = Context::background().with_cancel();
                let link = Context::linked([request.clone(), other]);
                let _ = link.on_done(|| {});
                drop(link);
                drop(request);
                canceller.cancel();
            });
            assert!(left <= 4_096, "{left} bytes");
        });
    }

    /// Fault 26: every order in which link, sources, callback and waiter can go.
    #[test]
    fn links_that_go_in_any_order_leave_nothing() {
        apart(|| {
            for order in 0..24 {
                let left = left_by(500, |server| one_order(server, order));
                assert!(left <= 1_024, "order {order}: {left} bytes");
            }
        });
    }

    /// Drops four things in the order that `order` stands for.
    fn one_order(server: &Context, order: usize) {
        let (request, disarmed) = server.with_cancel();
        disarmed.disarm();
        let (other, canceller) = Context::background().with_cancel();
        let link = Context::linked([request.clone(), other.clone()]);
        let callback = link.on_done(|| {});
        let (_, waker) = counting();
        let mut done = link.done();
        assert!(poll(&mut done, &waker).is_pending());
        drop(other);
        let mut left: Vec<Box<dyn FnOnce()>> = vec![
            Box::new(move || drop((link, done))),
            Box::new(move || drop(request)),
            Box::new(move || canceller.cancel()),
            Box::new(move || {
                callback.stop();
            }),
        ];
        let mut order = order;
        while !left.is_empty() {
            let next = left.remove(order % left.len());
            order /= left.len() + 1;
            next();
        }
    }

    /// Fault 26's kind: everything else that joins a parent and goes.
    #[test]
    fn what_comes_and_goes_leaves_nothing() {
        apart(|| {
            type Round = fn(&Context);
            let rounds: [(&str, Round); 7] = [
                ("child", |server| drop(server.with_cancel())),
                ("timeout", |server| drop(server.with_timeout(HOUR))),
                ("value", |server| drop(server.with_value(5))),
                ("waiter", |server| {
                    let (_, waker) = counting();
                    assert!(poll(&mut server.done(), &waker).is_pending());
                }),
                ("timed waiter", |server| {
                    let (_, waker) = counting();
                    assert!(poll(&mut server.with_timeout(HOUR).done(), &waker).is_pending());
                }),
                ("callback", |server| assert!(server.on_done(|| {}).stop())),
                ("group", |server| {
                    let group = InPlaceGroup::<()>::new(server);
                    group.spawn(pending::<Result<_, Infallible>>());
                }),
            ];
            for (name, round) in rounds {
                let left = left_by(5_000, round);
                assert!(left <= 4_096, "{name}: {left} bytes");
            }
        });
    }
}

/// Fault 18: one lock for all requests under a server's root.
mod one_root {
    use super::*;

    /// Fault 18: while the cancel of one request is held up in a waker, the others of the root come, end and go.
    #[test]
    fn requests_go_on_while_the_cancel_of_one_is_held_up() {
        watched(|| {
            let (root, cancel_root) = Context::background().with_cancel();
            let (slow, cancel_slow) = root.with_cancel();
            let (entered, is_in) = mpsc::channel();
            let (release, gate) = mpsc::channel::<()>();
            let gate = std::sync::Mutex::new(gate);
            let waker = on_wake(move || {
                entered.send(()).unwrap();
                let _ = gate.lock().unwrap().recv();
            });
            let mut done = slow.done();
            assert!(poll(&mut done, &waker).is_pending());
            let held_up = thread::spawn(move || cancel_slow.cancel());
            is_in.recv().unwrap();
            for _ in 0..100 {
                let (request, canceller) = root.with_cancel();
                let (woken, waker) = counting();
                let mut done = request.done();
                assert!(poll(&mut done, &waker).is_pending());
                canceller.cancel();
                assert_eq!(woken.get(), 1);
            }
            let (last, disarmed) = root.with_cancel();
            disarmed.disarm();
            cancel_root.cancel();
            assert!(last.is_done() && slow.is_done());
            release.send(()).unwrap();
            held_up.join().unwrap();
        });
    }

    /// Fault 18: requests of several threads under one root are each ended by their own cancel, or by the root's.
    #[test]
    fn requests_of_many_threads_are_each_ended_once() {
        watched(|| {
            let (root, canceller) = Context::background().with_cancel();
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let root = root.clone();
                    thread::spawn(move || requests(&root))
                })
                .collect();
            let kept: Vec<_> = threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect();
            assert!(
                kept.iter()
                    .all(|(request, called)| !request.is_done() && called.get() == 0)
            );
            canceller.cancel();
            assert!(
                kept.iter()
                    .all(|(request, called)| request.is_done() && called.get() == 1)
            );
        });
    }

    /// Makes requests, ends every other one, and gives back the rest.
    fn requests(root: &Context) -> Vec<(Context, Count)> {
        let mut kept = Vec::new();
        for n in 0..500 {
            let (request, canceller) = root.with_timeout(HOUR).with_cancel();
            let called = Count::default();
            let _ = request.on_done(called.adder());
            if n % 2 == 0 {
                canceller.cancel();
                assert_eq!(called.get(), 1);
            } else {
                canceller.disarm();
                kept.push((request, called));
            }
        }
        kept
    }
}

/// Fault 19: `remaining`, `is_done` and `deadline` read the clock a bounded number of times, whatever the tree.
#[test]
fn clock_is_read_a_bounded_number_of_times_below_a_deep_chain() {
    // Fault 19 and 31: walks of the chain that read each level's clock.
    use failfast::clock::ManualClock;
    watched(|| {
        let asked = Count::default();
        let root =
            Context::background().with_clock(CountedClock(ManualClock::new(), asked.clone()));
        let mut deep = root.clone();
        for _ in 0..1_000 {
            deep = deep.with_timeout(HOUR);
        }
        let sources = (1..1_000).map(|n| root.with_timeout(SECOND * n));
        let linked = Context::linked(sources.collect::<Vec<_>>()).with_cancel();
        for ctx in [&deep, &linked.0] {
            let before = asked.get();
            assert!(!ctx.is_done());
            assert!(
                asked.get() - before <= 2,
                "is_done: {}",
                asked.get() - before
            );
            let before = asked.get();
            assert!(ctx.remaining().is_some());
            assert!(
                asked.get() - before <= 3,
                "remaining: {}",
                asked.get() - before
            );
        }
    });
}
