//! The contract on values, and what a context and its cause show.

use crate::context::{cancelable, deadline_exceeded};
use crate::support::{Count, GENEROUS, OnDrop, SECOND, manual};
use failfast::clock::ManualClock;
use failfast::observe::Recorder;
use failfast::{Context, InPlaceGroup};
use futures::FutureExt;

mod values {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Id(u32);
    #[derive(Debug, PartialEq)]
    struct User(&'static str);

    #[test]
    fn the_nearest_of_a_type_wins() {
        // "typed; the nearest wins".
        let outer = Context::background()
            .with_value(Id(1))
            .with_value(User("ann"));
        let inner = outer.with_cancel().0.with_value(Id(2)).with_timeout(SECOND);
        assert_eq!((outer.value(), inner.value()), (Some(&Id(1)), Some(&Id(2))));
        assert_eq!(inner.value(), Some(&User("ann")));
        assert_eq!(inner.value::<String>(), None);
    }

    #[test]
    fn values_survive_the_end() {
        // "values survive the end and `without_cancel`".
        let (ctx, canceller) = Context::background().with_value(Id(1)).with_cancel();
        canceller.cancel();
        assert_eq!(ctx.value(), Some(&Id(1)));
        assert_eq!(ctx.with_value(User("bob")).value(), Some(&User("bob")));
    }

    #[test]
    fn without_cancel_keeps_values_and_clock_but_not_the_lifetime() {
        // "values and clock stay, the lifetime does not".
        let (clock, root) = manual();
        let (ctx, canceller) = root.with_value(Id(1)).with_timeout(SECOND).with_cancel();
        let free = ctx.without_cancel();
        canceller.cancel();
        assert_eq!(
            (free.err(), free.deadline(), free.value()),
            (None, None, Some(&Id(1)))
        );
        let timed = free.with_timeout(SECOND);
        assert_eq!(timed.deadline(), Some(clock.now() + SECOND));
        clock.advance(SECOND);
        assert_eq!((timed.err(), free.err()), (Some(deadline_exceeded()), None));
        assert!(free.done().now_or_never().is_none());
    }

    #[test]
    fn a_linked_context_has_the_values_of_all_and_the_first_wins() {
        let one = Context::background().with_value(Id(1));
        let two = Context::background()
            .with_value(Id(2))
            .with_value(User("two"));
        let (ctx, _canceller) = Context::linked([one, two]).with_cancel();
        assert_eq!(
            (ctx.value(), ctx.value()),
            (Some(&Id(1)), Some(&User("two")))
        );
    }

    #[test]
    fn a_context_linked_to_three_has_the_values_of_all() {
        let one = Context::background().with_value(1_u8);
        let two = Context::background().with_value(2_u8).with_value(2_u16);
        let three = Context::background().with_value(3_u16).with_value(3_u32);
        let linked = Context::linked([one, two, three]);
        assert_eq!(
            (linked.value(), linked.value(), linked.value()),
            (Some(&1_u8), Some(&2_u16), Some(&3_u32))
        );
    }

    #[test]
    fn a_linked_contexts_clock_is_that_of_the_first_that_has_one() {
        let (clock, root) = manual();
        let ctx = Context::linked([Context::background().with_value(1), root]).with_timeout(SECOND);
        clock.advance(SECOND);
        assert!(ctx.is_done());
    }

    #[test]
    fn with_clock_counts_for_what_is_below_only() {
        // "everything below uses it as its clock".
        let (one, root) = manual();
        let above = root.with_timeout(SECOND);
        let two = ManualClock::new();
        let below = above.with_clock(two.clone()).with_timeout(SECOND / 2);
        two.advance(SECOND / 2);
        assert_eq!(
            (below.err(), above.err()),
            (Some(deadline_exceeded()), None)
        );
        one.advance(SECOND);
        assert_eq!(above.err(), Some(deadline_exceeded()));
    }

    #[test]
    fn a_value_is_dropped_with_the_last_context_that_has_it() {
        let dropped = Count::default();
        let ctx = Context::background().with_value(OnDrop(dropped.clone()));
        let child = ctx.with_cancel();
        drop(ctx);
        assert_eq!(dropped.get(), 0);
        drop(child);
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn links_that_meet_again_are_looked_through_once() {
        // 60 diamonds have 2^60 paths: a look-up that took each would never end.
        let mut ctx = Context::background().with_value(Id(1));
        for number in 0..60_u8 {
            ctx = Context::linked([ctx.with_value(number), ctx.with_value(User("x"))]);
        }
        assert_eq!(ctx.value::<String>(), None);
        assert_eq!((ctx.value(), ctx.value()), (Some(&Id(1)), Some(&59_u8)));
    }
}

mod describe {
    use super::*;

    #[test]
    fn debug_prints_the_chain() {
        // "`Debug` prints the chain as Go's `String` does: what each layer is, and how long is left."
        #[derive(Debug)]
        struct Id;
        let (clock, root) = manual();
        let (ctx, canceller) = root.with_value(Id).with_timeout(SECOND * 2).with_cancel();
        clock.advance(SECOND / 2);
        let id = std::any::type_name::<Id>();
        assert_eq!(
            format!("{ctx:?}"),
            format!("Background.with_clock.with_value({id}).with_deadline(1.5s left).with_cancel")
        );
        canceller.cancel();
        let text = format!("{ctx:?}");
        assert!(
            text.ends_with(".with_deadline(1.5s left).with_cancel(context canceled)"),
            "{text}"
        );
        assert!(format!("{:?}", ctx.without_cancel()).ends_with(".without_cancel"));
        assert_eq!(format!("{:?}", Context::background()), "Background");
    }

    #[test]
    fn debug_of_a_linked_context() {
        let (source, _source) = cancelable();
        let text = format!("{:?}", Context::linked([source]).with_value(1_u8));
        assert_eq!(text, "Background.linked.with_value(u8)");
    }

    #[test]
    fn debug_prints_layers_of_all_kinds_in_their_order() {
        let (clock, ctx) = manual();
        let ctx = ctx.with_value(1_u8).without_cancel().with_value(2_u16);
        assert_eq!(
            format!("{:?}", ctx.with_clock(clock)),
            "Background.with_clock.with_value(u8).without_cancel.with_value(u16).with_clock"
        );
        let seen = Context::background().with_value(1_u8);
        let seen = seen.with_observer(Recorder::new()).with_value(2_u16);
        assert_eq!(
            format!("{seen:?}"),
            "Background.with_value(u8).with_observer.with_value(u16)"
        );
        let (source, _source) = cancelable();
        assert_eq!(
            format!("{:?}", Context::linked([source.with_value(1_u8)])),
            "Background.with_value(u8).linked"
        );
        let group = InPlaceGroup::<()>::new(&source);
        assert_eq!(
            format!("{:?}", group.context().with_value(1_u8)),
            "Background.with_cancel.group.with_value(u8)"
        );
    }

    #[test]
    fn a_cause_shows_where_the_context_that_ended_was_made() {
        // Through links, and links of links, it is the same.
        let (clock, root) = manual();
        let made = line!() + 1;
        let timed = root.with_timeout_cause(SECOND, "the page's budget");
        let one = Context::linked([Context::background().with_timeout(GENEROUS), timed]);
        let two = Context::linked([Context::background().with_timeout(GENEROUS), one]);
        clock.advance(SECOND);
        let cause = two.cause().unwrap();
        assert_eq!(cause.to_string(), "the page's budget");
        let place = format!("the page's budget (context made at {}:{made}:", file!());
        assert!(format!("{cause:#}").starts_with(&place), "{cause:#}");
        assert_eq!(cause.origin().line(), made);
    }

    #[test]
    fn a_cause_shows_its_sources() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("profile failed")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let (ctx, canceller) = cancelable();
        canceller.cancel_with(Outer(std::io::Error::other("connection refused")));
        let cause = ctx.cause().unwrap();
        assert_eq!(cause.to_string(), "profile failed");
        assert!(
            format!("{cause:#}")
                .starts_with("profile failed: connection refused (context made at ")
        );
        assert!(cause.downcast_ref::<std::io::Error>().is_some());
    }

    #[test]
    fn waiters_and_callbacks_show_their_state() {
        let (ctx, canceller) = cancelable();
        let (done, callback) = (ctx.done(), ctx.on_done(|| {}));
        assert_eq!(
            format!("{done:?} {callback:?}"),
            "Done { done: false } OnDone { waits: true }"
        );
        canceller.cancel();
        assert_eq!(
            format!("{done:?} {callback:?}"),
            "Done { done: true } OnDone { waits: false }"
        );
    }
}
