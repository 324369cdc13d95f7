//! A hundred pages, at most eight at once, and the first failure ends it: `cargo run --example limit`.

use failfast::{Context, Group};
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Stands for a client.
async fn fetch(ctx: Context, page: u32) -> Result<usize, io::Error> {
    MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    let slept = ctx.sleep(Duration::from_millis(1)).await;
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    slept.map_err(io::Error::other)?;
    Ok(page as usize * 10)
}

fn main() -> Result<(), failfast::Error> {
    const EIGHT: NonZeroUsize = NonZeroUsize::new(8).unwrap();
    let (group, ctx) = Group::with_context(&Context::background(), smol::spawn);
    let fetching = group
        .with_limit(EIGHT)
        .try_map(1..=100, |page| fetch(ctx.clone(), page));
    let sizes = smol::block_on(fetching)?;
    assert!(MOST.load(Ordering::SeqCst) <= 8);
    let bytes: usize = sizes.iter().sum();
    println!(
        "{} pages, {bytes} bytes, never more than 8 at once",
        sizes.len()
    );
    Ok(())
}
