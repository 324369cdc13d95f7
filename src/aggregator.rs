//! The main job: several sources called at once, under one deadline; all answers or the first failure.
//!
//! | module | owns |
//! |---|---|
//! | `options` | what the caller may care about |
//! | `answers` | where a source's task leaves its answer |
//! | `ask` | the call of a source as a task |
//! | `shape` | tuples and `Vec`s of answers |
//! | `flavored` | erased types that are `Send` where the tasks are |
//! | `report` | the log record |
//! | `plan` | one aggregation, from start to end |

mod answers;
mod ask;
mod flavored;
mod options;
mod plan;
mod report;
mod shape;
#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::error::{Error, Name};
use crate::group::{Launcher, LocalTask, Spawn, Task};
use crate::source::Source;
use answers::Answers;
use ask::{Ask, Many, One};
use flavored::{Finish, Flavored};
use log::{Level, Log};
use plan::Plan;
use shape::{Append, Displayed, Settle};
use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Calls several sources at once: all answers, or the first failure, within one deadline.
///
/// `R` is the request, `T` the answer. See [`TaskAggregator`] for everything it does.
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
/// struct App {
///     dashboard: Aggregator<u64, (String, &'static str)>,
///     line: Aggregator<u64, String>,
/// }
///
/// # smol::block_on(async {
/// let dashboard = Aggregator::new(smol::spawn)
///     .with_timeout(Duration::from_secs(1))
///     .source("profile", fetch_profile)
///     .source("orders", fetch_orders);
/// let app = App { line: dashboard.clone().join(" | "), dashboard };
///
/// let ctx = Context::background();
/// let (profile, orders) = app.dashboard.aggregate(&ctx, 7).await.unwrap();
/// assert_eq!((profile.as_str(), orders), ("Name: Alice", "Order: 5"));
/// assert_eq!(app.line.aggregate(&ctx, 7).await.unwrap(), "Name: Alice | Order: 5");
/// # });
/// ```
pub type Aggregator<R, T> = TaskAggregator<R, T, Task>;

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
pub type LocalAggregator<R, T> = TaskAggregator<R, T, LocalTask>;

/// Calls several sources at once: the engine of [`Aggregator`] and [`LocalAggregator`], which differ in `M`.
///
/// ```text
///            0 ms      20        40 ▼ deadline
/// profile    ├─────────✓ Name: Alice
/// orders     ├──────────────────────✗ dropped
/// aggregate  ├──────────────────────► Err(context deadline exceeded: dashboard's timeout of 40ms (waiting for orders))
/// ```
///
/// # Semantics
///
/// * Every source starts at once, with the same context, whose deadline is the earlier of the caller's and the
///   aggregator's ([`with_timeout`](Self::with_timeout), 5 s by default).
/// * The first failure, or the deadline, ends all of it: nothing partial is returned, and nothing of the sources is
///   left when [`aggregate`](Self::aggregate) returns. A source that was not called by then never is.
/// * Answers come in the order of the sources, whichever came first: a tuple for up to 12 sources of different types
///   ([`source`](Self::source)), a `Vec` for any number of one type ([`sources`](Self::sources)).
/// * Built once, and good for any number of concurrent calls. A clone is a reference count.
/// * An aggregator is a [`Source`] itself, so aggregators nest.
///
/// # The order of calls
///
/// `source` or `sources` come first, then at most one [`settled`](Self::settled), then [`map`](Self::map) or
/// [`join`](Self::join). The types enforce most of it; what they can't enforce panics where it is called. Options stand
/// anywhere.
///
/// # Options
///
/// | option | default |
/// |---|---|
/// | [`with_timeout`](Self::with_timeout) | 5 s |
/// | [`with_name`](Self::with_name) | `aggregation` |
/// | [`with_logger`](Self::with_logger) | the global one |
/// | [`with_level`](Self::with_level) | see below |
/// | [`with_limit`](Self::with_limit) | none |
/// | [`with_grace`](Self::with_grace) | none |
/// | [`with_straggler_limit`](Self::with_straggler_limit) | none |
///
/// # Log records
///
/// One for each aggregation, with the target `failfast`, when it is over. Its text holds the name, the outcome, the
/// elapsed time and the source concerned, so that it reads well where key-values are lost. The failure is followed by
/// its sources, down to the root cause:
///
/// | what happened | level | text |
/// |---|---|---|
/// | all answered | info | `dashboard succeeded after 12ms` |
/// | a source failed | error | `dashboard failed after 12ms: profile: connection refused` |
/// | the aggregator's own timeout | error | `dashboard failed after 1s: context deadline exceeded: dashboard's timeout of 1s (waiting for orders)` |
/// | the caller's end | warn | `dashboard failed after 20ms: context canceled (waiting for orders)` |
/// | settled, with failures | warn | `dashboard settled with 1 failed after 12ms: ads: no such host` |
/// | dropped while it ran | debug | `dashboard dropped by its caller after 3ms` |
/// | `map`, a `Display`, the request's `Clone` or the spawn function panicked | error | `dashboard panicked after 12ms: index out of bounds` |
///
/// Key-values: `aggregation` (the name), `elapsed`, and on failure `source` (whose failure it was, or which had not
/// answered) and `error` (the root cause); and the caller's own, from [`LogFields`](crate::observe::LogFields).
/// Requests and answers are not logged. An aggregation that was never polled leaves no record.
pub struct TaskAggregator<R, T, M>(Arc<Plan<R, T, M>>);

