//! The contract on linked contexts.

use crate::context::{cancelable, canceled, deadline_exceeded, waiting, why};
use crate::support::{Count, CountedClock, GENEROUS, OnDrop, SECOND, counting, manual, on_wake};
use failfast::Context;
use failfast::clock::ManualClock;
use futures::FutureExt;
use std::sync::{Arc, Mutex};

#[test]
fn ends_with_the_first_of_several_and_its_cause() {
    // "ends when the first of several ends, with that one's cause".
    let ((one, first), (two, second)) = (cancelable(), cancelable());
    let both = Context::linked([one.clone(), two.clone()]);
    assert_eq!(both.err(), None);
    second.cancel_with("second");
    first.cancel_with("first");
    assert_eq!(
        (both.err(), why(&both)),
        (Some(canceled()), "second".to_owned())
    );
    assert_eq!(why(&one), "first");
}

#[test]
fn of_sources_one_of_which_has_ended_is_born_done() {
    let ((one, _first), (two, second)) = (cancelable(), cancelable());
    second.cancel_with("before");
    let both = Context::linked([one.clone(), two]);
    assert_eq!((why(&both), one.err()), ("before".to_owned(), None));
    assert!(both.with_cancel().0.is_done());
}

#[test]
fn of_nothing_or_backgrounds_never_ends() {
    assert!(Context::linked([]).done().now_or_never().is_none());
    assert!(!Context::linked([Context::background(), Context::background()]).is_done());
}

#[test]
fn the_end_goes_on_in_the_order_of_the_sources_ends() {
    let (source, canceller) = cancelable();
    let before = [0; 5].map(|_| Context::linked([source.clone()]));
    let [first, second, third, fourth, _] = before.clone();
    let after = [
        Context::linked([third.clone(), second.clone()]),
        Context::linked([fourth, third, first, second]),
    ];
    let woken = Arc::new(Mutex::new(Vec::new()));
    let waiters: Vec<_> = (before.iter().chain(&after).enumerate())
        .map(|(number, ctx)| {
            let order = woken.clone();
            waiting(ctx, &on_wake(move || order.lock().unwrap().push(number)))
        })
        .collect();
    canceller.cancel();
    // The last is linked to the first to end, the one before it to the second.
    assert_eq!(*woken.lock().unwrap(), [0, 1, 2, 3, 4, 6, 5]);
    drop(waiters);
}

#[test]
fn the_end_reaches_what_is_linked_to_a_source_in_the_order_of_their_making() {
    let (source, canceller) = cancelable();
    let (other, _other) = cancelable();
    let woken = Arc::new(Mutex::new(Vec::new()));
    let waiters: Vec<_> = (0..100)
        .map(|number| {
            let linked = Context::linked([source.clone(), other.clone()]);
            let order = woken.clone();
            waiting(
                &linked,
                &on_wake(move || order.lock().unwrap().push(number)),
            )
        })
        .collect();
    canceller.cancel();
    assert!(woken.lock().unwrap().iter().copied().eq(0..100));
    drop(waiters);
}

#[test]
fn cannot_end_its_sources() {
    let (source, _source) = cancelable();
    let (both, canceller) = Context::linked([source.clone()]).with_cancel();
    canceller.cancel();
    assert!(both.is_done() && !source.is_done());
}

#[test]
fn earliest_deadline_of_the_sources_ends_it_whichever_is_read_first() {
    let (clock, root) = manual();
    for ask_source_first in [false, true] {
        let late = root.with_timeout_cause(SECOND * 2, "late");
        let early = root.with_timeout_cause(SECOND, "early");
        let both = Context::linked([late.clone(), early.clone()]);
        clock.advance(SECOND * 3);
        if ask_source_first {
            assert_eq!(why(&late), "late");
        }
        assert_eq!(
            (both.err(), why(&both)),
            (Some(deadline_exceeded()), "early".to_owned())
        );
        assert_eq!([why(&late), why(&early)], ["late", "early"]);
    }
}

#[test]
fn of_two_deadlines_at_one_moment_the_first_sources_ends_it() {
    let (clock, root) = manual();
    let at = clock.now() + SECOND;
    let [one, two, three] =
        ["one", "two", "three"].map(|cause| root.with_deadline_cause(at, cause));
    let all = Context::linked([two, one, three]);
    clock.advance(SECOND);
    assert_eq!(why(&all), "two");
}

#[test]
fn a_waiter_is_woken_by_a_deadline_above_a_source_whose_own_is_later_than_anothers() {
    let (above, root) = manual();
    let by_another = root.with_timeout(SECOND).with_clock(ManualClock::new());
    let early = by_another.without_cancel().with_timeout(SECOND * 5);
    let all = Context::linked([by_another.with_timeout(SECOND * 9), early]);
    let (woken, waker) = counting();
    let _done = waiting(&all, &waker);
    above.advance(SECOND);
    assert_eq!(woken.get(), 1);
}

