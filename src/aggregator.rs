//! The main job: several sources asked at once, under one deadline; all answers or the first failure.

mod combine;
mod host;
mod options;
mod report;
mod sources;

use crate::context::Context;
use crate::error::{Error, Name};
use crate::group::{Core, Front};
use crate::source::Source;
use crate::spawn::{Flavour, LocalTask, Spawn, Task};
use futures::future::{Either, select};
use log::Log;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

pub use combine::{AsIs, Combine, Combined, Displayed, Joined};
pub use host::{Host, InCaller, OnExecutor};
pub use options::LogFields;
use options::Options;
use report::Report;
pub use sources::{Append, Many, Named, Sources};

/// Asks several sources at once: all answers, or the first failure, within one deadline.
///
/// See [`TaskAggregator`] for everything it does.
///
/// # Examples
///
/// ```
/// use failfast::{Aggregator, Context};
/// use std::time::Duration;
///
/// async fn fetch_profile(_: Context, _: u64) -> Result<String, std::io::Error> {
///     Ok("Name: Alice".to_owned())
/// }
///
/// async fn fetch_orders(_: Context, _: u64) -> Result<&'static str, std::fmt::Error> {
///     Ok("Order: 5")
/// }
///
/// # smol::block_on(async {
/// let dashboard = Aggregator::new(smol::spawn)
///     .with_timeout(Duration::from_secs(1))
///     .source("profile", fetch_profile)
///     .source("orders", fetch_orders);
///
/// let ctx = Context::background();
/// let (profile, orders) = dashboard.aggregate(&ctx, 7).await.unwrap();
/// assert_eq!((profile.as_str(), orders), ("Name: Alice", "Order: 5"));
///
/// let line = dashboard.join(" | ").aggregate(&ctx, 7).await.unwrap();
/// assert_eq!(line, "Name: Alice | Order: 5");
/// # });
/// ```
pub type Aggregator<H, R, L, C> = TaskAggregator<H, R, L, C, Task>;

/// [`Aggregator`] for a thread-bound executor: its sources need not be `Send`, nor what they answer.
///
/// # Examples
///
/// ```
/// use failfast::{Context, LocalAggregator};
/// use std::rc::Rc;
///
/// # futures::executor::block_on(async {
/// let aggregator = LocalAggregator::in_place()
///     .source("shared", |_: Context, id: u64| async move { Ok::<_, std::fmt::Error>(Rc::new(id)) });
/// let (shared,) = aggregator.aggregate(&Context::background(), 7).await.unwrap();
/// assert_eq!(*shared, 7);
/// # });
/// ```
pub type LocalAggregator<H, R, L, C> = TaskAggregator<H, R, L, C, LocalTask>;

/// Asks several sources at once: the engine of [`Aggregator`] and [`LocalAggregator`], which differ in `M`.
///
/// ```text
///            0 ms      20        40 ▼ deadline
/// profile    ├─────────✓ Name: Alice
/// orders     ├──────────────────────✗ dropped
/// aggregate  ├──────────────────────► Err(context deadline exceeded)
/// ```
///
/// # Semantics
///
/// * Every source starts at once, with the same context, whose deadline is the earlier of the caller's and
///   the aggregator's ([`with_timeout`](Self::with_timeout), 5 s by default).
/// * The first failure, or the deadline, ends all of it: nothing partial is returned, and nothing of the
///   sources is left when [`aggregate`](Self::aggregate) returns.
/// * Answers come in the order of the sources, whichever came first: a tuple for up to 12 sources of
///   different types ([`source`](Self::source)), a `Vec` for any number of one type
///   ([`sources`](Self::sources)).
/// * Built once, cheap to clone, and good for any number of concurrent calls.
///
/// # Options
///
/// | option | default |
/// |---|---|
/// | [`with_timeout`](Self::with_timeout) | 5 s |
/// | [`with_logger`](Self::with_logger) | the global one |
/// | [`with_name`](Self::with_name) | `aggregation` |
/// | [`with_grace`](Self::with_grace) | none |
/// | [`with_straggler_limit`](Self::with_straggler_limit) | none |
///
/// # Log records
///
/// One for each aggregation, with the target `failfast`: info on success, error on failure. Key-values:
/// `aggregation` (the name), `elapsed`, and on failure `source` (whose failure it was, or who had not
/// answered) and `error` (the root cause); and the caller's own, from [`LogFields`]. Requests and answers are
/// not logged.
pub struct TaskAggregator<H, R, L, C, M> {
    host: H,
    options: Arc<Options>,
    sources: L,
    combine: C,
    request: PhantomData<fn(R) -> M>,
}

