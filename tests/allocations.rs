//! Exact allocation counts: at most two a task, the executor's included, one where the thread keeps the memory of tasks
//! that have ended, and four an aggregation beyond its tasks'.
//!
//! A binary of its own, because it counts with the global allocator.

mod counting;

use std::future::{Future, poll_fn};
use std::io;
use std::task::Poll;
use std::time::Duration;

use counting::allocated;
use failfast::{Aggregator, Context, Group};
use tokio::runtime::Builder;

/// How many allocations `once` makes when run as a task: on a thread that has run no task yet, and after a run in
/// which everything has grown that grows once.
///
/// On tokio's current-thread runtime, because its queue keeps the room it once had: a task costs exactly one
/// allocation, where smol's queue adds a block for every 31.
fn allocations<F>(once: impl Fn() -> F + Send) -> Allocations
where
    F: Future<Output = ()> + Send + 'static,
{
    // A thread of its own, which keeps nothing.
    std::thread::scope(|scope| scope.spawn(|| count_twice(once)).join().expect("no panic"))
}

#[derive(Clone, Copy)]
struct Allocations {
    first: usize,
    later: usize,
}

fn count_twice<F>(once: impl Fn() -> F) -> Allocations
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let run = || {
        let task = once();
        let counted = async {
            let before = allocated();
            task.await;
            allocated() - before
        };
        runtime.block_on(async { tokio::spawn(counted).await.expect("no panic") })
    };
    Allocations {
        first: run(),
        later: run(),
    }
}

/// Two sizes, so that what a fan-out allocates once cancels out: close to each other, so that nothing that grows
/// in steps takes one between them, and below 128 awaits in one poll, at which tokio makes a task yield, and
/// allocates for it.
const FEW: usize = 100;
const MORE: usize = 125;
const DEADLINE: Duration = Duration::from_secs(5);

async fn yield_and(answer: usize) -> io::Result<usize> {
    let mut yielded = false;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if std::mem::replace(&mut yielded, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    Ok(answer)
}

#[test]
fn the_executor_alone_allocates_once_a_task() {
    let bare = |n| {
        move || async move {
            let mut tasks = Vec::with_capacity(n);
            tasks.extend((0..n).map(|answer| tokio::spawn(yield_and(answer))));
            for task in tasks {
                task.await.expect("no panic").expect("no failure");
            }
        }
    };
    let (few, more) = (allocations(bare(FEW)), allocations(bare(MORE)));
    assert_eq!(more.first - few.first, MORE - FEW);
    assert_eq!(more.later - few.later, MORE - FEW);
}

async fn fan_out(n: usize) {
    let parent = Context::background().with_timeout(DEADLINE);
    let (group, ctx) = Group::with_context(&parent, tokio::spawn);
    for answer in 0..n {
        let ctx = ctx.clone();
        group.spawn(async move {
            let _ctx = ctx;
            yield_and(answer).await
        });
    }
    group.wait().await.expect("no failure");
}

#[test]
fn a_group_and_its_executor_allocate_twice_a_task() {
    let (few, more) = (allocations(|| fan_out(FEW)), allocations(|| fan_out(MORE)));
    assert!(more.first - few.first <= 2 * (MORE - FEW));
}

#[test]
fn a_group_allocates_nothing_a_task_where_as_many_have_ended_on_the_thread() {
    let (few, more) = (allocations(|| fan_out(FEW)), allocations(|| fan_out(MORE)));
    assert_eq!(more.later - few.later, MORE - FEW, "the executor's own");
}

#[test]
fn an_aggregation_allocates_at_most_four_times_beyond_its_tasks() {
    const CALLS: usize = 16;
    let one = async |_: Context, answer: usize| yield_and(answer).await;
    let dashboard = Aggregator::new(tokio::spawn)
        .source("profile", one)
        .source("orders", one);
    let all = allocations(|| {
        let dashboard = dashboard.clone();
        async move {
            for _ in 0..CALLS {
                dashboard
                    .aggregate(&Context::background(), 7)
                    .await
                    .expect("both answer");
            }
        }
    });
    let tasks = 2 * 2;
    assert!(
        all.first <= CALLS * (tasks + 4),
        "{} in {CALLS} calls",
        all.first
    );
    let tasks = 2; // the executor's
    assert!(
        all.later <= CALLS * (tasks + 4),
        "{} in {CALLS} calls",
        all.later
    );
}

/// Nothing reads why it ended, so that no end is made.
#[test]
fn a_context_that_is_canceled_and_dropped_allocates_itself_alone() {
    let background = Context::background();
    let parent = background.with_timeout(DEADLINE);
    for (name, parent) in [("the background", &background), ("a deadline", &parent)] {
        let before = allocated();
        drop(parent.with_cancel()); // the canceller's drop is the end
        assert_eq!(allocated() - before, 1, "dropped, below {name}");
        let (ctx, canceller) = parent.with_cancel();
        canceller.cancel();
        assert!(ctx.is_done());
        drop((ctx, canceller));
        assert_eq!(allocated() - before, 2, "canceled, below {name}");
    }
    let (ctx, canceller) = parent.with_cancel();
    canceller.cancel();
    assert_eq!(
        ctx.cause().unwrap().to_string(),
        "context canceled",
        "made when it is read"
    );
}
