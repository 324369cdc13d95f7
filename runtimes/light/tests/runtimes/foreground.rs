//! A foreground executor in the manner of gpui: tasks of the thread that draws, woken from any other.
//!
//! `async_task::spawn_local` asserts the thread whenever a task is polled or dropped: elsewhere it ends the process. A
//! handle cancels its task when it is dropped. The main loop takes one task after the other from a channel.

use async_task::{Runnable, Task};
use conformance::{LocalExecutor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, LocalGroup};
use futures_timer::Delay;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{self, Wake, Waker};
use std::time::Duration;

pub(crate) struct Foreground;

impl Runtime for Foreground {
    const NAME: &'static str = "a foreground executor, as gpui's";

    type Place = LocalExecutor<Task<()>>;
    type Sleep = Delay;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let (spawner, main_loop) = foreground();
        main_loop.run(scenario(LocalExecutor::new(move |task| {
            spawner.spawn(task)
        })));
    }

    fn documented_group(_: Context) -> LocalGroup<()> {
        let (spawner, _) = foreground();
        LocalGroup::new(move |task| spawner.spawn(task))
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Delay::new(time)
    }

    fn clock() -> impl Clock {
        Delay::new
    }
}

/// What the main loop does next.
enum Turn {
    Run(Runnable),
    /// The future that the loop runs for was woken.
    Poll,
}

struct Spawner(Sender<Turn>);

struct MainLoop(Sender<Turn>, Receiver<Turn>);

fn foreground() -> (Spawner, MainLoop) {
    let (sender, receiver) = channel();
    (Spawner(sender.clone()), MainLoop(sender, receiver))
}

impl Spawner {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) -> Task<()> {
        let turns = self.0.clone();
        let schedule = move |runnable| {
            // After the loop's end nothing runs any more. The runnable may only be dropped on its own thread.
            if let Err(unsent) = turns.send(Turn::Run(runnable)) {
                std::mem::forget(unsent);
            }
        };
        let (runnable, task) = async_task::spawn_local(task, schedule);
        runnable.schedule();
        task
    }
}

struct PollAgain(Sender<Turn>);

impl Wake for PollAgain {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(Turn::Poll);
    }
}

impl MainLoop {
    fn run(self, future: impl Future<Output = ()>) {
        let MainLoop(sender, turns) = self;
        let waker = Waker::from(Arc::new(PollAgain(sender)));
        let mut future = pin!(future);
        waker.wake_by_ref();
        for turn in turns {
            match turn {
                Turn::Run(runnable) => {
                    runnable.run();
                }
                Turn::Poll => {
                    let polled = future.as_mut().poll(&mut task::Context::from_waker(&waker));
                    if polled.is_ready() {
                        return;
                    }
                }
            }
        }
    }
}

/// A handle is as strict as gpui's.
pub(crate) fn dropped_handle_cancels() {
    struct OnDrop(Arc<AtomicBool>);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }

    let gone = Arc::new(AtomicBool::new(false));
    let (spawner, main_loop) = foreground();
    let guard = OnDrop(gone.clone());
    drop(spawner.spawn(async move {
        let _guard = guard;
        pending().await
    }));
    while let Ok(Turn::Run(runnable)) = main_loop.1.try_recv() {
        runnable.run();
    }
    assert!(gone.load(SeqCst));
}
