//! Many tasks in place: no executor, the waiting task polls them.

use failfast::{Context, InPlaceGroup};
use futures::future::{FutureExt, try_join_all};
use futures::stream::{FuturesOrdered, FuturesUnordered, TryStreamExt};
use futures_concurrency::future::TryJoin;

use crate::harness::{Race, goal};
use crate::hosts::{Caller, Drive, Smol};
use crate::work::{DEADLINE, work};

const SIZES: [usize; 2] = [16, 256];

pub(crate) fn races() -> Vec<Race> {
    let smol = Smol::one_thread();
    let on = |n| [race("block_on", Caller, n), race("a smol task", smol, n)];
    SIZES.into_iter().flat_map(on).collect()
}

/// FuturesUnordered returns to its executor after every second task that woke itself, which costs it more in
/// a task than under a plain `block_on`. The peers have neither a deadline nor a context; we have both.
fn race(name: &str, host: impl Drive, n: usize) -> Race {
    let goals = |must, aim| (n == 256).then_some(goal(must, aim));
    Race::new(
        format!("{n} tasks in place, in {name}"),
        (n, "task"),
        host.lane("failfast", move || ours(n)),
    )
    .against(
        host.lane("FuturesUnordered", move || unordered(n))
            .must(goals(1.00, 0.90)),
    )
    .against(host.lane("FuturesOrdered", move || ordered(n)))
    .against(host.lane("try_join_all", move || join_all(n)))
    .against(
        host.lane("futures-concurrency", move || concurrency(n))
            .must(goals(1.70, 1.20)),
    )
}

async fn ours(n: usize) -> Vec<usize> {
    let group = InPlaceGroup::new(&Context::background().with_timeout(DEADLINE));
    (0..n).for_each(|answer| group.spawn(work(answer)));
    group.wait().await.expect("work succeeds")
}

async fn unordered(n: usize) -> Vec<usize> {
    let mut answers = vec![0; n];
    let mut tasks: FuturesUnordered<_> = (0..n)
        .map(|at| work(at).map(move |answer| answer.map(|answer| (at, answer))))
        .collect();
    while let Some((at, answer)) = tasks.try_next().await.expect("work succeeds") {
        answers[at] = answer;
    }
    answers
}

async fn ordered(n: usize) -> Vec<usize> {
    (0..n)
        .map(work)
        .collect::<FuturesOrdered<_>>()
        .try_collect()
        .await
        .expect("work succeeds")
}

async fn join_all(n: usize) -> Vec<usize> {
    try_join_all((0..n).map(work)).await.expect("work succeeds")
}

async fn concurrency(n: usize) -> Vec<usize> {
    let tasks: Vec<_> = (0..n).map(work).collect();
    tasks.try_join().await.expect("work succeeds")
}
