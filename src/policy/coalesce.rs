//! `coalesce`: one call for all callers that ask the same at the same time.

// | file | owns |
// |---|---|
// | `coalesce.rs` | a caller: of a flight of its own, or of one that it shares |
// | `coalesce/flights.rs` | the flights that are under way, by key |
// | `coalesce/flight.rs` | one call that several callers wait for |
// | `coalesce/wakers.rs` | their wakers |
// | `coalesce/inside.rs` | which flights a call is inside of |

mod flight;
mod flights;
mod inside;
mod wakers;

use super::call::Call;
use super::watch::{Watch, ended_before};
use super::wrapped::{Asked, Wrapped};
use crate::context::Context;
use crate::error::{Fault, Name};
use crate::source::Source;
use crate::unwind;
use flight::{Answer, Flight, LEADER};
use flights::{Boarded, Flights};
use inside::WaitsForItself;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

/// The calls of one source that are shared: keys `R`, futures `F`, answers `T`.
pub struct Shared<R, F, T>(Arc<Flights<R, Call<F>, T>>);

impl<R, F, T> Shared<R, F, T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Flights::new()))
    }
}

impl<R, F, T> Clone for Shared<R, F, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R, F, T> fmt::Debug for Shared<R, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("flights", &self.0.len())
            .finish_non_exhaustive()
    }
}

type SharedBy<A, R> = Shared<R, <A as Source<R>>::Future, <A as Source<R>>::Output>;
type FlightOf<A, R> = Flight<Call<<A as Source<R>>::Future>, <A as Source<R>>::Output>;
type AskedOf<A, R> = Asked<A, SharedBy<A, R>, R>;

impl<R, A> Source<R> for Wrapped<A, SharedBy<A, R>>
where
    R: Clone + Eq + Hash,
    A: Source<R>,
    A::Output: Clone,
{
    type Output = A::Output;
    type Error = Fault;
    type Future = Coalesced<A, R>;

    #[inline]
    fn fetch(&self, ctx: Context, request: R) -> Self::Future {
        Coalesced::new(self.ask(None, ctx, request))
    }

    #[inline]
    fn fetch_as(&self, name: &Name, ctx: Context, request: R) -> Self::Future {
        Coalesced::new(self.ask(Some(name), ctx, request))
    }

    #[inline]
    fn ends_with_context(&self) -> bool {
        true
    }
}

/// A call of a coalesced source.
///
/// Nothing in it is pinned: the source's future is in the flight, in a box.
#[must_use = "a future does nothing until it is awaited"]
pub struct Coalesced<A, R>(State<A, R>)
where
    A: Source<R>,
    A::Output: Clone,
    R: Clone + Eq + Hash;

/// ```text
/// Asked ──▶ Waits ──▶ Over
///   └─────────────────▲    the call would wait for itself, or its caller's context has ended
/// ```
enum State<A, R>
where
    A: Source<R>,
    A::Output: Clone,
    R: Clone + Eq + Hash,
{
    Asked(AskedOf<A, R>),
    Waits(Waits<A, R>),
    Over,
}

/// A caller whose flight is under way.
struct Waits<A, R>
where
    A: Source<R>,
    A::Output: Clone,
    R: Clone + Eq + Hash,
{
    place: Place<A, R>,
    ctx: Context,
    watch: Watch,
}

impl<A, R> Unpin for Coalesced<A, R>
where
    A: Source<R>,
    A::Output: Clone,
    R: Clone + Eq + Hash,
{
}

