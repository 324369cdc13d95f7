//! The record of one task: a single allocation from spawn to end, with everything that the group keeps of the task.
//!
//! ```text
//! Header  state, links, number, name, site, waker, handle      what the engine and the executor's shell see
//! body    the user's future                                    what the poller alone sees
//! ```
//!
//! A task's result does not stay here: it goes to the group's [`Finished`](super::finished::Finished), and the
//! cell is freed, so that a finished task keeps no room but its result's.
//!
//! # Invariants
//!
//! 1. **Body.** The body is initialized until `run` returns ready or `cancel` has been called, and never after.
//!    Only three may call those: the shell that the executor polls or drops, the in-place group that polls or
//!    drops its tasks, and the spawner before the cell is shared. They are one at a time, on a thread
//!    that the body may be on. Wakers, forks, handles, contexts and cancellers mark and wake, and never touch it.
//! 2. **Engine.** `node` is valid while the cell is a member of its group or in its queue, because the engine
//!    holds a reference to itself as long as it has members (`State::anchor`). A cell of an in-place group counts
//!    a reference of its own, because its wakers may outlive the group.
//! 3. **Links, number.** Written under the engine's lock alone; `number` before the cell is linked for the first
//!    time.
//! 4. **Waker.** While `WAKER` is clear and nothing was ever parked, the waker's place is the poller's own. From then on
//!    it is changed under the engine's lock alone, and read by the thread that clears `WAKER` under that lock. The bytes of a
//!    waker that was taken stay until another is written, so the poller may compare with them.
//! 5. **Handle.** The spawner alone writes the handle, before it sets `HANDLE` and `SETTLED`. After `SETTLED` the
//!    spawner does not touch the cell, unless `COMPLETE` was set before: then the cell is the spawner's to free.
//!    So of `SETTLED` and `COMPLETE` the one that comes second frees.
//! 6. **In place.** The cell is its own waker, and `refs` counts the group's reference and one for each waker.
//!    A cell in the ready stack has `WOKEN` set, and so has one that is on its way there for the first time, through the
//!    queue perhaps. If that is so when the task completes, the group's reference
//!    passes to the stack, and is released by the drive that finds the cell there.
#![allow(
    unsafe_code,
    reason = "one allocation a task; results and wakers are handed over without a lock of their own"
)]

use super::complete::{By, Next, Outcome, complete};
use super::engine::Engine;
use super::keep::Keep;
use super::pool;
use super::shared::Shared;
use super::snapshot::Times;
use super::spans::Spanned;
use crate::clock::reach::{self, WakerKind};
use crate::context::Node;
use crate::context::shield::{Frame, Lie, Tag};
use crate::error::{BoxError, Name};
use crate::list::{Linked, Links};
use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, Ordering};
use crate::unwind;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, align_of, needs_drop, size_of};
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{self, Poll, RawWaker, RawWakerVTable, Waker};

/// The executor's waker is in its place.
const WAKER: u32 = 1;
/// What `spawn` returned is in its place.
const HANDLE: u32 = 1 << 1;
/// The spawner has done with the cell.
const SETTLED: u32 = 1 << 2;
/// The shell has done with the cell, or the in-place task has ended.
const COMPLETE: u32 = 1 << 3;
/// In place: in the ready stack, or on the way there.
const WOKEN: u32 = 1 << 4;

/// The poller's own notes, in `notes`. Read and written Relaxed, as `polls` is, because the poller alone writes them
/// and they publish no other memory.
const STARTED: u8 = 1;
/// Polled since the group's end.
const WARNED: u8 = 1 << 1;
/// A waker has been parked, at some time.
const PARKED: u8 = 1 << 2;
/// An observer has received the start of a poll, and not yet its end.
const POLLING: u8 = 1 << 3;

/// The address of a task's record.
pub(super) type Cell = NonNull<Header>;

pub(super) struct Header {
    state: AtomicU32,
    /// In place only: invariant 6.
    refs: AtomicU32,
    table: &'static Table,
    node: Shared,
    links: Links<Header>,
    /// Counted from 0 in the order of spawning.
    pub(super) number: u64,
    pub(super) site: &'static Location<'static>,
    pub(super) name: Option<Name>,
    pub(super) background: bool,
    in_place: bool,
    notes: AtomicU8,
    polls: AtomicU32,
    waker: UnsafeCell<MaybeUninit<Waker>>,
    handle: UnsafeCell<MaybeUninit<Handle>>,
    pub(super) frame: Frame,
    /// The next in the ready stack, or in the batch that a drive has taken from it.
    pub(super) ready_next: AtomicPtr<Header>,
    /// See `snapshot`.
    pub(super) times: Times,
    /// Nothing without the feature `tracing`.
    pub(super) span: Spanned,
}

