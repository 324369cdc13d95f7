//! The page with failfast: one aggregator, and a policy for each way in which a service can misbehave.

use std::sync::{Arc, PoisonError, RwLock};

use failfast::{Aggregator, Context, Error};

use super::{Page, Policies, UserId};
use crate::http::{CallError, Client, Endpoint};
use crate::upstream::Each;

/// The page, put together by an aggregator that is built anew when a policy changes.
pub struct FailFast {
    client: Arc<Client>,
    endpoints: Each<Endpoint>,
    current: RwLock<(Policies, Aggregator<UserId, Page>)>,
}

impl FailFast {
    /// One that asks these services.
    pub fn new(client: Arc<Client>, endpoints: Each<Endpoint>) -> Self {
        let policies = Policies::default();
        let page = aggregator(&client, &endpoints, &policies);
        Self {
            client,
            endpoints,
            current: RwLock::new((policies, page)),
        }
    }

    /// Puts a page together.
    ///
    /// # Errors
    ///
    /// The first failure, or the deadline.
    pub async fn page(&self, ctx: &Context, user: UserId) -> Result<Page, Error> {
        let aggregator = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            current.1.clone()
        };
        aggregator.aggregate(ctx, user).await
    }

    /// The policies of the next page.
    pub fn policies(&self) -> Policies {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Changes them from the next page on.
    pub fn set_policies(&self, policies: Policies) {
        let page = aggregator(&self.client, &self.endpoints, &policies);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (policies, page);
    }
}

fn aggregator(
    client: &Arc<Client>,
    endpoints: &Each<Endpoint>,
    policies: &Policies,
) -> Aggregator<UserId, Page> {
    Aggregator::new(smol::spawn)
        .with_name("page")
        .with_timeout(policies.timeout())
        .with_level(level)
        .source("profile", client.source(endpoints.profile))
        .source("orders", client.source(endpoints.orders))
        .source("recommendations", client.source(endpoints.recommendations))
        .source("ads", client.source(endpoints.ads))
        .map(|(profile, orders, recommendations, ads)| Page {
            profile,
            orders,
            recommendations: Some(recommendations),
            ads: Some(ads),
        })
}

/// How loud a failure is logged: that a user is not known is none of the server's.
fn level(error: &Error) -> log::Level {
    match error.downcast_ref::<CallError>() {
        Some(CallError::NotFound(_)) => log::Level::Info,
        _ => log::Level::Error,
    }
}