impl<R: Clone + Send + 'static> TaskAggregator<R, (), Task> {
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
    #[track_caller]
    pub fn new<S>(spawn: S) -> Self
    where
        S: Spawn + Send + Sync + 'static,
        S::Handle: Send + 'static,
    {
        Self::made(Some(Launcher::new(spawn)), Location::caller())
    }
}

impl<R: Clone + 'static> TaskAggregator<R, (), LocalTask> {
    /// An aggregator that runs each source in a task of its own, started by `spawn`, on its thread.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{LocalAggregator, Context};
    /// # use std::rc::Rc;
    /// # async fn two(_: Context, _: ()) -> Result<Rc<u64>, std::fmt::Error> { Ok(Rc::new(2)) }
    /// let executor = Rc::new(smol::LocalExecutor::new());
    /// let spawner = executor.clone();
    /// let aggregator = LocalAggregator::new(move |task| spawner.spawn(task)).source("two", two);
    /// # futures::executor::block_on(executor.run(async {
    /// let (two,) = aggregator.aggregate(&Context::background(), ()).await.unwrap();
    /// assert_eq!(*two, 2);
    /// # }));
    /// ```
    #[track_caller]
    pub fn new<S>(spawn: S) -> Self
    where
        S: Spawn<LocalTask> + 'static,
        S::Handle: 'static,
    {
        Self::made(Some(Launcher::new_local(spawn)), Location::caller())
    }
}

impl<R, M> TaskAggregator<R, (), M> {
    fn made(launch: Option<Launcher<M>>, origin: &'static Location<'static>) -> Self {
        Self(Arc::new(Plan::new(launch, origin)))
    }
}

