//! One log record for each aggregation.

use super::options::{LogFields, Options};
use crate::context::Context;
use crate::error::Error;
use crate::group::Core;
use crate::guard;
use log::kv::Value;
use log::{Level, Log, Metadata, Record};
use std::error::Error as StdError;
use std::fmt::Arguments;
use std::time::Instant;

type Fields<'a> = Vec<(&'a str, Value<'a>)>;

/// What all records have in common: they can be filtered by it.
const TARGET: &str = "failfast";

pub(super) struct Report<'a> {
    ctx: &'a Context,
    options: &'a Options,
    /// `None` if nobody listens.
    since: Option<Instant>,
}

impl<'a> Report<'a> {
    #[inline]
    pub(super) fn begin(ctx: &'a Context, options: &'a Options) -> Self {
        let listens = is_enabled(options, Level::Error) || is_enabled(options, Level::Info);
        Self {
            ctx,
            options,
            since: listens.then(|| ctx.clock().now()),
        }
    }

    /// A logger is the user's code: what it throws must not become the aggregation's outcome.
    #[inline]
    pub(super) fn end<T>(&self, outcome: &Result<T, Error>, core: &Core) {
        let Some(since) = self.since else { return };
        guard::shield("a logger", || match outcome {
            Ok(_) => self.success(since),
            Err(error) => self.failure(since, error, core),
        });
    }

    fn success(&self, since: Instant) {
        self.log(
            Level::Info,
            since,
            format_args!("{} succeeded", self.options.name),
            Vec::new(),
        );
    }

    fn failure(&self, since: Instant, error: &Error, core: &Core) {
        let source = match error.name() {
            Some(name) => name.to_string(),
            None => core.unsuccessful().join(", "),
        };
        let root = root_cause(error);
        let mut fields = Vec::with_capacity(8);
        if !source.is_empty() {
            fields.push(("source", Value::from(source.as_str())));
        }
        fields.push(("error", Value::from(root.as_str())));
        let name = &self.options.name;
        self.log(
            Level::Error,
            since,
            format_args!("{name} failed: {error:#}"),
            fields,
        );
    }

    fn log(&self, level: Level, since: Instant, message: Arguments<'_>, fields: Fields<'_>) {
        if !is_enabled(self.options, level) {
            return;
        }
        let elapsed = self.ctx.clock().now().saturating_duration_since(since);
        let elapsed = format!("{elapsed:?}");
        let mut fields: Fields<'_> = fields; // ours live shorter than the caller's
        fields.push(("aggregation", Value::from(self.options.name.as_str())));
        fields.push(("elapsed", Value::from(elapsed.as_str())));
        let correlation = self.ctx.value::<LogFields>();
        fields.extend(
            correlation
                .into_iter()
                .flat_map(LogFields::iter)
                .map(|(k, v)| (k, Value::from(v))),
        );
        let fields = fields.as_slice();
        let mut record = Record::builder();
        record
            .level(level)
            .target(TARGET)
            .key_values(&fields)
            .args(message);
        logger(self.options).log(&record.build());
    }
}

/// The last of the sources: what it all began with.
fn root_cause(error: &Error) -> String {
    let mut root: &dyn StdError = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

fn is_enabled(options: &Options, level: Level) -> bool {
    let metadata = Metadata::builder().level(level).target(TARGET).build();
    match &options.logger {
        Some(logger) => logger.enabled(&metadata),
        None => level <= log::max_level() && log::logger().enabled(&metadata),
    }
}

fn logger(options: &Options) -> &dyn Log {
    options.logger.as_deref().unwrap_or_else(|| log::logger())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_logger_is_told_no_more_than_the_maximum_level() {
        crate::guard::tests::listen();
        let options = Options::default();
        assert!(is_enabled(&options, Level::Error));
        assert!(!is_enabled(&options, Level::Info));
    }
}
