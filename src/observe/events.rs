//! The events of `tracing`, with the feature of that name: what is a log record otherwise.

use crate::error::Name;
use log::Level;

/// The fields of a record. What is empty is left out.
#[derive(Default)]
#[cfg_attr(
    not(feature = "tracing"),
    expect(dead_code, reason = "read by the feature alone")
)]
pub(crate) struct Fields<'a> {
    pub(crate) source: &'a str,
    pub(crate) error: &'a str,
    pub(crate) aggregation: &'a str,
    pub(crate) elapsed: &'a str,
    /// Those that the caller adds to every record of the request.
    pub(crate) callers: &'a [(Name, String)],
}

/// Whether this thread has a subscriber. It receives the records in place of the logger, and not beside it, because it may
/// receive what is logged, too.
#[cfg(feature = "tracing")]
pub(crate) fn are_wanted() -> bool {
    use tracing::{dispatcher::get_default, subscriber::NoSubscriber};
    get_default(|dispatch| !dispatch.is::<NoSubscriber>())
}

/// Sends an event. The subscriber is foreign code.
#[cfg(feature = "tracing")]
pub(crate) fn send(level: Level, text: &str, fields: &Fields<'_>) {
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let (source, error) = (given(fields.source), given(fields.error));
    let (aggregation, elapsed) = (given(fields.aggregation), given(fields.elapsed));
    // In one field, because the names of `tracing`'s fields are fixed at compile time, and the callers' are not.
    let callers = fields
        .callers
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    let callers = callers.collect::<Vec<_>>().join(" ");
    let fields = given(&callers);
    // So are levels.
    macro_rules! at {
        ($level:ident) => {
            tracing::event!(
                target: "failfast",
                tracing::Level::$level,
                source,
                error,
                aggregation,
                elapsed,
                fields,
                "{text}"
            )
        };
    }
    match level {
        Level::Error => at!(ERROR),
        Level::Warn => at!(WARN),
        Level::Info => at!(INFO),
        Level::Debug => at!(DEBUG),
        Level::Trace => at!(TRACE),
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn are_wanted() -> bool {
    false
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn send(_: Level, _: &str, _: &Fields<'_>) {}