/// The two flavors differ in the bounds on sources and functions, and in nothing else.
macro_rules! flavors {
    ($task:ty, $alias:ident, $erase:ident $(, $send:ident)?) => {
        impl<R: Clone $(+ $send)? + 'static> TaskAggregator<R, (), $task> {
            /// An aggregator that needs no executor: it runs its sources inside the caller's own task.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("use failfast::{", stringify!($alias), ", Context};")]
            ///
            /// async fn five(_: Context, _: ()) -> Result<u64, std::fmt::Error> {
            ///     Ok(5)
            /// }
            ///
            #[doc = concat!("let aggregator = ", stringify!($alias), "::in_place().source(\"orders\", five);")]
            /// let (orders,) = futures::executor::block_on(aggregator.aggregate(&Context::background(), ())).unwrap();
            /// assert_eq!(orders, 5);
            /// ```
            #[must_use]
            #[track_caller]
            pub fn in_place() -> Self {
                Self::made(None, Location::caller())
            }

            /// Sets any number of sources of one type; their answers come as a `Vec`, in this order.
            ///
            /// # Panics
            ///
            /// If it is called after [`map`](Self::map) or [`join`](Self::join).
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("use failfast::{", stringify!($alias), ", Context};")]
            ///
            /// async fn shard(_: Context, id: u64) -> Result<u64, std::fmt::Error> {
            ///     Ok(id)
            /// }
            ///
            /// # futures::executor::block_on(async {
            /// let shards = (0..3).map(|number| (format!("shard {number}"), shard));
            #[doc = concat!("let aggregator = ", stringify!($alias), "::in_place().sources(shards);")]
            /// assert_eq!(aggregator.aggregate(&Context::background(), 7).await.unwrap(), [7, 7, 7]);
            /// # });
            /// ```
            #[track_caller]
            pub fn sources<N: Into<Name>, A>(
                self,
                sources: impl IntoIterator<Item = (N, A)>,
            ) -> TaskAggregator<R, Vec<A::Output>, $task>
            where
                A: Source<R> $(+ $send + Sync)? + 'static,
                A::Future: $($send +)? 'static,
                A::Output: $($send +)? 'static,
            {
                let sources = sources.into_iter();
                let many: Many<A> = sources.map(|(name, source)| (name.into(), source)).collect();
                let ask = Flavored::<dyn Ask<R, $task>, $task>::$erase(Arc::new(many));
                let plan = self.into_plan().asking("sources", ask);
                TaskAggregator::of(plan.finishing(|_| {
                    let finish = |answers: &Answers<'_>| answers.take_row();
                    Flavored::<Finish<Vec<A::Output>>, $task>::sendable(Arc::new(finish))
                }))
            }
        }

        impl<R: Clone $(+ $send)? + 'static, T> TaskAggregator<R, T, $task> {
            /// Adds a source, under a name for errors and logs: an `async fn(Context, R) -> Result<T, E>`, a
            /// closure, a type that implements [`Source`], or another aggregator.
            ///
            /// Up to 12. For more of one type there is [`sources`](Self::sources); for more of different types
            /// nest: an aggregator is a source itself.
            ///
            /// # Panics
            ///
            /// If it is called after [`settled`](Self::settled), [`map`](Self::map) or [`join`](Self::join), and
            /// the types did not refuse it.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("# use failfast::{", stringify!($alias), ", Context};")]
            /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
            /// # futures::executor::block_on(async {
            #[doc = concat!("let aggregator = ", stringify!($alias), "::in_place()")]
            ///     .source("two", two)
            ///     .source("text", |_, ()| async { Ok::<_, &str>("three") });
            /// assert_eq!(aggregator.aggregate(&Context::background(), ()).await.unwrap(), (2, "three"));
            /// # });
            /// ```
            #[track_caller]
            pub fn source<A, U>(
                self,
                name: impl Into<Name>,
                source: A,
            ) -> TaskAggregator<R, U, $task>
            where
                T: Append<A::Output, Appended = U>,
                A: Source<R> $(+ $send + Sync)? + 'static,
                A::Future: $($send +)? 'static,
                A::Output: $($send +)? 'static,
            {
                let one = Arc::new(One::new(name.into(), source));
                let ask = Flavored::<dyn Ask<R, $task>, $task>::$erase(one);
                let number = self.0.len();
                let plan = self.into_plan().asking("source", ask);
                TaskAggregator::of(plan.finishing(|before| {
                    before.then(move |tuple: T, answers| tuple.append(answers.take(number)))
                }))
            }

            /// Makes something else of the answers.
            ///
            /// Called once all sources have answered, by the caller of [`aggregate`](Self::aggregate). It is not
            /// called after a failure.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("use failfast::{", stringify!($alias), ", Context};")]
            ///
            /// async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> {
            ///     Ok(2)
            /// }
            ///
            /// # futures::executor::block_on(async {
            #[doc = concat!("let sum = ", stringify!($alias), "::in_place()")]
            ///     .source("a", two)
            ///     .source("b", two)
            ///     .map(|(a, b)| a + b);
            /// assert_eq!(sum.aggregate(&Context::background(), ()).await.unwrap(), 4);
            /// # });
            /// ```
            pub fn map<U>(
                self,
                map: impl Fn(T) -> U $(+ $send + Sync)? + 'static,
            ) -> TaskAggregator<R, U, $task>
            where
                T: 'static,
            {
                let plan = self.into_plan().mapping("map");
                TaskAggregator::of(plan.finishing(|before| {
                    let both = move |answers: &Answers<'_>| map(before.get()(answers));
                    Flavored::<Finish<U>, $task>::$erase(Arc::new(both))
                }))
            }
        }

        /// An aggregator nests: it answers what its sources answer, and fails with their [`Error`], through which
        /// `downcast` finds what it finds without the nesting.
        ///
        /// Nothing of it outlives the aggregation around it. Where that one ends first, it waits until the tasks of this
        /// one have gone, because the call is [shielded](Context::shield): `with_straggler_limit` bounds that. A policy
        /// around it, or a `select!`, drops it at once, and its tasks go soon after.
        impl<R: Clone $(+ $send)? + 'static, T: $($send +)? 'static> Source<R>
            for TaskAggregator<R, T, $task>
        {
            type Output = T;
            type Error = Error;
            type Future = Pin<Box<dyn Future<Output = Result<T, Error>> $(+ $send)?>>;

            fn fetch(&self, ctx: Context, request: R) -> Self::Future {
                let plan = self.0.clone();
                let outer = ctx.clone();
                Box::pin(async move {
                    let aggregation = plan.aggregate(ctx, request, plan.origin);
                    outer.shield(aggregation).await
                })
            }
        }
    };
}

