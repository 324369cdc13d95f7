//! The side of a group that its tasks never see: the spawner, what it returned, and the results.

use super::core::{Admission, Core, Newcomer};
use super::in_place::InPlace;
use super::job::{Desk, Job};
use super::table::Table;
use crate::error::{BoxError, Error, Name};
use crate::guard;
use crate::slot::Slot;
use crate::spawn::{Carry, Flavour, Spawn};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, ROOM, Room};
use async_channel::{Receiver, Sender};
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{self, Poll, Waker};

/// What starts the tasks, and how they are polled if that is nobody's business but ours.
pub(crate) struct Host<S, M> {
    spawner: S,
    by_hand: Option<ByHand<S>>,
    flavour: PhantomData<fn(M)>,
}

/// What an executor would do.
struct ByHand<S> {
    drive: fn(&S, &mut task::Context<'_>),
    clear: fn(&S),
}

/// Starts tasks, and keeps what the executor returned for them.
pub(crate) struct Front<S: Spawn<M>, M: Flavour> {
    host: Host<S, M>,
    core: Arc<Core>,
    abandoned: AtomicBool,
    /// What `spawn` returned, by the index of the task: kept until the task has ended, for dropping it may
    /// cancel the task. Closed: the task's outcome was taken before `spawn` returned.
    handles: Table<Slot<Kept<S::Handle>>>,
    /// Handles whose task's outcome has been taken, while another job runs in the executor's task.
    retired: Mutex<Vec<Kept<S::Handle>>>,
}

/// A handle and, where that is noted, whether the executor has done with the task: at a limit.
type Kept<H> = (H, Option<Arc<AtomicBool>>);

/// What a group shares with its handles; its tasks share the results alone.
pub(super) struct Inner<S: Spawn<M>, T, M: Flavour> {
    pub(super) front: Front<S, M>,
    pub(super) results: Arc<Results<T, M>>,
}

/// The tasks' results, and those who have to wait for a place.
#[repr(C)]
pub(super) struct Results<T, M> {
    /// Between the reference count, which every task changes, and the rest.
    apart: Room,
    core: Arc<Core>,
    values: Table<Slot<T>>,
    /// Made when the first task has to wait.
    queue: OnceLock<Queue<M>>,
}

/// Jobs by their index, in the order of their coming.
type Queue<M> = (Sender<(u32, M)>, Receiver<(u32, M)>);

/// Where background tasks' results go: nowhere.
pub(super) struct Background<T, M>(Arc<Results<T, M>>);

impl<S, M> Host<S, M> {
    pub(crate) fn executor(spawner: S) -> Self {
        Self {
            spawner,
            by_hand: None,
            flavour: PhantomData,
        }
    }
}

impl<M: Flavour> Host<InPlace<M>, M> {
    pub(crate) fn in_place() -> Self {
        Self {
            spawner: InPlace::new(),
            by_hand: Some(ByHand {
                drive: InPlace::drive,
                clear: InPlace::clear,
            }),
            flavour: PhantomData,
        }
    }
}

impl<S: Spawn<M>, M: Flavour> Front<S, M> {
    pub(crate) fn new(host: Host<S, M>, core: Arc<Core>) -> Self {
        Self {
            host,
            core,
            abandoned: AtomicBool::new(false),
            handles: Table::new(),
            retired: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Hands a task to the executor, and keeps what it returns.
    #[inline]
    pub(crate) fn launch(&self, index: u32, mut task: M) {
        let done = self.core.is_limited().then(|| task.observe());
        let handle = self.host.spawner.spawn(task);
        if mem::needs_drop::<S::Handle>() {
            self.keep(index, handle, done);
        }
    }

    /// Starts a task that is not queued and whose result goes to `desk`; drops it if the group has ended.
    #[inline]
    #[track_caller]
    pub(crate) fn start_named<F, D, E>(&self, name: Name, future: F, desk: D)
    where
        M: Carry<Job<F, D, M>>,
        D: Desk<M>,
        F: Future<Output = Result<D::Output, E>>,
        E: Into<BoxError>,
    {
        match self
            .core
            .admit(Newcomer::new(Some(name), Location::caller()), false)
        {
            Admission::Start(index) => {
                self.launch(index, M::carry(Job::new(future, desk, index, false, false)));
            }
            _ => self.refuse(future),
        }
    }

    /// Completes when every task's future is gone.
    ///
    /// `serve_queue` is called to start, or skip, who is queued.
    pub(crate) async fn joined(&self, serve_queue: impl Fn()) -> Result<(), Error> {
        poll_fn(|cx| self.poll_join(cx, &serve_queue)).await?;
        self.core.over();
        Ok(())
    }

    /// The group has ended: the future comes too late, and `wait` tells why.
    fn refuse<F>(&self, future: F) {
        self.core.skip();
        guard::discard(future);
    }

    fn keep(&self, index: u32, handle: S::Handle, done: Option<Arc<AtomicBool>>) {
        let slot = self.handles.make(index);
        #[allow(unsafe_code, reason = "see `slot`")]
        // SAFETY: a task is launched once, and its index is not given away before its handle was taken or, if
        // the slot was closed, before it is vacated here: under the roster's lock, which the next task's
        // admission takes after that.
        let late = unsafe { slot.put_unless_closed((handle, done)) };
        if let Err(kept) = late {
            self.let_go(index, kept);
        }
    }

    /// The outcome of the handle's task has been taken, and the place is free. Without a limit no other job
    /// can run in the executor's task, so it has done with it, or is about to.
    fn let_go(&self, index: u32, kept: Kept<S::Handle>) {
        self.core.vacate(index);
        if !self.core.is_limited() {
            return guard::discard(kept);
        }
        let gone = {
            let mut retired = self.retired.lock();
            retired.push(kept);
            let (gone, still): (Vec<_>, _) =
                mem::take(&mut *retired).into_iter().partition(is_done);
            *retired = still;
            gone
        };
        guard::discard(gone);
    }

    /// Frees the place of a task whose outcome has been taken.
    pub(super) fn vacate(&self, index: u32) {
        if !mem::needs_drop::<S::Handle>() || self.core.has_no_handle(index) {
            return self.core.vacate(index);
        }
        if let Some(kept) = self.handles.make(index).take_or_close() {
            self.let_go(index, kept);
        }
    }

    /// Polls the tasks, if that is ours to do.
    #[inline]
    pub(crate) fn drive(&self, cx: &mut task::Context<'_>) {
        if let Some(by_hand) = &self.host.by_hand {
            (by_hand.drive)(&self.host.spawner, cx);
        }
    }

    fn poll_join(
        &self,
        cx: &mut task::Context<'_>,
        serve_queue: impl Fn(),
    ) -> Poll<Result<(), Error>> {
        let core = &self.core;
        self.drive(cx);
        core.arm_for_stragglers();
        core.watch(cx.waker(), false);
        loop {
            serve_queue();
            if core.close_if_idle() {
                return Poll::Ready(Ok(()));
            }
            if core.are_stragglers_due() {
                return Poll::Ready(Err(core.stragglers()));
            }
            if core.has_ended() || !core.close_if_useless() {
                return Poll::Pending;
            }
            core.finish(); // only background tasks are left, or the rest can't reach the quorum
            self.drive(cx);
        }
    }

    /// Nobody waits any more: cancels whatever still runs, and lets go of it.
    pub(crate) fn abandon(&self) {
        if self.abandoned.swap(true, Ordering::Relaxed) {
            return;
        }
        self.core.unwatch();
        self.core.abandon();
        if let Some(by_hand) = &self.host.by_hand {
            (by_hand.clear)(&self.host.spawner);
        }
    }

    /// Drops the handles: the tasks have ended, or been cancelled.
    pub(super) fn drop_handles(&self) {
        if !mem::needs_drop::<S::Handle>() {
            return;
        }
        self.handles
            .iter()
            .for_each(|slot| guard::discard(slot.take()));
        let retired = mem::take(&mut *self.retired.lock());
        guard::discard(retired);
    }
}

impl<S: Spawn<M>, M: Flavour> Drop for Front<S, M> {
    fn drop(&mut self) {
        self.abandon();
        if mem::needs_drop::<S::Handle>() {
            let slots = self.handles.blocks_mut().flatten();
            slots.for_each(|slot| guard::discard(slot.take_mut()));
            guard::discard(mem::take(self.retired.get_mut()));
        }
    }
}

/// Whether the executor has done with the task; not that we knew, if it was spawned before there was a limit.
fn is_done<H>((_, done): &Kept<H>) -> bool {
    done.as_ref()
        .is_some_and(|done| done.load(Ordering::Acquire))
}

impl<S: Spawn<M>, T, M: Flavour> Inner<S, T, M> {
    pub(super) fn new(host: Host<S, M>, core: Arc<Core>) -> Arc<Self> {
        let results = Arc::new(Results {
            apart: ROOM,
            core: core.clone(),
            values: Table::new(),
            queue: OnceLock::new(),
        });
        Arc::new(Self {
            front: Front::new(host, core),
            results,
        })
    }

    /// Starts a task, or queues it; drops it if the group has ended, which `wait` then tells.
    #[inline]
    pub(super) fn start<F, E>(&self, future: F, newcomer: Newcomer)
    where
        M: Carry<Job<F, Arc<Results<T, M>>, M>>,
        F: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        if let Err(refused) = self.try_start(future, newcomer, true) {
            self.front.refuse(refused);
        }
    }

    /// Starts a task, or gives it back. `queue`: whether it may wait for a place.
    #[inline]
    pub(super) fn try_start<F, E>(
        &self,
        future: F,
        newcomer: Newcomer,
        queue: bool,
    ) -> Result<(), F>
    where
        M: Carry<Job<F, Arc<Results<T, M>>, M>>,
        F: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        match self.front.core.admit(newcomer, queue) {
            Admission::Start(index) => {
                self.results.values.make(index);
                let job = Job::new(future, self.results.clone(), index, false, false);
                self.front.launch(index, M::carry(job));
            }
            Admission::Queue(index) => {
                self.results.values.make(index);
                let job = Job::new(future, self.results.clone(), index, true, false);
                self.enqueue(index, M::carry(job));
            }
            Admission::Full | Admission::Over => return Err(future),
        }
        Ok(())
    }

