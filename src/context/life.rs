//! The engine of a context's lifetime: when it ends, why, and who hears of it.
//!
//! Lives form trees: a life ends when its parent does. A tree begins at each life without a parent, and
//! everything that changes in it changes under that root's one lock, so that ends have an order.
//!
//! # Invariants
//!
//! 1. **First wins.** A life ends at most once. `ended` and `end` are written under the tree's lock, by the
//!    first end to get there, its own or an ancestor's.
//! 2. **One fact.** An end takes the next number of its tree (the epoch), writes it to `ended` of every life
//!    in the subtree, and then stores it in the root's `published`. A life is done when its own number is
//!    published: so all of the subtree is done at one instant, and whoever sees one of them done sees all.
//! 3. **Nobody is missed.** Joining the tree (a child, a waiter, a callback) and ending happen under the same
//!    lock: who joins an ended life is told so, who joined before is released.
//! 4. **No foreign code under a lock.** An end collects whom it concerns, unlocks, and then wakes. Every life
//!    that the end reaches, in other trees too, is done before the first is woken.
//! 5. **No recursion.** Ends, drops and look-ups walk lists; 100,000 levels are as good as one.
//! 6. **Nothing is left.** A life that ended, or that nobody holds, has no entry in its tree.
//! 7. **The clock counts, not who asks.** Before an end is marked, so are those of the deadlines that passed
//!    before it in its reach, the earliest first: nobody need have asked, nor any timer have fired.
//! 8. **No timer without a waiter.** A timer is armed while `wanted` is above zero: see `timer`.

mod released;

use super::timer::{Deadline, Timers};
use super::tree::{Key, ROOT, Tree, Watcher};
use crate::error::{Cause, ContextError, Error};
use crate::guard;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::mem;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::Instant;

pub(crate) use released::Released;

/// What a life is told to do when it ends, before anybody is woken: a group's engine.
pub(crate) trait Hook: Send + Sync {
    /// The life has ended. Called once at most, under no lock.
    fn ended(self: Arc<Self>);

    /// Which group this is, for who draws the tree of them.
    fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync>;
}

pub(crate) struct Life {
    home: Home,
    /// `None` if it is the root.
    parent: Option<Arc<Life>>,
    /// Our entry in the tree. Written once, under its lock.
    key: AtomicU32,
    /// `ALIVE` or `TIMED`, else the number of the end (invariant 2).
    ended: AtomicU64,
    end: Mutex<Option<End>>,
    pub(super) timers: Timers,
    links: Mutex<Vec<Link>>,
    hook: Option<Weak<dyn Hook>>,
    pub(super) layer: Layer,
    pub(super) depth: u32,
    pub(super) origin: &'static Location<'static>,
}

/// Alive, and only somebody's doing can end it.
const ALIVE: u64 = 0;

/// Alive until a deadline: whether that has passed is for the clock to say.
const TIMED: u64 = u64::MAX;

/// Where the tree's lock is: every tree is kept by its root.
enum Home {
    Root {
        tree: Mutex<Tree>,
        published: AtomicU64,
    },
    Under(Arc<Life>),
    /// It is being dropped, and has let go of its root.
    Left,
}

/// What a life was made by: for people, who read it in `Debug`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Layer {
    Cancel,
    Deadline,
    Linked,
    Group,
}

/// How a life ended.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) error: ContextError,
    pub(crate) cause: Cause,
    /// When, if it was a deadline that passed; else it was when it was said.
    pub(super) at: Option<Instant>,
}

/// One source of a linked life: lets go of it when dropped.
struct Link {
    source: Arc<Life>,
    key: Key,
}

/// What a new life is to be.
pub(super) struct Plan<'a> {
    pub(super) parent: Option<&'a Arc<Life>>,
    pub(super) layer: Layer,
    pub(super) deadline: Option<Deadline>,
    /// Whether that deadline has passed.
    pub(super) past: bool,
    pub(super) hook: Option<Weak<dyn Hook>>,
    pub(super) depth: u32,
    pub(super) origin: &'static Location<'static>,
}

