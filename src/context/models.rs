//! Every interleaving of a few threads, by loom: `RUSTFLAGS="--cfg failfast_loom" cargo test --release --lib models`.
//!
//! Each model was seen to fail with the change to the code that its comment names, and has more than one interleaving.

use super::deadline::NewDeadline;
use super::end_slot::{EndSlot, Plain};
use super::kinds::Timed;
use super::turn::Turn;
use super::{Context, Done, Node, NodeRef};
use crate::clock::ManualClock;
use crate::error::{BoxError, End};
use crate::sync::model;
use loom::thread;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{self, Poll, Wake, Waker};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Runs a model, at most three preemptions deep, which finds nearly all there is to find.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    model::explore(builder, model);
}

#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn get(&self) -> usize {
        self.0.load(SeqCst)
    }

    fn add(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::new(self.clone()))
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.add();
    }
}

fn poll(done: &mut Done, waker: &Waker) -> Poll<()> {
    Pin::new(done).poll(&mut task::Context::from_waker(waker))
}

fn why(ctx: &Context) -> String {
    ctx.cause()
        .map_or("alive".to_owned(), |cause| cause.to_string())
}

fn given(text: &'static str) -> Arc<End> {
    End::canceled_by(text.into(), Location::caller())
}

/// Weakened: `upgrade` without the compare-and-swap's failure branch (storing its own) gives two ends.
#[test]
fn an_end_slot_set_finished_and_read() {
    explore(|| {
        let slot = Arc::new(EndSlot::new());
        let here = Location::caller();
        let (setter, finisher) = (slot.clone(), slot.clone());
        let set = thread::spawn(move || setter.set(given("set")));
        let finish = thread::spawn(move || {
            let won = finisher.end_plainly(Plain::Finished);
            let end = finisher.get(here).expect("it has ended");
            (won, end)
        });
        let seen = slot.get(here);
        let (set, (finish, end)) = (set.join().unwrap(), finish.join().unwrap());
        assert!(set != finish, "the first wins, and there is one");
        let last = slot.get(here).unwrap();
        assert!(Arc::ptr_eq(&last, &end));
        assert!(seen.is_none_or(|seen| Arc::ptr_eq(&seen, &last)));
        assert_eq!(last.cause().to_string() == "set", set);
    });
}

/// Weakened: `add_child` that checks the end before it takes the lane.
#[test]
fn a_child_joins_while_its_parent_is_canceled() {
    explore(|| {
        let (parent, canceller) = Context::background().with_cancel();
        let ender = thread::spawn(move || canceller.cancel_with("over"));
        let (child, keep) = parent.with_cancel();
        keep.disarm();
        ender.join().unwrap();
        assert_eq!(why(&child), "over");
    });
}

/// Weakened: a walk that does not descend through nodes that another has marked (`reach` without the second half of its
/// condition).
#[test]
fn two_cancels_meet_and_a_child_is_made() {
    explore(|| {
        let (root, cancel_root) = Context::background().with_cancel();
        let (middle, cancel_middle) = root.with_cancel();
        let (leaf, _leaf) = middle.with_cancel();
        let (below, above) = (leaf.clone(), middle.clone());
        let first = thread::spawn(move || {
            cancel_root.cancel_with("root");
            assert!(
                above.is_done() && below.is_done(),
                "every descendant is done"
            );
            cancel_root
        });
        let (below, maker) = (leaf.clone(), middle.clone());
        let second = thread::spawn(move || {
            let first = cancel_middle.node().mark(given("middle"));
            let won = first.first;
            first.wake();
            assert!(!won || below.is_done(), "every descendant is done");
            cancel_middle
        });
        let (child, _child) = maker.with_cancel();
        let cancellers = (first.join().unwrap(), second.join().unwrap());
        assert!(child.is_done());
        assert_eq!(why(&child), why(&middle));
        assert_eq!(why(&leaf), why(&middle));
        assert_eq!(why(&root), "root");
        drop(cancellers);
    });
}

/// Weakened: `add_orphans` without its check of the end loses the call.
#[test]
fn a_child_with_a_callback_is_dropped_while_its_parent_is_canceled() {
    explore(|| {
        let (parent, canceller) = Context::background().with_cancel();
        let (child, keep) = parent.with_cancel();
        keep.disarm();
        let called = Count::default();
        let count = called.clone();
        drop(child.on_done(move || count.add()));
        let ender = thread::spawn(move || canceller.cancel());
        drop(child);
        ender.join().unwrap();
        assert_eq!(called.get(), 1);
    });
}

/// Weakened: `register` that checks the end before it takes the lane.
#[test]
fn a_waiter_registers_while_the_context_is_canceled() {
    explore(|| {
        let (ctx, canceller) = Context::background().with_cancel();
        let ender = thread::spawn(move || canceller.cancel());
        let woken = Count::default();
        let mut done = ctx.done();
        let ready = poll(&mut done, &woken.waker()).is_ready();
        ender.join().unwrap();
        assert!(ready || woken.get() == 1);
        assert!(poll(&mut done, &woken.waker()).is_ready());
    });
}

