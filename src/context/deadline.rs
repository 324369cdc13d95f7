//! Deadlines: which can end a node, which clock each goes by, and whether one has passed.
//!
//! A deadline belongs to the node that it was set on, its *owner*. A node has its own deadline and refers to the nearest
//! owner above it; that one refers to the next. So a child is made in constant time, however deep the tree.
//!
//! A deadline that can't fire first is not kept: an ancestor's by the same clock that is no later makes a node's own
//! irrelevant, and a node's own that is earlier makes that ancestor's irrelevant for everything below. So most nodes
//! have one owner, and only trees with several clocks have more.

use super::node::{Base, Node, NodeRef};
use super::timer::Timer;
use super::{Context, let_go::let_go};
use crate::clock::Instant;
use crate::clock::{Clock, Sleep, SystemClock};
use crate::error::{BoxError, End, Reserved, Standing};
use crate::unwind;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// A deadline of a node's own.
pub(super) struct Own {
    pub(super) at: Instant,
    pub(super) clock: ClockRef,
    cause: Option<Reserved>,
    pub(super) timer: Timer,
}

/// The clock that a context goes by. The system's costs no reference count.
#[derive(Clone, Default)]
pub(crate) struct ClockRef(Option<Arc<dyn Clock>>);

impl ClockRef {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Some(clock))
    }

    /// The time. If the clock panics, the system's.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.read().unwrap_or_else(|_| SystemClock.now())
    }

    /// The time, or what the clock panicked with.
    #[inline]
    pub(super) fn read(&self) -> Result<Instant, String> {
        match &self.0 {
            None => Ok(SystemClock.now()),
            Some(clock) => unwind::contain_text(|| clock.now()),
        }
    }

    /// A timer of this clock's. Foreign code: it may panic.
    pub(crate) fn sleep_until(&self, deadline: Instant) -> Sleep {
        match &self.0 {
            None => SystemClock.sleep_until(deadline),
            Some(clock) => clock.sleep_until(deadline),
        }
    }

    /// A sleep of `duration` from now. `None` if its end is beyond what an `Instant` can hold.
    pub(super) fn sleep_for(&self, duration: Duration) -> Result<Option<Sleep>, BoxError> {
        let Some(until) = self.read().map_err(ClockPanicked)?.checked_add(duration) else {
            return Ok(None);
        };
        let sleep = unwind::contain_text(|| self.sleep_until(until));
        Ok(Some(sleep.map_err(ClockPanicked)?))
    }

    /// Whether it is the system's, whose code is not foreign.
    #[inline]
    pub(crate) fn is_system(&self) -> bool {
        self.0.is_none()
    }

    fn is(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// Distinguishes clocks.
    fn key(&self) -> Key {
        self.0
            .as_ref()
            .map(|clock| Arc::as_ptr(clock).cast::<()>().addr())
    }
}

/// A clock panicked, so whether a deadline has passed can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the context's clock panicked: {0}")]
pub(super) struct ClockPanicked(pub(super) String);

/// A deadline for a node that is about to be made.
pub(crate) struct NewDeadline(Asked);

enum Asked {
    At {
        at: Instant,
        past: bool,
        clock: ClockRef,
        cause: Option<Reserved>,
    },
    /// The clock panicked.
    Broken(String),
}

impl NewDeadline {
    /// `timeout` from now, by the clock of `ctx`. `None` if that is beyond what an `Instant` can hold.
    pub(crate) fn after(
        ctx: &Context,
        timeout: Duration,
        cause: Option<impl Into<BoxError>>,
    ) -> Option<Self> {
        Self::after_because(ctx, timeout, cause.map(Reserved::new))
    }

    /// [`after`](Self::after), with a reason that is made if the deadline passes.
    pub(crate) fn after_standing(
        ctx: &Context,
        timeout: Duration,
        cause: Arc<dyn Standing>,
    ) -> Option<Self> {
        Self::after_because(ctx, timeout, Some(Reserved::standing(cause)))
    }

    fn after_because(ctx: &Context, timeout: Duration, cause: Option<Reserved>) -> Option<Self> {
        let clock = ctx.clock();
        let at = match clock.read() {
            Err(why) => return Some(Self(Asked::Broken(why))),
            Ok(now) => now.checked_add(timeout)?,
        };
        Some(Self(Asked::At {
            at,
            past: timeout.is_zero(),
            clock,
            cause,
        }))
    }

