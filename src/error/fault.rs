//! Why a source with policies did not answer.
//!
//! # Invariants
//!
//! 1. A fault never carries a fault: whatever a policy makes of one keeps its [`What`] and adds to the text around
//!    it. So however deep policies nest, the error is in the text once, and nothing here needs a stack.
//! 2. The faults in a history have no history of their own.

use super::chain::{self, Behind};
use super::downcast::MOVABLE;
use super::payload::Payload;
use super::{BoxError, ContextError, Error, ErrorKind, Name, walk};
use crate::attempt::Attempt;
use crate::unwind;
use std::error::Error as StdError;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

/// How many attempts a fault keeps: the last ones.
pub(crate) const KEPT: usize = 32;

/// Why a source with policies did not answer: the error of every policy.
///
/// It is the last *real* error there was. That a policy gave up (no more attempts, no time, no budget, the caller's end)
/// never replaces it, and stands beside it: [`stopped`](Self::stopped). However many policies are around a source, there
/// is one fault: [`attempts`](Self::attempts) and [`history`](Self::history) count all calls of the source.
///
/// One word wide and cheap to clone.
///
/// # What it displays
///
/// ```text
/// connection refused
/// connection refused (3 attempts)
/// connection refused (1 attempt; the next in 400ms, 120ms left)
/// connection refused (2 attempts; retry budget spent)
/// timed out after 300ms (3 attempts)
/// orders-db is open for another 4.2s
/// limit of 4 reached
/// rate of 100 per 1s exceeded, the next in 12ms
/// ```
///
/// As it quotes the source's error, its [`source`](StdError::source) is the *source of* that error. To get hold of the
/// error itself use [`downcast_ref`](Self::downcast_ref).
///
/// # Examples
///
/// ```
/// use failfast::policy::{FaultKind, Retry};
/// use failfast::{Context, Source, SourceExt};
/// use std::io;
///
/// async fn orders(_: Context, _: u64) -> Result<u32, io::Error> {
///     Err(io::Error::other("no such user"))
/// }
///
/// # smol::block_on(async {
/// let fault = orders.retry(Retry::times(0)).fetch(Context::background(), 7).await.unwrap_err();
/// assert_eq!(fault.to_string(), "no such user");
/// assert!(matches!(fault.kind(), FaultKind::Failed));
/// assert!(fault.downcast_ref::<io::Error>().is_some());
/// # });
/// ```
#[derive(Clone)]
pub struct Fault(Arc<Inner>);

const _: () = assert!(size_of::<Fault>() == size_of::<usize>());

#[derive(Clone)]
struct Inner {
    what: Arc<What>,
    attempts: u32,
    stopped: Option<Stop>,
    history: Vec<Tried>,
    others: Vec<Fault>,
    /// The wait that the service demands, as a `when` returned it.
    advised: Option<Duration>,
}

/// What went wrong.
struct What {
    kind: FaultKind,
    detail: Detail,
}

/// What the kind does not hold.
enum Detail {
    Nothing,
    /// The source's error.
    Error(Payload),
    Limit(NonZeroUsize),
    Rate(NonZeroU32, Duration),
}

/// What kind of thing went wrong: [`Fault::kind`].
///
/// # Examples
///
/// ```
/// use failfast::policy::{Fault, FaultKind};
///
/// fn status(fault: &Fault) -> u16 {
///     match fault.kind() {
///         FaultKind::TimedOut { .. } => 504,
///         FaultKind::Rejected(_) => 503,
///         _ => 500,
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FaultKind {
    /// The source returned an error: [`Fault::downcast_ref`] finds it.
    Failed,
    /// A policy's own deadline passed, and nothing had failed before.
    TimedOut {
        /// How long the attempt was given.
        after: Duration,
    },
    /// A policy refused the call, so the source was not called.
    Rejected(Rejection),
    /// The caller's context ended, and nothing had failed before.
    Ended(ContextError),
}

