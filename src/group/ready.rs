//! Backpressure: waiting for a free place in a group.

use super::core::{Core, Over};
use super::roster::Ticket;
use crate::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

/// See [`TaskGroup::ready`](super::TaskGroup::ready).
pub(super) struct Ready<'a> {
    core: &'a Core,
    ticket: Option<Ticket>,
}

impl<'a> Ready<'a> {
    pub(super) fn new(core: &'a Core) -> Self {
        Self { core, ticket: None }
    }
}

impl Future for Ready<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let core = self.core;
        match core.poll_ready(&mut self.ticket, cx.waker()) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(Over) => Poll::Ready(Err(core.end_error())),
        }
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.core.leave_line(ticket);
        }
    }
}