/// Weakened: `remove` that does not take the lane's lock.
#[test]
fn a_waiter_leaves_while_the_context_is_canceled() {
    explore(|| {
        let (ctx, canceller) = Context::background().with_cancel();
        let woken = Count::default();
        let mut done = ctx.done();
        assert!(poll(&mut done, &woken.waker()).is_pending());
        let ender = thread::spawn(move || canceller.cancel());
        drop(done);
        ender.join().unwrap();
        assert!(woken.get() <= 1);
    });
}

/// A node with a deadline of its own, a second away.
fn timed(clock: &ManualClock) -> (Context, NodeRef) {
    let root = Context::background().with_clock(clock.clone());
    let deadline = NewDeadline::after(&root, SECOND, None::<BoxError>);
    let node: NodeRef = Node::new(&root, || Timed, deadline, Location::caller());
    (Context::of(node.clone(), &root), node)
}

/// Weakened: `claim` that leaves no note for the holder of the turn.
#[test]
fn a_timer_is_armed_while_its_deadline_passes() {
    explore(|| {
        let clock = ManualClock::new();
        let (ctx, _) = timed(&clock);
        let hands = clock.clone();
        let advancer = thread::spawn(move || hands.advance(SECOND));
        let woken = Count::default();
        let mut done = ctx.done();
        let ready = poll(&mut done, &woken.waker()).is_ready();
        advancer.join().unwrap();
        assert!(
            ready || woken.get() == 1,
            "it was armed too late, and nobody noticed"
        );
        assert_eq!(clock.armed(), 0);
    });
}

/// Weakened: `unwant` that ignores a count which another raised meanwhile.
#[test]
fn one_watches_while_another_leaves() {
    explore(|| {
        let clock = ManualClock::new();
        let (_ctx, node) = timed(&clock);
        node.watch();
        let leaver = node.clone();
        let leaving = thread::spawn(move || leaver.unwatch());
        node.watch();
        leaving.join().unwrap();
        assert_eq!(clock.armed(), 1);
        node.unwatch();
        assert_eq!(clock.armed(), 0);
    });
}

/// Weakened: `next` that clears `BUSY` with a store.
#[test]
fn a_note_is_never_lost() {
    explore(|| {
        let turn = Arc::new(Turn::new(0));
        let other = turn.clone();
        let work = |turn: &Turn<usize>| {
            if let Some(held) = turn.claim() {
                held.work(|value| *value += 1);
            }
        };
        let worker = thread::spawn(move || work(&other));
        work(&turn);
        worker.join().unwrap();
        let mut seen = 0;
        if let Some(held) = turn.claim() {
            held.work(|value| seen = *value);
        }
        assert_eq!(seen, 2, "a step for each claim");
    });
}

/// Weakened: `watch_sources` without its last look at the end.
#[test]
fn a_linked_context_is_made_while_a_source_ends() {
    explore(|| {
        let (one, cancel_one) = Context::background().with_cancel();
        let (other, _other) = Context::background().with_cancel();
        let ender = thread::spawn(move || cancel_one.cancel_with("one"));
        let linked = Context::linked([one, other]);
        ender.join().unwrap();
        assert_eq!(why(&linked), "one");
        let node = linked.node().unwrap();
        assert!(
            node.base().sources.lock().is_none(),
            "it lets go of its sources"
        );
    });
}

/// Weakened: `note` without its look at `called` leaves an entry behind; `add_shared` without its check loses the call.
#[test]
fn a_linked_context_with_a_callback_is_dropped_while_a_source_ends() {
    explore(|| {
        let (one, cancel_one) = Context::background().with_cancel();
        let (other, _other) = Context::background().with_cancel();
        let linked = Context::linked([one, other.clone()]);
        let called = Count::default();
        let count = called.clone();
        drop(linked.on_done(move || count.add()));
        let ender = thread::spawn(move || cancel_one.cancel());
        drop(linked);
        ender.join().unwrap();
        assert_eq!(called.get(), 1);
        let left = other.node().unwrap();
        assert!(
            left.base().links.is_vacant(),
            "nothing is left with the other source"
        );
    });
}

/// Weakened: `leave` that takes no lock.
#[test]
fn a_child_is_dropped_while_its_sibling_joins() {
    explore(|| {
        let (parent, canceller) = Context::background().with_cancel();
        let (child, keep) = parent.with_cancel();
        keep.disarm();
        let dropper = thread::spawn(move || drop(child));
        let (sibling, _sibling) = parent.with_cancel();
        dropper.join().unwrap();
        canceller.cancel_with("over");
        assert_eq!(why(&sibling), "over");
    });
}
