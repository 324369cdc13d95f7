//! The flights that are under way, by key.
//!
//! # Invariants
//!
//! 1. `Hash` and `Eq` of the key run under the lock, and nothing else that is foreign does: keys are cloned before, and
//!    keys and flights dropped after.
//! 2. A key is removed by a flight only if it is still that flight's, because it may be another one's by then.

use super::flight::{Flight, Joined};
use crate::sync::Mutex;
use crate::unwind;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

pub(super) struct Flights<R, F, T>(Mutex<Map<R, F, T>>);

type Map<R, F, T> = HashMap<R, Arc<Flight<F, T>>>;

/// What a caller has found.
pub(super) enum Boarded<F, T> {
    /// A flight of its own, which it has to launch.
    Leads(Arc<Flight<F, T>>),
    /// One that it waits for, under this number.
    Follows(Arc<Flight<F, T>>, u64),
    /// One that waits for this very call.
    Inside,
}

impl<R, F, T> Flights<R, F, T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl<R: Clone + Eq + Hash, F, T> Flights<R, F, T> {
    /// Joins the flight for `key`, or begins one. `is_inside`: whether the caller runs inside a flight, by its context.
    pub(super) fn board(
        &self,
        key: &R,
        is_inside: impl Fn(&Flight<F, T>) -> bool,
    ) -> Boarded<F, T> {
        let there = self
            .0
            .lock()
            .get(key)
            .and_then(|flight| join(flight, &is_inside));
        there.unwrap_or_else(|| self.begin(key, is_inside))
    }

    /// Looks again, because the key was cloned under no lock, and another caller may have been faster.
    fn begin(&self, key: &R, is_inside: impl Fn(&Flight<F, T>) -> bool) -> Boarded<F, T> {
        let (key, new) = (key.clone(), Arc::new(Flight::new()));
        let mut map = self.0.lock();
        let there = map.get(&key).and_then(|flight| join(flight, is_inside));
        if let Some(boarded) = there {
            drop(map);
            unwind::discard(key);
            return boarded;
        }
        let late = map.remove_entry(&key);
        map.insert(key, new.clone());
        drop(map);
        unwind::discard(late);
        Boarded::Leads(new)
    }
}

impl<R: Eq + Hash, F, T> Flights<R, F, T> {
    /// Removes a flight that has landed or closed.
    pub(super) fn remove(&self, key: &R, flight: &Arc<Flight<F, T>>) {
        let removed = {
            let mut map = self.0.lock();
            let is_same = map.get(key).is_some_and(|there| Arc::ptr_eq(there, flight));
            if is_same { map.remove_entry(key) } else { None }
        };
        unwind::discard(removed);
    }
}

/// `None`: it comes too late for that flight.
fn join<F, T>(
    flight: &Arc<Flight<F, T>>,
    is_inside: impl Fn(&Flight<F, T>) -> bool,
) -> Option<Boarded<F, T>> {
    if is_inside(flight) {
        return Some(Boarded::Inside);
    }
    match flight.join() {
        Joined::Waiter(number) => Some(Boarded::Follows(flight.clone(), number)),
        Joined::Inside => Some(Boarded::Inside),
        Joined::Late => None,
    }
}
