//! Policies inside of an aggregator: what is in its error.

use crate::support::{Act, Failure, Hand, Script, manual, ms};
use failfast::clock::ManualClock;
use failfast::policy::{Backoff, Breaker, Fault, FaultKind, Hedge, Limit, Rejection, Retry, Stop};
use failfast::{Aggregator, Context, Error, ErrorKind, LocalAggregator, Source, SourceExt};
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use std::task::Poll;

fn ten(times: u32) -> Retry {
    Retry::times(times).with_backoff(Backoff::constant(ms(10)))
}

/// Runs an aggregation of one source, `orders`, in place and on an executor.
fn aggregated<A>(
    make: impl Fn(&ManualClock) -> A,
    end: impl Fn(&ManualClock, &Context) -> Context,
) -> [Error; 2]
where
    A: Source<(), Output = u32> + Send + Sync + 'static,
    A::Future: Send,
{
    let in_place = {
        let (clock, ctx) = manual();
        let ctx = end(&clock, &ctx);
        let page = Aggregator::in_place()
            .with_timeout(ms(1_000))
            .source("orders", make(&clock));
        Hand::new(page.aggregate(&ctx, ()))
            .finish(&clock)
            .unwrap_err()
    };
    let spawned = {
        let (clock, ctx) = manual();
        let ctx = end(&clock, &ctx);
        let mut pool = LocalPool::new();
        let spawner = pool.spawner();
        let page = LocalAggregator::new(move |task| spawner.spawn_local(task))
            .with_timeout(ms(1_000))
            .source("orders", make(&clock));
        let mut call = Hand::new(page.aggregate(&ctx, ()));
        loop {
            pool.run_until_stalled();
            if let Poll::Ready(result) = call.settle() {
                break result.unwrap_err();
            }
            pool.run_until_stalled();
            if call.wakes() == 0 {
                assert!(clock.advance_to_next(), "it waits, and no timer is armed");
            }
        }
    };
    [in_place, spawned]
}

#[test]
fn the_last_real_error_stands_in_others_of_an_aggregator_that_ended_by_its_context() {
    for second in [Act::Hang, Act::Wait] {
        let source = |clock: &ManualClock| {
            let acts = [Act::Fail(7, ms(5)), second.clone()];
            Script::new(clock, acts).source().retry(ten(5))
        };
        for error in aggregated(source, |_, ctx| ctx.clone()) {
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            assert_eq!(error.pending(), ["orders"]);
            let others: Vec<_> = error.others().iter().map(Error::to_string).collect();
            assert_eq!(
                others,
                ["orders: failure 7 (2 attempts; its context ended)"]
            );
            assert_eq!(error.others()[0].downcast_ref(), Some(&Failure(7)));
        }
    }
}

#[test]
fn an_end_that_nothing_failed_before_is_an_echo() {
    let source = |clock: &ManualClock| Script::new(clock, [Act::Hang]).source().retry(ten(5));
    for error in aggregated(source, |_, ctx| ctx.clone()) {
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(error.others().is_empty(), "{:?}", error.others());
    }
}

#[test]
fn a_policys_own_timeout_is_a_failure_of_its_source_and_a_timeout() {
    let source = |clock: &ManualClock| Script::new(clock, [Act::Hang]).source().timeout(ms(300));
    for error in aggregated(source, |_, ctx| ctx.clone()) {
        assert_eq!(error.to_string(), "orders: timed out after 300ms");
        assert_eq!((error.kind(), error.is_timeout()), (ErrorKind::Task, true));
        assert!(
            !error.is_deadline_exceeded(),
            "the aggregator's own deadline did not pass"
        );
        let fault = error.downcast_ref::<Fault>().unwrap();
        assert!(matches!(fault.kind(), FaultKind::TimedOut { after } if *after == ms(300)));
    }
}

#[test]
fn a_tie_with_the_aggregators_deadline_is_the_aggregators() {
    let source = |clock: &ManualClock| Script::new(clock, [Act::Hang]).source().timeout(ms(1_000));
    for error in aggregated(source, |_, ctx| ctx.clone()) {
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }
}

