//! The failures of a group's tasks: the first, and what came after.

use crate::error::Error;

/// How many failures after the first are kept, unless every outcome is kept.
const OTHERS: usize = 16;

/// In a box of their own, made by the first, because most groups have none.
#[derive(Default)]
pub(super) struct Failures(Option<Box<All>>);

#[derive(Default)]
struct All {
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
        let all = self.0.get_or_insert_default();
        let first = counts && all.first.is_none();
        if first {
            all.first = Some(failure);
        } else if all.others.len() < OTHERS || !bounded {
            all.others.push(failure);
        } else {
            all.omitted += 1;
        }
        first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Something else had ended the group before its first failure did.
    pub(super) fn demote_first(&mut self) {
        let Some(all) = &mut self.0 else { return };
        if let Some(mut first) = all.first.take() {
            first.counts = false;
            all.others.insert(0, first);
        }
    }

    #[inline]
    pub(super) fn first(&self) -> Option<&Error> {
        let all = self.0.as_ref()?;
        all.first.as_ref().map(|first| &first.error)
    }

    pub(super) fn is_first(&self, number: u64) -> bool {
        let all = self.0.as_ref();
        all.is_some_and(|all| all.is_first(number))
    }

    /// Removes a failure that has been returned to the user. The next that counts becomes the first.
    pub(super) fn forget(&mut self, number: u64) -> Option<Error> {
        self.0.as_mut()?.forget(number)
    }

    /// Takes a failure that has not been returned to the user, the first first.
    pub(super) fn take_next(&mut self) -> Option<Error> {
        let all = self.0.as_mut()?;
        let next = all.first.as_ref().or(all.others.first())?;
        all.forget(next.number)
    }

    /// All but the first, and how many were not kept.
    pub(super) fn others(&self) -> (Vec<Error>, usize) {
        let Some(all) = &self.0 else {
            return (Vec::new(), 0);
        };
        let others = all.others.iter().map(|other| other.error.clone());
        (others.collect(), all.omitted)
    }
}

impl All {
    fn is_first(&self, number: u64) -> bool {
        let first = self.first.as_ref();
        first.is_some_and(|first| first.number == number)
    }

    fn forget(&mut self, number: u64) -> Option<Error> {
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
}
