//! The one cast of this module: a plain cause is borrowed as the [`ContextError`] that it is.
//!
//! 1. `ContextError` is `#[repr(transparent)]` over its only field, a `Cause`.

use super::{Cause, ContextError};
use std::ptr;

pub(super) fn as_context_error(cause: &Cause) -> &ContextError {
    let error = ptr::from_ref(cause).cast::<ContextError>();
    // SAFETY: the two types have the same layout and the same valid values by invariant 1, and the new reference
    // borrows what the old one does, for as long, and shared as it is.
    unsafe { &*error }
}
