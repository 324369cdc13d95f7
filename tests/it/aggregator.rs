//! What an aggregator promises whatever the runtime: sources in all their forms, and what is not logged.

use crate::executor::{Executor, Polled};
use crate::support::{Count, SECOND, manual};
use failfast::{Aggregator, Context, Error, ErrorKind, Source};
use futures::executor::block_on;
use log::kv::{Key, Value, VisitSource};
use log::{Log, Metadata, Record};
use std::convert::Infallible;
use std::fmt::{self, Write as _};
use std::future::{Ready, poll_fn, ready};
use std::num::ParseIntError;
use std::sync::{Arc, Mutex};
use std::task::Poll;

type Given<T> = Ready<Result<T, Infallible>>;

/// A source of one value.
fn given<T: Clone>(value: T) -> impl Fn(Context, ()) -> Given<T> {
    move |_, ()| ready(Ok(value.clone()))
}

/// Yields, so many times.
async fn yields(mut times: usize) {
    poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn twelve_sources_of_twelve_types_give_a_tuple() {
    // Section 5: "`T` the answer: a tuple of 1 to 12".
    let dozen = Aggregator::in_place()
        .source("1", given(1_u8))
        .source("2", given(2_u16))
        .source("3", given(3_u32))
        .source("4", given(4_u64))
        .source("5", given(5_u128))
        .source("6", given(6_i8))
        .source("7", given(7_i16))
        .source("8", given(8_i32))
        .source("9", given(9_i64))
        .source("10", given('x'))
        .source("11", given("eleven"))
        .source("12", given(true));
    let answers = block_on(dozen.aggregate(&Context::background(), ())).unwrap();
    assert_eq!(answers, (1, 2, 3, 4, 5, 6, 7, 8, 9, 'x', "eleven", true));
    let line = block_on(dozen.join(" ").aggregate(&Context::background(), ())).unwrap();
    assert_eq!(line, "1 2 3 4 5 6 7 8 9 x eleven true");
}

#[test]
fn sources_of_one_type_give_a_vec_in_order_though_the_last_was_first() {
    // Section 5: "a `Vec` after `.sources(iter)`".
    let ended = Arc::new(Mutex::new(Vec::new()));
    let shards = (0..20).map(|number| {
        let ended = ended.clone();
        let shard = move |_: Context, request: usize| {
            let ended = ended.clone();
            async move {
                yields(20 - number).await;
                ended.lock().unwrap().push(number);
                Ok::<_, Infallible>(number + request)
            }
        };
        (format!("shard {number}"), shard)
    });
    let aggregator = Aggregator::in_place().sources(shards);
    let answers = block_on(aggregator.aggregate(&Context::background(), 100)).unwrap();
    assert_eq!(answers, (100..120).collect::<Vec<_>>());
    assert_eq!(*ended.lock().unwrap(), (0..20).rev().collect::<Vec<_>>());
}

#[test]
fn map_maps_the_answers_and_is_not_called_after_a_failure() {
    // Section 5: "anything after `.map(f)`"; "nothing partial".
    let sum = Aggregator::in_place()
        .source("one", given(1_u8))
        .source("two", given(2_u32))
        .map(|(one, two)| u32::from(one) + two);
    assert_eq!(
        block_on(sum.aggregate(&Context::background(), ())).unwrap(),
        3
    );

    let broken = Aggregator::in_place()
        .source("one", given(1))
        .source("two", |_: Context, ()| ready(Err::<u32, _>("refused")))
        .map(|_| -> u32 { unreachable!("there are not two answers") });
    let error = block_on(broken.aggregate(&Context::background(), ())).unwrap_err();
    assert_eq!(error.to_string(), "two: refused");
}

/// A source that is neither a function nor a closure.
struct Table(&'static [&'static str]);

impl Source<usize> for Table {
    type Output = u32;
    type Error = ParseIntError;
    type Future = Ready<Result<u32, ParseIntError>>;

    fn fetch(&self, _: Context, row: usize) -> Self::Future {
        ready(self.0[row].parse())
    }
}

#[test]
fn a_type_of_the_users_is_a_source_and_each_has_its_own_error() {
    // Section 5: "async fn(Context, Request) -> Result<T, E>; a closure; a Source; an Aggregator".
    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("no such row")]
    struct NoRow;

    async fn profile(_: Context, row: usize) -> Result<&'static str, NoRow> {
        yields(1).await;
        if row > 1 { Err(NoRow) } else { Ok("Alice") }
    }
    let both = Aggregator::in_place()
        .source("orders", Table(&["5", "many", "7"]))
        .source("profile", profile);
    let ask = |row| block_on(both.aggregate(&Context::background(), row));
    assert_eq!(ask(0).unwrap(), (5, "Alice"));
    assert!(
        ask(1)
            .unwrap_err()
            .downcast_ref::<ParseIntError>()
            .is_some()
    );
    assert_eq!(ask(2).unwrap_err().downcast_ref(), Some(&NoRow));
}

