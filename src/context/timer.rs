//! The deadlines of a life: which can fire, which clock they go by, and the one timer behind each.
//!
//! A deadline belongs to the life it was set on. Every descendant waits on that life's one timer, which is
//! armed while anybody in the subtree waits (`Life`, invariant 8), and driven by the clock's own wake-up:
//! no task and no thread is spent on it.

use super::life::{End, Life};
use crate::clock::{Clock, Sleep, SystemClock};
use crate::error::{Cause, ContextError};
use crate::guard;
use crate::slot::Slot;
use crate::sync::atomic::{AtomicIsize, AtomicU32, Ordering};
use futures::task::{ArcWake, waker_ref};
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

/// A deadline of a life's own.
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) clock: ClockRef,
    pub(super) cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The clock a context goes by; the default costs no reference count.
#[derive(Clone, Default)]
pub(crate) struct ClockRef(Option<Arc<dyn Clock>>);

/// Every deadline that can end a life, its ancestors' among them.
#[derive(Default)]
pub(super) struct Timers {
    /// Its own, unless an ancestor's is known to come first.
    pub(super) own: Option<Deadline>,
    above: Above,
    earliest: Option<Instant>,
    /// How many in the subtree wait for the own deadline. Who is released before he has been counted makes
    /// it negative for that long.
    wanted: AtomicIsize,
    timer: Timer,
    /// How many contexts a linked one has.
    pub(super) sources: usize,
}

/// The lives above whose deadlines can end this one.
#[derive(Clone, Default)]
enum Above {
    #[default]
    None,
    One(Arc<Life>),
    Many(Arc<[Arc<Life>]>),
}

/// The clock's timer, while one is armed. Whoever drives it takes it out, so that the clock's code runs
/// unlocked; who comes meanwhile leaves a note.
#[derive(Default)]
struct Timer {
    sleep: Slot<Sleep>,
    /// 0: nobody drives it. Else 1 more than the notes that were left for who does.
    notes: AtomicU32,
}

impl ClockRef {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Some(clock))
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        match &self.0 {
            None => SystemClock.now(),
            Some(clock) => clock.now(),
        }
    }

    pub(crate) fn sleep_until(&self, deadline: Instant) -> Sleep {
        match &self.0 {
            None => SystemClock.sleep_until(deadline),
            Some(clock) => clock.sleep_until(deadline),
        }
    }

    /// When `timeout` will have passed; `None` if that is beyond what an `Instant` can tell: never.
    pub(crate) fn after(&self, timeout: Duration) -> Option<Instant> {
        self.now().checked_add(timeout)
    }

    pub(crate) fn is_past(&self, deadline: Instant) -> bool {
        self.now() >= deadline
    }

    fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Above {
    fn as_slice(&self) -> &[Arc<Life>] {
        match self {
            Self::None => &[],
            Self::One(life) => std::slice::from_ref(life),
            Self::Many(lives) => lives,
        }
    }

    fn of(mut lives: Vec<Arc<Life>>) -> Self {
        match lives.len() {
            // `Many` would do for these two as well; it costs an allocation.
            0 => Self::None,
            1 => lives.pop().map_or(Self::None, Self::One),
            _ => Self::Many(lives.into()),
        }
    }
}

impl Timers {
    pub(super) fn new(own: Option<Deadline>, parent: Option<&Arc<Life>>) -> Self {
        let above = parent.map_or(Above::None, |parent| parent.timers.for_child(parent));
        match own {
            None => Self {
                earliest: earliest(&above),
                above,
                ..Self::default()
            },
            Some(own) => Self::with_own(own, above),
        }
    }

    /// Of two deadlines by the same clock only the earlier can fire, and its timer is enough. By different
    /// clocks either may.
    fn with_own(own: Deadline, above: Above) -> Self {
        let comparable = above
            .as_slice()
            .iter()
            .all(|life| life.timers.goes_by(&own.clock));
        let before = earliest(&above);
        let first = before.is_none_or(|before| own.at < before);
        match (comparable, first) {
            (true, true) => Self {
                earliest: Some(own.at),
                own: Some(own),
                ..Self::default()
            },
            (true, false) => Self {
                earliest: before,
                above,
                ..Self::default()
            },
            (false, _) => {
                let earliest = before.map_or(own.at, |before| before.min(own.at));
                Self {
                    earliest: Some(earliest),
                    own: Some(own),
                    above,
                    ..Self::default()
                }
            }
        }
    }

