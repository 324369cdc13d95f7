//! One record for every aggregation, whatever panics on the way.

use super::tools::{panics, poll_once};
use crate::executor::watched;
use crate::support::Count;
use failfast::{Aggregator, Context};
use futures::executor::block_on;
use std::convert::Infallible;
use std::fmt;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex};

/// Keeps the texts that it receives.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<(log::Level, String)>>>);

impl log::Log for Records {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let told = (record.level(), record.args().to_string());
        self.0.lock().unwrap().push(told);
    }

    fn flush(&self) {}
}

impl Records {
    /// The only record there is.
    fn only(&self) -> (log::Level, String) {
        let records = self.0.lock().unwrap();
        assert_eq!(records.len(), 1, "{records:?}");
        records[0].clone()
    }
}

fn five<R>(_: Context, _: R) -> std::future::Ready<Result<u32, Infallible>> {
    ready(Ok(5))
}

/// Fault 29: no record was written where `combine`, now `map`, panicked.
#[test]
fn map_panics() {
    watched(|| {
        for host in [Aggregator::in_place(), Aggregator::new(smol::spawn)] {
            let records = Records::default();
            let all = host
                .with_logger(records.clone())
                .source("one", five::<()>)
                .map(|_| -> u32 { panic!("the map fails") });
            let _ = panics(|| block_on(all.aggregate(&Context::background(), ())));
            records.only();
        }
    });
}

/// Fault 29: nor where the `Display` of an answer did.
#[test]
fn display_of_an_answer_panics() {
    struct Mute;
    impl fmt::Display for Mute {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("the display fails");
        }
    }
    watched(|| {
        let records = Records::default();
        let all = Aggregator::in_place()
            .with_logger(records.clone())
            .source("one", |_: Context, (): ()| ready(Ok::<_, Infallible>(Mute)))
            .source("two", five::<()>)
            .join(" | ");
        let _ = panics(|| block_on(all.aggregate(&Context::background(), ())));
        records.only();
    });
}

/// Fault 29: nor where the request's `Clone` did; the first of them, and a later one.
#[test]
fn clone_of_the_request_panics() {
    struct Request(Count, usize);
    impl Clone for Request {
        fn clone(&self) -> Self {
            self.0.add();
            assert_ne!(self.0.get(), self.1, "the clone fails");
            Self(self.0.clone(), self.1)
        }
    }
    watched(|| {
        for host in [Aggregator::in_place(), Aggregator::new(smol::spawn)] {
            for which in [1, 2] {
                let records = Records::default();
                let sources = (0..4).map(|n| (format!("s{n}"), five::<Request>));
                let all = host.clone().with_logger(records.clone()).sources(sources);
                let request = Request(Count::default(), which);
                let _ = panics(|| block_on(all.aggregate(&Context::background(), request)));
                records.only();
            }
        }
    });
}

/// Fault 29's kind: a source, its future, and the destructor of its future.
#[test]
fn sources_panic() {
    watched(|| {
        for when in 0..3 {
            let records = Records::default();
            let source = move |_: Context, (): ()| {
                assert_ne!(when, 0, "the source fails");
                async move {
                    assert_ne!(when, 1, "its future fails");
                    Ok::<_, Infallible>(())
                }
            };
            let all = Aggregator::in_place()
                .with_logger(records.clone())
                .source("one", source);
            let told = block_on(all.aggregate(&Context::background(), ()));
            assert_eq!(told.is_err(), when < 2);
            records.only();
        }
    });
}

/// Fault 29's kind: a dropped aggregation is recorded, at level debug; one that was never polled is not.
#[test]
fn aggregation_is_dropped() {
    watched(|| {
        let records = Records::default();
        let stuck = |_: Context, (): ()| pending::<Result<(), Infallible>>();
        let all = Aggregator::in_place()
            .with_name("dashboard")
            .with_logger(records.clone())
            .source("one", stuck);
        let ctx = Context::background();
        drop(all.aggregate(&ctx, ()));
        assert!(records.0.lock().unwrap().is_empty());
        let mut half = Box::pin(all.aggregate(&ctx, ()));
        assert!(poll_once(half.as_mut()).is_pending());
        drop(half);
        let (level, text) = records.only();
        assert_eq!(level, log::Level::Debug);
        assert!(
            text.contains("dashboard") && text.contains("dropped by its caller"),
            "{text}"
        );
    });
}
