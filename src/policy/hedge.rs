//! `hedge`: further attempts beside one that is slow.
//!
//! ```text
//! attempt 1  ├───────────────────────────x    loses: canceled, then dropped
//! attempt 2         ├──────────x              fails: the next begins at once
//! attempt 3                    ├─────────┤    the first success is the answer
//!            ├ after ┤
//! ```
//!
//! # Invariants
//!
//! 1. Every attempt is polled by the task of the call, once for each wake-up: at most 1 + `times` polls.
//! 2. Each attempt has a context of its own below the caller's. A loser's is canceled, then the loser is dropped, then
//!    the answer is out. The winner's stays, because its answer may still be using it.
//! 3. A failure waits for the attempts under way, unless it is fatal.

use super::budget::Budget;
use super::call::Call;
use super::retry::Advice;
use super::trail::{Begun, Trail, observe, observe_failure, record};
use super::when::When;
use super::wrapped::{Asked, policy};
use crate::attempt::Attempt;
use crate::clock::Sleep;
use crate::context::{Canceller, Context};
use crate::error::{Fault, Stop};
use crate::observe::AttemptKind;
use crate::source::{Nature, Source};
use crate::unwind;
use pin_project_lite::pin_project;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

/// When to call again while the first attempt has not answered: for [`SourceExt::hedge`](crate::SourceExt::hedge).
///
/// For requests that may be made twice. Costs a backend up to `1 + times` calls for each, so give it a
/// [`Budget`](Self::with_budget), and a delay that most answers beat: the 95th percentile, for example.
///
/// # Examples
///
/// ```
/// use failfast::policy::{Budget, Hedge};
/// use std::time::Duration;
///
/// let hedge = Hedge::after(Duration::from_millis(20)).with_budget(&Budget::new());
/// # drop(hedge);
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until a source has it"]
pub struct Hedge {
    after: Duration,
    times: u32,
    budget: Option<Budget>,
    when: When,
}

impl Hedge {
    /// A further attempt if the one before has not answered after so long.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::Hedge;
    /// use failfast::{BoxError, Context, Source, SourceExt};
    /// use std::time::Duration;
    ///
    /// async fn slow_at_first(ctx: Context, _: ()) -> Result<&'static str, BoxError> {
    ///     if !ctx.attempt().is_hedge() {
    ///         std::future::pending::<()>().await;
    ///     }
    ///     Ok("quick")
    /// }
    ///
    /// # smol::block_on(async {
    /// let hedged = slow_at_first.hedge(Hedge::after(Duration::from_millis(5)));
    /// assert_eq!(hedged.fetch(Context::background(), ()).await.unwrap(), "quick");
    /// # });
    /// ```
    pub fn after(delay: Duration) -> Self {
        Self {
            after: delay,
            times: 1,
            budget: None,
            when: When::default(),
        }
    }

    /// At most so many further attempts; one by default. With none, the hedge changes nothing, and its one attempt is no
    /// attempt of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::Hedge;
    /// # use std::time::Duration;
    /// let hedge = Hedge::after(Duration::from_millis(20)).times(2);
    /// # drop(hedge);
    /// ```
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// The budget that further attempts are taken from. One that is refused counts among the [`times`](Self::times).
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::{Budget, Hedge};
    /// # use std::time::Duration;
    /// let budget = Budget::new(); // shared by all callers of a backend
    /// let hedge = Hedge::after(Duration::from_millis(20)).with_budget(&budget);
    /// # drop(hedge);
    /// ```
    pub fn with_budget(mut self, budget: &Budget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Which failures launch the next attempt at once; the others are fatal, and end all. How types are found, and what
    /// holds if none is given: as for [`Retry::when`](crate::policy::Retry::when).
    ///
    /// # Panics
    ///
    /// What the closure panics with is a panic of the call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::Hedge;
    /// # use std::{io, time::Duration};
    /// let hedge = Hedge::after(Duration::from_millis(20))
    ///     .when(|error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset);
    /// # drop(hedge);
    /// ```
    pub fn when<E: StdError + 'static>(
        mut self,
        when: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.when.add(when);
        self
    }

