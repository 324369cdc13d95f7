//! Contexts: their ends against waiters, children, callbacks, timers and shields.

use super::*;

/// Weakened: `register` that checks the end before it takes the lane sleeps for ever.
#[test]
fn cancel_against_register() {
    // Section 2: `done()` never sleeps through the end.
    check(3, || {
        let (ctx, canceller) = Context::background().with_cancel();
        let canceling = thread::spawn(move || canceller.cancel());
        block_on(ctx.done());
        assert!(ctx.is_done() && ctx.err().is_some() && ctx.cause().is_some());
        canceling.join().unwrap();
    });
}

/// Weakened: with a `register` that checks the end before it takes the lane, the other sleeps for ever.
#[test]
fn cancel_against_two_waiters_one_of_whom_leaves() {
    // Section 2: any number of waiters; cancel-safe.
    check(2, || {
        let (ctx, canceller) = Context::background().with_cancel();
        let other = ctx.clone();
        let waiting = thread::spawn(move || block_on(other.done()));
        let mut leaver = ctx.done();
        let left = poll_once(&mut leaver);
        let canceling = thread::spawn(move || canceller.cancel());
        drop(leaver);
        waiting.join().unwrap();
        canceling.join().unwrap();
        assert!(left.is_pending() && ctx.is_done());
    });
}

/// Weakened: a `renew` that keeps the earlier waker wakes the wrong task.
#[test]
fn cancel_against_rewatch_with_another_waker() {
    // Section 2: it is the waker of the latest poll that is woken.
    check(3, || {
        let (ctx, canceller) = Context::background().with_cancel();
        let mut done = ctx.done();
        assert!(poll_once(&mut done).is_pending());
        let canceling = thread::spawn(move || canceller.cancel());
        block_on(done);
        canceling.join().unwrap();
    });
}

/// Weakened: `add_child` that checks the end before it takes the lane makes a child that never ends.
#[test]
fn child_created_against_cancel() {
    // Section 2: a child ends with its parent, whenever it was born.
    check(3, || {
        let (parent, canceller) = Context::background().with_cancel();
        let canceling = thread::spawn(move || canceller.cancel_with(Refused(1)));
        let (child, _keep) = parent.with_cancel();
        let grandchild = child.with_value(1);
        block_on(grandchild.done());
        assert_eq!(child.cause().unwrap().downcast_ref(), Some(&Refused(1)));
        canceling.join().unwrap();
    });
}

/// Weakened: `add_child` that checks the end before it takes the lane makes a next child that is not done.
#[test]
fn child_dropped_against_cancel() {
    // Section 2: ended children unlink, in either order.
    check(3, || {
        let (parent, canceller) = Context::background().with_cancel();
        let (child, its) = parent.with_cancel();
        its.disarm();
        let canceling = thread::spawn(move || canceller.cancel());
        drop(child);
        let (next, _keep) = parent.with_cancel();
        canceling.join().unwrap();
        assert!(next.is_done());
    });
}

/// Weakened: `EndSlot::change` with relaxed orderings shows the child's end before the parent's.
#[test]
fn child_seen_done_means_parent_done() {
    // Section 2: an end comes from above, and for ever. (That all below are done is promised by a cancel that returns.)
    check(3, || {
        let (parent, canceller) = Context::background().with_cancel();
        let (child, keep) = parent.with_cancel();
        let watching = thread::spawn(move || {
            if child.is_done() {
                assert!(child.err().is_some());
                assert!(parent.is_done() && parent.cause().is_some());
            }
            drop(keep);
        });
        canceller.cancel();
        watching.join().unwrap();
    });
}

