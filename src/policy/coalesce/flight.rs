//! A flight: one call that several callers wait for.
//!
//! It has no task of its own. Whichever waiter is polled first polls it, so it goes on while any of them is polled, and
//! no waiter depends on another one.
//!
//! ```text
//!             a waiter takes the future        it is pending: the future is put back
//!    ┌──────┐ ─────────────────────────► ┌─────────┐ ───────────────────► ┌──────┐
//!    │ idle │                            │ polling │                      │ idle │
//!    └──┬───┘                            └────┬────┘                      └──────┘
//!       │ the last waiter leaves              │ it is ready, or has panicked
//!       ▼                                     ▼
//!    ┌────────┐   the last waiter takes    ┌────────┐  a waiter takes   ┌────────┐
//!    │ closed │ ◄───────────────────────── │ landed │ ────────────────► │ copied │
//!    └────────┘         the answer         └────────┘ ◄──────────────── └────────┘
//!                                                      and puts it back
//! ```
//!
//! # Invariants
//!
//! 1. The stage is the state word: it changes under the lock, for a few instructions. The future is polled and dropped,
//!    and the answer cloned and dropped, by the waiter that has taken it out, under no lock.
//! 2. A waiter registers its waker before it looks at the stage, and a change of the stage is followed by a wake. So a waiter
//!    that finds the future or the answer taken out is woken when it is back.
//! 3. A panic of the future's is an answer like any other. A panic while the answer is cloned is that waiter's own: the
//!    answer is put back all the same.
//! 4. A flight that has landed or closed is not joined any more. So the number of waiters only shrinks from then on, and a
//!    waiter that is the only one stays so.

use super::wakers::Wakers;
use crate::error::Fault;
use crate::sync::{Mutex, this_thread};
use crate::unwind;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

pub(super) type Answer<T> = Result<T, Fault>;

/// The waiter that launches the flight.
pub(super) const LEADER: u64 = 0;

pub(super) struct Flight<F, T> {
    state: Mutex<State<F, T>>,
    wakers: Arc<Wakers>,
}

struct State<F, T> {
    stage: Stage<F, T>,
    waiters: usize,
    joined: u64,
}

enum Stage<F, T> {
    Idle(Pin<Box<F>>),
    /// A waiter polls it, or its leader is about to call the source: on this thread.
    Polling(usize),
    Landed(Answer<T>),
    /// A waiter clones the answer.
    Copied,
    Closed,
}

/// What a waiter finds.
enum Found<F, T> {
    Pending,
    Future(Pin<Box<F>>),
    /// It is to be put back.
    Answer(Answer<T>),
    /// No other waiter is left.
    LastAnswer(Answer<T>),
}

/// The result of joining a flight.
pub(super) enum Joined {
    /// It is this waiter.
    Waiter(u64),
    /// It comes too late (invariant 4).
    Late,
    /// The call came from inside a poll of this very flight, which would wait for itself.
    Inside,
}

impl<F, T> Flight<F, T> {
    /// A flight that its leader has not launched yet.
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                stage: Stage::Polling(this_thread()),
                waiters: 1,
                joined: LEADER + 1,
            }),
            wakers: Arc::default(),
        }
    }

    pub(super) fn wakers(&self) -> &Arc<Wakers> {
        &self.wakers
    }

    /// One more waiter.
    pub(super) fn join(&self) -> Joined {
        let mut state = self.state.lock();
        match state.stage {
            Stage::Polling(thread) if thread == this_thread() => return Joined::Inside,
            Stage::Idle(_) | Stage::Polling(_) => {}
            Stage::Landed(_) | Stage::Copied | Stage::Closed => return Joined::Late,
        }
        let number = state.joined;
        state.joined += 1;
        state.waiters += 1;
        Joined::Waiter(number)
    }

    /// A waiter waits no longer. Returns whether the flight has been closed by that before it landed.
    pub(super) fn leave(&self, waiter: u64) -> bool {
        self.wakers.remove(waiter); // before the lock, because dropping a waker is foreign code
        let mut state = self.state.lock();
        state.waiters -= 1;
        let is_last = state.waiters == 0;
        let stage = is_last.then(|| mem::replace(&mut state.stage, Stage::Closed));
        drop(state);
        let aborted = matches!(stage, Some(Stage::Idle(_)));
        unwind::discard(stage);
        aborted
    }

    fn put(&self, stage: Stage<F, T>) {
        self.state.lock().stage = stage;
    }
}

