//! The executors, behind one small trait, so that each way of fanning out is written once.

use std::future::{self, Future};
use std::pin::Pin;
use std::task::{self, Poll};
use std::thread;
use std::time::{Duration, Instant};

use failfast::{Spawn, Task};
use smol::{Executor, LocalExecutor};
use tokio::runtime::{Builder, Runtime};

use crate::harness::Lane;

/// Where a benchmark's loop runs.
pub(crate) trait Drive: Copy + Send + Sync + 'static {
    /// Blocks until `body` has run: as one of the executor's own tasks, if there is an executor.
    ///
    /// From inside a task, because a caller on another thread pays the operating system's wake-ups, which
    /// hide everything else.
    fn drive<T: Send + 'static>(self, body: impl Future<Output = T> + Send + 'static) -> T;

    /// A lane whose iterations are awaited one after the other inside one task.
    fn lane<F>(self, name: &str, once: impl Fn() -> F + Copy + Send + 'static) -> Lane
    where
        F: Future + Send + 'static,
    {
        Lane::new(name, move |iterations| self.drive(timed(iterations, once)))
    }

    /// A lane whose iterations return themselves how long they took.
    fn stopwatch<F>(self, name: &str, once: impl Fn() -> F + Copy + Send + 'static) -> Lane
    where
        F: Future<Output = Duration> + Send + 'static,
    {
        Lane::new(name, move |iterations| self.drive(summed(iterations, once)))
    }
}

/// An executor under test.
pub(crate) trait Host: Drive {
    /// What `spawn` gives; awaits the output.
    type Join<T: Send + 'static>: Future<Output = T> + Send + Unpin + 'static;

    fn spawn<T: Send + 'static>(
        self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self::Join<T>;

    /// What a group is given to spawn with.
    fn spawner(self) -> impl Spawn<Task, Handle: Send + 'static> + Send + Sync + 'static {
        move |task| self.spawn(task)
    }

    /// Detaches the task from its handle.
    fn detach<T: Send + 'static>(join: Self::Join<T>) {
        drop(join);
    }
}

async fn timed<F: Future>(iterations: u64, once: impl Fn() -> F) -> Duration {
    let start = Instant::now();
    for _ in 0..iterations {
        once().await;
    }
    start.elapsed()
}

async fn summed<F: Future<Output = Duration>>(iterations: u64, once: impl Fn() -> F) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..iterations {
        sum += once().await;
    }
    sum
}

/// No executor: the calling thread itself.
#[derive(Clone, Copy)]
pub(crate) struct Caller;

impl Drive for Caller {
    fn drive<T: Send + 'static>(self, body: impl Future<Output = T> + Send + 'static) -> T {
        futures::executor::block_on(body)
    }
}

/// A smol executor. The thread that calls `drive` is one of its threads.
#[derive(Clone, Copy)]
pub(crate) struct Smol(&'static Executor<'static>);

impl Smol {
    pub(crate) fn one_thread() -> Self {
        Self(Box::leak(Box::default()))
    }

    pub(crate) fn two_threads() -> Self {
        let host = Self::one_thread();
        thread::spawn(move || smol::block_on(host.0.run(future::pending::<()>())));
        host
    }
}

impl Drive for Smol {
    fn drive<T: Send + 'static>(self, body: impl Future<Output = T> + Send + 'static) -> T {
        smol::block_on(self.0.run(self.0.spawn(body)))
    }
}

impl Host for Smol {
    type Join<T: Send + 'static> = smol::Task<T>;

    fn spawn<T: Send + 'static>(
        self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self::Join<T> {
        self.0.spawn(future)
    }

    fn detach<T: Send + 'static>(join: Self::Join<T>) {
        join.detach();
    }
}

/// A smol executor with one thread of its own, and a caller that blocks on another one.
#[derive(Clone, Copy)]
pub(crate) struct Outside(Smol);

