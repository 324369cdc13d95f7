//! An executor for one thread, whose wakers know on which thread they are used.

use crate::support::GENEROUS;
use failfast::LocalTask;
use futures::future::poll_fn;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::panic::panic_any;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{self, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// What a wake-up from another thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Elsewhere {
    Panics,
    Works,
}

/// What polls the executor's first future.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum First {
    /// A task like any other.
    Task,
    /// `block_on` itself, which ignores wake-ups from another thread.
    Deaf,
}

/// An executor for one thread.
#[derive(Clone)]
pub(crate) struct Bound {
    ready: Arc<Ready>,
    tasks: Rc<RefCell<BTreeMap<usize, Stored>>>,
    timers: Rc<RefCell<Vec<(Instant, Waker)>>>,
    next: Rc<Cell<usize>>,
}

type Stored = Pin<Box<dyn Future<Output = ()>>>;

struct Ready {
    home: ThreadId,
    elsewhere: Elsewhere,
    queue: Mutex<VecDeque<Arc<Entry>>>,
    arrived: Condvar,
    /// Wake-ups from other threads.
    foreign: AtomicUsize,
}

struct Entry {
    id: usize,
    deaf: bool,
    state: AtomicU8,
    ready: Arc<Ready>,
}

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const RUNNING_AND_WOKEN: u8 = 3;

impl Wake for Entry {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let foreign = thread::current().id() != self.ready.home;
        if foreign {
            self.ready.foreign.fetch_add(1, SeqCst);
            if self.deaf {
                return;
            }
        }
        if self.swap(RUNNING, RUNNING_AND_WOKEN) || self.state.load(SeqCst) != IDLE {
            return; // as every executor: it is polled anyway
        }
        if foreign && self.ready.elsewhere == Elsewhere::Panics {
            panic_any("woken on another thread");
        }
        if self.swap(IDLE, QUEUED) {
            self.ready.push(self.clone());
        }
    }
}

impl Entry {
    fn swap(&self, from: u8, to: u8) -> bool {
        self.state
            .compare_exchange(from, to, SeqCst, SeqCst)
            .is_ok()
    }
}

impl Ready {
    fn push(&self, entry: Arc<Entry>) {
        self.queue.lock().unwrap().push_back(entry);
        self.arrived.notify_all();
    }
}

/// All tasks are asleep, and nothing is there that could wake one.
#[derive(Debug, PartialEq)]
pub(crate) struct Stuck;

impl Bound {
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.spawn_as(false, future);
    }

    fn spawn_as(&self, deaf: bool, future: impl Future<Output = ()> + 'static) {
        let id = self.next.replace(self.next.get() + 1);
        self.tasks.borrow_mut().insert(id, Box::pin(future));
        self.ready.push(Arc::new(Entry {
            id,
            deaf,
            state: AtomicU8::new(QUEUED),
            ready: self.ready.clone(),
        }));
    }

    pub(crate) fn spawner(&self) -> impl Fn(LocalTask) + 'static + use<> {
        let executor = self.clone();
        move |task| executor.spawn(task)
    }

    /// The runtime's own timer.
    pub(crate) fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static + use<> {
        let (until, timers) = (Instant::now() + time, self.timers.clone());
        poll_fn(move |cx| {
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            timers.borrow_mut().push((until, cx.waker().clone()));
            Poll::Pending
        })
    }

    pub(crate) fn foreign(&self) -> usize {
        self.ready.foreign.load(SeqCst)
    }

    fn poll_next(&self) -> bool {
        let Some(entry) = self.ready.queue.lock().unwrap().pop_front() else {
            return false;
        };
        let Some(mut task) = self.tasks.borrow_mut().remove(&entry.id) else {
            return true;
        };
        entry.state.store(RUNNING, SeqCst);
        let waker = Waker::from(entry.clone());
        if task
            .as_mut()
            .poll(&mut task::Context::from_waker(&waker))
            .is_ready()
        {
            return true;
        }
        self.tasks.borrow_mut().insert(entry.id, task);
        if !entry.swap(RUNNING, IDLE) {
            entry.state.store(QUEUED, SeqCst);
            self.ready.push(entry);
        }
        true
    }

    /// Waits for what wakes a task. False if nothing will.
    fn park(&self) -> bool {
        let earliest = self.timers.borrow().iter().map(|(at, _)| *at).min();
        match (earliest, self.ready.elsewhere) {
            (None, Elsewhere::Panics) => return false,
            (earliest, _) => {
                let left = earliest.map(|at| at.saturating_duration_since(Instant::now()));
                let queue = self.ready.queue.lock().unwrap();
                let empty = |queue: &mut VecDeque<_>| queue.is_empty();
                let time = left.unwrap_or(GENEROUS);
                let woken = self.ready.arrived.wait_timeout_while(queue, time, empty);
                assert!(left.is_some() || !woken.unwrap().1.timed_out(), "hangs");
            }
        }
        let now = Instant::now();
        let (due, later) = self
            .timers
            .take()
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.timers.replace(later);
        let due: Vec<(Instant, Waker)> = due;
        due.into_iter().for_each(|(_, waker)| waker.wake());
        true
    }
}

/// Runs a future and what it spawns, on a thread of its own, because what is known of wakers is known to a thread.
pub(crate) fn run<T, F>(
    elsewhere: Elsewhere,
    first: First,
    main: impl FnOnce(Bound) -> F + Send + 'static,
) -> Result<T, Stuck>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let thread = thread::spawn(move || run_here(elsewhere, first, main));
    thread.join().expect("no panic")
}

pub(crate) fn run_here<T: 'static, F>(
    elsewhere: Elsewhere,
    first: First,
    main: impl FnOnce(Bound) -> F,
) -> Result<T, Stuck>
where
    F: Future<Output = T> + 'static,
{
    let executor = Bound {
        ready: Arc::new(Ready {
            home: thread::current().id(),
            elsewhere,
            queue: Mutex::default(),
            arrived: Condvar::new(),
            foreign: AtomicUsize::new(0),
        }),
        tasks: Rc::default(),
        timers: Rc::default(),
        next: Rc::default(),
    };
    let output = Rc::new(RefCell::new(None));
    let (place, main) = (output.clone(), main(executor.clone()));
    executor.spawn_as(first == First::Deaf, async move {
        let value = main.await;
        *place.borrow_mut() = Some(value);
    });
    while output.borrow().is_none() {
        if !executor.poll_next() && !executor.park() {
            return Err(Stuck);
        }
    }
    let left = executor.tasks.take();
    drop(left);
    let output = output.take();
    Ok(output.expect("it is through"))
}
