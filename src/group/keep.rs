//! What a task's outcome is recorded as: a result of the group, nothing, or the answer of a fork.

#![allow(unsafe_code, reason = "see `finished`")]

use super::engine::Engine;
use super::state::State;
use crate::context::Node;
use crate::error::{Error, Name};
use crate::unwind;
use std::marker::PhantomData;
use std::task::{self, Waker};

/// What a task leaves when it ends. One for each task, kept in its cell.
///
/// # Safety
///
/// `record` touches the store as the group's own `T` alone.
pub(super) unsafe trait Keep: Sized {
    type Value;
    type Delivery: Deliver;
    /// Whether the task serves the others: it is canceled when they are done, and has no outcome of its own.
    const BACKGROUND: bool = false;
    /// Whether what the task returns is one of the group's results.
    const KEPT: bool = false;

    /// Before and after each poll: whether the task has been dismissed by itself, and is to end without an outcome.
    #[inline]
    fn is_dismissed(&self, _cx: &task::Context<'_>) -> bool {
        false
    }

    /// Records how the task ended: a value, a failure, or that it was canceled. Runs no foreign code.
    ///
    /// # Safety
    ///
    /// The store is that of the group whose results `Self` names.
    unsafe fn record(
        self,
        state: &mut State,
        task: &Recorded<'_>,
        ended: Result<Self::Value, Option<Error>>,
    ) -> Self::Delivery;

    /// The group did not take the task.
    fn refuse(self, _node: &Node<Engine>) {}
}

/// The task whose outcome is recorded.
pub(super) struct Recorded<'a> {
    pub(super) number: u64,
    pub(super) name: &'a Option<Name>,
    pub(super) node: &'a Node<Engine>,
    /// Dismissed by itself, not by the group's end.
    pub(super) dismissed: bool,
}

/// What is delivered or dropped before the slot is released, under no lock, because that is foreign code.
pub(super) trait Deliver {
    /// Whether there is anything.
    fn is_due(&self) -> bool;

    /// Returns the waker to be called when the slot has been released.
    fn deliver(self) -> Option<Waker>;
}

/// The task's result is one of the group's.
pub(super) struct Kept<T>(PhantomData<fn(T)>);

/// The task has no result.
pub(super) struct Background;

/// A value that is not kept.
pub(super) struct Unwanted<T>(Option<T>);

impl<T> Kept<T> {
    pub(super) const NEW: Self = Self(PhantomData);
}

// SAFETY: the store is one of `T`s, by `record`'s own contract.
unsafe impl<T> Keep for Kept<T> {
    type Value = T;
    type Delivery = Unwanted<T>;
    const KEPT: bool = true;

    #[inline]
    unsafe fn record(
        self,
        state: &mut State,
        task: &Recorded<'_>,
        ended: Result<T, Option<Error>>,
    ) -> Unwanted<T> {
        // SAFETY: the caller's promise.
        let unwanted = unsafe {
            match ended {
                Ok(value) => state.finished.push_value(task.number, value),
                Err(error) => {
                    state.finished.push_without::<T>(task.number, error);
                    None
                }
            }
        };
        if let Some(name) = task.name {
            state.finished.push_name(task.number, name);
        }
        Unwanted(unwanted)
    }
}

// SAFETY: the store is not touched.
unsafe impl Keep for Background {
    type Value = ();
    type Delivery = ();
    const BACKGROUND: bool = true;

    unsafe fn record(self, _: &mut State, _: &Recorded<'_>, _: Result<(), Option<Error>>) {}
}

impl<T> Deliver for Unwanted<T> {
    #[inline]
    fn is_due(&self) -> bool {
        self.0.is_some()
    }

    #[inline]
    fn deliver(self) -> Option<Waker> {
        if let Some(value) = self.0 {
            unwind::discard(value);
        }
        None
    }
}

impl Deliver for () {
    fn is_due(&self) -> bool {
        false
    }

    fn deliver(self) -> Option<Waker> {
        None
    }
}
