//! `downcast` by value.

use super::*;

#[test]
fn only_holder_gets_it_by_value() {
    let error = task("profile", request_failed());
    assert_eq!(
        error.downcast::<RequestFailed>().unwrap().to_string(),
        "request failed"
    );
}

#[test]
fn contexts_do_not_count_and_keep_the_text() {
    let error = task("profile", request_failed());
    let end = failed(&error);
    let found = error.downcast::<RequestFailed>().unwrap();
    assert_eq!(found.0.to_string(), "connection refused");
    let cause = end.cause();
    assert_eq!(cause.to_string(), "profile: request failed");
    assert!(cause.downcast_ref::<RequestFailed>().is_none());
    assert_eq!(cause.origin(), end.cause().origin());
    assert_eq!(
        end.error().to_string(),
        "context canceled: profile: request failed"
    );
    assert_eq!(
        report(end.error()),
        "context canceled: profile: request failed"
    );
}

#[test]
fn clone_keeps_it_and_nothing_is_lost() {
    let error = task("profile", request_failed());
    error.set_others(vec![task("orders", "no such user")], 1);
    let clone = error.clone();
    let error = error.downcast::<RequestFailed>().unwrap_err();
    assert!(error.is_same_handle(&clone));
    assert_eq!((error.others().len(), error.omitted()), (1, 1));
    assert!(error.downcast_ref::<RequestFailed>().is_some());
    drop(clone);
    error.downcast::<RequestFailed>().unwrap();
}

#[test]
fn cause_or_context_error_in_somebodys_hand_keeps_it() {
    let mut error = task("profile", request_failed());
    let end = failed(&error);
    let cause = end.cause();
    error = error.downcast::<RequestFailed>().unwrap_err();
    assert!(cause.downcast_ref::<RequestFailed>().is_some());
    drop(cause);
    let ended = end.error();
    error = error.downcast::<RequestFailed>().unwrap_err();
    drop(ended);
    let cause = end.cause();
    let twin = cause.as_error().downcast_ref::<Error>().unwrap().clone();
    drop(cause);
    error = error.downcast::<RequestFailed>().unwrap_err();
    assert!(end.cause().downcast_ref::<RequestFailed>().is_some());
    drop(twin);
    error.downcast::<RequestFailed>().unwrap();
}

#[test]
fn cause_that_outlives_its_context_keeps_it() {
    let error = task("profile", request_failed());
    let end = failed(&error);
    let cause = end.cause();
    drop(end);
    let error = error.downcast::<RequestFailed>().unwrap_err();
    drop(cause);
    error.downcast::<RequestFailed>().unwrap();
}

#[test]
fn later_failure_that_carries_the_cause_keeps_it() {
    let error = task("profile", request_failed());
    let end = failed(&error);
    error.set_others(vec![task("rollback", end.error())], 0);
    let error = error.downcast::<RequestFailed>().unwrap_err();
    assert_eq!(error.others().len(), 1);
}

#[test]
fn nested_groups_are_gone_through() {
    let inner = task("profile", request_failed());
    let inner_end = failed(&inner);
    let outer = task("page", inner);
    let outer_end = failed(&outer);
    let cause = inner_end.cause();
    let outer = outer.downcast::<RequestFailed>().unwrap_err();
    assert!(outer_end.cause().downcast_ref::<RequestFailed>().is_some());
    drop(cause);
    outer.downcast::<RequestFailed>().unwrap();
    assert_eq!(
        outer_end.cause().to_string(),
        "page: profile: request failed"
    );
    assert_eq!(inner_end.cause().to_string(), "profile: request failed");
}

#[test]
fn nested_error_is_moved_out_whole() {
    let inner = task("profile", request_failed());
    let inner_end = failed(&inner);
    let outer = task("page", inner.clone()); // a clone of what is looked for harms nothing
    let found = outer.downcast::<Error>().unwrap();
    assert!(found.is_same_handle(&inner));
    assert!(inner_end.cause().downcast_ref::<RequestFailed>().is_some());
}

