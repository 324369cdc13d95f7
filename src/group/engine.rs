//! One object a group: its context's node, and in it everything that its tasks share.
//!
//! # Invariants
//!
//! 1. **Order.** An outcome is recorded, then the context is canceled if the outcome ends the group, then the slot
//!    is released, then others are woken: [`complete`](super::complete::complete).
//! 2. **One lock.** Everything that changes together is in [`State`]. No foreign code runs while it is locked:
//!    wakers, values and futures are taken out first.
//! 3. **No lost wake-ups.** A poller stores its waker in its cell and then looks at the phase; the end of the group
//!    changes the phase and then visits every member's cell. Both change the cell's state word, so that one of the
//!    two sees the other. A task that joins after the end is refused under the lock that the visit takes.
//! 4. **Nothing starts late.** A task's first poll, and each spawn, look at the node's end and its due flag.

use super::cell::{self, Cell, Newborn, Newcomer};
use super::complete::{By, Next};
use super::executor::{Launch, Launcher, Lent, LentWeakly};
use super::finished::Finished;
use super::in_place::Ready;
use super::keep::Keep;
use super::observed::Observed;
use super::scope::Scope;
use super::shutdown::{Ladder, Phase};
use super::snapshot::Maker;
use super::state::State;
use crate::clock::Instant;
use crate::clock::reach::WakerKind;
use crate::context::{ClockRef, Kind, Marked, Node, NodeRef};
use crate::error::{BoxError, End, Error, Name};
use crate::sync::{Mutex, MutexGuard};
use crate::unwind;
use std::any::Any;
use std::future::Future;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{self, Poll, RawWakerVTable, Waker};

pub(crate) struct Engine {
    state: Mutex<State>,
    pub(super) ladder: Ladder,
    in_place: bool,
    /// How tasks are started where the group itself is not at hand: set by the first handle or fork. The group owns
    /// the launcher, so that a handle that a task keeps makes no cycle.
    launch: OnceLock<LentWeakly>,
    pub(super) ready: Ready,
    pub(super) clock: ClockRef,
    /// Since when times are taken: the first snapshot.
    pub(super) timing: OnceLock<Instant>,
    /// `None`: the group is not observed.
    pub(super) observed: Option<Box<Observed>>,
    /// For snapshots.
    pub(super) maker: Maker,
    /// The kind of waker that the next poll of the owner has to try (see `reach`); null for none. std's atomic also in the
    /// models, because they have no thread-bound executor.
    untried: AtomicPtr<RawWakerVTable>,
}

// SAFETY: the launcher is `Send + Sync` for `Group`; that of a `LocalGroup` is upgraded by the group, its handles
// and its tasks alone, which are on its thread. A weak reference that is dropped elsewhere frees memory and drops
// nothing. Everything else is `Send + Sync` by itself.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Send for Engine {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Sync for Engine {}

/// The result of a spawn.
#[derive(Clone, Copy)]
pub(super) enum Admission {
    /// With the task's number.
    Started(u64),
    Queued(u64),
    /// The limit is reached.
    Full,
    /// The group has ended.
    Over,
}

impl Admission {
    fn is_started(self) -> bool {
        matches!(self, Self::Started(_))
    }
}

/// How a spawn meets a limit that is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AtLimit {
    Queue,
    Refuse,
}

/// How many starts may pass between two readings of the clock. It is read because no timer fires on a thread that
/// spawns and never returns to its clock's driver.
const STARTS_A_READING: u64 = 64;

impl Engine {
    #[inline]
    pub(super) fn new(
        finished: Finished,
        in_place: bool,
        clock: ClockRef,
        observed: Option<Box<Observed>>,
    ) -> Self {
        Self {
            state: Mutex::new(State::new(finished)),
            ladder: Ladder::default(),
            in_place,
            launch: OnceLock::new(),
            ready: Ready::new(),
            clock,
            timing: OnceLock::new(),
            observed,
            maker: Maker::current(),
            untried: AtomicPtr::default(),
        }
    }

    /// A task is asleep that has to be woken from another thread: the owner's next poll does so.
    pub(super) fn expect_poll(&self, kind: WakerKind) {
        self.untried.store(kind.cast_mut(), Ordering::Relaxed); // of a thread-bound group: one thread
        self.wake_owner();
    }

    #[inline]
    pub(super) fn has_untried(&self) -> bool {
        !self.untried.load(Ordering::Relaxed).is_null()
    }

