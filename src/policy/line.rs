//! The line of waiters that [`Limit`](super::Limit) and [`Rate`](super::Rate) keep: first come, first served.
//!
//! Plain data, which its owner guards with a lock.
//!
//! # Invariants
//!
//! 1. No waker is cloned, woken or dropped here, because each of these is foreign code and the owner holds its lock.
//!    Every waker that is not needed any more is returned.
//! 2. A ticket is never issued twice, so a ticket that is not in the line has been served, or has left.
//! 3. A slot without a waker belongs to a waiter that has been woken and not been polled since. It is not woken again.

use std::collections::BTreeMap;
use std::task::Waker;

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

#[derive(Default)]
pub(super) struct Line {
    waiting: BTreeMap<Ticket, Option<Waker>>,
    issued: u64,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a waiter at the end.
    pub(super) fn join(&mut self, waker: Waker) -> Ticket {
        let ticket = Ticket(self.issued);
        self.issued += 1;
        self.waiting.insert(ticket, Some(waker));
        ticket
    }

    /// Replaces a waiter's waker. Returns the one that is not needed: the old one, or `waker` itself if both wake the
    /// same task, or if the waiter is in the line no longer.
    pub(super) fn renew(&mut self, ticket: Ticket, waker: Waker) -> Option<Waker> {
        match self.waiting.get_mut(&ticket) {
            Some(Some(known)) if known.will_wake(&waker) => Some(waker),
            Some(slot) => slot.replace(waker),
            None => Some(waker),
        }
    }

    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.waiting.contains_key(&ticket)
    }

    pub(super) fn is_head(&self, ticket: Ticket) -> bool {
        self.waiting
            .first_key_value()
            .is_some_and(|(head, _)| *head == ticket)
    }

    /// Removes a waiter, wherever it stands. `None` if it is in the line no longer.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Option<Waker>> {
        self.waiting.remove(&ticket)
    }

    /// Removes the head. `None` if the line is empty.
    pub(super) fn pop(&mut self) -> Option<Option<Waker>> {
        self.waiting.pop_first().map(|(_, waker)| waker)
    }

    /// The head's waker, unless it has been woken already. The head stays.
    pub(super) fn call_head(&mut self) -> Option<Waker> {
        self.waiting.first_entry()?.get_mut().take()
    }
}

#[cfg(all(test, not(failfast_loom)))]
mod tests {
    use super::*;

    /// Around the sizes at which other queues change their manner.
    const SIZES: [usize; 10] = [0, 1, 2, 31, 32, 33, 64, 65, 1000, 10_000];

    fn line_of(size: usize) -> (Line, Vec<Ticket>) {
        let mut line = Line::default();
        let tickets = (0..size)
            .map(|_| line.join(Waker::noop().clone()))
            .collect();
        (line, tickets)
    }

    #[test]
    fn waiters_are_popped_in_the_order_in_which_they_joined() {
        for size in SIZES {
            let (mut line, tickets) = line_of(size);
            assert_eq!(line.len(), size);
            for ticket in tickets {
                assert!(line.is_head(ticket) && line.contains(ticket));
                assert!(line.pop().is_some());
                assert!(!line.contains(ticket));
            }
            assert!(line.is_empty() && line.pop().is_none());
        }
    }

    #[test]
    fn those_behind_a_leaver_move_up() {
        let (mut line, tickets) = line_of(3);
        assert!(line.leave(tickets[1]).is_some());
        assert!(line.leave(tickets[1]).is_none(), "once");
        assert!(line.leave(tickets[0]).is_some());
        assert!(line.is_head(tickets[2]));
        assert_eq!(line.len(), 1);
    }

    #[test]
    fn a_ticket_is_not_issued_again() {
        let (mut line, tickets) = line_of(1);
        line.leave(tickets[0]);
        assert_ne!(line.join(Waker::noop().clone()), tickets[0]);
    }

    #[test]
    fn a_head_is_called_once_until_it_registers_again() {
        let (mut line, tickets) = line_of(2);
        assert!(line.call_head().is_some());
        assert!(line.call_head().is_none());
        assert!(line.is_head(tickets[0]), "it stays");
        assert!(line.renew(tickets[0], Waker::noop().clone()).is_none());
        assert!(line.call_head().is_some());
    }

    #[test]
    fn a_waker_that_is_not_needed_is_returned() {
        let (mut line, tickets) = line_of(1);
        let same = line.renew(tickets[0], Waker::noop().clone());
        assert!(same.is_some());
        line.leave(tickets[0]);
        let late = line.renew(tickets[0], Waker::noop().clone());
        assert!(late.is_some());
        assert!(line.is_empty());
    }
}
