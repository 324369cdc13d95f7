//! The context's own operations, beside tokio-util's token, an atomic and futures-timer.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use failfast::context::Done;
use failfast::{Canceller, Context};
use futures_timer::Delay;
use tokio_util::sync::CancellationToken;

use crate::harness::{Lane, Race, goal, on_threads, span};
use crate::work::{DEADLINE, poll_once};

const LIVE: usize = 100_000;

pub(crate) fn races() -> Vec<Race> {
    let mut races = vec![create(), child(), clone()];
    races.extend([1, 8].map(is_done));
    races.extend([1, 8].map(is_cancelled));
    races.extend([1, 100, 10_000, 100_000].map(cancel));
    races.extend([
        is_done_by_the_clock(),
        deadline(),
        deadline_among_many(),
        many_deadlines(),
    ]);
    races
}

/// A context that can be cancelled, and the hand that can.
fn fresh() -> (Context, Canceller) {
    Context::background().with_cancel()
}

fn create() -> Race {
    Race::new(
        "a cancellable context made and dropped",
        (1, "context"),
        Lane::tight("failfast", fresh),
    )
    .against(Lane::tight("CancellationToken", CancellationToken::new))
}

fn child() -> Race {
    let (ours, token) = (fresh(), CancellationToken::new());
    Race::new(
        "a child made and dropped",
        (1, "child"),
        Lane::tight("failfast", move || ours.0.with_cancel()),
    )
    .against(Lane::tight("CancellationToken", move || {
        token.child_token()
    }))
}

fn clone() -> Race {
    let (ours, token, arc) = (fresh(), CancellationToken::new(), Arc::new(()));
    Race::new(
        "a clone made and dropped",
        (1, "clone"),
        Lane::tight("failfast", move || ours.0.clone()),
    )
    .against(Lane::tight("CancellationToken", move || token.clone()))
    .against(Lane::tight("Arc", move || arc.clone()))
}

fn is_done(threads: usize) -> Race {
    let (ours, target) = (fresh(), (threads == 8).then_some(goal(2.0, 2.0)));
    let ours = asked::<MANY>("failfast", threads, move || ours.0.is_done());
    Race::new(
        format!("is_done, threads: {threads}"),
        (threads * MANY, "call"),
        ours,
    )
    .against(atomic_load(threads).must(target))
}

/// Without a waiter, so only a reading of the clock shows that its deadline has passed.
fn is_done_by_the_clock() -> Race {
    let (start, ours) = (
        Instant::now(),
        Context::background().with_timeout(DEADLINE * 1000),
    );
    let ours = asked::<MANY>("failfast", 1, move || ours.is_done());
    Race::new("is_done, a deadline without a waiter", (MANY, "call"), ours)
        .against(atomic_load(1))
        .against(asked::<MANY>("Instant::elapsed", 1, move || {
            start.elapsed().is_zero()
        }))
}

fn atomic_load(threads: usize) -> Lane {
    let flag = AtomicBool::new(false);
    asked::<MANY>("an atomic load", threads, move || {
        flag.load(Ordering::Acquire)
    })
}

/// Apart, because a mutex under contention takes so long that it has to be read less.
fn is_cancelled(threads: usize) -> Race {
    let (ours, token) = (fresh(), CancellationToken::new());
    let ours = asked::<FEW>("failfast", threads, move || ours.0.is_done());
    let token = asked::<FEW>("CancellationToken", threads, move || token.is_cancelled());
    Race::new(
        format!("is_done and is_cancelled, threads: {threads}"),
        (threads * FEW, "call"),
        ours,
    )
    .against(token)
}

/// Calls a thread and iteration: milliseconds of work, beside which starting the threads is little.
const MANY: usize = 1_000_000;
const FEW: usize = 50_000;

