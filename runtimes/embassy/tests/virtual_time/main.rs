//! embassy's time as its mock driver has it: it stands still until it is moved.
//!
//! The driver wakes a timer's waker while its state is borrowed, and a context's clock is read there. So `now` must not be
//! the driver's: it panics there, and the driver for std, which wakes under its lock, would lock up.

#[path = "../runtimes/run.rs"]
mod run;

use conformance::local::virtual_time::hours_pass_at_once;
use conformance::{LocalExecutor, Runtime};
use embassy_executor::Spawner;
use embassy_time::{MockDriver, Timer};
use failfast::clock::Clock;
use failfast::{Context, LocalGroup, LocalTask};
use futures::future::poll_fn;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::Poll;
use std::time::{Duration, Instant};

#[embassy_executor::task(pool_size = 8)]
async fn run_task(task: LocalTask) {
    task.await;
}

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How many microseconds have passed: what the driver knows, too.
static PASSED: AtomicU64 = AtomicU64::new(0);

struct VirtualTime;

impl Runtime for VirtualTime {
    const NAME: &'static str = "embassy, by its mock driver";

    type Place = LocalExecutor<()>;
    type Sleep = Timer;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        run::run(|spawner| scenario(LocalExecutor::new(spawn_with(spawner))));
    }

    fn documented_group(_: Context) -> LocalGroup<()> {
        LocalGroup::new(spawn_with(run::spawner()))
    }

    fn sleep(time: Duration) -> Self::Sleep {
        run::after(time)
    }

    fn clock() -> impl Clock {
        let now = || *BEGIN + Duration::from_micros(PASSED.load(SeqCst));
        (now, run::after)
    }
}

fn spawn_with(spawner: Spawner) -> impl Fn(LocalTask) {
    move |task| {
        if let Ok(token) = run_task(task) {
            spawner.spawn(token);
        }
    }
}

/// Lets time pass, and then all tasks run that this woke.
async fn pass(time: Duration) {
    let micros = u64::try_from(time.as_micros()).expect("no such time");
    PASSED.fetch_add(micros, SeqCst);
    MockDriver::get().advance(embassy_time::Duration::from_micros(micros));
    others_run().await;
}

/// A task that wakes itself stands behind all others.
async fn others_run() {
    let mut turns = 10;
    poll_fn(|cx| {
        turns -= 1;
        cx.waker().wake_by_ref();
        match turns {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
}

#[test]
fn hours_of_the_mock_drivers_time_pass_at_once() {
    VirtualTime::run(|place| {
        hours_pass_at_once::<VirtualTime>(place, async |time| {
            others_run().await; // what is to wait for that time arms its timer first
            pass(time).await;
        })
    });
}
