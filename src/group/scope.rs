//! What a group and its handles share: the context and, in the same allocation, the engine.
#![allow(unsafe_code, reason = "two views of one allocation, counted once")]

use super::complete::By;
use super::engine::Engine;
use super::shared::Shared;
use crate::context::{Context, Node, NodeRef};
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
    #[inline]
    pub(super) fn new(parent: &Context, node: Arc<Node<Engine>>) -> Self {
        let scope = Self {
            node: Shared::of(&node),
            context: Context::of(node, parent),
        };
        match &scope.engine().observed {
            None => scope,
            Some(observed) => Self {
                context: observed.opened(scope.node(), scope.context.clone()),
                node: scope.node,
            },
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

    /// Drops what is in the queue, and in place every task, because they will not be polled any more.
    pub(super) fn clear(&self) {
        self.engine().serve_queue(self.node(), None, By::Group);
        if self.engine().is_in_place() {
            self.engine().clear();
        }
    }
}
