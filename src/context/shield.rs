//! Critical sections: while one runs, its task is not dropped by its group's cancellation.
//!
//! A shield belongs to the task that polls it. Which one that is, is in a thread-local: a stack of [`Frame`]s, one for
//! each task that is being polled, [entered](Frame::enter) by what polls the task. A task on an executor hides the frames
//! before it; a task that its group polls in place lies on top of the one that polls the group.
//!
//! # What a frame's owner does
//!
//! ```text
//! each poll                frame.enter(tag, Hide, || poll)      in place: Below
//! the group has ended      one poll more, then frame.close()
//! after the poll           frame.is_held(waker)? keep the task, which is polled again when the waker wakes : drop it
//! ```
//!
//! # Invariants
//!
//! 1. The thread-local points to an [`Entered`] on the stack of the `enter` that set it, which restores the one before
//!    when it returns or unwinds. So a reader of the thread-local on its thread finds a live one.
//! 2. An `Entered` is reached on its own thread alone; the frames behind it are shared, and count with atomics.
//! 3. A shield holds a reference to each count that it has raised, so counts outlive their tasks.
#![allow(
    unsafe_code,
    reason = "finding the task that is being polled costs a load"
)]

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::unwind;
use futures::task::AtomicWaker;
use pin_project_lite::pin_project;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};
use std::task::{self, Poll, Waker};

/// What a task is shielded by. In the task's header; a task without shields pays for two words.
pub(crate) struct Frame {
    /// Shields that hold the task go on, and no other begins: its last poll is over.
    closed: AtomicBool,
    /// Made by the first shield.
    holds: OnceLock<Arc<Holds>>,
}

/// How many shields hold a task.
struct Holds {
    count: AtomicUsize,
    /// Woken when the last shield ends.
    waker: AtomicWaker,
}

/// Which task a frame is of, by addresses of its group's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag {
    pub(crate) group: *const (),
    pub(crate) task: *const (),
}

/// How a frame lies on those before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It hides them: an executor polls the task.
    Hide,
    /// On top of them: the poll of the group polls the task.
    Below,
}

/// A frame on the stack of the poll of its task.
struct Entered<'a> {
    frame: &'a Frame,
    tag: Tag,
    outer: Option<NonNull<Entered<'static>>>,
}

#[cfg(not(failfast_loom))]
thread_local! {
    static CURRENT: Cell<Option<NonNull<Entered<'static>>>> = const { Cell::new(None) };
}

#[cfg(failfast_loom)]
loom::thread_local! {
    /// The model checker's threads share one of the system's.
    static CURRENT: Cell<Option<NonNull<Entered<'static>>>> = Cell::new(None);
}

/// The innermost frame on this thread.
#[inline]
fn current() -> Option<NonNull<Entered<'static>>> {
    CURRENT.with(Cell::get)
}

/// Makes another frame the innermost one. Returns the one before.
#[inline]
fn replace_current(
    entered: Option<NonNull<Entered<'static>>>,
) -> Option<NonNull<Entered<'static>>> {
    CURRENT.with(|current| current.replace(entered))
}

impl Frame {
    pub(crate) fn new() -> Self {
        Self {
            closed: AtomicBool::new(false),
            holds: OnceLock::new(),
        }
    }

    /// Runs `poll` with this frame as the current one.
    pub(crate) fn enter<R>(&self, tag: Tag, lie: Lie, poll: impl FnOnce() -> R) -> R {
        let before = current();
        let entered = Entered {
            frame: self,
            tag,
            outer: before.filter(|_| lie == Lie::Below),
        };
        let _restore = Restore(before);
        replace_current(Some(NonNull::from(&entered).cast()));
        poll()
    }

