//! `timeout` and `leaving`: a deadline for each call of what is inside.

use super::call::{Call, Given};
use super::wrapped::{Asked, policy};
use crate::context::{Context, NewDeadline};
use crate::error::{BoxError, Fault};
use crate::source::Source;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};
use std::time::Duration;

/// When a call is too late.
#[derive(Clone, Copy, Debug)]
pub enum Late {
    /// So long after its begin.
    For(Duration),
    /// So long before the caller's deadline.
    Leaving(Duration),
}

impl Late {
    /// The context of a call that begins now, and the limit that it sets. `None`: as long as the caller.
    fn limit(self, caller: &Context) -> Option<(Context, Given)> {
        let (deadline, after) = match self {
            Self::For(timeout) => (NewDeadline::after(caller, timeout, NO_CAUSE), timeout),
            Self::Leaving(_) if caller.is_done() => return None, // its end came first, noticed or not
            Self::Leaving(margin) => {
                let (now, deadline) = (caller.now(), caller.deadline()?);
                let until = deadline.checked_sub(margin).unwrap_or(now);
                let after = until.saturating_duration_since(now);
                (Some(NewDeadline::at(caller, until, NO_CAUSE)), after)
            }
        };
        let (ctx, lease) = caller.lend(deadline);
        Some((
            ctx,
            Given {
                after,
                is_fresh: caller.deadline().is_none() && !after.is_zero(),
                _lease: lease,
            },
        ))
    }
}

/// No cause, because the fault holds everything.
const NO_CAUSE: Option<BoxError> = None;

pin_project! {
    /// # States
    ///
    /// ```text
    /// Asked ──▶ Called ──▶ Over
    ///   └──────────────────▲    nothing begins: the caller's context has ended, or there is no time
    /// ```
    #[project = TimeoutState]
    #[must_use = "a future does nothing until it is awaited"]
    pub enum Timeout<A, F, R> {
        Asked { asked: Option<Asked<A, Late, R>> },
        Called { #[pin] call: Call<F> },
        Over,
    }
}

type TimeoutOf<A, R> = Timeout<A, <A as Source<R>>::Future, R>;

policy!(Late => TimeoutOf);

impl<A: Source<R>, R> Timeout<A, A::Future, R> {
    #[inline]
    pub(super) fn new(asked: Asked<A, Late, R>) -> Self {
        Self::Asked { asked: Some(asked) }
    }

    fn begin(asked: Asked<A, Late, R>) -> Result<Call<A::Future>, Fault> {
        match asked.policy().limit(&asked.ctx) {
            Some((ctx, given)) => asked.call_within(ctx, given),
            None => asked.call(),
        }
    }
}

impl<A: Source<R>, R> Future for Timeout<A, A::Future, R> {
    type Output = Result<A::Output, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let TimeoutState::Asked { asked } = self.as_mut().project() {
            let asked = asked
                .take()
                .expect("a call that panicked is not polled again");
            match Self::begin(asked) {
                Ok(call) => self.set(Self::Called { call }),
                Err(fault) => {
                    self.set(Self::Over);
                    return Poll::Ready(Err(fault));
                }
            }
        }
        let TimeoutState::Called { call } = self.as_mut().project() else {
            unreachable!("a policy was polled after it had completed")
        };
        let answer = ready!(call.poll(cx));
        self.set(Self::Over);
        Poll::Ready(answer)
    }
}
