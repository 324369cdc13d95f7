//! The port through which a group is observed: what is reported, when, and in which order.
//!
//! # Order
//!
//! 1. A group's events are `group_opened`, then those of its tasks and at most one `canceled`, then `group_closed`.
//! 2. A task's events are `task_spawned`, at most one `task_queued`, pairs of `poll_started` and `poll_ended`, which may
//!    have `attempt`s in between, and `task_ended`.
//! 3. The end of a task that ends its group is reported as `task_ended`, then `canceled`, after the context has been
//!    canceled and before the slot is released and others are woken.
//! 4. No observer is called while a lock of the library's is held, and a panic of an observer is contained.

use crate::attempt::{Attempt, BreakerState};
use crate::clock::Instant;
use crate::error::{Cause, Error, Fault, Name};
use crate::unwind;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Receives what happens in the groups below a context: see [`Context::with_observer`](crate::Context::with_observer).
///
/// Every method has an empty default, so that an observer implements those that it needs. A
/// [`Recorder`](super::Recorder) is an observer that keeps the events and draws them.
///
/// # Order
///
/// * `group_opened` is the first event of a group and `group_closed` its last. `task_spawned` is the first event of a task
///   and `task_ended` its last, and `poll_ended` comes before `task_ended`.
/// * The failure that ends a group is recorded, then the context is canceled, then `task_ended` and `canceled` are
///   sent, then the task's slot is released, then others are woken. So both have been sent before any waiter runs.
/// * `canceled` is sent once for a group whose context ended before its work was done: by a failure, a deadline, an
///   ancestor's end, `cancel_with` or `stop`, or because the group was dropped. It is not sent for a group that ended
///   well.
///
/// # Where it is called
///
/// Under no lock of the library's, on the thread on which the event happens: that of the poll, of the spawn or of the
/// cancellation. That may be inside an executor that drops its tasks and holds locks of its own, so an observer should be
/// quick, and should not call into a runtime: it may write to memory or to a channel that does not block.
///
/// # Panics
///
/// A panic in an observer is contained and logged. It changes no outcome, and the next event is sent all the same.
///
/// # Examples
///
/// ```
/// use failfast::observe::{Observer, Outcome, TaskEvent};
/// use failfast::{Context, Group};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// #[derive(Default)]
/// struct Failures(AtomicUsize);
///
/// impl Observer for Failures {
///     fn task_ended(&self, _: &TaskEvent, outcome: &Outcome<'_>) {
///         if let Outcome::Failed(_) = outcome {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// # smol::block_on(async {
/// let failures = Arc::new(Failures::default());
/// let ctx = Context::background().with_observer(failures.clone());
/// let (group, _) = Group::<()>::with_context(&ctx, smol::spawn);
/// group.spawn(async { Err("connection refused") });
/// assert!(group.wait().await.is_err());
/// assert_eq!(failures.0.load(Ordering::Relaxed), 1);
/// # });
/// ```
pub trait Observer: Send + Sync {
    /// A group was made.
    fn group_opened(&self, _group: &GroupEvent) {}

    /// A group has been waited for, or dropped, and its last task has ended.
    fn group_closed(&self, _group: &GroupEvent) {}

    /// A task was spawned. It may never be polled.
    fn task_spawned(&self, _task: &TaskEvent) {}

    /// A task that was just spawned has to wait for the group's limit.
    fn task_queued(&self, _task: &TaskEvent) {}

    /// A task is about to be polled.
    fn poll_started(&self, _task: &TaskEvent) {}

    /// A task has been polled. If that completed it, its future has been dropped as well.
    fn poll_ended(&self, _task: &TaskEvent) {}

    /// A task has ended: its future has been dropped.
    fn task_ended(&self, _task: &TaskEvent, _outcome: &Outcome<'_>) {}

    /// The context of a group has ended before the group's work was done.
    fn canceled(&self, _group: &GroupEvent, _cause: &Cause) {}

    /// A policy around the task's source has made an attempt, refused one, or changed its state.
    fn attempt(&self, _task: &TaskEvent, _attempt: &AttemptEvent) {}
}

/// An observer that is shared.
impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn group_opened(&self, group: &GroupEvent) {
        (**self).group_opened(group);
    }

