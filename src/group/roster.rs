//! Who is in a group: names, places, the limit, and the line of those who wait for a place.
//!
//! Plain data under one lock; nothing of the user's runs here.

use super::table::Few;
use crate::error::Name;
use std::collections::VecDeque;
use std::panic::Location;
use std::task::Waker;
use std::time::Instant;

/// Its lock orders everything that comes into the group.
pub(super) struct Roster {
    pub(super) entries: Few<Entry>,
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

/// What is known of a task for as long as its outcome has not been taken.
pub(super) struct Entry {
    pub(super) name: Option<Name>,
    /// Which one it is in the order of spawning, counted from 0.
    pub(super) number: u32,
    pub(super) location: &'static Location<'static>,
    pub(super) queued: bool,
    pub(super) background: bool,
    pub(super) spawned_at: Option<Instant>,
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
            entries: Few::new(),
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

    /// Gives `entry` a place: its index.
    #[inline]
    pub(super) fn enter(&mut self, entry: Entry) -> u32 {
        self.spawned = self.spawned.wrapping_add(1);
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.length += 1;
            self.length - 1
        });
        *self.entries.at(index) = Some(entry);
        index
    }

    /// Takes the place back.
    pub(super) fn leave(&mut self, index: u32) -> Option<Entry> {
        self.vacant.push(index);
        self.entries.at(index).take()
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

impl Entry {
    pub(super) fn name(&self) -> Name {
        self.name
            .clone()
            .unwrap_or_else(|| Name::of_number(self.number as usize))
    }
}