// SAFETY: one field, and only lists use it.
unsafe impl Linked for Header {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

/// What depends on the types of the future and of the result.
struct Table {
    /// Polls the body; if it is ready, drops it and completes the task.
    run: unsafe fn(Cell, &mut task::Context<'_>, By) -> Poll<Next>,
    /// Drops the body and completes the task without a result. The flag is set if the executor lost it.
    cancel: unsafe fn(Cell, By, bool) -> Next,
    /// Frees the cell, whose body is gone.
    free: unsafe fn(Cell),
}

/// A cell with its body, whose type only the spawn has.
#[repr(C)]
struct Whole<F, K> {
    header: Header,
    /// What records the outcome: there as long as the body.
    keep: UnsafeCell<MaybeUninit<K>>,
    body: UnsafeCell<MaybeUninit<F>>,
}

/// The description of a task that is spawned.
pub(super) struct Newcomer {
    pub(super) name: Option<Name>,
    pub(super) site: &'static Location<'static>,
}

/// A cell that has not been admitted to its group yet.
pub(super) struct Newborn<F, K> {
    cell: Cell,
    _types: PhantomData<(F, fn(K))>,
}

impl<F, K, E> Newborn<F, K>
where
    K: Keep,
    F: Future<Output = Result<K::Value, E>>,
    E: Into<BoxError>,
{
    #[inline]
    pub(super) fn new(future: F, keep: K, newcomer: Newcomer, node: &Arc<Node<Engine>>) -> Self {
        let in_place = node.kind.is_in_place();
        let whole = pool::allocate::<Whole<F, K>>();
        let cell = whole.as_ptr();
        // SAFETY: each field is written once, where it stays, because a whole that is made elsewhere is copied here.
        unsafe {
            (&raw mut (*cell).header).write(Header {
                state: AtomicU32::new(if in_place { SETTLED | WOKEN } else { SETTLED }),
                refs: AtomicU32::new(1),
                table: const {
                    &Table {
                        run: run::<F, K, E>,
                        cancel: cancel::<F, K>,
                        free: free::<F, K>,
                    }
                },
                node: Shared::of(node),
                links: Links::new(),
                number: 0,
                site: newcomer.site,
                name: newcomer.name,
                background: K::BACKGROUND,
                in_place,
                notes: AtomicU8::new(0),
                polls: AtomicU32::new(0),
                waker: UnsafeCell::new(MaybeUninit::uninit()),
                handle: UnsafeCell::new(MaybeUninit::uninit()),
                frame: Frame::new(),
                ready_next: AtomicPtr::default(),
                times: Times::default(),
                span: Spanned::default(),
            });
            (&raw mut (*cell).keep).write(UnsafeCell::new(MaybeUninit::new(keep)));
            (&raw mut (*cell).body).write(UnsafeCell::new(MaybeUninit::new(future)));
        }
        if in_place {
            std::mem::forget(node.clone()); // invariant 2: released by `free`
        }
        Self {
            cell: whole.cast(),
            _types: PhantomData,
        }
    }

    /// The cell, for the engine to admit.
    pub(super) fn cell(&self) -> Cell {
        self.cell
    }

    /// The future of a task that was not admitted, and what would have recorded its outcome.
    pub(super) fn into_parts(self) -> (F, K, Newcomer) {
        // SAFETY: the body is there, and the cell has not been shared (invariant 1).
        unsafe {
            let whole = self.cell.cast::<Whole<F, K>>();
            let newcomer = Newcomer {
                name: (*whole.as_ptr()).header.name.take(),
                site: whole.as_ref().header.site,
            };
            let future = whole.as_ref().body.with(|body| (*body).assume_init_read());
            let keep = whole.as_ref().keep.with(|keep| (*keep).assume_init_read());
            free::<F, K>(self.cell);
            (future, keep, newcomer)
        }
    }
}

/// # Safety
///
/// Invariant 1.
unsafe fn run<F, K, E>(cell: Cell, cx: &mut task::Context<'_>, by: By) -> Poll<Next>
where
    K: Keep,
    F: Future<Output = Result<K::Value, E>>,
    E: Into<BoxError>,
{
    // SAFETY: the cell was made with these types, and body and `keep` are ours (invariant 1). They are never moved.
    let (whole, keep) = unsafe {
        let whole = cell.cast::<Whole<F, K>>().as_ref();
        (whole, whole.keep.with(|keep| (*keep).assume_init_ref()))
    };
    let dismissed =
        |cx: &task::Context<'_>| keep.is_dismissed(cx) && !whole.header.frame.is_held(cx.waker());
    if dismissed(cx) {
        // SAFETY: as above.
        return Poll::Ready(unsafe { end::<F, K>(cell, Outcome::Dismissed, by) });
    }
    // SAFETY: as above.
    let poll = |body: *mut MaybeUninit<F>| unsafe {
        Pin::new_unchecked((*body).assume_init_mut()).poll(cx)
    };
    let polled = unwind::contain(|| whole.body.with_mut(poll));
    if matches!(polled, Ok(Poll::Pending)) && dismissed(cx) {
        // SAFETY: as above.
        return Poll::Ready(unsafe { end::<F, K>(cell, Outcome::Dismissed, by) });
    }
    let outcome = match polled {
        Ok(Poll::Pending) => return Poll::Pending,
        Ok(Poll::Ready(Ok(value))) => Outcome::Succeeded(value),
        // The conversion is the user's code, too.
        Ok(Poll::Ready(Err(error))) => match unwind::contain(|| error.into()) {
            Ok(error) => Outcome::Failed(error),
            Err(payload) => Outcome::Panicked(payload),
        },
        Err(payload) => Outcome::Panicked(payload),
    };
    // SAFETY: as above.
    Poll::Ready(unsafe { end::<F, K>(cell, outcome, by) })
}

/// # Safety
///
/// Invariant 1.
unsafe fn cancel<F, K: Keep>(cell: Cell, by: By, lost: bool) -> Next {
    let outcome = if lost {
        Outcome::Lost
    } else {
        Outcome::Canceled
    };
    // SAFETY: the caller's promise.
    unsafe { end::<F, K>(cell, outcome, by) }
}

/// Drops the body before the task counts as gone, and completes it. If the body's destructor panics, the task has
/// panicked, unless it had failed anyway.
///
/// # Safety
///
/// Invariant 1.
unsafe fn end<F, K: Keep>(cell: Cell, outcome: Outcome<K::Value>, by: By) -> Next {
    // SAFETY: the body is there, and it is ours to drop.
    let dropped = unsafe {
        let whole = cell.cast::<Whole<F, K>>();
        let body = |body: *mut MaybeUninit<F>| unwind::contain(|| (*body).assume_init_drop());
        if needs_drop::<F>() {
            whole.as_ref().body.with_mut(body)
        } else {
            Ok(())
        }
    };
    let outcome = match dropped {
        Ok(()) => outcome,
        Err(payload) => outcome.and_panicked(payload),
    };
    // SAFETY: the cell is a member of its group (invariant 2), and `keep` goes with the body.
    unsafe {
        let whole = cell.cast::<Whole<F, K>>();
        let keep = whole.as_ref().keep.with(|keep| (*keep).assume_init_read());
        complete(cell, keep, outcome, by)
    }
}

/// # Safety
///
/// The cell is in no list, its body has been dropped, and no other reference to it is used any more.
unsafe fn free<F, K>(cell: Cell) {
    // SAFETY: it was made with these types, and is the caller's. A body is not dropped with it, and a name's drop is
    // not foreign code.
    let node = unsafe {
        let whole = cell.cast::<Whole<F, K>>();
        let header = &mut (*whole.as_ptr()).header;
        let node = header.in_place.then_some(header.node);
        std::ptr::drop_in_place(header);
        pool::free(whole);
        node
    };
    if let Some(node) = node {
        // SAFETY: counted when the cell was made (invariant 2).
        unsafe { node.release() };
    }
}

/// What the engine uses of a task.
impl Header {
    /// # Safety
    ///
    /// Invariant 2: the cell is a member of its group, or the caller holds the group.
    #[inline]
    pub(super) unsafe fn node(&self) -> &Node<Engine> {
        // SAFETY: the caller's promise.
        unsafe { self.node.get() }
    }

    pub(super) fn shared(&self) -> Shared {
        self.node
    }

    /// How the thread-local stack of polled tasks identifies this one.
    #[inline]
    pub(super) fn tag(&self) -> Tag {
        Tag {
            group: self.node.address(),
            task: std::ptr::from_ref(self).cast(),
        }
    }

    /// An executor's task hides the tasks that spawned it or poll around it; in place it is on top of the group's own task.
    #[inline]
    pub(super) fn lie(&self) -> Lie {
        if self.in_place { Lie::Below } else { Lie::Hide }
    }

    pub(super) fn name(&self) -> Name {
        let number = || Name::of_number(self.number);
        self.name.clone().unwrap_or_else(number)
    }

    #[inline]
    pub(super) fn has_started(&self) -> bool {
        self.notes.load(Ordering::Relaxed) & STARTED != 0
    }

    #[inline]
    pub(super) fn start(&self) {
        self.note(STARTED);
    }

    #[inline]
    pub(super) fn is_warned(&self) -> bool {
        self.notes.load(Ordering::Relaxed) & WARNED != 0
    }

    pub(super) fn warn(&self) {
        self.note(WARNED);
    }

    /// Only the poller writes, so that no read-modify-write is needed.
    #[inline]
    fn note(&self, bit: u8) {
        let notes = self.notes.load(Ordering::Relaxed);
        self.notes.store(notes | bit, Ordering::Relaxed);
    }

    pub(super) fn is_polling(&self) -> bool {
        self.notes.load(Ordering::Relaxed) & POLLING != 0
    }

    pub(super) fn set_polling(&self, polling: bool) {
        let others = self.notes.load(Ordering::Relaxed) & !POLLING;
        let bit = if polling { POLLING } else { 0 };
        self.notes.store(others | bit, Ordering::Relaxed);
    }

    pub(super) fn polls(&self) -> u32 {
        self.polls.load(Ordering::Relaxed)
    }

    /// Only the poller writes, so that no read-modify-write is needed.
    #[inline]
    pub(super) fn count_poll(&self) {
        self.polls
            .store(self.polls().wrapping_add(1), Ordering::Relaxed);
    }

    /// Stores the executor's waker for the end of the group. In place the cell is its own waker.
    ///
    /// # Safety
    ///
    /// The caller is the poller, and the cell is a member (invariant 4).
    #[inline]
    pub(super) unsafe fn park(&self, waker: &Waker) {
        if self.in_place {
            return;
        }
        if self.notes.load(Ordering::Relaxed) & PARKED != 0 {
            // SAFETY: the caller's promise.
            return unsafe { self.park_again(waker) };
        }
        let waker = waker.clone(); // foreign: before the place is touched
        self.note(PARKED);
        // SAFETY: nothing was ever parked, so no other thread reads the place (invariant 4).
        unsafe { self.write_waker(waker) };
    }

    /// # Safety
    ///
    /// As [`park`](Self::park); a waker has been parked before.
    unsafe fn park_again(&self, waker: &Waker) {
        // Relaxed, because this poller wrote the bytes that the bit stands for, and if the bit is out of date, the waker
        // that was taken is being woken.
        if self.state.load(Ordering::Relaxed) & WAKER != 0 {
            // SAFETY: written by this poller; a thread that has taken it meanwhile left the bytes (invariant 4).
            let same = unsafe {
                self.waker
                    .with(|known| (*known).assume_init_ref().will_wake(waker))
            };
            if same {
                return; // if it has been taken meanwhile, it is being woken, and it wakes this task
            }
        }
        let waker = waker.clone();
        // SAFETY: the cell is a member. Under the lock no other thread reads what was taken (invariant 4).
        let replaced = unsafe {
            let _state = self.node().kind.lock();
            let replaced = self.take_waker();
            self.write_waker(waker);
            replaced
        };
        unwind::discard(replaced);
    }

    /// # Safety
    ///
    /// Invariant 4.
    #[inline]
    unsafe fn write_waker(&self, waker: Waker) {
        // SAFETY: the caller's promise.
        self.waker
            .with_mut(|place| unsafe { (*place).write(waker) });
        // AcqRel: pairs with `take_waker`. Either that call sees the bit, or the poller, which reads the group's
        // phase next, sees what was stored before that call.
        self.state.fetch_or(WAKER, Ordering::AcqRel);
    }

    /// Takes the parked waker, if there is one of that kind.
    ///
    /// # Safety
    ///
    /// The state is locked.
    pub(super) unsafe fn take_waker_of(&self, kind: WakerKind) -> Option<Waker> {
        // Acquire: the waker that `write_waker` released.
        let is_there = self.state.load(Ordering::Acquire) & WAKER != 0;
        // SAFETY: the bit is set, and nothing takes or changes the waker while the state is locked (invariant 4).
        let is_it = |waker: *const MaybeUninit<Waker>| unsafe {
            reach::kind_of((*waker).assume_init_ref()) == kind
        };
        (is_there && self.waker.with(is_it))
            .then(|| self.take_waker())
            .flatten()
    }

    /// Takes the parked waker, if there is one. The state is locked.
    pub(super) fn take_waker(&self) -> Option<Waker> {
        // AcqRel: acquires the waker that `write_waker` released, and releases the phase to the poller's next `park`.
        let before = self.state.fetch_and(!WAKER, Ordering::AcqRel);
        // SAFETY: the thread that clears the bit owns the waker (invariant 4).
        (before & WAKER != 0)
            .then(|| unsafe { self.waker.with(|waker| (*waker).assume_init_read()) })
    }
}

/// Polls the body of a task.
///
/// # Safety
///
/// Invariant 1, and [`complete`]'s for what follows if it is ready.
#[inline]
pub(super) unsafe fn run_body(cell: Cell, cx: &mut task::Context<'_>, by: By) -> Poll<Next> {
    // SAFETY: the caller's promise.
    unsafe { (cell.as_ref().table.run)(cell, cx, by) }
}

/// Ends a task whose body is still there: drops the body, and completes it as canceled, or as lost.
///
/// # Safety
///
/// Invariant 1.
pub(super) unsafe fn cancel_body(cell: Cell, by: By, lost: bool) -> Next {
    // SAFETY: the caller's promise.
    unsafe { (cell.as_ref().table.cancel)(cell, by, lost) }
}

/// What `spawn` returned, of any type: a word in place, as smol's and tokio's are, or boxed.
struct Handle {
    word: MaybeUninit<usize>,
    drop: unsafe fn(*mut MaybeUninit<usize>),
}

/// Whether a handle of type `H` is stored in the word itself.
const fn fits<H>() -> bool {
    size_of::<H>() <= size_of::<usize>() && align_of::<H>() <= align_of::<usize>()
}

impl Handle {
    fn new<H>(handle: H) -> Self {
        if fits::<H>() {
            Self::store(handle)
        } else {
            Self::store(Box::new(handle))
        }
    }

    fn store<H>(handle: H) -> Self {
        const { assert!(size_of::<H>() <= size_of::<usize>() || !fits::<H>()) };
        debug_assert!(fits::<H>());
        let mut word = MaybeUninit::<usize>::uninit();
        // SAFETY: it fits, in size and alignment: the caller has looked.
        unsafe { word.as_mut_ptr().cast::<H>().write(handle) };
        Self {
            word,
            // SAFETY: called once, with this word.
            drop: |word| unsafe { word.cast::<H>().drop_in_place() },
        }
    }

    /// Drops what `spawn` returned, which is foreign code.
    fn discard(self) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: once, because `self` is gone.
        let drop = || unsafe { (this.drop)(&mut this.word) };
        if let Err(payload) = unwind::contain(drop) {
            unwind::discard(payload);
        }
    }
}

/// The spawner's share of the cell. Until [`Settling::keep`] or its drop, the cell is not freed.
pub(super) struct Settling(Cell);

impl Settling {
    /// # Safety
    ///
    /// The cell is shared with the engine alone yet, which does not read these bits.
    #[inline]
    pub(super) unsafe fn begin(cell: Cell) -> Self {
        // SAFETY: the cell is alive. No read-modify-write: the only bit that another thread may change before the
        // shell is out is `WAKER`, which is clear and stays so until the first poll.
        unsafe { cell.as_ref().state.store(0, Ordering::Relaxed) };
        Self(cell)
    }

