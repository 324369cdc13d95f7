//! Reporting the events of a group to an observer.
//!
//! A group that is not observed has none of this, and its engine pays a branch at each of the calls.
//!
//! # Invariants
//!
//! 1. **First and last.** The group's own events are sent by one thread at a time, in their order: a thread that has one
//!    notes it in [`Outbox`], and sends what is due unless another thread is sending, which then sends it as well. Nothing is
//!    sent before the maker of the group has sent `group_opened`.
//! 2. **A task's events are in order**, because they are sent by the owner of the task at the time: the spawner until it is
//!    admitted, and its poller from then on. So an observed task is announced before it is admitted, where others could
//!    see it.
//! 3. **`group_closed` is the last.** The group's last task is released after its `task_ended`, and while a task is
//!    announced and not yet admitted or refused, `group_closed` is not due.
//! 4. **No lock is held** while an observer is called, and its panics are contained.
#![allow(unsafe_code, reason = "cells are addresses: see `cell`")]

use super::cell::{Cell, Header};
use super::complete::{By, Next, Outcome};
use super::engine::{Admission, AtLimit, Engine};
use super::spans::{self, Spanned};
use crate::attempt::Attempt;
use crate::context::{ClockRef, Context, Marked, Node, NodeRef, shield};
use crate::error::{Cause, Error, Fault, Name};
use crate::observe::port::{
    AttemptEvent, AttemptKind, GroupEvent, Observer, ObserverRef, Observing, TaskEvent,
};
use crate::observe::{self, Ended};
use crate::sync::Mutex;
use crate::unwind;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

/// What an engine keeps for its observer.
pub(super) struct Observed {
    /// `None`: there is no observer, and the spans alone are recorded.
    observing: Option<Arc<Observing>>,
    /// The group's number: never used again.
    number: u64,
    parent: Option<u64>,
    parent_task: Option<u64>,
    name: Option<Name>,
    outbox: Mutex<Outbox>,
    span: Spanned,
}

/// Which of the group's own events are due, and which have been sent.
#[derive(Default)]
struct Outbox {
    open: Due,
    cancel: Due,
    close: Due,
    /// A thread is sending events.
    telling: bool,
    /// Tasks that are announced, and not yet admitted or refused.
    announced: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Due {
    #[default]
    No,
    Yes,
    Sent,
}

#[derive(Clone, Copy)]
enum GroupNews {
    Opened,
    Canceled,
    Closed { well: bool },
}

impl Due {
    fn want(&mut self) {
        if *self == Self::No {
            *self = Self::Yes;
        }
    }

    fn take(&mut self) -> bool {
        let is_due = *self == Self::Yes;
        if is_due {
            *self = Self::Sent;
        }
        is_due
    }
}

impl Outbox {
    /// Invariants 1 and 3.
    fn next(&mut self) -> Option<GroupNews> {
        if self.open == Due::No || self.close == Due::Sent {
            return None;
        }
        if self.open.take() {
            return Some(GroupNews::Opened);
        }
        if self.cancel.take() {
            return Some(GroupNews::Canceled);
        }
        let well = self.cancel == Due::No;
        (self.announced == 0 && self.close.take()).then_some(GroupNews::Closed { well })
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed) // because only uniqueness counts, and no other memory is published
}

/// Looks at the task that is being polled on this thread: the innermost, and not a body.
#[inline]
pub(super) fn with_current_task<R>(look: impl FnOnce(&Header, &Node<Engine>) -> R) -> Option<R> {
    let innermost = shield::find(|_, tag| Some(tag)).filter(|tag| !tag.task.is_null())?;
    // SAFETY: a group's tags hold the addresses of cells. This one is being polled, so it is a member, and alive.
    unsafe {
        let header = &*innermost.task.cast::<Header>();
        Some(look(header, header.node()))
    }
}

/// The same, if its group is observed.
#[inline]
fn with_current<R>(look: impl FnOnce(&Observed, &Header, &Engine) -> R) -> Option<R> {
    with_current_task(|header, node| {
        let observed = node.kind.observed.as_deref()?;
        Some(look(observed, header, &node.kind))
    })
    .flatten()
}

/// The number of the task of `group` that is being polled on this thread.
fn current_task_of(group: u64) -> Option<u64> {
    with_current(|observed, task, _| (observed.number == group).then_some(task.number)).flatten()
}

impl Observed {
    /// Of a group that is about to be made.
    #[inline]
    pub(super) fn below(
        parent: &Context,
        name: Option<&Name>,
        location: &'static Location<'static>,
    ) -> Option<Box<Self>> {
        let observing = parent.observer();
        if observing.is_none() && !spans::may_be_wanted() {
            return None;
        }
        Self::new(observing, name, location, &parent.clock())
    }

