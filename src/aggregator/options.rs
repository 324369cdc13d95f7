//! What the caller may care about; each with a default.

use crate::context::{Context, NewDeadline};
use crate::error::{BoxError, Error, Name, Standing};
use crate::group::TaskGroup;
use crate::policy::record::Logger;
use log::{Level, Log};
use std::error::Error as StdError;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// How long an aggregation may take if nothing else is set.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which level a failure is logged at.
type LevelOf = dyn Fn(&Error) -> Level + Send + Sync;

#[derive(Clone)]
pub(super) struct Options {
    timeout: Timeout,
    pub(super) logger: Option<Arc<dyn Log>>,
    pub(super) level: Option<Arc<LevelOf>>,
    pub(super) limit: Option<NonZeroUsize>,
    pub(super) grace: Option<Duration>,
    pub(super) straggler_limit: Option<Duration>,
}

/// The cause of the end when the aggregator's own timeout passes: its name, and how long it was.
#[derive(Clone)]
struct Timeout(Arc<Allowed>);

#[derive(Clone)]
struct Allowed {
    name: Name,
    timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let (name, timeout) = (Name::from("aggregation"), TIMEOUT);
        Self {
            timeout: Timeout(Arc::new(Allowed { name, timeout })),
            logger: None,
            level: None,
            limit: None,
            grace: None,
            straggler_limit: None,
        }
    }
}

impl Options {
    pub(super) fn name(&self) -> &Name {
        &self.timeout.0.name
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout.0.timeout
    }

    pub(super) fn set_name(&mut self, name: Name) {
        Arc::make_mut(&mut self.timeout.0).name = name;
    }

    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        Arc::make_mut(&mut self.timeout.0).timeout = timeout;
    }

    /// The timeout of an aggregator with other sources is another, though it is as long: each names its own.
    pub(super) fn renew(&mut self) {
        let allowed = Allowed::clone(&self.timeout.0);
        self.timeout.0 = Arc::new(allowed);
    }

    /// The deadline of an aggregation that begins now.
    pub(super) fn deadline(&self, ctx: &Context) -> Option<NewDeadline> {
        NewDeadline::after_standing(ctx, self.timeout(), self.timeout.0.clone())
    }

    /// The context of the sources, where it brings their policies this aggregator's logger. `None`: the
    /// caller's does as well, because all records go to the global one.
    pub(super) fn tell_logger(&self, ctx: &Context) -> Option<Context> {
        match (&self.logger, ctx.value::<Logger>()) {
            (None, None | Some(Logger(None))) => None,
            (logger, _) => Some(ctx.with_value(Logger(logger.clone()))),
        }
    }

    /// Whether `error` is that this aggregator's timeout passed. The caller's own deadline is none of it, nor is
    /// the timeout of another aggregator around this one, even if it has the same name.
    pub(super) fn is_own_timeout(&self, error: &Error) -> bool {
        let cause = error.cause().filter(|_| error.is_deadline_exceeded());
        let timeout = cause.and_then(|cause| cause.downcast_ref::<Timeout>());
        timeout.is_some_and(|timeout| Arc::ptr_eq(&timeout.0, &self.timeout.0))
    }

    #[inline]
    pub(super) fn apply<M>(&self, mut group: TaskGroup<(), M>) -> TaskGroup<(), M> {
        if let Some(limit) = self.limit {
            group = group.with_limit(limit);
        }
        if let Some(grace) = self.grace {
            group = group.with_grace(grace);
        }
        if let Some(limit) = self.straggler_limit {
            group = group.with_straggler_limit(limit);
        }
        group
    }
}

impl Standing for Allowed {
    fn reason(self: Arc<Self>) -> BoxError {
        Timeout(self).into()
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Allowed { name, timeout } = &*self.0;
        write!(f, "{name}'s timeout of {timeout:?}")
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timeout({self})")
    }
}

impl StdError for Timeout {}
