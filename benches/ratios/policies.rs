//! One call of a source with policies, on the way of a first success: against the bare source, and against tower with
//! the same stack.
//!
//! All in one task of tokio's, because tower's policies need it. What tower has no counterpart for (a breaker, a rate
//! that can be cloned into a retry) stands in no race against it.

use std::convert::Infallible;
use std::future::{self, Ready};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use failfast::policy::{Breaker, Budget, Limit, Rate, Retry};
use failfast::{BoxError, Context, Source, SourceExt as _};
use tokio::runtime::{Builder, Runtime};
use tower::Service;
use tower::ServiceExt as _;
use tower::limit::ConcurrencyLimit;
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::timeout::Timeout;

use crate::harness::{Goal, Lane, Race, goal};
use crate::work::{DEADLINE, yield_once};

/// Calls an iteration: enough for entering the runtime to be nothing.
const CALLS: usize = 256;
const UNITS: (usize, &str) = (CALLS, "call");
const AHEAD: Goal = goal(1.00, 0.80);
/// Permits, and attempts: none of them is ever short.
const MANY: usize = 1_000;

pub(crate) fn races() -> Vec<Race> {
    let mut races = at_once();
    races.extend(later());
    races
}

/// The source answers in its first poll.
fn at_once() -> Vec<Race> {
    let ours = |_: Context, request: u32| ready(request);
    let theirs = || tower::service_fn(ready);
    stacks("answered at once", ours, theirs)
}

/// It is pending once, so that deadlines are armed.
fn later() -> Vec<Race> {
    let ours = |_: Context, request: u32| async move {
        yield_once().await;
        Ok::<_, Infallible>(request)
    };
    let theirs = || {
        tower::service_fn(|request| async move {
            yield_once().await;
            Ok::<_, Infallible>(request)
        })
    };
    stacks("answered at the second poll", ours, theirs)
}

fn ready(request: u32) -> Ready<Result<u32, Infallible>> {
    future::ready(Ok(request))
}

fn stacks<A, S>(when: &str, ours: A, theirs: fn() -> S) -> Vec<Race>
where
    A: Source<u32, Output = u32> + Copy + 'static,
    A::Future: 'static,
    S: Service<u32, Response = u32, Error = Infallible> + Clone + 'static,
{
    let titled = |what: &str| format!("source with {what}, {when}");
    let timeout = || Timeout::new(theirs(), DEADLINE);
    vec![
        Race::new(
            titled("timeout"),
            UNITS,
            source("failfast", ours.timeout(DEADLINE)),
        )
        .against(service("tower", timeout()).must(AHEAD))
        .against(source("bare source", ours)),
        Race::new(
            titled("retry"),
            UNITS,
            source("failfast", ours.retry(Retry::times(2))),
        )
        .against(service("tower", retry(theirs(), None)).must(AHEAD))
        .against(source("bare source", ours)),
        Race::new(
            titled("retry and budget"),
            UNITS,
            source("failfast", ours.retry(budgeted())),
        )
        .against(service("tower", retry(theirs(), budget())).must(AHEAD))
        .against(source("bare source", ours)),
        Race::new(
            titled("timeout, limit, retry and budget"),
            UNITS,
            source(
                "failfast",
                ours.timeout(DEADLINE).limit(&limit()).retry(budgeted()),
            ),
        )
        .against(
            service(
                "tower",
                retry(ConcurrencyLimit::new(timeout(), MANY), budget()),
            )
            .must(AHEAD),
        )
        .against(source("bare source", ours)),
        Race::new(titled("all of ours"), UNITS, source("failfast", all(ours)))
            .against(source("bare source", ours)),
    ]
}

/// What the recommended order comes to, but for the hedge, which allocates.
fn all<A: Source<u32>>(source: A) -> impl Source<u32> + Clone + use<A> {
    let many = u32::MAX.try_into().expect("not zero");
    let rate = Rate::new(many, std::time::Duration::from_secs(1)).with_burst(many);
    source
        .timeout(DEADLINE)
        .limit(&limit())
        .rate(&rate)
        .breaker(&Breaker::new("backend"))
        .retry(budgeted())
        .optional()
}

fn limit() -> Limit {
    Limit::new(MANY.try_into().expect("not zero"))
}

fn budgeted() -> Retry {
    Retry::times(2).with_budget(&Budget::new())
}

/// Two more attempts after any failure, as far as the budget allows.
#[derive(Clone)]
struct TwoMore {
    left: u32,
    budget: Option<Arc<TpsBudget>>,
}

fn retry<S>(service: S, budget: Option<Arc<TpsBudget>>) -> tower::retry::Retry<TwoMore, S> {
    tower::retry::Retry::new(TwoMore { left: 2, budget }, service)
}

fn budget() -> Option<Arc<TpsBudget>> {
    Some(Arc::default())
}

impl<E> tower::retry::Policy<u32, u32, E> for TwoMore {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u32, result: &mut Result<u32, E>) -> Option<Ready<()>> {
        if result.is_ok() {
            self.budget.iter().for_each(|budget| budget.deposit());
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        let allowed = self.budget.as_ref().is_none_or(|budget| budget.withdraw());
        allowed.then(|| future::ready(()))
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

fn source<A: Source<u32> + 'static>(name: &str, source: A) -> Lane {
    lane(name, source, async |source, request| {
        let answer = source.fetch(Context::background(), request).await;
        assert!(answer.is_ok(), "it answers");
    })
}

fn service<S>(name: &str, service: S) -> Lane
where
    S: Service<u32> + 'static,
    S::Error: Into<BoxError>,
{
    lane(name, service, async |service, request| {
        let answer = match service.ready().await {
            Ok(service) => service.call(request).await,
            Err(error) => Err(error),
        };
        assert!(answer.is_ok(), "it answers");
    })
}

fn lane<T: 'static>(name: &str, mut target: T, call: impl AsyncFn(&mut T, u32) + 'static) -> Lane {
    let runtime = runtime();
    Lane::new(name, move |iterations| {
        let start = Instant::now();
        runtime.block_on(calls(iterations as usize * CALLS, &mut target, &call));
        start.elapsed()
    })
}

async fn calls<T>(calls: usize, target: &mut T, call: &impl AsyncFn(&mut T, u32)) {
    for _ in 0..calls {
        call(target, black_box(7)).await;
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime")
}
