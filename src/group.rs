//! Tasks that stand and fall together: Go's `errgroup`, with results, on any runtime.

mod alarm;
mod core;
mod each;
mod failures;
mod front;
mod handle;
mod in_place;
mod job;
mod ready;
mod roster;
mod snapshot;
mod table;

use crate::context::Context;
use crate::error::{BoxError, Cause, Error, Name};
use crate::spawn::{Flavour, LocalTask, Spawn, Task};
use futures::stream::Stream;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

pub(crate) use self::core::Core;
use self::core::Newcomer;
use front::Inner;
pub(crate) use front::{Front, Host};
pub use handle::GroupHandle;
pub use in_place::InPlace;
pub(crate) use job::{Desk, Job};
use ready::Ready;
pub use snapshot::{Snapshot, TaskSnapshot, TaskState};

/// A group of tasks on one job: the first failure stops them all.
///
/// See [`TaskGroup`] for everything it does.
///
/// # Examples
///
/// ```
/// use failfast::{Context, Group};
///
/// async fn fetch_page(ctx: Context, number: u32) -> Result<String, std::io::Error> {
///     # let _ = ctx;
///     Ok(format!("page {number}"))
/// }
///
/// # smol::block_on(async {
/// let (group, ctx) = Group::with_context(&Context::background(), smol::spawn);
/// for number in 1..=3 {
///     group.spawn(fetch_page(ctx.clone(), number));
/// }
/// assert_eq!(group.wait().await.unwrap(), ["page 1", "page 2", "page 3"]);
/// # });
/// ```
pub type Group<S, T> = TaskGroup<S, T, Task>;

/// [`Group`] for a thread-bound executor: what its tasks hold and return need not be `Send`.
///
/// # Examples
///
/// ```
/// use failfast::LocalGroup;
/// use std::rc::Rc;
///
/// let executor = Rc::new(smol::LocalExecutor::new());
/// let spawner = executor.clone();
/// smol::block_on(executor.run(async move {
///     let group = LocalGroup::new(move |task| spawner.spawn(task).detach());
///     let shared = Rc::new(5);
///     group.spawn(async move { Ok::<_, std::fmt::Error>(shared) });
///     assert_eq!(*group.wait().await.unwrap()[0], 5);
/// }));
/// ```
pub type LocalGroup<S, T> = TaskGroup<S, T, LocalTask>;

/// A group of tasks on one job: the engine of [`Group`] and [`LocalGroup`], which differ in `M` alone.
///
/// ```text
/// profile  ├──────────✗ connection refused      1 recorded
/// orders   ├───────────┤ dropped                2 context cancelled, with that as its cause
/// ads      ├───────────┤ dropped                3 polled once more, then dropped
/// wait     ├───────────► Err(profile: connection refused)
/// ```
///
/// # Semantics
///
/// * **Fail fast.** The first failure is recorded, then the group's context is cancelled with it as the
///   cause, then everyone is woken. The echoes of the cancellation never replace or hide it.
/// * **Nothing outlives [`wait`](Self::wait).** It returns when every task's future has been dropped. When
///   the context ends, each task is polled once more, with its context done, and then dropped, whether it
///   looks at the context or not. [`with_grace`](Self::with_grace) gives them time to finish by themselves.
/// * **Dropped early, nothing leaks.** Dropping the group, or the `wait` future, cancels every task.
/// * **The group's context ends with the group**, on success too: what a task left behind with a clone of
///   it stops. What must go on gets [`Context::without_cancel`].
/// * **What happened first is the error.** If the context ended first (deadline, parent, `cancel_with`),
///   the error is [`Error::Context`], whatever the tasks then return. If all tasks succeed all the same, it
///   is `Ok`: what is done is done.
/// * **Nothing failed, nothing is wrong.** So a group without tasks, or whose tasks have all succeeded, is `Ok`
///   under a parent that has ended, too.
/// * **Panics** are contained in their task and fail the group as [`Error::Panicked`].
///
/// # How a group ends
///
/// | [`Ending`] | what ends it early | `wait` returns | the rest |
/// |---|---|---|---|
/// | `FailFast` (default) | the first failure | all results, or the first failure | cancelled |
/// | `Settle` | nothing | all results, or the first failure; [`outcomes`](Self::outcomes): each one's own | runs on |
/// | `FirstOk` | the first success | that one result, or the first failure if none succeeded | cancelled |
/// | `Quorum(k)` | k successes, or k out of reach | the k results, or the first failure | cancelled |
///
/// The context's end ends them all. A background task's failure does not fail a `FirstOk` or `Quorum` group
/// that has its successes.
#[must_use = "dropping a group cancels its tasks: `wait` for it"]
pub struct TaskGroup<S: Spawn<M>, T, M: Flavour> {
    inner: Arc<Inner<S, T, M>>,
    /// Those that have finished and have not been looked at.
    finished: VecDeque<u32>,
    /// Whether `next` has told what ended the group.
    told: bool,
}

