//! Log records of what policies do: to the aggregator's logger, outside of one to the global.

use crate::context::Context;
use crate::error::Name;
use crate::observe::LogFields;
use crate::observe::events::{self, Fields};
use crate::unwind;
use log::kv::Value;
use log::{Level, Log, Metadata, Record};
use std::fmt;
use std::sync::Arc;

/// What all records have in common: they can be filtered by it.
const TARGET: &str = "failfast";

/// A value of the context: the logger of the nearest aggregator. `None`: that has none of its own.
pub(crate) struct Logger(pub(crate) Option<Arc<dyn Log>>);

/// Writes a record, if there is a logger or a subscriber for it. `said` is called only then. Its text begins with the
/// source's name.
///
/// The logger is foreign code, and so is the `Display` of a user's error: their panics are contained.
pub(super) fn write<T: fmt::Display>(
    ctx: &Context,
    name: Option<&Name>,
    level: Level,
    said: impl FnOnce() -> T,
) {
    let own = own_logger(ctx);
    if own.is_none() && events::are_wanted() {
        return unwind::shield("a tracing subscriber", || tell(ctx, level, name, said()));
    }
    if own.is_none() && level > log::max_level() {
        return;
    }
    let logger = own.unwrap_or_else(|| log::logger());
    unwind::shield("a logger", || {
        let metadata = Metadata::builder().level(level).target(TARGET).build();
        if logger.enabled(&metadata) {
            let name = name.map_or("source", Name::as_str);
            let said = said().to_string();
            log_to(logger, ctx, level, name, &format!("{name}: {said}"));
        }
    });
}

/// The record as an event of `tracing`.
fn tell(ctx: &Context, level: Level, name: Option<&Name>, said: impl fmt::Display) {
    let name = name.map_or("source", Name::as_str);
    let callers = ctx.value::<LogFields>();
    let fields = Fields {
        source: name,
        callers: callers.map_or(&[], |fields| &fields.0),
        ..Fields::default()
    };
    events::send(level, &format!("{name}: {said}"), &fields);
}

fn own_logger(ctx: &Context) -> Option<&dyn Log> {
    ctx.value::<Logger>()?.0.as_deref()
}

fn log_to(logger: &dyn Log, ctx: &Context, level: Level, name: &str, text: &str) {
    let fields = ctx.value::<LogFields>();
    let callers = fields.map_or(&[][..], |fields| &fields.0);
    let callers = callers
        .iter()
        .map(|(key, value)| (&**key, Value::from(&**value)));
    let fields: Vec<_> = std::iter::once(("source", Value::from(name)))
        .chain(callers)
        .collect();
    let fields = fields.as_slice();
    let mut record = Record::builder();
    record.level(level).target(TARGET).key_values(&fields);
    logger.log(&record.args(format_args!("{text}")).build());
}
