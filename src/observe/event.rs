//! An event as it is kept: it owns its content, and holds no value or error of the user's.

use super::port::{AttemptKind, GroupEvent, Outcome, TaskEvent};
use crate::attempt::Attempt;
use crate::clock::Instant;
use crate::error::{Error, Name};
use crate::json::Object;
use crate::unwind;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// Something that happened in a group, as a [`Recorder`](super::Recorder) keeps it.
///
/// Errors and causes are kept as text, so that an event keeps nothing of the user's alive.
///
/// # Examples
///
/// ```
/// use failfast::observe::{Ended, EventKind, Recorder};
/// use failfast::{Context, InPlaceGroup};
/// use futures::StreamExt as _;
/// use std::num::NonZeroUsize;
///
/// # futures::executor::block_on(async {
/// let recorder = Recorder::new();
/// let events = recorder.subscribe(NonZeroUsize::new(100).unwrap());
/// let group = InPlaceGroup::new(&Context::background().with_observer(recorder));
/// group.spawn_named("orders", async { Err::<(), _>("connection refused") });
/// assert!(group.wait().await.is_err());
///
/// let events: Vec<_> = events.take(6).collect().await;
/// let failed = events.iter().find(|event| matches!(event.kind(), EventKind::TaskEnded(Ended::Failed)));
/// assert_eq!(failed.unwrap().text(), Some("orders: connection refused"));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    pub(super) kind: EventKind,
    pub(super) at: Instant,
    pub(super) of: Of,
    /// Of the error or the cause.
    pub(super) text: Option<Arc<str>>,
}

/// What an event is about.
#[derive(Clone, Debug)]
pub(super) enum Of {
    /// Shared, because it is large and there are few.
    Group(Arc<GroupEvent>),
    Task(TaskEvent),
    /// The events that a reader has missed.
    Reader,
}

/// What happened.
///
/// # Examples
///
/// ```
/// use failfast::observe::{Ended, EventKind};
///
/// assert_eq!(EventKind::TaskEnded(Ended::Failed).to_string(), "failed");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A group was made.
    GroupOpened,
    /// A group is over: the last of its events.
    GroupClosed,
    /// A group's context has ended before its work was done. [`Event::text`] is the cause.
    Canceled,
    /// A task was spawned: the first of its events.
    TaskSpawned,
    /// It waits for the group's limit.
    TaskQueued,
    /// It is about to be polled.
    PollStarted,
    /// It has been polled.
    PollEnded,
    /// It has ended: the last of its events. [`Event::text`] is the error, if there is one.
    TaskEnded(Ended),
    /// A policy around its source has made an attempt, refused one, or changed its state. [`Event::text`] is the error, if
    /// there is one.
    Attempt(Attempt, AttemptKind),
    /// So many events came before this one that the reader of a subscription was too slow for.
    Missed(u64),
}

/// How a task ended: [`Outcome`] without the error.
///
/// # Examples
///
/// ```
/// assert_eq!(failfast::observe::Ended::Succeeded.to_string(), "finished");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Ended {
    /// It returned a value.
    Succeeded,
    /// It returned an error.
    Failed,
    /// It panicked.
    Panicked,
    /// It was cancelled with its group, or by its fork.
    Cancelled,
    /// The executor dropped it.
    Lost,
}

impl Ended {
    /// Whether it is a failure of the task's own.
    pub(super) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Panicked | Self::Lost)
    }

    /// With the error that it came with.
    pub(crate) fn with(self, error: Option<&Error>) -> Outcome<'_> {
        match (self, error) {
            (Self::Succeeded, _) => Outcome::Succeeded,
            (Self::Failed, Some(error)) => Outcome::Failed(error),
            (Self::Panicked, Some(error)) => Outcome::Panicked(error),
            (Self::Lost, _) => Outcome::Lost,
            (Self::Cancelled, _) | (_, None) => Outcome::Cancelled,
        }
    }

    /// Its name in JSON, in style sheets and in span fields.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

impl From<&Outcome<'_>> for Ended {
    fn from(outcome: &Outcome<'_>) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed(_) => Self::Failed,
            Outcome::Panicked(_) => Self::Panicked,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Lost => Self::Lost,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Succeeded => "finished",
            other => other.key(),
        })
    }
}

