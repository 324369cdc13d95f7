//! What an error says: in a word, and in full.

use failfast::{Context, Error, Group, Name};
use std::borrow::Cow;
use std::collections::HashSet;
use std::error::Error as StdError;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// An error with a source behind it that it does not display.
#[derive(Debug)]
struct RequestFailed(io::Error);

impl fmt::Display for RequestFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("request failed")
    }
}

impl StdError for RequestFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

fn refused() -> RequestFailed {
    RequestFailed(io::Error::other("connection refused"))
}

/// The error of a group of one task, which returned `error`.
fn failed(name: &'static str, error: impl StdError + Send + Sync + 'static) -> Error {
    let group = Group::<_, ()>::in_place(&Context::background());
    group.spawn_named(name, async { Err(error) });
    smol::block_on(group.wait()).unwrap_err()
}

#[test]
fn displayed_in_a_word_after_a_failure() {
    // "It displays as `profile: connection refused`".
    assert_eq!(
        failed("profile", refused()).to_string(),
        "profile: request failed"
    );
}

#[test]
fn displayed_in_full_after_a_failure() {
    // "`source()` leads to the task's own error and on": the alternate form tells all of it.
    let error = failed("profile", refused());
    assert_eq!(
        format!("{error:#}"),
        "profile: request failed: connection refused"
    );
}

#[test]
fn displayed_in_full_after_a_failure_in_a_nested_group() {
    // Every hop once: our errors display what they wrap, so they are not told again as its source.
    let error = failed("page", failed("profile", refused()));
    assert_eq!(error.to_string(), "page: profile: request failed");
    assert_eq!(
        format!("{error:#}"),
        "page: profile: request failed: connection refused"
    );
}

#[test]
fn displayed_in_full_after_a_deadline() {
    // "which timeout was it?": the cause, and where its context was made.
    let late = Context::background().with_timeout_cause(Duration::ZERO, "the page's budget");
    let group = Group::<_, ()>::in_place(&late);
    group.spawn(async { Ok::<_, io::Error>(()) });
    let error = smol::block_on(group.wait()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "context deadline exceeded: the page's budget"
    );
    let start = "context deadline exceeded: the page's budget (context made at tests/it/error.rs:";
    assert!(format!("{error:#}").starts_with(start), "{error:#}");
}

#[test]
fn downcast_after_a_failure_in_a_nested_group() {
    // "`downcast_ref::<E>()` gets it back": the task's own error, also if that is one of ours.
    let error = failed("page", failed("profile", refused()));
    let nested = error.downcast_ref::<Error>().unwrap();
    assert_eq!(nested.name().unwrap(), "profile");
    assert!(error.downcast_ref::<RequestFailed>().is_some());
    assert!(nested.downcast_ref::<Error>().is_none());
}

#[test]
fn debug_shows_the_failure_the_panic_and_the_cause() {
    // What `unwrap` prints.
    let error = format!("{:?}", failed("profile", refused()));
    assert!(error.contains("\"profile\"") && error.contains("connection refused"));
    let panicking = Group::<_, ()>::in_place(&Context::background());
    panicking.spawn(async {
        if true {
            panic!("boom")
        }
        Ok::<_, io::Error>(())
    });
    let error = smol::block_on(panicking.wait()).unwrap_err();
    assert!(format!("{error:?}").contains("Panic(\"boom\")"));
    let (ctx, canceller) = Context::background().with_cancel();
    canceller.cancel_with("client went away");
    let cause = format!("{:?}", ctx.cause().unwrap());
    assert!(cause.starts_with("Cause(client went away (context made at tests/it/error.rs:"));
}

#[test]
fn failure_displays_as_what_it_is() {
    let Error::Task { error, .. } = failed("profile", refused()) else {
        unreachable!("it failed")
    };
    assert_eq!(error.to_string(), "request failed");
}

#[test]
fn names_are_text_whatever_they_were_made_of() {
    let name = Name::from("profile");
    let others: [Name; 4] = [
        "profile".to_owned().into(),
        Arc::<str>::from("profile").into(),
        Cow::Borrowed("profile").into(),
        Cow::<str>::Owned("profile".to_owned()).into(),
    ];
    let (known, text) = (HashSet::from([name.clone()]), "profile".to_owned());
    for other in others {
        assert!(other == name && known.contains(&other));
        assert!(other == *"profile" && other == "profile" && other == text);
        assert_eq!(AsRef::<str>::as_ref(&other), "profile");
        assert_eq!(format!("{other:?} {other:>8}"), "\"profile\"  profile");
    }
    let orders = Name::from("orders");
    assert!(orders != name && !known.contains(&orders));
    assert!(orders != *"profile" && orders != "profile" && orders != text);
    let hasher = RandomState::new();
    assert_ne!(hasher.hash_one(&orders), hasher.hash_one(&name));
}
