//! Backoff, jitter and budget: what holds for all values.

use crate::support::{Act, Hand, Script, manual, ms};
use failfast::policy::{Backoff, Budget, Hedge, Jitter, Retry};
use failfast::{Source, SourceExt};
use proptest::prelude::*;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

const CAP: Duration = Duration::from_secs(1);

/// `first` x `factor`^(n-1), at most `max`, in arithmetic without limits.
fn expected(first: Duration, factor: u32, max: Duration, n: u32) -> Duration {
    let (mut delay, max) = (first.as_nanos(), max.as_nanos());
    for _ in 1..n {
        delay = delay.saturating_mul(factor.into());
        if delay >= max {
            break;
        }
    }
    let nanos = delay.min(max);
    Duration::new(
        (nanos / 1_000_000_000) as u64,
        (nanos % 1_000_000_000) as u32,
    )
}

#[test]
fn the_default_is_50_ms_doubling_to_a_second_with_full_jitter() {
    let written = Backoff::exponential(ms(50))
        .with_factor(2)
        .with_max(CAP)
        .with_jitter(Jitter::Full);
    assert_eq!(Backoff::default(), written);
    assert_eq!(Backoff::exponential(ms(50)), written);
}

#[test]
fn rule_10_the_nth_delay_saturates_at_the_cap_for_n_to_a_million() {
    for (first, factor, max) in [
        (ms(50), 2, CAP),
        (Duration::from_nanos(1), u32::MAX, Duration::MAX),
        (Duration::MAX, u32::MAX, Duration::MAX),
        (ms(1), 0, CAP),
        (ms(1), 1, CAP),
        (Duration::from_secs(5), 2, CAP),
    ] {
        let backoff = Backoff::exponential(first)
            .with_factor(factor)
            .with_max(max)
            .with_jitter(Jitter::None);
        let mut last = Duration::ZERO;
        for (index, delay) in backoff.delays(0).take(1_000_000).enumerate() {
            assert!(delay >= last && delay > Duration::ZERO && delay <= max);
            if index < 300 {
                let n = index as u32 + 1;
                assert_eq!(delay, expected(first, factor.max(1), max, n), "the {n}th");
            }
            last = delay;
        }
    }
}

#[test]
fn rule_10_full_jitter_is_never_zero_for_n_to_a_million() {
    let backoff = Backoff::exponential(Duration::from_nanos(1)).with_max(Duration::from_nanos(3));
    let delays = backoff.delays(7).take(1_000_000);
    assert!(
        delays
            .into_iter()
            .all(|delay| (1..=3).contains(&delay.as_nanos()))
    );
}

#[test]
fn rule_11_jitter_does_not_collapse_at_the_cap() {
    for jitter in [Jitter::Full, Jitter::Equal] {
        let backoff = Backoff::exponential(ms(50)).with_jitter(jitter);
        let at_the_cap: Vec<_> = backoff.delays(7).skip(10).take(1_000).collect();
        let floor = if jitter == Jitter::Full {
            Duration::ZERO
        } else {
            CAP / 2
        };
        assert!(at_the_cap.iter().all(|delay| (floor..=CAP).contains(delay)));
        let span = CAP - floor;
        let (low, high) = (floor + span / 4, CAP - span / 4);
        assert!(at_the_cap.iter().filter(|delay| **delay < low).count() > 150);
        assert!(at_the_cap.iter().filter(|delay| **delay > high).count() > 150);
    }
}

#[test]
fn rule_11_full_jitter_is_the_default_and_a_constant_has_none() {
    let spread: std::collections::BTreeSet<_> =
        Backoff::default().delays(7).skip(9).take(9).collect();
    assert!(spread.len() > 1);
    let constant = Backoff::constant(Duration::from_secs(3_600));
    assert!(
        constant
            .delays(7)
            .take(9)
            .all(|delay| delay == Duration::from_secs(3_600))
    );
}

