//! Fan-outs: n tasks that yield once, all results wanted, in order, within 5 s.

use failfast::{Context, Group, LocalGroup};
use futures::future::try_join_all;
use futures_concurrency::future::TryJoin;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zksync_concurrency::{ctx, scope};

use crate::harness::{Lane, Race};
use crate::hosts::{AsyncStd, Drive, Host, Local, Outside, Smol, Tokio};
use crate::work::{DEADLINE, Outcome, in_time, work};

const SIZES: [usize; 4] = [2, 16, 256, 4096];

pub(crate) fn races() -> Vec<Race> {
    let mut races = Vec::new();
    let (smol, smol_2) = (Smol::one_thread(), Smol::two_threads());
    let (tokio, tokio_2) = (Tokio::current_thread(), Tokio::two_threads());
    let outside = Outside::new();
    for n in SIZES {
        races.push(in_place_too(race("smol", smol, n, one_thread(n)), smol, n));
        races.push(race("smol, 2 threads", smol_2, n, two_threads(n)));
        races.push(local_race("smol LocalExecutor", n));
        races.push(tokio_peers(
            race("tokio", tokio, n, one_thread(n)),
            tokio,
            n,
        ));
        races.push(tokio_peers(
            race("tokio, 2 threads", tokio_2, n, two_threads(n)),
            tokio_2,
            n,
        ));
        races.push(race("async-std", AsyncStd, n, None));
    }
    races.push(race(
        "smol, the caller on a thread outside",
        outside,
        2,
        None,
    ));
    races
}

fn one_thread(n: usize) -> Option<f64> {
    match n {
        2 => Some(1.30),
        256 | 4096 => Some(1.10),
        _ => None,
    }
}

fn two_threads(n: usize) -> Option<f64> {
    (n == 256).then_some(1.20)
}

fn race<H: Host>(name: &str, host: H, n: usize, target: Option<f64>) -> Race {
    judge(
        name,
        host.lane("failfast", move || ours(host, n)),
        host,
        n,
        target,
    )
}

fn local_race(name: &str, n: usize) -> Race {
    judge(
        name,
        Local.local_lane("failfast LocalGroup", move || ours_local(n)),
        Local,
        n,
        one_thread(n),
    )
}

fn judge<H: Host>(name: &str, judged: Lane, host: H, n: usize, target: Option<f64>) -> Race {
    Race::new(format!("fan-out of {n} on {name}"), (n, "task"), judged)
        .against(
            host.lane("bare spawn and join", move || bare(host, n))
                .aim(target),
        )
        .against(host.lane("by hand: spawn, try_join, select", move || by_hand(host, n)))
}

fn in_place_too<H: Host>(race: Race, host: H, n: usize) -> Race {
    race.against(host.lane("try_join_all, select (doesn't spawn)", move || unspawned(n)))
        .against(
            host.lane("futures-concurrency, select (doesn't spawn)", move || {
                concurrency(n)
            }),
        )
}

fn tokio_peers(mut race: Race, host: Tokio, n: usize) -> Race {
    let half = (n >= 16).then_some(0.50);
    race = race
        .against(
            host.lane("JoinSet + CancellationToken + timeout", move || {
                join_set(n, observed)
            })
            .aim(half),
        )
        .against(
            host.lane("JoinSet + timeout, tokens passed but unused", move || {
                join_set(n, carried)
            }),
        );
    match n {
        2 => race.against(
            host.lane("zksync_concurrency scope", move || scope(n))
                .aim(0.45),
        ),
        256 => race.against(
            host.lane("zksync_concurrency scope", move || scope(n))
                .aim(0.85),
        ),
        _ => race,
    }
}

/// A group with a deadline, and a context that travels with each task.
async fn ours<H: Host>(host: H, n: usize) -> Vec<usize> {
    let parent = Context::background().with_timeout(DEADLINE);
    let (group, ctx) = Group::with_context(&parent, move |task| host.spawn(task));
    (0..n).for_each(|answer| group.spawn(heedless(ctx.clone(), answer)));
    group.wait().await.expect("work succeeds")
}

async fn ours_local(n: usize) -> Vec<usize> {
    let parent = Context::background().with_timeout(DEADLINE);
    let (group, ctx) = LocalGroup::with_context(&parent, |task| Local::executor().spawn(task));
    (0..n).for_each(|answer| group.spawn(heedless(ctx.clone(), answer)));
    group.wait().await.expect("work succeeds")
}

/// It has a context, and never looks at it: the group ends it all the same.
async fn heedless(ctx: Context, answer: usize) -> Outcome {
    let _ctx = ctx;
    work(answer).await
}

/// No deadline, no cancellation: what the executor itself costs.
async fn bare<H: Host>(host: H, n: usize) -> Vec<usize> {
    let tasks: Vec<_> = (0..n).map(|answer| host.spawn(work(answer))).collect();
    let mut answers = Vec::with_capacity(n);
    for task in tasks {
        answers.push(task.await.expect("work succeeds"));
    }
    answers
}

async fn by_hand<H: Host>(host: H, n: usize) -> Vec<usize> {
    in_time(try_join_all((0..n).map(|answer| host.spawn(work(answer))))).await
}

async fn unspawned(n: usize) -> Vec<usize> {
    in_time(try_join_all((0..n).map(work))).await
}

async fn concurrency(n: usize) -> Vec<usize> {
    let tasks: Vec<_> = (0..n).map(work).collect();
    in_time(tasks.try_join()).await
}

async fn join_set<F>(n: usize, task: impl Fn(CancellationToken, usize) -> F) -> Vec<usize>
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let token = CancellationToken::new();
    let mut set = JoinSet::new();
    for at in 0..n {
        let task = task(token.clone(), at);
        set.spawn(async move { (at, task.await) });
    }
    tokio::time::timeout(DEADLINE, in_order(set, n))
        .await
        .expect("nothing here takes 5 s")
}

/// The task heeds its token, as a task that is to be cancelled cooperatively does.
async fn observed(token: CancellationToken, answer: usize) -> Outcome {
    token
        .run_until_cancelled_owned(work(answer))
        .await
        .expect("nobody cancels")
}

/// The task ignores its token: only aborting would end it.
async fn carried(token: CancellationToken, answer: usize) -> Outcome {
    let _token = token;
    work(answer).await
}

async fn in_order(mut set: JoinSet<(usize, Outcome)>, n: usize) -> Vec<usize> {
    let mut answers = vec![0; n];
    while let Some(joined) = set.join_next().await {
        let (at, answer) = joined.expect("work does not panic");
        answers[at] = answer.expect("work succeeds");
    }
    answers
}

/// Borrowed slots: the cheapest way a scope has to bring results home.
async fn scope(n: usize) -> Vec<usize> {
    let mut answers = vec![0; n];
    let ctx = ctx::root().with_timeout(DEADLINE.try_into().expect("5 s fit"));
    let slots = &mut answers;
    scope::run!(&ctx, |_, scope| async move {
        for (answer, slot) in slots.iter_mut().enumerate() {
            scope.spawn(async move {
                *slot = work(answer).await?;
                std::io::Result::Ok(())
            });
        }
        Ok(())
    })
    .await
    .expect("work succeeds");
    answers
}
