//! Memory for the cells of small tasks: each thread keeps what it frees for the next tasks that it spawns.
//!
//! A cell is a little larger than what allocators serve fastest: with glibc's, a quarter of a task's cost was its
//! allocation and deallocation. The bytes of a cell, and nothing of the user's, stay here.
//!
//! # Invariants
//!
//! 1. A block in the list of a class has that class's layout, is in no other list, and nothing uses it. Its first
//!    word is the next in the list.
//! 2. A thread keeps at most [`KEPT`] bytes. They are freed when the thread ends.
#![allow(unsafe_code, reason = "blocks of memory, without a type")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};

/// Bytes that a thread keeps at most: the cells of some 300 small tasks.
const KEPT: usize = 64 * 1024;

/// Classes are this far apart.
const STEP: usize = 16;

/// Blocks larger than this are the allocator's business: what fills them costs more than they do.
const LARGEST: usize = 512;

const CLASSES: usize = LARGEST / STEP + 1;

/// How many blocks a class loses when it is another's turn to have room.
const LOSS: usize = 4;

/// What a thread keeps.
struct Pool {
    /// For each class the first block, which names the next.
    lists: [Cell<*mut Block>; CLASSES],
    /// How many bytes more may be kept.
    room: Cell<usize>,
    /// The class that had to make room last.
    loser: Cell<usize>,
}

struct Block {
    next: *mut Block,
}

thread_local! {
    static POOL: Pool = const {
        Pool {
            lists: [const { Cell::new(null_mut()) }; CLASSES],
            room: Cell::new(KEPT),
            loser: Cell::new(0),
        }
    };
}

/// The layout of a `T`'s block, and its class: `None` if it is not kept.
const fn plan<T>() -> (Layout, Option<usize>) {
    let layout = Layout::new::<T>();
    // Not pooled under the model checker and the sanitizers, because they have to see each cell freed.
    let is_seen = cfg!(any(failfast_loom, failfast_sanitizer));
    if is_seen || layout.size() > LARGEST || layout.align() > STEP || layout.size() < STEP {
        return (layout, None);
    }
    let class = layout.size().div_ceil(STEP);
    match Layout::from_size_align(class * STEP, STEP) {
        Ok(layout) => (layout, Some(class)),
        Err(_) => (layout, None),
    }
}

/// Uninitialized memory for a `T`, to be given back with [`free`].
#[inline]
pub(super) fn allocate<T>() -> NonNull<T> {
    let (layout, class) = const { plan::<T>() };
    if let Some(class) = class {
        if let Ok(Some(block)) = POOL.try_with(|pool| pool.take(class)) {
            return block.cast();
        }
    }
    // SAFETY: a cell has a header, so that its size is not zero.
    match NonNull::new(unsafe { alloc(layout) }) {
        Some(block) => block.cast(),
        None => handle_alloc_error(layout),
    }
}

/// Gives memory back after its content has been dropped.
///
/// # Safety
///
/// It was allocated here, for a `T`, and nothing uses it any more.
#[inline]
pub(super) unsafe fn free<T>(block: NonNull<T>) {
    let (layout, class) = const { plan::<T>() };
    if let Some(class) = class {
        // SAFETY: the caller's promise. `try_with`, because late in a thread's life the pool has been destroyed.
        if let Ok(true) = POOL.try_with(|pool| unsafe { pool.keep(class, block.cast()) }) {
            return;
        }
    }
    // SAFETY: allocated with this layout.
    unsafe { dealloc(block.as_ptr().cast(), layout) };
}

impl Pool {
    #[inline]
    fn take(&self, class: usize) -> Option<NonNull<Block>> {
        let block = NonNull::new(self.lists[class].get())?;
        // SAFETY: a block in a list is ours, and names the next (invariant 1).
        self.lists[class].set(unsafe { block.as_ref() }.next);
        self.room.set(self.room.get() + class * STEP);
        Some(block)
    }