    #[cold]
    fn new(
        observing: ObserverRef,
        name: Option<&Name>,
        location: &'static Location<'static>,
        clock: &ClockRef,
    ) -> Option<Box<Self>> {
        let number = next_number();
        let span = Spanned::of_group(number, name, location, clock);
        if observing.is_none() && !span.is_wanted() {
            return None;
        }
        let parent = observing.as_ref().and_then(|observing| observing.group);
        Some(Box::new(Self {
            observing,
            number,
            parent,
            parent_task: parent.and_then(current_task_of),
            name: name.cloned(),
            outbox: Mutex::default(),
            span,
        }))
    }

    pub(super) fn name(&self) -> Option<Name> {
        self.name.clone()
    }

    fn send(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Some(observing) = &self.observing {
            let tell = || observing.with(tell);
            shield::outside(|| unwind::shield("an observer", tell));
        }
    }

    /// Runs `spawns` within the group's span, which is the parent of theirs.
    pub(super) fn within_span<R>(&self, spawns: impl FnOnce() -> R) -> R {
        self.span.enter(spawns)
    }
}

/// The group's own events.
impl Observed {
    /// Invariant 1.
    fn tell<K: ?Sized>(&self, node: &Node<K>, engine: &Engine, note: impl FnOnce(&mut Outbox)) {
        let mut outbox = self.outbox.lock();
        note(&mut outbox);
        if std::mem::replace(&mut outbox.telling, true) {
            return;
        }
        while let Some(news) = outbox.next() {
            drop(outbox); // because an observer is foreign code, and may cause the next event
            self.send_news(node, engine, news);
            outbox = self.outbox.lock();
        }
        outbox.telling = false;
    }

    fn send_news<K: ?Sized>(&self, node: &Node<K>, engine: &Engine, news: GroupNews) {
        let event = || GroupEvent {
            group: self.number,
            parent: self.parent,
            parent_task: self.parent_task,
            name: self.name.clone(),
            deadline: node.deadline(),
            at: engine.clock.now(),
            location: node.origin(),
        };
        match news {
            GroupNews::Opened => self.send(|observer| observer.group_opened(&event())),
            GroupNews::Canceled => {
                if let Some(cause) = node.end().map(|end| end.cause()) {
                    self.send(|observer| observer.canceled(&event(), &cause));
                    self.span.note("canceled", Some(&cause));
                }
            }
            GroupNews::Closed { well } => {
                self.send(|observer| observer.group_closed(&event()));
                if well {
                    self.span.note(Ended::Succeeded.key(), None::<&Cause>);
                }
                self.span.close(&engine.clock);
            }
        }
    }

    /// The group has been made. Below a parent that has ended it is canceled at once. Returns its context, which carries the observer to what is made below it.
    #[cold]
    pub(super) fn opened(&self, node: &Node<Engine>, context: Context) -> Context {
        if self.observing.is_some() {
            node.kind.start_timing(node.kind.clock.now());
        }
        let is_ended = node.is_marked();
        self.tell(node, &node.kind, |outbox| {
            outbox.open.want();
            if is_ended {
                outbox.cancel.want();
            }
        });
        match &self.observing {
            None => context,
            Some(observing) => {
                let observing = observing.below(self.number);
                context.in_observed_group(Some(Arc::new(observing)))
            }
        }
    }

    /// The group's context has ended.
    pub(super) fn canceled(&self, node: &NodeRef, engine: &Engine) {
        if !ended_well(node, engine) {
            self.tell(node, engine, |outbox| outbox.cancel.want());
        }
    }

    /// The group is over, and no task is left in it. The thread that has canceled it may not have reported that yet.
    pub(super) fn closed(&self, node: &Node<Engine>) {
        let is_canceled = node.is_marked() && !ended_well(node, &node.kind);
        self.tell(node, &node.kind, |outbox| {
            if is_canceled {
                outbox.cancel.want();
            }
            outbox.close.want();
        });
    }
}

/// Whether a context ended by the end of its group's work.
fn ended_well<K: ?Sized>(node: &Node<K>, engine: &Engine) -> bool {
    node.end().is_some_and(|end| {
        let state = engine.lock();
        end.is_finish() && state.is_ours(&end) && !state.is_out_of_reach()
    })
}

/// The events of its tasks.
impl Observed {
    /// No clock is read for the spans alone.
    fn send_task(
        &self,
        header: &Header,
        engine: &Engine,
        tell: impl FnOnce(&dyn Observer, &TaskEvent),
    ) {
        self.send(|observer| {
            let event = TaskEvent {
                group: self.number,
                task: header.number,
                name: header.name.clone(),
                at: engine.clock.now(),
                location: header.site,
            };
            tell(observer, &event);
        });
    }

