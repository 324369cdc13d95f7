//! glib's main context, from any thread: the task runs where the main loop does.

use conformance::{Executor, Runtime};
use failfast::clock::Clock;
use failfast::{Context, Group};
use glib::{JoinHandle, MainContext, timeout_future};
use std::pin::Pin;
use std::time::Duration;

pub(crate) struct Spawn;

impl Runtime for Spawn {
    const NAME: &'static str = "glib, MainContext::spawn";

    type Place = Executor<JoinHandle<()>>;
    type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        let main = MainContext::new();
        // Kept for ever, as a program's is: GLib (2.74) uses freed memory if another thread drops a waker, which is a
        // `GSource`, while the context is freed.
        std::mem::forget(main.clone());
        let spawner = main.clone();
        let place = Executor::new(move |task| spawner.spawn(task));
        let run = || main.block_on(scenario(place));
        main.with_thread_default(run)
            .expect("a main context that no other thread has");
    }

    fn documented_group(_: Context) -> Group<()> {
        let main = MainContext::ref_thread_default();
        Group::new(move |task| main.spawn(task))
    }

    fn sleep(time: Duration) -> Self::Sleep {
        timeout_future(time)
    }

    /// glib's timers count whole milliseconds, rounded down.
    fn clock() -> impl Clock {
        |left| glib::timeout_future(left + Duration::from_millis(1))
    }
}