/// How many of `calls`, which all fail, are made by a retry with this budget.
fn further(budget: &Budget, calls: u32, more: u32) -> u32 {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Fail(1, ms(0))]);
    let retry = Retry::times(more)
        .with_backoff(Backoff::constant(Duration::ZERO))
        .with_budget(budget);
    let source = script.source().retry(retry);
    for _ in 0..calls {
        Hand::new(source.fetch(ctx.clone(), ()))
            .finish(&clock)
            .unwrap_err();
    }
    script.calls() as u32 - calls
}

#[test]
fn the_default_budget_has_10_tokens_and_gets_one_for_every_5_first_attempts() {
    // The first call pays into a full budget.
    assert_eq!(further(&Budget::new(), 1, 100), 10);
    assert_eq!(further(&Budget::new(), 101, 100), 10 + 20);
}

#[test]
fn rule_15_the_token_is_taken_before_the_wait_and_retries_that_wait_count() {
    let (clock, ctx) = manual();
    let budget = Budget::new()
        .with_reserve(NonZeroU32::MIN)
        .with_ratio_permille(0);
    let retry = Retry::times(1)
        .with_backoff(Backoff::constant(ms(10)))
        .with_budget(&budget);
    let script = Script::new(&clock, [Act::Fail(1, ms(0))]);
    let source = script.source().retry(retry);
    let mut waiting = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(waiting.settle().is_pending());
    let refused = Hand::new(source.fetch(ctx.clone(), ()))
        .finish(&clock)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "failure 1 (1 attempt; retry budget spent)"
    );
    // Rule 5: the unspent token comes back.
    waiting.cancel();
    let mut next = Hand::new(source.fetch(ctx, ()));
    assert!(next.settle().is_pending());
}

#[test]
fn rule_05_no_token_is_lost_among_100_000_cancellations_on_threads() {
    const THREADS: u64 = 4;
    let budget = Budget::new()
        .with_reserve(3.try_into().unwrap())
        .with_ratio_permille(0);
    let full = format!("{budget:?}");
    let hour = Backoff::constant(Duration::from_secs(3_600));
    let retry = Retry::times(1).with_backoff(hour).with_budget(&budget);
    let source = |_: failfast::Context, _: ()| async { Err::<u32, _>("refused") };
    let source = source.retry(retry);
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let (source, mut dice) = (source.clone(), fastrand::Rng::with_seed(seed));
            scope.spawn(move || {
                let mut waiting = Vec::new();
                for _ in 0..100_000 / THREADS {
                    let mut call = Hand::new(source.fetch(failfast::Context::background(), ()));
                    if call.poll().is_pending() {
                        waiting.push(call); // it has a token
                    }
                    if dice.bool() {
                        waiting.clear();
                    }
                }
            });
        }
    });
    assert_eq!(format!("{budget:?}"), full);
}

#[test]
fn rule_17_a_denied_retry_returns_the_original_error() {
    let budget = Budget::new()
        .with_reserve(NonZeroU32::MIN)
        .with_ratio_permille(0);
    assert_eq!(further(&budget, 1, 1), 1);
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Fail(7, ms(0))]);
    let retry = Retry::times(5).with_budget(&budget);
    let fault = Hand::new(script.source().retry(retry).fetch(ctx, ()))
        .finish(&clock)
        .unwrap_err();
    assert_eq!(crate::support::failure(&fault), Some(7));
    assert!(matches!(
        fault.stopped(),
        Some(failfast::policy::Stop::Budget)
    ));
}

