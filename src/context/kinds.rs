//! The kinds of nodes that contexts are made of.

use super::node::Kind;
use crate::sync::atomic::AtomicUsize;

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
    fn layer(&self) -> &'static str {
        "with_deadline"
    }
}

impl Kind for Linked {
    fn layer(&self) -> &'static str {
        "linked"
    }
}
