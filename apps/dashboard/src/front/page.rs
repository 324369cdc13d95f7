//! One page, from the request to the answer.

use failfast::Context;
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::{Front, Outcome};
use crate::http::{self, Body, Call, Problem, json, problem};
use crate::page::{FailFast, Page, Plain, Policies, UserId};

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
        // Both count the page as left if this future is dropped, which is how a reader who hangs up is noticed.
        let begun = self.stats.begin();
        let account = self.panel.ledger().open(&call.id);
        match self.maker.page(&call.ctx, user).await {
            Ok(page) => {
                account.succeeded();
                begun.ended(if page.is_partial() {
                    Outcome::Partial
                } else {
                    Outcome::Complete
                });
                let id = call.id.as_str();
                json(StatusCode::OK, &Answer { id, page })
            }
            Err((status, text)) => {
                begun.ended(Outcome::of(status));
                problem(status, &text)
            }
        }
    }
}
