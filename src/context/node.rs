//! A node of the trees of contexts: what can end.
//!
//! # Invariants
//!
//! 1. **First wins.** A node ends at most once: see [`EndSlot`].
//! 2. **Done before woken.** An end marks everything that it reaches before it wakes anything: see [`walk`](super::walk).
//! 3. **No lost wake-ups.** Joining and ending take the same lock, that of a lane: see [`links`](super::links).
//! 4. **No foreign code under a lock**, and none uncaught.
//! 5. **No recursion.** Ends, drops and look-ups are loops: 100,000 levels are as good as one.
//! 6. **Nothing is left.** A node that ended, or to which no reference is left, is in no list of a node that lives on.
//! 7. **The clock counts, not when it is read.** A deadline that passed before an end came is what ended the node.
//! 8. **No timer without a waiter**: see [`timer`](super::timer).
//!
//! # Atomic read-modify-writes
//!
//! A lock counts as one, because it is given back by a store, but for that of the clock, which counts as two.
//!
//! | what | with no deadline | with a deadline, by the system's clock |
//! |---|---|---|
//! | node made under the background | 0 | 0 |
//! | node made under a parent | 2 (parent 1, lock 1) | 2, or 3 where the deadline is a grandparent's |
//! | `check` while alive | 0 | 0 |
//! | `watch` | 0 | 4 (count 1, lock 2, the timer's reference 1), the first alone: else 1 |
//! | `unwatch` | 0 | 4 (count 1, lock 2, the timer's reference 1), the last alone: else 1 |
//! | `finish`, nothing there | 2 (end 1, lock 1), with a parent 3 | the same |
//! | drop of a node that finished | 2 (`Arc`), with a parent 3 | the same |
//! | drop of one that lives, with a parent | 4 (lock 1) | the same |

use super::Context;
use super::address::Address;
use super::deadline::{Above, NewDeadline, Own};
use super::due::View;
use super::end_slot::{EndSlot, Plain};
use super::let_go::let_go;
use super::linked::Sources;
use super::links::{self, Links, Sibling};
use super::orphans;
use super::walk::{Marked, Walk};
use crate::clock::Instant;
use crate::error::End;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use std::any::Any;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::sync::Arc;
use std::task;

type Origin = &'static Location<'static>;

pub(crate) type NodeRef = Arc<Node>;

/// What a node is for. Its methods are called once, by the end, under no lock.
pub(crate) trait Kind: Any + Send + Sync {
    /// The node has ended. Called when its whole subtree is marked, and before anything anywhere is woken.
    fn ended(&self, _node: &NodeRef) {}

    /// Called after `ended` of every node that this end reached, and before anything is woken: observers are called now.
    fn report(&self, _node: &NodeRef) {}

    /// Called after that: waiters are woken now.
    fn wake(&self, _node: &NodeRef) {}

    /// For snapshots: the group.
    fn as_any(&self) -> Option<&dyn Any> {
        None
    }

    /// Where a node is written to.
    fn memory() -> Arc<MaybeUninit<Node<Self>>>
    where
        Self: Sized,
    {
        Arc::new_uninit()
    }

    /// What `Debug` calls it.
    fn layer(&self) -> &'static str {
        "group"
    }
}

#[repr(C)]
pub(crate) struct Node<K: ?Sized = dyn Kind> {
    base: Base,
    pub(crate) kind: K,
}

/// What all nodes have. What is written often comes first, beside the reference counts; what every poll reads
/// comes last, on cache lines that are seldom written.
#[repr(C)]
pub(super) struct Base {
    pub(super) links: Links,
    pub(super) sibling: Sibling,
    me: Address,
    pub(super) parent: Option<NodeRef>,
    pub(super) sources: Mutex<Option<Box<Sources>>>,
    /// Whether it is linked to several sources.
    pub(super) is_linked: bool,
    pub(super) depth: u32,
    pub(super) origin: Origin,
    pub(super) own: Option<Own>,
    pub(super) above: Above,
    /// The earliest of all deadlines that can end it.
    pub(super) earliest: Option<Instant>,
    /// The flag of the one timer that may have to be polled, where there is one timer alone (see
    /// [`timer`](super::timer)): looked at by each poll of each task, so it is not looked up each time.
    due: Option<View>,
    /// Everything below is marked, too: a walk need not descend.
    subtree_marked: AtomicBool,
    end: EndSlot,
}

