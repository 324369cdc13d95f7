//! What finished tasks leave until it is taken: results and failures, in the order of completion.
//!
//! The group's engine has no parameter for the result's type, because contexts, wakers and forks share the engine and
//! must not depend on it. So the store is kept as raw words, and used through functions that have the type.
//!
//! # Invariants
//!
//! 1. The words are a `Store<T>` for the one `T` of the group, made by [`Finished::new`]. Every [`Kept<T>`](super::keep::Kept)
//!    that a group's tasks complete with names that type, because only `TaskGroup<T, M>` and its handles make tasks.
//! 2. The store is emptied, and its memory freed, by [`Finished::close`], which the group's `Drop` calls, on a thread that `T`
//!    may be on. From then on nothing is stored. A group that is passed to `mem::forget` leaks it.
#![allow(
    unsafe_code,
    reason = "one engine for results of any type, and of any lifetime"
)]

use crate::error::{Error, Name};
use crate::unwind;
use std::collections::VecDeque;
use std::mem::{MaybeUninit, align_of, size_of};

/// How a task ended, as it is kept: without an error if it was canceled, or if too many failed for all their
/// errors to be kept.
pub(super) type Ended<T> = Result<T, Option<Error>>;

/// Which outcomes may still be taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All, with their names: `next`, `wait_named` or `outcomes` may come.
    All,
    /// The values alone: `wait` has been called.
    Values,
    /// None: `run` has been called, or the group has been dropped.
    Nothing,
}

/// Larger values are boxed, because a queue that grows copies its entries and has room for twice as many.
const LARGE: usize = 32;

struct Entry<V> {
    number: u64,
    ended: Ended<V>,
}

/// `V` is the group's `T`, or `Box<T>` if that is large.
struct Store<V> {
    entries: VecDeque<Entry<V>>,
    /// Values without a size, once their numbers are not needed any more: a vector of those takes no memory.
    units: Vec<V>,
}

type Words = [usize; 8];

pub(super) struct Finished {
    words: MaybeUninit<Words>,
    pub(super) wanted: Wanted,
    /// The given names of those in the store, in the same order.
    names: VecDeque<(u64, Name)>,
}

// SAFETY: a store of `T`s that are not `Send` is touched by the local groups' own thread alone: a task completes
// where it is polled or dropped, and the group is neither `Send` nor `Sync` (invariants 1 and 2).
unsafe impl Send for Finished {}

const fn is_large<T>() -> bool {
    size_of::<T>() > LARGE
}

impl Finished {
    #[inline]
    pub(super) fn new<T>() -> Self {
        let mut words = MaybeUninit::<Words>::uninit();
        if const { is_large::<T>() } {
            Self::init(&mut words, Store::<Box<T>>::new());
        } else {
            Self::init(&mut words, Store::<T>::new());
        }
        Self {
            words,
            wanted: Wanted::All,
            names: VecDeque::new(),
        }
    }

    fn init<V>(words: &mut MaybeUninit<Words>, store: Store<V>) {
        const {
            assert!(size_of::<Store<V>>() <= size_of::<Words>());
            assert!(align_of::<Store<V>>() <= align_of::<Words>());
        }
        // SAFETY: it fits, as has just been asserted.
        unsafe { words.as_mut_ptr().cast::<Store<V>>().write(store) };
    }

