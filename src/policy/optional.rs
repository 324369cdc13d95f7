//! `optional`: `None` where the source failed.

use super::call::Call;
use super::record;
use super::wrapped::{Asked, Wrapped, nature_of};
use crate::context::Context;
use crate::error::{Fault, FaultKind, Name};
use crate::source::{Nature, Source};
use log::Level;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

/// The answer may be missing.
#[derive(Clone, Copy, Debug)]
pub struct Maybe;

/// The caller's name and context, for the record of a failure.
struct Caller {
    name: Option<Name>,
    ctx: Context,
}

pin_project! {
    /// # States
    ///
    /// ```text
    /// Asked ──▶ Called ──▶ Over
    /// ```
    #[project = OptionalState]
    #[must_use = "a future does nothing until it is awaited"]
    pub enum Optional<A, F, R> {
        Asked { asked: Option<Asked<A, Maybe, R>> },
        Called { #[pin] call: Call<F>, caller: Caller },
        Over,
    }
}

impl<A: Source<R>, R> Future for Optional<A, A::Future, R> {
    type Output = Result<Option<A::Output>, Fault>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let OptionalState::Asked { asked } = self.as_mut().project() {
            let asked = asked
                .take()
                .expect("a call that panicked is not polled again");
            let caller = Caller {
                name: asked.name.clone(),
                ctx: asked.ctx.clone(),
            };
            match asked.call() {
                Ok(call) => self.set(Self::Called { call, caller }),
                Err(fault) => {
                    self.set(Self::Over);
                    return Poll::Ready(Err(fault));
                }
            }
        }
        let OptionalState::Called { call, caller } = self.as_mut().project() else {
            unreachable!("a policy was polled after it had completed")
        };
        let answer = match ready!(call.poll(cx)) {
            Ok(answer) => Ok(Some(answer)),
            Err(fault) => caller.do_without(fault),
        };
        self.set(Self::Over);
        Poll::Ready(answer)
    }
}

impl Caller {
    /// The caller's end is never turned into an answer.
    #[cold]
    fn do_without<T>(&self, fault: Fault) -> Result<Option<T>, Fault> {
        if fault.end().is_some() || self.ctx.is_done() {
            return Err(fault);
        }
        record::write(&self.ctx, self.name.as_ref(), Level::Warn, || {
            let what = match fault.kind() {
                FaultKind::TimedOut { .. } => "late",
                FaultKind::Rejected(_) => "not called",
                _ => "failed",
            };
            format!("{what}, answered without: {fault}")
        });
        Ok(None)
    }
}

impl<R, A: Source<R>> Source<R> for Wrapped<A, Maybe> {
    type Output = Option<A::Output>;
    type Error = Fault;
    type Future = Optional<A, A::Future, R>;

    #[inline]
    fn fetch(&self, ctx: Context, request: R) -> Self::Future {
        Optional::Asked {
            asked: Some(self.ask(None, ctx, request)),
        }
    }

    #[inline]
    fn fetch_as(&self, name: &Name, ctx: Context, request: R) -> Self::Future {
        Optional::Asked {
            asked: Some(self.ask(Some(name), ctx, request)),
        }
    }

    #[inline]
    fn nature(&self) -> Nature {
        nature_of(self.source())
    }
}
