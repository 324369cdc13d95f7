//! A source whose work holds what can't leave its thread: the message names the variable.

use failfast::{Aggregator, Context};
use std::fmt::Error;
use std::rc::Rc;

async fn profile(_: Context, id: u64) -> Result<u64, Error> {
    let shared = Rc::new(id);
    smol::future::yield_now().await;
    Ok(*shared)
}

fn main() {
    let aggregator = Aggregator::new(smol::spawn).source("profile", profile);
    drop(aggregator);
}
