//! Dropping nodes without recursion: a chain of 100,000 contexts is dropped in a loop.
//!
//! A node's destructor hands the nodes that it holds to [`let_go`]. The outermost call on a thread drops them one by
//! one; calls from inside of those destructors only queue theirs.

use super::node::NodeRef;
use crate::unwind;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

#[cfg(failfast_loom)]
loom::thread_local! {
    /// The model checker's threads share one of the system's.
    static QUEUE: Cell<Option<ManuallyDrop<Vec<NodeRef>>>> = Cell::new(None);
}

#[cfg(not(failfast_loom))]
thread_local! {
    /// What is still to be dropped by the call that is under way; `None` if there is none. It is empty whenever the
    /// thread ends, so it needs no destructor, and it works while other thread-locals are being destroyed.
    static QUEUE: Cell<Option<ManuallyDrop<Vec<NodeRef>>>> = const { Cell::new(None) };
}

/// Drops a reference to a node.
pub(super) fn let_go(node: NodeRef) {
    if Arc::strong_count(&node) > 1 {
        // Another thread may drop the others meanwhile. Then this recurses, by one level for each such race.
        return drop(node);
    }
    match exchange(None) {
        None => drain(node),
        Some(mut queue) => {
            queue.push(node);
            exchange(Some(queue));
        }
    }
}

fn drain(first: NodeRef) {
    exchange(Some(ManuallyDrop::new(Vec::new())));
    unwind::discard(first);
    while let Some(next) = pop() {
        unwind::discard(next);
    }
    drop(exchange(None).map(ManuallyDrop::into_inner));
}

fn pop() -> Option<NodeRef> {
    let mut queue = exchange(None)?;
    let next = queue.pop();
    exchange(Some(queue));
    next
}

fn exchange(queue: Option<ManuallyDrop<Vec<NodeRef>>>) -> Option<ManuallyDrop<Vec<NodeRef>>> {
    QUEUE.with(|current| current.replace(queue))
}
