//! What a group's one lock guards: the members, the limits, and the outcomes.

use super::cell::{Cell, Header};
use super::engine::Engine;
use super::failures::Failures;
use super::finished::Finished;
use super::shutdown::{Alarm, Shutdown};
use crate::context::Node;
use crate::error::{End, Name};
use crate::list::List;
use crate::unwind;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{self, Waker};

pub(super) struct State {
    pub(super) members: Members,
    pub(super) limit: Limit,
    pub(super) finished: Finished,
    pub(super) failures: Failures,
    pub(super) shutdown: Shutdown,
    pub(super) owner: Owner,
    /// The engine holds itself while it has members: see invariant 2 of `cell`.
    pub(super) anchor: Option<Arc<Node<Engine>>>,
    /// The timers of the context's deadlines are armed for the members.
    pub(super) watching: bool,
    /// No task joins any more.
    pub(super) closed: bool,
    /// The group was dropped before its last task had ended, so no `wait` reports the end of that.
    pub(super) abandoned: bool,
    /// How many successes are needed; 0: all.
    pub(super) needed: usize,
    pub(super) succeeded: usize,
    /// A task did not succeed, other than a background task that was canceled.
    pub(super) flawed: bool,
    /// A task was canceled, other than a background task.
    pub(super) cut_short: bool,
    /// The group has ended with its last task.
    pub(super) by_us: bool,
    /// The end that the group has given its context without a failure, unless another came first.
    pub(super) our_end: Option<Arc<End>>,
    /// The tasks that had not finished when the context ended, by number.
    pub(super) pending: Vec<(u64, Option<Name>)>,
}

/// Running tasks, in the order of starting.
pub(super) struct Members {
    pub(super) list: List<Header>,
    /// The next to be woken by the walk that is under way.
    pub(super) cursor: Option<Cell>,
    pub(super) background: usize,
    /// The number of the next task.
    pub(super) next: u64,
}

/// How many tasks may run at once, the tasks that wait for that in the queue, and the callers that wait to spawn.
pub(super) struct Limit {
    pub(super) most: usize,
    /// Running tasks that count: not those in the background, nor those that wait for a fork of their own.
    pub(super) running: usize,
    pub(super) queue: List<Header>,
    /// Made for the first waiter, because few groups have any.
    waiting: Option<Box<Waiting>>,
}

/// The waiters of a group with a limit.
#[derive(Default)]
pub(super) struct Waiting {
    /// The numbers of tasks that wait for forks of their own group, each with how many. They do not count.
    lenders: BTreeMap<u64, usize>,
    /// The waiters in `ready`, by ticket: first come, first served.
    pub(super) line: BTreeMap<u64, InLine>,
    pub(super) next_ticket: u64,
}

/// A waiter in `ready`.
#[derive(Default)]
pub(super) struct InLine {
    /// `None` if it has been woken, and has not come yet.
    pub(super) waker: Option<Waker>,
    /// It polls the tasks of an in-place group, because it waits by the group itself and not by a handle.
    pub(super) drives: bool,
}

/// The task that waits for the group.
#[derive(Default)]
pub(super) struct Owner {
    pub(super) waker: Option<Waker>,
    /// Woken for each outcome, not only when all have ended.
    pub(super) each: bool,
}

/// What a group that ends leaves behind: wakers, alarms, and the errors of which the user has clones.
pub(super) struct Left {
    owner: Option<Waker>,
    line: Vec<Waker>,
    _alarms: Vec<Alarm>,
    _failures: Failures,
}

impl Left {
    /// Wakes the waiters in `ready` of a handle, and drops the rest, under no lock, because that is foreign code.
    pub(super) fn settle(self) {
        unwind::discard(self.owner);
        self.line.into_iter().for_each(unwind::wake);
    }
}

impl State {
    #[inline]
    pub(super) fn new(finished: Finished) -> Self {
        Self {
            members: Members {
                list: List::new(),
                cursor: None,
                background: 0,
                next: 0,
            },
            limit: Limit {
                most: usize::MAX,
                running: 0,
                queue: List::new(),
                waiting: None,
            },
            finished,
            failures: Failures::default(),
            shutdown: Shutdown::default(),
            owner: Owner::default(),
            anchor: None,
            watching: false,
            closed: false,
            abandoned: false,
            needed: 0,
            succeeded: 0,
            flawed: false,
            cut_short: false,
            by_us: false,
            our_end: None,
            pending: Vec::new(),
        }
    }

    /// Takes what has to be settled under no lock at the end of the group, if there is anything.
    pub(super) fn leave(&mut self) -> Option<Left> {
        let quiet = self.owner.waker.is_none() && self.limit.waiting.is_none();
        if quiet && !self.shutdown.has_alarms() && self.failures.is_empty() {
            return None;
        }
        Some(Left {
            owner: self.owner.waker.take(),
            line: self.limit.call_all(),
            _alarms: self.shutdown.take_alarms(),
            _failures: std::mem::take(&mut self.failures),
        })
    }