    /// The last poll is over: no other shield holds the task from now on.
    pub(crate) fn close(&self) {
        // Relaxed, here and below, because the task's poller alone uses it, in the poll and around it.
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether a shield holds the task. If so, `waker` is woken when the last shield ends outside of the task: one that is
    /// dropped, or polled by another task. (One that is ready ends while the task is polled.)
    pub(crate) fn is_held(&self, waker: &Waker) -> bool {
        let Some(holds) = self.holds.get() else {
            return false;
        };
        if !holds.is_held() {
            return false;
        }
        // Registered before the second look, because `release` lowers the count first and then takes the waker.
        holds.waker.register(waker);
        let held = holds.is_held();
        if !held {
            unwind::discard(holds.waker.take()); // the last shield ended meanwhile: nothing wakes it any more
        }
        held
    }

    fn holds(&self) -> &Arc<Holds> {
        self.holds.get_or_init(|| {
            Arc::new(Holds {
                count: AtomicUsize::new(0),
                waker: AtomicWaker::new(),
            })
        })
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// Runs foreign code that is not a part of the task that is being polled: the wakers of others, above all.
#[inline]
pub(crate) fn outside<R>(foreign: impl FnOnce() -> R) -> R {
    let _restore = Restore(replace_current(None));
    foreign()
}

/// Restores the thread-local, on unwinding as well.
struct Restore(Option<NonNull<Entered<'static>>>);

impl Drop for Restore {
    fn drop(&mut self) {
        replace_current(self.0);
    }
}

impl Holds {
    fn is_held(&self) -> bool {
        // Pairs with `release`: a thread that sees that no shield holds it sees what was done under the shield.
        self.count.load(Ordering::Acquire) > 0
    }

    fn release(&self) {
        // AcqRel: releases what was done under this shield to `is_held`, and acquires what was done under the others.
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            if let Some(waker) = self.waker.take() {
                outside(|| unwind::wake(waker));
            }
        }
    }
}

/// Looks through the tasks that are being polled on this thread, the innermost first, down to the executor's.
pub(crate) fn find<R>(mut look: impl FnMut(&Frame, Tag) -> Option<R>) -> Option<R> {
    let mut next = current();
    while let Some(entered) = next {
        // SAFETY: invariant 1; what `look` enters it leaves before it returns.
        let entered = unsafe { entered.as_ref() };
        if let Some(found) = look(entered.frame, entered.tag) {
            return Some(found);
        }
        next = entered.outer;
    }
    None
}

/// What a shield is held by: a task, and whether it holds that one.
struct Hold {
    holds: Arc<Holds>,
    granted: bool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.granted {
            self.holds.release();
        }
    }
}

/// The tasks that a shield holds, the innermost first. Most shields hold one.
#[derive(Default)]
struct Held {
    first: Option<Hold>,
    more: Vec<Hold>,
}

impl Held {
    /// Holds the tasks that are being polled on this thread, and no others.
    fn hold_current(&mut self) {
        if !self.is_current() {
            // The new holds are taken first, because a task that is among both must stay held in between.
            *self = Self::of_current(self);
        }
    }

    fn is_current(&self) -> bool {
        let mut held = self.first.iter().chain(&self.more);
        let other = find(|frame, _| {
            let holds = held.next().map(|hold| &hold.holds);
            let same = holds
                .zip(frame.holds.get())
                .is_some_and(|(one, other)| Arc::ptr_eq(one, other));
            (!same).then_some(())
        });
        other.is_none() && held.next().is_none()
    }

    /// `before`: a task that it held already stays held, also if the group has ended meanwhile.
    fn of_current(before: &Self) -> Self {
        let mut held = Self::default();
        let _: Option<()> = find(|frame, _| {
            let holds = frame.holds().clone();
            let granted = !frame.is_closed() || before.has(&holds);
            if granted {
                // Relaxed, because the task that is counted is being polled, so `is_held` is not called meanwhile.
                holds.count.fetch_add(1, Ordering::Relaxed);
            }
            held.push(Hold { holds, granted });
            None
        });
        held
    }

    fn has(&self, holds: &Arc<Holds>) -> bool {
        let mut granted = self
            .first
            .iter()
            .chain(&self.more)
            .filter(|hold| hold.granted);
        granted.any(|hold| Arc::ptr_eq(&hold.holds, holds))
    }

    fn push(&mut self, hold: Hold) {
        match self.first {
            None => self.first = Some(hold),
            Some(_) => self.more.push(hold),
        }
    }
}

pin_project! {
    /// A future that its task is not dropped from by its group's cancellation.
    pub(super) struct Shield<F> {
        #[pin]
        future: Option<F>,
        held: Held,
    }
}

impl<F> Shield<F> {
    pub(super) fn new(future: F) -> Self {
        Self {
            future: Some(future),
            held: Held::default(),
        }
    }
}

impl<F: Future> Future for Shield<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            unreachable!("`shield` was polled after it had completed")
        };
        match future.poll(cx) {
            Poll::Pending => this.held.hold_current(),
            Poll::Ready(output) => {
                this.future.set(None); // before the task may be dropped
                *this.held = Held::default();
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    }
}

#[cfg(all(test, not(failfast_loom)))]
mod tests {
    use super::*;
    use std::future::{pending, poll_fn};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const TAG: Tag = Tag {
        group: std::ptr::null(),
        task: std::ptr::null(),
    };

