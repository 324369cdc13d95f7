//! Tasks that stand and fall together: Go's `errgroup`, with results, on any runtime.
//!
//! | file | owns |
//! |---|---|
//! | `group.rs` | the public face: making, configuring, waiting |
//! | `group/spawns.rs` | the spawn methods of the four flavors |
//! | `group/cell.rs` | the record of one task |
//! | `group/engine.rs`, `state.rs` | what a group's tasks share: joining, polling, the end |
//! | `group/complete.rs` | the end of a task: record, cancel, release, wake |
//! | `group/finished.rs`, `failures.rs` | what finished tasks leave |
//! | `group/executor.rs`, `spawn.rs` | the executor's side |
//! | `group/in_place.rs` | tasks without an executor |
//! | `group/wait.rs`, `ready.rs` | waiting for outcomes, and for room |
//! | `group/shutdown.rs` | grace and stragglers |
//! | `group/observed.rs`, `spans.rs` | reporting to an observer; the spans of `tracing` |
//! | `group/fork.rs`, `each.rs`, `ordered.rs` | results of other types, a task an item, results in order |
//! | `group/handle.rs`, `snapshot.rs` | spawning from elsewhere, looking in |

mod cell;
mod complete;
mod each;
mod engine;
mod failures;
mod finished;
mod fork;
mod handle;
mod in_place;
mod keep;
mod observed;

mod executor;
mod ordered;
mod pool;
mod reach;
mod ready;
mod scope;
mod shared;
mod shutdown;
mod snapshot;
#[cfg_attr(not(feature = "tracing"), path = "group/no_spans.rs")]
mod spans;
mod spawn;
mod spawns;
mod state;
mod wait;

use crate::context::{Context, NewDeadline, Node};
use crate::error::{BoxError, End, Error, Name};
use complete::By;
use engine::Engine;
use executor::Launch;
use finished::{Finished, Wanted};
use futures::stream::Stream;
use observed::Observed;
use ready::Ready;
use scope::Scope;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

pub(crate) use executor::Launcher;
pub use executor::{LocalScoped, LocalTask, Scoped, Task};
pub use fork::Fork;
pub use handle::GroupHandle;
pub(crate) use observed::attempt as observe_attempt;
pub use snapshot::{Snapshot, TaskSnapshot, TaskState};
pub use spawn::Spawn;

/// A group of tasks on one job: the first failure stops them all.
///
/// Its tasks run on an executor, which may move them between threads. See [`TaskGroup`] for everything it does.
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
pub type Group<T> = TaskGroup<T, Task>;

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
pub type LocalGroup<T> = TaskGroup<T, LocalTask>;

/// [`Group`] without an executor: a poll of the group polls its tasks, so that they may borrow from the caller.
///
/// For programs on a bare `block_on`, and where a hop to another thread costs more than the work. Each poll of
/// [`wait`](TaskGroup::wait), [`next`](TaskGroup::next), [`run`](TaskGroup::run) or [`ready`](TaskGroup::ready) polls
/// the tasks that were woken, a bounded number of them, and then yields to the caller's executor.
///
/// What tasks borrow is declared before the group, because the group has a `Drop` that drops the tasks.
///
/// # Examples
///
/// ```
/// use failfast::{Context, InPlaceGroup};
///
/// let lines = ["one".to_owned(), "three".to_owned()];
/// let group = InPlaceGroup::new(&Context::background());
/// for line in &lines {
///     group.spawn(async move { Ok::<_, std::fmt::Error>(line.len()) });
/// }
/// assert_eq!(futures::executor::block_on(group.wait()).unwrap(), [3, 5]);
/// ```
pub type InPlaceGroup<'env, T> = TaskGroup<T, Scoped<'env>>;

/// [`InPlaceGroup`] whose tasks need not be `Send`.
///
/// # Examples
///
/// ```
/// use failfast::{Context, LocalInPlaceGroup};
/// use std::cell::Cell;
///
/// let total = Cell::new(0); // before the group, which has a `Drop`
/// let group = LocalInPlaceGroup::new(&Context::background());
/// for number in 1..=3 {
///     let total = &total;
///     group.spawn(async move { Ok::<_, std::fmt::Error>(total.set(total.get() + number)) });
/// }
/// futures::executor::block_on(group.wait()).unwrap();
/// assert_eq!(total.get(), 6);
/// ```
pub type LocalInPlaceGroup<'env, T> = TaskGroup<T, LocalScoped<'env>>;

