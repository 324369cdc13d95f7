//! Results of their own type: a task whose result is awaited by itself.

use super::cell::Header;
use super::complete::By;
use super::engine::Engine;
use super::executor::Lent;
use super::keep::{Deliver, Keep, Recorded};
use super::scope::Scope;
use super::state::State;
use crate::context::{Node, shield};
use crate::error::{End, Error};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::unwind;
use futures::task::AtomicWaker;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

/// The result of one task of a group, to be awaited: see [`Group::fork`](crate::Group::fork).
///
/// Gives the task's own result, or its failure as an [`Error`], or why the group ended before. Dropping it leaves the
/// task running; [`cancel`](Self::cancel) ends the task and not the group. A task that has finished keeps its answer
/// here after the group's end.
///
/// While a task of the same group waits for a fork, it does not count against the group's limit, so that a task may
/// wait for its own children at any limit. This is not seen where a task of another group waits for the fork on an
/// executor, or a foreign task, or a second task through `Shared`.
///
/// # Cancel safety
///
/// Awaiting it by reference is safe: nothing is lost.
///
/// # Panics
///
/// If it is polled again after it was ready.
///
/// # Errors
///
/// What the task failed with, under its name; kind [`Canceled`](crate::ErrorKind::Canceled) or
/// [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded) if the task was canceled.
///
/// # Examples
///
/// ```
/// use failfast::{ErrorKind, Group};
///
/// # smol::block_on(async {
/// let group = Group::<()>::new(smol::spawn);
/// let name = group.fork("profile", async { Ok::<_, &str>("Alice") });
/// let ads = group.fork("ads", async { Ok::<(), &str>(std::future::pending().await) });
/// let line = group.run(async {
///     let name = name.await?;
///     ads.cancel();
///     assert_eq!(ads.await.unwrap_err().kind(), ErrorKind::Canceled);
///     Ok(name)
/// });
/// assert_eq!(line.await.unwrap(), "Alice");
/// # });
/// ```
#[must_use = "the result is lost; to run a task for its failure alone, use `spawn`"]
pub struct Fork<U> {
    slot: Arc<Slot<U>>,
    /// The task that waits for this fork, and so does not count against the limit.
    waiting: Option<Waiting>,
}

impl<U> Unpin for Fork<U> {}

/// What the task and its fork share. It outlives both, and the group.
struct Slot<U> {
    /// The address of the group's node: while the answer is pending, no other group's.
    group: usize,
    /// The number of the task of the same group that waits for the fork, or `NOBODY`, or `DONE`. Changed under the
    /// group's lock alone.
    waiting: AtomicU64,
    answer: Mutex<Answer<U>>,
    /// Wakes the task that awaits the fork.
    waiter: AtomicWaker,
    /// Wakes the task, to see that it is canceled.
    task: AtomicWaker,
    canceled: AtomicBool,
}

/// No task of the group waits for the fork.
const NOBODY: u64 = u64::MAX;
/// The fork's own task has ended, so no task waits for it any more.
const DONE: u64 = u64::MAX - 1;

enum Answer<U> {
    Pending,
    Ready(Result<U, Error>),
    Taken,
}

/// A task of the fork's own group that waits for it.
struct Waiting {
    group: Arc<Node<Engine>>,
    number: u64,
}

/// The task's end of the slot: hands the outcome to the fork.
pub(super) struct Forked<U>(Arc<Slot<U>>);

/// An answer on its way to the fork.
pub(super) struct Answering<U> {
    slot: Arc<Slot<U>>,
    answer: Result<U, Error>,
}

// SAFETY: the store is not touched.
#[allow(unsafe_code, reason = "see `keep`")]
unsafe impl<U> Keep for Forked<U> {
    type Value = U;
    type Delivery = Answering<U>;

    fn is_dismissed(&self, cx: &task::Context<'_>) -> bool {
        self.0.task.register(cx.waker()); // before the look, because `cancel` writes first and then wakes
        // Acquire: pairs with `cancel`, so the task's end sees what was done before the cancel.
        self.0.canceled.load(Ordering::Acquire)
    }

    unsafe fn record(
        self,
        state: &mut State,
        task: &Recorded<'_>,
        ended: Result<U, Option<Error>>,
    ) -> Answering<U> {
        // The waiting task counts again at once, because otherwise another could start in the slot that this task
        // leaves. Relaxed, because `waiting` is changed under the group's lock alone, which is held here.
        let waiting = self.0.waiting.swap(DONE, Ordering::Relaxed);
        if waiting != NOBODY {
            state.limit.take_back(waiting);
        }
        let canceled =
            |error: Option<Error>| error.unwrap_or_else(|| end_of(task.node, task.dismissed));
        Answering {
            answer: ended.map_err(canceled),
            slot: self.0,
        }
    }

    fn refuse(self, node: &Node<Engine>) {
        let answer = Err(end_of(node, false));
        let waiter = Answering {
            slot: self.0,
            answer,
        }
        .deliver();
        waiter.into_iter().for_each(unwind::wake);
    }
}

/// Why a task ended without an outcome: its fork was canceled, or its group has ended.
fn end_of(node: &Node<Engine>, dismissed: bool) -> Error {
    let end = match node.end() {
        Some(end) if !dismissed => end,
        _ => End::canceled_by("its fork was canceled".into(), node.origin()),
    };
    Error::ended(end.error(), Vec::new())
}

impl<U> Deliver for Answering<U> {
    fn is_due(&self) -> bool {
        true
    }