impl<S: Spawn<Task>, R> TaskAggregator<OnExecutor<S>, R, (), AsIs, Task> {
    /// An aggregator that runs each source in a task of its own, started by `spawn`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// # smol::block_on(async {
    /// let aggregator = Aggregator::new(smol::spawn).source("two", two);
    /// assert_eq!(aggregator.aggregate(&Context::background(), ()).await.unwrap(), (2,));
    /// # });
    /// ```
    pub fn new(spawn: S) -> Self {
        Self::on(OnExecutor::new(spawn))
    }
}

impl<S: Spawn<LocalTask>, R> TaskAggregator<OnExecutor<S>, R, (), AsIs, LocalTask> {
    /// An aggregator that runs each source in a task of its own, started by `spawn`, on its thread.
    pub fn new(spawn: S) -> Self {
        Self::on(OnExecutor::new(spawn))
    }
}

impl<R> TaskAggregator<InCaller, R, (), AsIs, Task> {
    /// An aggregator that needs no executor: it runs its sources inside the caller's own task.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Aggregator, Context};
    ///
    /// async fn five(_: Context, _: ()) -> Result<u64, std::fmt::Error> {
    ///     Ok(5)
    /// }
    ///
    /// let aggregator = Aggregator::in_place().source("orders", five);
    /// let (orders,) = futures::executor::block_on(aggregator.aggregate(&Context::background(), ())).unwrap();
    /// assert_eq!(orders, 5);
    /// ```
    pub fn in_place() -> Self {
        Self::on(InCaller)
    }
}

impl<R> TaskAggregator<InCaller, R, (), AsIs, LocalTask> {
    /// An aggregator that needs no executor: it runs its sources inside the caller's own task.
    pub fn in_place() -> Self {
        Self::on(InCaller)
    }
}

impl<H, R, M> TaskAggregator<H, R, (), AsIs, M> {
    fn on(host: H) -> Self {
        let options = Arc::new(Options::default());
        Self {
            host,
            options,
            sources: (),
            combine: AsIs,
            request: PhantomData,
        }
    }
}

/// Sources of the `Send` flavour.
impl<H, R: Clone + Send + 'static, L> TaskAggregator<H, R, L, AsIs, Task> {
    /// Adds a source, under a name for errors and logs: an `async fn(Context, R) -> Result<T, E>`, a
    /// closure, or a type that implements [`Source`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// # smol::block_on(async {
    /// let aggregator = Aggregator::new(smol::spawn)
    ///     .source("two", two)
    ///     .source("text", |_, ()| async { Ok::<_, &str>("three") });
    /// assert_eq!(aggregator.aggregate(&Context::background(), ()).await.unwrap(), (2, "three"));
    /// # });
    /// ```
    pub fn source<A>(self, name: impl Into<Name>, source: A) -> Aggregator<H, R, L::Appended, AsIs>
    where
        A: Source<R> + Send + Sync + 'static,
        A::Future: Send + 'static,
        A::Output: Send + 'static,
        L: Append<A>,
    {
        self.append(name.into(), source)
    }
}

/// Sources of the local flavour.
impl<H, R: Clone + 'static, L> TaskAggregator<H, R, L, AsIs, LocalTask> {
    /// Adds a source, under a name for errors and logs: an `async fn(Context, R) -> Result<T, E>`, a
    /// closure, or a type that implements [`Source`].
    pub fn source<A>(
        self,
        name: impl Into<Name>,
        source: A,
    ) -> LocalAggregator<H, R, L::Appended, AsIs>
    where
        A: Source<R> + 'static,
        A::Future: 'static,
        A::Output: 'static,
        L: Append<A>,
    {
        self.append(name.into(), source)
    }
}