/// How a group ends: see the table at [`TaskGroup`].
///
/// # Examples
///
/// ```
/// use failfast::{Ending, Group};
/// use std::num::NonZeroUsize;
///
/// # smol::block_on(async {
/// let two = Ending::Quorum(NonZeroUsize::new(2).unwrap());
/// let group = Group::new(smol::spawn).with_ending(two);
/// group.spawn(async { Ok::<_, &str>(1) });
/// group.spawn(async { Err("the second replica is down") });
/// group.spawn(async { Ok::<_, &str>(3) });
/// assert_eq!(group.wait().await.unwrap(), [1, 3]);
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// All have to succeed; the first failure cancels the rest.
    #[default]
    FailFast,
    /// All run to their end, whatever becomes of the others.
    Settle,
    /// One success is enough, and cancels the rest.
    FirstOk,
    /// So many successes are enough, and cancel the rest.
    Quorum(NonZeroUsize),
}

/// Making one.
impl<S: Spawn<Task>, T: Send + 'static> TaskGroup<S, T, Task> {
    /// A group under a background context: nothing ends it but itself.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::new(smol::spawn);
    /// group.spawn(async { Ok::<_, &str>(5) });
    /// assert_eq!(group.wait().await.unwrap(), [5]);
    /// # });
    /// ```
    #[track_caller]
    pub fn new(spawn: S) -> Self {
        Self::with_parent(
            &Context::background(),
            Host::executor(spawn),
            Location::caller(),
        )
    }

    /// A group under `parent`, and its context, for its tasks: cancelled when one of them fails, when
    /// `parent` ends, and when the group ends.
    ///
    /// Equivalent to: Go's `errgroup.WithContext`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Group};
    /// # smol::block_on(async {
    /// let (group, ctx) = Group::with_context(&Context::background(), smol::spawn);
    /// let watch = ctx.clone();
    /// group.spawn(async move { watch.done().await; Ok::<_, &str>(()) });
    /// group.spawn(async { Err("connection refused") });
    /// assert!(group.wait().await.is_err());
    /// assert_eq!(ctx.cause().unwrap().to_string(), "task 1: connection refused");
    /// # });
    /// ```
    #[track_caller]
    pub fn with_context(parent: &Context, spawn: S) -> (Self, Context) {
        let group = Self::with_parent(parent, Host::executor(spawn), Location::caller());
        let ctx = group.context().clone();
        (group, ctx)
    }

    /// Starts a task. Its number, in the order of spawning, is its place among the results.
    ///
    /// If the group has ended, the future is dropped unpolled, and `wait` tells why. At the
    /// [limit](Self::with_limit), the task is queued.
    ///
    /// # Panics
    ///
    /// With whatever the executor's own spawn function throws: tokio's, say, outside of a runtime. The task is then
    /// lost, and fails the group as [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::new(smol::spawn);
    /// group.spawn(async { Ok::<_, &str>("first") });
    /// group.spawn(async { Ok::<_, &str>("second") });
    /// assert_eq!(group.wait().await.unwrap(), ["first", "second"]);
    /// # });
    /// ```
    #[track_caller]
    pub fn spawn<F, E>(&self, future: F)
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.inner
            .start(future, Newcomer::new(None, Location::caller()));
    }

    /// [`spawn`](Self::spawn) with a name: for errors, logs and snapshots.
    ///
    /// # Panics
    ///
    /// With whatever the executor's own spawn function throws: tokio's, say, outside of a runtime. The task is then
    /// lost, and fails the group as [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::<_, ()>::new(smol::spawn);
    /// group.spawn_named("orders", async { Err("no such user") });
    /// assert_eq!(group.wait().await.unwrap_err().to_string(), "orders: no such user");
    /// # });
    /// ```
    #[track_caller]
    pub fn spawn_named<F, E>(&self, name: impl Into<Name>, future: F)
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.inner
            .start(future, Newcomer::new(Some(name.into()), Location::caller()));
    }

    /// Starts a task only if that is possible at once.
    ///
    /// # Panics
    ///
    /// With whatever the executor's own spawn function throws: tokio's, say, outside of a runtime. The task is then
    /// lost, and fails the group as [`Error::Lost`].
    ///
    /// # Errors
    ///
    /// The future, unpolled, if the [limit](Self::with_limit) is reached or the group has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Group};
    /// # use std::num::NonZeroUsize;
    /// # smol::block_on(async {
    /// let group = Group::in_place(&Context::background()).with_limit(NonZeroUsize::MIN);
    /// assert!(group.try_spawn(async { Ok::<_, &str>(1) }).is_ok());
    /// assert!(group.try_spawn(async { Ok::<_, &str>(2) }).is_err(), "one at a time");
    /// assert_eq!(group.wait().await.unwrap(), [1]);
    /// # });
    /// ```
    #[track_caller]
    pub fn try_spawn<F, E>(&self, future: F) -> Result<(), F>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.inner
            .try_start(future, Newcomer::new(None, Location::caller()), false)
    }

    /// Starts a task that serves the others: it is cancelled when they are done and `wait` is called. Its
    /// failure fails the group; it has no place among the results.
    ///
    /// Under [`Ending::FirstOk`] and [`Ending::Quorum`] its failure does not fail a group that has its successes.
    ///
    /// # Panics
    ///
    /// With whatever the executor's own spawn function throws: tokio's, say, outside of a runtime. The task is then
    /// lost, and fails the group as [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Group;
    ///
    /// # smol::block_on(async {
    /// let group = Group::new(smol::spawn);
    /// group.spawn_background(async { Ok::<_, std::fmt::Error>(std::future::pending().await) });
    /// group.spawn(async { Ok::<_, std::fmt::Error>(5) });
    /// assert_eq!(group.wait().await.unwrap(), [5]);
    /// # });
    /// ```
    #[track_caller]
    pub fn spawn_background<F, E>(&self, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.inner.start_background(future, Location::caller())
    }
}