    /// Those of a life that is linked to `sources`: all of theirs, each once.
    pub(super) fn of_all(sources: &[Arc<Life>]) -> Self {
        let mut lives: Vec<Arc<Life>> = Vec::new();
        for source in sources {
            for life in source.timers.for_child(source).as_slice() {
                if !lives.iter().any(|known| Arc::ptr_eq(known, life)) {
                    lives.push(life.clone());
                }
            }
        }
        let above = Above::of(lives);
        Self {
            earliest: earliest(&above),
            above,
            sources: sources.len(),
            ..Self::default()
        }
    }

    /// What a child of `life` has above it.
    fn for_child(&self, life: &Arc<Life>) -> Above {
        match &self.own {
            None => self.above.clone(),
            // The common case, which the next would do as well, with a list.
            Some(_) if self.above.as_slice().is_empty() => Above::One(life.clone()),
            Some(_) => Above::of(
                self.above
                    .as_slice()
                    .iter()
                    .chain([life])
                    .cloned()
                    .collect(),
            ),
        }
    }

    fn goes_by(&self, clock: &ClockRef) -> bool {
        self.own.as_ref().is_none_or(|own| own.clock.is(clock))
    }

    pub(super) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// Where there is none, no clock need be asked; if one were, it would have nothing to tell.
    #[inline]
    pub(super) fn any(&self) -> bool {
        self.earliest.is_some()
    }

    /// The life whose deadline has passed, the first if several have: `life` itself or one above it. One
    /// reading of the clock, unless several clocks are involved.
    #[inline]
    pub(super) fn past<'a>(&'a self, life: &'a Arc<Life>) -> Option<&'a Arc<Life>> {
        match (&self.own, self.above.as_slice()) {
            // The common case, which the next would do as well.
            (Some(own), []) => own.is_past().then_some(life),
            _ => self
                .all_past(life)
                .min_by_key(|owner| owner.timers.own.as_ref().map(|own| own.at)),
        }
    }

    /// All lives whose deadlines have passed: `life` itself and those above it.
    pub(super) fn all_past<'a>(
        &'a self,
        life: &'a Arc<Life>,
    ) -> impl Iterator<Item = &'a Arc<Life>> {
        let own = self.own.is_some().then_some(life);
        let mut read: Option<(&ClockRef, Instant)> = None;
        own.into_iter()
            .chain(self.above.as_slice())
            .filter(move |owner| {
                let Some(Deadline { at, clock, .. }) = &owner.timers.own else {
                    return false;
                };
                let (_, now) = *match &mut read {
                    Some(known) if known.0.is(clock) => known,
                    other => other.insert((clock, clock.now())),
                };
                now >= *at
            })
    }

    /// Hands the lives above to `held` where nobody else may hold them: a linked life that has ended has no
    /// links to its sources any more.
    pub(super) fn let_go(&mut self, held: &mut Vec<Arc<Life>>) {
        if self.sources > 0 {
            held.extend_from_slice(self.above.as_slice());
        }
        self.above = Above::None;
    }

    /// `count` who waited for the deadlines above wait for others now.
    pub(super) fn unwant_above(&self, count: usize) {
        self.above
            .as_slice()
            .iter()
            .for_each(|owner| owner.unwant(count));
    }
}

fn earliest(above: &Above) -> Option<Instant> {
    above
        .as_slice()
        .iter()
        .filter_map(|life| life.timers.own.as_ref().map(|own| own.at))
        .min()
}

impl Deadline {
    pub(super) fn is_past(&self) -> bool {
        self.clock.is_past(self.at)
    }
}

impl Life {
    /// `count` more wait for the end of this life: the timers of its deadlines must be armed.
    pub(crate) fn want_timers(self: &Arc<Self>, count: usize) {
        self.for_each_timer(|owner| owner.want(count));
    }

