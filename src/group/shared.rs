//! The address of a group's node, from where it can be borrowed or counted.
#![allow(unsafe_code, reason = "borrowing a counted reference without counting")]

use super::engine::Engine;
use crate::context::Node;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

/// The node of a group, which lives in an `Arc`. Each use states why the node is alive.
#[derive(Clone, Copy)]
pub(super) struct Shared(NonNull<Node<Engine>>);

impl Shared {
    #[inline]
    pub(super) fn of(node: &Arc<Node<Engine>>) -> Self {
        // SAFETY: an `Arc`'s pointer is not null.
        Self(unsafe { NonNull::new_unchecked(Arc::as_ptr(node).cast_mut()) })
    }

    pub(super) fn address(self) -> *const () {
        self.0.as_ptr().cast_const().cast()
    }

    /// # Safety
    ///
    /// The node is alive for as long as the reference is used.
    #[inline]
    pub(super) unsafe fn get<'a>(self) -> &'a Node<Engine> {
        // SAFETY: the caller's promise.
        unsafe { self.0.as_ref() }
    }

    /// # Safety
    ///
    /// The node is alive until `look` returns.
    #[inline]
    pub(super) unsafe fn with<R>(self, look: impl FnOnce(&Arc<Node<Engine>>) -> R) -> R {
        // SAFETY: the node lives in an `Arc`; this one is not counted, and not dropped.
        let node = ManuallyDrop::new(unsafe { Arc::from_raw(self.0.as_ptr().cast_const()) });
        look(&node)
    }

    /// # Safety
    ///
    /// The node is alive.
    pub(super) unsafe fn counted(self) -> Arc<Node<Engine>> {
        // SAFETY: the caller's promise.
        unsafe { self.with(Arc::clone) }
    }

    /// Releases a reference that was counted and passed to `mem::forget`.
    ///
    /// # Safety
    ///
    /// Once for each such reference.
    pub(super) unsafe fn release(self) {
        // SAFETY: the caller's promise.
        drop(unsafe { Arc::from_raw(self.0.as_ptr().cast_const()) });
    }
}
