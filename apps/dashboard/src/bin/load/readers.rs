//! The readers: they request a page, wait a little, and request the next. Some leave before it comes.

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashboard::http::{CallError, Client, Endpoint};
use dashboard::page::Page;
use failfast::Context;
use futures::future::{Either, select};
use hdrhistogram::Histogram;
use smol::Timer;

/// How long a reader looks at a page, in milliseconds.
const LOOKS_MS: std::ops::Range<u64> = 50..250;

/// Over how long the readers come, in milliseconds, because a hundred at the same instant are another test.
const COME_MS: std::ops::Range<u64> = 0..1_000;

/// How long a reader waits for an answer, which is twice as long as the server may take ([`Limits::request`]). What has
/// not been answered by then is lost.
///
/// [`Limits::request`]: dashboard::http::Limits::request
const PATIENCE: Duration = Duration::from_secs(10);

/// How many of a hundred readers don't wait for the page.
const LEAVE_PERCENT: u8 = 3;

/// After how long they leave, in milliseconds.
const LEAVE_MS: std::ops::Range<u64> = 1..60;

/// How many of a hundred pages are of a user that doesn't exist.
const UNKNOWN_PERCENT: u8 = 1;

/// Users that exist: 1 to this.
const USERS: u64 = 8;

/// How the requests ended.
pub(crate) struct Tally {
    left_to_ask: AtomicU64,
    pub(crate) pages: AtomicU64,
    pub(crate) not_found: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) left: AtomicU64,
    pub(crate) lost: AtomicU64,
    /// Of all that were answered, in microseconds.
    pub(crate) latency: Mutex<Histogram<u64>>,
}

impl Tally {
    pub(crate) fn new(most: u64) -> Self {
        let latency =
            Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order");
        Self {
            left_to_ask: AtomicU64::new(most),
            pages: AtomicU64::default(),
            not_found: AtomicU64::default(),
            refused: AtomicU64::default(),
            late: AtomicU64::default(),
            failed: AtomicU64::default(),
            left: AtomicU64::default(),
            lost: AtomicU64::default(),
            latency: Mutex::new(latency),
        }
    }

    /// Whether one more page may be requested.
    fn may_ask(&self) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        let before = self
            .left_to_ask
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        before.is_ok()
    }

    fn count(&self, outcome: &Result<Page, CallError>, took: Duration) {
        let (count, answered) = match outcome {
            Ok(_) => (&self.pages, true),
            Err(CallError::NotFound(_)) => (&self.not_found, true),
            Err(CallError::TooMany { .. }) => (&self.refused, true),
            Err(CallError::Late(..)) => (&self.late, true),
            Err(CallError::Status { .. }) => (&self.failed, true),
            Err(error) => {
                eprintln!("load: lost: {error}");
                (&self.lost, false)
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        if answered {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.latency
                .lock()
                .expect("recording does not panic")
                .saturating_record(micros);
        }
    }
}

/// One reader, until the time is up. A request under way is waited for, though not for ever.
pub(crate) async fn read(time: &Context, client: &Client, front: Endpoint, tally: &Tally) {
    let _ = time
        .sleep(Duration::from_millis(fastrand::u64(COME_MS)))
        .await;
    while !time.is_done() && tally.may_ask() {
        ask(client, front, tally).await;
        let looks = Duration::from_millis(fastrand::u64(LOOKS_MS));
        let _ = time.sleep(looks).await;
    }
}

async fn ask(client: &Client, front: Endpoint, tally: &Tally) {
    let user = match chance(UNKNOWN_PERCENT) {
        true => USERS + 1,
        false => fastrand::u64(1..=USERS),
    };
    let path = format!("/api/pages/{user}");
    let since = Instant::now();
    let page = pin!(page(client, front, &path, PATIENCE));
    let leaves = match chance(LEAVE_PERCENT) {
        true => Timer::after(Duration::from_millis(fastrand::u64(LEAVE_MS))),
        false => Timer::never(),
    };
    match select(page, leaves).await {
        Either::Left((outcome, _)) => tally.count(&outcome, since.elapsed()),
        Either::Right(_) => drop(tally.left.fetch_add(1, Ordering::Relaxed)),
    }
}

/// The server's answer, or [`CallError::Ended`] once the patience has.
async fn page(
    client: &Client,
    front: Endpoint,
    path: &str,
    patience: Duration,
) -> Result<Page, CallError> {
    let ctx = Context::background().with_timeout(patience);
    client.get(&ctx, front, path).await
}

fn chance(percent: u8) -> bool {
    fastrand::u8(0..100) < percent
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn a_request_that_is_never_answered_is_lost_and_ends() {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let front = Endpoint {
            service: "silent",
            address: silent.local_addr().unwrap(),
        };
        let client = Client::default();
        let outcome = smol::block_on(page(&client, front, "/", Duration::from_millis(10)));
        let tally = Tally::new(1);
        tally.count(&outcome, Duration::ZERO);
        assert_eq!(tally.lost.into_inner(), 1);
        assert!(matches!(outcome, Err(CallError::Ended(_))), "{outcome:?}");
    }

    #[test]
    fn the_patience_is_longer_than_the_server_may_take() {
        assert_eq!(PATIENCE, 2 * dashboard::http::Limits::default().request);
    }
}
