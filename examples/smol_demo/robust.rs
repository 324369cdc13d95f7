//! What the demo does about a service that fails or dawdles.

use std::time::Duration;

use failfast::policy::{Backoff, Fault, Hedge, Retry};
use failfast::{Context, Name, Source, SourceExt as _};
use futures::TryFutureExt as _;
use futures::future::BoxFuture;

use crate::cli::{Culprit, Options};

/// What is left for the rest of the page when an optional answer is given up.
const MARGIN: Duration = Duration::from_millis(50);
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// A source with policies that answers with a `T`.
pub(crate) trait Answers<T>:
    Source<u64, Output = T, Error = Fault, Future: Send + 'static> + Send + Sync + 'static
{
}

impl<T, A> Answers<T> for A where
    A: Source<u64, Output = T, Error = Fault, Future: Send + 'static> + Send + Sync + 'static
{
}

/// A service with the policies that the options name.
pub(crate) struct Robust<A, M> {
    needed: A,
    optional: M,
    /// What stands for an answer that may be missing. `None`: it may not.
    instead: Option<&'static str>,
}

/// Wraps a service: each attempt may be hedged, failures are tried again, and one that is optional ends in time.
pub(crate) fn robust<A>(
    options: &Options,
    service: Culprit,
    instead: &'static str,
    source: A,
) -> Robust<impl Answers<String> + use<A>, impl Answers<Option<String>> + use<A>>
where
    A: Source<u64, Output = String, Future: Send + 'static> + Clone + Send + Sync + 'static,
{
    let hedge = match options.hedge {
        Some(delay) => Hedge::after(delay),
        None => Hedge::after(Duration::MAX).times(0),
    };
    let retry = Retry::times(options.retry).with_backoff(Backoff::exponential(FIRST_WAIT));
    let needed = source.hedge(hedge).retry(retry);
    Robust {
        optional: needed.clone().leaving(MARGIN).optional(),
        needed,
        instead: (options.optional == Some(service)).then_some(instead),
    }
}

impl<A, M> Source<u64> for Robust<A, M>
where
    A: Answers<String>,
    M: Answers<Option<String>>,
{
    type Output = String;
    type Error = Fault;
    type Future = BoxFuture<'static, Result<String, Fault>>;

    fn fetch(&self, ctx: Context, id: u64) -> Self::Future {
        self.fetch_as(&"service".into(), ctx, id)
    }

    /// Under its name, so that what the policies do is logged under it.
    fn fetch_as(&self, name: &Name, ctx: Context, id: u64) -> Self::Future {
        match self.instead {
            None => Box::pin(self.needed.fetch_as(name, ctx, id)),
            Some(instead) => {
                let answer = self.optional.fetch_as(name, ctx, id);
                Box::pin(answer.map_ok(move |answer| answer.unwrap_or_else(|| instead.to_owned())))
            }
        }
    }
}
