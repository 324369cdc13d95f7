//! The same page without failfast: `try_join!` and one timeout, as it is most often written. For comparison.

use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};

use failfast::Context;
use futures::future::{Either, select};
use futures::{FutureExt as _, try_join};
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use smol::Timer;

use super::{Page, Policies, UserId};
use crate::http::{CallError, Client, Endpoint, Problem};
use crate::upstream::PerService;

/// The page by hand.
pub struct Plain {
    client: Arc<Client>,
    endpoints: PerService<Endpoint>,
    policies: RwLock<Policies>,
}

impl Plain {
    /// A page of these services.
    pub fn new(client: Arc<Client>, endpoints: PerService<Endpoint>) -> Self {
        Self {
            client,
            endpoints,
            policies: RwLock::default(),
        }
    }

    /// Of these, it uses the timeout alone.
    pub fn policies(&self) -> Policies {
        *self.policies.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes them from the next page on.
    pub fn set_policies(&self, policies: Policies) {
        *self
            .policies
            .write()
            .unwrap_or_else(PoisonError::into_inner) = policies;
    }

    /// Puts a page together.
    ///
    /// # Errors
    ///
    /// A status and a text: the first failure's, or 504.
    pub async fn page(&self, ctx: &Context, user: UserId) -> Result<Page, (StatusCode, Problem)> {
        // The request's id only: there is nothing here that a deadline could travel in.
        let ctx = ctx.without_cancel();
        let page = pin!(self.joined(&ctx, user));
        let timeout = self.policies().timeout();
        match select(page, Timer::after(timeout)).await {
            Either::Left((page, _)) => page.map_err(|error| refusal(&error)),
            Either::Right(_) => {
                let text = format!("no answer within {timeout:?}");
                Err((StatusCode::GATEWAY_TIMEOUT, Problem::new(text)))
            }
        }
    }

    async fn joined(&self, ctx: &Context, user: UserId) -> Result<Page, CallError> {
        let to = &self.endpoints;
        let (profile, orders, recommendations, ads) = try_join!(
            self.get(ctx, to.profile, user),
            self.get(ctx, to.orders, user),
            self.get(ctx, to.recommendations, user)
                .map(|answer| Ok(answer.ok())),
            self.get(ctx, to.ads, user).map(|answer| Ok(answer.ok())),
        )?;
        Ok(Page {
            profile,
            orders,
            recommendations,
            ads,
        })
    }

    async fn get<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        endpoint: Endpoint,
        user: UserId,
    ) -> Result<T, CallError> {
        let path = format!("/{}/{user}", endpoint.service);
        self.client.get(ctx, endpoint, &path).await
    }
}

fn refusal(error: &CallError) -> (StatusCode, Problem) {
    let status = match error {
        CallError::NotFound(_) => StatusCode::NOT_FOUND,
        CallError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        CallError::Late(..) | CallError::Ended(_) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    (status, Problem::new(error.to_string()))
}
