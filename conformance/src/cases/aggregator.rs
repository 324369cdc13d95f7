//! What of aggregators a runtime could spoil, besides the kata: their size, nesting, and being dropped.

use super::tools::{Census, Gate, Memory, assert_ended, at_most};
use super::{Place, Runtime};

use failfast::clock::ManualClock;
use failfast::{Context, Error, ErrorKind};
use futures::future::{join, select};
use futures_lite::future::yield_now;
use log::Level;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Around what the combinators of `futures` treat differently (30), a word of bits (64), and beyond.
const SIZES: [usize; 10] = [1, 2, 30, 31, 32, 33, 64, 65, 256, 1000];

/// A clock that stands still, and a context that uses it.
fn stopped() -> (ManualClock, Context) {
    let clock = ManualClock::new();
    let ctx = Context::background().with_clock(clock.clone());
    (clock, ctx)
}

/// Moves the clock to its next alarm, once there is one.
async fn advance_when_armed<R: Runtime>(clock: &ManualClock) {
    while !clock.advance_to_next() {
        R::others_run().await;
    }
}

/// Yields so often.
async fn yields(times: usize) {
    for _ in 0..times {
        yield_now().await;
    }
}

/// Section 5: any number of sources, in their order, whichever came first.
pub async fn many_sources<R: Runtime>(place: R::Place) {
    let huge = R::TRIES_HUGE_SIZES.then_some(10_000);
    for size in SIZES.into_iter().chain(huge) {
        let shards = (0..size).map(|number| {
            let shard = move |_: Context, request: usize| async move {
                yields((number * 7) % 5).await;
                Ok::<_, Infallible>(request + number)
            };
            (format!("shard {number}"), shard)
        });
        let all = place.aggregator().sources(shards);
        let answers = all.aggregate(&R::background(), 7).await.unwrap();
        assert!(answers.into_iter().eq(7..7 + size), "{size} sources");
        let counted = all.map(|answers| answers.len());
        assert_eq!(counted.aggregate(&R::background(), 7).await.unwrap(), size);
    }
}

/// Section 5: the first failure ends them all, wherever it stands.
pub async fn many_sources_and_one_fails<R: Runtime>(place: R::Place) {
    for size in SIZES {
        for bad in [0, size / 2, size - 1] {
            let census = Census::default();
            let shards = (0..size).map(|number| {
                let census = census.clone();
                let shard = move |_: Context, _: u64| {
                    let citizen = census.citizen();
                    async move {
                        let _citizen = citizen;
                        if number != bad {
                            return pending().await;
                        }
                        yield_now().await;
                        Err::<u64, _>("down")
                    }
                };
                (format!("shard {number}"), shard)
            });
            let all = place.aggregator().sources(shards);
            let error = all.aggregate(&R::background(), 7).await.unwrap_err();
            assert_eq!(error.to_string(), format!("shard {bad}: down"));
            assert_eq!(census.live(), 0);
        }
    }
}

/// Section 5: the deadline ends them all, and the error names those that did not answer: at most 8.
pub async fn many_sources_and_a_deadline<R: Runtime>(place: R::Place) {
    for size in SIZES {
        let ((clock, ctx), census) = (stopped(), Census::default());
        let shards = (0..size).map(|number| {
            let census = census.clone();
            let shard = move |_: Context, _: u64| {
                let citizen = census.citizen();
                async move {
                    let _citizen = citizen;
                    pending::<Result<u64, Infallible>>().await
                }
            };
            (number.to_string(), shard)
        });
        let all = place.aggregator().with_timeout(SECOND).sources(shards);
        let (outcome, ()) = join(all.aggregate(&ctx, 7), advance_when_armed::<R>(&clock)).await;
        let error = outcome.unwrap_err();
        assert!(error.is_deadline_exceeded());
        assert!(
            error
                .pending()
                .iter()
                .map(|name| name.to_string())
                .eq((0..size).map(|n| n.to_string()))
        );
        let text = error.to_string();
        let (told, ninth) = ("timeout of 1s (waiting for 0", "7, 8");
        assert!(text.contains(told) && !text.contains(ninth), "{text}");
        let more = (size - size.min(8)).to_string();
        assert!(size <= 8 || text.contains(&more), "{text}");
        assert_eq!(census.live(), 0);
    }
}

