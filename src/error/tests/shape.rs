//! Sizes, names and kinds.

use super::*;

#[test]
fn errors_are_a_word_and_names_are_two() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), ContextError>>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Cause>>(), size_of::<usize>());
    assert!(size_of::<Name>() <= 16);
}

#[test]
fn static_name_is_borrowed_and_other_names_are_shared() {
    static TEXT: &str = "profile";
    assert!(std::ptr::eq(Name::from(TEXT).as_str(), TEXT));
    let name = Name::from("orders".to_owned());
    assert!(std::ptr::eq(name.as_str(), name.clone().as_str()));
    assert_eq!(Name::of_number(3), "task 3");
}

#[test]
fn each_kind_has_its_kind_its_task_and_the_pending_tasks() {
    let payload: unwind::Payload = Box::new("boom");
    for (error, kind, task) in [
        (task("a", "refused"), ErrorKind::Task, Some("a")),
        (
            Error::panicked("a", payload),
            ErrorKind::Panicked,
            Some("a"),
        ),
        (Error::lost("a"), ErrorKind::Lost, Some("a")),
        (Error::quorum(3, 1), ErrorKind::Quorum, None),
    ] {
        assert_eq!(
            (error.kind(), error.task().map(|name| &**name)),
            (kind, task)
        );
        assert!(error.pending().is_empty() && error.cause().is_none());
        assert!(!error.is_canceled() && !error.is_deadline_exceeded());
    }
    let late = Error::ended(expired().error(), names(2));
    assert!(late.is_deadline_exceeded() && !late.is_canceled() && late.cause().is_some());
    let gone = Error::ended(canceled().error(), names(2));
    assert!(gone.is_canceled() && !gone.is_deadline_exceeded() && gone.cause().is_some());
    let slow = Error::stragglers(Duration::from_secs(1), names(2), expired().error());
    assert_eq!(slow.kind(), ErrorKind::Stragglers);
    assert!(slow.is_deadline_exceeded() && slow.cause().is_some());
    for error in [late, gone, slow] {
        assert_eq!((error.pending(), error.task()), (&names(2)[..], None));
    }
}
