//! A lifetime that travels with the call: Go's `context`, on any runtime.
//!
//! [`Context`] and [`Canceller`] are at the crate's top level; here are the types that
//! their methods return.

// | file | owns |
// |---|---|
// | `context.rs` | the public face |
// | `context/canceller.rs`, `done.rs`, `run.rs` | ending it, and waiting for its end |
// | `context/pinned.rs` | waiting for its end inside of a pinned future (unsafe) |
// | `context/shield.rs` | critical sections, and which task is being polled (unsafe) |
// | `context/node.rs`, `kinds.rs` | what can end: one object a context, a group's engine included |
// | `context/end_slot.rs` | whether it has, in one word (unsafe) |
// | `context/links.rs`, `linked.rs` | children, watchers, links (unsafe) |
// | `context/walk.rs` | an end's way through everything that it reaches |
// | `context/orphans.rs`, `let_go.rs` | what a dropped node leaves; dropping without recursion |
// | `context/deadline.rs` | which deadlines can end a node |
// | `context/timer.rs`, `turn.rs` | the timer behind a deadline (unsafe) |
// | `context/spare.rs` | memory for deadlines that come and go with calls (unsafe) |
// | `context/values.rs`, `describe.rs` | values, `Debug` |

mod address;
mod canceller;
mod deadline;
mod describe;
mod done;
mod due;
mod end_slot;
pub(crate) mod grpc;
mod kinds;
mod let_go;
mod linked;
mod links;
#[cfg(all(test, failfast_loom))]
mod models;
mod node;
mod orphans;
mod pinned;
mod run;
pub(crate) mod shield;
mod spare;
mod timer;
mod turn;
mod values;
mod walk;

use crate::attempt::Attempt;
use crate::clock::Clock;
use crate::clock::Instant;
use crate::error::{BoxError, Cause, ContextError, End};
use crate::observe::port::{Observer, ObserverRef, Observing};
use crate::sync::atomic::AtomicUsize;
use std::future::{Future, pending};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub use crate::error::ContextErrorKind;
pub use canceller::Canceller;
pub use done::{Done, OnDone};

pub(crate) use deadline::{ClockRef, NewDeadline};
pub(crate) use node::{Kind, Node, NodeRef};
pub(crate) use pinned::PinnedDone;
pub(crate) use spare::Lease;
pub(crate) use walk::Marked;

use kinds::{Cancelable, Timed};
use run::Run;
use shield::Shield;
use values::Values;

/// How long a call may live, why it ended, and what travels with it.
///
/// The first argument of everything that can take time. A context is cheap to clone (reference counts), and is only ever
/// observed: ending it takes its [`Canceller`], which a callee is not given. Contexts form trees: a child ends when its
/// parent does, with the parent's [`cause`](Self::cause), and can't end it.
///
/// ```text
/// request        ├──────────────────────────────────────────┤ deadline 1 s
///  ├─ group      ├───────────────┤ profile fails: the cause
///  │   ├─ profile├───────────────┤
///  │   └─ orders ├───────────────┤ context canceled: profile: …
///  └─ audit log  ├──────────────────────────────────────────┤
/// ```
///
/// # Semantics
///
/// * A context ends once, by the first of: its own end, its deadline, an ancestor's end. [`err`](Self::err),
///   [`cause`](Self::cause) and [`is_done`](Self::is_done) are one fact, which changes once, for ever.
/// * Each context is done before its waiters are woken.
/// * When the cancel that ended a context returns, every descendant is done, and every waiter has been woken, except
///   those whose waking another cancel, which is still running, has taken over. A cancel of a context that is already
///   done, or one called from inside a waker, returns at once, and promises only that this context is done.
/// * A deadline that passed before a cancel came is what ended the context, even if no timer had fired yet. Looking is
///   enough.
/// * A context without waiters costs no timer, no task and no thread.
///
/// # Examples
///
/// ```
/// use failfast::Context;
/// use std::time::Duration;
///
/// # smol::block_on(async {
/// let (request, canceller) = Context::background().with_cancel();
/// let call = request.with_timeout(Duration::from_secs(1));
///
/// canceller.cancel_with("client went away");
/// call.done().await;
/// assert_eq!(call.err().unwrap().to_string(), "context canceled: client went away");
/// # });
/// ```
#[derive(Clone, Default)]
pub struct Context {
    node: Option<NodeRef>,
    values: Values,
}

