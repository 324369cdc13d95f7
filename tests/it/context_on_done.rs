//! The contract on callbacks for a context's end, those of contexts that are gone among them.

use crate::context::{cancelable, canceled, waiting, why};
use crate::support::{Count, GENEROUS, OnDrop, SECOND, counting, manual};
use failfast::Context;
use failfast::context::OnDone;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

#[test]
fn is_called_once_by_the_thread_that_ends_the_context() {
    // "`on_done` callbacks run once each".
    let (ctx, canceller) = cancelable();
    let (called, thread) = (Count::default(), Arc::new(Mutex::new(None)));
    let (count, on) = (called.clone(), thread.clone());
    let callback = ctx.on_done(move || {
        count.add();
        *on.lock().unwrap() = Some(thread::current().id());
    });
    assert_eq!(called.get(), 0);
    canceller.cancel();
    canceller.cancel();
    assert_eq!(
        (called.get(), *thread.lock().unwrap()),
        (1, Some(thread::current().id()))
    );
    assert!(!callback.stop());
}

#[test]
fn on_an_ended_context_is_called_at_once() {
    let (clock, root) = manual();
    let ctx = root.with_timeout(SECOND);
    clock.advance(SECOND);
    let called = Count::default();
    let callback = ctx.on_done(called.adder());
    assert_eq!((called.get(), callback.stop()), (1, false));
}

#[test]
fn stop_is_true_once_and_only_if_it_prevented_the_call() {
    // "true once, and only if it prevented the call".
    let (ctx, canceller) = cancelable();
    let (called, dropped) = (Count::default(), Count::default());
    let (count, guard) = (called.clone(), OnDrop(dropped.clone()));
    let callback = ctx.on_done(move || {
        let _guard = guard;
        count.add();
    });
    assert!(callback.stop());
    assert_eq!(dropped.get(), 1);
    assert!(!callback.stop());
    canceller.cancel();
    assert_eq!(called.get(), 0);
}

#[test]
fn on_a_background_can_be_stopped_once() {
    let called = Count::default();
    let callback = Context::background().on_done(called.adder());
    assert_eq!([callback.stop(), callback.stop()], [true, false]);
    assert_eq!(called.get(), 0);
}

#[test]
fn dropping_it_leaves_the_callback_in_place() {
    // "dropping it leaves the callback in place".
    let (ctx, canceller) = cancelable();
    let called = Count::default();
    drop(ctx.on_done(called.adder()));
    canceller.cancel();
    assert_eq!(called.get(), 1);
}

#[test]
fn stays_in_place_when_only_the_parent_is_left() {
    let (parent, canceller) = cancelable();
    let called = Count::default();
    let (child, keep) = parent.with_cancel();
    let (grandchild, keep_too) = child.with_cancel();
    keep.disarm();
    keep_too.disarm();
    drop(grandchild.on_done(called.adder()));
    drop(child);
    drop(grandchild);
    assert_eq!(called.get(), 0);
    canceller.cancel();
    assert_eq!(called.get(), 1);
}

#[test]
fn stays_in_place_when_only_a_deadline_is_left() {
    let (clock, root) = manual();
    let called = Count::default();
    drop(root.with_timeout(SECOND).on_done(called.adder()));
    let (child, keep) = root.with_timeout(SECOND * 2).with_cancel();
    keep.disarm();
    drop(child.on_done(called.adder()));
    drop((child, root));
    clock.advance(SECOND);
    assert_eq!(called.get(), 1);
    clock.advance(SECOND);
    assert_eq!((called.get(), clock.armed()), (2, 0));
}

#[test]
fn stays_in_place_when_only_the_sources_of_a_linked_context_are_left() {
    let ((one, first), (two, second)) = (cancelable(), cancelable());
    let called = Count::default();
    let both = Context::linked([one.clone(), two]);
    drop(both.on_done(called.adder()));
    let (child, keep) = Context::linked([both, one]).with_cancel();
    keep.disarm();
    drop(child.on_done(called.adder()));
    drop(child);
    assert_eq!(called.get(), 0);
    second.cancel();
    assert_eq!(called.get(), 2);
    first.cancel();
    assert_eq!(called.get(), 2);
}

#[test]
fn on_a_linked_context_that_is_gone_needs_no_timer_but_its_sources() {
    let (clock, root) = manual();
    let (called, dropped) = (Count::default(), Count::default());
    let (count, guard) = (called.clone(), OnDrop(dropped.clone()));
    let (timed, untimed) = (root.with_timeout(SECOND), cancelable());
    drop(
        Context::linked([timed.clone(), untimed.0]).on_done(move || {
            let _guard = guard;
            count.add();
        }),
    );
    assert_eq!(clock.armed(), 1);
    untimed.1.cancel();
    assert_eq!((called.get(), dropped.get()), (1, 1));
    clock.advance(SECOND);
    assert_eq!((called.get(), clock.armed(), timed.is_done()), (1, 0, true));
}

