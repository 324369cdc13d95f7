//! The end of a context: what every context that it reached shares.
//!
//! 1. Contexts hold the [`End`]; users hold its [`Record`], as a `Cause` or a `ContextError`. So the count of the
//!    record shows whether the reason can be seen from outside of the contexts.
//! 2. The record is cloned out of the end under the end's lock only. So code that holds the lock and the only reference
//!    to the record can take the reason out of it, because no other reference exists, and none can be made meanwhile.
//! 3. A record that replaces another has its kind, its origin and its text.

use super::cause::{ContextError, ContextErrorKind, Reason, Record, Text};
use super::payload::Payload;
use super::{BoxError, Cause, Error};
use crate::clock::Instant;
use crate::sync::{Mutex, MutexGuard};
use std::panic::Location;
use std::sync::{Arc, Weak};

type Origin = &'static Location<'static>;

/// The end of a context, shared by every context that it ended.
pub(crate) struct End {
    kind: ContextErrorKind,
    /// The group ended well.
    is_finish: bool,
    at: Option<Instant>,
    record: Mutex<Arc<Record>>,
}

/// Constructors, one for each way in which a context ends. `origin` is where the context that ends was made.
impl End {
    fn new(
        kind: ContextErrorKind,
        origin: Origin,
        at: Option<Instant>,
        reason: Reason,
    ) -> Arc<Self> {
        Self::made(kind, origin, at, reason, false)
    }

    fn made(
        kind: ContextErrorKind,
        origin: Origin,
        at: Option<Instant>,
        reason: Reason,
        is_finish: bool,
    ) -> Arc<Self> {
        Arc::new_cyclic(|home| Self {
            kind,
            is_finish,
            at,
            record: Mutex::new(Arc::new(Record {
                kind,
                origin,
                home: Weak::clone(home),
                reason,
            })),
        })
    }

    fn canceled_because(reason: Reason, origin: Origin) -> Arc<Self> {
        Self::new(ContextErrorKind::Canceled, origin, None, reason)
    }

    /// A cancellation without a reason.
    pub(crate) fn canceled(origin: Origin) -> Arc<Self> {
        Self::canceled_because(Reason::Plain, origin)
    }

    /// `cancel_with`.
    pub(crate) fn canceled_by(reason: BoxError, origin: Origin) -> Arc<Self> {
        let payload = Arc::new(Payload::new(reason));
        Self::canceled_because(Reason::Given(payload), origin)
    }

    /// The last canceller was dropped.
    pub(crate) fn canceller_dropped(origin: Origin) -> Arc<Self> {
        let text = Text::new("its canceller was dropped");
        Self::canceled_because(Reason::Text(text), origin)
    }

    /// A deadline passed, at `at` by its clock.
    pub(crate) fn expired(at: Instant, cause: Option<&Reserved>, origin: Origin) -> Arc<Self> {
        let given = cause.and_then(Reserved::get);
        let reason = given.map_or(Reason::Plain, Reason::Given);
        Self::new(ContextErrorKind::DeadlineExceeded, origin, Some(at), reason)
    }

    /// The timer of a deadline can't fire any more: the deadline must not become a wait without end.
    pub(crate) fn timer_failed(why: impl Into<BoxError>, origin: Origin) -> Arc<Self> {
        Self::canceled_by(why.into(), origin)
    }

    /// A task of the group failed, and `error` is what the group will return. The code that ends a
    /// context with it passes it to the error: [`Error::set_end`].
    pub(crate) fn failed(error: &Error, origin: Origin) -> Arc<Self> {
        Self::canceled_because(Reason::Failure(error.twin()), origin)
    }

    /// The group ended well.
    pub(crate) fn finished(origin: Origin) -> Arc<Self> {
        Self::of_group(origin, "has finished", true)
    }

    /// The group's `stop`.
    pub(crate) fn stopped(origin: Origin) -> Arc<Self> {
        Self::of_group(origin, "was stopped", false)
    }

    fn of_group(origin: Origin, what: &str, is_finish: bool) -> Arc<Self> {
        let (file, line) = (origin.file(), origin.line());
        let text = Text::placed(format!("the group made at {file}:{line} {what}"));
        let kind = ContextErrorKind::Canceled;
        Self::made(kind, origin, None, Reason::Text(text), is_finish)
    }
}

impl End {
    #[inline]
    pub(crate) fn kind(&self) -> ContextErrorKind {
        self.kind
    }

    /// Whether it is the end of a group that ended well.
    pub(crate) fn is_finish(&self) -> bool {
        self.is_finish
    }

    /// The deadline that passed. `None` for a cancellation.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// The end for users. Allocates nothing.
    pub(crate) fn error(&self) -> ContextError {
        ContextError::of(self.record.lock().clone())
    }

    /// The reason for users. Allocates nothing.
    pub(crate) fn cause(&self) -> Cause {
        self.error().cause().clone()
    }

    /// Whether `error` reports this end. Compares addresses, so it holds for a replaced record as well.
    pub(crate) fn is_told_by(&self, error: &ContextError) -> bool {
        std::ptr::eq(error.record().home.as_ptr(), self)
    }

    /// For [`downcast`](super::downcast) alone: see invariant 2.
    pub(super) fn lock(&self) -> MutexGuard<'_, Arc<Record>> {
        self.record.lock()
    }
}

impl Record {
    /// The same end, with nothing but the text of its reason.
    pub(super) fn with_text(&self, text: String) -> Self {
        Self {
            kind: self.kind,
            origin: self.origin,
            home: self.home.clone(),
            reason: Reason::Text(Text::new(text)),
        }
    }
}

/// A reason that waits for a deadline to pass: `with_timeout_cause`.
///
/// Two threads may find at once that the deadline has passed, and both make an end of which one wins. So each can
/// get the reason. The winner then has it released, because a context does not count as a holder.
pub(crate) struct Reserved(Kept);

enum Kept {
    /// Given for one deadline.
    Once {
        kept: Mutex<Option<Arc<Payload>>>,
        lent: Weak<Payload>,
    },
    /// The same for every deadline of one owner: made when one passes.
    Standing(Arc<dyn Standing>),
}

/// The reason of many deadlines, of which few pass.
pub(crate) trait Standing: Send + Sync {
    fn reason(self: Arc<Self>) -> BoxError;
}

impl Reserved {
    pub(crate) fn new(reason: impl Into<BoxError>) -> Self {
        let payload = Arc::new(Payload::new(reason.into()));
        Self(Kept::Once {
            lent: Arc::downgrade(&payload),
            kept: Mutex::new(Some(payload)),
        })
    }

    pub(crate) fn standing(reason: Arc<dyn Standing>) -> Self {
        Self(Kept::Standing(reason))
    }

    /// `None` after its release, if no other reference exists.
    pub(super) fn get(&self) -> Option<Arc<Payload>> {
        match &self.0 {
            Kept::Once { lent, .. } => lent.upgrade(),
            Kept::Standing(reason) => Some(Arc::new(Payload::new(reason.clone().reason()))),
        }
    }

    /// Called once the context has ended, of whatever cause.
    pub(crate) fn release(&self) {
        if let Kept::Once { kept, .. } = &self.0 {
            let released = kept.lock().take();
            drop(released); // foreign code, and the lock is free again
        }
    }
}