    /// At `at`, by the clock of `ctx`.
    pub(crate) fn at(ctx: &Context, at: Instant, cause: Option<impl Into<BoxError>>) -> Self {
        let clock = ctx.clock();
        Self(match clock.read() {
            Err(why) => Asked::Broken(why),
            Ok(now) => Asked::At {
                at,
                past: at <= now,
                clock,
                cause: cause.map(Reserved::new),
            },
        })
    }

    /// The deadline to keep, if it can fire first, and the end that it means at once, if it does.
    #[inline]
    pub(super) fn split(
        deadline: Option<Self>,
        parent: Option<&NodeRef>,
    ) -> (Option<Own>, Option<BornEnded>) {
        match deadline {
            None => (None, None),
            Some(Self(Asked::Broken(why))) => (None, Some(BornEnded::Broken(why))),
            Some(Self(Asked::At {
                at,
                past,
                clock,
                cause,
            })) => {
                let above = parent.and_then(Node::nearest_own);
                if above.is_some_and(|above| above.clock.is(&clock) && above.at <= at) {
                    return (None, None);
                }
                let timer = Timer::new(clock.is_system());
                let own = Own {
                    at,
                    clock,
                    cause,
                    timer,
                };
                (Some(own), past.then_some(BornEnded::Past))
            }
        }
    }
}

/// Why a node ends as soon as it is made.
pub(super) enum BornEnded {
    Past,
    Broken(String),
}

impl BornEnded {
    pub(super) fn end(self, node: &NodeRef) -> Arc<End> {
        match (self, &node.base().own) {
            (Self::Past, Some(own)) => own.expiry(node.origin()),
            (Self::Past, None) => End::canceled(node.origin()),
            (Self::Broken(why), _) => End::timer_failed(ClockPanicked(why), node.origin()),
        }
    }
}

impl Own {
    /// The end that this deadline makes.
    pub(super) fn expiry(&self, origin: &'static Location<'static>) -> Arc<End> {
        End::expired(self.at, self.cause.as_ref(), origin)
    }

    /// Whether it is earlier than `end`, which is no deadline's, or a later one's.
    pub(super) fn precedes(&self, end: &End) -> bool {
        end.at().is_none_or(|at| self.at < at)
    }
}

/// The owners above a node whose deadlines can end it.
#[derive(Clone)]
pub(super) enum Above {
    None,
    /// The parent, and those above it.
    Parent,
    /// The nearest, and those above it.
    One(NodeRef),
    /// Of a linked node: those of its sources.
    Many(Arc<[Above]>),
}

impl Above {
    /// What a child of `parent` has above it.
    #[inline]
    pub(super) fn of_child(own: Option<&Own>, parent: Option<&NodeRef>) -> Self {
        let Some(parent) = parent else {
            return Self::None;
        };
        match (own, parent.nearest_owner()) {
            // The child's is earlier: see `split`.
            (Some(own), Some(owner)) if owner.base().goes_by(&own.clock) => owner.above(),
            _ if parent.base().own.is_some() => Self::Parent,
            _ => parent.above(),
        }
    }

    /// What a node that is linked to `sources` has above it: of the owners that have nothing above them, the earliest
    /// of each clock.
    pub(super) fn of_all(sources: &[NodeRef]) -> Self {
        let mut firsts: BTreeMap<Key, NodeRef> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        for above in sources.iter().map(Node::inherited) {
            match above {
                Self::One(owner) if owner.base().is_top_owner() => keep_earlier(&mut firsts, owner),
                above => all.extend(seen.insert(above.address()).then_some(above)),
            }
        }
        all.retain(|above| !matches!(above, Self::None));
        all.extend(firsts.into_values().map(Self::One));
        match all.len() {
            0 | 1 => all.pop().unwrap_or(Self::None),
            _ => Self::Many(all.into()),
        }
    }

    fn address(&self) -> *const () {
        match self {
            Self::None | Self::Parent => std::ptr::null(),
            Self::One(owner) => Arc::as_ptr(owner).cast(),
            Self::Many(all) => Arc::as_ptr(all).cast(),
        }
    }

    /// Drops the references without recursion.
    #[inline]
    pub(super) fn let_go(&mut self) {
        if !matches!(self, Self::None | Self::Parent) {
            self.let_go_of_each();
        }
    }

