//! Tasks without an executor: the task that polls the group polls those of its tasks that were woken.
//!
//! # Invariants
//!
//! 1. A cell in the stack or in the batch has `WOKEN` set, and so is there once (invariant 6 of `cell`).
//! 2. One drives at a time. Only the driver touches the batch, polls, and takes from the stack.
//! 3. `head` is null when nothing is ready and there is no driver: a push then wakes a driver. While there is a driver it
//!    is `DRIVING` or a cell, and a push wakes none, because the driver looks again before it leaves. When the
//!    group is over it is `CLOSED`, and a cell that is pushed then is released instead.
#![allow(unsafe_code, reason = "cells are addresses: see `cell`")]

use super::cell::{self, Cell, Header};
use super::complete::By;
use super::engine::Engine;
use crate::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use crate::unwind;
use std::ptr::{NonNull, null_mut, without_provenance_mut};
use std::task;

/// How many polls a drive makes at most before it yields to its executor.
const POLLS: usize = 32;

/// How many tasks that woke themselves a drive meets before it yields to its executor, because they may wait for
/// that yield, as with a cooperative budget that all tasks of the driver share.
const SELF_WOKEN: usize = 8;

/// The queue of cells to be polled, and whether there is a driver.
pub(super) struct Ready {
    /// A stack: any thread pushes, the driver takes it as a whole.
    head: AtomicPtr<Header>,
    /// What was taken and has not been polled yet, the first first. The driver's alone.
    batch: AtomicPtr<Header>,
    driving: AtomicBool,
}

/// There is a driver. Not the address of a cell, because that is aligned.
const fn driving() -> *mut Header {
    without_provenance_mut(1)
}

/// There will be no driver any more.
const fn closed() -> *mut Header {
    without_provenance_mut(2)
}

impl Ready {
    pub(super) fn new() -> Self {
        Self {
            head: AtomicPtr::new(null_mut()),
            batch: AtomicPtr::new(null_mut()),
            driving: AtomicBool::new(false),
        }
    }

    /// Returns whether a driver has to be woken.
    fn push(&self, cell: Cell) -> bool {
        // Relaxed, because the compare-and-swap below publishes, and nothing is read through `head` here.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == closed() {
                // SAFETY: the task has completed, and left the group's reference to the thread that sets `WOKEN`.
                unsafe { cell::unref(cell) };
                return false;
            }
            // SAFETY: the caller has set `WOKEN`, and keeps the cell alive until it is in the stack.
            unsafe { cell.as_ref().ready_next.store(head, Ordering::Relaxed) };
            // Release: pairs with the driver's acquire in `take_stack`, so the driver sees the link.
            match self.head.compare_exchange_weak(
                head,
                cell.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return head.is_null(),
                Err(other) => head = other,
            }
        }
    }

    /// The next cell to be polled. The caller is the driver. The batch is Relaxed, because the driver alone uses it, and
    /// `driving` orders one driver after the other.
    fn pop(&self) -> Option<Cell> {
        let first = match NonNull::new(self.batch.load(Ordering::Relaxed)) {
            Some(first) => first,
            None => self.take_stack()?,
        };
        // SAFETY: what is in the batch is alive: it has `WOKEN` set (invariant 6 of `cell`).
        let after = unsafe { first.as_ref().ready_next.load(Ordering::Relaxed) };
        self.batch.store(after, Ordering::Relaxed);
        Some(first)
    }

    /// Takes the stack, and turns it round, so that the cells have their turns in the order of their wakes.
    fn take_stack(&self) -> Option<Cell> {
        // Relaxed, because this only avoids a needless swap: `leave` looks again.
        if self.head.load(Ordering::Relaxed) == driving() {
            return None;
        }
        // Acquire: pairs with `push`, for the links of all cells in the stack, because each push is a read-modify-write.
        let mut next = self.head.swap(driving(), Ordering::Acquire);
        let mut first = null_mut();
        while !next.is_null() && next != driving() {
            // SAFETY: as above.
            let header = unsafe { &*next };
            let after = header.ready_next.swap(first, Ordering::Relaxed);
            first = next;
            next = after;
        }
        NonNull::new(first)
    }

    fn has_woken(&self) -> bool {
        // Acquire, as in `take_stack`. No cell is read here: the drive does that.
        // Null and the two marks are less than the address of any cell.
        self.head.load(Ordering::Acquire) > closed()
    }

    /// Releases the references that completed tasks left here, and makes a later push release its own. All tasks have
    /// completed, and there is no driver.
    fn close(&self) {
        while let Some(cell) = self.pop() {
            // SAFETY: the task has completed, and left the group's reference here.
            unsafe { cell::unref(cell) };
        }
        // Acquire: pairs with `push`, for the links that are read below.
        let mut next = self.head.swap(closed(), Ordering::Acquire);
        while let Some(cell) = NonNull::new(next).filter(|_| next != driving()) {
            // SAFETY: as above; the link is read before the reference goes.
            unsafe {
                next = cell.as_ref().ready_next.load(Ordering::Relaxed);
                cell::unref(cell);
            }
        }
    }

    /// Whether the drive left something to do.
    fn leave(&self) -> bool {
        let left = !self.batch.load(Ordering::Relaxed).is_null();
        // Relaxed, because no cell is read here: if one was pushed meanwhile the exchange fails, and the next driver
        // acquires it.
        let idle =
            self.head
                .compare_exchange(driving(), null_mut(), Ordering::Relaxed, Ordering::Relaxed);
        let ready = idle.is_err_and(|head| !head.is_null());
        // Release: pairs with the acquire in `drive`, so the next driver sees the batch. Last, because from here on
        // another driver may change `head` and the batch.
        self.driving.store(false, Ordering::Release);
        left || ready
    }
}

