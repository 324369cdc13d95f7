//! `Send` follows from the source, also inside of an `async` block, and for a closure whose error is a `BoxError`.

use failfast::policy::{Breaker, Limit, Rate};
use failfast::{BoxError, Context, Source, SourceExt};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

fn is_send<T: Send>(_: T) {}
fn is_shared<T: Send + Sync + Clone>(_: &T) {}

/// Awaits a call of `$source`, made a better source by `$policy`, in a block that must be `Send`.
macro_rules! sends {
    ($source:expr, $($policy:tt)+) => {{
        let source = $source.$($policy)+;
        is_shared(&source);
        is_send(source.fetch(Context::background(), 7));
        is_send(async move { source.fetch(Context::background(), 7).await.map(drop) });
    }};
}

macro_rules! sends_by_all {
    ($source:expr) => {
        let breaker = Breaker::new("orders-db");
        let limit = Limit::new(NonZeroUsize::MIN);
        let rate = Rate::new(NonZeroU32::MIN, Duration::from_secs(1));
        sends!($source, limit(&limit));
        sends!($source, rate(&rate));
        sends!($source, breaker(&breaker));
        sends!($source, coalesce());
        sends!(
            $source,
            limit(&limit).rate(&rate).breaker(&breaker).coalesce()
        );
    };
}

#[test]
fn futures_are_send_where_the_sources_are() {
    async fn function(_: Context, id: u64) -> Result<u64, BoxError> {
        Ok(id)
    }
    sends_by_all!(function);
    sends_by_all!(|_: Context, id: u64| async move { Ok::<_, BoxError>(id) });
    sends_by_all!(|_: Context, id: u64| async move { Ok::<_, std::io::Error>(id) });
}