/// Which policy refused a call.
///
/// # Examples
///
/// ```
/// use failfast::policy::Rejection;
///
/// fn header(rejection: &Rejection) -> Option<u64> {
///     match rejection {
///         Rejection::BreakerOpen { retry_after, .. } => Some(retry_after.as_secs()),
///         _ => None,
///     }
/// }
/// assert_eq!(header(&Rejection::LimitFull), None);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// A breaker is open, or half open with all its probes under way.
    BreakerOpen {
        /// The breaker's.
        name: Name,
        /// When it will admit a probe. Where all its probes are under way: when the first of them loses its place.
        retry_after: Duration,
    },
    /// The limit is reached, and as many calls wait as may.
    LimitFull,
    /// The rate is exceeded, and the next token comes later than the caller's deadline.
    RateExceeded {
        /// When the next token would come.
        retry_after: Duration,
    },
}

/// Why there was no further attempt: [`Fault::stopped`].
///
/// # Examples
///
/// ```
/// use failfast::policy::{Retry, Stop};
/// use failfast::{Context, Source, SourceExt};
///
/// # smol::block_on(async {
/// let source = |_: Context, _: ()| async { Err::<u32, _>(std::fmt::Error) };
/// let fault = source.retry(Retry::times(0)).fetch(Context::background(), ()).await.unwrap_err();
/// assert!(matches!(fault.stopped(), Some(Stop::Exhausted)));
/// # });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Stop {
    /// All the attempts that were allowed have been made.
    Exhausted,
    /// The error is not one to try again after: by `when`, or because it was a rejection or a panic.
    Advised,
    /// The wait before the next attempt would not have ended before the caller's deadline.
    NoTime {
        /// The wait.
        needed: Duration,
        /// What was left of the caller's time.
        left: Duration,
    },
    /// The budget had no token.
    Budget,
    /// The context of the call ended: during an attempt, or between two.
    Ended,
}

/// One attempt that a policy made: [`Fault::history`].
///
/// # Examples
///
/// ```
/// use failfast::policy::{Backoff, Retry};
/// use failfast::{Context, Source, SourceExt};
/// use std::time::Duration;
///
/// # smol::block_on(async {
/// let source = |_: Context, _: ()| async { Err::<u32, _>(std::fmt::Error) };
/// let retry = Retry::times(1).with_backoff(Backoff::constant(Duration::ZERO));
/// let fault = source.retry(retry).fetch(Context::background(), ()).await.unwrap_err();
/// let numbers: Vec<_> = fault.history().iter().map(|tried| tried.attempt.number()).collect();
/// assert_eq!(numbers, [1, 2]);
/// # });
/// ```
#[derive(Clone)]
pub struct Tried {
    /// Which it was, by the policy nearest to the source.
    pub attempt: Attempt,
    /// When it began, counted from the begin of the outermost call.
    pub after: Duration,
    /// How long it took.
    pub took: Duration,
    /// How it failed. `None`: it was cut short by an end, or by another attempt's outcome.
    pub error: Option<Fault>,
}

impl Fault {
    /// What kind of thing went wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::FaultKind;
    /// use failfast::{BoxError, Context, Source, SourceExt};
    /// use std::time::Duration;
    ///
    /// async fn stuck(_: Context, _: ()) -> Result<u32, BoxError> {
    ///     std::future::pending().await
    /// }
    ///
    /// # smol::block_on(async {
    /// let fault = stuck.timeout(Duration::from_millis(1)).fetch(Context::background(), ()).await.unwrap_err();
    /// assert!(matches!(fault.kind(), FaultKind::TimedOut { .. }));
    /// assert_eq!(fault.to_string(), "timed out after 1ms");
    /// # });
    /// ```
    #[must_use]
    pub fn kind(&self) -> &FaultKind {
        &self.0.what.kind
    }

