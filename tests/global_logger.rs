//! The global logger and its maximum level are the process's, so that these tests have a process of their own, and one
//! test: records above the level are not prepared, those at it are written, and without a logger the clock is not read for them.
#![allow(missing_docs, reason = "a test")]

use failfast::clock::{Clock, ManualClock, Sleep};
use failfast::{Aggregator, Context, Source, SourceExt};
use futures::executor::block_on;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::fmt;
use std::future::ready;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Everything that it was asked for and was given.
struct All {
    asked: Mutex<Vec<Level>>,
    given: Mutex<Vec<Level>>,
}

static ALL: All = All {
    asked: Mutex::new(Vec::new()),
    given: Mutex::new(Vec::new()),
};

impl Log for All {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.asked.lock().unwrap().push(metadata.level());
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.given.lock().unwrap().push(record.level());
    }

    fn flush(&self) {}
}

/// What the logger was asked for and given meanwhile.
fn seen(act: impl FnOnce()) -> (Vec<Level>, Vec<Level>) {
    act();
    let taken = |all: &Mutex<Vec<Level>>| std::mem::take(&mut *all.lock().unwrap());
    (taken(&ALL.asked), taken(&ALL.given))
}

/// A clock that counts how often it is read.
#[derive(Clone)]
struct Counted(ManualClock);

static READ: AtomicUsize = AtomicUsize::new(0);

impl Clock for Counted {
    fn now(&self) -> Instant {
        READ.fetch_add(1, Ordering::Relaxed);
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        self.0.sleep_until(deadline)
    }
}

#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection refused")
    }
}

impl std::error::Error for Refused {}

fn ctx() -> Context {
    Context::background().with_clock(Counted(ManualClock::new()))
}

fn refused(_: Context, (): ()) -> std::future::Ready<Result<u32, Refused>> {
    ready(Err(Refused))
}

fn succeed() {
    let five = |_: Context, (): ()| ready(Ok::<_, Refused>(5));
    let aggregator = Aggregator::in_place().source("five", five);
    assert_eq!(block_on(aggregator.aggregate(&ctx(), ())).unwrap(), (5,));
}

fn fail() {
    let aggregator = Aggregator::in_place().source("refused", refused);
    assert!(block_on(aggregator.aggregate(&ctx(), ())).is_err());
}

/// Its record is of the level `Debug`.
fn drop_it_on_the_way() {
    let never = |_: Context, (): ()| std::future::pending::<Result<u32, Refused>>();
    let aggregator = Aggregator::in_place().source("never", never);
    let mut call = Box::pin(aggregator.aggregate(&ctx(), ()));
    assert!(futures::FutureExt::now_or_never(&mut call).is_none());
}

/// Its record is of the level `Warn`.
fn do_without() {
    let optional = refused.optional();
    assert_eq!(block_on(optional.fetch(ctx(), ())).unwrap(), None);
}

#[test]
fn records_are_prepared_at_the_maximum_level_and_not_above() {
    log::set_logger(&ALL).unwrap();

    log::set_max_level(LevelFilter::Off);
    let nothing = (Vec::new(), Vec::new());
    assert_eq!(seen(succeed), nothing);
    let unheard = READ.swap(0, Ordering::Relaxed);
    assert_eq!(seen(do_without), nothing);

    log::set_max_level(LevelFilter::Error);
    assert_eq!(seen(succeed), nothing);
    let heard = READ.load(Ordering::Relaxed);
    assert_eq!(heard, unheard + 1, "it is read for records alone");
    assert_eq!(seen(do_without), nothing);
    assert_eq!(seen(fail), (vec![Level::Error], vec![Level::Error]));

    log::set_max_level(LevelFilter::Warn);
    assert_eq!(seen(do_without), (vec![Level::Warn], vec![Level::Warn]));
    assert_eq!(seen(succeed), nothing);

    log::set_max_level(LevelFilter::Info);
    assert_eq!(seen(succeed), (vec![Level::Info], vec![Level::Info]));
    assert_eq!(seen(drop_it_on_the_way), nothing);
    assert_eq!(seen(fail), (vec![Level::Error], vec![Level::Error]));

    log::set_max_level(LevelFilter::Debug);
    let debug = (vec![Level::Debug], vec![Level::Debug]);
    assert_eq!(seen(drop_it_on_the_way), debug);
}
