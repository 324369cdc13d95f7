//! Linked nodes: those that end with the first of several.
#![allow(
    unsafe_code,
    reason = "the entries of a linked node are its own, and lie in its sources' lists"
)]

use super::deadline::Above;
use super::kinds::Linked;
use super::let_go::let_go;
use super::links::{Content, Entry};
use super::node::{Node, NodeRef, Placing, Plan};
use std::collections::BTreeSet;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;

/// What a linked node is linked to.
///
/// Each entry lies in the list of the source at the same index, if that was alive. The entries are boxed, so they stay
/// where they are; they leave the lists before they go (the destructor).
pub(super) struct Sources {
    nodes: Vec<NodeRef>,
    entries: Box<[Entry]>,
}

/// A node that ends with the first of `nodes`.
pub(super) fn link(
    mut nodes: Vec<NodeRef>,
    depth: u32,
    origin: &'static Location<'static>,
) -> NodeRef {
    let mut seen = BTreeSet::new();
    nodes.retain(|node| seen.insert(Arc::as_ptr(node).cast::<()>()));
    if let [only] = &*nodes {
        return Node::planned(
            || Linked,
            Plan {
                parent: Some(only),
                deadline: None,
                depth,
                origin,
            },
        );
    }
    let placing = Placing {
        parent: None,
        own: None,
        above: Above::of_all(&nodes),
        earliest: nodes.iter().filter_map(|node| node.deadline()).min(),
        is_linked: true,
        depth,
        origin,
    };
    let node: NodeRef = Node::allocate(|| Linked, placing);
    node.watch_sources(nodes);
    node
}

impl Node {
    fn watch_sources(self: &Arc<Self>, nodes: Vec<NodeRef>) {
        let me = NonNull::from(self.base());
        let entries = nodes.iter().map(|_| Entry::new(Content::Link(me)));
        let sources = Box::new(Sources {
            entries: entries.collect(),
            nodes,
        });
        let ended = sources.enter();
        *self.base().sources.lock() = Some(sources);
        if let Some(end) = ended.and_then(|ended| ended.end()) {
            self.mark(end).wake();
        }
        if self.is_marked() {
            self.leave_sources(); // a source may have ended meanwhile, and found no sources to let go
        }
    }

    /// Leaves the sources once it has ended.
    pub(super) fn leave_sources(&self) {
        if !self.base().is_linked {
            return;
        }
        let sources = self.base().sources.lock().take();
        if let Some(sources) = sources {
            sources.leave();
            sources.let_go();
        }
    }
}

impl Sources {
    /// Joins the sources up to the first that has ended, which is returned.
    fn enter(&self) -> Option<NodeRef> {
        let mut each = self.nodes.iter().zip(&self.entries);
        // SAFETY: the entries are boxed, and `leave` is called before they go.
        let ended = each.find(|(node, entry)| !unsafe { node.base().add_link(entry) });
        ended.map(|(node, _)| node.clone())
    }

    /// Takes the entries out of the lists.
    pub(super) fn leave(&self) {
        for (node, entry) in self.nodes.iter().zip(&self.entries) {
            node.base().remove_link(entry);
        }
    }

    pub(super) fn nodes(&self) -> &[NodeRef] {
        &self.nodes
    }

    /// Drops the references without recursion.
    pub(super) fn let_go(self) {
        self.nodes.into_iter().for_each(let_go);
    }
}
