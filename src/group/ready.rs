//! Backpressure: waiting for a free place in a group.

use super::core::{Core, Over};
use super::roster::Ticket;
use crate::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

/// See [`TaskGroup::ready`](super::TaskGroup::ready).
pub(super) struct Ready<'a, Q> {
    core: &'a Core,
    ticket: Option<Ticket>,
    /// Lets the others go on: those who are polled here, and those who are queued, for they come first.
    serve: Q,
}

impl<'a, Q: Fn(&mut task::Context<'_>)> Ready<'a, Q> {
    pub(super) fn new(core: &'a Core, serve: Q) -> Self {
        Self {
            core,
            ticket: None,
            serve,
        }
    }
}

impl<Q> Unpin for Ready<'_, Q> {}

impl<Q: Fn(&mut task::Context<'_>)> Future for Ready<'_, Q> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let core = self.core;
        (self.serve)(cx);
        match core.poll_ready(&mut self.ticket, cx.waker()) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(Over) => Poll::Ready(Err(core.end_error())),
        }
    }
}

impl<Q> Drop for Ready<'_, Q> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.core.leave_line(ticket);
        }
    }
}
