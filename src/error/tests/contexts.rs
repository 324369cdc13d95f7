//! The errors of contexts, and their causes.

use super::*;

#[test]
fn context_errors_are_equal_by_kind() {
    assert_eq!(canceled().error(), canceled_by("client went away").error());
    assert_ne!(canceled().error(), expired().error());
}

#[test]
fn plain_error_is_its_own_cause_and_is_displayed_once() {
    for (end, text) in [
        (canceled(), "context canceled"),
        (expired(), "context deadline exceeded"),
    ] {
        let error = end.error();
        assert_eq!(error.to_string(), text);
        assert_eq!(error.cause().to_string(), text);
        let itself = error
            .cause()
            .as_error()
            .downcast_ref::<ContextError>()
            .unwrap();
        assert!(std::ptr::eq(itself, &error));
        assert_eq!(itself.cause().origin(), end.cause().origin());
        assert!(error.cause().downcast_ref::<ContextError>().is_some());
    }
}

#[test]
fn words_and_the_cause_behind_them() {
    let end = failed(&task("profile", "connection refused"));
    assert_eq!(
        end.error().to_string(),
        "context canceled: profile: connection refused"
    );
    assert_eq!(end.cause().to_string(), "profile: connection refused");
    let error = end.cause();
    let error = error.as_error().downcast_ref::<Error>().unwrap();
    assert_eq!(error.task().unwrap(), "profile");
}

#[test]
fn given_cause_is_lent_as_it_is() {
    let end = canceled_by(fmt::Error);
    assert!(end.cause().as_error().is::<fmt::Error>());
    let (one, two) = (end.cause(), end.cause());
    assert!(std::ptr::eq(
        one.downcast_ref::<fmt::Error>().unwrap(),
        two.downcast_ref::<fmt::Error>().unwrap()
    ));
}

#[test]
fn reserved_cause_is_seen_by_both_of_two_racing_ends() {
    let reserved = Reserved::new("the page's budget");
    let at = Instant::now();
    let ends = [(); 2].map(|()| End::expired(at, Some(&reserved), here()));
    reserved.release();
    for end in &ends {
        assert_eq!(end.cause().to_string(), "the page's budget");
        assert_eq!(end.at(), Some(at));
    }
    drop(ends);
    assert!(reserved.get().is_none());
}
