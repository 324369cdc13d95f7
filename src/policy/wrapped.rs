//! A policy around a source, and a call of it that has not begun.

use super::budget::Budget;
use super::call::{Call, Given};
use super::record;
use super::retry::Advice;
use super::when::When;
use crate::attempt::Attempt;
use crate::clock::Sleep;
use crate::context::Context;
use crate::error::{Fault, Name};
use crate::source::{Nature, Source};
use crate::unwind;
use log::Level;
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

/// One call of a policy: its source, name, context and request.
pub(super) struct Asked<A, P, R> {
    wrapped: Wrapped<A, P>,
    /// The source's, where the caller passed one.
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

    /// Calls the source, once and for all, under a context that the policy made.
    pub(super) fn call_within(self, ctx: Context, given: Given) -> Result<Call<A::Future>, Fault>
    where
        A: Source<R>,
    {
        let source = self.wrapped.source();
        Call::begin(source, self.name.as_ref(), ctx, self.request, Some(given))
    }

    /// Calls another source that the policy has, once and for all.
    pub(super) fn call_other<B: Source<R>>(
        self,
        other: impl FnOnce(&P) -> &B,
    ) -> Result<Call<B::Future>, Fault> {
        let other = other(self.wrapped.policy());
        Call::begin(other, self.name.as_ref(), self.ctx, self.request, None)
    }

    /// Calls the source, and keeps what it takes to call it again.
    pub(super) fn call_again(&self, ctx: Context) -> Result<Call<A::Future>, Fault>
    where
        A: Source<R>,
        R: Clone,
    {
        let request = self.request.clone();
        Call::begin(self.source(), self.name.as_ref(), ctx, request, None)
    }
}

/// For policies that make several attempts.
impl<A, P, R> Asked<A, P, R> {
    /// The context of a first attempt. An attempt that a policy further out makes is not this one's: numbers count from
    /// 1, by the policy nearest to the source.
    #[inline]
    pub(super) fn first_attempt(&self) -> Context {
        match self.ctx.attempt() {
            Attempt::FIRST => self.ctx.clone(),
            _ => self.ctx.with_value(Attempt::FIRST),
        }
    }

    /// A first attempt has begun: pays in, unless it is an attempt that a policy further out makes and has paid for, or
    /// a policy inside pays into the same budget.
    #[inline]
    pub(super) fn pay_in(&self, budget: Option<&Budget>)
    where
        A: Source<R>,
    {
        let Some(budget) = budget else { return };
        let inner = self.source().nature().budget;
        if inner != Some(budget.id()) && self.ctx.attempt() == Attempt::FIRST {
            budget.pay_in();
        }
    }

    /// A timer by the caller's clock. `None` if it would end later than an `Instant` can hold.
    pub(super) fn sleep(&self, duration: Duration) -> Option<Sleep> {
        let until = self.ctx.now().checked_add(duration)?;
        let clock = self.ctx.clock();
        Some(unwind::contain_text(|| clock.sleep_until(until)).unwrap_or_else(Sleep::broken))
    }

    /// Whether a failure is worth another attempt.
    pub(super) fn advice(&self, when: &When, fault: &Fault) -> Advice {
        when.advise(fault).unwrap_or_else(|sought| {
            self.record(|| {
                format!("not tried again, because no {sought} is behind its error: {fault}")
            });
            Advice::No
        })
    }

    pub(super) fn record<T: fmt::Display>(&self, said: impl FnOnce() -> T) {
        record::write(&self.ctx, self.name.as_ref(), Level::Debug, said);
    }
}

/// `Source` for a policy that changes no types: the macro forwards, and the logic is in the future. That is generic over
/// the source's future, without a bound, because a bound on the source would have to hold for every lifetime where the
/// future is held across an `await` in a future that must be `Send`, and closures' does not.
///
/// `with`: the bound of the policy on requests. `nature`: what it changes of the source's.
macro_rules! policy {
    ($policy:ty => $future:ident $(with $bound:path)? $(, nature $nature:expr)?) => {
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
            fn nature(&self) -> $crate::source::Nature {
                let nature = $crate::policy::wrapped::nature_of(self.source());
                $(let nature = $nature(self.policy(), nature);)?
                nature
            }
        }
    };
}

/// The nature of a policy around `source`.
pub(super) fn nature_of<R, A: Source<R>>(source: &A) -> Nature {
    Nature {
        ends_with_context: true,
        ..source.nature()
    }
}

pub(super) use policy;
