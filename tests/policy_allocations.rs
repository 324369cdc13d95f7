//! Nothing allocates on the way of a first success, whatever the policies around it; a hedge excepted.
//!
//! A binary of its own, because it counts with the global allocator.

mod counting;

use counting::allocated;
use failfast::policy::{Backoff, Breaker, Budget, Limit, Rate, Retry};
use failfast::{Context, Source, SourceExt};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{self, Poll, Waker};
use std::time::Duration;

/// Answers at once, or at the second poll.
fn source(pends: bool) -> impl Source<u32, Output = u32, Error = Infallible> + Clone {
    move |_: Context, request: u32| {
        let mut pends = pends;
        poll_fn(move |cx| {
            if std::mem::take(&mut pends) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Ok(request))
        })
    }
}

fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = task::Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// How many allocations a hundred calls make, after a few that let grow whatever grows once.
fn allocations<A: Source<u32>>(source: &A, ctx: &Context) -> usize {
    let call = || assert!(run(source.fetch(ctx.clone(), 5)).is_ok());
    (0..3).for_each(|_| call());
    let before = allocated();
    (0..100).for_each(|_| call());
    allocated() - before
}

const LONG: Duration = Duration::from_secs(60);

/// Under every kind of caller's context, and whether the source answers at once or later.
fn assert_none<A: Source<u32>>(what: &str, wrap: impl Fn(bool) -> A) {
    let background = Context::background();
    let (canceled, _canceller) = background.with_cancel();
    let deadline = background.with_timeout(2 * LONG);
    for (kind, ctx) in [
        ("background", &background),
        ("cancel", &canceled),
        ("deadline", &deadline),
    ] {
        for pends in [false, true] {
            let made = allocations(&wrap(pends), ctx);
            assert_eq!(made, 0, "{what} under {kind}, pending: {pends}");
        }
    }
}

#[test]
fn a_bare_source_allocates_nothing() {
    assert_none("bare", source);
}

#[test]
fn timeout_allocates_nothing() {
    assert_none("timeout", |pends| source(pends).timeout(LONG));
    assert_none("leaving", |pends| source(pends).leaving(LONG));
}

#[test]
fn retry_allocates_nothing() {
    let budget = Budget::new();
    assert_none("retry", |pends| {
        let backoff = Backoff::exponential(LONG);
        source(pends).retry(Retry::times(2).with_backoff(backoff).with_budget(&budget))
    });
}

#[test]
fn fallback_and_optional_allocate_nothing() {
    assert_none("fallback", |pends| source(pends).fallback(source(pends)));
    assert_none("optional", |pends| source(pends).optional());
}

#[test]
fn limit_rate_and_breaker_allocate_nothing() {
    let limit = Limit::new(4.try_into().unwrap());
    let many = u32::MAX.try_into().unwrap();
    let rate = Rate::new(many, Duration::from_secs(1)).with_burst(many);
    let breaker = Breaker::new("orders-db");
    assert_none("limit", |pends| source(pends).limit(&limit));
    assert_none("rate", |pends| source(pends).rate(&rate));
    assert_none("breaker", |pends| source(pends).breaker(&breaker));
}

#[test]
fn all_of_them_allocate_nothing() {
    let budget = Budget::new();
    let limit = Limit::new(4.try_into().unwrap());
    let many = u32::MAX.try_into().unwrap();
    let rate = Rate::new(many, Duration::from_secs(1)).with_burst(many);
    let breaker = Breaker::new("orders-db");
    assert_none("all", |pends| {
        source(pends)
            .timeout(LONG)
            .limit(&limit)
            .rate(&rate)
            .breaker(&breaker)
            .retry(Retry::times(2).with_budget(&budget))
            .fallback(source(pends))
            .leaving(Duration::from_secs(1))
            .optional()
    });
}
