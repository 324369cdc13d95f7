//! A source made into a better source: [`SourceExt`] wraps one, and the result is one again.
//!
//! | policy | what it adds |
//! |---|---|
//! | [`timeout`](SourceExt::timeout) | each call of what is inside may take so long |
//! | [`leaving`](SourceExt::leaving) | the call ends some time before the caller's deadline |
//! | [`retry`](SourceExt::retry) | further attempts after a failure |
//! | [`hedge`](SourceExt::hedge) | further attempts beside one that is slow |
//! | [`fallback`](SourceExt::fallback) | another source, where the first failed |
//! | [`optional`](SourceExt::optional) | `None` where it failed |
//!
//! A policy never spawns: all of its attempts are polled inside the task that polls it. It tells time by the context's
//! clock, and returns when the caller's context ends, also around a source that ignores its context. None allocates on
//! the way of a first success, but for a hedge.
//!
//! # Order
//!
//! Policies are written inside out: the last call is outermost. Recommended, innermost first: `timeout`, `limit`, `rate`,
//! `breaker`, `hedge`, `retry`, then `fallback` or `optional`.
//!
//! | written | means |
//! |---|---|
//! | `a.timeout(t).retry(r)` | each attempt may take `t` |
//! | `a.retry(r).timeout(t)` | all attempts together, with the waits between them, may take `t` |
//!
//! # Examples
//!
//! ```
//! use failfast::policy::{Budget, Retry};
//! use failfast::{Aggregator, BoxError, Context, SourceExt};
//! use std::time::Duration;
//!
//! async fn profile(_: Context, _: u64) -> Result<&'static str, std::io::Error> { Ok("Alice") }
//! async fn orders(_: Context, _: u64) -> Result<u32, std::io::Error> { Ok(5) }
//! async fn ads(_: Context, _: u64) -> Result<u32, BoxError> { Err("no ads today".into()) }
//!
//! # smol::block_on(async {
//! let budget = Budget::new(); // one for each backend, shared
//! let dashboard = Aggregator::new(smol::spawn)
//!     .with_timeout(Duration::from_secs(1))
//!     .source("profile", profile.retry(Retry::times(2).with_budget(&budget)))
//!     .source("orders", orders.timeout(Duration::from_millis(300)).retry(Retry::times(2)))
//!     .source("ads", ads.leaving(Duration::from_millis(50)).optional());
//! let (profile, orders, ads) = dashboard.aggregate(&Context::background(), 7).await.unwrap();
//! assert_eq!((profile, orders, ads), ("Alice", 5, None));
//! # });
//! ```

// | file | owns |
// |---|---|
// | `policy.rs` | the public face |
// | `policy/wrapped.rs` | a policy around a source, and a call of it before it begins |
// | `policy/call.rs` | one call of a source under a context: its end, and what its error is |
// | `policy/record.rs` | log records |
// | `policy/timeout.rs` … | a policy each |

mod backoff;
mod budget;
mod call;
mod fallback;
mod hedge;
mod optional;
pub(crate) mod record;
mod retry;
mod timeout;
mod trail;
mod when;
mod wrapped;

use crate::source::Source;
use fallback::Or;
use optional::Maybe;
use std::time::Duration;
use timeout::Late;
use wrapped::Wrapped;

pub use backoff::{Backoff, Jitter};
pub use budget::Budget;
pub use hedge::Hedge;
pub use retry::{Advice, Retry};

pub use crate::attempt::Attempt;
pub use crate::error::{Fault, FaultKind, Rejection, Stop, Tried};

/// Policies for every [`Source`]: `async fn`s, closures, `Arc`s of sources, aggregators.
///
/// Each method wraps the source, so the last call is outermost. See [`policy`](crate::policy) for what the order means.
///
/// # Examples
///
/// ```
/// use failfast::{Context, Source, SourceExt};
/// use std::time::Duration;
///
/// async fn profile(_: Context, _: u64) -> Result<&'static str, std::io::Error> {
///     Ok("Alice")
/// }
///
/// # smol::block_on(async {
/// let quick = profile.timeout(Duration::from_millis(300));
/// assert_eq!(quick.fetch(Context::background(), 7).await.unwrap(), "Alice");
/// # });
/// ```
pub trait SourceExt<R>: Source<R> + Sized {
    /// Each call may take so long, counted from its begin, by the context's clock. The source's context has that
    /// deadline.
    ///
    /// It measures what is inside: put it innermost to measure the service alone, without the waits of a
    /// [`retry`](Self::retry) around it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call drops the source's.
    ///
    /// # Errors
    ///
    /// [`FaultKind::TimedOut`] if this deadline passed, [`FaultKind::Ended`] if the caller's context ended, a deadline
    /// at the same moment included. If the source still returns an error of another kind then, that is the error.
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
    /// # });
    /// ```
    #[must_use = "a policy does nothing unless its source is called"]
    fn timeout(self, timeout: Duration) -> Wrapped<Self, Late> {
        Wrapped::new(self, Late::For(timeout))
    }