/// What every poll reads lies on other cache lines than what is written with each child, on the machines that have many
/// cores: with shorter words the distance is shorter too.
#[cfg(all(not(failfast_loom), target_pointer_width = "64"))]
const _: () = {
    use std::mem::offset_of;
    let written = offset_of!(Base, links) + size_of::<Links>();
    assert!(offset_of!(Base, own) >= written + 64 && offset_of!(Base, end) >= written + 64);
};

/// What a new node is to be.
pub(super) struct Plan<'a> {
    pub(super) parent: Option<&'a NodeRef>,
    pub(super) deadline: Option<NewDeadline>,
    pub(super) depth: u32,
    pub(super) origin: Origin,
}

/// How a new node is placed among the others.
pub(super) struct Placing {
    pub(super) parent: Option<NodeRef>,
    pub(super) own: Option<Own>,
    pub(super) above: Above,
    pub(super) earliest: Option<Instant>,
    pub(super) is_linked: bool,
    pub(super) depth: u32,
    pub(super) origin: Origin,
}

impl<K: Kind> Node<K> {
    /// A node below `parent`. If the parent has ended, it is born ended, by the same end.
    #[inline]
    pub(crate) fn new(
        parent: &Context,
        kind: impl FnOnce() -> K,
        deadline: Option<NewDeadline>,
        origin: Origin,
    ) -> Arc<Self> {
        Self::planned(
            kind,
            Plan {
                parent: parent.node.as_ref(),
                deadline,
                depth: parent.depth() + 1,
                origin,
            },
        )
    }

    #[inline]
    pub(super) fn planned(kind: impl FnOnce() -> K, plan: Plan<'_>) -> Arc<Self> {
        let Plan {
            parent,
            deadline,
            depth,
            origin,
        } = plan;
        // The clocks of the deadlines above are not read here, because each look at the new node reads them.
        let (own, verdict) = NewDeadline::split(deadline, parent);
        let inherited = parent.and_then(|parent| parent.base.earliest);
        let placing = Placing {
            parent: parent.cloned(),
            above: Above::of_child(own.as_ref(), parent),
            earliest: match &own {
                Some(own) => Some(inherited.map_or(own.at, |at| at.min(own.at))),
                None => inherited,
            },
            own,
            is_linked: false,
            depth,
            origin,
        };
        let node = Self::allocate(kind, placing);
        links::join(&node);
        if let Some(verdict) = verdict {
            let shared: NodeRef = node.clone();
            shared.mark(verdict.end(&shared)).wake();
        }
        node
    }

    /// Written to where it stays, field by field, because a group's node is a kilobyte, and each move would copy it.
    #[inline]
    #[allow(unsafe_code, reason = "a node made without copying it")]
    pub(super) fn allocate(kind: impl FnOnce() -> K, placing: Placing) -> Arc<Self> {
        let node = K::memory();
        // SAFETY: it has just been made, so this is the only reference to it. Both fields are written before
        // the node is taken for initialized.
        unsafe {
            let place = Arc::as_ptr(&node).cast::<Self>().cast_mut();
            (&raw mut (*place).kind).write(kind()); // first, because what is written is lost if it panics
            Base::write(&raw mut (*place).base, placing, Address::new(place));
            node.assume_init()
        }
    }
}

impl<K: ?Sized> Node<K> {
    pub(super) fn base(&self) -> &Base {
        &self.base
    }

    /// Whether its end is set: one load, reads no clock.
    #[inline]
    pub(crate) fn is_marked(&self) -> bool {
        self.base.is_marked()
    }