    fn group_closed(&self, group: &GroupEvent) {
        (**self).group_closed(group);
    }

    fn task_spawned(&self, task: &TaskEvent) {
        (**self).task_spawned(task);
    }

    fn task_queued(&self, task: &TaskEvent) {
        (**self).task_queued(task);
    }

    fn poll_started(&self, task: &TaskEvent) {
        (**self).poll_started(task);
    }

    fn poll_ended(&self, task: &TaskEvent) {
        (**self).poll_ended(task);
    }

    fn task_ended(&self, task: &TaskEvent, outcome: &Outcome<'_>) {
        (**self).task_ended(task, outcome);
    }

    fn canceled(&self, group: &GroupEvent, cause: &Cause) {
        (**self).canceled(group, cause);
    }

    fn attempt(&self, task: &TaskEvent, attempt: &AttemptEvent) {
        (**self).attempt(task, attempt);
    }
}

/// How a task ended, for an [`Observer`].
///
/// The errors are borrowed: an observer that keeps a clone of one prevents [`Error::downcast`] by value.
///
/// # Examples
///
/// ```
/// use failfast::observe::Outcome;
///
/// fn word(outcome: &Outcome<'_>) -> String {
///     match outcome {
///         Outcome::Succeeded => "succeeded".to_owned(),
///         Outcome::Failed(error) | Outcome::Panicked(error) => error.to_string(),
///         Outcome::Cancelled => "cancelled".to_owned(),
///         Outcome::Lost => "lost by the executor".to_owned(),
///         _ => "unknown".to_owned(),
///     }
/// }
/// assert_eq!(word(&Outcome::Succeeded), "succeeded");
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// It returned a value.
    Succeeded,
    /// It returned an error, under the task's name.
    Failed(&'a Error),
    /// It, or its destructor, panicked.
    Panicked(&'a Error),
    /// It was dropped because its group had ended or its fork was canceled, or it passed on the end of its group.
    Cancelled,
    /// The executor dropped it.
    Lost,
}

/// An event of a group.
///
/// # Examples
///
/// ```
/// use failfast::observe::{GroupEvent, Observer};
///
/// struct Print;
///
/// impl Observer for Print {
///     fn group_opened(&self, group: &GroupEvent) {
///         println!("group {} was made at {}", group.group(), group.location());
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct GroupEvent {
    pub(crate) group: u64,
    pub(crate) parent: Option<u64>,
    /// The number of the task of the parent that made the group, if one did.
    pub(crate) parent_task: Option<u64>,
    pub(crate) name: Option<Name>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) at: Instant,
    pub(crate) location: &'static Location<'static>,
}

impl GroupEvent {
    /// The group's number: unique in this process, and never used again.
    pub fn group(&self) -> u64 {
        self.group
    }

    /// The number of the group in whose context this one was made, if that is observed as well.
    pub fn parent(&self) -> Option<u64> {
        self.parent
    }

    /// The name of the aggregator whose group it is.
    pub fn name(&self) -> Option<Name> {
        self.name.clone()
    }

    /// When the group's context ends at the latest: the earliest deadline of its own and all ancestors'.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// When it happened, by the clock of the group's context.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Where in the program the group was made.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

/// An event of a task.
///
/// # Examples
///
/// ```
/// use failfast::observe::{Observer, TaskEvent};
///
/// struct Print;
///
/// impl Observer for Print {
///     fn task_spawned(&self, task: &TaskEvent) {
///         println!("{} was spawned at {}", task.name(), task.location());
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct TaskEvent {
    pub(crate) group: u64,
    pub(crate) task: u64,
    /// As it was given at the spawn.
    pub(crate) name: Option<Name>,
    pub(crate) at: Instant,
    pub(crate) location: &'static Location<'static>,
}

impl TaskEvent {
    /// The number of the task's group.
    pub fn group(&self) -> u64 {
        self.group
    }

