//! The feature `tracing` with a plain `tracing-subscriber`: the tree of spans, as the fan-out runs.
//!
//! ```text
//! cargo run --example tracing --features tracing
//! ```
//!
//! Each line shows the spans around it: what a source logs is inside the span of its task, and that inside the span
//! of the aggregation. When a span closes, its fields show how its task ended, and after how long.

use failfast::{Aggregator, BoxError, Context};
use std::time::Duration;
use tracing_subscriber::fmt::format::FmtSpan;

fn main() {
    tracing_subscriber::fmt()
        .with_span_events(FmtSpan::CLOSE)
        .with_target(false)
        .without_time()
        .init();
    let request = tracing::info_span!("request", id = 7);
    let answer = request.in_scope(|| smol::block_on(page(7)));
    println!("{answer:?}");
}

async fn page(id: u64) -> Result<String, failfast::Error> {
    Aggregator::new(smol::spawn)
        .with_name("page")
        .source("profile", profile)
        .source("orders", orders)
        .source("ads", ads)
        .join(" | ")
        .aggregate(&Context::background(), id)
        .await
}

async fn profile(ctx: Context, id: u64) -> Result<String, BoxError> {
    ctx.sleep(Duration::from_millis(10)).await?;
    tracing::info!("asking the database"); // inside the span of the task `profile`
    ctx.sleep(Duration::from_millis(10)).await?;
    Ok(format!("user {id}"))
}

async fn orders(ctx: Context, _: u64) -> Result<u32, BoxError> {
    ctx.sleep(Duration::from_millis(30)).await?;
    Err("connection refused".into())
}

async fn ads(ctx: Context, _: u64) -> Result<&'static str, BoxError> {
    ctx.sleep(Duration::from_secs(10)).await?;
    Ok("buy")
}
