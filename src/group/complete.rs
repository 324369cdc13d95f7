//! The end of a task: record the outcome, cancel, release the slot, wake. In this order, and here alone.

use super::cell::{Cell, Header};
use super::engine::Engine;
use super::keep::{Deliver, Keep, Recorded};
use super::state::State;
use crate::clock;
use crate::context::{Marked, Node, NodeRef, shield};
use crate::error::{self, BoxError, End, Error, Name};
use crate::observe;
use crate::unwind::{self, Payload};
use std::sync::Arc;
use std::task::Waker;

/// How a task ended.
pub(super) enum Outcome<V> {
    Succeeded(V),
    Failed(BoxError),
    Panicked(Payload),
    /// Dropped because the group had ended.
    Canceled,
    /// The executor dropped it.
    Lost,
    /// Ended by itself, without an outcome: a canceled fork.
    Dismissed,
}

/// What ends a task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The executor's shell, while it is polled: the next in the queue may run in its place.
    Shell,
    /// The executor, which drops the shell, perhaps under locks of its own: so no waker is called on its thread.
    Executor,
    /// The group: in place, or before the task was started.
    Group,
}

/// The task that takes the place of one that has ended.
pub(super) type Next = Option<Cell>;

impl<V> Outcome<V> {
    /// The body panicked when it was dropped, after the task had its outcome. A failure stays what it was.
    pub(super) fn and_panicked(self, payload: Payload) -> Self {
        match self {
            Self::Succeeded(value) => unwind::discard(value),
            Self::Canceled | Self::Dismissed => {}
            failed => {
                unwind::discard(payload);
                return failed;
            }
        }
        Self::Panicked(payload)
    }
}

/// Completes a task.
///
/// # Safety
///
/// The body has been dropped. The cell is a member of its group, whose results `K` names. Once for each cell.
#[allow(unsafe_code, reason = "see `cell`")]
pub(super) unsafe fn complete<K: Keep>(
    cell: Cell,
    keep: K,
    outcome: Outcome<K::Value>,
    by: By,
) -> Next {
    // SAFETY: the cell is alive, and a member until the release below (invariant 2 of `cell`).
    let (header, node) = unsafe { (cell.as_ref(), cell.as_ref().node()) };
    let outcome = without_echo(node, outcome);
    let observed = node.kind.observed.as_deref();
    let seen = observed.map(|observed| (observed, outcome.seen()));
    // One lock for recording and releasing where nothing has to run in between, because that is the usual case.
    let mut state = node.kind.lock();

    // 1. Record the outcome.
    // SAFETY: the caller's promise.
    let recorded = unsafe { record(&mut state, node, header, keep, outcome) };

    // 2. Cancel. The state is unlocked meanwhile, and the group stays, because this is still one of its tasks. A
    // value that is not kept is dropped before the slot is released, because nothing may outlive the wait; and so is
    // the error of this function, because `Error::downcast` returns it by value only if no other reference exists.
    let Record {
        ends,
        delivery,
        extra,
        error,
    } = recorded;
    let (mut marked, mut waiter) = (None, None);
    let unlocks = ends.is_some() || error.is_some() || extra.is_some() || delivery.is_due();
    if unlocks || seen.is_some() {
        drop(state);
        // SAFETY: still a member.
        marked =
            ends.map(|ends| unsafe { header.shared().with(|node| Box::new(cancel(node, &ends))) });
        if let Some((observed, how)) = seen {
            observed.completed(
                header,
                &node.kind,
                (how, error.as_ref()),
                (marked.as_deref_mut(), by),
            );
        }
        waiter = delivery.deliver();
        unwind::discard(extra);
        shield::outside(|| unwind::discard(error)); // no part of the task, which is not being polled any more
        state = node.kind.lock();
    }

    // 3. Release the slot. After the unlock the group may have been freed.
    // SAFETY: a member until here.
    let (released, next) = unsafe { release(&mut state, node, cell, by) };
    drop(state);

    // 4. Wake.
    if released.is_some() || marked.is_some() || waiter.is_some() {
        let wakes = Wakes {
            marked,
            released: released.unwrap_or_default(),
            waiter,
        };
        wakes.run_by(by); // for the last task, and for few others
    }
    next
}

/// What the end of a task does to the group.
pub(super) enum Ending {
    /// The first failure.
    Failed(Error),
    /// As many successes as the quorum needs.
    Enough,
}

/// An error that only passes on that the group has ended is no failure.
fn without_echo<V>(node: &Node<Engine>, outcome: Outcome<V>) -> Outcome<V> {
    match outcome {
        Outcome::Failed(error) if is_echo(node, &error) => {
            unwind::discard(error);
            Outcome::Canceled
        }
        Outcome::Lost if node.is_marked() => Outcome::Canceled,
        other => other,
    }
}

