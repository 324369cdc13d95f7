//! The text of an error, what it holds, and how that is taken out.

use failfast::context::ContextErrorKind;
use failfast::{
    BoxError, Cause, Context, ContextError, Ending, Error, ErrorKind, Group, InPlaceGroup, Name,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error as StdError;
use std::fmt;
use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

/// The error of a group of one task, which returned `error`, and the group's context.
fn failed_with_context(name: &'static str, error: impl Into<BoxError> + Send) -> (Error, Context) {
    let group = InPlaceGroup::<()>::new(&Context::background());
    let ctx = group.context().clone();
    let error = error.into();
    group.spawn_named(name, async { Err(error) });
    (smol::block_on(group.wait()).unwrap_err(), ctx)
}

fn failed(name: &'static str, error: impl Into<BoxError> + Send) -> Error {
    failed_with_context(name, error).0
}

/// The error of a group whose tasks all wait when it is canceled.
fn canceled(names: &[&'static str], reason: impl Into<BoxError>) -> Error {
    let group = InPlaceGroup::<()>::new(&Context::background());
    for name in names {
        group.spawn_named(*name, pending::<Result<(), io::Error>>());
    }
    group.cancel_with(reason);
    smol::block_on(group.wait()).unwrap_err()
}

fn panicked(payload: impl Send + 'static) -> Error {
    let group = InPlaceGroup::<()>::new(&Context::background());
    group.spawn_named("profile", async {
        std::panic::resume_unwind(Box::new(payload));
        #[expect(unreachable_code, reason = "it gives the type")]
        Ok::<_, io::Error>(())
    });
    smol::block_on(group.wait()).unwrap_err()
}

/// The text of a report that prints an error and all its sources.
fn report(error: &dyn StdError) -> String {
    let (mut texts, mut next) = (Vec::new(), Some(error));
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts.join(": ")
}

#[test]
fn errors_are_one_word_wide() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), ContextError>>(), size_of::<usize>());
    assert_eq!(size_of::<Cause>(), size_of::<usize>());
}

#[test]
fn errors_are_shared_between_threads() {
    fn shared<T: Clone + fmt::Debug + fmt::Display + StdError + Send + Sync + Unpin + 'static>() {}
    shared::<Error>();
    shared::<ContextError>();
    shared::<Cause>();
}

#[test]
fn displayed_in_a_word_after_a_failure() {
    let error = failed("profile", refused());
    assert_eq!(error.to_string(), "profile: request failed");
    assert_eq!(error.kind(), ErrorKind::Task);
    assert_eq!(error.task().unwrap(), "profile");
    assert!(error.cause().is_none() && error.pending().is_empty());
}

#[test]
fn displayed_in_full_after_a_failure() {
    let error = failed("profile", refused());
    assert_eq!(
        format!("{error:#}"),
        "profile: request failed: connection refused"
    );
}

#[test]
fn displayed_in_full_after_a_failure_in_a_nested_group() {
    let error = failed("page", failed("profile", refused()));
    assert_eq!(error.to_string(), "page: profile: request failed");
    assert_eq!(
        format!("{error:#}"),
        "page: profile: request failed: connection refused"
    );
}

#[test]
fn displayed_in_full_after_a_deadline() {
    let late = Context::background().with_timeout_cause(Duration::ZERO, "the page's budget");
    let group = InPlaceGroup::<()>::new(&late);
    group.spawn_named("profile", async { Ok::<_, io::Error>(()) });
    let error = smol::block_on(group.wait()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(error.is_deadline_exceeded() && error.is_timeout() && !error.is_canceled());
    assert_eq!(
        error.to_string(),
        "context deadline exceeded: the page's budget (waiting for profile)"
    );
    let start = "context deadline exceeded: the page's budget (context made at tests/it/error.rs:";
    assert!(format!("{error:#}").starts_with(start), "{error:#}");
}

#[test]
fn displayed_with_the_pending_tasks_after_a_cancellation() {
    let error = canceled(&["profile", "orders"], "client went away");
    assert_eq!(
        error.to_string(),
        "context canceled: client went away (waiting for profile, orders)"
    );
    assert_eq!(error.pending(), ["profile", "orders"]);
    assert!(error.is_canceled() && !error.is_timeout() && error.task().is_none());
    assert_eq!(error.cause().unwrap().to_string(), "client went away");
}

#[test]
fn eight_pending_names_at_most_are_displayed() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    for (count, waiting) in [
        (7, "a, b, c, d, e, f, g"),
        (8, "a, b, c, d, e, f, g, h"),
        (9, "a, b, c, d, e, f, g, h and 1 more"),
        (10, "a, b, c, d, e, f, g, h and 2 more"),
    ] {
        let error = canceled(&names[..count], "enough");
        assert_eq!(
            error.to_string(),
            format!("context canceled: enough (waiting for {waiting})")
        );
        assert_eq!(error.pending().len(), count);
    }
}

