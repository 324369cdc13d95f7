//! What needs no executor and no clock of the test's: shapes, the order of calls, and what is logged.

use super::{Aggregator, LocalAggregator, TaskAggregator};
use crate::context::Context;
use crate::error::{BoxError, ErrorKind};
use crate::observe::LogFields;
use crate::source::Source;
use futures::executor::block_on;
use log::kv::{Key, Value, VisitSource};
use log::{Level, Log, Metadata, Record};
use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::future::{Future, Ready, pending, ready};
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{self, Waker};
use std::time::Duration;

type Given<T> = Ready<Result<T, &'static str>>;

/// A source of one value.
fn given<R, T: Clone>(value: T) -> impl Fn(Context, R) -> Given<T> {
    move |_, _| ready(Ok(value.clone()))
}

fn refused(_: Context, (): ()) -> Ready<io::Result<u8>> {
    ready(Err(io::Error::other("refused")))
}

fn stuck(_: Context, (): ()) -> impl Future<Output = Result<u8, BoxError>> {
    pending()
}

fn root() -> Context {
    Context::background()
}

/// What `f` panics with.
fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| drop(f()))).unwrap_err();
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.unwrap_or_else(|| *payload.downcast::<String>().unwrap())
}

/// Keeps each record as a line: level, text, key-values.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut line = Line(format!("{} {} |", record.level(), record.args()));
        record.key_values().visit(&mut line).unwrap();
        self.0.lock().unwrap().push(line.0);
    }

    fn flush(&self) {}
}

struct Line(String);

impl<'kvs> VisitSource<'kvs> for Line {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        Ok(write!(self.0, " {key}={value}")?)
    }
}

impl Lines {
    /// The only record since the last call, which begins and goes on so.
    #[track_caller]
    fn expect(&self, beginning: &str, parts: &[&str]) {
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        let [line] = &lines[..] else {
            panic!("one record for each aggregation: {lines:?}");
        };
        assert!(line.starts_with(beginning), "{line}");
        for part in parts {
            assert!(line.contains(part), "no `{part}` in `{line}`");
        }
    }
}

/// An aggregator of one source that answers, called `dash`, and its log.
fn dash() -> (Aggregator<(), (u8,)>, Lines) {
    let lines = Lines::default();
    let dash = Aggregator::in_place()
        .with_name("dash")
        .with_logger(lines.clone());
    (dash.source("profile", given(1)), lines)
}

#[test]
fn is_send_and_sync_whatever_it_answers() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    fn sync<T: Send + Sync>() {}
    sync::<Aggregator<u8, Rc<u8>>>();
    let shared = dash().0.map(|(one,)| Rc::new(one));
    assert_eq!(*block_on(send(shared.aggregate(&root(), ()))).unwrap(), 1);
}

#[test]
fn options_and_clones_need_nothing_of_the_types() {
    fn generic<R, T, M>(it: &TaskAggregator<R, T, M>) -> TaskAggregator<R, T, M> {
        it.clone().with_name("other").with_timeout(Duration::ZERO)
    }
    let (dash, _) = dash();
    assert_eq!(
        format!("{:?}", generic(&dash)),
        format!("{:?}", dash.with_name("other").with_timeout(Duration::ZERO))
    );
}

#[test]
fn each_number_of_sources_up_to_twelve_gives_a_tuple() {
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
    let answers = block_on(dozen.aggregate(&root(), ())).unwrap();
    assert_eq!(answers, (1, 2, 3, 4, 5, 6, 7, 8, 9, 'x', "eleven", true));
    let settled = block_on(dozen.clone().settled().aggregate(&root(), ())).unwrap();
    assert_eq!((settled.0.unwrap(), settled.11.unwrap()), (1, true));
    let line = block_on(dozen.join(" ").aggregate(&root(), ())).unwrap();
    assert_eq!(line, "1 2 3 4 5 6 7 8 9 x eleven true");
}

