//! `fallback` and `optional`.

use crate::support::{Act, Hand, Lines, Script, failure, manual, ms};
use failfast::policy::{FaultKind, Limit, Retry};
use failfast::{Aggregator, Source, SourceExt};
use std::task::Poll;

#[test]
fn the_fallback_is_called_only_if_the_first_failed() {
    let (clock, ctx) = manual();
    let second = Script::new(&clock, [Act::Answer(2, ms(10))]);
    let first = Script::new(&clock, [Act::Answer(1, ms(10)), Act::Fail(1, ms(10))]);
    let source = first.source().fallback(second.source());
    assert_eq!(
        Hand::new(source.fetch(ctx.clone(), ()))
            .finish(&clock)
            .unwrap(),
        1
    );
    assert_eq!(second.calls(), 0);
    assert_eq!(Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap(), 2);
    assert_eq!((first.open(), second.open()), (0, 0));
}

#[test]
fn rule_26_a_fallback_runs_only_in_the_time_that_is_left() {
    let (clock, ctx) = manual();
    let ctx = ctx.with_timeout(ms(100));
    let first = Script::new(&clock, [Act::Fail(1, ms(60))]);
    let second = Script::new(&clock, [Act::Wait]);
    let mut call = Hand::new(
        first
            .source()
            .fallback(second.source())
            .fetch(ctx.clone(), ()),
    );
    let fault = call.finish(&clock).unwrap_err();
    assert_eq!(second.context(0).deadline(), ctx.deadline());
    assert_eq!(
        failure(&fault),
        Some(1),
        "the caller's end does not replace it"
    );
    assert!(fault.others().is_empty());
    // None is left.
    let (clock, ctx) = manual();
    let first = Script::new(&clock, [Act::Fail(1, ms(100))]);
    let second = Script::new(&clock, [Act::Answer(2, ms(0))]);
    let call = first
        .source()
        .fallback(second.source())
        .fetch(ctx.with_timeout(ms(100)), ());
    assert_eq!(
        failure(&Hand::new(call).finish(&clock).unwrap_err()),
        Some(1)
    );
    assert_eq!(second.calls(), 0);
}

#[test]
fn rule_26_both_failed_is_the_primarys_error_with_the_fallbacks_beside_it() {
    let (clock, ctx) = manual();
    let [first, second, third] =
        [1, 2, 3].map(|number| Script::new(&clock, [Act::Fail(number, ms(5))]));
    let retry = Retry::times(1).with_seed(7);
    let source = first
        .source()
        .retry(retry)
        .fallback(second.source())
        .fallback(third.source());
    let fault = Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap_err();
    assert_eq!(fault.to_string(), "failure 1 (2 attempts)");
    let others: Vec<_> = fault.others().iter().filter_map(failure).collect();
    assert_eq!(others, [2, 3]);
}

#[test]
fn rule_04_the_callers_end_is_not_answered_by_a_fallback() {
    for act in [Act::Wait, Act::Hang] {
        let (clock, ctx) = manual();
        let (ctx, canceller) = ctx.with_cancel();
        let first = Script::new(&clock, [act]);
        let second = Script::new(&clock, [Act::Answer(2, ms(0))]);
        let mut call = Hand::new(first.source().fallback(second.source()).fetch(ctx, ()));
        assert!(call.settle().is_pending());
        canceller.cancel();
        let Poll::Ready(Err(fault)) = call.settle() else {
            panic!("the caller has gone")
        };
        assert!(matches!(fault.kind(), FaultKind::Ended(_)));
        assert_eq!((second.calls(), first.open()), (0, 0));
    }
}

#[test]
fn rule_05_dropped_at_any_await_a_fallback_leaves_nothing() {
    for at in 0..20 {
        let (clock, ctx) = manual();
        let first = Script::new(&clock, [Act::Fail(1, ms(10))]);
        let second = Script::new(&clock, [Act::Wait]);
        let mut call = Hand::new(first.source().fallback(second.source()).fetch(ctx, ()));
        for _ in 0..at {
            assert!(call.settle().is_pending());
            clock.advance(ms(1));
        }
        call.cancel();
        assert_eq!((first.open(), second.open(), clock.armed()), (0, 0, 0));
    }
}