    /// Whether it has ended. Ends it if a deadline has passed and its timer is late, or not armed.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.base.is_done()
    }

    /// The end; reads no clock.
    #[inline]
    pub(crate) fn end(&self) -> Option<Arc<End>> {
        self.base.end()
    }

    /// The end, if there is one by the clock.
    pub(super) fn end_by_clock(&self) -> Option<Arc<End>> {
        self.is_done().then(|| self.end()).flatten()
    }

    /// Whether its own deadline ended it. The parent's end does not show it: where a deadline further up ended both, another
    /// thread's walk may have yet to mark the parent.
    pub(super) fn has_expired_itself(&self) -> bool {
        let parents = self.base.parent.as_ref().and_then(|parent| parent.end());
        let own = self.base.own.as_ref().zip(self.end());
        own.is_some_and(|(own, end)| {
            end.at() == Some(own.at) && parents.is_none_or(|parents| !Arc::ptr_eq(&end, &parents))
        })
    }

    pub(crate) fn origin(&self) -> Origin {
        self.base.origin
    }

    /// Whether any deadline can end it, its own or an ancestor's.
    #[inline]
    pub(crate) fn has_deadline(&self) -> bool {
        self.base.has_deadline()
    }

    /// The earliest of them.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.base.earliest
    }

    /// Ends a node whose work is done, as its kind has found. Reads no clock.
    pub(crate) fn finish(&self) {
        self.base.end_plainly(Plain::Finished);
    }

    /// Has the timers of all deadlines that can end this node armed from now on. Each call is undone by one of
    /// [`unwatch`](Self::unwatch).
    pub(crate) fn watch(&self) {
        self.base.watch(None);
    }

    pub(crate) fn unwatch(&self) {
        self.base.unwatch(1);
    }

    /// Whether a deadline that can end this node goes by the system's clock.
    pub(crate) fn goes_by_system(&self) -> bool {
        self.base.goes_by_system()
    }

    /// Ends it if a deadline of the system's clock can end it, and the clock's threads can't wake this task. Returns whether
    /// it has.
    pub(crate) fn refuses(&self, waker: &task::Waker) -> bool {
        self.base.refuses(waker)
    }

    /// Whether the node has ended, as far as its timers have shown. Where no flag is set, this is a load for
    /// each deadline. Else the clock is read, and if it is early, the timer is polled again.
    ///
    /// `cx` is the caller's, if it has one: if the timer wakes itself in its own poll, the caller's task is woken, so
    /// that it comes again.
    #[inline]
    pub(crate) fn poll_due(&self, cx: Option<&mut task::Context<'_>>) -> bool {
        self.base.poll_due(cx)
    }
}

impl Base {
    /// # Safety
    ///
    /// `place` is where the node stays, and may be written to.
    #[inline]
    #[allow(unsafe_code, reason = "see `Node::allocate`")]
    unsafe fn write(place: *mut Self, placing: Placing, me: Address) {
        // SAFETY: the caller's promise. Every field is written once, and none is read before it is.
        unsafe {
            (&raw mut (*place).links).write(Links::new());
            (&raw mut (*place).sibling).write(Sibling::new());
            (&raw mut (*place).me).write(me);
            (&raw mut (*place).parent).write(placing.parent);
            (&raw mut (*place).sources).write(Mutex::new(None));
            (&raw mut (*place).is_linked).write(placing.is_linked);
            (&raw mut (*place).depth).write(placing.depth);
            (&raw mut (*place).origin).write(placing.origin);
            (&raw mut (*place).own).write(placing.own);
            (&raw mut (*place).above).write(placing.above);
            (&raw mut (*place).earliest).write(placing.earliest);
            (&raw mut (*place).due).write(None);
            (&raw mut (*place).subtree_marked).write(AtomicBool::new(false));
            (&raw mut (*place).end).write(EndSlot::new());
            let due = (*place).sole_owner().and_then(Base::due_flag);
            (*place).due = due.map(|due| View::of(due)); // its own, or that of an owner above
        }
    }

