//! The contract on a context's end, sentence by sentence: what ends it, and with what cause. Time is virtual.

use crate::support::{Count, OnDrop, SECOND, counting, manual, on_wake, poll};
use failfast::context::{Done, OnDone};
use failfast::{Canceller, Context, ContextError};
use futures::FutureExt;
use std::future::Future;
use std::task::{Poll, Waker};
use std::time::Duration;

pub(crate) fn cancelable() -> (Context, Canceller) {
    Context::background().with_cancel()
}

/// An error of this kind: errors are equal if their kinds are.
pub(crate) fn canceled() -> ContextError {
    let (ctx, canceller) = cancelable();
    canceller.cancel();
    ctx.err().expect("it was canceled")
}

/// The same, of the other kind.
pub(crate) fn deadline_exceeded() -> ContextError {
    let late = Context::background().with_timeout(Duration::ZERO);
    late.err().expect("no time was left")
}

pub(crate) fn why(ctx: &Context) -> String {
    ctx.cause()
        .map_or("alive".to_owned(), |cause| cause.to_string())
}

/// A `Done` that was polled once, and waits.
pub(crate) fn waiting(ctx: &Context, waker: &Waker) -> Done {
    let mut done = ctx.done();
    assert_eq!(poll(&mut done, waker), Poll::Pending);
    done
}

#[test]
fn auto_traits() {
    // "Cheap to clone"; it travels with the call, into any task.
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn movable<T: Send + Sync + Unpin + 'static>() {}
    shared::<Context>();
    shared::<ContextError>();
    shared::<failfast::Cause>();
    movable::<Canceller>();
    movable::<Done>();
    movable::<OnDone>();
    fn future<F: Future + Send>(_: F) {}
    future(Context::background().run(async {}));
    future(Context::background().sleep(SECOND));
}

mod end {
    use super::*;

    #[test]
    fn a_background_never_ends() {
        // "background(): never ends".
        let ctx = Context::background();
        let (woken, waker) = counting();
        drop(waiting(&ctx, &waker));
        assert!(!ctx.is_done());
        assert_eq!(
            (ctx.err(), ctx.deadline(), ctx.remaining(), woken.get()),
            (None, None, None, 0)
        );
        assert!(ctx.cause().is_none());
        assert!(Context::default().done().now_or_never().is_none());
    }

    #[test]
    fn errors_display_as_in_go() {
        // "`ContextError` displays `context canceled` and `context deadline exceeded`, as Go does."
        assert_eq!(canceled().to_string(), "context canceled");
        assert_eq!(deadline_exceeded().to_string(), "context deadline exceeded");
    }

    #[test]
    fn cancel_without_a_cause_is_its_own_cause() {
        // Where no reason was given the cause is the plain error, as with Go's `Cause`.
        let (ctx, canceller) = cancelable();
        canceller.cancel();
        assert_eq!(ctx.err(), Some(canceled()));
        assert_eq!(
            ctx.cause().unwrap().downcast_ref::<ContextError>(),
            Some(&canceled())
        );
    }

    #[test]
    fn a_given_cause_still_classifies() {
        // "A cause still classifies: err() says canceled() or deadline_exceeded() whatever the cause is."
        let (ctx, canceller) = cancelable();
        canceller.cancel_with(deadline_exceeded());
        assert_eq!(ctx.err(), Some(canceled()));
        let (clock, root) = manual();
        let late = root.with_timeout_cause(SECOND, canceled());
        clock.advance(SECOND);
        assert_eq!(late.err(), Some(deadline_exceeded()));
        assert_eq!(late.cause().unwrap().downcast_ref(), Some(&canceled()));
    }

    #[test]
    fn first_cancel_wins_for_ever() {
        // "they change together, once, for ever. First wins".
        let (ctx, canceller) = cancelable();
        canceller.cancel_with("first");
        canceller.cancel_with("second");
        canceller.cancel();
        drop(canceller);
        assert_eq!(
            (ctx.err(), why(&ctx)),
            (Some(canceled()), "first".to_owned())
        );
    }