#[test]
fn ten_thousand_sources_give_a_vec_or_one_failure() {
    let shard = |number| {
        move |_: Context, bad: u32| {
            ready(if number == bad {
                Err("bad")
            } else {
                Ok(number)
            })
        }
    };
    let shards = (0..10_000).map(|number| (format!("shard {number}"), shard(number)));
    let all = Aggregator::in_place().sources(shards);
    let numbers: Vec<_> = (0..10_000).collect();
    assert_eq!(block_on(all.aggregate(&root(), u32::MAX)).unwrap(), numbers);
    let error = block_on(all.aggregate(&root(), 7_777)).unwrap_err();
    assert_eq!(error.to_string(), "shard 7777: bad");
    let settled = block_on(all.settled().aggregate(&root(), 7_777)).unwrap();
    let failed = settled
        .iter()
        .enumerate()
        .filter(|(_, result)| result.is_err());
    assert_eq!(
        failed.map(|(number, _)| number).collect::<Vec<_>>(),
        [7_777]
    );
}

#[test]
fn no_sources_give_an_empty_answer_at_once() {
    let none = Aggregator::<u8, ()>::in_place();
    block_on(none.aggregate(&root(), 1)).unwrap();
    assert_eq!(block_on(none.join(" ").aggregate(&root(), 1)).unwrap(), "");
    let none = Aggregator::in_place().sources([("never", given(1_u8))].into_iter().take(0));
    assert_eq!(block_on(none.aggregate(&root(), 1)).unwrap(), []);
    assert_eq!(
        block_on(none.settled().aggregate(&root(), 1))
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn a_context_that_is_done_calls_no_source() {
    let (ctx, canceller) = root().with_cancel();
    canceller.cancel();
    let (dash, lines) = dash();
    let never = |_: Context, ()| -> Given<u8> { unreachable!("the caller has canceled") };
    let error = block_on(dash.clone().source("never", never).aggregate(&ctx, ())).unwrap_err();
    assert!(error.is_canceled());
    assert_eq!(error.pending(), ["profile", "never"]);
    lines.expect(
        "WARN dash failed after ",
        &["(waiting for profile, never) |"],
    );

    let none = Aggregator::<u8, ()>::in_place();
    assert!(
        block_on(none.aggregate(&ctx, 1)).is_ok(),
        "nothing was cut short"
    );
}

#[test]
fn an_aggregator_is_a_source() {
    let (dash, lines) = dash();
    let inner = dash.clone().source("orders", refused);
    let outer = Aggregator::in_place()
        .source("inner", inner)
        .source("dash", dash);
    let error = block_on(outer.aggregate(&root(), ())).unwrap_err();
    assert_eq!(error.to_string(), "inner: orders: refused");
    assert_eq!(
        error.downcast::<io::Error>().unwrap().to_string(),
        "refused"
    );
    lines.expect("ERROR dash failed after ", &[": orders: refused |"]);
}

#[test]
fn a_settled_source_fails_alone_with_the_error_it_would_have_failed_all_with() {
    let panics = |_: Context, ()| async {
        if true {
            panic!("boom")
        } else {
            Ok::<u8, BoxError>(1)
        }
    };
    let (dash, lines) = dash();
    let settled = dash
        .source("panics", panics)
        .source("orders", refused)
        .settled();
    let (one, panicked, failed) = block_on(settled.aggregate(&root(), ())).unwrap();
    let (panicked, failed) = (panicked.unwrap_err(), failed.unwrap_err());
    assert_eq!(one.unwrap(), 1);
    assert_eq!(panicked.kind(), ErrorKind::Panicked);
    assert_eq!(panicked.to_string(), "panics: panicked: boom");
    assert_eq!(failed.task().unwrap(), &"orders");
    assert_eq!(
        failed.downcast::<io::Error>().unwrap().to_string(),
        "refused"
    );
    lines.expect(
        "WARN dash settled with 2 failed after ",
        &[
            ": panics: panicked: boom; orders: refused |",
            "source=panics, orders",
        ],
    );
}

#[test]
fn a_panic_of_the_order_of_calls_names_which_belongs_first_and_is_the_callers() {
    const ORDER: &str =
        ": the order is `source` or `sources`, then at most one `settled`, then `map` or `join`";
    let dash = || dash().0;
    let says = |text: &str, panic: String| assert_eq!(panic, format!("{text}{ORDER}"));
    says(
        "`source` belongs before `map`",
        panic_of(|| dash().map(|it| it).source("2", given(2))),
    );
    says(
        "`source` belongs before `settled`",
        panic_of(|| dash().settled().source("2", given(2))),
    );
    says(
        "`settled` was called before",
        panic_of(|| dash().settled().settled()),
    );
    says(
        "`settled` belongs before `map`",
        panic_of(|| dash().map(|it| it).settled()),
    );
    says(
        "`sources` belongs before `map`",
        panic_of(|| dash().map(|_| ()).sources([("2", given(2))])),
    );
    let length = dash()
        .map(|it| it)
        .join(" ")
        .map(|line| line.len())
        .with_name("any");
    assert_eq!(block_on(length.aggregate(&root(), ())).unwrap(), 1);
}

#[test]
fn local_sources_answers_and_functions_need_not_be_send() {
    let factor = Rc::new(5);
    let local = LocalAggregator::in_place()
        .source("1", |_: Context, request: Rc<u8>| {
            ready(Ok::<_, BoxError>(request))
        })
        .map(move |(answer,)| *answer * *factor);
    assert_eq!(block_on(local.aggregate(&root(), Rc::new(3))).unwrap(), 15);
    assert_eq!(block_on(local.fetch(root(), Rc::new(3))).unwrap(), 15);
}

#[test]
fn a_success_is_logged_with_the_fields_of_the_context() {
    let (dash, lines) = dash();
    let ctx = root().with_value(LogFields(vec![("request".into(), "af31".into())]));
    block_on(dash.aggregate(&ctx, ())).unwrap();
    lines.expect(
        "INFO dash succeeded after ",
        &[" | aggregation=dash elapsed=", " request=af31"],
    );
}

#[test]
fn a_failure_is_logged_down_to_its_root() {
    #[derive(Debug, thiserror::Error)]
    #[error("no orders")]
    struct NoOrders(#[source] io::Error);
    let (dash, lines) = dash();
    let orders = |_: Context, ()| ready(Err::<u8, _>(NoOrders(io::Error::other("refused"))));
    block_on(dash.source("orders", orders).aggregate(&root(), ())).unwrap_err();
    lines.expect(
        "ERROR dash failed after ",
        &[": orders: no orders: refused | source=orders error=refused aggregation=dash"],
    );
}

#[test]
fn its_own_timeout_is_an_error_and_the_callers_deadline_a_warning() {
    let (dash, lines) = dash();
    let dash = dash.source("stuck", stuck);
    let late = dash.clone().with_timeout(Duration::ZERO);
    let error = block_on(late.aggregate(&root(), ())).unwrap_err();
    let text = "context deadline exceeded: dash's timeout of 0ns (waiting for profile, stuck)";
    assert_eq!(error.to_string(), text);
    lines.expect(
        "ERROR dash failed after ",
        &[text, "source=profile, stuck error=dash's timeout of 0ns"],
    );

    let ctx = root().with_timeout_cause(Duration::ZERO, "the page's budget");
    block_on(dash.aggregate(&ctx, ())).unwrap_err();
    lines.expect("WARN dash failed after ", &["the page's budget"]);
}

#[test]
fn a_level_of_the_users_counts_unless_it_panics() {
    let (dash, lines) = dash();
    let dash = dash.source("orders", refused);
    let trace = dash.clone().with_level(|error| {
        assert_eq!(error.task().unwrap(), &"orders");
        Level::Trace
    });
    block_on(trace.aggregate(&root(), ())).unwrap_err();
    lines.expect("TRACE dash failed after ", &[]);
    block_on(trace.settled().aggregate(&root(), ()))
        .unwrap()
        .1
        .unwrap_err();
    lines.expect("TRACE dash settled with 1 failed after ", &[]);
    let panics = dash.with_level(|_| panic!("no level"));
    block_on(panics.aggregate(&root(), ())).unwrap_err();
    lines.expect("ERROR dash failed after ", &[]);
}

#[test]
fn an_aggregation_dropped_while_it_runs_is_logged_and_one_never_polled_is_not() {
    let (dash, lines) = dash();
    let dash = dash.source("stuck", stuck);
    drop(dash.aggregate(&root(), ()));
    {
        let mut running = pin!(dash.aggregate(&root(), ()));
        let mut cx = task::Context::from_waker(Waker::noop());
        assert!(running.as_mut().poll(&mut cx).is_pending());
    }
    lines.expect("DEBUG dash dropped by its caller after ", &[]);
}

/// Neither its text nor its clone can be had.
struct Hostile;

impl fmt::Display for Hostile {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no text")
    }
}

impl fmt::Debug for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hostile")
    }
}