impl<F, T> State<F, T> {
    /// Takes out what is there for a waiter: the answer, and if it `polls`, the future.
    fn take(&mut self, polls: bool) -> Found<F, T> {
        match mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Idle(future) if polls => {
                self.stage = Stage::Polling(this_thread());
                Found::Future(future)
            }
            Stage::Landed(answer) if self.waiters == 1 => Found::LastAnswer(answer),
            Stage::Landed(answer) => {
                self.stage = Stage::Copied;
                Found::Answer(answer)
            }
            stage => {
                self.stage = stage;
                Found::Pending
            }
        }
    }
}

impl<F: Future<Output = Answer<T>>, T: Clone> Flight<F, T> {
    /// Calls the source, in the first poll of the leader, and polls what it returns. `landing` is called under no lock
    /// when the answer has come, before any waiter gets it.
    pub(super) fn launch(
        &self,
        fetch: impl FnOnce() -> Result<F, Fault>,
        landing: impl FnOnce(),
        waker: Waker,
    ) -> Poll<Answer<T>> {
        self.wakers.register(LEADER, waker);
        let fault = match unwind::contain(|| fetch().map(Box::pin)) {
            Ok(Ok(future)) => return self.advance(LEADER, future, landing),
            Ok(Err(fault)) => fault,
            Err(payload) => Fault::panicked(payload),
        };
        Poll::Ready(self.land(LEADER, Err(fault), landing))
    }

    /// Polls a waiter.
    pub(super) fn poll(
        &self,
        waiter: u64,
        landing: impl FnOnce(),
        waker: Waker,
    ) -> Poll<Answer<T>> {
        let registered = self.wakers.register(waiter, waker);
        // Of all waiters that one wake has woken, the first to be polled polls the flight. So does one that is polled
        // for a reason of its own.
        let polls = registered.before || registered.is_woken;
        let found = self.state.lock().take(polls);
        match found {
            Found::Pending => Poll::Pending,
            Found::Future(future) => self.advance(waiter, future, landing),
            found => Poll::Ready(self.answer(waiter, found)),
        }
    }

    /// Polls the future, which was taken out, once.
    fn advance(
        &self,
        waiter: u64,
        mut future: Pin<Box<F>>,
        landing: impl FnOnce(),
    ) -> Poll<Answer<T>> {
        self.wakers.begin_poll();
        let waker = Waker::from(self.wakers.clone());
        let mut cx = task::Context::from_waker(&waker);
        let polled = unwind::contain(|| future.as_mut().poll(&mut cx));
        let answer = match polled {
            Ok(Poll::Pending) => {
                // Put back before the wake, because a waiter that is woken must find it (invariant 2).
                self.put(Stage::Idle(future));
                self.wakers.end_poll();
                return Poll::Pending;
            }
            Ok(Poll::Ready(answer)) => answer,
            Err(payload) => Err(Fault::panicked(payload)),
        };
        unwind::discard(future);
        Poll::Ready(self.land(waiter, answer, landing))
    }

    fn land(&self, waiter: u64, answer: Answer<T>, landing: impl FnOnce()) -> Answer<T> {
        landing(); // before the answer is there, because a caller that comes from then on must begin a new flight
        let mut state = self.state.lock();
        state.stage = Stage::Landed(answer);
        let found = state.take(false);
        drop(state);
        self.answer(waiter, found)
    }

    /// A waiter's own answer, and the others are woken for theirs.
    fn answer(&self, waiter: u64, found: Found<F, T>) -> Answer<T> {
        self.wakers.remove(waiter);
        let answer = match found {
            Found::LastAnswer(answer) => return answer,
            Found::Answer(answer) => answer,
            Found::Pending | Found::Future(_) => unreachable!("it has landed"),
        };
        let lent = Lent {
            flight: self,
            answer: Some(answer),
        };
        match &lent.answer {
            Some(answer) => answer.clone(),
            None => unreachable!("it is put back when `lent` is dropped"),
        }
    }
}

/// An answer that was taken out. It is put back when it has been cloned, and when cloning it panics (invariant 3).
struct Lent<'a, F, T> {
    flight: &'a Flight<F, T>,
    answer: Option<Answer<T>>,
}

impl<F, T> Drop for Lent<'_, F, T> {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            // Put back before the wake, because a waiter that is woken must find it (invariant 2).
            self.flight.put(Stage::Landed(answer));
            self.flight.wakers.wake_all();
        }
    }
}
