//! A node's own address, by which lists and timers make references to it.
#![allow(
    unsafe_code,
    reason = "a weak reference of the node's to itself would cost four atomic steps a node"
)]

use super::node::{Node, NodeRef};
use std::mem::ManuallyDrop;
use std::sync::{Arc, Weak};

/// # Invariant
///
/// It is [`Arc::as_ptr`] of the node that has it, and it is used only while that node's memory is there: by code
/// that holds the node, or under the lock of a list that the node's destructor has yet to leave.
pub(super) struct Address(*const Node);

// SAFETY: what can be done with it is done through `Arc` and `Weak` of a node, which is `Send` and `Sync`.
unsafe impl Send for Address {}
// SAFETY: as above.
unsafe impl Sync for Address {}

impl Address {
    /// # Safety
    ///
    /// The invariant.
    pub(super) unsafe fn new(node: *const Node) -> Self {
        Self(node)
    }

    /// A reference to the node. `None` while it is being dropped.
    pub(super) fn upgrade(&self) -> Option<NodeRef> {
        // SAFETY: the memory is there (the invariant), because all strong references together hold a weak one until the
        // node's destructor has returned. It is borrowed here, and not dropped.
        let weak = ManuallyDrop::new(unsafe { Weak::from_raw(self.0) });
        weak.upgrade()
    }

    /// The node.
    ///
    /// # Safety
    ///
    /// The caller has a reference to it that was passed to `mem::forget`, or borrows one.
    pub(super) unsafe fn held(&self) -> ManuallyDrop<NodeRef> {
        // SAFETY: the caller's promise; `ManuallyDrop` leaves the count as it is.
        ManuallyDrop::new(unsafe { Arc::from_raw(self.0) })
    }
}
