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

/// What a thread keeps.
struct Pool {
    /// For each class the first block, which names the next.
    lists: [Cell<*mut Block>; CLASSES],
    /// How many bytes more may be kept.
    room: Cell<usize>,
}

struct Block {
    next: *mut Block,
}

thread_local! {
    static POOL: Pool = const {
        Pool {
            lists: [const { Cell::new(null_mut()) }; CLASSES],
            room: Cell::new(KEPT),
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

    /// False if it has enough. A class of which nothing is kept drives the others out, because the tasks that the
    /// thread ran before may never come again.
    ///
    /// # Safety
    ///
    /// The block is of that class, and nothing uses it any more.
    #[inline]
    unsafe fn keep(&self, class: usize, block: NonNull<Block>) -> bool {
        let next = self.lists[class].get();
        if self.room.get() < class * STEP {
            if !next.is_null() {
                return false;
            }
            self.clear();
        }
        // SAFETY: the caller's promise: it is large enough, aligned, and ours.
        unsafe { block.write(Block { next }) };
        self.lists[class].set(block.as_ptr());
        self.room.set(self.room.get() - class * STEP);
        true
    }

    #[cold]
    fn clear(&self) {
        for class in 0..CLASSES {
            while let Some(block) = self.take(class) {
                // SAFETY: allocated with this layout, by invariant 1.
                unsafe {
                    let layout = Layout::from_size_align_unchecked(class * STEP, STEP);
                    dealloc(block.as_ptr().cast(), layout);
                }
            }
        }
    }
}

/// Invariant 2.
impl Drop for Pool {
    fn drop(&mut self) {
        self.clear();
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
            assert_eq!(kept(), 64_000, "what nobody uses any more makes room");
            use_and_free::<128>(1_000);
            assert!(kept() <= KEPT && kept() > KEPT - 128, "{}", kept());
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
}