    /// [`Engine::admit_unseen`] for a task that is announced first: invariant 2.
    ///
    /// # Safety
    ///
    /// The cell is new, and belongs to this group.
    #[cold]
    pub(super) unsafe fn admit(
        &self,
        node: &Arc<Node<Engine>>,
        mut cell: Cell,
        at_limit: AtLimit,
    ) -> Admission {
        // SAFETY: no other thread has the cell's address before it is admitted.
        let header = unsafe { cell.as_mut() };
        match node
            .kind
            .lock()
            .number_for(node, header.background, at_limit)
        {
            Ok(number) => header.number = number,
            Err(refused) => return refused,
        }
        if !self.announce() {
            return Admission::Over;
        }
        header.span = Spanned::of_task(self.number, header, &node.kind.clock);
        self.send_task(header, &node.kind, |observer, task| {
            observer.task_spawned(task)
        });
        // SAFETY: the caller's promise.
        let mut admission = unsafe { Engine::admit_unseen::<false>(node, cell, AtLimit::Refuse) };
        if matches!(admission, Admission::Full) && at_limit == AtLimit::Queue {
            // SAFETY: refused, so that it is still the caller's alone, and may be admitted again.
            unsafe {
                let header = cell.as_ref();
                self.send_task(header, &node.kind, |observer, task| {
                    observer.task_queued(task)
                });
                admission = Engine::admit_unseen::<false>(node, cell, at_limit);
            }
        }
        if matches!(admission, Admission::Full | Admission::Over) {
            // SAFETY: as above.
            self.task_ended(unsafe { cell.as_ref() }, &node.kind, Ended::Cancelled, None);
        }
        self.tell(node, &node.kind, |outbox| outbox.announced -= 1);
        admission
    }

    /// False if the group is over.
    fn announce(&self) -> bool {
        let mut outbox = self.outbox.lock();
        let is_open = outbox.close == Due::No;
        outbox.announced += usize::from(is_open);
        is_open
    }

    /// Polls a task between two events. If that completes it, [`Self::completed`] has sent the second.
    #[cold]
    pub(super) fn poll(
        &self,
        header: &Header,
        engine: &Engine,
        poll: impl FnOnce() -> Poll<Next>,
    ) -> Poll<Next> {
        header.span.enter(|| {
            self.send_task(header, engine, |observer, task| observer.poll_started(task));
            header.set_polling(true);
            let polled = poll();
            if polled.is_pending() {
                self.poll_ended(header, engine);
            }
            polled
        })
    }

    fn poll_ended(&self, header: &Header, engine: &Engine) {
        header.set_polling(false);
        self.send_task(header, engine, |observer, task| observer.poll_ended(task));
    }

    /// A task has completed: its outcome is recorded, and the context is canceled if that ends the group.
    #[cold]
    pub(super) fn completed(
        &self,
        header: &Header,
        engine: &Engine,
        (how, error): (Ended, Option<&Error>),
        (marked, by): (Option<&mut Marked>, By),
    ) {
        let report = || {
            if header.is_polling() {
                self.poll_ended(header, engine);
            }
            self.task_ended(header, engine, how, error);
            if let Some(marked) = marked {
                marked.report();
            }
        };
        match by {
            By::Executor => observe::in_a_drop(report),
            By::Shell | By::Group => report(),
        }
    }

    #[cold]
    fn attempt(
        &self,
        header: &Header,
        engine: &Engine,
        (attempt, kind, error): (Attempt, AttemptKind, Option<&Fault>),
    ) {
        self.send_task(header, engine, |observer, task| {
            let event = AttemptEvent {
                attempt,
                kind,
                error: error.cloned(),
                at: task.at,
            };
            observer.attempt(task, &event);
        });
    }

    fn task_ended(&self, header: &Header, engine: &Engine, how: Ended, error: Option<&Error>) {
        let outcome = how.with(error);
        self.send_task(header, engine, |observer, task| {
            observer.task_ended(task, &outcome)
        });
        header.span.note(how.key(), error);
        header.span.close(&engine.clock);
    }
}

/// Reports an attempt by a policy of the task that is being polled on this thread. Outside of a task, and in a group
/// that is not observed, that is a look at a thread-local.
#[inline]
pub(crate) fn attempt(attempt: Attempt, kind: AttemptKind, error: Option<&Fault>) {
    with_current(|observed, task, engine| observed.attempt(task, engine, (attempt, kind, error)));
}

impl<V> Outcome<V> {
    /// The outcome as it is reported to an observer.
    pub(super) fn seen(&self) -> Ended {
        match self {
            Self::Succeeded(_) => Ended::Succeeded,
            Self::Failed(_) => Ended::Failed,
            Self::Panicked(_) => Ended::Panicked,
            Self::Canceled | Self::Dismissed => Ended::Cancelled,
            Self::Lost => Ended::Lost,
        }
    }
}