    /// How many attempts were begun, those that were cut short or refused included. 0 if the context had ended before
    /// the first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Source, SourceExt, policy::Retry};
    /// # smol::block_on(async {
    /// let source = |_: Context, _: ()| async { Err::<u32, _>(std::fmt::Error) };
    /// let fault = source.retry(Retry::times(0)).fetch(Context::background(), ()).await.unwrap_err();
    /// assert_eq!(fault.attempts(), 1);
    /// # });
    /// ```
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Why there was no further attempt. `None` where no policy makes several.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Source, SourceExt, policy::{Retry, Stop}};
    /// # smol::block_on(async {
    /// let source = |_: Context, _: ()| async { Err::<u32, _>(std::fmt::Error) };
    /// let retry = Retry::times(3).when(|_: &std::fmt::Error| false);
    /// let fault = source.retry(retry).fetch(Context::background(), ()).await.unwrap_err();
    /// assert!(matches!(fault.stopped(), Some(Stop::Advised)));
    /// # });
    /// ```
    #[must_use]
    pub fn stopped(&self) -> Option<&Stop> {
        self.0.stopped.as_ref()
    }

    /// The attempts that `retry` and `hedge` made, in the order of their begin: the last 32. Empty where neither was
    /// there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Source, SourceExt, policy::Retry};
    /// # smol::block_on(async {
    /// let source = |_: Context, _: ()| async { Err::<u32, _>(std::fmt::Error) };
    /// let fault = source.retry(Retry::times(0)).fetch(Context::background(), ()).await.unwrap_err();
    /// assert!(fault.history()[0].error.is_some());
    /// # });
    /// ```
    #[must_use]
    pub fn history(&self) -> &[Tried] {
        &self.0.history
    }

    /// The errors of the fallbacks, which failed as well.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Source, SourceExt};
    /// # use std::io;
    /// # smol::block_on(async {
    /// let primary = |_: Context, _: ()| async { Err::<u32, _>(io::Error::other("connection refused")) };
    /// let cache = |_: Context, _: ()| async { Err::<u32, _>(io::Error::other("not cached")) };
    /// let fault = primary.fallback(cache).fetch(Context::background(), ()).await.unwrap_err();
    /// assert_eq!(fault.to_string(), "connection refused");
    /// assert_eq!(fault.others()[0].to_string(), "not cached");
    /// # });
    /// ```
    #[must_use]
    pub fn others(&self) -> &[Fault] {
        &self.0.others
    }

    /// The nearest error behind this one that is an `E`: the source's own, or what is behind that.
    ///
    /// Walks as [`Error::downcast_ref`](crate::Error::downcast_ref) does.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Source, SourceExt, policy::Retry};
    /// # smol::block_on(async {
    /// let source = |_: Context, _: ()| async { Err::<u32, _>(std::fmt::Error) };
    /// let fault = source.retry(Retry::times(0)).fetch(Context::background(), ()).await.unwrap_err();
    /// assert!(fault.downcast_ref::<std::fmt::Error>().is_some());
    /// # });
    /// ```
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        walk(self).skip(1).find_map(|error| error.downcast_ref())
    }

    /// How long to wait before another call makes sense: from a breaker or a rate that refused the call, or from the
    /// service, where a `when` returned [`Advice::After`](crate::policy::Advice::After).
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Source, SourceExt, policy::Retry};
    /// # smol::block_on(async {
    /// let source = |_: Context, _: ()| async { Err::<u32, _>(std::fmt::Error) };
    /// let fault = source.retry(Retry::times(0)).fetch(Context::background(), ()).await.unwrap_err();
    /// assert_eq!(fault.retry_after(), None);
    /// # });
    /// ```
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind() {
            FaultKind::Rejected(
                Rejection::BreakerOpen { retry_after, .. }
                | Rejection::RateExceeded { retry_after },
            ) => Some(*retry_after),
            _ => self.0.advised,
        }
    }
}

/// Constructors, each for one attempt.
impl Fault {
    fn new(kind: FaultKind, detail: Detail) -> Self {
        Self(Arc::new(Inner {
            what: Arc::new(What { kind, detail }),
            attempts: 1,
            stopped: None,
            history: Vec::new(),
            others: Vec::new(),
            advised: None,
        }))
    }