    /// Keeps what `spawn` returned for as long as the executor has the task.
    #[inline]
    pub(super) fn keep<H>(self, handle: H) {
        let this = ManuallyDrop::new(self);
        // SAFETY: not settled yet, so the cell is alive, and the place is the spawner's (invariant 5).
        unsafe {
            let handle = Handle::new(handle);
            this.0
                .as_ref()
                .handle
                .with_mut(|place| (*place).write(handle));
            settle(this.0, HANDLE | SETTLED);
        }
    }
}

/// The executor's spawn function has panicked: there is no handle.
impl Drop for Settling {
    fn drop(&mut self) {
        // SAFETY: not settled yet (invariant 5).
        unsafe { settle(self.0, SETTLED) };
    }
}

/// # Safety
///
/// Invariant 5: once, by the spawner.
#[inline]
unsafe fn settle(cell: Cell, bits: u32) {
    // SAFETY: not settled yet, so the cell is alive. AcqRel: pairs with `retire`.
    let before = unsafe { cell.as_ref().state.fetch_or(bits, Ordering::AcqRel) };
    if before & COMPLETE != 0 {
        // SAFETY: both have done with it.
        unsafe { release(cell, before | bits) };
    }
}

/// The shell has done with a cell: its task has completed.
///
/// # Safety
///
/// Once, by the shell; the body is gone, and the cell is in no list.
#[inline]
pub(super) unsafe fn retire(cell: Cell) {
    // SAFETY: the caller's promise. Acquire: pairs with `settle`, which wrote the handle before. The usual case needs
    // no read-modify-write, because after `SETTLED` no other thread changes the state.
    unsafe {
        let state = cell.as_ref().state.load(Ordering::Acquire);
        if state & SETTLED != 0 {
            return release(cell, state);
        }
        let before = cell.as_ref().state.fetch_or(COMPLETE, Ordering::AcqRel);
        if before & SETTLED != 0 {
            release(cell, before);
        }
    }
}

/// Passes what keeps the executor's task alive on from a cell that has completed to the one that runs in its
/// place. False if the spawner has not settled yet.
///
/// # Safety
///
/// `from`'s task has completed; `to` has been taken from the queue by the same shell, so it is settled and has no
/// handle.
pub(super) unsafe fn pass_handle(from: Cell, to: Cell) -> bool {
    // SAFETY: both are alive, by the caller's promise; the handle was written before `SETTLED` (invariant 5).
    unsafe {
        let state = from.as_ref().state.load(Ordering::Acquire);
        if state & SETTLED == 0 {
            return false;
        }
        if state & HANDLE != 0 {
            let handle = from
                .as_ref()
                .handle
                .with(|handle| (*handle).assume_init_read());
            // Relaxed, because this shell alone still uses `from`.
            from.as_ref().state.fetch_and(!HANDLE, Ordering::Relaxed);
            to.as_ref().handle.with_mut(|place| (*place).write(handle));
            // Release: pairs with the acquire in `retire`, perhaps on another thread.
            to.as_ref().state.fetch_or(HANDLE, Ordering::Release);
        }
        true
    }
}

/// Frees a cell of which spawner and shell have done, with what it still keeps.
///
/// # Safety
///
/// The cell is the caller's alone, and `state` is its state.
unsafe fn release(cell: Cell, state: u32) {
    // SAFETY: the caller's promise; the bits show what is there (invariants 4 and 5).
    unsafe {
        let header = cell.as_ref();
        let waker =
            (state & WAKER != 0).then(|| header.waker.with(|waker| (*waker).assume_init_read()));
        let handle = (state & HANDLE != 0)
            .then(|| header.handle.with(|handle| (*handle).assume_init_read()));
        (header.table.free)(cell);
        unwind::discard(waker);
        if let Some(handle) = handle {
            handle.discard();
        }
    }
}

/// In place: the cell is its own waker.
impl Header {
    /// Notes that the task is to be polled. True if this was not noted before: then the cell goes to the ready
    /// stack.
    #[inline]
    pub(super) fn note_woken(&self) -> bool {
        // AcqRel: what was done before the wake is seen by the poll that clears the bit, also if the bit was set
        // already.
        let before = self.state.fetch_or(WOKEN, Ordering::AcqRel);
        before & (WOKEN | COMPLETE) == 0
    }

