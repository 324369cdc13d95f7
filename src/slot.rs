//! Handing a value, or a waker, from one thread to another with no lock: the one module with unsafe code.
//!
//! A task of a group leaves its waker once and its result once. A lock would cost two atomic read-modify-writes
//! for each, of some thirteen that a task had in all; one or none does, for who writes is known. What is known
//! is the contract of the unsafe functions: *one at a time*. The group's side is safe to call at any time, from
//! any thread.
//!
//! # Invariants
//!
//! 1. Whether there is something in the cell is told by `word` alone: `FULL`.
//! 2. While neither `FULL` nor `BUSY`, the cell is the one writer's own.
//! 3. Only who changed `FULL` to `BUSY` may move out what is in the cell, until it takes `BUSY` back. Others
//!    may look at it meanwhile, for what is moved out of a cell stays there as it was until it is written again.
//! 4. `FULL` and `CLOSED` are stored, and `BUSY` is taken back, after what was done to the cell: release. Who
//!    acts on one of them has loaded it: acquire. Who fills a slot again knows by other means that it has been
//!    emptied, and saw it happen: that is a part of the contract.
#![allow(
    unsafe_code,
    reason = "measured: a tenth of what a group adds to a fan-out"
)]

use crate::guard;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{UnsafeCell, sole};
use std::mem::{MaybeUninit, needs_drop};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::task::Waker;

const EMPTY: u8 = 0;
const FULL: u8 = 1;
/// Somebody moves out what is in the cell.
const BUSY: u8 = 2;
/// Of a [`Slot`]: what is put here comes too late. Of a [`WakerSlot`]: the steps are counted from here.
const CLOSED: u8 = 4;
const STEP: u32 = CLOSED.trailing_zeros();

/// A place for one value, filled by one thread and emptied by any.
pub(crate) struct Slot<T> {
    word: AtomicU8,
    cell: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: whoever shares a slot can take the value, so it may go to another thread; nobody gets a reference to
// it but by `&mut`.
unsafe impl<T: Send> Sync for Slot<T> {}

// As a lock would be that ignores poisoning: no foreign code runs in its midst.
impl<T> UnwindSafe for Slot<T> {}
impl<T> RefUnwindSafe for Slot<T> {}

impl<T> Slot<T> {
    /// Leaves a value. Nobody closes this slot.
    ///
    /// # Safety
    ///
    /// The slot is empty, what emptied it happened before this, and nobody else fills it meanwhile.
    #[inline]
    pub(crate) unsafe fn put(&self, value: T) {
        debug_assert_eq!(self.word.load(Ordering::Relaxed), EMPTY);
        // SAFETY: the caller is the one writer (invariant 2).
        unsafe { self.write(value) };
        self.word.store(FULL, Ordering::Release);
    }

    /// Leaves a value, or gives it back if the slot was closed: it is open then.
    ///
    /// # Safety
    ///
    /// The slot is empty or closed, what emptied it happened before this, and nobody else fills it meanwhile.
    #[inline]
    pub(crate) unsafe fn put_unless_closed(&self, value: T) -> Result<(), T> {
        // SAFETY: the caller is the one writer (invariant 2).
        unsafe { self.write(value) };
        let kept = self
            .word
            .compare_exchange(EMPTY, FULL, Ordering::Release, Ordering::Acquire);
        if kept.is_ok() {
            return Ok(());
        }
        // SAFETY: nobody has seen it full, so it is still ours alone.
        let value = unsafe { self.read() };
        self.word.store(EMPTY, Ordering::Release);
        Err(value)
    }

    /// Takes the value, if there is one.
    #[inline]
    pub(crate) fn take(&self) -> Option<T> {
        if self.word.load(Ordering::Relaxed) != FULL {
            return None;
        }
        let taken = self
            .word
            .compare_exchange(FULL, BUSY, Ordering::Acquire, Ordering::Relaxed);
        taken.ok()?;
        // SAFETY: it is full, and ours to move (invariant 3).
        let value = unsafe { self.read() };
        self.word.store(EMPTY, Ordering::Release);
        Some(value)
    }

    /// Takes the value, or has the one that is yet to come given back: whoever gets it back sees what was done
    /// before the slot was closed.
    pub(crate) fn take_or_close(&self) -> Option<T> {
        let closed =
            self.word
                .compare_exchange(EMPTY, CLOSED, Ordering::Release, Ordering::Relaxed);
        match closed {
            Ok(_) => None,
            Err(_) => self.take(),
        }
    }

    /// Takes the value, if there is one: nobody else can be at it.
    #[inline]
    pub(crate) fn take_mut(&mut self) -> Option<T> {
        if sole(&mut self.word) & FULL == 0 {
            return None;
        }
        self.word.store(EMPTY, Ordering::Relaxed);
        // SAFETY: it was full (invariant 1).
        Some(unsafe { self.read() })
    }

