//! Storage that grows without moving what it holds, and is read without a lock.

use std::sync::OnceLock;

/// How many there is room for without an allocation: most fan-outs are this small.
const INLINE: usize = 4;

/// Each block is this many times as large as the one before.
const GROWTH_BITS: u32 = 2;

/// 4 + 4·4 + 4·4² + …: 2^32 places and more.
const BLOCKS: usize = 15;

/// Places counted from 0, each made (by `Default`) with its block, which is made when it is first needed.
pub(crate) struct Table<X> {
    inline: [X; INLINE],
    blocks: [OnceLock<Box<[X]>>; BLOCKS],
}

impl<X: Default> Table<X> {
    pub(crate) fn new() -> Self {
        Self {
            inline: Default::default(),
            blocks: [const { OnceLock::new() }; BLOCKS],
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
        let (block, length, offset) = locate(index);
        let block = self.blocks[block].get_or_init(|| (0..length).map(|_| X::default()).collect());
        &block[offset]
    }

    /// The place, which has been made.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> &X {
        match self.inline.get(index as usize) {
            Some(place) => place,
            None => {
                let (block, _, offset) = locate(index);
                match self.blocks[block].get() {
                    Some(block) => &block[offset],
                    None => unreachable!("a place is made before its index is given out"),
                }
            }
        }
    }
}

/// Which block holds `index`, how long that is, and where in it.
///
/// Block k begins at 4·(4^(k+1) − 1)/3, so 3·index/4 + 1 lies in [4^(k+1), 4^(k+2)).
#[inline]
fn locate(index: u32) -> (usize, usize, usize) {
    let scaled = 3 * (u64::from(index) / INLINE as u64) + 1;
    let power = scaled.ilog2() / GROWTH_BITS;
    let length = (INLINE as u64) << (GROWTH_BITS * power);
    let start = INLINE as u64 * ((1 << (GROWTH_BITS * power)) - 1) / 3;
    (
        power as usize - 1,
        length as usize,
        (u64::from(index) - start) as usize,
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

    /// The place at `index`, where the list grows to it.
    pub(crate) fn at(&mut self, index: u32) -> &mut Option<X> {
        let index = index as usize;
        if index < INLINE {
            return &mut self.first[index];
        }
        let index = index - INLINE;
        if index >= self.rest.len() {
            self.rest.resize_with(index + 1, || None);
        }
        &mut self.rest[index]
    }

    /// What is there, in order of index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &X)> {
        let all = self.first.iter().chain(&self.rest);
        (0..)
            .zip(all)
            .filter_map(|(index, place)| Some((index, place.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let (mut next_block, mut next_offset) = (0, 0);
        for index in INLINE as u32..100_000 {
            let (block, length, offset) = locate(index);
            assert_eq!((block, offset), (next_block, next_offset), "index {index}");
            next_offset += 1;
            if next_offset == length {
                (next_block, next_offset) = (block + 1, 0);
            }
        }
        assert!(locate(u32::MAX).0 < BLOCKS);
    }
}
