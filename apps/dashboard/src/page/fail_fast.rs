//! The page with failfast: one aggregator, and a policy for each way in which a service can misbehave.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use failfast::policy::{Advice, Backoff, Breaker, BreakerState, Budget, Hedge, Retry};
use failfast::{Aggregator, Context, Error, SourceExt as _};

use super::required::Required;
use super::{Page, Policies, UserId};
use crate::http::{CallError, Client, Endpoint};
use crate::upstream::{Ad, Order, PerService, Profile, Recommendation};

/// How often a failed call is repeated.
const RETRIES: u32 = 2;

/// The delay before the first repetition; each further one is up to twice as long.
const BACKOFF: Duration = Duration::from_millis(20);

/// How slow the recommendations may be before a second request is sent.
const HEDGE_AFTER: Duration = Duration::from_millis(100);

/// An attempt for recommendations may take this part of the page's time.
const ATTEMPT: u32 = 4;

/// How long before the page's deadline it goes on without ads.
const MARGIN: Duration = Duration::from_millis(50);

/// The page, put together by an aggregator that is built anew when a policy changes.
pub struct FailFast {
    client: Arc<Client>,
    endpoints: PerService<Endpoint>,
    guards: Guards,
    current: RwLock<(Policies, Aggregator<UserId, Page>)>,
}

/// What outlives a change of the policies: what has been learnt about the services.
struct Guards {
    recommendations: Breaker,
    budgets: PerService<Budget>,
}

impl FailFast {
    /// A page of these services, which gives the recommendations `open` to recover when they keep failing.
    pub fn new(client: Arc<Client>, endpoints: PerService<Endpoint>, open: Duration) -> Self {
        let policies = Policies::default();
        let guards = Guards {
            recommendations: Breaker::new("recommendations")
                .with_open(open)
                .counting(CallError::is_outage),
            budgets: PerService::default().map(|(): ()| Budget::new()),
        };
        let page = aggregator(&client, &endpoints, &guards, &policies);
        Self {
            client,
            endpoints,
            guards,
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
        let page = aggregator(&self.client, &self.endpoints, &self.guards, &policies);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (policies, page);
    }

    /// Whether the recommendations are called at all.
    pub fn breaker(&self) -> BreakerState {
        self.guards.recommendations.state(&Context::background())
    }
}

/// The page: what must be there, and what it can do without.
///
/// In place, because the sources only wait for the network and need no tasks of their own. So a reader that leaves
/// drops them at once, with the request; tasks would be dropped when the executor comes to them, and some would still
/// answer.
fn aggregator(
    client: &Arc<Client>,
    endpoints: &PerService<Endpoint>,
    guards: &Guards,
    policies: &Policies,
) -> Aggregator<UserId, Page> {
    let profile = client.source(endpoints.profile);
    let orders = client.source(endpoints.orders);
    let recommendations = client
        .source::<UserId, Vec<Recommendation>>(endpoints.recommendations)
        .timeout(policies.timeout() / ATTEMPT)
        .breaker(&guards.recommendations)
        .hedge(hedge(policies, &guards.budgets.recommendations));
    let ads = client.source::<UserId, Ad>(endpoints.ads).leaving(MARGIN);
    let must = Aggregator::in_place()
        .with_name("page")
        .with_timeout(policies.timeout())
        .with_level(level)
        .source(
            "profile",
            profile.retry(retry(policies, &guards.budgets.profile)),
        )
        .source(
            "orders",
            orders.retry(retry(policies, &guards.budgets.orders)),
        );
    match policies.optional {
        true => must
            .source("recommendations", recommendations.optional())
            .source("ads", ads.optional())
            .map(page),
        false => must
            .source("recommendations", Required(recommendations))
            .source("ads", Required(ads))
            .map(page),
    }
}

fn page(parts: (Profile, Vec<Order>, Option<Vec<Recommendation>>, Option<Ad>)) -> Page {
    let (profile, orders, recommendations, ads) = parts;
    Page {
        profile,
        orders,
        recommendations,
        ads,
    }
}

fn retry(policies: &Policies, budget: &Budget) -> Retry {
    Retry::times(if policies.retry { RETRIES } else { 0 })
        .with_backoff(Backoff::exponential(BACKOFF))
        .with_budget(budget)
        .when(advice)
}

/// Whether to call again. A busy service sends when.
fn advice(error: &CallError) -> Advice {
    match error {
        CallError::TooMany {
            retry_after: Some(delay),
        } => Advice::After(*delay),
        error => error.is_transient().into(),
    }
}

fn hedge(policies: &Policies, budget: &Budget) -> Hedge {
    Hedge::after(HEDGE_AFTER)
        .times(u32::from(policies.hedge))
        .with_budget(budget)
        .when(CallError::is_transient)
}

/// How loud a failure is logged: that a user is not known is no trouble of the server's.
fn level(error: &Error) -> log::Level {
    match error.downcast_ref::<CallError>() {
        Some(CallError::NotFound(_)) => log::Level::Info,
        _ => log::Level::Error,
    }
}