/// Making one without an executor.
impl<T: Send + 'static> TaskGroup<InPlace<Task>, T, Task> {
    /// A group that needs no executor: whoever polls [`wait`](Self::wait) or [`next`](Self::next) polls the
    /// tasks, each only when it was woken. Same engine, same semantics: for programs on a bare `block_on`,
    /// and where a thread hop costs more than the work.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Context, Group};
    ///
    /// let group = Group::in_place(&Context::background());
    /// group.spawn(async { Ok::<_, std::fmt::Error>(1) });
    /// group.spawn(async { Ok::<_, std::fmt::Error>(2) });
    /// assert_eq!(futures::executor::block_on(group.wait()).unwrap(), [1, 2]);
    /// ```
    #[track_caller]
    pub fn in_place(ctx: &Context) -> Self {
        Self::with_parent(ctx, Host::in_place(), Location::caller())
    }
}

/// Making a local one.
impl<S: Spawn<LocalTask>, T: 'static> TaskGroup<S, T, LocalTask> {
    /// A group under a background context: nothing ends it but itself.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::LocalGroup;
    /// # use std::rc::Rc;
    /// # let executor = Rc::new(smol::LocalExecutor::new());
    /// # let spawner = executor.clone();
    /// # smol::block_on(executor.run(async move {
    /// let group = LocalGroup::new(move |task| spawner.spawn(task));
    /// group.spawn(async { Ok::<_, &str>(Rc::new(5)) });
    /// assert_eq!(*group.wait().await.unwrap()[0], 5);
    /// # }));
    /// ```
    #[track_caller]
    pub fn new(spawn: S) -> Self {
        Self::with_parent(
            &Context::background(),
            Host::executor(spawn),
            Location::caller(),
        )
    }

    /// A group under `parent`, and its context, for its tasks: cancelled when one of them fails, when
    /// `parent` ends, and when the group ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, LocalGroup};
    /// # use std::rc::Rc;
    /// # let executor = Rc::new(smol::LocalExecutor::new());
    /// # let spawner = executor.clone();
    /// # smol::block_on(executor.run(async move {
    /// let root = Context::background();
    /// let (group, ctx) = LocalGroup::with_context(&root, move |task| spawner.spawn(task));
    /// group.spawn(async { Ok::<_, &str>(Rc::new(5)) });
    /// assert_eq!(*group.wait().await.unwrap()[0], 5);
    /// assert!(ctx.is_done());
    /// # }));
    /// ```
    #[track_caller]
    pub fn with_context(parent: &Context, spawn: S) -> (Self, Context) {
        let group = Self::with_parent(parent, Host::executor(spawn), Location::caller());
        let ctx = group.context().clone();
        (group, ctx)
    }

    /// Starts a task. Its number, in the order of spawning, is its place among the results.
    ///
    /// If the group has ended, the future is dropped unpolled, and `wait` tells why. At the
    /// [limit](Self::with_limit), the task is queued.
    ///
    /// # Panics
    ///
    /// With whatever the executor's own spawn function throws: tokio's, say, outside of a runtime. The task is then
    /// lost, and fails the group as [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, LocalGroup};
    /// # futures::executor::block_on(async {
    /// let group = LocalGroup::in_place(&Context::background());
    /// let shared = std::rc::Rc::new(5);
    /// group.spawn(async move { Ok::<_, &str>(shared) });
    /// assert_eq!(*group.wait().await.unwrap()[0], 5);
    /// # });
    /// ```
    #[track_caller]
    pub fn spawn<F, E>(&self, future: F)
    where
        F: Future<Output = Result<T, E>> + 'static,
        E: Into<BoxError>,
    {
        self.inner
            .start(future, Newcomer::new(None, Location::caller()));
    }

    /// [`spawn`](Self::spawn) with a name: for errors, logs and snapshots.
    ///
    /// # Panics
    ///
    /// With whatever the executor's own spawn function throws: tokio's, say, outside of a runtime. The task is then
    /// lost, and fails the group as [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, LocalGroup};
    /// # futures::executor::block_on(async {
    /// let group = LocalGroup::<_, ()>::in_place(&Context::background());
    /// group.spawn_named("orders", async { Err("no such user") });
    /// assert_eq!(group.wait().await.unwrap_err().to_string(), "orders: no such user");
    /// # });
    /// ```
    #[track_caller]
    pub fn spawn_named<F, E>(&self, name: impl Into<Name>, future: F)
    where
        F: Future<Output = Result<T, E>> + 'static,
        E: Into<BoxError>,
    {
        self.inner
            .start(future, Newcomer::new(Some(name.into()), Location::caller()));
    }

    /// Starts a task only if that is possible at once.
    ///
    /// # Panics
    ///
    /// With whatever the executor's own spawn function throws: tokio's, say, outside of a runtime. The task is then
    /// lost, and fails the group as [`Error::Lost`].
    ///
    /// # Errors
    ///
    /// The future, unpolled, if the [limit](Self::with_limit) is reached or the group has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, LocalGroup};
    /// # use std::num::NonZeroUsize;
    /// # futures::executor::block_on(async {
    /// let group = LocalGroup::in_place(&Context::background()).with_limit(NonZeroUsize::MIN);
    /// assert!(group.try_spawn(async { Ok::<_, &str>(1) }).is_ok());
    /// assert!(group.try_spawn(async { Ok::<_, &str>(2) }).is_err(), "one at a time");
    /// assert_eq!(group.wait().await.unwrap(), [1]);
    /// # });
    /// ```
    #[track_caller]
    pub fn try_spawn<F, E>(&self, future: F) -> Result<(), F>
    where
        F: Future<Output = Result<T, E>> + 'static,
        E: Into<BoxError>,
    {
        self.inner
            .try_start(future, Newcomer::new(None, Location::caller()), false)
    }

    /// Starts a task that serves the others: it is cancelled when they are done and `wait` is called. Its
    /// failure fails the group; it has no place among the results.
    ///
    /// Under [`Ending::FirstOk`] and [`Ending::Quorum`] its failure does not fail a group that has its successes.
    ///
    /// # Panics
    ///
    /// With whatever the executor's own spawn function throws: tokio's, say, outside of a runtime. The task is then
    /// lost, and fails the group as [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, LocalGroup};
    /// # futures::executor::block_on(async {
    /// let group = LocalGroup::in_place(&Context::background());
    /// group.spawn_background(async { Ok::<_, &str>(std::future::pending().await) });
    /// group.spawn(async { Ok::<_, &str>(5) });
    /// assert_eq!(group.wait().await.unwrap(), [5]);
    /// # });
    /// ```
    #[track_caller]
    pub fn spawn_background<F, E>(&self, future: F)
    where
        F: Future<Output = Result<(), E>> + 'static,
        E: Into<BoxError>,
    {
        self.inner.start_background(future, Location::caller())
    }
}