/// Weakened: `add_child` that checks the end before it takes the lane makes a child that is not done.
#[test]
fn cancel_against_cancel_of_an_ancestor_and_a_new_child() {
    // Section 2: when the cancel that ended a context returns, every descendant is done, the newest included.
    check(2, || {
        let (root, from_above) = Context::background().with_cancel();
        let (middle, canceller) = root.with_cancel();
        let canceling = thread::spawn(move || from_above.cancel_with(Refused(1)));
        let below = middle.clone();
        let bearing = thread::spawn(move || below.with_value(1).with_cancel());
        canceller.cancel_with(Refused(2));
        assert!(middle.is_done());
        let (child, keep) = bearing.join().unwrap();
        canceling.join().unwrap();
        assert!(child.is_done() && root.is_done());
        let cause = |ctx: &Context| {
            ctx.cause()
                .unwrap()
                .downcast_ref::<Refused>()
                .map(|it| it.0)
        };
        assert_eq!(cause(&root), Some(1));
        assert_eq!(cause(&child), cause(&middle));
        drop(keep);
    });
}

/// Weakened: `disarm` that cancels if it is the last ends the context with another cause.
#[test]
fn canceller_dropped_against_its_clone_disarmed() {
    // Section 2: cancelled when the last clone that was not disarmed is dropped; disarming the last cancels nothing.
    check(3, || {
        let (ctx, one) = Context::background().with_cancel();
        let other = one.clone();
        let disarming = thread::spawn(move || other.disarm());
        drop(one);
        disarming.join().unwrap();
        let (cancelled, why) = (ctx.is_done(), ctx.cause().map(|cause| cause.to_string()));
        assert!(!cancelled || why.as_deref() == Some("its canceller was dropped"));
    });
}

/// Weakened: `EndSlot::change` as a load and a store replaces the end that has been read.
#[test]
fn own_end_against_parents() {
    // Section 2: first wins; err and cause are one fact.
    check(3, || {
        let (parent, canceller) = Context::background().with_cancel();
        let (child, its) = parent.with_cancel();
        let canceling = thread::spawn(move || canceller.cancel_with(Refused(1)));
        its.cancel_with(Refused(2));
        let before = child.cause().unwrap();
        canceling.join().unwrap();
        assert!(std::ptr::eq(
            before.downcast_ref::<Refused>().unwrap(),
            child.cause().unwrap().downcast_ref::<Refused>().unwrap()
        ));
        assert_eq!(parent.cause().unwrap().downcast_ref(), Some(&Refused(1)));
    });
}

/// Weakened: `EndSlot::change` with relaxed orderings shows the end before its source's.
#[test]
fn linked_against_cancel() {
    // Section 2: linked ends when the first of several ends, with that one's cause.
    check(2, || {
        let (one, its) = Context::background().with_cancel();
        let (other, others) = Context::background().with_cancel();
        let canceling = thread::spawn(move || its.cancel_with(Refused(1)));
        let also = thread::spawn(move || others.cancel_with(Refused(2)));
        let linked = Context::linked([one.clone(), other.clone()]);
        block_on(linked.done());
        let Refused(which) = *linked.cause().unwrap().downcast_ref::<Refused>().unwrap();
        assert!(if which == 1 { &one } else { &other }.is_done());
        canceling.join().unwrap();
        also.join().unwrap();
    });
}

/// Weakened: a walk that takes links out of the list of a source before their nodes are marked hides them from the other.
#[test]
fn cancel_above_a_source_that_is_being_cancelled() {
    // Section 2: when the cancel that ended a context returns, every descendant is done, whichever cancel reached it.
    check(2, || {
        let (top, tops) = Context::background().with_cancel();
        let (source, its) = top.with_cancel();
        let (other, _others) = Context::background().with_cancel();
        let linked = Context::linked([source, other]);
        let canceling = thread::spawn(move || its.cancel());
        tops.cancel();
        assert!(linked.is_done());
        canceling.join().unwrap();
    });
}

