//! One id for a request, in every log record and at every service that it reaches.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use failfast::Context;
use failfast::observe::LogFields;
use hyper::HeaderMap;

/// The header that carries it from service to service.
pub(super) const HEADER: &str = "x-request-id";

const MAX_LENGTH: usize = 64;

/// The id of a request: 1 to 64 letters, digits, `-`, `_` or `.`. A value of the request's context.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The caller's id, or a new one where there is none or it is not of the form: it goes into logs and headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let theirs = headers
            .get(HEADER)
            .and_then(|value| value.to_str().ok())
            .filter(|value| is_well_formed(value));
        theirs.map_or_else(Self::unique, |value| Self(value.into()))
    }

    /// One that no other request of this process has.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{:x}-{number}", std::process::id()).into())
    }

    /// Reads an id.
    pub fn parse(value: &str) -> Option<Self> {
        is_well_formed(value).then(|| Self(value.into()))
    }

    /// As a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A context that carries it, and whose log records name it.
    pub fn attach(&self, ctx: &Context) -> Context {
        let fields = LogFields(vec![("request".into(), self.to_string())]);
        ctx.with_value(self.clone()).with_value(fields)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_well_formed(value: &str) -> bool {
    (1..=MAX_LENGTH).contains(&value.len())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_form_is_kept_and_any_other_replaced() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, value.parse().unwrap());
            RequestId::of(&headers).to_string()
        };
        let longest = "x".repeat(MAX_LENGTH);
        assert_eq!(of("af31-7_b.c"), "af31-7_b.c");
        assert_eq!(of(&longest), longest);
        for bad in ["", "a b", "<script>", "a\"b", &format!("{longest}x")] {
            assert_ne!(of(bad), bad);
        }
        assert_ne!(
            RequestId::of(&HeaderMap::new()),
            RequestId::of(&HeaderMap::new())
        );
    }
}