impl std::error::Error for Hostile {}

impl Clone for Hostile {
    fn clone(&self) -> Self {
        panic!("no clone")
    }
}

#[test]
fn a_panic_of_map_or_of_a_display_is_logged_and_goes_on() {
    let (dash, lines) = dash();
    let map = dash.clone().map(|_| -> u8 { panic!("no map") });
    assert_eq!(panic_of(|| block_on(map.aggregate(&root(), ()))), "no map");
    lines.expect("ERROR dash panicked after ", &[": no map | error=no map"]);

    let hostile = |_: Context, ()| ready(Ok::<_, BoxError>(Hostile));
    let join = dash.source("hostile", hostile).join(" ");
    assert_eq!(
        panic_of(|| block_on(join.aggregate(&root(), ()))),
        "no text"
    );
    lines.expect("ERROR dash panicked after ", &[": no text |"]);
}

#[test]
fn a_request_is_cloned_for_all_but_the_last_and_a_panic_there_cancels_and_is_logged() {
    let lines = Lines::default();
    let one = Aggregator::in_place()
        .with_logger(lines.clone())
        .source("1", given::<Hostile, _>(1));
    block_on(one.aggregate(&root(), Hostile)).unwrap();
    lines.expect("INFO", &[]);
    let never = |_: Context, _: Hostile| -> Given<u8> { unreachable!("not all could be called") };
    let two = one.source("2", never);
    assert_eq!(
        panic_of(|| block_on(two.aggregate(&root(), Hostile))),
        "no clone"
    );
    lines.expect("ERROR aggregation panicked after ", &[": no clone |"]);
}

