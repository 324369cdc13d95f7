//! An executor and a clock that follow the dice: one thread, virtual time, faults.

use super::dice::Dice;
use failfast::clock::{Clock, ManualClock};
use failfast::{Group, LocalTask, Spawn, Task};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{self, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// A schedule that takes more steps than this is a livelock.
const STEPS: usize = 50_000;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
type LocalWork = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    clock: ManualClock,
    thread: ThreadId,
    dice: Mutex<Dice>,
    alive: AtomicUsize,
    steps: AtomicUsize,
    idles: AtomicUsize,
    /// Panics that the program meant, less those that were seen.
    panics: AtomicIsize,
}

#[derive(Default)]
struct State {
    /// `None` while it is being polled.
    tasks: BTreeMap<usize, Option<Work>>,
    /// Those that users' own programs run in: no fault befalls them.
    roots: usize,
    woken: Vec<usize>,
    /// The services that are being polled, the innermost last.
    polled: Vec<usize>,
    /// Those that block their thread, and until when: no poll of theirs gets anywhere before.
    blocked: BTreeMap<usize, Instant>,
    /// Those of them that the executor is to drop as soon as it can.
    doomed: BTreeSet<usize>,
    next: usize,
    shut_down: bool,
    faults: Faults,
}

/// What this world's executor does to the tasks of groups.
#[derive(Clone, Copy, Default)]
struct Faults {
    loses: bool,
    polls_inline: bool,
    cancels_on_drop: bool,
    shuts_down: bool,
}

struct Bell(Arc<Shared>, usize);

/// Cancels its task when it is dropped, in the worlds where handles do.
pub(crate) struct Handle(Option<(World, usize)>);

/// What a thread-bound executor runs: it stays in its thread, and what moves is its number.
struct Staying(usize);

thread_local! {
    static STAYING: RefCell<BTreeMap<usize, LocalWork>> = RefCell::default();
}

impl Staying {
    fn new(id: usize, work: impl Future<Output = ()> + 'static) -> Self {
        let before = STAYING.with_borrow_mut(|all| all.insert(id, Box::pin(work)));
        assert!(before.is_none(), "one world a thread");
        Self(id)
    }
}