    /// False if there is no room.
    ///
    /// # Safety
    ///
    /// The block is of that class, and nothing uses it any more.
    #[inline]
    unsafe fn keep(&self, class: usize, block: NonNull<Block>) -> bool {
        if self.room.get() < class * STEP && !self.make_room(class) {
            return false;
        }
        let next = self.lists[class].get();
        // SAFETY: the caller's promise: it is large enough, aligned, and ours.
        unsafe { block.write(Block { next }) };
        self.lists[class].set(block.as_ptr());
        self.room.set(self.room.get() - class * STEP);
        true
    }

    /// Takes a little from one of the other classes, a different one each time. So a class that is used no more gives way
    /// to those that are used, and those that are used in turns come to share.
    #[cold]
    fn make_room(&self, class: usize) -> bool {
        let loser = (self.loser.get() + 1) % CLASSES;
        self.loser.set(loser);
        if loser != class {
            for _ in 0..LOSS {
                self.give_back(loser);
            }
        }
        self.room.get() >= class * STEP
    }

    /// False if nothing of that class is kept.
    fn give_back(&self, class: usize) -> bool {
        let Some(block) = self.take(class) else {
            return false;
        };
        // SAFETY: allocated with this layout, by invariant 1.
        unsafe {
            let layout = Layout::from_size_align_unchecked(class * STEP, STEP);
            dealloc(block.as_ptr().cast(), layout);
        }
        true
    }
}

/// Invariant 2.
impl Drop for Pool {
    fn drop(&mut self) {
        for class in 0..CLASSES {
            while self.give_back(class) {}
        }
    }
}

#[cfg(all(test, not(any(failfast_loom, failfast_sanitizer))))]
mod tests {
    use super::*;

    type Bytes<const N: usize> = [u8; N];

