//! What depends on a node: its children, and what watches its end.
//!
//! Each node has its own lock. Where threads compete for it, as they do for a server's root context, which every
//! request joins, the lists are split into lanes, and each thread uses a lane of its own.
//!
//! # Invariants
//!
//! 1. A node's end is set before the walk that set it takes the lanes, and what joins checks the end under the lane's
//!    lock. So either the walk sees what joined, or what joins sees the end: no wake-up is lost.
//! 2. `more` is installed under the lock of `first`. So a walk that has locked `first` after the end was set either
//!    finds the lanes, or the thread that installs them later, and each that uses them, sees the end.
//! 3. A child or an entry that is in a list is alive: it removes itself under the lane's lock before its memory goes.
//! 4. A child is linked by its parent's lists only, an entry by those of the node that it watches, and `place` is
//!    the lane. It is written before the child or entry is linked, by the code that links it.
//! 5. An entry's content belongs to the holder of the lock of its lane; before it is linked and after it was removed,
//!    to its owner.
//! 6. An entry with a callback or an orphanage in it is owned by its list as well: one reference of its `Arc`.
//! 7. No lock is held while another is taken, and no foreign code runs under one.
#![allow(unsafe_code, reason = "joining and leaving without an allocation")]

use super::node::{Base, Kind, Node, NodeRef};
use super::orphans::Orphanage;
use crate::list::{self, Linked, List};
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Mutex, MutexGuard, UnsafeCell};
use std::mem;
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize as StdAtomicUsize;
use std::sync::{Arc, OnceLock};
use std::task::Waker;

pub(super) type Callback = Box<dyn FnOnce() + Send>;

/// Lanes of a node that threads compete for.
const LANES: usize = 8;

/// `place` of what is in no list.
const NOWHERE: u8 = 0;

/// `place` of what is in the first lane. Those of `more` follow.
const FIRST: u8 = 1;

/// The lists of a node.
pub(super) struct Links {
    first: Mutex<Lane>,
    more: OnceLock<Box<[Padded]>>,
}

/// A lane that shares no cache line with another.
#[repr(align(128))]
struct Padded(Mutex<Lane>);

struct Lane {
    children: List<Base>,
    watchers: List<Entry>,
    /// Callbacks of children that have been dropped. This node's end can still call them.
    orphans: Vec<Callback>,
}

/// A node's place among its parent's children.
pub(super) struct Sibling {
    links: list::Links<Base>,
    place: AtomicU8,
}

/// What watches a node's end.
pub(super) struct Entry {
    links: list::Links<Entry>,
    place: AtomicU8,
    content: UnsafeCell<Content>,
}

/// What an entry is for.
pub(super) enum Content {
    /// It has been taken.
    Gone,
    /// A task that waits.
    Waker(Waker),
    Callback(Callback),
    /// Callbacks of a linked node that has been dropped: the first of its sources to end calls them.
    Orphanage(Arc<Orphanage>),
    /// A node that is linked to this one. It owns the entry, so it is alive as long as the entry is in the list.
    Link(NonNull<Base>),
}

/// What an end concerns, as a walk takes it from the lists.
pub(super) enum Taken {
    Child(NodeRef),
    Linked(NodeRef),
    /// A waiter, to be woken once everything is marked.
    Told(Told),
}

/// What is woken or called at an end.
pub(super) enum Told {
    Waker(Waker),
    Callback(Callback),
    Orphanage(Arc<Orphanage>),
    Orphans(Vec<Callback>),
}

/// What a node that is dropped leaves behind.
#[derive(Default)]
pub(super) struct Left {
    pub(super) callbacks: Vec<Callback>,
    pub(super) orphanages: Vec<Arc<Orphanage>>,
    /// How many registrations these were: each had the node's timers armed.
    pub(super) registrations: usize,
}

// SAFETY: `links` is used by the list alone.
unsafe impl Linked for Base {
    fn links(&self) -> &list::Links<Self> {
        &self.sibling.links
    }
}

