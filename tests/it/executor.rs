//! What several test modules share: an executor whose every turn the test takes itself, a future that is
//! polled by hand, and counters of what is alive.

use crate::support::eventually;
use failfast::{Group, LocalTask, Spawn, Task};
use futures::channel::oneshot;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

/// Counts its wake-ups.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Count {
    pub(crate) fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// A waker that runs a function.
pub(crate) fn on_wake(action: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Run<F>(F);
    impl<F: Fn() + Send + Sync + 'static> Wake for Run<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Waker::from(Arc::new(Run(action)))
}

/// A single-threaded executor, deterministic: tasks are polled by the test, in its order.
pub(crate) struct Manual<M = Task> {
    tasks: Rc<RefCell<Vec<Slot<M>>>>,
    /// Whether a task was dropped before it had ended.
    lost: Cell<bool>,
    woken: Arc<Mutex<VecDeque<usize>>>,
}

/// [`Manual`], as a spawner that a `Send` group's tasks may hold a handle to.
pub(crate) struct Shared<M = Task> {
    inbox: Arc<Mutex<Vec<M>>>,
}

struct Slot<M> {
    task: Option<M>,
    bell: Arc<Bell>,
    polls: usize,
}

struct Bell {
    index: usize,
    rung: AtomicBool,
    wakes: AtomicUsize,
    woken: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, SeqCst);
        if !self.rung.swap(true, SeqCst) {
            self.woken.lock().unwrap().push_back(self.index);
        }
    }
}

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Self {
            inbox: self.inbox.clone(),
        }
    }
}

impl<M> Spawn<M> for Shared<M> {
    type Handle = ();

    fn spawn(&self, task: M) {
        self.inbox.lock().unwrap().push(task);
    }
}

/// The executor, and what to give to groups as their spawner.
pub(crate) struct Executor<M = Task> {
    manual: Manual<M>,
    shared: Shared<M>,
}

pub(crate) type LocalExecutor = Executor<LocalTask>;

impl<M: Future<Output = ()> + Unpin> Executor<M> {
    pub(crate) fn new() -> Self {
        Self {
            manual: Manual {
                tasks: Rc::default(),
                lost: Cell::new(false),
                woken: Arc::default(),
            },
            shared: Shared {
                inbox: Arc::default(),
            },
        }
    }

    pub(crate) fn spawner(&self) -> Shared<M> {
        self.shared.clone()
    }

    /// Takes in what has been spawned: new tasks count as woken.
    fn collect(&self) {
        let new = std::mem::take(&mut *self.shared.inbox.lock().unwrap());
        for task in new {
            let mut tasks = self.manual.tasks.borrow_mut();
            let bell = Arc::new(Bell {
                index: tasks.len(),
                rung: AtomicBool::new(true),
                wakes: AtomicUsize::new(0),
                woken: self.manual.woken.clone(),
            });
            self.manual.woken.lock().unwrap().push_back(tasks.len());
            tasks.push(Slot {
                task: Some(task),
                bell,
                polls: 0,
            });
        }
    }

    /// Polls the task, woken or not. Whether it has ended.
    pub(crate) fn poll(&self, index: usize) -> bool {
        self.collect();
        let (task, bell) = {
            let mut tasks = self.manual.tasks.borrow_mut();
            let slot = &mut tasks[index];
            slot.polls += usize::from(slot.task.is_some());
            (slot.task.take(), slot.bell.clone())
        };
        self.manual
            .woken
            .lock()
            .unwrap()
            .retain(|woken| *woken != index);
        bell.rung.store(false, SeqCst);
        let Some(mut task) = task else { return true };
        let waker = Waker::from(bell);
        let pending = Pin::new(&mut task)
            .poll(&mut Context::from_waker(&waker))
            .is_pending();
        if pending {
            self.manual.tasks.borrow_mut()[index].task = Some(task);
        }
        !pending
    }

    /// The tasks that have been woken and not polled since, in that order.
    pub(crate) fn woken(&self) -> Vec<usize> {
        self.collect();
        let tasks = self.manual.tasks.borrow();
        let mut woken = self.manual.woken.lock().unwrap();
        woken.retain(|index| tasks[*index].task.is_some());
        woken.iter().copied().collect()
    }

    /// Polls the first task that was woken. False if there was none.
    pub(crate) fn step(&self) -> bool {
        let first = self.woken().first().copied();
        first.map(|index| self.poll(index)).is_some()
    }

    /// Polls woken tasks until there are none.
    pub(crate) fn run(&self) {
        while self.step() {}
    }

    /// Polls woken tasks, the last first, until there are none.
    pub(crate) fn run_backwards(&self) {
        while let Some(last) = self.woken().pop() {
            self.poll(last);
        }
    }

    /// Drops the task, as an executor does that is shut down. What that wakes is woken from another thread, a little
    /// later.
    pub(crate) fn lose(&self, index: usize) {
        self.collect();
        let task = self.manual.tasks.borrow_mut()[index].task.take();
        self.manual.lost.set(true);
        drop(task);
        settle_losses();
    }

