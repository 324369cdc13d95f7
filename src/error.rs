//! The vocabulary of failure: one error shape for everything that can end a group.

mod cause;
mod name;
mod payload;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use cause::{Cause, ContextError};
pub use name::Name;
pub(crate) use payload::message_of;
pub use payload::{Failure, Others, Panic};

/// What a task's error becomes on its way into a group: any error at all.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a group, or an aggregation, did not succeed.
///
/// One shape for all: not generic, cheap to clone, shared (not copied) with the [`Cause`] of the context
/// that it ended. It is what happened *first*; the failures that followed are in [`others`](Self::others).
///
/// Displays as `profile: connection refused`. The alternate form (`{error:#}`) goes on to the root: every
/// source behind it, and where in the program the context that ended was made.
///
/// # Examples
///
/// ```
/// use failfast::{Error, Group};
///
/// # smol::block_on(async {
/// let group = Group::<_, ()>::new(smol::spawn);
/// group.spawn_named("profile", async { Err(std::io::Error::other("connection refused")) });
/// let error = group.wait().await.unwrap_err();
/// assert_eq!(error.to_string(), "profile: connection refused");
/// assert!(error.downcast_ref::<std::io::Error>().is_some());
/// assert!(matches!(error, Error::Task { ref name, .. } if name == "profile"));
/// # });
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A task returned an error.
    #[error(fmt = fmt_task)]
    Task {
        /// The task's name, or `task 3` (counted from 0) if it was given none.
        name: Name,
        /// What the task returned.
        #[source]
        error: Failure,
    },
    /// A task panicked. The payload is kept: see [`Error::resume_unwind`].
    #[error("{name}: panicked: {panic}")]
    #[non_exhaustive]
    Panicked {
        /// The task's name.
        name: Name,
        /// What it panicked with.
        panic: Panic,
    },
    /// The executor dropped the task before it had completed: it was shut down, or it refused the task.
    #[error("{name}: lost: the executor dropped the task before it completed (is it shut down?)")]
    #[non_exhaustive]
    Lost {
        /// The task's name.
        name: Name,
    },
    /// Tasks were still running when the limit set with `with_straggler_limit` had passed.
    #[error(fmt = fmt_stragglers)]
    #[non_exhaustive]
    Stragglers {
        /// Who they are, in the order of spawning.
        names: Names,
        /// How long they were waited for.
        after: Duration,
        /// What had ended the group.
        #[source]
        error: Box<Error>,
    },
    /// The context ended first: a deadline, a parent, or a `cancel_with`.
    #[error(fmt = cause::fmt_ended)]
    Context {
        /// Which way it ended.
        error: ContextError,
        /// Why it ended.
        #[source]
        cause: Cause,
    },
    /// Fewer tasks succeeded than the group was asked for, though none failed: too few were spawned.
    #[error(
        "{succeeded} of the {needed} successes that were asked for: too few tasks were spawned"
    )]
    #[non_exhaustive]
    Quorum {
        /// How many successes were asked for.
        needed: usize,
        /// How many there were.
        succeeded: usize,
    },
}

/// The names of several tasks, in the order of spawning.
///
/// # Examples
///
/// ```
/// use failfast::{Name, Names};
///
/// let names: Names = ["profile", "orders"].map(Name::from).into_iter().collect();
/// assert_eq!(names.len(), 2);
/// assert_eq!(names[1], "orders");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Arc<[Name]>);

impl Names {
    fn join(&self, separator: &str) -> String {
        self.iter()
            .map(|name| &**name)
            .collect::<Vec<_>>()
            .join(separator)
    }
}

impl FromIterator<Name> for Names {
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl std::ops::Deref for Names {
    type Target = [Name];

    fn deref(&self) -> &[Name] {
        &self.0
    }
}

impl Error {
    /// The task's own error, if it is (or was caused by) an `E`.
    ///
    /// Looks at every error of the [`source`](StdError::source) chain, so it also finds the cause of a
    /// context's end, and the root cause behind a nested group. Not at this error itself: as an `Error`, it
    /// finds the nested group's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Group};
    /// # smol::block_on(async {
    /// let (group, _) = Group::<_, ()>::with_context(&Context::background(), smol::spawn);
    /// group.spawn(async { Err(std::fmt::Error) });
    /// assert!(group.wait().await.unwrap_err().downcast_ref::<std::fmt::Error>().is_some());
    /// # });
    /// ```
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        chain(self).skip(1).find_map(|error| error.downcast_ref())
    }

    /// Whether a deadline ended it: its own, or an ancestor's.
    ///
    /// A task that failed first is not a deadline's doing, whatever its error says.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Group};
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let late = Context::background().with_timeout(Duration::ZERO);
    /// let (group, _) = Group::<_, ()>::with_context(&late, smol::spawn);
    /// group.spawn(async { Ok::<_, std::fmt::Error>(()) });
    /// assert!(group.wait().await.unwrap_err().is_deadline_exceeded());
    /// # });
    /// ```
    pub fn is_deadline_exceeded(&self) -> bool {
        self.context_error() == Some(ContextError::DeadlineExceeded)
    }