/// Making a local one without an executor.
impl<T: 'static> TaskGroup<InPlace<LocalTask>, T, LocalTask> {
    /// A group that needs no executor, of tasks that need not be `Send`: see [`Group::in_place`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, LocalGroup};
    /// # futures::executor::block_on(async {
    /// let group = LocalGroup::in_place(&Context::background());
    /// group.spawn(async { Ok::<_, &str>(std::rc::Rc::new(5)) });
    /// assert_eq!(*group.wait().await.unwrap()[0], 5);
    /// # });
    /// ```
    #[track_caller]
    pub fn in_place(ctx: &Context) -> Self {
        Self::with_parent(ctx, Host::in_place(), Location::caller())
    }
}

/// What both flavours share.
impl<S: Spawn<M>, T, M: Flavour> TaskGroup<S, T, M> {
    fn with_parent(parent: &Context, host: Host<S, M>, origin: &'static Location<'static>) -> Self {
        let core = Core::new(parent, None, origin);
        Self {
            inner: Inner::new(host, core),
            finished: VecDeque::new(),
            told: false,
        }
    }

    fn core(&self) -> &Core {
        self.inner.front.core()
    }

    /// At most `limit` tasks run at once: [`spawn`](Group::spawn) queues what comes beyond it, in order. What
    /// is still in the queue when the group ends is dropped unpolled.
    ///
    /// May be set, and changed, at any time.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Group::spawn): a wider limit starts tasks that wait in the queue.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Group};
    /// # use std::num::NonZeroUsize;
    /// # smol::block_on(async {
    /// let group = Group::in_place(&Context::background()).with_limit(NonZeroUsize::MIN);
    /// group.spawn(async { Ok::<_, &str>(1) });
    /// group.spawn(async { Ok::<_, &str>(2) }); // waits for the first to end
    /// assert_eq!(group.wait().await.unwrap(), [1, 2]);
    /// # });
    /// ```
    pub fn with_limit(self, limit: NonZeroUsize) -> Self {
        self.core().set_limit(limit.get());
        self.inner.start_queued(); // a wider limit may have room for some of those who wait
        self
    }

