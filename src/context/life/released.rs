//! Telling those whom an end concerns, once no lock is held.

use super::{End, Life};
use crate::context::tree::{Key, Shared, Watcher};
use crate::guard;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

/// Whom an end concerns, to be told once no lock is held.
#[derive(Default)]
#[must_use = "nobody has been woken yet: run it"]
pub(crate) struct Released {
    /// The life that ended of itself, and how many waited for it. The others: most lives have none.
    top: Option<(Arc<Life>, usize)>,
    lives: Vec<(Arc<Life>, usize)>,
    watchers: Vec<Watcher>,
    /// The linked contexts that the end has yet to reach.
    reached: BinaryHeap<Reached>,
    turns: usize,
}

/// A linked context, which of its sources has ended, and how.
struct Reached {
    linked: Weak<Life>,
    number: usize,
    end: End,
    turn: usize,
}

impl Released {
    pub(super) fn keep(&mut self, life: Arc<Life>, waiting: usize) {
        match self.top {
            None => self.top = Some((life, waiting)),
            Some(_) => self.lives.push((life, waiting)),
        }
    }

    pub(super) fn kept(&self) -> usize {
        usize::from(self.top.is_some()) + self.lives.len()
    }

    pub(super) fn add(&mut self, watcher: Watcher, end: &End) {
        match watcher {
            Watcher::Link(linked, number) => {
                let (end, turn) = (end.clone(), self.turns);
                self.turns += 1;
                self.reached.push(Reached {
                    linked,
                    number,
                    end,
                    turn,
                });
            }
            told => self.watchers.push(told),
        }
    }

    /// Counts waiters for the life at `key`, one of those kept from the `first` on.
    pub(super) fn waiting(&mut self, first: usize, key: Key, waiting: usize) {
        let mut kept = self.top.iter_mut().chain(&mut self.lives).skip(first);
        if let Some((_, count)) = kept.find(|(life, _)| life.key() == key) {
            *count += waiting;
        }
    }

    /// Tells everyone. Invariant 4: first the flags of every tree that is reached, then the groups, which
    /// have tasks to wake, then those who wait and the callbacks.
    pub(crate) fn run(self) {
        self.run_for(None);
    }

    /// The same, where the hook of `closed` said so itself.
    pub(super) fn run_for(mut self, closed: Option<&Arc<Life>>) {
        self.pass_on();
        for (life, waiting) in self.top.into_iter().chain(self.lives) {
            life.settle(waiting);
            if closed.is_none_or(|closed| !Arc::ptr_eq(closed, &life)) {
                life.tell_hook();
            }
        }
        for watcher in self.watchers {
            watcher.tell();
        }
    }

    /// Ends the linked contexts of other trees, and those linked to them, and so on: what came first goes
    /// all the way before what came next sets out.
    pub(super) fn pass_on(&mut self) {
        while let Some(reached) = self.reached.pop() {
            let Reached {
                linked,
                number,
                end,
                ..
            } = &reached;
            let Some(linked) = linked.upgrade().filter(|linked| !linked.has_ended()) else {
                continue;
            };
            let end = end.through(*number, linked.timers_sources(), linked.origin);
            if linked.mark_overdue(&end, self) {
                self.reached.push(reached); // its turn comes after those
            } else {
                linked.mark_into(end, || {}, self);
            }
        }
    }
}

/// By time, and then by turn: the first is popped first.
impl Ord for Reached {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let when = |reached: &Self| (reached.end.at.is_none(), reached.end.at, reached.turn);
        when(other).cmp(&when(self))
    }
}

impl PartialOrd for Reached {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// `Ord` asks for it; nobody compares so.
impl PartialEq for Reached {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Reached {}

impl Watcher {
    /// That the end has come. Runs foreign code, so under no lock.
    fn tell(self) {
        const WHAT: &str = "an on_done callback";
        match self {
            Self::Task(waker) => guard::wake(waker),
            Self::Callback(callback) => guard::shield(WHAT, callback),
            Self::Shared(shared) => {
                let callback = shared.callback.lock().take();
                shared.leave();
                callback
                    .into_iter()
                    .for_each(|call| guard::shield(WHAT, call));
            }
            Self::Link(..) => {}
        }
    }
}

impl Shared {
    pub(super) fn wait_for(self: &Arc<Self>, sources: &[Arc<Life>]) {
        for source in sources {
            match source.watch(Watcher::Shared(self.clone())) {
                Ok(key) => self.note(source, key),
                Err(watcher) => watcher.tell(),
            }
        }
        if self.callback.lock().is_none() {
            self.leave(); // the call may have come before the notes
        }
    }

    fn note(&self, source: &Arc<Life>, key: Key) {
        let mut places = self.places.lock();
        places.retain(|(life, _)| life.strong_count() > 0);
        places.push((Arc::downgrade(source), key));
    }

    /// It has been called: it waits nowhere any more.
    fn leave(&self) {
        let places = std::mem::take(&mut *self.places.lock());
        for (life, key) in places {
            if let Some(life) = life.upgrade() {
                life.unwatch(key);
            }
        }
    }
}