/// All threads read at once, each so many times; from the first that begins to the last that ends.
fn asked<const CALLS: usize>(
    name: &str,
    threads: usize,
    ask: impl Fn() -> bool + Sync + 'static,
) -> Lane {
    Lane::new(name, move |iterations| {
        let gate = Barrier::new(threads);
        let asker = || {
            gate.wait();
            let start = Instant::now();
            for _ in 0..iterations as usize * CALLS {
                black_box(black_box(&ask)());
            }
            (start, Instant::now())
        };
        span(&on_threads(threads, asker))
    })
}

fn cancel(waiters: usize) -> Race {
    // A single wake is too short for the clock: many contexts then, one after the other.
    let contexts = (1000 / waiters).max(1);
    let ours = move || awaited(contexts, waiters, fresh, |(ctx, _)| ctx.done());
    let token = |token: &CancellationToken| token.clone().cancelled_owned();
    let tokens = move || awaited(contexts, waiters, CancellationToken::new, token);
    let units = (waiters * contexts, "waiter");
    let ours = Lane::staged("failfast", ours, |all| {
        each(all, |(_, canceller)| canceller.cancel())
    });
    Race::new(format!("cancel, waiters: {waiters}"), units, ours).against(Lane::staged(
        "CancellationToken",
        tokens,
        |all| each(all, CancellationToken::cancel),
    ))
}

type Waiter = Pin<Box<dyn Future<Output = ()>>>;

/// So many contexts, each with so many waiters, polled once and pending.
fn awaited<C, F: Future<Output = ()> + 'static>(
    contexts: usize,
    waiters: usize,
    context: impl Fn() -> C,
    done: impl Fn(&C) -> F,
) -> Vec<(C, Vec<Waiter>)> {
    let waiting = |context: &C| -> Waiter {
        let mut waiter = Box::pin(done(context));
        assert!(poll_once(&mut waiter).is_pending());
        waiter
    };
    let awaited = |_| {
        let context = context();
        let waiters = (0..waiters).map(|_| waiting(&context)).collect();
        (context, waiters)
    };
    (0..contexts).map(awaited).collect()
}

fn each<C>(all: &[(C, Vec<Waiter>)], cancel: impl Fn(&C)) {
    all.iter().for_each(|(context, _)| cancel(context));
}

fn deadline() -> Race {
    let ours = Lane::tight("failfast", || expecting(DEADLINE));
    Race::new(
        "a context with a deadline, waited on once and dropped",
        (1, "deadline"),
        ours,
    )
    .against(
        Lane::tight("a futures-timer Delay of its own", || armed(DEADLINE)).must(goal(0.35, 0.15)),
    )
}

fn deadline_among_many() -> Race {
    let title = format!("the same among {LIVE} live ones");
    Race::new(title, (1, "deadline"), among_many("failfast", expecting))
        .against(among_many("a futures-timer Delay of its own", armed))
}

/// The live ones are armed before the first round, and dropped with the lane.
fn among_many<T: 'static>(name: &str, arm: fn(Duration) -> T) -> Lane {
    let mut live = None;
    Lane::tight(name, move || {
        live.get_or_insert_with(|| many(arm));
        arm(DEADLINE)
    })
}

fn many_deadlines() -> Race {
    let title = format!("{LIVE} deadlines armed, then dropped");
    Race::new(
        title,
        (LIVE, "deadline"),
        Lane::tight("failfast", || many(expecting)),
    )
    .against(Lane::tight("futures-timer Delays", || many(armed)))
}

/// A context whose deadline is awaited.
fn expecting(after: Duration) -> (Context, Done) {
    let ctx = Context::background().with_timeout(after);
    let mut done = ctx.done();
    assert!(poll_once(&mut done).is_pending());
    (ctx, done)
}

fn armed(after: Duration) -> Delay {
    let mut delay = Delay::new(after);
    assert!(poll_once(&mut delay).is_pending());
    delay
}

/// So many at once, an hour away, a microsecond apart.
fn many<T>(arm: impl Fn(Duration) -> T) -> Vec<T> {
    const HOUR: Duration = Duration::from_secs(3600);
    (0..LIVE as u64)
        .map(|at| arm(HOUR + Duration::from_micros(at)))
        .collect()
}