    fn let_go_of_each(&mut self) {
        let mut open = vec![std::mem::replace(self, Self::None)];
        while let Some(above) = open.pop() {
            match above {
                Self::None | Self::Parent => {}
                Self::One(owner) => let_go(owner),
                Self::Many(mut all) => {
                    let owned = Arc::get_mut(&mut all).into_iter().flatten();
                    open.extend(owned.map(|above| std::mem::replace(above, Self::None)));
                }
            }
        }
    }
}

/// Of two at one moment the first stays.
fn keep_earlier(firsts: &mut BTreeMap<Key, NodeRef>, owner: NodeRef) {
    let Some(own) = &owner.base().own else { return };
    let known = firsts
        .entry(own.clock.key())
        .or_insert_with(|| owner.clone());
    if known
        .base()
        .own
        .as_ref()
        .is_some_and(|known| own.at < known.at)
    {
        *known = owner;
    }
}

/// What is above a node, for those that are about to be made.
impl Node {
    /// The nearest owner, the node itself included. Of a linked node, none of those of its sources.
    fn nearest_owner(self: &Arc<Self>) -> Option<&NodeRef> {
        match (&self.base().own, &self.base().above) {
            (Some(_), _) => Some(self),
            (None, Above::Parent) => self.base().parent.as_ref(),
            (None, Above::One(owner)) => Some(owner),
            (None, Above::None | Above::Many(_)) => None,
        }
    }

    fn nearest_own(self: &Arc<Self>) -> Option<&Own> {
        self.nearest_owner()?.base().own.as_ref()
    }

    /// The owners above, as another node may keep them.
    fn above(&self) -> Above {
        match (&self.base().above, &self.base().parent) {
            (Above::Parent, Some(parent)) => Above::One(parent.clone()),
            (above, _) => above.clone(),
        }
    }

    /// The owners, the node itself included, as another node may keep them.
    fn inherited(self: &Arc<Self>) -> Above {
        match &self.base().own {
            Some(_) => Above::One(self.clone()),
            None => self.above(),
        }
    }
}

impl Base {
    fn goes_by(&self, clock: &ClockRef) -> bool {
        self.own.as_ref().is_some_and(|own| own.clock.is(clock))
    }

    /// Whether a deadline that can end it goes by a clock of the user's.
    pub(super) fn has_foreign_clock(&self) -> bool {
        self.has_deadline()
            && self
                .owners()
                .any(|owner| owner.own.as_ref().is_some_and(|own| !own.clock.is_system()))
    }

    fn is_top_owner(&self) -> bool {
        matches!(self.above, Above::None)
    }

    /// The owner, if it is the only one, as it nearly always is. Each poll of each task looks at it, and the walk
    /// over all owners costs ten times as much.
    #[inline]
    pub(super) fn sole_owner(&self) -> Option<&Base> {
        let owner = match (&self.own, &self.above) {
            (Some(_), Above::None) => return Some(self),
            (None, Above::Parent) => self.parent.as_ref()?.base(),
            (None, Above::One(owner)) => owner.base(),
            _ => return None,
        };
        owner.is_top_owner().then_some(owner)
    }

    /// All owners whose deadlines can end the node, itself included, the nearest first.
    pub(super) fn owners(&self) -> Owners<'_> {
        Owners {
            next: Some(self),
            open: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// All owners but the node itself.
    pub(super) fn owners_above(&self) -> Owners<'_> {
        let mut owners = Owners {
            next: None,
            open: Vec::new(),
            seen: BTreeSet::new(),
        };
        owners.follow(&self.above, self.parent.as_ref());
        owners
    }

    /// Ends what has passed by the clock, the earliest first. Returns whether this node has ended.
    #[inline]
    pub(super) fn expire_if_past(&self) -> bool {
        let Some(own) = self.sole_owner().and_then(|owner| owner.own.as_ref()) else {
            return self.expire_what_is_past(Readings::default());
        };
        match own.clock.read() {
            Ok(now) if now < own.at => self.is_marked(), // nearly always, and to look through all owners takes ten times as long
            reading => self.expire_what_is_past(Readings::begun(&own.clock, reading)),
        }
    }

    #[cold]
    fn expire_what_is_past(&self, mut readings: Readings) -> bool {
        let mut late: Option<(Instant, &Self)> = None;
        for owner in self.owners() {
            let Some(own) = &owner.own else { continue };
            match readings.of(&own.clock) {
                Err(why) => owner.fail(ClockPanicked(why.to_owned())),
                Ok(now) if now < own.at || late.is_some_and(|(at, _)| at <= own.at) => {}
                Ok(_) => late = Some((own.at, owner)),
            }
        }
        if let Some((_, owner)) = late {
            owner.expire();
            self.end_as(owner);
        }
        self.is_marked()
    }