impl EventKind {
    fn key(self) -> &'static str {
        match self {
            Self::GroupOpened => "group_opened",
            Self::GroupClosed => "group_closed",
            Self::Canceled => "canceled",
            Self::TaskSpawned => "task_spawned",
            Self::TaskQueued => "task_queued",
            Self::PollStarted => "poll_started",
            Self::PollEnded => "poll_ended",
            Self::TaskEnded(_) => "task_ended",
            Self::Attempt(..) => "attempt",
            Self::Missed(_) => "missed",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GroupOpened => f.write_str("opened"),
            Self::GroupClosed => f.write_str("closed"),
            Self::Canceled => f.write_str("canceled"),
            Self::TaskSpawned => f.write_str("spawned"),
            Self::TaskQueued => f.write_str("queued"),
            Self::PollStarted => f.write_str("poll started"),
            Self::PollEnded => f.write_str("poll ended"),
            Self::TaskEnded(ended) => ended.fmt(f),
            Self::Attempt(attempt, kind) => write!(f, "attempt {} {kind}", attempt.number()),
            Self::Missed(count) => write!(f, "{count} events missed"),
        }
    }
}

impl Event {
    pub(super) fn of_group(kind: EventKind, group: &GroupEvent, text: Option<Arc<str>>) -> Self {
        Self {
            kind,
            at: group.at,
            of: Of::Group(Arc::new(group.clone())),
            text,
        }
    }

    pub(super) fn of_task(kind: EventKind, task: &TaskEvent, text: Option<Arc<str>>) -> Self {
        Self {
            kind,
            at: task.at,
            of: Of::Task(task.clone()),
            text,
        }
    }

    /// `count` events were missed, the last of them at `at`.
    pub(super) fn missed(count: u64, at: Instant) -> Self {
        Self {
            kind: EventKind::Missed(count),
            at,
            of: Of::Reader,
            text: None,
        }
    }

    /// What happened.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// When it happened, by the clock of the group's context.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The number of the group, or of the task's group. `None` for [`EventKind::Missed`].
    pub fn group(&self) -> Option<u64> {
        match &self.of {
            Of::Group(group) => Some(group.group),
            Of::Task(task) => Some(task.group),
            Of::Reader => None,
        }
    }

    /// The number of the group in whose context this event's group was made: with the events of a group.
    pub fn parent(&self) -> Option<u64> {
        match &self.of {
            Of::Group(group) => group.parent,
            Of::Task(_) | Of::Reader => None,
        }
    }

    /// The number of the task, if it is an event of one.
    pub fn task(&self) -> Option<u64> {
        match &self.of {
            Of::Task(task) => Some(task.task),
            Of::Group(_) | Of::Reader => None,
        }
    }

    /// The name of the task or of the group.
    pub fn name(&self) -> Option<Name> {
        match &self.of {
            Of::Task(task) => Some(task.name()),
            Of::Group(group) => group.name.clone(),
            Of::Reader => None,
        }
    }

    /// Where in the program the task was spawned or the group was made.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        match &self.of {
            Of::Task(task) => Some(task.location),
            Of::Group(group) => Some(group.location),
            Of::Reader => None,
        }
    }

    /// The text of the error that a task ended with, or of the cause of a cancellation.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Times are in nanoseconds since `since`; what came before that is at 0.
    pub(super) fn write_json(&self, json: &mut String, since: Instant) {
        let nanos = |at: Instant| at.saturating_duration_since(since).as_nanos();
        let object = Object::begin(json)
            .string("event", self.kind.key())
            .raw("at_ns", nanos(self.at))
            .maybe_raw("group", self.group())
            .maybe_raw("task", self.task())
            .maybe_string("name", self.name().as_deref());
        let object = match &self.of {
            Of::Group(group) => object
                .or_null("parent", group.parent)
                .or_null("parent_task", group.parent_task)
                .or_null("deadline_ns", group.deadline.map(nanos)),
            Of::Task(_) | Of::Reader => object,
        };
        let object = match self.kind {
            EventKind::TaskEnded(ended) => object.string("outcome", ended.key()),
            EventKind::Attempt(attempt, kind) => object
                .raw("attempt", attempt.number())
                .raw("hedge", attempt.is_hedge())
                .string("kind", &kind.to_string()),
            EventKind::Missed(count) => object.raw("count", count),
            _ => object,
        };
        let location = self.location().map(Location::to_string);
        object
            .maybe_string("text", self.text())
            .maybe_string("location", location.as_deref())
            .end();
    }
}

/// `orders of group 3: failed: orders: connection refused`
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            Of::Group(group) => write!(f, "group {}", group.group)?,
            Of::Task(task) => write!(f, "{} of group {}", task.name(), task.group)?,
            Of::Reader => return write!(f, "{}", self.kind),
        }
        write!(f, ": {}", self.kind)?;
        match self.text() {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

/// The text of an error or a cause. Its `Display` is the user's, and may panic.
pub(crate) fn text_of(shown: &impl fmt::Display) -> Arc<str> {
    unwind::contain_text(|| shown.to_string())
        .unwrap_or_else(|panic| format!("(its text panicked: {panic})"))
        .into()
}
