//! The other side of `optional`: a source of the same type, whose failure fails the page.

use failfast::{Context, Name, Source};
use futures::FutureExt as _;
use futures::future::Map;

/// A source whose answer is always there, if there is one.
pub(super) struct Required<A>(pub(super) A);

type Wrap<T, E> = fn(Result<T, E>) -> Result<Option<T>, E>;

impl<R, A: Source<R>> Source<R> for Required<A> {
    type Output = Option<A::Output>;
    type Error = A::Error;
    type Future = Map<A::Future, Wrap<A::Output, A::Error>>;

    fn fetch(&self, ctx: Context, request: R) -> Self::Future {
        self.0
            .fetch(ctx, request)
            .map(|answer| answer.map(Option::Some))
    }

    fn fetch_as(&self, name: &Name, ctx: Context, request: R) -> Self::Future {
        let answer = self.0.fetch_as(name, ctx, request);
        answer.map(|answer| answer.map(Option::Some))
    }
}