/// Whether an error is, somewhere down its chain, the end of the group's own context, or the failure of a fork that
/// ended it. Runs the user's `source`.
pub(super) fn is_echo(node: &Node<Engine>, error: &BoxError) -> bool {
    let Some(end) = end_told_by(node, error) else {
        return false;
    };
    let first = node.kind.lock().failures.first().cloned();
    unwind::contain(|| {
        error::echo(error, &end) || first.is_some_and(|first| passes_on(error, &first))
    })
    .unwrap_or(false)
}

/// The group's end. A deadline further up may have ended the task's own context by the clock, while another thread's walk
/// has yet to come to the group. So the group's clock is read as well if the error reports an end.
fn end_told_by(node: &Node<Engine>, error: &BoxError) -> Option<Arc<End>> {
    let tells = || unwind::contain(|| error::tells_an_end(error)).unwrap_or(false);
    let ended = node.is_marked() || (node.has_deadline() && tells() && node.is_done());
    ended.then(|| node.end()).flatten()
}

/// Whether an error is the failure that ended the group, as a fork gave it.
fn passes_on(error: &BoxError, first: &Error) -> bool {
    let mut chain = error::walk(&**error);
    chain.any(|error| {
        error
            .downcast_ref::<Error>()
            .is_some_and(|error| error.is_same(first))
    })
}

struct Record<K: Keep> {
    ends: Option<Ending>,
    delivery: K::Delivery,
    extra: Option<K::Value>,
    /// Kept until the state is unlocked, because it may be the last of the failure, whose drop is foreign code.
    error: Option<Error>,
}

/// # Safety
///
/// The group's results are those that `K` names.
#[allow(unsafe_code, reason = "see `keep`")]
unsafe fn record<K: Keep>(
    state: &mut State,
    node: &Node<Engine>,
    header: &Header,
    keep: K,
    outcome: Outcome<K::Value>,
) -> Record<K> {
    let mut task = Recorded {
        number: header.number,
        name: &header.name,
        node,
        dismissed: false,
    };
    let (mut ends, mut extra) = (None, None);
    let ended = match outcome {
        Outcome::Succeeded(value) if !(K::KEPT && state.has_enough()) => {
            state.succeeded += usize::from(K::KEPT);
            let enough = K::KEPT && state.has_enough() && !node.is_marked();
            ends = enough.then_some(Ending::Enough);
            Ok(value)
        }
        Outcome::Succeeded(value) => {
            extra = Some(value); // one too many
            Err(None)
        }
        Outcome::Dismissed => {
            task.dismissed = true;
            Err(None)
        }
        Outcome::Canceled => {
            state.flawed |= !K::BACKGROUND;
            state.cut_short |= !K::BACKGROUND;
            Err(None)
        }
        Outcome::Failed(error) => Err(Some(Error::task_failed(header.name(), error))),
        Outcome::Panicked(payload) => Err(Some(Error::panicked(header.name(), payload))),
        Outcome::Lost => Err(Some(Error::lost(header.name()))),
    };
    if node.is_marked() && !K::BACKGROUND && !task.dismissed {
        state.note_pending(node, header.number, header.name.as_ref());
    }
    let error = ended.as_ref().err().and_then(Option::clone);
    if let Some(error) = &error {
        if state.record_failure(header.number, error, !node.is_marked(), K::KEPT) {
            ends = Some(Ending::Failed(error.clone()));
        }
    }
    // SAFETY: the caller's promise.
    let delivery = unsafe { keep.record(state, &task, ended) };
    Record {
        ends,
        delivery,
        extra,
        error,
    }
}

/// Ends the group's context, if nothing else has.
fn cancel(node: &Arc<Node<Engine>>, ending: &Ending) -> Marked {
    match ending {
        Ending::Failed(error) => Engine::fail(node, error),
        Ending::Enough => Engine::end_by_us(node, End::finished(node.origin())),
    }
}

impl Engine {
    /// Ends the group's context with its first failure, which has been recorded, as the cause.
    pub(super) fn fail(node: &Arc<Node<Engine>>, error: &Error) -> Marked {
        let end = End::failed(error, node.origin());
        error.set_end(&end);
        let marked = Node::mark(&(node.clone() as NodeRef), end);
        if !marked.first {
            node.kind.lock().failures.demote_first();
        }
        marked
    }
}

/// What is done after the state has been unlocked, if anything is.
#[derive(Default)]
pub(super) struct Released {
    owner: Option<Waker>,
    ready: Option<Waker>,
    /// Set by the last task: the engine's reference to itself, and whether the group was dropped before.
    anchor: Option<(Arc<Node<Engine>>, bool)>,
    /// Set by the last task, because the timers are not needed any more.
    unwatches: bool,
}

/// Takes a task out of its group, and finds the one that runs in its place.
///
/// # Safety
///
/// The cell is a member.
#[allow(unsafe_code, reason = "see `cell`")]
#[inline]
unsafe fn release(
    state: &mut State,
    node: &Node<Engine>,
    cell: Cell,
    by: By,
) -> (Option<Released>, Next) {
    // SAFETY: the caller's promise.
    let header = unsafe { cell.as_ref() };
    // SAFETY: the caller's promise.
    unsafe { state.members.leave(cell) };
    if state.is_quiet() {
        state.limit.running -= usize::from(!header.background);
        return (None, None); // as it nearly always is, but for the last task
    }
    state.release_slot(node, header, by)
}

