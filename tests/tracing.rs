//! The feature `tracing`: spans of groups and tasks, and events in place of log records.

use failfast::clock::ManualClock;
use failfast::observe::LogFields;
use failfast::policy::{Backoff, Retry};
use failfast::{Aggregator, BoxError, Context, Group, InPlaceGroup, SourceExt as _, Task};
use futures::executor::block_on;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::{Debug, Write as _};
use std::future::{pending, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// A subscriber that writes down what it receives.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    spans: BTreeMap<u64, Span>,
    current: Vec<u64>,
    lines: Vec<String>,
}

#[derive(Clone, Default, Debug)]
struct Span {
    name: &'static str,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
    entered: usize,
    references: usize,
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "failfast" || metadata.target() == "test"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut book = self.0.lock().unwrap();
        let parent = span.parent().map(Id::into_u64);
        let parent = parent.or_else(|| {
            book.current
                .last()
                .copied()
                .filter(|_| span.is_contextual())
        });
        let mut fields = BTreeMap::new();
        span.record(&mut Fields(&mut fields));
        let id = book.spans.len() as u64 + 1;
        let name = span.metadata().name();
        book.spans.insert(
            id,
            Span {
                name,
                parent,
                fields,
                references: 1,
                entered: 0,
            },
        );
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut book = self.0.lock().unwrap();
        let span = book.spans.get_mut(&span.into_u64()).unwrap();
        assert!(span.references > 0, "{span:?}");
        values.record(&mut Fields(&mut span.fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let mut line = format!(
            "{} {}",
            event.metadata().level(),
            fields.remove("message").unwrap()
        );
        for (key, value) in fields {
            write!(line, " {key}={value}").unwrap();
        }
        let mut book = self.0.lock().unwrap();
        let within = book
            .current
            .last()
            .map_or("nothing", |id| book.spans[id].name);
        line = format!("{within}: {line}");
        book.lines.push(line);
    }

    fn enter(&self, span: &Id) {
        let mut book = self.0.lock().unwrap();
        book.current.push(span.into_u64());
        book.spans.get_mut(&span.into_u64()).unwrap().entered += 1;
    }

    fn exit(&self, span: &Id) {
        let mut book = self.0.lock().unwrap();
        assert_eq!(book.current.pop(), Some(span.into_u64()));
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.0
            .lock()
            .unwrap()
            .spans
            .get_mut(&span.into_u64())
            .unwrap()
            .references += 1;
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let mut book = self.0.lock().unwrap();
        let span = book.spans.get_mut(&span.into_u64()).unwrap();
        span.references -= 1;
        span.references == 0
    }
}

impl Notes {
    fn during<R>(run: impl FnOnce() -> R) -> (Self, R) {
        let notes = Self::default();
        let returned = tracing::subscriber::with_default(notes.clone(), run);
        (notes, returned)
    }

    fn span(&self, name: &str, field: &str) -> Span {
        let book = self.0.lock().unwrap();
        let mut found = book.spans.values().filter(|span| span.name == name);
        let found = found.find(|span| span.fields.get("name").is_none_or(|name| name == field));
        found
            .unwrap_or_else(|| panic!("no {name} {field}: {:#?}", book.spans))
            .clone()
    }

    fn name_of(&self, id: Option<u64>) -> Option<String> {
        let book = self.0.lock().unwrap();
        let span = &book.spans[&id?];
        Some(format!(
            "{} {}",
            span.name,
            span.fields.get("name").map_or("", String::as_str)
        ))
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().lines.clone()
    }