    /// # Safety
    ///
    /// Invariant 2.
    #[inline]
    unsafe fn write(&self, value: T) {
        self.cell.with_mut(|cell| {
            // SAFETY: nobody else touches it (invariant 2), and nothing is in it that would have to be dropped.
            unsafe { (*cell).write(value) };
        });
    }

    /// # Safety
    ///
    /// The cell was full, and the value is the caller's to move.
    #[inline]
    unsafe fn read(&self) -> T {
        // SAFETY: it is initialised, and the caller alone moves it out.
        self.cell.with(|cell| unsafe { (*cell).assume_init_read() })
    }
}

impl<T> Default for Slot<T> {
    #[inline]
    fn default() -> Self {
        Self {
            word: AtomicU8::new(EMPTY),
            cell: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }
}

impl<T> Drop for Slot<T> {
    #[inline]
    fn drop(&mut self) {
        if needs_drop::<T>() {
            drop(self.take_mut());
        }
    }
}

/// Where a task leaves its waker, and learns how far things have gone: a step that only ever grows.
///
/// Both are in the slot's one word, so a task that parks has either seen the step or is found by who makes it.
#[derive(Default)]
pub(crate) struct WakerSlot(Slot<Waker>);

impl WakerSlot {
    /// How far things have gone.
    #[inline]
    pub(crate) fn step(&self) -> u8 {
        self.0.word.load(Ordering::Acquire) >> STEP
    }

    /// Leaves the waker, to be handed out by the next step. False if things have gone further than `seen`.
    ///
    /// Runs foreign code: clones the waker, and drops another that was there.
    ///
    /// # Safety
    ///
    /// Nobody else parks here meanwhile.
    #[inline]
    pub(crate) unsafe fn park(&self, waker: &Waker, seen: u8) -> bool {
        let empty = seen << STEP;
        let word = self.0.word.load(Ordering::Acquire);
        if word == empty | FULL && self.will_wake(waker) {
            return true;
        }
        // SAFETY: the caller's promise.
        word >> STEP == seen && unsafe { self.replace(waker, empty) }
    }

    /// # Safety
    ///
    /// Nobody else parks here meanwhile.
    #[inline]
    unsafe fn replace(&self, waker: &Waker, empty: u8) -> bool {
        let new = waker.clone();
        guard::discard(self.take()); // another's
        let word = self.0.word.load(Ordering::Acquire);
        if word == empty | BUSY {
            guard::wake(new); // the one before is still being moved out: no spinning, this task comes again
            return true;
        }
        if word != empty {
            guard::discard(new); // a step has been made
            return false;
        }
        // SAFETY: it is empty and we are the one writer (invariant 2).
        unsafe { self.0.write(new) };
        let parked =
            self.0
                .word
                .compare_exchange(empty, empty | FULL, Ordering::Release, Ordering::Relaxed);
        if parked.is_err() {
            // SAFETY: nobody has seen it full, so it is still ours alone.
            guard::discard(unsafe { self.0.read() });
        }
        parked.is_ok()
    }

    /// Makes a step. Returns who is to be woken, if this made it and somebody had parked.
    pub(crate) fn advance(&self, step: u8) -> Option<Waker> {
        let mut word = self.0.word.load(Ordering::Relaxed);
        loop {
            if word >> STEP >= step {
                return None;
            }
            let busy = match word & FULL {
                0 => word & BUSY, // another is at it
                _ => BUSY,
            };
            let new = step << STEP | busy;
            match self
                .0
                .word
                .compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(other) => word = other,
            }
        }
        // SAFETY: it was full, and has become busy by our doing (invariant 3).
        (word & FULL > 0).then(|| unsafe { self.move_out() })
    }

    /// Takes the waker, if there is one.
    pub(crate) fn take(&self) -> Option<Waker> {
        let word = self.0.word.load(Ordering::Relaxed);
        if word & FULL == 0 {
            return None;
        }
        // A step that comes between takes it instead.
        self.0
            .word
            .compare_exchange(
                word,
                word & !FULL | BUSY,
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .ok()?;
        // SAFETY: it was full, and has become busy by our doing (invariant 3).
        Some(unsafe { self.move_out() })
    }

    /// # Safety
    ///
    /// Invariant 3.
    unsafe fn move_out(&self) -> Waker {
        // SAFETY: it is initialised, and ours to move.
        let waker = unsafe { self.0.read() };
        self.0.word.fetch_and(!BUSY, Ordering::Release);
        waker
    }

    /// Whether the waker that is there wakes the same task. It may be moved out meanwhile, or have been.
    #[inline]
    fn will_wake(&self, waker: &Waker) -> bool {
        // SAFETY: it was full when we looked, and only we write; it is compared, not run (invariant 3).
        self.0
            .cell
            .with(|cell| unsafe { (*cell).assume_init_ref().will_wake(waker) })
    }
}

#[cfg(all(test, not(failfast_loom)))]
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one thread, or as each test says"
)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;
    use std::thread;

