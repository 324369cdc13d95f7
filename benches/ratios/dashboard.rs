//! The two-source dashboard: profile and orders, both or nothing, within 5 s.

use std::io;
use std::pin::pin;

use futures::future::try_join;

use crate::harness::Race;
use crate::hosts::{AsyncStd, Caller, Drive, Host, Local, Smol, Tokio};
use crate::work::{in_time, yield_once};

pub(crate) fn races() -> Vec<Race> {
    let (smol, smol_2) = (Smol::one_thread(), Smol::two_threads());
    let (tokio, tokio_2) = (Tokio::current_thread(), Tokio::two_threads());
    vec![
        spawned("smol", smol, 1.00),
        spawned("smol, 2 threads", smol_2, None),
        spawned("smol LocalExecutor", Local, 1.00),
        spawned("tokio", tokio, 1.00),
        spawned("tokio, 2 threads", tokio_2, None),
        spawned("async-std", AsyncStd, None),
        in_place("block_on", Caller),
        in_place("a smol task", smol),
        in_place("a tokio task", tokio),
    ]
}

fn spawned<H: Host>(name: &str, host: H, target: impl Into<Option<f64>>) -> Race {
    let by_hand = host.lane("by hand: spawn, try_join, select", move || by_hand(host));
    Race::new(
        format!("two-source dashboard on {name}"),
        (1, "call"),
        host.lane("failfast", move || ours(host)),
    )
    .against(by_hand.aim(target))
}

fn in_place(name: &str, host: impl Drive) -> Race {
    let by_hand = host.lane("by hand: try_join, select, no spawn", unspawned);
    Race::new(
        format!("two-source dashboard in place, in {name}"),
        (1, "call"),
        host.lane("failfast", ours_in_place),
    )
    .against(by_hand.aim(1.00))
}

async fn profile(request: u32) -> io::Result<String> {
    yield_once().await;
    Ok(format!("Name: {request}"))
}

async fn orders(request: u32) -> io::Result<u32> {
    yield_once().await;
    Ok(request)
}

/// Stand-ins until the library has its aggregator.
async fn ours<H: Host>(host: H) -> (String, u32) {
    by_hand(host).await
}

async fn ours_in_place() -> (String, u32) {
    unspawned().await
}

async fn by_hand<H: Host>(host: H) -> (String, u32) {
    let (profile, orders) = (host.spawn(profile(7)), host.spawn(orders(7)));
    in_time(try_join(profile, orders)).await
}

async fn unspawned() -> (String, u32) {
    in_time(try_join(pin!(profile(7)), pin!(orders(7)))).await
}