/// Making contexts.
impl Context {
    /// The root of all contexts: never ends, carries nothing, costs nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!failfast::Context::background().is_done());
    /// ```
    #[must_use]
    pub const fn background() -> Self {
        Self {
            node: None,
            values: None,
        }
    }

    /// A child that ends when its [`Canceller`] cancels it, or when the last clone of that is dropped, or when this
    /// context ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    ///
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// canceller.cancel();
    /// assert!(ctx.is_done());
    /// ```
    #[track_caller]
    #[must_use = "dropping the canceller cancels the context at once"]
    pub fn with_cancel(&self) -> (Self, Canceller) {
        let kind = Cancelable {
            armed: AtomicUsize::new(1),
        };
        let node = Node::new(self, || kind, None, Location::caller());
        (Self::of(node.clone(), self), Canceller::new(node))
    }

    /// A child that ends `timeout` from now, by this context's clock, or when this context ends.
    ///
    /// A timeout beyond what an [`Instant`] can hold is none. If the clock panics, the child is born done, with kind
    /// `Canceled`, and its text names that.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// # use std::time::Duration;
    /// let ctx = Context::background().with_timeout(Duration::ZERO);
    /// assert_eq!(ctx.err().unwrap().to_string(), "context deadline exceeded");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        self.timed(NewDeadline::after(self, timeout, None::<BoxError>))
    }

    /// A child that ends at `deadline`, by this context's clock, or when this context ends. A deadline that has passed
    /// ends it at once: it is born done.
    ///
    /// The effective deadline is the earliest of its own and all ancestors'.
    ///
    /// Equivalent to: Go's `context.WithDeadline`, without the function that cancels: see
    /// [`with_cancel`](Self::with_cancel) for that.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, clock::ManualClock};
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let root = Context::background().with_clock(clock.clone());
    /// let ctx = root.with_deadline(clock.now() + Duration::from_secs(1));
    /// assert!(!ctx.is_done());
    /// clock.advance(Duration::from_secs(1));
    /// assert!(ctx.is_done());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        self.timed(Some(NewDeadline::at(self, deadline, None::<BoxError>)))
    }

    /// [`with_timeout`](Self::with_timeout) with a cause, which shows if this deadline is what ends it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// # use std::time::Duration;
    /// let ctx = Context::background().with_timeout_cause(Duration::ZERO, "the page's budget of 1 s");
    /// assert!(ctx.err().unwrap().is_deadline_exceeded());
    /// assert_eq!(ctx.cause().unwrap().to_string(), "the page's budget of 1 s");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_timeout_cause(&self, timeout: Duration, cause: impl Into<BoxError>) -> Self {
        self.timed(NewDeadline::after(self, timeout, Some(cause)))
    }

    /// [`with_deadline`](Self::with_deadline) with a cause, which shows if this deadline is what ends it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, clock::ManualClock};
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let root = Context::background().with_clock(clock.clone());
    /// let ctx = root.with_deadline_cause(clock.now(), "the page's budget");
    /// assert_eq!(ctx.cause().unwrap().to_string(), "the page's budget");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_deadline_cause(&self, deadline: Instant, cause: impl Into<BoxError>) -> Self {
        self.timed(Some(NewDeadline::at(self, deadline, Some(cause))))
    }

    /// This context with a value. A value is found by its type; the nearest wins.
    ///
    /// For what belongs to a request and crosses every layer (an id, a user, a trace), not for parameters.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// #[derive(Debug, PartialEq)]
    /// struct RequestId(u64);
    ///
    /// let ctx = Context::background().with_value(RequestId(7));
    /// assert_eq!(ctx.value(), Some(&RequestId(7)));
    /// assert_eq!(ctx.value::<String>(), None);
    /// ```
    #[must_use]
    pub fn with_value<T: Send + Sync + 'static>(&self, value: T) -> Self {
        Self {
            node: self.node.clone(),
            values: values::with(&self.values, self.depth() + 1, value),
        }
    }

    /// This context's values and clock without its lifetime: for what must go on after the request.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (request, canceller) = Context::background().with_value(7).with_cancel();
    /// let audit = request.without_cancel();
    /// canceller.cancel();
    /// assert!(!audit.is_done());
    /// assert_eq!(audit.value(), Some(&7));
    /// ```
    #[must_use]
    pub fn without_cancel(&self) -> Self {
        Self {
            node: None,
            values: values::without_cancel(&self.values, self.depth() + 1),
        }
    }

    /// This context with another clock: everything below goes by it. Deadlines that were set above keep theirs.
    ///
    /// A clock that panics, stands still or runs backwards ends what waits on it with an error (kind `Canceled`, and a
    /// cause that names the panic), and nothing else.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, clock::ManualClock};
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let ctx = Context::background().with_clock(clock.clone()).with_timeout(Duration::from_secs(3600));
    /// clock.advance(Duration::from_secs(3600));
    /// assert!(ctx.is_done());
    /// ```
    #[must_use]
    pub fn with_clock(&self, clock: impl Clock + 'static) -> Self {
        let clock = ClockRef::new(Arc::new(clock));
        Self {
            node: self.node.clone(),
            values: values::with_clock(&self.values, self.depth() + 1, clock),
        }
    }

    /// This context with an observer, which receives the events of all groups below: see [`Observer`].
    ///
    /// It travels down like the clock, and the nearest wins. A group looks for it once, when it is made. Groups without
    /// one pay a branch for each poll, and read no clock for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::observe::Recorder;
    /// use failfast::{Context, InPlaceGroup};
    ///
    /// let recorder = Recorder::new();
    /// let group = InPlaceGroup::new(&Context::background().with_observer(recorder.clone()));
    /// group.spawn_named("orders", async { Ok::<_, &str>(5) });
    /// futures::executor::block_on(group.wait()).unwrap();
    /// println!("{}", recorder.timeline());
    /// # assert!(recorder.timeline().to_string().contains("orders"));
    /// ```
    #[must_use]
    pub fn with_observer(&self, observer: impl Observer + 'static) -> Self {
        let group = self.observer().and_then(|observing| observing.group);
        let observing = Some(Arc::new(Observing::new(observer, group)));
        Self {
            node: self.node.clone(),
            values: values::with_observer(&self.values, self.depth() + 1, observing),
        }
    }

    /// A context that ends when the first of several ends, with that one's cause, and has the values of all (the first
    /// that has one wins). Linked to none, it never ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (request, _request) = Context::background().with_cancel();
    /// let (server, shutdown) = Context::background().with_cancel();
    /// let both = Context::linked([request.clone(), server]);
    ///
    /// shutdown.cancel_with("shutting down");
    /// assert_eq!(both.cause().unwrap().to_string(), "shutting down");
    /// assert!(!request.is_done());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn linked(contexts: impl IntoIterator<Item = Context>) -> Self {
        let origin = Location::caller();
        let contexts: Vec<Context> = contexts.into_iter().collect();
        let deepest = contexts.iter().map(Context::depth).max();
        let depth = deepest.map_or(1, |depth| depth + 1);
        let (nodes, values): (Vec<_>, Vec<_>) = contexts
            .into_iter()
            .map(|ctx| (ctx.node, ctx.values))
            .unzip();
        let nodes: Vec<_> = nodes.into_iter().flatten().collect();
        Self {
            node: (!nodes.is_empty()).then(|| linked::link(nodes, depth, origin)),
            values: values::merged(values, depth),
        }
    }
}

