//! A lifetime that travels with the call: Go's `context`, on any runtime.

mod describe;
mod done;
mod grpc;
mod life;
mod timer;
mod tree;
mod values;

use crate::clock::Clock;
use crate::error::{BoxError, Cause, ContextError};
use std::future::Future;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use done::Run;
pub use done::{Done, OnDone};
pub use grpc::{GrpcTimeoutError, from_grpc_timeout, to_grpc_timeout};
pub(crate) use life::{End, Hook, Life, Released};
use life::{Layer, Plan};
pub(crate) use timer::ClockRef;
use timer::Deadline;
use values::Values;

/// How long a call may live, why it ended, and what travels with it.
///
/// The first argument of everything that can take time. A context is cheap to clone (a reference count),
/// and only ever observed: ending it takes the [`Canceller`], which a callee is not given. Contexts form
/// trees: a child ends when its parent does, with the parent's [`cause`](Self::cause), and can't end it.
///
/// ```text
/// request        ├──────────────────────────────────────────┤ deadline 1 s
///  ├─ group      ├───────────────┤ profile fails: the cause
///  │   ├─ profile├───────────────┤
///  │   └─ orders ├───────────────┤ context canceled
///  └─ audit log  ├──────────────────────────────────────────┤
/// ```
///
/// # Semantics
///
/// * A context ends once, by the first of: its own end, its deadline, an ancestor's end. [`err`](Self::err),
///   [`cause`](Self::cause) and [`is_done`](Self::is_done) change together, for ever, and for all
///   descendants at the same instant.
/// * A deadline that is past ends the context at once, even if its timer is late: asking is enough.
/// * A context that nobody waits for costs no timer, no task and no thread.
///
/// # Examples
///
/// ```
/// use failfast::{Context, ContextError};
/// use std::time::Duration;
///
/// # smol::block_on(async {
/// let (request, canceller) = Context::background().with_cancel();
/// let call = request.with_timeout(Duration::from_secs(1));
///
/// canceller.cancel_with("client went away");
/// call.done().await;
/// assert_eq!(call.err(), Some(ContextError::Canceled));
/// assert_eq!(call.cause().unwrap().to_string(), "client went away");
/// # });
/// ```
#[derive(Clone, Default)]
pub struct Context {
    life: Option<Arc<Life>>,
    values: Values,
}

/// The right to end a context. Ends it when dropped, unless [disarmed](Self::disarm).
///
/// # Examples
///
/// ```
/// use failfast::Context;
///
/// let (ctx, canceller) = Context::background().with_cancel();
/// drop(canceller);
/// assert!(ctx.is_done());
/// ```
#[derive(Debug)]
#[must_use = "dropping the canceller cancels its context at once"]
pub struct Canceller {
    ctx: Context,
    armed: bool,
}

impl Context {
    /// The root of all contexts: never ends, carries nothing, costs nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!failfast::Context::background().is_done());
    /// ```
    pub const fn background() -> Self {
        Self {
            life: None,
            values: None,
        }
    }

    /// A child that ends when its [`Canceller`] says so or is dropped, or when this context ends.
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
    pub fn with_cancel(&self) -> (Self, Canceller) {
        let ctx = self.child(Layer::Cancel, None, false, None, Location::caller());
        (ctx.clone(), Canceller { ctx, armed: true })
    }

