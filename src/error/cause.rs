//! How a context ended, and why.

use super::chain::{self, Tail};
use super::end::End;
use super::payload::Payload;
use super::{Error, plain};
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Weak};

/// Which way a context ended, and why: what [`Context::check`](crate::Context::check), `err` and `run` return.
///
/// Displays Go's words, and behind them the cause where there is one (`context canceled: profile: connection
/// refused`), so that a plain `?` loses nothing. Where no reason was given, the cause is this error itself, and
/// is displayed once.
///
/// One word wide and cheap to clone: a counted pointer to the record that was made by the context's end. Two are
/// equal if their [`kind`](Self::kind)s are, whatever their causes.
///
/// As it quotes its cause, its [`source`](StdError::source) is the *source of* the cause, so that a report which
/// prints the whole chain has each text once. The cause itself: [`cause`](Self::cause).
///
/// # Examples
///
/// ```
/// use failfast::Context;
///
/// let (ctx, canceller) = Context::background().with_cancel();
/// canceller.cancel_with("client went away");
///
/// let ended = ctx.check().unwrap_err();
/// assert!(ended.is_canceled());
/// assert_eq!(ended.to_string(), "context canceled: client went away");
/// assert_eq!(ended.cause().to_string(), "client went away");
/// ```
// Transparent, because a plain cause is borrowed as the `ContextError` that it is: see `plain`.
#[derive(Clone)]
#[repr(transparent)]
pub struct ContextError(Cause);

/// The ways in which a context ends.
///
/// # Examples
///
/// ```
/// use failfast::Context;
/// use failfast::context::ContextErrorKind;
/// use std::time::Duration;
///
/// let late = Context::background().with_timeout(Duration::ZERO);
/// assert_eq!(late.err().unwrap().kind(), ContextErrorKind::DeadlineExceeded);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextErrorKind {
    /// It or an ancestor of it was canceled, or the group whose context it is has finished.
    Canceled,
    /// Its deadline passed, or an ancestor's.
    DeadlineExceeded,
}

impl ContextErrorKind {
    /// Go's words.
    fn words(self) -> &'static str {
        match self {
            Self::Canceled => "context canceled",
            Self::DeadlineExceeded => "context deadline exceeded",
        }
    }
}

impl ContextError {
    pub(super) fn of(record: Arc<Record>) -> Self {
        Self(Cause(record))
    }

    pub(super) fn of_cause(cause: Cause) -> Self {
        Self(cause)
    }

    pub(super) fn into_record(self) -> Arc<Record> {
        self.0.0
    }

    pub(super) fn record(&self) -> &Arc<Record> {
        &self.0.0
    }

    /// Which way the context ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    /// use failfast::context::ContextErrorKind;
    ///
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// canceller.cancel();
    /// assert_eq!(ctx.err().unwrap().kind(), ContextErrorKind::Canceled);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ContextErrorKind {
        self.record().kind
    }

    /// Why the context ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    /// use std::time::Duration;
    ///
    /// let late = Context::background().with_timeout_cause(Duration::ZERO, "the page's budget");
    /// assert_eq!(late.err().unwrap().cause().to_string(), "the page's budget");
    /// ```
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.0
    }

    /// Whether the context was canceled.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    ///
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// canceller.cancel();
    /// assert!(ctx.err().unwrap().is_canceled());
    /// ```
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.kind() == ContextErrorKind::Canceled
    }

    /// Whether a deadline passed: the context's own, or an ancestor's.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    /// use std::time::Duration;
    ///
    /// let late = Context::background().with_timeout(Duration::ZERO);
    /// assert!(late.err().unwrap().is_deadline_exceeded());
    /// ```
    #[must_use]
    pub fn is_deadline_exceeded(&self) -> bool {
        self.kind() == ContextErrorKind::DeadlineExceeded
    }

    /// Writes Go's words, without what they quote.
    pub(super) fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().words())?;
        f.write_str(if self.0.is_plain() { "" } else { ": " })
    }
}

impl PartialEq for ContextError {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind()
    }
}

impl Eq for ContextError {}

/// The alternate form (`{error:#}`) goes on to the root, and shows where the context that ended was made.
impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        chain::write(self, f)
    }
}

impl fmt::Debug for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextError({self:#})")
    }
}