    /// Runs on a thread that keeps nothing yet.
    fn alone(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    fn kept() -> usize {
        POOL.with(|pool| KEPT - pool.room.get())
    }

    /// Allocates `n`, writes all of each, and frees them.
    fn use_and_free<const N: usize>(n: usize) {
        let blocks: Vec<_> = (0..n).map(|_| allocate::<Bytes<N>>()).collect();
        for (index, block) in blocks.iter().enumerate() {
            // SAFETY: it is as large as the type, and ours.
            unsafe { block.write([index as u8; N]) };
        }
        for (index, block) in blocks.iter().enumerate() {
            // SAFETY: written above, and not freed yet.
            assert_eq!(unsafe { block.read() }, [index as u8; N], "blocks overlap");
        }
        // SAFETY: allocated above for the same type.
        blocks.into_iter().for_each(|block| unsafe { free(block) });
    }

    #[test]
    fn what_was_freed_is_used_again_the_last_first() {
        alone(|| {
            let (one, other) = (allocate::<Bytes<200>>(), allocate::<Bytes<200>>());
            // SAFETY: allocated for the same type.
            unsafe {
                free(one);
                free(other);
            }
            assert_eq!(allocate::<Bytes<200>>(), other);
            // A smaller one of the same class.
            assert_eq!(allocate::<Bytes<193>>().cast(), one);
            // SAFETY: as above; 193 and 200 are of one class.
            unsafe {
                free(one);
                free(other);
            }
        });
    }

    #[test]
    fn a_thread_keeps_a_bounded_number_of_bytes() {
        alone(|| {
            for n in [0, 1, 2, 255, 256, 257, 10_000] {
                use_and_free::<256>(n);
                assert!(kept() <= KEPT);
            }
            assert_eq!(kept(), KEPT);
            use_and_free::<64>(1_000);
            assert!(kept() <= KEPT && kept() > KEPT - 256, "{}", kept());
        });
    }

    fn blocks(class: usize) -> usize {
        let first = NonNull::new(POOL.with(|pool| pool.lists[class].get()));
        // SAFETY: blocks in a list name the next (invariant 1).
        let next = |block: &NonNull<Block>| NonNull::new(unsafe { block.as_ref() }.next);
        std::iter::successors(first, next).count()
    }

    #[test]
    fn class_that_is_used_no_more_gives_way() {
        alone(|| {
            use_and_free::<256>(10_000);
            assert_eq!(blocks(16), KEPT / 256);
            (0..100).for_each(|_| use_and_free::<128>(300));
            assert_eq!(blocks(8), 300, "all that is freed at once is kept");
            let left = KEPT / 256 - 300 / 2;
            assert!(
                (left - LOSS..=left).contains(&blocks(16)),
                "no more than needed: {}",
                blocks(16)
            );
            (0..100).for_each(|_| use_and_free::<512>(1));
            assert_eq!(blocks(32), 1);
        });
    }

    #[test]
    fn classes_that_are_used_in_turns_share() {
        alone(|| {
            use_and_free::<256>(10_000);
            for _ in 0..1_000 {
                use_and_free::<240>(250);
                use_and_free::<256>(250);
            }
            let shares = (blocks(15), blocks(16));
            assert!(shares.0 > 80 && shares.1 > 80, "{shares:?}");
        });
    }

    #[test]
    fn sizes_around_the_limits() {
        alone(|| {
            use_and_free::<1>(3);
            use_and_free::<15>(3);
            use_and_free::<16>(3);
            use_and_free::<17>(3);
            use_and_free::<496>(3);
            use_and_free::<511>(3);
            use_and_free::<512>(3);
            assert_eq!(kept(), 3 * (16 + 32 + 496 + 512));
            use_and_free::<513>(3);
            use_and_free::<8192>(3);
            assert_eq!(kept(), 3 * (16 + 32 + 496 + 512));
        });
    }

    #[test]
    fn what_is_aligned_more_strictly_is_not_kept() {
        alone(|| {
            #[repr(align(64))]
            struct Aligned(#[allow(dead_code, reason = "for its size")] [u8; 64]);
            let block = allocate::<Aligned>();
            assert!(block.is_aligned());
            // SAFETY: allocated for the same type.
            unsafe { free(block) };
            assert_eq!(kept(), 0);
        });
    }

    #[test]
    fn freed_on_another_thread_it_stays_there() {
        alone(|| {
            struct Sent(NonNull<Bytes<100>>);
            // SAFETY: bytes without another owner.
            unsafe impl Send for Sent {}
            let sent = Sent(allocate::<Bytes<100>>());
            let there = std::thread::spawn(move || {
                let sent = sent;
                // SAFETY: allocated for the same type.
                unsafe { free(sent.0) };
                kept()
            });
            assert_eq!((there.join().unwrap(), kept()), (112, 0));
        });
    }

    #[test]
    fn class_is_that_of_the_next_step_and_none_outside_of_the_limits() {
        fn planned<T>() -> (usize, usize, Option<usize>) {
            let (layout, class) = plan::<T>();
            (layout.size(), layout.align(), class)
        }
        #[repr(align(32))]
        struct Aligned(#[allow(dead_code, reason = "for its size")] [u8; 32]);

        assert_eq!(planned::<Bytes<0>>(), (0, 1, None));
        assert_eq!(planned::<Bytes<15>>(), (15, 1, None));
        assert_eq!(planned::<Bytes<16>>(), (16, 16, Some(1)));
        assert_eq!(planned::<u128>(), (16, 16, Some(1)));
        assert_eq!(planned::<Bytes<17>>(), (32, 16, Some(2)));
        assert_eq!(planned::<Bytes<511>>(), (512, 16, Some(CLASSES - 1)));
        assert_eq!(planned::<Bytes<512>>(), (512, 16, Some(CLASSES - 1)));
        assert_eq!(planned::<Bytes<513>>(), (513, 1, None));
        assert_eq!(planned::<Aligned>(), (32, 32, None));
    }
}