impl Life {
    pub(super) fn new(plan: Plan<'_>) -> Arc<Self> {
        let Plan {
            parent,
            layer,
            deadline,
            past,
            hook,
            depth,
            origin,
        } = plan;
        if let Some(parent) = parent.filter(|_| hook.is_none()) {
            parent.is_done(); // a deadline that is past counts, even if its timer is late; a group asks itself
        }
        let timers = Timers::new(deadline, parent);
        let life = Arc::new(Self {
            home: parent.map_or_else(Home::new, |parent| Home::Under(parent.root().clone())),
            parent: parent.filter(|parent| !parent.is_root()).cloned(),
            key: AtomicU32::new(ROOT),
            ended: AtomicU64::new(if timers.any() { TIMED } else { ALIVE }),
            end: Mutex::new(None),
            timers,
            links: Mutex::new(Vec::new()),
            hook,
            layer,
            depth,
            origin,
        });
        if life.hook.is_none() {
            life.join_parent();
        } // else the hook has to be there first
        if past {
            life.expire();
        }
        life
    }

    /// A life that ends when the first of `sources` does.
    pub(super) fn linked(
        sources: &[Arc<Life>],
        depth: u32,
        origin: &'static Location<'static>,
    ) -> Arc<Self> {
        let timers = Timers::of_all(sources);
        let life = Arc::new(Self {
            home: Home::new(),
            parent: None,
            key: AtomicU32::new(ROOT),
            ended: AtomicU64::new(if timers.any() { TIMED } else { ALIVE }),
            end: Mutex::new(None),
            timers,
            links: Mutex::new(Vec::new()),
            hook: None,
            layer: Layer::Linked,
            depth,
            origin,
        });
        life.link(sources);
        life
    }

    /// Invariant 3: a child of an ended life is born ended, with the same end. False if so.
    pub(super) fn join_parent(self: &Arc<Self>) -> bool {
        let Some(parent) = self.parent() else {
            return true;
        };
        let mut tree = self.tree().lock();
        match parent.end_number() {
            None => {
                let own_timer = self.timers.own.is_some();
                let key = tree.add_life(parent.key(), Arc::downgrade(self), own_timer);
                self.key.store(key, Ordering::Relaxed);
                true
            }
            Some(number) => {
                *self.end.lock() = parent.end.lock().clone();
                self.ended.store(number, Ordering::Release);
                false
            }
        }
    }

    fn link(self: &Arc<Self>, sources: &[Arc<Life>]) {
        let mut links = Vec::with_capacity(sources.len());
        for (number, source) in sources.iter().enumerate() {
            match source.watch(Watcher::Link(Arc::downgrade(self), number)) {
                Ok(key) => links.push(Link {
                    source: source.clone(),
                    key,
                }),
                Err(_) => {
                    source.pass_on(self, number).run();
                    break;
                }
            }
        }
        *self.links.lock() = links;
        if self.has_ended() {
            self.unlink(); // a source may have ended meanwhile, and found no links to let go
        }
    }

    fn unlink(&self) {
        let links = mem::take(&mut *self.links.lock());
        drop(links); // under no lock: each takes its source's
    }

    #[inline]
    fn root(self: &Arc<Self>) -> &Arc<Self> {
        match &self.home {
            Home::Under(root) => root,
            _ => self,
        }
    }

    fn is_root(&self) -> bool {
        matches!(self.home, Home::Root { .. })
    }

    #[inline]
    fn home(&self) -> (&Mutex<Tree>, &AtomicU64) {
        match &self.home {
            Home::Root { tree, published } => (tree, published),
            Home::Under(root) => root.home(),
            Home::Left => unreachable!("a life leaves its tree last of all"),
        }
    }

    fn tree(&self) -> &Mutex<Tree> {
        self.home().0
    }

    fn key(&self) -> Key {
        self.key.load(Ordering::Relaxed)
    }