#[test]
fn called_by_one_source_of_a_linked_context_that_is_gone_it_leaves_the_others() {
    // "nothing is spent without a waiter": no timer, neither at the first of the others nor the last.
    let (clock, root) = manual();
    let called = Count::default();
    let (first, last) = (root.with_timeout(SECOND), root.with_timeout(SECOND));
    let (between, canceller) = cancelable();
    let linked = Context::linked([first.clone(), between, last.clone()]);
    drop(linked.on_done(called.adder()));
    drop(linked);
    assert_eq!(clock.armed(), 2);
    canceller.cancel();
    assert_eq!((called.get(), clock.armed()), (1, 0));
    assert!(!first.is_done() && !last.is_done());
}

#[test]
fn survives_the_drop_of_many_links_that_meet_again() {
    let (source, canceller) = cancelable();
    let mut ctx = source;
    for _ in 0..60 {
        ctx = Context::linked([ctx.clone(), ctx]);
    }
    for _ in 0..10_000 {
        ctx = Context::linked([ctx]);
    }
    let called = Count::default();
    drop(ctx.on_done(called.adder()));
    drop(ctx);
    canceller.cancel();
    assert_eq!(called.get(), 1);
}

#[test]
fn that_can_not_be_called_any_more_is_dropped() {
    let (ctx, canceller) = cancelable();
    let dropped = Count::default();
    let guard = OnDrop(dropped.clone());
    drop(ctx.on_done(move || drop(guard)));
    canceller.disarm();
    assert_eq!(dropped.get(), 0);
    drop(ctx);
    assert_eq!(dropped.get(), 1);
}

#[test]
fn one_that_panics_harms_neither_the_others_nor_the_canceller() {
    // "one that panics harms neither the others nor the canceller".
    let (ctx, canceller) = cancelable();
    let (called, (woken, waker)) = (Count::default(), counting());
    drop(ctx.on_done(called.adder()));
    drop(ctx.on_done(|| panic!("a bad callback")));
    drop(ctx.on_done(called.adder()));
    let _done = waiting(&ctx, &waker);
    canceller.cancel();
    assert_eq!((called.get(), woken.get(), ctx.is_done()), (2, 1, true));
    drop(ctx.on_done(|| panic!("a bad callback, at once")));
}

#[test]
fn finds_its_context_done_and_may_do_anything() {
    // Callbacks that cancel relatives, register further callbacks, or drop contexts.
    let (parent, parents) = cancelable();
    let (ctx, canceller) = parent.with_cancel();
    let (sibling, siblings) = parent.with_cancel();
    let (called, inner) = (Count::default(), Count::default());
    let (count, again, own) = (called.clone(), inner.clone(), ctx.clone());
    let relatives = (parent.clone(), sibling.clone());
    let held = ctx.with_value(1).with_timeout(GENEROUS);
    drop(ctx.on_done(move || {
        assert_eq!(own.err(), Some(canceled()));
        drop(own.on_done(again.adder()));
        drop(held);
        siblings.cancel_with("by a callback");
        parents.cancel_with("by a callback");
        assert!(relatives.0.is_done() && relatives.1.is_done());
        drop(relatives.0.on_done(again.adder()));
        count.add();
    }));
    canceller.cancel();
    assert_eq!((called.get(), inner.get()), (1, 2));
    assert_eq!(
        [why(&sibling), why(&parent)],
        ["by a callback", "by a callback"]
    );
}

#[test]
fn may_stop_another_callback_or_itself() {
    let (ctx, canceller) = cancelable();
    let slot: Arc<Mutex<Option<OnDone>>> = Arc::default();
    let (own, stopped) = (slot.clone(), Arc::new(AtomicBool::new(true)));
    let told = stopped.clone();
    *slot.lock().unwrap() = Some(ctx.on_done(move || {
        let callback = own.lock().unwrap().take();
        told.store(callback.is_some_and(|callback| callback.stop()), SeqCst);
    }));
    canceller.cancel();
    assert!(!stopped.load(SeqCst));
}

#[test]
fn stop_against_the_end_calls_or_prevents_never_both() {
    // Threads: the call and `stop` agree.
    for _ in 0..2_000 {
        let (ctx, canceller) = cancelable();
        let called = Count::default();
        let callback = ctx.on_done(called.adder());
        let start = Arc::new(Barrier::new(2));
        let begin = start.clone();
        let ender = thread::spawn(move || {
            begin.wait();
            canceller.cancel();
        });
        start.wait();
        let prevented = callback.stop();
        ender.join().unwrap();
        assert_eq!(called.get(), usize::from(!prevented));
    }
}