#[test]
fn displayed_with_the_message_after_a_panic() {
    let error = panicked("boom");
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(error.to_string(), "profile: panicked: boom");
}

#[test]
fn lost_task_is_displayed_with_a_hint() {
    let group = Group::<()>::new(drop::<failfast::Task>);
    group.spawn_named("profile", async { Ok::<_, io::Error>(()) });
    let error = smol::block_on(group.wait()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert_eq!(
        error.to_string(),
        "profile: lost: the executor dropped the task before it completed (is it shut down?)"
    );
}

#[test]
fn missed_quorum_is_displayed_with_both_counts() {
    let three = Ending::Quorum(3.try_into().unwrap());
    let group = InPlaceGroup::<()>::new(&Context::background()).with_ending(three);
    group.spawn(async { Ok::<_, io::Error>(()) });
    let error = smol::block_on(group.wait()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Quorum);
    assert!(
        error.to_string().starts_with("1 of the 3 successes"),
        "{error}"
    );
}

#[test]
fn each_text_is_there_once_in_a_chain() {
    let nested = failed("page", failed("profile", refused()));
    assert_eq!(
        report(&nested),
        "page: profile: request failed: connection refused"
    );
    let (_error, ctx) = failed_with_context("profile", refused());
    let text = "profile: request failed: connection refused";
    assert_eq!(report(&ctx.cause().unwrap()), text);
    assert_eq!(
        report(&ctx.err().unwrap()),
        format!("context canceled: {text}")
    );
    let plain = canceled(&["page"], io::Error::other("client went away"));
    let text = "context canceled: client went away (waiting for page)";
    assert_eq!(report(&plain), text);
}

#[test]
fn each_text_is_there_once_in_a_chain_of_thiserrors() {
    #[derive(Debug, thiserror::Error)]
    enum PageError {
        #[error("page {0} failed")]
        Silent(u32, #[source] Error),
        #[error(transparent)]
        Transparent(#[from] Error),
    }
    let text = "profile: request failed: connection refused";
    let transparent = PageError::from(failed("profile", refused()));
    assert_eq!(report(&transparent), text);
    let silent = PageError::Silent(7, failed("profile", refused()));
    assert_eq!(report(&silent), format!("page 7 failed: {text}"));
}

#[test]
fn downcast_ref_after_a_failure_in_a_nested_group() {
    let error = failed("page", failed("profile", refused()));
    let nested = error.downcast_ref::<Error>().unwrap();
    assert_eq!(nested.task().unwrap(), "profile");
    assert!(error.downcast_ref::<RequestFailed>().is_some());
    assert!(nested.downcast_ref::<Error>().is_none());
}

#[test]
fn downcast_ref_finds_the_context_error_and_what_is_behind_it() {
    let error = failed("page", canceled(&["profile"], refused()));
    let ended = error.downcast_ref::<ContextError>().unwrap();
    assert_eq!(ended.kind(), ContextErrorKind::Canceled);
    assert!(error.downcast_ref::<RequestFailed>().is_some());
    assert!(error.downcast_ref::<io::Error>().is_some());
}

#[test]
fn timeout_is_found_anywhere_down_the_chain() {
    let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
    let late = Context::background().with_timeout(Duration::ZERO);
    for error in [
        failed("a", timed_out()),
        failed("a", RequestFailed(timed_out())),
        failed("a", failed("b", io::Error::other(timed_out()))),
        failed("a", late.err().unwrap()),
        failed("a", late.cause().unwrap()),
        canceled(&["a"], timed_out()),
    ] {
        assert!(
            error.is_timeout() && !error.is_deadline_exceeded(),
            "{error:?}"
        );
    }
    assert!(!failed("a", refused()).is_timeout());
    assert!(!canceled(&["a"], "client went away").is_timeout());
}

#[test]
fn downcast_by_value_after_a_failure() {
    // "Contexts do not count as holders: after a successful downcast they keep the text alone."
    let (error, ctx) = failed_with_context("profile", refused());
    let found: RequestFailed = error.downcast().unwrap();
    assert_eq!(found.0.to_string(), "connection refused");
    let cause = ctx.cause().unwrap();
    assert_eq!(cause.to_string(), "profile: request failed");
    assert!(cause.downcast_ref::<RequestFailed>().is_none());
}

#[test]
fn downcast_by_value_through_nested_groups() {
    let (inner, inner_ctx) = failed_with_context("profile", refused());
    let (outer, outer_ctx) = failed_with_context("page", inner);
    outer.downcast::<RequestFailed>().unwrap();
    let (inner, outer) = (inner_ctx.cause().unwrap(), outer_ctx.cause().unwrap());
    assert_eq!(inner.to_string(), "profile: request failed");
    assert_eq!(outer.to_string(), "page: profile: request failed");
}

#[test]
fn downcast_by_value_of_what_a_context_was_canceled_with() {
    let found = canceled(&["a"], refused()).downcast::<RequestFailed>();
    assert!(found.is_ok());
    let (ctx, canceller) = Context::background().with_cancel();
    canceller.cancel_with(refused());
    let error = failed("a", ctx.err().unwrap());
    assert!(error.downcast::<RequestFailed>().is_ok());
    assert_eq!(
        ctx.err().unwrap().to_string(),
        "context canceled: request failed"
    );
}

#[test]
fn downcast_by_value_of_what_a_deadline_was_given() {
    let late = Context::background().with_timeout_cause(Duration::ZERO, refused());
    let child = late.with_value(1); // it shares the end
    let group = InPlaceGroup::<()>::new(&child);
    group.spawn(async { Ok::<_, io::Error>(()) });
    let error = smol::block_on(group.wait()).unwrap_err();
    assert!(error.downcast::<RequestFailed>().is_ok());
    assert_eq!(child.cause().unwrap().to_string(), "request failed");
    assert_eq!(late.cause().unwrap().to_string(), "request failed");
}

#[test]
fn downcast_by_value_is_refused_while_there_is_another_reference() {
    // "then `Err(self)`, nothing lost."
    let (mut error, ctx) = failed_with_context("profile", refused());
    let clone = error.clone();
    error = error.downcast::<RequestFailed>().unwrap_err();
    drop(clone);
    let cause = ctx.cause();
    error = error.downcast::<RequestFailed>().unwrap_err();
    drop(cause);
    let ended = ctx.check();
    error = error.downcast::<RequestFailed>().unwrap_err();
    drop(ended);
    assert!(error.downcast_ref::<RequestFailed>().is_some());
    assert!(
        ctx.cause()
            .unwrap()
            .downcast_ref::<RequestFailed>()
            .is_some()
    );
    assert!(error.downcast::<RequestFailed>().is_ok());
}

#[test]
fn downcast_by_value_of_another_type_gives_the_error_back() {
    let (error, ctx) = failed_with_context("profile", refused());
    let error = error.downcast::<fmt::Error>().unwrap_err();
    assert_eq!(error.to_string(), "profile: request failed");
    assert!(error.downcast_ref::<RequestFailed>().is_some());
    assert!(
        ctx.cause()
            .unwrap()
            .downcast_ref::<RequestFailed>()
            .is_some()
    );
}

#[test]
fn resume_unwind_gives_the_payload_to_the_first_and_the_text_to_the_next() {
    let error = panicked(42_u64);
    let clone = error.clone();
    let resumed = |error: Error| catch_unwind(AssertUnwindSafe(|| error.resume_unwind()));
    assert_eq!(resumed(error).unwrap_err().downcast_ref(), Some(&42_u64));
    let text = "a payload that is not text".to_owned();
    assert_eq!(resumed(clone).unwrap_err().downcast_ref(), Some(&text));
}

#[test]
fn resume_unwind_of_another_kind_panics_with_the_text() {
    let error = failed("profile", refused());
    let caught = catch_unwind(AssertUnwindSafe(|| error.resume_unwind())).unwrap_err();
    assert_eq!(
        caught.downcast_ref(),
        Some(&"profile: request failed".to_owned())
    );
}

#[test]
fn failures_that_followed_are_kept_and_echoes_are_not() {
    let group = InPlaceGroup::<()>::new(&Context::background());
    let ctx = group.context().clone();
    // It yields once, so that the others have started: what has not started when the group ends never does.
    group.spawn_named("first", async {
        smol::future::yield_now().await;
        Err("refused")
    });
    let echo = ctx.clone();
    group.spawn_named("echo", async move { echo.run(pending()).await });
    group.spawn_named("rollback", async move {
        ctx.done().await;
        Err(io::Error::other("rollback failed"))
    });
    let error = smol::block_on(group.wait()).unwrap_err();
    assert_eq!(error.to_string(), "first: refused");
    let others: Vec<_> = error.others().iter().map(Error::to_string).collect();
    assert_eq!(others, ["rollback: rollback failed"]);
    assert_eq!(error.omitted(), 0);
}

#[test]
fn destructors_that_panic_are_contained() {
    #[derive(Debug)]
    struct Bomb;
    impl fmt::Display for Bomb {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bomb")
        }
    }
    impl StdError for Bomb {}
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    let group = InPlaceGroup::<()>::new(&Context::background()).with_ending(Ending::Settle);
    for _ in 0..3 {
        group.spawn(async { Err(Bomb) });
    }
    let error = smol::block_on(group.wait()).unwrap_err();
    assert_eq!(error.others().len(), 2);
    drop(error);
}

#[test]
fn deep_nesting_is_dropped_and_displayed_without_a_deep_stack() {
    let mut error = failed("root", refused());
    for _ in 0..20_000 {
        error = failed("a", error);
    }
    assert!(error.to_string().ends_with("root: request failed"));
    assert!(error.downcast_ref::<RequestFailed>().is_some());
    drop(error);
}

#[test]
fn context_error_carries_its_cause() {
    let (ctx, canceller) = Context::background().with_cancel();
    canceller.cancel_with(refused());
    let ended = ctx.check().unwrap_err();
    assert!(ended.is_canceled() && !ended.is_deadline_exceeded());
    assert_eq!(ended.to_string(), "context canceled: request failed");
    assert_eq!(ended.cause().to_string(), "request failed");
    assert_eq!(ended.source().unwrap().to_string(), "connection refused");
    assert!(ended.cause().as_error().is::<RequestFailed>());
}

#[test]
fn plain_context_error_is_its_own_cause() {
    let (ctx, canceller) = Context::background().with_cancel();
    canceller.cancel();
    let ended = ctx.err().unwrap();
    assert_eq!(report(&ended), "context canceled");
    assert_eq!(report(ended.cause()), "context canceled");
    let itself = ended.cause().as_error().downcast_ref::<ContextError>();
    assert!(std::ptr::eq(itself.unwrap(), &ended));
}

#[test]
fn context_errors_are_equal_if_their_kinds_are() {
    let (one, canceller) = Context::background().with_cancel();
    canceller.cancel_with("client went away");
    let (two, canceller) = Context::background().with_cancel();
    canceller.cancel();
    let late = Context::background().with_timeout(Duration::ZERO);
    assert_eq!(one.err(), two.err());
    assert_ne!(one.err(), late.err());
}

#[test]
fn debug_shows_the_failure_the_panic_and_the_cause() {
    let error = format!("{:?}", failed("profile", refused()));
    assert!(error.contains("\"profile\"") && error.contains("connection refused"));
    let error = format!("{:?}", panicked("boom"));
    assert!(error.contains("panic: \"boom\""), "{error}");
    let (ctx, canceller) = Context::background().with_cancel();
    canceller.cancel_with("client went away");
    let cause = format!("{:?}", ctx.cause().unwrap());
    assert!(cause.starts_with("Cause(client went away (context made at tests/it/error.rs:"));
}

#[test]
fn a_cause_that_is_a_text_shows_where_its_context_was_made() {
    let (ctx, canceller) = Context::background().with_cancel();
    drop(canceller);
    let cause = format!("{:#}", ctx.cause().unwrap());
    let expected = "its canceller was dropped (context made at tests/it/error.rs:";
    assert!(cause.starts_with(expected), "{cause}");
}

#[test]
fn downcast_by_value_of_a_cause_gives_what_it_was_made_of_before_its_own_end() {
    let (ctx, canceller) = Context::background().with_cancel();
    canceller.cancel_with(
        Context::background()
            .with_timeout(Duration::ZERO)
            .err()
            .unwrap(),
    );
    let cause = ctx.cause().unwrap();
    drop((ctx, canceller));
    let found = failed("profile", cause).downcast::<ContextError>().unwrap();
    assert!(found.is_deadline_exceeded());
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

#[test]
fn names_are_keys_that_texts_find() {
    let names = ["profile", "orders", "ads"].map(Name::from);
    let hashed: HashMap<_, _> = names.iter().cloned().zip(0..).collect();
    let sorted: BTreeMap<_, _> = names.iter().cloned().zip(0..).collect();
    assert_eq!(
        (hashed.get("orders"), sorted.get("orders")),
        (Some(&1), Some(&1))
    );
    assert!(names[2] < names[1] && names[1] < names[0]);
    let order: Vec<_> = sorted.keys().map(Name::as_str).collect();
    assert_eq!(order, ["ads", "orders", "profile"]);
    assert!(size_of::<Name>() <= 16);
}