    /// How many tasks there have been.
    pub(crate) fn spawned(&self) -> usize {
        self.collect();
        self.manual.tasks.borrow().len()
    }

    /// Which tasks the executor still has.
    pub(crate) fn alive(&self) -> Vec<usize> {
        self.collect();
        let tasks = self.manual.tasks.borrow();
        let alive = (0..)
            .zip(tasks.iter())
            .filter(|(_, slot)| slot.task.is_some());
        alive.map(|(index, _)| index).collect()
    }

    pub(crate) fn polls(&self, index: usize) -> usize {
        self.collect();
        self.manual.tasks.borrow()[index].polls
    }

    /// How often the task has been woken, its start not counted.
    pub(crate) fn wakes(&self, index: usize) -> usize {
        self.collect();
        self.manual.tasks.borrow()[index].bell.wakes.load(SeqCst)
    }

    /// Runs the tasks and `future` in turn until that is ready. Fails at once where real executors would hang,
    /// because no task is woken, and none will be; only after a loss, the wakes by it are given some time.
    pub(crate) fn drive<F: Future>(&self, future: F) -> F::Output {
        self.finish(&mut Polled::new(future))
    }

    /// [`drive`](Self::drive), for what has been polled before.
    pub(crate) fn finish<O>(&self, polled: &mut Polled<'_, O>) -> O {
        loop {
            if let Poll::Ready(output) = polled.poll() {
                return output;
            }
            self.run();
            if !polled.is_woken() {
                assert!(self.manual.lost.get(), "hangs: nothing is awake");
                eventually("woken by the loss", || {
                    polled.is_woken() || !self.woken().is_empty()
                });
            }
        }
    }
}

/// A future that is polled by hand.
pub(crate) struct Polled<'a, O> {
    future: Pin<Box<dyn Future<Output = O> + 'a>>,
    count: Arc<Count>,
    seen: usize,
}

impl<'a, O> Polled<'a, O> {
    pub(crate) fn new(future: impl Future<Output = O> + 'a) -> Self {
        Self {
            future: Box::pin(future),
            count: Arc::default(),
            seen: 0,
        }
    }

    pub(crate) fn poll(&mut self) -> Poll<O> {
        self.seen = self.count.get();
        let waker = Waker::from(self.count.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    pub(crate) fn wakes(&self) -> usize {
        self.count.get()
    }

    /// Whether it was woken since the last poll.
    pub(crate) fn is_woken(&self) -> bool {
        self.count.get() > self.seen
    }

    pub(crate) fn is_pending(&mut self) -> bool {
        self.poll().is_pending()
    }

    #[track_caller]
    pub(crate) fn ready(&mut self) -> O {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("not ready"),
        }
    }
}

/// How many of something are alive.
#[derive(Clone, Default)]
pub(crate) struct Living(Arc<AtomicUsize>);

/// One that lives.
pub(crate) struct Life(Living);

impl Life {
    pub(crate) fn count(&self) -> usize {
        self.0.count()
    }
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Life")
    }
}

impl Living {
    pub(crate) fn one(&self) -> Life {
        self.0.fetch_add(1, SeqCst);
        Life(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, SeqCst);
    }
}

/// Sets what a [`remote`] task is to return.
pub(crate) struct Remote<T, E = &'static str>(oneshot::Sender<Result<T, E>>);

impl<T, E> Remote<T, E> {
    pub(crate) fn succeed(self, value: T) {
        let _ = self.0.send(Ok(value));
    }

    pub(crate) fn fail(self, error: E) {
        let _ = self.0.send(Err(error));
    }
}

/// A task that waits for the value to return; it never looks at a context.
pub(crate) fn remote<T, E>(
    living: &Living,
) -> (
    Remote<T, E>,
    impl Future<Output = Result<T, E>> + Send + use<T, E>,
)
where
    T: Send + 'static,
    E: Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let life = living.one();
    let future = async move {
        let _life = life;
        match receiver.await {
            Ok(result) => result,
            Err(_) => std::future::pending().await,
        }
    };
    (Remote(sender), future)
}

/// Waits, for a moment at most, until the wakes by losses so far have happened: what a lost task wakes is woken from
/// another thread, and a loss of our own is the last in that line. Nothing depends on it but that a test is the same
/// each time.
pub(crate) fn settle_losses() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let group = Group::<()>::new(drop::<Task>);
    let _callback = group.context().on_done(move || {
        let _ = sender.send(());
    });
    group.spawn(std::future::pending::<Result<(), Infallible>>());
    let _ = receiver.recv_timeout(Duration::from_millis(50));
}

/// Runs the test on a thread of its own, and fails if it takes longer than any machine needs.
pub(crate) fn watched<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        let _ = sender.send(());
        result
    });
    if receiver.recv_timeout(Duration::from_secs(30)).is_err() {
        panic!("hangs: not done after 30 s");
    }
    match thread.join().unwrap() {
        Ok(result) => result,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}