/// Looking.
impl Context {
    /// Whether it has ended.
    ///
    /// A load; with a deadline that has not been noticed to have passed, a reading of the clock as well.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// assert!(!ctx.is_done());
    /// canceller.cancel();
    /// assert!(ctx.is_done());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.is_done())
    }

    /// An error once it has ended: for `ctx.check()?` in the midst of work that waits for nothing.
    ///
    /// Costs what [`is_done`](Self::is_done) costs, and allocates nothing.
    ///
    /// # Errors
    ///
    /// Which way it ended, and why.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Context, ContextError};
    ///
    /// fn sum(ctx: &Context, numbers: &[u64]) -> Result<u64, ContextError> {
    ///     let mut sum = 0;
    ///     for chunk in numbers.chunks(1_000) {
    ///         ctx.check()?;
    ///         sum += chunk.iter().sum::<u64>();
    ///     }
    ///     Ok(sum)
    /// }
    ///
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// assert_eq!(sum(&ctx, &[1, 2]), Ok(3));
    /// canceller.cancel_with("client went away");
    /// assert_eq!(sum(&ctx, &[1, 2]).unwrap_err().to_string(), "context canceled: client went away");
    /// ```
    #[inline]
    pub fn check(&self) -> Result<(), ContextError> {
        match self.err() {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Which way it ended, and why; `None` while it lives.
    ///
    /// Equivalent to: Go's `ctx.Err()`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// assert_eq!(ctx.err(), None);
    /// canceller.cancel();
    /// assert!(ctx.err().unwrap().is_canceled());
    /// ```
    #[inline]
    #[must_use]
    pub fn err(&self) -> Option<ContextError> {
        let node = self.node.as_ref()?;
        node.is_done().then(|| node.end())?.map(|end| end.error())
    }

    /// Why it ended; `None` while it lives. The first cause there was, never one of its consequences.
    ///
    /// Equivalent to: Go's `context.Cause`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// assert!(ctx.cause().is_none());
    /// canceller.cancel_with("client went away");
    /// canceller.cancel_with("too late");
    /// assert_eq!(ctx.cause().unwrap().to_string(), "client went away");
    /// ```
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        Some(self.node.as_ref()?.end_by_clock()?.cause())
    }

    /// When it will end at the latest: the earliest deadline of its own and all ancestors'.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, clock::ManualClock};
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let root = Context::background().with_clock(clock.clone());
    /// assert_eq!(root.deadline(), None);
    /// let ctx = root.with_timeout(Duration::from_secs(1)).with_timeout(Duration::from_secs(60));
    /// assert_eq!(ctx.deadline(), Some(clock.now() + Duration::from_secs(1)));
    /// ```
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.node.as_ref()?.deadline()
    }

    /// How much time is left until the [`deadline`](Self::deadline), by this context's clock; zero once it is done, for
    /// whatever reason. `None` if there is no deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, clock::ManualClock};
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let root = Context::background().with_clock(clock.clone());
    /// let (ctx, canceller) = root.with_timeout(Duration::from_secs(5)).with_cancel();
    /// clock.advance(Duration::from_secs(2));
    /// assert_eq!(ctx.remaining(), Some(Duration::from_secs(3)));
    /// canceller.cancel();
    /// assert_eq!(ctx.remaining(), Some(Duration::ZERO));
    /// assert_eq!(root.remaining(), None);
    /// ```
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline()?;
        match self.is_done() {
            true => Some(Duration::ZERO),
            false => Some(deadline.saturating_duration_since(self.now())),
        }
    }

    /// The time, by this context's clock. If that panics, the system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, clock::ManualClock};
    /// let clock = ManualClock::new();
    /// let ctx = Context::background().with_clock(clock.clone());
    /// assert_eq!(ctx.now(), clock.now());
    /// ```
    #[must_use]
    pub fn now(&self) -> Instant {
        values::with_clock_of(&self.values, ClockRef::now)
    }

    /// Which attempt of a policy this call is. Outside of a policy it is number 1.
    ///
    /// # Examples
    ///
    /// ```
    /// let attempt = failfast::Context::background().attempt();
    /// assert_eq!(attempt.number(), 1);
    /// ```
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        self.value().copied().unwrap_or(Attempt::FIRST)
    }

    /// The nearest value of type `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let ctx = Context::background().with_value("outer").with_value("inner");
    /// assert_eq!(ctx.value::<&str>(), Some(&"inner"));
    /// assert_eq!(ctx.value::<u64>(), None);
    /// ```
    #[must_use]
    pub fn value<T: 'static>(&self) -> Option<&T> {
        values::find(&self.values)
    }
}

