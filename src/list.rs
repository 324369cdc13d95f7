//! An intrusive doubly linked list: nodes carry their own links, so that joining, leaving and walking allocate
//! nothing, take constant time, and leave no room behind.
//!
//! The shape is that of tokio's `util::linked_list`.
//!
//! # Invariants
//!
//! 1. A node's links are read and written only through the list that the node is in or joins, under the lock that
//!    guards that list.
//! 2. A node stays alive, and where it is in memory, until it has been removed from its list.
//! 3. A node is in at most one list by the same links. `Neighbors::NONE` says that it is in
//!    none.
#![allow(unsafe_code, reason = "joining and leaving without an allocation")]

use crate::sync::UnsafeCell;
use std::ptr::NonNull;

/// A node's neighbors in a list of `N`s.
pub(crate) struct Links<N>(UnsafeCell<Neighbors<N>>);

struct Neighbors<N> {
    before: Neighbor<N>,
    after: Neighbor<N>,
}

type Neighbor<N> = Option<NonNull<N>>;

impl<N> Neighbors<N> {
    /// Of a node that is in no list: what is before it is nowhere, where no node can be.
    const NONE: Self = Self {
        before: Some(NonNull::dangling()),
        after: None,
    };

    fn is_linked(&self) -> bool {
        self.before != Self::NONE.before
    }
}

/// A type whose values can be nodes of a list.
///
/// # Safety
///
/// `links` returns the same field of the same node each time, and nothing but a list uses it.
pub(crate) unsafe trait Linked: Sized {
    fn links(&self) -> &Links<Self>;
}

/// A list of nodes that it does not own.
pub(crate) struct List<N> {
    first: Option<NonNull<N>>,
    last: Option<NonNull<N>>,
    length: usize,
}

// SAFETY: a list is a few addresses; code that reaches a node through it is bound by the unsafe functions' contracts.
unsafe impl<N> Send for List<N> {}
// SAFETY: as above; `&List` gives addresses only.
unsafe impl<N> Sync for List<N> {}
// SAFETY: links are touched under the list's lock alone (invariant 1).
unsafe impl<N> Send for Links<N> {}
// SAFETY: as above.
unsafe impl<N> Sync for Links<N> {}

impl<N> Links<N> {
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(Neighbors::NONE))
    }

    /// # Safety
    ///
    /// The caller holds the lock of the node's list.
    unsafe fn change<R>(&self, change: impl FnOnce(&mut Neighbors<N>) -> R) -> R {
        // SAFETY: invariant 1, by the caller's promise; the reference ends with the closure.
        self.0.with_mut(|links| unsafe { change(&mut *links) })
    }
}

impl<N: Linked> List<N> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            last: None,
            length: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn first(&self) -> Option<NonNull<N>> {
        self.first
    }

    /// Adds a node at the end.
    ///
    /// # Safety
    ///
    /// The node is alive, in no list by these links, and stays where it is until it has been removed.
    pub(crate) unsafe fn push_back(&mut self, node: NonNull<N>) {
        let before = self.last.replace(node);
        // SAFETY: the node is alive (the caller's promise), and so are those in the list (invariant 2).
        unsafe {
            let links = node.as_ref().links();
            links.change(|links| {
                debug_assert!(!links.is_linked(), "a node joins one list at a time");
                (links.before, links.after) = (before, None);
            });
            match before {
                None => self.first = Some(node),
                Some(before) => before
                    .as_ref()
                    .links()
                    .change(|links| links.after = Some(node)),
            }
        }
        self.length += 1;
    }

    /// Removes a node. False if it was in no list.
    ///
    /// # Safety
    ///
    /// The node is alive, and in this list or in none.
    pub(crate) unsafe fn remove(&mut self, node: NonNull<N>) -> bool {
        // SAFETY: the node is alive (the caller's promise), and so are its neighbors (invariant 2).
        unsafe {
            let left = node.as_ref().links().change(|links| {
                let linked = links.is_linked();
                linked.then(|| std::mem::replace(links, Neighbors::NONE))
            });
            let Some(Neighbors { before, after }) = left else {
                return false;
            };
            match before {
                None => self.first = after,
                Some(before) => before.as_ref().links().change(|links| links.after = after),
            }
            match after {
                None => self.last = before,
                Some(after) => after.as_ref().links().change(|links| links.before = before),
            }
        }
        self.length -= 1;
        true
    }

    /// Removes the first node.
    pub(crate) fn pop_front(&mut self) -> Option<NonNull<N>> {
        let first = self.first?;
        // SAFETY: it is in this list, and so it is alive (invariant 2).
        unsafe { self.remove(first) };
        Some(first)
    }

    /// The node behind one that is in this list.
    ///
    /// # Safety
    ///
    /// The node is in this list.
    pub(crate) unsafe fn after(&self, node: NonNull<N>) -> Option<NonNull<N>> {
        // SAFETY: a node of this list is alive (invariant 2), and the caller reaches the list, so holds its lock.
        unsafe { node.as_ref().links().0.with(|links| (*links).after) }
    }

    /// Every node in turn. The list can't change meanwhile, because it is borrowed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = NonNull<N>> + '_ {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let node = next?;
            // SAFETY: it is in this list, which can't have changed since.
            next = unsafe { self.after(node) };
            Some(node)
        })
    }
}

#[cfg(all(test, not(failfast_loom)))]
mod tests {
    use super::*;

    struct Node {
        number: usize,
        links: Links<Node>,
    }

    // SAFETY: one field, used by the list alone.
    unsafe impl Linked for Node {
        fn links(&self) -> &Links<Self> {
            &self.links
        }
    }

    #[allow(clippy::vec_box, reason = "nodes stay where they are")]
    fn nodes(length: usize) -> Vec<Box<Node>> {
        let node = |number| {
            Box::new(Node {
                number,
                links: Links::new(),
            })
        };
        (0..length).map(node).collect()
    }

    fn numbers(list: &List<Node>) -> Vec<usize> {
        // SAFETY: the nodes live until the end of each test.
        list.iter()
            .map(|node| unsafe { node.as_ref().number })
            .collect()
    }

    #[test]
    fn nodes_leave_from_every_place_and_join_again() {
        for length in 1..8 {
            for leaver in 0..length {
                let nodes = nodes(length);
                let mut list = List::new();
                for node in &nodes {
                    // SAFETY: boxed, and alive until the end.
                    unsafe { list.push_back(NonNull::from(&**node)) };
                }
                let node = NonNull::from(&*nodes[leaver]);
                // SAFETY: in this list, then in none.
                unsafe {
                    assert!(list.remove(node));
                    assert!(!list.remove(node), "once");
                }
                let mut expected: Vec<_> = (0..length).filter(|number| *number != leaver).collect();
                assert_eq!(numbers(&list), expected);
                // SAFETY: in no list.
                unsafe { list.push_back(node) };
                expected.push(leaver);
                assert_eq!(numbers(&list), expected);
                assert_eq!(list.len(), length);
                while let Some(node) = list.pop_front() {
                    // SAFETY: alive until the end.
                    assert_eq!(unsafe { node.as_ref().number }, expected.remove(0));
                }
                assert!(list.is_empty() && list.first().is_none());
            }
        }
    }
}