#[test]
fn every_source_starts_before_any_ends_with_the_same_context() {
    // Section 5: "Every source starts concurrently with the same context, whose deadline is the earlier of the
    // caller's and the aggregator's".
    let (_, root) = manual();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let source = {
        let seen = seen.clone();
        move |ctx: Context, ()| {
            seen.lock().unwrap().push(ctx);
            let seen = seen.clone();
            async move {
                yields(1).await;
                assert_eq!(seen.lock().unwrap().len(), 2, "the other has not begun");
                Ok::<_, Infallible>(())
            }
        }
    };
    let both = Aggregator::in_place()
        .with_timeout(2 * SECOND)
        .source("one", source.clone())
        .source("other", source);
    let caller = root.with_timeout(SECOND);
    block_on(both.aggregate(&caller, ())).unwrap();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert!(seen.iter().all(|ctx| ctx.deadline() == caller.deadline()));
    assert!(seen.iter().all(Context::is_done) && !caller.is_done());
    assert!(std::ptr::eq(
        seen[0].cause().unwrap().origin(),
        seen[1].cause().unwrap().origin()
    ));
}

#[test]
fn a_clone_shares_the_sources() {
    // Section 5: "Clone is a reference count".
    let held = Arc::new(());
    let its_held = held.clone();
    let aggregator = Aggregator::in_place().source("one", move |_: Context, ()| {
        let _held = &its_held;
        ready(Ok::<_, Infallible>(1))
    });
    assert_eq!(Arc::strong_count(&held), 2);
    let clone = aggregator.clone();
    assert_eq!(Arc::strong_count(&held), 2, "a source was cloned");
    drop(aggregator);
    assert_eq!(
        block_on(clone.aggregate(&Context::background(), ())).unwrap(),
        (1,)
    );
    drop(clone);
    assert_eq!(Arc::strong_count(&held), 1);
}

/// What a log may not show.
#[derive(Clone, Copy)]
struct Secret;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hunter2")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hunter2")
    }
}

/// Everything there is in each record.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<Vec<String>>>);

impl Log for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        struct Fields(String);
        impl<'kvs> VisitSource<'kvs> for Fields {
            fn visit_pair(
                &mut self,
                key: Key<'kvs>,
                value: Value<'kvs>,
            ) -> Result<(), log::kv::Error> {
                Ok(write!(self.0, " {key}={value}")?)
            }
        }
        let mut said = Fields(record.args().to_string());
        record.key_values().visit(&mut said).unwrap();
        self.0.lock().unwrap().push(said.0);
    }

    fn flush(&self) {}
}

#[test]
fn neither_request_nor_answer_is_logged() {
    // Section 5: "nothing secret: requests are not logged".
    async fn ask(ctx: &Context, log: &Everything, fails: bool) -> Result<(Secret, u32), Error> {
        let orders = move |_: Context, _: Secret| ready(if fails { Err("refused") } else { Ok(5) });
        Aggregator::in_place()
            .with_logger(log.clone())
            .source("profile", |_: Context, request: Secret| {
                ready(Ok::<_, Infallible>(request))
            })
            .source("orders", orders)
            .aggregate(ctx, Secret)
            .await
    }
    let log = Everything::default();
    let (clock, root) = manual();
    let late = root.with_timeout(SECOND);
    clock.advance(SECOND);
    block_on(async {
        assert!(ask(&root, &log, false).await.is_ok());
        assert!(ask(&root, &log, true).await.is_err());
        assert!(ask(&late, &log, false).await.is_err());
    });
    let said = log.0.lock().unwrap();
    assert_eq!(said.len(), 3, "one record an aggregation: {said:?}");
    assert!(said[1].contains("source=orders") && said[1].contains("error=refused"));
    assert!(
        !said.iter().any(|line| line.contains("hunter2")),
        "{said:?}"
    );
}

/// A source that counts its calls, and then answers, or not.
fn counted(
    count: &Count,
    fails: bool,
) -> impl Fn(Context, ()) -> Ready<Result<u32, &'static str>> + use<> {
    let count = count.clone();
    move |_, ()| {
        count.add();
        ready(if fails { Err("down") } else { Ok(5) })
    }
}

