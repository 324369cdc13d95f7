//! Sleep functions as clocks: a runtime's own, alone or with the runtime's own `now`.

use super::time::Instant;
use super::{Clock, Sleep};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A runtime's own sleep function; `now` is [`Instant::now`].
impl<F, Fut> Clock for F
where
    F: Fn(Duration) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
{
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        let make = self.clone();
        // Runs on the first poll: only then is the duration known, and the
        // caller in its runtime.
        Sleep::new(async move { make(deadline.saturating_duration_since(Instant::now())).await })
    }
}

/// A runtime's own `now` and sleep function, for runtimes whose time can be paused. What is left until a deadline is
/// read off `now` when the sleep is made; the function is called on the sleep's first poll.
impl<N, S, Fut> Clock for (N, S)
where
    N: Fn() -> Instant + Send + Sync,
    S: Fn(Duration) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
{
    fn now(&self) -> Instant {
        (self.0)()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        // `now` need not be `'static`, so the sleep can't take it along: polled late, it ends late, but never early.
        let left = deadline.saturating_duration_since((self.0)());
        let make = self.1.clone();
        Sleep::new(async move { make(left).await })
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Instant {
        C::now(self)
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        C::sleep_until(self, deadline)
    }
}