/// Waiting.
impl Context {
    /// Completes when the context ends. Any number may wait.
    ///
    /// Equivalent to: receiving from Go's `ctx.Done()`.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves nothing behind; polling again gives the same answer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// # smol::block_on(async {
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// let waiter = smol::spawn(ctx.done());
    /// canceller.cancel();
    /// waiter.await;
    /// # });
    /// ```
    pub fn done(&self) -> Done {
        Done::new(self.node.clone())
    }

    /// Runs `future` for as long as the context lives: it is dropped, where it stands, when the context ends. If the
    /// context has ended already, it is never polled.
    ///
    /// # Cancel safety
    ///
    /// As safe as `future` is.
    ///
    /// # Panics
    ///
    /// Only if `future` does.
    ///
    /// # Errors
    ///
    /// Which way the context ended, if that came first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let ctx = Context::background().with_timeout(Duration::from_millis(1));
    /// assert_eq!(ctx.run(async { 5 }).await, Ok(5));
    /// let late = ctx.run(std::future::pending::<()>()).await.unwrap_err();
    /// assert!(late.is_deadline_exceeded());
    /// # });
    /// ```
    #[must_use = "a future does nothing until it is awaited"]
    pub fn run<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = Result<F::Output, ContextError>> + use<F> {
        Run::new(self.node.clone(), future)
    }

