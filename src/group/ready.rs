//! Backpressure: waiting for a free place in a group.

use super::core::Over;
use super::front::Front;
use super::roster::Ticket;
use crate::error::Error;
use crate::spawn::{Flavour, Spawn};
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

/// See [`TaskGroup::ready`](super::TaskGroup::ready).
pub(super) struct Ready<'a, S: Spawn<M>, M: Flavour> {
    front: &'a Front<S, M>,
    ticket: Option<Ticket>,
}

impl<'a, S: Spawn<M>, M: Flavour> Ready<'a, S, M> {
    pub(super) fn new(front: &'a Front<S, M>) -> Self {
        Self {
            front,
            ticket: None,
        }
    }
}

impl<S: Spawn<M>, M: Flavour> Future for Ready<'_, S, M> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let front = self.front;
        front.drive(cx); // where nobody else does: a place is freed by a task that is polled
        let core = front.core();
        match core.poll_ready(&mut self.ticket, cx.waker()) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(Over) => Poll::Ready(Err(core.end_error())),
        }
    }
}

impl<S: Spawn<M>, M: Flavour> Drop for Ready<'_, S, M> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.front.core().leave_line(ticket);
        }
    }
}
