//! The failures of a group's tasks.

use crate::error::{BoxError, Error, Name};
use crate::guard;
use std::collections::BTreeMap;

/// How many failures after the first are kept, unless every outcome is wanted.
const OTHERS: usize = 16;

/// What went wrong with one task; with the task's name it becomes an [`Error`].
pub(crate) enum Failed {
    Error(BoxError),
    Panic(guard::Payload),
    /// The executor dropped it.
    Lost,
}

#[derive(Default)]
pub(super) struct Failures {
    /// By the task's index, with the order of their coming.
    kept: BTreeMap<u32, (usize, Error)>,
    came: usize,
    omitted: usize,
}

impl Failed {
    pub(super) fn into_error(self, name: Name) -> Error {
        match self {
            Self::Error(error) => Error::task(name, error),
            Self::Panic(payload) => Error::panicked(name, payload),
            Self::Lost => Error::Lost { name },
        }
    }
}

impl Failures {
    pub(super) fn record(&mut self, index: u32, error: &Error, bounded: bool) {
        if bounded && self.kept.len() > OTHERS {
            self.omitted += 1;
            return;
        }
        self.kept.insert(index, (self.came, error.clone()));
        self.came += 1;
    }

    pub(super) fn of(&self, index: u32) -> Option<Error> {
        self.kept.get(&index).map(|(_, error)| error.clone())
    }

    pub(super) fn forget(&mut self, index: u32) -> Option<Error> {
        self.kept.remove(&index).map(|(_, error)| error)
    }

    /// All but that of the task at `first`, in the order of their coming, and how many were not kept.
    pub(super) fn others(&self, first: u32) -> (Vec<Error>, usize) {
        let others = self.kept.iter().filter(|(index, _)| **index != first);
        let mut others: Vec<_> = others.map(|(_, failure)| failure).collect();
        others.sort_by_key(|(order, _)| *order);
        (
            others.into_iter().map(|(_, error)| error.clone()).collect(),
            self.omitted,
        )
    }
}
