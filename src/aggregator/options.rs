//! What the caller may care about; each with a default.

use crate::error::Name;
use crate::group::Core;
use log::Log;
use std::sync::Arc;
use std::time::Duration;

/// How long an aggregation may take if nobody says.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Options {
    pub(super) name: Name,
    pub(super) timeout: Duration,
    pub(super) logger: Option<Arc<dyn Log>>,
    pub(super) grace: Option<Duration>,
    pub(super) straggler_limit: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        let name = Name::from("aggregation");
        Self {
            name,
            timeout: TIMEOUT,
            logger: None,
            grace: None,
            straggler_limit: None,
        }
    }
}

impl Options {
    #[inline]
    pub(super) fn apply(&self, core: &Core) {
        if let Some(grace) = self.grace {
            core.set_grace(grace);
        }
        if let Some(limit) = self.straggler_limit {
            core.set_straggler_limit(limit);
        }
    }
}

/// Fields that every log record of a request is to carry: its correlation. Travels as a value of the
/// context.
///
/// # Examples
///
/// ```
/// use failfast::{Context, LogFields};
///
/// let ctx = Context::background().with_value(LogFields::new().with("request", "af31"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct LogFields(Vec<(String, String)>);

impl LogFields {
    /// No fields.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// These fields and one more.
    pub fn with(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.0.push((key.into(), value.to_string()));
        self
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}
