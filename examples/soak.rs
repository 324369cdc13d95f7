//! Ten million aggregations, a tenth of them failing, timing out or cancelled; memory and live tasks must
//! stay flat.
//!
//! ```text
//! cargo run --release --example soak            # 10,000,000
//! cargo run --release --example soak 100000     # as many as you like
//! ```
//!
//! Prints ten times on the way, and exits with 1 if anything grew.

use failfast::{Aggregator, Context};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What memory may grow by after the first tenth, in KiB: caches of the executor's and the allocator's.
const SLACK: usize = 4096;

/// Aggregations at once.
const CALLERS: usize = 4;

/// Counts the services that exist.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How the aggregation with this number ends.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Success,
    Failure,
    Timeout,
    Cancellation,
}

fn fate(number: u64) -> Fate {
    match number % 30 {
        0 => Fate::Failure,
        10 => Fate::Timeout,
        20 => Fate::Cancellation,
        _ => Fate::Success,
    }
}

async fn profile(number: u64, live: Live) -> Result<u64, &'static str> {
    let _live = live;
    match fate(number) {
        Fate::Success => Ok(number),
        Fate::Failure => Err("connection refused"),
        Fate::Timeout | Fate::Cancellation => std::future::pending().await,
    }
}

async fn orders(ctx: Context, number: u64, live: Live) -> Result<u64, &'static str> {
    let _live = live;
    if fate(number) != Fate::Success {
        ctx.done().await;
    }
    Ok(5)
}

fn main() -> ExitCode {
    let total = std::env::args().nth(1).map_or(10_000_000, |argument| {
        argument
            .parse()
            .expect("the argument is how many aggregations to run")
    });
    let live = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut flat = true;
    let mut limit = None;
    for tenth in 1..=10 {
        let unexpected = run(total / 10, &live);
        let (memory, left) = (resident_kib(), live.load(Ordering::Relaxed));
        let grown = *limit.get_or_insert(memory + SLACK) < memory;
        flat &= !grown && left == 0 && unexpected == 0;
        println!(
            "{:>9} aggregations  {:>6.1} s  {memory:>7} KiB  {left} live  {unexpected} unexpected",
            total / 10 * tenth,
            began.elapsed().as_secs_f64()
        );
    }
    match flat {
        true => ExitCode::SUCCESS,
        false => {
            println!("not flat");
            ExitCode::FAILURE
        }
    }
}

/// Runs so many, and returns how many did not end as they should.
fn run(count: u64, live: &Arc<AtomicUsize>) -> usize {
    let unexpected = Arc::new(AtomicUsize::new(0));
    let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (live, unexpected, next) = (live.clone(), unexpected.clone(), next.clone());
            smol::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    if !aggregate(number, &live).await {
                        unexpected.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    smol::block_on(async {
        for caller in callers {
            caller.await;
        }
    });
    unexpected.load(Ordering::Relaxed)
}

/// One aggregation; whether it ended as it should.
async fn aggregate(number: u64, live: &Arc<AtomicUsize>) -> bool {
    let (for_profile, for_orders) = (live.clone(), live.clone());
    let timeout = match fate(number) {
        Fate::Timeout => Duration::from_micros(50),
        _ => Duration::from_secs(60),
    };
    let dashboard = Aggregator::new(smol::spawn)
        .with_timeout(timeout)
        .source("profile", move |_: Context, number| {
            profile(number, Live::new(&for_profile))
        })
        .source("orders", move |ctx: Context, number| {
            orders(ctx, number, Live::new(&for_orders))
        });
    let (ctx, canceller) = Context::background().with_cancel();
    let canceling = match fate(number) {
        Fate::Cancellation => Some(smol::spawn(async move {
            canceller.cancel_with("client went away")
        })),
        _ => {
            canceller.disarm();
            None
        }
    };
    let outcome = dashboard.aggregate(&ctx, number).await;
    if let Some(canceling) = canceling {
        canceling.await;
    }
    match (fate(number), outcome) {
        (Fate::Success, Ok(answers)) => answers == (number, 5),
        (Fate::Failure, Err(error)) => error.task().is_some_and(|name| name == "profile"),
        (Fate::Timeout, Err(error)) => error.is_deadline_exceeded(),
        (Fate::Cancellation, Err(error)) => error.is_canceled(),
        _ => false,
    }
}

/// Resident memory, from Linux; 0 elsewhere, where only the live tasks are watched.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
