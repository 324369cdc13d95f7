//! The right to end a context.

use super::end_slot::Plain;
use super::kinds::Cancelable;
use super::node::{Node, NodeRef};
use crate::error::{BoxError, End};
use crate::sync::atomic::Ordering;
use std::fmt;
use std::sync::Arc;

/// The right to end a context. The context is canceled when the last clone of its canceller that was not
/// [disarmed](Self::disarm) is dropped.
///
/// Its cause is then "its canceller was dropped", unless it was [canceled](Self::cancel) before.
///
/// # Examples
///
/// ```
/// use failfast::Context;
///
/// let (ctx, canceller) = Context::background().with_cancel();
/// let another = canceller.clone();
/// drop(canceller);
/// assert!(!ctx.is_done());
/// drop(another);
/// assert_eq!(ctx.cause().unwrap().to_string(), "its canceller was dropped");
/// ```
#[must_use = "dropping the last canceller cancels its context at once"]
pub struct Canceller {
    node: Arc<Node<Cancelable>>,
    armed: bool,
}

impl Canceller {
    /// Of a node that was made with one canceller armed.
    pub(super) fn new(node: Arc<Node<Cancelable>>) -> Self {
        Self { node, armed: true }
    }

    /// Ends the context, and everything below it, with kind `Canceled`. Only the first end counts.
    ///
    /// When the call that ended the context returns, every descendant is done, and every waiter has been woken, except
    /// those whose waking another cancel, which is still running, has taken over. On a context that is already done,
    /// and from inside of a waker, it returns at once, and only this context is certain to be done.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// let (below, _below) = ctx.with_cancel();
    /// canceller.cancel();
    /// assert!(ctx.is_done());
    /// assert!(below.is_done());
    /// ```
    pub fn cancel(&self) {
        self.end_plainly(Plain::Canceled);
    }

    /// [`cancel`](Self::cancel) with a cause, which [`Context::cause`](crate::Context::cause) then returns.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// canceller.cancel_with(std::io::Error::other("disk full"));
    /// let error = ctx.err().unwrap();
    /// assert!(error.is_canceled());
    /// assert_eq!(error.to_string(), "context canceled: disk full");
    /// ```
    pub fn cancel_with(&self, cause: impl Into<BoxError>) {
        let cause = cause.into();
        if !self.node.is_marked() {
            let node: NodeRef = self.node.clone();
            let end = End::canceled_by(cause, node.origin());
            node.cancel(end);
        }
    }

    /// Gives this right up: dropping it cancels nothing. If no clone is left that was not disarmed, the context ends by
    /// its deadline or an ancestor only.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// canceller.disarm();
    /// assert!(!ctx.is_done());
    /// ```
    pub fn disarm(mut self) {
        self.give_up();
        self.armed = false;
    }

    /// The node, for the models.
    #[cfg(all(test, failfast_loom))]
    pub(super) fn node(&self) -> NodeRef {
        self.node.clone()
    }

    /// Most calls end so: in time, and with nothing that waits for their end.
    fn end_plainly(&self, plain: Plain) {
        if self.node.is_marked() {
            return;
        }
        if self.node.base().has_foreign_clock() {
            // A clock that panics must end nothing here: a walk takes it for one whose deadline has not passed.
            let node: NodeRef = self.node.clone();
            let end = plain.end(node.origin());
            node.cancel(end);
        } else if !self.node.is_done() {
            // The clock is read, if there is a deadline: one that has passed came first.
            self.node.base().end_plainly(plain);
        }
    }

    /// One armed canceller less. Returns whether it was the last.
    fn give_up(&self) -> bool {
        // Acquire and release, because the last one must see what was done before the others were dropped.
        self.node.kind.armed.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Clone for Canceller {
    fn clone(&self) -> Self {
        // Relaxed, as for any count, because the clone is made from one that is armed.
        self.node.kind.armed.fetch_add(1, Ordering::Relaxed);
        Self {
            node: self.node.clone(),
            armed: true,
        }
    }
}

impl Drop for Canceller {
    fn drop(&mut self) {
        if self.armed && self.give_up() {
            self.end_plainly(Plain::CancellerDropped);
        }
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.node.is_marked();
        f.debug_struct("Canceller").field("done", &done).finish()
    }
}
