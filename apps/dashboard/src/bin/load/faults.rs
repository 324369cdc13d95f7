//! The faults that are injected during a run, by the part of its time that has passed.

use std::time::{Duration, Instant};

use dashboard::upstream::{Behavior, Controls, PerService};
use failfast::{Context, ContextError};

const STEP: Duration = Duration::from_millis(50);

/// Injects them until the context ends.
pub(crate) async fn inject(
    ctx: Context,
    controls: Controls,
    time: Duration,
) -> Result<(), ContextError> {
    let since = Instant::now();
    let mut current = None;
    loop {
        let passed = since.elapsed().as_secs_f64() / time.as_secs_f64();
        let next = at(passed);
        if current != Some(next) {
            controls.set_behaviors(next);
            current = Some(next);
        }
        if ctx.sleep(STEP).await.is_err() {
            return Ok(());
        }
    }
}

/// Some failures at all times; the recommendations hang for a fifth of it, which is over before the memory is first
/// measured; half of the profiles fail for a tenth.
fn at(passed: f64) -> PerService<Behavior> {
    let mut each = Behavior::by_design();
    each.profile.failure_percent = 2;
    each.inventory.failure_percent = 2;
    each.prices.slow_percent = 3;
    each.ads.slow_percent = 5;
    if (0.15..0.35).contains(&passed) {
        each.recommendations.hang = true;
    }
    if (0.7..0.8).contains(&passed) {
        each.profile.failure_percent = 50;
    }
    each
}