/// Weakened: `stop` that answers by the mark, not by what it took, is true although the callback is called.
#[test]
fn on_done_against_cancel_and_stop() {
    // Section 2: a callback runs once; `stop` is true only if it prevented the call.
    check(3, || {
        let (ctx, canceller) = Context::background().with_cancel();
        let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let its_calls = calls.clone();
        let canceling = thread::spawn(move || canceller.cancel());
        let callback = ctx.on_done(move || {
            its_calls.fetch_add(1, Ordering::SeqCst);
        });
        let stopped = callback.stop();
        assert!(!callback.stop());
        canceling.join().unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), usize::from(!stopped));
    });
}

/// Weakened: the timer's turn with relaxed orderings has two threads at the sleep.
#[test]
fn timer_fired_against_context_dropped() {
    // Sections 2 and 3: a deadline that fires while the last handle is dropped leaves every other context as it was,
    // and keeps nothing.
    check(2, || {
        let clock = ManualClock::new();
        let ctx = Context::background()
            .with_clock(clock.clone())
            .with_timeout(Duration::from_secs(1));
        let mut done = ctx.done();
        assert!(poll_once(&mut done).is_pending());
        let its_clock = clock.clone();
        let firing = thread::spawn(move || its_clock.advance(Duration::from_secs(1)));
        drop(ctx);
        drop(done);
        firing.join().unwrap();
        assert_eq!(clock.armed(), 0);
    });
}

/// Weakened: the timer's turn with relaxed orderings has two threads at the sleep.
#[test]
fn timer_fired_against_first_waiter() {
    // Sections 2 and 3: armed on the first poll; never sleeps through the deadline.
    check(2, || {
        let clock = ManualClock::new();
        let ctx = Context::background()
            .with_clock(clock.clone())
            .with_timeout(Duration::from_secs(1));
        let its_clock = clock.clone();
        let firing = thread::spawn(move || its_clock.advance(Duration::from_secs(1)));
        block_on(ctx.done());
        assert!(ctx.err().unwrap().is_deadline_exceeded());
        firing.join().unwrap();
        assert_eq!(clock.armed(), 0);
    });
}

/// Weakened: `EndSlot::change` as a load and a store has kind and cause disagree.
#[test]
fn timer_fired_against_cancel() {
    // Section 2: first wins, and err and cause agree about it.
    check(2, || {
        let clock = ManualClock::new();
        let (parent, canceller) = Context::background()
            .with_clock(clock.clone())
            .with_cancel();
        let ctx = parent.with_timeout_cause(Duration::from_secs(1), Refused(1));
        let mut done = ctx.done();
        assert!(poll_once(&mut done).is_pending());
        let its_clock = clock.clone();
        let firing = thread::spawn(move || its_clock.advance(Duration::from_secs(1)));
        canceller.cancel_with(Refused(2));
        firing.join().unwrap();
        let expected = match ctx.err().unwrap().kind() {
            ContextErrorKind::DeadlineExceeded => 1,
            _ => 2,
        };
        assert_eq!(
            ctx.cause().unwrap().downcast_ref(),
            Some(&Refused(expected))
        );
        assert_eq!(clock.armed(), 0);
    });
}

/// Weakened: a `poll` that does not look whether the frame is held cuts the critical section.
#[test]
fn shield_through_against_cancel() {
    // Section 2: the critical section is never cut, and what comes after it is, once it is through.
    check(2, || {
        let committed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let its = committed.clone();
        let (parent, canceller) = Context::background().with_cancel();
        let (group, ctx) = Group::<u32>::with_context(&parent, on_a_thread);
        let begun = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let beginning = begun.clone();
        group.spawn(async move {
            beginning.store(true, Ordering::SeqCst);
            let answer = ctx.shield(after(1, Ok(5))).await;
            its.store(true, Ordering::SeqCst);
            answer
        });
        let canceling = thread::spawn(move || canceller.cancel());
        let _ = block_on(group.wait());
        canceling.join().unwrap();
        assert_eq!(
            begun.load(Ordering::SeqCst),
            committed.load(Ordering::SeqCst)
        );
    });
}