impl<A, R> Coalesced<A, R>
where
    A: Source<R>,
    A::Output: Clone,
    R: Clone + Eq + Hash,
{
    #[inline]
    fn new(asked: AskedOf<A, R>) -> Self {
        Self(State::Asked(asked))
    }

    /// Polls a caller that waits. It stays where it is unless it is through.
    fn wait(
        &mut self,
        mut waits: Waits<A, R>,
        polled: Poll<Answer<A::Output>>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Answer<A::Output>> {
        if polled.is_ready() {
            return polled;
        }
        if let Some(ended) = waits.watch.poll(&waits.ctx, cx) {
            return Poll::Ready(Err(ended));
        }
        self.0 = State::Waits(waits);
        Poll::Pending
    }
}

impl<A, R> Future for Coalesced<A, R>
where
    A: Source<R>,
    A::Output: Clone,
    R: Clone + Eq + Hash,
{
    type Output = Answer<A::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let (waits, polled) = match mem::replace(&mut self.0, State::Over) {
            State::Asked(asked) => match Waits::begin(asked, cx) {
                Ok(begun) => begun,
                Err(fault) => return Poll::Ready(Err(fault)),
            },
            State::Waits(waits) => {
                let polled = waits.place.poll(cx);
                (waits, polled)
            }
            State::Over => unreachable!("a policy was polled after it had completed"),
        };
        self.wait(waits, polled, cx)
    }
}

/// A caller that has joined its flight, and what its first poll gave.
type Begun<A, R> = (Waits<A, R>, Poll<Answer<<A as Source<R>>::Output>>);

impl<A, R> Waits<A, R>
where
    A: Source<R>,
    A::Output: Clone,
    R: Clone + Eq + Hash,
{
    /// Joins a flight, or launches one, and polls it.
    fn begin(asked: AskedOf<A, R>, cx: &mut task::Context<'_>) -> Result<Begun<A, R>, Fault> {
        if let Some(ended) = ended_before(&asked.ctx) {
            return Err(ended);
        }
        let waker = cx.waker().clone();
        let (shared, key) = (asked.policy().clone(), asked.request().clone());
        let boarded = shared.0.board(&key, |flight| {
            inside::is_inside(&asked.ctx, flight.wakers())
        });
        let (flight, number) = match boarded {
            Boarded::Inside => return Err(Fault::failed(WaitsForItself.into())),
            Boarded::Follows(flight, number) => (flight, number),
            Boarded::Leads(flight) => (flight, LEADER),
        };
        let waits = Self {
            ctx: asked.ctx.clone(),
            place: Place {
                shared,
                key,
                flight,
                number,
            },
            watch: Watch::default(),
        };
        let polled = match number {
            LEADER => waits.place.launch(asked, waker),
            _ => waits.place.poll_with(waker),
        };
        Ok((waits, polled))
    }
}

/// A waiter's place in its flight. Dropping it leaves.
struct Place<A, R>
where
    A: Source<R>,
    A::Output: Clone,
    R: Clone + Eq + Hash,
{
    shared: SharedBy<A, R>,
    key: R,
    flight: Arc<FlightOf<A, R>>,
    number: u64,
}

impl<A, R> Place<A, R>
where
    A: Source<R>,
    A::Output: Clone,
    R: Clone + Eq + Hash,
{
    /// Calls the source, under the leader's context without its lifetime: other waiters have their own.
    fn launch(&self, mut asked: AskedOf<A, R>, waker: Waker) -> Poll<Answer<A::Output>> {
        let wakers = self.flight.wakers();
        let fetch = || {
            asked.ctx = inside::enter(&asked.ctx.without_cancel(), wakers);
            asked.call()
        };
        self.flight.launch(fetch, || self.forget(), waker)
    }

    fn poll(&self, cx: &mut task::Context<'_>) -> Poll<Answer<A::Output>> {
        self.poll_with(cx.waker().clone())
    }

    fn poll_with(&self, waker: Waker) -> Poll<Answer<A::Output>> {
        self.flight.poll(self.number, || self.forget(), waker)
    }

    /// The flight is over: the next caller begins one of its own.
    fn forget(&self) {
        unwind::shield("`Hash` or `Eq` of a coalesced request", || {
            self.shared.0.remove(&self.key, &self.flight);
        });
    }
}

impl<A, R> Drop for Place<A, R>
where
    A: Source<R>,
    A::Output: Clone,
    R: Clone + Eq + Hash,
{
    fn drop(&mut self) {
        if self.flight.leave(self.number) {
            self.forget();
        }
    }
}
