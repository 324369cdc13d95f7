//! The kinds of nodes that contexts are made of.

use super::node::{Kind, Node};
use super::spare;
use crate::sync::atomic::AtomicUsize;
use std::mem::MaybeUninit;
use std::sync::Arc;

/// `with_cancel`.
pub(super) struct Cancelable {
    /// How many cancellers are armed.
    pub(super) armed: AtomicUsize,
}

/// `with_deadline`, `with_timeout`.
pub(super) struct Timed;

/// `linked`.
pub(super) struct Linked;

impl Kind for Cancelable {
    fn layer(&self) -> &'static str {
        "with_cancel"
    }
}

impl Kind for Timed {
    fn memory() -> Arc<MaybeUninit<Node<Self>>> {
        spare::take()
    }

    fn layer(&self) -> &'static str {
        "with_deadline"
    }
}

impl Kind for Linked {
    fn layer(&self) -> &'static str {
        "linked"
    }
}