    fn nature(&self, inner: Nature) -> Nature {
        Nature {
            makes_attempts: self.times > 0 || inner.makes_attempts,
            budget: self.budget.as_ref().map(Budget::id).or(inner.budget),
            ..inner
        }
    }
}

impl fmt::Debug for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Hedge");
        fields
            .field("after", &self.after)
            .field("times", &self.times)
            .field("budget", &self.budget);
        if !self.when.is_empty() {
            fields.field("when", &self.when);
        }
        fields.finish()
    }
}

pin_project! {
    /// An attempt under way.
    struct Live<F> {
        #[pin]
        call: Call<F>,
        begun: Begun,
        canceller: Option<Canceller>,
    }
}

pin_project! {
    /// The attempts, in the order of their begin. Those that have ended are `None`. The first needs no box.
    struct Attempts<F> {
        #[pin]
        first: Option<Live<F>>,
        others: Vec<Option<Pin<Box<Live<F>>>>>,
    }
}

pin_project! {
    #[must_use = "a future does nothing until it is awaited"]
    pub struct Hedging<A, F, R> {
        #[pin]
        attempts: Attempts<F>,
        asked: Asked<A, Hedge, R>,
        progress: Progress,
    }
}

/// How far the call has come.
struct Progress {
    /// Attempts that have begun.
    made: u32,
    /// Further attempts that may still begin.
    left: u32,
    /// Whether the budget refused one.
    refused: bool,
    /// Failures after which the next attempt begins at once.
    owed: u32,
    /// When the next begins otherwise.
    timer: Option<Sleep>,
    trail: Trail,
    /// The first attempt's error.
    primary: Option<Fault>,
    completed: bool,
}

type HedgingOf<A, R> = Hedging<A, <A as Source<R>>::Future, R>;

policy!(Hedge => HedgingOf with Clone, nature Hedge::nature);

impl<A: Source<R>, R> Hedging<A, A::Future, R> {
    #[inline]
    pub(super) fn new(asked: Asked<A, Hedge, R>) -> Self {
        let progress = Progress {
            made: 0,
            left: asked.policy().times,
            refused: false,
            owed: 0,
            timer: None,
            trail: Trail::default(),
            primary: None,
            completed: false,
        };
        let attempts = Attempts {
            first: None,
            others: Vec::new(),
        };
        Self {
            attempts,
            asked,
            progress,
        }
    }
}

impl<A: Source<R>, R: Clone> Future for Hedging<A, A::Future, R> {
    type Output = Result<A::Output, Fault>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (attempts, asked, progress) = (this.attempts, this.asked, this.progress);
        if progress.completed {
            unreachable!("a policy was polled after it had completed")
        }
        let polled = attempts.race(cx, asked, progress);
        progress.completed = polled.is_ready();
        polled
    }
}

impl<F> Attempts<F> {
    /// Polls those that have begun, and begins others when it is time, until one has answered or all have failed.
    #[inline]
    fn race<A, R>(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        asked: &Asked<A, Hedge, R>,
        progress: &mut Progress,
    ) -> Poll<Result<A::Output, Fault>>
    where
        F: Future<Output = Result<A::Output, A::Error>>,
        A: Source<R, Future = F>,
        R: Clone,
    {
        if progress.made == 0 {
            match progress.begin(asked) {
                Ok(first) => self.as_mut().project().first.set(Some(first)),
                Err(fault) => return Poll::Ready(Err(fault)),
            }
        }
        let mut index = 0;
        loop {
            // Invariant 1: the index never goes back.
            while index < self.len() {
                if let Some(outcome) = self.as_mut().poll(index, cx, asked, progress) {
                    self.end(outcome.is_ok().then_some(index), asked, progress);
                    return Poll::Ready(outcome.map_err(|stop| progress.end(stop)));
                }
                index += 1;
            }
            match progress.next(asked, cx) {
                Some(live) => self.as_mut().project().others.push(Some(Box::pin(live))),
                None if self.is_over() => return Poll::Ready(Err(progress.over(asked))),
                None => return Poll::Pending,
            }
        }
    }
}

impl<F> Attempts<F> {
    fn len(&self) -> usize {
        1 + self.others.len()
    }