    fn deliver(self) -> Option<Waker> {
        let Self { slot, answer } = self;
        let unwanted = {
            let mut known = slot.answer.lock();
            match *known {
                Answer::Pending => {
                    *known = Answer::Ready(answer);
                    None
                }
                _ => Some(answer), // the fork has been dropped
            }
        };
        let waiter = slot.waiter.take();
        unwind::discard(unwanted);
        // The task's waker, of no use any more, and perhaps the last of the answer.
        unwind::discard(slot.task.take());
        unwind::discard(slot);
        waiter
    }
}

impl<U> Slot<U> {
    fn take(&self) -> Option<Result<U, Error>> {
        let mut answer = self.answer.lock();
        match std::mem::replace(&mut *answer, Answer::Taken) {
            Answer::Ready(result) => Some(result),
            Answer::Pending => {
                *answer = Answer::Pending;
                None
            }
            Answer::Taken => {
                drop(answer);
                panic!("a fork was polled after it had given its answer")
            }
        }
    }
}

impl<U> Fork<U> {
    pub(super) fn new(scope: &Scope) -> (Self, Forked<U>) {
        let slot = Arc::new(Slot {
            group: scope.shared().address() as usize,
            waiting: AtomicU64::new(NOBODY),
            answer: Mutex::new(Answer::Pending),
            waiter: AtomicWaker::new(),
            task: AtomicWaker::new(),
            canceled: AtomicBool::new(false),
        });
        let fork = Self {
            slot: slot.clone(),
            waiting: None,
        };
        (fork, Forked(slot))
    }

    /// Ends the task, and not its group: the fork gives kind [`Canceled`](crate::ErrorKind::Canceled), unless the task
    /// had finished. A shield in the task puts it off.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// # futures::executor::block_on(async {
    /// let group = InPlaceGroup::<()>::new(&Context::background());
    /// let slow = group.fork("slow", async { Ok::<(), &str>(std::future::pending().await) });
    /// slow.cancel();
    /// assert!(group.wait().await.is_ok());
    /// assert!(slow.await.unwrap_err().is_canceled());
    /// # });
    /// ```
    pub fn cancel(&self) {
        // Release, and before the wake, because the task registers its waker first and then reads the flag.
        self.slot.canceled.store(true, Ordering::Release);
        if let Some(task) = self.slot.task.take() {
            unwind::wake(task);
        }
    }

    /// The task that polls the fork, if it is one of the fork's own group, does not count while it waits.
    fn lend(&mut self, group: *const ()) {
        let waiting =
            shield::find(|_, tag| (tag.group == group).then(|| Waiting::of(tag)).flatten());
        let number = |waiting: &Option<Waiting>| waiting.as_ref().map(|waiting| waiting.number);
        if number(&waiting) == number(&self.waiting) {
            return;
        }
        self.take_back();
        if let Some(waiting) = waiting.filter(|waiting| waiting.lend(&self.slot.waiting)) {
            // Kept before anything is started, which may panic: then the drop of the fork takes the slot back.
            let group = self.waiting.insert(waiting).group.clone();
            Waiting::serve(&group);
        }
    }

    /// Ends the wait for the fork: the task that waited counts again, at once.
    fn take_back(&mut self) {
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        let mut state = waiting.group.kind.lock();
        // Relaxed, here and in `lend`, because the group's lock orders all accesses.
        let number = self.slot.waiting.load(Ordering::Relaxed);
        if number == waiting.number {
            self.slot.waiting.store(NOBODY, Ordering::Relaxed);
            state.limit.take_back(number);
        }
    }
}

impl Waiting {
    /// The task of a frame that is being polled on this thread.
    #[allow(unsafe_code, reason = "the frame of a task that is being polled")]
    fn of(tag: shield::Tag) -> Option<Self> {
        if tag.task.is_null() {
            return None; // the body, which has no slot
        }
        // SAFETY: a group's tags hold the addresses of cells. This one is being polled, so it is a member, and alive.
        unsafe {
            let header = &*tag.task.cast::<Header>();
            (!header.background).then(|| Self {
                group: header.shared().counted(),
                number: header.number,
            })
        }
    }

    /// False if the fork's own task has ended meanwhile.
    fn lend(&self, waiting: &AtomicU64) -> bool {
        let engine = &self.group.kind;
        {
            // One lock for the look and the change, because the fork's task may end at any time and sets `DONE` under it.
            let mut state = engine.lock();
            if waiting.load(Ordering::Relaxed) == DONE {
                return false;
            }
            waiting.store(self.number, Ordering::Relaxed);
            state.limit.lend(self.number);
        }
        true
    }

    /// Starts other tasks in the slot that was lent.
    fn serve(group: &Node<Engine>) {
        let engine = &group.kind;
        let launch = engine.launcher();
        engine.serve_queue(group, launch.as_ref().map(Lent::get), By::Group);
        let next = {
            let mut state = engine.lock();
            if state.limit.is_full() {
                None
            } else {
                state.limit.call_first()
            }
        };
        next.into_iter().for_each(unwind::wake);
    }
}

impl<U> Future for Fork<U> {
    type Output = Result<U, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        self.slot.waiter.register(cx.waker());
        let answer = self.slot.take();
        match answer {
            Some(answer) => {
                self.take_back();
                Poll::Ready(answer)
            }
            None => {
                let group = self.slot.group as *const ();
                self.lend(group);
                Poll::Pending
            }
        }
    }
}

impl<U> Drop for Fork<U> {
    fn drop(&mut self) {
        self.take_back();
        unwind::discard(self.slot.waiter.take());
        // Contained, because the code that drops a fork does not expect a panic of the answer's destructor.
        let answer = std::mem::replace(&mut *self.slot.answer.lock(), Answer::Taken);
        unwind::discard(answer);
    }
}

impl<U> fmt::Debug for Fork<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = !matches!(*self.slot.answer.lock(), Answer::Pending);
        f.debug_struct("Fork").field("ready", &ready).finish()
    }
}
