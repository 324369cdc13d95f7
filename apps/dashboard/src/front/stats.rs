//! What the front has done so far, in figures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::Front;
use crate::http::Call;
use crate::page::Page;
use crate::upstream::{Counted, PerService, Waste};

/// The upper bounds of the latency histogram, in milliseconds. Its last bucket has none.
pub const LATENCY_BOUNDS_MS: [u64; 11] = [5, 10, 20, 50, 75, 100, 150, 250, 500, 1_000, 2_500];

const BUCKETS: usize = LATENCY_BOUNDS_MS.len() + 1;

/// How a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered, with all that it holds.
    Complete,
    /// Answered, without something optional.
    Partial,
    /// 404.
    NotFound,
    /// 429 or 503.
    Refused,
    /// 504.
    Late,
    /// Any other error.
    Failed,
    /// The reader left.
    Left,
}

impl Outcome {
    /// What an answer is counted as.
    pub(super) fn of_page(page: &Page) -> Self {
        match page.is_partial() {
            true => Self::Partial,
            false => Self::Complete,
        }
    }

    /// What a failure with that status is counted as.
    pub(super) fn of_failure(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Self::Refused,
            StatusCode::GATEWAY_TIMEOUT => Self::Late,
            _ => Self::Failed,
        }
    }
}

/// Pages, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are Outcome's")]
pub struct Outcomes {
    pub complete: u64,
    pub partial: u64,
    pub not_found: u64,
    pub refused: u64,
    pub late: u64,
    pub failed: u64,
    pub left: u64,
}

/// The front's counters.
#[derive(Default)]
pub struct Stats {
    outcomes: [AtomicU64; 7],
    latencies: [AtomicU64; BUCKETS],
}

impl Stats {
    /// A page begins.
    pub(super) fn begin(&self) -> PendingPage<'_> {
        PendingPage {
            stats: self,
            since: Instant::now(),
            outcome: Outcome::Left,
        }
    }

    fn count(&self, outcome: Outcome, took: Duration) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if outcome != Outcome::Left {
            self.latencies[bucket(took)].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn outcomes(&self) -> Outcomes {
        let read = |outcome| self.outcomes[outcome as usize].load(Ordering::Relaxed);
        Outcomes {
            complete: read(Outcome::Complete),
            partial: read(Outcome::Partial),
            not_found: read(Outcome::NotFound),
            refused: read(Outcome::Refused),
            late: read(Outcome::Late),
            failed: read(Outcome::Failed),
            left: read(Outcome::Left),
        }
    }

    fn latencies(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|index| self.latencies[index].load(Ordering::Relaxed))
    }
}

fn bucket(took: Duration) -> usize {
    LATENCY_BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < took)
}

/// A page that is being made. Counts as left if it is dropped before [`ended`](Self::ended).
pub(super) struct PendingPage<'a> {
    stats: &'a Stats,
    since: Instant,
    outcome: Outcome,
}

impl PendingPage<'_> {
    pub(super) fn ended(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for PendingPage<'_> {
    fn drop(&mut self) {
        self.stats.count(self.outcome, self.since.elapsed());
    }
}

/// All figures, as the page shows them.
#[derive(Serialize)]
pub(super) struct Figures {
    outcomes: Outcomes,
    latency_bounds_ms: [u64; LATENCY_BOUNDS_MS.len()],
    latencies: [u64; BUCKETS],
    services: PerService<Counted>,
    calls: Waste,
    breaker: &'static str,
    connections: usize,
}

impl Front {
    pub(super) fn figures(&self, call: &Call) -> Figures {
        Figures {
            outcomes: self.stats.outcomes(),
            latency_bounds_ms: LATENCY_BOUNDS_MS,
            latencies: self.stats.latencies(),
            services: self.controls.counts(),
            breaker: self.builder.breaker(),
            calls: self.controls.ledger().read(),
            connections: call.server.open_connections(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_into_the_first_bucket_that_holds_it() {
        assert_eq!(bucket(Duration::ZERO), 0);
        for (index, bound) in LATENCY_BOUNDS_MS.into_iter().enumerate() {
            let bound = Duration::from_millis(bound);
            assert_eq!(bucket(bound), index);
            assert_eq!(bucket(bound + Duration::from_nanos(1)), index + 1);
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_page_that_is_dropped_counts_as_left_and_has_no_latency() {
        let stats = Stats::default();
        stats.begin().ended(Outcome::Partial);
        drop(stats.begin());
        assert_eq!((stats.outcomes().partial, stats.outcomes().left), (1, 1));
        assert_eq!(stats.latencies().iter().sum::<u64>(), 1);
    }
}