    /// The call ends `margin` before the caller's deadline, whoever set that, so that there is time left to do without
    /// its answer. Without a deadline it changes nothing.
    ///
    /// # Cancel safety
    ///
    /// As [`timeout`](Self::timeout).
    ///
    /// # Errors
    ///
    /// As [`timeout`](Self::timeout). If no more than the margin is left, the source is not called.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{BoxError, Context, Source, SourceExt};
    /// use std::time::Duration;
    ///
    /// async fn ads(ctx: Context, _: ()) -> Result<Duration, BoxError> {
    ///     Ok(ctx.remaining().unwrap())
    /// }
    ///
    /// # smol::block_on(async {
    /// let ctx = Context::background().with_timeout(Duration::from_secs(10));
    /// let left = ads.leaving(Duration::from_secs(4)).fetch(ctx, ()).await.unwrap();
    /// assert!(left <= Duration::from_secs(6));
    /// # });
    /// ```
    #[must_use = "a policy does nothing unless its source is called"]
    fn leaving(self, margin: Duration) -> Wrapped<Self, Late> {
        Wrapped::new(self, Late::Leaving(margin))
    }

    /// Further attempts after a failure, with waits between them, for as long as the caller's deadline has room.
    ///
    /// The source's context tells it which attempt it is: [`Context::attempt`](crate::Context::attempt). While it waits
    /// nothing of the attempt before is held.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call drops the attempt, or the wait, and gives a token of the budget that was not spent back.
    ///
    /// # Panics
    ///
    /// As the source does: a panic is not tried again.
    ///
    /// # Errors
    ///
    /// The last error of the source itself. Why there was no further attempt: [`Fault::stopped`].
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::{Backoff, Retry};
    /// use failfast::{BoxError, Context, Source, SourceExt};
    /// use std::time::Duration;
    ///
    /// async fn second_time(ctx: Context, _: ()) -> Result<u32, BoxError> {
    ///     if ctx.attempt().number() == 1 { Err("connection refused".into()) } else { Ok(5) }
    /// }
    ///
    /// # smol::block_on(async {
    /// let retry = Retry::times(2).with_backoff(Backoff::exponential(Duration::from_millis(1)));
    /// assert_eq!(second_time.retry(retry).fetch(Context::background(), ()).await.unwrap(), 5);
    /// # });
    /// ```
    #[must_use = "a policy does nothing unless its source is called"]
    fn retry(self, retry: Retry) -> Wrapped<Self, Retry> {
        Wrapped::new(self, retry)
    }

    /// Further attempts beside one that is slow: the first success is the answer, the others are canceled and dropped.
    ///
    /// All attempts are polled by the task of the call. A failure does not end the call while others are under way: it
    /// launches the next attempt at once, unless it is fatal ([`Hedge::when`]).
    ///
    /// # Cancel safety
    ///
    /// Dropping the call drops all attempts, and cancels their contexts.
    ///
    /// # Panics
    ///
    /// As the source does.
    ///
    /// # Errors
    ///
    /// A fatal failure, or the first attempt's if all failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::Hedge;
    /// use failfast::{BoxError, Context, Source, SourceExt};
    /// use std::time::Duration;
    ///
    /// async fn slow_at_first(ctx: Context, _: ()) -> Result<u32, BoxError> {
    ///     if !ctx.attempt().is_hedge() {
    ///         std::future::pending::<()>().await;
    ///     }
    ///     Ok(ctx.attempt().number())
    /// }
    ///
    /// # smol::block_on(async {
    /// let hedged = slow_at_first.hedge(Hedge::after(Duration::from_millis(5)));
    /// assert_eq!(hedged.fetch(Context::background(), ()).await.unwrap(), 2);
    /// # });
    /// ```
    #[must_use = "a policy does nothing unless its source is called"]
    fn hedge(self, hedge: Hedge) -> Wrapped<Self, Hedge> {
        Wrapped::new(self, hedge)
    }

    /// Another source, which is asked if this one failed, in the time that is left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call drops whichever source's is under way.
    ///
    /// # Errors
    ///
    /// This source's error if both failed, with the other's in [`Fault::others`]. The caller's end is never answered by
    /// the other.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{BoxError, Context, Source, SourceExt};
    ///
    /// async fn fresh(_: Context, _: ()) -> Result<u32, BoxError> { Err("connection refused".into()) }
    /// async fn cached(_: Context, _: ()) -> Result<u32, BoxError> { Ok(5) }
    ///
    /// # smol::block_on(async {
    /// assert_eq!(fresh.fallback(cached).fetch(Context::background(), ()).await.unwrap(), 5);
    /// # });
    /// ```
    #[must_use = "a policy does nothing unless its source is called"]
    fn fallback<B: Source<R, Output = Self::Output>>(self, other: B) -> Wrapped<Self, Or<B>> {
        Wrapped::new(self, Or(other))
    }

    /// `None` where the source failed: a page that can do without this answer. The failure is logged, level warn, with
    /// whether it was late, refused or failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call drops the source's.
    ///
    /// # Errors
    ///
    /// The caller's end alone: it is never turned into an answer.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{BoxError, Context, Source, SourceExt};
    ///
    /// async fn ads(_: Context, _: ()) -> Result<u32, BoxError> { Err("no ads today".into()) }
    ///
    /// # smol::block_on(async {
    /// assert_eq!(ads.optional().fetch(Context::background(), ()).await.unwrap(), None);
    /// # });
    /// ```
    #[must_use = "a policy does nothing unless its source is called"]
    fn optional(self) -> Wrapped<Self, Maybe> {
        Wrapped::new(self, Maybe)
    }
}

impl<R, A: Source<R>> SourceExt<R> for A {}