    /// How the group ends: see the table at [`TaskGroup`]. To be set before the first task is spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Ending, Group};
    ///
    /// # smol::block_on(async {
    /// let group = Group::new(smol::spawn).with_ending(Ending::FirstOk);
    /// group.spawn(async { Err("the first mirror is down") });
    /// group.spawn(async { Ok::<_, &str>("page") });
    /// assert_eq!(group.wait().await.unwrap(), ["page"]);
    /// # });
    /// ```
    pub fn with_ending(self, ending: Ending) -> Self {
        let (needed, tolerant) = match ending {
            Ending::FailFast => (0, false),
            Ending::Settle => (0, true),
            Ending::FirstOk => (1, true),
            Ending::Quorum(needed) => (needed.get(), true),
        };
        self.core().set_ending(needed, tolerant);
        self
    }

    /// When the context ends, tasks get `grace` to finish by themselves before they are dropped. Counted
    /// from the end, by the context's clock.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Group};
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let (group, ctx) = Group::with_context(&Context::background(), smol::spawn);
    /// let group = group.with_grace(Duration::from_secs(10));
    /// group.spawn(async move {
    ///     ctx.done().await;
    ///     smol::future::yield_now().await; // without grace it would end here
    ///     Ok::<_, &str>("tidied up")
    /// });
    /// group.cancel_with("shutting down");
    /// assert_eq!(group.wait().await.unwrap(), ["tidied up"]);
    /// # });
    /// ```
    pub fn with_grace(self, grace: Duration) -> Self {
        self.core().set_grace(grace);
        self
    }

