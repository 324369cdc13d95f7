//! Storage that grows without moving what it holds, and is read without a lock.

use std::sync::OnceLock;

/// How many there is room for without an allocation: most fan-outs are this small.
const INLINE: usize = 4;

/// The first block ends here: it holds the places from 4 to 16, block k those from 8·2^k to 8·2^(k+1).
const FIRST: u32 = 16;

/// Enough of them for 2^32.
const BLOCKS: usize = 29;

/// Places counted from 0, each made (by `Default`) with its block, which is made when it is first needed.
pub(crate) struct Table<X> {
    inline: [X; INLINE],
    /// Apart, so that a table which needs none of them stays small.
    blocks: OnceLock<Box<Blocks<X>>>,
}

type Blocks<X> = [OnceLock<Box<[X]>>; BLOCKS];

impl<X: Default> Table<X> {
    pub(crate) fn new() -> Self {
        Self {
            inline: Default::default(),
            blocks: OnceLock::new(),
        }
    }

    /// The place, which is made if need be.
    #[inline]
    pub(crate) fn make(&self, index: u32) -> &X {
        match self.inline.get(index as usize) {
            Some(place) => place,
            None => self.make_in_block(index),
        }
    }

    fn make_in_block(&self, index: u32) -> &X {
        let (block, offset) = locate(index);
        let length = match block {
            0 => FIRST as usize - INLINE,
            _ => (FIRST as usize) << (block - 1),
        };
        let make_block = || (0..length).map(|_| X::default()).collect();
        let blocks = self
            .blocks
            .get_or_init(|| Box::new([const { OnceLock::new() }; BLOCKS]));
        &blocks[block].get_or_init(make_block)[offset]
    }

    /// The place, which has been made.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> &X {
        match self.inline.get(index as usize) {
            Some(place) => place,
            None => {
                let (block, offset) = locate(index);
                match self.blocks.get().and_then(|blocks| blocks[block].get()) {
                    Some(block) => &block[offset],
                    None => unreachable!("a place is made before its index is given out"),
                }
            }
        }
    }
}

impl<X> Table<X> {
    /// Every place that has been made, in order, by the blocks that they are in.
    pub(crate) fn blocks_mut(&mut self) -> impl Iterator<Item = &mut [X]> {
        let blocks = self
            .blocks
            .get_mut()
            .into_iter()
            .flat_map(|blocks| blocks.iter_mut());
        let blocks = blocks
            .filter_map(OnceLock::get_mut)
            .map(|block| &mut **block);
        std::iter::once(&mut self.inline[..]).chain(blocks)
    }

    /// The same, shared.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &X> {
        let blocks = self
            .blocks
            .get()
            .into_iter()
            .flat_map(|blocks| blocks.iter());
        let blocks = blocks
            .filter_map(OnceLock::get)
            .flat_map(|block| block.iter());
        self.inline.iter().chain(blocks)
    }
}

/// Which block holds `index`, and where in it.
#[inline]
fn locate(index: u32) -> (usize, usize) {
    if index < FIRST {
        return (0, index as usize - INLINE);
    }
    let power = index.ilog2();
    (
        (power - FIRST.ilog2() + 1) as usize,
        (index - (1 << power)) as usize,
    )
}

/// A list whose first few need no allocation.
pub(crate) struct Few<X> {
    first: [Option<X>; INLINE],
    rest: Vec<Option<X>>,
}

impl<X> Few<X> {
    pub(crate) const fn new() -> Self {
        Self {
            first: [const { None }; INLINE],
            rest: Vec::new(),
        }
    }

    /// Puts something at `index`; the list grows to it.
    #[inline]
    pub(crate) fn put(&mut self, index: u32, item: X) {
        let index = index as usize;
        if index < INLINE {
            self.first[index] = Some(item);
            return;
        }
        let index = index - INLINE;
        if index == self.rest.len() {
            self.rest.push(Some(item));
            return;
        }
        if index > self.rest.len() {
            self.rest.resize_with(index + 1, || None);
        }
        self.rest[index] = Some(item);
    }

    pub(crate) fn get(&self, index: u32) -> Option<&X> {
        let index = index as usize;
        let place = match self.first.get(index) {
            Some(place) => place,
            None => self.rest.get(index - INLINE)?,
        };
        place.as_ref()
    }

    pub(crate) fn take(&mut self, index: u32) -> Option<X> {
        let index = index as usize;
        let place = match index < INLINE {
            true => &mut self.first[index],
            false => self.rest.get_mut(index - INLINE)?,
        };
        place.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let (mut next_block, mut next_offset) = (0, 0);
        for index in INLINE as u32..100_000 {
            assert_eq!(locate(index), (next_block, next_offset), "index {index}");
            next_offset += 1;
            if index + 1 >= FIRST && (index + 1).is_power_of_two() {
                (next_block, next_offset) = (next_block + 1, 0);
            }
        }
        assert_eq!(locate(u32::MAX).0, BLOCKS - 1);
    }
}
