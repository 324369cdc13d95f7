//! The threads that run foreign code, so that the one that keeps the time, or one
//! that holds locks of an executor's, needn't.
//!
//! A waker may poll a whole task, block, or panic. One thread runs the jobs in
//! order. While more are waiting, a spare one watches it, and steps in where the
//! first is stuck.
//!
//! 1. Each thread is either busy with a job or spare, and counted so.
//! 2. While jobs wait, a spare thread watches, or no more can be had. Then the
//!    busy ones take what waits as they get through; if there are none at all,
//!    the thread that brought the job runs it.
//! 3. A spare thread leaves only when no job waits.
//!
//! A forked child has a dispatcher of its own: `system.rs`, invariant 5.

use crate::unwind;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Duration;

/// How long a job may take before the next ones get another thread.
const PATIENCE: Duration = Duration::from_millis(1);

/// How long a thread waits for more to do.
const IDLE: Duration = Duration::from_secs(5);

/// At most so many threads: more are not started for jobs that block.
const MOST: usize = 64;

/// So few places in the queue are not worth giving back.
const SMALL: usize = 64;

/// Foreign code for which no caller waits.
pub(super) enum Job {
    Wake(Waker),
    #[cfg_attr(
        failfast_loom,
        allow(dead_code, reason = "models have no executor to spare")
    )]
    Call(Box<dyn FnOnce() + Send>),
}

impl Job {
    fn run(self) {
        match self {
            Job::Wake(waker) => unwind::wake(waker),
            Job::Call(work) => unwind::shield("a callback", work),
        }
    }
}

pub(super) struct Dispatcher {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    busy: usize,
    spare: usize,
    /// How many jobs were ever taken: whether a busy thread gets on.
    taken: u64,
}

