//! `retry`: further attempts after a failure.
//!
//! # What a failure leads to, in this order
//!
//! ```text
//! the caller's context has ended          the last real error    Stop::Ended
//! no attempt left, or no further delay    the error              Stop::Exhausted
//! not one to try again after              the error              Stop::Advised
//! the delay does not fit                  the error, at once     Stop::NoTime
//! no token in the budget                  the error, at once     Stop::Budget
//! else                                    wait, then the next attempt
//! ```
//!
//! # Invariants
//!
//! 1. While it waits no call is under way: the attempt is dropped first, with the permits that it holds.
//! 2. The token is taken before the wait, and spent when the attempt begins.

use super::backoff::{Backoff, Delays};
use super::budget::{Budget, Token};
use super::call::Call;
use super::trail::{Begun, Trail, observe, observe_failure, record};
use super::when::When;
use super::wrapped::{Asked, policy};
use crate::attempt::Attempt;
use crate::clock::Sleep;
use crate::context::PinnedDone;
use crate::error::{Fault, Stop};
use crate::observe::AttemptKind;
use crate::source::{Nature, Source};
use pin_project_lite::pin_project;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

/// How many attempts may follow one another at once in one poll, where there is no delay. Then the task yields.
const AT_ONCE: u32 = 32;

/// How often to try again, after which failures, and how long to wait: for [`SourceExt::retry`](crate::SourceExt::retry).
///
/// Not generic, so that one serves many sources.
///
/// # Examples
///
/// ```
/// use failfast::policy::{Advice, Backoff, Budget, Retry};
/// use std::io;
/// use std::time::Duration;
///
/// let budget = Budget::new();
/// let retry = Retry::times(2)
///     .with_backoff(Backoff::exponential(Duration::from_millis(20)))
///     .with_budget(&budget)
///     .when(|error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset);
/// # drop(retry);
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until a source has it"]
pub struct Retry {
    more: u32,
    delays: Waits,
    budget: Option<Budget>,
    seed: Option<u64>,
    when: When,
}

/// Whether to try again after a failure: what a closure of [`Retry::when`] returns. `true` is `Yes`, `false` is `No`.
///
/// # Examples
///
/// ```
/// use failfast::policy::{Advice, Retry};
/// use std::time::Duration;
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("status {status}")]
/// struct Refused { status: u16, retry_after: Option<Duration> }
///
/// let retry = Retry::times(2).when(|error: &Refused| match (error.status, error.retry_after) {
///     (429 | 503, Some(after)) => Advice::After(after),
///     (429 | 500..=599, None) => Advice::Yes,
///     _ => Advice::No,
/// });
/// # drop(retry);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// It would fail again.
    No,
    /// Try again, after the usual delay.
    Yes,
    /// Try again after so long, and not before: HTTP's `Retry-After`. It replaces this one delay.
    After(Duration),
}

impl From<bool> for Advice {
    fn from(again: bool) -> Self {
        if again { Self::Yes } else { Self::No }
    }
}

/// Where the delays come from.
#[derive(Clone)]
enum Waits {
    Backoff(Backoff),
    Given(Arc<dyn Fn() -> Given + Send + Sync>),
}

type Given = Box<dyn Iterator<Item = Duration> + Send>;

/// The delays of one call.
enum Left {
    Backoff(Delays),
    Given(Given),
}

impl Retry {
    /// At most so many attempts after the first. The default wait: exponential from 50 ms to a second, full jitter.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::{Backoff, Retry};
    /// use failfast::{BoxError, Context, Source, SourceExt};
    /// use std::time::Duration;
    ///
    /// async fn third_time_lucky(ctx: Context, _: ()) -> Result<u32, BoxError> {
    ///     match ctx.attempt().number() {
    ///         3 => Ok(5),
    ///         _ => Err("connection refused".into()),
    ///     }
    /// }
    ///
    /// # smol::block_on(async {
    /// let retry = Retry::times(2).with_backoff(Backoff::constant(Duration::from_millis(1)));
    /// let answer = third_time_lucky.retry(retry).fetch(Context::background(), ()).await;
    /// assert_eq!(answer.unwrap(), 5);
    /// # });
    /// ```
    pub fn times(more: u32) -> Self {
        Self {
            more,
            delays: Waits::Backoff(Backoff::default()),
            budget: None,
            seed: None,
            when: When::default(),
        }
    }