    fn is_over(&self) -> bool {
        self.first.is_none() && self.others.iter().all(Option::is_none)
    }

    fn get(self: Pin<&mut Self>, index: usize) -> Option<Pin<&mut Live<F>>> {
        let this = self.project();
        match index.checked_sub(1) {
            None => this.first.as_pin_mut(),
            Some(index) => this.others[index].as_mut().map(Pin::as_mut),
        }
    }

    /// Its destructor may panic, which must not replace the call's answer.
    fn remove(self: Pin<&mut Self>, index: usize) {
        let mut this = self.project();
        unwind::shield("a destructor", || match index.checked_sub(1) {
            None => this.first.set(None),
            Some(index) => this.others[index] = None,
        });
    }

    /// Polls an attempt. `Some` if the call is over: with its answer, or because nothing further can help.
    fn poll<A, R, T>(
        mut self: Pin<&mut Self>,
        index: usize,
        cx: &mut task::Context<'_>,
        asked: &Asked<A, Hedge, R>,
        progress: &mut Progress,
    ) -> Option<Result<T, Stop>>
    where
        A: Source<R, Future = F, Output = T>,
        F: Future<Output = Result<T, A::Error>>,
    {
        let live = self.as_mut().get(index)?.project();
        match live.call.poll(cx) {
            Poll::Pending => {
                live.begun.is_pending(&asked.ctx);
                progress.trail.begin(*live.begun);
                None
            }
            Poll::Ready(Ok(answer)) => {
                note(asked, *live.begun, |took| {
                    format!("succeeded after {took:?}")
                });
                tell(asked, *live.begun, AttemptKind::Succeeded);
                Some(Ok(answer))
            }
            Poll::Ready(Err(fault)) => {
                let stop = progress.failed(asked, *live.begun, fault);
                self.remove(index);
                stop.map(Err)
            }
        }
    }

    /// Invariant 2: ends all attempts but the winner, and releases the winner.
    fn end<A, R>(
        mut self: Pin<&mut Self>,
        winner: Option<usize>,
        asked: &Asked<A, Hedge, R>,
        progress: &mut Progress,
    ) where
        A: Source<R, Future = F>,
    {
        for index in 0..self.len() {
            let Some(live) = self.as_mut().get(index) else {
                continue;
            };
            let live = live.project();
            let canceller = live.canceller.take();
            if winner == Some(index) {
                canceller.into_iter().for_each(Canceller::disarm);
            } else {
                canceller
                    .iter()
                    .for_each(|canceller| canceller.cancel_with(BEATEN));
                note(asked, *live.begun, |took| {
                    format!("cut after {took:?}: {BEATEN}")
                });
                tell(asked, *live.begun, AttemptKind::Cut);
                if winner.is_none() {
                    progress.trail.cut(*live.begun, asked.ctx.now());
                }
            }
        }
        for index in 0..self.len() {
            self.as_mut().remove(index);
        }
    }
}

/// Why a loser's context ended.
const BEATEN: &str = "another attempt has decided the call";

/// The record of an attempt, if the hedge may make several.
fn note<A: Source<R>, R>(
    asked: &Asked<A, Hedge, R>,
    begun: Begun,
    ends: impl FnOnce(Duration) -> String,
) {
    if asked.policy().times > 0 {
        record(asked, begun, ends);
    }
}

/// The observer's event of an attempt, if the hedge may make several.
fn tell<A: Source<R>, R>(asked: &Asked<A, Hedge, R>, begun: Begun, kind: AttemptKind) {
    if asked.policy().times > 0 {
        observe(asked, begun.attempt, kind, None);
    }
}

impl Progress {
    /// Begins an attempt, if the caller's context has not ended.
    fn begin<A, R>(&mut self, asked: &Asked<A, Hedge, R>) -> Result<Live<A::Future>, Fault>
    where
        A: Source<R>,
        R: Clone,
    {
        let (begun, ctx) = self.attempt(asked);
        let (ctx, canceller) = ctx.with_cancel();
        let call = asked.call_again(ctx)?;
        if self.made == 0 {
            asked.pay_in(asked.policy().budget.as_ref());
        }
        self.made += 1;
        tell(asked, begun, AttemptKind::Started);
        Ok(Live {
            call,
            begun,
            canceller: Some(canceller),
        })
    }