    pub(super) fn take_untried(&self) -> WakerKind {
        self.untried.swap(null_mut(), Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// Makes the launcher available to handles and forks.
    pub(super) fn lend_launcher<M>(&self, launcher: &Launcher<M>) {
        self.launch.get_or_init(|| launcher.lend());
    }

    pub(super) fn observed_name(&self) -> Option<Name> {
        self.observed.as_ref()?.name()
    }

    /// The launcher, if the group is still there.
    pub(super) fn launcher(&self) -> Option<Lent> {
        self.launch.get()?.upgrade()
    }

    /// How far the end of the group has come.
    #[inline]
    pub(super) fn phase(&self, node: &Node<Engine>) -> Phase {
        match node.is_marked() {
            false => Phase::Run,
            true => self.ladder.phase(),
        }
    }

    /// Ends the group's context by the group's own doing, without a failure.
    pub(super) fn end_by_us(node: &Arc<Node<Engine>>, end: Arc<End>) -> Marked {
        // Recorded first, because marking runs the clock's code, and a waiting owner may conclude the group meanwhile. Of
        // two calls at once both mark the end that was recorded first.
        let end = node.kind.lock().our_end.get_or_insert(end).clone();
        Node::mark(&(node.clone() as NodeRef), end)
    }
}

/// Spawning.
#[allow(unsafe_code, reason = "see `cell`")]
impl Scope {
    /// Starts a task, or queues it. Gives the future back if that can't be.
    ///
    /// # Safety
    ///
    /// `K` names the group's results. The caller is where the group's tasks may be dropped, and `F` may be polled
    /// and dropped wherever they are.
    #[inline]
    pub(super) unsafe fn spawn<K, F, E>(
        &self,
        future: F,
        keep: K,
        newcomer: Newcomer,
        at_limit: AtLimit,
        launch: Option<&dyn Launch>,
    ) -> Result<u64, (F, Newcomer)>
    where
        K: Keep,
        F: Future<Output = Result<K::Value, E>>,
        E: Into<BoxError>,
    {
        let new = self.with_node(|node| Newborn::<F, K>::new(future, keep, newcomer, node));
        let cell = new.cell();
        // SAFETY: the cell is new, and of this group.
        match self.with_node(|node| unsafe { Engine::admit(node, cell, at_limit) }) {
            Admission::Started(number) => {
                if !self.engine().is_in_place() {
                    // SAFETY: it has just been admitted.
                    unsafe { Engine::start(self.node(), cell, launch, By::Group) };
                }
                Ok(number)
            }
            // The end may have come meanwhile, and room may have been made.
            Admission::Queued(number) => {
                self.engine().serve_queue(self.node(), launch, By::Group);
                Ok(number)
            }
            Admission::Full | Admission::Over => {
                let (future, keep, newcomer) = new.into_parts();
                keep.refuse(self.node());
                Err((future, newcomer))
            }
        }
    }

    /// As [`spawn`](Self::spawn), where the caller can't take the future back. Returns the task's number.
    ///
    /// # Safety
    ///
    /// As there.
    #[inline]
    pub(super) unsafe fn spawn_or_refuse<K, F, E>(
        &self,
        future: F,
        keep: K,
        newcomer: Newcomer,
        launch: Option<&dyn Launch>,
    ) -> Option<u64>
    where
        K: Keep,
        F: Future<Output = Result<K::Value, E>>,
        E: Into<BoxError>,
    {
        // SAFETY: the caller's promise.
        let spawned = unsafe { self.spawn(future, keep, newcomer, AtLimit::Queue, launch) };
        let (refused, newcomer) = match spawned {
            Ok(number) => return Some(number),
            Err(refused) => refused,
        };
        if !K::BACKGROUND {
            self.engine().note_refused(self.node(), newcomer.name);
        }
        unwind::discard(refused);
        None
    }
}

/// Joining.
#[allow(unsafe_code, reason = "see `cell`")]
impl Engine {
    /// Makes a cell a member of its group, or puts it in the queue.
    ///
    /// # Safety
    ///
    /// The cell is new, and belongs to this group.
    #[inline]
    pub(super) unsafe fn admit(
        node: &Arc<Node<Engine>>,
        cell: Cell,
        at_limit: AtLimit,
    ) -> Admission {
        // SAFETY: the caller's promise.
        unsafe {
            match &node.kind.observed {
                None => Self::admit_unseen::<true>(node, cell, at_limit),
                Some(observed) => observed.admit(node, cell, at_limit),
            }
        }
    }

    /// [`admit`](Self::admit) without an event. `NUMBERS`: the cell is given its number, which it has
    /// already in a group that is observed.
    ///
    /// # Safety
    ///
    /// As there.
    #[inline]
    pub(super) unsafe fn admit_unseen<const NUMBERS: bool>(
        node: &Arc<Node<Engine>>,
        cell: Cell,
        at_limit: AtLimit,
    ) -> Admission {
        // SAFETY: the cell is new.
        unsafe { node.kind.note_spawn(cell.as_ref()) };
        let mut state = node.kind.lock();
        // The timers are armed before the task joins, because a drive on another thread may end it at once; and under no
        // lock, because arming runs the clock's code.
        let watched = node.has_deadline() && !state.watching;
        if watched {
            drop(state);
            node.watch();
            state = node.kind.lock();
        }
        // SAFETY: the caller's promise.
        let (admission, wakes_driver) = unsafe { state.admit::<NUMBERS>(node, cell, at_limit) };
        let needless = watched && (state.watching || !admission.is_started());
        state.watching |= watched && !needless;
        drop(state);
        if needless {
            node.unwatch();
        }
        if wakes_driver {
            node.kind.wake_driver();
        }
        match admission {
            Admission::Started(number) if !watched && number % STARTS_A_READING == 0 => {
                node.is_done();
            }
            Admission::Started(_) => {
                node.poll_due(None);
            }
            _ => {}
        }
        admission
    }

    /// Starts a member on the executor: one that has just been admitted, or has left the queue.
    ///
    /// # Safety
    ///
    /// The cell is a member, has not been started, and is started by this spawner alone. The group is not in place.
    #[inline]
    pub(super) unsafe fn start(
        node: &Node<Engine>,
        cell: Cell,
        launch: Option<&dyn Launch>,
        by: By,
    ) {
        // SAFETY: the caller's promise: the body is there, and no other code may drop it.
        unsafe {
            match launch.filter(|_| !node.is_marked()) {
                Some(launch) => launch.launch(cell),
                // The group has ended, or has been dropped.
                None => {
                    cell::cancel_body(cell, by, false);
                    cell::retire(cell);
                }
            }
        }
    }

    /// Starts what may leave the queue, or drops what is in the queue of a group that has ended. For the owner, its
    /// handles and its tasks, which are where tasks may be dropped.
    pub(super) fn serve_queue(&self, node: &Node<Engine>, launch: Option<&dyn Launch>, by: By) {
        loop {
            let mut state = self.lock();
            if state.limit.queue.is_empty() {
                return;
            }
            let Some(cell) = state.next_queued(node.is_marked()) else {
                return;
            };
            if self.is_in_place() {
                let wakes_driver = self.make_first_ready(cell);
                drop(state);
                if wakes_driver {
                    self.wake_driver();
                }
                continue;
            }
            drop(state);
            // SAFETY: it has just left the queue, so no other thread starts it.
            unsafe { Self::start(node, cell, launch, by) };
        }
    }

    /// Notes a task that was refused because the group has ended, so that `wait` reports it.
    pub(super) fn note_refused(&self, node: &Node<Engine>, name: Option<Name>) {
        let mut state = self.lock();
        if state.closed {
            return; // the group's wait is over
        }
        let number = state.members.next;
        state.members.next += 1;
        state.flawed = true;
        state.cut_short = true;
        state.note_pending(node, number, name.as_ref());
    }
}

/// Polling.
impl Engine {
    /// Polls a task: nothing starts late, and after the group's end each task is polled once more and then dropped.
    ///
    /// # Safety
    ///
    /// The caller is the poller of the cell, whose task has not completed (invariant 1 of `cell`).
    #[allow(unsafe_code, reason = "see `cell`")]
    #[inline(always)]
    pub(super) unsafe fn poll(cell: Cell, cx: &mut task::Context<'_>, by: By) -> Poll<Next> {
        // SAFETY: the cell is alive, and a member, until it completes below.
        let (header, node) = unsafe { (cell.as_ref(), cell.as_ref().node()) };
        let engine = &node.kind;
        // In place the group has looked at its timers already: they are not polled again in the same call stack.
        let due = match by {
            By::Group => node.is_marked(),
            By::Shell | By::Executor => node.poll_due(Some(cx)),
        };
        if !header.has_started() {
            if due {
                // SAFETY: the caller's promise.
                return Poll::Ready(unsafe { cell::cancel_body(cell, by, false) });
            }
            header.start();
        }
        loop {
            let phase = engine.phase(node);
            let was_warned = phase == Phase::Drop && header.is_warned();
            if was_warned && !header.frame.is_held(cx.waker()) {
                // SAFETY: the caller's promise.
                return Poll::Ready(unsafe { cell::cancel_body(cell, by, false) });
            }
            header.count_poll();
            engine.note_poll(header);
            // SAFETY: the caller's promise.
            let polled = match &engine.observed {
                // SAFETY: the caller's promise.
                None => unsafe { Self::poll_body(cell, cx, by) },
                Some(observed) => {
                    // SAFETY: as above.
                    let poll = || unsafe { Self::poll_body(cell, cx, by) };
                    observed.poll(header, engine, poll)
                }
            };
            if let Poll::Ready(next) = polled {
                return Poll::Ready(next);
            }
            if phase != Phase::Run {
                header.warn();
            }
            if phase == Phase::Drop {
                header.frame.close();
                if !header.frame.is_held(cx.waker()) {
                    continue;
                }
            }
            // SAFETY: the caller is the poller.
            unsafe { header.park(cx.waker()) };
            if engine.phase(node) == phase {
                return Poll::Pending;
            }
        }
    }
}

impl Engine {
    /// Polls the body as the task that is current.
    ///
    /// # Safety
    ///
    /// As [`poll`](Self::poll).
    #[allow(unsafe_code, reason = "see `cell`")]
    #[inline(always)]
    unsafe fn poll_body(cell: Cell, cx: &mut task::Context<'_>, by: By) -> Poll<Next> {
        // SAFETY: the cell is alive until its task completes.
        let header = unsafe { cell.as_ref() };
        // SAFETY: the caller's promise.
        let run = || unsafe { cell::run_body(cell, cx, by) };
        header.frame.enter(header.tag(), header.lie(), run)
    }
}

/// How many wakers are taken under one lock, because a lock for each costs more, and one for all holds others up.
const WAKERS_A_LOCK: usize = 32;

/// The group's end.
impl Engine {
    /// Wakes every task, so that its next poll sees the phase. Each waker is called under no lock.
    pub(super) fn wake_members(&self) {
        {
            // A cursor and not a copy of the list, because members may leave while the wakers run; `leave` moves it on.
            let mut state = self.lock();
            state.members.cursor = state.members.list.first();
        }
        let mut wakers: Vec<Waker> = Vec::new();
        loop {
            let more = self.take_wakers(&mut wakers);
            wakers.drain(..).for_each(unwind::wake);
            if !more {
                return;
            }
        }
    }

    #[allow(unsafe_code, reason = "see `list`")]
    fn take_wakers(&self, wakers: &mut Vec<Waker>) -> bool {
        let mut state = self.lock();
        for _ in 0..WAKERS_A_LOCK {
            let Some(cell) = state.members.cursor else {
                return false;
            };
            // SAFETY: the cursor is a member, and leaves only under this lock.
            let header = unsafe {
                state.members.cursor = state.members.list.after(cell);
                cell.as_ref()
            };
            if self.is_in_place() {
                self.make_ready(cell); // `wake_waiters` or `wake_owner` follows, so no driver has to be woken here
            } else {
                wakers.extend(header.take_waker());
            }
        }
        true
    }

    /// Wakes all tasks that wait for the group itself.
    pub(super) fn wake_waiters(&self) {
        let (owner, line) = {
            let mut state = self.lock();
            let line = state.limit.call_all();
            (state.owner.waker.take(), line)
        };
        owner.into_iter().chain(line).for_each(unwind::wake);
    }

    /// Wakes the owner alone.
    pub(super) fn wake_owner(&self) {
        let owner = self.lock().owner.waker.take();
        owner.into_iter().for_each(unwind::wake);
    }
}

impl Kind for Engine {
    fn ended(&self, node: &NodeRef) {
        self.arm_shutdown(node);
    }

    fn report(&self, node: &NodeRef) {
        if let Some(observed) = &self.observed {
            observed.canceled(node, self);
        }
    }

    fn wake(&self, _: &NodeRef) {
        self.wake_members();
        self.wake_waiters();
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

/// The outcome of the group.
impl Engine {
    /// The error of a call that comes after the group's end.
    pub(super) fn end_error(&self, node: &Node<Engine>) -> Error {
        let state = self.lock();
        let failed = state
            .failures
            .first()
            .filter(|_| !state.shutdown.is_tolerant());
        let error = failed.cloned().or_else(|| ended_by_context(node, &state));
        drop(state);
        error.unwrap_or_else(|| {
            let end = node.end().unwrap_or_else(|| End::finished(node.origin()));
            Error::ended(end.error(), Vec::new())
        })
    }
}

/// The error of a group whose context was ended by something else than the group.
pub(super) fn ended_by_context(node: &Node<Engine>, state: &State) -> Option<Error> {
    let end = node.end().filter(|end| !state.is_ours(end))?;
    let mut pending: Vec<_> = state.pending.iter().map(State::named).collect();
    pending.extend(state.living(false));
    pending.sort_by_key(|(number, _)| *number);
    let pending = pending.into_iter().map(|(_, name)| name).collect();
    Some(Error::ended(end.error(), pending))
}

/// The error with the failures that came after it.
pub(super) fn with_others(error: Error, state: &State) -> Error {
    let (others, omitted) = state.failures.others();
    error.set_others(others, omitted);
    error
}

impl State {
    #[inline]
    fn next_number(&mut self) -> u64 {
        let number = self.members.next;
        self.members.next += 1;
        number
    }

    /// The number of a task that is to be admitted next, if it can be.
    pub(super) fn number_for(
        &mut self,
        node: &Node<Engine>,
        background: bool,
        at_limit: AtLimit,
    ) -> Result<u64, Admission> {
        if self.closed || node.is_marked() {
            return Err(Admission::Over);
        }
        if !background && self.limit.is_full() && at_limit == AtLimit::Refuse {
            return Err(Admission::Full);
        }
        Ok(self.next_number())
    }

    /// Whether the task starts, and whether a driver has to be woken for that.
    ///
    /// # Safety
    ///
    /// The cell is new, and belongs to this group.
    #[allow(unsafe_code, reason = "see `cell`")]
    #[inline]
    unsafe fn admit<const NUMBERS: bool>(
        &mut self,
        node: &Arc<Node<Engine>>,
        mut cell: Cell,
        at_limit: AtLimit,
    ) -> (Admission, bool) {
        if self.closed || node.is_marked() {
            return (Admission::Over, false);
        }
        // SAFETY: the cell is new.
        let background = unsafe { cell.as_ref().background };
        // Background tasks are not limited, because the others may wait for them, and would do so for ever.
        let full = !background && self.limit.is_full();
        if full && at_limit == AtLimit::Refuse {
            return (Admission::Full, false);
        }
        // SAFETY: the cell is new, and alive until it completes (invariant 3 of `cell`).
        let number = unsafe {
            if NUMBERS {
                cell.as_mut().number = self.next_number();
            }
            let number = cell.as_ref().number;
            if full {
                self.limit.queue.push_back(cell);
                return (Admission::Queued(number), false);
            }
            self.members.join(cell);
            number
        };
        self.limit.running += usize::from(!background);
        if self.anchor.is_none() {
            self.anchor = Some(node.clone());
        }
        // In place the cell is the group's from here on: only a drive, or the group's drop, touches it.
        let wakes_driver = node.kind.is_in_place() && node.kind.make_first_ready(cell);
        (Admission::Started(number), wakes_driver)
    }

    /// What ended the group; `None` if it succeeded. Valid once all tasks have ended.
    pub(super) fn verdict(&self, node: &Node<Engine>) -> Option<Error> {
        let failed = || self.failures.first().cloned();
        let ended = || ended_by_context(node, self);
        if self.needed > 0 {
            if self.has_enough() {
                return None;
            }
            // The context's end, or else the first failure, or else that there were too few tasks.
            let missed = || Error::quorum(self.needed, self.succeeded);
            let error = ended().or_else(failed);
            return Some(error.map_or_else(missed, |error| with_others(error, self)));
        }
        let error = failed().or_else(|| self.flawed.then(ended).flatten())?;
        Some(with_others(error, self))
    }

    fn named((number, name): &(u64, Option<Name>)) -> (u64, Name) {
        let of_number = || Name::of_number(*number);
        (*number, name.clone().unwrap_or_else(of_number))
    }

    /// The names of all tasks that are still there, with or without those in the background.
    #[allow(unsafe_code, reason = "see `list`")]
    pub(super) fn living(&self, background: bool) -> Vec<(u64, Name)> {
        let all = self.members.list.iter().chain(self.limit.queue.iter());
        // SAFETY: members, and those in the queue, are alive.
        let headers = all.map(|cell| unsafe { cell.as_ref() });
        headers
            .filter(|header| background || !header.background)
            .map(|header| (header.number, header.name()))
            .collect()
    }
}