    /// `count` wait no longer.
    pub(crate) fn unwant_timers(self: &Arc<Self>, count: usize) {
        if count == 0 {
            return;
        }
        self.for_each_timer(|owner| owner.unwant(count));
    }

    /// Drives only who must be: to drive without need would do no harm.
    fn want(self: &Arc<Self>, count: usize) {
        let count = count as isize;
        let before = self.timers.wanted.fetch_add(count, Ordering::AcqRel);
        if before <= 0 && before + count > 0 {
            self.drive();
        }
    }

    /// The same.
    fn unwant(self: &Arc<Self>, count: usize) {
        let count = count as isize;
        let before = self.timers.wanted.fetch_sub(count, Ordering::AcqRel);
        if before > 0 && before <= count {
            self.drive();
        }
    }

    fn for_each_timer(self: &Arc<Self>, act: impl Fn(&Arc<Life>)) {
        if self.timers.own.is_some() {
            act(self);
        }
        self.timers.above.as_slice().iter().for_each(act);
    }

    /// The life has ended: nobody waits for its deadline any more.
    pub(super) fn stop_timer(self: &Arc<Self>) {
        // With nobody waiting it is stopped already: by whoever was the last to leave. That is so whenever all
        // who were released have been counted; this is for who should count himself late, or never.
        if self.timers.own.is_some() && self.timers.wanted.load(Ordering::Acquire) > 0 {
            self.drive();
        }
    }

    /// Brings the timer to where it should be: armed and polled while somebody waits, gone otherwise.
    ///
    /// The clock's code runs here, and nowhere else, outside every lock. One drives at a time; who comes
    /// meanwhile (the timer's wake-up, say, from inside its own poll) has the driver go round once more.
    fn drive(self: &Arc<Self>) {
        let Timer { sleep, notes } = &self.timers.timer;
        if notes.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        let mut seen = 1;
        loop {
            if let Some(armed) = self.advance(sleep.take()) {
                #[allow(unsafe_code, reason = "see `slot`")]
                // SAFETY: it has just been emptied, and the one who drives alone fills it.
                unsafe {
                    sleep.put(armed);
                }
            }
            match notes.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(more) => seen = more,
            }
        }
    }

    fn advance(self: &Arc<Self>, sleep: Option<Sleep>) -> Option<Sleep> {
        let deadline = self.timers.own.as_ref()?;
        if self.has_ended() || self.timers.wanted.load(Ordering::Acquire) <= 0 {
            guard::discard(sleep);
            return None;
        }
        let polled = guard::contain(|| {
            let mut sleep = sleep.unwrap_or_else(|| deadline.clock.sleep_until(deadline.at));
            let waker = waker_ref(self);
            let poll = Pin::new(&mut sleep).poll(&mut task::Context::from_waker(&waker));
            (sleep, poll)
        });
        match polled {
            Ok((sleep, Poll::Pending)) => return Some(sleep),
            Ok((sleep, Poll::Ready(Ok(())))) => {
                guard::discard(sleep);
                self.expire();
            }
            Ok((sleep, Poll::Ready(Err(broken)))) => {
                guard::discard(sleep);
                self.end_without_timer(Arc::new(broken));
            }
            Err(payload) => {
                let message = crate::error::message_of(&*payload).to_owned();
                guard::discard(payload);
                self.end_without_timer(Arc::new(ClockPanicked(message)));
            }
        }
        None
    }

    /// A deadline that can't fire must not become a wait without end: it ends now, and says why.
    fn end_without_timer(self: &Arc<Self>, why: Arc<dyn StdError + Send + Sync>) {
        self.end(End {
            error: ContextError::Canceled,
            cause: Cause::given(why.clone(), self.origin),
            at: None,
        });
        guard::shield("a logger", || {
            log::error!("a context's deadline can't be kept, so the context has ended: {why}");
        });
    }
}

/// The clock that was to keep a deadline panicked.
#[derive(Debug, thiserror::Error)]
#[error("the context's clock panicked: {0}")]
struct ClockPanicked(String);

/// The clock's wake-up: on its thread, so nothing may be thrown there.
impl ArcWake for Life {
    fn wake_by_ref(life: &Arc<Self>) {
        guard::shield("a context's timer", || life.drive());
    }
}