    /// Starts a background task; the limit is not for those.
    pub(super) fn start_background<F, E>(&self, future: F, location: &'static Location<'static>)
    where
        M: Carry<Job<F, Background<T, M>, M>>,
        F: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        let newcomer = Newcomer {
            name: None,
            location,
            background: true,
        };
        match self.front.core.admit(newcomer, true) {
            Admission::Start(index) | Admission::Queue(index) => {
                self.results.values.make(index); // nothing comes, but it is asked for
                let desk = Background(self.results.clone());
                self.front
                    .launch(index, M::carry(Job::new(future, desk, index, false, true)));
            }
            Admission::Full | Admission::Over => self.front.refuse(future),
        }
    }

    fn enqueue(&self, index: u32, job: M) {
        self.results.push(index, job);
        self.front.core.queued();
        self.start_queued(); // a place may have become free before the task was in the queue
    }

    /// Starts what may start.
    pub(super) fn start_queued(&self) {
        while self.front.core.may_start_queued() {
            if let Some((index, job)) = self.results.pop() {
                self.front.launch(index, job);
            }
        }
    }

    /// The results that have not been taken, in the order of spawning.
    pub(super) fn take_values(self: &mut Arc<Self>) -> Vec<T> {
        let core = self.front.core();
        let (in_order, spawned) = (core.is_in_order(), core.spawned() as usize);
        let alone = Arc::get_mut(self).and_then(|inner| Arc::get_mut(&mut inner.results));
        match alone {
            Some(results) if in_order => results.take_all(spawned),
            _ => {
                let remaining = self.front.core().remaining().into_iter();
                remaining
                    .filter_map(|index| self.results.take(index))
                    .collect()
            }
        }
    }

