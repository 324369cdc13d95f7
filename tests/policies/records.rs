//! Log records: where they go, and what their texts are.

use crate::support::{Act, Failure, Hand, Lines, Script, manual, ms};
use failfast::clock::{Clock, SystemClock};
use failfast::observe::LogFields;
use failfast::policy::{Backoff, Hedge, Retry};
use failfast::{Aggregator, Source, SourceExt};
use futures::FutureExt;
use futures::task::{ArcWake, waker};
use log::Level;
use std::sync::{Arc, OnceLock};
use std::task;
use std::time::{Duration, Instant};

fn ten(times: u32) -> Retry {
    Retry::times(times).with_backoff(Backoff::constant(ms(10)))
}

/// The global logger's lines. Other tests write theirs as well, so names distinguish them.
fn global() -> &'static Lines {
    static GLOBAL: OnceLock<Lines> = OnceLock::new();
    GLOBAL.get_or_init(|| {
        let lines = Lines::default();
        log::set_boxed_logger(Box::new(lines.clone())).expect("set once");
        log::set_max_level(log::LevelFilter::Trace);
        lines
    })
}

#[test]
fn each_attempt_leaves_one_debug_record_under_its_sources_name() {
    let (clock, ctx) = manual();
    let lines = Lines::default();
    let script = Script::new(
        &clock,
        [Act::Fail(1, ms(3)), Act::Hang, Act::Answer(5, ms(2))],
    );
    let page = Aggregator::in_place()
        .with_logger(lines.clone())
        .source("orders", script.source().timeout(ms(100)).retry(ten(2)));
    Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap();
    assert_eq!(
        lines.of(Level::Debug),
        [
            "orders: attempt 1 failed after 3ms: failure 1; the next in 10ms",
            "orders: attempt 2 failed after 100ms: timed out after 100ms; the next in 10ms",
            "orders: attempt 3 succeeded after 2ms",
        ]
    );
}

#[test]
fn each_attempt_leaves_one_record_where_another_policy_is_around_a_shared_source() {
    let (clock, ctx) = manual();
    let lines = Lines::default();
    let script = Script::new(&clock, [Act::Fail(1, ms(3)), Act::Answer(5, ms(2))]);
    let shared = Arc::new(script.source().retry(ten(1)));
    let page = Aggregator::in_place()
        .with_logger(lines.clone())
        .source("orders", shared.hedge(Hedge::after(ms(500))));
    Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap();
    assert_eq!(
        lines.of(Level::Debug),
        [
            "orders: attempt 1 failed after 3ms: failure 1; the next in 10ms",
            "orders: attempt 2 succeeded after 2ms",
        ]
    );
}

#[test]
fn a_waker_that_panics_on_a_thread_of_ours_is_logged_with_what_may_help() {
    struct Panics;
    impl ArcWake for Panics {
        fn wake_by_ref(_: &Arc<Self>) {
            panic!("not on this thread");
        }
    }
    let lines = global();
    let mut sleep = SystemClock.sleep_until(SystemClock.now() + ms(20));
    let waker = waker(Arc::new(Panics));
    let _ = sleep.poll_unpin(&mut task::Context::from_waker(&waker));
    let begun = Instant::now();
    let helps = |line: &String| {
        line.contains("not on this thread") && line.contains("woken on a thread of failfast's")
    };
    while !lines.of(Level::Error).iter().any(helps) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it was logged");
        std::thread::yield_now();
    }
}

#[test]
fn the_record_of_the_last_attempt_holds_why_there_is_no_other() {
    let (clock, ctx) = manual();
    let told = |retry: Retry, time: u64| {
        let lines = Lines::default();
        let script = Script::new(&clock, [Act::Fail(1, ms(1))]);
        let page = Aggregator::in_place()
            .with_logger(lines.clone())
            .source("orders", script.source().retry(retry));
        let ctx = ctx.with_timeout(ms(time));
        Hand::new(page.aggregate(&ctx, ()))
            .finish(&clock)
            .unwrap_err();
        lines.of(Level::Debug).pop().unwrap()
    };
    let first = "orders: attempt 1 failed after 1ms: failure 1; ";
    assert_eq!(told(ten(0), 100), format!("{first}no attempts left"));
    assert_eq!(
        told(ten(9), 8),
        format!("{first}the next in 10ms, 7ms left")
    );
    let never = ten(9).when(|_: &Failure| false);
    assert_eq!(told(never, 100), format!("{first}not to be tried again"));
}

#[test]
fn where_no_when_matches_a_record_names_the_types_that_were_sought() {
    let (clock, ctx) = manual();
    let lines = Lines::default();
    let script = Script::new(&clock, [Act::Fail(1, ms(1))]);
    let retry = ten(1)
        .when(|_: &std::io::Error| true)
        .when(|_: &std::fmt::Error| true);
    let page = Aggregator::in_place()
        .with_logger(lines.clone())
        .source("orders", script.source().retry(retry));
    Hand::new(page.aggregate(&ctx, ()))
        .finish(&clock)
        .unwrap_err();
    let sought = "std::io::error::Error, core::fmt::Error";
    let records = lines.of(Level::Debug);
    let said =
        |record: &&String| record.contains(sought) && record.starts_with("orders: not tried");
    assert_eq!(records.iter().filter(said).count(), 1, "{records:?}");
}

