//! Every row of the kata: a dashboard of profile and orders.

use super::tools::{Census, Gate, Memory, assert_ended, at_most, quick};
use super::{Place, Runtime};
use crate::time::Instant;

use failfast::clock::ManualClock;
use failfast::observe::LogFields;
use failfast::{Context, ContextError, Error, ErrorKind};
use futures::future::{Ready, join, join_all, ready, select};
use futures_lite::future::yield_now;
use log::Level;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

type Answer = Result<&'static str, io::Error>;
type Fetch = fn(Context, u64) -> Ready<Answer>;

const SECOND: Duration = Duration::from_secs(1);
/// What "at once" may take.
const AT_ONCE: Duration = Duration::from_millis(150);

/// A service that answers at once.
fn answers(answer: &'static str) -> impl Fn(Context, u64) -> Ready<Answer> + Send + Sync + 'static {
    move |_, _| ready(Ok(answer))
}

/// A service that fails at once.
fn fails(error: &'static str) -> impl Fn(Context, u64) -> Ready<Answer> + Send + Sync + 'static {
    move |_, _| ready(Err(io::Error::other(error)))
}

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

/// Kata: both answer in time: in source order, whichever came first.
pub async fn both_answer_in_source_order<R: Runtime>(place: R::Place) {
    for first in ["profile", "orders"] {
        let answered = Gate::default();
        let service = |name: &'static str, answer: &'static str| {
            let answered = answered.clone();
            move |_: Context, _: u64| {
                let answered = answered.clone();
                async move {
                    match name == first {
                        true => answered.open(),
                        false => answered.wait().await,
                    }
                    Ok::<_, Infallible>(answer)
                }
            }
        };
        let dashboard = place
            .aggregator()
            .source("profile", service("profile", "Name: Alice"))
            .source("orders", service("orders", "Order: 5"))
            .join(" | ");
        let line = dashboard.aggregate(&R::background(), 1).await.unwrap();
        assert_eq!(line, "Name: Alice | Order: 5");
    }
}

/// Kata: timeout 1 s, a service takes 2 s: `context deadline exceeded` at 1 s (0.9 to 1.5 s).
pub async fn slow_poke<R: Runtime>(place: R::Place) {
    let slow = |ctx: Context, _: u64| async move {
        ctx.run(R::sleep(2 * SECOND)).await?;
        Ok::<_, ContextError>("Name: Alice")
    };
    let dashboard = place
        .aggregator()
        .with_timeout(SECOND)
        .source("profile", slow)
        .source("orders", answers("Order: 5"));
    let start = Instant::now();
    let error = dashboard.aggregate(&R::background(), 1).await.unwrap_err();
    let took = start.elapsed();
    assert_eq!(
        error.to_string(),
        "context deadline exceeded: aggregation's timeout of 1s (waiting for profile)"
    );
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(error.is_deadline_exceeded() && error.is_timeout());
    assert_eq!(error.pending(), ["profile"]);
    assert!((0.9..1.5).contains(&took.as_secs_f64()), "{took:?}");
}

/// Kata: profile fails, orders would take 10 s: profile's error under 100 ms, and orders saw it.
pub async fn domino<R: Runtime>(place: R::Place) {
    quick(Duration::from_millis(100), async || {
        let (asked, saw) = (Gate::default(), Gate::default());
        let (orders_asked, orders_saw) = (asked.clone(), saw.clone());
        let profile = move |_: Context, _: u64| {
            let asked = asked.clone();
            async move {
                asked.wait().await;
                Err::<&str, _>(io::Error::other("connection refused"))
            }
        };
        let orders = move |ctx: Context, _: u64| {
            let (asked, saw) = (orders_asked.clone(), orders_saw.clone());
            async move {
                asked.open();
                let outcome = ctx.run(R::sleep(10 * SECOND)).await;
                saw.open();
                outcome.map(|_| "Order: 5")
            }
        };
        let dashboard = place
            .aggregator()
            .source("profile", profile)
            .source("orders", orders);
        let error = dashboard.aggregate(&R::background(), 1).await.unwrap_err();
        assert_eq!(error.to_string(), "profile: connection refused");
        assert!(error.downcast_ref::<io::Error>().is_some());
        assert!(saw.is_open(), "orders had its last word");
    })
    .await;
}

/// Kata, the mirror: orders fails after profile succeeded: orders' error, nothing partial.
pub async fn mirror<R: Runtime>(place: R::Place) {
    let answered = Gate::default();
    let answering = answered.clone();
    let profile = move |_: Context, _: u64| {
        answering.open();
        ready(Ok::<_, io::Error>("Name: Alice"))
    };
    let orders = move |_: Context, _: u64| {
        let answered = answered.clone();
        async move {
            answered.wait().await;
            Err::<&str, _>(io::Error::other("no such table"))
        }
    };
    let dashboard = place
        .aggregator()
        .source("profile", profile)
        .source("orders", orders);
    let error = dashboard.aggregate(&R::background(), 1).await.unwrap_err();
    assert_eq!(error.to_string(), "orders: no such table");
}

/// Kata: both fail: the first by time, exactly, although the other fails later.
pub async fn both_fail_and_the_first_by_time_wins<R: Runtime>(place: R::Place) {
    let asked = Gate::default();
    let profile_asked = asked.clone();
    let profile = move |ctx: Context, _: u64| {
        profile_asked.open();
        async move {
            ctx.done().await; // orders has failed
            Err::<&str, _>(io::Error::other("the echo"))
        }
    };
    let orders = move |_: Context, _: u64| {
        let asked = asked.clone();
        async move {
            asked.wait().await;
            Err::<&str, _>(io::Error::other("the first"))
        }
    };
    let dashboard = place
        .aggregator()
        .source("profile", profile)
        .source("orders", orders);
    let error = dashboard.aggregate(&R::background(), 1).await.unwrap_err();
    assert_eq!(error.to_string(), "orders: the first");
    let others = error.others();
    assert_eq!((others.len(), error.omitted()), (1, 0), "{others:?}");
    assert_eq!(others[0].to_string(), "profile: the echo");
}

/// Kata: a service that ignores its context is cancelled all the same.
pub async fn service_that_ignores_its_context<R: Runtime>(place: R::Place) {
    let (asked, census) = (Gate::default(), Census::default());
    let (profile_asked, citizens) = (asked.clone(), census.clone());
    let profile = move |_: Context, _: u64| {
        let (asked, citizen) = (profile_asked.clone(), citizens.citizen());
        async move {
            let _citizen = citizen;
            asked.open();
            pending::<Answer>().await
        }
    };
    let orders = move |_: Context, _: u64| {
        let asked = asked.clone();
        async move {
            asked.wait().await;
            Err::<&str, _>(io::Error::other("down"))
        }
    };
    let dashboard = place
        .aggregator()
        .source("profile", profile)
        .source("orders", orders);
    let error = dashboard.aggregate(&R::background(), 1).await.unwrap_err();
    assert_eq!(error.to_string(), "orders: down");
    assert_eq!((census.born(), census.live()), (1, 0));
}

/// How long a dashboard whose services never answer lives, in virtual time, and its error then.
async fn lives<R: Runtime>(
    place: R::Place,
    callers: Duration,
    own: Duration,
) -> (Duration, String) {
    let (clock, ctx) = stopped();
    let never = |_: Context, _: u64| pending::<Answer>();
    let dashboard = place
        .aggregator()
        .with_timeout(own)
        .source("profile", never)
        .source("orders", never);
    let (start, ctx) = (clock.now(), ctx.with_timeout(callers));
    let (outcome, ()) = join(
        dashboard.aggregate(&ctx, 1),
        advance_when_armed::<R>(&clock),
    )
    .await;
    let error = outcome.unwrap_err();
    assert!(error.is_deadline_exceeded());
    (clock.now() - start, error.to_string())
}

/// Kata: the caller's deadline is earlier than the timeout: the caller's wins.
pub async fn callers_deadline_is_earlier<R: Runtime>(place: R::Place) {
    let said = "context deadline exceeded (waiting for profile, orders)".to_owned();
    let lived = lives::<R>(place, SECOND, 3 * SECOND).await;
    assert_eq!(lived, (SECOND, said));
}

/// Kata: and the reverse.
pub async fn timeout_is_earlier<R: Runtime>(place: R::Place) {
    let said =
        "context deadline exceeded: aggregation's timeout of 1s (waiting for profile, orders)";
    let lived = lives::<R>(place, 3 * SECOND, SECOND).await;
    assert_eq!(lived, (SECOND, said.to_owned()));
}

/// The error of a dashboard whose caller cancels after 20 ms.
async fn canceled_after_20_ms<R: Runtime>(place: R::Place, cause: Option<&'static str>) -> Error {
    let dashboard = place
        .aggregator()
        .source("profile", answers("Name: Alice"))
        .source("orders", |_: Context, _: u64| pending::<Answer>());
    let (ctx, canceller) = R::background().with_cancel();
    let cancel = async {
        R::sleep(Duration::from_millis(20)).await;
        match cause {
            Some(cause) => canceller.cancel_with(cause),
            None => canceller.cancel(),
        }
    };
    let start = Instant::now();
    let (outcome, ()) = join(dashboard.aggregate(&ctx, 1), cancel).await;
    assert!(start.elapsed() < SECOND * 3, "the timeout is later");
    let error = outcome.unwrap_err();
    assert!(error.is_canceled());
    assert!(error.pending().iter().any(|name| name == "orders"));
    error
}

/// Kata: the caller cancels after 20 ms: `context canceled`.
pub async fn caller_cancels<R: Runtime>(place: R::Place) {
    let error = canceled_after_20_ms::<R>(place, None).await;
    assert_ended(&error, "context canceled");
}

/// Kata: with a cause, the cause is there too.
pub async fn caller_cancels_with_a_cause<R: Runtime>(place: R::Place) {
    let error = canceled_after_20_ms::<R>(place, Some("client went away")).await;
    assert_ended(&error, "context canceled: client went away");
    assert_eq!(error.cause().unwrap().to_string(), "client went away");
}

/// Calls a dashboard in a context that is done: its error, and how many services were called.
async fn asked_too_late<R: Runtime>(place: &R::Place, ctx: &Context) -> (Error, usize) {
    let called = Arc::new(AtomicUsize::new(0));
    let service = || {
        let called = called.clone();
        move |_: Context, _: u64| {
            called.fetch_add(1, SeqCst);
            ready(Ok::<_, Infallible>("too late"))
        }
    };
    let dashboard = place
        .aggregator()
        .source("profile", service())
        .source("orders", service());
    let error = dashboard.aggregate(ctx, 1).await.unwrap_err();
    (error, called.load(SeqCst))
}

/// Kata: the caller's context is already done: at once, and no service was called.
pub async fn context_already_canceled<R: Runtime>(place: R::Place) {
    quick(AT_ONCE, async || {
        let (ctx, canceller) = R::background().with_cancel();
        canceller.cancel_with("client went away");
        let (error, called) = asked_too_late::<R>(&place, &ctx).await;
        assert_ended(&error, "context canceled: client went away");
        assert_eq!(called, 0);
    })
    .await;
}

/// Kata: the caller's context is already done, by its deadline.
pub async fn context_already_past_its_deadline<R: Runtime>(place: R::Place) {
    quick(AT_ONCE, async || {
        let late = R::background().with_deadline(Instant::now());
        let (error, called) = asked_too_late::<R>(&place, &late).await;
        assert_ended(&error, "context deadline exceeded");
        assert_eq!(called, 0);
    })
    .await;
}

/// Kata: one fast, one slow, the deadline between: deadline, nothing partial.
pub async fn deadline_between_fast_and_slow<R: Runtime>(place: R::Place) {
    let (clock, ctx) = stopped();
    let answered = Arc::new(AtomicUsize::new(0));
    let takes = |time: Duration| {
        let answered = answered.clone();
        move |ctx: Context, _: u64| {
            let answered = answered.clone();
            async move {
                ctx.sleep(time).await?;
                answered.fetch_add(1, SeqCst);
                Ok::<_, ContextError>("in time")
            }
        }
    };
    let dashboard = place
        .aggregator()
        .with_timeout(2 * SECOND)
        .source("profile", takes(SECOND))
        .source("orders", takes(3 * SECOND));
    let start = clock.now();
    let advance = async {
        // Both sleeps and the deadline: else the one could be armed after the clock has passed it.
        while clock.armed() < 3 {
            R::others_run().await;
        }
        clock.advance(SECOND);
        while answered.load(SeqCst) < 1 {
            R::others_run().await;
        }
        clock.advance(SECOND);
    };
    let (outcome, ()) = join(dashboard.aggregate(&ctx, 1), advance).await;
    assert!(outcome.unwrap_err().is_deadline_exceeded());
    assert_eq!(answered.load(SeqCst), 1);
    assert_eq!(clock.now(), start + 2 * SECOND);
}

/// Kata: no sources: an empty result at once.
pub async fn no_sources<R: Runtime>(place: R::Place) {
    let () = place
        .aggregator()
        .aggregate(&R::background(), 1)
        .await
        .unwrap();
    let none: [(&str, Fetch); 0] = [];
    let none = place.aggregator().sources(none);
    let answers = none.aggregate(&R::background(), 1).await.unwrap();
    assert_eq!(answers, [""; 0]);
    assert_eq!(
        none.join(" | ")
            .aggregate(&R::background(), 1)
            .await
            .unwrap(),
        ""
    );
}

/// Kata: the same aggregator, 1,000 calls at once: each as if alone.
pub async fn thousand_calls_at_once<R: Runtime>(place: R::Place) {
    let echo = |_: Context, id: u64| async move {
        yield_now().await;
        Ok::<_, Infallible>(id)
    };
    let picky = |_: Context, id: u64| async move {
        yield_now().await;
        match id % 10 {
            9 => Err(format!("not {id}")),
            _ => Ok(id * 2),
        }
    };
    let both = place
        .aggregator()
        .source("echo", echo)
        .source("picky", picky);
    let (both, ctx) = (&both, &R::background());
    let call = |id| async move { (id, both.aggregate(ctx, id).await) };
    for (id, outcome) in join_all((0..1000).map(call)).await {
        match outcome {
            Ok(answers) => assert_eq!(answers, (id, id * 2)),
            Err(error) => assert_eq!(error.to_string(), format!("picky: not {id}")),
        }
    }
}

/// Kata: one info record on success; an injected logger gets it.
pub async fn log_on_success<R: Runtime>(place: R::Place) {
    let memory = Memory::default();
    let dashboard = place
        .aggregator()
        .with_name("dashboard")
        .with_logger(memory.clone())
        .source("profile", answers("Name: Alice"))
        .source("orders", answers("Order: 5"));
    let ctx = R::background().with_value(LogFields(vec![("trace".into(), "7".to_owned())]));
    dashboard.aggregate(&ctx, 1).await.unwrap();
    let lines = memory.lines();
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(line.level, Level::Info);
    assert!(line.message.contains("dashboard succeeded"), "{line:?}");
    assert_eq!(line.field("aggregation"), Some("dashboard"));
    assert_eq!(line.field("trace"), Some("7"));
    assert!(line.field("elapsed").is_some());
    assert_eq!(line.field("error"), None);
}

/// Kata: one error record on failure, naming the service and the root cause.
pub async fn log_on_failure<R: Runtime>(place: R::Place) {
    #[derive(Debug, thiserror::Error)]
    #[error("no answer")]
    struct NoAnswer(#[source] io::Error);

    let memory = Memory::default();
    let refused = |_: Context, _: u64| {
        ready(Err::<&str, _>(NoAnswer(io::Error::other(
            "connection refused",
        ))))
    };
    let dashboard = place
        .aggregator()
        .with_logger(memory.clone())
        .source("profile", refused)
        .source("orders", |_: Context, _: u64| pending::<Answer>());
    dashboard.aggregate(&R::background(), 1).await.unwrap_err();
    let lines = memory.lines();
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(line.level, Level::Error);
    assert_eq!(line.field("source"), Some("profile"));
    assert_eq!(line.field("error"), Some("connection refused"));
    assert!(line.message.contains("profile: no answer"), "{line:?}");
}

/// Section 5: error for the aggregator's own timeout, warn for the caller's end.
pub async fn log_levels_of_an_end<R: Runtime>(place: R::Place) {
    for (callers, own, level) in [(3, 1, Level::Error), (1, 3, Level::Warn)] {
        let ((clock, ctx), memory) = (stopped(), Memory::default());
        let dashboard = place
            .aggregator()
            .with_name("dashboard")
            .with_timeout(own * SECOND)
            .with_logger(memory.clone())
            .source("profile", |_: Context, _: u64| pending::<Answer>());
        let ctx = ctx.with_timeout(callers * SECOND);
        let aggregation = dashboard.aggregate(&ctx, 1);
        let (outcome, ()) = join(aggregation, advance_when_armed::<R>(&clock)).await;
        assert!(outcome.unwrap_err().is_deadline_exceeded());
        let lines = memory.lines();
        let [line] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert_eq!(line.level, level);
        let text = &line.message;
        assert!(text.starts_with("dashboard "), "{text}");
        assert!(text.contains("context deadline exceeded"), "{text}");
        assert!(text.contains("1s") && text.contains("profile"), "{text}");
        assert_eq!(line.field("source"), Some("profile"));
        assert_eq!(line.field("elapsed"), Some("1s"));
    }
}

/// Section 5: warn for the caller's cancellation; and `with_level` to decide otherwise.
pub async fn log_level_of_ones_own<R: Runtime>(place: R::Place) {
    for (level, logged) in [(None, Level::Warn), (Some(Level::Trace), Level::Trace)] {
        let (memory, (ctx, canceller)) = (Memory::default(), R::background().with_cancel());
        let mut dashboard = place
            .aggregator()
            .with_logger(memory.clone())
            .source("profile", answers("Name: Alice"));
        if let Some(level) = level {
            dashboard = dashboard.with_level(move |error| {
                assert!(error.is_canceled());
                level
            });
        }
        canceller.cancel_with("client went away");
        dashboard.aggregate(&ctx, 1).await.unwrap_err();
        let levels: Vec<_> = memory.lines().iter().map(|line| line.level).collect();
        assert_eq!(levels, [logged]);
    }
}

/// Kata, defaults: 5 s.
pub async fn defaults<R: Runtime>(place: R::Place) {
    let (_clock, ctx) = stopped();
    let left = |ctx: Context, _: u64| ready(Ok::<_, Infallible>(ctx.remaining()));
    let (left,) = place
        .aggregator()
        .source("left", left)
        .aggregate(&ctx, 1)
        .await
        .unwrap();
    assert_eq!(left, Some(5 * SECOND));
}

/// Kata, defaults: the global logger.
pub async fn default_logger_is_the_global_one<R: Runtime>(place: R::Place) {
    let memory = Memory::global();
    let name = std::any::type_name::<R>(); // others log there too
    let named = || place.aggregator().with_name(name);
    let works = named().source("orders", answers("Order: 5"));
    works.aggregate(&R::background(), 1).await.unwrap();
    let breaks = named().source("orders", fails("down"));
    breaks.aggregate(&R::background(), 1).await.unwrap_err();
    let mut lines = memory.lines();
    lines.retain(|line| line.field("aggregation") == Some(name));
    let levels: Vec<_> = lines.iter().map(|line| line.level).collect();
    assert_eq!(levels, [Level::Info, Level::Error]);
}

/// Kata, defaults: each option alone.
pub async fn each_option_alone<R: Runtime>(place: R::Place) {
    let (_clock, ctx) = stopped();
    let left = |ctx: Context, _: u64| ready(Ok::<_, Infallible>(ctx.remaining()));
    let timed = place.aggregator().with_timeout(SECOND).source("left", left);
    assert_eq!(timed.aggregate(&ctx, 1).await.unwrap(), (Some(SECOND),));

    let memory = Memory::default();
    let logged = place
        .aggregator()
        .with_logger(memory.clone())
        .source("left", left);
    assert_eq!(
        logged.aggregate(&ctx, 1).await.unwrap(),
        (Some(5 * SECOND),)
    );
    assert_eq!(memory.lines()[0].field("aggregation"), Some("aggregation"));

    for plain in [
        place.aggregator().with_name("named").source("left", left),
        place.aggregator().with_grace(SECOND).source("left", left),
        place
            .aggregator()
            .with_limit(at_most(1))
            .source("left", left),
        place
            .aggregator()
            .with_level(|_| Level::Warn)
            .source("left", left),
        place
            .aggregator()
            .with_straggler_limit(SECOND)
            .source("left", left),
    ] {
        assert_eq!(plain.aggregate(&ctx, 1).await.unwrap(), (Some(5 * SECOND),));
    }
}

/// Kata, defaults: all options together, set before the sources or after.
pub async fn all_options_together<R: Runtime>(place: R::Place) {
    let (_clock, ctx) = stopped();
    let memory = Memory::default();
    let left = |ctx: Context, _: u64| ready(Ok::<_, Infallible>(ctx.remaining()));
    let dashboard = place
        .aggregator()
        .with_timeout(SECOND)
        .with_logger(memory.clone())
        .source("left", left)
        .with_name("dashboard")
        .with_grace(SECOND)
        .with_straggler_limit(SECOND)
        .with_limit(at_most(1))
        .with_level(|_| Level::Warn)
        .map(|(left,)| left);
    assert_eq!(dashboard.aggregate(&ctx, 1).await.unwrap(), Some(SECOND));
    let later = dashboard.clone().with_timeout(2 * SECOND);
    assert_eq!(later.aggregate(&ctx, 1).await.unwrap(), Some(2 * SECOND));
    let lines = memory.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].field("aggregation"), Some("dashboard"));
}

/// §4: dropped early, nothing leaks: an aggregation too.
pub async fn dropping_the_aggregation<R: Runtime>(place: R::Place) {
    let (asked, census) = (Gate::default(), Census::default());
    let (opening, citizens) = (asked.clone(), census.clone());
    let service = move |_: Context, _: u64| {
        let (asked, citizen) = (opening.clone(), citizens.citizen());
        async move {
            let _citizen = citizen;
            asked.open();
            pending::<Answer>().await
        }
    };
    let dashboard = place.aggregator().source("profile", service);
    let (_clock, ctx) = stopped(); // its timeout must not be what ends it
    let aggregation = Box::pin(dashboard.aggregate(&ctx, 1));
    drop(select(aggregation, Box::pin(asked.wait())).await);
    census.extinct().await;
    assert_eq!((census.born(), census.live()), (1, 0));
}