    /// Bounds the wait for tasks that block their thread: `limit` after they were to be dropped, `wait`
    /// returns [`Error::Stragglers`] with the names of those still running. Without it `wait` keeps its
    /// promise that nothing outlives it, and waits.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Error, Group, Task};
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let never_runs = |task: Task| task;
    /// let group = Group::<_, ()>::new(never_runs).with_straggler_limit(Duration::from_millis(1));
    /// group.spawn_named("stuck", async { Ok::<_, &str>(()) });
    /// group.cancel_with("shutting down");
    /// let error = group.wait().await.unwrap_err();
    /// assert!(matches!(error, Error::Stragglers { ref names, .. } if names[0] == "stuck"));
    /// # });
    /// ```
    pub fn with_straggler_limit(self, limit: Duration) -> Self {
        self.core().set_straggler_limit(limit);
        self
    }

    /// The group's context: for those of its tasks that did not get it from
    /// [`with_context`](Group::with_context).
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::<_, ()>::new(smol::spawn);
    /// let ctx = group.context().clone();
    /// group.spawn(async { Err("connection refused") });
    /// assert!(group.wait().await.is_err());
    /// assert_eq!(ctx.cause().unwrap().to_string(), "task 0: connection refused");
    /// # });
    /// ```
    pub fn context(&self) -> &Context {
        self.core().context()
    }

    /// Ends the group without a failure: its context is cancelled, with `cause`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::<_, ()>::new(smol::spawn);
    /// group.spawn(async { Ok::<_, &str>(std::future::pending().await) });
    /// group.cancel_with("not needed any more");
    /// let error = group.wait().await.unwrap_err();
    /// assert_eq!(error.to_string(), "context canceled: not needed any more");
    /// # });
    /// ```
    pub fn cancel_with(&self, cause: impl Into<BoxError>) {
        let core = self.core();
        core.cancel(Cause::given(Arc::from(cause.into()), core.origin));
    }

    /// A handle to spawn with, for the group's own tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Group;
    ///
    /// # smol::block_on(async {
    /// let group = Group::new(smol::spawn);
    /// let handle = group.handle();
    /// group.spawn(async move {
    ///     handle.spawn(async { Ok::<_, &str>("found on the way") }).map_err(|_| "ended")?;
    ///     Ok::<_, &str>("first")
    /// });
    /// assert_eq!(group.wait().await.unwrap(), ["first", "found on the way"]);
    /// # });
    /// ```
    pub fn handle(&self) -> GroupHandle<S, T, M> {
        GroupHandle::new(self.inner.clone())
    }