/// Sources of one type, of the `Send` flavour.
impl<H, R: Clone + Send + 'static> TaskAggregator<H, R, (), AsIs, Task> {
    /// Sets any number of sources of one type; their answers come as a `Vec`, in this order.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Aggregator, Context};
    ///
    /// async fn shard(_: Context, id: u64) -> Result<u64, std::fmt::Error> {
    ///     Ok(id)
    /// }
    ///
    /// # smol::block_on(async {
    /// let shards = (0..3).map(|number| (format!("shard {number}"), shard));
    /// let aggregator = Aggregator::new(smol::spawn).sources(shards);
    /// assert_eq!(aggregator.aggregate(&Context::background(), 7).await.unwrap(), [7, 7, 7]);
    /// # });
    /// ```
    pub fn sources<N, A>(
        self,
        sources: impl IntoIterator<Item = (N, A)>,
    ) -> Aggregator<H, R, Many<A>, AsIs>
    where
        N: Into<Name>,
        A: Source<R> + Send + Sync + 'static,
        A::Future: Send + 'static,
        A::Output: Send + 'static,
    {
        self.many(sources)
    }
}

/// Sources of one type, of the local flavour.
impl<H, R: Clone + 'static> TaskAggregator<H, R, (), AsIs, LocalTask> {
    /// Sets any number of sources of one type; their answers come as a `Vec`, in this order.
    pub fn sources<N, A>(
        self,
        sources: impl IntoIterator<Item = (N, A)>,
    ) -> LocalAggregator<H, R, Many<A>, AsIs>
    where
        N: Into<Name>,
        A: Source<R> + 'static,
        A::Future: 'static,
        A::Output: 'static,
    {
        self.many(sources)
    }
}

impl<H, R, L, M> TaskAggregator<H, R, L, AsIs, M> {
    fn append<A>(self, name: Name, source: A) -> TaskAggregator<H, R, L::Appended, AsIs, M>
    where
        L: Append<A>,
    {
        let Self {
            host,
            options,
            sources,
            combine,
            request,
        } = self;
        let sources = sources.append(Named::new(name, source));
        TaskAggregator {
            host,
            options,
            sources,
            combine,
            request,
        }
    }

    fn many<N: Into<Name>, A>(
        self,
        sources: impl IntoIterator<Item = (N, A)>,
    ) -> TaskAggregator<H, R, Many<A>, AsIs, M> {
        let sources = sources.into_iter();
        let sources = sources
            .map(|(name, source)| Named::new(name.into(), source))
            .collect();
        self.with_sources(sources)
    }

    fn with_sources<N>(self, sources: N) -> TaskAggregator<H, R, N, AsIs, M> {
        let Self {
            host,
            options,
            combine,
            request,
            ..
        } = self;
        TaskAggregator {
            host,
            options,
            sources,
            combine,
            request,
        }
    }

    /// Maps the answers.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Aggregator, Context};
    ///
    /// async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> {
    ///     Ok(2)
    /// }
    ///
    /// # smol::block_on(async {
    /// let sum = Aggregator::new(smol::spawn).source("a", two).source("b", two).combine(|(a, b)| a + b);
    /// assert_eq!(sum.aggregate(&Context::background(), ()).await.unwrap(), 4);
    /// # });
    /// ```
    pub fn combine<F, O>(&self, combine: F) -> TaskAggregator<H, R, L, Combined<F>, M>
    where
        L: Sources<R>,
        F: Fn(L::Output) -> O,
        Self: Clone,
    {
        self.clone().with_combine(Combined::new(combine))
    }

    /// Joins the answers, displayed, with a separator between them.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// # smol::block_on(async {
    /// let line = Aggregator::new(smol::spawn).source("a", two).source("b", two).join(" | ");
    /// assert_eq!(line.aggregate(&Context::background(), ()).await.unwrap(), "2 | 2");
    /// # });
    /// ```
    pub fn join(&self, separator: impl Into<String>) -> TaskAggregator<H, R, L, Joined, M>
    where
        L: Sources<R>,
        L::Output: Displayed,
        Self: Clone,
    {
        self.clone().with_combine(Joined::new(separator.into()))
    }

