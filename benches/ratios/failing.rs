//! Fail-fast latency: all but one hang, that one fails; how long until the waiter has the error and no task is left?

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use failfast::Group;
use futures::channel::oneshot;
use futures::stream::{FuturesUnordered, StreamExt, TryStreamExt};
use tokio::task::JoinSet;

use crate::harness::{Race, goal};
use crate::hosts::{Drive, Host, Smol, Tokio};
use crate::work::{Outcome, all_hang, hang, poll_once};

const SIZES: [usize; 2] = [256, 4096];

pub(crate) fn races() -> Vec<Race> {
    let (tokio, tokio_2) = (Tokio::current_thread(), Tokio::two_threads());
    let smol = Smol::one_thread();
    let on = |n| {
        [
            on_tokio("tokio", tokio, n),
            on_tokio("tokio, 2 threads", tokio_2, n),
            on_smol(smol, n),
        ]
    };
    SIZES.into_iter().flat_map(on).collect()
}

fn title(name: &str, n: usize) -> String {
    format!(
        "one fails, {} pending, until all are gone, on {name}",
        n - 1
    )
}

fn on_tokio(name: &str, host: Tokio, n: usize) -> Race {
    let goal = (n == 4096).then_some(goal(0.85, 0.75));
    Race::new(
        title(name, n),
        (n, "task"),
        host.stopwatch("failfast", move || ours(host, n)),
    )
    .against(
        host.stopwatch("JoinSet shutdown", move || shutdown(n))
            .must(goal),
    )
    .against(host.stopwatch("JoinSet abort_all and join", move || abort_all(n)))
}

fn on_smol(host: Smol, n: usize) -> Race {
    Race::new(
        title("smol", n),
        (n, "task"),
        host.stopwatch("failfast", move || ours(host, n)),
    )
    .against(
        host.stopwatch("bare: FuturesUnordered, then cancel each", move || {
            cancel_each(host, n)
        }),
    )
}

/// Fails on demand.
async fn fail(told: oneshot::Receiver<()>) -> Outcome {
    let _ = told.await;
    Err(io::ErrorKind::ConnectionRefused.into())
}

/// The tasks of one iteration: so many hang, and one fails on command.
fn tasks(
    n: usize,
) -> (
    impl Iterator<Item = impl Future<Output = Outcome> + Send>,
    Failing,
) {
    let (tell, told) = oneshot::channel();
    let started = Arc::new(AtomicUsize::new(0));
    let failing = Failing {
        tell,
        started: started.clone(),
        pending: n - 1,
    };
    let mut told = Some(told);
    let task = move |at: usize| {
        let (started, told) = (
            started.clone(),
            if at == n / 2 { told.take() } else { None },
        );
        async move {
            match told {
                Some(told) => fail(told).await,
                None => hang(&started).await,
            }
        }
    };
    ((0..n).map(task), failing)
}

/// The hand on the trigger.
struct Failing {
    tell: oneshot::Sender<()>,
    started: Arc<AtomicUsize>,
    pending: usize,
}

impl Failing {
    /// Waits until all others hang, and then makes the one fail, which starts the watch.
    async fn now(self) -> Instant {
        all_hang(&self.started, self.pending).await;
        let start = Instant::now();
        let _ = self.tell.send(());
        start
    }
}

async fn ours<H: Host>(host: H, n: usize) -> Duration {
    let (tasks, failing) = tasks(n);
    let group = Group::new(host.spawner());
    tasks.for_each(|task| group.spawn(task));
    let start = failing.now().await;
    group.wait().await.expect_err("one of them fails");
    start.elapsed()
}

async fn joined(n: usize) -> (JoinSet<Outcome>, Instant) {
    let (tasks, failing) = tasks(n);
    let mut set: JoinSet<Outcome> = tasks.collect();
    let start = failing.now().await;
    let first = set
        .join_next()
        .await
        .expect("one of them fails")
        .expect("none panics");
    first.expect_err("only the failing task ends");
    (set, start)
}

async fn shutdown(n: usize) -> Duration {
    let (mut set, start) = joined(n).await;
    set.shutdown().await;
    start.elapsed()
}

async fn abort_all(n: usize) -> Duration {
    let (mut set, start) = joined(n).await;
    set.abort_all();
    while set.join_next().await.is_some() {}
    start.elapsed()
}

async fn cancel_each(host: Smol, n: usize) -> Duration {
    let (tasks, failing) = tasks(n);
    let mut set: FuturesUnordered<_> = tasks.map(|task| host.spawn(task)).collect();
    assert!(poll_once(&mut set.next()).is_pending());
    let start = failing.now().await;
    set.try_next()
        .await
        .expect_err("only the failing task ends");
    for task in set {
        task.cancel().await;
    }
    start.elapsed()
}