    /// What the group is doing: its live tasks, and the groups below it.
    ///
    /// Costs nothing until asked for. From the first snapshot on, times are taken, at the price of a clock
    /// reading for each spawn and each poll, so the next can tell how old each task is; to have them from
    /// the start, take one then.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Group;
    ///
    /// # smol::block_on(async {
    /// let group = Group::new(smol::spawn);
    /// group.spawn_named("orders", async { Ok::<_, std::fmt::Error>(std::future::pending::<()>().await) });
    /// let snapshot = group.snapshot();
    /// assert_eq!(snapshot.tasks[0].name, "orders");
    /// println!("{snapshot}");
    /// # });
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        self.core().snapshot()
    }

    /// Completes when a place is free: [`try_spawn`](Group::try_spawn) then succeeds, unless somebody else
    /// is quicker. First come, first served.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives its turn to the next in line.
    ///
    /// # Errors
    ///
    /// What ended the group, if it has ended: cancellation releases everyone who waits.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Group};
    /// # use std::num::NonZeroUsize;
    /// # smol::block_on(async {
    /// let group = Group::in_place(&Context::background()).with_limit(NonZeroUsize::MIN);
    /// group.spawn(async { Ok::<_, &str>(1) });
    /// group.ready().await.unwrap();
    /// assert!(group.try_spawn(async { Ok::<_, &str>(2) }).is_ok());
    /// assert_eq!(group.wait().await.unwrap(), [1, 2]);
    /// # });
    /// ```
    pub fn ready(&self) -> impl Future<Output = Result<(), Error>> + '_ {
        let inner = &self.inner;
        Ready::new(inner.front.core(), |cx| {
            inner.front.drive(cx); // where nobody else does: a place is freed by a task that is polled
            inner.serve_queue();
        })
    }

    /// Waits for all tasks, and returns their results in the order of spawning.
    ///
    /// Results that were taken with [`next`](Self::next) are not among them.
    ///
    /// A group without tasks, or whose tasks have all succeeded, is `Ok`, even if its parent has ended.
    ///
    /// Equivalent to: Go's `Group.Wait`, with results.
    ///
    /// # Cancel safety
    ///
    /// It owns the group: dropping it cancels the tasks.
    ///
    /// # Errors
    ///
    /// What ended the group: see [`Error`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::new(smol::spawn);
    /// group.spawn(async { smol::future::yield_now().await; Ok::<_, &str>("slow") });
    /// group.spawn(async { Ok::<_, &str>("quick") });
    /// assert_eq!(group.wait().await.unwrap(), ["slow", "quick"]);
    /// # });
    /// ```
    pub async fn wait(mut self) -> Result<Vec<T>, Error> {
        self.succeed().await?;
        Ok(self.inner.take_values())
    }

    /// [`wait`](Self::wait) with the tasks' names beside their results.
    ///
    /// # Cancel safety
    ///
    /// It owns the group: dropping it cancels the tasks.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::new(smol::spawn);
    /// group.spawn_named("orders", async { Ok::<_, &str>(5) });
    /// let (name, orders) = &group.wait_named().await.unwrap()[0];
    /// assert_eq!((name.as_str(), *orders), ("orders", 5));
    /// # });
    /// ```
    pub async fn wait_named(mut self) -> Result<Vec<(Name, T)>, Error> {
        self.succeed().await?;
        let core = self.core();
        let value = |index| Some((core.name(index), self.inner.results.take(index)?));
        Ok(core.remaining().into_iter().filter_map(value).collect())
    }

    /// Waits for all tasks, and returns what became of each, in the order of spawning: for
    /// [`Ending::Settle`]. A task that was cancelled, or never started, has what ended the group.
    ///
    /// # Cancel safety
    ///
    /// It owns the group: dropping it cancels the tasks.
    ///
    /// # Errors
    ///
    /// [`Error::Stragglers`] only: the others are among the outcomes.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Ending, Group};
    ///
    /// # smol::block_on(async {
    /// let group = Group::new(smol::spawn).with_ending(Ending::Settle);
    /// group.spawn_named("profile", async { Err("connection refused") });
    /// group.spawn_named("orders", async { Ok::<_, &str>(5) });
    ///
    /// let outcomes = group.outcomes().await.unwrap();
    /// let (name, profile) = &outcomes[0];
    /// assert_eq!(name, "profile");
    /// assert_eq!(profile.as_ref().unwrap_err().to_string(), "profile: connection refused");
    /// assert_eq!(outcomes[1].1.as_ref().unwrap(), &5);
    /// # });
    /// ```
    pub async fn outcomes(mut self) -> Result<Vec<(Name, Result<T, Error>)>, Error> {
        self.join().await?;
        let core = self.core();
        let ended = core.end_error();
        let outcome = |index| match self.inner.results.take(index) {
            Some(value) => Ok(value),
            None => Err(core.failure(index).unwrap_or_else(|| ended.clone())),
        };
        Ok(core
            .remaining()
            .into_iter()
            .map(|index| (core.name(index), outcome(index)))
            .collect())
    }

    /// The next result, as the tasks complete; `None` when none is left. It is freed here: a group that
    /// lives long and is drained stays small.
    ///
    /// A failure that ends the group comes once, when it happened; what the cancelled tasks return is not
    /// told. If the context ended the group, that comes last. A group that returned `None` may go on.
    ///
    /// # Cancel safety
    ///
    /// No result is lost if it is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Group;
    ///
    /// # smol::block_on(async {
    /// let mut group = Group::new(smol::spawn);
    /// group.spawn(async { Ok::<_, std::fmt::Error>(1) });
    /// group.spawn(async { Ok::<_, std::fmt::Error>(2) });
    /// let mut sum = 0;
    /// while let Some(result) = group.next().await {
    ///     sum += result.unwrap();
    /// }
    /// assert_eq!(sum, 3);
    /// # });
    /// ```
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        Some(self.next_named().await?.1)
    }

    /// [`next`](Self::next) with the task's name. What the context's end brings has the name of no task:
    /// it is called `group`.
    ///
    /// # Cancel safety
    ///
    /// As [`next`](Self::next).
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let mut group = Group::new(smol::spawn);
    /// group.spawn_named("orders", async { Ok::<_, &str>(5) });
    /// let (name, orders) = group.next_named().await.unwrap();
    /// assert_eq!((name.as_str(), orders.unwrap()), ("orders", 5));
    /// assert!(group.next_named().await.is_none());
    /// # });
    /// ```
    pub async fn next_named(&mut self) -> Option<(Name, Result<T, Error>)> {
        poll_fn(|cx| self.poll_next_named(cx)).await
    }
}

