//! One log record for each aggregation that was polled, however it ends.
//!
//! The text alone holds everything, because many loggers drop the key-values. A logger is the user's code: it is
//! called under no lock, and its panic changes no outcome.

use super::options::Options;
use crate::clock::Instant;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Name, walk};
use crate::observe::LogFields;
use crate::observe::events::{self, Fields};
use crate::unwind;
use log::kv::Value;
use log::{Level, Log, Metadata, Record};
use std::any::Any;
use std::error::Error as _;
use std::fmt::{self, Display, Write};
use std::time::Duration;

/// What all records have in common: they can be filtered by it.
const TARGET: &str = "failfast";

/// How many failures a record names one by one.
const TOLD: usize = 8;

type Outcome = (Name, Result<(), Error>);

/// The record of an aggregation under way. If it is dropped before the aggregation has ended, it logs that.
pub(super) struct Report<'a> {
    ctx: &'a Context,
    options: &'a Options,
    since: Option<Instant>,
    is_open: bool,
}

/// The content of a record.
struct Said<'a> {
    level: Level,
    /// How the aggregation ended.
    outcome: &'a dyn Display,
    /// Why, if it is not all well.
    why: Option<&'a dyn Display>,
    /// Key-values of this outcome.
    source: String,
    error: String,
}

impl<'a> Report<'a> {
    /// The clock is read only if there may be a logger or a subscriber.
    #[inline]
    pub(super) fn begin(ctx: &'a Context, options: &'a Options) -> Self {
        let listens = options.logger.is_some()
            || log::max_level() > log::LevelFilter::Off
            || events::are_wanted();
        Self {
            ctx,
            options,
            since: if listens { now(ctx) } else { None },
            is_open: listens,
        }
    }

    /// All sources have ended, and the answer is made.
    #[inline]
    pub(super) fn ended(self, outcomes: &[Outcome]) {
        self.close(|report| {
            let failures: Vec<_> = outcomes.iter().filter_map(failure).collect();
            if failures.is_empty() {
                report.say(&Said::new(Level::Info, &"succeeded"));
            } else {
                report.settled(&failures);
            }
        });
    }

    pub(super) fn failed(self, error: &Error) {
        self.close(|report| {
            let source = error
                .task()
                .map_or_else(|| listed(error.pending()), Name::to_string);
            report.say(&Said {
                level: report.level_of(error),
                outcome: &"failed",
                why: Some(&Chain(error)),
                source,
                error: root_cause(error),
            });
        });
    }

    /// Foreign code panicked that is no source, with this payload.
    pub(super) fn panicked(self, payload: &(dyn Any + Send)) {
        self.close(|report| {
            let text = unwind::message_of(payload);
            report.say(&Said {
                why: Some(&text),
                error: text.to_owned(),
                ..Said::new(Level::Error, &"panicked")
            });
        });
    }

    /// `Debug`, because callers drop for good reasons: another was faster, for example.
    fn dropped(&self) {
        self.say(&Said::new(Level::Debug, &"dropped by its caller"));
    }

    fn settled(&self, failures: &[(&Name, &Error)]) {
        let level = match &self.options.level {
            Some(_) => failures.iter().map(|(_, error)| self.level_of(error)).min(),
            None => None,
        };
        let names: Vec<_> = failures.iter().map(|(name, _)| (*name).clone()).collect();
        let roots: Vec<_> = failures
            .iter()
            .take(TOLD)
            .map(|(_, error)| root_cause(error))
            .collect();
        self.say(&Said {
            level: level.unwrap_or(Level::Warn),
            outcome: &format_args!("settled with {} failed", failures.len()),
            why: Some(&Told(failures)),
            source: listed(&names),
            error: roots.join("; "),
        });
    }

    fn close(mut self, say: impl FnOnce(&Self)) {
        if std::mem::take(&mut self.is_open) {
            unwind::shield("a logger", || say(&self));
        }
    }

    fn level_of(&self, error: &Error) -> Level {
        let chosen = self
            .options
            .level
            .as_ref()
            .map(|level| unwind::contain_text(|| level(error)));
        match chosen {
            Some(Ok(level)) => level,
            Some(Err(_)) | None => self.usual_level(error),
        }
    }

    /// The caller's end is no error of the aggregation's.
    fn usual_level(&self, error: &Error) -> Level {
        match error.kind() {
            ErrorKind::Canceled => Level::Warn,
            ErrorKind::DeadlineExceeded if !self.options.is_own_timeout(error) => Level::Warn,
            _ => Level::Error,
        }
    }

