//! Moving an error out of the errors that hold it.
//!
//! 1. Only what has no other reference is moved. All contexts' ends on the way are locked at once, so that no new
//!    holder can come while the holders are counted (invariant 2 of [`end`](super::end)). The locks are taken from
//!    the outer error to the inner; errors own one another without cycles, so no two callers can wait for each other.
//! 2. Nothing changes before everything has been checked to be movable.
//! 3. No foreign code runs under the locks: the texts that the contexts keep are made before.

use super::cause::{Reason, Record};
use super::chain::{Behind, View};
use super::end::End;
use super::{BoxError, Cause, ContextError, Error, Fault};
use crate::sync::MutexGuard;
use crate::unwind;
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

type Dyn = dyn StdError + 'static;

/// [`Error::downcast`].
pub(super) fn downcast<E: StdError + 'static>(error: Error) -> Result<E, Error> {
    match released::<E>(&error) {
        true => Ok(move_out(error)),
        false => Err(error),
    }
}

/// Whether `error` is the only holder of an `E`. If so the contexts hold it no longer, either.
fn released<E: StdError + 'static>(error: &Error) -> bool {
    let Some(path) = path_to::<E>(error) else {
        return false;
    };
    let ends = ends_on(&path);
    if has_twice(&ends) {
        return false; // it is held twice, and can't be locked twice
    }
    let texts: Vec<String> = ends.iter().map(|end| text_of(end)).collect();
    let lent = Lent::lock(&ends);
    let free = path.iter().all(|level| lent.is_free(level));
    if free {
        lent.replace(texts);
    }
    free
}

/// The errors that own one another from `error` to the nearest `E`, which is not among them. Each is of a kind that
/// can be taken apart.
fn path_to<E: StdError + 'static>(error: &Error) -> Option<Vec<View<'_>>> {
    let (mut path, mut next): (_, &Dyn) = (Vec::new(), error);
    loop {
        let view = View::of(next);
        next = match view.behind() {
            Behind::Quoted(error) => error,
            Behind::Source(error) if matches!(view, View::Error(_)) => error,
            Behind::Source(_) | Behind::Nothing => return None,
        };
        path.push(view);
        if next.is::<E>() {
            return Some(path);
        }
    }
}

fn ends_on(path: &[View<'_>]) -> Vec<Arc<End>> {
    let end_of = |level: &View<'_>| match level {
        View::Error(error) => error.end().filter(|end| lends(&end.lock(), error)),
        View::Context(error) => error.record().home.upgrade(),
        View::Cause(cause) => cause.record().home.upgrade(),
        View::Fault(_) | View::Io(_) | View::Foreign(_) => None,
    };
    path.iter().filter_map(end_of).collect()
}

fn has_twice(ends: &[Arc<End>]) -> bool {
    let mut addresses: Vec<_> = ends.iter().map(Arc::as_ptr).collect();
    addresses.sort_unstable();
    addresses.windows(2).any(|pair| pair[0] == pair[1])
}

/// The text that the contexts keep of an end whose reason has been moved out. `Display` is foreign code.
fn text_of(end: &End) -> String {
    let cause = end.cause();
    unwind::contain_text(|| cause.to_string())
        .unwrap_or_else(|panic| format!("a reason whose text panicked: {panic}"))
}

/// What the contexts hold, locked.
struct Lent<'a>(Vec<MutexGuard<'a, Arc<Record>>>);

impl<'a> Lent<'a> {
    fn lock(ends: &'a [Arc<End>]) -> Self {
        Self(ends.iter().map(|end| end.lock()).collect())
    }

    /// Whether the level is held by the level above it and by a locked end only.
    fn is_free(&self, level: &View<'_>) -> bool {
        match level {
            View::Error(error) => self.is_free_error(error),
            View::Context(error) => self.is_free_record(error.record()),
            View::Cause(cause) => self.is_free_record(cause.record()),
            View::Fault(fault) => fault.is_free(),
            View::Io(_) => true, // it has its content for itself
            View::Foreign(_) => false,
        }
    }

    fn is_free_error(&self, error: &Error) -> bool {
        let lent = self.0.iter().filter(|record| lends(record, error));
        let mut holders = 1;
        for record in lent {
            if Arc::strong_count(record) != 1 || !twin_in(record).is_some_and(Error::is_unshared) {
                return false; // another reference to the cause exists
            }
            holders += 1;
        }
        error.is_unshared() && error.holders() == holders
    }

    fn is_free_record(&self, record: &Arc<Record>) -> bool {
        let lent = self.0.iter().filter(|lent| Arc::ptr_eq(lent, record));
        let reason_is_free = match &record.reason {
            Reason::Given(payload) => Arc::strong_count(payload) == 1,
            Reason::Plain | Reason::Failure(_) | Reason::Text(_) => true, // a failure is a level of its own
        };
        reason_is_free && Arc::strong_count(record) == 1 + lent.count()
    }

    /// Has the contexts keep the text alone. What they held is dropped after the locks are.
    fn replace(mut self, texts: Vec<String>) {
        let mut old = Vec::with_capacity(texts.len());
        for (record, text) in self.0.iter_mut().zip(texts) {
            let replacement = Arc::new(record.with_text(text));
            old.push(std::mem::replace(&mut **record, replacement));
        }
        drop(self);
        drop(old);
    }
}

fn twin_in(record: &Record) -> Option<&Error> {
    match &record.reason {
        Reason::Failure(twin) => Some(twin),
        _ => None,
    }
}

fn lends(record: &Record, error: &Error) -> bool {
    twin_in(record).is_some_and(|twin| !twin.is_same_handle(error) && twin.is_same(error))
}

/// Takes the levels apart, to which no other reference exists.
fn move_out<E: StdError + 'static>(error: Error) -> E {
    let mut next: BoxError = Box::new(error);
    loop {
        next = take_apart(next);
        match next.downcast() {
            Ok(found) => return *found,
            Err(other) => next = other,
        }
    }
}

fn take_apart(error: BoxError) -> BoxError {
    let error = match error.downcast::<Error>() {
        Ok(error) => return error.into_behind(),
        Err(error) => error,
    };
    let error = match error.downcast::<ContextError>() {
        Ok(error) => return reason_of(error.into_record()),
        Err(error) => error,
    };
    let error = match error.downcast::<Cause>() {
        Ok(cause) if cause.is_plain() => return Box::new(ContextError::of_cause(*cause)),
        Ok(cause) => return reason_of(ContextError::of_cause(*cause).into_record()),
        Err(error) => error,
    };
    let error = match error.downcast::<Fault>() {
        Ok(fault) => return fault.into_behind(),
        Err(error) => error,
    };
    let io = error.downcast::<io::Error>().expect(MOVABLE);
    io.into_inner().expect(MOVABLE)
}

fn reason_of(record: Arc<Record>) -> BoxError {
    match Arc::into_inner(record).expect(MOVABLE).reason {
        Reason::Given(payload) => Arc::into_inner(payload).expect(MOVABLE).into_inner(),
        Reason::Failure(error) => Box::new(error),
        Reason::Text(text) => Box::new(text),
        Reason::Plain => unreachable!("{MOVABLE}"),
    }
}

pub(super) const MOVABLE: &str = "the path has been checked";