/// Section 5: a limit holds for sources, and all are called.
pub async fn many_sources_at_a_limit<R: Runtime>(place: R::Place) {
    let census = Census::default();
    let shards = (0..100).map(|number| {
        let census = census.clone();
        let shard = move |_: Context, _: u64| {
            let census = census.clone();
            async move {
                let _running = census.citizen();
                yield_now().await;
                Ok::<_, Infallible>(number)
            }
        };
        (format!("shard {number}"), shard)
    });
    let all = place.aggregator().with_limit(at_most(3)).sources(shards);
    let answers = all.aggregate(&R::background(), 7).await.unwrap();
    assert!(answers.into_iter().eq(0..100));
    assert!(census.peak() <= 3, "{} ran at once", census.peak());
    assert_eq!((census.born(), census.live()), (100, 0));
}

/// Section 5: `settled`: every source runs to its end, and only its failures fail.
pub async fn settled<R: Runtime>(place: R::Place) {
    let memory = Memory::default();
    let failed = Gate::default();
    let failing = failed.clone();
    let profile = move |_: Context, _: u64| {
        failing.open();
        ready(Err::<&str, _>("down"))
    };
    let orders = move |ctx: Context, _: u64| {
        let failed = failed.clone();
        async move {
            failed.wait().await;
            yields(10).await;
            assert!(!ctx.is_done(), "nothing ends it");
            Ok::<_, Infallible>(5)
        }
    };
    let both = place
        .aggregator()
        .with_logger(memory.clone())
        .source("profile", profile)
        .source("orders", orders)
        .settled();
    let (profile, orders): (Result<&str, Error>, Result<i32, Error>) =
        both.aggregate(&R::background(), 7).await.unwrap();
    assert_eq!(profile.unwrap_err().to_string(), "profile: down");
    assert_eq!(orders.unwrap(), 5);
    let lines = memory.lines();
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(line.level, Level::Warn);
    assert!(line.message.contains("profile"), "{line:?}");
    assert!(!line.message.contains("orders"), "{line:?}");
}

/// Section 5: `settled` over `sources`: a `Vec` of outcomes, in order.
pub async fn settled_sources<R: Runtime>(place: R::Place) {
    let shards = (0..65).map(|number| {
        let shard = move |_: Context, _: u64| async move {
            yields(number % 3).await;
            match number % 2 {
                0 => Ok(number),
                _ => Err(format!("no {number}")),
            }
        };
        (format!("shard {number}"), shard)
    });
    let all = place.aggregator().sources(shards).settled();
    let outcomes = all.aggregate(&R::background(), 7).await.unwrap();
    assert_eq!(outcomes.len(), 65);
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(answer) => assert_eq!((answer, number % 2), (number, 0)),
            Err(error) => {
                let text = format!("shard {number}: no {number}");
                assert_eq!((error.to_string(), number % 2), (text, 1));
            }
        }
    }
}

/// Section 5: only the caller's end fails a settled one as a whole.
pub async fn settled_and_the_caller_cancels<R: Runtime>(place: R::Place) {
    let (asked, (ctx, canceller)) = (Gate::default(), R::background().with_cancel());
    let opening = asked.clone();
    let both = place
        .aggregator()
        .source("profile", |_: Context, _: u64| ready(Err::<u64, _>("down")))
        .source("orders", move |_: Context, _: u64| {
            opening.open();
            pending::<Result<u64, Infallible>>()
        })
        .settled();
    let cancel = async {
        asked.wait().await;
        canceller.cancel_with("client went away");
    };
    let (outcome, ()) = join(both.aggregate(&ctx, 7), cancel).await;
    let error = outcome.unwrap_err();
    assert!(error.is_canceled());
    assert_ended(&error, "context canceled: client went away");
}

