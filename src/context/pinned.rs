//! Waiting for a context's end inside of a pinned future, without an allocation.
//!
//! # Invariants
//!
//! 1. While `registered` is true the entry may be in the node's list, which holds its address. It is pinned, so it stays
//!    there, and the destructor removes it.
//! 2. The entry is reached through shared references alone, because the end may take its waker at any time, under the
//!    lane's lock.
#![allow(unsafe_code, reason = "an entry in place of a box")]

use super::links::{Content, Entry};
use super::node::{Node, NodeRef};
use crate::error::End;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::unwind;
use pin_project_lite::pin_project;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::sync::Arc;
use std::task;

pin_project! {
    /// [`Done`](super::Done), for a future that is pinned.
    pub(crate) struct PinnedDone {
        // `None`: its context never ends.
        node: Option<NodeRef>,
        entry: Entry,
        // Read and written by the task that waits alone, and so Relaxed.
        registered: AtomicBool,
        #[pin]
        _pinned: PhantomPinned, // invariant 1
    }

    impl PinnedDrop for PinnedDone {
        fn drop(this: Pin<&mut Self>) {
            unwind::discard(this.as_ref().get_ref().leave());
        }
    }
}

impl PinnedDone {
    pub(super) fn new(node: Option<NodeRef>) -> Self {
        Self {
            node,
            entry: Entry::new(Content::Gone),
            registered: AtomicBool::new(false),
            _pinned: PhantomPinned,
        }
    }

    /// The end, as far as it has been noticed.
    pub(crate) fn noticed(&self) -> Option<Arc<End>> {
        self.node.as_ref()?.end()
    }

    /// The end, by the clock: one of a deadline further up that has reached what is below this context, while another
    /// thread's walk has yet to mark this context itself.
    pub(crate) fn by_clock(&self) -> Option<Arc<End>> {
        self.node.as_ref()?.end_by_clock()
    }

    /// Whether the context's own deadline ended it.
    pub(crate) fn is_own_end(&self) -> bool {
        self.node.as_deref().is_some_and(Node::has_expired_itself)
    }

    /// Has the task woken at the end. True if that has come. Reads no clock but by arming a timer.
    pub(crate) fn wait(self: Pin<&Self>, cx: &mut task::Context<'_>) -> bool {
        let Some(node) = &self.node else { return false };
        if node.base().refuses(cx.waker()) {
            return true;
        }
        if !self.registered.load(Ordering::Relaxed) {
            return !self.register(node, cx);
        }
        !node.base().renew_waiter(&self.entry, cx.waker()) || node.poll_due(Some(cx))
    }

    /// False if the end has come.
    fn register(self: Pin<&Self>, node: &NodeRef, cx: &mut task::Context<'_>) -> bool {
        let waker = cx.waker().clone();
        // First, because arming a timer may show that the deadline has passed.
        node.base().watch(Some(cx));
        // SAFETY: invariant 1; it is not registered, so it is in no list.
        match unsafe { node.base().add_waiter(&self.entry, waker) } {
            Ok(()) => self.registered.store(true, Ordering::Relaxed),
            Err(waker) => {
                node.unwatch();
                unwind::discard(waker);
            }
        }
        self.registered.load(Ordering::Relaxed)
    }

    fn leave(&self) -> Option<task::Waker> {
        let node = self.node.as_ref()?;
        if !self.registered.load(Ordering::Relaxed) {
            return None;
        }
        self.registered.store(false, Ordering::Relaxed);
        let waker = node.base().remove_waiter(&self.entry);
        if waker.is_some() {
            node.unwatch(); // else the end has taken it, and watches no longer
        }
        waker
    }
}