    /// How long to wait before each further attempt. Replaces [`with_delays`](Self::with_delays).
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::{Backoff, Retry};
    /// # use std::time::Duration;
    /// let retry = Retry::times(3).with_backoff(Backoff::exponential(Duration::from_millis(20)));
    /// # drop(retry);
    /// ```
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.delays = Waits::Backoff(backoff);
        self
    }

    /// The waits before further attempts, from an iterator that is made for each call that fails. Where it ends, so do
    /// the attempts. Replaces [`with_backoff`](Self::with_backoff).
    ///
    /// # Panics
    ///
    /// What the function or the iterator panics with is a panic of the call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::Retry;
    /// # use std::time::Duration;
    /// let retry = Retry::times(9).with_delays(|| [5, 50, 500].into_iter().map(Duration::from_millis));
    /// # drop(retry);
    /// ```
    pub fn with_delays<I>(mut self, delays: impl Fn() -> I + Send + Sync + 'static) -> Self
    where
        I: Iterator<Item = Duration> + Send + 'static,
    {
        self.delays = Waits::Given(Arc::new(move || Box::new(delays())));
        self
    }

    /// The budget that further attempts are taken from.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::{Budget, Retry};
    /// let budget = Budget::new(); // shared by all callers of a backend
    /// let retry = Retry::times(2).with_budget(&budget);
    /// # drop(retry);
    /// ```
    pub fn with_budget(mut self, budget: &Budget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// The same jitter for every call: for tests.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::Retry;
    /// let retry = Retry::times(2).with_seed(7);
    /// # drop(retry);
    /// ```
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// After which failures to try again, and when.
    ///
    /// The closure is called if an `E` is found behind the failure, as by [`Fault::downcast_ref`]; `E` may also be
    /// [`Fault`] itself, which is always found. Several may be given: the first whose type is found decides. Where some
    /// are given and none is found, there is no further attempt, and a debug record names the types that were sought; but
    /// a policy's own timeout is tried again. So name the concrete type, for a source that returns
    /// [`BoxError`](crate::BoxError) as well.
    ///
    /// With none given, all failures are tried again but a policy's rejection, a panic, and the caller's end.
    ///
    /// # Panics
    ///
    /// What the closure panics with is a panic of the call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::Retry;
    /// # use std::io;
    /// let retry = Retry::times(2).when(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut);
    /// # drop(retry);
    /// ```
    pub fn when<E: StdError + 'static, A: Into<Advice>>(
        mut self,
        when: impl Fn(&E) -> A + Send + Sync + 'static,
    ) -> Self {
        self.when.add(when);
        self
    }

    fn waits(&self) -> Left {
        match &self.delays {
            Waits::Given(make) => Left::Given(make()),
            Waits::Backoff(backoff) => {
                let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
                Left::Backoff(backoff.iter(seed))
            }
        }
    }

    fn nature(&self, inner: Nature) -> Nature {
        Nature {
            makes_attempts: true,
            budget: self.budget.as_ref().map(Budget::id).or(inner.budget),
            ..inner
        }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Retry");
        fields.field("times", &self.more);
        if let Waits::Backoff(backoff) = &self.delays {
            fields.field("backoff", backoff);
        }
        fields.field("budget", &self.budget);
        if !self.when.is_empty() {
            fields.field("when", &self.when);
        }
        fields.finish_non_exhaustive()
    }
}

impl Iterator for Left {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        match self {
            Self::Backoff(delays) => delays.next(),
            Self::Given(delays) => delays.next(),
        }
    }
}

pin_project! {
    /// # States
    ///
    /// ```text
    /// First ──▶ Calling ──▶ Over
    ///           ▲    │
    ///         Next ◀─┤    no delay
    ///           ▲    │
    ///        Waiting ◀
    /// ```
    #[must_use = "a future does nothing until it is awaited"]
    pub struct Retrying<A, F, R> {
        #[pin]
        stage: Stage<F>,
        asked: Asked<A, Retry, R>,
        progress: Progress,
    }
}

