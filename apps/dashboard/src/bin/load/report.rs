//! What both runs come to.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use dashboard::http::ShutdownOutcome;

use crate::run::{Left, Seen};

/// Both runs, or the one.
pub(crate) struct Report {
    pub(crate) fail_fast: Seen,
    pub(crate) plain: Option<Seen>,
    /// Whether the run was long enough to decide which server is the better one.
    pub(crate) judges: bool,
}

impl Report {
    /// What should not be so.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let mut wrong = alone(&self.fail_fast, "failfast");
        if let Some(plain) = &self.plain {
            wrong.extend(alone(plain, "try_join"));
            if self.judges {
                wrong.extend(compared(&self.fail_fast, plain));
            }
        }
        wrong
    }
}

fn alone(seen: &Seen, name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let lost = read(&seen.tally.lost);
    if lost > 0 {
        wrong.push(format!("{name}: {lost} requests were lost"));
    }
    if read(&seen.tally.pages) == 0 {
        wrong.push(format!("{name}: not one page was answered"));
    }
    if !seen.memory.is_flat() {
        wrong.push(format!(
            "{name}: memory grew: {:?} KiB",
            seen.memory.halfway_and_late()
        ));
    }
    if seen.left != Left::default() || seen.outcome != ShutdownOutcome::Drained {
        wrong.push(format!(
            "{name}: left after the drain: {:?}, {:?}",
            seen.left, seen.outcome
        ));
    }
    wrong
}

fn compared(fail_fast: &Seen, plain: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    if fail_fast.wasted_permille() >= plain.wasted_permille() {
        wrong.push("failfast wastes no fewer calls than try_join".to_owned());
    }
    if fail_fast.quantile_ms(0.99) > plain.quantile_ms(0.99) {
        wrong.push("failfast's p99 is worse than try_join's".to_owned());
    }
    wrong
}

impl Seen {
    fn quantile_ms(&self, quantile: f64) -> f64 {
        let latency = self.tally.latency.lock().expect("recording does not panic");
        latency.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// Of a thousand calls, those that were in vain.
    fn wasted_permille(&self) -> u64 {
        let all = self.waste.useful + self.waste.wasted;
        self.waste.wasted * 1_000 / all.max(1)
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// A row's name, and how its cell is read.
type Row = (&'static str, fn(&Seen) -> String);

const ROWS: [Row; 14] = [
    ("pages", |seen| read(&seen.tally.pages).to_string()),
    ("failed (502)", |seen| read(&seen.tally.failed).to_string()),
    ("late (504)", |seen| read(&seen.tally.late).to_string()),
    ("refused (429)", |seen| {
        read(&seen.tally.refused).to_string()
    }),
    ("unknown user (404)", |seen| {
        read(&seen.tally.not_found).to_string()
    }),
    ("reader left", |seen| read(&seen.tally.left).to_string()),
    ("lost", |seen| read(&seen.tally.lost).to_string()),
    ("p50", |seen| format!("{:.0} ms", seen.quantile_ms(0.50))),
    ("p99", |seen| format!("{:.0} ms", seen.quantile_ms(0.99))),
    ("calls of use", |seen| seen.waste.useful.to_string()),
    ("calls wasted", |seen| seen.waste.wasted.to_string()),
    ("wasted of 1,000 calls", |seen| {
        seen.wasted_permille().to_string()
    }),
    ("finished after the page had ended", |seen| {
        seen.waste.finished_late.to_string()
    }),
    ("memory, halfway and late", |seen| {
        match seen.memory.halfway_and_late() {
            Some((halfway, late)) => format!("{:.1} and {:.1} MiB", mib(halfway), mib(late)),
            None => "unknown".to_owned(),
        }
    }),
];

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | failfast | try_join and a timeout |")?;
        writeln!(f, "|---|---|---|")?;
        for (name, cell) in ROWS {
            let plain = self.plain.as_ref().map(cell).unwrap_or_default();
            writeln!(f, "| {name} | {} | {plain} |", cell(&self.fail_fast))?;
        }
        Ok(())
    }
}
