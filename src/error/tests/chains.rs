//! Chains of errors, and what is found in them.

use super::*;

#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error("page: {0}")]
    Quoting(#[from] Error),
    #[error("page failed")]
    Silent(#[source] Error),
    #[error(transparent)]
    Transparent(Error),
}

#[test]
fn each_text_is_there_once_with_anyhow() {
    assert_eq!(
        report(task("profile", request_failed())),
        "profile: request failed: connection refused"
    );
    assert_eq!(
        report(task("page", task("profile", request_failed()))),
        "page: profile: request failed: connection refused"
    );
    assert_eq!(report(task("a", io::Error::other("refused"))), "a: refused");
    let end = failed(&task("profile", request_failed()));
    let text = "profile: request failed: connection refused";
    assert_eq!(report(end.cause()), text);
    assert_eq!(report(end.error()), format!("context canceled: {text}"));
    let wrapped = task("a", io::Error::other(end.error()));
    assert_eq!(report(wrapped), format!("a: context canceled: {text}"));
    assert_eq!(report(Error::lost("a")), Error::lost("a").to_string());
    assert_eq!(report(canceled().error()), "context canceled");
    assert_eq!(report(canceled().cause()), "context canceled");
    assert_eq!(
        report(End::stopped(here()).error())
            .matches("was stopped")
            .count(),
        1
    );
    let slow = Error::stragglers(Duration::from_secs(1), vec!["a".into()], end.error());
    let slow = report(slow);
    assert_eq!(
        slow,
        format!("still running 1s after they were canceled: a: context canceled: {text}")
    );
}

#[test]
fn each_text_is_there_once_with_context_of_anyhow() {
    let error = anyhow::Error::from(task("profile", request_failed())).context("loading");
    assert_eq!(
        format!("{error:#}"),
        "loading: profile: request failed: connection refused"
    );
}

#[test]
fn each_text_is_there_once_with_thiserror() {
    let error = || task("profile", request_failed());
    let full = "profile: request failed: connection refused";
    assert_eq!(report(PageError::Transparent(error())), full);
    assert_eq!(
        report(PageError::Silent(error())),
        format!("page failed: {full}")
    );
    // Quoted by the user's own layer, and its source as well: that layer's text has it twice, ours once.
    let quoting = PageError::from(error());
    assert_eq!(quoting.to_string(), "page: profile: request failed");
    let behind = quoting.source().unwrap();
    assert_eq!(behind.source().unwrap().to_string(), "connection refused");
    // In a task, `{0}` and all: what our error quotes, its source leaves out.
    assert_eq!(
        report(task("site", PageError::Transparent(error()))),
        format!("site: {full}")
    );
}

#[test]
fn source_is_what_is_behind_the_quoted() {
    let error = task("page", task("profile", request_failed()));
    assert_eq!(error.source().unwrap().to_string(), "connection refused");
    assert!(task("a", "refused").source().is_none());
    assert!(
        Error::ended(canceled().error(), names(1))
            .source()
            .is_none()
    );
}

#[test]
fn walk_skips_nothing() {
    let end = failed(&task("profile", request_failed()));
    let error = task(
        "page",
        io::Error::other(Error::ended(end.error(), Vec::new())),
    );
    assert!(error.downcast_ref::<ContextError>().unwrap().is_canceled());
    assert!(error.downcast_ref::<RequestFailed>().is_some());
    assert!(error.downcast_ref::<fmt::Error>().is_none());
    let ours: Vec<_> = walk(&error)
        .filter_map(|error| error.downcast_ref::<Error>())
        .collect();
    assert_eq!(ours.len(), 3); // itself, the ended one, the task of the cause
    assert_eq!(ours[2].task().unwrap(), "profile");
}

#[test]
fn downcast_ref_passes_over_the_error_itself() {
    let error = task("page", task("profile", request_failed()));
    let nested = error.downcast_ref::<Error>().unwrap();
    assert_eq!(nested.task().unwrap(), "profile");
    assert!(nested.downcast_ref::<Error>().is_none());
}

#[test]
fn timeouts_are_found_anywhere_down_the_chain() {
    let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
    let wrapped = io::Error::new(io::ErrorKind::TimedOut, "slow");
    for error in [
        Error::ended(expired().error(), Vec::new()),
        task("a", expired().error()),
        task("a", expired().cause()),
        task("a", task("b", Error::ended(expired().error(), Vec::new()))),
        task("a", timed_out()),
        task("a", wrapped),
        task("a", RequestFailed(timed_out())),
        task("a", io::Error::other(timed_out())),
        Error::ended(canceled_by(timed_out()).error(), Vec::new()),
    ] {
        assert!(error.is_timeout(), "{error:?}");
    }
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    for error in [
        task("a", reset),
        Error::ended(canceled().error(), Vec::new()),
        Error::lost("a"),
        Error::panicked("a", Box::new("boom")),
    ] {
        assert!(!error.is_timeout(), "{error:?}");
    }
}

#[test]
fn echoes_are_distinguished_from_failures() {
    let (own, other) = (
        canceled_by("client went away"),
        canceled_by("client went away"),
    );
    let is_echo = |error: BoxError| echo(&error, &own);
    assert!(is_echo(own.error().into()));
    assert!(is_echo(own.cause().into()));
    assert!(is_echo(Error::ended(own.error(), names(1)).into()));
    assert!(is_echo(io::Error::other(own.error()).into()));
    assert!(is_echo(
        task("a", RequestFailed(io::Error::other(own.error()))).into()
    ));
    assert!(is_echo(anyhow::Error::from(own.error()).into()));
    assert!(is_echo(
        anyhow::Error::from(own.error()).context("loading").into()
    ));
    let ended = Error::ended(own.error(), Vec::new());
    assert!(is_echo(PageError::Transparent(ended).into()));

    assert!(!is_echo(other.error().into()));
    assert!(!is_echo("connection refused".into()));
    assert!(!is_echo(request_failed().into()));
    assert!(!is_echo(task("a", "client went away").into()));
}

#[test]
fn echo_is_found_after_the_reason_was_moved_out() {
    let end = canceled_by(fmt::Error);
    let error = Error::ended(end.error(), Vec::new());
    error.downcast::<fmt::Error>().unwrap();
    assert!(echo(&end.error().into(), &end));
}