// `U` in `source` and `settled` is `T::Appended` and `T::Settled`. Written so, the compiler would find no such method
// where the trait is not implemented, and would not show the trait's own message.
flavors!(Task, Aggregator, sendable, Send);
flavors!(LocalTask, LocalAggregator, local);

impl<R, T, M> TaskAggregator<R, T, M> {
    fn of(plan: Plan<R, T, M>) -> Self {
        Self(Arc::new(plan))
    }

    fn into_plan(self) -> Plan<R, T, M> {
        Arc::unwrap_or_clone(self.0)
    }

    fn options(&mut self) -> &mut options::Options {
        &mut Arc::make_mut(&mut self.0).options
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
    pub fn join(self, separator: impl Into<String>) -> TaskAggregator<R, String, M>
    where
        T: Displayed,
    {
        let separator = separator.into();
        let plan = self.into_plan().mapping("join");
        TaskAggregator::of(
            plan.finishing(|before| {
                before.then(move |answers: T, _| shape::join(answers, &separator))
            }),
        )
    }

    /// Every source runs to its end: the answer is the tuple, or the `Vec`, of their results.
    ///
    /// A source that fails, panics or is lost fails alone, with the [`Error`] that it would have failed the
    /// aggregation with. Only the end of the context fails the whole: the caller's, or the aggregator's timeout,
    /// and then the answers that had come are lost. So a source that may be late has a `timeout` of its own.
    ///
    /// ```text
    ///            0 ms      20        40
    /// profile    ├─────────────────────✓ Alice
    /// ads        ├─────────✗ no such host
    /// aggregate  ├─────────────────────► Ok((Ok(Alice), Err(ads: no such host)))
    /// ```
    ///
    /// # Panics
    ///
    /// If it is called twice, or after [`map`](Self::map) or [`join`](Self::join), and the types did not refuse it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// # smol::block_on(async {
    /// let page = Aggregator::new(smol::spawn)
    ///     .source("two", two)
    ///     .source("ads", |_, ()| async { Err::<u64, _>("no such host") })
    ///     .settled();
    /// let (two, ads) = page.aggregate(&Context::background(), ()).await.unwrap();
    /// assert_eq!(two.unwrap(), 2);
    /// assert_eq!(ads.unwrap_err().to_string(), "ads: no such host");
    /// # });
    /// ```
    #[must_use]
    #[track_caller]
    pub fn settled<U>(self) -> TaskAggregator<R, U, M>
    where
        T: Settle<Settled = U>,
    {
        let plan = self.into_plan().settling();
        TaskAggregator::of(plan.finishing(|_| {
            let finish = |answers: &Answers<'_>| T::settle(answers);
            Flavored::<Finish<U>, M>::sendable(Arc::new(finish))
        }))
    }

    /// How long an aggregation may take; 5 s by default. The caller's deadline counts too, if it is earlier. Zero is
    /// a deadline that has passed: no source is called.
    ///
    /// The timeout cancels; the aggregation returns when its tasks have gone, those of a nested aggregation included. A
    /// task that blocks its thread, or that its executor never polls again, is waited for:
    /// [`with_straggler_limit`](Self::with_straggler_limit) bounds that.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # use std::time::Duration;
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// # smol::block_on(async {
    /// let aggregator = Aggregator::new(smol::spawn)
    ///     .with_name("dashboard")
    ///     .with_timeout(Duration::ZERO)
    ///     .source("two", two);
    /// let error = aggregator.aggregate(&Context::background(), ()).await.unwrap_err();
    /// assert!(error.is_deadline_exceeded());
    /// assert_eq!(error.cause().unwrap().to_string(), "dashboard's timeout of 0ns");
    /// # });
    /// ```
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.options().set_timeout(timeout);
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
    #[must_use]
    pub fn with_logger(mut self, logger: impl Log + 'static) -> Self {
        self.options().logger = Some(Arc::new(logger));
        self
    }

    /// Decides which level a failure is logged at, instead of the levels [above](Self#log-records).
    ///
    /// Of a settled aggregation it is called for each failure, and the most severe level counts. If it panics, the
    /// usual level is taken.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// use log::Level;
    ///
    /// let aggregator = Aggregator::new(smol::spawn)
    ///     .with_level(|error| if error.is_timeout() { Level::Warn } else { Level::Error })
    ///     .source("two", two);
    /// # smol::block_on(async {
    /// # assert_eq!(aggregator.aggregate(&Context::background(), ()).await.unwrap(), (2,));
    /// # });
    /// ```
    #[must_use]
    pub fn with_level(mut self, level: impl Fn(&Error) -> Level + Send + Sync + 'static) -> Self {
        self.options().level = Some(Arc::new(level));
        self
    }

    /// What the aggregation is called, in the log and in the cause of its timeout.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// let aggregator = Aggregator::new(smol::spawn).with_name("dashboard").source("two", two);
    /// assert!(format!("{aggregator:?}").contains("dashboard"));
    /// ```
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Name>) -> Self {
        self.options().set_name(name.into());
        self
    }