    #[test]
    fn cancel_before_the_deadline_wins_for_ever() {
        let (clock, root) = manual();
        let (parent, canceller) = root.with_cancel();
        let child = parent.with_timeout_cause(SECOND, "too slow");
        canceller.cancel_with("client left");
        clock.advance(SECOND * 2);
        assert_eq!(
            (child.err(), why(&child)),
            (Some(canceled()), "client left".to_owned())
        );
    }

    #[test]
    fn deadline_before_the_cancel_wins_even_if_it_was_not_noticed() {
        // "First wins: the context's own end or an ancestor's, whichever came first": by the clock, not by which is
        // read first.
        let (clock, root) = manual();
        let (parent, canceller) = root.with_cancel();
        let child = parent.with_timeout_cause(SECOND, "too slow");
        clock.advance(SECOND * 2);
        canceller.cancel_with("client left");
        assert_eq!(
            (child.err(), why(&child)),
            (Some(deadline_exceeded()), "too slow".to_owned())
        );
        assert_eq!(
            (parent.err(), why(&parent)),
            (Some(canceled()), "client left".to_owned())
        );
    }

    #[test]
    fn ancestors_deadline_before_the_own_cancel_wins_even_if_it_was_not_noticed() {
        let (clock, root) = manual();
        let (child, canceller) = root.with_timeout_cause(SECOND, "too slow").with_cancel();
        clock.advance(SECOND);
        canceller.cancel_with("too late");
        assert_eq!(
            (child.err(), why(&child)),
            (Some(deadline_exceeded()), "too slow".to_owned())
        );
    }

    #[test]
    fn earlier_deadline_below_wins_even_if_the_parent_is_read_first() {
        let (clock, root) = manual();
        let parent = root.with_timeout_cause(SECOND * 2, "parent's");
        let child = parent.with_timeout_cause(SECOND, "child's");
        let grandchild = child.with_value(1).with_cancel().0;
        let other = parent.with_cancel();
        clock.advance(SECOND * 3);
        assert_eq!(why(&parent), "parent's");
        assert_eq!(why(&child), "child's");
        assert_eq!(why(&grandchild), "its canceller was dropped"); // at once
        assert_eq!(why(&other.0), "parent's");
    }

    #[test]
    fn earlier_deadline_beside_wins_when_the_ancestors_late_end_is_shown_by_a_cousin() {
        let (clock, root) = manual();
        let top = root.with_timeout_cause(SECOND * 3, "top's");
        let beside = top.with_timeout_cause(SECOND, "beside's");
        let (cousin, canceller) = top.with_cancel();
        clock.advance(SECOND * 5);
        canceller.cancel_with("cousin's");
        assert_eq!(
            [why(&top), why(&beside), why(&cousin)],
            ["top's", "beside's", "top's"]
        );
    }

    #[test]
    fn the_parents_end_reaches_every_descendant_with_its_cause() {
        // "A child ends when its parent does"; "why; never masked by what it led to".
        let (root, canceller) = cancelable();
        let (child, _child) = root.with_cancel();
        let (grandchild, _grandchild) = child.with_value(1).with_cancel();
        let timed = grandchild.with_timeout(SECOND);
        canceller.cancel_with("root cause");
        for ctx in [&root, &child, &grandchild, &timed] {
            assert_eq!(
                (ctx.err(), why(ctx)),
                (Some(canceled()), "root cause".to_owned())
            );
        }
    }

    #[test]
    fn a_child_cant_end_its_parent() {
        // "A child can't end its parent."
        let (clock, root) = manual();
        let (parent, _parent) = root.with_cancel();
        let (child, canceller) = parent.with_cancel();
        let timed = parent.with_timeout(SECOND);
        canceller.cancel();
        clock.advance(SECOND);
        assert!(child.is_done() && timed.is_done());
        assert_eq!(parent.err(), None);
    }

    #[test]
    fn cancel_of_one_child_leaves_the_siblings() {
        let (parent, _parent) = cancelable();
        let (one, canceller) = parent.with_cancel();
        let (other, _other) = parent.with_cancel();
        canceller.cancel();
        assert!(one.is_done() && !other.is_done());
    }