/// A group of tasks on one job: what [`Group`], [`LocalGroup`], [`InPlaceGroup`] and [`LocalInPlaceGroup`] are, which
/// differ in the kind of task `M` alone.
///
/// ```text
/// profile  ├──────────✗ connection refused      1 recorded
/// orders   ├───────────┤ dropped                2 context canceled, with that as its cause
/// ads      ├───────────┤ dropped                3 polled once more, then dropped
/// wait     ├───────────► Err(profile: connection refused)
/// ```
///
/// # Semantics
///
/// * **Fail fast.** The first failure is recorded, then the group's context is canceled with it as the cause, then
///   the slot is released, then others are woken. The echoes of the cancellation never replace or hide it.
/// * **Nothing outlives [`wait`](Self::wait)** or [`run`](Self::run). They return when every task's future has been
///   dropped. When the context ends, each task is polled once more, with its context done, and then dropped, whether
///   it looks at the context or not. [`with_grace`](Self::with_grace) gives tasks time to finish by themselves, and
///   [`Context::shield`] protects a critical section.
/// * **Dropped early, nothing leaks.** Dropping the group, or the `wait` future, cancels every task.
/// * **Nothing starts late.** Once the context's deadline has passed or the group has ended, no task is polled for the
///   first time: not by a spawn, not from the queue, and not by an executor that comes late to a task it already has.
/// * **The group's context ends with the group**, on success too, and holds the cause. What must go on gets
///   [`Context::without_cancel`].
/// * **What happened first is the error.** If the context ended first (deadline, parent, `cancel_with`), that is the
///   error, whatever the tasks then return. If all tasks succeed all the same, it is `Ok`: what is done is done.
/// * **Nothing failed, nothing is wrong.** So a group without tasks, or whose tasks have all succeeded, is `Ok` under a
///   parent that has ended, too.
/// * **Panics** are contained in their task and fail the group as [`ErrorKind::Panicked`](crate::ErrorKind).
/// * **Memory follows the living.** A finished task keeps its result and a few words; a background task, and one of
///   `T = ()` while `wait` or `run` is pending, keeps nothing. A thread keeps 64 KiB at most of what it has freed, for its
///   next tasks.
///
/// # How a group ends
///
/// | [`Ending`] | what ends it early | `wait` returns | the rest |
/// |---|---|---|---|
/// | `FailFast` (default) | the first failure | all results, or the first failure | canceled |
/// | `Settle` | nothing | all results, or the first failure; [`outcomes`](Self::outcomes): each one's own | runs on |
/// | `FirstOk` | the first success | that one result, or the first failure if none succeeded | canceled |
/// | `Quorum(k)` | k successes, or k out of reach | the k results, or the first failure | canceled |
///
/// The context's end ends them all, and so does [`stop`](Self::stop), after which `wait` returns what finished. A
/// background task's failure does not fail a `FirstOk` or `Quorum` group that has its successes.
#[must_use = "dropping a group cancels its tasks: `wait` for it"]
pub struct TaskGroup<T, M> {
    scope: Scope,
    launcher: Option<Launcher<M>>,
    /// Whether `next` has returned what ended the group.
    told: bool,
    /// All tasks have been dropped, and their results have been taken.
    over: bool,
    _types: Invariant<T, M>,
}

/// A group's types are invariant, or else safe code could smuggle a shorter borrow into a longer group.
type Invariant<T, M> = PhantomData<fn(T, M) -> (T, M)>;

// SAFETY: a group holds values of `T` and futures that are `Send` where `M` is, by the bounds of the spawn methods;
// what it shares with other threads is the engine, which is `Send + Sync`, and the launcher, which goes with `M`.
#[allow(unsafe_code, reason = "see above")]
unsafe impl<T: Send, M: Send> Send for TaskGroup<T, M> {}
// SAFETY: as above; `&TaskGroup` gives no `&T`.
#[allow(unsafe_code, reason = "see above")]
unsafe impl<T: Send, M: Sync> Sync for TaskGroup<T, M> {}

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
    /// All run to their end, however the others end.
    Settle,
    /// One success is enough, and cancels the rest.
    FirstOk,
    /// So many successes are enough, and cancel the rest.
    Quorum(NonZeroUsize),
}

