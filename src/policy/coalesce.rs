//! `coalesce`: one call for all callers with equal requests at the same time.

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
use super::wrapped::{Asked, Wrapped, nature_of};
use crate::context::Context;
use crate::error::{BoxError, Fault, Name};
use crate::source::{Nature, Source};
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

impl<R, A> Source<R> for Wrapped<A, Shared<R, A::Future, A::Output>>
where
    R: Clone + Eq + Hash,
    A: Source<R>,
    A::Output: Clone,
{
    type Output = A::Output;
    type Error = Fault;
    type Future = Coalesced<A, R, A::Future, A::Output>;

    #[inline]
    fn fetch(&self, ctx: Context, request: R) -> Self::Future {
        Coalesced(State::Asked(self.ask(None, ctx, request)))
    }

    #[inline]
    fn fetch_as(&self, name: &Name, ctx: Context, request: R) -> Self::Future {
        Coalesced(State::Asked(self.ask(Some(name), ctx, request)))
    }

    #[inline]
    fn nature(&self) -> Nature {
        nature_of(self.source())
    }
}

/// A call of a coalesced source.
///
/// Nothing in it is pinned: the source's future is in the flight, in a box.
#[must_use = "a future does nothing until it is awaited"]
pub struct Coalesced<A, R: Eq + Hash, F, T>(State<A, R, F, T>);

/// ```text
/// Asked ──▶ Waits ──▶ Over
///   └─────────────────▲    the call would wait for itself, or its caller's context has ended
/// ```
enum State<A, R: Eq + Hash, F, T> {
    Asked(AskedOf<A, R, F, T>),
    Waits(Waits<R, F, T>),
    Over,
}

type AskedOf<A, R, F, T> = Asked<A, Shared<R, F, T>, R>;

impl<A, R: Eq + Hash, F, T> Unpin for Coalesced<A, R, F, T> {}

impl<A, R, F, T> Future for Coalesced<A, R, F, T>
where
    A: Source<R, Future = F, Output = T>,
    R: Clone + Eq + Hash,
    F: Future<Output = Result<T, A::Error>>,
    T: Clone,
{
    type Output = Answer<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let (waits, polled) = match mem::replace(&mut self.0, State::Over) {
            State::Asked(asked) => match begin(asked, cx) {
                Ok(begun) => begun,
                Err(fault) => return Poll::Ready(Err(fault)),
            },
            State::Waits(waits) => {
                let polled = waits.membership.poll::<A::Error>(cx.waker().clone());
                (waits, polled)
            }
            State::Over => unreachable!("a policy was polled after it had completed"),
        };
        self.wait(waits, polled, cx)
    }
}

impl<A, R: Eq + Hash, F, T> Coalesced<A, R, F, T> {
    /// Stays with a caller that waits, until its context ends.
    fn wait(
        &mut self,
        mut waits: Waits<R, F, T>,
        polled: Poll<Answer<T>>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Answer<T>> {
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

/// A caller that has joined its flight, and what its first poll gave.
type FirstPoll<R, F, T> = (Waits<R, F, T>, Poll<Answer<T>>);

/// Joins a flight, or launches one, and polls it.
fn begin<A, R, F, T>(
    asked: AskedOf<A, R, F, T>,
    cx: &mut task::Context<'_>,
) -> Result<FirstPoll<R, F, T>, Fault>
where
    A: Source<R, Future = F, Output = T>,
    R: Clone + Eq + Hash,
    F: Future<Output = Result<T, A::Error>>,
    T: Clone,
{
    if let Some(ended) = ended_before(&asked.ctx) {
        return Err(ended);
    }
    let waker = cx.waker().clone();
    let (shared, key) = (asked.policy().clone(), asked.request().clone());
    let boarded = shared.0.board(&key, |flight| {
        inside::is_inside(&asked.ctx, flight.wakers())
    });
    // Nothing may panic from here to the launch, because others may have joined by then.
    let (flight, number) = match boarded {
        Boarded::Inside => return Err(Fault::failed(WaitsForItself.into())),
        Boarded::Follows(flight, number) => (flight, number),
        Boarded::Leads(flight) => (flight, LEADER),
    };
    let waits = Waits {
        ctx: asked.ctx.clone(),
        watch: Watch::default(),
        membership: Membership {
            shared,
            key,
            flight,
            number,
        },
    };
    let polled = match number {
        LEADER => waits.membership.launch(asked, waker),
        _ => waits.membership.poll(waker),
    };
    Ok((waits, polled))
}

/// A caller whose flight is under way.
struct Waits<R: Eq + Hash, F, T> {
    membership: Membership<R, F, T>,
    ctx: Context,
    watch: Watch,
}

/// A waiter's membership in its flight. Dropping it leaves the flight.
struct Membership<R: Eq + Hash, F, T> {
    shared: Shared<R, F, T>,
    key: R,
    flight: Arc<Flight<Call<F>, T>>,
    number: u64,
}

impl<R: Eq + Hash, F, T> Membership<R, F, T> {
    /// Calls the source, under the leader's context without its lifetime, because each waiter has its own.
    fn launch<A>(&self, mut asked: AskedOf<A, R, F, T>, waker: Waker) -> Poll<Answer<T>>
    where
        A: Source<R, Future = F, Output = T>,
        F: Future<Output = Result<T, A::Error>>,
        T: Clone,
    {
        let wakers = self.flight.wakers();
        let fetch = || {
            asked.ctx = inside::enter(&asked.ctx.without_cancel(), wakers);
            asked.call()
        };
        self.flight.launch(fetch, || self.forget(), waker)
    }

    fn poll<E>(&self, waker: Waker) -> Poll<Answer<T>>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
        T: Clone,
    {
        self.flight.poll(self.number, || self.forget(), waker)
    }

    /// The flight is over: the next caller begins one of its own.
    fn forget(&self) {
        unwind::shield("`Hash` or `Eq` of a coalesced request", || {
            self.shared.0.remove(&self.key, &self.flight);
        });
    }
}

impl<R: Eq + Hash, F, T> Drop for Membership<R, F, T> {
    fn drop(&mut self) {
        if self.flight.leave(self.number) {
            self.forget();
        }
    }
}
