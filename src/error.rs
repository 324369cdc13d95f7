//! The vocabulary of failure: one error for everything that can end a group, and the reason why a context ended.
//!
//! | type | what it is | held by |
//! |---|---|---|
//! | [`Error`] | why a group did not succeed | users |
//! | [`Fault`] | why a source with policies did not answer | users |
//! | [`ContextError`], [`Cause`] | why a context ended: two views of one record | users |
//! | [`End`] | the end of a context, which lends the record | contexts |
//! | [`Failure`] | what went wrong | an `Error`, and its twin in the record of the context that it ended |
//!
//! An `Error` never holds its own record, nor the record the error's [`others`](Error::others), so nothing here can
//! hold itself.

mod cause;
mod chain;
mod downcast;
mod end;
mod fault;
mod name;
mod payload;
#[allow(unsafe_code, reason = "one cast between transparent types")]
mod plain;
#[cfg(test)]
mod tests;

use crate::unwind;
use chain::{Behind, Listed, Tail};
use downcast::MOVABLE;
use payload::{Panic, Payload};
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

pub use cause::{Cause, ContextError, ContextErrorKind};
pub(crate) use chain::{echo, tells_an_end, walk};
pub(crate) use end::{End, Reserved, Standing};
pub(crate) use fault::KEPT;
pub use fault::{Fault, FaultKind, Rejection, Stop, Tried};
pub use name::Name;

/// What a task's error becomes on its way into a group: any error at all.
///
/// # Examples
///
/// ```
/// use failfast::BoxError;
///
/// let text = BoxError::from("connection refused");
/// let error: BoxError = std::io::Error::other(text).into();
/// assert_eq!(error.to_string(), "connection refused");
/// ```
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a group, or an aggregation, did not succeed.
///
/// One type for all: opaque as [`std::io::Error`] is, one word wide, and cheap to clone. It is what happened
/// *first*; the failures that followed are in [`others`](Self::others). Look at its [`kind`](Self::kind), or for
/// the error of the task by [`downcast_ref`](Self::downcast_ref).
///
/// # What it displays
///
/// ```text
/// profile: connection refused
/// profile: panicked: boom
/// context deadline exceeded: dashboard's timeout of 5s (waiting for profile, orders)
/// context canceled: client went away (waiting for orders)
/// ```
///
/// The alternate form (`{error:#}`) goes on to the root: every source behind it, and where in the program the
/// context that ended was made.
///
/// # Two ways down the chain
///
/// As its text quotes the task's error, its [`source`](StdError::source) is the *source of* that error: a report
/// that prints an error and all its sources (`anyhow`'s, `eyre`'s) has each text once. To get hold of the task's
/// error itself use [`downcast_ref`](Self::downcast_ref), which finds it and everything behind it, also through
/// nested groups.
///
/// # Examples
///
/// ```
/// use failfast::{ErrorKind, Group};
/// use std::io;
///
/// # smol::block_on(async {
/// let group = Group::<()>::new(smol::spawn);
/// group.spawn_named("profile", async { Err(io::Error::other("connection refused")) });
/// let error = group.wait().await.unwrap_err();
/// assert_eq!(error.to_string(), "profile: connection refused");
/// assert_eq!(error.kind(), ErrorKind::Task);
/// assert_eq!(error.task().unwrap(), "profile");
/// assert!(error.downcast_ref::<io::Error>().is_some());
/// # });
/// ```
///
/// In an error of your own, by thiserror: `{0}` displays all of it, and the source goes on behind it.
///
/// ```
/// #[derive(Debug, thiserror::Error)]
/// enum PageError {
///     #[error("page: {0}")]
///     Group(#[from] failfast::Error),
/// }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    what: Arc<Failure>,
    /// Beside the failure and not in it, because the context's cause shares the failure: a later failure may well
    /// hold that cause.
    others: OnceLock<Others>,
    /// The end that this failure caused.
    end: OnceLock<Weak<End>>,
}

#[derive(Default)]
struct Others {
    errors: Vec<Error>,
    omitted: usize,
}