    /// Whether it has ended, as far as anybody has been told: asks no clock.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        match self.ended.load(Ordering::Acquire) {
            ALIVE | TIMED => false,
            number => self.is_published(number),
        }
    }

    #[inline]
    fn is_published(&self, number: u64) -> bool {
        self.home().1.load(Ordering::Acquire) >= number
    }

    /// The number of its end, published or not. To be asked under the tree's lock, where ends are made.
    #[inline]
    fn end_number(&self) -> Option<u64> {
        match self.ended.load(Ordering::Relaxed) {
            ALIVE | TIMED => None,
            number => Some(number),
        }
    }

    /// Whether it has ended; ends it if its deadline is past and the timer late, or not armed.
    #[inline]
    pub(crate) fn is_done(self: &Arc<Self>) -> bool {
        match self.ended.load(Ordering::Acquire) {
            ALIVE => false,
            TIMED => self.expire_if_past(),
            number => self.is_published(number),
        }
    }

    pub(crate) fn end_state(self: &Arc<Self>) -> Option<End> {
        self.is_done().then(|| self.end.lock().clone()).flatten()
    }

    fn expire_if_past(self: &Arc<Self>) -> bool {
        match self.timers.past(self) {
            Some(late) => {
                late.expire();
                self.has_ended()
            }
            None => false,
        }
    }

    /// Ends it because its own deadline has passed.
    pub(super) fn expire(self: &Arc<Self>) {
        if let Some(end) = self.expiry() {
            self.end(end);
        }
    }

    /// The end that its own deadline makes.
    fn expiry(&self) -> Option<End> {
        let deadline = self.timers.own.as_ref()?;
        let cause = match &deadline.cause {
            Some(reason) => Cause::given(reason.clone(), self.origin),
            None => Cause::plain(ContextError::DeadlineExceeded, self.origin),
        };
        Some(End {
            error: ContextError::DeadlineExceeded,
            cause,
            at: Some(deadline.at),
        })
    }

    /// Ends it and all its descendants. Returns whether this was the end: false if it had ended before.
    ///
    /// When it returns, the life is done, all of its descendants are, and everyone has been woken.
    pub(crate) fn end(self: &Arc<Self>, end: End) -> bool {
        let (first, released) = self.mark(end, || {});
        released.run();
        first
    }

    /// The half of [`end`](Self::end) that runs no foreign code but the clock's reading.
    ///
    /// `on_first` notes that this is the end, if it is, before anybody can see it: under the tree's lock.
    pub(crate) fn mark(self: &Arc<Self>, end: End, on_first: impl FnOnce()) -> (bool, Released) {
        let mut released = Released::default();
        if self.mark_overdue(&end, &mut released) {
            released.pass_on(); // what came first may reach us too
        }
        let first = self.mark_into(end, on_first, &mut released);
        (first, released)
    }

    /// Ends a life whose work is done, as its hook says: no deadline can come before that, so no clock is
    /// asked, and the hook knows.
    pub(crate) fn close(self: &Arc<Self>, end: End, on_first: impl FnOnce()) {
        let mut released = Released::default();
        self.mark_into(end, on_first, &mut released);
        released.run_for(Some(self));
    }

    /// Invariant 7. Returns whether a deadline had passed before `end` came.
    fn mark_overdue(self: &Arc<Self>, end: &End, released: &mut Released) -> bool {
        let mut overdue = self.limited_below();
        for owner in self.timers.all_past(self) {
            overdue.extend(owner.limited_below());
            overdue.push(owner.clone());
        }
        overdue.retain(|life| {
            let own = life.timers.own.as_ref();
            // Of two at one moment, which takes two clocks, the end that was said is the one.
            own.is_some_and(|own| end.at.is_none_or(|at| own.at < at) && own.is_past())
        });
        overdue.sort_by_key(|life| life.timers.own.as_ref().map(|own| own.at));
        let mut any = false;
        for life in &overdue {
            let expiry = life.expiry();
            any |= expiry.is_some_and(|expiry| life.mark_into(expiry, || {}, released));
        }
        any
    }

    /// The descendants that have deadlines of their own.
    fn limited_below(self: &Arc<Self>) -> Vec<Arc<Life>> {
        let limited = {
            let tree = self.tree().lock();
            match self.end_number() {
                None => tree.limited_below(self.key()),
                Some(_) => Vec::new(),
            }
        };
        limited.iter().filter_map(Weak::upgrade).collect()
    }

    fn mark_into(
        self: &Arc<Self>,
        end: End,
        on_first: impl FnOnce(),
        released: &mut Released,
    ) -> bool {
        let (tree, published) = self.home();
        let mut tree = tree.lock();
        if self.end_number().is_some() {
            return false; // invariant 1; and published by now, for that happens under this lock
        }
        tree.epoch += 1;
        let number = tree.epoch;
        let first = released.kept();
        released.keep(self.clone(), 0);
        self.set_end(&end, number);
        let top = self.key();
        tree.take_subtree(top, |taken| {
            for watcher in taken.watchers {
                released.add(watcher, &end);
            }
            if taken.key == top {
                return released.waiting(first, top, taken.waiting);
            }
            match taken.life.upgrade() {
                Some(life) => {
                    life.set_end(&end, number);
                    released.keep(life, taken.waiting);
                }
                // One being dropped, whose callbacks now count as its parent's.
                None => released.waiting(first, taken.parent, taken.waiting),
            }
        });
        on_first();
        published.store(number, Ordering::Release); // invariant 2
        true
    }

    fn set_end(&self, end: &End, number: u64) {
        if self.end_number().is_none() {
            *self.end.lock() = Some(end.clone());
            self.ended.store(number, Ordering::Release);
        }
    }

    /// Ends `linked` as we ended.
    fn pass_on(&self, linked: &Arc<Life>, number: usize) -> Released {
        let end = self.end.lock().clone();
        let of = linked.timers_sources();
        end.map_or_else(Released::default, |end| {
            linked.mark(end.through(number, of, linked.origin), || {}).1
        })
    }

    /// Joins those whom the end concerns; gives the watcher back if the life has ended already.
    pub(super) fn watch(self: &Arc<Self>, watcher: Watcher) -> Result<Key, Watcher> {
        let waits = watcher.waits();
        let key = {
            let mut tree = self.tree().lock();
            if self.end_number().is_some() {
                return Err(watcher);
            }
            tree.add_watcher(self.key(), watcher)
        };
        if waits {
            self.want_timers(1);
        }
        Ok(key)
    }

    /// Leaves again; `None` if the end came first and took the watcher along.
    pub(super) fn unwatch(self: &Arc<Self>, key: Key) -> Option<Watcher> {
        let watcher = {
            let mut tree = self.tree().lock();
            if self.end_number().is_some() {
                return None;
            }
            tree.remove_watcher(key)
        };
        if watcher.waits() {
            self.unwant_timers(1);
        }
        Some(watcher)
    }

    /// Makes sure that `waker` is the one that will be woken. False if the life has ended.
    pub(super) fn rewatch(&self, key: Key, waker: &std::task::Waker) -> bool {
        // The user's `clone` and `drop` run unlocked (invariant 4): look, unlock, then replace.
        match self.with_waker(key, |current| current.will_wake(waker)) {
            None => return false,
            Some(true) => return true,
            Some(false) => {}
        }
        let mut other = waker.clone();
        self.with_waker(key, |current| mem::swap(current, &mut other))
            .is_some()
    }

    fn with_waker<R>(&self, key: Key, look: impl FnOnce(&mut std::task::Waker) -> R) -> Option<R> {
        let mut tree = self.tree().lock();
        self.end_number().is_none().then(|| look(tree.waker(key)))
    }

    /// After the end, under no lock: what waits for nothing any more is let go of.
    fn settle(self: &Arc<Self>, waiting: usize) {
        self.unwant_timers(waiting);
        self.stop_timer();
        if self.layer == Layer::Linked {
            self.unlink();
        }
    }

    fn tell_hook(&self) {
        if let Some(hook) = self.hook.as_ref().and_then(Weak::upgrade) {
            guard::shield("a group's end", || hook.ended());
        }
    }

    fn timers_sources(&self) -> usize {
        self.timers.sources
    }

    /// The nearest groups below this life, for who draws the tree of them.
    pub(crate) fn hooks_below(self: &Arc<Self>) -> Vec<Arc<dyn Hook>> {
        let mut found = Vec::new();
        let mut open = self.children();
        while let Some(life) = open.pop() {
            match life.hook.as_ref().and_then(Weak::upgrade) {
                Some(hook) => found.push(hook),
                None => open.extend(life.children()),
            }
        }
        found
    }

    fn children(self: &Arc<Self>) -> Vec<Arc<Life>> {
        let children = {
            let tree = self.tree().lock();
            match self.end_number() {
                None => tree.children(self.key()),
                Some(_) => Vec::new(), // its place may be somebody else's by now
            }
        };
        children.iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn parent(&self) -> Option<&Arc<Life>> {
        match (&self.parent, &self.home) {
            (None, Home::Under(root)) => Some(root),
            (parent, _) => parent.as_ref(),
        }
    }
}