    /// A child that ends `timeout` from now, by this context's clock, or when this context ends.
    ///
    /// A timeout too long for an [`Instant`] to tell is none.
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
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        self.with_limit(self.clock().after(timeout), timeout.is_zero(), None)
    }

    /// A child that ends at `deadline`, by this context's clock, or when this context ends. A deadline that
    /// is past ends it at once: it is born done.
    ///
    /// The effective deadline is the earliest of its own and all ancestors'.
    ///
    /// Equivalent to: Go's `context.WithDeadline`, without the function that cancels: see
    /// [`with_cancel`](Self::with_cancel) for that.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, ManualClock};
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let root = Context::background().with_clock(clock.clone());
    /// let ctx = root.with_deadline(clock.now() + Duration::from_secs(1));
    /// assert!(!ctx.is_done());
    /// clock.advance(Duration::from_secs(1));
    /// assert!(ctx.is_done());
    /// ```
    #[track_caller]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        self.with_limit(Some(deadline), self.clock().is_past(deadline), None)
    }

    /// [`with_timeout`](Self::with_timeout) with a cause, which shows if this deadline is what ends it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, ContextError};
    /// # use std::time::Duration;
    /// let ctx = Context::background().with_timeout_cause(Duration::ZERO, "the page's budget of 1 s");
    /// assert_eq!(ctx.err(), Some(ContextError::DeadlineExceeded));
    /// assert_eq!(ctx.cause().unwrap().to_string(), "the page's budget of 1 s");
    /// ```
    #[track_caller]
    pub fn with_timeout_cause(&self, timeout: Duration, cause: impl Into<BoxError>) -> Self {
        self.with_limit(
            self.clock().after(timeout),
            timeout.is_zero(),
            Some(cause.into()),
        )
    }

    /// [`with_deadline`](Self::with_deadline) with a cause, which shows if this deadline is what ends it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, ManualClock};
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let root = Context::background().with_clock(clock.clone());
    /// let ctx = root.with_deadline_cause(clock.now(), "the page's budget");
    /// assert_eq!(ctx.cause().unwrap().to_string(), "the page's budget");
    /// ```
    #[track_caller]
    pub fn with_deadline_cause(&self, deadline: Instant, cause: impl Into<BoxError>) -> Self {
        self.with_limit(
            Some(deadline),
            self.clock().is_past(deadline),
            Some(cause.into()),
        )
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
    pub fn with_value<T: Send + Sync + 'static>(&self, value: T) -> Self {
        Self {
            life: self.life.clone(),
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
    pub fn without_cancel(&self) -> Self {
        Self {
            life: None,
            values: values::without_cancel(&self.values, self.depth() + 1),
        }
    }

    /// This context with another clock: everything below tells time by it. Deadlines that were set above
    /// keep theirs.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, ManualClock};
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let ctx = Context::background().with_clock(clock.clone()).with_timeout(Duration::from_secs(3600));
    /// clock.advance(Duration::from_secs(3600));
    /// assert!(ctx.is_done());
    /// ```
    pub fn with_clock(&self, clock: impl Clock + 'static) -> Self {
        let clock = ClockRef::new(Arc::new(clock));
        Self {
            life: self.life.clone(),
            values: values::with_clock(&self.values, self.depth() + 1, clock),
        }
    }

    /// A context that ends when the first of several ends, with that one's cause, and has the values of all
    /// (the first that has one wins). Linked to none, it never ends.
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
    pub fn linked(contexts: impl IntoIterator<Item = Context>) -> Self {
        let origin = Location::caller();
        let contexts: Vec<Context> = contexts.into_iter().collect();
        let depth = contexts
            .iter()
            .map(Context::depth)
            .max()
            .map_or(1, |depth| depth + 1);
        let lives: Vec<_> = contexts.iter().filter_map(|ctx| ctx.life.clone()).collect();
        let values = contexts.into_iter().map(|ctx| ctx.values).collect();
        Self {
            life: (!lives.is_empty()).then(|| Life::linked(&lives, depth, origin)),
            values: values::merged(values, depth),
        }
    }

    /// Whether it has ended. True means that every waiter has been released: whoever polls from now on
    /// finds it done.
    ///
    /// An atomic load; with a deadline that is still open, one reading of the clock as well.
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
    pub fn is_done(&self) -> bool {
        self.life.as_ref().is_some_and(Life::is_done)
    }

    /// Which way it ended; `None` while it lives.
    ///
    /// Equivalent to: Go's `ctx.Err()`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, ContextError};
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// assert_eq!(ctx.err(), None);
    /// canceller.cancel();
    /// assert_eq!(ctx.err(), Some(ContextError::Canceled));
    /// ```
    #[inline]
    pub fn err(&self) -> Option<ContextError> {
        Some(self.end_state()?.error)
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
    #[inline]
    pub fn cause(&self) -> Option<Cause> {
        Some(self.end_state()?.cause)
    }

    /// When it will end at the latest: the earliest deadline of its own and all ancestors'.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, ManualClock};
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let root = Context::background().with_clock(clock.clone());
    /// assert_eq!(root.deadline(), None);
    /// let ctx = root.with_timeout(Duration::from_secs(1)).with_timeout(Duration::from_secs(60));
    /// assert_eq!(ctx.deadline(), Some(clock.now() + Duration::from_secs(1)));
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        self.life.as_ref()?.timers.earliest()
    }

    /// How much time is left until the [`deadline`](Self::deadline), by this context's clock; zero once it
    /// is past. `None` if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, ManualClock};
    /// # use std::time::Duration;
    /// let clock = ManualClock::new();
    /// let root = Context::background().with_clock(clock.clone());
    /// let ctx = root.with_timeout(Duration::from_secs(5));
    /// clock.advance(Duration::from_secs(2));
    /// assert_eq!(ctx.remaining(), Some(Duration::from_secs(3)));
    /// assert_eq!(root.remaining(), None);
    /// ```
    pub fn remaining(&self) -> Option<Duration> {
        Some(
            self.deadline()?
                .saturating_duration_since(self.clock().now()),
        )
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
    pub fn value<T: 'static>(&self) -> Option<&T> {
        values::find(&self.values)
    }

    /// Completes when the context ends. Any number may wait.
    ///
    /// Equivalent to: receiving from Go's `ctx.Done()`.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves nothing behind; asking again gives the same answer.
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
        Done::new(self.life.clone())
    }

    /// Runs `future` for as long as the context lives: it is dropped, where it stands, when the context
    /// ends. If the context has ended already, it is never polled.
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
    /// # use failfast::{Context, ContextError};
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let ctx = Context::background().with_timeout(Duration::from_millis(1));
    /// assert_eq!(ctx.run(async { 5 }).await, Ok(5));
    /// assert_eq!(ctx.run(std::future::pending::<()>()).await, Err(ContextError::DeadlineExceeded));
    /// # });
    /// ```
    pub fn run<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = Result<F::Output, ContextError>> + use<F> {
        Run::new(self.clone(), future)
    }

    /// Waits for `duration`, by this context's clock, counted from this call; less if the context ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping it disarms its timer.
    ///
    /// # Errors
    ///
    /// Which way the context ended, if that came first. [`ContextError::Canceled`] also if the clock can't
    /// keep time any more (it is logged): a broken timer ends what waits for it, it never hangs.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, ContextError, ManualClock};
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let clock = ManualClock::new();
    /// let root = Context::background().with_clock(clock.clone());
    /// let sleep = smol::spawn(root.sleep(Duration::from_secs(1)));
    /// clock.advance(Duration::from_secs(1)); // counted from the call, polled or not
    /// assert_eq!(sleep.await, Ok(()));
    ///
    /// let ended = root.with_timeout(Duration::ZERO);
    /// assert_eq!(ended.sleep(Duration::from_secs(1)).await, Err(ContextError::DeadlineExceeded));
    /// # });
    /// ```
    pub fn sleep(
        &self,
        duration: Duration,
    ) -> impl Future<Output = Result<(), ContextError>> + use<> {
        let clock = self.clock();
        let sleep = clock
            .after(duration)
            .map(|deadline| clock.sleep_until(deadline));
        let slept = self.run(async move {
            match sleep {
                Some(sleep) => sleep.await,
                None => std::future::pending().await, // longer than an `Instant` can tell
            }
        });
        async move {
            slept.await?.map_err(|broken| {
                log::error!("a sleep ends early, as canceled: {broken}");
                ContextError::Canceled
            })
        }
    }

    /// Has `callback` called once when the context ends: by whoever ends it, or at once by the caller if it
    /// has ended already.
    ///
    /// A callback that panics harms neither the others nor whoever ends the context; the panic is logged.
    ///
    /// Equivalent to: Go's `context.AfterFunc`, but that the callback runs on the thread that ends the
    /// context, after every waiter has been released: keep it short.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// ctx.on_done(move || sender.send("released").unwrap());
    /// canceller.cancel();
    /// assert_eq!(receiver.recv(), Ok("released"));
    /// ```
    pub fn on_done(&self, callback: impl FnOnce() + Send + 'static) -> OnDone {
        OnDone::new(self.life.clone(), Box::new(callback))
    }
}

