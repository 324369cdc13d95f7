//! What follows from the source: `Send`, `Clone`, names; and what every policy accepts.

use crate::support::{Act, Hand, Script, failure, manual, ms};
use failfast::policy::{Backoff, Breaker, Hedge, Limit, Rate, Retry};
use failfast::{Aggregator, BoxError, Context, LocalAggregator, Name, Source, SourceExt};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

fn is_send<T: Send>(value: T) -> T {
    value
}

fn is_clone<T: Clone + Send + Sync + 'static>(value: T) -> T {
    value
}

#[test]
fn calls_are_send_where_the_sources_are_closures_included() {
    let source = || |_: Context, _: u64| async { Ok::<u32, BoxError>(1) };
    let (s, t) = (source(), source());
    let (retry, hedge) = (Retry::times(1), Hedge::after(ms(9)));
    let ctx = Context::background;
    let call = is_send(async move {
        s.timeout(ms(9)).fetch(ctx(), 7).await?;
        s.leaving(ms(9)).fetch(ctx(), 7).await?;
        s.retry(retry.clone()).fetch(ctx(), 7).await?;
        s.hedge(hedge.clone()).fetch(ctx(), 7).await?;
        s.fallback(t).fetch(ctx(), 7).await?;
        s.optional().fetch(ctx(), 7).await?;
        let all = s
            .timeout(ms(9))
            .hedge(hedge)
            .retry(retry)
            .fallback(t)
            .optional();
        all.fetch(ctx(), 7).await
    });
    assert_eq!(futures::executor::block_on(call).unwrap(), Some(1));
}

#[test]
fn wrapped_sources_are_clones_of_one_source_even_if_that_is_none() {
    struct Once; // not `Clone`
    impl Source<()> for Once {
        type Output = u32;
        type Error = Infallible;
        type Future = Ready<Result<u32, Infallible>>;
        fn fetch(&self, _: Context, (): ()) -> Self::Future {
            ready(Ok(5))
        }
    }
    let all = is_clone(
        Once.timeout(ms(9))
            .hedge(Hedge::after(ms(9)))
            .retry(Retry::times(1)),
    );
    let all = is_clone(all.clone().fallback(all).optional());
    assert_eq!(
        futures::executor::block_on(all.fetch(Context::background(), ())).unwrap(),
        Some(5)
    );
    assert!(format!("{all:?}").contains("Maybe"));
}

/// Answers with the name that it was called under.
#[derive(Clone)]
struct Named;

impl Source<()> for Named {
    type Output = Option<Name>;
    type Error = Infallible;
    type Future = Ready<Result<Option<Name>, Infallible>>;

    fn fetch(&self, _: Context, (): ()) -> Self::Future {
        ready(Ok(None))
    }

    fn fetch_as(&self, name: &Name, _: Context, (): ()) -> Self::Future {
        ready(Ok(Some(name.clone())))
    }
}

#[test]
fn every_policy_hands_the_name_on_and_so_does_an_arc() {
    let page = Aggregator::in_place()
        .source("bare", Named)
        .source("timeout", Named.timeout(ms(9)))
        .source("leaving", Named.leaving(ms(9)))
        .source("retry", Named.retry(Retry::times(1)))
        .source("hedge", Named.hedge(Hedge::after(ms(9))))
        .source("fallback", Named.fallback(Named))
        .source("arc", Arc::new(Named.timeout(ms(9))))
        .source(
            "all",
            Arc::new(Named)
                .timeout(ms(9))
                .retry(Retry::times(1))
                .leaving(ms(9)),
        );
    let names = futures::executor::block_on(page.aggregate(&Context::background(), ())).unwrap();
    let (a, b, c, d, e, f, g, h) = names;
    let names: Vec<_> = [a, b, c, d, e, f, g, h].into_iter().flatten().collect();
    assert_eq!(
        names,
        [
            "bare", "timeout", "leaving", "retry", "hedge", "fallback", "arc", "all"
        ]
    );
}

#[test]
fn the_second_of_a_fallback_and_a_later_attempt_hear_the_name_too() {
    let failing = |ctx: Context, (): ()| {
        ready(match ctx.attempt().number() {
            1 => Err(BoxError::from("not yet")),
            _ => Ok(None),
        })
    };
    let fallback = failing.fallback(Named);
    let page = Aggregator::in_place().source("ads", fallback);
    let (name,) = futures::executor::block_on(page.aggregate(&Context::background(), ())).unwrap();
    assert_eq!(name.unwrap(), "ads");
}

#[test]
fn policies_in_a_local_aggregator_wrap_sources_that_are_not_send() {
    let calls = Rc::new(Cell::new(0));
    let counted = calls.clone();
    let local = move |ctx: Context, (): ()| {
        let counted = counted.clone();
        async move {
            counted.set(counted.get() + 1);
            let number = Rc::new(ctx.attempt().number());
            ctx.sleep(ms(1)).await?;
            match *number {
                3 => Ok(number),
                _ => Err(BoxError::from("not yet")),
            }
        }
    };
    let (clock, ctx) = manual();
    let retry = Retry::times(2).with_backoff(Backoff::constant(ms(5)));
    let source = local
        .timeout(ms(100))
        .retry(retry)
        .fallback(local_never())
        .leaving(ms(5));
    let hedged = local_never().hedge(Hedge::after(ms(1))).optional();
    let page = LocalAggregator::in_place()
        .source("retried", source)
        .source("hedged", hedged.leaving(ms(50)).optional());
    let (number, none) = Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap();
    assert_eq!((*number, none, calls.get()), (3, None, 3));
}

