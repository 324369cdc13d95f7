//! What a client may cost a server.

use std::num::NonZeroUsize;
use std::time::Duration;

use failfast::Context;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};

use super::Problem;

/// The limits of one server. The default is what a service behind a load balancer would start with.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many connections are served at once; more wait in the system's queue.
    pub connections: NonZeroUsize,
    /// The longest that a request may take, whatever its caller grants.
    pub request: Duration,
    /// How long a client may take for a request's head, and how long an idle connection is kept.
    pub head: Duration,
    /// How long a client may take for a request's body.
    pub body: Duration,
    /// How long the connection may wait for a client that does not read its answer.
    pub write: Duration,
    /// The largest head, in bytes, of at least 8 KiB.
    pub head_size: usize,
    /// The largest body, in bytes.
    pub body_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: NonZeroUsize::new(1024).expect("not zero"),
            request: Duration::from_secs(5),
            head: Duration::from_secs(10),
            body: Duration::from_secs(5),
            write: Duration::from_secs(10),
            head_size: 16 * 1024,
            body_size: 16 * 1024,
        }
    }
}

/// Reads a request's body, whole.
///
/// # Errors
///
/// 413 if it is too large, 408 if it does not come, 400 if the connection breaks off.
pub async fn read_body(
    ctx: &Context,
    limits: &Limits,
    body: Incoming,
) -> Result<Bytes, (StatusCode, Problem)> {
    let whole = Limited::new(body, limits.body_size).collect();
    match ctx.with_timeout(limits.body).run(whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            Problem::new(format!("the body is over {} bytes", limits.body_size)),
        )),
        Ok(Err(error)) => Err((
            StatusCode::BAD_REQUEST,
            Problem::new(format!("the body broke off: {}", deepest(&*error))),
        )),
        Err(_) => Err((
            StatusCode::REQUEST_TIMEOUT,
            Problem::new(format!("the body did not come within {:?}", limits.body)),
        )),
    }
}

/// The root of a chain of errors, because hyper's own text names only that there is one.
fn deepest<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    std::iter::successors(Some(error), |error| error.source())
        .last()
        .unwrap_or(error)
}
