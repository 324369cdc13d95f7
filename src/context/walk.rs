//! An end's way through everything that it reaches.
//!
//! ```text
//! mark     the node, its subtree, linked nodes and theirs: each gets the end, or its own deadline's that came before
//! ended    every kind is called (a group arms its alarms)
//! report   every kind calls its observer
//! wake     every kind wakes (a group its tasks), then wakers, then callbacks
//! ```
//!
//! # Invariants
//!
//! 1. Everything that the end reaches is marked before anything is called or woken.
//! 2. A walk descends also through nodes that another walk has marked, until their whole subtree is marked. So when it
//!    is through, everything below is marked, whichever walk did it. Children stay in the lists until they are dropped,
//!    and links until everything below the node that they link is marked.
//! 3. The walk that marked a node takes its watchers, and wakes them.
//! 4. A deadline that had passed by the walk's one reading of its clock, and that is earlier than the end that arrives,
//!    wins on its node. On a way down a tree the earliest wins so; linked nodes, which can be reached by several ways,
//!    are reached in the order of those moments, after the trees.

use super::deadline::Readings;
use super::links::{Callback, Taken, Told};
use super::node::{Base, Node, NodeRef};
use super::shield;
use crate::clock::Instant;
use crate::error::End;
use crate::unwind;
use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::mem;
use std::sync::Arc;

const CALLBACK: &str = "an on_done callback";

/// What an end has reached.
#[derive(Default)]
pub(super) struct Walk {
    readings: Readings,
    reached: List,
    /// How many of those have been descended into.
    descended: usize,
    /// Linked nodes that are still to be marked.
    linked: BinaryHeap<Link>,
    turns: usize,
    /// The addresses of linked nodes among those reached, which several of their sources may reach. Nodes that are reached
    /// stay alive until the walk ends, so that no other has the address of one.
    through: BTreeSet<usize>,
    told: Vec<Told>,
    /// For the lists' contents, one node at a time.
    found: Vec<Taken>,
    /// The first node finished by itself, so its kind is not notified.
    finished: bool,
    reported: bool,
}

struct Reached {
    node: NodeRef,
    /// Whether this walk ended it.
    won: bool,
    /// It was not reached from its parent, so it has a parent that lives.
    top: bool,
    /// How many of its registrations this walk has taken.
    taken: usize,
}

/// The nodes reached; most walks reach one, and allocate nothing.
#[derive(Default)]
struct List {
    first: Option<Reached>,
    more: Vec<Reached>,
}

/// A linked node, and the end of the source that reached it.
struct Link {
    node: NodeRef,
    end: Arc<End>,
    turn: usize,
}

impl List {
    fn push(&mut self, reached: Reached) {
        match self.first {
            None => self.first = Some(reached),
            Some(_) => self.more.push(reached),
        }
    }

    fn get_mut(&mut self, index: usize) -> Option<&mut Reached> {
        match index {
            0 => self.first.as_mut(),
            index => self.more.get_mut(index - 1),
        }
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    fn iter(&self) -> impl Iterator<Item = &Reached> {
        self.first.iter().chain(&self.more)
    }
}

fn address(node: &NodeRef) -> usize {
    Arc::as_ptr(node).cast::<()>() as usize
}

/// Marking.
impl Walk {
    /// Ends `node` and what is below, unless a deadline was there before. Returns whether `end` was the one.
    pub(super) fn end(&mut self, node: &NodeRef, end: Arc<End>) -> bool {
        self.end_overdue(node, &end);
        let won = self.reach(node.clone(), &end, true);
        self.go_on();
        won
    }

    /// A node that finished, and has set that itself.
    pub(super) fn finish(&mut self, node: &NodeRef) {
        self.finished = true;
        self.add(node.clone(), true, true);
        self.go_on();
    }

    /// Ends those of the node's owners whose deadlines had passed before `end` came, the earliest first. Each is
    /// followed to its end, because it may reach the node.
    fn end_overdue(&mut self, node: &NodeRef, end: &End) {
        for owner in self.overdue(node, end) {
            if let Some(own) = &owner.base().own {
                self.reach(owner.clone(), &own.expiry(owner.origin()), true);
                self.go_on();
            }
        }
    }

    fn overdue(&mut self, node: &NodeRef, end: &End) -> Vec<NodeRef> {
        if !node.has_deadline() {
            return Vec::new();
        }
        let mut overdue: Vec<_> = (node.base().owners())
            .filter(|owner| self.is_overdue(owner, end))
            .filter_map(Base::upgrade)
            .collect();
        overdue.sort_by_key(|owner| owner.base().own.as_ref().map(|own| own.at));
        overdue
    }

    fn is_overdue(&mut self, node: &Base, end: &End) -> bool {
        let own = node.own.as_ref();
        own.is_some_and(|own| own.precedes(end) && !node.is_marked() && self.readings.is_past(own))
    }

    /// Marks a node. Returns whether `end` is what ended it.
    fn reach(&mut self, node: NodeRef, end: &Arc<End>, top: bool) -> bool {
        let own = match &node.base().own {
            Some(own) if self.is_overdue(node.base(), end) => Some(own.expiry(node.origin())),
            _ => None,
        };
        let is_own = own.is_some();
        let won = node.base().set_end(own.unwrap_or_else(|| end.clone()));
        if won || !node.base().is_subtree_marked() {
            self.add(node, won, top); // invariant 2
        }
        won && !is_own
    }

    fn add(&mut self, node: NodeRef, won: bool, top: bool) {
        self.reached.push(Reached {
            node,
            won,
            top,
            taken: 0,
        });
    }