/// Making one.
impl<T, M> TaskGroup<T, M> {
    /// A group under `parent`. Without a launcher its tasks are polled in place; `deadline` is the group's own.
    #[inline]
    pub(crate) fn open(
        parent: &Context,
        launcher: Option<Launcher<M>>,
        deadline: Option<NewDeadline>,
        origin: &'static Location<'static>,
    ) -> Self {
        Self::open_named(parent, launcher, (deadline, None), origin)
    }

    /// [`open`](Self::open) for a group that has a deadline and a name of its own.
    #[inline]
    pub(crate) fn open_named(
        parent: &Context,
        launcher: Option<Launcher<M>>,
        (deadline, name): (Option<NewDeadline>, Option<&Name>),
        origin: &'static Location<'static>,
    ) -> Self {
        let in_place = launcher.is_none();
        let observed = Observed::below(parent, name, origin);
        let engine = || Engine::new(Finished::new::<T>(), in_place, parent.clock(), observed);
        let node = Node::new(parent, engine, deadline, origin);
        Self {
            scope: Scope::new(parent, node),
            launcher,
            told: false,
            over: false,
            _types: PhantomData,
        }
    }

    /// Runs `spawns` within the group's span, if it has one.
    pub(crate) fn within_span<R>(&self, spawns: impl FnOnce() -> R) -> R {
        match &self.engine().observed {
            None => spawns(),
            Some(observed) => observed.within_span(spawns),
        }
    }

    fn launch(&self) -> Option<&dyn Launch> {
        Some(self.launcher.as_ref()?.launch())
    }

    /// Before a handle or a fork is made.
    fn lend_launcher(&self) {
        if let Some(launcher) = &self.launcher {
            self.engine().lend_launcher(launcher);
        }
    }

    fn engine(&self) -> &Engine {
        self.scope.engine()
    }

    fn node(&self) -> &Node<Engine> {
        self.scope.node()
    }
}

/// Configuring, and looking at.
impl<T, M> TaskGroup<T, M> {
    /// At most `limit` tasks run at once: [`spawn`](Group::spawn) queues what comes beyond it, in order. What is
    /// still in the queue when the group ends is dropped unpolled.
    ///
    /// May be set, and changed, at any time. Background tasks do not count, nor does a task while it waits for a
    /// [`Fork`] of its own group, which would otherwise wait for its own slot for ever.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Group::spawn): a wider limit starts tasks that wait in the queue.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// # use std::num::NonZeroUsize;
    /// let group = InPlaceGroup::new(&Context::background()).with_limit(NonZeroUsize::MIN);
    /// group.spawn(async { Ok::<_, &str>(1) });
    /// group.spawn(async { Ok::<_, &str>(2) }); // waits for the first to end
    /// assert_eq!(futures::executor::block_on(group.wait()).unwrap(), [1, 2]);
    /// ```
    pub fn with_limit(self, limit: NonZeroUsize) -> Self {
        self.engine().lock().limit.most = limit.get();
        self.engine()
            .serve_queue(self.node(), self.launch(), By::Group);
        let next = {
            let mut state = self.engine().lock();
            if state.limit.is_full() {
                None
            } else {
                state.limit.call_first()
            }
        };
        next.into_iter().for_each(crate::unwind::wake);
        self
    }

    /// How the group ends: see the table at [`TaskGroup`].
    ///
    /// # Panics
    ///
    /// If a task has been spawned already, because outcomes may have been judged by the ending before.
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
    #[track_caller]
    pub fn with_ending(self, ending: Ending) -> Self {
        let (needed, tolerant) = match ending {
            Ending::FailFast => (0, false),
            Ending::Settle => (0, true),
            Ending::FirstOk => (1, true),
            Ending::Quorum(needed) => (needed.get(), true),
        };
        let spawned = {
            let mut state = self.engine().lock();
            state.needed = needed;
            state.shutdown.tolerant = tolerant;
            state.members.next > 0
        };
        assert!(
            !spawned,
            "with_ending belongs before the group's first spawn: its tasks may have been judged by another ending"
        );
        self
    }

