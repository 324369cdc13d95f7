//! A policy around a source, and a call of it that has not begun.

use super::call::Call;
use crate::context::Context;
use crate::error::{Fault, Name};
use crate::source::Source;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A source with a policy around it: a source again. Clones share both.
#[must_use = "a policy does nothing unless its source is called"]
pub struct Wrapped<A, P>(Arc<Layer<A, P>>);

struct Layer<A, P> {
    source: A,
    policy: P,
}

impl<A, P> Wrapped<A, P> {
    pub(super) fn new(source: A, policy: P) -> Self {
        Self(Arc::new(Layer { source, policy }))
    }

    pub(super) fn source(&self) -> &A {
        &self.0.source
    }

    pub(super) fn policy(&self) -> &P {
        &self.0.policy
    }

    /// A call that begins when it is first polled.
    pub(super) fn ask<R>(&self, name: Option<&Name>, ctx: Context, request: R) -> Asked<A, P, R> {
        Asked {
            wrapped: self.clone(),
            name: name.cloned(),
            ctx,
            request,
        }
    }
}

impl<A, P> Clone for Wrapped<A, P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A, P: fmt::Debug> fmt::Debug for Wrapped<A, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped")
            .field("policy", self.policy())
            .finish_non_exhaustive()
    }
}

/// Why there is nothing to call any more.
pub(super) const POLLED_AGAIN: &str = "a call that panicked is not polled again";

/// What a policy was asked.
pub(super) struct Asked<A, P, R> {
    wrapped: Wrapped<A, P>,
    /// The source's, where the caller knows one.
    pub(super) name: Option<Name>,
    /// The caller's.
    pub(super) ctx: Context,
    request: R,
}

impl<A, P, R> Asked<A, P, R> {
    pub(super) fn policy(&self) -> &P {
        self.wrapped.policy()
    }

    pub(super) fn source(&self) -> &A {
        self.wrapped.source()
    }

    pub(super) fn request(&self) -> &R {
        &self.request
    }

    /// Calls the source, once and for all, under the caller's context, unless that has ended.
    pub(super) fn call(self) -> Result<Call<A::Future>, Fault>
    where
        A: Source<R>,
    {
        let source = self.wrapped.source();
        Call::begin(source, self.name.as_ref(), self.ctx, self.request, None)
    }

    /// Calls the source, once and for all, under a context that the policy made. `given`: the time until the deadline
    /// that the policy set.
    pub(super) fn call_within(self, ctx: Context, given: Duration) -> Result<Call<A::Future>, Fault>
    where
        A: Source<R>,
    {
        let source = self.wrapped.source();
        Call::begin(source, self.name.as_ref(), ctx, self.request, Some(given))
    }

    /// Calls the source, and keeps what it takes to call it again.
    #[allow(dead_code, reason = "for `retry`")]
    pub(super) fn call_again(&self, ctx: Context) -> Result<Call<A::Future>, Fault>
    where
        A: Source<R>,
        R: Clone,
    {
        let request = self.request.clone();
        Call::begin(self.source(), self.name.as_ref(), ctx, request, None)
    }
}

/// `Source` for a policy that changes no types: what it is, and the future that does it. The macro forwards; the future
/// thinks.
macro_rules! policy {
    ($policy:ty => $future:ident $(, $bound:path)?) => {
        impl<R $(: $bound)?, A: $crate::source::Source<R>> $crate::source::Source<R>
            for $crate::policy::wrapped::Wrapped<A, $policy>
        {
            type Output = A::Output;
            type Error = $crate::error::Fault;
            type Future = $future<A, R>;

            #[inline]
            fn fetch(&self, ctx: $crate::context::Context, request: R) -> Self::Future {
                $future::new(self.ask(None, ctx, request))
            }

            #[inline]
            fn fetch_as(
                &self,
                name: &$crate::error::Name,
                ctx: $crate::context::Context,
                request: R,
            ) -> Self::Future {
                $future::new(self.ask(Some(name), ctx, request))
            }

            #[inline]
            fn ends_with_context(&self) -> bool {
                true
            }
        }
    };
}

pub(super) use policy;