    /// Whether a cancellation ended it: someone's who was not one of its tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::<_, ()>::new(smol::spawn);
    /// group.spawn(async { Ok::<_, std::fmt::Error>(std::future::pending().await) });
    /// group.cancel_with("not needed any more");
    /// let error = group.wait().await.unwrap_err();
    /// assert!(error.is_canceled());
    /// assert_eq!(error.to_string(), "context canceled: not needed any more");
    /// # });
    /// ```
    pub fn is_canceled(&self) -> bool {
        self.context_error() == Some(ContextError::Canceled)
    }

    /// The name of the task that failed, if it was one task.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::<_, ()>::new(smol::spawn);
    /// group.spawn_named("orders", async { Err("no such user") });
    /// let error = group.wait().await.unwrap_err();
    /// assert_eq!(error.name().unwrap(), "orders");
    /// # });
    /// ```
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Task { name, .. } | Self::Panicked { name, .. } | Self::Lost { name } => {
                Some(name)
            }
            _ => None,
        }
    }

    /// The failures that came after this one, in the order of their coming: the first few of them, and how
    /// many more there were. Complete once `wait` has returned; empty for what was not one task's failure.
    ///
    /// [`Error::Lost`] and [`Error::Context`] carry none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Ending, Group};
    /// # smol::block_on(async {
    /// let group = Group::<_, ()>::in_place(&Context::background()).with_ending(Ending::Settle);
    /// group.spawn(async { Err("first") });
    /// group.spawn(async { Err("second") });
    /// let error = group.wait().await.unwrap_err();
    /// assert_eq!(error.others().errors[0].to_string(), "task 1: second");
    /// # });
    /// ```
    pub fn others(&self) -> Others<'_> {
        match self {
            Self::Task { error, .. } => error.others(),
            Self::Panicked { panic, .. } => panic.others(),
            _ => Others::NONE,
        }
    }

    /// Goes on with the task's panic in the caller, if the task panicked; returns otherwise.
    ///
    /// The payload can be had once; whoever comes later panics with its message.
    ///
    /// # Panics
    ///
    /// That is its purpose. Equivalent to: [`std::panic::resume_unwind`] with the task's payload.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Group};
    /// # smol::block_on(async {
    /// let group = Group::<_, ()>::in_place(&Context::background());
    /// group.spawn(async { if true { panic!("boom") } Ok::<_, &str>(()) });
    /// let error = group.wait().await.unwrap_err();
    /// let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| error.resume_unwind())).unwrap_err();
    /// assert_eq!(caught.downcast_ref(), Some(&"boom"));
    /// # });
    /// ```
    pub fn resume_unwind(&self) {
        if let Self::Panicked { panic, .. } = self {
            panic.resume_unwind()
        }
    }

    fn context_error(&self) -> Option<ContextError> {
        match self {
            Self::Context { error, .. } => Some(*error),
            Self::Stragglers { error, .. } => error.context_error(),
            _ => None,
        }
    }
}

impl Error {
    pub(crate) fn task(name: Name, error: BoxError) -> Self {
        Self::Task {
            name,
            error: Failure::new(error),
        }
    }

    pub(crate) fn panicked(name: Name, payload: Box<dyn std::any::Any + Send>) -> Self {
        Self::Panicked {
            name,
            panic: Panic::new(payload),
        }
    }

    /// The same error, shared, for the context's cause, which does not tell what came later.
    pub(crate) fn alone(&self) -> Self {
        match self {
            Self::Task { name, error } => Self::Task {
                name: name.clone(),
                error: error.alone(),
            },
            Self::Panicked { name, panic } => Self::Panicked {
                name: name.clone(),
                panic: panic.alone(),
            },
            other => other.clone(),
        }
    }

    /// Attaches what failed later, once: the first to say so is the group that this error ended.
    pub(crate) fn set_others(&self, others: Vec<Error>, omitted: usize) {
        match self {
            Self::Task { error, .. } => error.set_others(others, omitted),
            Self::Panicked { panic, .. } => panic.set_others(others, omitted),
            _ => {}
        }
    }
}

/// An error and all its sources.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn fmt_task(name: &Name, error: &Failure, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{name}: ")?;
    fmt_chain(&**error, f)
}

fn fmt_stragglers(
    names: &Names,
    after: &Duration,
    error: &Error,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let names = names.join(", ");
    write!(
        f,
        "still running {after:?} after they were cancelled: {names}"
    )?;
    match f.alternate() {
        true => write!(f, ": {error:#}"),
        false => Ok(()),
    }
}

/// Writes `error` and, in the alternate form, everything behind it.
fn fmt_chain(error: &(dyn StdError + 'static), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !f.alternate() {
        return write!(f, "{error}");
    }
    for (depth, error) in chain(error).enumerate() {
        if depth > 0 {
            f.write_str(": ")?;
        }
        if let Some(error) = error.downcast_ref::<Error>() {
            return write!(f, "{error:#}"); // it tells the rest itself
        }
        write!(f, "{error}")?;
    }
    Ok(())
}
