//! The feature `tracing`, exported by OpenTelemetry: here to standard output, elsewhere to a collector.
//!
//! ```text
//! cargo run --example opentelemetry --features tracing
//! ```
//!
//! One trace with the spans `request`, `group` (the aggregation) and a `task` for each source, whose attributes are
//! `name`, `number`, `outcome`, `error` and `elapsed`.

use failfast::{Aggregator, BoxError, Context};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> Result<(), BoxError> {
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(opentelemetry_stdout::SpanExporter::default())
        .build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("failfast"));
    tracing_subscriber::registry().with(spans).init();

    let request = tracing::info_span!("request", id = 7);
    let answer = request.in_scope(|| smol::block_on(page(7)));
    drop(request);
    provider.shutdown()?;
    println!("{answer:?}");
    Ok(())
}

async fn page(id: u64) -> Result<String, failfast::Error> {
    Aggregator::new(smol::spawn)
        .with_name("page")
        .source("profile", profile)
        .source("orders", orders)
        .join(" | ")
        .aggregate(&Context::background(), id)
        .await
}

async fn profile(ctx: Context, id: u64) -> Result<String, BoxError> {
    ctx.sleep(Duration::from_millis(20)).await?;
    Ok(format!("user {id}"))
}

async fn orders(ctx: Context, _: u64) -> Result<u32, BoxError> {
    ctx.sleep(Duration::from_millis(10)).await?;
    Err("connection refused".into())
}
