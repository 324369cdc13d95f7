//! A deadline that crosses the wire: read by the server, written by the client.

use std::time::Duration;

use failfast::Context;
use failfast::grpc::{GrpcTimeoutError, from_grpc_timeout, to_grpc_timeout};
use hyper::HeaderMap;
use hyper::header::HeaderValue;

const HEADER: &str = "grpc-timeout";

/// How much sooner a service is to give up than its caller, so that the caller still receives what was late.
const ON_THE_WAY: Duration = Duration::from_millis(20);

/// A child of `ctx` that lives as long as the caller waits, and no longer than `cap`.
pub(super) fn request_context(
    ctx: &Context,
    headers: &HeaderMap,
    cap: Duration,
) -> Result<Context, GrpcTimeoutError> {
    let Some(value) = headers.get(HEADER) else {
        return Ok(ctx.with_timeout(cap));
    };
    let theirs = from_grpc_timeout(&String::from_utf8_lossy(value.as_bytes()))?;
    Ok(ctx.with_timeout(theirs.min(cap)))
}

/// Sends a service how long its caller waits. Nothing where there is no deadline.
pub(super) fn propagate(ctx: &Context, headers: &mut HeaderMap) {
    let Some(left) = ctx.remaining() else { return };
    let value = to_grpc_timeout(left.saturating_sub(ON_THE_WAY));
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(HEADER, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use failfast::clock::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn context() -> Context {
        Context::background().with_clock(ManualClock::new())
    }

    fn remaining_for(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, value.parse().unwrap());
        request_context(&context(), &headers, SECOND)
            .ok()?
            .remaining()
    }

    #[test]
    fn the_callers_deadline_is_capped_by_the_servers() {
        assert_eq!(remaining_for("250m"), Some(SECOND / 4));
        assert_eq!(remaining_for("999m"), Some(Duration::from_millis(999)));
        assert_eq!(remaining_for("1S"), Some(SECOND));
        assert_eq!(remaining_for("99999999H"), Some(SECOND));
        let without = request_context(&context(), &HeaderMap::new(), SECOND).unwrap();
        assert_eq!(without.remaining(), Some(SECOND));
    }

    #[test]
    fn a_malformed_deadline_is_an_error() {
        for bad in ["", "soon", "1", "-1S", "123456789n", "1s"] {
            assert_eq!(remaining_for(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_deadline_is_passed_on_less_the_time_on_the_way() {
        let passed = |ctx: &Context| {
            let mut headers = HeaderMap::new();
            propagate(ctx, &mut headers);
            headers
                .get(HEADER)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(passed(&context()), None);
        let second = passed(&context().with_timeout(SECOND));
        assert_eq!(second.as_deref(), Some("980000u"));
        let short = passed(&context().with_timeout(ON_THE_WAY / 2));
        assert_eq!(short.as_deref(), Some("0n"));
    }
}
