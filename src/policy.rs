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
//! | [`limit`](SourceExt::limit) | at most so many calls at once |
//! | [`rate`](SourceExt::rate) | at most so many calls in a period |
//! | [`breaker`](SourceExt::breaker) | no calls for a while after too many failures |
//! | [`coalesce`](SourceExt::coalesce) | one call for all callers with equal requests at the same time |
//!
//! A policy never spawns: all of its attempts are polled inside the task that polls it. It uses the context's clock, and
//! returns when the caller's context ends, also around a source that ignores its context. None allocates on
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
//! | `a.timeout(t).limit(l)` | the service may take `t`; the wait for a permit is the caller's time alone |
//! | `a.limit(l).timeout(t)` | the wait for a permit and the service together may take `t` |
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
// | `policy/watch.rs` | the caller's end, while a policy waits for something of its own |
// | `policy/line.rs`, `waits.rs` | the line that `limit` and `rate` keep; which part of a call's time is spent there |
// | `policy/timeout.rs` … | a policy each |

mod backoff;
mod breaker;
mod budget;
mod call;
mod coalesce;
mod fallback;
mod hedge;
mod limit;
mod line;
#[cfg(all(test, failfast_loom))]
mod models;
mod optional;
mod rate;
pub(crate) mod record;
mod retry;
mod timeout;
mod trail;
mod waits;
mod watch;
mod when;
mod wrapped;

use crate::source::Source;
use coalesce::Shared;
use fallback::Or;
use optional::Maybe;
use std::hash::Hash;
use std::time::Duration;
use timeout::Late;
use wrapped::Wrapped;

