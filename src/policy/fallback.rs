//! `fallback`: another source, where the first failed.

use super::call::Call;
use super::wrapped::{Asked, Wrapped, nature_of};
use crate::context::Context;
use crate::error::{Fault, Name};
use crate::source::{Nature, Source};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

/// The source to call instead.
#[derive(Clone, Debug)]
pub struct Or<B>(pub(super) B);

pin_project! {
    /// # States
    ///
    /// ```text
    /// Asked ──▶ First ──▶ Second ──▶ Over
    /// ```
    ///
    /// The second begins only if the first failed, and the caller's context has not ended.
    #[project = FallbackState]
    #[must_use = "a future does nothing until it is awaited"]
    pub enum Fallback<A, B, F, G, R> {
        Asked { asked: Option<Asked<A, Or<B>, R>> },
        First { #[pin] call: Call<F>, asked: Option<Asked<A, Or<B>, R>> },
        Second { #[pin] call: Call<G>, fault: Option<Fault> },
        Over,
    }
}

type FallbackOf<A, B, R> = Fallback<A, B, <A as Source<R>>::Future, <B as Source<R>>::Future, R>;

type Step<A, B, R> = Result<FallbackOf<A, B, R>, Result<<A as Source<R>>::Output, Fault>>;

impl<A, B, R> FallbackOf<A, B, R>
where
    A: Source<R>,
    B: Source<R, Output = A::Output>,
    R: Clone,
{
    /// The next state, or the answer.
    fn step(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Step<A, B, R>> {
        Poll::Ready(match self.project() {
            FallbackState::Asked { asked } => {
                let asked = asked
                    .take()
                    .expect("a call that panicked is not polled again");
                match asked.call_again(asked.ctx.clone()) {
                    Ok(call) => Ok(Self::First {
                        call,
                        asked: Some(asked),
                    }),
                    Err(fault) => Err(Err(fault)),
                }
            }
            FallbackState::First { call, asked } => match ready!(call.poll(cx)) {
                Err(fault) if fault.end().is_none() => {
                    let asked = asked.take().expect("the first call ends once");
                    Self::ask_other(asked, fault)
                }
                answer => Err(answer),
            },
            FallbackState::Second { call, fault } => {
                let answer = ready!(call.poll(cx));
                let fault = fault.take().expect("the second call ends once");
                Err(answer.map_err(|other| match other.end() {
                    Some(_) => fault,
                    None => fault.with_other(other),
                }))
            }
            FallbackState::Over => unreachable!("a policy was polled after it had completed"),
        })
    }

    fn ask_other(asked: Asked<A, Or<B>, R>, fault: Fault) -> Step<A, B, R> {
        if asked.ctx.is_done() {
            return Err(Err(fault));
        }
        asked.record(|| format!("falls back: {fault}"));
        match asked.call_other(|policy| &policy.0) {
            Ok(call) => Ok(Self::Second {
                call,
                fault: Some(fault),
            }),
            Err(_) => Err(Err(fault)),
        }
    }
}

impl<A, B, R> Future for FallbackOf<A, B, R>
where
    A: Source<R>,
    B: Source<R, Output = A::Output>,
    R: Clone,
{
    type Output = Result<A::Output, Fault>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        loop {
            match ready!(self.as_mut().step(cx)) {
                Ok(state) => self.set(state),
                Err(answer) => {
                    self.set(Self::Over);
                    return Poll::Ready(answer);
                }
            }
        }
    }
}

impl<R, A, B> Source<R> for Wrapped<A, Or<B>>
where
    R: Clone,
    A: Source<R>,
    B: Source<R, Output = A::Output>,
{
    type Output = A::Output;
    type Error = Fault;
    type Future = FallbackOf<A, B, R>;

    #[inline]
    fn fetch(&self, ctx: Context, request: R) -> Self::Future {
        Fallback::Asked {
            asked: Some(self.ask(None, ctx, request)),
        }
    }

    #[inline]
    fn fetch_as(&self, name: &Name, ctx: Context, request: R) -> Self::Future {
        Fallback::Asked {
            asked: Some(self.ask(Some(name), ctx, request)),
        }
    }

    #[inline]
    fn nature(&self) -> Nature {
        nature_of(self.source())
    }
}