    /// The source returned `error`. One that is a fault is that fault (invariant 1).
    pub(crate) fn failed(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(fault) => *fault,
            Err(error) => Self::carrying(error),
        }
    }

    fn carrying(error: BoxError) -> Self {
        Self::new(FaultKind::Failed, Detail::Error(Payload::new(error)))
    }

    /// The source panicked, where the panic reaches others than the task that polled it.
    pub(crate) fn panicked(payload: unwind::Payload) -> Self {
        let text = unwind::message_of(&*payload).to_owned();
        unwind::discard(payload);
        Self::carrying(Box::new(Panicked(text)))
    }

    pub(crate) fn timed_out(after: Duration) -> Self {
        Self::new(FaultKind::TimedOut { after }, Detail::Nothing)
    }

    pub(crate) fn ended(error: ContextError) -> Self {
        Self::new(FaultKind::Ended(error), Detail::Nothing)
    }

    pub(crate) fn breaker_open(name: Name, retry_after: Duration) -> Self {
        let rejection = Rejection::BreakerOpen { name, retry_after };
        Self::new(FaultKind::Rejected(rejection), Detail::Nothing)
    }

    pub(crate) fn limit_full(limit: NonZeroUsize) -> Self {
        let kind = FaultKind::Rejected(Rejection::LimitFull);
        Self::new(kind, Detail::Limit(limit))
    }

    pub(crate) fn rate_exceeded(rate: NonZeroU32, per: Duration, retry_after: Duration) -> Self {
        let kind = FaultKind::Rejected(Rejection::RateExceeded { retry_after });
        Self::new(kind, Detail::Rate(rate, per))
    }
}