#[test]
fn rule_18_retries_and_hedges_take_from_the_budget() {
    let asked = |build: &dyn Fn(&Script, &Budget) -> usize| {
        let (clock, _) = manual();
        let budget = Budget::new()
            .with_reserve(2.try_into().unwrap())
            .with_ratio_permille(0);
        build(&Script::new(&clock, [Act::Fail(1, ms(0))]), &budget)
    };
    let (clock, ctx) = manual();
    let retried = asked(&|script, budget| {
        let retry = Retry::times(9)
            .with_backoff(Backoff::constant(ms(0)))
            .with_budget(budget);
        let call = script.source().retry(retry).fetch(ctx.clone(), ());
        Hand::new(call).finish(&clock).unwrap_err();
        script.calls()
    });
    let hedged = asked(&|script, budget| {
        let hedge = Hedge::after(ms(1)).times(9).with_budget(budget);
        let call = script.source().hedge(hedge).fetch(ctx.clone(), ());
        Hand::new(call).finish(&clock).unwrap_err();
        script.calls()
    });
    assert_eq!((retried, hedged), (3, 3));
}

#[test]
fn rule_16_a_retry_around_a_hedge_with_the_same_budget_pays_in_once() {
    let (clock, ctx) = manual();
    let budget = Budget::new()
        .with_reserve(NonZeroU32::MIN)
        .with_ratio_permille(100);
    let hedge = Hedge::after(ms(1)).times(3).with_budget(&budget);
    let retry = Retry::times(3)
        .with_backoff(Backoff::constant(ms(0)))
        .with_budget(&budget);
    let script = Script::new(&clock, [Act::Fail(1, ms(0))]);
    let source = script.source().hedge(hedge).timeout(ms(100)).retry(retry);
    let firsts = 1_000;
    for _ in 0..firsts {
        Hand::new(source.fetch(ctx.clone(), ()))
            .finish(&clock)
            .unwrap_err();
    }
    let further = script.calls() - firsts;
    assert!(further <= 1 + firsts / 10, "{further} further attempts");
    assert!(further >= firsts / 10, "{further} further attempts");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn rule_11_no_delay_is_above_the_cap_or_below_what_its_jitter_promises(
        first in 0..u64::MAX,
        factor in 0..u32::MAX,
        max in 0..u64::MAX,
        seed in any::<u64>(),
        jitter in 0..3,
    ) {
        let (first, max) = (Duration::from_nanos(first), Duration::from_nanos(max));
        let jitter = [Jitter::Full, Jitter::Equal, Jitter::None][jitter as usize];
        let backoff = Backoff::exponential(first).with_factor(factor).with_max(max).with_jitter(jitter);
        for (index, delay) in backoff.delays(seed).take(70).enumerate() {
            let whole = expected(first, factor.max(1), max, index as u32 + 1);
            let least = match jitter {
                Jitter::Full => Duration::from_nanos(1).min(whole),
                Jitter::Equal => whole / 2,
                _ => whole,
            };
            prop_assert!((least..=whole).contains(&delay), "{delay:?} of {whole:?}");
        }
    }

    #[test]
    fn rule_16_further_attempts_are_at_most_the_reserve_and_the_ratio_of_first_ones(
        reserve in 1..20_u32,
        ratio in 0..3_000_u16,
        calls in proptest::collection::vec((0..5_u32, 0..6_usize), 1..60),
    ) {
        let budget = Budget::new()
            .with_reserve(NonZeroU32::new(reserve).unwrap())
            .with_ratio_permille(ratio);
        let (clock, ctx) = manual();
        let (mut firsts, mut furthers) = (0_u64, 0_u64);
        let mut under_way = Vec::new();
        for (more, advance) in calls {
            let script = Script::new(&clock, [Act::Fail(1, ms(1))]);
            let retry = Retry::times(more).with_backoff(Backoff::constant(ms(2))).with_budget(&budget);
            under_way.push((script.clone(), Hand::new(script.source().retry(retry).fetch(ctx.clone(), ()))));
            for (_, call) in &mut under_way {
                let _ = call.settle_if_open();
            }
            clock.advance(ms(advance as u64));
            if advance == 5 {
                under_way[0].1.cancel(); // perhaps while it waits: its token comes back
            }
        }
        for (script, call) in &mut under_way {
            call.finish_if_open(&clock);
            firsts += script.calls().min(1) as u64;
            furthers += script.calls().saturating_sub(1) as u64;
        }
        prop_assert!(furthers * 1_000 <= u64::from(reserve) * 1_000 + firsts * u64::from(ratio));
    }
}