    fn say(&self, said: &Said<'_>) {
        if self.options.logger.is_none() && events::are_wanted() {
            // In place of the record, and not beside it: the subscriber may receive what is logged, too.
            let elapsed = Elapsed(self.since.zip(now(self.ctx)));
            let fields = Fields {
                source: &said.source,
                error: &said.error,
                aggregation: self.options.name(),
                elapsed: &elapsed.to_string(),
                callers: self.callers(),
            };
            events::send(said.level, &self.text(said, &elapsed), &fields);
        } else if self.is_enabled(said.level) {
            let elapsed = Elapsed(self.since.zip(now(self.ctx)));
            self.log(said, &self.text(said, &elapsed), &elapsed.to_string());
        }
    }

    /// Made before the logger is called, because the `Display` of a user's error may panic, and the record is to be
    /// written all the same.
    fn text(&self, said: &Said<'_>, elapsed: &Elapsed) -> String {
        let mut text = format!("{} {} after {elapsed}", self.options.name(), said.outcome);
        if let Some(why) = said.why {
            let written = unwind::contain_text(|| write!(text, ": {why}"));
            if let Err(panic) = written {
                text.push_str(&format!(" (its text panicked: {panic})"));
            }
        }
        text
    }

    fn log(&self, said: &Said<'_>, text: &str, elapsed: &str) {
        let ours = [
            ("source", said.source.as_str()),
            ("error", said.error.as_str()),
            ("aggregation", self.options.name().as_str()),
            ("elapsed", elapsed),
        ];
        let ours = ours.into_iter().filter(|(_, value)| !value.is_empty());
        let callers = self
            .callers()
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let fields: Vec<_> = ours
            .chain(callers)
            .map(|(key, value)| (key, Value::from(value)))
            .collect();
        let fields = fields.as_slice();
        let mut record = Record::builder();
        record.level(said.level).target(TARGET).key_values(&fields);
        self.logger()
            .log(&record.args(format_args!("{text}")).build());
    }

    /// The caller's fields, for every record of the request.
    fn callers(&self) -> &[(Name, String)] {
        let fields = self.ctx.value::<LogFields>();
        fields.map_or(&[], |fields| &fields.0)
    }

    fn is_enabled(&self, level: Level) -> bool {
        let metadata = Metadata::builder().level(level).target(TARGET).build();
        let is_muted = self.options.logger.is_none() && level > log::max_level();
        !is_muted && self.logger().enabled(&metadata)
    }

    fn logger(&self) -> &dyn Log {
        self.options
            .logger
            .as_deref()
            .unwrap_or_else(|| log::logger())
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if self.is_open {
            unwind::shield("a logger", || self.dropped());
        }
    }
}

impl<'a> Said<'a> {
    fn new(level: Level, outcome: &'a dyn Display) -> Self {
        Self {
            level,
            outcome,
            why: None,
            source: String::new(),
            error: String::new(),
        }
    }
}

/// How long it took. Unknown if the clock panicked.
struct Elapsed(Option<(Instant, Instant)>);

impl Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((since, now)) => write!(f, "{:?}", took(since, now)),
            None => f.write_str("an unknown time"),
        }
    }
}

/// A clock of the user's may run backwards.
fn took(since: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(since)
}

/// An error's text as its `Display` has it, and then every source that it did not quote.
struct Chain<'a>(&'a Error);

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

/// The failures of a settled aggregation, some of them.
struct Told<'a>(&'a [(&'a Name, &'a Error)]);

impl Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (told, omitted) = self.0.split_at(self.0.len().min(TOLD));
        for (number, (_, error)) in told.iter().enumerate() {
            write!(f, "{}{}", if number == 0 { "" } else { "; " }, Chain(error))?;
        }
        match omitted.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

fn failure((name, outcome): &Outcome) -> Option<(&Name, &Error)> {
    outcome.as_ref().err().map(|error| (name, error))
}

fn listed(names: &[Name]) -> String {
    let (told, omitted) = names.split_at(names.len().min(TOLD));
    let told: Vec<_> = told.iter().map(Name::as_str).collect();
    match omitted.len() {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

/// The last in the chain: what it all began with.
fn root_cause(error: &Error) -> String {
    let root = || walk(error).last().map(|root| root.to_string());
    unwind::contain_text(root)
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// The context's clock is the user's code.
fn now(ctx: &Context) -> Option<Instant> {
    unwind::contain_text(|| ctx.now()).ok()
}
