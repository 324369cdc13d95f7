//! No executor at all: whoever waits for the group polls its tasks, each only when it was woken.

use crate::guard;
use crate::spawn::{Flavour, Spawn, Task};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use futures::task::{ArcWake, waker_ref};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

/// The spawner of groups without an executor: see [`Group::in_place`](crate::Group::in_place).
pub struct InPlace<M = Task> {
    set: Arc<Set<M>>,
}

struct Set<M> {
    tasks: Mutex<Tasks<M>>,
    woken: Arc<Woken>,
}

struct Tasks<M> {
    slots: Vec<Slot<M>>,
    vacant: Vec<u32>,
}

struct Slot<M> {
    /// `None` while it is being polled, and once it has ended.
    task: Option<M>,
    bell: Arc<Bell>,
}

/// Wakes one task of the set. Used again for the slot's next task, which a late ring then wakes for
/// nothing: that does no harm.
struct Bell {
    woken: Arc<Woken>,
    index: u32,
    rung: AtomicBool,
}

/// Those who are to be polled.
#[derive(Default)]
struct Woken(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    indices: VecDeque<u32>,
    /// Who drives the set; `None` while that is being done: the driver looks again before it leaves.
    driver: Option<Waker>,
}

impl<M: Flavour> InPlace<M> {
    pub(super) fn new() -> Self {
        let tasks = Mutex::new(Tasks {
            slots: Vec::new(),
            vacant: Vec::new(),
        });
        Self {
            set: Arc::new(Set {
                tasks,
                woken: Arc::default(),
            }),
        }
    }

    /// Polls everyone who was woken, once.
    pub(super) fn drive(&self, cx: &mut task::Context<'_>) {
        for index in self.set.woken.take() {
            self.set.poll(index);
        }
        if !self.set.woken.sleep(cx.waker()) {
            cx.waker().wake_by_ref(); // some were woken meanwhile: after the others' turn
        }
    }

    /// Drops every task.
    pub(super) fn clear(&self) {
        let tasks = std::mem::take(&mut self.set.tasks.lock().slots);
        for slot in tasks {
            guard::discard(slot.task);
        }
    }
}

impl<M: Flavour> Spawn<M> for InPlace<M> {
    type Handle = ();

    fn spawn(&self, task: M) {
        let bell = self.set.tasks.lock().insert(task, &self.set.woken);
        bell.ring();
    }
}

impl<M> Clone for InPlace<M> {
    fn clone(&self) -> Self {
        Self {
            set: self.set.clone(),
        }
    }
}

impl<M> fmt::Debug for InPlace<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InPlace").finish_non_exhaustive()
    }
}

impl<M: Flavour> Set<M> {
    fn poll(&self, index: u32) {
        let Some((mut task, bell)) = self.tasks.lock().take(index) else {
            return;
        };
        // Before the poll: what wakes it from now on is news. A swap, to see what was written before a ring
        // that found the bell rung, and so did nothing.
        bell.rung.swap(false, Ordering::AcqRel);
        let waker = waker_ref(&bell);
        match Pin::new(&mut task).poll(&mut task::Context::from_waker(&waker)) {
            Poll::Pending => self.tasks.lock().put_back(index, task),
            Poll::Ready(()) => {
                guard::discard(task);
                self.tasks.lock().vacant.push(index);
            }
        }
    }
}

impl<M> Tasks<M> {
    fn insert(&mut self, task: M, woken: &Arc<Woken>) -> Arc<Bell> {
        if let Some(index) = self.vacant.pop() {
            let slot = &mut self.slots[index as usize];
            slot.task = Some(task);
            return slot.bell.clone();
        }
        let index = self.slots.len() as u32;
        let bell = Arc::new(Bell {
            woken: woken.clone(),
            index,
            rung: AtomicBool::new(false),
        });
        self.slots.push(Slot {
            task: Some(task),
            bell: bell.clone(),
        });
        bell
    }

    fn take(&mut self, index: u32) -> Option<(M, Arc<Bell>)> {
        let slot = self.slots.get_mut(index as usize)?;
        Some((slot.task.take()?, slot.bell.clone()))
    }

    fn put_back(&mut self, index: u32, task: M) {
        self.slots[index as usize].task = Some(task);
    }
}

impl Bell {
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
        let driver = {
            let mut queue = self.0.lock();
            queue.indices.push_back(index);
            queue.driver.take()
        };
        driver.into_iter().for_each(guard::wake);
    }

    fn take(&self) -> VecDeque<u32> {
        let mut queue = self.0.lock();
        let driver = queue.driver.take();
        let indices = std::mem::take(&mut queue.indices);
        drop(queue);
        guard::discard(driver);
        indices
    }

    /// Leaves the waker, unless there is more to do: then false.
    fn sleep(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut queue = self.0.lock();
        let idle = queue.indices.is_empty();
        let replaced = if idle {
            queue.driver.replace(waker)
        } else {
            Some(waker)
        };
        drop(queue);
        guard::discard(replaced);
        idle
    }
}