impl Engine {
    /// The waker of an in-place task was called.
    pub(super) fn push_ready(&self, cell: Cell) {
        if self.ready.push(cell) {
            self.wake_driver();
        }
    }

    /// Makes the next drive poll a member that has never been polled, and was made with `WOKEN` set. The state is locked.
    /// Returns whether a driver has to be woken.
    pub(super) fn make_first_ready(&self, cell: Cell) -> bool {
        self.ready.push(cell)
    }

    /// Makes the next drive poll a member. The state is locked, so that the cell does not leave. Returns whether a
    /// driver has to be woken.
    pub(super) fn make_ready(&self, cell: Cell) -> bool {
        // SAFETY: the cell is a member, so it is alive.
        unsafe { cell.as_ref().note_woken() && self.ready.push(cell) }
    }

    /// Wakes the owner, and the first task that waits in the group's `ready`, because either may not come back to poll
    /// the tasks.
    pub(super) fn wake_driver(&self) {
        let (owner, first) = {
            let mut state = self.lock();
            (state.owner.waker.take(), state.limit.call_driver())
        };
        owner.into_iter().chain(first).for_each(unwind::wake);
    }

    /// Polls the tasks that were woken, if this group is in place and there is no other driver.
    #[inline]
    pub(super) fn drive(&self, cx: &mut task::Context<'_>) {
        // Acquire: pairs with the release in `leave`, so this driver sees the batch and the tasks as the last one left them.
        if self.is_in_place() && !self.ready.driving.swap(true, Ordering::Acquire) {
            // `driving` is always cleared below, because the panics of tasks are contained.
            self.drive_tasks();
            if self.ready.leave() {
                // The first in line is woken as well, because the present driver may not come back.
                let other = self.lock().limit.call_driver();
                other.into_iter().for_each(unwind::wake);
                cx.waker().wake_by_ref();
            }
        }
    }

    fn drive_tasks(&self) {
        let (mut polls, mut self_woken) = (0, 0);
        while polls < POLLS && self_woken < SELF_WOKEN {
            let Some(cell) = self.ready.pop() else { return };
            // SAFETY: it was in the stack, so a reference is held for it (invariant 6 of `cell`).
            let header = unsafe { cell.as_ref() };
            if !header.take_woken() {
                // SAFETY: the task has completed and left its reference here.
                unsafe { cell::unref(cell) };
                continue;
            }
            polls += 1;
            // SAFETY: this drive is the poller, and the task has not completed.
            let polled = unsafe { cell::with_waker(cell, |cx| Self::poll(cell, cx, By::Group)) };
            if polled.is_ready() {
                // SAFETY: it has just completed.
                unsafe { cell::retire_in_place(cell) };
            } else {
                self_woken += usize::from(header.is_woken());
            }
        }
    }

    /// Whether a task was woken that no drive has taken yet.
    pub(super) fn has_ready(&self) -> bool {
        self.ready.has_woken()
    }

    /// Drops every task of an in-place group that will have no driver any more.
    pub(super) fn clear(&self) {
        loop {
            let Some(cell) = self.lock().members.list.first() else {
                break;
            };
            // SAFETY: the group is being dropped, so there is no driver: its tasks are this drop's (invariant 1 of
            // `cell`).
            unsafe {
                cell::cancel_body(cell, By::Group, false);
                cell::retire_in_place(cell);
            }
        }
    }

    /// Closes the ready stack. All tasks have completed, and there is no driver.
    pub(super) fn close_ready(&self) {
        if self.is_in_place() {
            self.ready.close();
        }
    }
}