#[test]
fn an_error_without_a_text_is_logged_all_the_same() {
    let (dash, lines) = dash();
    let hostile = |_: Context, ()| ready(Err::<u8, _>(Hostile));
    block_on(dash.source("hostile", hostile).aggregate(&root(), ())).unwrap_err();
    lines.expect(
        "ERROR dash failed after ",
        &["hostile: ", "(its text panicked: no text)"],
    );
}

#[test]
fn a_logger_that_panics_changes_no_outcome() {
    struct Panics;
    impl Log for Panics {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            panic!("not enabled")
        }
        fn log(&self, _: &Record<'_>) {
            panic!("no log")
        }
        fn flush(&self) {}
    }
    let (dash, _) = dash();
    assert_eq!(
        block_on(dash.with_logger(Panics).aggregate(&root(), ())).unwrap(),
        (1,)
    );
}

/// Counts its drops, each of which panics.
struct Loud(Rc<Cell<u32>>);

impl Drop for Loud {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        panic!("a loud destructor");
    }
}

#[test]
fn answers_that_are_not_returned_are_dropped_one_by_one() {
    let drops = Rc::new(Cell::new(0));
    let loud = || {
        let drops = drops.clone();
        move |_: Context, ()| ready(Ok::<_, BoxError>(Loud(drops.clone())))
    };
    let local = LocalAggregator::in_place()
        .source("1", loud())
        .source("2", loud());
    let error = block_on(local.source("3", refused).aggregate(&root(), ()))
        .map(|_| ())
        .unwrap_err();
    assert_eq!((error.to_string().as_str(), drops.get()), ("3: refused", 2));
}

#[test]
fn the_context_of_the_sources_was_made_where_aggregate_was_called() {
    let origins = Arc::new(Mutex::new(Vec::new()));
    let seen = origins.clone();
    let keep = move |ctx: Context, ()| {
        seen.lock().unwrap().push(ctx);
        ready(Ok::<_, BoxError>(1))
    };
    let keep = Aggregator::in_place().source("keep", keep);
    let here = Location::caller().line() + 1;
    block_on(keep.aggregate(&root(), ())).unwrap();
    let ctx = origins.lock().unwrap().pop().unwrap();
    let cause = ctx.cause().expect("it has ended with the aggregation");
    assert_eq!(
        (cause.origin().file(), cause.origin().line()),
        (file!(), here)
    );
}
