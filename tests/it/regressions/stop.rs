//! `stop` is no error, whatever else stops and however slow the clock.

use crate::executor::{Executor, Polled, watched};
use crate::support::{GENEROUS, eventually};
use failfast::clock::{Clock, Sleep, SystemClock};
use failfast::{BoxError, Context, Group, Task};
use futures::executor::block_on;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Holds up one thread when it reads the time.
#[derive(Clone, Default)]
struct Slow(Arc<(Mutex<Option<ThreadId>>, AtomicBool)>);

impl Slow {
    /// Makes the clock hold up this thread, once.
    fn hold_me_up(&self) {
        *self.0.0.lock().unwrap() = Some(thread::current().id());
    }

    fn is_holding(&self) -> bool {
        self.0.1.load(SeqCst)
    }
}

impl Clock for Slow {
    fn now(&self) -> Instant {
        let mine = self
            .0
            .0
            .lock()
            .unwrap()
            .take_if(|id| *id == thread::current().id());
        if mine.is_some() {
            self.0.1.store(true, SeqCst);
            // In real time, as a slow clock does: to wait for the others would hang where they wait for this thread.
            thread::sleep(Duration::from_millis(10));
        }
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        SystemClock.sleep_until(deadline)
    }
}

/// A task returned its context's cancellation while `stop` still read the clock, and the group failed with it.
#[test]
fn task_returns_its_cancellation_while_the_clock_is_slow() {
    let results = watched(|| {
        let slow = Slow::default();
        let ctx = Context::background().with_clock(slow.clone());
        let (group, ctx) = Group::<u32>::with_context(&ctx, smol::spawn);
        let group = group.with_grace(GENEROUS);
        group.spawn(async { Ok::<_, BoxError>(1) });
        group.spawn(async move {
            ctx.done().await;
            ctx.check()?;
            Ok::<_, BoxError>(2)
        });
        eventually("one has ended", || group.snapshot().tasks().len() == 1);
        let handle = group.handle();
        let stopping = thread::spawn(move || {
            slow.hold_me_up();
            handle.stop();
        });
        let results = block_on(group.wait()).map_err(|error| error.to_string());
        stopping.join().unwrap();
        results
    });
    assert_eq!(results, Ok(vec![1]));
}

/// Two threads stopped one group, the first was held up in the clock, and the second's cancellation was an error.
#[test]
fn second_stop_overtakes_the_first() {
    let results = watched(|| {
        let slow = Slow::default();
        let ctx = Context::background()
            .with_clock(slow.clone())
            .with_timeout(GENEROUS);
        let executor = Executor::new();
        let (group, _ctx) = Group::<u32>::with_context(&ctx, executor.spawner());
        group.spawn(async { Ok::<_, BoxError>(1) });
        group.spawn(pending::<Result<u32, BoxError>>());
        executor.run();
        let handle = group.handle();
        let stopping = thread::spawn({
            let (slow, handle) = (slow.clone(), handle.clone());
            move || {
                slow.hold_me_up();
                handle.stop();
            }
        });
        eventually("the first is held up", || {
            slow.is_holding() || stopping.is_finished()
        });
        handle.stop();
        let mut wait = Polled::new(group.wait());
        let first = wait.poll();
        stopping.join().unwrap();
        let results = match first {
            Poll::Ready(results) => results,
            Poll::Pending => executor.finish(&mut wait),
        };
        results.map_err(|error| error.to_string())
    });
    assert_eq!(results, Ok(vec![1]));
}

/// Two threads stopped one group at once, and it failed now and then.
#[test]
fn two_stops_at_once() {
    watched(|| {
        for round in 0..300 {
            let kept = Arc::new(Mutex::new(Vec::<Task>::new()));
            let tasks = kept.clone();
            let group = Group::<u32>::new(move |task: Task| tasks.lock().unwrap().push(task));
            group.spawn(pending::<Result<u32, BoxError>>());
            let barrier = Barrier::new(2);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let handle = group.handle();
                        barrier.wait();
                        handle.stop();
                    });
                }
            });
            kept.lock().unwrap().clear();
            let results = block_on(group.wait()).map_err(|error| error.to_string());
            assert_eq!(results, Ok(vec![]), "round {round}");
        }
    });
}
