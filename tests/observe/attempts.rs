//! What policies report of their attempts.

use crate::support::{Log, at_most, check_order, manual, ms};
use failfast::clock::ManualClock;
use failfast::observe::Recorder;
use failfast::policy::{Backoff, Breaker, Hedge, Jitter, Limit, Rate, Retry};
use failfast::{Aggregator, BoxError, Context, Source, SourceExt};
use futures::executor::block_on;
use futures::future::BoxFuture;
use std::future::Future;
use std::task::{self, Poll, Waker};

/// Runs a future, and advances the time by a millisecond whenever it waits.
fn run<T>(clock: &ManualClock, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = task::Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        clock.advance(ms(1));
    }
    panic!("hangs");
}

/// Takes so long, and answers from its attempt `good` on.
fn unsteady(
    good: u32,
    delay: u64,
) -> impl Fn(Context, ()) -> BoxFuture<'static, Result<u32, BoxError>> + Clone {
    move |ctx, ()| {
        Box::pin(async move {
            ctx.sleep(ms(delay)).await?;
            let number = ctx.attempt().number();
            if number < good {
                Err("refused".into())
            } else {
                Ok(number)
            }
        })
    }
}

fn backoff() -> Backoff {
    Backoff::constant(ms(5)).with_jitter(Jitter::None)
}

/// The attempts' lines of the one source of an aggregation.
fn attempts<A>(source: A) -> Vec<String>
where
    A: Source<()> + Send + Sync + 'static,
    A::Future: Send + 'static,
    A::Output: Send + 'static,
{
    let log = Log::default();
    let (clock, ctx) = manual(log.clone());
    let aggregator = Aggregator::in_place().source("orders", source);
    let _ = run(&clock, aggregator.aggregate(&ctx, ()));
    check_order(&log);
    log.all()
        .into_iter()
        .filter(|line| line.starts_with("attempt"))
        .collect()
}

#[test]
fn retry_reports_each_attempt_its_error_and_the_wait() {
    let retry = Retry::times(2).with_backoff(backoff());
    assert_eq!(
        attempts(unsteady(2, 1).retry(retry)),
        [
            "attempt 0 1 started",
            "attempt 0 1 failed: refused",
            "attempt 0 1 waits for 5ms",
            "attempt 0 2 started",
            "attempt 0 2 succeeded",
        ]
    );
}

#[test]
fn last_failure_has_no_wait_behind_it() {
    let retry = Retry::times(1).with_backoff(Backoff::constant(ms(0)));
    assert_eq!(
        attempts(unsteady(9, 1).retry(retry)),
        [
            "attempt 0 1 started",
            "attempt 0 1 failed: refused",
            "attempt 0 2 started",
            "attempt 0 2 failed: refused",
        ]
    );
}

#[test]
fn hedge_reports_each_attempt_that_failed_and_none_where_it_makes_no_further_ones() {
    let fails = unsteady(9, 1);
    assert_eq!(
        attempts(fails.clone().hedge(Hedge::after(ms(9)))),
        [
            "attempt 0 1 started",
            "attempt 0 1 failed: refused",
            "attempt 0 2 hedge started",
            "attempt 0 2 hedge failed: refused",
        ]
    );
    let none: [&str; 0] = [];
    assert_eq!(attempts(fails.hedge(Hedge::after(ms(9)).times(0))), none);
}

#[test]
fn hedge_reports_the_winner_and_the_attempt_that_was_cut() {
    let hangs = |ctx: Context, (): ()| async move {
        let delay = if ctx.attempt().is_hedge() { 3 } else { 1000 };
        ctx.sleep(ms(delay)).await.map(|()| 1)
    };
    assert_eq!(
        attempts(hangs.hedge(Hedge::after(ms(2)))),
        [
            "attempt 0 1 started",
            "attempt 0 2 hedge started",
            "attempt 0 2 hedge succeeded",
            "attempt 0 1 cut",
        ]
    );
}

#[test]
fn of_policies_around_one_another_the_innermost_reports() {
    let inner = unsteady(3, 1).retry(Retry::times(1).with_backoff(Backoff::constant(ms(0))));
    let both = inner.retry(Retry::times(1).with_backoff(Backoff::constant(ms(0))));
    let lines = attempts(both);
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.ends_with("started"))
            .count(),
        4,
        "{lines:?}"
    );
    let outer = Hedge::after(ms(50)).times(0);
    assert_eq!(attempts(unsteady(1, 1).hedge(outer)), Vec::<String>::new());
}

#[test]
fn callers_end_cuts_the_attempt() {
    let log = Log::default();
    let (clock, ctx) = manual(log.clone());
    let slow = unsteady(1, 1000).retry(Retry::times(1));
    let aggregator = Aggregator::in_place()
        .with_timeout(ms(3))
        .source("orders", slow);
    assert!(run(&clock, aggregator.aggregate(&ctx, ())).is_err());
    assert_eq!(log.count("attempt 0 1 started"), 1);
    assert_eq!(log.count("attempt 0 1 cut"), 1);
}

