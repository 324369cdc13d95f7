//! Callbacks whose node has been dropped, though its end, which is its parent's or a source's now, may still come.
//!
//! A node to which no reference is left hands its callbacks up: to its parent, as plain callbacks; or, if it was linked to
//! several sources, to an [`Orphanage`], which waits with all of them. A node that nothing can end drops them.
//!
//! Handing up costs a step for the node and one for each of its own callbacks, however many are on their way up, because
//! the shorter list is appended to the longer. Callbacks of linked nodes cost one for each node on their way that has been
//! dropped.

use super::let_go::let_go;
use super::linked::Sources;
use super::links::{Callback, Content, Entry, Left};
use super::node::{Base, Node, NodeRef};
use super::walk::call;
use crate::sync::Mutex;
use crate::unwind;
use std::collections::HashMap;
use std::mem;
use std::slice;
use std::sync::{Arc, Weak};

/// Hands up what a node that is being dropped leaves.
pub(super) fn hand_up(gone: &Base, sources: Option<&Sources>, left: Left) {
    match (&gone.parent, sources) {
        (Some(parent), _) => parent.adopt(left.callbacks),
        (None, Some(sources)) => Orphanage::open(left.callbacks, sources.nodes()),
        (None, None) => left.callbacks.into_iter().for_each(unwind::discard_in_turn),
    }
    let heirs = match (&gone.parent, sources) {
        (Some(parent), _) => slice::from_ref(parent),
        (None, Some(sources)) => sources.nodes(),
        (None, None) => &[],
    };
    for orphanage in left.orphanages {
        orphanage.move_up(gone, heirs);
    }
    gone.unwatch_above(left.registrations);
}

impl Node {
    /// Takes over callbacks of a child that has been dropped.
    fn adopt(self: &Arc<Self>, callbacks: Vec<Callback>) {
        if callbacks.is_empty() {
            return;
        }
        self.watch(); // first, because it may show that the deadline has passed
        match self.base().add_orphans(callbacks) {
            Ok(true) => {}
            Ok(false) => self.unwatch(),
            Err(callbacks) => {
                self.unwatch();
                callbacks.into_iter().for_each(call);
            }
        }
    }
}

/// Callbacks that wait with several nodes. The first to end calls them, and they leave the others.
pub(super) struct Orphanage {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    callbacks: Vec<Callback>,
    called: bool,
    /// Where it waits, by the address of the node; the weak reference keeps the address from being used again.
    places: HashMap<usize, (Weak<Node>, Arc<Entry>)>,
}

impl Orphanage {
    fn open(callbacks: Vec<Callback>, nodes: &[NodeRef]) {
        if callbacks.is_empty() {
            return;
        }
        let orphanage = Arc::new(Self {
            state: Mutex::new(State {
                callbacks,
                ..State::default()
            }),
        });
        orphanage.enter(nodes);
    }

    fn enter(self: &Arc<Self>, nodes: &[NodeRef]) {
        for node in nodes {
            if !self.enter_one(node) {
                return self.call();
            }
        }
    }

    /// False if the node has ended.
    fn enter_one(self: &Arc<Self>, node: &NodeRef) -> bool {
        let key = address(node.base());
        if self.state.lock().places.contains_key(&key) {
            return true;
        }
        node.watch();
        let Ok(entry) = node.base().add_shared(Content::Orphanage(self.clone())) else {
            node.unwatch();
            return false;
        };
        self.note(key, node, entry);
        true
    }

    fn note(&self, key: usize, node: &NodeRef, entry: Arc<Entry>) {
        let mut state = self.state.lock();
        if !state.called {
            state.places.insert(key, (Arc::downgrade(node), entry));
            return;
        }
        drop(state); // called meanwhile, when this place was not in the list
        leave(node, &entry);
    }

    /// Waits with the heirs of a node that has been dropped.
    fn move_up(self: &Arc<Self>, gone: &Base, heirs: &[NodeRef]) {
        let place = {
            let mut state = self.state.lock();
            let place = state.places.remove(&address(gone));
            if state.called {
                return;
            }
            place
        };
        drop(place);
        self.enter(heirs);
    }

    /// Calls the callbacks, once.
    pub(super) fn call(&self) {
        let State {
            callbacks, places, ..
        } = {
            // `called` is set in the same step, because a place that is noted later has to be left again (see `note`).
            let mut state = self.state.lock();
            let called = State {
                called: true,
                ..State::default()
            };
            mem::replace(&mut *state, called)
        };
        for (node, entry) in places.into_values() {
            if let Some(node) = node.upgrade() {
                leave(&node, &entry);
                let_go(node);
            }
        }
        callbacks.into_iter().for_each(call);
    }
}

/// The callbacks that nothing can call any more.
impl Drop for Orphanage {
    fn drop(&mut self) {
        unwind::discard_each(mem::take(&mut self.state.get_mut().callbacks));
    }
}

fn leave(node: &NodeRef, entry: &Arc<Entry>) {
    if node.base().remove_shared(entry).is_some() {
        node.unwatch();
    }
}

fn address(base: &Base) -> usize {
    std::ptr::from_ref(base).addr()
}