    /// Every span is closed, once, and none is entered any more.
    fn check_closed(&self) {
        let book = self.0.lock().unwrap();
        assert!(book.current.is_empty());
        let open: Vec<_> = book
            .spans
            .values()
            .filter(|span| span.references > 0)
            .collect();
        assert!(open.is_empty(), "{open:#?}");
    }
}

/// A task that never ends by itself.
async fn forever() -> Result<(), BoxError> {
    pending().await
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn spans_have_name_number_outcome_error_and_elapsed() {
    let (notes, ()) = Notes::during(|| {
        let clock = ManualClock::new();
        let ctx = Context::background().with_clock(clock.clone());
        let group = InPlaceGroup::<()>::new(&ctx);
        group.spawn_named("waits", forever());
        group.spawn_named("done", ready(Ok::<_, Infallible>(())));
        group.spawn(ready(Err("refused")));
        clock.advance(SECOND);
        assert!(block_on(group.wait()).is_err());
    });
    let field = |span: &Span, field: &str| span.fields.get(field).cloned();
    let some = |text: &str| Some(text.to_owned());
    let failed = notes.span("task", "task 2");
    assert_eq!(field(&failed, "number"), some("2"));
    assert_eq!(field(&failed, "outcome"), some("failed"));
    assert_eq!(field(&failed, "error"), some("task 2: refused"));
    assert_eq!(field(&failed, "elapsed"), some("1s"));
    assert_eq!(failed.entered, 1);
    let waits = notes.span("task", "waits");
    assert_eq!(
        (field(&waits, "outcome"), field(&waits, "error")),
        (some("cancelled"), None)
    );
    assert_eq!(
        field(&notes.span("task", "done"), "outcome"),
        some("succeeded")
    );
    let group = notes.span("group", "");
    assert_eq!(field(&group, "outcome"), some("canceled"));
    assert_eq!(field(&group, "error"), some("task 2: refused"));
    assert_eq!(field(&group, "elapsed"), some("1s"));
    assert!(field(&group, "location").unwrap().contains("tracing.rs:"));
    assert_eq!(field(&waits, "group"), field(&group, "number"));
    notes.check_closed();
}

#[test]
fn tasks_parent_is_the_span_that_is_current_at_its_spawn() {
    let (notes, ()) = Notes::during(|| {
        let request = tracing::info_span!(target: "test", "request");
        let other = tracing::info_span!(target: "test", "other");
        let group = request.in_scope(|| InPlaceGroup::new(&Context::background()));
        request.in_scope(|| group.spawn_named("first", ready(Ok::<_, Infallible>(1))));
        other.in_scope(|| group.spawn_named("second", ready(Ok::<_, Infallible>(2))));
        // Polled where neither is current.
        assert_eq!(block_on(group.wait()).unwrap(), [1, 2]);
    });
    assert_eq!(
        notes.name_of(notes.span("task", "first").parent).as_deref(),
        Some("request ")
    );
    assert_eq!(
        notes
            .name_of(notes.span("task", "second").parent)
            .as_deref(),
        Some("other ")
    );
    assert_eq!(
        notes.name_of(notes.span("group", "").parent).as_deref(),
        Some("request ")
    );
    notes.check_closed();
}

#[test]
fn span_is_entered_around_each_poll_and_nowhere_else() {
    let (notes, ()) = Notes::during(|| {
        let group = InPlaceGroup::new(&Context::background());
        group.spawn_named("source", async {
            tracing::info!(target: "test", "first");
            futures::pending!();
            tracing::info!(target: "test", "second");
            Ok::<_, Infallible>(())
        });
        let mut wait = Box::pin(group.wait());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        tracing::info!(target: "test", "between");
    });
    assert_eq!(notes.lines(), ["task: INFO first", "nothing: INFO between"]);
    assert_eq!(notes.span("task", "source").entered, 1);
    notes.check_closed();
}

#[test]
fn spawns_inside_a_task_are_below_its_span() {
    let (notes, ()) = Notes::during(|| {
        let group = InPlaceGroup::<()>::new(&Context::background());
        let handle = group.handle();
        group.spawn_named("outer", async move {
            assert!(
                handle
                    .spawn_named("inner", ready(Ok::<_, Infallible>(())))
                    .is_ok()
            );
            Ok::<_, Infallible>(())
        });
        block_on(group.wait()).unwrap();
    });
    assert_eq!(
        notes.name_of(notes.span("task", "inner").parent).as_deref(),
        Some("task outer")
    );
    notes.check_closed();
}

async fn source(_: Context, n: u32) -> Result<u32, &'static str> {
    if n == 0 { Err("refused") } else { Ok(n) }
}

#[test]
fn aggregations_tasks_are_below_its_span_and_nested_ones_below_their_task() {
    let (notes, ()) = Notes::during(|| {
        let inner = Aggregator::in_place()
            .with_name("user")
            .source("name", source);
        let outer = Aggregator::in_place()
            .with_name("page")
            .source("user", inner)
            .source("ads", source);
        block_on(outer.aggregate(&Context::background(), 1)).unwrap();
    });
    let parent = |kind: &str, name: &str| notes.name_of(notes.span(kind, name).parent);
    assert_eq!(parent("task", "ads").as_deref(), Some("group page"));
    assert_eq!(parent("task", "user").as_deref(), Some("group page"));
    assert_eq!(parent("group", "user").as_deref(), Some("task user"));
    assert_eq!(parent("task", "name").as_deref(), Some("group user"));
    notes.check_closed();
}

#[test]
fn events_are_at_the_levels_of_the_log_records_with_their_fields() {
    let fields = LogFields(vec![
        ("request".into(), "af31".to_owned()),
        ("user".into(), "7".to_owned()),
    ]);
    let (notes, ()) = Notes::during(|| {
        let clock = ManualClock::new();
        let ctx = Context::background()
            .with_clock(clock.clone())
            .with_value(fields);
        let page = Aggregator::in_place().with_name("page").source("a", source);
        block_on(page.aggregate(&ctx, 1)).unwrap();
        block_on(page.aggregate(&ctx, 0)).unwrap_err();
        let (ended, canceller) = ctx.with_cancel();
        canceller.cancel_with("client went away");
        block_on(page.aggregate(&ended, 1)).unwrap_err();
    });
    assert_eq!(
        notes.lines(),
        [
            "nothing: INFO page succeeded after 0ns aggregation=page elapsed=0ns fields=request=af31 user=7",
            "nothing: ERROR page failed after 0ns: a: refused aggregation=page elapsed=0ns error=refused \
             fields=request=af31 user=7 source=a",
            "nothing: WARN page failed after 0ns: context canceled: client went away (waiting for a) aggregation=page \
             elapsed=0ns error=client went away fields=request=af31 user=7 source=a",
        ]
    );
    notes.check_closed();
}

#[test]
fn records_of_policies_are_events_inside_the_span_of_their_task() {
    let (notes, ()) = Notes::during(|| {
        let ctx = Context::background().with_clock(ManualClock::new());
        let retried = source.retry(Retry::times(1).with_backoff(Backoff::constant(Duration::ZERO)));
        let page = Aggregator::in_place().source("a", retried);
        assert!(block_on(page.aggregate(&ctx, 0)).is_err());
    });
    let lines = notes.lines();
    let first = "task: DEBUG a: attempt 1 failed after 0ns: refused; the next in 0ns source=a";
    assert_eq!(lines[0], first, "{lines:#?}");
    assert!(
        lines[1].starts_with("task: DEBUG a: attempt 2 failed after 0ns: refused;"),
        "{lines:#?}"
    );
    notes.check_closed();
}

/// Takes what the crate logs.
#[derive(Clone, Default)]
struct Logger(Arc<Mutex<Vec<String>>>);

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn what_has_a_subscriber_is_not_logged_as_well() {
    // The one test that sets the global logger: it holds for the whole process.
    let logger = Logger::default();
    log::set_boxed_logger(Box::new(logger.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let ours = |logger: &Logger| {
        let all = std::mem::take(&mut *logger.0.lock().unwrap());
        all.into_iter()
            .filter(|line| line.starts_with("page once"))
            .count()
    };
    let page = Aggregator::in_place()
        .with_name("page once")
        .source("a", source);
    let (notes, ()) = Notes::during(|| drop(block_on(page.aggregate(&Context::background(), 1))));
    assert_eq!((notes.lines().len(), ours(&logger)), (1, 0));
    // Without a subscriber it is a log record, as without the feature.
    drop(block_on(page.aggregate(&Context::background(), 1)));
    assert_eq!(ours(&logger), 1);
    // A logger of the aggregator's own is what its user has chosen.
    let own = Logger::default();
    let page = page.with_logger(own.clone());
    let (notes, ()) = Notes::during(|| drop(block_on(page.aggregate(&Context::background(), 1))));
    assert_eq!((notes.lines().len(), ours(&own), ours(&logger)), (0, 1, 0));
}

#[test]
fn lost_and_refused_tasks_close_their_spans() {
    let (notes, ()) = Notes::during(|| {
        let (group, _) = Group::<()>::with_context(&Context::background(), |task: Task| drop(task));
        group.spawn_named("lost", ready(Ok::<_, Infallible>(())));
        group.spawn_named("refused", ready(Ok::<_, Infallible>(())));
        assert!(block_on(group.wait()).is_err());
        let group = InPlaceGroup::<()>::new(&Context::background());
        group.spawn_named("dropped", ready(Ok::<_, Infallible>(())));
    });
    assert_eq!(notes.span("task", "lost").fields["outcome"], "lost");
    assert_eq!(notes.span("task", "dropped").fields["outcome"], "cancelled");
    notes.check_closed();
}

/// A subscriber that panics at every call, once there is a span.
struct Bad;

impl Subscriber for Bad {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        panic!("the subscriber fails")
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {
        panic!("the subscriber fails")
    }

    fn exit(&self, _: &Id) {
        panic!("the subscriber fails")
    }

    fn try_close(&self, _: Id) -> bool {
        panic!("the subscriber fails")
    }
}

#[test]
fn panicking_subscriber_changes_no_outcome() {
    tracing::subscriber::with_default(Bad, || {
        let group = InPlaceGroup::new(&Context::background());
        (0..3).for_each(|n| group.spawn(ready(Ok::<_, Infallible>(n))));
        assert_eq!(block_on(group.wait()).unwrap(), [0, 1, 2]);
        let group = InPlaceGroup::<()>::new(&Context::background());
        group.spawn(ready(Err("refused")));
        assert_eq!(
            block_on(group.wait()).unwrap_err().to_string(),
            "task 0: refused"
        );
    });
}

#[test]
fn nothing_is_read_or_kept_without_a_subscriber() {
    reads_no_clock();
}

#[test]
fn nothing_is_read_or_kept_for_a_subscriber_that_refuses_the_spans() {
    use tracing_subscriber::{filter::filter_fn, layer::SubscriberExt as _};
    let events = tracing_subscriber::registry().with(filter_fn(|metadata| metadata.is_event()));
    tracing::subscriber::with_default(events, reads_no_clock);
}

fn reads_no_clock() {
    let readings = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = readings.clone();
    let now = move || {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        std::time::Instant::now()
    };
    let ctx = Context::background().with_clock((now, |_: Duration| pending::<()>()));
    let group = InPlaceGroup::new(&ctx);
    group.spawn(ready(Ok::<_, Infallible>(1)));
    assert_eq!(block_on(group.wait()).unwrap(), [1]);
    assert_eq!(readings.load(std::sync::atomic::Ordering::SeqCst), 0);
}

/// Notes how many spans of tasks are open when it is woken.
struct Woken(Notes, Mutex<Vec<usize>>);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        let book = self.0.0.lock().unwrap();
        let open = book
            .spans
            .values()
            .filter(|span| span.name == "task" && span.references > 0);
        self.1.lock().unwrap().push(open.count());
    }
}

/// "Nothing outlives the wait": a program that exports its spans and ends then has them all.
#[test]
fn span_of_the_last_task_is_closed_before_the_wait_is_woken() {
    let notes = Notes::default();
    let woken = Arc::new(Woken(notes.clone(), Mutex::default()));
    tracing::subscriber::with_default(notes, || {
        let queue = Arc::new(Mutex::new(Vec::new()));
        let tasks = queue.clone();
        let group = Group::<()>::new(move |task: Task| tasks.lock().unwrap().push(task));
        group.spawn(ready(Ok::<_, Infallible>(())));
        group.spawn(ready(Err("connection refused")));
        let mut wait = std::pin::pin!(group.wait());
        let waker = std::task::Waker::from(woken.clone());
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        for mut task in std::mem::take(&mut *queue.lock().unwrap()) {
            let mut noop = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(std::pin::Pin::new(&mut task).poll(&mut noop).is_ready());
        }
        assert!(wait.as_mut().poll(&mut cx).is_ready());
    });
    assert_eq!(woken.1.lock().unwrap().last(), Some(&0));
}
