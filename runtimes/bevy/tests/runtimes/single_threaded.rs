//! bevy's task pool without threads: `spawn` requires a `Sync` future, and runs it and all others as far as they come
//! before it returns; what is left is run once a frame.

use bevy_tasks::{Task, TaskPool};
use conformance::{Executor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, Group};
use futures_timer::Delay;
use std::pin::pin;
use std::sync::Arc;
use std::task::{self, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

pub(crate) struct SingleThreaded;

/// As long as the game draws.
const FRAME: Duration = Duration::from_millis(1);

impl Runtime for SingleThreaded {
    const NAME: &'static str = "bevy_tasks, single-threaded";

    type Place = Executor<Task<()>>;
    type Sleep = Delay;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let pool = TaskPool::new();
        let place = Executor::new(move |task| pool.spawn(task));
        let mut scenario = pin!(scenario(place));
        let waker = Waker::from(Arc::new(NextFrame(thread::current())));
        let mut cx = task::Context::from_waker(&waker);
        while scenario.as_mut().poll(&mut cx).is_pending() {
            TaskPool::new().with_local_executor(|tasks| while tasks.try_tick() {});
            thread::park_timeout(FRAME);
        }
    }

    fn documented_group(_: Context) -> Group<()> {
        let pool = TaskPool::new();
        Group::new(move |task| pool.spawn(task))
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Delay::new(time)
    }

    fn clock() -> impl Clock {
        Delay::new
    }
}

/// Cuts short what the frame would still have taken.
struct NextFrame(Thread);

impl Wake for NextFrame {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
