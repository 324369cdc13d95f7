//! The threads that run wakers, so that the one that keeps the time needn't.
//!
//! A waker is foreign code: it may poll a whole task, block, or panic. One
//! thread runs them in order. While more are waiting, a spare one watches it,
//! and steps in where the first is stuck.
//!
//! 1. Each thread is either busy with a waker or spare, and counted so.
//! 2. While wakers wait, a spare thread watches, or none can be had.
//! 3. A spare thread leaves only when no waker waits.

use super::foreign;
use std::collections::VecDeque;
use std::process;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Duration;

/// How long a waker may take before the next ones get another thread.
const PATIENCE: Duration = Duration::from_millis(1);

/// How long a thread waits for more to do.
const IDLE: Duration = Duration::from_secs(5);

pub(super) struct Dispatcher {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

struct Queue {
    waiting: VecDeque<Waker>,
    busy: usize,
    spare: usize,
    /// How many wakers were ever taken: whether a busy thread gets on.
    taken: u64,
    /// A forked child has none of its parent's threads.
    process: u32,
}

impl Dispatcher {
    pub(super) fn new() -> Self {
        Dispatcher {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                busy: 0,
                spare: 0,
                taken: 0,
                process: process::id(),
            }),
            arrived: Condvar::new(),
        }
    }

    /// Sees to it that `wakers` are woken, by this thread only if there is no
    /// other way.
    pub(super) fn hand_over(&'static self, wakers: Vec<Waker>) {
        if wakers.is_empty() {
            return;
        }
        let mut queue = self.lock();
        queue.notice_fork();
        queue.waiting.extend(wakers);
        if !self.provide_spare(queue) {
            self.wake_here();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps invariant 2. False if no thread can be had.
    fn provide_spare(&'static self, mut queue: MutexGuard<'_, Queue>) -> bool {
        if queue.spare > 0 {
            self.arrived.notify_one();
            return true;
        }
        queue.spare += 1;
        drop(queue);
        let started = self.start();
        if !started {
            self.lock().spare -= 1;
        }
        started
    }

    fn start(&'static self) -> bool {
        let thread = thread::Builder::new().name("failfast-timer".to_owned());
        thread.spawn(|| self.serve()).is_ok()
    }

    fn wake_here(&self) {
        while let Some(waker) = self.take() {
            foreign::wake(waker);
        }
    }

    fn take(&self) -> Option<Waker> {
        self.lock().take()
    }

    /// A thread's life. It begins as a spare one.
    fn serve(&'static self) {
        while let Some(first) = self.wait_for_turn() {
            self.work(first);
        }
    }

    fn work(&'static self, first: Waker) {
        let queue = self.lock();
        if !queue.waiting.is_empty() {
            // Should no thread be had, the rest has to wait for this one.
            self.provide_spare(queue);
        } else {
            drop(queue);
        }
        let mut next = Some(first);
        while let Some(waker) = next {
            foreign::wake(waker);
            next = self.lock().go_on();
        }
    }

    /// `None` when there was nothing to do for long.
    fn wait_for_turn(&self) -> Option<Waker> {
        let mut queue = self.lock();
        loop {
            queue = self.wait_for_work(queue);
            if queue.waiting.is_empty() {
                queue.retire();
                return None;
            }
            let taken = queue.taken;
            queue = self.watch(queue, taken);
            // The busy ones are getting on: not this thread's turn.
            if queue.is_getting_on(taken) {
                continue;
            }
            if let Some(waker) = queue.begin() {
                return Some(waker);
            }
        }
    }

    fn wait_for_work<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let idle = |queue: &mut Queue| queue.waiting.is_empty();
        let woken = self.arrived.wait_timeout_while(queue, IDLE, idle);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits while the busy threads have made no progress since `taken`.
    fn watch<'a>(&self, queue: MutexGuard<'a, Queue>, taken: u64) -> MutexGuard<'a, Queue> {
        let stuck = |queue: &mut Queue| queue.is_stuck(taken);
        let woken = self.arrived.wait_timeout_while(queue, PATIENCE, stuck);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Queue {
    /// Whether wakers wait for busy threads that have taken none since `taken`.
    fn is_stuck(&self, taken: u64) -> bool {
        self.busy > 0 && self.taken == taken && !self.waiting.is_empty()
    }

    /// Whether busy threads have taken a waker since `taken`.
    fn is_getting_on(&self, taken: u64) -> bool {
        self.busy > 0 && self.taken != taken
    }

    /// Makes a spare thread a busy one, if there is work.
    fn begin(&mut self) -> Option<Waker> {
        let waker = self.take()?;
        self.spare -= 1;
        self.busy += 1;
        Some(waker)
    }

    /// A spare thread leaves.
    fn retire(&mut self) {
        self.spare -= 1;
    }

    /// More for a busy thread, or else it is a spare one from now on.
    fn go_on(&mut self) -> Option<Waker> {
        let waker = self.take();
        if waker.is_none() {
            self.busy -= 1;
            self.spare += 1;
        }
        waker
    }

    fn take(&mut self) -> Option<Waker> {
        let waker = self.waiting.pop_front()?;
        self.taken += 1;
        Some(waker)
    }

    fn notice_fork(&mut self) {
        let process = process::id();
        if self.process != process {
            self.process = process;
            self.busy = 0;
            self.spare = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::{self, Receiver, Sender};
    use std::task::Wake;
    use std::thread::ThreadId;

    const GENEROUS: Duration = Duration::from_secs(60);

    struct Act<F>(F);

    impl<F: Fn() + Send + Sync + 'static> Wake for Act<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }

    fn waker(act: impl Fn() + Send + Sync + 'static) -> Waker {
        Waker::from(Arc::new(Act(act)))
    }

    /// A waker that tells on which thread it runs.
    fn telling() -> (Receiver<ThreadId>, Waker) {
        let (sender, receiver) = mpsc::channel();
        let tell = move || sender.send(thread::current().id()).unwrap();
        (receiver, waker(tell))
    }

    /// A waker that blocks until it is released.
    fn blocking() -> (Sender<()>, Waker) {
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let block = move || gate.lock().unwrap().recv_timeout(GENEROUS).unwrap_or(());
        (release, waker(block))
    }

    fn dispatcher() -> &'static Dispatcher {
        Box::leak(Box::new(Dispatcher::new()))
    }

    /// Waits until no thread is busy, and says how many are spare.
    fn at_rest(dispatcher: &Dispatcher) -> usize {
        loop {
            let queue = dispatcher.lock();
            if queue.busy == 0 && queue.waiting.is_empty() {
                return queue.spare;
            }
            drop(queue);
            thread::yield_now();
        }
    }

    #[test]
    fn one_thread_runs_what_comes_one_after_the_other() {
        let (dispatcher, (told, waker)) = (dispatcher(), telling());
        dispatcher.hand_over(vec![waker.clone()]);
        let first = told.recv_timeout(GENEROUS).unwrap();
        assert_eq!(at_rest(dispatcher), 1);
        dispatcher.hand_over(vec![waker]);
        assert_eq!(told.recv_timeout(GENEROUS), Ok(first));
        assert_eq!(at_rest(dispatcher), 1);
    }

    #[test]
    fn another_steps_in_where_the_first_is_stuck() {
        let (dispatcher, (told, waker)) = (dispatcher(), telling());
        let (release, blocks) = blocking();
        dispatcher.hand_over(vec![blocks, waker]);
        told.recv_timeout(GENEROUS / 2)
            .expect("not behind the blocked one");
        drop(release);
        assert_eq!(at_rest(dispatcher), 2);
    }

    fn queue(busy: usize, spare: usize, waiting: usize) -> Queue {
        Queue {
            waiting: (0..waiting).map(|_| Waker::noop().clone()).collect(),
            busy,
            spare,
            taken: 7,
            process: process::id(),
        }
    }

    #[test]
    fn stuck_while_the_busy_take_nothing_of_what_waits() {
        assert!(queue(1, 1, 1).is_stuck(7));
        assert!(!queue(0, 1, 1).is_stuck(7), "nobody is at it");
        assert!(!queue(1, 1, 1).is_stuck(6), "one was taken");
        assert!(!queue(1, 1, 0).is_stuck(7), "nothing is to be done");
        assert!(queue(1, 1, 1).is_getting_on(6));
        assert!(!queue(1, 1, 1).is_getting_on(7));
        assert!(!queue(0, 1, 1).is_getting_on(6));
    }

    #[test]
    fn a_spare_thread_is_busy_from_its_first_waker_to_its_last() {
        let mut queue = queue(3, 2, 2);
        assert!(queue.begin().is_some());
        assert_eq!((queue.busy, queue.spare, queue.taken), (4, 1, 8));
        assert!(queue.go_on().is_some());
        assert_eq!((queue.busy, queue.spare, queue.taken), (4, 1, 9));
        assert!(queue.go_on().is_none());
        assert_eq!((queue.busy, queue.spare, queue.taken), (3, 2, 9));
        assert!(queue.begin().is_none());
        assert_eq!((queue.busy, queue.spare, queue.taken), (3, 2, 9));
        queue.retire();
        assert_eq!((queue.busy, queue.spare), (3, 1));
    }

    #[test]
    fn a_forked_child_has_no_threads() {
        let mut queue = queue(3, 2, 1);
        queue.notice_fork();
        assert_eq!((queue.busy, queue.spare), (3, 2));
        queue.process = 0; // nobody's, that can fork
        queue.notice_fork();
        assert_eq!((queue.busy, queue.spare), (0, 0));
        queue.notice_fork();
        assert_eq!((queue.process, queue.waiting.len()), (process::id(), 1));
    }
}