#[test]
fn the_first_failure_cuts_a_retry_of_another_source_at_once() {
    let (clock, ctx) = manual();
    let orders = Script::new(&clock, [Act::Fail(1, ms(1))]);
    let profile = Script::new(&clock, [Act::Fail(2, ms(5))]);
    let page = Aggregator::in_place()
        .source("orders", orders.source().retry(ten(99)))
        .source("profile", profile.source());
    let began = clock.now();
    let error = Hand::new(page.aggregate(&ctx, ()))
        .finish(&clock)
        .unwrap_err();
    assert_eq!(error.to_string(), "profile: failure 2");
    assert_eq!(clock.now() - began, ms(5));
    assert_eq!(
        error.others()[0].to_string(),
        "orders: failure 1 (1 attempt; its context ended)"
    );
    assert_eq!((orders.calls(), clock.armed()), (1, 0));
}

#[test]
fn timeout_inside_of_retry_measures_each_attempt_and_outside_all_together() {
    let (clock, ctx) = manual();
    let run = |source: &dyn Fn(&Script) -> Hand<_>| {
        let script = Script::new(&clock, [Act::Hang]);
        let began = clock.now();
        let mut call: Hand<futures::future::BoxFuture<'static, Result<u32, Fault>>> =
            source(&script);
        let fault = call.finish(&clock).unwrap_err();
        (script.calls(), clock.now() - began, fault.to_string())
    };
    let inside = run(&|script| {
        Hand::new(Box::pin(
            script
                .source()
                .timeout(ms(100))
                .retry(ten(2))
                .fetch(ctx.clone(), ()),
        ))
    });
    assert_eq!(
        inside,
        (3, ms(320), "timed out after 100ms (3 attempts)".to_owned())
    );
    let outside = run(&|script| {
        Hand::new(Box::pin(
            script
                .source()
                .retry(ten(2))
                .timeout(ms(100))
                .fetch(ctx.clone(), ()),
        ))
    });
    assert_eq!(outside, (1, ms(100), "timed out after 100ms".to_owned()));
}

#[test]
fn retry_around_hedge_around_limit_never_exceeds_the_limit() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Fail(1, ms(200))]);
    let two = Limit::new(2.try_into().unwrap());
    let hedge = Hedge::after(ms(50)).times(3);
    let source = script.source().limit(&two).hedge(hedge).retry(ten(1));
    let mut call = Hand::new(source.fetch(ctx, ()));
    let fault = loop {
        assert!(script.open() <= 2, "{} at once", script.open());
        match call.settle() {
            Poll::Ready(answer) => break answer.unwrap_err(),
            Poll::Pending => assert!(clock.advance_to_next()),
        }
    };
    assert_eq!(
        (script.calls(), fault.attempts()),
        (8, 8),
        "(1 + 1) x (1 + 3)"
    );
    assert_eq!(script.open(), 0);
}

#[test]
fn retry_around_limit_waits_within_the_callers_deadline_alone() {
    // `timeout` inside of `limit` measures the service and not the queue.
    let (clock, ctx) = manual();
    let one = Limit::new(1.try_into().unwrap());
    let busy = Script::new(&clock, [Act::Answer(1, ms(500))]);
    let mut first = Hand::new(busy.source().limit(&one).fetch(ctx.clone(), ()));
    assert!(first.settle().is_pending());
    let script = Script::new(&clock, [Act::Answer(2, ms(90))]);
    let inside = script.source().timeout(ms(100)).limit(&one);
    let outside = script.source().limit(&one).timeout(ms(100));
    let (mut waits, mut late) = (
        Hand::new(inside.fetch(ctx.clone(), ())),
        Hand::new(outside.fetch(ctx, ())),
    );
    assert!(waits.settle().is_pending() && late.settle().is_pending());
    clock.advance(ms(100));
    let Poll::Ready(Err(fault)) = late.settle() else {
        panic!("it waited for too long")
    };
    assert_eq!(fault.to_string(), "timed out after 100ms");
    assert!(waits.settle().is_pending());
    clock.advance(ms(400));
    assert_eq!(first.finish(&clock).unwrap(), 1);
    assert_eq!(waits.finish(&clock).unwrap(), 2);
}

#[test]
fn a_breaker_shared_by_two_aggregators_opens_for_both() {
    let (clock, ctx) = manual();
    let breaker =
        Breaker::new("orders-db").with_trip(3.try_into().unwrap(), 10.try_into().unwrap());
    let script = Script::new(&clock, [Act::Fail(1, ms(1))]);
    let page = || Aggregator::in_place().source("orders", script.source().breaker(&breaker));
    let (first, second) = (page(), page());
    for page in [&first, &second, &first] {
        let error = Hand::new(page.aggregate(&ctx, ()))
            .finish(&clock)
            .unwrap_err();
        assert_eq!(error.to_string(), "orders: failure 1");
    }
    for page in [&first, &second] {
        let error = Hand::new(page.aggregate(&ctx, ()))
            .finish(&clock)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "orders: orders-db is open for another 5s"
        );
    }
    assert_eq!(script.calls(), 3);
}

