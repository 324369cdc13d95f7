//! Several threads at once.

use crate::context::{cancelable, canceled, waiting, why};
use crate::support::{Count, GENEROUS, SECOND, counting, eventually, manual, poll};
use failfast::Context;
use std::sync::{Arc, Barrier};
use std::task::Waker;
use std::thread;

const ROUNDS: usize = 500;

#[test]
fn err_cause_and_doneness_are_one_fact() {
    // "err, cause and 'is done' are one fact: they change together, once, for ever."
    for round in 0..ROUNDS {
        let (root, first) = cancelable();
        let (middle, second) = root.with_cancel();
        let leaf = middle.with_value(1).with_timeout(GENEROUS);
        let start = Arc::new(Barrier::new(4));
        let enders = [first, second].map(|canceller| {
            let start = start.clone();
            thread::spawn(move || {
                start.wait();
                canceller.cancel_with(format!("round {round}"));
                // "When the cancel that ended a context returns, every descendant is done." One of the two ended
                // `middle`, or both did their own.
                canceller
            })
        });
        let readers = [leaf.clone(), leaf.clone()].map(|leaf| {
            let start = start.clone();
            thread::spawn(move || {
                start.wait();
                watch(&leaf)
            })
        });
        for ender in enders {
            drop(ender.join().unwrap());
        }
        assert!(root.is_done() && middle.is_done() && leaf.is_done());
        let [one, two] = readers.map(|reader| reader.join().unwrap());
        assert_eq!(one, two);
    }
}

/// Looks until `leaf` is done, and then that all answers are consistent, and stay so.
fn watch(leaf: &Context) -> String {
    loop {
        if let Some(error) = leaf.err() {
            let cause = leaf.cause().expect("no cause with the error").to_string();
            assert!(leaf.is_done() && error == canceled());
            assert!((0..10).all(|_| leaf.cause().is_some_and(|again| again.to_string() == cause)));
            return cause;
        }
        std::hint::spin_loop();
    }
}

#[test]
fn a_child_made_while_its_parent_ends_is_never_missed() {
    // "a child created while its parent is being cancelled is never missed".
    for _ in 0..ROUNDS {
        let (parent, canceller) = cancelable();
        let start = Arc::new(Barrier::new(2));
        let begin = start.clone();
        let maker = thread::spawn(move || {
            begin.wait();
            let made: Vec<_> = (0..20)
                .map(|_| {
                    let (child, keep) = parent.with_cancel();
                    keep.disarm();
                    (child.with_timeout(GENEROUS), Context::linked([child]))
                })
                .collect();
            made
        });
        start.wait();
        canceller.cancel_with("over");
        for (timed, linked) in maker.join().unwrap() {
            assert_eq!([why(&timed), why(&linked)], ["over", "over"]);
        }
    }
}

#[test]
fn a_waiter_that_comes_while_the_context_ends_is_never_missed() {
    // Hazard 8: register-then-check against set-then-wake.
    for _ in 0..ROUNDS {
        let (ctx, canceller) = cancelable();
        let start = Arc::new(Barrier::new(2));
        let begin = start.clone();
        let ender = thread::spawn(move || {
            begin.wait();
            canceller.cancel();
        });
        let (woken, waker) = counting();
        start.wait();
        let mut done = ctx.done();
        let ready = poll(&mut done, &waker).is_ready();
        ender.join().unwrap();
        assert!(ready || woken.get() == 1);
    }
}

#[test]
fn timers_armed_and_disarmed_from_many_threads_end_up_right() {
    // Waiters come and go on four threads, ends too: no timer is left, none is missing.
    for _ in 0..200 {
        let (clock, root) = manual();
        let parent = root.with_timeout(SECOND);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let (child, canceller) = parent.with_cancel();
                        let done = waiting(&child, Waker::noop());
                        canceller.cancel();
                        drop((done, waiting(&parent, Waker::noop())));
                    }
                });
            }
        });
        assert_eq!(clock.armed(), 0);
        let (woken, waker) = counting();
        let _done = waiting(&parent, &waker);
        assert_eq!(clock.armed(), 1);
        clock.advance(SECOND);
        assert_eq!(woken.get(), 1);
    }
}

#[test]
fn contexts_dropped_while_their_parent_ends_lose_no_callback() {
    for _ in 0..ROUNDS {
        let (clock, root) = manual();
        let (parent, canceller) = root.with_timeout(SECOND).with_cancel();
        let called = Count::default();
        let children: Vec<_> = (0..8)
            .map(|_| {
                let (child, keep) = parent.with_cancel();
                keep.disarm();
                drop(child.on_done(called.adder()));
                child
            })
            .collect();
        let start = Arc::new(Barrier::new(2));
        let begin = start.clone();
        let dropper = thread::spawn(move || {
            begin.wait();
            drop(children);
        });
        start.wait();
        canceller.cancel();
        dropper.join().unwrap();
        assert_eq!((called.get(), clock.armed()), (8, 0));
    }
}

