//! Spawning into a group, and looking into it, from elsewhere.

use super::ready::Ready;
use super::scope::Scope;
use super::{Invariant, Snapshot, Task, snapshot};
use crate::context::Context;
use crate::error::{BoxError, Error};
use std::fmt;
use std::marker::PhantomData;

/// Spawns into a group from elsewhere, from the group's own tasks above all, and allows a group that is being waited for to
/// be inspected, fed, stopped and canceled.
///
/// A handle does not keep its group running: after the group's end it hands back what it is given. A handle that a
/// task of the group keeps makes no cycle, so that neither group nor executor leaks.
///
/// # Examples
///
/// ```
/// use failfast::{Group, GroupHandle};
/// use futures::future::BoxFuture;
///
/// fn visit(handle: GroupHandle<u32>, depth: u32) -> BoxFuture<'static, Result<u32, &'static str>> {
///     Box::pin(async move {
///         if depth < 2 {
///             for _ in 0..2 {
///                 let child = visit(handle.clone(), depth + 1);
///                 handle.spawn(child).map_err(|_| "the group has ended")?;
///             }
///         }
///         Ok(depth)
///     })
/// }
///
/// # smol::block_on(async {
/// let group = Group::new(smol::spawn);
/// group.spawn(visit(group.handle(), 0));
/// assert_eq!(group.wait().await.unwrap().len(), 1 + 2 + 4);
/// # });
/// ```
#[doc(alias = "Handle")]
pub struct GroupHandle<T, M = Task> {
    scope: Scope,
    /// Invariant, as in the group.
    _types: Invariant<T, M>,
}

// SAFETY: as for the group: what a handle shares with other threads is the engine, which is `Send + Sync`, and its
// spawn methods have the bounds that its kind of task needs.
#[allow(unsafe_code, reason = "see above")]
unsafe impl<T: Send, M: Send> Send for GroupHandle<T, M> {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "see above")]
unsafe impl<T: Send, M: Sync> Sync for GroupHandle<T, M> {}

impl<T, M> GroupHandle<T, M> {
    pub(super) fn new(scope: Scope) -> Self {
        Self {
            scope,
            _types: PhantomData,
        }
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The group's context.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// let group = Group::<()>::new(smol::spawn);
    /// let handle = group.handle();
    /// drop(group);
    /// assert!(handle.context().is_done());
    /// ```
    pub fn context(&self) -> &Context {
        self.scope.context()
    }

    /// Completes when one more task may start. First come, first served.
    ///
    /// Not for a task of the group itself that counts: while it waits it holds a slot, so that tasks which all wait here
    /// wait for each other. Such a task [spawns](Self::spawn), and is queued.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives its turn to the next in line.
    ///
    /// # Errors
    ///
    /// What ended the group, if it has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// assert!(group.handle().ready().await.is_ok());
    /// # });
    /// ```
    pub async fn ready(&self) -> Result<(), Error> {
        Ready::<T, M>::of_handle(&self.scope).await
    }

    /// Ends the group with a reason.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// let handle = group.handle();
    /// group.spawn_named("orders", async { Ok::<_, &str>(std::future::pending().await) });
    /// handle.cancel_with("shutting down");
    /// let error = group.wait().await.unwrap_err();
    /// assert_eq!(error.to_string(), "context canceled: shutting down (waiting for orders)");
    /// # });
    /// ```
    pub fn cancel_with(&self, cause: impl Into<BoxError>) {
        self.scope.cancel_with(cause.into());
    }

    /// Ends the group without a failure: its context is canceled at once, no task starts any more, and `wait` returns the
    /// results of those that had finished. [`with_grace`](crate::Group::with_grace) gives the others time to end by themselves.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// # smol::block_on(async {
    /// let group = Group::<()>::new(smol::spawn);
    /// let handle = group.handle();
    /// group.spawn(async move {
    ///     handle.stop();
    ///     std::future::pending::<Result<(), &str>>().await
    /// });
    /// assert!(group.wait().await.unwrap().is_empty());
    /// # });
    /// ```
    pub fn stop(&self) {
        self.scope.stop();
    }

    /// What the group is doing: also while another task waits for it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Group;
    /// let group = Group::<()>::new(smol::spawn);
    /// let handle = group.handle();
    /// group.spawn_named("orders", async { Ok::<_, &str>(std::future::pending().await) });
    /// assert_eq!(handle.snapshot().tasks()[0].name, "orders");
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        snapshot::of(self.scope.node_ref())
    }
}

impl<T, M> Clone for GroupHandle<T, M> {
    fn clone(&self) -> Self {
        Self::new(self.scope.clone())
    }
}

impl<T, M> fmt::Debug for GroupHandle<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scope.fmt_as("GroupHandle", f)
    }
}
