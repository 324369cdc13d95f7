//! How much memory the process holds.

use std::time::Duration;

use failfast::{Context, ContextError};

const STEP: Duration = Duration::from_millis(200);

/// What may come on top without being called growth, in KiB: the allocator keeps what peaks leave behind.
const SLACK_KIB: u64 = 8 * 1024;

/// Samples of the resident memory, in KiB, in the order of time.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<u64>);

impl Samples {
    /// Takes them until the context ends. None where the system doesn't report it.
    pub(crate) async fn take(ctx: Context) -> Result<Self, ContextError> {
        let mut samples = Vec::new();
        while ctx.sleep(STEP).await.is_ok() {
            samples.extend(resident_kib());
        }
        Ok(Self(samples))
    }

    /// The memory halfway, when all is warm, and at the end, each the median of a fifth of the time.
    pub(crate) fn halfway_and_late(&self) -> Option<(u64, u64)> {
        let fifth = self.0.len() / 5;
        let median = |from: usize| {
            let mut part = self.0.get(from..from + fifth)?.to_vec();
            part.sort_unstable();
            part.get(fifth / 2).copied()
        };
        Some((median(2 * fifth)?, median(self.0.len() - fifth)?))
    }

    /// Whether it did not grow.
    pub(crate) fn is_flat(&self) -> bool {
        let Some((halfway, late)) = self.halfway_and_late() else {
            return true;
        };
        late <= halfway + halfway / 10 + SLACK_KIB
    }
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