impl Dispatcher {
    pub(super) fn new() -> Self {
        Dispatcher {
            queue: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    /// Has `wakers` woken, by this thread only if there is no
    /// other.
    pub(super) fn hand_over(&'static self, wakers: Vec<Waker>) {
        self.run(wakers.into_iter().map(Job::Wake));
    }

    /// Has `jobs` run, by this thread only if there is no
    /// other. Never waits for one.
    pub(super) fn run(&'static self, jobs: impl ExactSizeIterator<Item = Job>) {
        if jobs.len() == 0 {
            return;
        }
        let mut queue = self.lock();
        let watched = !queue.waiting.is_empty() && queue.spare > 0;
        queue.waiting.extend(jobs);
        // Invariant 2: the thread that watches what waits watches these, too.
        if !watched && !self.provide_spare(queue) {
            self.run_here();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps invariant 2. False if there is no thread at all.
    fn provide_spare(&'static self, mut queue: MutexGuard<'_, Queue>) -> bool {
        if queue.spare > 0 {
            drop(queue);
            self.arrived.notify_one();
            return true;
        }
        if queue.busy >= MOST {
            return true;
        }
        queue.spare += 1;
        drop(queue);
        self.start() || self.lock().renounce()
    }

    fn start(&'static self) -> bool {
        let thread = thread::Builder::new().name("failfast-timer".to_owned());
        thread.spawn(|| self.serve()).is_ok()
    }

    fn run_here(&self) {
        while let Some(job) = self.take() {
            job.run();
        }
    }

    fn take(&self) -> Option<Job> {
        self.lock().take()
    }

    /// A thread's life. It begins as a spare one.
    fn serve(&'static self) {
        unwind::mark_as_ours();
        while let Some(first) = self.wait_for_turn() {
            self.work(first);
        }
    }

    fn work(&'static self, first: Job) {
        let queue = self.lock();
        if !queue.waiting.is_empty() {
            // Should no thread be had, the rest has to wait for this one.
            self.provide_spare(queue);
        } else {
            drop(queue);
        }
        let mut next = Some(first);
        while let Some(job) = next {
            job.run();
            next = self.lock().go_on();
        }
    }

    /// `None` when there was nothing to do for long.
    fn wait_for_turn(&self) -> Option<Job> {
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
            if let Some(job) = queue.begin() {
                return Some(job);
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
    /// Whether jobs wait for busy threads that have taken none since `taken`.
    fn is_stuck(&self, taken: u64) -> bool {
        self.busy > 0 && self.taken == taken && !self.waiting.is_empty()
    }

    /// Whether busy threads have taken a job since `taken`.
    fn is_getting_on(&self, taken: u64) -> bool {
        self.busy > 0 && self.taken != taken
    }

    /// Makes a spare thread a busy one, if there is work.
    fn begin(&mut self) -> Option<Job> {
        let job = self.take()?;
        self.spare -= 1;
        self.busy += 1;
        Some(job)
    }

    /// A spare thread leaves.
    fn retire(&mut self) {
        self.spare -= 1;
    }

    /// More for a busy thread, or else it is a spare one from now on.
    fn go_on(&mut self) -> Option<Job> {
        let job = self.take();
        if job.is_none() {
            self.busy -= 1;
            self.spare += 1;
        }
        job
    }

    fn take(&mut self) -> Option<Job> {
        let job = self.waiting.pop_front()?;
        self.taken += 1;
        self.shrink();
        Some(job)
    }

    /// No thread could be started. Whether there is another.
    fn renounce(&mut self) -> bool {
        self.spare -= 1;
        self.spare + self.busy > 0
    }

    fn shrink(&mut self) {
        let capacity = self.waiting.capacity();
        if capacity > SMALL && self.waiting.len() < capacity / 4 {
            self.waiting.shrink_to(capacity / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
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

    /// A waker that reports on which thread it runs.
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

    /// Waits until no thread is busy, and returns how many are spare.
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
            waiting: (0..waiting)
                .map(|_| Job::Wake(Waker::noop().clone()))
                .collect(),
            busy,
            spare,
            taken: 7,
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
    fn no_more_threads_than_the_most_however_many_block() {
        let dispatcher = dispatcher();
        let (blocks, told): (Vec<_>, _) = ((0..MOST + 5).map(|_| blocking()).collect(), telling());
        let (releases, mut wakers): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
        wakers.push(told.1);
        dispatcher.hand_over(wakers);
        while dispatcher.lock().busy < MOST {
            thread::yield_now();
        }
        assert_eq!(dispatcher.lock().spare, 0);
        dispatcher.hand_over(vec![Waker::noop().clone()]);
        assert!(told.0.try_recv().is_err(), "nobody is left to run it");
        drop(releases);
        told.0.recv_timeout(GENEROUS).unwrap();
        assert_eq!(at_rest(dispatcher), MOST);
    }

    #[test]
    fn ten_thousand_calls_start_a_handful_of_threads() {
        let dispatcher = dispatcher();
        let (sender, told) = mpsc::channel();
        for _ in 0..10_000 {
            let sender = sender.clone();
            let tell = move || sender.send(thread::current().id()).unwrap();
            dispatcher.run([Job::Call(Box::new(tell))].into_iter());
        }
        drop(sender);
        let threads: HashSet<ThreadId> = told.iter().collect();
        assert!(!threads.contains(&thread::current().id()));
        let started = at_rest(dispatcher);
        assert!(threads.len() <= started && started <= 5, "{started}");
        assert!(dispatcher.lock().waiting.capacity() <= SMALL * 2);
    }

    #[test]
    fn a_call_returns_while_its_job_is_stuck() {
        let dispatcher = dispatcher();
        let (release, gate) = mpsc::channel::<()>();
        let (done, told) = mpsc::channel();
        let stuck = move || done.send(gate.recv_timeout(GENEROUS)).unwrap();
        dispatcher.run([Job::Call(Box::new(stuck))].into_iter());
        release.send(()).unwrap();
        assert_eq!(told.recv_timeout(GENEROUS), Ok(Ok(())));
    }

    #[test]
    fn a_job_that_panics_takes_no_thread_along() {
        let (dispatcher, (told, waker)) = (dispatcher(), telling());
        dispatcher.run([Job::Call(Box::new(|| panic!("job")))].into_iter());
        dispatcher.hand_over(vec![waker]);
        told.recv_timeout(GENEROUS).unwrap();
        at_rest(dispatcher);
    }

    #[test]
    fn without_a_thread_who_is_left_takes_over() {
        let mut queue = queue(0, 1, 1);
        assert!(!queue.renounce(), "the caller");
        queue.busy = 1;
        queue.spare = 1;
        assert!(queue.renounce(), "the busy one");
    }
}
