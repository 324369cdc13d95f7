//! A node of the trees of contexts: what can end.
//!
//! # Invariants
//!
//! 1. **First wins.** A node ends at most once: see [`EndSlot`].
//! 2. **Done before woken.** An end marks everything that it reaches before it wakes anybody: see [`walk`](super::walk).
//! 3. **Nobody is missed.** Joining and ending meet at the lock of a lane: see [`links`](super::links).
//! 4. **No foreign code under a lock**, and none uncaught.
//! 5. **No recursion.** Ends, drops and look-ups are loops: 100,000 levels are as good as one.
//! 6. **Nothing is left.** A node that ended, or that nobody holds, is in no list of a node that lives on.
//! 7. **The clock counts, not who asks.** A deadline that passed before an end came is what ended the node.
//! 8. **No timer without a waiter**: see [`timer`](super::timer).
//!
//! # Atomic read-modify-writes
//!
//! A lock counts as two, because it is taken and given back.
//!
//! | what | with no deadline | with a deadline, by the system's clock |
//! |---|---|---|
//! | node made under the background | 0 | 2 (a weak reference to itself, for its timer) |
//! | node made under a parent | 5 (parent 1, weak 2, lock 2) | 5, or 6 where the deadline is a grandparent's |
//! | `check` while alive | 0 | 0 |
//! | `watch` | 0 | 5 (count and driver's turn 2, arming 2, the timer's reference 1) |
//! | `unwatch` | 0 | 5 (count and driver's turn 2, disarming 2, the timer's reference 1) |
//! | `finish`, nobody there | 3 (end 1, lock 2), with a parent 5 | the same |
//! | drop of a node that finished | 2 (`Arc`), with a parent 4 | 3, with a parent 4 |
//! | drop of one that lives, with a parent | 6 (lock 2) | 6 |

use super::Context;
use super::deadline::{Above, NewDeadline, Own};
use super::end_slot::EndSlot;
use super::let_go::let_go;
use super::linked::Sources;
use super::links::{self, Left, Links, Sibling};
use super::orphans;
use super::walk::{Marked, Walk};
use crate::clock::Instant;
use crate::error::End;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use std::any::Any;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::task;

type Origin = &'static Location<'static>;

pub(crate) type NodeRef = Arc<Node>;

/// What a node is for. Its methods are called once, by the end, under no lock.
pub(crate) trait Kind: Any + Send + Sync {
    /// The node has ended. Called when its whole subtree is marked, and before anything anywhere is woken.
    fn ended(&self, _node: &NodeRef) {}

    /// Called after `ended` of every node that this end reached: whoever waits is woken now.
    fn wake(&self, _node: &NodeRef) {}