#[test]
fn rule_07_a_policys_rejection_is_not_tried_again_by_default() {
    let (clock, ctx) = manual();
    let full = Limit::new(1.try_into().unwrap()).with_queue(0);
    let busy = Script::new(&clock, [Act::Hang]);
    let mut holder = Hand::new(busy.source().limit(&full).fetch(ctx.clone(), ()));
    assert!(holder.settle().is_pending());
    let script = Script::new(&clock, [Act::Answer(2, ms(0))]);
    let source = script.source().limit(&full);
    let began = clock.now();
    let fault = Hand::new(source.clone().retry(ten(3)).fetch(ctx.clone(), ()))
        .finish(&clock)
        .unwrap_err();
    assert!(matches!(
        fault.kind(),
        FaultKind::Rejected(Rejection::LimitFull)
    ));
    assert!(matches!(fault.stopped(), Some(Stop::Advised)));
    assert_eq!((clock.now() - began, script.calls()), (ms(0), 0));
    assert_eq!(fault.to_string(), "limit of 1 reached");
    // Nor does it launch a hedge.
    let hedged = source.clone().hedge(Hedge::after(ms(50)).times(3));
    let Poll::Ready(Err(_)) = Hand::new(hedged.fetch(ctx.clone(), ())).settle() else {
        panic!("fatal")
    };
    // Where a `when` returns yes, it is.
    let retry = ten(3).when(|fault: &Fault| matches!(fault.kind(), FaultKind::Rejected(_)));
    let mut call = Hand::new(source.retry(retry).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    holder.cancel();
    assert_eq!(call.finish(&clock).unwrap(), 2);
}

#[test]
fn rule_02_a_rejection_of_a_later_attempt_does_not_replace_the_real_error() {
    let (clock, ctx) = manual();
    let breaker = Breaker::new("orders-db").with_trip(1.try_into().unwrap(), 1.try_into().unwrap());
    let script = Script::new(&clock, [Act::Fail(7, ms(1))]);
    let source = script.source().breaker(&breaker).retry(ten(3));
    let fault = Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap_err();
    assert_eq!(fault.downcast_ref(), Some(&Failure(7)));
    assert!(matches!(fault.stopped(), Some(Stop::Advised)));
    assert_eq!((fault.attempts(), script.calls()), (2, 1));
    let rejected = fault.history()[1].error.as_ref().unwrap();
    assert!(matches!(
        rejected.kind(),
        FaultKind::Rejected(Rejection::BreakerOpen { .. })
    ));
    assert_eq!(
        fault.retry_after(),
        rejected.retry_after(),
        "when it makes sense to ask again"
    );
}

#[test]
fn rule_13_a_permit_is_free_while_a_retry_waits() {
    let (clock, ctx) = manual();
    let one = Limit::new(1.try_into().unwrap());
    let failing = Script::new(&clock, [Act::Fail(1, ms(1))]);
    let mut waiting = Hand::new(
        failing
            .source()
            .limit(&one)
            .retry(ten(1))
            .fetch(ctx.clone(), ()),
    );
    assert!(waiting.settle().is_pending());
    clock.advance(ms(1));
    assert!(waiting.settle().is_pending());
    let other = Script::new(&clock, [Act::Answer(2, ms(0))]);
    let call = other.source().limit(&one).fetch(ctx, ());
    assert!(matches!(Hand::new(call).poll(), Poll::Ready(Ok(2))));
}

#[test]
fn rule_24_a_hedges_loser_counts_for_no_breaker() {
    let (clock, ctx) = manual();
    let breaker = Breaker::new("orders-db").with_trip(1.try_into().unwrap(), 1.try_into().unwrap());
    let script = Script::new(&clock, [Act::Wait, Act::Answer(2, ms(1))]);
    let source = script
        .source()
        .breaker(&breaker)
        .hedge(Hedge::after(ms(50)));
    assert_eq!(
        Hand::new(source.fetch(ctx.clone(), ()))
            .finish(&clock)
            .unwrap(),
        2
    );
    assert_eq!(breaker.state(&ctx), failfast::policy::BreakerState::Closed);
}
