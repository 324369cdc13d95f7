//! Metrics from an observer, without a dependency: outcomes and latencies by source.
//!
//! ```text
//! cargo run --example metrics
//! ```
//!
//! It prints them in Prometheus' text format. A metrics crate's counters and histograms would stand where the maps do.

use failfast::observe::{Observer, Outcome, TaskEvent};
use failfast::{Aggregator, BoxError, Context, Name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The upper bounds of the latencies' buckets.
const BUCKETS: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
];

/// Counts how the tasks of each name ended, and after how long.
#[derive(Default)]
struct Metrics(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// When the tasks that run were spawned, by group and number.
    running: BTreeMap<(u64, u64), Instant>,
    outcomes: BTreeMap<(Name, &'static str), u64>,
    latencies: BTreeMap<Name, Latencies>,
}

#[derive(Default)]
struct Latencies {
    /// How many took no longer than each bound.
    at_most: [u64; BUCKETS.len()],
    count: u64,
    sum: Duration,
}

impl Latencies {
    fn add(&mut self, took: Duration) {
        for (bound, count) in BUCKETS.iter().zip(&mut self.at_most) {
            *count += u64::from(took <= *bound);
        }
        self.count += 1;
        self.sum += took;
    }
}

impl Observer for Metrics {
    fn task_spawned(&self, task: &TaskEvent) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .running
            .insert((task.group(), task.task()), task.at());
    }

    fn task_ended(&self, task: &TaskEvent, outcome: &Outcome<'_>) {
        let outcome = match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed(_) => "failed",
            Outcome::Panicked(_) => "panicked",
            Outcome::Cancelled => "cancelled",
            _ => "lost",
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.outcomes.entry((task.name(), outcome)).or_default() += 1;
        if let Some(spawned) = counts.running.remove(&(task.group(), task.task())) {
            let took = task.at().saturating_duration_since(spawned);
            counts.latencies.entry(task.name()).or_default().add(took);
        }
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(f, "# TYPE source_outcomes_total counter")?;
        for ((source, outcome), count) in &counts.outcomes {
            writeln!(
                f,
                "source_outcomes_total{{source={source:?},outcome={outcome:?}}} {count}"
            )?;
        }
        writeln!(f, "# TYPE source_seconds histogram")?;
        for (source, latencies) in &counts.latencies {
            for (bound, count) in BUCKETS.iter().zip(latencies.at_most) {
                let bound = bound.as_secs_f64();
                writeln!(
                    f,
                    "source_seconds_bucket{{source={source:?},le=\"{bound}\"}} {count}"
                )?;
            }
            let (count, sum) = (latencies.count, latencies.sum.as_secs_f64());
            writeln!(
                f,
                "source_seconds_bucket{{source={source:?},le=\"+Inf\"}} {count}"
            )?;
            writeln!(f, "source_seconds_sum{{source={source:?}}} {sum}")?;
            writeln!(f, "source_seconds_count{{source={source:?}}} {count}")?;
        }
        Ok(())
    }
}

fn main() {
    let metrics = Arc::new(Metrics::default());
    let ctx = Context::background().with_observer(metrics.clone());
    let page = Aggregator::new(smol::spawn)
        .source("profile", profile)
        .source("orders", orders);
    smol::block_on(async {
        for id in 0..20 {
            match page.aggregate(&ctx, id).await {
                Ok((name, orders)) => eprintln!("{name} has {orders} orders"),
                Err(error) => eprintln!("no page for {id}: {error}"),
            }
        }
    });
    print!("{metrics}");
}

async fn profile(ctx: Context, id: u64) -> Result<String, BoxError> {
    ctx.sleep(Duration::from_millis(2 + id % 3 * 5)).await?;
    Ok(format!("user {id}"))
}

/// Every seventh is refused.
async fn orders(ctx: Context, id: u64) -> Result<u64, BoxError> {
    ctx.sleep(Duration::from_millis(3)).await?;
    match id % 7 {
        6 => Err("connection refused".into()),
        _ => Ok(id * 2),
    }
}
