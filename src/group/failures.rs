//! The failures of a group's tasks: the first, and what came after.

use crate::error::Error;

/// How many failures after the first are kept, unless every outcome is wanted.
const OTHERS: usize = 16;

#[derive(Default)]
pub(super) struct Failures {
    /// What failed first; in a group that one failure ends, that is what ended it.
    first: Option<Failure>,
    others: Vec<Failure>,
    omitted: usize,
}

struct Failure {
    /// The task's.
    number: u64,
    error: Error,
    /// Nothing else had ended the group before.
    counts: bool,
}

impl Failures {
    /// Notes a failure. `counts`: nothing else had ended the group. `bounded`: only so many are kept. Returns whether
    /// it is the first.
    pub(super) fn record(
        &mut self,
        number: u64,
        error: &Error,
        counts: bool,
        bounded: bool,
    ) -> bool {
        let error = error.clone();
        let failure = Failure {
            number,
            error,
            counts,
        };
        let first = counts && self.first.is_none();
        if first {
            self.first = Some(failure);
        } else if self.others.len() < OTHERS || !bounded {
            self.others.push(failure);
        } else {
            self.omitted += 1;
        }
        first
    }

    /// Something else had ended the group before its first failure did.
    pub(super) fn demote_first(&mut self) {
        if let Some(mut first) = self.first.take() {
            first.counts = false;
            self.others.insert(0, first);
        }
    }

    pub(super) fn first(&self) -> Option<&Error> {
        self.first.as_ref().map(|first| &first.error)
    }

    pub(super) fn is_first(&self, number: u64) -> bool {
        self.first
            .as_ref()
            .is_some_and(|first| first.number == number)
    }

    /// Forgets a failure that has been returned to the user. The next that counts becomes the first.
    pub(super) fn forget(&mut self, number: u64) -> Option<Error> {
        if self.is_first(number) {
            let next = self.others.iter().position(|other| other.counts);
            let next = next.map(|index| self.others.remove(index));
            return std::mem::replace(&mut self.first, next).map(|first| first.error);
        }
        let index = self
            .others
            .iter()
            .position(|other| other.number == number)?;
        Some(self.others.remove(index).error)
    }

    /// Takes a failure that has not been returned to the user, the first first.
    pub(super) fn take_next(&mut self) -> Option<Error> {
        let next = self.first.as_ref().or(self.others.first())?;
        self.forget(next.number)
    }

    /// All but the first, and how many were not kept.
    pub(super) fn others(&self) -> (Vec<Error>, usize) {
        let others = self.others.iter().map(|other| other.error.clone());
        (others.collect(), self.omitted)
    }
}
