//! Deadlines that are made for one call: the memory of a dropped node serves the next one on the same thread.
//!
//! # Invariants
//!
//! 1. A node is taken apart only while the lease has the only reference to it: it has left its parent's list, so it
//!    can't be found by its address, and there is no weak reference. Nothing that its destructor calls makes one.
//! 2. The spare memory holds no value. The reference count around it is one.
//! 3. A thread keeps at most [`KEPT`] of them.
#![allow(unsafe_code, reason = "a call's deadline without an allocation")]

use super::Context;
use super::deadline::NewDeadline;
use super::kinds::Timed;
use super::let_go::let_go;
use super::node::{Node, NodeRef};
use crate::unwind;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;

#[cfg(not(any(failfast_loom, failfast_sanitizer)))]
pub(super) use kept::{give, take};

type Memory = Arc<MaybeUninit<Node<Timed>>>;

/// A context's node, lent for a call: its memory is used again, if this is the last reference when it is dropped.
pub(crate) struct Lease(Option<Arc<Node<Timed>>>);

impl Context {
    /// A child with a deadline, for one call.
    #[track_caller]
    pub(crate) fn lend(&self, deadline: Option<NewDeadline>) -> (Context, Lease) {
        let node = Node::new(self, || Timed, deadline, std::panic::Location::caller());
        (Context::of(node.clone(), self), Lease(Some(node)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(node) = self.0.take() {
            match empty(node) {
                Ok(memory) => give(memory),
                Err(node) => let_go(node),
            }
        }
    }
}

/// Takes the node apart, if this is the only reference to it.
fn empty(mut node: Arc<Node<Timed>>) -> Result<Memory, NodeRef> {
    if Arc::strong_count(&node) != 1 {
        return Err(node);
    }
    // What finds it in the parent's list meanwhile holds it for a moment: a walk, which marks it, or a snapshot.
    node.base().leave();
    // Not by two counts: between two loads, what holds it may make a weak reference and let go of its own.
    if Arc::get_mut(&mut node).is_none() {
        return Err(node);
    }
    let place = Arc::into_raw(node).cast_mut();
    // SAFETY: invariant 1. Each field is dropped once, because the memory is uninitialized from here on.
    unwind::shield("a context's node", || unsafe { ptr::drop_in_place(place) });
    // SAFETY: made by `into_raw`, and of the same layout.
    Ok(unsafe { Arc::from_raw(place.cast::<MaybeUninit<Node<Timed>>>()) })
}

#[cfg(not(any(failfast_loom, failfast_sanitizer)))]
mod kept {
    use super::Memory;
    use std::cell::Cell;
    use std::sync::Arc;

    /// More than policies nest.
    const KEPT: usize = 8;

    thread_local! {
        static SPARE: Cell<Vec<Memory>> = const { Cell::new(Vec::new()) };
    }

    pub(in crate::context) fn take() -> Memory {
        // Late in a thread's life there is none.
        let spare = SPARE.try_with(|spare| {
            let mut all = spare.take();
            let one = all.pop();
            spare.set(all);
            one
        });
        spare.ok().flatten().unwrap_or_else(Arc::new_uninit)
    }

    pub(in crate::context) fn give(memory: Memory) {
        let _ = SPARE.try_with(|spare| {
            let mut all = spare.take();
            if all.len() < KEPT {
                all.push(memory);
            }
            spare.set(all);
        });
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Invariant 3: the last are used again first, and what is too much is freed.
        #[test]
        fn thread_keeps_the_most_and_no_more() {
            for count in [0, 1, 2, KEPT - 1, KEPT, KEPT + 1, 10 * KEPT] {
                let (kept, left) = std::thread::spawn(move || {
                    let made: Vec<_> = (0..count).map(|_| take()).collect();
                    let left: Vec<_> = made.iter().map(Arc::downgrade).collect();
                    made.into_iter().for_each(give);
                    let left = left.into_iter().filter(|memory| memory.strong_count() > 0);
                    (SPARE.take().len(), left.count())
                })
                .join()
                .unwrap();
                assert_eq!((kept, left), (count.min(KEPT), count.min(KEPT)));
            }
        }
    }
}

/// The model checker's threads are made anew for each interleaving, and the sanitizers are to see each node freed.
#[cfg(any(failfast_loom, failfast_sanitizer))]
pub(super) fn take() -> Memory {
    Arc::new_uninit()
}

#[cfg(any(failfast_loom, failfast_sanitizer))]
pub(super) fn give(_: Memory) {}
