//! Spawning into a group from inside it.

use super::core::Newcomer;
use super::front::Inner;
use crate::context::Context;
use crate::error::{BoxError, Name};
use crate::spawn::{Flavour, LocalTask, Spawn, Task};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

/// Spawns into a group, for its own tasks: see [`TaskGroup::handle`](crate::TaskGroup::handle).
///
/// Works until the group has ended, during `wait` and at the limit too. It keeps no group alive: once the
/// group has ended, the future comes back.
///
/// What it does keep alive is what it shares with the group: the spawner, and results that nobody took. Drop
/// a handle that is not needed any more.
///
/// # Examples
///
/// ```
/// use failfast::{Context, Group};
///
/// # futures::executor::block_on(async {
/// let group = Group::in_place(&Context::background());
/// let handle = group.handle();
/// handle.spawn(async { Ok::<_, &str>(5) }).unwrap_or_else(|_| unreachable!("it lives"));
/// assert_eq!(group.wait().await.unwrap(), [5]);
/// assert!(handle.spawn(async { Ok::<_, &str>(6) }).is_err(), "it has ended");
/// # });
/// ```
pub struct GroupHandle<S: Spawn<M>, T, M: Flavour = Task> {
    inner: Arc<Inner<S, T, M>>,
}

impl<S: Spawn<M>, T, M: Flavour> GroupHandle<S, T, M> {
    pub(super) fn new(inner: Arc<Inner<S, T, M>>) -> Self {
        Self { inner }
    }

    /// The group's context.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Group};
    /// # futures::executor::block_on(async {
    /// let group = Group::in_place(&Context::background());
    /// let handle = group.handle();
    /// group.spawn(async { Ok::<_, &str>(5) });
    /// assert!(!handle.context().is_done());
    /// assert!(group.wait().await.is_ok());
    /// assert!(handle.context().is_done());
    /// # });
    /// ```
    pub fn context(&self) -> &Context {
        self.inner.front.core().context()
    }
}

macro_rules! spawn_methods {
    ($task:ident $(, $send:ident)?) => {
        impl<S: Spawn<$task>, T: $($send +)? 'static> GroupHandle<S, T, $task> {
            /// Starts a task in the group, or queues it at the limit.
            ///
            /// # Panics
            ///
            /// With whatever the executor's own spawn function throws: tokio's, say, outside of a runtime. The task
            /// is then lost, and fails the group as [`Error::Lost`](crate::Error::Lost).
            ///
            /// # Errors
            ///
            /// The future, unpolled, if the group has ended.
            ///
            /// # Examples
            ///
            /// ```
            /// # use failfast::{Context, Group};
            /// # futures::executor::block_on(async {
            /// let group = Group::in_place(&Context::background());
            /// let handle = group.handle();
            /// assert!(handle.spawn(async { Ok::<_, &str>(1) }).is_ok());
            /// assert_eq!(group.wait().await.unwrap(), [1]);
            /// assert!(handle.spawn(async { Ok::<_, &str>(2) }).is_err());
            /// # });
            /// ```
            #[track_caller]
            pub fn spawn<F, E>(&self, future: F) -> Result<(), F>
            where
                F: Future<Output = Result<T, E>> $(+ $send)? + 'static,
                E: Into<BoxError>,
            {
                self.inner.try_start(future, Newcomer::new(None, Location::caller()), true)
            }

            /// [`spawn`](Self::spawn) with a name.
            ///
            /// # Panics
            ///
            /// With whatever the executor's own spawn function throws: tokio's, say, outside of a runtime. The task
            /// is then lost, and fails the group as [`Error::Lost`](crate::Error::Lost).
            ///
            /// # Errors
            ///
            /// The future, unpolled, if the group has ended.
            ///
            /// # Examples
            ///
            /// ```
            /// # use failfast::{Context, Group};
            /// # futures::executor::block_on(async {
            /// let group = Group::in_place(&Context::background());
            /// let handle = group.handle();
            /// assert!(handle.spawn_named("orders", async { Ok::<_, &str>(1) }).is_ok());
            /// assert_eq!(group.wait_named().await.unwrap()[0].0, "orders");
            /// # });
            /// ```
            #[track_caller]
            pub fn spawn_named<F, E>(&self, name: impl Into<Name>, future: F) -> Result<(), F>
            where
                F: Future<Output = Result<T, E>> $(+ $send)? + 'static,
                E: Into<BoxError>,
            {
                self.inner.try_start(future, Newcomer::new(Some(name.into()), Location::caller()), true)
            }

            /// Starts a task only if that is possible at once.
            ///
            /// # Panics
            ///
            /// With whatever the executor's own spawn function throws: tokio's, say, outside of a runtime. The task
            /// is then lost, and fails the group as [`Error::Lost`](crate::Error::Lost).
            ///
            /// # Errors
            ///
            /// The future, unpolled, if the limit is reached or the group has ended.
            ///
            /// # Examples
            ///
            /// ```
            /// # use failfast::{Context, Group};
            /// # use std::num::NonZeroUsize;
            /// # futures::executor::block_on(async {
            /// let group = Group::in_place(&Context::background()).with_limit(NonZeroUsize::MIN);
            /// let handle = group.handle();
            /// assert!(handle.try_spawn(async { Ok::<_, &str>(1) }).is_ok());
            /// assert!(handle.try_spawn(async { Ok::<_, &str>(2) }).is_err(), "one at a time");
            /// assert_eq!(group.wait().await.unwrap(), [1]);
            /// # });
            /// ```
            #[track_caller]
            pub fn try_spawn<F, E>(&self, future: F) -> Result<(), F>
            where
                F: Future<Output = Result<T, E>> $(+ $send)? + 'static,
                E: Into<BoxError>,
            {
                self.inner.try_start(future, Newcomer::new(None, Location::caller()), false)
            }
        }
    };
}

spawn_methods!(Task, Send);
spawn_methods!(LocalTask);

impl<S: Spawn<M>, T, M: Flavour> Clone for GroupHandle<S, T, M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<S: Spawn<M>, T, M: Flavour> fmt::Debug for GroupHandle<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupHandle")
            .field("live", &self.inner.front.core().live())
            .finish()
    }
}