    #[derive(Default)]
    struct Bell;

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {}
    }

    fn waker() -> (Arc<Bell>, Waker) {
        let bell = Arc::<Bell>::default();
        (bell.clone(), bell.into())
    }

    #[test]
    fn value_is_taken_once() {
        let slot = Slot::default();
        assert_eq!(slot.take(), None::<Box<u8>>);
        unsafe { slot.put(Box::new(1)) };
        assert_eq!(slot.take(), Some(Box::new(1)));
        assert_eq!(slot.take(), None);
        unsafe { slot.put(Box::new(2)) };
        assert_eq!({ slot }.take_mut(), Some(Box::new(2)));
    }

    #[test]
    fn value_for_a_closed_slot_comes_back_and_opens_it() {
        let slot = Slot::default();
        assert_eq!(slot.take_or_close(), None);
        assert_eq!(slot.take_or_close(), None);
        assert_eq!(unsafe { slot.put_unless_closed(1) }, Err(1));
        assert_eq!(unsafe { slot.put_unless_closed(2) }, Ok(()));
        assert_eq!(slot.take_or_close(), Some(2));
        assert_eq!(slot.take(), None);
    }

    #[test]
    fn value_left_behind_is_dropped_once() {
        let value = Arc::new(());
        let slot = Slot::default();
        unsafe { slot.put(value.clone()) };
        drop(slot);
        assert_eq!(Arc::strong_count(&value), 1);
        let mut slot = Slot::default();
        unsafe { slot.put(value.clone()) };
        drop(slot.take_mut());
        drop(slot);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn value_goes_to_one_of_two_takers() {
        for _ in 0..1_000 {
            let (slot, value) = (Slot::default(), Arc::new(()));
            unsafe { slot.put(value.clone()) };
            let taken = thread::scope(|scope| {
                let other = scope.spawn(|| slot.take());
                usize::from(slot.take().is_some()) + usize::from(other.join().unwrap().is_some())
            });
            assert_eq!((taken, Arc::strong_count(&value)), (1, 1));
        }
    }

    #[test]
    fn step_hands_out_the_waker_once() {
        let (bell, waker) = waker();
        let slot = WakerSlot::default();
        assert!(unsafe { slot.park(&waker, 0) });
        assert_eq!(Arc::strong_count(&bell), 3);
        assert!(slot.advance(1).is_some());
        assert!(slot.advance(1).is_none());
        assert_eq!((slot.step(), Arc::strong_count(&bell)), (1, 2));
    }

    #[test]
    fn park_after_a_step_that_was_not_seen() {
        let (bell, waker) = waker();
        let slot = WakerSlot::default();
        assert!(slot.advance(2).is_none());
        assert!(!unsafe { slot.park(&waker, 0) });
        assert!(unsafe { slot.park(&waker, 2) });
        assert!(slot.advance(1).is_none(), "a step back is none");
        drop(slot);
        assert_eq!(Arc::strong_count(&bell), 2);
    }

    #[test]
    fn park_again() {
        let ((bell, waker), (other_bell, other)) = (waker(), waker());
        let slot = WakerSlot::default();
        assert!(unsafe { slot.park(&waker, 0) });
        assert!(unsafe { slot.park(&waker, 0) }, "the same");
        assert_eq!(Arc::strong_count(&bell), 3);
        assert!(unsafe { slot.park(&other, 0) }, "another");
        assert_eq!(
            (Arc::strong_count(&bell), Arc::strong_count(&other_bell)),
            (2, 3)
        );
        assert!(slot.take().is_some_and(|waker| waker.will_wake(&other)));
        assert!(slot.take().is_none());
    }

    #[test]
    fn parking_against_a_step() {
        for _ in 0..1_000 {
            let (bell, waker) = waker();
            let slot = WakerSlot::default();
            let (parked, woken) = thread::scope(|scope| {
                let step = scope.spawn(|| slot.advance(1).is_some());
                let parked = unsafe { slot.park(&waker, 0) };
                (parked, step.join().unwrap())
            });
            assert_eq!(
                parked, woken,
                "either the step is seen, or it finds the waker"
            );
            drop(slot);
            assert_eq!(Arc::strong_count(&bell), 2);
        }
    }
}
