//! Deadlines in order, each of which can be withdrawn.
//!
//! A 4-ary heap of deadlines over a slab of values. Any entry is removed in
//! O(log n); the two commonest moves, adding the latest deadline of all and
//! removing what was added last, take O(1). Nothing is allocated as long as
//! there are no more entries than there once were.
//!
//! 1. `slots[node.slot].position` is the index of `node` in `order`.
//! 2. A slot whose entry was popped stays taken, at no position, until its key
//!    comes back in [`Heap::remove`]: a key is never ambiguous.
//! 3. No node is due before its parent. Equal deadlines are due in the order of
//!    their insertion.

use std::time::Instant;

/// Children of a node: wider than a binary heap, so shallower, and siblings
/// share cache lines.
const ARITY: usize = 4;

/// Where an entry is once it has been popped.
const NOWHERE: usize = usize::MAX;

/// An empty heap gives back its memory if it once held more entries than this.
const KEPT_EMPTY: usize = 1024;

/// The right to ask about one entry and to remove it. There is one a slot.
#[derive(Debug)]
pub(super) struct Key(usize);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    deadline: Instant,
    sequence: u64,
}

struct Node {
    due: Due,
    slot: usize,
}

struct Slot<T> {
    position: usize,
    value: Option<T>,
}

pub(super) struct Heap<T> {
    order: Vec<Node>,
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
    sequence: u64,
}

impl<T> Heap<T> {
    pub(super) const fn new() -> Self {
        Heap {
            order: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            sequence: 0,
        }
    }

    /// How many entries wait for their deadline.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    #[inline]
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.order.first().map(|node| node.due.deadline)
    }

    pub(super) fn insert(&mut self, deadline: Instant, value: T) -> Key {
        let slot = self.take_slot(value);
        let due = Due {
            deadline,
            sequence: self.sequence,
        };
        self.sequence += 1;
        self.order.push(Node { due, slot });
        self.rise(self.order.len() - 1);
        Key(slot)
    }

    #[inline]
    pub(super) fn get(&self, key: &Key) -> &T {
        self.slots[key.0].value.as_ref().expect(TAKEN)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: &Key) -> &mut T {
        self.slots[key.0].value.as_mut().expect(TAKEN)
    }

    /// Takes the earliest entry out of the order. Its value stays with its key
    /// (invariant 2).
    pub(super) fn pop(&mut self) -> Option<&mut T> {
        let slot = self.order.first()?.slot;
        self.take_out(0);
        self.slots[slot].position = NOWHERE;
        self.slots[slot].value.as_mut()
    }

    pub(super) fn remove(&mut self, key: Key) -> T {
        let slot = &mut self.slots[key.0];
        let value = slot.value.take().expect(TAKEN);
        let position = slot.position;
        self.free.push(key.0);
        if position != NOWHERE {
            self.take_out(position);
        }
        self.give_back_memory();
        value
    }

    fn take_slot(&mut self, value: T) -> usize {
        let taken = Slot {
            position: NOWHERE,
            value: Some(value),
        };
        if let Some(slot) = self.free.pop() {
            self.slots[slot] = taken;
            return slot;
        }
        self.slots.push(taken);
        self.slots.len() - 1
    }

    fn give_back_memory(&mut self) {
        if self.slots.len() > KEPT_EMPTY && self.free.len() == self.slots.len() {
            *self = Heap::new();
        }
    }

    fn take_out(&mut self, position: usize) {
        self.order.swap_remove(position);
        if position < self.order.len() {
            self.sink(position);
            self.rise(position);
        }
    }

    fn rise(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if self.order[parent].due <= self.order[position].due {
                break;
            }
            self.order.swap(parent, position);
            self.note(position);
            position = parent;
        }
        self.note(position);
    }

    fn sink(&mut self, mut position: usize) {
        while let Some(child) = self.earliest_child(position) {
            if self.order[position].due <= self.order[child].due {
                break;
            }
            self.order.swap(position, child);
            self.note(position);
            position = child;
        }
        self.note(position);
    }

    fn earliest_child(&self, position: usize) -> Option<usize> {
        let first = position * ARITY + 1;
        let end = self.order.len().min(first + ARITY);
        (first..end).min_by_key(|&child| self.order[child].due)
    }

    /// Keeps invariant 1.
    #[inline]
    fn note(&mut self, position: usize) {
        self.slots[self.order[position].slot].position = position;
    }
}

