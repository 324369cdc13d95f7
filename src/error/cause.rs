//! How a context ended, and why.

use super::{chain, fmt_chain};
use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// Which way a context ended. Displays as Go's `context` does.
///
/// # Examples
///
/// ```
/// use failfast::ContextError;
///
/// assert_eq!(ContextError::Canceled.to_string(), "context canceled");
/// assert_eq!(ContextError::DeadlineExceeded.to_string(), "context deadline exceeded");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ContextError {
    /// Somebody cancelled it, or an ancestor.
    #[error("context canceled")]
    Canceled,
    /// Its deadline passed, or an ancestor's.
    #[error("context deadline exceeded")]
    DeadlineExceeded,
}

/// Why a context ended: what was given to `cancel_with` or `with_timeout_cause`, the failure of a group's
/// task, or the plain [`ContextError`] where nobody gave a reason.
///
/// Displays as the reason alone. The alternate form (`{cause:#}`) names every hop, for the person who asks
/// "which timeout was it?": the reason and its sources, where in the program the context that ended was
/// made, and through which linked context the end came.
///
/// # Examples
///
/// ```
/// use failfast::Context;
///
/// let (request, canceller) = Context::background().with_cancel();
/// let call = request.with_value("a child");
/// canceller.cancel_with("client went away");
///
/// let cause = call.cause().unwrap();
/// assert_eq!(cause.to_string(), "client went away");
/// assert!(format!("{cause:#}").starts_with("client went away (context made at "));
/// ```
#[derive(Clone)]
pub struct Cause {
    reason: Reason,
    /// Where the context that ended of itself was made.
    origin: &'static Location<'static>,
    /// The linked contexts that the end came through, the nearest last.
    hops: Option<Arc<Hop>>,
}

#[derive(Clone)]
enum Reason {
    Plain(ContextError),
    Given(Arc<dyn StdError + Send + Sync>),
}

struct Hop {
    /// Which of the linked contexts it was, counted from 0, and of how many.
    number: usize,
    of: usize,
    linked_at: &'static Location<'static>,
    before: Option<Arc<Hop>>,
}

/// Lets go of the hops in a loop: the default would recurse once for each link.
impl Drop for Hop {
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(mut hop) = next.and_then(Arc::into_inner) {
            next = hop.before.take();
        }
    }
}

impl Cause {
    pub(crate) fn plain(error: ContextError, origin: &'static Location<'static>) -> Self {
        Self {
            reason: Reason::Plain(error),
            origin,
            hops: None,
        }
    }

    pub(crate) fn given(
        reason: Arc<dyn StdError + Send + Sync>,
        origin: &'static Location<'static>,
    ) -> Self {
        Self {
            reason: Reason::Given(reason),
            origin,
            hops: None,
        }
    }

    /// The same cause, come through one more link.
    pub(crate) fn through(
        &self,
        number: usize,
        of: usize,
        linked_at: &'static Location<'static>,
    ) -> Self {
        let hop = Hop {
            number,
            of,
            linked_at,
            before: self.hops.clone(),
        };
        Self {
            hops: Some(Arc::new(hop)),
            ..self.clone()
        }
    }

    /// The reason as an error, to be matched or walked.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    ///
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// canceller.cancel_with(std::fmt::Error);
    /// assert!(ctx.cause().unwrap().as_error().is::<std::fmt::Error>());
    /// ```
    pub fn as_error(&self) -> &(dyn StdError + 'static) {
        match &self.reason {
            Reason::Plain(error) => error,
            Reason::Given(error) => &**error,
        }
    }

    /// The reason, or the nearest of its sources, that is an `E`.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    ///
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// canceller.cancel_with(std::fmt::Error);
    /// assert!(ctx.cause().unwrap().downcast_ref::<std::fmt::Error>().is_some());
    /// ```
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        chain(self.as_error()).find_map(|error| error.downcast_ref())
    }

    /// Where in the program the context that ended was made.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    ///
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// let line = line!() - 1;
    /// canceller.cancel();
    /// assert_eq!(ctx.cause().unwrap().origin().line(), line);
    /// ```
    pub fn origin(&self) -> &'static Location<'static> {
        self.origin
    }

    /// Whether nobody gave a reason: all there is to say is that the context ended.
    fn is_plain(&self) -> bool {
        matches!(self.reason, Reason::Plain(_))
    }

    fn fmt_hops(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " (context made at {}", self.origin)?;
        // Kept nearest first, told in the order of travel.
        let mut hops: Vec<_> =
            std::iter::successors(self.hops.as_deref(), |hop| hop.before.as_deref()).collect();
        hops.reverse();
        for Hop {
            number,
            of,
            linked_at,
            ..
        } in hops
        {
            write!(f, ", number {number} of {of} linked at {linked_at}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_chain(self.as_error(), f)?;
        if f.alternate() {
            self.fmt_hops(f)
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cause({self:#})")
    }
}

/// The reason is not *behind* the cause, it is what the cause displays: its sources come next.
impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.as_error())
    }
}

/// `context canceled`, and what there is to add.
pub(super) fn fmt_ended(
    error: &ContextError,
    cause: &Cause,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write!(f, "{error}")?;
    match (cause.is_plain(), f.alternate()) {
        (true, false) => Ok(()),
        (true, true) => cause.fmt_hops(f),
        (false, false) => write!(f, ": {cause}"),
        (false, true) => write!(f, ": {cause:#}"),
    }
}
