//! Starting a task on an executor whose type does not show.

use super::cell::{Cell, Settling};
use super::shell::{LocalTask, Shell, Task};
use crate::spawn::Spawn;
use std::marker::PhantomData;
use std::mem::needs_drop;
use std::sync::Arc;

/// A spawner, its type erased: this is what makes `Group<T>` a type that a person can write down.
#[allow(unsafe_code, reason = "a cell is an address")]
pub(super) trait Launch {
    /// Hands the cell to the executor, and keeps what it returns in the cell.
    ///
    /// # Safety
    ///
    /// The cell is a member of its group, has not been started, and is known to this spawner alone.
    unsafe fn launch(&self, cell: Cell);
}

/// The erased spawner of a group or an aggregator, and which kind of task it takes.
pub(crate) struct Launcher<M> {
    launch: Arc<dyn Launch>,
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
        Self {
            launch: Arc::new(OnExecutor(spawn)),
            _task: PhantomData,
        }
    }
}

impl Launcher<LocalTask> {
    pub(crate) fn new_local<S>(spawn: S) -> Self
    where
        S: Spawn<LocalTask> + 'static,
        S::Handle: 'static,
    {
        Self {
            launch: Arc::new(OnThread(spawn)),
            _task: PhantomData,
        }
    }
}

impl<M> Launcher<M> {
    pub(super) fn launch(&self) -> &Arc<dyn Launch> {
        &self.launch
    }
}

impl<M> Clone for Launcher<M> {
    fn clone(&self) -> Self {
        Self {
            launch: self.launch.clone(),
            _task: PhantomData,
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
