//! The executor's side: what it is given to run, and how a task is handed to it without its type showing.

use super::cell::{self, Cell, Settling};
use super::complete::By;
use super::engine::Engine;
use super::spawn::Spawn;
use crate::clock::reach;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::needs_drop;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{self, Poll, Waker};

/// What an executor is given to run: a task of a group, whole, with everything that makes it fail fast.
///
/// To the executor it is a future like any other, one word wide. Dropped before it has completed, it is reported to
/// its group as [`ErrorKind::Lost`](crate::ErrorKind::Lost): an executor that refuses a task, or drops it when it
/// shuts down, can't make a group wait for ever. That drop blocks no thread, and calls no waker on the thread that
/// drops, because the executor may hold its own locks there.
///
/// # Examples
///
/// ```
/// use failfast::{Group, Task};
///
/// fn start(task: Task) -> smol::Task<()> {
///     smol::spawn(task)
/// }
///
/// # smol::block_on(async {
/// let group = Group::new(start);
/// group.spawn(async { Ok::<_, std::fmt::Error>(1) });
/// assert_eq!(group.wait().await.unwrap(), [1]);
/// # });
/// ```
#[must_use = "a task that is dropped is lost, and fails its group"]
pub struct Task(Shell);

/// [`Task`] for a thread-bound executor: what it runs need not be `Send`.
///
/// # Examples
///
/// ```
/// use failfast::{LocalGroup, LocalTask};
/// use std::rc::Rc;
///
/// let executor = Rc::new(smol::LocalExecutor::new());
/// let spawner = executor.clone();
/// smol::block_on(executor.run(async move {
///     let group = LocalGroup::new(move |task: LocalTask| spawner.spawn(task));
///     group.spawn(async { Ok::<_, std::fmt::Error>(Rc::new(1)) });
///     assert_eq!(group.wait().await.unwrap(), [Rc::new(1)]);
/// }));
/// ```
#[must_use = "a task that is dropped is lost, and fails its group"]
pub struct LocalTask(Shell);

/// Marks an [`InPlaceGroup`](crate::InPlaceGroup): no executor, tasks that may borrow for `'env`.
pub struct Scoped<'env>(PhantomData<fn(&'env ()) -> &'env ()>);

/// Marks a [`LocalInPlaceGroup`](crate::LocalInPlaceGroup): as [`Scoped`], for tasks that are not `Send`.
pub struct LocalScoped<'env>(Scoped<'env>, PhantomData<*const ()>);

/// The executor's part in a task: polls the cell, and then the next in the queue in its place.
pub(super) struct Shell {
    cell: Option<Cell>,
    /// The cell that keeps what `spawn` returned, where that is not `cell`: its task has completed before the
    /// spawner had the handle.
    home: Option<Cell>,
}

// SAFETY: a `Task` is made for a future that is `Send`, by the bounds of `Group`'s methods, and a group's engine is
// `Send + Sync`.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Send for Task {}
// SAFETY: nothing can be done with `&Task`.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Sync for Task {}

impl Task {
    pub(super) fn new(shell: Shell) -> Self {
        Self(shell)
    }
}

impl LocalTask {
    pub(super) fn new(shell: Shell) -> Self {
        Self(shell)
    }
}

#[allow(unsafe_code, reason = "see `cell`")]
impl Shell {
    /// # Safety
    ///
    /// The cell is a member of its group, has not been started, and gets no other shell.
    pub(super) unsafe fn new(cell: Cell) -> Self {
        Self {
            cell: Some(cell),
            home: None,
        }
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        let Some(mut cell) = self.cell else {
            return Poll::Ready(());
        };
        loop {
            // SAFETY: the shell is the poller, and the task has not completed.
            let Poll::Ready(next) = (unsafe { Engine::poll(cell, cx, By::Shell) }) else {
                return Poll::Pending;
            };
            self.cell = next;
            let Some(next) = next else {
                // SAFETY: the task has just completed.
                unsafe { self.retire_last(cell) };
                return Poll::Ready(());
            };
            // SAFETY: as above.
            unsafe { self.retire(cell, next) };
            cell = next;
            // SAFETY: it is a member of its group since it left the queue.
            if unsafe { !cell.as_ref().node().is_marked() } {
                // Between two tasks the executor gets its turn.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// After a poll that is pending, on a thread-bound executor.
    fn check_reach(&self, waker: &Waker) {
        if let Some(cell) = self.cell {
            // SAFETY: the shell is the poller, and the task has not completed.
            unsafe { Engine::check_reach(cell, waker) };
        }
    }

    /// The task in `done` has completed, and none comes in its place.
    ///
    /// # Safety
    ///
    /// Once for each cell.
    #[inline]
    unsafe fn retire_last(&mut self, done: Cell) {
        // SAFETY: the caller's promise; the cell that keeps the handle has completed before.
        unsafe {
            if let Some(home) = self.home.take() {
                cell::retire(home);
            }
            cell::retire(done);
        }
    }

    /// The task in `done` has completed: what keeps the executor's task alive goes on to `next`.
    ///
    /// # Safety
    ///
    /// Once for each cell.
    unsafe fn retire(&mut self, done: Cell, next: Cell) {
        // SAFETY: the caller's promise.
        unsafe {
            let home = self.home.unwrap_or(done);
            if cell::pass_handle(home, next) {
                self.home = None;
                cell::retire(home);
            } else {
                self.home = Some(home);
            }
            if home != done {
                cell::retire(done);
            }
        }
    }
}

/// The executor drops the task before it has completed.
#[allow(unsafe_code, reason = "see `cell`")]
impl Drop for Shell {
    fn drop(&mut self) {
        let Some(cell) = self.cell.take() else { return };
        // SAFETY: the shell is the poller, the task has not completed, and it is still a member. The group is held
        // because what is in the queue may have to be dropped here, after the task has left.
        unsafe {
            let node = cell.as_ref().shared().counted();
            cell::cancel_body(cell, By::Executor, true);
            self.retire_last(cell);
            if node.is_marked() {
                node.kind.serve_queue(&node, None, By::Executor);
            }
        }
    }
}

impl Future for Task {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        self.0.poll(cx)
    }
}

impl Future for LocalTask {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let polled = self.0.poll(cx);
        if polled.is_pending() && !reach::is_sound(cx.waker()) {
            self.0.check_reach(cx.waker());
        }
        polled
    }
}

macro_rules! prints {
    ($task:ident) => {
        impl fmt::Debug for $task {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($task)).finish_non_exhaustive()
            }
        }
    };
}