    fn attempt<A, R>(&self, asked: &Asked<A, Hedge, R>) -> (Begun, Context)
    where
        A: Source<R>,
    {
        if self.made == 0 {
            let numbers = asked.policy().times > 0;
            let ctx = if numbers {
                asked.first_attempt()
            } else {
                asked.ctx.clone()
            };
            return (Begun::first(), ctx);
        }
        let attempt = Attempt::new(self.made + 1, true);
        let begun = Begun::further(attempt, asked.ctx.now());
        (begun, asked.ctx.with_value(attempt))
    }

    /// The next attempt, if it is time for it.
    fn next<A, R>(
        &mut self,
        asked: &Asked<A, Hedge, R>,
        cx: &mut task::Context<'_>,
    ) -> Option<Live<A::Future>>
    where
        A: Source<R>,
        R: Clone,
    {
        while self.is_due(asked, cx) {
            self.timer = None; // the delay counts from the latest attempt
            let budget = asked.policy().budget.as_ref();
            let token = budget.map(Budget::take);
            if let Some(None) = token {
                self.left -= 1;
                self.refused = true;
                continue;
            }
            let live = self.begin(asked).ok()?; // the caller's context ended just now
            self.left -= 1;
            token.flatten().into_iter().for_each(|token| token.spend());
            return Some(live);
        }
        None
    }

    /// Whether the next attempt is to begin. If not, the task is woken when it is.
    fn is_due<A, R>(&mut self, asked: &Asked<A, Hedge, R>, cx: &mut task::Context<'_>) -> bool
    where
        A: Source<R>,
    {
        if self.left == 0 || asked.ctx.is_done() {
            return false;
        }
        if let Some(owed) = self.owed.checked_sub(1) {
            self.owed = owed;
            return true;
        }
        if self.timer.is_none() {
            self.timer = asked.sleep(asked.policy().after);
        }
        let timer = self.timer.as_mut();
        // A timer that can't fire launches nothing: the attempts under way are as good without it.
        timer.is_some_and(|timer| matches!(Pin::new(timer).poll(cx), Poll::Ready(Ok(()))))
    }

    /// An attempt failed. `Some` if that ends the call.
    #[cold]
    fn failed<A, R>(
        &mut self,
        asked: &Asked<A, Hedge, R>,
        begun: Begun,
        fault: Fault,
    ) -> Option<Stop>
    where
        A: Source<R>,
    {
        note(asked, begun, |took| {
            format!("failed after {took:?}: {fault}")
        });
        if asked.policy().times > 0 {
            observe_failure(asked, begun, &fault);
        }
        let stop = self.judge(asked, &fault);
        if begun.attempt == Attempt::FIRST || matches!(stop, Some(Stop::Advised)) {
            self.primary = fault.end().is_none().then(|| fault.clone());
        }
        self.trail.failed(begun, fault, asked.ctx.now());
        stop
    }

    fn judge<A, R>(&mut self, asked: &Asked<A, Hedge, R>, fault: &Fault) -> Option<Stop>
    where
        A: Source<R>,
    {
        if fault.end().is_some() || asked.ctx.is_done() {
            return Some(Stop::Ended);
        }
        if asked.advice(&asked.policy().when, fault) == Advice::No {
            return Some(Stop::Advised);
        }
        self.owed += 1;
        None
    }

    /// All attempts have failed, and no further one may begin.
    fn over<A, R>(&mut self, asked: &Asked<A, Hedge, R>) -> Fault {
        self.end(match self.refused {
            _ if self.left > 0 && asked.ctx.is_done() => Stop::Ended,
            true => Stop::Budget,
            false => Stop::Exhausted,
        })
    }

    /// The answer of a call that has failed: the fatal error, or the first attempt's.
    fn end(&mut self, stop: Stop) -> Fault {
        let mut trail = std::mem::take(&mut self.trail);
        if let Some(fault) = self.primary.take() {
            trail.prefer(fault);
        }
        trail.end(stop)
    }
}