impl Home {
    fn new() -> Self {
        Self::Root {
            tree: Mutex::new(Tree::default()),
            published: AtomicU64::new(0),
        }
    }
}

impl End {
    pub(crate) fn canceled(origin: &'static Location<'static>) -> Self {
        let error = ContextError::Canceled;
        Self {
            error,
            cause: Cause::plain(error, origin),
            at: None,
        }
    }

    pub(crate) fn canceled_by(cause: Cause) -> Self {
        Self {
            error: ContextError::Canceled,
            cause,
            at: None,
        }
    }

    pub(crate) fn into_error(self) -> Error {
        Error::Context {
            error: self.error,
            cause: self.cause,
        }
    }

    fn through(&self, number: usize, of: usize, linked_at: &'static Location<'static>) -> Self {
        Self {
            error: self.error,
            cause: self.cause.through(number, of, linked_at),
            at: self.at,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.source.unwatch(self.key));
    }
}

/// Invariants 5 and 6.
impl Drop for Life {
    fn drop(&mut self) {
        self.leave(self);
        let mut held: Vec<Arc<Life>> = Vec::new();
        let mut next = self.let_go(&mut held);
        while let Some(life) = next.take().or_else(|| held.pop()) {
            let known_as = Arc::as_ptr(&life);
            if let Some(mut life) = Arc::into_inner(life) {
                life.leave(known_as);
                next = life.let_go(&mut held);
            }
        }
    }
}

