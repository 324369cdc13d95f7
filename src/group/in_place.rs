//! No executor at all: whoever waits for the group polls its tasks, each only when it was woken.

use crate::guard;
use crate::spawn::{Flavour, Spawn, Task};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use futures::task::{ArcWake, waker_ref};
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Waker};

/// More wakers than this are not kept: most are stale then. Those who still wait come again.
const DRIVERS: usize = 64;

/// The spawner of groups without an executor: see [`Group::in_place`](crate::Group::in_place).
pub struct InPlace<M = Task> {
    tasks: Mutex<Tasks<M>>,
    woken: Arc<Woken>,
}

struct Tasks<M> {
    /// Empty while they are being driven: the driver has them, so that polling takes no lock.
    slots: Vec<Slot<M>>,
    /// Those who came while the others were being driven; their places come after all of the others'.
    newcomers: Vec<Slot<M>>,
    /// Those who have never been polled. Their bells count as rung.
    fresh: Vec<u32>,
    /// How many places there are, those that the driver has among them.
    length: u32,
    vacant: Vec<u32>,
    driven: bool,
    /// Whether the group is gone: nobody is to be kept any more.
    cleared: bool,
}

struct Slot<M> {
    /// `None` once it has ended.
    task: Option<M>,
    bell: Arc<Bell>,
}

/// Wakes one task of the set. Used again for the slot's next task if nobody has kept it; a bell that was
/// kept rings for nobody, for it is not the slot's any more.
struct Bell {
    woken: Arc<Woken>,
    index: u32,
    rung: AtomicBool,
}

/// Those who are to be polled.
#[derive(Default)]
struct Woken {
    queue: Mutex<Queue>,
    /// Whether anybody drives, or would. A driver says so, and then takes the tasks under their lock; a task
    /// comes under that same lock, and then its spawner looks here: one of the two sees the other.
    driving: AtomicBool,
}

#[derive(Default)]
struct Queue {
    indices: Vec<u32>,
    /// Whether a task has come since the last driver began.
    called: bool,
    /// A list that is not in use, for its memory.
    spare: Vec<u32>,
    /// Who drives the set, or would: mostly one.
    drivers: Vec<Waker>,
    /// Whether one of them is at it: it looks again before it leaves, so nobody needs to be woken.
    driven: bool,
}

impl<M: Flavour> InPlace<M> {
    pub(super) fn new() -> Self {
        let tasks = Tasks {
            slots: Vec::new(),
            newcomers: Vec::new(),
            fresh: Vec::new(),
            length: 0,
            vacant: Vec::new(),
            driven: false,
            cleared: false,
        };
        Self {
            tasks: Mutex::new(tasks),
            woken: Arc::default(),
        }
    }

    /// Polls everyone who was woken, once.
    pub(super) fn drive(&self, cx: &mut task::Context<'_>) {
        let Some(mut batch) = self.woken.enter(cx.waker()) else {
            return; // somebody else is at it, or we are called from one of the tasks
        };
        let mut slots = self.tasks.lock().take(&mut batch);
        let ended: Vec<_> = batch
            .iter()
            .copied()
            .filter(|index| poll(&mut slots, *index))
            .collect();
        let unwanted = self.tasks.lock().put_back(slots, ended);
        guard::discard(unwanted);
        // Some may have come, or been woken, meanwhile: after the others' turn. By all who drive, for one may
        // be gone.
        let drivers = self.woken.leave(batch);
        drivers.into_iter().for_each(guard::wake);
    }

    /// Drops every task.
    pub(super) fn clear(&self) {
        let slots = self.tasks.lock().clear();
        guard::discard(slots);
    }
}

impl<M: Flavour> Spawn<M> for InPlace<M> {
    type Handle = ();

    fn spawn(&self, task: M) {
        let inserted = self.tasks.lock().insert(task, &self.woken);
        match inserted {
            Ok(()) => self.woken.call(),
            Err(late) => guard::discard(late),
        }
    }
}

impl<M> fmt::Debug for InPlace<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InPlace").finish_non_exhaustive()
    }
}

/// Polls the task at `index`, if there is one. True if it has ended: it is dropped then.
fn poll<M: Flavour>(slots: &mut [Slot<M>], index: u32) -> bool {
    let Some(Slot { task, bell }) = slots.get_mut(index as usize) else {
        return false;
    };
    // Before the poll: what wakes it from now on is news. A swap, to see what was written before a ring that
    // found the bell rung already.
    if !bell.rung.swap(false, Ordering::AcqRel) {
        return false;
    }
    let waker = waker_ref(bell);
    let ended = task.as_mut().is_some_and(|task| {
        Pin::new(task)
            .poll(&mut task::Context::from_waker(&waker))
            .is_ready()
    });
    if ended {
        guard::discard(task.take());
    }
    ended
}

