//! What an aggregator asks: one question, answered asynchronously.

use crate::context::Context;
use crate::error::BoxError;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

/// Something that answers a request: a service, a cache, a table.
///
/// Implemented for every `async fn(Context, Request) -> Result<T, E>` and every such closure. Implement it
/// for a type of yours where the source has a state or a name of its own.
///
/// The context is the call's lifetime: pass it on. A source that never looks at it is cancelled all the
/// same, by being dropped.
///
/// # Examples
///
/// ```
/// use failfast::{Aggregator, Context, Source};
/// use std::future::{Ready, ready};
///
/// struct Fixed(&'static str);
///
/// impl Source<u64> for Fixed {
///     type Output = String;
///     type Error = std::convert::Infallible;
///     type Future = Ready<Result<String, Self::Error>>;
///
///     fn fetch(&self, _: Context, id: u64) -> Self::Future {
///         ready(Ok(format!("{} {id}", self.0)))
///     }
/// }
///
/// # smol::block_on(async {
/// let page = Aggregator::new(smol::spawn).source("profile", Fixed("Alice")).join(", ");
/// assert_eq!(page.aggregate(&Context::background(), 7).await.unwrap(), "Alice 7");
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no source for requests of type `{R}`",
    label = "not an `async fn(Context, {R}) -> Result<T, E>`, nor a type that implements `Source<{R}>`",
    note = "a closure needs its types written: `|ctx: Context, request: {R}| async move {{ .. }}`"
)]
pub trait Source<R> {
    /// What it answers.
    type Output;
    /// How it fails: any error will do.
    type Error: Into<BoxError>;
    /// The answer on its way.
    type Future: Future<Output = Result<Self::Output, Self::Error>>;

    /// Asks. Called once for each aggregation, inside the task that then awaits the answer.
    fn fetch(&self, ctx: Context, request: R) -> Self::Future;
}

impl<R, F, A, T, E> Source<R> for F
where
    F: Fn(Context, R) -> A,
    A: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = T;
    type Error = E;
    type Future = A;

    #[inline]
    fn fetch(&self, ctx: Context, request: R) -> A {
        self(ctx, request)
    }
}

pin_project! {
    /// A source being asked: the call itself happens in the task, so what it does, or throws, happens there.
    #[project = CallState]
    pub(crate) enum Call<A, R>
    where
        A: Source<R>,
    {
        Asked { question: Option<(Arc<A>, Context, R)> },
        Answering { #[pin] answer: A::Future },
    }
}

impl<A: Source<R>, R> Call<A, R> {
    #[inline]
    pub(crate) fn new(source: Arc<A>, ctx: Context, request: R) -> Self {
        Self::Asked {
            question: Some((source, ctx, request)),
        }
    }
}

impl<A: Source<R>, R> Future for Call<A, R> {
    type Output = Result<A::Output, A::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let CallState::Asked { question } = self.as_mut().project() {
            let Some((source, ctx, request)) = question.take() else {
                unreachable!("a call that panicked is not polled again")
            };
            let answer = source.fetch(ctx, request);
            self.set(Self::Answering { answer });
        }
        match self.project() {
            CallState::Answering { answer } => answer.poll(cx),
            CallState::Asked { .. } => unreachable!("the question has just been asked"),
        }
    }
}