    /// At most `limit` sources of an aggregation run at the same time; the others wait for their turn, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context};
    /// # async fn two(_: Context, _: ()) -> Result<u64, std::fmt::Error> { Ok(2) }
    /// # smol::block_on(async {
    /// let aggregator = Aggregator::new(smol::spawn)
    ///     .with_limit(4.try_into().unwrap())
    ///     .sources((0..100).map(|number| (format!("shard {number}"), two)));
    /// assert_eq!(aggregator.aggregate(&Context::background(), ()).await.unwrap(), [2; 100]);
    /// # });
    /// ```
    #[must_use]
    pub fn with_limit(mut self, limit: NonZeroUsize) -> Self {
        self.options().limit = Some(limit);
        self
    }

    /// When the aggregation ends early, its sources get `grace` to finish by themselves.
    ///
    /// Counted from the end, by the context's clock. If all of them answer in that time, that is the answer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context, clock::ManualClock};
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
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.options().grace = Some(grace);
        self
    }

    /// Bounds the wait for sources that block their thread: see
    /// [`TaskGroup::with_straggler_limit`](crate::group::TaskGroup::with_straggler_limit).
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Aggregator, Context, ErrorKind, Task};
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let never_runs = |task: Task| task;
    /// let aggregator = Aggregator::new(never_runs)
    ///     .with_timeout(Duration::from_millis(50))
    ///     .with_straggler_limit(Duration::from_millis(1))
    ///     .source("stuck", |_, ()| async { Ok::<_, &str>(5) });
    /// let error = aggregator.aggregate(&Context::background(), ()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Stragglers);
    /// # });
    /// ```
    #[must_use]
    pub fn with_straggler_limit(mut self, limit: Duration) -> Self {
        self.options().straggler_limit = Some(limit);
        self
    }

    /// Calls all sources at once, and returns all answers, or the first failure.
    ///
    /// Each source gets the request, or a clone of it, and the same context: a child of `ctx`, which ends when this
    /// returns. Nothing of the sources is left by then.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels the sources, and leaves a log record at level debug.
    ///
    /// # Panics
    ///
    /// With whatever the function given to [`map`](Self::map), the answers' `Display` under [`join`](Self::join),
    /// the request's `Clone` or the executor's own spawn function throws. The sources are canceled first. What a
    /// source throws is its failure.
    ///
    /// # Errors
    ///
    /// What happened first: a source's failure (kind [`Task`](crate::ErrorKind::Task),
    /// [`Panicked`](crate::ErrorKind::Panicked) or [`Lost`](crate::ErrorKind::Lost)), or the end of the context:
    /// the deadline ([`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded)), or the caller's cancellation
    /// ([`Canceled`](crate::ErrorKind::Canceled)). If `ctx` has ended already, no source is called.
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
    ) -> impl Future<Output = Result<T, Error>> + use<'_, R, T, M> {
        self.0.aggregate(ctx.clone(), request, Location::caller())
    }
}

impl<R, T, M> Clone for TaskAggregator<R, T, M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R, T, M> fmt::Debug for TaskAggregator<R, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.0.options;
        f.debug_struct("Aggregator")
            .field("name", options.name())
            .field("timeout", &options.timeout())
            .field("sources", &self.0.names())
            .finish()
    }
}