// SAFETY: `links` is used by the list alone.
unsafe impl Linked for Entry {
    fn links(&self) -> &list::Links<Self> {
        &self.links
    }
}

// SAFETY: the content is reached under a lock, or by its one owner (invariant 5), and all that it can be is `Send`:
// the address in it is that of a node, which is `Send` and `Sync`.
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

impl Sibling {
    pub(super) fn new() -> Self {
        Self {
            links: list::Links::new(),
            place: AtomicU8::new(NOWHERE),
        }
    }

    /// Whether the node is among its parent's children. Exact for the code that links or removes it. `place` is Relaxed
    /// everywhere, because that code runs on the thread that holds the child, and the lane's lock orders the rest.
    pub(super) fn is_linked(&self) -> bool {
        self.place.load(Ordering::Relaxed) != NOWHERE
    }
}

impl Entry {
    pub(super) fn new(content: Content) -> Self {
        Self {
            links: list::Links::new(),
            place: AtomicU8::new(NOWHERE),
            content: UnsafeCell::new(content),
        }
    }

    /// # Safety
    ///
    /// The caller holds the lock of the entry's lane, or is its owner while it is in no list.
    unsafe fn replace(&self, content: Content) -> Content {
        // SAFETY: invariant 5, by the caller's promise.
        self.content
            .with_mut(|old| unsafe { mem::replace(&mut *old, content) })
    }
}

impl Links {
    pub(super) fn new() -> Self {
        Self {
            first: Mutex::new(Lane::new()),
            more: OnceLock::new(),
        }
    }

    /// The lane to join, and its place.
    fn choose(&self) -> (u8, MutexGuard<'_, Lane>) {
        if let Some(more) = self.more.get() {
            let lane = thread_number() % more.len();
            return (FIRST + 1 + lane as u8, more[lane].0.lock());
        }
        // `lock` under the model checker, because it does not try both outcomes of `try_lock`, nor what follows it.
        if cfg!(failfast_loom) {
            return (FIRST, self.first.lock());
        }
        // Lanes are made when the first lock was found held, because most nodes are used by one thread at a time.
        if let Some(lane) = self.first.try_lock() {
            return (FIRST, lane);
        }
        let lane = self.first.lock();
        self.more.get_or_init(lanes); // invariant 2
        (FIRST, lane)
    }

    /// The lane at a place where something is or was.
    fn at(&self, place: u8) -> MutexGuard<'_, Lane> {
        match (place, self.more.get()) {
            (NOWHERE | FIRST, _) | (_, None) => self.first.lock(),
            (place, Some(more)) => more[usize::from(place - FIRST - 1)].0.lock(),
        }
    }

    /// The lanes behind the first. To be read after `first` was locked (invariant 2).
    fn others(&self) -> &[Padded] {
        self.more.get().map_or(&[], |more| more)
    }

    /// Whether nothing depends on the node. To be read once its end is set: then it stays so.
    pub(super) fn is_vacant(&self) -> bool {
        self.first.lock().is_vacant() && self.others().iter().all(|lane| lane.0.lock().is_vacant())
    }

    /// Shows everything that the node's end concerns. `take`: waiters are taken out of the lists; else the nodes alone
    /// are shown. Nodes stay in the lists.
    pub(super) fn visit(&self, take: bool, found: &mut Vec<Taken>) {
        // `first` before the others (invariant 2), one lock at a time (invariant 7).
        self.first.lock().visit(take, found);
        for lane in self.others() {
            lane.0.lock().visit(take, found);
        }
    }

    /// The children that are alive.
    pub(super) fn children(&self, found: &mut Vec<NodeRef>) {
        found.extend(self.first.lock().children());
        for lane in self.others() {
            found.extend(lane.0.lock().children());
        }
    }

    /// Takes everything out of a node that is being dropped, if there is anything. Only callbacks can be left, because
    /// everything else in the lists holds the node.
    pub(super) fn drain(&mut self) -> Option<Left> {
        if self.more.get().is_none() && self.first.get_mut().is_vacant() {
            return None;
        }
        let mut left = Left::default();
        self.first.get_mut().drain(&mut left);
        let more = self.more.get_mut();
        for lane in more.into_iter().flat_map(|more| more.iter_mut()) {
            lane.0.get_mut().drain(&mut left);
        }
        (left.registrations > 0).then_some(left)
    }
}

