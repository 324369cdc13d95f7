//! `limit`: at most so many calls at once.

// | file | owns |
// |---|---|
// | `limit.rs` | the public face, and a call that waits for its permit |
// | `limit/permits.rs` | permits and the line for them |

mod permits;

use super::call::Call;
use super::trail::observe_refusal;
use super::waits;
use super::watch::{Watch, ended_before};
use super::wrapped::{Asked, POLLED_AGAIN, policy};
use crate::error::Fault;
use crate::source::Source;
use permits::{Acquire, Full, Permit, Permits};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

/// How many calls may run at once: [`SourceExt::limit`](crate::SourceExt::limit).
///
/// One value for each backend, shared: all sources that were given it, and all its clones, take their permits from it.
///
/// # Semantics
///
/// * Permits are taken first come, first served. A call that finds none waits, within its caller's deadline.
/// * A permit is held from before the source is called until the source's future has been dropped, also when the call is
///   dropped or panics. The next in line has it at once.
/// * A call that is dropped while it waits leaves the line, and hands on a permit that it was just given.
/// * A call that waits has to be polled when it is woken. One that is kept without being polled keeps the permit that it
///   was given from all behind it.
///
/// # Examples
///
/// ```
/// use failfast::policy::Limit;
/// use failfast::{BoxError, Context, Source, SourceExt};
///
/// async fn profile(_: Context, _: u64) -> Result<&'static str, BoxError> { Ok("Alice") }
/// async fn orders(_: Context, _: u64) -> Result<u32, BoxError> { Ok(5) }
///
/// # smol::block_on(async {
/// let four_at_once = Limit::new(4.try_into().unwrap());
/// let (profile, orders) = (profile.limit(&four_at_once), orders.limit(&four_at_once)); // four together
/// assert_eq!(profile.fetch(Context::background(), 7).await.unwrap(), "Alice");
/// assert_eq!(orders.fetch(Context::background(), 7).await.unwrap(), 5);
/// # });
/// ```
#[derive(Clone)]
#[must_use = "a limit does nothing unless a source is given it"]
pub struct Limit {
    permits: Arc<Permits>,
    queue: usize,
}

impl Limit {
    /// At most `limit` calls at once. Any number may wait: see [`with_queue`](Self::with_queue).
    ///
    /// # Examples
    ///
    /// ```
    /// let four_at_once = failfast::policy::Limit::new(4.try_into().unwrap());
    /// ```
    pub fn new(limit: NonZeroUsize) -> Self {
        Self {
            permits: Arc::new(Permits::new(limit)),
            queue: usize::MAX,
        }
    }

    /// At most so many calls may wait, 0 for none. One more is refused with
    /// [`Rejection::LimitFull`](super::Rejection::LimitFull).
    ///
    /// Of this value and the clones that are made of it from now on. It still shares its permits and its line with the
    /// clones made before.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::Limit;
    /// use failfast::{BoxError, Context, Source, SourceExt};
    /// use futures::FutureExt;
    ///
    /// async fn stuck(_: Context, _: ()) -> Result<u32, BoxError> {
    ///     std::future::pending().await
    /// }
    ///
    /// let source = stuck.limit(&Limit::new(1.try_into().unwrap()).with_queue(0));
    /// let mut first = Box::pin(source.fetch(Context::background(), ()));
    /// assert!((&mut first).now_or_never().is_none());
    ///
    /// let refused = source.fetch(Context::background(), ()).now_or_never().unwrap().unwrap_err();
    /// assert_eq!(refused.to_string(), "limit of 1 reached");
    /// ```
    pub fn with_queue(mut self, queue: usize) -> Self {
        self.queue = queue;
        self
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (taken, waiting) = self.permits.in_use();
        f.debug_struct("Limit")
            .field("limit", &self.permits.limit())
            .field("taken", &taken)
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// # States
    ///
    /// ```text
    /// Waiting ──▶ Called ──▶ Over
    ///    └───────────────────▲    nothing begins: the caller's context has ended, or the line is full
    /// ```
    #[project = LimitedState]
    #[must_use = "a future does nothing until it is awaited"]
    pub enum Limited<A, F, R> {
        Waiting { waiting: AwaitsPermit<A, R> },
        // The source is dropped before its permit is given back.
        Called { #[pin] call: Call<F>, _permit: Permit },
        Over,
    }
}

/// A call that has no permit yet.
pub struct AwaitsPermit<A, R> {
    /// `None` once the source has been called.
    asked: Option<Asked<A, Limit, R>>,
    /// `None` until it has found that it must wait.
    acquire: Option<Acquire>,
    watch: Watch,
}

/// The source's future is a parameter instead of `A::Future` behind a bound, because with the bound an `async` block that
/// awaits it is not `Send` for a closure whose error is a [`BoxError`](crate::BoxError).
type LimitedOf<A, R> = Limited<A, <A as Source<R>>::Future, R>;

policy!(Limit => LimitedOf);

impl<A: Source<R>, R> LimitedOf<A, R> {
    #[inline]
    pub(super) fn new(asked: Asked<A, Limit, R>) -> Self {
        let waiting = AwaitsPermit {
            asked: Some(asked),
            acquire: None,
            watch: Watch::default(),
        };
        Self::Waiting { waiting }
    }
}

impl<A: Source<R>, R> AwaitsPermit<A, R> {
    /// Calls the source once there is a permit.
    #[inline]
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<LimitedOf<A, R>, Fault>> {
        let asked = self.asked.as_ref().expect(POLLED_AGAIN);
        let limit = asked.policy();
        if self.acquire.is_none() {
            if let Some(permit) = Permit::take(&limit.permits) {
                return Poll::Ready(self.call(permit));
            }
        }
        let new = || Acquire::new(limit.permits.clone());
        match self.acquire.get_or_insert_with(new).poll(limit.queue, cx) {
            Poll::Ready(Ok(permit)) => Poll::Ready(self.call(permit)),
            Poll::Ready(Err(Full)) => Poll::Ready(Err(refused(asked))),
            Poll::Pending => {
                waits::note_wait();
                match self.watch.poll(&asked.ctx, cx) {
                    Some(ended) => Poll::Ready(Err(ended.not_begun())),
                    None => Poll::Pending,
                }
            }
        }
    }

    fn call(&mut self, permit: Permit) -> Result<LimitedOf<A, R>, Fault> {
        let asked = self.asked.take().expect(POLLED_AGAIN);
        let call = asked.call()?;
        Ok(Limited::Called {
            call,
            _permit: permit,
        })
    }
}

/// The caller's end goes before the limit.
#[cold]
fn refused<A, R>(asked: &Asked<A, Limit, R>) -> Fault {
    let limit = asked.policy().permits.limit();
    let fault = ended_before(&asked.ctx).unwrap_or_else(|| Fault::limit_full(limit));
    observe_refusal(&asked.ctx, fault)
}

impl<A: Source<R>, R> Future for LimitedOf<A, R> {
    type Output = Result<A::Output, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let LimitedState::Waiting { waiting } = self.as_mut().project() {
            match ready!(waiting.poll(cx)) {
                Ok(called) => self.set(called),
                Err(fault) => {
                    self.set(Self::Over);
                    return Poll::Ready(Err(fault));
                }
            }
        }
        let LimitedState::Called { call, .. } = self.as_mut().project() else {
            unreachable!("a policy was polled after it had completed")
        };
        let answer = ready!(waits::served(|| call.poll(cx)));
        self.set(Self::Over);
        Poll::Ready(answer)
    }
}