/// What went wrong.
enum Failure {
    Task {
        name: Name,
        error: Payload,
    },
    Panicked {
        name: Name,
        panic: Panic,
    },
    Lost {
        name: Name,
    },
    Stragglers {
        limit: Duration,
        pending: Vec<Name>,
        ended: ContextError,
    },
    Ended {
        error: ContextError,
        pending: Vec<Name>,
    },
    Quorum {
        needed: usize,
        got: usize,
    },
}

/// What kind of thing went wrong: [`Error::kind`].
///
/// # Examples
///
/// ```
/// use failfast::{Error, ErrorKind};
///
/// fn status(error: &Error) -> u16 {
///     match error.kind() {
///         ErrorKind::DeadlineExceeded => 504,
///         ErrorKind::Canceled => 499,
///         _ if error.is_timeout() => 504,
///         _ => 500,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A task returned an error.
    Task,
    /// A task panicked. The payload is kept: see [`Error::resume_unwind`].
    Panicked,
    /// The executor dropped the task before it had completed: it was shut down, or it refused the task.
    Lost,
    /// Tasks were still running when the limit set with `with_straggler_limit` had passed.
    Stragglers,
    /// The group's context was canceled, by something else than a failure of one of its tasks.
    Canceled,
    /// The deadline of the group's context passed: its own, or an ancestor's.
    DeadlineExceeded,
    /// Fewer tasks succeeded than the quorum that was set.
    Quorum,
}