impl Outside {
    pub(crate) fn new() -> Self {
        Self(Smol::two_threads())
    }
}

impl Drive for Outside {
    fn drive<T: Send + 'static>(self, body: impl Future<Output = T> + Send + 'static) -> T {
        smol::block_on(body)
    }
}

impl Host for Outside {
    type Join<T: Send + 'static> = smol::Task<T>;

    fn spawn<T: Send + 'static>(
        self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self::Join<T> {
        self.0.spawn(future)
    }

    fn detach<T: Send + 'static>(join: Self::Join<T>) {
        join.detach();
    }
}

/// This thread's smol `LocalExecutor`.
#[derive(Clone, Copy)]
pub(crate) struct Local;

thread_local! {
    static LOCAL: &'static LocalExecutor<'static> = Box::leak(Box::default());
}

impl Local {
    pub(crate) fn executor() -> &'static LocalExecutor<'static> {
        LOCAL.with(|executor| *executor)
    }

    /// [`Drive::lane`] for what must stay on its thread.
    pub(crate) fn local_lane<F>(self, name: &str, once: impl Fn() -> F + Copy + 'static) -> Lane
    where
        F: Future + 'static,
    {
        let executor = Self::executor();
        let drive =
            move |iterations| smol::block_on(executor.run(executor.spawn(timed(iterations, once))));
        Lane::new(name, drive)
    }
}

impl Drive for Local {
    fn drive<T: Send + 'static>(self, body: impl Future<Output = T> + Send + 'static) -> T {
        let executor = Self::executor();
        smol::block_on(executor.run(executor.spawn(body)))
    }
}

impl Host for Local {
    type Join<T: Send + 'static> = smol::Task<T>;

    fn spawn<T: Send + 'static>(
        self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self::Join<T> {
        Self::executor().spawn(future)
    }

    fn detach<T: Send + 'static>(join: Self::Join<T>) {
        join.detach();
    }
}

/// A tokio runtime.
#[derive(Clone, Copy)]
pub(crate) struct Tokio(&'static Runtime);

impl Tokio {
    pub(crate) fn current_thread() -> Self {
        Self::build(Builder::new_current_thread().enable_time())
    }

    pub(crate) fn two_threads() -> Self {
        Self::build(Builder::new_multi_thread().worker_threads(2).enable_time())
    }

    fn build(builder: &mut Builder) -> Self {
        Self(Box::leak(Box::new(
            builder.build().expect("a tokio runtime"),
        )))
    }
}

impl Drive for Tokio {
    fn drive<T: Send + 'static>(self, body: impl Future<Output = T> + Send + 'static) -> T {
        self.0.block_on(async { self.spawn(body).await })
    }
}

impl Host for Tokio {
    type Join<T: Send + 'static> = TokioJoin<T>;

    fn spawn<T: Send + 'static>(
        self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self::Join<T> {
        TokioJoin(tokio::spawn(future))
    }

    /// The function itself, as most programs write it.
    fn spawner(self) -> impl Spawn<Task, Handle: Send + 'static> + Send + Sync + 'static {
        tokio::spawn
    }
}

/// A tokio handle without its `JoinError`: no task panics or is aborted here.
pub(crate) struct TokioJoin<T>(tokio::task::JoinHandle<T>);

impl<T> Future for TokioJoin<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|joined| joined.expect("the task ends by itself"))
    }
}

/// async-std's global executor, with as many threads as there are cores.
#[derive(Clone, Copy)]
pub(crate) struct AsyncStd;

impl Drive for AsyncStd {
    fn drive<T: Send + 'static>(self, body: impl Future<Output = T> + Send + 'static) -> T {
        async_std::task::block_on(async_std::task::spawn(body))
    }
}

impl Host for AsyncStd {
    type Join<T: Send + 'static> = async_std::task::JoinHandle<T>;

    fn spawn<T: Send + 'static>(
        self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self::Join<T> {
        async_std::task::spawn(future)
    }
}