    /// Whether an end of the context is the group's own doing, without a failure.
    pub(super) fn is_ours(&self, end: &Arc<End>) -> bool {
        self.by_us
            || self
                .our_end
                .as_ref()
                .is_some_and(|ours| Arc::ptr_eq(ours, end))
    }

    /// Whether all have ended that the group waits for: background tasks serve the others alone.
    pub(super) fn is_idle(&self) -> bool {
        self.members.foreground() == 0 && self.limit.queue.is_empty()
    }

    /// Whether no task is left at all.
    pub(super) fn is_empty(&self) -> bool {
        self.members.list.is_empty() && self.limit.queue.is_empty()
    }

    /// Whether enough successes can't be had any more, if no other task joins.
    pub(super) fn is_out_of_reach(&self) -> bool {
        let possible = self.succeeded + self.members.foreground() + self.limit.queue.len();
        possible < self.needed
    }

    /// Has enough successes, so the rest is not kept.
    pub(super) fn has_enough(&self) -> bool {
        self.needed > 0 && self.succeeded >= self.needed
    }
}

impl Members {
    pub(super) fn foreground(&self) -> usize {
        self.list.len() - self.background
    }

    /// # Safety
    ///
    /// The cell is alive until it leaves, and in no list.
    #[allow(unsafe_code, reason = "see `list`")]
    pub(super) unsafe fn join(&mut self, cell: Cell) {
        // SAFETY: the caller's promise.
        unsafe {
            self.background += usize::from(cell.as_ref().background);
            self.list.push_back(cell);
        }
    }

    /// # Safety
    ///
    /// The cell is a member.
    #[allow(unsafe_code, reason = "see `list`")]
    pub(super) unsafe fn leave(&mut self, cell: Cell) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.cursor == Some(cell) {
                self.cursor = self.list.after(cell);
            }
            self.background -= usize::from(cell.as_ref().background);
            self.list.remove(cell);
        }
    }
}

impl Limit {
    /// Whether no task and no caller waits for a slot, and none is lent.
    #[inline]
    pub(super) fn is_unlimited(&self) -> bool {
        let waiting = self.waiting.as_ref();
        self.queue.is_empty()
            && waiting.is_none_or(|waiting| waiting.line.is_empty() && waiting.lenders.is_empty())
    }

    pub(super) fn has_room(&self) -> bool {
        self.running < self.most
    }

    /// Whether a task that is spawned now has to wait, because the limit is reached or others are in the queue.
    pub(super) fn is_full(&self) -> bool {
        !self.has_room() || !self.queue.is_empty()
    }

    pub(super) fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }

    /// A task waits for one more fork of its own group: while it does, others may run in its place.
    pub(super) fn lend(&mut self, number: u64) {
        let forks = self.waiting().lenders.entry(number).or_default();
        *forks += 1;
        self.running -= usize::from(*forks == 1);
    }

    /// A task waits for one fork less. With none left it counts again at once, so that more tasks than the limit may
    /// run for a while; none starts meanwhile.
    pub(super) fn take_back(&mut self, number: u64) {
        let lenders = &mut self.waiting().lenders;
        let Some(forks) = lenders.get_mut(&number) else {
            return; // the task has ended
        };
        *forks -= 1;
        if *forks == 0 {
            lenders.remove(&number);
            self.running += 1;
        }
    }

    /// A task has ended. Whether it did not count.
    pub(super) fn forget_lender(&mut self, number: u64) -> bool {
        let waiting = self.waiting.as_mut();
        waiting.is_some_and(|waiting| waiting.lenders.remove(&number).is_some())
    }

    /// Takes the waker of the first in line, unless it has been woken already.
    pub(super) fn call_first(&mut self) -> Option<Waker> {
        let mut first = self.waiting.as_mut()?.line.first_entry()?;
        first.get_mut().waker.take()
    }

    pub(super) fn call_all(&mut self) -> Vec<Waker> {
        let Some(waiting) = &mut self.waiting else {
            return Vec::new();
        };
        let all = waiting.line.values_mut();
        all.filter_map(|waiting| waiting.waker.take()).collect()
    }

    /// Takes the waker of the first in line that polls the tasks, and has not been woken already.
    pub(super) fn call_driver(&mut self) -> Option<Waker> {
        let line = &mut self.waiting.as_mut()?.line;
        let mut drivers = line.values_mut().filter(|waiting| waiting.drives);
        drivers.find_map(|waiting| waiting.waker.take())
    }
}

impl Owner {
    /// Whether the owner is the task that is being polled.
    pub(super) fn is(&self, cx: &task::Context<'_>) -> bool {
        let known = self.waker.as_ref();
        known.is_some_and(|known| known.will_wake(cx.waker()))
    }
}