impl StdError for ContextError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        chain::source_behind(self)
    }
}

/// Why a context ended: what was given to `cancel_with` or `with_timeout_cause`, the failure of a group's task, or
/// the plain [`ContextError`] where no reason was given.
///
/// Displays as the reason alone. The alternate form (`{cause:#}`) goes on to the root, and shows where in the
/// program the context that ended was made, which answers "which timeout was it?".
///
/// As it quotes the reason, its [`source`](StdError::source) is the *source of* the reason. The reason itself:
/// [`as_error`](Self::as_error).
///
/// # Examples
///
/// ```
/// use failfast::Context;
///
/// let (request, canceller) = Context::background().with_cancel();
/// let call = request.with_value("a child");
/// canceller.cancel_with("client went away");
///
/// let cause = call.cause().unwrap();
/// assert_eq!(cause.to_string(), "client went away");
/// assert!(format!("{cause:#}").starts_with("client went away (context made at "));
/// ```
#[derive(Clone)]
#[repr(transparent)]
pub struct Cause(Arc<Record>);

/// All data of an end. Held by its [`End`], and by every `Cause` and `ContextError` that a user holds.
pub(super) struct Record {
    pub(super) kind: ContextErrorKind,
    /// Where the context that ended of itself was made.
    pub(super) origin: &'static Location<'static>,
    /// The end that this is the record of. Weak, because the end holds the record.
    pub(super) home: Weak<End>,
    pub(super) reason: Reason,
}

pub(super) enum Reason {
    /// None was given.
    Plain,
    /// One was given.
    Given(Arc<Payload>),
    /// A task of the group failed. It is a twin of the group's error without its `others`, because one of those
    /// may well hold this record: it would hold itself.
    Failure(Error),
    /// All that is left of a reason that `downcast` has moved out, or one of our own.
    Text(Text),
}

/// A reason that is nothing but text.
#[derive(Debug)]
pub(super) struct Text {
    text: Cow<'static, str>,
    /// Whether the text names the place where the context was made.
    placed: bool,
}

impl Text {
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            text: text.into(),
            placed: false,
        }
    }

    pub(super) fn placed(text: String) -> Self {
        Self {
            text: text.into(),
            placed: true,
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Text {}

impl Cause {
    pub(super) fn record(&self) -> &Arc<Record> {
        &self.0
    }

    /// The reason as an error, to be matched or walked. For the failure of a task this is the group's [`Error`],
    /// without its [`others`](Error::others); for a plain end it is the [`ContextError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    ///
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// canceller.cancel_with(std::fmt::Error);
    /// assert!(ctx.cause().unwrap().as_error().is::<std::fmt::Error>());
    /// ```
    #[must_use]
    pub fn as_error(&self) -> &(dyn StdError + 'static) {
        match &self.0.reason {
            Reason::Plain => plain::as_context_error(self),
            Reason::Given(payload) => payload.get(),
            Reason::Failure(error) => error,
            Reason::Text(text) => text,
        }
    }

    /// The reason, or the nearest error behind it, that is an `E`.
    ///
    /// Walks as [`Error::downcast_ref`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    ///
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// canceller.cancel_with(std::fmt::Error);
    /// assert!(ctx.cause().unwrap().downcast_ref::<std::fmt::Error>().is_some());
    /// ```
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        chain::walk(self.as_error()).find_map(|error| error.downcast_ref())
    }

    /// Where in the program the context that ended was made.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    ///
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// let line = line!() - 1;
    /// canceller.cancel();
    /// assert_eq!(ctx.cause().unwrap().origin().line(), line);
    /// ```
    #[must_use]
    pub fn origin(&self) -> &'static Location<'static> {
        self.0.origin
    }

    /// The same record as the error whose kind is how the context ended.
    pub(super) fn as_context_error(&self) -> &ContextError {
        plain::as_context_error(self)
    }

    /// Whether no reason was given: then the text is only that the context ended.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.0.reason, Reason::Plain)
    }

    /// The end of the alternate form.
    pub(super) fn tail(&self) -> Option<Tail<'_>> {
        match &self.0.reason {
            Reason::Text(text) if text.placed => None,
            _ => Some(Tail::MadeAt(self.0.origin)),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        chain::write(self, f)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cause({self:#})")
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        chain::source_behind(self)
    }
}