const TAKEN: &str = "a key belongs to a slot that is taken";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    /// The oracle: deadlines in order, ties by insertion.
    #[derive(Default)]
    struct Model {
        due: BTreeMap<(Instant, u64), u64>,
        keys: Vec<(Key, (Instant, u64), u64)>,
    }

    fn check(heap: &Heap<u64>, model: &Model) {
        assert_eq!(heap.len(), model.due.len());
        let earliest = model.due.keys().next().map(|due| due.0);
        assert_eq!(heap.earliest(), earliest);
        for (position, node) in heap.order.iter().enumerate() {
            assert_eq!(heap.slots[node.slot].position, position, "invariant 1");
        }
    }

    fn step(heap: &mut Heap<u64>, model: &mut Model, start: Instant, id: u64) {
        match fastrand::u8(..8) {
            0..4 => {
                let deadline = start + Duration::from_millis(fastrand::u64(..50));
                let key = heap.insert(deadline, id);
                model.due.insert((deadline, id), id);
                model.keys.push((key, (deadline, id), id));
            }
            4..6 if !model.keys.is_empty() => {
                let index = fastrand::usize(..model.keys.len());
                let (key, due, id) = model.keys.swap_remove(index);
                assert_eq!(*heap.get(&key), id);
                assert_eq!(heap.remove(key), id);
                model.due.remove(&due);
            }
            _ => {
                let popped = heap.pop().map(|id| *id);
                assert_eq!(popped, model.due.pop_first().map(|(_, id)| id));
            }
        }
    }

    #[test]
    fn random_operations_agree_with_a_sorted_map() {
        fastrand::seed(7);
        for _ in 0..50 {
            let (mut heap, mut model) = (Heap::new(), Model::default());
            let start = Instant::now();
            for id in 0..400 {
                step(&mut heap, &mut model, start, id);
                check(&heap, &model);
            }
        }
    }

    #[test]
    fn a_popped_entry_keeps_its_value_until_removed() {
        let mut heap = Heap::new();
        let key = heap.insert(Instant::now(), "first");
        *heap.pop().unwrap() = "fired";
        assert_eq!(heap.len(), 0);
        let other = heap.insert(Instant::now(), "second");
        assert_eq!(*heap.get(&key), "fired");
        assert_eq!(heap.remove(key), "fired");
        assert_eq!(heap.remove(other), "second");
    }

    #[test]
    fn slots_are_used_again() {
        let mut heap = Heap::new();
        for round in 0..100 {
            let keys: Vec<Key> = (0..10)
                .map(|_| heap.insert(Instant::now(), round))
                .collect();
            for key in keys {
                assert_eq!(heap.remove(key), round);
            }
        }
        assert_eq!(heap.slots.len(), 10);
    }

    #[test]
    fn a_crowd_gone_gives_back_its_memory() {
        let mut heap = Heap::new();
        let keys: Vec<Key> = (0..KEPT_EMPTY * 2)
            .map(|_| heap.insert(Instant::now(), ()))
            .collect();
        keys.into_iter().for_each(|key| heap.remove(key));
        assert_eq!(heap.slots.capacity() + heap.free.capacity(), 0);
    }

    #[test]
    fn a_few_gone_leave_their_memory_to_those_who_come() {
        let mut heap = Heap::new();
        let keys: Vec<Key> = (0..KEPT_EMPTY)
            .map(|_| heap.insert(Instant::now(), ()))
            .collect();
        keys.into_iter().for_each(|key| heap.remove(key));
        assert_eq!(heap.slots.len(), KEPT_EMPTY);
    }
}
