//! Aggregations of two sources.

use super::*;

/// Weakened: `progress` that does not look again after it has cloned the waker misses the last end.
#[test]
fn aggregation_of_a_success_and_a_failure() {
    // Section 5: all answers, or the first failure, and nothing is left.
    check(2, || {
        let aggregator = Aggregator::new(on_a_thread)
            .with_timeout(Duration::from_secs(5))
            .source("profile", async |_: Context, _: ()| Outcome::Ok(1))
            .source("orders", async |_: Context, _: ()| Outcome::Err(Refused(2)));
        let ctx = Context::background().with_clock(ManualClock::new());
        let error = block_on(aggregator.aggregate(&ctx, ())).unwrap_err();
        assert_eq!(error.to_string(), "orders: refused 2");
    });
}

/// Weakened: `progress` that does not look again after it has cloned the waker misses the last end.
#[test]
fn aggregation_of_two_successes() {
    // Section 5: in the order of the sources.
    check(2, || {
        let aggregator = Aggregator::new(on_a_thread)
            .source("profile", async |_: Context, _: ()| Outcome::Ok(1))
            .source("orders", async |_: Context, _: ()| Outcome::Ok(2));
        let ctx = Context::background().with_clock(ManualClock::new());
        assert_eq!(block_on(aggregator.aggregate(&ctx, ())).unwrap(), (1, 2));
    });
}
