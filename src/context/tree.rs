//! Who depends on whom, and who waits for whom: the links of one tree of lives, all under its root's lock.
//!
//! Plain data, no foreign code: nothing here wakes, calls or drops what it holds, it hands it out.

use super::life::Life;
use crate::sync::Mutex;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::task::Waker;

/// An entry's place. Freed places are used again.
pub(super) type Key = u32;

/// The end of a list.
const NONE: Key = Key::MAX;

/// The root's own entry: there from the first entry on, until the last is gone.
pub(super) const ROOT: Key = 0;

/// More free entries than this are given back to the allocator when the tree is empty.
const KEEP: usize = 64;

pub(super) type Callback = Box<dyn FnOnce() + Send>;

/// Whom the end of a life concerns.
pub(super) enum Watcher {
    /// A task that waits for it.
    Task(Waker),
    /// A callback.
    Callback(Callback),
    /// A callback that several lives have, whose linked context is gone: the first to end calls it.
    Shared(Arc<Shared>),
    /// A linked context in another tree, and which of its sources this is.
    Link(Weak<Life>, usize),
}

impl Watcher {
    /// Whether somebody waits: a timer must then be armed for the life's deadline. A link waits only if
    /// somebody waits for the linked context, which sees to that itself.
    pub(super) fn waits(&self) -> bool {
        !matches!(self, Self::Link(..))
    }

    /// A callback to be had by several lives.
    fn into_shared(self) -> Option<Arc<Shared>> {
        match self {
            Self::Callback(callback) => Some(Arc::new(Shared::new(callback))),
            Self::Shared(callback) => Some(callback),
            Self::Task(_) | Self::Link(..) => None,
        }
    }
}

/// A callback, and where it waits.
pub(super) struct Shared {
    pub(super) callback: Mutex<Option<Callback>>,
    pub(super) places: Mutex<Vec<(Weak<Life>, Key)>>,
}

impl Shared {
    fn new(callback: Callback) -> Self {
        Self {
            callback: Mutex::new(Some(callback)),
            places: Mutex::new(Vec::new()),
        }
    }
}

/// A life taken out of the tree, with everyone who watched it, the longest first.
pub(super) struct Taken {
    pub(super) life: Weak<Life>,
    pub(super) key: Key,
    pub(super) parent: Key,
    pub(super) waiting: usize,
    pub(super) watchers: Vec<Watcher>,
}

#[derive(Default)]
pub(super) struct Tree {
    entries: Vec<Entry>,
    /// The first of the vacant entries.
    free: Option<Key>,
    /// How many entries are not vacant; the root's does not count.
    used: usize,
    /// How many of the lives in it have deadlines of their own; the root's does not count.
    limited: usize,
    /// How many ends this tree has seen: see `Life`, invariant 2.
    pub(super) epoch: u64,
}

enum Entry {
    Vacant(Option<Key>),
    Life(Links),
    Watcher {
        of: Key,
        siblings: Siblings,
        watcher: Watcher,
    },
}

struct Links {
    life: Weak<Life>,
    parent: Key,
    siblings: Siblings,
    first_child: Key,
    first_watcher: Key,
    waiting: usize,
    /// Whether it has a deadline of its own.
    limited: bool,
}

#[derive(Clone, Copy)]
struct Siblings {
    previous: Key,
    next: Key,
}

/// Which of a life's two lists.
#[derive(Clone, Copy)]
enum List {
    Children,
    Watchers,
}

impl Tree {
    pub(super) fn add_life(&mut self, parent: Key, life: Weak<Life>, limited: bool) -> Key {
        let siblings = self.join(parent, List::Children);
        let links = Links {
            life,
            parent,
            siblings,
            first_child: NONE,
            first_watcher: NONE,
            waiting: 0,
            limited,
        };
        self.limited += usize::from(limited);
        self.fill(parent, List::Children, Entry::Life(links))
    }

    /// Takes out a life that nobody can reach any more. What still watches it (only callbacks can: the
    /// others hold it) watches its parent from now on, which is what can still end it. Returns how many.
    pub(super) fn remove_life(&mut self, key: Key, life: *const Life) -> usize {
        if !self.is_at(key, life) {
            return 0; // its parent ended while it was being dropped
        }
        let Links {
            parent, siblings, ..
        } = *self.life(key);
        let (watchers, _) = self.take_watchers(key);
        self.leave(parent, List::Children, siblings);
        self.vacate(key);
        let moved = watchers.len();
        for watcher in watchers {
            self.add_watcher(parent, watcher);
        }
        self.tidy();
        moved
    }

    /// Takes the callbacks out of a root that nobody can reach any more, each once, and says how many there
    /// were.
    pub(super) fn remove_root(&mut self) -> (Vec<Arc<Shared>>, usize) {
        if self.entries.is_empty() {
            return (Vec::new(), 0);
        }
        let (watchers, waiting) = self.take_watchers(ROOT);
        let mut seen = BTreeSet::new();
        let callbacks = watchers.into_iter().filter_map(Watcher::into_shared);
        let callbacks = callbacks
            .filter(|callback| seen.insert(Arc::as_ptr(callback)))
            .collect();
        self.tidy();
        (callbacks, waiting)
    }

