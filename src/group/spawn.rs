//! The port to an executor: one method, and every runtime's own spawn function already has it.

use super::executor::Task;
use std::rc::Rc;
use std::sync::Arc;

/// Starts tasks: what failfast needs from an executor.
///
/// Implemented for every function and closure that takes the task, so a runtime's own spawn function is
/// the adapter: `smol::spawn`, `tokio::spawn`, `async_std::task::spawn`, `move |task| pool.spawn_ok(task)`.
/// `T` is [`Task`](crate::Task), or [`LocalTask`](crate::LocalTask) for a thread-bound executor. It is a future like
/// any other; dropped before it has completed, it is reported to its group as
/// [`ErrorKind::Lost`](crate::ErrorKind::Lost).
///
/// What `spawn` returns is kept until the task has ended, so handles that cancel their task when they are
/// dropped (smol's, say) are as safe as those that detach it (tokio's).
///
/// # Examples
///
/// A type of your own, where a closure won't do:
///
/// ```
/// use failfast::{Group, Spawn, Task};
///
/// struct Traced;
///
/// impl Spawn for Traced {
///     type Handle = smol::Task<()>;
///
///     fn spawn(&self, task: Task) -> Self::Handle {
///         eprintln!("spawning");
///         smol::spawn(task)
///     }
/// }
///
/// # smol::block_on(async {
/// let group = Group::new(Traced);
/// group.spawn(async { Ok::<_, std::fmt::Error>(1) });
/// assert_eq!(group.wait().await.unwrap(), [1]);
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't start a `{T}`",
    label = "not a function that takes a `{T}`",
    note = "pass the runtime's own spawn function (`smol::spawn`, `tokio::spawn`) or a closure: `move |task| executor.spawn(task)`",
    note = "a thread-bound executor starts a `LocalTask`: use `LocalGroup` or `LocalAggregator` with it"
)]
pub trait Spawn<T = Task> {
    /// What starting a task returns; kept until the task has ended.
    type Handle;

    /// Starts the task. May run it at once, or part of it, before returning.
    ///
    /// # Panics
    ///
    /// May: the panic reaches the code that spawns into the group, and the task is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Spawn;
    ///
    /// let handle = Spawn::spawn(&|task| smol::spawn(task), async { 42 });
    /// assert_eq!(smol::block_on(handle), 42);
    /// ```
    fn spawn(&self, task: T) -> Self::Handle;
}

impl<T, H, F> Spawn<T> for F
where
    F: Fn(T) -> H,
{
    type Handle = H;

    #[inline]
    fn spawn(&self, task: T) -> H {
        self(task)
    }
}

#[diagnostic::do_not_recommend]
impl<T, S: Spawn<T> + ?Sized> Spawn<T> for Arc<S> {
    type Handle = S::Handle;

    #[inline]
    fn spawn(&self, task: T) -> S::Handle {
        (**self).spawn(task)
    }
}

#[diagnostic::do_not_recommend]
impl<T, S: Spawn<T> + ?Sized> Spawn<T> for Rc<S> {
    type Handle = S::Handle;

    #[inline]
    fn spawn(&self, task: T) -> S::Handle {
        (**self).spawn(task)
    }
}