impl Error {
    /// What kind of thing went wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{ErrorKind, Group};
    ///
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// group.spawn(async { Err("no such user") });
    /// assert_eq!(group.wait().await.unwrap_err().kind(), ErrorKind::Task);
    /// # });
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self.what() {
            Failure::Task { .. } => ErrorKind::Task,
            Failure::Panicked { .. } => ErrorKind::Panicked,
            Failure::Lost { .. } => ErrorKind::Lost,
            Failure::Stragglers { .. } => ErrorKind::Stragglers,
            Failure::Quorum { .. } => ErrorKind::Quorum,
            Failure::Ended { error, .. } => match error.kind() {
                ContextErrorKind::Canceled => ErrorKind::Canceled,
                ContextErrorKind::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            },
        }
    }

    /// The name of the task whose failure it was, or `task 3` (counted from 0) if it was given none. For the kinds
    /// `Task`, `Panicked` and `Lost`.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Group;
    ///
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// group.spawn_named("orders", async { Err("no such user") });
    /// let error = group.wait().await.unwrap_err();
    /// assert_eq!(error.task().unwrap(), "orders");
    /// # });
    /// ```
    #[must_use]
    pub fn task(&self) -> Option<&Name> {
        match self.what() {
            Failure::Task { name, .. }
            | Failure::Panicked { name, .. }
            | Failure::Lost { name } => Some(name),
            _ => None,
        }
    }

    /// The tasks that had not finished at the moment of the end, queued ones too, in the order of spawning.
    /// For the kinds `Canceled`, `DeadlineExceeded` and `Stragglers`; empty for the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Group;
    ///
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// group.spawn_named("orders", std::future::pending::<Result<(), std::fmt::Error>>());
    /// group.cancel_with("client went away");
    /// let error = group.wait().await.unwrap_err();
    /// assert_eq!(error.pending(), ["orders"]);
    /// assert_eq!(error.to_string(), "context canceled: client went away (waiting for orders)");
    /// # });
    /// ```
    #[must_use]
    pub fn pending(&self) -> &[Name] {
        match self.what() {
            Failure::Ended { pending, .. } | Failure::Stragglers { pending, .. } => pending,
            _ => &[],
        }
    }

    /// The real failures that came after this one, in the order of their coming: the first few of them. Tasks
    /// that only repeated that the context had ended are not among them. Any kind of error may have them.
    ///
    /// Complete once `wait` has returned. How many more there were: [`omitted`](Self::omitted).
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Context, Ending, InPlaceGroup};
    ///
    /// # smol::block_on(async {
    /// let group = InPlaceGroup::<()>::new(&Context::background()).with_ending(Ending::Settle);
    /// group.spawn(async { Err("first") });
    /// group.spawn(async { Err("second") });
    /// let error = group.wait().await.unwrap_err();
    /// assert_eq!(error.to_string(), "task 0: first");
    /// assert_eq!(error.others()[0].to_string(), "task 1: second");
    /// # });
    /// ```
    #[must_use]
    pub fn others(&self) -> &[Error] {
        self.0.others.get().map_or(&[], |others| &others.errors)
    }

    /// How many more failures there were than [`others`](Self::others) has.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Group;
    ///
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// group.spawn(async { Err("no such user") });
    /// assert_eq!(group.wait().await.unwrap_err().omitted(), 0);
    /// # });
    /// ```
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.0.others.get().map_or(0, |others| others.omitted)
    }

    /// Why the group's context ended. For the kinds `Canceled` and `DeadlineExceeded`, and for `Stragglers`, because its
    /// group had ended before it was waited for.
    ///
    /// `None` for the other kinds: a failure of a task is itself the cause of the group's end.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Context, Group};
    /// use std::time::Duration;
    ///
    /// # smol::block_on(async {
    /// let late = Context::background().with_timeout_cause(Duration::ZERO, "the page's budget");
    /// let (group, _) = Group::<()>::with_context(&late, smol::spawn);
    /// group.spawn(async { Ok::<_, std::fmt::Error>(()) });
    /// let error = group.wait().await.unwrap_err();
    /// assert_eq!(error.cause().unwrap().to_string(), "the page's budget");
    /// # });
    /// ```
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.context_error().map(ContextError::cause)
    }

    /// The end of the group's context, if that is what ended the group.
    fn context_error(&self) -> Option<&ContextError> {
        match self.what() {
            Failure::Ended { error, .. } | Failure::Stragglers { ended: error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether a cancellation of the group's context ended it: of the context itself, or of an ancestor.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Group;
    ///
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// group.spawn(std::future::pending::<Result<(), std::fmt::Error>>());
    /// group.cancel_with("not needed any more");
    /// assert!(group.wait().await.unwrap_err().is_canceled());
    /// # });
    /// ```
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.context_error().is_some_and(ContextError::is_canceled)
    }

    /// Whether a deadline of the group's context ended it: its own, or an ancestor's.
    ///
    /// If a task failed first, it is not: the text of that error does not matter. See
    /// [`is_timeout`](Self::is_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Context, Group};
    /// use std::time::Duration;
    ///
    /// # smol::block_on(async {
    /// let late = Context::background().with_timeout(Duration::ZERO);
    /// let (group, _) = Group::<()>::with_context(&late, smol::spawn);
    /// group.spawn(async { Ok::<_, std::fmt::Error>(()) });
    /// assert!(group.wait().await.unwrap_err().is_deadline_exceeded());
    /// # });
    /// ```
    #[must_use]
    pub fn is_deadline_exceeded(&self) -> bool {
        self.context_error()
            .is_some_and(ContextError::is_deadline_exceeded)
    }

    /// Whether it was a matter of time, anywhere down the chain: a deadline of the group's context or of another
    /// one, a policy's timeout, or an [`io::Error`](std::io::Error) of kind `TimedOut`.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Group;
    /// use std::io;
    ///
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// group.spawn(async { Err(io::Error::from(io::ErrorKind::TimedOut)) });
    /// let error = group.wait().await.unwrap_err();
    /// assert!(error.is_timeout());
    /// assert!(!error.is_deadline_exceeded());
    /// # });
    /// ```
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        chain::is_timeout(self)
    }

    /// The nearest error behind this one that is an `E`: the task's own error, what caused it, or what caused the
    /// context's end.
    ///
    /// Walks through nested groups, [`ContextError`]s and [`Cause`]s, into what an [`io::Error`](std::io::Error)
    /// carries, and along every [`source`](StdError::source). Does not look at this error itself: as an `Error`, it
    /// finds the nested group's.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Group;
    ///
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// group.spawn(async { Err(std::fmt::Error) });
    /// let error = group.wait().await.unwrap_err();
    /// assert!(error.downcast_ref::<std::fmt::Error>().is_some());
    /// # });
    /// ```
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        walk(self).skip(1).find_map(|error| error.downcast_ref())
    }

    /// The nearest error behind this one that is an `E`, by value.
    ///
    /// Walks through nested groups, `ContextError`s and `Cause`s, and into what an `io::Error` carries. Not along
    /// [`source`](StdError::source): an error that is a field of another can't be moved out of it.
    ///
    /// After a success the contexts that this error had ended keep its text alone, and the rest of this error
    /// (names, [`others`](Self::others)) is dropped.
    ///
    /// # Errors
    ///
    /// This error, complete, if there is no such `E`, or if it can still be seen from elsewhere: through a clone
    /// of this error, or of a [`Cause`] or [`ContextError`] that carries it, even if that is one of this error's
    /// `others`. Contexts don't count as holders.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Group;
    /// use std::io;
    ///
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// group.spawn(async { Err(io::Error::other("connection refused")) });
    /// let error = group.wait().await.unwrap_err();
    /// let error: io::Error = error.downcast().unwrap();
    /// assert_eq!(error.to_string(), "connection refused");
    /// # });
    /// ```
    pub fn downcast<E: StdError + 'static>(self) -> Result<E, Self> {
        downcast::downcast(self)
    }

    /// Goes on with the task's panic in the caller.
    ///
    /// The payload can be had once: a later call, on a clone of this error, panics with its text.
    ///
    /// # Panics
    ///
    /// Always: that is its purpose. Equivalent to: [`std::panic::resume_unwind`] with the task's payload. An error
    /// of another kind panics with the error's text.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Context, InPlaceGroup};
    /// use std::panic::{AssertUnwindSafe, catch_unwind};
    ///
    /// # smol::block_on(async {
    /// let group = InPlaceGroup::<()>::new(&Context::background());
    /// group.spawn(async { if true { panic!("boom") } Ok::<_, &str>(()) });
    /// let error = group.wait().await.unwrap_err();
    /// let caught = catch_unwind(AssertUnwindSafe(|| error.resume_unwind())).unwrap_err();
    /// assert_eq!(caught.downcast_ref(), Some(&"boom"));
    /// # });
    /// ```
    #[track_caller]
    pub fn resume_unwind(self) -> ! {
        let payload = match self.what() {
            Failure::Panicked { panic, .. } => panic.take(),
            _ => panic!("{self}"),
        };
        drop(self);
        std::panic::resume_unwind(payload)
    }
}