    /// When the context ends, tasks get `grace` to finish by themselves before they are dropped. Counted from the
    /// end, by the context's clock. Set after the end, it takes effect for the tasks that are still there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Group};
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let (group, ctx) = Group::with_context(&Context::background(), smol::spawn);
    /// let group = group.with_grace(Duration::from_secs(10));
    /// # let (begin, begun) = futures::channel::oneshot::channel();
    /// group.spawn(async move {
    /// #     begin.send(()).unwrap();
    ///     ctx.done().await;
    ///     smol::future::yield_now().await; // without grace it would end here
    ///     Ok::<_, &str>("tidied up")
    /// });
    /// # begun.await.unwrap(); // a task that has not begun is not begun any more
    /// group.cancel_with("shutting down");
    /// assert_eq!(group.wait().await.unwrap(), ["tidied up"]);
    /// # });
    /// ```
    pub fn with_grace(self, grace: Duration) -> Self {
        self.engine().set_grace(self.scope.node_ref(), grace);
        self
    }

    /// Bounds the wait for tasks that block their thread: `limit` after they were to be dropped, `wait` returns
    /// [`ErrorKind::Stragglers`](crate::ErrorKind::Stragglers) with the names of those still running. Without it
    /// `wait` keeps its promise that nothing outlives it, and waits. Set after the end, it takes effect as well.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{ErrorKind, Group, Task};
    /// # use std::time::Duration;
    /// # smol::block_on(async {
    /// let never_runs = |task: Task| task;
    /// let group = Group::<()>::new(never_runs).with_straggler_limit(Duration::from_millis(1));
    /// group.spawn_named("stuck", async { Ok::<_, &str>(()) });
    /// group.cancel_with("shutting down");
    /// let error = group.wait().await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Stragglers);
    /// assert_eq!(error.pending(), ["stuck"]);
    /// # });
    /// ```
    pub fn with_straggler_limit(self, limit: Duration) -> Self {
        self.engine()
            .set_straggler_limit(self.scope.node_ref(), limit);
        self
    }

    /// The group's context, for its tasks: canceled when one of them fails, when the parent ends, and when the
    /// group ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// let ctx = group.context().clone();
    /// group.spawn(async { Err("connection refused") });
    /// assert!(group.wait().await.is_err());
    /// assert_eq!(ctx.cause().unwrap().to_string(), "task 0: connection refused");
    /// # });
    /// ```
    pub fn context(&self) -> &Context {
        self.scope.context()
    }

    /// Ends the group with a reason: its context is canceled, with `cause`, and `wait` returns that as the error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// group.spawn(async { Ok::<_, &str>(std::future::pending().await) });
    /// group.cancel_with("not needed any more");
    /// let error = group.wait().await.unwrap_err();
    /// assert_eq!(error.to_string(), "context canceled: not needed any more (waiting for task 0)");
    /// # });
    /// ```
    pub fn cancel_with(&self, cause: impl Into<BoxError>) {
        self.scope.cancel_with(cause.into());
    }

    /// Ends the group without a failure: its context is canceled at once, no task starts any more, and `wait` returns the
    /// results of those that had finished. With [`with_grace`](Self::with_grace) the others have that long to end by
    /// themselves; a task that is to finish its work all the same must not use the group's context for it.
    /// [`outcomes`](Self::outcomes) names the tasks that were cut off.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// # futures::executor::block_on(async {
    /// let mut group = InPlaceGroup::new(&Context::background());
    /// group.spawn(async { Ok::<_, &str>(1) });
    /// group.spawn(async { Ok::<_, &str>(2) });
    /// group.spawn(async { Ok::<_, &str>(std::future::pending().await) });
    /// assert_eq!(group.next().await.unwrap().unwrap(), 1);
    /// group.stop();
    /// assert_eq!(group.wait().await.unwrap(), [2]);
    /// # });
    /// ```
    pub fn stop(&self) {
        self.scope.stop();
    }

    /// A handle to spawn with, for the group's own tasks, and to look at a group that is being waited for.
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
    pub fn handle(&self) -> GroupHandle<T, M> {
        self.lend_launcher();
        GroupHandle::new(self.scope.clone())
    }

