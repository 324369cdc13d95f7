//! What the tests of section 4 of the contract, the group, have in common: tasks and groups on an executor that
//! is driven by hand.

use crate::executor::{Executor, Life, Living, Remote, remote};
use failfast::{Context, Error, ErrorKind, Group};
use std::convert::Infallible;
use std::future::pending;

/// A task that never ends by itself.
pub(crate) async fn stuck<T>(life: Life) -> Result<T, Infallible> {
    let _life = life;
    pending().await
}

/// A task that waits for the context's end, and then succeeds.
pub(crate) async fn until_done<T>(ctx: Context, life: Life, value: T) -> Result<T, Infallible> {
    let _life = life;
    ctx.done().await;
    Ok(value)
}

pub(crate) fn group<T: Send + 'static>(executor: &Executor) -> Group<T> {
    Group::new(executor.spawner())
}

/// A group with two tasks of the test's, both running: how to end them, and how many are alive.
pub(crate) struct Pair {
    pub(crate) executor: Executor,
    pub(crate) group: Group<u32>,
    pub(crate) living: Living,
    pub(crate) one: Remote<u32>,
    pub(crate) two: Remote<u32>,
}

pub(crate) fn pair(configure: impl FnOnce(Group<u32>) -> Group<u32>) -> Pair {
    let executor = Executor::new();
    let group = configure(group(&executor));
    let living = Living::default();
    let (one, task) = remote(&living);
    group.spawn_named("one", task);
    let (two, task) = remote(&living);
    group.spawn_named("two", task);
    executor.run();
    Pair {
        executor,
        group,
        living,
        one,
        two,
    }
}
/// What kind of failure, and whose.
pub(crate) fn told(error: &Error) -> (ErrorKind, Option<&str>) {
    (error.kind(), error.task().map(|name| &**name))
}

/// The tasks that had not finished at the moment of the end.
pub(crate) fn pending_in(error: &Error) -> Vec<&str> {
    error.pending().iter().map(|name| &**name).collect()
}
