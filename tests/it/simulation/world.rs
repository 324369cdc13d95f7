//! An executor and a clock that do nothing but what the dice say: one thread, virtual time, faults.

use super::dice::Dice;
use failfast::{Clock, ManualClock, Spawn, Task};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll, Wake, Waker};
use std::time::Duration;

/// A schedule that takes more steps than this is a livelock.
const STEPS: usize = 50_000;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    clock: ManualClock,
    dice: Mutex<Dice>,
    alive: AtomicUsize,
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
            dice: Mutex::new(dice),
            alive: AtomicUsize::new(0),
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

    /// Sleeps by the clock alone, whatever becomes of any context.
    pub(crate) async fn doze(&self) {
        let deadline = self.0.clock.now() + self.span();
        let slept = self.0.clock.sleep_until(deadline).await;
        assert!(slept.is_ok());
    }

    pub(crate) fn alive(&self) -> &AtomicUsize {
        &self.0.alive
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

    /// Starts a user's own program, which nobody loses.
    pub(crate) fn run(&self, root: impl Future<Output = ()> + Send + 'static) {
        let id = self.add(Box::pin(root));
        let mut state = lock(&self.0.state);
        assert_eq!(id, state.roots, "roots come first");
        state.roots += 1;
    }

    fn add(&self, work: Work) -> usize {
        let mut state = lock(&self.0.state);
        let id = state.next;
        state.next += 1;
        state.tasks.insert(id, Some(work));
        state.woken.push(id);
        id
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
    }

    /// False if nothing can happen.
    fn step(&self) -> bool {
        let (faults, down) = {
            let state = lock(&self.0.state);
            (state.faults, state.shut_down)
        };
        if faults.shuts_down && !down && self.chance(64) {
            self.shut_down();
        } else if faults.loses && self.chance(32) {
            self.lose_one();
        } else if self.chance(24) {
            self.poll(self.pick(|state| state.tasks.keys().copied().collect())); // spuriously
        } else if self.chance(16) {
            self.0.clock.advance(self.span());
        }
        let woken = self.pick(|state| state.woken.clone());
        match woken {
            Some(_) => self.poll(woken),
            None => {
                return self.0.clock.advance_to_next() || self.is_woken_late();
            }
        }
        true
    }

    /// What a lost task wakes, the library wakes from a thread of its own, and waits a little for it. Where
    /// the machine is busy, that is not enough.
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
            state.tasks.get_mut(&id).and_then(Option::take)
        };
        let Some(mut work) = taken else { return };
        let waker = Waker::from(Arc::new(Bell(self.0.clone(), id))); // always another one
        let polled = work.as_mut().poll(&mut task::Context::from_waker(&waker));
        let mut state = lock(&self.0.state);
        match polled {
            Poll::Pending if state.tasks.contains_key(&id) => {
                state.tasks.insert(id, Some(work));
            }
            // It is over, or its handle was dropped meanwhile.
            _ => {
                state.tasks.remove(&id);
                drop(state);
                drop(work);
            }
        }
    }

    /// Drops a group's task, under no lock.
    fn discard(&self, id: usize) {
        let dropped = {
            let mut state = lock(&self.0.state);
            state.woken.retain(|woken| *woken != id);
            state.tasks.remove(&id)
        };
        drop(dropped);
    }

    fn lose_one(&self) {
        let victim = self.pick(|state| {
            state
                .tasks
                .range(state.roots..)
                .map(|(id, _)| *id)
                .collect()
        });
        victim.into_iter().for_each(|id| self.discard(id));
    }

    fn shut_down(&self) {
        lock(&self.0.state).shut_down = true;
        while let Some(id) = self.pick(|state| {
            state
                .tasks
                .range(state.roots..)
                .map(|(id, _)| *id)
                .collect()
        }) {
            self.discard(id);
        }
    }
}

impl Spawn for World {
    type Handle = Handle;

    fn spawn(&self, task: Task) -> Handle {
        let faults = lock(&self.0.state).faults;
        let down = lock(&self.0.state).shut_down;
        if down || (faults.loses && self.chance(32)) {
            drop(task);
            return Handle(None);
        }
        let id = self.add(Box::pin(task));
        if faults.polls_inline && self.chance(2) {
            self.poll(Some(id));
        }
        Handle(faults.cancels_on_drop.then(|| (self.clone(), id)))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some((world, id)) = self.0.take() {
            world.discard(id);
        }
    }
}