    /// What the group is doing: its live tasks, and the groups below it.
    ///
    /// Costs nothing until the first call. From then on, times are taken, at the price of a clock reading
    /// for each spawn and each poll, so that the next can show how old each task is; to have them from the start,
    /// take one then.
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
    /// assert_eq!(snapshot.tasks()[0].name, "orders");
    /// println!("{snapshot}");
    /// # });
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        snapshot::of(self.scope.node_ref())
    }

    /// Completes when one more task may start: [`try_spawn`](Group::try_spawn) then succeeds, unless another caller
    /// is quicker. First come, first served.
    ///
    /// Not for a task of the group itself that counts: while it waits it holds a slot, so that tasks which all wait here
    /// wait for each other. Such a task spawns, and is queued.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives its turn to the next in line.
    ///
    /// # Errors
    ///
    /// What ended the group, if it has ended: the end releases every waiter.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// # use std::num::NonZeroUsize;
    /// # futures::executor::block_on(async {
    /// let group = InPlaceGroup::new(&Context::background()).with_limit(NonZeroUsize::MIN);
    /// for number in 0..3 {
    ///     group.ready().await.unwrap(); // polls the task that is there
    ///     assert!(group.try_spawn(async move { Ok::<_, &str>(number) }).is_ok());
    /// }
    /// assert_eq!(group.wait().await.unwrap(), [0, 1, 2]);
    /// # });
    /// ```
    pub async fn ready(&self) -> Result<(), Error> {
        Ready::of_group(self).await
    }
}

/// Waiting.
impl<T, M> TaskGroup<T, M> {
    /// Waits for every task to end, and returns the results in the order of spawning.
    ///
    /// Until then they are kept: a group that spawns for months is read by [`next`](Self::next), or has its tasks in the
    /// background.
    ///
    /// # Cancel safety
    ///
    /// Not safe: it owns the group. Dropping it cancels the tasks, and leaves nothing behind.
    ///
    /// # Errors
    ///
    /// What happened first: the failure of a task, with its name, or the end of the context. It is returned when all
    /// tasks have been dropped, or when the [straggler limit](Self::with_straggler_limit) has passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{ErrorKind, Group};
    ///
    /// # smol::block_on(async {
    /// let group = Group::new(smol::spawn);
    /// group.spawn_named("profile", async { Ok::<_, std::io::Error>("Alice") });
    /// group.spawn_named("orders", async { Err(std::io::Error::other("connection refused")) });
    /// let error = group.wait().await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Task);
    /// assert_eq!(error.to_string(), "orders: connection refused");
    /// # });
    /// ```
    pub async fn wait(mut self) -> Result<Vec<T>, Error> {
        self.join(Wanted::Values).await?;
        self.conclude_values()
    }

    /// [`wait`](Self::wait), with the name of each task: `task 3` where it was given none.
    ///
    /// # Cancel safety
    ///
    /// As [`wait`](Self::wait).
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
    /// group.spawn_named("profile", async { Ok::<_, &str>("Alice") });
    /// group.spawn(async { Ok::<_, &str>("5 orders") });
    /// let named = group.wait_named().await.unwrap();
    /// assert_eq!(named, [("profile".into(), "Alice"), ("task 1".into(), "5 orders")]);
    /// # });
    /// ```
    pub async fn wait_named(mut self) -> Result<Vec<(Name, T)>, Error> {
        self.join(Wanted::All).await?;
        self.conclude_named()
    }

