//! Deadlines in order, each of which can be withdrawn.
//!
//! A 4-ary heap of deadlines over a slab of values. Any entry is removed in
//! O(log n); the two commonest moves, adding the latest deadline of all and
//! removing what was added last, take O(1). Memory follows the number of
//! entries: both parts shrink when most entries have been removed.
//!
//! 1. `slots[node.slot].position` is the index of `node` in `order`.
//! 2. A slot whose entry was popped stays taken, at no position, until its key
//!    comes back in [`Heap::remove`]: a key is never ambiguous.
//! 3. No node is due before its parent. Equal deadlines are due in the order of
//!    their insertion.

use super::slab::Slab;
use super::time::Instant;

/// Children of a node: wider than a binary heap, so shallower, and siblings
/// share cache lines.
const ARITY: usize = 4;

/// Where an entry is once it has been popped.
const NOWHERE: usize = usize::MAX;

/// So few nodes are not worth giving back their memory.
const SMALL: usize = 64;

/// The right to read one entry and to remove it. There is one a slot.
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
    value: T,
}

pub(super) struct Heap<T> {
    order: Vec<Node>,
    slots: Slab<Slot<T>>,
    sequence: u64,
}

impl<T> Heap<T> {
    pub(super) const fn new() -> Self {
        Heap {
            order: Vec::new(),
            slots: Slab::new(),
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

    #[inline]
    pub(super) fn insert(&mut self, deadline: Instant, value: T) -> Key {
        let position = self.order.len();
        let slot = self.slots.insert(Slot { position, value });
        let due = Due {
            deadline,
            sequence: self.sequence,
        };
        self.sequence += 1;
        self.order.push(Node { due, slot });
        self.rise(position);
        Key(slot)
    }

    #[inline]
    pub(super) fn get(&self, key: &Key) -> &T {
        &self.slots.get(key.0).value
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: &Key) -> &mut T {
        &mut self.slots.get_mut(key.0).value
    }

    /// Takes the earliest entry out of the order. Its value stays with its key
    /// (invariant 2).
    pub(super) fn pop(&mut self) -> Option<&mut T> {
        let slot = self.order.first()?.slot;
        self.take_out(0);
        let slot = self.slots.get_mut(slot);
        slot.position = NOWHERE;
        Some(&mut slot.value)
    }

    #[inline]
    pub(super) fn remove(&mut self, key: Key) -> T {
        let Slot { position, value } = self.slots.remove(key.0);
        if position != NOWHERE {
            self.take_out(position);
        }
        value
    }

    #[inline]
    fn take_out(&mut self, position: usize) {
        self.order.swap_remove(position);
        if position < self.order.len() {
            self.sink(position);
            self.rise(position);
        }
        self.shrink();
    }

    #[inline]
    fn shrink(&mut self) {
        let capacity = self.order.capacity();
        if capacity > SMALL && self.order.len() < capacity / 4 {
            self.order.shrink_to(capacity / 2);
        }
    }

    /// The caller has noted the position that it begins at.
    #[inline]
    fn rise(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if self.order[parent].due <= self.order[position].due {
                break;
            }
            self.order.swap(parent, position);
            self.note(position);
            self.note(parent);
            position = parent;
        }
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
        self.slots.get_mut(self.order[position].slot).position = position;
    }
}

#[cfg(test)]
mod tests {
    use super::super::slab::PAGE;
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
            assert_eq!(heap.slots.get(node.slot).position, position, "invariant 1");
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

    /// Whatever the number, all come out in order or by their keys, and the memory of a crowd goes with it.
    #[test]
    fn every_size_around_the_thresholds() {
        let start = Instant::now();
        for size in [
            0, 1, 2, 3, 12, 13, 29, 31, 32, 33, 63, 64, 65, 127, 129, 255, 257, 1000, 4096,
        ] {
            let mut heap = Heap::new();
            let at = |index: u64| start + Duration::from_micros(index * 7919 % 1000);
            let mut keys: Vec<_> = (0..size)
                .map(|index| heap.insert(at(index), index))
                .collect();
            let (mut popped, mut before) = (0, start);
            while popped < size / 2 {
                let due = heap.earliest().expect("more are left");
                assert!(due >= before);
                before = due;
                heap.pop().expect("the earliest");
                popped += 1;
            }
            fastrand::Rng::with_seed(size).shuffle(&mut keys);
            for key in keys {
                heap.remove(key);
            }
            assert_eq!((heap.len(), heap.earliest()), (0, None));
            assert!(heap.order.capacity() <= SMALL * 2 && heap.slots.capacity() <= 3 * PAGE);
        }
    }

    #[test]
    fn a_peak_gives_back_its_memory_while_one_stays() {
        for stays in [0, 50_000, 99_999] {
            let mut heap = Heap::new();
            let start = Instant::now();
            let mut keys: Vec<Key> = (0..100_000)
                .map(|value| heap.insert(start, value))
                .collect();
            let stayed = keys.swap_remove(stays);
            for key in keys {
                heap.remove(key);
            }
            assert!(
                heap.order.capacity() <= SMALL * 2,
                "{}",
                heap.order.capacity()
            );
            assert!(
                heap.slots.capacity() <= 3 * PAGE,
                "{}",
                heap.slots.capacity()
            );
            assert_eq!(heap.remove(stayed), stays);
        }
    }
}