#[test]
fn once_one_has_failed_no_other_is_called_for_the_first_time() {
    // Section 5: on an executor that comes late to the second, and in place.
    let (first, second) = (Count::default(), Count::default());
    let executor = Executor::new();
    let both = Aggregator::new(executor.spawner())
        .source("first", counted(&first, true))
        .source("second", counted(&second, false));
    let ctx = Context::background();
    let error = executor.drive(both.aggregate(&ctx, ())).unwrap_err();
    assert_eq!(error.to_string(), "first: down");
    assert_eq!((first.get(), second.get()), (1, 0));

    let both = Aggregator::in_place()
        .source("first", counted(&first, true))
        .source("second", counted(&second, false));
    let error = block_on(both.aggregate(&ctx, ())).unwrap_err();
    assert_eq!(error.to_string(), "first: down");
    assert_eq!((first.get(), second.get()), (2, 0));
}

#[test]
fn executor_that_comes_after_the_deadline_calls_no_source() {
    // Section 4: "nor by an executor that comes late to a task it already has".
    let (clock, ctx) = manual();
    let (called, executor) = (Count::default(), Executor::new());
    let dashboard = Aggregator::new(executor.spawner())
        .with_name("dashboard")
        .source("first", counted(&called, false))
        .source("second", counted(&called, false));
    let mut aggregation = Polled::new(dashboard.aggregate(&ctx, ()));
    assert!(aggregation.is_pending());
    clock.advance(5 * SECOND);
    executor.run();
    let error = aggregation.ready().unwrap_err();
    assert_eq!(
        error.to_string(),
        "context deadline exceeded: dashboard's timeout of 5s (waiting for first, second)"
    );
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(
        error.cause().unwrap().to_string(),
        "dashboard's timeout of 5s"
    );
    assert_eq!(called.get(), 0);
}

/// What the function panics with.
fn panic_of<T>(function: impl FnOnce() -> T) -> String {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(function));
    let payload = payload.err().expect("it panics");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => (*other.downcast_ref::<&str>().expect("a text")).to_owned(),
    }
}

#[test]
fn calls_out_of_order_panic_and_name_the_order() {
    // Section 5: "`source` or `sources`, then at most one `settled`, then `map` or `join`".
    let one = || Aggregator::<(), ()>::in_place().source("one", given(1));
    let many = || Aggregator::<(), ()>::in_place().sources([("one", given(1))]);
    let cases = [
        (
            panic_of(|| one().settled().source("two", given(2))),
            ["`source`", "`settled`"],
        ),
        (
            panic_of(|| one().map(|one| one).source("two", given(2))),
            ["`source`", "`map`"],
        ),
        (
            panic_of(|| one().map(drop).sources([("two", given(2))])),
            ["`sources`", "`map`"],
        ),
        (
            panic_of(|| one().map(|one| one).settled()),
            ["`settled`", "`map`"],
        ),
        (
            panic_of(|| one().settled().settled()),
            ["`settled`", "`settled`"],
        ),
        (
            panic_of(|| many().map(|one| one).settled()),
            ["`settled`", "`map`"],
        ),
        (
            panic_of(|| many().settled().settled()),
            ["`settled`", "`settled`"],
        ),
        (
            panic_of(|| one().join("").map(|line| (line,)).source("two", given(2))),
            ["`source`", "`source`"],
        ),
    ];
    for (said, names) in cases {
        // With or without backticks: the wording is free, the two names are not.
        assert!(
            names
                .iter()
                .all(|name| said.contains(name.trim_matches('`'))),
            "{names:?} in {said}"
        );
    }
    // `with_…` stands anywhere.
    let last = one()
        .settled()
        .map(|(one,)| one.unwrap())
        .with_timeout(SECOND);
    assert_eq!(
        block_on(last.aggregate(&Context::background(), ())).unwrap(),
        1
    );
}

#[test]
fn nested_error_is_had_back_by_value() {
    // Section 6: "`downcast::<E>()`: through nesting", by value unless there is another reference.
    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("no row {0}")]
    struct NoRow(String);

    let inner = Aggregator::in_place().source("table", |_: Context, row: u32| {
        ready(Err::<u32, _>(NoRow(row.to_string())))
    });
    let outer = Aggregator::in_place().source("page", inner);
    let error = block_on(outer.aggregate(&Context::background(), 7)).unwrap_err();
    assert_eq!(error.to_string(), "page: table: no row 7");
    let held = error.clone();
    let error = error.downcast::<NoRow>().unwrap_err();
    assert_eq!(error.to_string(), "page: table: no row 7", "nothing lost");
    drop(held);
    assert_eq!(error.downcast::<NoRow>().unwrap(), NoRow("7".to_owned()));
}
