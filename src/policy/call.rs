//! One call of a source under a context, until that ends.
//!
//! # Invariants
//!
//! 1. The source is polled first, then its context is looked at. So a source whose context has ended is polled once
//!    more, as a group's tasks are, and an error that it returns then is not replaced by the end.
//! 2. The end of the context that a policy made for the call is the policy's end, if no ancestor's end came before: a
//!    deadline that is not earlier than the caller's is not kept, so a tie is the caller's.
//! 3. The source is dropped before the context, so that the lease holds the only reference to it.

use crate::context::{Context, Lease, PinnedDone};
use crate::error::{BoxError, End, Fault, Name, echo};
use crate::source::Source;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

pin_project! {
    /// A call of a source. Ready at the latest when its context ends.
    pub(super) struct Call<F> {
        #[pin]
        answer: F,
        #[pin]
        until: Until,
    }
}

/// What a policy gave a call: a context of its own.
pub(super) struct Given {
    /// How long it has.
    pub(super) after: Duration,
    /// Whether only this deadline can have passed, which was set a moment ago and is in the future.
    pub(super) is_fresh: bool,
    /// Dropped last: see invariant 3.
    pub(super) _lease: Lease,
}

pin_project! {
    /// The end of a call's context.
    struct Until {
        #[pin]
        end: PinnedDone,
        // What the policy gave it. `None`: the context is the caller's.
        given: Option<Given>,
        // Whether the source may go on after its context's end. Policies don't, so those around them need not watch.
        watches: bool,
    }
}

impl<F> Call<F> {
    /// Calls the source, unless `ctx` has ended. A policy inside looks at that by itself.
    ///
    /// `given`: what the calling policy gave it. `None`: `ctx` is the caller's.
    #[inline]
    pub(super) fn begin<R, A: Source<R, Future = F>>(
        source: &A,
        name: Option<&Name>,
        ctx: Context,
        request: R,
        given: Option<Given>,
    ) -> Result<Self, Fault> {
        let until = Until {
            end: ctx.pinned_done(),
            given,
            watches: !source.nature().ends_with_context,
        };
        if until.watches && until.has_ended(&ctx) {
            return Err(until.ended().not_begun());
        }
        let answer = match name {
            Some(name) => source.fetch_as(name, ctx, request),
            None => source.fetch(ctx, request),
        };
        Ok(Self { answer, until })
    }
}

impl<F, T, E> Future for Call<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, Fault>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        match this.answer.poll(cx) {
            Poll::Ready(Ok(answer)) => Poll::Ready(Ok(answer)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(this.until.fault_of(error.into()))),
            Poll::Pending if this.until.as_mut().wait(cx) => Poll::Ready(Err(this.until.ended())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Until {
    /// Whether the end came before the call. Reads the clock if a deadline may have passed.
    #[inline]
    fn has_ended(&self, ctx: &Context) -> bool {
        match &self.given {
            Some(given) if given.is_fresh => self.end.noticed().is_some(),
            _ => ctx.is_done(),
        }
    }

    /// Whether the end has come.
    #[inline]
    fn wait(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> bool {
        let this = self.project();
        *this.watches && this.end.as_ref().wait(cx)
    }

    /// What a source's error is to its caller.
    #[cold]
    fn fault_of(&self, error: BoxError) -> Fault {
        match error.downcast::<Fault>() {
            Ok(fault) => self.fault_again(*fault),
            Err(error) if self.is_told_by(|end| echo(&error, end)) => self.ended(),
            Err(error) => Fault::failed(error),
        }
    }

    /// The same for one that a policy inside has made.
    fn fault_again(&self, fault: Fault) -> Fault {
        match fault.end().cloned() {
            None => fault,
            Some(told) if self.is_told_by(|end| end.is_told_by(&told)) => {
                fault.retold(self.ended())
            }
            // The end of some other context, under which the source was called.
            Some(told) => fault.retold(Fault::failed(told.into())),
        }
    }

    fn is_told_by(&self, told: impl FnOnce(&Arc<End>) -> bool) -> bool {
        self.end.by_clock().is_some_and(|end| told(&end))
    }

    /// The context has ended.
    #[cold]
    fn ended(&self) -> Fault {
        let Some(end) = self.end.noticed() else {
            unreachable!("the context has ended")
        };
        let error = end.error(); // its kind is `Canceled` if a broken clock ended it
        match &self.given {
            Some(given) if error.is_deadline_exceeded() && self.end.is_own_end() => {
                Fault::timed_out(given.after)
            }
            _ => Fault::ended(error),
        }
    }
}
