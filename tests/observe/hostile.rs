//! Observers that panic, that block, and that are in the way.

use crate::support::{Log, at_most, forever, manual, ms, watched};
use failfast::group::Scoped;
use failfast::observe::{GroupEvent, Observer, Outcome, Recorder, TaskEvent};
use failfast::{Canceller, Cause, Context, Error, Group, GroupHandle, InPlaceGroup};
use futures::executor::block_on;
use std::convert::Infallible;
use std::fmt;
use std::future::{pending, ready};
use std::io;
use std::sync::{Arc, Mutex};

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

/// It causes the next event in the midst of one: that comes after it, once.
#[test]
fn observer_that_cancels_the_group_that_it_sees_opened() {
    #[derive(Clone)]
    struct Cancels(Log, Arc<Mutex<Option<Canceller>>>);
    impl Observer for Cancels {
        fn group_opened(&self, group: &GroupEvent) {
            self.1.lock().unwrap().take().unwrap().cancel_with("seen");
            self.0.group_opened(group);
        }
        fn canceled(&self, group: &GroupEvent, cause: &Cause) {
            self.0.canceled(group, cause);
        }
        fn group_closed(&self, group: &GroupEvent) {
            self.0.group_closed(group);
        }
    }
    watched(|| {
        let (ctx, canceller) = Context::background().with_cancel();
        let log = Log::default();
        let observer = Cancels(log.clone(), Arc::new(Mutex::new(Some(canceller))));
        let group = InPlaceGroup::<()>::new(&ctx.with_observer(observer));
        assert_eq!(log.all(), ["group_opened", "canceled: seen"]);
        assert_eq!(block_on(group.wait()).unwrap(), []); // it had no tasks
        assert_eq!(
            log.all(),
            ["group_opened", "canceled: seen", "group_closed"]
        );
    });
}

/// A task that is announced, and finds its place taken by what its observer spawned.
#[test]
fn observer_that_spawns_takes_the_place_of_the_task_that_it_sees_spawned() {
    type Handle = GroupHandle<u8, Scoped<'static>>;
    #[derive(Clone)]
    struct Takes(Log, Arc<Mutex<Option<Handle>>>);
    impl Observer for Takes {
        fn task_spawned(&self, task: &TaskEvent) {
            self.0.task_spawned(task);
            let handle = self.1.lock().unwrap().take();
            if let Some(handle) = handle {
                assert!(handle.spawn(ready(Ok::<_, Infallible>(1))).is_ok());
            }
        }
        fn task_queued(&self, task: &TaskEvent) {
            self.0.task_queued(task);
        }
        fn task_ended(&self, task: &TaskEvent, outcome: &Outcome<'_>) {
            self.0.task_ended(task, outcome);
        }
    }
    watched(|| {
        for waits in [false, true] {
            let observer = Takes(Log::default(), Arc::default());
            let ctx = Context::background().with_observer(observer.clone());
            let group = InPlaceGroup::new(&ctx).with_limit(at_most(1));
            *observer.1.lock().unwrap() = Some(group.handle());
            let task = ready(Ok::<_, Infallible>(2));
            match waits {
                true => group.spawn(task),
                false => assert!(group.try_spawn(task).is_err()),
            }
            let results: &[u8] = if waits { &[2, 1] } else { &[1] };
            assert_eq!(block_on(group.wait()).unwrap(), results);
            let log = observer.0;
            assert_eq!(log.count("task_spawned"), 2);
            assert_eq!(log.count("task_queued"), usize::from(waits));
            let cancelled = usize::from(!waits);
            assert_eq!(
                log.all()
                    .iter()
                    .filter(|line| line.ends_with("cancelled"))
                    .count(),
                cancelled
            );
            assert_eq!(log.count("task_ended"), 2);
        }
    });
}
