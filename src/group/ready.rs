//! Backpressure: waiting until one more task may start.

use super::TaskGroup;
use super::complete::By;
use super::engine::Engine;
use super::scope::Scope;
use super::state::{InLine, Limit};
use crate::context::Node;
use crate::error::Error;
use crate::unwind;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, Waker};

/// See [`TaskGroup::ready`](super::TaskGroup::ready).
pub(super) struct Ready<'a, T, M> {
    scope: &'a Scope,
    /// The group itself polls its tasks here if they are in place, and starts what is queued; a handle does not.
    group: Option<&'a TaskGroup<T, M>>,
    ticket: Option<u64>,
}

enum Turn {
    Free,
    Wait,
    Over,
}

impl<'a, T, M> Ready<'a, T, M> {
    pub(super) fn of_group(group: &'a TaskGroup<T, M>) -> Self {
        Self {
            scope: &group.scope,
            group: Some(group),
            ticket: None,
        }
    }

    pub(super) fn of_handle(scope: &'a Scope) -> Self {
        Self {
            scope,
            group: None,
            ticket: None,
        }
    }
}

impl<T, M> Future for Ready<'_, T, M> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let (engine, node) = (self.scope.engine(), self.scope.node());
        self.scope.node_ref().is_done(); // a deadline that has passed counts, even if no timer is armed for it
        if let Some(group) = self.group {
            engine.drive(cx);
            engine.serve_queue(node, group.launch(), By::Group);
        }
        let waker = cx.waker().clone(); // before the lock, because it is foreign code
        let drives = self.group.is_some();
        let turn = engine.stand_in_line(node, &mut self.ticket, waker, drives);
        if self.group.is_some() && engine.has_ready() {
            // A task that was woken before this one stood in line found no driver to wake.
            cx.waker().wake_by_ref();
        }
        match turn {
            Turn::Free => Poll::Ready(Ok(())),
            Turn::Wait => Poll::Pending,
            Turn::Over => Poll::Ready(Err(engine.end_error(node))),
        }
    }
}

impl<T, M> Drop for Ready<'_, T, M> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.scope.engine().leave_line(ticket);
        }
    }
}

impl Engine {
    /// Takes the turn if the ticket is the first, or waits for it in line.
    fn stand_in_line(
        &self,
        node: &Node<Engine>,
        ticket: &mut Option<u64>,
        waker: Waker,
        drives: bool,
    ) -> Turn {
        let mut waiting = InLine {
            waker: Some(waker),
            drives,
        };
        let mut state = self.lock();
        let closed = state.closed || node.is_marked();
        let limit = &mut state.limit;
        let (turn, unused, next) = if closed {
            (Turn::Over, None, None)
        } else if !limit.is_full() && limit.is_first(*ticket) {
            let leave = |ticket| limit.waiting().line.remove(&ticket);
            let unused = ticket.take().and_then(leave);
            // The next may find room too, and this one may not use its turn.
            (Turn::Free, unused, limit.call_first())
        } else {
            limit.stand(ticket, &mut waiting);
            (Turn::Wait, None, None)
        };
        drop(state);
        unwind::discard((waiting, unused));
        next.into_iter().for_each(unwind::wake);
        turn
    }

    /// Leaves the line. Wakes the next in line, because the turn, or the driving of tasks in place, may have been this
    /// one's.
    fn leave_line(&self, ticket: u64) {
        let mut state = self.lock();
        let limit = &mut state.limit;
        let left = limit.waiting().line.remove(&ticket);
        let next = if limit.is_full() {
            None
        } else {
            limit.call_first()
        };
        let driver = if self.is_in_place() {
            limit.call_driver()
        } else {
            None
        };
        drop(state);
        unwind::discard(left);
        next.into_iter().chain(driver).for_each(unwind::wake);
    }
}

impl Limit {
    /// Whether no earlier ticket is in line. A caller without a ticket comes after all of them.
    fn is_first(&mut self, ticket: Option<u64>) -> bool {
        let first = self
            .waiting()
            .line
            .first_key_value()
            .map(|(first, _)| *first);
        first.is_none() || first == ticket
    }

    /// Registers the waker under the ticket, and leaves in `waiting` what is not needed, to be dropped under no lock.
    fn stand(&mut self, ticket: &mut Option<u64>, waiting: &mut InLine) {
        let others = self.waiting();
        let ticket = *ticket.get_or_insert_with(|| {
            others.next_ticket += 1;
            others.next_ticket
        });
        let place = others.line.entry(ticket).or_default();
        let new = waiting.waker.as_ref();
        let same = |known: &Waker| new.is_some_and(|new| known.will_wake(new));
        if !place.waker.as_ref().is_some_and(same) {
            std::mem::swap(place, waiting);
        }
    }
}
