//! What a service answers when one of its own aggregations failed: a status by the type of the error.

use std::time::Duration;

use failfast::policy::{Fault, FaultKind};
use failfast::{Error, ErrorKind};
use hyper::StatusCode;

use super::{CallError, Problem};

/// The status and the text for an aggregation's failure:
///
/// | what failed | status |
/// |---|---|
/// | a service has no such thing | 404 |
/// | a service is busy | 429, with its `Retry-After` |
/// | a service failed, answered nonsense, or is not there | 502, with its name |
/// | a time limit passed | 504, with what was late |
/// | a breaker is open, or a limit reached | 503, with its `Retry-After` |
/// | this server is shutting down | 503 |
/// | a source panicked, or was lost by the executor | 500 |
pub fn problem_for(error: &Error) -> (StatusCode, Problem) {
    let problem = Problem {
        error: error.to_string(),
        source: error.task().map(|name| name.to_string()),
        late: late(error),
        retry_after: retry_after(error),
        ..Problem::default()
    };
    (status(error), problem)
}

fn status(error: &Error) -> StatusCode {
    match (error.kind(), error.downcast_ref::<CallError>()) {
        (ErrorKind::Panicked | ErrorKind::Lost, _) => StatusCode::INTERNAL_SERVER_ERROR,
        (_, Some(CallError::NotFound(_))) => StatusCode::NOT_FOUND,
        (_, Some(CallError::TooMany { .. })) => StatusCode::TOO_MANY_REQUESTS,
        (_, Some(CallError::Late(..))) => StatusCode::GATEWAY_TIMEOUT,
        _ if error.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
        (ErrorKind::Canceled, _) => StatusCode::SERVICE_UNAVAILABLE,
        _ if is_rejection(error) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    }
}

/// What was late: what the service itself found late, or the service, or all that had not answered.
fn late(error: &Error) -> Vec<String> {
    let names = |names: &[failfast::Name]| names.iter().map(ToString::to_string).collect();
    match error.downcast_ref::<CallError>() {
        Some(CallError::Late(_, late)) => late.clone(),
        _ if error.is_deadline_exceeded() => names(error.pending()),
        _ if error.is_timeout() => error.task().map(ToString::to_string).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Whether a policy refused the call before it was made.
fn is_rejection(error: &Error) -> bool {
    let fault = error.downcast_ref::<Fault>();
    fault.is_some_and(|fault| matches!(fault.kind(), FaultKind::Rejected(_)))
}

/// When to call again: by the service's answer, or by the policy that stands before it.
fn retry_after(error: &Error) -> Option<Duration> {
    match error.downcast_ref::<CallError>() {
        Some(CallError::TooMany { retry_after }) => *retry_after,
        _ => error.downcast_ref::<Fault>()?.retry_after(),
    }
}