    fn with_combine<C>(self, combine: C) -> TaskAggregator<H, R, L, C, M> {
        let Self {
            host,
            options,
            sources,
            request,
            ..
        } = self;
        TaskAggregator {
            host,
            options,
            sources,
            combine,
            request,
        }
    }
}

/// Options: each has a default, in any order, at any time.
impl<H, R, L, C, M> TaskAggregator<H, R, L, C, M> {
    /// How long an aggregation may take; 5 s by default. The caller's deadline counts too, if it is
    /// earlier. Zero is a deadline that is past: no source is asked.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # use std::time::Duration;
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// # smol::block_on(async {
    /// let aggregator = Aggregator::new(smol::spawn).with_timeout(Duration::ZERO).source("two", two);
    /// let error = aggregator.aggregate(&Context::background(), ()).await.unwrap_err();
    /// assert!(error.is_deadline_exceeded());
    /// # });
    /// ```
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.options).timeout = timeout;
        self
    }

    /// Where the records go; the global logger by default.
    ///
    /// A logger that panics changes no outcome.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// # use log::{Log, Metadata, Record};
    /// # use std::sync::atomic::{AtomicUsize, Ordering};
    /// struct Counter(AtomicUsize);
    ///
    /// impl Log for Counter {
    ///     fn enabled(&self, _: &Metadata) -> bool { true }
    ///     fn log(&self, _: &Record) { self.0.fetch_add(1, Ordering::Relaxed); }
    ///     fn flush(&self) {}
    /// }
    ///
    /// static COUNTER: Counter = Counter(AtomicUsize::new(0));
    ///
    /// # smol::block_on(async {
    /// let aggregator = Aggregator::new(smol::spawn).with_logger(&COUNTER).source("two", two);
    /// aggregator.aggregate(&Context::background(), ()).await.unwrap();
    /// assert_eq!(COUNTER.0.load(Ordering::Relaxed), 1);
    /// # });
    /// ```
    pub fn with_logger(mut self, logger: impl Log + 'static) -> Self {
        Arc::make_mut(&mut self.options).logger = Some(Arc::new(logger));
        self
    }

    /// What the aggregation is called in the log.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// let aggregator = Aggregator::new(smol::spawn).with_name("dashboard").source("two", two);
    /// assert!(format!("{aggregator:?}").contains("dashboard"));
    /// ```
    pub fn with_name(mut self, name: impl Into<Name>) -> Self {
        Arc::make_mut(&mut self.options).name = name.into();
        self
    }

    /// When the aggregation ends early, its sources get `grace` to finish by themselves.
    ///
    /// Counted from the end, by the context's clock. If all of them answer in that time, that is the answer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context, ManualClock};
    /// # use std::sync::mpsc;
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let clock = ManualClock::new();
    /// let ctx = Context::background().with_clock(clock.clone());
    /// let (sender, tidied_up) = mpsc::channel();
    /// let aggregator = Aggregator::new(smol::spawn)
    ///     .with_grace(Duration::from_secs(1))
    ///     .source("tidy", move |_, ()| {
    ///         let (clock, sender) = (clock.clone(), sender.clone());
    ///         async move {
    ///             clock.advance(Duration::from_secs(5)); // to the deadline
    ///             smol::future::yield_now().await; // without grace it might end here
    ///             sender.send("tidied up")
    ///         }
    ///     });
    /// let _ = aggregator.aggregate(&ctx, ()).await;
    /// assert_eq!(tidied_up.recv(), Ok("tidied up"));
    /// # });
    /// ```
    pub fn with_grace(mut self, grace: Duration) -> Self {
        Arc::make_mut(&mut self.options).grace = Some(grace);
        self
    }

    /// Bounds the wait for sources that block their thread: see
    /// [`TaskGroup::with_straggler_limit`](crate::TaskGroup::with_straggler_limit).
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context, Error, Task};
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let never_runs = |task: Task| task;
    /// let aggregator = Aggregator::new(never_runs)
    ///     .with_timeout(Duration::from_millis(50))
    ///     .with_straggler_limit(Duration::from_millis(1))
    ///     .source("stuck", |_, ()| async { Ok::<_, &str>(5) });
    /// let error = aggregator.aggregate(&Context::background(), ()).await.unwrap_err();
    /// assert!(matches!(error, Error::Stragglers { .. }));
    /// # });
    /// ```
    pub fn with_straggler_limit(mut self, limit: Duration) -> Self {
        Arc::make_mut(&mut self.options).straggler_limit = Some(limit);
        self
    }
}