    /// Descends until everything below is marked, then goes on with linked nodes.
    fn go_on(&mut self) {
        loop {
            while self.descend() {}
            match self.linked.pop() {
                Some(link) => self.reach_linked(link),
                None => return,
            }
        }
    }

    fn descend(&mut self) -> bool {
        let Some(reached) = self.reached.get_mut(self.descended) else {
            return false;
        };
        self.descended += 1;
        reached
            .node
            .base()
            .links
            .visit(reached.won, &mut self.found);
        if self.found.is_empty() {
            return true;
        }
        let Some(end) = reached.node.end() else {
            unreachable!("what is reached has ended")
        };
        let told = self
            .found
            .iter()
            .filter(|taken| matches!(taken, Taken::Told(_)));
        reached.taken = told.count();
        let mut found = mem::take(&mut self.found);
        found.drain(..).for_each(|taken| self.sort(taken, &end));
        self.found = found;
        true
    }

    fn sort(&mut self, taken: Taken, end: &Arc<End>) {
        match taken {
            Taken::Told(told) => self.told.push(told),
            Taken::Child(child) => {
                self.reach(child, end, false);
            }
            Taken::Linked(node) if self.through.contains(&address(&node)) => {}
            Taken::Linked(node) => {
                let (end, turn) = (end.clone(), self.turns);
                self.turns += 1;
                self.linked.push(Link { node, end, turn });
            }
        }
    }

    fn reach_linked(&mut self, link: Link) {
        let address = address(&link.node);
        let was_here = self.through.contains(&address);
        if was_here || (link.node.is_marked() && link.node.base().is_subtree_marked()) {
            return;
        }
        let overdue = self.overdue(&link.node, &link.end);
        let Some(owner) = overdue.first() else {
            let before = self.reached.len();
            self.reach(link.node, &link.end, true);
            // If it is not among them, another walk has marked all of it meanwhile.
            if self.reached.len() > before {
                self.through.insert(address);
            }
            return;
        };
        if let Some(own) = &owner.base().own {
            let end = own.expiry(owner.origin());
            self.linked.push(link); // its turn comes after what the owner reaches
            self.reach(owner.clone(), &end, true);
        }
    }

    /// Marking is over: everything below is marked.
    pub(super) fn into_marked(self, first: bool) -> Marked {
        for reached in self.reached.iter() {
            reached.node.base().set_subtree_marked();
        }
        for reached in self
            .reached
            .iter()
            .filter(|reached| reached.won && reached.top)
        {
            reached.node.base().leave();
        }
        self.tell_kinds(|node| node.kind.ended(node));
        Marked { first, walk: self }
    }
}

/// By time, then by turn: the first is popped first. Ends that are no deadline's come last.
impl Ord for Link {
    fn cmp(&self, other: &Self) -> Ordering {
        other.when().cmp(&self.when())
    }
}

impl Link {
    fn when(&self) -> (bool, Option<Instant>, usize) {
        (self.end.at().is_none(), self.end.at(), self.turn)
    }
}

impl PartialOrd for Link {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Link {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Link {}

/// Waking and calling back, after the marking.
impl Walk {
    fn won(&self) -> impl Iterator<Item = &Reached> {
        self.reached.iter().filter(|reached| reached.won)
    }

    fn tell_kinds(&self, tell: impl Fn(&NodeRef)) {
        for reached in self.won().skip(usize::from(self.finished)) {
            unwind::shield("a group's end", || tell(&reached.node));
        }
    }

    fn report(&mut self) {
        if !mem::replace(&mut self.reported, true) {
            self.tell_kinds(|node| node.kind.report(node));
        }
    }

    fn wake(&mut self) {
        self.report();
        for reached in self.won() {
            reached.node.base().settle(reached.taken);
            reached.node.leave_sources();
        }
        self.tell_kinds(|node| node.kind.wake(node));
        let mut callbacks = Vec::new();
        for told in mem::take(&mut self.told) {
            match told {
                Told::Waker(waker) => unwind::wake(waker),
                callback => callbacks.push(callback),
            }
        }
        callbacks.into_iter().for_each(Told::tell);
    }
}

impl Told {
    fn tell(self) {
        match self {
            Self::Waker(waker) => unwind::wake(waker),
            Self::Callback(callback) => call(callback),
            Self::Orphanage(orphanage) => orphanage.call(),
            Self::Orphans(callbacks) => callbacks.into_iter().for_each(call),
        }
    }
}

/// Runs a callback, whatever it does.
pub(super) fn call(callback: Callback) {
    unwind::shield(CALLBACK, callback);
}

/// An end that has marked everything that it reaches, and has yet to wake the waiters.
#[must_use = "nobody has been woken yet"]
pub(crate) struct Marked {
    /// Whether the end that was given is what ended the node.
    pub(crate) first: bool,
    walk: Walk,
}

impl Marked {
    /// Calls observers, before anything is woken. Foreign code: call it under no lock. [`wake`](Self::wake) does it if it
    /// has not been done.
    pub(crate) fn report(&mut self) {
        self.walk.report();
    }

    /// Wakes everything that the end concerns. Foreign code: call it under no lock. Dropping does the same.
    pub(crate) fn wake(self) {}
}

impl Drop for Marked {
    fn drop(&mut self) {
        shield::outside(|| self.walk.wake()); // what is woken is no part of the task that ends the context
    }
}

impl Node {
    /// Ends it and everything below. Returns whether `end` is what ended it.
    pub(super) fn cancel(self: &NodeRef, end: Arc<End>) -> bool {
        let marked = self.mark(end);
        let first = marked.first;
        marked.wake();
        first
    }
}
