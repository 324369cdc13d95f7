//! The spawn methods of groups and handles, for the four kinds of task. They differ in bounds alone: the macro
//! forwards, and the functions it forwards to are written once.

use super::cell::Newcomer;
use super::engine::AtLimit;
use super::executor::{Launch, Launcher, Lent};
use super::fork::Fork;
use super::keep::{Background, Keep, Kept};
use super::scope::Scope;
use super::spawn::Spawn;
use super::{GroupHandle, LocalScoped, LocalTask, Scoped, Task, TaskGroup};
use crate::context::Context;
use crate::error::{BoxError, Error, Name};
use futures::stream::Stream;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;

impl Newcomer {
    pub(super) fn new(name: Option<Name>, site: &'static Location<'static>) -> Self {
        Self { name, site }
    }
}

/// Making one.
impl<T: Send + 'static> TaskGroup<T, Task> {
    /// A group under a background context: nothing ends it but itself.
    ///
    /// `spawn` is the executor's own spawn function, or a closure around it: see [`Spawn`].
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
    pub fn new<S>(spawn: S) -> Self
    where
        S: Spawn + Send + Sync + 'static,
        S::Handle: Send + 'static,
    {
        let launcher = Launcher::<Task>::new(spawn);
        Self::open(
            &Context::background(),
            Some(launcher),
            None,
            Location::caller(),
        )
    }

    /// A group under `parent`, and its context, for its tasks: canceled when one of them fails, when `parent` ends,
    /// and when the group ends.
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
    pub fn with_context<S>(parent: &Context, spawn: S) -> (Self, Context)
    where
        S: Spawn + Send + Sync + 'static,
        S::Handle: Send + 'static,
    {
        let launcher = Launcher::<Task>::new(spawn);
        let group = Self::open(parent, Some(launcher), None, Location::caller());
        let ctx = group.context().clone();
        (group, ctx)
    }
}

/// Making a local one.
impl<T: 'static> TaskGroup<T, LocalTask> {
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
    pub fn new<S>(spawn: S) -> Self
    where
        S: Spawn<LocalTask> + 'static,
        S::Handle: 'static,
    {
        let launcher = Launcher::<LocalTask>::new_local(spawn);
        Self::open(
            &Context::background(),
            Some(launcher),
            None,
            Location::caller(),
        )
    }

    /// A group under `parent`, and its context, for its tasks: canceled when one of them fails, when `parent` ends,
    /// and when the group ends.
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
    pub fn with_context<S>(parent: &Context, spawn: S) -> (Self, Context)
    where
        S: Spawn<LocalTask> + 'static,
        S::Handle: 'static,
    {
        let launcher = Launcher::<LocalTask>::new_local(spawn);
        let group = Self::open(parent, Some(launcher), None, Location::caller());
        let ctx = group.context().clone();
        (group, ctx)
    }
}

/// Making one without an executor.
impl<'env, T: Send + 'env> TaskGroup<T, Scoped<'env>> {
    /// A group under `ctx` whose tasks are polled by each poll of the group. They may borrow for `'env`.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Context, InPlaceGroup};
    ///
    /// let group = InPlaceGroup::new(&Context::background());
    /// group.spawn(async { Ok::<_, std::fmt::Error>(1) });
    /// group.spawn(async { Ok::<_, std::fmt::Error>(2) });
    /// assert_eq!(futures::executor::block_on(group.wait()).unwrap(), [1, 2]);
    /// ```
    #[track_caller]
    pub fn new(ctx: &Context) -> Self {
        Self::open(ctx, None, None, Location::caller())
    }
}

/// Making a local one without an executor.
impl<'env, T: 'env> TaskGroup<T, LocalScoped<'env>> {
    /// A group under `ctx` whose tasks are polled by each poll of the group. They may borrow for `'env`, and need not
    /// be `Send`.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Context, LocalInPlaceGroup};
    /// use std::rc::Rc;
    ///
    /// let group = LocalInPlaceGroup::new(&Context::background());
    /// group.spawn(async { Ok::<_, std::fmt::Error>(Rc::new(1)) });
    /// assert_eq!(*futures::executor::block_on(group.wait()).unwrap()[0], 1);
    /// ```
    #[track_caller]
    pub fn new(ctx: &Context) -> Self {
        Self::open(ctx, None, None, Location::caller())
    }
}