impl Context {
    /// A child with a deadline, which is past already if `past`.
    #[track_caller]
    fn with_limit(&self, at: Option<Instant>, past: bool, cause: Option<BoxError>) -> Self {
        let deadline = at.map(|at| Deadline {
            at,
            clock: self.clock(),
            cause: cause.map(Arc::from),
        });
        self.child(Layer::Deadline, deadline, past, None, Location::caller())
    }

    /// A child for a group, which hears of its end. It becomes one with [`join_parent`](Self::join_parent).
    pub(crate) fn group(
        &self,
        timeout: Option<Duration>,
        hook: Weak<dyn Hook>,
        origin: &'static Location<'static>,
    ) -> Self {
        let deadline = timeout.and_then(|timeout| {
            let clock = self.clock();
            Some(Deadline {
                at: clock.after(timeout)?,
                clock,
                cause: None,
            })
        });
        self.child(Layer::Group, deadline, false, Some(hook), origin)
    }

    /// Makes a group's context a child. `past`: whether its own deadline is. False if the parent has ended,
    /// and so has this, without its group's having heard.
    pub(crate) fn join_parent(&self, past: bool) -> bool {
        let Some(life) = &self.life else { return true };
        let joined = life.join_parent();
        if past {
            life.expire();
        }
        joined
    }