fn lanes() -> Box<[Padded]> {
    (0..LANES)
        .map(|_| Padded(Mutex::new(Lane::new())))
        .collect()
}

/// A number of this thread's own: std's id can't be had as a number.
fn thread_number() -> usize {
    static NEXT: StdAtomicUsize = StdAtomicUsize::new(0);
    thread_local! {
        // Relaxed, because any spread of the threads over the lanes is correct.
        static NUMBER: usize = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    // Late in a thread's life the number has been dropped, and any lane is correct, because a lane only saves contention.
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

impl Lane {
    fn new() -> Self {
        Self {
            children: List::new(),
            watchers: List::new(),
            orphans: Vec::new(),
        }
    }

    #[inline]
    fn is_vacant(&self) -> bool {
        self.children.is_empty() && self.watchers.is_empty() && self.orphans.is_empty()
    }

    fn children(&self) -> impl Iterator<Item = NodeRef> + '_ {
        // SAFETY: a child in the list is alive (invariant 3). One that is being dropped can't be upgraded.
        self.children
            .iter()
            .filter_map(|child| unsafe { child.as_ref().upgrade() })
    }

    fn visit(&mut self, take: bool, found: &mut Vec<Taken>) {
        // SAFETY: as in `children`.
        let open = self
            .children
            .iter()
            .filter(|child| unsafe { !child.as_ref().is_subtree_marked() });
        found.extend(
            // SAFETY: as in `children`.
            open.filter_map(|child| unsafe { child.as_ref().upgrade() })
                .map(Taken::Child),
        );
        match take {
            true => self.take(found),
            false => self.show_linked(found),
        }
    }

    /// Links stay, because another walk that comes here before all below them is marked has to see them.
    fn take(&mut self, found: &mut Vec<Taken>) {
        let mut next = self.watchers.first();
        while let Some(entry) = next {
            // SAFETY: it is in the list, so it is alive (invariant 3), and the lane is locked (invariant 5).
            unsafe {
                next = self.watchers.after(entry);
                if let Some(link) = linked_by(entry) {
                    found.extend(link.as_ref().upgrade().map(Taken::Linked));
                    continue;
                }
                self.watchers.remove(entry);
                found.extend(take_content(entry).and_then(Taken::told));
            }
        }
        if !self.orphans.is_empty() {
            found.push(Taken::Told(Told::Orphans(mem::take(&mut self.orphans))));
        }
    }

    fn show_linked(&self, found: &mut Vec<Taken>) {
        for entry in self.watchers.iter() {
            // SAFETY: as in `take`.
            let linked = unsafe { linked_by(entry).and_then(|link| link.as_ref().upgrade()) };
            found.extend(linked.map(Taken::Linked));
        }
    }

    fn drain(&mut self, left: &mut Left) {
        while let Some(entry) = self.watchers.pop_front() {
            left.registrations += 1;
            // SAFETY: as in `take`; the lane is this function's alone.
            match unsafe { take_content(entry) } {
                Some(Content::Callback(callback)) => left.callbacks.push(callback),
                Some(Content::Orphanage(orphanage)) => left.orphanages.push(orphanage),
                Some(_) | None => {}
            }
        }
        if !self.orphans.is_empty() {
            left.registrations += 1;
            merge(&mut left.callbacks, mem::take(&mut self.orphans));
        }
    }

    /// # Safety
    ///
    /// The entry is alive, in no list, and stays where it is until it has been removed. Of a shared one, `entry` is
    /// what `Arc::into_raw` gave.
    unsafe fn link(&mut self, place: u8, entry: NonNull<Entry>) {
        // SAFETY: the caller's promise.
        unsafe {
            entry.as_ref().place.store(place, Ordering::Relaxed);
            self.watchers.push_back(entry);
        }
    }
}

/// Appends the shorter to the longer, so that lists that meet on their way up cost little, however many levels.
pub(super) fn merge(all: &mut Vec<Callback>, mut more: Vec<Callback>) {
    if more.len() > all.len() {
        mem::swap(all, &mut more);
    }
    all.append(&mut more);
}

/// Empties an entry that has just been removed. If it was its list's as well, that reference goes (invariant 6).
///
/// # Safety
///
/// The entry is alive, it was removed, and the caller holds the lane's lock.
unsafe fn take_content(entry: NonNull<Entry>) -> Option<Content> {
    // SAFETY: the caller's promise.
    let content = unsafe { entry.as_ref().replace(Content::Gone) };
    match content {
        Content::Gone => None,
        Content::Callback(_) | Content::Orphanage(_) => {
            // SAFETY: invariant 6. The entry is empty, so no foreign code is dropped under the lock.
            drop(unsafe { Arc::from_raw(entry.as_ptr().cast_const()) });
            Some(content)
        }
        other => Some(other),
    }
}

/// The node that an entry links, which removes the entry before it goes, under the lock that the caller holds. One that is
/// being dropped can't be upgraded.
///
/// # Safety
///
/// The entry is in a list, whose lock the caller holds.
unsafe fn linked_by(entry: NonNull<Entry>) -> Option<NonNull<Base>> {
    // SAFETY: the caller's promise (invariants 3 and 5).
    unsafe {
        entry.as_ref().content.with(|content| match &*content {
            Content::Link(linked) => Some(*linked),
            _ => None,
        })
    }
}

impl Taken {
    fn told(content: Content) -> Option<Self> {
        Some(Self::Told(match content {
            Content::Waker(waker) => Told::Waker(waker),
            Content::Callback(callback) => Told::Callback(callback),
            Content::Orphanage(orphanage) => Told::Orphanage(orphanage),
            Content::Gone | Content::Link(_) => return None,
        }))
    }
}

/// Adds a new node to its parent's list, or ends it as the parent did.
#[inline]
pub(super) fn join<K: Kind>(child: &Arc<Node<K>>) {
    let child = child.base();
    let Some(parent) = &child.parent else { return };
    // SAFETY: the child is in an `Arc`, so it stays where it is, and `Base`'s destructor removes it.
    let joined = child.sibling.is_linked() || unsafe { parent.base().add_child(child) };
    if joined {
        return;
    }
    if let Some(end) = parent.end() {
        child.set_end(end);
        child.set_subtree_marked(); // nothing is below yet
        child.release_cause();
    }
}

/// What others do with a node's lists.
impl Base {
    /// Adds a child. False if the node has ended (invariant 1).
    ///
    /// # Safety
    ///
    /// The child is in an `Arc`, joins once, and its destructor calls [`remove_child`](Self::remove_child).
    unsafe fn add_child(&self, child: &Self) -> bool {
        // The end is read under the lane's lock, because the walk takes that lock after the end was set (invariant 1).
        let (place, mut lane) = self.links.choose();
        if self.is_marked() {
            return false;
        }
        child.sibling.place.store(place, Ordering::Relaxed);
        // SAFETY: it stays where it is, is in no list, and removes itself (the caller's promise).
        unsafe { lane.children.push_back(NonNull::from(child)) };
        true
    }

    /// Removes a child that this node may have.
    pub(super) fn remove_child(&self, child: &Base) {
        let place = child.sibling.place.load(Ordering::Relaxed);
        if place == NOWHERE {
            return; // it never joined, or has left
        }
        let mut lane = self.links.at(place);
        // SAFETY: the child is alive, because it is borrowed, and in this list or in none (invariant 4).
        unsafe { lane.children.remove(NonNull::from(child)) };
        child.sibling.place.store(NOWHERE, Ordering::Relaxed);
    }

    /// Adds a callback, or an orphanage. Gives it back if the node has ended.
    pub(super) fn add_shared(&self, content: Content) -> Result<Arc<Entry>, Content> {
        let entry = Arc::new(Entry::new(content));
        let (place, mut lane) = self.links.choose();
        if self.is_marked() {
            drop(lane);
            // SAFETY: no other reference to the entry exists.
            return Err(unsafe { entry.replace(Content::Gone) });
        }
        let owned = Arc::into_raw(entry.clone()).cast_mut(); // invariant 6
        // SAFETY: `into_raw` never gives null.
        let owned = unsafe { NonNull::new_unchecked(owned) };
        // SAFETY: the list owns a reference of it.
        unsafe { lane.link(place, owned) };
        Ok(entry)
    }

    /// Takes a callback, or an orphanage, back. `None` if the end took it.
    pub(super) fn remove_shared(&self, entry: &Arc<Entry>) -> Option<Content> {
        let mut lane = self.links.at(entry.place.load(Ordering::Relaxed));
        // SAFETY: the entry is alive, and in this node's list or in none (invariant 4); `as_ptr` never gives null.
        unsafe {
            let entry = NonNull::new_unchecked(Arc::as_ptr(entry).cast_mut());
            let linked = lane.watchers.remove(entry);
            linked.then(|| take_content(entry))?
        }
    }

    /// Adds callbacks of a child that has been dropped. `Ok(true)` if they are the first; gives them back if the node has
    /// ended.
    pub(super) fn add_orphans(&self, callbacks: Vec<Callback>) -> Result<bool, Vec<Callback>> {
        let (_, mut lane) = self.links.choose();
        if self.is_marked() {
            return Err(callbacks);
        }
        let first = lane.orphans.is_empty();
        merge(&mut lane.orphans, callbacks);
        Ok(first)
    }

    /// Links an entry of a linked node's. False if the node has ended.
    ///
    /// # Safety
    ///
    /// The entry stays where it is, and alive, until it has been removed by [`remove_link`](Self::remove_link).
    pub(super) unsafe fn add_link(&self, entry: &Entry) -> bool {
        let (place, mut lane) = self.links.choose();
        let open = !self.is_marked();
        if open {
            // SAFETY: the caller's promise.
            unsafe { lane.link(place, NonNull::from(entry)) };
        }
        open
    }

    pub(super) fn remove_link(&self, entry: &Entry) {
        let mut lane = self.links.at(entry.place.load(Ordering::Relaxed));
        // SAFETY: the entry is alive, because it is borrowed, and in this node's list or in none (invariant 4).
        unsafe { lane.watchers.remove(NonNull::from(entry)) };
    }

    /// Links the entry of a task that waits. Gives the waker back if the node has ended.
    ///
    /// # Safety
    ///
    /// The entry is in no list, and stays where it is, and alive, until it has been removed by
    /// [`remove_waiter`](Self::remove_waiter).
    pub(super) unsafe fn add_waiter(&self, entry: &Entry, waker: Waker) -> Result<(), Waker> {
        let (place, mut lane) = self.links.choose();
        if self.is_marked() {
            return Err(waker);
        }
        // SAFETY: it is in no list, so it is its owner's; the lane is locked, and the caller keeps it alive. What it
        // held is `Gone`, which is dropped under the lock and is no foreign code.
        unsafe {
            drop(entry.replace(Content::Waker(waker)));
            lane.link(place, NonNull::from(entry));
        }
        Ok(())
    }

    /// Changes the waker of an entry. `None` if the end has taken it.
    fn change_waker<R>(&self, entry: &Entry, change: impl FnOnce(&mut Waker) -> R) -> Option<R> {
        let _lane = self.links.at(entry.place.load(Ordering::Relaxed));
        // SAFETY: the lane is locked (invariant 5).
        entry
            .content
            .with_mut(|content| match unsafe { &mut *content } {
                Content::Waker(waker) => Some(change(waker)),
                _ => None,
            })
    }

    /// Makes sure that `waker` is the one that will be woken. False if the end has taken the registration.
    pub(super) fn renew_waiter(&self, entry: &Entry, waker: &Waker) -> bool {
        match self.change_waker(entry, |current| current.will_wake(waker)) {
            None => return false,
            Some(true) => return true,
            Some(false) => {}
        }
        // `clone` and `drop` of a waker are foreign code, so they run under no lock.
        let mut other = waker.clone();
        self.change_waker(entry, |current| mem::swap(current, &mut other))
            .is_some()
    }

    /// Takes a waiter's entry out. Returns the waker, unless the end has taken it.
    pub(super) fn remove_waiter(&self, entry: &Entry) -> Option<Waker> {
        let mut lane = self.links.at(entry.place.load(Ordering::Relaxed));
        // SAFETY: alive, because it is borrowed, and in this list or in none (invariant 4). The lane is locked
        // (invariant 5).
        let content = unsafe {
            lane.watchers.remove(NonNull::from(entry));
            entry.replace(Content::Gone)
        };
        match content {
            Content::Waker(waker) => Some(waker),
            _ => None,
        }
    }
}

/// A task's registration with a node: at most one waker, which is the latest.
pub(super) struct Waiter {
    node: NodeRef,
    /// Of a box. It is in the node's list, or has been taken by the end.
    entry: Option<NonNull<Entry>>,
}

// SAFETY: the entry is `Send` and `Sync`, and reached under a lock or through `&mut`.
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

impl Waiter {
    pub(super) fn new(node: NodeRef) -> Self {
        Self { node, entry: None }
    }

    pub(super) fn node(&self) -> &NodeRef {
        &self.node
    }

    pub(super) fn is_registered(&self) -> bool {
        self.entry.is_some()
    }

    /// Registers `waker`. False if the node has ended.
    pub(super) fn register(&mut self, waker: Waker) -> bool {
        debug_assert!(self.entry.is_none());
        let entry = NonNull::from(Box::leak(Box::new(Entry::new(Content::Gone))));
        // SAFETY: `free` alone frees it, which is called after it has been removed, or was refused.
        match unsafe { self.node.base().add_waiter(entry.as_ref(), waker) } {
            Ok(()) => self.entry = Some(entry),
            Err(waker) => {
                // SAFETY: it is in no list, so no other reference exists.
                unsafe { free(entry) };
                crate::unwind::discard(waker);
            }
        }
        self.entry.is_some()
    }

    /// Makes sure that `waker` is the one that will be woken. False if the end has taken the registration.
    pub(super) fn renew(&mut self, waker: &Waker) -> bool {
        // SAFETY: `remove` alone frees the entry.
        let entry = self.entry.map(|entry| unsafe { entry.as_ref() });
        entry.is_some_and(|entry| self.node.base().renew_waiter(entry, waker))
    }

    /// Leaves. Returns the waker, unless the end has taken it.
    pub(super) fn remove(&mut self) -> Option<Waker> {
        let entry = self.entry.take()?;
        // SAFETY: it is alive until it is freed below.
        let waker = self.node.base().remove_waiter(unsafe { entry.as_ref() });
        // SAFETY: it is in no list any more, so no other reference exists.
        unsafe { free(entry) };
        waker
    }
}

/// # Safety
///
/// Made by [`Waiter::register`], and no other reference exists.
unsafe fn free(entry: NonNull<Entry>) {
    // SAFETY: made by `Box::leak`.
    drop(unsafe { Box::from_raw(entry.as_ptr()) });
}

impl Drop for Waiter {
    fn drop(&mut self) {
        crate::unwind::discard(self.remove());
    }
}