impl Life {
    /// Leaves the tree, which knows it by the address that it had while it was shared.
    fn leave(&self, known_as: *const Life) {
        let key = self.key();
        if self.end_number().is_some() {
            return; // it was taken out
        }
        if key == ROOT {
            return self.leave_sources(); // it keeps the tree, or has left it already
        }
        let moved = self.tree().lock().remove_life(key, known_as);
        self.key.store(ROOT, Ordering::Relaxed);
        if moved > 0 {
            self.hand_over(moved); // of none: does nothing
        }
    }

    /// A linked life's callbacks watch all of its sources from now on, which can still end it.
    fn leave_sources(&self) {
        let links = self.links.lock();
        let Home::Root { tree, .. } = &self.home else {
            return;
        };
        if links.is_empty() {
            return;
        }
        let sources: Vec<_> = links.iter().map(|link| link.source.clone()).collect();
        drop(links);
        let (callbacks, waiting) = tree.lock().remove_root();
        for callback in callbacks {
            callback.wait_for(&sources);
        }
        if waiting > 0 {
            self.timers.unwant_above(waiting); // of none: does nothing
        }
    }

    /// `moved` callbacks wait for the parent's end from now on, and for its deadlines.
    fn hand_over(&self, moved: usize) {
        if let (Some(parent), Some(_)) = (self.parent(), &self.timers.own) {
            parent.want_timers(moved);
            self.timers.unwant_above(moved);
        } // with no deadline of its own it went by the parent's
    }

    /// Takes every handle to another life out of a life that is being dropped: to its parent, and (through
    /// `held`) its sources and its timers' owners.
    fn let_go(&mut self, held: &mut Vec<Arc<Life>>) -> Option<Arc<Life>> {
        for link in mem::take(self.links.get_mut()) {
            held.push(link.source.clone());
        }
        self.timers.let_go(held);
        if self.parent.is_some() || self.is_root() {
            return self.parent.take(); // which holds the root
        }
        match mem::replace(&mut self.home, Home::Left) {
            Home::Under(root) => Some(root),
            _ => None,
        }
    }
}