pin_project! {
    #[project = StageState]
    enum Stage<F> {
        First,
        /// A further attempt begins, with its token.
        Next { token: Option<Token> },
        Calling { #[pin] call: Call<F>, begun: Begun },
        Waiting { delay: Duration, sleep: Sleep, #[pin] end: PinnedDone, token: Option<Token> },
        Over,
    }
}

/// How far the call has come.
#[derive(Default)]
struct Progress {
    /// How many attempts have begun.
    made: u32,
    /// Made by the first failure, so that the way of a first success neither makes nor moves nor drops it.
    failed: Option<Box<Failed>>,
}

/// What has failed so far, and how to go on.
#[derive(Default)]
struct Failed {
    trail: Trail,
    waits: Option<Left>,
}

/// What a step leads to.
enum Step<F, T> {
    To(Stage<F>),
    Through(Result<T, Fault>),
}

type RetryingOf<A, R> = Retrying<A, <A as Source<R>>::Future, R>;

policy!(Retry => RetryingOf with Clone, nature Retry::nature);

impl<A: Source<R>, R> Retrying<A, A::Future, R> {
    #[inline]
    pub(super) fn new(asked: Asked<A, Retry, R>) -> Self {
        Self {
            stage: Stage::First,
            asked,
            progress: Progress::default(),
        }
    }
}

impl<A: Source<R>, R: Clone> Future for Retrying<A, A::Future, R> {
    type Output = Result<A::Output, Fault>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if self.progress.made == 0 {
            if let Err(fault) = self.as_mut().begin() {
                self.project().stage.set(Stage::Over);
                return Poll::Ready(Err(fault));
            }
        }
        for _ in 0..2 * AT_ONCE {
            match ready!(self.as_mut().step(cx)) {
                Step::To(stage) => self.as_mut().project().stage.set(stage),
                Step::Through(answer) => {
                    self.project().stage.set(Stage::Over);
                    return Poll::Ready(answer);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<A: Source<R>, R: Clone> Retrying<A, A::Future, R> {
    /// Begins the first attempt, where it stays.
    #[inline]
    fn begin(self: Pin<&mut Self>) -> Result<(), Fault> {
        let mut this = self.project();
        let (call, begun) = (
            this.asked.call_again(this.asked.first_attempt())?,
            Begun::first(),
        );
        this.asked.pay_in(this.asked.policy().budget.as_ref());
        this.progress.made = 1;
        observe(this.asked, Attempt::FIRST, AttemptKind::Started, None);
        this.stage.set(Stage::Calling { call, begun });
        Ok(())
    }

    fn step(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Step<A::Future, A::Output>> {
        let this = self.project();
        let (asked, progress) = (this.asked, this.progress);
        Poll::Ready(match this.stage.project() {
            StageState::First => unreachable!("the first attempt has begun"),
            StageState::Next { token } => {
                let token = token.take().expect("an attempt begins once");
                progress.begin(asked, token)
            }
            StageState::Calling { call, begun } => match call.poll(cx) {
                Poll::Pending => {
                    begun.is_pending(&asked.ctx);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(answer)) => {
                    record(asked, *begun, |took| format!("succeeded after {took:?}"));
                    observe(asked, begun.attempt, AttemptKind::Succeeded, None);
                    Step::Through(Ok(answer))
                }
                Poll::Ready(Err(fault)) => progress.failed(asked, *begun, fault),
            },
            StageState::Waiting {
                delay,
                sleep,
                end,
                token,
            } => match Pin::new(sleep).poll(cx) {
                Poll::Ready(Ok(())) => Step::To(Stage::Next {
                    token: token.take(),
                }),
                Poll::Ready(Err(_)) => progress.stop(Stop::NoTime {
                    needed: *delay,
                    left: Duration::ZERO,
                }),
                Poll::Pending if end.as_ref().wait(cx) => progress.stop(Stop::Ended),
                Poll::Pending => return Poll::Pending,
            },
            StageState::Over => unreachable!("a policy was polled after it had completed"),
        })
    }
}

impl Progress {
    fn begin<A, R, T>(&mut self, asked: &Asked<A, Retry, R>, token: Token) -> Step<A::Future, T>
    where
        A: Source<R>,
        R: Clone,
    {
        if asked.ctx.is_done() {
            return self.stop(Stop::Ended);
        }
        let attempt = Attempt::new(self.made.saturating_add(1), false);
        let begun = Begun::further(attempt, asked.ctx.now());
        match asked.call_again(asked.ctx.with_value(attempt)) {
            Ok(call) => {
                token.spend();
                self.made = attempt.number();
                observe(asked, attempt, AttemptKind::Started, None);
                Step::To(Stage::Calling { call, begun })
            }
            Err(_) => self.stop(Stop::Ended),
        }
    }

    /// An attempt failed: what now?
    #[cold]
    fn failed<A, R, T>(
        &mut self,
        asked: &Asked<A, Retry, R>,
        begun: Begun,
        fault: Fault,
    ) -> Step<A::Future, T>
    where
        A: Source<R>,
    {
        let next = self.next(asked, &fault);
        record(asked, begun, |took| failure(took, &fault, &next));
        observe_failure(asked, begun, &fault);
        let trail = &mut self.so_far().trail;
        trail.failed(begun, fault, asked.ctx.now());
        match next {
            Err(stop) => self.stop(stop),
            Ok((delay, token)) if delay.is_zero() => Step::To(Stage::Next { token: Some(token) }),
            Ok((delay, token)) => {
                observe(asked, begun.attempt, AttemptKind::Delayed(delay), None);
                self.wait(asked, delay, token)
            }
        }
    }

    /// How long to wait before the next attempt, and its token.
    fn next<A, R>(
        &mut self,
        asked: &Asked<A, Retry, R>,
        fault: &Fault,
    ) -> Result<(Duration, Token), Stop> {
        let policy = asked.policy();
        if fault.end().is_some() || asked.ctx.is_done() {
            return Err(Stop::Ended);
        }
        if self.made > policy.more {
            return Err(Stop::Exhausted);
        }
        let advice = asked.advice(&policy.when, fault);
        if advice == Advice::No {
            return Err(Stop::Advised);
        }
        let failed = self.so_far();
        let waits = failed.waits.get_or_insert_with(|| policy.waits());
        let Some(usual) = waits.next() else {
            return Err(Stop::Exhausted);
        };
        let needed = match advice {
            Advice::After(after) => failed.trail.advised(after),
            _ => usual,
        };
        match asked.ctx.remaining() {
            Some(left) if needed >= left => return Err(Stop::NoTime { needed, left }),
            _ => {}
        }
        match &policy.budget {
            None => Ok((needed, Token::free())),
            Some(budget) => Ok((needed, budget.take().ok_or(Stop::Budget)?)),
        }
    }

    fn wait<A, R, T>(
        &mut self,
        asked: &Asked<A, Retry, R>,
        delay: Duration,
        token: Token,
    ) -> Step<A::Future, T>
    where
        A: Source<R>,
    {
        let Some(sleep) = asked.sleep(delay) else {
            // Longer than an `Instant` can hold.
            return self.stop(Stop::NoTime {
                needed: delay,
                left: Duration::ZERO,
            });
        };
        Step::To(Stage::Waiting {
            delay,
            sleep,
            end: asked.ctx.pinned_done(),
            token: Some(token),
        })
    }

    fn so_far(&mut self) -> &mut Failed {
        self.failed.get_or_insert_default()
    }

    fn stop<F, T>(&mut self, stop: Stop) -> Step<F, T> {
        let trail = std::mem::take(&mut self.so_far().trail);
        Step::Through(Err(trail.end(stop)))
    }
}

/// The record of an attempt that failed.
fn failure(took: Duration, fault: &Fault, next: &Result<(Duration, Token), Stop>) -> String {
    let next = match next {
        Ok((delay, _)) => format!("the next in {delay:?}"),
        Err(stop) => stop.to_string(),
    };
    format!("failed after {took:?}: {fault}; {next}")
}
