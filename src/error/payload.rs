//! Foreign values that are kept: errors and panics of the user's, whose destructors are foreign code.
//!
//! 1. A destructor that panics harms no other: each one is contained on its own.
//! 2. Dropping a chain of errors that hold one another needs no stack: what a destructor of the user's releases
//!    waits in a queue of the thread's until that destructor has returned.

use super::BoxError;
use crate::sync::Mutex;
use crate::unwind;
use std::error::Error as StdError;
use std::{fmt, mem};

/// An error of the user's.
pub(super) struct Payload(BoxError);

impl Payload {
    pub(super) fn new(error: BoxError) -> Self {
        Self(error)
    }

    pub(super) fn get(&self) -> &(dyn StdError + 'static) {
        &*self.0
    }

    /// A zero-sized error takes its place, which allocates nothing.
    fn take(&mut self) -> BoxError {
        mem::replace(&mut self.0, Box::new(Taken))
    }

    pub(super) fn into_inner(mut self) -> BoxError {
        self.take()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if !self.0.is::<Taken>() {
            let error = self.take();
            unwind::discard_in_turn(error);
        }
    }
}

/// Stands for an error that was taken out of its payload, which is then dropped.
#[derive(Debug)]
struct Taken;

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("taken")
    }
}

impl StdError for Taken {}

/// What a task panicked with, until it is resumed, and its text, which stays.
pub(super) struct Panic {
    text: String,
    payload: Mutex<Option<unwind::Payload>>,
}

impl Panic {
    pub(super) fn new(payload: unwind::Payload) -> Self {
        Self {
            text: unwind::message_of(&*payload).to_owned(),
            payload: Mutex::new(Some(payload)),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The payload, which can be had once; later callers get the text.
    pub(super) fn take(&self) -> unwind::Payload {
        let payload = self.payload.lock().take();
        payload.unwrap_or_else(|| Box::new(self.text.clone()))
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        if let Some(payload) = self.payload.get_mut().take() {
            unwind::discard_in_turn(payload);
        }
    }
}