impl<M> Tasks<M> {
    /// Gives the task back if it comes too late.
    fn insert(&mut self, task: M, woken: &Arc<Woken>) -> Result<(), M> {
        if self.cleared {
            return Err(task);
        }
        let vacant = if self.driven { None } else { self.vacant.pop() };
        if let Some(index) = vacant {
            let slot = &mut self.slots[index as usize];
            slot.task = Some(task);
            match Arc::get_mut(&mut slot.bell) {
                Some(bell) => bell.rung = AtomicBool::new(true),
                None => slot.bell = Bell::new(woken, index),
            }
            self.fresh.push(index);
            return Ok(());
        }
        let index = self.length;
        self.length += 1;
        let slot = Slot {
            task: Some(task),
            bell: Bell::new(woken, index),
        };
        match self.driven {
            true => self.newcomers.push(slot),
            false => self.slots.push(slot),
        }
        self.fresh.push(index);
        Ok(())
    }

    /// Hands the tasks to the driver, and adds those to his batch who have never been polled.
    fn take(&mut self, batch: &mut Vec<u32>) -> Vec<Slot<M>> {
        self.driven = true;
        batch.append(&mut self.fresh);
        mem::take(&mut self.slots)
    }

    /// Takes them back, and in the newcomers. Returns those that are not wanted any more.
    fn put_back(&mut self, mut slots: Vec<Slot<M>>, ended: Vec<u32>) -> Vec<Slot<M>> {
        slots.append(&mut self.newcomers);
        self.driven = false;
        if self.cleared {
            return slots;
        }
        self.slots = slots;
        self.vacant.extend(ended);
        Vec::new()
    }

    fn clear(&mut self) -> Vec<Slot<M>> {
        self.cleared = true;
        let mut slots = mem::take(&mut self.slots);
        slots.append(&mut self.newcomers);
        slots
    }
}

impl Bell {
    fn new(woken: &Arc<Woken>, index: u32) -> Arc<Self> {
        let rung = AtomicBool::new(true);
        Arc::new(Self {
            woken: woken.clone(),
            index,
            rung,
        })
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.woken.push(self.index);
        }
    }
}

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        bell.ring();
    }
}

impl Woken {
    fn push(&self, index: u32) {
        let drivers = {
            let mut queue = self.queue.lock();
            queue.indices.push(index);
            queue.drivers_to_wake()
        };
        drivers.into_iter().for_each(guard::wake);
    }

    /// A task has come: wakes those who would poll it.
    #[inline]
    fn call(&self) {
        if self.driving.load(Ordering::Relaxed) {
            let drivers = {
                let mut queue = self.queue.lock();
                queue.called = true;
                queue.drivers_to_wake()
            };
            drivers.into_iter().for_each(guard::wake);
        }
    }

    /// Makes `waker` one of those who are woken when there is somebody to poll. If it is its turn, hands out
    /// those who were woken.
    fn enter(&self, waker: &Waker) -> Option<Vec<u32>> {
        let waker = waker.clone(); // perhaps for nothing: cheaper than a lock to find out
        let mut queue = self.queue.lock();
        let (unused, crowd) = queue.join(waker);
        let batch = queue.take_turn();
        self.driving.store(true, Ordering::Relaxed);
        drop(queue);
        guard::discard(unused);
        crowd.into_iter().for_each(guard::wake);
        batch
    }

    /// Gives the turn back. Returns who is to be woken if there is more to do.
    fn leave(&self, mut batch: Vec<u32>) -> Vec<Waker> {
        batch.clear();
        let mut queue = self.queue.lock();
        queue.spare = batch;
        queue.driven = false;
        match queue.called || !queue.indices.is_empty() {
            true => queue.drivers_to_wake(),
            false => Vec::new(),
        }
    }
}

impl Queue {
    /// Nobody if one of them is at it.
    fn drivers_to_wake(&mut self) -> Vec<Waker> {
        match self.driven {
            true => Vec::new(),
            false => mem::take(&mut self.drivers),
        }
    }

    /// Returns the waker if it is known, and those who are to be woken because there are too many.
    fn join(&mut self, waker: Waker) -> (Option<Waker>, Vec<Waker>) {
        if self.drivers.iter().any(|driver| driver.will_wake(&waker)) {
            return (Some(waker), Vec::new());
        }
        self.drivers.push(waker);
        match self.drivers.len() > DRIVERS {
            true => (None, mem::take(&mut self.drivers)),
            false => (None, Vec::new()),
        }
    }

    fn take_turn(&mut self) -> Option<Vec<u32>> {
        if mem::replace(&mut self.driven, true) {
            return None;
        }
        self.called = false;
        let spare = mem::take(&mut self.spare);
        Some(mem::replace(&mut self.indices, spare))
    }
}
