//! What a recorder draws of a few typical runs: writes `NAME.svg` and `NAME.json` for each, and prints its timeline.
//!
//! ```text
//! cargo run --example pictures -- target/pictures
//! ```
//!
//! The pictures open in any browser, the traces in <https://ui.perfetto.dev>.

use failfast::observe::Recorder;
use failfast::policy::{Backoff, Breaker, Hedge, Jitter, Retry};
use failfast::{Aggregator, BoxError, Context, Group, SourceExt};
use futures::future::BoxFuture;
use std::fs::{self, File};
use std::future::Future;
use std::path::Path;
use std::time::Duration;

fn main() -> Result<(), BoxError> {
    let folder = std::env::args()
        .nth(1)
        .unwrap_or("target/pictures".to_owned());
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    draw(folder, "success", |ctx| async move { success(&ctx).await })?;
    draw(folder, "domino", |ctx| async move { domino(&ctx).await })?;
    draw(
        folder,
        "deadline",
        |ctx| async move { deadline(&ctx).await },
    )?;
    draw(folder, "nested", |ctx| async move { nested(&ctx).await })?;
    draw(folder, "retry", |ctx| async move { retry(&ctx).await })?;
    draw(folder, "hedge", |ctx| async move { hedge(&ctx).await })?;
    draw(folder, "crowd", |ctx| async move { crowd(&ctx).await })?;
    Ok(())
}

/// Runs it, and draws what was recorded, whatever came of it.
fn draw<F: Future<Output = Result<(), BoxError>>>(
    folder: &Path,
    name: &str,
    run: impl FnOnce(Context) -> F,
) -> Result<(), BoxError> {
    let recorder = Recorder::new();
    let ctx = Context::background().with_observer(recorder.clone());
    let ended = smol::block_on(run(ctx));
    println!(
        "{name}: {}\n{}",
        ended.map_or_else(|error| error.to_string(), |()| "ok".to_owned()),
        recorder.timeline()
    );
    fs::write(folder.join(format!("{name}.svg")), recorder.to_svg())?;
    recorder.write_chrome_trace(File::create(folder.join(format!("{name}.json")))?)?;
    Ok(())
}

/// A service that takes so many milliseconds, in three steps, and then may fail.
fn service(
    millis: u64,
    error: Option<&'static str>,
) -> impl Fn(Context, u64) -> BoxFuture<'static, Result<u64, BoxError>> {
    move |ctx, id| {
        Box::pin(async move {
            for _ in 0..3 {
                ctx.sleep(Duration::from_micros(millis * 1000 / 3)).await?;
            }
            error.map_or(Ok(id), |error| Err(error.into()))
        })
    }
}

async fn success(ctx: &Context) -> Result<(), BoxError> {
    let dashboard = Aggregator::new(smol::spawn)
        .with_name("dashboard")
        .source("profile", service(60, None))
        .source("orders", service(90, None))
        .source("recommendations", service(30, None));
    dashboard.aggregate(ctx, 7).await?;
    Ok(())
}

/// One falls, and the others with it.
async fn domino(ctx: &Context) -> Result<(), BoxError> {
    let dashboard = Aggregator::new(smol::spawn)
        .with_name("dashboard")
        .with_timeout(Duration::from_millis(90))
        .source("profile", service(50, Some("HTTP 500 from users.internal")))
        .source("orders", service(1000, None))
        .source("recommendations", service(20, None))
        .source("ads", service(500, None));
    dashboard.aggregate(ctx, 7).await?;
    Ok(())
}

async fn deadline(ctx: &Context) -> Result<(), BoxError> {
    let dashboard = Aggregator::new(smol::spawn)
        .with_name("dashboard")
        .with_timeout(Duration::from_millis(80))
        .source("profile", service(50, None))
        .source("orders", service(1000, None));
    dashboard.aggregate(ctx, 7).await?;
    Ok(())
}

/// An aggregator that is a source of another.
async fn nested(ctx: &Context) -> Result<(), BoxError> {
    let user = Aggregator::new(smol::spawn)
        .with_name("user")
        .source("name", service(30, None))
        .source("settings", service(45, Some("connection refused")))
        .source("avatar", service(200, None));
    let page = Aggregator::new(smol::spawn)
        .with_name("page")
        .source("user", user.map(|_| 1))
        .source("articles", service(300, None))
        .source("weather", service(25, None));
    page.aggregate(ctx, 7).await?;
    Ok(())
}

/// The orders fail twice before they answer, and the breaker around the ads opens.
async fn retry(ctx: &Context) -> Result<(), BoxError> {
    let unsteady = |ctx: Context, id: u64| {
        let error = (ctx.attempt().number() < 3).then_some("connection reset");
        service(20, error)(ctx, id)
    };
    let backoff = Backoff::exponential(Duration::from_millis(15)).with_jitter(Jitter::None);
    let breaker = Breaker::new("ads-db").with_trip(1.try_into()?, 1.try_into()?);
    let ads = service(10, Some("out of memory")).breaker(&breaker);
    let ads = ads.retry(Retry::times(1).with_backoff(Backoff::constant(Duration::from_millis(30))));
    let dashboard = Aggregator::new(smol::spawn)
        .with_name("dashboard")
        .source("profile", service(60, None))
        .source(
            "orders",
            unsteady.retry(Retry::times(3).with_backoff(backoff)),
        )
        .source("ads", ads.optional());
    dashboard.aggregate(ctx, 7).await?;
    Ok(())
}

/// The first attempt hangs, and a hedge answers.
async fn hedge(ctx: &Context) -> Result<(), BoxError> {
    let hiccup = |ctx: Context, id: u64| {
        let millis = if ctx.attempt().is_hedge() { 25 } else { 5000 };
        service(millis, None)(ctx, id)
    };
    let dashboard = Aggregator::new(smol::spawn)
        .with_name("dashboard")
        .source("profile", service(60, None))
        .source(
            "orders",
            hiccup.hedge(Hedge::after(Duration::from_millis(40))),
        );
    dashboard.aggregate(ctx, 7).await?;
    Ok(())
}

/// Ten thousand tasks, at most 500 at once, of which one fails.
async fn crowd(ctx: &Context) -> Result<(), BoxError> {
    let (group, ctx) = Group::<u64>::with_context(ctx, smol::spawn);
    let group = group.with_limit(500.try_into()?);
    for number in 0..10_000 {
        let fails = (number == 8_000).then_some("item 8000 is broken");
        group.spawn_named(
            format!("item {number}"),
            service(1 + number % 5, fails)(ctx.clone(), number),
        );
    }
    group.wait().await?;
    Ok(())
}
