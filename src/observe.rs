//! What can be seen from outside: the fields of the log records, and a live group's snapshot.

use crate::error::Name;

pub use crate::group::{Snapshot, TaskSnapshot, TaskState};

/// Fields that every log record of a request is to carry, for correlation: a value of the context.
///
/// An [`Aggregator`](crate::Aggregator) that is asked under such a context, or under a child of it, adds them to
/// its record, as key-values. As with every value of a context, the nearest one wins as a whole.
///
/// # Examples
///
/// ```
/// use failfast::Context;
/// use failfast::observe::LogFields;
///
/// let fields = LogFields(vec![("request".into(), "af31".to_owned())]);
/// let ctx = Context::background().with_value(fields);
/// assert_eq!(ctx.value::<LogFields>().unwrap().0[0].1, "af31");
/// ```
#[derive(Clone, Debug, Default)]
pub struct LogFields(pub Vec<(Name, String)>);