    /// Whether `key` is still `life`'s: it may have been taken out, and the place given away.
    fn is_at(&self, key: Key, life: *const Life) -> bool {
        matches!(self.entries.get(key as usize), Some(Entry::Life(links)) if links.life.as_ptr() == life)
    }

    pub(super) fn add_watcher(&mut self, of: Key, watcher: Watcher) -> Key {
        let siblings = self.join(of, List::Watchers);
        self.life(of).waiting += usize::from(watcher.waits());
        self.fill(
            of,
            List::Watchers,
            Entry::Watcher {
                of,
                siblings,
                watcher,
            },
        )
    }

    pub(super) fn remove_watcher(&mut self, key: Key) -> Watcher {
        let Entry::Watcher {
            of,
            siblings,
            watcher,
        } = self.vacate(key)
        else {
            unreachable!("a watcher's key is its own until it is removed or its life ends")
        };
        self.leave(of, List::Watchers, siblings);
        self.life(of).waiting -= usize::from(watcher.waits());
        self.tidy();
        watcher
    }

    /// The waker registered at `key`.
    pub(super) fn waker(&mut self, key: Key) -> &mut Waker {
        match &mut self.entries[key as usize] {
            Entry::Watcher {
                watcher: Watcher::Task(waker),
                ..
            } => waker,
            _ => {
                unreachable!("a waiting task's key is its own until it is removed or its life ends")
            }
        }
    }

    /// Takes out `top` and all its descendants, parents before children, without recursion: each one's
    /// children join the end of the queue, which is made of the very links they are taken from.
    pub(super) fn take_subtree(&mut self, top: Key, mut take: impl FnMut(Taken)) {
        if top as usize >= self.entries.len() {
            return; // nobody has joined this tree yet, or everybody has left
        }
        let Links {
            parent, siblings, ..
        } = *self.life(top);
        if top != ROOT {
            self.leave(parent, List::Children, siblings);
        }
        self.life(top).siblings.next = NONE;
        let (mut head, mut tail) = (top, top);
        while head != NONE {
            let mut child = self.life(head).first_child;
            self.life(tail).siblings.next = child;
            while child != NONE {
                tail = child;
                child = self.life(child).siblings.next;
            }
            let next = self.life(head).siblings.next;
            take(self.take(head));
            head = next;
        }
        self.tidy();
    }

    /// The lives directly below `key`.
    pub(super) fn children(&self, key: Key) -> Vec<Weak<Life>> {
        let mut found = Vec::new();
        let mut next = self.links(key).map_or(NONE, |links| links.first_child);
        while let Some(links) = self.links(next) {
            found.push(links.life.clone());
            next = links.siblings.next;
        }
        found
    }

    /// The descendants of the life at `top` that have deadlines of their own. Free if nobody in the tree has.
    pub(super) fn limited_below(&self, top: Key) -> Vec<Weak<Life>> {
        let (mut found, mut open) = (Vec::new(), Vec::new());
        if self.limited > 0 {
            // else the walk would find nobody
            open.extend(self.links(top).map(|links| links.first_child));
        }
        while let Some(links) = open.pop().and_then(|key| self.links(key)) {
            let below = [links.siblings.next, links.first_child];
            open.extend(below.into_iter().filter(|&key| key != NONE));
            if links.limited {
                found.push(links.life.clone());
            }
        }
        found
    }

    fn links(&self, key: Key) -> Option<&Links> {
        match self.entries.get(key as usize) {
            Some(Entry::Life(links)) => Some(links),
            _ => None,
        }
    }

    fn take(&mut self, key: Key) -> Taken {
        let (watchers, waiting) = self.take_watchers(key);
        let parent = self.life(key).parent;
        let life = match key {
            ROOT => {
                self.life(ROOT).first_child = NONE;
                Weak::new()
            }
            _ => match self.vacate(key) {
                Entry::Life(links) => links.life,
                _ => unreachable!("the lists of lives hold lives"),
            },
        };
        Taken {
            life,
            key,
            parent,
            waiting,
            watchers,
        }
    }

    fn take_watchers(&mut self, of: Key) -> (Vec<Watcher>, usize) {
        let links = self.life(of);
        let waiting = std::mem::take(&mut links.waiting);
        let mut next = std::mem::replace(&mut links.first_watcher, NONE);
        let mut watchers = Vec::new();
        while next != NONE {
            let Entry::Watcher {
                siblings, watcher, ..
            } = self.vacate(next)
            else {
                break;
            };
            watchers.push(watcher);
            next = siblings.next;
        }
        watchers.reverse(); // the lists keep the newest first
        (watchers, waiting)
    }

