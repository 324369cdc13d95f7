//! Whether the clock's threads can wake the tasks of a thread-bound group: see [`clock::reach`](crate::clock::reach).
//!
//! A task that is asleep is woken from another thread in the poll of another task of its group, or of the group's owner,
//! which is woken for that. If the wake-up panics, then no deadline of the system's clock could reach the group's tasks. So
//! the group ends at once, and says why.
#![allow(unsafe_code, reason = "calls into `cell`")]

use super::cell::Cell;
use super::engine::Engine;
use super::shutdown::Phase;
use crate::clock::reach::{self, Standing, WakerKind};
use crate::context::Node;
use crate::unwind;
use std::task::Waker;

impl Engine {
    /// A task on a thread-bound executor has just been polled, and is pending. If it waits for the system's clock, finds out
    /// whether that can wake it.
    ///
    /// # Safety
    ///
    /// The caller is the poller of the cell, whose task has not completed.
    pub(super) unsafe fn check_reach(cell: Cell, waker: &Waker) {
        // SAFETY: the cell is a member.
        let node = unsafe { cell.as_ref().node() };
        let engine = &node.kind;
        let relied = reach::has_relied();
        if !relied && !engine.goes_by_system(node) {
            return;
        }
        let kind = reach::kind_of(waker);
        // Then another poll would refuse nothing more: what has begun to wait did so by another waker.
        let known = reach::is_broken(waker);
        match engine.try_sleepers(kind, Some(cell)) {
            Standing::Sound | Standing::Unfinished => {}
            Standing::Broken => engine.refuse_system(node, waker, relied && !known),
            Standing::Unknown => {
                if relied {
                    reach::rely(); // for the next look
                }
                engine.expect_poll(kind);
            }
        }
    }

    /// Whether the group waits for the system's clock: for a deadline, the end of its grace, or that of its stragglers' time.
    fn goes_by_system(&self, node: &Node<Engine>) -> bool {
        match self.phase(node) {
            Phase::Run => node.goes_by_system(),
            Phase::Grace => self.clock.is_system(),
            Phase::Drop => self.clock.is_system() && self.has_straggler_limit(),
        }
    }

    /// The owner of a thread-bound group is polled: tries what one of its tasks waits for.
    #[inline]
    pub(super) fn serve_reach(&self) {
        if self.has_untried() {
            self.try_out();
        }
    }

    #[cold]
    fn try_out(&self) {
        let kind = self.take_untried();
        if self.try_sleepers(kind, None) == Standing::Broken {
            self.wake_members(); // another group may have found that out, and their next polls refuse
        }
    }

    /// Wakes tasks that are asleep, other than `except`, from another thread, until it is known what comes of it.
    fn try_sleepers(&self, kind: WakerKind, except: Option<Cell>) -> Standing {
        let mut standing = reach::standing(kind);
        while standing == Standing::Unknown {
            let Some(sleeper) = self.take_sleeper(kind, except) else {
                break;
            };
            standing = reach::try_out(kind, sleeper);
        }
        standing
    }

    /// The waker of a member.
    fn take_sleeper(&self, kind: WakerKind, except: Option<Cell>) -> Option<Waker> {
        let state = self.lock();
        let mut others = state
            .members
            .list
            .iter()
            .filter(|&cell| Some(cell) != except);
        // SAFETY: members are alive, and the state is locked.
        others.find_map(|cell| unsafe { cell.as_ref().take_waker_of(kind) })
    }

    /// No task of this thread-bound group can be woken by the system's clock. A limit that can't be kept has passed.
    #[cold]
    fn refuse_system(&self, node: &Node<Engine>, waker: &Waker, relied: bool) {
        match self.phase(node) {
            Phase::Run => {
                node.refuses(waker);
            }
            Phase::Grace if self.clock.is_system() => self.drop_now(),
            Phase::Drop if self.clock.is_system() && self.has_straggler_limit() => self.give_up(),
            Phase::Grace | Phase::Drop => {}
        }
        if relied {
            // What the task waits for is refused in its next poll.
            unwind::shield("a waker", || waker.wake_by_ref());
        }
    }
}