/// Constructors.
impl Error {
    fn new(what: Failure) -> Self {
        Self::sharing(Arc::new(what))
    }

    fn sharing(what: Arc<Failure>) -> Self {
        Self(Arc::new(Inner {
            what,
            others: OnceLock::new(),
            end: OnceLock::new(),
        }))
    }

    pub(crate) fn task_failed(name: impl Into<Name>, error: BoxError) -> Self {
        let (name, error) = (name.into(), Payload::new(error));
        Self::new(Failure::Task { name, error })
    }

    pub(crate) fn panicked(name: impl Into<Name>, payload: unwind::Payload) -> Self {
        let (name, panic) = (name.into(), Panic::new(payload));
        Self::new(Failure::Panicked { name, panic })
    }

    pub(crate) fn lost(name: impl Into<Name>) -> Self {
        Self::new(Failure::Lost { name: name.into() })
    }

    /// The context ended first, while `pending` had not finished.
    pub(crate) fn ended(error: ContextError, pending: Vec<Name>) -> Self {
        Self::new(Failure::Ended { error, pending })
    }

    /// The context had `ended`, and `pending` were still running a `limit` later.
    pub(crate) fn stragglers(limit: Duration, pending: Vec<Name>, ended: ContextError) -> Self {
        Self::new(Failure::Stragglers {
            limit,
            pending,
            ended,
        })
    }

    pub(crate) fn quorum(needed: usize, got: usize) -> Self {
        Self::new(Failure::Quorum { needed, got })
    }

    /// The same failure for the context's cause: it has no `others`, because one of those may hold that cause.
    fn twin(&self) -> Self {
        Self::sharing(self.0.what.clone())
    }

    /// Attaches what failed later, for all clones. Only the first call counts.
    pub(crate) fn set_others(&self, errors: Vec<Error>, omitted: usize) {
        let refused = self.0.others.set(Others { errors, omitted });
        drop(refused);
    }

