//! What only an aggregator without an executor can tell exactly: the record, and `Debug`.

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
fn record_at_the_deadline_names_who_did_not_answer() {
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
    assert!(line.starts_with("ERROR aggregation failed: context deadline exceeded"));
    let fields =
        " source=profile, ads error=context deadline exceeded aggregation=aggregation elapsed=5s";
    assert!(line.ends_with(fields), "{line}");
}

#[test]
fn record_of_a_panic_and_of_success_are_told_to_who_listens() {
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
    let combined = dashboard().combine(|answers: Vec<u64>| answers.into_iter().sum::<u64>());
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
fn straggler_limit_names_a_source_that_nobody_polls() {
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
        "still running 1s after they were cancelled: orders"
    );
    drop(kept);
}

#[test]
fn debug_shows_the_options_and_the_sources() {
    let source = |_: Context, _: u64| ready(Ok::<_, Infallible>(5));
    let dashboard = Aggregator::new(smol::spawn)
        .source("profile", source)
        .source("orders", source)
        .combine(|(profile, orders)| profile + orders);
    assert_eq!(
        format!("{dashboard:?}"),
        r#"Aggregator { name: "aggregation", timeout: 5s, sources: ("profile", "orders") }"#
    );
    let many = Aggregator::in_place().sources([("profile", source), ("orders", source)]);
    assert!(format!("{many:?}").ends_with(r#"sources: ["profile", "orders"] }"#));
}
