//! Log records, with their key-values, on standard error.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::LazyLock;
use std::time::Instant;

use log::kv::{self, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Sends every record from `info` up to standard error, and the library's from `debug` up if `verbose`; the clock on
/// its lines starts here.
pub(crate) fn install(verbose: bool) {
    LazyLock::force(&STARTED);
    log::set_logger(&Stderr).expect("the demo sets its logger once");
    log::set_max_level(match verbose {
        true => LevelFilter::Debug,
        false => LevelFilter::Info,
    });
}

/// Writes to standard error. An error is ignored, because a closed pipe is no reason to fail.
pub(crate) fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let most = match metadata.target() {
            "failfast" => log::max_level(),
            _ => LevelFilter::Info,
        };
        metadata.level() <= most
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let at = STARTED.elapsed().as_millis();
            say(&format!("{at:>6}ms {}\n", line(record)));
        }
    }

    fn flush(&self) {}
}

/// `INFO  the message key=value other="two words"`
fn line(record: &Record<'_>) -> String {
    let mut line = Line(format!("{:<5} {}", record.level(), record.args()));
    // The visitor below never fails.
    let _ = record.key_values().visit(&mut line);
    line.0
}

struct Line(String);

impl<'kvs> VisitSource<'kvs> for Line {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let value = value.to_string();
        let bare = !value.is_empty() && !value.contains([' ', '"', '\n']);
        let _ = if bare {
            write!(self.0, " {key}={value}")
        } else {
            write!(self.0, " {key}={value:?}")
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_values_follow_the_message_quoted_where_needed() {
        let pairs = [("source", "profile"), ("error", "HTTP 500")];
        let record = Record::builder()
            .level(log::Level::Error)
            .key_values(&pairs)
            .build();
        assert_eq!(line(&record), r#"ERROR  source=profile error="HTTP 500""#);
    }
}
