//! Where the sources of one aggregation leave their answers: one allocation for each call of `source`, and two for
//! one of `sources`, however many they are.

use crate::error::{Error, Name};
use crate::sync::Mutex;
use crate::unwind;
use std::any::Any;
use std::sync::Arc;

/// How many calls of `source` an aggregator takes: the longest tuple that it can answer with.
pub(super) const MOST: usize = 12;

/// One source's answer, from its task's end until it is taken.
pub(super) struct Slot<X>(Mutex<Option<X>>);

/// The answers of many sources of one type.
pub(super) struct Row<X>(Box<[Slot<X>]>);

/// A place that a source's task puts its answer into.
pub(super) trait Place {
    type Answer;

    fn put(&self, answer: Self::Answer);
}

impl<X> Slot<X> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn take(&self) -> X {
        let answer = self.0.lock().take();
        answer.expect("a source that has succeeded left its answer, which is taken once")
    }
}

/// An answer that was not taken, because another source has failed. Its destructor is the user's: one that panics
/// must not stop the others.
impl<X> Drop for Slot<X> {
    fn drop(&mut self) {
        if let Some(answer) = self.0.get_mut().take() {
            unwind::discard(answer);
        }
    }
}

impl<X> Row<X> {
    pub(super) fn new(length: usize) -> Self {
        Self((0..length).map(|_| Slot::new()).collect())
    }
}

impl<X> Place for Arc<Slot<X>> {
    type Answer = X;

    fn put(&self, answer: X) {
        *self.0.lock() = Some(answer);
    }
}

impl<X> Place for (Arc<Row<X>>, usize) {
    type Answer = X;

    fn put(&self, answer: X) {
        let (row, number) = self;
        *row.0[*number].0.lock() = Some(answer);
    }
}

/// How each source ended, in order: of use where the aggregator is settled.
pub(super) type Outcomes = [(Name, Result<(), Error>)];

/// The answers of an aggregation whose sources have all ended.
// Public, because the hidden traits of tuples have it in their signatures.
pub struct Answers<'a> {
    /// A `Slot` for each call of `source`, or a single `Row`.
    slots: [Option<&'a dyn Any>; MOST],
    /// Empty unless settled.
    outcomes: &'a Outcomes,
}

impl<'a> Answers<'a> {
    pub(super) fn new(slots: [Option<&'a dyn Any>; MOST], outcomes: &'a Outcomes) -> Self {
        Self { slots, outcomes }
    }

    /// The answer of one source, all of which have succeeded.
    pub(super) fn take<X: 'static>(&self, number: usize) -> X {
        self.place::<Slot<X>>(number).take()
    }

    /// The answers of all sources, all of which have succeeded.
    pub(super) fn take_row<X: 'static>(&self) -> Vec<X> {
        let row = self.place::<Row<X>>(0);
        row.0.iter().map(Slot::take).collect()
    }

    /// How one source ended.
    pub(super) fn settle<X: 'static>(&self, number: usize) -> Result<X, Error> {
        settled(&self.outcomes[number].1, self.place::<Slot<X>>(number))
    }

    /// How all sources ended.
    pub(super) fn settle_row<X: 'static>(&self) -> Vec<Result<X, Error>> {
        let slots = &self.place::<Row<X>>(0).0;
        let each = self.outcomes.iter().zip(slots);
        each.map(|((_, outcome), slot)| settled(outcome, slot))
            .collect()
    }

    fn place<P: 'static>(&self, number: usize) -> &P {
        let place = self.slots[number].and_then(<dyn Any>::downcast_ref);
        place.expect("the answer's type is that of its source")
    }
}

fn settled<X>(outcome: &Result<(), Error>, slot: &Slot<X>) -> Result<X, Error> {
    match outcome {
        Ok(()) => Ok(slot.take()),
        Err(error) => Err(error.clone()),
    }
}