    fn child(
        &self,
        layer: Layer,
        deadline: Option<Deadline>,
        past: bool,
        hook: Option<Weak<dyn Hook>>,
        origin: &'static Location<'static>,
    ) -> Self {
        let (parent, depth) = (self.life.as_ref(), self.depth() + 1);
        let life = Life::new(Plan {
            parent,
            layer,
            deadline,
            past,
            hook,
            depth,
            origin,
        });
        Self {
            life: Some(life),
            values: self.values.clone(),
        }
    }

    pub(crate) fn life(&self) -> Option<&Arc<Life>> {
        self.life.as_ref()
    }

    pub(crate) fn end_state(&self) -> Option<End> {
        self.life.as_ref()?.end_state()
    }

    pub(crate) fn clock(&self) -> ClockRef {
        values::clock(&self.values)
    }

    fn depth(&self) -> u32 {
        let life = self.life.as_ref().map_or(0, |life| life.depth);
        self.values
            .as_ref()
            .map_or(life, |value| value.depth.max(life))
    }
}

impl Canceller {
    /// Ends the context, and all below it, with [`ContextError::Canceled`]. Only the first end counts.
    ///
    /// When it returns, they are all done and every waiter has been woken.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// let (below, _below) = ctx.with_cancel();
    /// canceller.cancel();
    /// assert!(ctx.is_done());
    /// assert!(below.is_done());
    /// ```
    pub fn cancel(&self) {
        if let Some(life) = self.ctx.life() {
            life.end(End::canceled(life.origin));
        }
    }

    /// [`cancel`](Self::cancel) with a cause, which [`Context::cause`] then tells.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, ContextError};
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// canceller.cancel_with(std::io::Error::other("disk full"));
    /// assert_eq!(ctx.err(), Some(ContextError::Canceled));
    /// assert_eq!(ctx.cause().unwrap().to_string(), "disk full");
    /// ```
    pub fn cancel_with(&self, cause: impl Into<BoxError>) {
        if let Some(life) = self.ctx.life() {
            life.end(End::canceled_by(Cause::given(
                Arc::from(cause.into()),
                life.origin,
            )));
        }
    }

    /// Gives the right up: the context then ends by its deadline or an ancestor only.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// canceller.disarm();
    /// assert!(!ctx.is_done());
    /// ```
    pub fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Canceller {
    fn drop(&mut self) {
        if self.armed {
            self.cancel();
        }
    }
}