#[test]
fn reason_of_a_canceled_context_is_moved_out() {
    let end = canceled_by(request_failed());
    let error = Error::ended(end.error(), names(2));
    let held = end.error();
    let error = error.downcast::<RequestFailed>().unwrap_err();
    assert_eq!(error.pending().len(), 2);
    drop(held);
    error.downcast::<RequestFailed>().unwrap();
    assert_eq!(end.error().to_string(), "context canceled: request failed");
}

#[test]
fn context_error_itself_is_moved_out() {
    let end = canceled_by(request_failed());
    let error = task("page", Error::ended(end.error(), Vec::new()));
    let found = error.downcast::<ContextError>().unwrap();
    assert!(found.cause().downcast_ref::<RequestFailed>().is_some());
    let plain = task("page", canceled().cause());
    assert!(plain.downcast::<ContextError>().unwrap().is_canceled());
}

#[test]
fn reserved_reason_is_moved_out_once_it_is_released() {
    let reserved = Reserved::new(request_failed());
    let end = End::expired(Instant::now(), Some(&reserved), here());
    let error = Error::ended(end.error(), Vec::new());
    let error = error.downcast::<RequestFailed>().unwrap_err();
    reserved.release();
    error.downcast::<RequestFailed>().unwrap();
}

#[test]
fn failure_behind_a_context_error_is_moved_out() {
    // A task of another group returned why that group had ended, and that group was dropped long ago.
    let gone = task("profile", request_failed());
    let end = failed(&gone);
    let error = task("page", Error::ended(end.error(), Vec::new()));
    let error = error.downcast::<RequestFailed>().unwrap_err();
    drop(gone);
    error.downcast::<RequestFailed>().unwrap();
    assert_eq!(end.cause().to_string(), "profile: request failed");
}

#[test]
fn stragglers_and_io_errors_are_gone_through() {
    let end = canceled_by(io::Error::other(request_failed()));
    let slow = Error::stragglers(Duration::from_secs(1), names(1), end.error());
    slow.downcast::<RequestFailed>().unwrap();
}

#[test]
fn no_such_error_changes_nothing() {
    let error = task("profile", request_failed());
    let end = failed(&error);
    // It is behind the task's error, as a field of it: it can be seen, but not moved.
    assert!(error.downcast_ref::<io::Error>().is_some());
    let error = error.downcast::<io::Error>().unwrap_err();
    let error = error.downcast::<fmt::Error>().unwrap_err();
    assert!(end.cause().downcast_ref::<RequestFailed>().is_some());
    assert_eq!(error.to_string(), "profile: request failed");
    Error::lost("a").downcast::<fmt::Error>().unwrap_err();
    Error::ended(canceled().error(), Vec::new())
        .downcast::<fmt::Error>()
        .unwrap_err();
}

#[test]
fn text_that_panics_is_replaced() {
    #[derive(Debug)]
    struct Mute;
    impl fmt::Display for Mute {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no words")
        }
    }
    impl StdError for Mute {}
    let error = task("profile", Mute);
    let end = failed(&error);
    error.downcast::<Mute>().unwrap();
    assert_eq!(
        end.cause().to_string(),
        "a reason whose text panicked: no words"
    );
}

#[test]
fn race_between_a_downcast_and_askers() {
    for round in 0..500 {
        let error = task("profile", request_failed());
        let end = failed(&error);
        let outer = task("page", error);
        let outer_end = failed(&outer);
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let asked = if round % 2 == 0 {
                    end.cause()
                } else {
                    outer_end.cause()
                };
                let whole = asked.downcast_ref::<RequestFailed>().is_some();
                (asked, whole)
            });
            let moved = outer.downcast::<RequestFailed>();
            let (asked, whole) = asked.join().unwrap();
            // A thread that saw the whole error holds it, unless all was moved out before.
            assert!(moved.is_ok() != whole);
            let text = if round % 2 == 0 {
                "profile: request failed"
            } else {
                "page: profile: request failed"
            };
            assert_eq!(asked.to_string(), text);
        });
    }
}

#[test]
fn deep_nesting_needs_no_stack() {
    let mut error = task("root", request_failed());
    let mut ends = Vec::new();
    for _ in 0..2_000 {
        ends.push(failed(&error));
        error = task("a", error);
    }
    error.downcast::<RequestFailed>().unwrap();
}