impl State {
    /// Whether the end of a task, which has left, wakes nothing: the group still waits for other tasks, no task and no
    /// caller waits for a slot, and the owner waits for all.
    #[inline]
    fn is_quiet(&self) -> bool {
        let owner = !self.owner.each && self.needed == 0;
        owner && self.members.foreground() > 0 && self.limit.is_unlimited()
    }

    fn release_slot(
        &mut self,
        node: &Node<Engine>,
        header: &Header,
        by: By,
    ) -> (Option<Released>, Next) {
        let state = self;
        let lends = state.limit.forget_lender(header.number);
        state.limit.running -= usize::from(!header.background && !lends);
        let next = match by {
            By::Shell => state.next_queued(node.is_marked()),
            By::Group if node.kind.is_in_place() => {
                // The drive that polled this task goes on with that one.
                let next = state.next_queued(node.is_marked());
                if let Some(next) = next {
                    node.kind.make_first_ready(next);
                }
                None
            }
            By::Executor | By::Group => None,
        };
        let (idle, empty) = (state.is_idle(), state.is_empty());
        let served = next.is_some() || state.limit.queue.is_empty() || !state.limit.has_room();
        let wakes_owner = idle || state.owner.each || state.needed > 0 || !served;
        let released = Released {
            owner: if wakes_owner {
                state.owner.waker.take()
            } else {
                None
            },
            ready: if !served {
                state.limit.call_driver() // waits by the group itself, and so starts what is queued
            } else if state.limit.is_full() {
                None
            } else {
                state.limit.call_first()
            },
            anchor: if empty {
                state.anchor.take().map(|anchor| (anchor, state.abandoned))
            } else {
                None
            },
            unwatches: empty && std::mem::take(&mut state.watching),
        };
        (
            Some(released).filter(|released| !released.is_nothing()),
            next,
        )
    }
}

impl State {
    /// Notes a task that had not finished when the context ended, if that is what the error will be. `name` is the given
    /// one: a name is made of a number only where the error is, because most groups that end have a failure.
    pub(super) fn note_pending(&mut self, node: &Node<Engine>, number: u64, name: Option<&Name>) {
        let failed = self.failures.first().is_some() && !self.shutdown.is_tolerant();
        if !failed && node.end().is_none_or(|end| !self.is_ours(&end)) {
            self.pending.push((number, name.cloned()));
        }
    }

    /// Takes the next that may run from the queue, and makes it a member. After the group's end they all leave
    /// the queue, to be dropped.
    #[allow(unsafe_code, reason = "see `cell`")]
    pub(super) fn next_queued(&mut self, ended: bool) -> Next {
        if !ended && !self.limit.has_room() {
            return None;
        }
        let cell = self.limit.queue.pop_front()?;
        self.limit.running += 1;
        // SAFETY: it was in the queue, so it is alive, and is in no list now.
        unsafe { self.members.join(cell) };
        Some(cell)
    }
}

impl Released {
    fn is_nothing(&self) -> bool {
        self.wakes_nothing() && self.anchor.is_none()
    }

    fn wakes_nothing(&self) -> bool {
        self.owner.is_none() && self.ready.is_none() && !self.unwatches
    }

    pub(super) fn run(self) {
        self.owner
            .into_iter()
            .chain(self.ready)
            .for_each(unwind::wake);
        let Some((anchor, closes)) = self.anchor else {
            return;
        };
        if self.unwatches {
            anchor.unwatch();
        }
        if let Some(observed) = anchor.kind.observed.as_deref().filter(|_| closes) {
            observe::in_a_drop(|| observed.closed(&anchor)); // because this may be any thread
        }
    }
}

/// What the end of a task wakes.
struct Wakes {
    /// Boxed, because most tasks end nothing, and each move of a walk copies 300 bytes.
    marked: Option<Box<Marked>>,
    released: Released,
    /// Of the fork that has its answer.
    waiter: Option<Waker>,
}

impl Wakes {
    /// Contained, because the task has completed and must not do so again; and outside of the task's frame, because
    /// the task is not being polled any more.
    #[inline(never)]
    fn run_by(self, by: By) {
        let wake = || match by {
            By::Executor if !self.is_empty() => clock::aside(move || self.run()),
            _ => self.run(),
        };
        if let Err(payload) = unwind::contain(|| shield::outside(wake)) {
            unwind::discard(payload);
        }
    }

    /// Whether there is nothing that an executor's thread may not do.
    #[inline]
    fn is_empty(&self) -> bool {
        self.marked.is_none() && self.waiter.is_none() && self.released.wakes_nothing()
    }

    fn run(self) {
        if let Some(marked) = self.marked {
            marked.wake();
        }
        self.waiter.into_iter().for_each(unwind::wake);
        self.released.run();
    }
}