/// What policies make of a fault, and read from it.
impl Fault {
    fn update(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The source was never called.
    pub(crate) fn not_begun(self) -> Self {
        self.update(|inner| inner.attempts = 0)
    }

    /// The same error with all that a policy recorded of its attempts.
    pub(crate) fn with_trail(
        self,
        attempts: u32,
        stopped: Stop,
        advised: Option<Duration>,
        history: Vec<Tried>,
    ) -> Self {
        self.update(|inner| {
            inner.attempts = attempts;
            inner.stopped = Some(stopped);
            inner.advised = advised;
            inner.history = history;
            let surplus = inner.history.len().saturating_sub(KEPT);
            inner.history.drain(..surplus);
        })
    }

    /// A fallback failed as well.
    pub(crate) fn with_other(self, other: Fault) -> Self {
        self.update(|inner| {
            let more = other.others().to_vec();
            inner
                .others
                .push(other.update(|other| other.others.clear()));
            inner.others.extend(more);
        })
    }

    /// The same attempts with another end: what their policy took for the caller's end was something else.
    pub(crate) fn retold(self, other: Fault) -> Self {
        let what = other.0.what.clone();
        self.update(|inner| (inner.what, inner.stopped) = (what, None))
    }

    /// The error alone, for a history (invariant 2).
    pub(crate) fn bare(&self) -> Self {
        match self.0.history.is_empty() && self.0.stopped.is_none() {
            true => self.clone(),
            false => Self(Arc::new(Inner {
                what: self.0.what.clone(),
                attempts: 1,
                stopped: None,
                history: Vec::new(),
                others: Vec::new(),
                advised: self.0.advised,
            })),
        }
    }

    /// The end of a context, if it holds nothing else.
    pub(crate) fn end(&self) -> Option<&ContextError> {
        match self.kind() {
            FaultKind::Ended(error) => Some(error),
            _ => None,
        }
    }

    /// Whether a panic is behind it: that of a nested group's task, or of a shared call.
    pub(crate) fn is_panic(&self) -> bool {
        walk(self).any(|error| {
            let nested = error.downcast_ref::<Error>();
            nested.is_some_and(|error| error.kind() == ErrorKind::Panicked)
                || error.is::<Panicked>()
        })
    }
}

/// For `chain` and `downcast`.
impl Fault {
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self.kind(), FaultKind::TimedOut { .. })
    }

    pub(super) fn behind(&self) -> Behind<'_> {
        match (&self.0.what.kind, &self.0.what.detail) {
            (_, Detail::Error(error)) => Behind::Quoted(error.get()),
            (FaultKind::Ended(error), _) => Behind::Quoted(error),
            _ => Behind::Nothing,
        }
    }

    /// Writes the text up to what is quoted.
    pub(super) fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind(), &self.0.what.detail) {
            (FaultKind::Failed | FaultKind::Ended(_), _) => Ok(()),
            (FaultKind::TimedOut { after }, _) => write!(f, "timed out after {after:?}"),
            (FaultKind::Rejected(Rejection::LimitFull), Detail::Limit(limit)) => {
                write!(f, "limit of {limit} reached")
            }
            (
                FaultKind::Rejected(Rejection::RateExceeded { retry_after }),
                Detail::Rate(rate, per),
            ) => write!(
                f,
                "rate of {rate} per {per:?} exceeded, the next in {retry_after:?}"
            ),
            (FaultKind::Rejected(rejection), _) => write!(f, "{rejection}"),
        }
    }

    /// The bracket behind the error. One attempt that nothing stopped has none.
    pub(super) fn tail(&self) -> Option<&Self> {
        let silent = self.end().is_some()
            || matches!(self.stopped(), None | Some(Stop::Exhausted | Stop::Advised));
        (!silent || self.attempts() > 1).then_some(self)
    }

    pub(super) fn write_tail(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.attempts() == 1 { "" } else { "s" };
        write!(f, " ({} attempt{plural}", self.attempts())?;
        match self.stopped() {
            None | Some(Stop::Exhausted | Stop::Advised) => f.write_str(")"),
            Some(stop) => write!(f, "; {stop})"),
        }
    }

    /// Whether no other reference to what it carries exists. The history does not count: it goes first.
    pub(super) fn is_free(&self) -> bool {
        let own = self
            .0
            .history
            .iter()
            .filter_map(|tried| tried.error.as_ref());
        let mut holders = 1;
        for same in own.filter(|fault| Arc::ptr_eq(&fault.0.what, &self.0.what)) {
            if Arc::strong_count(&same.0) != 1 {
                return false;
            }
            holders += 1;
        }
        Arc::strong_count(&self.0) == 1 && Arc::strong_count(&self.0.what) == holders
    }

    /// By value: no other reference exists.
    pub(super) fn into_behind(self) -> BoxError {
        let inner = Arc::into_inner(self.0).expect(MOVABLE);
        drop(inner.history);
        let what = Arc::into_inner(inner.what).expect(MOVABLE);
        match (what.kind, what.detail) {
            (_, Detail::Error(error)) => error.into_inner(),
            (FaultKind::Ended(error), _) => Box::new(error),
            _ => unreachable!("{MOVABLE}"),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted => f.write_str("no attempts left"),
            Self::Advised => f.write_str("not to be tried again"),
            Self::NoTime { needed, left } => write!(f, "the next in {needed:?}, {left:?} left"),
            Self::Budget => f.write_str("retry budget spent"),
            Self::Ended => f.write_str("its context ended"),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BreakerOpen { name, retry_after } => {
                write!(f, "{name} is open for another {retry_after:?}")
            }
            Self::LimitFull => f.write_str("limit reached"),
            Self::RateExceeded { retry_after } => {
                write!(f, "rate exceeded, the next in {retry_after:?}")
            }
        }
    }
}

/// The alternate form (`{fault:#}`) goes on to the root.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        chain::write(self, f)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Fault");
        fields.field("kind", self.kind());
        if let Detail::Error(error) = &self.0.what.detail {
            chain::debug_field(&mut fields, error.get());
        }
        fields.field("attempts", &self.attempts());
        if let Some(stopped) = self.stopped() {
            fields.field("stopped", stopped);
        }
        if !self.others().is_empty() {
            fields.field("others", &self.others());
        }
        fields.finish_non_exhaustive()
    }
}

impl StdError for Fault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        chain::source_behind(self)
    }
}

impl fmt::Debug for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tried")
            .field("attempt", &self.attempt)
            .field("after", &self.after)
            .field("took", &self.took)
            .field("error", &self.error)
            .finish()
    }
}

/// What is left of a panic for callers that did not poll what panicked.
#[derive(Debug, thiserror::Error)]
#[error("panicked: {0}")]
struct Panicked(String);
