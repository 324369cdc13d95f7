//! What errors display.

use super::*;

#[test]
fn each_kind_displays_what_a_person_on_call_needs() {
    let boom = Error::panicked("profile", Box::new("boom"));
    let budget = Reserved::new("dashboard's timeout of 5s");
    let end = End::expired(Instant::now(), Some(&budget), here());
    let waiting = vec!["profile".into(), "orders".into()];
    let slow = Error::stragglers(Duration::from_secs(1), waiting.clone(), canceled().error());
    for (error, text) in [
        (
            task("profile", "connection refused"),
            "profile: connection refused",
        ),
        (boom, "profile: panicked: boom"),
        (
            Error::lost("profile"),
            "profile: lost: the executor dropped the task before it completed (is it shut down?)",
        ),
        (
            Error::ended(end.error(), waiting),
            "context deadline exceeded: dashboard's timeout of 5s (waiting for profile, orders)",
        ),
        (
            Error::ended(
                canceled_by("client went away").error(),
                vec!["orders".into()],
            ),
            "context canceled: client went away (waiting for orders)",
        ),
        (
            Error::ended(canceled().error(), Vec::new()),
            "context canceled",
        ),
        (
            slow,
            "still running 1s after they were canceled: profile, orders",
        ),
        (
            Error::quorum(3, 1),
            "1 of the 3 successes needed, and no task is left to reach them",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn eight_names_at_most_are_listed() {
    let list = |count| Listed(&names(count)).to_string();
    assert_eq!(list(0), "");
    assert_eq!(list(1), "t0");
    assert_eq!(list(8), "t0, t1, t2, t3, t4, t5, t6, t7");
    assert_eq!(list(9), "t0, t1, t2, t3, t4, t5, t6, t7 and 1 more");
    assert_eq!(list(1000), "t0, t1, t2, t3, t4, t5, t6, t7 and 992 more");
}

#[test]
fn alternate_form_goes_down_to_the_root() {
    let nested = task("page", task("profile", request_failed()));
    assert_eq!(nested.to_string(), "page: profile: request failed");
    assert_eq!(
        format!("{nested:#}"),
        "page: profile: request failed: connection refused"
    );

    let end = failed(&task("profile", request_failed()));
    let origin = end.cause().origin();
    assert_eq!(end.cause().to_string(), "profile: request failed");
    assert_eq!(
        format!("{:#}", end.cause()),
        format!("profile: request failed: connection refused (context made at {origin})")
    );
    let slow = Error::stragglers(Duration::from_secs(1), vec!["a".into()], end.error());
    assert_eq!(
        format!("{slow:#}"),
        format!(
            "still running 1s after they were canceled: a: context canceled: profile: \
             request failed: connection refused (context made at {origin})"
        )
    );
}

#[test]
fn alternate_form_names_the_place_once() {
    let end = canceled();
    let full = format!(
        "context canceled (context made at {})",
        end.cause().origin()
    );
    assert_eq!(format!("{:#}", end.error()), full);
    assert_eq!(format!("{:#}", end.cause()), full);
    let end = End::finished(here());
    let (file, line) = (end.cause().origin().file(), end.cause().origin().line());
    let full = format!("the group made at {file}:{line} has finished");
    assert_eq!(format!("{:#}", end.cause()), full);
}

#[test]
fn every_end_holds_its_cause() {
    let (file, line) = (file!(), line!() + 1);
    let (done, stopped) = (End::finished(here()), End::stopped(here()));
    let place = format!("context canceled: the group made at {file}:{line}");
    assert_eq!(done.error().to_string(), format!("{place} has finished"));
    assert_eq!(stopped.error().to_string(), format!("{place} was stopped"));
    let dropped = End::canceller_dropped(here());
    assert_eq!(
        dropped.error().to_string(),
        "context canceled: its canceller was dropped"
    );
    let broken = End::timer_failed("the clock panicked", here());
    assert_eq!(
        broken.error().to_string(),
        "context canceled: the clock panicked"
    );
    assert!(broken.kind() == ContextErrorKind::Canceled && broken.at().is_none());
}

#[test]
fn debug_shows_everything_that_unwrap_should_print() {
    let error = task("profile", request_failed());
    error.set_others(vec![task("orders", "no such user")], 2);
    let text = format!("{error:?}");
    for part in [
        "Task",
        "\"profile\"",
        "connection refused",
        "no such user",
        "omitted: 2",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let panicked = format!("{:?}", Error::panicked("a", Box::new("boom")));
    assert!(panicked.contains("panic: \"boom\""), "{panicked}");
    let end = canceled_by("client went away");
    let ended = format!("{:?}", Error::ended(end.error(), names(1)));
    assert!(
        ended.contains("Cause(client went away (context made at "),
        "{ended}"
    );
    assert!(ended.contains("pending: [\"t0\"]"), "{ended}");
    assert!(format!("{:?}", end.error()).starts_with("ContextError(context canceled: client"));
    let nested = format!("{:?}", task("page", task("profile", "refused")));
    assert!(nested.contains("error: profile: refused"), "{nested}");
}
