//! The spans of `tracing` for groups and tasks, with the feature of that name.
//!
//! A group and a task have a span each, whose parent is the span that is current where they are made. That of a task is
//! entered while it is polled. A subscriber is foreign code: it is called under no lock, and its panics are contained.

use super::cell::Header;
use crate::clock::Instant;
use crate::context::ClockRef;
use crate::error::Name;
use crate::observe::{events, text_of};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, this_thread};
use crate::unwind;
use std::fmt::Display;
use std::panic::Location;
use std::sync::Arc;

use tracing::field::{Empty, debug};
use tracing::level_filters::LevelFilter;
use tracing::span::Id;
use tracing::{Dispatch, Level, Span, info_span};

/// Spans and events can be filtered by it.
const TARGET: &str = "failfast";

/// Whether there is a subscriber. Where there was none at any time, that is a load.
pub(super) fn may_be_wanted() -> bool {
    LevelFilter::current() >= Level::INFO && events::are_wanted()
}

/// The span of a group or of a task, until it ends. `None` if no subscriber is interested.
#[derive(Default)]
pub(super) struct Spanned(Mutex<Option<Arc<Open>>>);

struct Open {
    /// There until it is dropped.
    span: Option<Span>,
    since: Instant,
    /// Which thread is inside of it, 0 for none. Each thread compares with itself alone.
    inside: AtomicUsize,
}

/// Inside of a span. Not a guard of the subscriber's, which would keep the span open: a task closes its span when it
/// completes, inside of it, because its group's wait may be over in the next moment.
struct Inside<'a>(&'a Spanned);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let open = self.0.0.lock().clone();
        if let Some(open) = open {
            open.exit();
        }
    }
}

impl Open {
    /// Whether this thread has entered it now.
    fn enter(&self) -> bool {
        // Relaxed: another thread's value is never this one's.
        let first = self.inside.load(Ordering::Relaxed) == 0;
        if first {
            self.inside.store(this_thread(), Ordering::Relaxed);
            self.call(Dispatch::enter);
        }
        first
    }

    fn exit(&self) {
        if self.inside.load(Ordering::Relaxed) == this_thread() {
            self.inside.store(0, Ordering::Relaxed);
            self.call(Dispatch::exit);
        }
    }

    fn call(&self, call: impl Fn(&Dispatch, &Id)) {
        let span = self.span.as_ref();
        contained(|| span.map(|span| span.with_subscriber(|(id, dispatch)| call(dispatch, id))));
    }
}

/// Calls the subscriber.
fn contained<R>(call: impl FnOnce() -> R) -> Option<R> {
    let mut returned = None;
    unwind::shield("a tracing subscriber", || returned = Some(call()));
    returned
}

impl Spanned {
    fn new(span: impl FnOnce() -> Span, clock: &ClockRef) -> Self {
        let span = may_be_wanted().then(|| contained(span)).flatten();
        let span = span.filter(|span| !span.is_disabled());
        Self(Mutex::new(span.map(|span| {
            Arc::new(Open {
                span: Some(span),
                since: clock.now(),
                inside: AtomicUsize::new(0),
            })
        })))
    }

    pub(super) fn of_group(
        number: u64,
        name: Option<&Name>,
        location: &'static Location<'static>,
        clock: &ClockRef,
    ) -> Self {
        let span = || {
            info_span!(
                target: TARGET,
                "group",
                name = name.map(Name::as_str),
                number,
                location = display(location),
                outcome = Empty,
                error = Empty,
                elapsed = Empty,
            )
        };
        Self::new(span, clock)
    }

    pub(super) fn of_task(group: u64, task: &Header, clock: &ClockRef) -> Self {
        let span = || {
            info_span!(
                target: TARGET,
                "task",
                name = task.name().as_str(),
                number = task.number,
                group,
                outcome = Empty,
                error = Empty,
                elapsed = Empty,
            )
        };
        Self::new(span, clock)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Runs `inside` within the span.
    pub(super) fn enter<R>(&self, inside: impl FnOnce() -> R) -> R {
        let open = self.0.lock().clone();
        let entered = open.is_some_and(|open| open.enter());
        let _inside = entered.then(|| Inside(self));
        inside()
    }

    /// Notes how it ended.
    pub(super) fn note(&self, outcome: &str, error: Option<&impl Display>) {
        let open = self.0.lock().clone();
        let Some(span) = open.as_ref().and_then(|open| open.span.as_ref()) else {
            return;
        };
        contained(|| {
            span.record("outcome", outcome);
            span.record("error", error.map(text_of).as_deref());
        });
    }

    /// Closes the span, which is over.
    pub(super) fn close(&self, clock: &ClockRef) {
        let Some(open) = self.0.lock().take() else {
            return;
        };
        open.exit();
        let elapsed = clock.now().saturating_duration_since(open.since);
        contained(|| {
            open.span
                .as_ref()
                .map(|span| span.record("elapsed", debug(elapsed)).id())
        });
    }
}

/// The subscriber closes the span then.
impl Drop for Open {
    fn drop(&mut self) {
        unwind::discard(self.span.take());
    }
}
