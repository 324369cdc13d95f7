//! The two-source dashboard: profile and orders, both or nothing, within 5 s.

use std::io;
use std::pin::pin;

use failfast::{Aggregator, Context, LocalAggregator};
use futures::future::try_join;

use crate::harness::{Goal, Lane, Race, goal};
use crate::hosts::{AsyncStd, Caller, Drive, Host, Local, Smol, Tokio};
use crate::work::{DEADLINE, in_time, yield_once};

const SPAWNED: Goal = goal(1.15, 1.00);
const IN_PLACE: Goal = goal(1.20, 1.00);

pub(crate) fn races() -> Vec<Race> {
    let (smol, smol_2) = (Smol::one_thread(), Smol::two_threads());
    let (tokio, tokio_2) = (Tokio::current_thread(), Tokio::two_threads());
    vec![
        spawned("smol", smol, SPAWNED),
        spawned("smol, 2 threads", smol_2, None),
        spawned_locally(),
        spawned("tokio", tokio, SPAWNED),
        spawned("tokio, 2 threads", tokio_2, None),
        spawned("async-std", AsyncStd, None),
        in_place("block_on", Caller),
        in_place("a smol task", smol),
        in_place("a tokio task", tokio),
    ]
}

fn spawned<H: Host>(name: &str, host: H, goal: impl Into<Option<Goal>>) -> Race {
    let by_hand = host.lane("by hand: spawn, try_join, select", move || by_hand(host));
    Race::new(
        format!("two-source dashboard on {name}"),
        (1, "call"),
        ours(host),
    )
    .against(by_hand.must(goal))
}

fn spawned_locally() -> Race {
    let by_hand = Local.lane("by hand: spawn, try_join, select", move || by_hand(Local));
    let title = "two-source dashboard on smol LocalExecutor";
    Race::new(title, (1, "call"), ours_locally()).against(by_hand.must(SPAWNED))
}

fn in_place(name: &str, host: impl Drive) -> Race {
    let by_hand = host.lane("by hand: try_join, select, no spawn", unspawned);
    Race::new(
        format!("two-source dashboard in place, in {name}"),
        (1, "call"),
        ours_in_place(host),
    )
    .against(by_hand.must(IN_PLACE))
}

async fn profile(request: u32) -> io::Result<String> {
    yield_once().await;
    Ok(format!("Name: {request}"))
}

async fn orders(request: u32) -> io::Result<u32> {
    yield_once().await;
    Ok(request)
}

/// Built once, as an aggregator is; each call has a context of its own, as a request has.
fn ours<H: Host>(host: H) -> Lane {
    let dashboard = Aggregator::new(host.spawner())
        .with_timeout(DEADLINE)
        .source("profile", |_: Context, request| profile(request))
        .source("orders", |_: Context, request| orders(request));
    let dashboard = &*Box::leak(Box::new(dashboard));
    host.lane("failfast", move || async move {
        dashboard.aggregate(&Context::background(), 7).await
    })
}

fn ours_locally() -> Lane {
    let dashboard = LocalAggregator::new(|task| Local::executor().spawn(task))
        .with_timeout(DEADLINE)
        .source("profile", |_: Context, request| profile(request))
        .source("orders", |_: Context, request| orders(request));
    let dashboard = &*Box::leak(Box::new(dashboard));
    Local.local_lane("failfast", move || async move {
        dashboard.aggregate(&Context::background(), 7).await
    })
}

fn ours_in_place(host: impl Drive) -> Lane {
    let dashboard = Aggregator::in_place()
        .with_timeout(DEADLINE)
        .source("profile", |_: Context, request| profile(request))
        .source("orders", |_: Context, request| orders(request));
    let dashboard = &*Box::leak(Box::new(dashboard));
    host.lane("failfast", move || async move {
        dashboard.aggregate(&Context::background(), 7).await
    })
}

async fn by_hand<H: Host>(host: H) -> (String, u32) {
    let (profile, orders) = (host.spawn(profile(7)), host.spawn(orders(7)));
    in_time(try_join(profile, orders)).await
}

async fn unspawned() -> (String, u32) {
    in_time(try_join(pin!(profile(7)), pin!(orders(7)))).await
}
