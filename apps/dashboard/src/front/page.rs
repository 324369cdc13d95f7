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
pub enum Maker {
    /// An aggregator with policies.
    FailFast(FailFast),
    /// `try_join!` and a timeout, for comparison.
    Plain(Plain),
}

impl Maker {
    async fn page(&self, ctx: &Context, user: UserId) -> Result<Page, (StatusCode, Problem)> {
        match self {
            Self::FailFast(maker) => {
                let page = maker.page(ctx, user).await;
                page.map_err(|error| http::refusal(&error))
            }
            Self::Plain(maker) => maker.page(ctx, user).await,
        }
    }

    pub(super) fn policies(&self) -> Policies {
        match self {
            Self::FailFast(maker) => maker.policies(),
            Self::Plain(maker) => maker.policies(),
        }
    }

    /// The state of the recommendations' breaker, which the plain page doesn't have.
    pub(super) fn breaker(&self) -> &'static str {
        match self {
            Self::FailFast(maker) => match maker.breaker() {
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
            Self::FailFast(maker) => maker.set_policies(policies),
            Self::Plain(maker) => maker.set_policies(policies),
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

    /// Makes a page while it is watched, recorded and counted. Dropped, which is how a reader who hangs up is noticed,
    /// it counts as left, because each of the three is a guard.
    async fn recorded(&self, user: UserId, call: &Call) -> Result<Page, (StatusCode, Problem)> {
        let recorder = Recorder::with_capacity(EVENTS);
        let events = recorder.subscribe(EVENTS);
        let timeout = self.maker.policies().timeout();
        let time = call
            .ctx
            .remaining()
            .map_or(timeout, |left| left.min(timeout));
        self.recent.keep(call.id.clone(), recorder.clone());
        let on_air = self.live.begin(&call.id, user, time, &recorder);
        let begun = self.stats.begin();
        let account = self.panel.ledger().open(&call.id);
        let page = self
            .maker
            .page(&call.ctx.with_observer(recorder), user)
            .await;
        match &page {
            Ok(page) => {
                account.succeeded();
                begun.ended(Outcome::of_page(page));
                on_air.ended(StatusCode::OK.as_u16());
            }
            Err((status, _)) => {
                begun.ended(Outcome::of_failure(*status));
                on_air.ended(status.as_u16());
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