#[test]
fn rule_27_optional_is_none_where_it_failed_and_some_where_it_did_not() {
    let (clock, ctx) = manual();
    let script = Script::new(
        &clock,
        [Act::Answer(5, ms(1)), Act::Fail(1, ms(1)), Act::Hang],
    );
    let source = script.source().timeout(ms(100)).optional();
    let next = || {
        Hand::new(source.fetch(ctx.clone(), ()))
            .finish(&clock)
            .unwrap()
    };
    assert_eq!((next(), next(), next()), (Some(5), None, None));
    assert_eq!(script.open(), 0);
}

#[test]
fn rule_27_failed_and_late_are_distinct_in_the_record_that_each_leaves() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Fail(1, ms(1)), Act::Hang]);
    let lines = Lines::default();
    let page = Aggregator::in_place()
        .with_logger(lines.clone())
        .source("ads", script.source().timeout(ms(100)).optional());
    for _ in 0..2 {
        let answer = Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap();
        assert_eq!(answer, (None,));
    }
    let warnings = lines.of(log::Level::Warn);
    assert_eq!(
        warnings,
        [
            "ads: failed, answered without: failure 1",
            "ads: late, answered without: timed out after 100ms"
        ]
    );
}

#[test]
fn rule_04_the_callers_end_is_an_error_of_an_optional_source_too() {
    for act in [Act::Wait, Act::Hang] {
        let (clock, ctx) = manual();
        let script = Script::new(&clock, [act]);
        let call = script
            .source()
            .optional()
            .fetch(ctx.with_timeout(ms(100)), ());
        let fault = Hand::new(call).finish(&clock).unwrap_err();
        assert!(matches!(fault.kind(), FaultKind::Ended(end) if end.is_deadline_exceeded()));
        assert_eq!((script.open(), clock.armed()), (0, 0));
    }
}

#[test]
fn rule_04_a_failure_at_the_moment_of_the_callers_end_is_no_answer_either() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Fail(1, ms(100))]);
    let call = script
        .source()
        .optional()
        .fetch(ctx.with_timeout(ms(100)), ());
    let fault = Hand::new(call).finish(&clock).unwrap_err();
    assert_eq!(failure(&fault), Some(1), "the real error, but an error");
}

#[test]
fn rule_28_leaving_and_optional_make_a_partial_dashboard() {
    let (clock, ctx) = manual();
    let profile = Script::new(&clock, [Act::Answer(1, ms(10))]);
    let ads = Script::new(&clock, [Act::Hang]);
    let page = Aggregator::in_place()
        .with_timeout(ms(1_000))
        .source("profile", profile.source())
        .source("ads", ads.source().leaving(ms(50)).optional());
    let began = clock.now();
    let answer = Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap();
    assert_eq!(answer, (1, None));
    assert_eq!(
        clock.now() - began,
        ms(950),
        "by the aggregator's deadline, not the caller's"
    );
}

#[test]
fn rule_01_neither_begins_once_the_callers_context_is_done() {
    let (clock, ctx) = manual();
    let ctx = ctx.with_timeout(ms(0));
    let [first, second] = [1, 2].map(|number| Script::new(&clock, [Act::Answer(number, ms(0))]));
    let both = first.source().fallback(second.source());
    assert!(
        Hand::new(both.fetch(ctx.clone(), ()))
            .finish(&clock)
            .is_err()
    );
    assert!(
        Hand::new(first.source().optional().fetch(ctx, ()))
            .finish(&clock)
            .is_err()
    );
    assert_eq!((first.calls(), second.calls()), (0, 0));
}

#[test]
fn a_record_names_an_optional_source_that_was_not_called() {
    let (clock, ctx) = manual();
    let lines = Lines::default();
    let script = Script::new(&clock, [Act::Hang]);
    let limit = Limit::new(std::num::NonZeroUsize::MIN).with_queue(0);
    let source = script.source().limit(&limit);
    let mut first = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(first.poll().is_pending());
    let page = Aggregator::in_place()
        .with_logger(lines.clone())
        .source("orders", source.optional());
    Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap();
    assert_eq!(
        lines.of(log::Level::Warn),
        ["orders: not called, answered without: limit of 1 reached"]
    );
}