#[allow(
    private_bounds,
    reason = "implemented for every list of sources that there is"
)]
impl<H, R, L, C, M> TaskAggregator<H, R, L, C, M>
where
    M: Flavour,
    H: Host<M>,
    L: sources::Launch<M, R>,
    C: Combine<L::Output>,
{
    /// Asks all sources at once, and returns all answers, or what failed first.
    ///
    /// Each source gets a clone of the request, and the same context: a child of `ctx`, which ends when
    /// this returns. Nothing of the sources is left by then.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels the sources.
    ///
    /// # Panics
    ///
    /// With whatever the function given to [`combine`](Self::combine), the answers' `Display` under
    /// [`join`](Self::join), the request's `Clone` or the executor's own spawn function throws. What a source throws
    /// is its failure.
    ///
    /// # Errors
    ///
    /// What happened first: a source's failure ([`Error::Task`], [`Error::Panicked`], [`Error::Lost`]), or
    /// the end of the context ([`Error::Context`]): the deadline, or the caller's cancellation. If `ctx` has
    /// ended already, no source is asked.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// # smol::block_on(async {
    /// let aggregator = Aggregator::new(smol::spawn)
    ///     .source("two", two)
    ///     .source("orders", |_, ()| async { Err::<u64, _>("connection refused") });
    /// let error = aggregator.aggregate(&Context::background(), ()).await.unwrap_err();
    /// assert_eq!(error.to_string(), "orders: connection refused");
    /// # });
    /// ```
    #[track_caller]
    pub fn aggregate(
        &self,
        ctx: &Context,
        request: R,
    ) -> impl Future<Output = Result<C::Output, Error>> + use<'_, H, R, L, C, M> {
        let (ctx, origin) = (ctx.clone(), Location::caller());
        async move {
            let report = Report::begin(&ctx, &self.options);
            let core = Core::new(&ctx, Some(self.options.timeout), origin);
            let front = Front::new(self.host.host(), core);
            let answers = self.ask(&front, request).await;
            let outcome = answers.map(|answers| self.combine.combine(answers));
            report.end(&outcome, front.core());
            outcome
        }
    }

    /// The control flow: the sources' answers joined, raced with the end of them all.
    async fn ask(&self, front: &Front<H::Spawner<'_>, M>, request: R) -> Result<L::Output, Error> {
        self.options.apply(front.core());
        let answers = pin!(self.sources.launch(front, request));
        let answers = match select(answers, pin!(front.joined(|| {}))).await {
            Either::Left((answers, joined)) => {
                joined.await?;
                answers
            }
            Either::Right((joined, answers)) => {
                joined?;
                answers.await
            }
        };
        answers.map_err(|_| front.core().end_error())
    }
}

impl<H: Clone, R, L: Clone, C: Clone, M> Clone for TaskAggregator<H, R, L, C, M> {
    fn clone(&self) -> Self {
        Self {
            host: self.host.clone(),
            options: self.options.clone(),
            sources: self.sources.clone(),
            combine: self.combine.clone(),
            request: PhantomData,
        }
    }
}

impl<H, R, L: fmt::Debug, C, M> fmt::Debug for TaskAggregator<H, R, L, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { name, timeout, .. } = &*self.options;
        let mut debug = f.debug_struct("Aggregator");
        debug
            .field("name", name)
            .field("timeout", timeout)
            .field("sources", &self.sources)
            .finish()
    }
}