#[test]
fn limit_rate_and_breaker_report_what_they_refuse() {
    let limit = Limit::new(at_most(1)).with_queue(0);
    let held = unsteady(1, 1000).limit(&limit);
    let mut holder = Box::pin(held.fetch(Context::background(), ()));
    let mut cx = task::Context::from_waker(Waker::noop());
    assert!(holder.as_mut().poll(&mut cx).is_pending());
    let lines = attempts(unsteady(1, 1).limit(&limit));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("attempt 0 1 rejected: "), "{lines:?}");
    drop(holder);

    let breaker = Breaker::new("orders-db").with_trip(1.try_into().unwrap(), 1.try_into().unwrap());
    let guarded = unsteady(9, 1).breaker(&breaker);
    assert_eq!(
        attempts(guarded.clone()),
        ["attempt 0 1 breaker was closed and is open"]
    );
}

#[test]
fn breaker_that_is_open_reports_that_it_refused() {
    let log = Log::default();
    let (clock, ctx) = manual(log.clone());
    let breaker = Breaker::new("orders-db").with_trip(1.try_into().unwrap(), 1.try_into().unwrap());
    let aggregator = Aggregator::in_place().source("orders", unsteady(9, 1).breaker(&breaker));
    assert!(run(&clock, aggregator.aggregate(&ctx, ())).is_err());
    assert!(run(&clock, aggregator.aggregate(&ctx, ())).is_err());
    let of_second = log.of(1);
    let refused = of_second.iter().find(|line| line.starts_with("attempt"));
    assert!(
        refused
            .unwrap()
            .starts_with("attempt 0 1 rejected: orders-db is open"),
        "{of_second:?}"
    );
}

#[test]
fn rate_that_would_wait_too_long_reports_that_it_refused() {
    let log = Log::default();
    let (clock, ctx) = manual(log.clone());
    let rate = Rate::new(1.try_into().unwrap(), ms(1000)).with_burst(1.try_into().unwrap());
    let aggregator = Aggregator::in_place()
        .with_timeout(ms(100))
        .source("orders", unsteady(1, 1).rate(&rate));
    assert!(run(&clock, aggregator.aggregate(&ctx, ())).is_ok());
    assert!(run(&clock, aggregator.aggregate(&ctx, ())).is_err());
    assert_eq!(log.count("attempt 0 1 rejected: "), 1, "{:#?}", log.all());
}

/// There is no task to report.
#[test]
fn outside_of_a_task_there_is_nothing_to_report() {
    let log = Log::default();
    let (clock, ctx) = manual(log.clone());
    let source = unsteady(2, 1).retry(Retry::times(2).with_backoff(backoff()));
    assert_eq!(run(&clock, source.fetch(ctx, ())).unwrap(), 2);
    assert!(log.all().is_empty());
}

fn recorded(
    source: impl Fn(Context, ()) -> BoxFuture<'static, Result<u32, BoxError>>
    + Clone
    + Send
    + Sync
    + 'static,
) -> Recorder {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let retried = source.retry(Retry::times(2).with_backoff(backoff()));
    let aggregator = Aggregator::in_place()
        .with_name("page")
        .source("orders", retried);
    let _ = run(&clock, aggregator.aggregate(&ctx, ()));
    recorder
}

#[test]
fn attempts_are_rows_of_their_own_in_every_drawing() {
    let recorder = recorded(unsteady(2, 10));
    let expected = "\
\x20  timeline  0ms                                25.0ms
page         |---------------------------------------o closed at 25.0ms
orders       |=======================================o finished at 25.0ms
  attempt 1  |---------------! failed at 10.0ms: refused
  attempt 2                  |.......----------------o succeeded at 25.0ms
deadline                                             > 5000ms, not reached
";
    assert_eq!(recorder.timeline().to_string(), expected);
    let svg = recorder.to_svg();
    crate::picture::check(&svg);
    assert!(svg.contains("attempt 2: waited for 5.0ms"), "{svg}");
    let mut trace = Vec::new();
    recorder.write_chrome_trace(&mut trace).unwrap();
    let shown = crate::chrome::check(&trace);
    let names: Vec<_> = shown
        .names
        .iter()
        .filter(|name| name.contains("attempt"))
        .collect();
    assert_eq!(
        names,
        ["attempt 1", "waiting for the next attempt", "attempt 2"]
    );
    let json: serde_json::Value = serde_json::from_str(&recorder.to_json()).unwrap();
    let events = json["events"].as_array().unwrap();
    let failed = events
        .iter()
        .find(|event| event["kind"] == "failed")
        .unwrap();
    assert_eq!(
        (&failed["attempt"], &failed["hedge"], &failed["text"]),
        (&1.into(), &false.into(), &"refused".into())
    );
}

#[test]
fn single_attempt_shows_nothing_that_its_task_does_not() {
    let drawn = recorded(unsteady(1, 10)).timeline().to_string();
    assert!(!drawn.contains("attempt"), "{drawn}");
}

/// A recorder keeps no fault, as it keeps no error.
#[test]
fn fault_of_an_attempt_can_be_taken_by_value() {
    let recorder = Recorder::new();
    let ctx = Context::background().with_observer(recorder);
    let fails = |_: Context, (): ()| async {
        Err::<u8, _>(std::io::Error::from(std::io::ErrorKind::NotFound))
    };
    let aggregator = Aggregator::in_place().source("orders", fails.retry(Retry::times(0)));
    let error = block_on(aggregator.aggregate(&ctx, ())).unwrap_err();
    assert!(error.downcast::<std::io::Error>().is_ok());
}
