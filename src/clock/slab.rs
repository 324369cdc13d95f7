//! Values that stay at an index until they are removed, in pages that are freed when they are empty.
//!
//! Both operations take O(1). A plain vector would keep its peak while one value at its end stays.
//!
//! 1. A bit of [`Page::free`] is set exactly if the slot holds no value. A page without slots is free.
//! 2. Every page with a free slot is in `open`. `open` may also name pages that have filled up or are gone; a page
//!    is pushed only when it is not in there ([`Page::listed`]), and a new page only when `open` is empty.
//! 3. A free page has no slots: it has given them to `spare`, or else to the allocator. The first page keeps its own,
//!    so that one value after another costs no more than that.

/// How many values a page holds: one bit each of [`Page::free`].
pub(super) const PAGE: usize = u32::BITS as usize;

const FREE: u32 = u32::MAX;

type Slots<T> = Box<[Option<T>; PAGE]>;

struct Page<T> {
    slots: Option<Slots<T>>,
    free: u32,
    listed: bool,
}

pub(super) struct Slab<T> {
    pages: Vec<Page<T>>,
    open: Vec<usize>,
    spare: Option<Slots<T>>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Slab {
            pages: Vec::new(),
            open: Vec::new(),
            spare: None,
        }
    }

    #[inline]
    pub(super) fn insert(&mut self, value: T) -> usize {
        let index = self.open_page();
        let page = &mut self.pages[index];
        let spare = &mut self.spare;
        let slots = (page.slots).get_or_insert_with(|| {
            spare
                .take()
                .unwrap_or_else(|| Box::new([const { None }; PAGE]))
        });
        let slot = page.free.trailing_zeros() as usize;
        page.free &= page.free - 1;
        slots[slot] = Some(value);
        index * PAGE + slot
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> &T {
        let slots = self.pages[index / PAGE].slots.as_ref();
        slots.expect(TAKEN)[index % PAGE].as_ref().expect(TAKEN)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: usize) -> &mut T {
        let slots = self.pages[index / PAGE].slots.as_mut();
        slots.expect(TAKEN)[index % PAGE].as_mut().expect(TAKEN)
    }

    #[inline]
    pub(super) fn remove(&mut self, index: usize) -> T {
        let page = &mut self.pages[index / PAGE];
        let slots = page.slots.as_mut().expect(TAKEN);
        let value = slots[index % PAGE].take().expect(TAKEN);
        page.free |= 1 << (index % PAGE);
        if !page.listed {
            page.listed = true;
            self.open.push(index / PAGE);
        }
        if page.free == FREE && index >= PAGE {
            self.close(index / PAGE);
        }
        value
    }

    /// Keeps invariant 3.
    #[cold]
    fn close(&mut self, index: usize) {
        let slots = self.pages[index].slots.take();
        self.spare = self.spare.take().or(slots);
        if index + 1 == self.pages.len() {
            self.truncate();
        }
    }

    /// Removes the free pages at the end.
    fn truncate(&mut self) {
        let last = self.pages.iter().rposition(|page| page.slots.is_some());
        self.pages.truncate(last.map_or(0, |last| last + 1));
        if self.pages.len() < self.pages.capacity() / 4 {
            let left = self.pages.len();
            self.pages.shrink_to(left * 2);
            self.open.retain(|&page| page < left);
            self.open.shrink_to(left * 2);
        }
    }

    /// A page with a free slot (invariant 2).
    #[inline]
    fn open_page(&mut self) -> usize {
        while let Some(&index) = self.open.last() {
            match self.pages.get_mut(index) {
                Some(page) if page.free != 0 => return index,
                Some(page) => page.listed = false,
                None => {}
            }
            self.open.pop();
        }
        self.add_page()
    }

    fn add_page(&mut self) -> usize {
        let index = self.pages.len();
        self.pages.push(Page {
            slots: None,
            free: FREE,
            listed: true,
        });
        self.open.push(index);
        index
    }

    /// How many slots there are, taken or not.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let pages = self.pages.iter().filter(|page| page.slots.is_some());
        PAGE * (pages.count() + usize::from(self.spare.is_some()))
    }
}

const TAKEN: &str = "an index belongs to a slot that is taken";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn check<T>(slab: &Slab<T>) {
        for (index, page) in slab.pages.iter().enumerate() {
            for slot in 0..PAGE {
                let taken = page
                    .slots
                    .as_ref()
                    .is_some_and(|slots| slots[slot].is_some());
                assert_eq!(taken, page.free & (1 << slot) == 0, "invariant 1");
            }
            let listed = slab.open.iter().filter(|&&open| open == index).count();
            assert_eq!(listed, usize::from(page.listed), "invariant 2");
            assert!(page.listed || page.free == 0, "invariant 2");
            assert!(
                page.free != FREE || index == 0 || page.slots.is_none(),
                "invariant 3"
            );
        }
    }

    #[test]
    fn random_operations_agree_with_a_map() {
        let mut random = fastrand::Rng::with_seed(7);
        for limit in [1, 31, 32, 33, 63, 64, 65, 300] {
            let (mut slab, mut model) = (Slab::new(), HashMap::new());
            for value in 0..2000 {
                if random.usize(..limit) >= model.len() {
                    assert_eq!(model.insert(slab.insert(value), value), None);
                } else {
                    let keys: Vec<usize> = model.keys().copied().collect();
                    let key = keys[random.usize(..keys.len())];
                    assert_eq!(*slab.get(key), model[&key]);
                    assert_eq!(Some(slab.remove(key)), model.remove(&key));
                }
                check(&slab);
            }
        }
    }

    #[test]
    fn one_that_stays_keeps_its_page_and_no_more() {
        for stays in [0, 5_000, 9_999] {
            let mut slab = Slab::new();
            let keys: Vec<usize> = (0..10_000).map(|value| slab.insert(value)).collect();
            keys.iter()
                .filter(|&&key| key != keys[stays])
                .for_each(|&key| {
                    slab.remove(key);
                });
            check(&slab);
            assert!(slab.capacity() <= 3 * PAGE, "{stays}: {}", slab.capacity());
            assert_eq!(slab.remove(keys[stays]), stays);
            check(&slab);
            assert!(slab.pages.len() <= 1 && slab.capacity() <= 2 * PAGE);
            assert!(slab.open.capacity() < 20 && slab.pages.capacity() < 20);
        }
    }

    #[test]
    fn one_after_another_uses_one_page() {
        let mut slab = Slab::new();
        for value in 0..10_000 {
            let key = slab.insert(value);
            assert_eq!((key, slab.remove(key)), (0, value));
        }
        assert_eq!((slab.pages.len(), slab.open.len()), (1, 1));
    }
}