    /// [`run`](Self::run) for a future that can fail by itself: one error for both, so one `?`.
    ///
    /// # Cancel safety
    ///
    /// As safe as `future` is.
    ///
    /// # Panics
    ///
    /// Only if `future` does.
    ///
    /// # Errors
    ///
    /// The future's, or a [`ContextError`] if the context ended first.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{BoxError, Context, ContextError};
    ///
    /// # smol::block_on(async {
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// let number = ctx.try_run(async { "5".parse::<u8>() }).await.unwrap();
    /// assert_eq!(number, 5);
    /// canceller.cancel();
    /// let error = ctx.try_run(async { "6".parse::<u8>() }).await.unwrap_err();
    /// assert!(error.is::<ContextError>());
    /// # });
    /// ```
    #[must_use = "a future does nothing until it is awaited"]
    pub fn try_run<F, T, E>(
        &self,
        future: F,
    ) -> impl Future<Output = Result<T, BoxError>> + use<F, T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        let run = self.run(future);
        async move { run.await?.map_err(Into::into) }
    }

    /// Waits for `duration`, by this context's clock, counted from this call; less if the context ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping it disarms its timer.
    ///
    /// # Errors
    ///
    /// Which way the context ended, if that came first. Kind `Canceled` also if the clock can't keep time any more: a
    /// broken timer ends what waits for it, it never hangs.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, clock::ManualClock};
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let clock = ManualClock::new();
    /// let root = Context::background().with_clock(clock.clone());
    /// let sleep = smol::spawn(root.sleep(Duration::from_secs(1)));
    /// clock.advance(Duration::from_secs(1)); // counted from the call, polled or not
    /// assert_eq!(sleep.await, Ok(()));
    ///
    /// let ended = root.with_timeout(Duration::ZERO);
    /// assert!(ended.sleep(Duration::from_secs(1)).await.is_err());
    /// # });
    /// ```
    #[track_caller]
    #[must_use = "a future does nothing until it is awaited"]
    pub fn sleep(
        &self,
        duration: Duration,
    ) -> impl Future<Output = Result<(), ContextError>> + use<> {
        let origin = Location::caller();
        let sleep = self.clock().sleep_for(duration);
        let slept = self.run(async move {
            match sleep {
                Ok(Some(sleep)) => sleep.await.map_err(BoxError::from),
                Ok(None) => pending().await, // longer than an `Instant` can hold
                Err(broken) => Err(broken),
            }
        });
        async move {
            let slept = slept.await?;
            slept.map_err(|broken| End::timer_failed(broken, origin).error())
        }
    }

    /// A critical section: while `future` runs, the task that polls it is not dropped by its group's cancellation. The
    /// task is canceled when `future` is through.
    ///
    /// **Only a *group's* cancellation respects it.** [`run`](Self::run), `select!`, a policy's timeout, a hedge that
    /// lost, and dropping a group whose tasks run in place cut it, because they drop the future itself.
    ///
    /// For the commit of a transaction, not for work: the wait for the group waits for it, too, at most
    /// [`with_straggler_limit`](crate::Group::with_straggler_limit).
    ///
    /// # Semantics
    ///
    /// * A shield belongs to the task that polls it, not to this context: to a group's task, to the body of
    ///   [`Group::run`](crate::Group::run), and, where groups are polled in place, to every task up to the executor's.
    ///   It moves when another task polls it. Outside of all of these it does nothing.
    /// * It counts from its first poll that is pending until it is ready or dropped.
    /// * One that is first polled in the task's last poll, after the end, still holds the task. A later one does not,
    ///   so a loop of shields ends.
    /// * The grace period does not cut it, nor does [`Fork::cancel`](crate::Fork::cancel), nor dropping a group on an
    ///   executor: it runs on to its end.
    ///
    /// # Cancel safety
    ///
    /// As safe as `future` is. Dropping it gives the task up to cancellation.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// # async fn commit() -> u32 { 3 }
    /// # smol::block_on(async {
    /// let ctx = Context::background();
    /// assert_eq!(ctx.shield(async { commit().await }).await, 3);
    /// # });
    /// ```
    #[must_use = "a future does nothing until it is awaited"]
    pub fn shield<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        Shield::new(future)
    }

    /// Has `callback` called once when the context ends: on the thread that ends it, or at once by the caller if it has
    /// ended already.
    ///
    /// A callback that panics harms neither the others nor the code that ends the context; the panic is logged.
    ///
    /// Equivalent to: Go's `context.AfterFunc`, but that the callback runs on the thread that ends the context, after
    /// every waiter has been woken: keep it short.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// drop(ctx.on_done(move || sender.send("released").unwrap()));
    /// canceller.cancel();
    /// assert_eq!(receiver.recv(), Ok("released"));
    /// ```
    pub fn on_done(&self, callback: impl FnOnce() + Send + 'static) -> OnDone {
        OnDone::new(self.node.clone(), Box::new(callback))
    }
}

