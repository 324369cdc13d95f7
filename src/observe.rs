//! What can be seen from outside: the events of groups and tasks, pictures and traces of them, a live group's snapshot,
//! and the fields of the log records.
//!
//! | question | answer |
//! |---|---|
//! | what happened, as a drawing in the terminal | [`Recorder::timeline`] |
//! | what happened, as a picture | [`Recorder::to_svg`] |
//! | what happened, in a trace viewer | [`Recorder::write_chrome_trace`] |
//! | what happens, event by event | [`Recorder::subscribe`], or an [`Observer`] of your own |
//! | why does it hang | [`snapshot`](crate::group::TaskGroup::snapshot) |
//! | which log records belong to a request | [`LogFields`] |

// | file | owns |
// |---|---|
// | `port.rs` | the port: `Observer`, and what it is given |
// | `event.rs` | an event as it is kept |
// | `recorder.rs`, `subscription.rs` | keeping the events, and handing them on |
// | `events.rs` | the events of `tracing` |
// | `history.rs`, `steps.rs` | the events, put in order |
// | `rows.rs`, `scale.rs`, `label.rs` | what drawings have in common |
// | `timeline.rs`, `svg.rs`, `chrome.rs` | drawing it |

mod chrome;
mod event;
pub(crate) mod events;
mod history;
mod label;
pub(crate) mod port;
mod recorder;
mod rows;
mod scale;
mod steps;
mod subscription;
mod svg;
mod timeline;

use crate::clock;
use crate::error::Name;
use crate::unwind;
use std::cell::Cell;
use std::task::Waker;

pub use crate::group::{Snapshot, TaskSnapshot, TaskState};
pub(crate) use event::text_of;
pub use event::{Ended, Event, EventKind};
pub use port::{AttemptEvent, AttemptKind, GroupEvent, Observer, Outcome, TaskEvent};
pub use recorder::Recorder;
pub use timeline::Timeline;

/// Fields that every log record of a request is to carry, for correlation: a value of the context.
///
/// An [`Aggregator`](crate::Aggregator) that is called under such a context, or under a child of it, adds them to
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

thread_local! {
    /// An executor is dropping a task on this thread.
    static DROPPING: Cell<bool> = const { Cell::new(false) };
}

/// Reports the end of a task that an executor is dropping, perhaps under locks of its own: readers of events are woken
/// on another thread.
pub(crate) fn in_a_drop<R>(report: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            DROPPING.set(self.0);
        }
    }
    let _restore = Restore(DROPPING.replace(true));
    report()
}

fn wake_reader(waker: Waker) {
    match DROPPING.get() {
        true => clock::aside(|| unwind::wake(waker)),
        false => unwind::wake(waker),
    }
}