/// Where a spawn comes from: the group, which has its launcher at hand, or a handle, which finds it if the group is
/// still there.
enum Spawner<'a> {
    Group(Option<&'a dyn Launch>),
    Handle,
}

impl Spawner<'_> {
    fn with<R>(&self, scope: &Scope, spawn: impl FnOnce(Option<&dyn Launch>) -> R) -> R {
        match self {
            Self::Group(launch) => spawn(*launch),
            Self::Handle => spawn(scope.engine().launcher().as_ref().map(Lent::get)),
        }
    }
}

/// # Safety
///
/// Of all three: `K` names the group's results, and the bounds of the caller are those of its kind of task, so that
/// futures and results are `Send` unless the group is local, and live as long as the group's tasks may.
#[allow(unsafe_code, reason = "see `scope`")]
#[inline]
unsafe fn spawn<K, F, E>(
    scope: &Scope,
    by: Spawner<'_>,
    keep: K,
    newcomer: Newcomer,
    future: F,
) -> Option<u64>
where
    K: Keep,
    F: Future<Output = Result<K::Value, E>>,
    E: Into<BoxError>,
{
    // SAFETY: the caller's promise.
    by.with(scope, |launch| unsafe {
        scope.spawn_or_refuse(future, keep, newcomer, launch)
    })
}

/// # Safety
///
/// See [`spawn`].
#[allow(unsafe_code, reason = "see `scope`")]
#[inline]
unsafe fn try_spawn<K, F, E>(
    scope: &Scope,
    by: Spawner<'_>,
    keep: K,
    newcomer: Newcomer,
    at_limit: AtLimit,
    future: F,
) -> Result<(), F>
where
    K: Keep,
    F: Future<Output = Result<K::Value, E>>,
    E: Into<BoxError>,
{
    // SAFETY: the caller's promise.
    by.with(scope, |launch| unsafe {
        scope
            .spawn(future, keep, newcomer, at_limit, launch)
            .map(drop)
            .map_err(|(future, _)| future)
    })
}