    /// Drops the results that nobody will take: those of a group that did not succeed, or was dropped.
    pub(super) fn discard_values(&self) {
        let core = self.front.core();
        if core.has_succeeded() {
            return;
        }
        for index in core.remaining() {
            guard::discard(self.results.take(index));
        }
    }

    /// Starts what may start, or ends what waits in the queue of a group that has ended. The tasks see to
    /// it themselves as they end, but not those that the executor drops: then it is the owner's to do.
    pub(super) fn serve_queue(&self) {
        match self.front.core.has_ended() {
            true => self.skip_queue(),
            false => self.start_queued(),
        }
    }

    /// Ends what waits in the queue of a group that has ended.
    pub(super) fn skip_queue(&self) {
        self.results.clear_queue();
    }
}

impl<T, M: Flavour> Results<T, M> {
    fn push(&self, index: u32, job: M) {
        let (sender, _) = self.queue.get_or_init(async_channel::unbounded);
        // Never closed, never full: we hold both ends.
        let _ = sender.try_send((index, job));
    }

    fn pop(&self) -> Option<(u32, M)> {
        let (index, job) = self.queue.get()?.1.try_recv().ok()?;
        self.core.dequeued(index);
        Some((index, job))
    }

    /// The next in the queue, to be run without a spawner's help: the spawner has no handle for it.
    fn pop_without_handle(&self) -> Option<M> {
        let (index, job) = self.pop()?;
        self.core.goes_without_handle(index);
        Some(job)
    }

    /// All results, in the order of their places: with no atomic step, for nobody else is left.
    fn take_all(&mut self, count: usize) -> Vec<T> {
        let mut values = Vec::with_capacity(count);
        for block in self.values.blocks_mut() {
            values.extend(block.iter_mut().filter_map(Slot::take_mut));
        }
        values
    }

    pub(super) fn take(&self, index: u32) -> Option<T> {
        self.values.get(index).take()
    }

    /// Takes everyone out of the queue. A job that leaves it after the group's end ends unpolled, and asks
    /// for the next.
    pub(super) fn clear_queue(&self) {
        while self.core.may_start_queued() {
            let Some(mut job) = self.pop_without_handle() else {
                continue;
            };
            let mut cx = task::Context::from_waker(Waker::noop());
            while Pin::new(&mut job).poll(&mut cx).is_pending() {}
        }
    }
}

impl<T, M: Flavour> Desk<M> for Arc<Results<T, M>> {
    type Output = T;

    #[inline]
    fn core(&self) -> &Arc<Core> {
        &self.core
    }

    #[inline]
    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        Some(self.values.get(index))
    }

    fn next_job(&self) -> Option<M> {
        self.pop_without_handle()
    }
}

impl<T, M: Flavour> Desk<M> for Background<T, M> {
    type Output = ();

    fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    fn slot(&self, _index: u32) -> Option<&Slot<()>> {
        None
    }

    fn next_job(&self) -> Option<M> {
        self.0.pop_without_handle()
    }
}
