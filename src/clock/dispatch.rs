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
                queue.spare -= 1;
                return None;
            }
            let taken = queue.taken;
            queue = self.watch(queue, taken);
            // The busy ones are getting on: not this thread's turn.
            if queue.busy > 0 && queue.taken != taken {
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
    fn is_stuck(&self, taken: u64) -> bool {
        self.busy > 0 && self.taken == taken && !self.waiting.is_empty()
    }

    /// Makes a spare thread a busy one, if there is work.
    fn begin(&mut self) -> Option<Waker> {
        let waker = self.take()?;
        self.spare -= 1;
        self.busy += 1;
        Some(waker)
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
