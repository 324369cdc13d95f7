//! All of `limit`, `rate`, `breaker` and `coalesce` around one source, with the policies that make attempts.

use crate::support::{Act, Hand, Script, manual, ms};
use failfast::policy::{Backoff, Breaker, BreakerState, Limit, Rate, Retry};
use failfast::{Source, SourceExt};
use std::num::{NonZeroU32, NonZeroUsize};
use std::task::Poll;

/// Dropped after any number of polls, with the clock set forward in between: all of them are as they were.
#[test]
fn rule_05_dropped_at_any_await_the_whole_stack_gives_everything_back() {
    for polls in 0..40 {
        let (clock, ctx) = manual();
        let script = Script::new(
            &clock,
            [
                Act::Fail(1, ms(30)),
                Act::Hang,
                Act::Fail(2, ms(0)),
                Act::Answer(5, ms(20)),
            ],
        );
        let limit = Limit::new(NonZeroUsize::MIN);
        let rate = Rate::new(NonZeroU32::MIN, ms(100));
        let breaker = Breaker::new("orders-db");
        let source = script
            .source()
            .timeout(ms(50))
            .limit(&limit)
            .rate(&rate)
            .breaker(&breaker)
            .retry(Retry::times(9).with_backoff(Backoff::constant(ms(7))))
            .coalesce();
        let mut calls: Vec<_> = (0..3)
            .map(|_| Hand::new(source.fetch(ctx.with_timeout(ms(10_000)), ())))
            .collect();
        for number in 0..polls {
            let call = &mut calls[number % 3];
            if let Poll::Ready(answer) = call.poll() {
                assert_eq!(answer.unwrap(), 5);
                break;
            }
            if number % 3 == 2 {
                clock.advance_to_next();
            }
        }
        drop(calls);
        assert_eq!(
            (script.open(), clock.armed()),
            (0, 0),
            "after {polls} polls"
        );
        assert!(format!("{limit:?}").contains("taken: 0, waiting: 0"));
        assert!(format!("{rate:?}").contains("waiting: 0"));
        assert!(format!("{source:?}").contains("flights: 0"));
        assert_eq!(breaker.state(&ctx), BreakerState::Closed);
        clock.advance(ms(100));
        let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
        let source = script.source().limit(&limit).rate(&rate).breaker(&breaker);
        assert!(Hand::new(source.fetch(ctx, ())).poll().is_ready());
    }
}