    #[test]
    fn a_child_of_an_ended_parent_is_born_done_with_its_cause() {
        let (parent, canceller) = cancelable();
        canceller.cancel_with("over");
        let (child, _child) = parent.with_cancel();
        let grandchild = child.with_timeout_cause(SECOND, "own");
        for ctx in [child, grandchild] {
            assert_eq!(
                (ctx.err(), why(&ctx)),
                (Some(canceled()), "over".to_owned())
            );
        }
    }

    #[test]
    fn a_child_of_a_parent_whose_deadline_passed_unseen_is_born_done_with_its_cause() {
        let (clock, root) = manual();
        let parent = root.with_timeout_cause(SECOND, "parent's");
        clock.advance(SECOND);
        let (child, canceller) = parent.with_cancel();
        canceller.cancel_with("own");
        assert_eq!(
            (child.err(), why(&child)),
            (Some(deadline_exceeded()), "parent's".to_owned())
        );
    }

    #[test]
    fn clones_are_one_context() {
        let (ctx, canceller) = cancelable();
        let clone = ctx.clone();
        canceller.cancel_with("once");
        assert_eq!(why(&clone), "once");
    }

    #[test]
    fn an_own_cause_is_shared_not_copied() {
        // "any error ... `downcast_ref` gets it back".
        let (ctx, canceller) = cancelable();
        let child = ctx.with_cancel();
        canceller.cancel_with(std::io::Error::other("disk full"));
        let (one, two) = (ctx.cause().unwrap(), child.0.cause().unwrap());
        let (one, two): (&std::io::Error, &std::io::Error) =
            (one.downcast_ref().unwrap(), two.downcast_ref().unwrap());
        assert!(std::ptr::eq(one, two));
    }
}

mod canceller {
    use super::*;

    #[test]
    fn dropping_it_cancels() {
        // "cancels when dropped".
        let (ctx, canceller) = cancelable();
        let (woken, waker) = counting();
        let _done = waiting(&ctx, &waker);
        drop(canceller);
        assert_eq!(
            (ctx.err(), why(&ctx), woken.get()),
            (Some(canceled()), "its canceller was dropped".to_owned(), 1)
        );
    }

    #[test]
    fn disarmed_it_leaves_the_context_alone() {
        let (clock, root) = manual();
        let (ctx, canceller) = root.with_timeout(SECOND).with_cancel();
        canceller.disarm();
        assert_eq!(ctx.err(), None);
        clock.advance(SECOND);
        assert_eq!(ctx.err(), Some(deadline_exceeded()));
    }

