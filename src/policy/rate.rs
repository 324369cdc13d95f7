//! `rate`: at most so many calls in a period.

// | file | owns |
// |---|---|
// | `rate.rs` | the public face, and a call that waits for its token |
// | `rate/tokens.rs` | the tokens and the line for them |
// | `rate/bucket.rs` | the arithmetic |

mod bucket;
mod tokens;

use super::call::Call;
use super::trail::observe_refusal;
use super::waits;
use super::watch::{Watch, ended_before};
use super::wrapped::{Asked, POLLED_AGAIN, policy};
use crate::error::Fault;
use crate::source::Source;
use bucket::Pace;
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;
use tokens::{Refused, Take, Tokens};

/// How many calls may begin in a period: [`SourceExt::rate`](crate::SourceExt::rate).
///
/// One value for each backend, shared: all sources that were given it, and all its clones, take their tokens from it.
///
/// # Semantics
///
/// * In any span of time at most *burst* calls begin, and one more for each `per / tokens` of that span.
/// * Tokens are taken first come, first served. A call that finds none waits for its own, whose moment follows from its
///   place in the line; only the head of the line has a timer.
/// * A call whose token would not come before its caller's deadline is refused at once, and takes none.
/// * A call that is dropped while it waits leaves the line, and those behind it come sooner by one token.
/// * A call that waits has to be polled when it is woken. One at the head of the line that is kept without being polled
///   holds up all behind it.
/// * A call whose clock can't fire fails with the clock's error, as if the source had: a
///   [`Breaker`](super::Breaker) or [`Retry`](super::Retry) outside takes it for a failure. Its
///   [`attempts`](super::Fault::attempts) are 0, because the source was not called.
/// * It reads the clock of the call at hand. Under two clocks, or one that is set back, no call waits longer because of
///   that than the burst takes to come back.
///
/// # Examples
///
/// ```
/// use failfast::clock::ManualClock;
/// use failfast::policy::Rate;
/// use failfast::{BoxError, Context, Source, SourceExt};
/// use std::time::Duration;
///
/// async fn ads(_: Context, _: ()) -> Result<u32, BoxError> { Ok(3) }
///
/// # smol::block_on(async {
/// let ads = ads.rate(&Rate::new(100.try_into().unwrap(), Duration::from_secs(1)));
/// let ctx = Context::background().with_clock(ManualClock::new());
/// assert_eq!(ads.fetch(ctx.clone(), ()).await.unwrap(), 3);
///
/// let hurried = ctx.with_timeout(Duration::from_millis(5));
/// let refused = ads.fetch(hurried, ()).await.unwrap_err();
/// assert_eq!(refused.to_string(), "rate of 100 per 1s exceeded, the next in 10ms");
/// # });
/// ```
#[derive(Clone)]
#[must_use = "a rate does nothing unless a source is given it"]
pub struct Rate {
    tokens: Arc<Tokens>,
    pace: Pace,
}

impl Rate {
    /// At most `tokens` calls in `per`, evenly spread: the burst is 1. A `per` of zero does not limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// let hundred_a_second = failfast::policy::Rate::new(100.try_into().unwrap(), Duration::from_secs(1));
    /// ```
    pub fn new(tokens: NonZeroU32, per: Duration) -> Self {
        Self {
            tokens: Arc::default(),
            pace: Pace {
                tokens,
                per,
                burst: NonZeroU32::MIN,
            },
        }
    }

