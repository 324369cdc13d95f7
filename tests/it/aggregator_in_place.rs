//! What can be tested exactly only of an aggregator without an executor: the record, and `Debug`.

use crate::support::{Count, SECOND, manual, poll};
use failfast::{Aggregator, Context, Task};
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, Log, Metadata, Record};
use smol::future::yield_now;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// What was logged: level, message and fields.
#[derive(Clone)]
struct Memory(Level, Arc<Mutex<Vec<String>>>);

struct Fields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push_str(&format!(" {key}={value}"));
        Ok(())
    }
}

impl Log for Memory {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.0
    }

    fn log(&self, record: &Record<'_>) {
        let mut line = format!("{} {}:", record.level(), record.args());
        record
            .key_values()
            .visit(&mut Fields(&mut line))
            .expect("no field is an error");
        self.1.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

fn listening(level: Level) -> Memory {
    Memory(level, Arc::default())
}

#[test]
fn record_at_the_deadline_names_the_sources_that_did_not_answer() {
    let (clock, ctx) = manual();
    let memory = listening(Level::Info);
    let dashboard = Aggregator::in_place()
        .with_logger(memory.clone())
        .source("profile", |_: Context, _: u64| {
            pending::<Result<u32, Infallible>>()
        })
        .source("orders", |_: Context, _: u64| ready(Ok::<_, Infallible>(5)))
        .source("ads", |_: Context, _: u64| {
            pending::<Result<u32, Infallible>>()
        });
    let mut aggregation = pin!(dashboard.aggregate(&ctx, 7));
    assert!(poll(&mut aggregation, Waker::noop()).is_pending());
    clock.advance(SECOND * 5);
    assert!(matches!(
        poll(&mut aggregation, Waker::noop()),
        Poll::Ready(Err(_))
    ));
    let lines = memory.1.lock().unwrap();
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert!(line.starts_with("ERROR aggregation failed"), "{line}");
    let (text, fields) = line.split_once(" source=profile, ads error=").unwrap();
    assert!(
        text.contains("context deadline exceeded: aggregation's timeout of 5s"),
        "{line}"
    );
    assert!(text.contains("profile, ads"), "{line}");
    assert!(fields.contains("timeout of 5s"), "the root cause: {line}");
    assert!(
        fields.ends_with(" aggregation=aggregation elapsed=5s"),
        "{line}"
    );
}

#[test]
fn record_of_a_panic_and_of_success_reach_the_logger() {
    let ctx = Context::background();
    for (level, lines) in [(Level::Info, 2), (Level::Error, 1)] {
        let memory = listening(level);
        let dashboard = Aggregator::in_place().with_logger(memory.clone()).source(
            "profile",
            |_: Context, panics: bool| {
                assert!(!panics, "no profile today");
                ready(Ok::<_, Infallible>(5))
            },
        );
        assert!(smol::block_on(dashboard.aggregate(&ctx, false)).is_ok());
        assert!(smol::block_on(dashboard.aggregate(&ctx, true)).is_err());
        let told = memory.1.lock().unwrap();
        assert_eq!(told.len(), lines);
        let last = told.last().unwrap();
        let fields =
            " source=profile error=profile: panicked: no profile today aggregation=aggregation";
        assert!(last.contains(fields), "{last}");
    }
}

#[test]
fn many_sources_answer_in_their_order() {
    let echo =
        |number: u64| move |_: Context, request: u64| ready(Ok::<_, Infallible>(request + number));
    let ctx = Context::background();
    let dashboard =
        || Aggregator::in_place().sources((0..3).map(|number| (number.to_string(), echo(number))));
    assert_eq!(
        smol::block_on(dashboard().aggregate(&ctx, 7)).unwrap(),
        [7, 8, 9]
    );
    let line = smol::block_on(dashboard().join(", ").aggregate(&ctx, 7));
    assert_eq!(line.unwrap(), "7, 8, 9");
    let combined = dashboard().map(|answers: Vec<u64>| answers.into_iter().sum::<u64>());
    assert_eq!(smol::block_on(combined.aggregate(&ctx, 7)).unwrap(), 24);
}

#[test]
fn grace_lets_cancelled_sources_finish() {
    let (clock, ctx) = manual();
    let finished = Count::default();
    for (grace, expected) in [(None, 0), (Some(SECOND), 1)] {
        let count = finished.clone();
        let lingers = move |ctx: Context, _: u64| {
            let count = count.clone();
            async move {
                ctx.done().await;
                yield_now().await;
                count.add();
                Ok::<_, Infallible>(5)
            }
        };
        let mut dashboard = Aggregator::in_place().source("orders", lingers);
        if let Some(grace) = grace {
            dashboard = dashboard.with_grace(grace);
        }
        let mut aggregation = pin!(dashboard.aggregate(&ctx, 7));
        assert!(poll(&mut aggregation, Waker::noop()).is_pending());
        clock.advance(SECOND * 5);
        while poll(&mut aggregation, Waker::noop()).is_pending() {}
        assert_eq!(finished.get(), expected);
    }
}

#[test]
fn straggler_limit_names_a_source_that_is_not_polled() {
    let (clock, ctx) = manual();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let dashboard = Aggregator::new(move |task: Task| keep.lock().unwrap().push(task))
        .with_straggler_limit(SECOND)
        .source("orders", |_: Context, _: u64| {
            pending::<Result<u32, Infallible>>()
        });
    let mut aggregation = pin!(dashboard.aggregate(&ctx, 7));
    assert!(poll(&mut aggregation, Waker::noop()).is_pending());
    clock.advance(SECOND * 5);
    assert!(poll(&mut aggregation, Waker::noop()).is_pending());
    clock.advance(SECOND);
    let Poll::Ready(Err(error)) = poll(&mut aggregation, Waker::noop()) else {
        panic!("it waits for ever")
    };
    assert_eq!(
        error.to_string(),
        "still running 1s after they were canceled: orders"
    );
    drop(kept);
}

#[test]
fn debug_shows_the_options_and_the_sources() {
    let source = |_: Context, _: u64| ready(Ok::<_, Infallible>(5));
    let dashboard = Aggregator::new(smol::spawn)
        .source("profile", source)
        .source("orders", source)
        .map(|(profile, orders)| profile + orders);
    assert_eq!(
        format!("{dashboard:?}"),
        r#"Aggregator { name: "aggregation", timeout: 5s, sources: ["profile", "orders"] }"#
    );
    let many = Aggregator::in_place().sources([("profile", source), ("orders", source)]);
    assert!(format!("{many:?}").ends_with(r#"sources: ["profile", "orders"] }"#));
}

#[test]
fn record_reads_well_without_its_fields() {
    // Section 5: "its text holds name, outcome, elapsed and the source concerned".
    let (clock, ctx) = manual();
    for fails in [false, true] {
        let memory = listening(Level::Info);
        let dashboard = Aggregator::in_place()
            .with_name("dashboard")
            .with_logger(memory.clone())
            .source("profile", move |ctx: Context, _: u64| async move {
                ctx.sleep(3 * SECOND).await.unwrap();
                match fails {
                    true => Err("connection refused"),
                    false => Ok(5),
                }
            });
        let mut aggregation = pin!(dashboard.aggregate(&ctx, 7));
        assert!(poll(&mut aggregation, Waker::noop()).is_pending());
        clock.advance(3 * SECOND);
        assert!(poll(&mut aggregation, Waker::noop()).is_ready());
        let lines = memory.1.lock().unwrap();
        let [line] = &lines[..] else {
            panic!("{lines:?}")
        };
        let text = line.split(" aggregation=").next().unwrap();
        let text = text.split(" source=").next().unwrap();
        let outcome = ["dashboard succeeded", "dashboard failed"][usize::from(fails)];
        assert!(text.contains(outcome) && text.contains("3s"), "{text}");
        assert_eq!(
            text.contains("profile: connection refused"),
            fails,
            "{text}"
        );
    }
}

#[test]
fn record_of_a_dropped_aggregation_holds_after_how_long() {
    // Section 5: "a dropped one too: \"dropped by its caller after …\"", level debug.
    for (level, expected) in [(Level::Debug, 1), (Level::Info, 0)] {
        let ((clock, ctx), memory) = (manual(), listening(level));
        let dashboard = Aggregator::in_place()
            .with_logger(memory.clone())
            .source("profile", |_: Context, _: u64| {
                pending::<Result<u32, Infallible>>()
            });
        let mut aggregation = Box::pin(dashboard.aggregate(&ctx, 7));
        assert!(poll(&mut aggregation, Waker::noop()).is_pending());
        clock.advance(3 * SECOND);
        drop(aggregation);
        let lines = memory.1.lock().unwrap();
        assert_eq!(lines.len(), expected, "{lines:?}");
        for line in &*lines {
            assert!(line.starts_with("DEBUG "), "{line}");
            assert!(line.contains("dropped by its caller after 3s"), "{line}");
        }
    }
}

/// A request whose clone panics.
struct Unclonable;

impl Clone for Unclonable {
    fn clone(&self) -> Self {
        panic!("no copy of this")
    }
}

/// An answer that cannot be shown.
struct Unshown;

impl std::fmt::Display for Unshown {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("no word of this")
    }
}

/// What an aggregation that panics leaves in the log.
fn panicking(aggregation: impl FnOnce(Memory)) -> Vec<String> {
    let memory = listening(Level::Trace);
    let panics = std::panic::AssertUnwindSafe(|| aggregation(memory.clone()));
    let _ = std::panic::catch_unwind(panics);
    let lines = memory.1.lock().unwrap();
    lines.clone()
}

#[test]
fn record_of_a_panic_in_the_users_code() {
    // Section 5: "also where `map`, a `Display` or the request's `Clone` panics".
    let ctx = Context::background();
    let answer = |_: Context, _: u64| ready(Ok::<_, Infallible>(5));
    let mapped = panicking(|memory| {
        let both = Aggregator::in_place()
            .source("a", answer)
            .source("b", answer);
        let mapped = both
            .with_logger(memory)
            .map(|_| -> u64 { panic!("no map of this") });
        drop(smol::block_on(mapped.aggregate(&ctx, 7)));
    });
    let shown = panicking(|memory| {
        let unshown = |_: Context, _: u64| ready(Ok::<_, Infallible>(Unshown));
        let line = Aggregator::in_place()
            .with_logger(memory)
            .source("a", unshown)
            .join("");
        drop(smol::block_on(line.aggregate(&ctx, 7)));
    });
    let cloned = panicking(|memory| {
        let source = |_: Context, _: Unclonable| ready(Ok::<_, Infallible>(5));
        let both = Aggregator::in_place()
            .source("a", source)
            .source("b", source);
        drop(smol::block_on(
            both.with_logger(memory).aggregate(&ctx, Unclonable),
        ));
    });
    for lines in [mapped, shown, cloned] {
        let [line] = &lines[..] else {
            panic!("one record, not {lines:?}")
        };
        assert!(line.starts_with("ERROR "), "{line}");
        assert!(line.contains("panicked"), "{line}");
    }
}
