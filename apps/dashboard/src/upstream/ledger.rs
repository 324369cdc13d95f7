//! Which calls were made for pages that failed: one account for all services, by page.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::http::RequestId;

/// Counts the calls that each page makes, directly or through another service, until the page ends.
///
/// It can, because all services run in one process here; elsewhere a tracing back end would count this.
#[derive(Debug, Default)]
pub struct Ledger {
    open: Mutex<HashMap<RequestId, u64>>,
    useful: AtomicU64,
    wasted: AtomicU64,
    finished_late: AtomicU64,
}

/// Calls, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waste {
    /// Calls for pages that were answered.
    pub useful: u64,
    /// Calls for pages that failed or whose reader left: all of them in vain.
    pub wasted: u64,
    /// Those of the wasted calls that a service worked on to the end after the page had ended.
    pub finished_late: u64,
}

impl Ledger {
    /// A page begins. Two under one id at once are counted as one.
    pub fn open(self: &Arc<Self>, id: &RequestId) -> Account {
        self.pages().entry(id.clone()).or_default();
        Account {
            ledger: self.clone(),
            id: id.clone(),
            succeeded: false,
        }
    }

    /// A call of that page reached a service.
    pub(super) fn started(&self, id: &RequestId) {
        match self.pages().get_mut(id) {
            Some(calls) => *calls += 1,
            None => drop(self.wasted.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// A service answered a call of that page.
    pub(super) fn answered(&self, id: &RequestId) {
        if !self.pages().contains_key(id) {
            self.finished_late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads the account.
    pub fn read(&self) -> Waste {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Waste {
            useful: read(&self.useful),
            wasted: read(&self.wasted),
            finished_late: read(&self.finished_late),
        }
    }

    fn pages(&self) -> MutexGuard<'_, HashMap<RequestId, u64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One page's account. Dropped before it [succeeded](Self::succeeded), all its calls count as wasted.
pub struct Account {
    ledger: Arc<Ledger>,
    id: RequestId,
    succeeded: bool,
}

impl Account {
    /// The page is answered: its calls were of use.
    pub fn succeeded(mut self) {
        self.succeeded = true;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let calls = self.ledger.pages().remove(&self.id).unwrap_or(0);
        let ledger = &*self.ledger;
        let total = if self.succeeded {
            &ledger.useful
        } else {
            &ledger.wasted
        };
        total.fetch_add(calls, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_of_use_if_their_page_succeeds_and_wasted_otherwise() {
        let ledger = Arc::<Ledger>::default();
        let [good, bad, gone] = [(); 3].map(|()| RequestId::unique());
        let (first, second) = (ledger.open(&good), ledger.open(&bad));
        ledger.started(&good);
        ledger.started(&good);
        ledger.started(&bad);
        ledger.answered(&good);
        first.succeeded();
        drop(second);
        ledger.started(&gone); // after its page has ended
        ledger.answered(&bad);
        let expected = Waste {
            useful: 2,
            wasted: 2,
            finished_late: 1,
        };
        assert_eq!(ledger.read(), expected);
        assert!(ledger.pages().is_empty());
    }
}