    /// After a time without calls, so many may begin at once.
    ///
    /// Of this value and the clones that are made of it from now on. It still shares its tokens and its line with the
    /// clones made before.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::clock::ManualClock;
    /// use failfast::policy::Rate;
    /// use failfast::{BoxError, Context, Source, SourceExt};
    /// use std::time::Duration;
    ///
    /// async fn ads(_: Context, _: ()) -> Result<u32, BoxError> { Ok(3) }
    ///
    /// # smol::block_on(async {
    /// let rate = Rate::new(1.try_into().unwrap(), Duration::from_secs(1)).with_burst(5.try_into().unwrap());
    /// let ads = ads.rate(&rate);
    /// let ctx = Context::background().with_clock(ManualClock::new());
    /// for _ in 0..5 {
    ///     assert_eq!(ads.fetch(ctx.clone(), ()).await.unwrap(), 3);
    /// }
    /// # });
    /// ```
    pub fn with_burst(mut self, burst: NonZeroU32) -> Self {
        self.pace.burst = burst;
        self
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rate")
            .field("tokens", &self.pace.tokens)
            .field("per", &self.pace.per)
            .field("burst", &self.pace.burst)
            .field("waiting", &self.tokens.waiting())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// # States
    ///
    /// ```text
    /// Waiting ──▶ Called ──▶ Over
    ///    └───────────────────▲    nothing begins: the caller's context has ended, or would before the token came
    /// ```
    #[project = RatedState]
    #[must_use = "a future does nothing until it is awaited"]
    pub enum Rated<A, F, R> {
        Waiting { waiting: AwaitsToken<A, R> },
        Called { #[pin] call: Call<F> },
        Over,
    }
}

/// A call that has no token yet.
pub struct AwaitsToken<A, R> {
    /// `None` once the source has been called.
    asked: Option<Asked<A, Rate, R>>,
    /// `None` until it has found that it must wait.
    take: Option<Take>,
    watch: Watch,
}

/// See `LimitedOf` for why the source's future is a parameter.
type RatedOf<A, R> = Rated<A, <A as Source<R>>::Future, R>;

policy!(Rate => RatedOf);

impl<A: Source<R>, R> RatedOf<A, R> {
    #[inline]
    pub(super) fn new(asked: Asked<A, Rate, R>) -> Self {
        let waiting = AwaitsToken {
            asked: Some(asked),
            take: None,
            watch: Watch::default(),
        };
        Self::Waiting { waiting }
    }
}

impl<A: Source<R>, R> AwaitsToken<A, R> {
    /// Calls the source once there is a token.
    #[inline]
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<Call<A::Future>, Fault>> {
        let asked = self.asked.as_ref().expect(POLLED_AGAIN);
        // Before a token is taken, because the call must not take one then.
        if let Some(ended) = ended_before(&asked.ctx) {
            return Poll::Ready(Err(ended));
        }
        let rate = asked.policy();
        if self.take.is_none() && rate.tokens.take(&rate.pace, asked.ctx.now()) {
            return Poll::Ready(self.call());
        }
        let new = || Take::new(rate.tokens.clone());
        let take = self.take.get_or_insert_with(new);
        match take.poll(&rate.pace, &asked.ctx, cx) {
            Poll::Ready(Ok(())) => Poll::Ready(self.call()),
            Poll::Ready(Err(why)) => {
                let fault = refused(why, &rate.pace);
                Poll::Ready(Err(observe_refusal(&asked.ctx, fault)))
            }
            Poll::Pending => {
                waits::note_wait();
                match self.watch.poll(&asked.ctx, cx) {
                    Some(ended) => Poll::Ready(Err(ended.not_begun())),
                    None => Poll::Pending,
                }
            }
        }
    }

    fn call(&mut self) -> Result<Call<A::Future>, Fault> {
        let asked = self.asked.take().expect(POLLED_AGAIN);
        let rate = asked.policy().clone();
        let call = asked.call();
        if call.is_err() {
            rate.tokens.give_back(&rate.pace); // the context ended just now, so the source was not called
        }
        call
    }
}

#[cold]
fn refused(why: Refused, pace: &Pace) -> Fault {
    match why {
        Refused::TooLate { wait } => Fault::rate_exceeded(pace.tokens, pace.per, wait),
        Refused::Broken(why) => Fault::failed(why.into()).not_begun(),
    }
}

impl<A: Source<R>, R> Future for RatedOf<A, R> {
    type Output = Result<A::Output, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let RatedState::Waiting { waiting } = self.as_mut().project() {
            match ready!(waiting.poll(cx)) {
                Ok(call) => self.set(Self::Called { call }),
                Err(fault) => {
                    self.set(Self::Over);
                    return Poll::Ready(Err(fault));
                }
            }
        }
        let RatedState::Called { call } = self.as_mut().project() else {
            unreachable!("a policy was polled after it had completed")
        };
        let answer = ready!(waits::served(|| call.poll(cx)));
        self.set(Self::Over);
        Poll::Ready(answer)
    }
}