    #[test]
    fn disarmed_it_lets_go_of_the_context() {
        let dropped = Count::default();
        let (ctx, canceller) = Context::background()
            .with_value(OnDrop(dropped.clone()))
            .with_cancel();
        canceller.disarm();
        drop(ctx);
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn cancel_with_any_error() {
        for (given, told) in [
            ("a text".into(), "a text"),
            (
                Box::<dyn std::error::Error + Send + Sync>::from(std::fmt::Error),
                &*std::fmt::Error.to_string(),
            ),
        ] {
            let (ctx, canceller) = cancelable();
            canceller.cancel_with(given);
            assert_eq!(why(&ctx), told);
        }
    }

    #[test]
    fn the_last_clone_that_was_not_disarmed_cancels_when_dropped() {
        // "The context is cancelled when the last clone that was not disarmed is dropped."
        for clones in [1, 2, 3, 64] {
            for disarmed in 0..=clones {
                let (ctx, canceller) = cancelable();
                let mut all: Vec<_> = (1..clones).map(|_| canceller.clone()).collect();
                all.push(canceller);
                let armed = all.split_off(disarmed);
                all.into_iter().for_each(Canceller::disarm);
                assert!(!ctx.is_done());
                let last = armed.len();
                for (number, canceller) in armed.into_iter().enumerate() {
                    drop(canceller);
                    assert_eq!(ctx.is_done(), number + 1 == last, "{clones}, {disarmed}");
                }
            }
        }
    }

    #[test]
    fn disarming_the_last_cancels_nothing() {
        // Though others were dropped before: "disarming the last one cancels nothing".
        let (ctx, canceller) = cancelable();
        drop(canceller.clone());
        canceller.disarm();
        assert!(!ctx.is_done());
    }

    #[test]
    fn any_clone_cancels() {
        let (ctx, canceller) = cancelable();
        let clone = canceller.clone();
        clone.cancel_with("a clone");
        assert_eq!(why(&ctx), "a clone");
        canceller.cancel_with("too late");
        assert_eq!(why(&ctx), "a clone");
    }

    #[test]
    fn a_cancel_of_a_context_that_is_done_returns_at_once() {
        // "... or one called from inside a waker, returns at once, and promises only that this context is done."
        let (ctx, canceller) = cancelable();
        let (again, woken) = (canceller.clone(), Count::default());
        let (count, asked) = (woken.clone(), ctx.clone());
        let waker = on_wake(move || {
            again.cancel_with("from inside");
            assert!(asked.is_done());
            count.add();
        });
        let _done = waiting(&ctx, &waker);
        canceller.cancel_with("first");
        assert_eq!((woken.get(), why(&ctx)), (1, "first".to_owned()));
    }

    #[test]
    fn a_panic_unwinding_past_it_cancels() {
        let (ctx, canceller) = cancelable();
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _canceller = canceller;
            panic!("the caller fails");
        }));
        assert!(unwound.is_err() && ctx.is_done());
    }
}

mod check {
    use super::*;

    #[test]
    fn a_result_of_it_is_a_word() {
        // "`size_of::<Result<(), ContextError>>()` is a word (asserted)."
        assert_eq!(size_of::<Result<(), ContextError>>(), size_of::<usize>());
        assert_eq!(size_of::<ContextError>(), size_of::<usize>());
    }

    #[test]
    fn is_an_error_from_the_end_on() {
        let (clock, root) = manual();
        let (ctx, canceller) = root.with_cancel();
        let late = root.with_timeout(SECOND);
        assert_eq!((ctx.check(), late.check()), (Ok(()), Ok(())));
        canceller.cancel_with("client went away");
        clock.advance(SECOND);
        assert_eq!(
            ctx.check().unwrap_err().to_string(),
            "context canceled: client went away"
        );
        assert_eq!(late.check(), Err(deadline_exceeded()));
        assert_eq!(Context::background().check(), Ok(()));
    }

    #[test]
    fn every_answer_is_of_the_one_record() {
        // "A counted pointer to the end's record, made once, by the end."
        let (ctx, canceller) = cancelable();
        let (child, _child) = ctx.with_cancel();
        let linked = Context::linked([child.clone(), Context::background().with_timeout(SECOND)]);
        canceller.cancel_with("once");
        let record = |error: &ContextError| std::ptr::from_ref(error.cause().as_error()).addr();
        let first = ctx.err().unwrap();
        for other in [ctx.err(), child.err(), linked.err(), ctx.check().err()] {
            assert_eq!(record(&other.unwrap()), record(&first));
        }
    }
}

mod ask {
    use super::*;

    #[test]
    fn now_is_the_contexts_clocks() {
        let (clock, root) = manual();
        let below = root.with_cancel().0.with_value(1);
        clock.advance(SECOND);
        assert_eq!((root.now(), below.now()), (clock.now(), clock.now()));
    }

    #[test]
    fn remaining_is_zero_once_it_is_done() {
        // "zero once done (new)".
        let (_clock, root) = manual();
        let (ctx, canceller) = root.with_timeout(SECOND).with_cancel();
        canceller.cancel();
        assert_eq!(ctx.remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn it_is_the_first_attempt_outside_of_a_policy() {
        let attempt = Context::background().with_value(7_u32).attempt();
        assert_eq!((attempt.number(), attempt.is_hedge()), (1, false));
    }
}
