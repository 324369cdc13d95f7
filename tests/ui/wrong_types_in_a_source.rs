//! A source that leaves out the context, and one that answers another request than the others.

use failfast::{Aggregator, Context};
use std::fmt::Error;

async fn profile(_: Context, id: u64) -> Result<u64, Error> {
    Ok(id)
}

async fn orders(_: Context, name: String) -> Result<String, Error> {
    Ok(name)
}

fn main() {
    let without_context = Aggregator::<u64, ()>::new(smol::spawn)
        .source("profile", |id: u64| async move { Ok::<_, Error>(id) });
    drop(without_context);

    let mixed = Aggregator::new(smol::spawn).source("profile", profile).source("orders", orders);
    drop(mixed);
}