    fn life(&mut self, key: Key) -> &mut Links {
        match &mut self.entries[key as usize] {
            Entry::Life(links) => links,
            _ => unreachable!("a life's key is its own until it is removed or ends"),
        }
    }

    fn first(&mut self, of: Key, list: List) -> &mut Key {
        let links = self.life(of);
        match list {
            List::Children => &mut links.first_child,
            List::Watchers => &mut links.first_watcher,
        }
    }

    fn siblings(&mut self, key: Key) -> &mut Siblings {
        match &mut self.entries[key as usize] {
            Entry::Life(Links { siblings, .. }) | Entry::Watcher { siblings, .. } => siblings,
            Entry::Vacant(_) => unreachable!("a list holds no vacant entry"),
        }
    }

    /// The links of an entry about to become the first of a list.
    fn join(&mut self, of: Key, list: List) -> Siblings {
        self.grow_root();
        Siblings {
            previous: NONE,
            next: *self.first(of, list),
        }
    }

    /// Puts an entry, made with the links that `join` gave, at the head of its list.
    fn fill(&mut self, of: Key, list: List, entry: Entry) -> Key {
        let key = self.occupy(entry);
        let next = std::mem::replace(self.first(of, list), key);
        if next != NONE {
            self.siblings(next).previous = key;
        }
        key
    }

    fn leave(&mut self, of: Key, list: List, siblings: Siblings) {
        match siblings.previous {
            NONE => *self.first(of, list) = siblings.next,
            previous => self.siblings(previous).next = siblings.next,
        }
        if siblings.next != NONE {
            self.siblings(siblings.next).previous = siblings.previous;
        }
    }

    fn grow_root(&mut self) {
        if self.entries.is_empty() {
            let siblings = Siblings {
                previous: NONE,
                next: NONE,
            };
            let (first_child, first_watcher) = (NONE, NONE);
            let life = Weak::new();
            let root = Links {
                life,
                parent: NONE,
                siblings,
                first_child,
                first_watcher,
                waiting: 0,
                limited: false,
            };
            self.entries.push(Entry::Life(root));
        }
    }

    fn occupy(&mut self, entry: Entry) -> Key {
        self.used += 1;
        let Some(key) = self.free else {
            self.entries.push(entry);
            return Key::try_from(self.entries.len() - 1)
                .expect("a tree holds fewer than 2^32 entries");
        };
        let Entry::Vacant(next) = std::mem::replace(&mut self.entries[key as usize], entry) else {
            unreachable!("the free list holds vacant entries")
        };
        self.free = next;
        key
    }

    fn vacate(&mut self, key: Key) -> Entry {
        self.used -= 1;
        let vacant = Entry::Vacant(self.free.replace(key));
        let entry = std::mem::replace(&mut self.entries[key as usize], vacant);
        if matches!(&entry, Entry::Life(links) if links.limited) {
            self.limited -= 1;
        }
        entry
    }

    /// Forgets the vacant entries of a tree that has no other: memory follows the live, not the peak.
    fn tidy(&mut self) {
        if self.used == 0 {
            self.free = None;
            self.entries.clear();
            self.entries.shrink_to(KEEP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher() -> Watcher {
        Watcher::Task(Waker::noop().clone())
    }

    #[test]
    fn all_gone_it_has_nothing_left() {
        let mut tree = Tree::default();
        let gone = Weak::new();
        let child = tree.add_life(ROOT, gone.clone(), true);
        let grandchild = tree.add_life(child, gone.clone(), true);
        let watched = tree.add_watcher(grandchild, watcher());
        assert_eq!((tree.used, tree.limited, tree.entries.len()), (3, 2, 4));
        assert!(matches!(tree.remove_watcher(watched), Watcher::Task(_)));
        assert_eq!(tree.remove_life(grandchild, gone.as_ptr()), 0);
        assert_eq!((tree.used, tree.limited, tree.entries.len()), (1, 1, 4));
        let mut taken = Vec::new();
        tree.take_subtree(child, |one| taken.push(one.key));
        assert_eq!(taken, [child]);
        assert_eq!((tree.used, tree.limited, tree.entries.len()), (0, 0, 0));
    }

    #[test]
    fn freed_places_are_used_again() {
        let mut tree = Tree::default();
        let kept = tree.add_watcher(ROOT, watcher());
        for _ in 0..10 {
            let key = tree.add_watcher(ROOT, watcher());
            assert_eq!((key, tree.entries.len()), (2, 3));
            tree.remove_watcher(key);
        }
        tree.remove_watcher(kept);
        assert_eq!(tree.entries.len(), 0);
    }

    #[test]
    fn a_place_that_was_given_away_is_not_taken_from_who_has_it() {
        let mut tree = Tree::default();
        let (one, other) = (watcher(), Weak::new());
        let key = tree.add_watcher(ROOT, one);
        tree.remove_life(key, other.as_ptr());
        assert_eq!(tree.used, 1, "a watcher's");
        tree.remove_watcher(key);
        assert_eq!(tree.remove_life(key, other.as_ptr()), 0);
    }
}
