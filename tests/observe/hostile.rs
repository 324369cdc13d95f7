//! Observers that panic, that block, and that are in the way.

use crate::support::{at_most, forever, manual, ms, watched};
use failfast::observe::{GroupEvent, Observer, Outcome, Recorder, TaskEvent};
use failfast::{Cause, Context, Error, Group, InPlaceGroup};
use futures::executor::block_on;
use std::convert::Infallible;
use std::fmt;
use std::future::{pending, ready};
use std::io;

/// Panics at every call.
struct Bad;

impl Observer for Bad {
    fn group_opened(&self, _: &GroupEvent) {
        panic!("the observer fails");
    }

    fn group_closed(&self, _: &GroupEvent) {
        panic!("the observer fails");
    }

    fn task_spawned(&self, _: &TaskEvent) {
        panic!("the observer fails");
    }

    fn task_queued(&self, _: &TaskEvent) {
        panic!("the observer fails");
    }

    fn poll_started(&self, _: &TaskEvent) {
        panic!("the observer fails");
    }

    fn poll_ended(&self, _: &TaskEvent) {
        panic!("the observer fails");
    }

    fn task_ended(&self, _: &TaskEvent, _: &Outcome<'_>) {
        panic!("the observer fails");
    }

    fn canceled(&self, _: &GroupEvent, _: &Cause) {
        panic!("the observer fails");
    }
}

impl Drop for Bad {
    fn drop(&mut self) {
        panic!("the observer's destructor fails");
    }
}

#[test]
fn panicking_observer_changes_no_outcome() {
    watched(|| {
        let ctx = Context::background().with_observer(Bad);
        let group = InPlaceGroup::new(&ctx).with_limit(at_most(1));
        (0..3).for_each(|n| group.spawn(ready(Ok::<_, Infallible>(n))));
        assert_eq!(block_on(group.wait()).unwrap(), [0, 1, 2]);
        let (group, _) = Group::<()>::with_context(&ctx, smol::spawn);
        group.spawn(ready(Err("refused")));
        assert_eq!(
            block_on(group.wait()).unwrap_err().to_string(),
            "task 0: refused"
        );
        let (group, _) = Group::<()>::with_context(&ctx, smol::spawn);
        group.spawn(forever());
        drop(group);
    });
}

/// The observer's panic does not hide the cause of the cancellation from the tasks.
#[test]
fn panicking_observer_hides_no_cause() {
    let (clock, ctx) = manual(Bad);
    let group = InPlaceGroup::<()>::new(&ctx.with_timeout_cause(ms(1), "the page's budget"));
    let ctx = group.context().clone();
    group.spawn(forever());
    clock.advance(ms(1));
    assert!(block_on(group.wait()).unwrap_err().is_deadline_exceeded());
    assert_eq!(ctx.cause().unwrap().to_string(), "the page's budget");
}

/// An error whose text can't be had.
#[derive(Debug)]
struct Mute;

impl fmt::Display for Mute {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Mute {}

#[test]
fn error_whose_text_panics_is_recorded_all_the_same() {
    let recorder = Recorder::new();
    let group = InPlaceGroup::<()>::new(&Context::background().with_observer(recorder.clone()));
    group.spawn(ready(Err(Mute)));
    assert!(block_on(group.wait()).is_err());
    assert!(recorder.to_json().contains("(its text panicked: no words)"));
    assert!(recorder.timeline().to_string().contains("! failed at"));
}

/// What is recorded does not count as a holder of the error.
#[test]
fn recorder_keeps_no_error_from_being_taken_by_value() {
    let recorder = Recorder::new();
    let group = InPlaceGroup::<()>::new(&Context::background().with_observer(recorder.clone()));
    group.spawn(ready(Err(io::Error::from(io::ErrorKind::NotFound))));
    let error: Error = block_on(group.wait()).unwrap_err();
    let taken: Result<io::Error, Error> = error.downcast();
    assert_eq!(taken.unwrap().kind(), io::ErrorKind::NotFound);
    assert!(recorder.to_json().contains("not found"));
}

#[test]
fn clock_that_panics_or_runs_backwards_breaks_no_drawing() {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;
    let start = Instant::now();
    let readings = AtomicU64::new(0);
    let now = move || match readings.fetch_add(1, Ordering::SeqCst) {
        reading if reading % 5 == 4 => std::panic::resume_unwind(Box::new("the clock fails")),
        reading => start + ms(1000 - 10 * (reading % 90)),
    };
    let recorder = Recorder::new();
    let ctx = Context::background().with_clock((now, |_: std::time::Duration| pending::<()>()));
    let group = InPlaceGroup::new(&ctx.with_observer(recorder.clone()));
    group.spawn(forever());
    (0..20).for_each(|n| group.spawn(async move { if n == 19 { Err("refused") } else { Ok(()) } }));
    assert!(block_on(group.wait()).is_err());
    assert!(recorder.timeline().to_string().contains("! failed at"));
    assert!(recorder.to_svg().contains("cancelled"));
    let mut trace = Vec::new();
    recorder.write_chrome_trace(&mut trace).unwrap();
    crate::chrome::check(&trace);
}
