//! Time of a runtime's own that a test may pause, as a context's clock. Not every runtime has that, so it is in no list.

use super::{Place, Runtime};
use crate::time::Instant;
use failfast::{Context, ContextError};
use futures::future::join;
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Far longer than it takes.
const AT_ONCE: Duration = Duration::from_secs(60);

/// A deadline of an hour passes at once, and not a second early; sleeps end in the order of time. `pass` lets time pass, by
/// that same time.
pub async fn hours_pass_at_once<R: Runtime>(place: R::Place, pass: impl AsyncFn(Duration)) {
    let began = Instant::now();
    let ctx = Context::background().with_clock(R::clock());
    deadline_passes::<R>(&place, &ctx, &pass).await;
    sleeps_end_in_order::<R>(&place, &ctx, &pass).await;
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

async fn deadline_passes<R: Runtime>(
    place: &R::Place,
    ctx: &Context,
    pass: &impl AsyncFn(Duration),
) {
    let start = ctx.now();
    let group = place.group::<()>(&ctx.with_timeout(HOUR));
    let own = group.context().clone();
    group.spawn(pending::<Result<(), Infallible>>());
    let time = async {
        pass(HOUR - SECOND).await;
        assert!(!own.is_done(), "a second early");
        pass(SECOND).await;
    };
    let (outcome, ()) = join(group.wait(), time).await;
    assert!(outcome.unwrap_err().is_deadline_exceeded());
    let passed = ctx.now() - start;
    assert!((HOUR..HOUR + SECOND).contains(&passed), "{passed:?}");
}

async fn sleeps_end_in_order<R: Runtime>(
    place: &R::Place,
    ctx: &Context,
    pass: &impl AsyncFn(Duration),
) {
    let group = place.group(ctx);
    let woken: Arc<Mutex<Vec<u32>>> = Arc::default();
    for hours in [3, 1, 2] {
        let (ctx, woken) = (ctx.clone(), woken.clone());
        group.spawn(async move {
            ctx.sleep(HOUR * hours).await?;
            woken.lock().unwrap().push(hours);
            Ok::<_, ContextError>(hours)
        });
    }
    let time = async {
        for _ in 0..3 {
            pass(HOUR).await;
        }
    };
    let (outcome, ()) = join(group.wait(), time).await;
    assert_eq!(outcome.unwrap(), [3, 1, 2]);
    assert_eq!(*woken.lock().unwrap(), [1, 2, 3]);
}