    /// Notes in the error that it ended a context, by [`End::failed`], so that `downcast` finds what the context holds
    /// of it. Only the first call counts.
    pub(crate) fn set_end(&self, end: &Arc<End>) {
        let _ = self.0.end.set(Arc::downgrade(end));
    }

    /// Whether it is the same failure: a clone, or a context's cause of it.
    pub(crate) fn is_same(&self, other: &Error) -> bool {
        Arc::ptr_eq(&self.0.what, &other.0.what)
    }
}

/// For `chain` and `downcast`.
impl Error {
    fn what(&self) -> &Failure {
        &self.0.what
    }

    fn behind(&self) -> Behind<'_> {
        match self.what() {
            Failure::Task { error, .. } => Behind::Quoted(error.get()),
            Failure::Ended { error, .. } => Behind::Quoted(error),
            Failure::Stragglers { ended, .. } => Behind::Source(ended),
            Failure::Panicked { .. } | Failure::Lost { .. } | Failure::Quorum { .. } => {
                Behind::Nothing
            }
        }
    }

    /// By value: no other reference exists.
    fn into_behind(self) -> BoxError {
        let inner = Arc::into_inner(self.0).expect(MOVABLE);
        match Arc::into_inner(inner.what).expect(MOVABLE) {
            Failure::Task { error, .. } => error.into_inner(),
            Failure::Ended { error, .. } | Failure::Stragglers { ended: error, .. } => {
                Box::new(error)
            }
            Failure::Panicked { .. } | Failure::Lost { .. } | Failure::Quorum { .. } => {
                unreachable!("{MOVABLE}")
            }
        }
    }

    /// Writes the text up to what is quoted.
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what() {
            Failure::Task { name, .. } => write!(f, "{name}: "),
            Failure::Panicked { name, panic } => write!(f, "{name}: panicked: {}", panic.text()),
            Failure::Lost { name } => write!(f, "{name}: {LOST}"),
            Failure::Ended { .. } => Ok(()),
            Failure::Stragglers { limit, pending, .. } => {
                let pending = Listed(pending);
                write!(
                    f,
                    "still running {limit:?} after they were canceled: {pending}"
                )
            }
            Failure::Quorum { needed, got } => {
                write!(
                    f,
                    "{got} of the {needed} successes needed, and no task is left to reach them"
                )
            }
        }
    }

    fn tail(&self) -> Option<Tail<'_>> {
        match self.what() {
            Failure::Ended { pending, .. } if !pending.is_empty() => {
                Some(Tail::WaitingFor(pending))
            }
            _ => None,
        }
    }

    /// The end that this failure caused.
    fn end(&self) -> Option<Arc<End>> {
        self.0.end.get().and_then(Weak::upgrade)
    }

    /// Whether there is no clone.
    fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// How many errors, twins among them, share the failure.
    fn holders(&self) -> usize {
        Arc::strong_count(&self.0.what)
    }

    fn is_same_handle(&self, other: &Error) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

const LOST: &str = "lost: the executor dropped the task before it completed (is it shut down?)";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        chain::write(self, f)
    }
}

/// What `unwrap` prints. An error of ours within it is shown by its text, because nesting may be deep.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Error");
        fields.field("kind", &self.kind());
        if let Some(name) = self.task() {
            fields.field("task", name);
        }
        match self.what() {
            Failure::Task { error, .. } => chain::debug_field(&mut fields, error.get()),
            Failure::Panicked { panic, .. } => drop(fields.field("panic", &panic.text())),
            Failure::Stragglers { limit, .. } => drop(fields.field("limit", limit)),
            Failure::Quorum { needed, got } => {
                fields.field("needed", needed).field("got", got);
            }
            Failure::Lost { .. } | Failure::Ended { .. } => {}
        }
        if let Some(cause) = self.cause() {
            fields
                .field("cause", cause)
                .field("pending", &self.pending());
        }
        if let Some(Others { errors, omitted }) = self.0.others.get() {
            fields.field("others", errors).field("omitted", omitted);
        }
        fields.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        chain::source_behind(self)
    }
}