/// Never answers, and is not `Send`.
fn local_never() -> impl Source<(), Output = Rc<u32>> + Clone {
    let local = Rc::new(());
    move |_: Context, (): ()| {
        let local = local.clone();
        async move {
            let _local = local;
            std::future::pending::<Result<Rc<u32>, BoxError>>().await
        }
    }
}

#[test]
fn policies_around_a_nested_aggregator_retry_it_as_a_whole() {
    let (clock, ctx) = manual();
    let profile = Script::new(&clock, [Act::Answer(1, ms(1))]);
    let orders = Script::new(
        &clock,
        [Act::Fail(7, ms(2)), Act::Hang, Act::Answer(2, ms(2))],
    );
    let user = Aggregator::in_place()
        .source("profile", profile.source())
        .source("orders", orders.source());
    let retry = Retry::times(2).with_backoff(Backoff::constant(ms(5)));
    let page = Aggregator::in_place().source("user", user.timeout(ms(100)).retry(retry));
    let ((answers,), began) = (
        Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap(),
        clock.now(),
    );
    assert_eq!(answers, (1, 2));
    assert_eq!((profile.calls(), orders.calls()), (3, 3));
    assert_eq!((profile.open(), orders.open(), clock.armed()), (0, 0, 0));
    assert_eq!(clock.now(), began);
    assert_eq!(
        orders.context(2).attempt().number(),
        3,
        "the sources have the number of the attempt"
    );
}

#[test]
fn a_nested_aggregators_error_is_in_the_fault_around_it() {
    let (clock, ctx) = manual();
    let orders = Script::new(&clock, [Act::Fail(7, ms(2))]);
    let user = Aggregator::in_place().source("orders", orders.source());
    let retry = Retry::times(1).with_backoff(Backoff::constant(ms(5)));
    let fault = Hand::new(user.retry(retry).fetch(ctx, ()))
        .finish(&clock)
        .unwrap_err();
    assert_eq!(fault.to_string(), "orders: failure 7 (2 attempts)");
    assert_eq!(failure(&fault), Some(7));
    let nested = fault.downcast_ref::<failfast::Error>().unwrap();
    assert_eq!(nested.task().unwrap(), "orders");
}

#[test]
fn foreign_types_of_requests_are_cloned_once_for_each_further_attempt() {
    #[derive(Debug)]
    struct Request(Arc<Mutex<u32>>);
    impl Clone for Request {
        fn clone(&self) -> Self {
            *self.0.lock().unwrap() += 1;
            Self(self.0.clone())
        }
    }
    let clones = Arc::new(Mutex::new(0));
    let failing = |_: Context, _: Request| ready(Err::<u32, _>(BoxError::from("refused")));
    let retry = Retry::times(2).with_backoff(Backoff::constant(ms(0)));
    let call = failing
        .timeout(ms(9))
        .retry(retry)
        .fetch(Context::background(), Request(clones.clone()));
    assert!(futures::executor::block_on(call).is_err());
    assert_eq!(*clones.lock().unwrap(), 3, "each of three attempts");
}

#[test]
fn debug_shows_what_a_policy_was_set_to() {
    let retry = Retry::times(2).with_backoff(Backoff::constant(ms(5)));
    assert_eq!(
        format!("{retry:?}"),
        "Retry { times: 2, backoff: Backoff { first: 5ms, factor: 1, max: 18446744073709551615.999999999s, \
         jitter: None }, budget: None, .. }"
    );
    let given = Retry::times(2).with_delays(|| [ms(5)].into_iter());
    assert_eq!(
        format!("{:?}", given.when(|_: &std::io::Error| true)),
        "Retry { times: 2, budget: None, when: std::io::error::Error, .. }"
    );
    let hedge = Hedge::after(ms(5)).times(3);
    assert_eq!(
        format!("{hedge:?}"),
        "Hedge { after: 5ms, times: 3, budget: None }"
    );
    assert_eq!(
        format!("{:?}", hedge.when(|_: &std::io::Error| true)),
        "Hedge { after: 5ms, times: 3, budget: None, when: std::io::error::Error }"
    );
    assert_eq!(
        format!("{:?}", Breaker::new("orders-db")),
        "Breaker { name: \"orders-db\", state: Closed, .. }"
    );
}

/// What the second poll of a call says that is ready at the first.
fn second_poll<A: Source<()>>(source: A) -> String {
    let mut call = Box::pin(source.fetch(Context::background(), ()));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_ready());
    let again = std::panic::AssertUnwindSafe(|| call.as_mut().poll(&mut cx).is_ready());
    let payload = std::panic::catch_unwind(again).expect_err("it panics");
    match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => *payload.downcast::<String>().expect("a text"),
    }
}

#[test]
fn a_call_that_is_polled_after_it_completed_panics_and_says_so() {
    let source = |_: Context, (): ()| ready(Ok::<_, BoxError>(1));
    let limit = Limit::new(std::num::NonZeroUsize::MIN);
    let rate = Rate::new(std::num::NonZeroU32::MIN, ms(1));
    let said = [
        second_poll(source.timeout(ms(9))),
        second_poll(source.leaving(ms(9))),
        second_poll(source.retry(Retry::times(1))),
        second_poll(source.limit(&limit)),
        second_poll(source.rate(&rate)),
        second_poll(source.breaker(&Breaker::new("orders-db"))),
        second_poll(source.fallback(source)),
        second_poll(source.optional()),
        second_poll(source.coalesce()),
    ];
    for text in said {
        assert!(text.contains("polled after it had completed"), "{text}");
    }
}