    #[inline]
    pub(super) fn is_marked(&self) -> bool {
        self.end.is_set()
    }

    /// Ends the node, unless it has ended, and everything below. Reads no clock, notifies the node's kind of nothing, and
    /// makes no [`End`](crate::error::End) and no walk where there is nothing to be ended or woken.
    pub(super) fn end_plainly(&self, plain: Plain) {
        if !self.end.end_plainly(plain) {
            return;
        }
        if self.links.is_vacant() {
            self.set_subtree_marked();
            self.leave();
            return self.settle(0);
        }
        let Some(node) = self.upgrade() else { return };
        let mut walk = Walk::default();
        walk.finish(&node);
        walk.into_marked(true).wake();
        let_go(node);
    }

    #[inline]
    pub(super) fn has_deadline(&self) -> bool {
        self.earliest.is_some()
    }

    #[inline]
    fn is_done(&self) -> bool {
        self.is_marked() || (self.has_deadline() && self.expire_if_past())
    }

    #[inline]
    pub(super) fn end(&self) -> Option<Arc<End>> {
        self.end.get(self.origin)
    }

    /// Whether the one timer that can end the node may have to be polled. `None` where none or several can.
    #[inline]
    pub(super) fn sole_due(&self) -> Option<bool> {
        self.due.as_ref().map(View::is_set)
    }

    pub(super) fn set_end(&self, end: Arc<End>) -> bool {
        self.end.set(end)
    }

    /// Acquire: pairs with `set_subtree_marked`, so a walk that skips the subtree sees that all of it is marked.
    pub(super) fn is_subtree_marked(&self) -> bool {
        self.subtree_marked.load(Ordering::Acquire)
    }

    /// To be called once every node below is marked. Releases those marks to walks that skip the subtree for it.
    pub(super) fn set_subtree_marked(&self) {
        self.subtree_marked.store(true, Ordering::Release);
    }

    /// A reference to the node. `None` while it is being dropped.
    pub(super) fn upgrade(&self) -> Option<NodeRef> {
        self.me.upgrade()
    }

    /// The node's own address, for its timer.
    pub(super) fn me(&self) -> &Address {
        &self.me
    }

    /// Leaves the parent's list: an ended node need not be reached by the parent's end.
    pub(super) fn leave(&self) {
        if let Some(parent) = &self.parent {
            parent.base.remove_child(self);
        }
    }
}

impl Node {
    /// Ends it and everything below, and wakes nothing yet: see [`Marked`].
    ///
    /// A deadline that had passed by the clock's reading wins, whether it had been noticed or not.
    pub(crate) fn mark(self: &Arc<Self>, end: Arc<End>) -> Marked {
        let mut walk = Walk::default();
        let first = !self.is_marked() && walk.end(self, end);
        walk.into_marked(first)
    }

    /// The nearest nodes below that have something to show for snapshots.
    pub(crate) fn groups_below(self: &Arc<Self>) -> Vec<NodeRef> {
        let (mut found, mut open) = (Vec::new(), Vec::new());
        self.base.links.children(&mut open);
        while let Some(node) = open.pop() {
            match node.kind.as_any() {
                Some(_) => found.push(node),
                None => node.base.links.children(&mut open),
            }
        }
        found
    }
}

/// Invariants 5 and 6. No reference to the node is left, but the lists still have its address.
impl Drop for Base {
    fn drop(&mut self) {
        if self.sibling.is_linked() {
            self.leave();
        }
        let sources = match self.is_linked {
            true => self.sources.get_mut().take(),
            false => None,
        };
        if let Some(sources) = &sources {
            sources.leave();
        }
        if let Some(left) = self.links.drain() {
            orphans::hand_up(self, sources.as_deref(), left);
        }
        self.above.let_go();
        if let Some(sources) = sources {
            sources.let_go();
        }
        if let Some(parent) = self.parent.take() {
            let_go(parent);
        }
    }
}