#[test]
fn a_delay_of_zero_stays_zero_with_every_jitter() {
    for jitter in [Jitter::None, Jitter::Full, Jitter::Equal] {
        let backoff = Backoff::constant(Duration::ZERO).with_jitter(jitter);
        let delays: Vec<_> = backoff.delays(1).take(3).collect();
        assert_eq!(delays, [Duration::ZERO; 3], "{jitter:?}");
    }
}

/// The whole tokens of a budget, as `Debug` shows them.
fn tokens(budget: &Budget) -> u64 {
    let text = format!("{budget:?}");
    let (_, rest) = text.split_once("tokens: ").expect("a field");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// A budget of 100 that each first attempt pays a token into, and from which 50 have been spent.
fn half_spent() -> Budget {
    let budget = Budget::new()
        .with_reserve(NonZeroU32::new(100).unwrap())
        .with_ratio_permille(1_000);
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Fail(1, ms(0))]);
    let call = script.source().retry(paying(50, &budget)).fetch(ctx, ());
    Hand::new(call).finish(&clock).unwrap_err();
    assert_eq!(tokens(&budget), 50);
    budget
}

fn paying(times: u32, budget: &Budget) -> Retry {
    Retry::times(times)
        .with_backoff(Backoff::constant(ms(0)))
        .with_budget(budget)
}

/// How many tokens a call that succeeds at once pays in.
fn paid_in<A: Source<(), Error: std::fmt::Debug>>(budget: &Budget, source: A) -> u64 {
    let before = tokens(budget);
    let (clock, ctx) = manual();
    let answer = Hand::new(source.fetch(ctx, ())).finish(&clock);
    assert!(answer.is_ok());
    tokens(budget) - before
}

#[test]
fn debug_shows_a_budget_in_whole_tokens() {
    let budget = Budget::new()
        .with_reserve(NonZeroU32::new(7).unwrap())
        .with_ratio_permille(250);
    assert_eq!(
        format!("{budget:?}"),
        "Budget { tokens: 7, reserve: 7, ratio_permille: 250 }"
    );
}

#[test]
fn a_first_attempt_pays_into_each_of_two_budgets() {
    let (clock, _) = manual();
    let script = Script::new(&clock, [Act::Answer(1, ms(0))]);
    let (near, far) = (half_spent(), half_spent());
    let source = script
        .source()
        .retry(paying(1, &near))
        .retry(paying(1, &far));
    assert_eq!(paid_in(&far, source.clone()), 1);
    assert_eq!(tokens(&near), 51);
    assert_eq!(paid_in(&near, source), 1);
}

#[test]
fn a_first_attempt_pays_once_into_a_budget_of_two_policies_whatever_is_between_them() {
    let (clock, _) = manual();
    let script = Script::new(&clock, [Act::Answer(1, ms(0))]);
    let budget = half_spent();
    let inner = script.source().retry(paying(1, &budget));
    let other = script.source();
    let outer = || paying(1, &budget);
    assert_eq!(paid_in(&budget, inner.clone().retry(outer())), 1);
    assert_eq!(
        paid_in(&budget, inner.clone().timeout(ms(9)).retry(outer())),
        1
    );
    assert_eq!(
        paid_in(&budget, inner.clone().fallback(other).retry(outer())),
        1
    );
    assert_eq!(paid_in(&budget, inner.clone().optional().retry(outer())), 1);
    assert_eq!(paid_in(&budget, inner.clone().coalesce().retry(outer())), 1);
    assert_eq!(paid_in(&budget, Arc::new(inner).retry(outer())), 1);
    let hedge = Hedge::after(ms(9)).with_budget(&budget);
    assert_eq!(
        paid_in(&budget, script.source().hedge(hedge).retry(outer())),
        1
    );
}
