//! Two services are called at once, under one deadline: `cargo run --example hello`.

use failfast::{Aggregator, Context, Error};
use std::io;
use std::time::Duration;

async fn profile(ctx: Context, user: u64) -> Result<String, io::Error> {
    // Stands for a call over the network, which would be given what is left of the time.
    let _ = ctx.remaining();
    Ok(format!("Name: Alice ({user})"))
}

async fn orders(_: Context, _: u64) -> Result<String, io::Error> {
    Ok("Order: 5".to_owned())
}

fn main() -> Result<(), Error> {
    let dashboard = Aggregator::new(smol::spawn)
        .with_timeout(Duration::from_secs(10))
        .source("profile", profile)
        .source("orders", orders)
        .join(" | ");
    let line = smol::block_on(dashboard.aggregate(&Context::background(), 7))?;
    println!("{line}");
    Ok(())
}