#[test]
fn links_made_dropped_and_ended_at_once_lose_no_end() {
    for _ in 0..ROUNDS {
        let ((one, first), (two, second)) = (cancelable(), cancelable());
        let both = Context::linked([one.clone(), two.clone()]);
        let (woken, waker) = counting();
        let _done = waiting(&both, &waker);
        let start = Arc::new(Barrier::new(3));
        let enders = [first, second].map(|canceller| {
            let start = start.clone();
            thread::spawn(move || {
                start.wait();
                canceller.cancel_with("an end");
            })
        });
        start.wait();
        let later = Context::linked([both.clone(), one, two]);
        enders.into_iter().for_each(|ender| ender.join().unwrap());
        assert_eq!([why(&both), why(&later)], ["an end", "an end"]);
        assert_eq!(woken.get(), 1);
    }
}

#[test]
fn a_waiter_on_another_thread_is_woken() {
    let (ctx, canceller) = cancelable();
    let waiter = thread::spawn(move || smol::block_on(ctx.done()));
    canceller.cancel();
    eventually("the waiter's end", || waiter.is_finished());
}

#[test]
fn when_a_cancel_returns_every_descendant_is_done() {
    // Though another cancel has marked some of the way, and is still under way.
    for _ in 0..ROUNDS {
        let (root, first) = cancelable();
        let (middle, second) = root.with_cancel();
        let leaves: Vec<_> = (0..32)
            .map(|_| {
                let (leaf, keep) = middle.with_cancel();
                keep.disarm();
                leaf
            })
            .collect();
        let linked = Context::linked([leaves[31].clone(), cancelable().0.without_cancel()]);
        let start = Arc::new(Barrier::new(2));
        let (begin, below) = (start.clone(), leaves.clone());
        let other = thread::spawn(move || {
            begin.wait();
            second.cancel();
            drop(below);
        });
        start.wait();
        first.cancel();
        assert!(middle.is_done() && leaves.iter().all(Context::is_done) && linked.is_done());
        other.join().unwrap();
    }
}

#[test]
fn a_chain_dropped_while_an_ancestor_is_canceled_unlinks_no_stranger() {
    // Addresses are used again at once: children of the root are made and dropped while chains are.
    for _ in 0..ROUNDS {
        let (root, cancel_root) = cancelable();
        let (middle, cancel_middle) = root.with_cancel();
        let mut chain = middle;
        for _ in 0..20 {
            let (below, keep) = chain.with_cancel();
            keep.disarm();
            drop(below.on_done(|| {}));
            chain = below;
        }
        let start = Arc::new(Barrier::new(3));
        let (begin, dropped) = (start.clone(), chain);
        let dropper = thread::spawn(move || {
            begin.wait();
            drop(dropped);
        });
        let begin = start.clone();
        let ender = thread::spawn(move || {
            begin.wait();
            cancel_middle.cancel();
        });
        start.wait();
        let made: Vec<_> = (0..20).map(|_| root.with_cancel()).collect();
        dropper.join().unwrap();
        ender.join().unwrap();
        cancel_root.cancel_with("root");
        assert!(made.iter().all(|(ctx, _)| why(ctx) == "root"));
    }
}

#[test]
fn a_root_that_many_threads_share_misses_no_waiter() {
    // Contention splits its lists: children and waiters in all of them, ended together.
    for threads in [2, 4, 9] {
        let (root, canceller) = cancelable();
        let start = Arc::new(Barrier::new(threads));
        let makers: Vec<_> = (0..threads)
            .map(|_| {
                let (root, start) = (root.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    let mut kept = Vec::new();
                    for number in 0..2_000 {
                        let (child, keep) = root.with_cancel();
                        keep.disarm();
                        let (woken, waker) = counting();
                        let done = waiting(&root, &waker);
                        if number % 16 == 0 {
                            kept.push((child, woken, done));
                        }
                    }
                    kept
                })
            })
            .collect();
        let kept: Vec<_> = makers
            .into_iter()
            .flat_map(|maker| maker.join().unwrap())
            .collect();
        canceller.cancel_with("all");
        for (child, woken, _done) in &kept {
            assert_eq!((why(child), woken.get()), ("all".to_owned(), 1));
        }
    }
}