    /// Ends it because its own deadline has passed.
    pub(super) fn expire(&self) {
        if let Some(own) = &self.own {
            self.end_by(|| Some(own.expiry(self.origin)));
        }
    }

    /// Ends it as `owner` ended. Another thread's walk, which marked the owner, may still be on its way here.
    pub(super) fn end_as(&self, owner: &Self) {
        self.end_by(|| owner.end());
    }

    /// A deadline that can't fire must not become a wait without end: its owner ends now, with the reason as its cause.
    pub(super) fn fail(&self, why: impl Into<BoxError>) {
        if self.is_marked() {
            return;
        }
        let Some(node) = self.upgrade() else { return };
        let end = End::timer_failed(why, self.origin);
        let error = end.error();
        let marked = node.mark(end);
        if marked.first {
            // After the end is marked, because the logger may look at this very context.
            unwind::shield("a logger", || {
                log::error!(
                    "a context's deadline can't be kept, so the context has ended: {error}"
                );
            });
        }
        drop(error);
        marked.wake();
        let_go(node);
    }

    /// A node that is being dropped is not ended: nothing can look at it any more.
    fn end_by(&self, end: impl FnOnce() -> Option<Arc<End>>) {
        if self.is_marked() {
            return;
        }
        if let Some((node, end)) = self.upgrade().zip(end()) {
            node.mark(end).wake();
            let_go(node);
        }
    }

    /// The node has ended, so that the reason which was kept for its deadline is not needed any more.
    pub(super) fn release_cause(&self) {
        if let Some(cause) = self.own.as_ref().and_then(|own| own.cause.as_ref()) {
            cause.release();
        }
    }
}

/// The owners of a node: see [`Base::owners`].
pub(super) struct Owners<'a> {
    next: Option<&'a Base>,
    /// Below a linked node: those that are still to be looked at.
    open: Vec<&'a Above>,
    /// Below a linked node ways meet again.
    seen: BTreeSet<*const ()>,
}

impl<'a> Owners<'a> {
    fn follow(&mut self, above: &'a Above, parent: Option<&'a NodeRef>) {
        match above {
            Above::None => {}
            Above::Parent => self.next = parent.map(|parent| parent.base()),
            Above::One(owner) => self.next = Some(owner.base()),
            Above::Many(all) => {
                if self.seen.insert(above.address()) {
                    self.open.extend(all.iter().rev());
                }
            }
        }
    }
}

impl<'a> Iterator for Owners<'a> {
    type Item = &'a Base;

    fn next(&mut self) -> Option<&'a Base> {
        loop {
            let Some(node) = self.next.take() else {
                let above = self.open.pop()?;
                self.follow(above, None);
                continue;
            };
            if !self.seen.is_empty() && !self.seen.insert(std::ptr::from_ref(node).cast()) {
                continue;
            }
            self.follow(&node.above, node.parent.as_ref());
            if node.own.is_some() {
                return Some(node);
            }
        }
    }
}

/// One reading of each clock.
///
/// Clocks are distinguished by their addresses. A reader holds the nodes whose clocks it reads, or nodes below them,
/// until it is through, so no address is used again meanwhile, and a reading touches no count.
#[derive(Default)]
pub(super) struct Readings {
    /// The common case allocates nothing.
    first: Option<(Key, Reading)>,
    more: BTreeMap<Key, Reading>,
}

type Key = Option<usize>;
type Reading = Result<Instant, String>;

impl Readings {
    /// The clock has been read already.
    fn begun(clock: &ClockRef, reading: Reading) -> Self {
        Self {
            first: Some((clock.key(), reading)),
            more: BTreeMap::new(),
        }
    }

    pub(super) fn of(&mut self, clock: &ClockRef) -> Result<Instant, &str> {
        let key = clock.key();
        let (known, reading) = self.first.get_or_insert_with(|| (key, clock.read()));
        let reading = match *known == key {
            true => reading,
            false => self.more.entry(key).or_insert_with(|| clock.read()),
        };
        reading.as_ref().copied().map_err(String::as_str)
    }

    /// Whether a deadline has passed. One whose clock panics has not.
    pub(super) fn is_past(&mut self, own: &Own) -> bool {
        self.of(&own.clock).is_ok_and(|now| now >= own.at)
    }
}
