//! Aggregators: answers that panic, and what is written to the log.

use crate::executor::{Executor, Polled, watched};
use crate::faults::tools::{apart, panics};
use crate::support::{Count, SECOND, manual};
use failfast::{Aggregator, BoxError, Context, ErrorKind};
use futures::executor::block_on;
use std::fmt;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex};

/// An answer whose destructor panics, and whose `Display` does on demand.
struct Answer {
    drops: Count,
    mute: bool,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.drops.add();
        panic!("the destructor");
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(!self.mute, "no text");
        f.write_str("text")
    }
}

fn joined(mute: bool) -> usize {
    let drops = Count::default();
    let source = || {
        let drops = drops.clone();
        move |_: Context, (): ()| {
            let drops = drops.clone();
            ready(Ok::<_, BoxError>(Answer { drops, mute }))
        }
    };
    let each = Aggregator::in_place()
        .source("one", source())
        .source("two", source())
        .join(" ");
    let list = Aggregator::in_place()
        .sources([("one", source()), ("two", source())])
        .join(" ");
    for all in [each, list] {
        let _ = panics(|| block_on(all.aggregate(&Context::background(), ())));
    }
    drops.get()
}

/// Answers that were joined panicked in their destructors, and the second one aborted the process.
#[test]
fn joined_answers_panic_in_their_destructors() {
    apart(|| assert_eq!(joined(false), 4));
}

/// An answer panicked in its `Display` and then in its destructor, which aborted the process.
#[test]
fn joined_answer_panics_in_its_display_and_in_its_destructor() {
    apart(|| assert_eq!(joined(true), 4));
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}", record.level(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

/// A caller canceled, a source went on beyond the stragglers' limit, and the record held the caller's end alone.
#[test]
fn stragglers_after_a_callers_cancellation_are_logged_as_an_error() {
    watched(|| {
        let (clock, root) = manual();
        let (ctx, canceller) = root.with_cancel();
        let executor = Executor::new();
        let lines = Lines::default();
        let all = Aggregator::new(executor.spawner())
            .with_logger(lines.clone())
            .with_straggler_limit(SECOND)
            .source("slow", |ctx: Context, (): ()| async move {
                ctx.shield(pending::<()>()).await;
                Ok::<_, BoxError>(1)
            });
        let mut aggregation = Polled::new(all.aggregate(&ctx, ()));
        assert!(aggregation.is_pending());
        executor.run();
        canceller.cancel_with("bye");
        assert!(aggregation.is_pending());
        executor.run();
        clock.advance(SECOND);
        assert_eq!(
            aggregation.ready().unwrap_err().kind(),
            ErrorKind::Stragglers
        );
        let lines = lines.0.lock().unwrap();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("ERROR ") && lines[0].contains("still running"),
            "{lines:?}"
        );
    });
}

/// An aggregator within another of the same name and timeout was recorded as dropped by its caller, though it had
/// failed within the outer one's grace.
#[test]
fn nested_timeout_within_the_grace_is_logged_as_a_failure() {
    watched(|| {
        let (clock, root) = manual();
        let lines = Lines::default();
        let base = Aggregator::in_place()
            .with_name("name")
            .with_timeout(SECOND)
            .with_grace(SECOND)
            .with_logger(lines.clone());
        let inner = base
            .clone()
            .with_grace(std::time::Duration::ZERO)
            .source("stuck", |_: Context, (): ()| {
                pending::<Result<u8, BoxError>>()
            });
        let outer = base.source("inner", inner);
        let mut aggregation = Polled::new(outer.aggregate(&root, ()));
        assert!(aggregation.is_pending());
        clock.advance(SECOND);
        assert!(super::finish(&mut aggregation).is_err());
        let lines = lines.0.lock().unwrap();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("WARN name failed") && lines[0].contains("stuck"),
            "{lines:?}"
        );
        assert!(
            lines[1].starts_with("ERROR name failed") && lines[1].contains("inner"),
            "{lines:?}"
        );
    });
}