    /// The task's number in its group, counted from 0 in the order of spawning.
    pub fn task(&self) -> u64 {
        self.task
    }

    /// The task's name, or `task 3` if it was given none.
    pub fn name(&self) -> Name {
        let number = || Name::of_number(self.task);
        self.name.clone().unwrap_or_else(number)
    }

    /// When it happened, by the clock of the group's context.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Where in the program the task was spawned.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

/// An event of a policy around a task's source.
///
/// Of policies around one another, the one nearest to the source reports the attempts.
///
/// # Examples
///
/// ```
/// use failfast::observe::{AttemptEvent, AttemptKind, Observer, TaskEvent};
///
/// struct Print;
///
/// impl Observer for Print {
///     fn attempt(&self, task: &TaskEvent, attempt: &AttemptEvent) {
///         if let (AttemptKind::Failed, Some(error)) = (attempt.kind(), attempt.error()) {
///             println!("{}: attempt {} failed: {error}", task.name(), attempt.attempt().number());
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct AttemptEvent {
    pub(crate) attempt: Attempt,
    pub(crate) kind: AttemptKind,
    pub(crate) error: Option<Fault>,
    pub(crate) at: Instant,
}

/// What a policy has done.
///
/// # Examples
///
/// ```
/// use failfast::observe::AttemptKind;
/// use std::time::Duration;
///
/// let kind = AttemptKind::Delayed(Duration::from_millis(50));
/// assert_eq!(kind.to_string(), "waits for 50ms");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptKind {
    /// The source was called.
    Started,
    /// It has answered.
    Succeeded,
    /// It has failed: [`AttemptEvent::error`].
    Failed,
    /// Another attempt has decided the call, or the context has ended, before it had answered.
    Cut,
    /// A retry waits for so long before the next attempt.
    Delayed(Duration),
    /// A limit, a rate or a breaker has refused to call it: [`AttemptEvent::error`].
    Rejected,
    /// A breaker was in the first state, and is in the second.
    Transition(BreakerState, BreakerState),
}

impl AttemptEvent {
    /// Which attempt.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// What has happened to it.
    pub fn kind(&self) -> &AttemptKind {
        &self.kind
    }

    /// Why it failed or was refused.
    pub fn error(&self) -> Option<&Fault> {
        self.error.as_ref()
    }

    /// When it happened, by the clock of the group's context.
    pub fn at(&self) -> Instant {
        self.at
    }
}

impl fmt::Display for AttemptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Succeeded => f.write_str("succeeded"),
            Self::Failed => f.write_str("failed"),
            Self::Cut => f.write_str("cut"),
            Self::Delayed(delay) => write!(f, "waits for {delay:?}"),
            Self::Rejected => f.write_str("rejected"),
            Self::Transition(from, to) => write!(f, "breaker was {from} and is {to}"),
        }
    }
}

/// The observer of a context: which one, and the group whose context it is.
pub(crate) struct Observing {
    /// There until it is dropped.
    observer: Option<Arc<dyn Observer>>,
    /// The number of the group in whose context it is found.
    pub(crate) group: Option<u64>,
}

impl Observing {
    pub(crate) fn new(observer: impl Observer + 'static, group: Option<u64>) -> Self {
        Self {
            observer: Some(Arc::new(observer)),
            group,
        }
    }

    /// The same observer, in the context of a group.
    pub(crate) fn below(&self, group: u64) -> Self {
        Self {
            observer: self.observer.clone(),
            group: Some(group),
        }
    }

    /// Calls the observer, which is foreign code.
    pub(crate) fn with(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.observer {
            tell(&**observer);
        }
    }
}

/// The observer's destructor may panic.
impl Drop for Observing {
    fn drop(&mut self) {
        unwind::discard(self.observer.take());
    }
}

/// What a context carries: nothing, mostly.
pub(crate) type ObserverRef = Option<Arc<Observing>>;