    /// For snapshots: the group.
    fn as_any(&self) -> Option<&dyn Any> {
        None
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

/// What all nodes have. What is written often comes first, beside the reference counts; what is read by everyone
/// comes last, on cache lines that are seldom written.
#[repr(C)]
pub(super) struct Base {
    pub(super) links: Links,
    pub(super) sibling: Sibling,
    /// For lists and timers, which know the node by its address. `None` if it is in no list and has no timer.
    me: Option<Weak<Node>>,
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
    /// Everything below is marked, too: a walk need not descend.
    subtree_marked: AtomicBool,
    end: EndSlot,
}

/// What everyone reads lies on other cache lines than what is written with each child, on the machines that have many
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

impl<K: Kind> Node<K> {
    /// A node below `parent`. If the parent has ended, it is born ended, by the same end.
    pub(crate) fn new(
        parent: &Context,
        kind: K,
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

    pub(super) fn planned(kind: K, plan: Plan<'_>) -> Arc<Self> {
        let Plan {
            parent,
            deadline,
            depth,
            origin,
        } = plan;
        // No clock is asked about the deadlines above: whoever asks about the new node does that.
        let (own, verdict) = NewDeadline::split(deadline, parent);
        let above = Above::of_child(own.as_ref(), parent);
        let inherited = parent.and_then(|parent| parent.base.earliest);
        let earliest = own.as_ref().map(|own| own.at).into_iter().chain(inherited);
        let mut base = Base::new(depth, origin);
        base.earliest = earliest.min();
        base.parent = parent.cloned();
        base.own = own;
        base.above = above;
        let node = Self::allocate(kind, base);
        links::join(&node);
        if let Some(verdict) = verdict {
            let shared: NodeRef = node.clone();
            shared.mark(verdict.end(&shared)).wake();
        }
        node
    }

    /// Lists and timers know a node by the weak reference in it. A root that has none of them does without.
    ///
    /// Written to where it stays, field by field, because a group's node is a kilobyte, and each move would copy it.
    #[allow(unsafe_code, reason = "a group's node made without copying it twice")]
    pub(super) fn allocate(kind: K, base: Base) -> Arc<Self> {
        let is_known = base.parent.is_some() || base.own.is_some() || base.is_linked;
        let node = Arc::<Self>::new_uninit();
        // SAFETY: it has just been made, so this is the only reference to it. Both fields are written before anybody
        // takes the node for initialized.
        let node = unsafe {
            let place = Arc::as_ptr(&node).cast::<Self>().cast_mut();
            (&raw mut (*place).base).write(base);
            (&raw mut (*place).kind).write(kind);
            node.assume_init()
        };
        if is_known {
            let me: Weak<Self> = Arc::downgrade(&node);
            // SAFETY: no other strong reference exists, and nobody can upgrade the weak one, which is still here.
            unsafe { (&raw mut (*Arc::as_ptr(&node).cast_mut()).base.me).write(Some(me)) };
        }
        node
    }
}

impl<K: ?Sized> Node<K> {
    pub(super) fn base(&self) -> &Base {
        &self.base
    }

    /// Whether it has ended, as far as anybody has noticed: one load, asks no clock.
    #[inline]
    pub(crate) fn is_marked(&self) -> bool {
        self.base.is_marked()
    }

    /// Whether it has ended. Ends it if a deadline has passed and its timer is late, or not armed.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.base.is_done()
    }

    /// The end; asks no clock.
    #[inline]
    pub(crate) fn end(&self) -> Option<Arc<End>> {
        self.base.end()
    }

    /// The end, if there is one by the clock.
    pub(super) fn end_by_clock(&self) -> Option<Arc<End>> {
        self.is_done().then(|| self.end()).flatten()
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

    /// Has the timers of all deadlines that can end this node armed from now on. Each call is undone by one of
    /// [`unwatch`](Self::unwatch).
    pub(crate) fn watch(&self) {
        self.base.watch(None);
    }

    pub(crate) fn unwatch(&self) {
        self.base.unwatch(1);
    }

    /// Whether the node has ended, as far as its timers have told. Where none has anything to tell, this is a load for
    /// each deadline. Else the clock is asked, and if it is early, the timer is polled again.
    ///
    /// `cx` is that of a caller who has one: if the timer wakes itself in its own poll, the caller's task is woken, so
    /// that it comes again.
    #[inline]
    pub(crate) fn poll_due(&self, cx: Option<&mut task::Context<'_>>) -> bool {
        self.base.poll_due(cx)
    }
}

impl Base {
    pub(super) fn new(depth: u32, origin: Origin) -> Self {
        Self {
            links: Links::new(),
            sibling: Sibling::new(),
            me: None,
            parent: None,
            sources: Mutex::new(None),
            is_linked: false,
            depth,
            origin,
            own: None,
            above: Above::None,
            earliest: None,
            subtree_marked: AtomicBool::new(false),
            end: EndSlot::new(),
        }
    }

    #[inline]
    pub(super) fn is_marked(&self) -> bool {
        self.end.is_set()
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
        self.end.get(|| End::finished(self.origin))
    }

    pub(super) fn set_end(&self, end: Arc<End>) -> bool {
        self.end.set(end)
    }

    pub(super) fn is_subtree_marked(&self) -> bool {
        self.subtree_marked.load(Ordering::Acquire)
    }

    /// To be called once every node below is marked. Releases those marks to whoever skips the subtree for it.
    pub(super) fn set_subtree_marked(&self) {
        self.subtree_marked.store(true, Ordering::Release);
    }

    /// A reference to the node. `None` while it is being dropped.
    pub(super) fn upgrade(&self) -> Option<NodeRef> {
        self.me.as_ref()?.upgrade()
    }

    /// The weak reference to the node, for its timer.
    pub(super) fn me(&self) -> Option<&Weak<Node>> {
        self.me.as_ref()
    }

    /// Leaves the parent's list: an ended node need not be told of the parent's end.
    pub(super) fn leave(&self) {
        if let Some(parent) = &self.parent {
            parent.base.remove_child(self);
        }
    }
}

impl Node {
    /// Ends it and everything below, and wakes nobody yet: see [`Marked`].
    ///
    /// A deadline that had passed by the clock's reading wins, whether anybody had noticed or not.
    pub(crate) fn mark(self: &Arc<Self>, end: Arc<End>) -> Marked {
        let mut walk = Walk::default();
        let first = !self.is_marked() && walk.end(self, end);
        walk.into_marked(first)
    }

    /// Ends a node whose work is done, as its kind knows. Asks no clock, and makes no [`End`] unless somebody asks.
    pub(crate) fn finish(self: &Arc<Self>) {
        if !self.base.end.finish() {
            return;
        }
        if self.base.links.is_vacant() {
            self.base.set_subtree_marked();
            self.base.leave();
            return self.base.settle(0);
        }
        let mut walk = Walk::default();
        walk.finish(self);
        walk.into_marked(true).wake();
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

/// Invariants 5 and 6. Nobody can reach the node any more, but the lists still know its address.
impl Drop for Base {
    fn drop(&mut self) {
        let mut left = Left::default();
        self.links.drain(&mut left);
        if self.sibling.is_linked() {
            self.leave();
        }
        let sources = self.sources.get_mut().take();
        if let Some(sources) = &sources {
            sources.leave();
        }
        if left.registrations > 0 {
            orphans::hand_up(self, sources.as_deref(), left);
        }
        self.above.let_go();
        sources.into_iter().for_each(|sources| sources.let_go());
        self.parent.take().into_iter().for_each(let_go);
    }
}
