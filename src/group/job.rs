//! One task of a group: the user's future, and the bookkeeping that makes it fail fast.
//!
//! Every flavour of spawning is a line over this one future.

use super::core::{Core, Outcome, Phase};
use super::failures::Failed;
use crate::error::BoxError;
use crate::guard;
use crate::slot::Slot;
use pin_project_lite::pin_project;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

/// Where the results of a group's tasks go, and where its queue is.
pub(crate) trait Desk<M> {
    /// What a task results in.
    type Output;

    fn core(&self) -> &Arc<Core>;

    /// Where the result of the task at `index` is left; `None` if nobody wants it. No other job is told of
    /// the same slot as long as this one has not ended.
    fn slot(&self, index: u32) -> Option<&Slot<Self::Output>>;

    /// The next task in the queue. Asked only if the core says that it may start.
    fn next_job(&self) -> Option<M>;
}

pin_project! {
    /// Its output is the job that takes its place, if one was queued.
    pub(crate) struct Job<F, D, M>
    where
        D: Desk<M>,
    {
        // Declared, and so dropped, before the place: "gone" means gone.
        #[pin]
        future: Option<F>,
        place: Place<D, M>,
    }

    impl<F, D, M> PinnedDrop for Job<F, D, M>
    where
        D: Desk<M>,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut future = this.project().future;
            guard::shield("the destructor of a task's future", || future.set(None));
        }
    }
}

/// A task's place in its group. Dropped before the task completed, it reports that.
pub(crate) struct Place<D: Desk<M>, M> {
    /// `None` once the task has completed: a finished task holds on to nothing.
    desk: Option<D>,
    index: u32,
    queued: bool,
    background: bool,
    /// How often the future has been polled.
    polls: u32,
    /// Whether the future has been polled since the context ended.
    warned: bool,
    flavour: PhantomData<fn() -> M>,
}

impl<F, D: Desk<M>, M> Job<F, D, M> {
    #[inline]
    pub(crate) fn new(future: F, desk: D, index: u32, queued: bool, background: bool) -> Self {
        let (polls, warned) = (0, false);
        let place = Place {
            desk: Some(desk),
            index,
            queued,
            background,
            polls,
            warned,
            flavour: PhantomData,
        };
        Self {
            future: Some(future),
            place,
        }
    }
}

impl<F, T, E, D, M> Future for Job<F, D, M>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
    D: Desk<M, Output = T>,
{
    type Output = Option<M>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<M>> {
        let mut this = self.project();
        let Some(desk) = &this.place.desk else {
            return Poll::Ready(None);
        };
        let (core, index) = (&**desk.core(), this.place.index);
        let seat = core.seat(index);
        // From the queue, and too late.
        if std::mem::take(&mut this.place.queued) && core.has_ended() {
            return Poll::Ready(this.place.end(drop_future(this.future, Outcome::Cancelled)));
        }
        loop {
            this.place.polls = this.place.polls.wrapping_add(1);
            let phase = core.polling(index, seat);
            if phase >= Phase::Drop && this.place.warned {
                return Poll::Ready(this.place.end(drop_future(this.future, Outcome::Cancelled)));
            }
            match guard::contain(|| poll_some(this.future.as_mut(), cx)) {
                Ok(Poll::Pending) if phase >= Phase::Drop => this.place.warned = true,
                Ok(Poll::Pending) => {
                    this.place.warned = phase == Phase::Grace;
                    if core.park(seat, cx.waker(), phase, this.place.polls) {
                        return Poll::Pending;
                    }
                }
                Ok(Poll::Ready(result)) => {
                    return Poll::Ready(this.place.complete(this.future, result));
                }
                Err(payload) => {
                    let outcome = Outcome::Failure(Failed::Panic(payload));
                    return Poll::Ready(this.place.end(drop_future(this.future, outcome)));
                }
            }
        }
    }
}

#[inline]
fn poll_some<F: Future>(
    future: Pin<&mut Option<F>>,
    cx: &mut task::Context<'_>,
) -> Poll<F::Output> {
    match future.as_pin_mut() {
        Some(future) => future.poll(cx),
        None => unreachable!("a job keeps its future until it ends"),
    }
}

/// Drops the future, before anybody can think that it is gone. If that panics, the task has panicked,
/// unless it had failed anyway.
#[inline]
fn drop_future<F>(mut future: Pin<&mut Option<F>>, outcome: Outcome) -> Outcome {
    match guard::contain(|| future.set(None)) {
        Ok(()) => outcome,
        Err(payload) => match outcome {
            Outcome::Failure(_) => {
                guard::discard(payload);
                outcome
            }
            _ => Outcome::Failure(Failed::Panic(payload)),
        },
    }
}

impl<D: Desk<M>, M> Place<D, M> {
    /// The future has returned.
    #[inline]
    fn complete<F, E: Into<BoxError>>(
        &mut self,
        future: Pin<&mut Option<F>>,
        result: Result<D::Output, E>,
    ) -> Option<M> {
        let outcome = match (result, drop_future(future, Outcome::Success)) {
            (Ok(output), Outcome::Success) => self.accept(output),
            (Ok(output), failed) => {
                guard::discard(output);
                failed
            }
            (Err(error), dropped) => {
                guard::discard(dropped);
                Outcome::Failure(into_failed(error))
            }
        };
        self.end(outcome)
    }

    #[inline]
    fn accept(&self, output: D::Output) -> Outcome {
        let Some(desk) = &self.desk else {
            return Outcome::Cancelled;
        };
        if !self.background && !desk.core().counts_success() {
            guard::discard(output);
            return Outcome::Cancelled;
        }
        match desk.slot(self.index) {
            #[allow(unsafe_code, reason = "see `slot`")]
            // SAFETY: the slot is this job's alone, which ends with this; the result of the job that had it
            // before was taken before the place was vacated, under the roster's lock.
            Some(slot) => unsafe { slot.put(output) },
            None => guard::discard(output),
        }
        Outcome::Success
    }

    /// The task has ended, and its future is gone: tells the core, and takes the next from the queue.
    #[inline]
    fn end(&mut self, outcome: Outcome) -> Option<M> {
        let desk = self.desk.take()?;
        let core = desk.core();
        core.complete(self.index, outcome, self.background).run();
        let next = if core.may_start_queued() {
            desk.next_job()
        } else {
            None
        };
        guard::discard(desk); // perhaps the last of it, and of results that nobody took
        next
    }
}

/// The conversion is the user's code, too.
fn into_failed<E: Into<BoxError>>(error: E) -> Failed {
    guard::contain(|| error.into()).map_or_else(Failed::Panic, Failed::Error)
}

/// The executor drops the task. It may hold locks of its own, so nobody is woken on its thread.
impl<D: Desk<M>, M> Drop for Place<D, M> {
    fn drop(&mut self) {
        let Some(desk) = self.desk.take() else { return };
        let core = desk.core();
        let outcome = match core.has_ended() {
            true => Outcome::Cancelled,
            false => Outcome::Failure(Failed::Lost),
        };
        let wakes = core.complete_lost(self.index, outcome, self.background);
        guard::discard(desk);
        if !wakes.is_empty() {
            guard::aside(|| wakes.run());
        }
    }
}
