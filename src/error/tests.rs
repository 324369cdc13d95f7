//! What can only be seen from inside: how errors are made, shared, taken apart and dropped.

use super::*;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

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

/// An error that counts its drops, and panics in them if it is set to.
#[derive(Debug)]
struct Counted {
    dropped: Arc<AtomicUsize>,
    panics: bool,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counted")
    }
}

impl StdError for Counted {}

impl Drop for Counted {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "a bomb");
    }
}

#[track_caller]
fn here() -> &'static Location<'static> {
    Location::caller()
}

fn request_failed() -> RequestFailed {
    RequestFailed(io::Error::other("connection refused"))
}

fn task(name: &'static str, error: impl Into<BoxError>) -> Error {
    Error::task_failed(name, error.into())
}

fn canceled() -> Arc<End> {
    End::canceled(here())
}

fn canceled_by(reason: impl Into<BoxError>) -> Arc<End> {
    End::canceled_by(reason.into(), here())
}

fn expired() -> Arc<End> {
    End::expired(Instant::now(), None, here())
}

/// As a group does when its first task fails.
fn failed(error: &Error) -> Arc<End> {
    let end = End::failed(error, here());
    error.set_end(&end);
    end
}

fn names(count: usize) -> Vec<Name> {
    (0..count)
        .map(|number| Name::from(format!("t{number}")))
        .collect()
}

/// The text of a report that prints the error and all its sources.
fn report(error: impl StdError + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

mod shape {
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
}

mod text {
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
}

mod chains {
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
}

mod contexts {
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
}

mod by_value {
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
}

mod panics {
    use super::*;

    fn resumed(error: Error) -> unwind::Payload {
        catch_unwind(AssertUnwindSafe(|| error.resume_unwind())).unwrap_err()
    }

    #[test]
    fn payload_goes_to_the_first_that_resumes_and_the_text_to_the_next() {
        let error = Error::panicked("a", Box::new(42_u64));
        let clone = error.clone();
        let end = failed(&error);
        assert_eq!(resumed(error).downcast_ref(), Some(&42_u64));
        let text = "a payload that is not text".to_owned();
        assert_eq!(resumed(clone).downcast_ref(), Some(&text));
        assert_eq!(end.cause().to_string(), format!("a: panicked: {text}"));
    }

    #[test]
    fn other_kinds_panic_with_their_text() {
        let payload = resumed(task("a", "refused"));
        assert_eq!(payload.downcast_ref(), Some(&"a: refused".to_owned()));
    }
}

mod holding {
    use super::*;

    #[test]
    fn others_are_set_once_for_all_clones_but_not_for_the_cause() {
        let error = task("a", "refused");
        let clone = error.clone();
        let end = failed(&error);
        error.set_others(vec![Error::lost("b")], 3);
        error.set_others(Vec::new(), 0);
        assert_eq!((clone.others().len(), clone.omitted()), (1, 3));
        let cause = end.cause();
        let twin = cause.downcast_ref::<Error>().unwrap();
        assert!(twin.others().is_empty() && twin.omitted() == 0);
        assert!(twin.is_same(&error) && !error.is_same(&Error::lost("b")));
    }

    #[test]
    fn any_kind_has_others() {
        let slow = Error::stragglers(Duration::ZERO, names(1), canceled().error());
        let ended = Error::ended(canceled().error(), Vec::new());
        for error in [Error::lost("a"), Error::quorum(2, 1), slow, ended] {
            error.set_others(vec![task("b", "refused")], 0);
            assert_eq!(error.others().len(), 1);
        }
    }

    #[test]
    fn later_failure_that_holds_the_cause_makes_no_cycle() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let counted = || Counted {
            dropped: dropped.clone(),
            panics: false,
        };
        let error = task("a", counted());
        let end = failed(&error);
        let (weak, inner) = (Arc::downgrade(&end), Arc::downgrade(&error.0));
        let later = task("b", end.error());
        let own = task("c", end.cause());
        error.set_others(vec![later, own, task("d", counted())], 0);
        drop((error, end));
        assert_eq!(dropped.load(Ordering::SeqCst), 2);
        assert!(weak.upgrade().is_none() && inner.upgrade().is_none());
    }

    #[test]
    fn destructors_that_panic_are_contained_one_by_one() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let bomb = || Counted {
            dropped: dropped.clone(),
            panics: true,
        };
        let error = task("a", bomb());
        let end = failed(&error);
        let others = (0..3).map(|_| task("b", bomb())).collect();
        error.set_others(others, 0);
        drop(error);
        assert_eq!(dropped.load(Ordering::SeqCst), 3);
        drop(end);
        assert_eq!(dropped.load(Ordering::SeqCst), 4);
        drop(vec![task("b", bomb()), task("c", bomb())]);
        drop(canceled_by(bomb()));
        drop(Reserved::new(bomb()));
        drop(Error::panicked("a", Box::new(bomb())));
        assert_eq!(dropped.load(Ordering::SeqCst), 9);
    }

    #[test]
    fn destructors_are_contained_while_another_panic_unwinds() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let bomb = Counted {
            dropped: dropped.clone(),
            panics: true,
        };
        let error = task("a", bomb);
        let caught = catch_unwind(AssertUnwindSafe(move || {
            let _error = error;
            panic!("first");
        }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"first"));
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }

    /// Errors that hold one another in every way there is.
    fn deep(levels: usize) -> (Error, Arc<AtomicUsize>) {
        #[derive(Debug)]
        struct Foreign(#[expect(dead_code)] Error);
        impl fmt::Display for Foreign {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("foreign")
            }
        }
        impl StdError for Foreign {}
        let dropped = Arc::new(AtomicUsize::new(0));
        let mut error = task(
            "root",
            Counted {
                dropped: dropped.clone(),
                panics: false,
            },
        );
        for level in 0..levels {
            error = match level % 6 {
                0 => task("a", error),
                1 => task("a", Foreign(error)),
                2 => Error::ended(canceled_by(error).error(), Vec::new()),
                3 => task("a", failed(&error).error()),
                4 => Error::panicked("a", Box::new(error)),
                _ => {
                    let first = Error::lost("a");
                    first.set_others(vec![error], 0);
                    task("b", first)
                }
            };
        }
        (error, dropped)
    }

    #[test]
    fn deep_chain_is_dropped_without_a_deep_stack() {
        let (error, dropped) = deep(100_000);
        drop(error);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn deep_chain_is_read_without_a_deep_stack() {
        let mut error = task("root", request_failed());
        for level in 0..100_000 {
            error = match level % 3 {
                0 => task("a", error),
                1 => Error::ended(canceled_by(error).error(), names(1)),
                _ => task("a", io::Error::other(error)),
            };
        }
        assert!(error.downcast_ref::<RequestFailed>().is_some());
        assert_eq!(error.source().unwrap().to_string(), "connection refused");
        assert!(!error.is_timeout());
        assert!(error.to_string().len() > 100_000 && format!("{error:#}").len() > 100_000);
        assert!(format!("{error:?}").len() > 100_000);
    }

    #[test]
    fn error_in_a_thread_local_is_dropped_with_its_thread() {
        thread_local!(static KEPT: Mutex<Option<Error>> = const { Mutex::new(None) });
        let (error, dropped) = deep(60);
        std::thread::spawn(move || KEPT.with(|kept| *kept.lock().unwrap() = Some(error)))
            .join()
            .unwrap();
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }
}