    /// Begins the task's turn. False if it has completed: then the caller releases the group's reference.
    #[inline]
    pub(super) fn take_woken(&self) -> bool {
        // AcqRel: pairs with `note_woken`. A wake before this is seen by the poll that follows, a later one sets the bit.
        let before = self.state.fetch_and(!WOKEN, Ordering::AcqRel);
        before & COMPLETE == 0
    }

    /// Whether the task was woken since its turn began.
    #[inline]
    pub(super) fn is_woken(&self) -> bool {
        // Relaxed, because the answer only counts turns: `take_woken` acquires before the task is polled again.
        self.state.load(Ordering::Relaxed) & WOKEN != 0
    }
}

/// An in-place task has completed: invariant 6.
///
/// # Safety
///
/// Once, by the group; the body is gone, and the cell is in no list.
pub(super) unsafe fn retire_in_place(cell: Cell) {
    // SAFETY: the group's reference is still there.
    let header = unsafe { cell.as_ref() };
    // Acquire: what the wakers did to the state is seen. With none left, and the cell in no list, nothing else can change
    // it, so that the usual case needs no read-modify-write.
    if header.refs.load(Ordering::Acquire) == 1 {
        let state = header.state.load(Ordering::Relaxed);
        if state & WOKEN == 0 {
            // SAFETY: the only reference, and the cell is not in the ready stack.
            return unsafe { (header.table.free)(cell) };
        }
        return header.state.store(state | COMPLETE, Ordering::Relaxed);
    }
    // AcqRel: of this and a wake's `note_woken` the one that comes second sees the other's bit, so that the reference is
    // released once (invariant 6).
    let before = header.state.fetch_or(COMPLETE, Ordering::AcqRel);
    if before & WOKEN == 0 {
        // SAFETY: it is not in the ready stack, nor will it be.
        unsafe { unref(cell) };
    }
}

/// Releases one reference to an in-place cell; the last frees it.
///
/// # Safety
///
/// The caller owns a reference.
#[inline]
pub(super) unsafe fn unref(cell: Cell) {
    // SAFETY: the caller's reference keeps it alive. Acquire and release, because the thread that frees the cell must
    // see what was done under the other references. If the count is 1 it is the caller's, and no other can be made.
    unsafe {
        let refs = &cell.as_ref().refs;
        if refs.load(Ordering::Acquire) == 1 || refs.fetch_sub(1, Ordering::AcqRel) == 1 {
            (cell.as_ref().table.free)(cell);
        }
    }
}

/// Calls `poll` with a context whose waker is the cell itself. No reference is counted for it.
///
/// # Safety
///
/// The cell is alive until `poll` returns.
#[inline]
pub(super) unsafe fn with_waker<R>(
    cell: Cell,
    poll: impl FnOnce(&mut task::Context<'_>) -> R,
) -> R {
    let raw = RawWaker::new(cell.as_ptr().cast_const().cast(), &WAKER_TABLE);
    // SAFETY: the table is a waker's; the waker is not dropped, so that its reference need not be counted.
    let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw) });
    poll(&mut task::Context::from_waker(&waker))
}

