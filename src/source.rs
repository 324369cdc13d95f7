//! What an aggregator and the policies call: one request, answered asynchronously.

use crate::context::Context;
use crate::error::{BoxError, Name};
use std::future::Future;
use std::sync::Arc;

/// Something that answers a request: a service, a cache, a table.
///
/// Implemented for every `async fn(Context, Request) -> Result<T, E>`, for every such closure, and for aggregators.
/// Implement it for a type of yours where the source has a state or a name of its own.
///
/// The context is the call's lifetime: pass it on. A source that never looks at it is canceled all the same, by
/// being dropped.
///
/// An async closure that uses a capture is no source, because its future borrows from the closure. Clone what it
/// needs: `move |ctx: Context, id: u64| { let db = db.clone(); async move { .. } }`.
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
    note = "a closure needs its types written: `|ctx: Context, request: {R}| async move {{ .. }}`",
    note = "an async closure that uses a capture is no source: clone the capture in a plain closure, and move the clone into an `async move` block"
)]
pub trait Source<R> {
    /// What it answers.
    type Output;
    /// How it fails: any error will do.
    type Error: Into<BoxError>;
    /// The answer on its way.
    type Future: Future<Output = Result<Self::Output, Self::Error>>;

    /// Calls the source: once for each aggregation or attempt, inside the task that then awaits the answer.
    ///
    /// # Panics
    ///
    /// May: it is then a panic of that task.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Context, Source};
    ///
    /// async fn double(_: Context, n: u32) -> Result<u32, std::fmt::Error> {
    ///     Ok(n * 2)
    /// }
    ///
    /// # smol::block_on(async {
    /// assert_eq!(double.fetch(Context::background(), 4).await, Ok(8));
    /// # });
    /// ```
    fn fetch(&self, ctx: Context, request: R) -> Self::Future;

    /// Calls the source under the name that the aggregator has for it. A policy logs its attempts under that name, and
    /// passes it on. Equivalent to [`fetch`](Self::fetch) where it is not implemented.
    ///
    /// # Panics
    ///
    /// As `fetch`.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::{Context, Name, Source};
    /// use std::future::{Ready, ready};
    ///
    /// struct Named;
    ///
    /// impl Source<()> for Named {
    ///     type Output = Name;
    ///     type Error = std::convert::Infallible;
    ///     type Future = Ready<Result<Name, Self::Error>>;
    ///
    ///     fn fetch(&self, ctx: Context, request: ()) -> Self::Future {
    ///         self.fetch_as(&"anonymous".into(), ctx, request)
    ///     }
    ///
    ///     fn fetch_as(&self, name: &Name, _: Context, _: ()) -> Self::Future {
    ///         ready(Ok(name.clone()))
    ///     }
    /// }
    ///
    /// # smol::block_on(async {
    /// let answer = Named.fetch_as(&"orders".into(), Context::background(), ()).await;
    /// assert_eq!(answer.unwrap(), "orders");
    /// # });
    /// ```
    #[inline]
    fn fetch_as(&self, name: &Name, ctx: Context, request: R) -> Self::Future {
        let _ = name;
        self.fetch(ctx, request)
    }

    /// What a policy around it may rely on.
    #[doc(hidden)]
    #[inline]
    fn nature(&self) -> Nature {
        Nature::default()
    }
}

/// What a policy may rely on in the source inside of it: nothing, but for other policies.
#[doc(hidden)]
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct Nature {
    /// Its answers are ready at the latest when their context ends, so that no policy around it has to watch for that end,
    /// and it begins nothing under a context that has ended.
    pub(crate) ends_with_context: bool,
    /// It calls something else several times, numbers those attempts and records them.
    pub(crate) makes_attempts: bool,
    /// The budget that it pays each first attempt into.
    pub(crate) budget: Option<usize>,
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

impl<R, A: Source<R> + ?Sized> Source<R> for Arc<A> {
    type Output = A::Output;
    type Error = A::Error;
    type Future = A::Future;

    #[inline]
    fn fetch(&self, ctx: Context, request: R) -> A::Future {
        (**self).fetch(ctx, request)
    }

    #[inline]
    fn fetch_as(&self, name: &Name, ctx: Context, request: R) -> A::Future {
        (**self).fetch_as(name, ctx, request)
    }

    #[inline]
    fn nature(&self) -> Nature {
        (**self).nature()
    }
}
