//! Fan-outs: n tasks that yield once, all results returned, in order, within 5 s.

use failfast::{Context, Group, LocalGroup};
use futures::future::try_join_all;
use futures_concurrency::future::TryJoin;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zksync_concurrency::{ctx, scope};

use crate::floor;
use crate::harness::{Goal, Lane, Race, goal};
use crate::hosts::{AsyncStd, Drive, Host, Local, Outside, Smol, Tokio};
use crate::work::{DEADLINE, Outcome, in_time, work};

const SIZES: [usize; 4] = [2, 16, 256, 4096];

pub(crate) fn races() -> Vec<Race> {
    let mut races = Vec::new();
    let (smol, smol_2) = (Smol::one_thread(), Smol::two_threads());
    let (tokio, tokio_2) = (Tokio::current_thread(), Tokio::two_threads());
    for n in SIZES {
        races.push(tokio_peers(race("tokio", tokio, n, on_tokio(n)), tokio, n));
        races.push(tasks_alone(tokio, n));
        races.push(in_place_too(race("smol", smol, n, on_smol(n)), smol, n));
        races.push(local_race("smol LocalExecutor", n));
        races.push(race("smol, 2 threads", smol_2, n, two_threads(n)));
        let race_2 = race("tokio, 2 threads", tokio_2, n, two_threads(n));
        races.push(tokio_2_peers(race_2, tokio_2, n));
        races.push(race("async-std", AsyncStd, n, None));
    }
    let title = "smol, the caller on a thread outside";
    races.push(race(title, Outside::new(), 2, None));
    races
}

/// Against a bare spawn and join, on one thread.
fn on_tokio(n: usize) -> Option<Goal> {
    Some(match n {
        2 => goal(1.60, 1.25),
        16 => goal(1.30, 1.17),
        _ => goal(1.25, 1.17),
    })
}

fn on_smol(n: usize) -> Option<Goal> {
    Some(match n {
        2 => goal(1.90, 1.45),
        16 => goal(1.55, 1.40),
        _ => goal(1.45, 1.40),
    })
}

fn two_threads(n: usize) -> Option<Goal> {
    (n == 256).then_some(goal(1.35, 1.20))
}

fn against_tokens(n: usize) -> Option<Goal> {
    match n {
        2 => Some(goal(0.80, 0.62)),
        16 => Some(goal(0.65, 0.55)),
        _ => None,
    }
}

fn against_join_set(n: usize) -> Option<Goal> {
    (n >= 256).then_some(goal(0.88, 0.80))
}

fn against_scope(n: usize) -> Option<Goal> {
    match n {
        2 => Some(goal(0.60, 0.50)),
        256 => Some(goal(1.00, 0.93)),
        _ => None,
    }
}

fn race<H: Host>(name: &str, host: H, n: usize, goal: Option<Goal>) -> Race {
    let judged = host.lane("failfast", move || ours(host, n));
    judge(name, judged, host, n, goal)
}

fn local_race(name: &str, n: usize) -> Race {
    let judged = Local.local_lane("failfast LocalGroup", move || ours_local(n));
    judge(name, judged, Local, n, on_smol(n))
}

fn judge<H: Host>(name: &str, judged: Lane, host: H, n: usize, goal: Option<Goal>) -> Race {
    let bare = host.lane("bare spawn and join", move || bare(host, n));
    Race::new(format!("fan-out of {n} on {name}"), (n, "task"), judged)
        .against(bare.must(goal))
        .against(host.lane("the floor: a box a task", move || floor::fan_out(host, n)))
        .against(host.lane("by hand: spawn, try_join, select", move || by_hand(host, n)))
}

fn in_place_too<H: Host>(race: Race, host: H, n: usize) -> Race {
    let concurrency = move || concurrency(n);
    race.against(host.lane("try_join_all, select (doesn't spawn)", move || unspawned(n)))
        .against(host.lane("futures-concurrency, select (doesn't spawn)", concurrency))
}

fn tokio_peers(race: Race, host: Tokio, n: usize) -> Race {
    let race = race.against(with_tokens(host, n).must(against_tokens(n)));
    without_contexts(race, host, n)
}

fn tokio_2_peers(race: Race, host: Tokio, n: usize) -> Race {
    let goal = (n == 256).then_some(goal(0.65, 0.50));
    race.against(with_tokens(host, n).must(goal))
        .against(without_tokens(host, n))
}

/// As the others' tasks are: without a context in each, and without a handle that is kept for it.
fn tasks_alone(host: Tokio, n: usize) -> Race {
    let judged = host.lane("failfast", move || ours_alone(n));
    let name = "tokio, tasks detached and without contexts";
    without_contexts(judge(name, judged, host, n, on_tokio(n)), host, n)
}

/// Peers whose tasks have none.
fn without_contexts(race: Race, host: Tokio, n: usize) -> Race {
    let scope = host.lane("zksync_concurrency scope", move || scope(n));
    race.against(without_tokens(host, n).must(against_join_set(n)))
        .against(scope.must(against_scope(n)))
}

fn with_tokens(host: Tokio, n: usize) -> Lane {
    host.lane("JoinSet + CancellationToken + timeout", move || tokens(n))
}

fn without_tokens(host: Tokio, n: usize) -> Lane {
    host.lane("JoinSet + timeout", move || join_set(n))
}

/// A group with a deadline, and a context that travels with each task.
pub(crate) async fn ours<H: Host>(host: H, n: usize) -> Vec<usize> {
    let parent = Context::background().with_timeout(DEADLINE);
    let (group, ctx) = Group::with_context(&parent, host.spawner());
    (0..n).for_each(|answer| group.spawn(heedless(ctx.clone(), answer)));
    group.wait().await.expect("work succeeds")
}

async fn ours_alone(n: usize) -> Vec<usize> {
    let parent = Context::background().with_timeout(DEADLINE);
    let (group, _) = Group::with_context(&parent, |task| drop(tokio::spawn(task)));
    (0..n).for_each(|answer| group.spawn(work(answer)));
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
pub(crate) async fn bare<H: Host>(host: H, n: usize) -> Vec<usize> {
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

async fn tokens(n: usize) -> Vec<usize> {
    let token = CancellationToken::new();
    collected(n, |answer| observed(token.clone(), answer)).await
}

pub(crate) async fn join_set(n: usize) -> Vec<usize> {
    collected(n, work).await
}

async fn collected<F>(n: usize, task: impl Fn(usize) -> F) -> Vec<usize>
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut set = JoinSet::new();
    for at in 0..n {
        let task = task(at);
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
        .expect("without a cancel")
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