#[test]
fn an_earlier_end_wins_though_it_comes_by_a_longer_way() {
    let (clock, root) = manual();
    let early = root.with_timeout_cause(SECOND, "early");
    let late = root.with_timeout_cause(SECOND * 2, "late");
    let (top, canceller) = cancelable();
    let detour = Context::linked([Context::linked([early, top.clone()]), top]);
    let all = Context::linked([late, detour]);
    clock.advance(SECOND * 3);
    canceller.cancel();
    assert_eq!(why(&all), "early");
}

#[test]
fn a_deadline_that_passed_unseen_comes_before_another_sources_cancel() {
    let (clock, root) = manual();
    let timed = root.with_timeout_cause(SECOND, "timed");
    let (other, canceller) = cancelable();
    let chained = Context::linked([Context::linked([other, timed.clone()])]);
    let (woken, waker) = counting();
    clock.advance(SECOND);
    canceller.cancel_with("other");
    assert_eq!(
        (chained.err(), why(&chained)),
        (Some(deadline_exceeded()), "timed".to_owned())
    );
    drop((waker, woken));
}

#[test]
fn cancel_reaches_linked_of_linked_before_it_returns() {
    // "cancelling is synchronous for all descendants", through links too.
    let (source, canceller) = cancelable();
    let mut ctx = source;
    for _ in 0..10 {
        ctx = Context::linked([ctx.with_cancel().0.without_cancel(), ctx]);
        let (child, keep) = ctx.with_cancel();
        keep.disarm();
        ctx = child;
    }
    let (woken, waker) = counting();
    let _done = waiting(&ctx, &waker);
    canceller.cancel_with("far away");
    assert_eq!((why(&ctx), woken.get()), ("far away".to_owned(), 1));
}

#[test]
fn all_are_done_before_the_first_is_woken() {
    // A waker that looks around, in the source's tree and in those linked to it, finds all done.
    let (source, canceller) = cancelable();
    let all = [
        source.clone(),
        source.with_value(1).with_timeout(GENEROUS),
        Context::linked([source.clone()]),
        Context::linked([Context::linked([source.clone()])]).with_timeout(GENEROUS),
    ];
    let seen = Count::default();
    let mut waiters = Vec::new();
    for ctx in &all {
        let (looked, family) = (seen.clone(), all.clone());
        let waker = on_wake(move || {
            assert!(family.iter().all(Context::is_done));
            looked.add();
        });
        waiters.push(waiting(ctx, &waker));
    }
    canceller.cancel();
    assert_eq!(seen.get(), all.len());
}

#[test]
fn dropped_it_leaves_nothing_with_its_sources() {
    let (source, canceller) = cancelable();
    let (woken, waker) = counting();
    let both = Context::linked([source.clone(), source.clone()]);
    drop(waiting(&both, &waker));
    drop(both);
    canceller.cancel();
    assert_eq!(woken.get(), 0);
}

#[test]
fn ended_it_lets_go_of_its_other_sources() {
    let ((one, keep), (two, second)) = (cancelable(), cancelable());
    let dropped = Count::default();
    let guard = OnDrop(dropped.clone());
    drop(one.on_done(move || drop(guard)));
    keep.disarm();
    let both = Context::linked([one, two]);
    assert_eq!(dropped.get(), 0);
    second.cancel();
    assert_eq!(
        dropped.get(),
        1,
        "nothing can end the source, nor wait for it"
    );
    assert!(both.is_done());
}

/// Contexts below `above`, each with a deadline by a clock of its own that never comes, and all linked.
fn linked_below(above: &Context) -> Context {
    let sources = [0, 1].map(|_| {
        above
            .with_clock(ManualClock::new())
            .with_timeout_cause(GENEROUS, "never")
    });
    Context::linked(sources)
}

#[test]
fn ways_that_meet_again_above_it_are_looked_through_once() {
    for is_linked in [false, true] {
        let (clocks, reads) = ([0, 1].map(|_| ManualClock::new()), Count::default());
        let [one, two] = clocks.clone().map(|clock| {
            let root = Context::background().with_clock(CountedClock(clock, reads.clone()));
            root.with_timeout_cause(SECOND, "above")
        });
        let below = match is_linked {
            false => linked_below(&one),
            true => linked_below(&Context::linked([one, two])),
        };
        let before = reads.get();
        assert!(!below.is_done());
        assert_eq!(reads.get() - before, 1 + usize::from(is_linked));
        let (woken, waker) = counting();
        let waiter = waiting(&below, &waker);
        let armed = || clocks.each_ref().map(ManualClock::armed);
        assert_eq!(armed(), [1, usize::from(is_linked)]);
        clocks[usize::from(is_linked)].advance(SECOND);
        assert_eq!((woken.get(), why(&below)), (1, "above".to_owned()));
        assert_eq!(armed(), [0, 0]);
        drop(waiter);
    }
}
