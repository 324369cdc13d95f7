//! glommio: an executor a thread, and a handle that cancels.

use ::glommio::timer::sleep;
use ::glommio::{LocalExecutorBuilder, Placement, Task, spawn_local};
use conformance::{LocalExecutor, Runtime};
use failfast::clock::{Clock, LocalClock};
use failfast::{Context, LocalGroup};
use futures::future::LocalBoxFuture;
use io_uring::IoUring;
use std::time::Duration;

pub(crate) struct Glommio;

/// Why it can't run here: the kernel has no io_uring, or forbids it. Any other trouble is a failure.
pub(crate) fn is_refused() -> Option<&'static str> {
    let error = IoUring::new(2).err()?;
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Some("this kernel has no io_uring"),
        Some(libc::EPERM) => Some("io_uring is forbidden here"),
        _ => panic!("io_uring: {error}"),
    }
}

impl Runtime for Glommio {
    const NAME: &'static str = "glommio";

    type Place = LocalExecutor<Task<()>>;
    type Sleep = LocalBoxFuture<'static, ()>;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let executor = LocalExecutorBuilder::new(Placement::Unbound).make();
        let executor = executor.expect("an executor");
        executor.run(scenario(LocalExecutor::new(spawn_local)));
    }

    fn documented_group(_: Context) -> LocalGroup<()> {
        LocalGroup::new(glommio::spawn_local)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Box::pin(sleep(time))
    }

    fn clock() -> impl Clock {
        LocalClock::new(sleep)
    }
}