/// # Safety
///
/// See [`spawn`].
#[allow(unsafe_code, reason = "see `scope`")]
unsafe fn fork<U, F, E>(scope: &Scope, by: Spawner<'_>, newcomer: Newcomer, future: F) -> Fork<U>
where
    F: Future<Output = Result<U, E>>,
    E: Into<BoxError>,
{
    let (fork, keep) = Fork::new(scope);
    // SAFETY: the caller's promise.
    unsafe { spawn(scope, by, keep, newcomer, future) };
    fork
}

macro_rules! spawn_methods {
    ([$($env:lifetime)?] $task:ty, $life:lifetime $(, $send:ident)?) => {
        /// Spawning.
        #[allow(unsafe_code, reason = "see `scope`")]
        impl<$($env,)? T: $($send +)? $life> TaskGroup<T, $task> {
            /// Starts a task. Its number, in the order of spawning, is its place among the results.
            ///
            /// If the group has ended, the future is dropped unpolled, and `wait` returns the reason. At the
            /// [limit](Self::with_limit) the task is queued.
            ///
            /// # Panics
            ///
            /// If the executor's own spawn function panics: tokio's, for example, outside of a runtime. The task is
            /// then lost, and fails the group as [`ErrorKind::Lost`](crate::ErrorKind::Lost).
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
            #[inline]
            pub fn spawn<F, E>(&self, future: F)
            where
                F: Future<Output = Result<T, E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let newcomer = Newcomer::new(None, Location::caller());
                // SAFETY: the bounds of this method.
                unsafe { spawn(&self.scope, Spawner::Group(self.launch()), Kept::<T>::NEW, newcomer, future) };
            }

            /// [`spawn`](Self::spawn) with a name: for errors, logs and snapshots.
            ///
            /// # Panics
            ///
            /// As [`spawn`](Self::spawn).
            ///
            /// # Examples
            ///
            /// ```
            /// # use failfast::Group;
            /// # smol::block_on(async {
            /// let group = Group::<()>::new(smol::spawn);
            /// group.spawn_named("orders", async { Err("no such user") });
            /// assert_eq!(group.wait().await.unwrap_err().to_string(), "orders: no such user");
            /// # });
            /// ```
            #[track_caller]
            #[inline]
            pub fn spawn_named<F, E>(&self, name: impl Into<Name>, future: F)
            where
                F: Future<Output = Result<T, E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let newcomer = Newcomer::new(Some(name.into()), Location::caller());
                // SAFETY: the bounds of this method.
                unsafe { spawn(&self.scope, Spawner::Group(self.launch()), Kept::<T>::NEW, newcomer, future) };
            }

            /// Starts a task only if that is possible at once.
            ///
            /// # Panics
            ///
            /// As [`spawn`](Self::spawn).
            ///
            /// # Errors
            ///
            /// The future, unpolled, if the [limit](Self::with_limit) is reached or the group has ended.
            ///
            /// # Examples
            ///
            /// ```
            /// # use failfast::{Context, InPlaceGroup};
            /// # use std::num::NonZeroUsize;
            /// let group = InPlaceGroup::new(&Context::background()).with_limit(NonZeroUsize::MIN);
            /// assert!(group.try_spawn(async { Ok::<_, &str>(1) }).is_ok());
            /// assert!(group.try_spawn(async { Ok::<_, &str>(2) }).is_err(), "one at a time");
            /// assert_eq!(futures::executor::block_on(group.wait()).unwrap(), [1]);
            /// ```
            #[track_caller]
            pub fn try_spawn<F, E>(&self, future: F) -> Result<(), F>
            where
                F: Future<Output = Result<T, E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let newcomer = Newcomer::new(None, Location::caller());
                let by = Spawner::Group(self.launch());
                // SAFETY: the bounds of this method.
                unsafe { try_spawn(&self.scope, by, Kept::<T>::NEW, newcomer, AtLimit::Refuse, future) }
            }

            /// Starts a task that serves the others: it is canceled when they are done and `wait` is called. Its failure
            /// fails the group; it has no place among the results, and does not count for the
            /// [limit](Self::with_limit). With a name: [`spawn_background_named`](Self::spawn_background_named).
            ///
            /// # Panics
            ///
            /// As [`spawn`](Self::spawn).
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
                F: Future<Output = Result<(), E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let newcomer = Newcomer::new(None, Location::caller());
                // SAFETY: the bounds of this method.
                unsafe { spawn(&self.scope, Spawner::Group(self.launch()), Background, newcomer, future) };
            }

            /// [`spawn_background`](Self::spawn_background) with a name.
            ///
            /// # Panics
            ///
            /// As [`spawn`](Self::spawn).
            ///
            /// # Examples
            ///
            /// ```
            /// # use failfast::Group;
            /// # smol::block_on(async {
            /// let group = Group::<()>::new(smol::spawn);
            /// group.spawn_background_named("heartbeat", async { Err("connection lost") });
            /// group.spawn(async { Ok::<_, &str>(std::future::pending().await) });
            /// assert_eq!(group.wait().await.unwrap_err().to_string(), "heartbeat: connection lost");
            /// # });
            /// ```
            #[track_caller]
            pub fn spawn_background_named<F, E>(&self, name: impl Into<Name>, future: F)
            where
                F: Future<Output = Result<(), E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let newcomer = Newcomer::new(Some(name.into()), Location::caller());
                // SAFETY: the bounds of this method.
                unsafe { spawn(&self.scope, Spawner::Group(self.launch()), Background, newcomer, future) };
            }

            /// Starts a task with a result of its own type, and returns the [`Fork`] to await that with: in
            /// [`run`](Self::run)'s body, or in another task.
            ///
            /// Its failure fails the group, as any task's. It has no place among the group's results.
            ///
            /// # Panics
            ///
            /// As [`spawn`](Self::spawn).
            ///
            /// # Examples
            ///
            /// ```
            /// use failfast::Group;
            ///
            /// # smol::block_on(async {
            /// let group = Group::<()>::new(smol::spawn);
            /// let name = group.fork("profile", async { Ok::<_, &str>("Alice") });
            /// let orders = group.fork("orders", async { Ok::<_, std::io::Error>(5) });
            /// let line = group.run(async { Ok(format!("{} | {}", name.await?, orders.await?)) }).await;
            /// assert_eq!(line.unwrap(), "Alice | 5");
            /// # });
            /// ```
            #[track_caller]
            pub fn fork<U, F, E>(&self, name: impl Into<Name>, future: F) -> Fork<U>
            where
                F: Future<Output = Result<U, E>> $(+ $send)? + $life,
                U: $($send +)? $life,
                E: Into<BoxError>,
            {
                self.lend_launcher();
                let newcomer = Newcomer::new(Some(name.into()), Location::caller());
                // SAFETY: the bounds of this method.
                unsafe { fork(&self.scope, Spawner::Group(self.launch()), newcomer, future) }
            }

            /// Makes a task of each item, and waits for them all: the results are in the order of the items.
            ///
            /// With a [limit](Self::with_limit), an item is taken only when there is room for its task: the iterator may
            /// be endless, or costly.
            ///
            /// # Cancel safety
            ///
            /// It owns the group: dropping it cancels the tasks.
            ///
            /// # Panics
            ///
            /// With whatever the iterator, `task` itself or the executor's own spawn function throws; the tasks are then
            /// canceled.
            ///
            /// # Errors
            ///
            /// What ended the group, as from [`wait`](Self::wait). No further item is taken then. It is an error unless
            /// every item was taken.
            ///
            /// # Examples
            ///
            /// ```
            /// use failfast::Group;
            /// use std::num::NonZeroUsize;
            ///
            /// # smol::block_on(async {
            /// let group = Group::new(smol::spawn).with_limit(NonZeroUsize::new(2).unwrap());
            /// let squares = group.try_map(1..=4, |n| async move { Ok::<_, std::fmt::Error>(n * n) }).await;
            /// assert_eq!(squares.unwrap(), [1, 4, 9, 16]);
            /// # });
            /// ```
            #[track_caller]
            pub fn try_map<I, F, A, E>(self, items: I, task: F) -> impl Future<Output = Result<Vec<T>, Error>>
            where
                I: IntoIterator,
                F: FnMut(I::Item) -> A,
                A: Future<Output = Result<T, E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                self.try_map_stream(futures::stream::iter(items), task)
            }

            /// [`try_map`](Self::try_map) over the items of a stream.
            ///
            /// # Cancel safety
            ///
            /// It owns the group: dropping it cancels the tasks.
            ///
            /// # Panics
            ///
            /// With whatever the stream, `task` itself or the executor's own spawn function throws; the tasks are then
            /// canceled.
            ///
            /// # Errors
            ///
            /// As [`try_map`](Self::try_map), at once: also while the stream is being waited for.
            ///
            /// # Examples
            ///
            /// ```
            /// use failfast::Group;
            /// use futures::stream;
            ///
            /// # smol::block_on(async {
            /// let numbers = stream::iter(1..=3);
            /// let group = Group::new(smol::spawn);
            /// let squares = group.try_map_stream(numbers, |n| async move { Ok::<_, &str>(n * n) }).await;
            /// assert_eq!(squares.unwrap(), [1, 4, 9]);
            /// # });
            /// ```
            #[track_caller]
            pub fn try_map_stream<I, F, A, E>(
                self,
                items: I,
                mut task: F,
            ) -> impl Future<Output = Result<Vec<T>, Error>>
            where
                I: Stream,
                F: FnMut(I::Item) -> A,
                A: Future<Output = Result<T, E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let site = Location::caller();
                self.map_all(items, move |group, item| {
                    group.spawn_at(site, task(item));
                })
            }

            /// Makes a task of each item, and waits for them all: [`try_map`](Self::try_map) without results.
            ///
            /// # Cancel safety
            ///
            /// It owns the group: dropping it cancels the tasks.
            ///
            /// # Panics
            ///
            /// As [`try_map`](Self::try_map).
            ///
            /// # Errors
            ///
            /// As [`try_map`](Self::try_map).
            ///
            /// # Examples
            ///
            /// ```
            /// use failfast::Group;
            ///
            /// # smol::block_on(async {
            /// let check = |n| async move { if n < 3 { Ok(()) } else { Err("too large") } };
            /// assert!(Group::new(smol::spawn).try_for_each(0..3, check).await.is_ok());
            /// let error = Group::new(smol::spawn).try_for_each(3..4, check).await.unwrap_err();
            /// assert_eq!(error.to_string(), "task 0: too large");
            /// # });
            /// ```
            #[track_caller]
            pub fn try_for_each<I, F, A, E>(self, items: I, mut task: F) -> impl Future<Output = Result<(), Error>>
            where
                I: IntoIterator,
                F: FnMut(I::Item) -> A,
                A: Future<Output = Result<T, E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let site = Location::caller();
                self.each(futures::stream::iter(items), move |group, item| {
                    group.spawn_at(site, task(item));
                })
            }

            /// Makes a task of each item, and yields the results in the order of the items, as they come. At most the
            /// [limit](Self::with_limit) of items are taken ahead of the result that is yielded next; without a limit
            /// all are.
            ///
            /// # Cancel safety
            ///
            /// It owns the group: dropping the stream cancels the tasks. Dropping a `next` of it loses nothing.
            ///
            /// # Panics
            ///
            /// As [`try_map`](Self::try_map).
            ///
            /// # Errors
            ///
            /// What ended the group is the last item, unless every item was taken and has succeeded.
            ///
            /// # Examples
            ///
            /// ```
            /// use failfast::Group;
            /// use futures::TryStreamExt;
            /// use std::num::NonZeroUsize;
            ///
            /// # smol::block_on(async {
            /// let group = Group::new(smol::spawn).with_limit(NonZeroUsize::new(2).unwrap());
            /// let pages = group.ordered(1..=3, |n| async move { Ok::<_, std::io::Error>(format!("page {n}")) });
            /// assert_eq!(pages.try_collect::<Vec<_>>().await.unwrap(), ["page 1", "page 2", "page 3"]);
            /// # });
            /// ```
            #[track_caller]
            pub fn ordered<I, F, A, E>(
                self,
                items: I,
                mut task: F,
            ) -> Pin<Box<dyn Stream<Item = Result<T, Error>> $(+ $send)? + $life>>
            where
                I: IntoIterator,
                I::IntoIter: $($send +)? $life,
                F: FnMut(I::Item) -> A $(+ $send)? + $life,
                A: Future<Output = Result<T, E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let site = Location::caller();
                let spawn = move |group: &Self, item| group.spawn_at(site, task(item));
                Box::pin(super::ordered::Ordered::new(self, items.into_iter(), spawn))
            }

            /// Returns the task's number; `None` if the group has ended.
            fn spawn_at<F, E>(&self, site: &'static Location<'static>, future: F) -> Option<u64>
            where
                F: Future<Output = Result<T, E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let newcomer = Newcomer::new(None, site);
                // SAFETY: the bounds of this method.
                unsafe { spawn(&self.scope, Spawner::Group(self.launch()), Kept::<T>::NEW, newcomer, future) }
            }
        }

        /// Spawning.
        #[allow(unsafe_code, reason = "see `scope`")]
        impl<$($env,)? T: $($send +)? $life> GroupHandle<T, $task> {
            /// Starts a task in the group, as [`TaskGroup::spawn`](crate::group::TaskGroup) does: at the limit it is
            /// queued.
            ///
            /// # Panics
            ///
            /// With whatever the executor's own spawn function throws. The task is then lost, and fails the group.
            ///
            /// # Errors
            ///
            /// The future, unpolled, if the group has ended.
            ///
            /// # Examples
            ///
            /// ```
            /// # use failfast::Group;
            /// # smol::block_on(async {
            /// let group = Group::new(smol::spawn);
            /// let handle = group.handle();
            /// assert!(handle.spawn(async { Ok::<_, &str>(5) }).is_ok());
            /// assert_eq!(group.wait().await.unwrap(), [5]);
            /// assert!(handle.spawn(async { Ok::<_, &str>(6) }).is_err(), "it is over");
            /// # });
            /// ```
            #[track_caller]
            pub fn spawn<F, E>(&self, future: F) -> Result<(), F>
            where
                F: Future<Output = Result<T, E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let newcomer = Newcomer::new(None, Location::caller());
                // SAFETY: the bounds of this method.
                unsafe { try_spawn(self.scope(), Spawner::Handle, Kept::<T>::NEW, newcomer, AtLimit::Queue, future) }
            }

            /// [`spawn`](Self::spawn) with a name.
            ///
            /// # Panics
            ///
            /// As [`spawn`](Self::spawn).
            ///
            /// # Errors
            ///
            /// As [`spawn`](Self::spawn).
            ///
            /// # Examples
            ///
            /// ```
            /// # use failfast::Group;
            /// # smol::block_on(async {
            /// let group = Group::<()>::new(smol::spawn);
            /// assert!(group.handle().spawn_named("orders", async { Err("no such user") }).is_ok());
            /// assert_eq!(group.wait().await.unwrap_err().to_string(), "orders: no such user");
            /// # });
            /// ```
            #[track_caller]
            pub fn spawn_named<F, E>(&self, name: impl Into<Name>, future: F) -> Result<(), F>
            where
                F: Future<Output = Result<T, E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let newcomer = Newcomer::new(Some(name.into()), Location::caller());
                // SAFETY: the bounds of this method.
                unsafe { try_spawn(self.scope(), Spawner::Handle, Kept::<T>::NEW, newcomer, AtLimit::Queue, future) }
            }

            /// Starts a task only if that is possible at once.
            ///
            /// # Panics
            ///
            /// As [`spawn`](Self::spawn).
            ///
            /// # Errors
            ///
            /// The future, unpolled, if the limit is reached or the group has ended.
            ///
            /// # Examples
            ///
            /// ```
            /// # use failfast::{Context, InPlaceGroup};
            /// # use std::num::NonZeroUsize;
            /// let group = InPlaceGroup::new(&Context::background()).with_limit(NonZeroUsize::MIN);
            /// let handle = group.handle();
            /// assert!(handle.try_spawn(async { Ok::<_, &str>(1) }).is_ok());
            /// assert!(handle.try_spawn(async { Ok::<_, &str>(2) }).is_err(), "one at a time");
            /// assert_eq!(futures::executor::block_on(group.wait()).unwrap(), [1]);
            /// ```
            #[track_caller]
            pub fn try_spawn<F, E>(&self, future: F) -> Result<(), F>
            where
                F: Future<Output = Result<T, E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let newcomer = Newcomer::new(None, Location::caller());
                // SAFETY: the bounds of this method.
                unsafe { try_spawn(self.scope(), Spawner::Handle, Kept::<T>::NEW, newcomer, AtLimit::Refuse, future) }
            }

            /// Starts a task that serves the others: it is canceled when they are done and `wait` is called.
            ///
            /// # Panics
            ///
            /// As [`spawn`](Self::spawn).
            ///
            /// # Errors
            ///
            /// As [`spawn`](Self::spawn).
            ///
            /// # Examples
            ///
            /// ```
            /// # use failfast::Group;
            /// # smol::block_on(async {
            /// let group = Group::<()>::new(smol::spawn);
            /// let heartbeat = async { Ok::<_, &str>(std::future::pending().await) };
            /// assert!(group.handle().spawn_background(heartbeat).is_ok());
            /// assert!(group.wait().await.unwrap().is_empty());
            /// # });
            /// ```
            #[track_caller]
            pub fn spawn_background<F, E>(&self, future: F) -> Result<(), F>
            where
                F: Future<Output = Result<(), E>> $(+ $send)? + $life,
                E: Into<BoxError>,
            {
                let newcomer = Newcomer::new(None, Location::caller());
                // SAFETY: the bounds of this method.
                unsafe { try_spawn(self.scope(), Spawner::Handle, Background, newcomer, AtLimit::Queue, future) }
            }

            /// Starts a task with a result of its own type, for another task to await. In a group that has ended, the
            /// fork gives the group's end.
            ///
            /// # Panics
            ///
            /// As [`spawn`](Self::spawn).
            ///
            /// # Examples
            ///
            /// ```
            /// # use failfast::Group;
            /// # smol::block_on(async {
            /// let group = Group::new(smol::spawn);
            /// let handle = group.handle();
            /// group.spawn(async move {
            ///     let child = handle.fork("child", async { Ok::<_, &str>("seven") });
            ///     Ok::<_, failfast::Error>(child.await?.len())
            /// });
            /// assert_eq!(group.wait().await.unwrap(), [5]);
            /// # });
            /// ```
            #[track_caller]
            pub fn fork<U, F, E>(&self, name: impl Into<Name>, future: F) -> Fork<U>
            where
                F: Future<Output = Result<U, E>> $(+ $send)? + $life,
                U: $($send +)? $life,
                E: Into<BoxError>,
            {
                let newcomer = Newcomer::new(Some(name.into()), Location::caller());
                // SAFETY: the bounds of this method.
                unsafe { fork(self.scope(), Spawner::Handle, newcomer, future) }
            }
        }
    };
}

spawn_methods!([] Task, 'static, Send);
spawn_methods!([] LocalTask, 'static);
spawn_methods!(['env] Scoped<'env>, 'env, Send);
spawn_methods!(['env] LocalScoped<'env>, 'env);