/// The engine of waiting.
impl<S: Spawn<M>, T, M: Flavour> TaskGroup<S, T, M> {
    /// Waits until every task's future is gone.
    async fn join(&mut self) -> Result<(), Error> {
        let inner = &self.inner;
        inner.front.joined(|| inner.serve_queue()).await
    }

    /// Waits for all, and tells what ended the group, if that was no success.
    async fn succeed(&mut self) -> Result<(), Error> {
        self.join().await?;
        self.core().verdict().map_or(Ok(()), Err)
    }

    fn poll_next_named(
        &mut self,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<(Name, Result<T, Error>)>> {
        let inner = self.inner.clone();
        inner.front.drive(cx);
        inner.front.core().watch(cx.waker(), true);
        inner.serve_queue();
        let idle = inner.front.core().is_idle(); // before the look at the list: who finishes after this wakes us
        inner.front.core().take_finished(&mut self.finished);
        while let Some(index) = self.finished.pop_front() {
            if let Some(result) = self.look_at(index) {
                return Poll::Ready(Some(result));
            }
        }
        match idle {
            true => Poll::Ready(self.last_word()),
            false => Poll::Pending,
        }
    }

    /// The outcome of a task that has finished, if it is one to tell.
    fn look_at(&mut self, index: u32) -> Option<(Name, Result<T, Error>)> {
        let core = self.inner.front.core().clone();
        let name = core.name(index);
        let outcome = match self.inner.results.take(index) {
            Some(value) => Some(Ok(value)),
            None => self.look_at_failure(&core, index).map(Err),
        };
        self.inner.front.vacate(index);
        Some((name, outcome?))
    }

    fn look_at_failure(&mut self, core: &Core, index: u32) -> Option<Error> {
        let failure = core.failure(index)?;
        if core.is_tolerant() {
            core.forget_failure(index);
            return Some(failure);
        }
        let first = core.is_first(index);
        self.told |= first;
        first.then_some(failure)
    }

    /// What ended the group, if nobody has been told.
    fn last_word(&mut self) -> Option<(Name, Result<T, Error>)> {
        if self.told || !self.core().is_flawed() {
            return None;
        }
        let error = self.core().context_error()?;
        self.told = true;
        Some((Name::from("group"), Err(error)))
    }
}

impl<S: Spawn<M>, T, M: Flavour> Stream for TaskGroup<S, T, M> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_named(cx)
            .map(|next| next.map(|(_, result)| result))
    }
}

impl<S: Spawn<M>, T, M: Flavour> Unpin for TaskGroup<S, T, M> {}

impl<S: Spawn<M>, T, M: Flavour> Drop for TaskGroup<S, T, M> {
    fn drop(&mut self) {
        self.inner.front.abandon();
        if Arc::get_mut(&mut self.inner).is_none() {
            self.inner.front.drop_handles(); // else they go with it
        }
        self.inner.skip_queue();
        self.inner.discard_values();
    }
}

impl<S: Spawn<M>, T, M: Flavour> fmt::Debug for TaskGroup<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = self.inner.front.core();
        f.debug_struct("Group")
            .field("live", &core.live())
            .field("phase", &core.phase())
            .finish()
    }
}