    /// Waits for every task to end, and returns each one's own outcome, in the order of spawning: with
    /// [`Ending::Settle`], a partial answer is a normal answer.
    ///
    /// A task that was canceled has the group's end as its error.
    ///
    /// # Cancel safety
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// Only [`ErrorKind::Stragglers`](crate::ErrorKind::Stragglers).
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Ending, Group};
    ///
    /// # smol::block_on(async {
    /// let group = Group::new(smol::spawn).with_ending(Ending::Settle);
    /// group.spawn_named("profile", async { Ok::<_, &str>("Alice") });
    /// group.spawn_named("ads", async { Err("connection refused") });
    /// let outcomes = group.outcomes().await.unwrap();
    /// assert_eq!(outcomes[0].1.as_ref().unwrap(), &"Alice");
    /// assert_eq!(outcomes[1].1.as_ref().unwrap_err().to_string(), "ads: connection refused");
    /// # });
    /// ```
    pub async fn outcomes(mut self) -> Result<Vec<(Name, Result<T, Error>)>, Error> {
        self.join(Wanted::All).await?;
        Ok(self.take_outcomes())
    }

    /// Takes part in the group with a body, which the caller polls, beside the tasks: `body` usually awaits
    /// [forks](Group::fork) and puts their results together.
    ///
    /// The body's failure is a task's failure, named `body`, and its panic is contained, as a task's. If it returns an
    /// echo of the group's end, the root cause is the error. When the group ends, the body is polled once more and
    /// then dropped. `run` returns when every task is gone, after an early `Ok` too; the tasks' own results are
    /// dropped.
    ///
    /// # Cancel safety
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// What happened first, as from [`wait`](Self::wait). After [`stop`](Self::stop): the body's value if it was
    /// through by its last poll, and otherwise kind [`Canceled`](crate::ErrorKind::Canceled).
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Context, Error, Group};
    ///
    /// async fn profile() -> Result<String, std::io::Error> { Ok("Alice".to_owned()) }
    /// async fn orders() -> Result<u32, std::fmt::Error> { Ok(5) }
    ///
    /// async fn page() -> Result<String, Error> {
    ///     let group = Group::<()>::new(smol::spawn);
    ///     let profile = group.fork("profile", profile());
    ///     let orders = group.fork("orders", orders());
    ///     group.run(async { Ok(format!("{} has {} orders", profile.await?, orders.await?)) }).await
    /// }
    ///
    /// assert_eq!(smol::block_on(page()).unwrap(), "Alice has 5 orders");
    /// ```
    pub async fn run<R>(
        mut self,
        body: impl Future<Output = Result<R, BoxError>>,
    ) -> Result<R, Error> {
        self.want(Wanted::Nothing);
        self.run_body(body).await
    }

    /// The next outcome, in the order of completion; `None` when nothing is left to wait for.
    ///
    /// In a group that ends with its first failure, only that failure is an outcome: the echoes are not. If the
    /// context ended first, the last outcome is that error. Background tasks are left running.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let mut group = Group::new(smol::spawn);
    /// group.spawn(async { smol::future::yield_now().await; Ok::<_, &str>("slow") });
    /// while let Some(result) = group.next().await {
    ///     assert_eq!(result.unwrap(), "slow");
    /// }
    /// # });
    /// ```
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        let next = poll_fn(|cx| self.poll_outcome(cx)).await?;
        Some(next.result)
    }

    /// [`next`](Self::next), with the task's name.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let mut group = Group::new(smol::spawn);
    /// group.spawn_named("profile", async { Ok::<_, &str>("Alice") });
    /// let (name, result) = group.next_named().await.unwrap();
    /// assert_eq!((name.as_str(), result.unwrap()), ("profile", "Alice"));
    /// # });
    /// ```
    pub async fn next_named(&mut self) -> Option<(Name, Result<T, Error>)> {
        let next = poll_fn(|cx| self.poll_outcome(cx)).await?;
        let number = || Name::of_number(next.number);
        Some((next.name.unwrap_or_else(number), next.result))
    }
}

impl<T, M> Stream for TaskGroup<T, M> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let outcome = self.poll_outcome(cx);
        outcome.map(|next| next.map(|next| next.result))
    }
}

/// Nothing of a group is pinned, because tasks are in cells of their own.
impl<T, M> Unpin for TaskGroup<T, M> {}

/// Cancels what still runs, because nothing waits for it any more, and drops what the group owns.
impl<T, M> Drop for TaskGroup<T, M> {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl<T, M> fmt::Debug for TaskGroup<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scope.fmt_as("Group", f)
    }
}

impl Scope {
    fn cancel_with(&self, cause: BoxError) {
        let end = End::canceled_by(cause, self.node().origin());
        self.node_ref().mark(end).wake();
    }

    fn stop(&self) {
        let end = End::stopped(self.node().origin());
        self.with_node(|node| Engine::end_by_us(node, end)).wake();
    }

    fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (live, queued) = {
            let state = self.engine().lock();
            let queued = state.limit.queue.len();
            (state.members.list.len() + queued, queued)
        };
        let phase = self.engine().phase(self.node());
        f.debug_struct(name)
            .field("live", &live)
            .field("queued", &queued)
            .field("phase", &phase)
            .finish()
    }
}