pub use crate::attempt::BreakerState;
pub use backoff::{Backoff, Jitter};
pub use breaker::Breaker;
pub use budget::Budget;
pub use hedge::Hedge;
pub use limit::Limit;
pub use rate::Rate;
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

    /// The call ends `margin` before the caller's deadline, so that there is time left to do without its answer. Without a
    /// deadline it changes nothing.
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
    /// The source finds the number of its attempt in its context: [`Context::attempt`](crate::Context::attempt). During a
    /// wait nothing of the attempt before is held.
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

    /// Another source, which is called if this one failed, in the time that is left.
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
    /// The last of a source's policies: `.leaving(margin).optional()` is `None` where the source was late, and
    /// `.optional().leaving(margin)` fails there. The aggregator's own timeout is the caller's end.
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

    /// At most so many calls at once, together with all others that were given the same [`Limit`]. A call beyond it waits
    /// in line.
    ///
    /// Put it around [`timeout`](Self::timeout), so that the wait is not taken for slowness of the service: it is bounded
    /// by the caller's deadline, and by [`Limit::with_queue`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the call drops the source's, then gives back its permit, or its place in the line.
    ///
    /// # Errors
    ///
    /// [`Rejection::LimitFull`] if as many wait as may, [`FaultKind::Ended`] if the caller's context ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::Limit;
    /// use failfast::{BoxError, Context, Source, SourceExt};
    ///
    /// async fn orders(_: Context, _: u64) -> Result<u32, BoxError> { Ok(5) }
    ///
    /// # smol::block_on(async {
    /// let four_at_once = Limit::new(4.try_into().unwrap());
    /// let orders = orders.limit(&four_at_once);
    /// assert_eq!(orders.fetch(Context::background(), 7).await.unwrap(), 5);
    /// # });
    /// ```
    #[must_use = "a policy does nothing unless its source is called"]
    fn limit(self, limit: &Limit) -> Wrapped<Self, Limit> {
        Wrapped::new(self, limit.clone())
    }

    /// At most so many calls in a period, together with all others that were given the same [`Rate`]. A call beyond it
    /// waits for its turn.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call drops the source's, or gives up its place in the line. The token of a call that has begun is
    /// spent.
    ///
    /// # Errors
    ///
    /// [`Rejection::RateExceeded`] at once, if the wait would not end before the caller's deadline;
    /// [`FaultKind::Ended`] if the caller's context ended. If the context's clock can't fire, that is the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::Rate;
    /// use failfast::{BoxError, Context, Source, SourceExt};
    /// use std::time::Duration;
    ///
    /// async fn ads(_: Context, _: u64) -> Result<u32, BoxError> { Ok(3) }
    ///
    /// # smol::block_on(async {
    /// let hundred_a_second = Rate::new(100.try_into().unwrap(), Duration::from_secs(1));
    /// let ads = ads.rate(&hundred_a_second);
    /// assert_eq!(ads.fetch(Context::background(), 7).await.unwrap(), 3);
    /// # });
    /// ```
    #[must_use = "a policy does nothing unless its source is called"]
    fn rate(self, rate: &Rate) -> Wrapped<Self, Rate> {
        Wrapped::new(self, rate.clone())
    }

    /// No calls for a while after too many failures, which together with all others that were given the same
    /// [`Breaker`] count.
    ///
    /// Put it inside of [`retry`](Self::retry), so that each attempt counts, and around [`timeout`](Self::timeout), so
    /// that timeouts count.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call drops the source's. It then counts for nothing, and a probe's place is free again; unless it took
    /// as long as [`Breaker::with_slow_after`] allows.
    ///
    /// # Panics
    ///
    /// If the source does, which counts as a failure.
    ///
    /// # Errors
    ///
    /// [`Rejection::BreakerOpen`] at once, if it is open or all its probes are under way; [`FaultKind::Ended`] if the
    /// caller's context ended; else the source's.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::clock::ManualClock;
    /// use failfast::policy::{Breaker, BreakerState};
    /// use failfast::{BoxError, Context, Source, SourceExt};
    ///
    /// async fn orders(_: Context, _: u64) -> Result<u32, BoxError> {
    ///     Err("connection refused".into())
    /// }
    ///
    /// # smol::block_on(async {
    /// let orders_db = Breaker::new("orders-db");
    /// let orders = orders.breaker(&orders_db);
    /// let ctx = Context::background().with_clock(ManualClock::new());
    /// for _ in 0..5 {
    ///     let fault = orders.fetch(ctx.clone(), 7).await.unwrap_err();
    ///     assert_eq!(fault.to_string(), "connection refused");
    /// }
    /// assert_eq!(orders_db.state(&ctx), BreakerState::Open);
    /// let fault = orders.fetch(ctx, 7).await.unwrap_err();
    /// assert_eq!(fault.to_string(), "orders-db is open for another 5s");
    /// # });
    /// ```
    #[must_use = "a policy does nothing unless its source is called"]
    fn breaker(self, breaker: &Breaker) -> Wrapped<Self, Breaker> {
        Wrapped::new(self, breaker.clone())
    }

    /// One call for all callers with equal requests at the same time: a caller that finds a call for an equal request under
    /// way waits for its answer, and gets a clone.
    ///
    /// # Semantics
    ///
    /// * The request is the key. It must hold all that the answer depends on, a tenant or credentials for example, because
    ///   the source sees the values of the first caller's context.
    /// * The source runs under the first caller's context without its lifetime: no deadline, and no end. Each caller
    ///   waits within its own. The call goes on while one of them waits, whichever that is; when the last has left, it is
    ///   dropped.
    /// * Each caller gets the answer, or the error. Neither is kept: a caller that comes later begins a new call.
    /// * `Hash` and `Eq` of the request run under a lock, so they must not call the same coalesced source.
    /// * Clones of the returned source share their calls.
    /// * Two requests must not wait for each other: if the source needs `b` to answer `a`, and `a` to answer `b`,
    ///   both may wait until the contexts of their callers end.
    /// * Inside a [`breaker`](Self::breaker) with [`with_slow_after`](Breaker::with_slow_after), put a
    ///   [`limit`](Self::limit) or a [`rate`](Self::rate) outside the breaker. Inside `coalesce`, the wait for a permit
    ///   counts as slowness for each caller but the one that polls the shared call.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call of one caller leaves the others as they are.
    ///
    /// # Panics
    ///
    /// If `Hash`, `Eq` or `Clone` of the request, or `Clone` of the answer, does: that caller's alone. If the source
    /// panics, each caller gets that as an error.
    ///
    /// # Errors
    ///
    /// [`FaultKind::Ended`] if the caller's own context ended; else the source's. A source that calls itself, by its context
    /// or in its own poll, with the request that it is answering gets an error, because it would wait for itself.
    /// In its own poll is whatever runs on that thread meanwhile: so does any other caller for the same request that the
    /// source polls there, for example by running a local executor, or that a waker polls inline.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{BoxError, Context, Source, SourceExt};
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    ///
    /// static CALLS: AtomicU32 = AtomicU32::new(0);
    ///
    /// async fn profile(_: Context, id: u64) -> Result<String, BoxError> {
    ///     CALLS.fetch_add(1, Relaxed);
    ///     smol::future::yield_now().await;
    ///     Ok(format!("user {id}"))
    /// }
    ///
    /// # smol::block_on(async {
    /// let (ctx, profile) = (Context::background(), profile.coalesce());
    /// let both = smol::future::zip(profile.fetch(ctx.clone(), 7), profile.fetch(ctx, 7));
    /// let (one, other) = both.await;
    /// assert_eq!((one.unwrap(), other.unwrap()), ("user 7".to_owned(), "user 7".to_owned()));
    /// assert_eq!(CALLS.load(Relaxed), 1);
    /// # });
    /// ```
    #[must_use = "a policy does nothing unless its source is called"]
    fn coalesce(self) -> Wrapped<Self, Shared<R, Self::Future, Self::Output>>
    where
        R: Clone + Eq + Hash,
        Self::Output: Clone,
    {
        Wrapped::new(self, Shared::new())
    }
}

impl<R, A: Source<R>> SourceExt<R> for A {}
