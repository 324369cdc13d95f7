//! Who is in a group: names, places, the limit, and the line of those who wait for a place.
//!
//! Plain data under one lock; nothing of the user's runs here.

use super::table::Few;
use crate::error::Name;
use std::collections::VecDeque;
use std::panic::Location;
use std::task::Waker;

/// Its lock orders everything that comes into the group.
pub(super) struct Roster {
    /// Where the task at each place was spawned.
    sites: Few<&'static Location<'static>>,
    /// The names of those who were given one.
    names: Few<Name>,
    /// How many places there are.
    pub(super) length: u32,
    /// Those of them that are free to be given away again.
    vacant: Vec<u32>,
    /// How many tasks there have been (wrapping).
    pub(super) spawned: u32,
    pub(super) limit: usize,
    pub(super) queued: usize,
    pub(super) closed: bool,
    line: VecDeque<Waiting>,
    next_ticket: Ticket,
}

/// A place in the line for a free place.
pub(crate) type Ticket = u64;

struct Waiting {
    ticket: Ticket,
    /// `None` once it has been woken and until it has polled again.
    waker: Option<Waker>,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            sites: Few::new(),
            names: Few::new(),
            length: 0,
            vacant: Vec::new(),
            spawned: 0,
            limit: usize::MAX,
            queued: 0,
            closed: false,
            line: VecDeque::new(),
            next_ticket: 0,
        }
    }

    /// Gives a task a place: its index.
    #[inline]
    pub(super) fn enter(&mut self, name: Option<Name>, site: &'static Location<'static>) -> u32 {
        self.spawned = self.spawned.wrapping_add(1);
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.length += 1;
            self.length - 1
        });
        self.sites.put(index, site);
        if let Some(name) = name {
            self.names.put(index, name);
        }
        index
    }

    /// Takes the place back, and its name with it.
    pub(super) fn leave(&mut self, index: u32) -> Option<Name> {
        self.vacant.push(index);
        self.names.take(index)
    }

    /// The name that the task was given.
    pub(super) fn name(&self, index: u32) -> Option<&Name> {
        self.names.get(index)
    }

    /// Where the task was spawned.
    pub(super) fn site(&self, index: u32) -> Option<&'static Location<'static>> {
        self.sites.get(index).copied()
    }

    /// Whether `ticket` would be served next.
    pub(super) fn is_first(&self, ticket: Option<Ticket>) -> bool {
        self.line
            .front()
            .is_none_or(|first| Some(first.ticket) == ticket)
    }

    /// Joins the line, or stays in it with another waker. Returns the waker that it replaced.
    pub(super) fn stand_in_line(
        &mut self,
        ticket: &mut Option<Ticket>,
        waker: Waker,
    ) -> Option<Waker> {
        let known = ticket.and_then(|ticket| self.line.iter_mut().find(|one| one.ticket == ticket));
        if let Some(waiting) = known {
            return waiting.waker.replace(waker);
        }
        *ticket = Some(self.next_ticket);
        self.line.push_back(Waiting {
            ticket: self.next_ticket,
            waker: Some(waker),
        });
        self.next_ticket += 1;
        None
    }

    pub(super) fn leave_line(&mut self, ticket: Ticket) -> Option<Waker> {
        let place = self.line.iter().position(|one| one.ticket == ticket)?;
        self.line.remove(place)?.waker
    }

    /// The first in line, to be woken.
    pub(super) fn call_first(&mut self) -> Option<Waker> {
        self.line.front_mut()?.waker.take()
    }

    /// Everyone in line, to be woken.
    pub(super) fn call_all(&mut self) -> Vec<Waker> {
        self.line
            .iter_mut()
            .filter_map(|one| one.waker.take())
            .collect()
    }
}