static WAKER_TABLE: RawWakerVTable =
    RawWakerVTable::new(clone_waker, wake, wake_by_ref, drop_waker);

/// # Safety
///
/// Of all four: `data` is the address of a live in-place cell, of which the waker counts a reference.
unsafe fn clone_waker(data: *const ()) -> RawWaker {
    // SAFETY: see above.
    let header = unsafe { &*data.cast::<Header>() };
    // Relaxed, as in `Arc`, because the caller's own reference keeps the cell alive.
    if header.refs.fetch_add(1, Ordering::Relaxed) > u32::MAX / 2 {
        std::process::abort(); // as `Arc` does: a count that wraps would free what is in use
    }
    RawWaker::new(data, &WAKER_TABLE)
}

/// # Safety
///
/// See [`clone_waker`].
unsafe fn wake(data: *const ()) {
    // SAFETY: see above.
    unsafe {
        wake_by_ref(data);
        drop_waker(data);
    }
}

/// # Safety
///
/// See [`clone_waker`].
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: see above; the node is alive, because the cell counts a reference to it (invariant 2).
    unsafe {
        let cell = NonNull::new_unchecked(data.cast::<Header>().cast_mut());
        if cell.as_ref().note_woken() {
            cell.as_ref().node().kind.push_ready(cell);
        }
    }
}

/// # Safety
///
/// See [`clone_waker`].
unsafe fn drop_waker(data: *const ()) {
    // SAFETY: see above.
    unsafe { unref(NonNull::new_unchecked(data.cast::<Header>().cast_mut())) }
}
