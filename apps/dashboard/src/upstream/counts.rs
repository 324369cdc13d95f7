//! What a service has seen.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Counts of a service's requests, by how they ended.
#[derive(Debug, Default)]
pub struct Counts {
    started: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
    cancelled: AtomicU64,
}

/// Counts, as they stood at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Requests that came.
    pub started: u64,
    /// Those that got their answer.
    pub answered: u64,
    /// Those that were answered with another error than 504.
    pub failed: u64,
    /// Those whose deadline passed: 504.
    pub late: u64,
    /// Those whose caller hung up before the answer.
    pub cancelled: u64,
    /// Those that are still here.
    pub in_flight: u64,
}

impl Counts {
    /// Reads them.
    pub fn read(&self) -> Counted {
        let [answered, failed, late, cancelled] =
            [&self.answered, &self.failed, &self.late, &self.cancelled]
                .map(|count| count.load(Ordering::Acquire));
        // Read last: a request is counted here before it is counted above.
        let started = self.started.load(Ordering::Acquire);
        Counted {
            started,
            answered,
            failed,
            late,
            cancelled,
            in_flight: started - answered - failed - late - cancelled,
        }
    }

    /// A request comes.
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.started.fetch_add(1, Ordering::AcqRel);
        InFlight {
            counts: self,
            ended: &self.cancelled,
        }
    }
}

/// One request. Counts as cancelled if it is dropped before one of its methods is called.
pub(super) struct InFlight<'a> {
    counts: &'a Counts,
    ended: &'a AtomicU64,
}

impl InFlight<'_> {
    pub(super) fn answered(mut self) {
        self.ended = &self.counts.answered;
    }

    pub(super) fn failed(mut self) {
        self.ended = &self.counts.failed;
    }

    pub(super) fn late(mut self) {
        self.ended = &self.counts.late;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_counted_once_by_its_end() {
        let counts = Counts::default();
        counts.begin().answered();
        counts.begin().failed();
        counts.begin().late();
        drop(counts.begin());
        let open = counts.begin();
        let expected = Counted {
            started: 5,
            answered: 1,
            failed: 1,
            late: 1,
            cancelled: 1,
            in_flight: 1,
        };
        assert_eq!(counts.read(), expected);
        drop(open);
        assert_eq!((counts.read().cancelled, counts.read().in_flight), (2, 0));
    }
}