impl Future for Staying {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let work = STAYING.with_borrow_mut(|all| all.remove(&self.0));
        let mut work = work.expect("it is in its thread, and nothing else polls it");
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            STAYING.with_borrow_mut(|all| all.insert(self.0, work));
        }
        polled
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        // After a failure the thread may be going away, and all that stayed in it.
        let work = STAYING.try_with(|all| all.borrow_mut().remove(&self.0));
        drop(work); // what it drops may spawn
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut state = lock(&self.0.state);
        if state.tasks.contains_key(&self.1) && !state.woken.contains(&self.1) {
            state.woken.push(self.1);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(mut dice: Dice) -> Self {
        let faults = Faults {
            loses: dice.roll(8) == 0,
            polls_inline: dice.roll(4) == 0,
            cancels_on_drop: dice.roll(2) == 0,
            shuts_down: dice.roll(12) == 0,
        };
        let state = State {
            faults,
            ..State::default()
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            clock: ManualClock::new(),
            thread: thread::current().id(),
            dice: Mutex::new(dice),
            alive: AtomicUsize::new(0),
            steps: AtomicUsize::new(0),
            idles: AtomicUsize::new(0),
            panics: AtomicIsize::new(0),
        }))
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        &self.0.clock
    }

    pub(crate) fn roll(&self, sides: u64) -> u64 {
        lock(&self.0.dice).roll(sides)
    }

    pub(crate) fn chance(&self, one_in: u64) -> bool {
        self.roll(one_in) == 0
    }

    /// Some time, a little more often none.
    pub(crate) fn span(&self) -> Duration {
        Duration::from_millis(self.roll(40).saturating_sub(4))
    }

    /// Sleeps by the clock alone, however any context ends.
    pub(crate) async fn doze(&self) {
        let deadline = self.0.clock.now() + self.span();
        let slept = self.0.clock.sleep_until(deadline).await;
        assert!(slept.is_ok());
    }

    pub(crate) fn alive(&self) -> &AtomicUsize {
        &self.0.alive
    }

    /// How many steps there have been.
    pub(crate) fn steps(&self) -> usize {
        self.0.steps.load(Ordering::SeqCst)
    }

    /// How often nothing could happen but that time passed, and no task blocked a thread.
    pub(crate) fn idles(&self) -> usize {
        self.0.idles.load(Ordering::SeqCst)
    }

    /// Whether the world's thread is this one, so that its time stands still meanwhile.
    pub(crate) fn is_this_thread(&self) -> bool {
        thread::current().id() == self.0.thread
    }

    /// A service panics on purpose.
    pub(crate) fn panics(&self) -> ! {
        self.0.panics.fetch_add(1, Ordering::SeqCst);
        resume_unwind(Box::new("bang"))
    }

    /// A service was seen to panic: if that was not on purpose, an assertion has failed inside it, where the
    /// library contains it.
    pub(crate) fn panicked(&self) {
        self.0.panics.fetch_sub(1, Ordering::SeqCst);
    }

    /// The task that is being polled blocks its thread for some time: the executor can't poll it, nor drop it.
    pub(crate) async fn block(&self) {
        let until = self.0.clock.now() + self.span() * 2;
        let mut blocked = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut blocked, true) {
                return Poll::Ready(());
            }
            let mut state = lock(&self.0.state);
            let id = *state.polled.last().expect("a task is being polled");
            state.blocked.insert(id, until);
            drop(state);
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Starts a user's own program, which is never lost.
    pub(crate) fn run(&self, root: impl Future<Output = ()> + 'static) {
        let id = self.add(|id| Box::pin(Staying::new(id, root)));
        let mut state = lock(&self.0.state);
        assert_eq!(id, state.roots, "roots come first");
        state.roots += 1;
    }

    fn add(&self, work: impl FnOnce(usize) -> Work) -> usize {
        let mut state = lock(&self.0.state);
        let id = state.next;
        state.next += 1;
        state.tasks.insert(id, Some(work(id)));
        state.woken.push(id);
        id
    }

    /// Unless the executor has shut down, or loses it.
    fn take_in(&self, work: impl FnOnce(usize) -> Work) -> Handle {
        let (faults, down) = {
            let state = lock(&self.0.state);
            (state.faults, state.shut_down)
        };
        if down || (faults.loses && self.chance(32)) {
            return Handle(None);
        }
        let id = self.add(work);
        if faults.polls_inline && self.chance(2) {
            self.poll(Some(id));
        }
        Handle(faults.cancels_on_drop.then(|| (self.clone(), id)))
    }

    /// Runs until nothing can happen any more; everything must be over then.
    pub(crate) fn play(&self) {
        for _ in 0..STEPS {
            if !self.step() {
                return self.check_the_end();
            }
        }
        panic!("a livelock: {STEPS} steps and no end");
    }

    fn check_the_end(&self) {
        let state = lock(&self.0.state);
        let left: Vec<_> = state.tasks.keys().collect();
        assert!(
            left.is_empty(),
            "a hang: nothing can happen, but these wait: {left:?} ({} roots)",
            state.roots
        );
        drop(state);
        assert_eq!(
            self.0.panics.load(Ordering::SeqCst),
            0,
            "an assertion failed in a task"
        );
        assert_eq!(
            self.0.alive.load(Ordering::SeqCst),
            0,
            "futures were leaked"
        );
        assert_eq!(self.0.clock.armed(), 0, "timers were leaked");
        assert!(STAYING.with_borrow(BTreeMap::is_empty));
    }

    /// False if nothing can happen.
    fn step(&self) -> bool {
        self.0.steps.fetch_add(1, Ordering::SeqCst);
        let (faults, down) = {
            let state = lock(&self.0.state);
            (state.faults, state.shut_down)
        };
        if faults.shuts_down && !down && self.chance(64) {
            self.shut_down();
        } else if faults.loses && self.chance(32) {
            self.lose_one();
        } else if self.chance(24) {
            let unblocked = |state: &State| state.ready(state.tasks.keys(), self.0.clock.now());
            self.poll(self.pick(unblocked)); // spuriously
        } else if self.chance(16) {
            self.0.clock.advance(self.span());
        }
        let woken = self.pick(|state| state.ready(state.woken.iter(), self.0.clock.now()));
        match woken {
            Some(_) => self.poll(woken),
            None => {
                let is_idle = lock(&self.0.state).blocked.is_empty();
                self.0.idles.fetch_add(is_idle.into(), Ordering::SeqCst);
                return self.0.clock.advance_to_next()
                    || self.advance_to_unblock()
                    || self.is_woken_late();
            }
        }
        true
    }

    /// False if no task is blocked.
    fn advance_to_unblock(&self) -> bool {
        let now = self.0.clock.now();
        let mut state = lock(&self.0.state);
        state.blocked.retain(|_, until| *until > now);
        let earliest = state.blocked.values().min().copied();
        drop(state);
        if let Some(until) = earliest {
            self.0.clock.advance(until - now);
        }
        earliest.is_some()
    }

    /// What a lost task wakes, the library wakes from another thread. See [`World::settle_losses`].
    fn is_woken_late(&self) -> bool {
        let is_settled = || {
            let state = lock(&self.0.state);
            state.tasks.is_empty() || !state.woken.is_empty()
        };
        for _ in 0..1000 {
            if is_settled() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        !lock(&self.0.state).woken.is_empty()
    }

    fn pick(&self, from: impl FnOnce(&State) -> Vec<usize>) -> Option<usize> {
        let candidates = {
            let state = lock(&self.0.state);
            from(&state)
        };
        let count = candidates.len() as u64;
        (count > 0).then(|| candidates[self.roll(count) as usize])
    }

    fn poll(&self, id: Option<usize>) {
        let Some(id) = id else { return };
        let taken = {
            let mut state = lock(&self.0.state);
            state.woken.retain(|woken| *woken != id);
            state.blocked.remove(&id);
            if state.doomed.remove(&id) {
                drop(state);
                return self.discard(id);
            }
            let taken = state.tasks.get_mut(&id).and_then(Option::take);
            if taken.is_some() {
                state.polled.push(id);
            }
            taken
        };
        let Some(mut work) = taken else { return };
        let waker = Waker::from(Arc::new(Bell(self.0.clone(), id))); // always another one
        let polled = work.as_mut().poll(&mut task::Context::from_waker(&waker));
        let mut state = lock(&self.0.state);
        state.polled.pop();
        match polled {
            Poll::Pending if state.tasks.contains_key(&id) => {
                state.tasks.insert(id, Some(work));
            }
            // It is over, or its handle was dropped meanwhile.
            _ => {
                state.tasks.remove(&id);
                state.blocked.remove(&id);
                drop(state);
                drop(work);
            }
        }
    }

    /// Drops a group's task, under no lock; one that blocks its thread as soon as it does not any more.
    fn discard(&self, id: usize) {
        let dropped = {
            let mut state = lock(&self.0.state);
            state.woken.retain(|woken| *woken != id);
            if state.blocked.contains_key(&id) && matches!(state.tasks.get(&id), Some(Some(_))) {
                state.doomed.insert(id);
                state.woken.push(id);
                return;
            }
            state.tasks.remove(&id)
        };
        drop(dropped);
        self.settle_losses();
    }

    /// Waits, for a moment at most, until what a lost task wakes has been woken: the library wakes it from another
    /// thread, and a loss of our own is the last in that line. So a seed is the same schedule each time.
    fn settle_losses(&self) {
        if !self.is_this_thread() {
            return;
        }
        let (sender, receiver) = mpsc::channel();
        let group = Group::<()>::new(drop::<Task>);
        let _callback = group.context().on_done(move || {
            let _ = sender.send(());
        });
        group.spawn(pending::<Result<(), Infallible>>());
        let _ = receiver.recv_timeout(Duration::from_millis(50));
    }

    fn lose_one(&self) {
        let victim = self.pick(State::mortals);
        victim.into_iter().for_each(|id| self.discard(id));
    }

    fn shut_down(&self) {
        lock(&self.0.state).shut_down = true;
        while let Some(id) = self.pick(State::mortals) {
            self.discard(id);
        }
    }
}

impl State {
    /// Those of them that do not block their thread.
    fn ready<'a>(&self, all: impl Iterator<Item = &'a usize>, now: Instant) -> Vec<usize> {
        let is_ready = |id: &&usize| self.blocked.get(id).is_none_or(|until| *until <= now);
        all.filter(is_ready).copied().collect()
    }

    /// Those that the executor may drop.
    fn mortals(&self) -> Vec<usize> {
        let ids = self.tasks.range(self.roots..).map(|(id, _)| *id);
        ids.filter(|id| !self.doomed.contains(id)).collect()
    }
}

impl Spawn for World {
    type Handle = Handle;

    fn spawn(&self, task: Task) -> Handle {
        self.take_in(|_| Box::pin(task))
    }
}

impl Spawn<LocalTask> for World {
    type Handle = Handle;

    fn spawn(&self, task: LocalTask) -> Handle {
        self.take_in(|id| Box::pin(Staying::new(id, task)))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some((world, id)) = self.0.take() {
            world.discard(id);
        }
    }
}