/// Section 5: an aggregator is a source: they nest, and the root cause stays at hand.
pub async fn nested_aggregators<R: Runtime>(place: R::Place) {
    #[derive(Debug, thiserror::Error)]
    #[error("no such user {0}")]
    struct NoUser(u64);

    let name = |_: Context, id: u64| async move {
        yield_now().await;
        match id {
            0 => Err(NoUser(id)),
            _ => Ok("Alice"),
        }
    };
    let count = |_: Context, id: u64| ready(Ok::<_, Infallible>(id * 5));
    let user = place.aggregator().with_name("user").source("name", name);
    let page = place
        .aggregator()
        .with_name("page")
        .source("user", user.map(|(name,)| format!("Name: {name}")))
        .source("orders", count)
        .join(" | ");
    let all = place
        .aggregator()
        .with_name("site")
        .source("page", page.clone())
        .source("copy", page);
    let (one, two) = all.aggregate(&R::background(), 1).await.unwrap();
    assert_eq!((&*one, &*two), ("Name: Alice | 5", "Name: Alice | 5"));
    let error = all.aggregate(&R::background(), 0).await.unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with(": user: name: no such user 0"), "{text}");
    assert_eq!(error.kind(), ErrorKind::Task);
    assert_eq!(error.downcast_ref::<NoUser>().unwrap().0, 0);
}

/// Section 5: the outer timeout ends the inner one, and the error names it.
pub async fn nested_aggregators_and_the_outer_timeout<R: Runtime>(place: R::Place) {
    let ((clock, ctx), census) = (stopped(), Census::default());
    let counting = census.clone();
    let never = move |_: Context, _: u64| {
        let citizen = counting.citizen();
        async move {
            let _citizen = citizen;
            pending::<Result<u64, Infallible>>().await
        }
    };
    let inner = place.aggregator().with_name("inner").source("leaf", never);
    let outer = place
        .aggregator()
        .with_name("outer")
        .with_timeout(SECOND)
        .source("inner", inner);
    let advance = async {
        while census.born() == 0 {
            R::others_run().await; // the timers are armed before the sources start
        }
        advance_when_armed::<R>(&clock).await;
    };
    let (outcome, ()) = join(outer.aggregate(&ctx, 7), advance).await;
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "context deadline exceeded: outer's timeout of 1s (waiting for inner)"
    );
    // The outer one waits until the inner one's sources are gone.
    assert_eq!((census.born(), census.live()), (1, 0));
}

/// Section 5: one record for a dropped aggregation too, at level debug; none if it was never polled.
pub async fn dropped_aggregation_logs_one_debug_record<R: Runtime>(place: R::Place) {
    let (asked, memory) = (Gate::default(), Memory::default());
    let opening = asked.clone();
    let dashboard = place
        .aggregator()
        .with_name("dashboard")
        .with_logger(memory.clone())
        .source("profile", move |_: Context, _: u64| {
            opening.open();
            pending::<Result<u64, Infallible>>()
        });
    let (_clock, ctx) = stopped(); // its timeout must not be what ends it
    drop(dashboard.aggregate(&ctx, 1));
    assert!(memory.lines().is_empty(), "it was never polled");
    let aggregation = Box::pin(dashboard.aggregate(&ctx, 1));
    drop(select(aggregation, Box::pin(asked.wait())).await);
    let lines = memory.lines();
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(line.level, Level::Debug);
    let text = &line.message;
    assert!(
        text.contains("dashboard") && text.contains("dropped by its caller after "),
        "{text}"
    );
    assert_eq!(line.field("aggregation"), Some("dashboard"));
}
