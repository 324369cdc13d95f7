//! The port to an executor: one method, and every runtime's own spawn function already has it.

use crate::sync::atomic::{AtomicBool, Ordering};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};

/// What an executor is given to run: a task of a group, whole, with everything that makes it fail fast.
///
/// To the executor it is a future like any other. Dropped before it has completed, it is reported to its
/// group as [`Error::Lost`](crate::Error::Lost).
#[must_use = "a task that is dropped is lost, and fails its group"]
pub struct Task {
    job: Pin<Box<dyn Future<Output = Option<Task>> + Send>>,
    runner: Option<Runner>,
}

/// [`Task`] for a thread-bound executor: its future need not be `Send`.
#[must_use = "a task that is dropped is lost, and fails its group"]
pub struct LocalTask {
    job: Pin<Box<dyn Future<Output = Option<LocalTask>>>>,
    runner: Option<Runner>,
}

/// Tells when the executor has done with a task: jobs may follow one another in it, so the end of a job is
/// not the end of the task.
pub(crate) struct Runner(Arc<AtomicBool>);

/// Starts tasks: what failfast asks of an executor.
///
/// Implemented for every function and closure that takes the task, so a runtime's own spawn function is
/// the adapter: `smol::spawn`, `tokio::spawn`, `async_std::task::spawn`, `move |task| pool.spawn_ok(task)`.
/// `T` is [`Task`], or [`LocalTask`] for a thread-bound executor.
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
    /// May: whoever spawns into the group then sees the panic, and the task is lost.
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

impl<T, S: Spawn<T> + ?Sized> Spawn<T> for Arc<S> {
    type Handle = S::Handle;

    #[inline]
    fn spawn(&self, task: T) -> S::Handle {
        (**self).spawn(task)
    }
}

impl<T, S: Spawn<T> + ?Sized> Spawn<T> for Rc<S> {
    type Handle = S::Handle;

    #[inline]
    fn spawn(&self, task: T) -> S::Handle {
        (**self).spawn(task)
    }
}

/// Which of the two flavours of the one engine: what it hands to the executor. [`Task`] and [`LocalTask`]
/// are all there are.
pub trait Flavour: sealed::Observe + Future<Output = ()> + Unpin + Sized + 'static {}

impl Flavour for Task {}
impl Flavour for LocalTask {}

mod sealed {
    use super::{Arc, AtomicBool};

    #[allow(unreachable_pub, reason = "it is what nobody else can implement")]
    pub trait Observe {
        /// Has the task tell when the executor has done with it.
        #[doc(hidden)]
        fn observe(&mut self) -> Arc<AtomicBool>;
    }
}

/// A flavour that can carry the job `J`: a `Task` carries what is `Send`, a `LocalTask` carries anything.
///
/// A job's output is the job that takes its place, where a limit makes jobs queue.
pub(crate) trait Carry<J>: Flavour {
    fn carry(job: J) -> Self;
}

impl<J: Future<Output = Option<Task>> + Send + 'static> Carry<J> for Task {
    #[inline]
    fn carry(job: J) -> Self {
        Self {
            job: Box::pin(job),
            runner: None,
        }
    }
}

impl<J: Future<Output = Option<LocalTask>> + 'static> Carry<J> for LocalTask {
    #[inline]
    fn carry(job: J) -> Self {
        Self {
            job: Box::pin(job),
            runner: None,
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Each job runs to its end, then the next in its place; between the two the executor gets its turn.
macro_rules! run_jobs {
    ($task:ident) => {
        impl Future for $task {
            type Output = ();

            #[inline]
            fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
                match self.job.as_mut().poll(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(None) => Poll::Ready(()),
                    Poll::Ready(Some(next)) => {
                        self.job = next.job;
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                }
            }
        }

        impl sealed::Observe for $task {
            fn observe(&mut self) -> Arc<AtomicBool> {
                let done = Arc::new(AtomicBool::new(false));
                self.runner = Some(Runner(done.clone()));
                done
            }
        }

        impl fmt::Debug for $task {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($task)).finish_non_exhaustive()
            }
        }
    };
}

run_jobs!(Task);
run_jobs!(LocalTask);
