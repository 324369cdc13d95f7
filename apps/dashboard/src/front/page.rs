//! One page, from the request to the answer.

use std::num::NonZeroUsize;

use failfast::Context;
use failfast::observe::{Ended, Event, EventKind, Recorder};
use failfast::policy::BreakerState;
use futures::FutureExt as _;
use futures::stream::{Stream, StreamExt as _};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::{Front, Outcome};
use crate::http::{self, Body, Call, Problem, json, problem};
use crate::page::{FailFast, Page, Plain, Policies, UserId};

/// How many events of a page are kept, which is all of a page that nothing goes wildly wrong with.
const EVENTS: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// What the front makes its pages with.
pub enum PageBuilder {
    /// An aggregator with policies.
    FailFast(FailFast),
    /// `try_join!` and a timeout, for comparison.
    Plain(Plain),
}

impl PageBuilder {
    async fn page(&self, ctx: &Context, user: UserId) -> Result<Page, (StatusCode, Problem)> {
        match self {
            Self::FailFast(builder) => {
                let page = builder.page(ctx, user).await;
                page.map_err(|error| http::problem_for(&error))
            }
            Self::Plain(builder) => builder.page(ctx, user).await,
        }
    }

    pub(super) fn policies(&self) -> Policies {
        match self {
            Self::FailFast(builder) => builder.policies(),
            Self::Plain(builder) => builder.policies(),
        }
    }

    /// The state of the recommendations' breaker, which the plain page doesn't have.
    pub(super) fn breaker(&self) -> &'static str {
        match self {
            Self::FailFast(builder) => match builder.breaker() {
                BreakerState::Closed => "closed",
                BreakerState::Open => "open",
                BreakerState::HalfOpen => "half_open",
                _ => "unknown",
            },
            Self::Plain(_) => "none",
        }
    }

    pub(super) fn set_policies(&self, policies: Policies) {
        match self {
            Self::FailFast(builder) => builder.set_policies(policies),
            Self::Plain(builder) => builder.set_policies(policies),
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    #[serde(flatten)]
    page: Page,
}

impl Front {
    pub(super) async fn page(&self, user: &str, call: &Call) -> Response<Body> {
        let Ok(user) = user.parse() else {
            let text = format!("{user:?} is no user: that is a number");
            return problem(StatusCode::BAD_REQUEST, &Problem::new(text));
        };
        match self.recorded(user, call).await {
            Ok(page) => {
                let id = call.id.as_str();
                json(StatusCode::OK, &Answer { id, page })
            }
            Err((status, text)) => problem(status, &text),
        }
    }

    /// Makes a page, and records and counts it. If this future is dropped, because the reader hung up, the guards count
    /// the page as left.
    async fn recorded(&self, user: UserId, call: &Call) -> Result<Page, (StatusCode, Problem)> {
        let recorder = Recorder::with_capacity(EVENTS);
        let events = recorder.subscribe(EVENTS);
        let timeout = self.builder.policies().timeout();
        let time = call
            .ctx
            .remaining()
            .map_or(timeout, |left| left.min(timeout));
        self.recent.keep(call.id.clone(), recorder.clone());
        let live_page = self.live.begin(&call.id, user, time, &recorder);
        let pending = self.stats.begin();
        let account = self.controls.ledger().open(&call.id);
        let page = self
            .builder
            .page(&call.ctx.with_observer(recorder), user)
            .await;
        match &page {
            Ok(page) => {
                account.succeeded();
                pending.ended(Outcome::of_page(page));
                live_page.ended(StatusCode::OK.as_u16());
            }
            Err((status, _)) => {
                pending.ended(Outcome::of_failure(*status));
                live_page.ended(status.as_u16());
            }
        }
        page.map_err(|(status, problem)| {
            let cancelled = cancelled(events);
            (
                status,
                Problem {
                    cancelled,
                    ..problem
                },
            )
        })
    }
}

/// Which tasks were cancelled, among the events so far.
fn cancelled(events: impl Stream<Item = Event> + Unpin) -> Vec<String> {
    let so_far = std::iter::from_fn({
        let mut events = events;
        move || events.next().now_or_never().flatten()
    });
    let cancelled = so_far.filter(|event| event.kind() == EventKind::TaskEnded(Ended::Cancelled));
    cancelled
        .filter_map(|event| event.name())
        .map(|name| name.to_string())
        .collect()
}