#[test]
fn a_hedges_attempts_leave_a_record_each_and_the_retry_around_it_none() {
    let (clock, ctx) = manual();
    let lines = Lines::default();
    let script = Script::new(&clock, [Act::Hang, Act::Answer(5, ms(2))]);
    let source = script
        .source()
        .hedge(Hedge::after(ms(50)))
        .timeout(ms(500))
        .retry(ten(1));
    let page = Aggregator::in_place()
        .with_logger(lines.clone())
        .source("orders", source);
    Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap();
    assert_eq!(
        lines.of(Level::Debug),
        [
            "orders: attempt 2 (hedge) succeeded after 2ms",
            "orders: attempt 1 cut after 52ms: another attempt has decided the call",
        ]
    );
}

#[test]
fn a_fallback_leaves_a_record_of_why() {
    let (clock, ctx) = manual();
    let lines = Lines::default();
    let first = Script::new(&clock, [Act::Fail(1, ms(1))]);
    let second = Script::new(&clock, [Act::Answer(2, ms(1))]);
    let page = Aggregator::in_place()
        .with_logger(lines.clone())
        .source("orders", first.source().fallback(second.source()));
    Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap();
    assert_eq!(lines.of(Level::Debug), ["orders: falls back: failure 1"]);
}

#[test]
fn records_go_to_the_nearest_aggregators_logger_or_the_global_one() {
    let global = global();
    let (clock, ctx) = manual();
    let source = || {
        Script::new(&clock, [Act::Answer(5, ms(0))])
            .source()
            .retry(ten(1))
    };
    let (outer, inner) = (Lines::default(), Lines::default());
    let own = Aggregator::in_place()
        .with_logger(inner.clone())
        .source("own", source());
    let none = Aggregator::in_place().source("none of its own", source());
    let page = Aggregator::in_place()
        .with_logger(outer.clone())
        .source("nested", own)
        .source("without", none)
        .source("direct", source());
    Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap();
    let attempt = |name: &str| format!("{name}: attempt 1 succeeded after 0ns");
    assert_eq!(inner.of(Level::Debug), [attempt("own")]);
    assert_eq!(outer.of(Level::Debug), [attempt("direct")]);
    let of_none = |line: &String| line.starts_with("none of its own: attempt");
    assert_eq!(
        global
            .of(Level::Debug)
            .iter()
            .filter(|line| of_none(line))
            .count(),
        1
    );
    // Outside of an aggregator: the global one, and there is no name.
    let before = global.of(Level::Debug).len();
    let fetched = source().fetch_as(&"outside".into(), ctx, ());
    Hand::new(fetched).finish(&clock).unwrap();
    let after = global.of(Level::Debug);
    assert!(after[before..].contains(&attempt("outside")));
}

#[test]
fn the_callers_fields_are_on_the_records() {
    use log::kv::Key;
    use std::sync::{Arc, Mutex};
    #[derive(Clone, Default)]
    struct Fields(Arc<Mutex<Vec<(String, String)>>>);
    impl log::Log for Fields {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.target() == "failfast"
        }
        fn log(&self, record: &log::Record<'_>) {
            if record.level() == Level::Debug {
                let get = |key: &str| record.key_values().get(Key::from(key)).unwrap().to_string();
                self.0.lock().unwrap().push((get("source"), get("request")));
            }
        }
        fn flush(&self) {}
    }
    let (clock, ctx) = manual();
    let fields = Fields::default();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let page = Aggregator::in_place()
        .with_logger(fields.clone())
        .source("orders", script.source().retry(ten(1)));
    let ctx = ctx.with_value(LogFields(vec![("request".into(), "af31".to_owned())]));
    Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap();
    assert_eq!(
        *fields.0.lock().unwrap(),
        [("orders".to_owned(), "af31".to_owned())]
    );
}

#[test]
fn a_logger_that_panics_changes_nothing() {
    struct Panics;
    impl log::Log for Panics {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, _: &log::Record<'_>) {
            panic!("disk full");
        }
        fn flush(&self) {}
    }
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Fail(1, ms(1)), Act::Answer(5, ms(1))]);
    let page = Aggregator::in_place()
        .with_logger(Panics)
        .source("orders", script.source().retry(ten(1)).optional());
    assert_eq!(
        Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap(),
        (Some(5),)
    );
}

#[test]
fn a_hedge_of_no_further_attempts_leaves_its_records_to_the_retry_around_it() {
    let (clock, ctx) = manual();
    let lines = Lines::default();
    let script = Script::new(&clock, [Act::Fail(1, ms(3)), Act::Answer(5, ms(2))]);
    let source = script.source().hedge(Hedge::after(ms(50)).times(0));
    let page = Aggregator::in_place()
        .with_logger(lines.clone())
        .source("orders", source.retry(ten(1)));
    Hand::new(page.aggregate(&ctx, ())).finish(&clock).unwrap();
    assert_eq!(
        lines.of(Level::Debug),
        [
            "orders: attempt 1 failed after 3ms: failure 1; the next in 10ms",
            "orders: attempt 2 succeeded after 2ms",
        ]
    );
}