    fn is_held(frame: &Frame) -> bool {
        frame.is_held(Waker::noop())
    }

    fn poll_in<F: Future + Unpin>(frame: &Frame, future: &mut F) -> Poll<F::Output> {
        let mut cx = task::Context::from_waker(Waker::noop());
        frame.enter(TAG, Lie::Hide, || Pin::new(future).poll(&mut cx))
    }

    type Forever = Pin<Box<Shield<std::future::Pending<()>>>>;

    fn forever() -> Forever {
        Box::pin(Shield::new(pending()))
    }

    #[test]
    fn it_holds_from_its_first_pending_poll_until_it_is_dropped() {
        let frame = Frame::new();
        let mut shield = forever();
        assert!(!is_held(&frame));
        assert!(poll_in(&frame, &mut shield).is_pending() && is_held(&frame));
        assert!(poll_in(&frame, &mut shield).is_pending() && is_held(&frame));
        drop(shield);
        assert!(!is_held(&frame));
    }

    #[test]
    fn ready_at_once_it_never_holds() {
        let frame = Frame::new();
        let mut shield = Box::pin(Shield::new(std::future::ready(1)));
        assert_eq!(poll_in(&frame, &mut shield), Poll::Ready(1));
        assert!(frame.holds.get().is_none(), "nothing was made for it");
    }

    #[test]
    fn ready_it_lets_go_of_the_task() {
        let frame = Frame::new();
        let mut polls = 0;
        let mut shield = Box::pin(Shield::new(poll_fn(|_| {
            polls += 1;
            if polls == 2 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })));
        assert!(poll_in(&frame, &mut shield).is_pending() && is_held(&frame));
        assert!(poll_in(&frame, &mut shield).is_ready() && !is_held(&frame));
    }

    #[test]
    fn polled_by_another_task_it_moves_and_wakes_the_first() {
        let (one, other) = (Frame::new(), Frame::new());
        let mut shield = forever();
        assert!(poll_in(&one, &mut shield).is_pending());
        let woken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        struct Count(Arc<std::sync::atomic::AtomicUsize>);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
        assert!(one.is_held(&Waker::from(Arc::new(Count(woken.clone())))));
        assert!(poll_in(&other, &mut shield).is_pending());
        assert!(!is_held(&one) && is_held(&other));
        assert_eq!(woken.load(std::sync::atomic::Ordering::SeqCst), 1);
    }

