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
pub(super) struct Queue {
    line: BTreeMap<Ticket, Option<Waker>>,
    issued: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Adds a waiter at the end.
    pub(super) fn join(&mut self, waker: Waker) -> Ticket {
        let ticket = Ticket(self.issued);
        self.issued += 1;
        self.line.insert(ticket, Some(waker));
        ticket
    }

    /// Replaces a waiter's waker. Returns the one that is not needed: the old one, or `waker` itself if both wake the
    /// same task, or if the waiter is in the line no longer.
    pub(super) fn renew(&mut self, ticket: Ticket, waker: Waker) -> Option<Waker> {
        match self.line.get_mut(&ticket) {
            Some(Some(known)) if known.will_wake(&waker) => Some(waker),
            Some(slot) => slot.replace(waker),
            None => Some(waker),
        }
    }

    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.line.contains_key(&ticket)
    }

    pub(super) fn is_head(&self, ticket: Ticket) -> bool {
        self.line
            .first_key_value()
            .is_some_and(|(head, _)| *head == ticket)
    }

    /// Removes a waiter, wherever it stands. `None` if it is in the line no longer.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Option<Waker>> {
        self.line.remove(&ticket)
    }

    /// Removes the head. `None` if the line is empty.
    pub(super) fn pop(&mut self) -> Option<Option<Waker>> {
        self.line.pop_first().map(|(_, waker)| waker)
    }

    /// The head's waker, unless it has been woken already. The head stays.
    pub(super) fn call_head(&mut self) -> Option<Waker> {
        self.line.first_entry()?.get_mut().take()
    }
}

#[cfg(all(test, not(failfast_loom)))]
mod tests {
    use super::*;

    /// Around the sizes at which other queues change their manner.
    const SIZES: [usize; 10] = [0, 1, 2, 31, 32, 33, 64, 65, 1000, 10_000];

    fn line_of(size: usize) -> (Queue, Vec<Ticket>) {
        let mut queue = Queue::default();
        let tickets = (0..size)
            .map(|_| queue.join(Waker::noop().clone()))
            .collect();
        (queue, tickets)
    }

    #[test]
    fn waiters_are_popped_in_the_order_in_which_they_joined() {
        for size in SIZES {
            let (mut queue, tickets) = line_of(size);
            assert_eq!(queue.len(), size);
            for ticket in tickets {
                assert!(queue.is_head(ticket) && queue.contains(ticket));
                assert!(queue.pop().is_some());
                assert!(!queue.contains(ticket));
            }
            assert!(queue.is_empty() && queue.pop().is_none());
        }
    }

    #[test]
    fn those_behind_a_leaver_move_up() {
        let (mut queue, tickets) = line_of(3);
        assert!(queue.leave(tickets[1]).is_some());
        assert!(queue.leave(tickets[1]).is_none(), "once");
        assert!(queue.leave(tickets[0]).is_some());
        assert!(queue.is_head(tickets[2]));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_ticket_is_not_issued_again() {
        let (mut queue, tickets) = line_of(1);
        queue.leave(tickets[0]);
        assert_ne!(queue.join(Waker::noop().clone()), tickets[0]);
    }

    #[test]
    fn a_head_is_called_once_until_it_registers_again() {
        let (mut queue, tickets) = line_of(2);
        assert!(queue.call_head().is_some());
        assert!(queue.call_head().is_none());
        assert!(queue.is_head(tickets[0]), "it stays");
        assert!(queue.renew(tickets[0], Waker::noop().clone()).is_none());
        assert!(queue.call_head().is_some());
    }

    #[test]
    fn a_waker_that_is_not_needed_is_returned() {
        let (mut queue, tickets) = line_of(1);
        let same = queue.renew(tickets[0], Waker::noop().clone());
        assert!(same.is_some());
        queue.leave(tickets[0]);
        let late = queue.renew(tickets[0], Waker::noop().clone());
        assert!(late.is_some());
        assert!(queue.is_empty());
    }
}
