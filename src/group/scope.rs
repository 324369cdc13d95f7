//! What a group and its handles share: the context and, in the same allocation, the engine.
#![allow(unsafe_code, reason = "two views of one allocation, counted once")]

use super::cell::{Newborn, Newcomer};
use super::engine::{Admission, AtLimit, Engine};
use super::keep::Keep;
use super::launch::Launch;
use super::shared::Shared;
use crate::context::{Context, Node, NodeRef};
use crate::error::BoxError;
use crate::unwind;
use std::future::Future;
use std::sync::Arc;

/// # Invariant
///
/// `node` is the node of `context`, which keeps it alive.
pub(super) struct Scope {
    context: Context,
    node: Shared,
}

// SAFETY: an engine is `Send + Sync`; what is not is kept apart by the types that have a scope.
unsafe impl Send for Scope {}
// SAFETY: as above.
unsafe impl Sync for Scope {}

impl Clone for Scope {
    fn clone(&self) -> Self {
        Self {
            context: self.context.clone(),
            node: self.node,
        }
    }
}

impl Scope {
    pub(super) fn new(parent: &Context, node: Arc<Node<Engine>>) -> Self {
        Self {
            node: Shared::of(&node),
            context: Context::of(node, parent),
        }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    #[inline]
    pub(super) fn node(&self) -> &Node<Engine> {
        // SAFETY: the invariant.
        unsafe { self.node.get() }
    }

    #[inline]
    pub(super) fn engine(&self) -> &Engine {
        &self.node().kind
    }

    pub(super) fn node_ref(&self) -> &NodeRef {
        match self.context.node() {
            Some(node) => node,
            None => unreachable!("a group's context has a node"),
        }
    }

    pub(super) fn shared(&self) -> Shared {
        self.node
    }

    /// The node as an `Arc` that is not counted.
    #[inline]
    pub(super) fn with_node<R>(&self, look: impl FnOnce(&Arc<Node<Engine>>) -> R) -> R {
        // SAFETY: the invariant.
        unsafe { self.node.with(look) }
    }

    /// Starts a task, or queues it. Gives the future back if that can't be.
    ///
    /// # Safety
    ///
    /// `K` names the group's results. The caller is where the group's tasks may be dropped, and `F` may be polled
    /// and dropped wherever they are.
    #[inline]
    pub(super) unsafe fn spawn<K, F, E>(
        &self,
        future: F,
        keep: K,
        newcomer: Newcomer,
        at_limit: AtLimit,
        launch: Option<&dyn Launch>,
    ) -> Result<u64, F>
    where
        K: Keep,
        F: Future<Output = Result<K::Value, E>>,
        E: Into<BoxError>,
    {
        let new = self.with_node(|node| Newborn::<F, K>::new(future, keep, newcomer, node));
        let cell = new.cell();
        // SAFETY: the cell is new, and of this group.
        match self.with_node(|node| unsafe { Engine::admit(node, cell, at_limit) }) {
            Admission::Started(number) => {
                if !self.engine().is_in_place() {
                    // SAFETY: it has just been admitted.
                    unsafe { Engine::start(self.node(), cell, launch) };
                }
                Ok(number)
            }
            // The end may have come meanwhile, and room may have been made.
            Admission::Queued(number) => {
                self.engine().serve_queue(self.node(), launch);
                Ok(number)
            }
            Admission::Full | Admission::Over => {
                let (future, keep) = new.into_parts();
                keep.refuse(self.node());
                Err(future)
            }
        }
    }

    /// As [`spawn`](Self::spawn), where there is nobody to give the future back to. Returns the task's number.
    ///
    /// # Safety
    ///
    /// As there.
    #[inline]
    pub(super) unsafe fn spawn_or_refuse<K, F, E>(
        &self,
        future: F,
        keep: K,
        newcomer: Newcomer,
        launch: Option<&dyn Launch>,
    ) -> Option<u64>
    where
        K: Keep,
        F: Future<Output = Result<K::Value, E>>,
        E: Into<BoxError>,
    {
        let (name, site) = (newcomer.name.clone(), newcomer.site);
        // SAFETY: the caller's promise.
        let spawned = unsafe { self.spawn(future, keep, newcomer, AtLimit::Queue, launch) };
        let refused = match spawned {
            Ok(number) => return Some(number),
            Err(refused) => refused,
        };
        if !K::BACKGROUND {
            self.engine()
                .note_refused(self.node(), &Newcomer { name, site });
        }
        unwind::discard(refused);
        None
    }

    /// Drops what is in the queue, and in place every task: nobody will poll them any more.
    pub(super) fn clear(&self) {
        self.engine().serve_queue(self.node(), None);
        if self.engine().is_in_place() {
            self.engine().clear();
        }
    }
}