    /// Here it ends while the poller's waker is cloned. That one is woken once, or not at all, and not kept.
    #[test]
    fn ended_while_the_waker_is_registered_it_holds_no_more() {
        use std::sync::Mutex;
        use std::sync::atomic::{AtomicIsize, Ordering::SeqCst};
        use std::task::{RawWaker, RawWakerVTable};

        static SHIELD: Mutex<Option<Forever>> = Mutex::new(None);
        static WAKERS: AtomicIsize = AtomicIsize::new(1);
        static WAKES: AtomicIsize = AtomicIsize::new(0);
        fn clone(data: *const ()) -> RawWaker {
            WAKERS.fetch_add(1, SeqCst);
            drop(SHIELD.lock().unwrap().take());
            RawWaker::new(data, &TABLE)
        }
        fn wake(data: *const ()) {
            wake_by_ref(data);
            forget(data);
        }
        fn wake_by_ref(_: *const ()) {
            WAKES.fetch_add(1, SeqCst);
        }
        fn forget(_: *const ()) {
            WAKERS.fetch_sub(1, SeqCst);
        }
        static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, forget);

        let frame = Frame::new();
        let mut shield = forever();
        assert!(poll_in(&frame, &mut shield).is_pending() && is_held(&frame));
        *SHIELD.lock().unwrap() = Some(shield);
        // SAFETY: the functions use no data.
        let waker = unsafe { Waker::new(std::ptr::null(), &TABLE) };
        assert!(!frame.is_held(&waker));
        assert_eq!(WAKERS.load(SeqCst), 1, "none is kept");
        assert!(WAKES.load(SeqCst) <= 1);
    }

    #[test]
    fn in_place_it_holds_every_task_up_to_the_executors() {
        let (executors, hidden, inner, innermost) =
            (Frame::new(), Frame::new(), Frame::new(), Frame::new());
        let mut shield = forever();
        let mut cx = task::Context::from_waker(Waker::noop());
        hidden.enter(TAG, Lie::Hide, || {
            executors.enter(TAG, Lie::Hide, || {
                inner.enter(TAG, Lie::Below, || {
                    innermost.enter(TAG, Lie::Below, || {
                        assert!(shield.as_mut().poll(&mut cx).is_pending());
                    });
                });
            });
        });
        assert_eq!(
            [&executors, &hidden, &inner, &innermost].map(is_held),
            [true, false, true, true]
        );
        drop(shield);
        assert!(![&executors, &inner, &innermost].into_iter().any(is_held));
    }

    #[test]
    fn outside_of_a_task_it_does_nothing() {
        let mut shield = forever();
        let mut cx = task::Context::from_waker(Waker::noop());
        assert!(shield.as_mut().poll(&mut cx).is_pending());
        assert!(shield.held.first.is_none());
    }

    #[test]
    fn first_polled_in_the_last_poll_it_holds_and_later_it_does_not() {
        let frame = Frame::new();
        let mut last = forever();
        assert!(poll_in(&frame, &mut last).is_pending());
        frame.close();
        assert!(is_held(&frame));
        let mut late = forever();
        assert!(poll_in(&frame, &mut late).is_pending());
        assert!(poll_in(&frame, &mut last).is_pending() && is_held(&frame));
        drop(last);
        assert!(!is_held(&frame));
    }

    #[test]
    fn it_outlives_its_task() {
        let mut shield = forever();
        {
            let frame = Frame::new();
            assert!(poll_in(&frame, &mut shield).is_pending());
        }
        let other = Frame::new();
        assert!(poll_in(&other, &mut shield).is_pending() && is_held(&other));
    }

    #[test]
    fn a_panic_restores_the_frame_before() {
        let (outer, inner) = (Frame::new(), Frame::new());
        let task = std::ptr::from_ref(&outer).cast();
        let tag = Tag {
            group: std::ptr::null(),
            task,
        };
        outer.enter(tag, Lie::Hide, || {
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                inner.enter(TAG, Lie::Hide, || panic!("a task"));
            }));
            assert!(unwound.is_err());
            assert_eq!(find(|_, tag| Some(tag)), Some(tag));
        });
        assert_eq!(find(|_, tag| Some(tag)), None);
    }
}