impl Context {
    /// A child with a deadline. Without one it is a child all the same, so that it shows where it was made.
    #[track_caller]
    fn timed(&self, deadline: Option<NewDeadline>) -> Self {
        Self::of(
            Node::new(self, || Timed, deadline, Location::caller()),
            self,
        )
    }

    /// The context of a node that was made below `parent`.
    pub(crate) fn of(node: NodeRef, parent: &Context) -> Self {
        Self {
            node: Some(node),
            values: parent.values.clone(),
        }
    }

    /// [`done`](Self::done), for a future that is pinned.
    pub(crate) fn pinned_done(&self) -> PinnedDone {
        PinnedDone::new(self.node.clone())
    }

    pub(crate) fn node(&self) -> Option<&NodeRef> {
        self.node.as_ref()
    }

    /// A context that never ends, and goes by a clock.
    pub(crate) fn by_clock(clock: &ClockRef) -> Self {
        let custom = !clock.is_system();
        Self {
            node: None,
            values: custom
                .then(|| values::with_clock(&None, 1, clock.clone()))
                .flatten(),
        }
    }

    pub(crate) fn clock(&self) -> ClockRef {
        values::clock(&self.values)
    }

    pub(crate) fn observer(&self) -> ObserverRef {
        values::observer(&self.values)
    }

    /// The context of a group that is observed: what is made below it is reported as the group's.
    pub(crate) fn in_observed_group(self, observer: ObserverRef) -> Self {
        let values = values::in_observed_group(&self.values, self.depth() + 1, observer);
        Self { values, ..self }
    }

    fn depth(&self) -> u32 {
        let node = self.node.as_ref().map_or(0, |node| node.base().depth);
        let value = self.values.as_ref().map_or(0, |value| value.depth);
        node.max(value)
    }
}