prints!(Task);
prints!(LocalTask);

/// A spawner, its type erased: this is what makes `Group<T>` a type that a person can write down.
#[allow(unsafe_code, reason = "a cell is an address")]
pub(super) trait Launch {
    /// Hands the cell to the executor, and keeps what it returns in the cell.
    ///
    /// # Safety
    ///
    /// The cell is a member of its group, has not been started, and is started by this spawner alone.
    unsafe fn launch(&self, cell: Cell);
}

/// The erased spawner of a group or an aggregator, and which kind of task it takes.
pub(crate) struct Launcher<M> {
    lent: Lent,
    _task: PhantomData<fn(M)>,
}

// SAFETY: only `Launcher::new` for a spawner that is `Send + Sync` makes a launcher of `Task`s.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Send for Launcher<Task> {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Sync for Launcher<Task> {}

impl Launcher<Task> {
    pub(crate) fn new<S>(spawn: S) -> Self
    where
        S: Spawn<Task> + Send + Sync + 'static,
        S::Handle: Send + 'static,
    {
        Self::erase(OnExecutor(spawn))
    }
}

impl Launcher<LocalTask> {
    pub(crate) fn new_local<S>(spawn: S) -> Self
    where
        S: Spawn<LocalTask> + 'static,
        S::Handle: 'static,
    {
        Self::erase(OnThread(spawn))
    }
}

impl<M> Launcher<M> {
    fn erase<L: Launch + 'static>(launch: L) -> Self {
        // A box of no size is no allocation, so that to leak it leaks nothing.
        let lent = match const { size_of::<L>() == 0 && !needs_drop::<L>() } {
            true => Lent::Always(Box::leak(Box::new(launch))),
            false => Lent::Counted(Arc::new(launch)),
        };
        Self {
            lent,
            _task: PhantomData,
        }
    }

    #[inline]
    pub(super) fn launch(&self) -> &dyn Launch {
        self.lent.get()
    }

    pub(super) fn lend(&self) -> LentWeakly {
        match &self.lent {
            Lent::Always(launch) => LentWeakly::Always(*launch),
            Lent::Counted(launch) => LentWeakly::Counted(Arc::downgrade(launch)),
        }
    }
}

impl<M> Clone for Launcher<M> {
    fn clone(&self) -> Self {
        Self {
            lent: self.lent.clone(),
            _task: PhantomData,
        }
    }
}

/// A spawner that is shared.
#[derive(Clone)]
pub(super) enum Lent {
    /// Without state, as functions and most closures are: there is nothing to count.
    Always(&'static dyn Launch),
    Counted(Arc<dyn Launch>),
}

impl Lent {
    #[inline]
    pub(super) fn get(&self) -> &dyn Launch {
        match self {
            Self::Always(launch) => *launch,
            Self::Counted(launch) => &**launch,
        }
    }
}

/// A spawner that may be gone, with the group that owns it.
pub(super) enum LentWeakly {
    Always(&'static dyn Launch),
    Counted(Weak<dyn Launch>),
}

impl LentWeakly {
    pub(super) fn upgrade(&self) -> Option<Lent> {
        match self {
            Self::Always(launch) => Some(Lent::Always(*launch)),
            Self::Counted(launch) => Some(Lent::Counted(launch.upgrade()?)),
        }
    }
}

struct OnExecutor<S>(S);

struct OnThread<S>(S);

#[allow(unsafe_code, reason = "a cell is an address")]
impl<S: Spawn<Task>> Launch for OnExecutor<S> {
    #[inline]
    unsafe fn launch(&self, cell: Cell) {
        // SAFETY: the caller's promise.
        unsafe { launch(cell, |shell| self.0.spawn(Task::new(shell))) }
    }
}

#[allow(unsafe_code, reason = "a cell is an address")]
impl<S: Spawn<LocalTask>> Launch for OnThread<S> {
    #[inline]
    unsafe fn launch(&self, cell: Cell) {
        // SAFETY: the caller's promise.
        unsafe { launch(cell, |shell| self.0.spawn(LocalTask::new(shell))) }
    }
}

/// Spawns, and keeps the handle with the task, unless it does nothing when dropped.
///
/// # Safety
///
/// See [`Launch::launch`].
#[allow(unsafe_code, reason = "a cell is an address")]
#[inline]
unsafe fn launch<H>(cell: Cell, spawn: impl FnOnce(Shell) -> H) {
    if const { needs_drop::<H>() } {
        // SAFETY: the shell is not out yet.
        let settling = unsafe { Settling::begin(cell) };
        // SAFETY: the one shell of this cell.
        let handle = spawn(unsafe { Shell::new(cell) });
        settling.keep(handle);
    } else {
        // SAFETY: the one shell of this cell, which is settled from the start.
        std::mem::forget(spawn(unsafe { Shell::new(cell) }));
    }
}
