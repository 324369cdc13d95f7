//! What all services have in common: one path, a behavior, counts, and refusals with a reason.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use failfast::{Context, ContextError, Error};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use super::{Counts, Knob, Ledger};
use crate::http::{self, Body, Call, Problem, json, problem};

/// After how long a busy service can be called again.
const BUSY: Duration = Duration::from_secs(1);

/// What a service does, the rest aside.
pub(super) trait Work: Send + Sync + 'static {
    /// What it answers, as JSON.
    type Answer: Serialize + Send;

    /// Answers a request for `/{service}/{key}`.
    fn work(
        &self,
        ctx: &Context,
        key: &str,
    ) -> impl Future<Output = Result<Self::Answer, ServiceError>> + Send;
}

/// Why a service gives no answer.
#[derive(Debug)]
pub enum ServiceError {
    /// 400.
    Malformed(String),
    /// 404.
    NotFound(String),
    /// 429.
    Busy,
    /// 503.
    Failed(String),
    /// 504: its own time was up.
    Ended(ContextError),
    /// What an aggregation's failure stands for.
    Aggregation(Error),
}

impl From<ContextError> for ServiceError {
    fn from(error: ContextError) -> Self {
        Self::Ended(error)
    }
}

impl From<Error> for ServiceError {
    fn from(error: Error) -> Self {
        Self::Aggregation(error)
    }
}

impl ServiceError {
    fn answer(self, name: &str) -> (StatusCode, Problem) {
        match self {
            Self::Malformed(text) => (StatusCode::BAD_REQUEST, Problem::new(text)),
            Self::NotFound(text) => (StatusCode::NOT_FOUND, Problem::new(text)),
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, busy()),
            Self::Failed(text) => (StatusCode::SERVICE_UNAVAILABLE, Problem::new(text)),
            Self::Ended(error) => (StatusCode::GATEWAY_TIMEOUT, late(name, &error)),
            Self::Aggregation(error) => http::problem_for(&error),
        }
    }
}

fn busy() -> Problem {
    Problem {
        retry_after: Some(BUSY),
        ..Problem::new("too many requests at once")
    }
}

fn late(name: &str, error: &ContextError) -> Problem {
    Problem {
        late: vec![name.to_owned()],
        ..Problem::new(error.to_string())
    }
}

/// Takes requests for one kind of work.
pub(super) struct Handler<W> {
    pub(super) name: &'static str,
    pub(super) knob: Knob,
    /// How many requests it works on at once; one more is answered with 429.
    pub(super) at_once: u64,
    pub(super) counts: Arc<Counts>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) work: W,
}

impl<W: Work> http::Service for Handler<W> {
    async fn answer(&self, call: Call) -> Response<Body> {
        let Some(key) = self.key(&call) else {
            let text = format!("GET /{}/… is all there is", self.name);
            return problem(StatusCode::NOT_FOUND, &Problem::new(text));
        };
        let in_flight = self.counts.begin();
        self.ledger.started(&call.id);
        let outcome = self.attend(&call.ctx, key).await;
        match outcome {
            Ok(answer) => {
                in_flight.answered();
                self.ledger.answered(&call.id);
                json(StatusCode::OK, &answer)
            }
            Err(error) => {
                let (status, text) = error.answer(self.name);
                match status {
                    StatusCode::GATEWAY_TIMEOUT => in_flight.late(),
                    _ => in_flight.failed(),
                }
                problem(status, &text)
            }
        }
    }
}

impl<W: Work> Handler<W> {
    /// What was requested, if it exists.
    fn key<'a>(&self, call: &'a Call) -> Option<&'a str> {
        let path = call.request.uri().path().strip_prefix('/')?;
        let key = path.strip_prefix(self.name)?.strip_prefix('/')?;
        (call.request.method() == Method::GET).then_some(key)
    }

    async fn attend(&self, ctx: &Context, key: &str) -> Result<W::Answer, ServiceError> {
        if self.counts.read().in_flight > self.at_once {
            return Err(ServiceError::Busy);
        }
        self.knob.get().act(ctx).await?;
        self.work.work(ctx, key).await
    }
}

/// Reads the number of a user or the like.
pub(super) fn number(key: &str) -> Result<u64, ServiceError> {
    let malformed = |error| ServiceError::Malformed(format!("{key:?} is no number: {error}"));
    key.parse().map_err(malformed)
}