    /// # Safety
    ///
    /// Invariant 1, with `V` as in [`Store`].
    unsafe fn store<V>(&mut self) -> &mut Store<V> {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.words.as_mut_ptr().cast::<Store<V>>() }
    }

    /// # Safety
    ///
    /// Invariant 1.
    #[inline]
    pub(super) unsafe fn push_value<T>(&mut self, number: u64, value: T) -> Option<T> {
        match self.wanted {
            Wanted::Nothing => return Some(value),
            // SAFETY: the caller's promise.
            Wanted::Values if const { size_of::<T>() == 0 } => unsafe {
                self.store::<T>().units.push(value);
            },
            // SAFETY: the caller's promise.
            _ => unsafe { self.push::<T>(number, Ok(value)) },
        }
        None
    }

    /// # Safety
    ///
    /// Invariant 1.
    #[inline]
    unsafe fn push<T>(&mut self, number: u64, ended: Ended<T>) {
        // SAFETY: the caller's promise.
        unsafe {
            if const { is_large::<T>() } {
                let ended = ended.map(Box::new);
                self.store().entries.push_back(Entry { number, ended });
            } else {
                self.store().entries.push_back(Entry { number, ended });
            }
        }
    }

    /// Notes a task that left no value.
    ///
    /// # Safety
    ///
    /// Invariant 1.
    pub(super) unsafe fn push_without<T>(&mut self, number: u64, error: Option<Error>) {
        if self.wanted == Wanted::All {
            // SAFETY: the caller's promise.
            unsafe { self.push::<T>(number, Err(error)) };
        }
    }

    /// Keeps the name of a task that has just been stored, if it may still be taken.
    pub(super) fn push_name(&mut self, number: u64, name: &Name) {
        if self.wanted == Wanted::All {
            self.names.push_back((number, name.clone()));
        }
    }

    /// Takes the outcome that was stored first, and what names the task.
    ///
    /// # Safety
    ///
    /// Invariant 1.
    pub(super) unsafe fn pop<T>(&mut self) -> Option<(u64, Option<Name>, Ended<T>)> {
        // SAFETY: the caller's promise.
        let (number, ended) = unsafe {
            if const { is_large::<T>() } {
                let Entry { number, ended } = pop(&mut self.store::<Box<T>>().entries)?;
                (number, ended.map(|value| *value))
            } else {
                let Entry { number, ended } = pop(&mut self.store::<T>().entries)?;
                (number, ended)
            }
        };
        let named = self
            .names
            .front()
            .is_some_and(|(first, _)| *first == number);
        let name = named.then(|| pop(&mut self.names)).flatten();
        Some((number, name.map(|(_, name)| name), ended))
    }

    /// Takes everything, in the order of spawning.
    ///
    /// # Safety
    ///
    /// Invariant 1.
    pub(super) unsafe fn take_all<T>(&mut self) -> Taken<T> {
        let mut taken = Taken::none();
        taken.names = Vec::from(std::mem::take(&mut self.names));
        // SAFETY: the caller's promise.
        unsafe {
            if const { is_large::<T>() } {
                let entries = std::mem::take(&mut self.store::<Box<T>>().entries);
                let entry = |entry: Entry<Box<T>>| (entry.number, entry.ended.map(|value| *value));
                taken.entries = sorted(entries).into_iter().map(entry).collect();
            } else {
                let store = self.store::<T>();
                let entries = std::mem::take(&mut store.entries);
                let entry = |entry: Entry<T>| (entry.number, entry.ended);
                taken.entries = sorted(entries).into_iter().map(entry).collect();
                taken.units = std::mem::take(&mut store.units);
            }
        }
        taken.names.sort_by_key(|(number, _)| *number);
        taken
    }

    /// Takes the values alone, in the order of spawning. The rest stays, because to drop an error is foreign code.
    ///
    /// # Safety
    ///
    /// Invariant 1.
    pub(super) unsafe fn take_values<T>(&mut self) -> Vec<T> {
        // SAFETY: the caller's promise.
        unsafe {
            if const { is_large::<T>() } {
                let values = self.store::<Box<T>>().take_values();
                values.into_iter().map(|value| *value).collect()
            } else {
                self.store::<T>().take_values()
            }
        }
    }

    /// Keeps only the values from now on, or nothing at all. Returns the rest, to be dropped under no lock.
    ///
    /// # Safety
    ///
    /// Invariant 1.
    pub(super) unsafe fn want<T>(&mut self, wanted: Wanted) -> Taken<T> {
        self.wanted = wanted;
        if wanted == Wanted::Nothing {
            // SAFETY: the caller's promise.
            return unsafe { self.take_all() };
        }
        self.names = VecDeque::new();
        let mut unwanted = Taken::none();
        if const { size_of::<T>() == 0 } {
            // SAFETY: the caller's promise.
            let store = unsafe { self.store::<T>() };
            for Entry { number, ended } in std::mem::take(&mut store.entries) {
                match ended {
                    Ok(value) => store.units.push(value),
                    error => unwanted.entries.push((number, error)),
                }
            }
        }
        unwanted
    }

    /// Nothing more is stored. Returns what there is, if anything, to be dropped under no lock.
    ///
    /// # Safety
    ///
    /// Invariant 1.
    pub(super) unsafe fn close<T>(&mut self) -> Option<Taken<T>> {
        self.wanted = Wanted::Nothing;
        // SAFETY: the caller's promise.
        unsafe {
            let is_empty = if const { is_large::<T>() } {
                self.store::<Box<T>>().free_if_empty()
            } else {
                self.store::<T>().free_if_empty()
            };
            match is_empty && self.names.is_empty() {
                true => None,
                false => Some(self.take_all()),
            }
        }
    }
}

/// What [`Finished::take_all`] took.
pub(super) struct Taken<T> {
    pub(super) entries: Vec<(u64, Ended<T>)>,
    pub(super) units: Vec<T>,
    /// By number.
    names: Vec<(u64, Name)>,
}

impl<T> Taken<T> {
    fn none() -> Self {
        Self {
            entries: Vec::new(),
            units: Vec::new(),
            names: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.units.is_empty()
    }

    /// The name of the task of that number.
    pub(super) fn name(&self, number: u64) -> Name {
        match self
            .names
            .binary_search_by_key(&number, |(known, _)| *known)
        {
            Ok(index) => self.names[index].1.clone(),
            Err(_) => Name::of_number(number),
        }
    }

    /// Drops it all, one by one, because each destructor may panic.
    pub(super) fn discard(self) {
        unwind::discard_each(self.entries);
        unwind::discard_each(self.units);
    }
}

impl<V> Store<V> {
    fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            units: Vec::new(),
        }
    }

    /// Whether there is nothing in it. Then its memory is freed as well: what has been taken out one by one leaves that.
    fn free_if_empty(&mut self) -> bool {
        let is_empty = self.entries.is_empty() && self.units.is_empty();
        if is_empty {
            *self = Self::new();
        }
        is_empty
    }

    fn take_values(&mut self) -> Vec<V> {
        let mut values = std::mem::take(&mut self.units);
        let entries = sorted(std::mem::take(&mut self.entries));
        let misses = &mut self.entries;
        values.reserve_exact(entries.len());
        values.extend(entries.into_iter().filter_map(|Entry { number, ended }| {
            let miss = |error| {
                misses.push_back(Entry {
                    number,
                    ended: Err(error),
                })
            };
            ended.map_err(miss).ok()
        }));
        values
    }
}

/// Takes the first, and gives memory back when most of it is not in use any more.
fn pop<X>(queue: &mut VecDeque<X>) -> Option<X> {
    let first = queue.pop_front();
    if queue.capacity() > 64 && queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.capacity() / 2);
    }
    first
}

/// Mostly they have finished in order already.
fn sorted<V>(entries: VecDeque<Entry<V>>) -> Vec<Entry<V>> {
    let mut entries = Vec::from(entries);
    if !entries.is_sorted_by_key(|entry| entry.number) {
        entries.sort_unstable_by_key(|entry| entry.number);
    }
    entries
}
