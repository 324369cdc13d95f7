//! What `Debug` shows: enough to tell what something is and where it stands, and no user's data.

use crate::executor::Executor;
use crate::support::{SECOND, manual};
use failfast::clock::{Clock, LocalClock, ManualClock, Sleep, SystemClock};
use failfast::{Context, Group, LocalGroup, LocalTask, Task};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Instant;

#[test]
fn tasks_are_opaque() {
    let shown = Arc::new(Mutex::new(String::new()));
    let seen = shown.clone();
    let group = Group::new(move |task: Task| *seen.lock().unwrap() = format!("{task:?}"));
    group.spawn(ready(Ok::<_, Infallible>(1)));
    assert_eq!(*shown.lock().unwrap(), "Task { .. }");
    let shown = std::rc::Rc::new(RefCell::new(String::new()));
    let seen = shown.clone();
    let group = LocalGroup::new(move |task: LocalTask| *seen.borrow_mut() = format!("{task:?}"));
    group.spawn(ready(Ok::<_, Infallible>(1)));
    assert_eq!(*shown.borrow(), "LocalTask { .. }");
}

#[test]
fn a_fork_tells_whether_its_answer_is_there() {
    let executor = Executor::new();
    let group = Group::<()>::new(executor.spawner());
    let fork = group.fork("profile", ready(Ok::<_, Infallible>(1)));
    assert_eq!(format!("{fork:?}"), "Fork { ready: false }");
    executor.run();
    assert_eq!(format!("{fork:?}"), "Fork { ready: true }");
}

#[test]
fn a_canceller_tells_whether_its_context_has_ended() {
    let (ctx, canceller) = Context::background().with_cancel();
    assert_eq!(format!("{canceller:?}"), "Canceller { done: false }");
    canceller.cancel();
    assert_eq!(format!("{canceller:?}"), "Canceller { done: true }");
    drop(ctx);
}

#[test]
fn a_callback_tells_whether_it_waits() {
    let (ctx, canceller) = Context::background().with_cancel();
    let waits = ctx.on_done(|| ());
    let kept = Context::background().on_done(|| ());
    assert_eq!(format!("{waits:?}"), "OnDone { waits: true }");
    assert_eq!(format!("{kept:?}"), "OnDone { waits: true }");
    canceller.cancel();
    assert_eq!(format!("{waits:?}"), "OnDone { waits: false }");
    let late = ctx.on_done(|| ());
    assert_eq!(format!("{late:?}"), "OnDone { waits: false }");
}

/// Every kind of sleep, before and after its end.
#[test]
fn a_sleep_tells_its_deadline_or_its_end() {
    let (clock, _) = manual();
    let shows = |sleep: &Sleep, deadline: Instant| {
        assert_eq!(
            format!("{sleep:?}"),
            format!("Sleep {{ deadline: {deadline:?}, .. }}")
        );
    };
    let at = clock.now() + SECOND;
    let mut manual = clock.sleep_until(at);
    shows(&manual, at);
    shows(&SystemClock.sleep_until(at), at);
    let local = LocalClock::new(|_| ready(()));
    assert_eq!(format!("{local:?}"), "LocalClock { .. }");
    shows(&local.sleep_until(at), at);
    let foreign = |_| std::future::pending::<()>();
    assert_eq!(format!("{:?}", foreign.sleep_until(at)), "Sleep { .. }");
    clock.advance(SECOND);
    assert!(futures::executor::block_on(&mut manual).is_ok());
    assert_eq!(format!("{manual:?}"), "Sleep { ended: Ok(()), .. }");
    assert_eq!(
        format!("{:?}", ManualClock::new()).split(' ').next(),
        Some("ManualClock")
    );
}
