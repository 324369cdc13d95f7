//! A server's requests: each has a context of its own, with a deadline, under a root, and two tasks in place.
//!
//! What they share is the root. So the question is what the threads cost each other: nothing, if each has a root
//! of its own, and next to nothing if there is one for all.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Barrier;
use std::time::Instant;

use failfast::{Canceller, Context, InPlaceGroup};
use futures::executor::block_on;
use futures::future::try_join;
use tokio_util::sync::CancellationToken;

use crate::harness::{Goal, Lane, Race, goal, on_threads, span};
use crate::work::{DEADLINE, work};

const GOAL: Goal = goal(1.15, 1.05);

/// Requests a thread and iteration: enough for starting the threads to be nothing.
const CALLS: usize = 256;

pub(crate) fn races() -> Vec<Race> {
    let token = CancellationToken::new;
    vec![
        Race::new(
            "requests of two tasks, two threads",
            UNITS,
            shared("failfast, one shared root", 2, root, ours),
        )
        .against(own("failfast, a root each", 2, root, ours).must(GOAL))
        .against(shared(
            "tokens, no deadline, one shared root",
            2,
            token,
            tokens,
        ))
        .against(own("tokens, no deadline, a root each", 2, token, tokens)),
        Race::new(
            "requests of two tasks, a root each",
            UNITS,
            own("failfast, two threads", 2, root, ours),
        )
        .against(own("failfast, one thread", 1, root, ours).must(GOAL))
        .against(own("tokens, no deadline, two threads", 2, token, tokens))
        .against(own("tokens, no deadline, one thread", 1, token, tokens)),
    ]
}

const UNITS: (usize, &str) = (CALLS, "request");

fn root() -> (Context, Canceller) {
    Context::background().with_cancel()
}

async fn ours(root: &(Context, Canceller)) -> Vec<usize> {
    let group = InPlaceGroup::new(&root.0.with_timeout(DEADLINE));
    (0..2).for_each(|answer| group.spawn(work(answer)));
    group.wait().await.expect("work succeeds")
}

async fn tokens(root: &CancellationToken) -> Option<(usize, usize)> {
    let token = root.child_token();
    let both = async { try_join(pin!(work(0)), pin!(work(1))).await };
    let answers = token.run_until_cancelled_owned(both).await;
    answers.map(|answers| answers.expect("work succeeds"))
}

fn shared<R, T>(
    name: &str,
    threads: usize,
    root: fn() -> R,
    request: impl AsyncFn(&R) -> T + Sync + Copy + 'static,
) -> Lane
where
    R: Sync + 'static,
{
    let root = root();
    lane(name, threads, move |calls| serve(calls, &root, request))
}

fn own<R, T>(
    name: &str,
    threads: usize,
    root: fn() -> R,
    request: impl AsyncFn(&R) -> T + Sync + Copy + 'static,
) -> Lane
where
    R: 'static,
{
    lane(name, threads, move |calls| serve(calls, &root(), request))
}

fn serve<R, T>(calls: usize, root: &R, request: impl AsyncFn(&R) -> T) {
    block_on(async {
        for _ in 0..calls {
            black_box(request(root).await);
        }
    });
}

/// So many threads at once, each with so many calls.
fn lane(name: &str, threads: usize, serve: impl Fn(usize) + Sync + 'static) -> Lane {
    Lane::new(name, move |iterations| {
        let gate = Barrier::new(threads);
        let thread = || {
            gate.wait();
            let start = Instant::now();
            serve(iterations as usize * CALLS);
            (start, Instant::now())
        };
        span(&on_threads(threads, thread))
    })
}
