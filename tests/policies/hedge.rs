//! `hedge`.

use crate::support::{Act, Failure, Hand, Script, failure, manual, ms};
use failfast::policy::{Advice, Backoff, Budget, FaultKind, Hedge, Retry, Stop};
use failfast::{BoxError, Canceller, Context, Source, SourceExt};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

fn answer(number: u32, millis: u64) -> Act {
    Act::Answer(number, ms(millis))
}

fn fail(number: u32, millis: u64) -> Act {
    Act::Fail(number, ms(millis))
}

/// One more after 50 ms.
fn fifty() -> Hedge {
    Hedge::after(ms(50))
}

#[test]
fn an_answer_within_the_delay_is_one_call() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [answer(1, 49), answer(2, 0)]);
    let mut call = Hand::new(script.source().hedge(fifty()).fetch(ctx, ()));
    assert_eq!(call.finish(&clock).unwrap(), 1);
    assert_eq!((script.calls(), clock.armed()), (1, 0));
}

#[test]
fn a_slow_attempt_is_overtaken_by_the_next() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [answer(1, 1_000), answer(2, 10)]);
    let mut call = Hand::new(script.source().hedge(fifty()).fetch(ctx, ()));
    let began = clock.now();
    assert_eq!(call.finish(&clock).unwrap(), 2);
    assert_eq!(clock.now() - began, ms(60));
    assert_eq!((script.calls(), script.open(), clock.armed()), (2, 0, 0));
    let attempts = [0, 1].map(|call| script.context(call).attempt());
    assert_eq!(attempts.map(|attempt| attempt.number()), [1, 2]);
    assert_eq!(attempts.map(|attempt| attempt.is_hedge()), [false, true]);
}

#[test]
fn times_limits_the_further_attempts_and_the_delay_counts_from_the_latest() {
    for times in [0, 1, 2, 5] {
        let (clock, ctx) = manual();
        let script = Script::new(&clock, [Act::Hang]);
        let mut call = Hand::new(script.source().hedge(fifty().times(times)).fetch(ctx, ()));
        for millisecond in 0..400 {
            assert!(call.settle().is_pending());
            let expected = (millisecond / 50).min(u64::from(times)) + 1;
            assert_eq!(script.calls() as u64, expected, "after {millisecond} ms");
            clock.advance(ms(1));
        }
    }
}

#[test]
fn each_wake_polls_each_attempt_once() {
    let polls: Arc<Mutex<Vec<u32>>> = Arc::default();
    let seen = polls.clone();
    let source = move |ctx: Context, (): ()| {
        let (seen, number) = (seen.clone(), ctx.attempt().number());
        std::future::poll_fn(move |_| {
            seen.lock().unwrap().push(number);
            Poll::<Result<u32, BoxError>>::Pending
        })
    };
    let (clock, ctx) = manual();
    let mut call = Hand::new(source.hedge(fifty().times(2)).fetch(ctx, ()));
    let polled = |call: &mut Hand<_>| {
        assert!(call.poll().is_pending());
        std::mem::take(&mut *polls.lock().unwrap())
    };
    assert_eq!(polled(&mut call), [1]);
    clock.advance(ms(50));
    assert_eq!(call.wakes(), 1);
    assert_eq!(polled(&mut call), [1, 2]);
    assert_eq!(polled(&mut call), [1, 2]);
    clock.advance(ms(50));
    assert_eq!(polled(&mut call), [1, 2, 3]);
    assert_eq!(polled(&mut call), [1, 2, 3]);
}

#[test]
fn rule_19_the_first_success_wins_and_a_failure_waits_for_those_in_flight() {
    let (clock, ctx) = manual();
    // The second fails at 60 ms; the first succeeds at 100.
    let script = Script::new(&clock, [answer(1, 100), fail(2, 10)]);
    let mut call = Hand::new(script.source().hedge(fifty()).fetch(ctx, ()));
    let began = clock.now();
    assert_eq!(call.finish(&clock).unwrap(), 1);
    assert_eq!(clock.now() - began, ms(100));
}

#[test]
fn rule_20_a_retryable_failure_launches_the_next_at_once() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fail(1, 10), fail(2, 5), answer(3, 5)]);
    let mut call = Hand::new(script.source().hedge(fifty().times(2)).fetch(ctx, ()));
    let began = clock.now();
    assert_eq!(call.finish(&clock).unwrap(), 3);
    assert_eq!(clock.now() - began, ms(20));
}

#[test]
fn rule_20_a_fatal_failure_ends_all() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [answer(1, 1_000), fail(2, 10)]);
    let hedge = fifty().times(2).when(|error: &Failure| error.0 != 2);
    let mut call = Hand::new(script.source().hedge(hedge).fetch(ctx, ()));
    let fault = call.finish(&clock).unwrap_err();
    assert_eq!(failure(&fault), Some(2));
    assert!(matches!(fault.stopped(), Some(Stop::Advised)));
    assert_eq!((script.calls(), script.open(), fault.attempts()), (2, 0, 2));
    let history = fault.history();
    assert!(history[0].error.is_none(), "the first was cut");
    assert_eq!(history[0].took, ms(60));
}

#[test]
fn rule_21_all_failed_is_the_primarys_error() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fail(1, 100), fail(2, 10), fail(3, 10)]);
    let mut call = Hand::new(script.source().hedge(fifty().times(2)).fetch(ctx, ()));
    let fault = call.finish(&clock).unwrap_err();
    assert_eq!(failure(&fault), Some(1), "though it came last");
    assert_eq!(fault.to_string(), "failure 1 (3 attempts)");
    assert!(matches!(fault.stopped(), Some(Stop::Exhausted)));
    let numbers: Vec<_> = fault
        .history()
        .iter()
        .map(|tried| tried.attempt.number())
        .collect();
    assert_eq!(numbers, [1, 2, 3], "in the order of their begin");
}

#[test]
fn rule_22_losers_are_canceled_and_dropped_before_the_answer_is_out() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<(u32, bool)>>);
    struct OnDrop(Arc<Seen>, Context);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            let number = self.1.attempt().number();
            self.0.0.lock().unwrap().push((number, self.1.is_done()));
        }
    }
    let seen = Arc::new(Seen::default());
    let log = seen.clone();
    let source = move |ctx: Context, (): ()| {
        let guard = OnDrop(log.clone(), ctx.clone());
        async move {
            let _guard = guard;
            if !ctx.attempt().is_hedge() {
                std::future::pending::<()>().await;
            }
            Ok::<_, BoxError>(2)
        }
    };
    let (clock, ctx) = manual();
    let mut call = Hand::new(source.hedge(fifty()).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    clock.advance(ms(50));
    let Poll::Ready(Ok(answer)) = call.poll() else {
        panic!("the second answers at once")
    };
    // The winner is through first, and not canceled; the loser is canceled before it is dropped.
    assert_eq!(
        (answer, &*seen.0.lock().unwrap()),
        (2, &vec![(2, false), (1, true)])
    );
}

#[test]
fn rule_23_the_winners_context_lives_until_its_answer_is_out() {
    let (clock, ctx) = manual();
    for acts in [vec![answer(1, 10)], vec![Act::Hang, answer(2, 10)]] {
        let winner = acts.len() - 1;
        let script = Script::new(&clock, acts);
        let mut call = Hand::new(script.source().hedge(fifty()).fetch(ctx.clone(), ()));
        call.finish(&clock).unwrap();
        assert!(
            !script.context(winner).is_done(),
            "a body may still be read under it"
        );
        assert!((0..winner).all(|loser| script.context(loser).is_done()));
    }
}

#[test]
fn rule_24_a_loser_is_neither_a_failure_nor_a_timeout() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Wait, answer(2, 10)]);
    // The loser's timeout would have passed at 300 ms; it is cut at 60.
    let source = script.source().timeout(ms(300)).hedge(fifty());
    assert_eq!(Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap(), 2);
    assert_eq!((script.open(), clock.armed()), (0, 0));
}

#[test]
fn rule_25_retry_around_hedge_calls_at_most_r_plus_1_times_h_plus_1() {
    for (retries, hedges) in [(0, 0), (0, 2), (2, 0), (1, 1), (2, 3), (5, 4)] {
        let (clock, ctx) = manual();
        let script = Script::new(&clock, [fail(1, 10)]);
        let retry = Retry::times(retries).with_backoff(Backoff::constant(ms(1)));
        let source = script.source().hedge(fifty().times(hedges)).retry(retry);
        let fault = Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap_err();
        let most = (retries + 1) * (hedges + 1);
        assert_eq!((script.calls() as u32, fault.attempts()), (most, most));
        assert_eq!(fault.history().len() as u32, most);
    }
}

#[test]
fn rule_25_retry_around_hedge_stops_at_the_winner() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fail(1, 10), fail(2, 10), Act::Hang, answer(4, 10)]);
    let retry = Retry::times(9).with_backoff(Backoff::constant(ms(1)));
    let source = script.source().hedge(fifty()).retry(retry);
    assert_eq!(Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap(), 4);
    assert_eq!((script.calls(), script.open()), (4, 0));
}

#[test]
fn rule_01_no_attempt_begins_once_the_callers_context_is_done() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [answer(1, 0)]);
    let done = ctx.with_timeout(ms(0));
    let fault = Hand::new(script.source().hedge(fifty()).fetch(done, ())).finish(&clock);
    let fault = fault.unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::Ended(_)));
    assert_eq!((script.calls(), fault.attempts()), (0, 0));
    // At a tie the caller's deadline comes first.
    let script = Script::new(&clock, [Act::Hang]);
    let call = script
        .source()
        .hedge(fifty())
        .fetch(ctx.with_timeout(ms(50)), ());
    let fault = Hand::new(call).finish(&clock).unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::Ended(_)));
    assert_eq!((script.calls(), script.open(), clock.armed()), (1, 0, 0));
}

#[test]
fn rule_02_the_callers_end_does_not_replace_a_failure() {
    let (clock, ctx) = manual();
    let (ctx, canceller) = ctx.with_cancel();
    let script = Script::new(&clock, [fail(1, 10), Act::Wait]);
    let mut call = Hand::new(script.source().hedge(fifty()).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    clock.advance(ms(10));
    assert!(call.settle().is_pending());
    canceller.cancel();
    let Poll::Ready(Err(fault)) = call.settle() else {
        panic!("the caller has gone")
    };
    assert_eq!((failure(&fault), fault.attempts()), (Some(1), 2));
    assert!(matches!(fault.stopped(), Some(Stop::Ended)));
}

#[test]
fn rule_05_dropped_at_any_await_it_leaves_nothing() {
    for at in 0..120 {
        let (clock, ctx) = manual();
        let script = Script::new(&clock, [Act::Wait]);
        let mut call = Hand::new(script.source().hedge(fifty().times(2)).fetch(ctx, ()));
        for _ in 0..at {
            assert!(call.settle().is_pending());
            clock.advance(ms(1));
        }
        let calls = script.calls();
        call.cancel();
        assert_eq!((script.open(), clock.armed()), (0, 0), "dropped at {at} ms");
        assert!((0..calls).all(|call| script.context(call).is_done()));
    }
}

#[test]
fn rule_08_a_panic_ends_the_call_and_the_other_attempts() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang, Act::Panic]);
    let mut call = Hand::new(script.source().hedge(fifty()).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    clock.advance(ms(50));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call.poll()));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"boom"));
    call.cancel();
    assert_eq!((script.calls(), script.open(), clock.armed()), (2, 0, 0));
}

#[test]
fn rule_17_a_refused_hedge_is_only_not_made() {
    let (clock, ctx) = manual();
    let budget = Budget::new()
        .with_reserve(NonZeroU32::MIN)
        .with_ratio_permille(0);
    let hedge = || fifty().times(3).with_budget(&budget);
    let script = Script::new(&clock, [answer(1, 1_000), Act::Hang]);
    let call = script.source().hedge(hedge()).fetch(ctx.clone(), ());
    assert_eq!(Hand::new(call).finish(&clock).unwrap(), 1);
    assert_eq!(script.calls(), 2);
    let script = Script::new(&clock, [fail(1, 10)]);
    let call = script.source().hedge(hedge()).fetch(ctx, ());
    let fault = Hand::new(call).finish(&clock).unwrap_err();
    assert_eq!(script.calls(), 1);
    assert_eq!(
        fault.to_string(),
        "failure 1 (1 attempt; retry budget spent)"
    );
}

#[test]
fn a_zero_delay_begins_all_attempts_at_once() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang, Act::Hang, answer(3, 0)]);
    let call = script
        .source()
        .hedge(Hedge::after(Duration::ZERO).times(2))
        .fetch(ctx, ());
    let Poll::Ready(Ok(3)) = Hand::new(call).poll() else {
        panic!("the third answers at once")
    };
}

#[test]
fn a_timer_that_cannot_fire_leaves_the_first_attempt_alone() {
    let broken = |_: Duration| async { panic!("no runtime here") };
    let ctx = Context::background().with_clock(broken);
    let (clock, _) = manual();
    let script = Script::new(&clock, [answer(1, 100), answer(2, 0)]);
    let mut call = Hand::new(script.source().hedge(fifty()).fetch(ctx, ()));
    assert_eq!(call.finish(&clock).unwrap(), 1);
    assert_eq!(script.calls(), 1);
}

#[test]
fn with_no_further_attempts_the_retry_around_it_counts() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fail(1, 1), answer(2, 1)]);
    let retry = Retry::times(1).with_backoff(Backoff::constant(ms(1)));
    let source = script.source().hedge(fifty().times(0)).retry(retry);
    assert_eq!(Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap(), 2);
    assert_eq!(script.context(1).attempt().number(), 2);
}

#[test]
fn retry_around_a_hedge_that_the_caller_ended_counts_both_attempts() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang]);
    let source = script.source().hedge(fifty()).retry(Retry::times(1));
    let mut call = Hand::new(source.fetch(ctx.with_timeout(ms(80)), ()));
    let fault = call.finish(&clock).unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::Ended(_)));
    assert_eq!((script.calls(), fault.attempts()), (2, 2));
    let history = fault.history().iter();
    let tried: Vec<_> = history
        .map(|tried| (tried.attempt.number(), tried.took, tried.error.is_none()))
        .collect();
    assert_eq!(tried, [(1, ms(80), true), (2, ms(30), true)]);
}

#[test]
fn a_caller_that_ends_as_the_last_attempt_fails_is_why_it_stopped() {
    let (clock, ctx) = manual();
    let (ctx, canceller) = ctx.with_cancel();
    let canceller = Mutex::new(Some(canceller));
    let hedge = fifty().when(move |_: &Failure| {
        canceller.lock().unwrap().take().unwrap().cancel();
        true
    });
    let script = Script::new(&clock, [fail(1, 10)]);
    let mut call = Hand::new(script.source().hedge(hedge).fetch(ctx, ()));
    let fault = call.finish(&clock).unwrap_err();
    assert_eq!((failure(&fault), script.calls()), (Some(1), 1));
    assert!(matches!(fault.stopped(), Some(Stop::Ended)));
}

#[test]
fn a_caller_that_ends_as_the_next_attempt_begins_is_why_it_stopped() {
    /// Ends its caller's context when it is cloned for the second attempt.
    struct Request(Arc<AtomicU32>, Arc<Canceller>);
    impl Clone for Request {
        fn clone(&self) -> Self {
            if self.0.fetch_add(1, SeqCst) == 1 {
                self.1.cancel();
            }
            Self(self.0.clone(), self.1.clone())
        }
    }
    let calls = AtomicU32::new(0);
    let source = |_: Context, _: Request| {
        calls.fetch_add(1, SeqCst);
        std::future::ready(Err::<u32, _>(Failure(1)))
    };
    let (clock, ctx) = manual();
    let (ctx, canceller) = ctx.with_cancel();
    let request = Request(Arc::default(), Arc::new(canceller));
    let mut call = Hand::new((&source).hedge(fifty()).fetch(ctx, request));
    let fault = call.finish(&clock).unwrap_err();
    assert_eq!((failure(&fault), calls.load(SeqCst)), (Some(1), 1));
    assert!(matches!(fault.stopped(), Some(Stop::Ended)));
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("bomb")
    }
}

#[test]
fn losers_whose_destructors_panic_do_not_replace_the_answer() {
    let source = |ctx: Context, (): ()| async move {
        if ctx.attempt().number() == 3 {
            return Ok::<u32, BoxError>(3);
        }
        let _bomb = Bomb;
        std::future::pending().await
    };
    let (clock, ctx) = manual();
    let mut call = Hand::new(source.hedge(fifty().times(2)).fetch(ctx, ()));
    assert_eq!(call.finish(&clock).unwrap(), 3);
}

#[test]
fn losers_whose_destructors_panic_do_not_replace_a_fatal_error() {
    let source = |ctx: Context, (): ()| async move {
        if ctx.attempt().is_hedge() {
            return Err::<u32, _>(Failure(2));
        }
        let _bomb = Bomb;
        std::future::pending().await
    };
    let (clock, ctx) = manual();
    let hedge = fifty().when(|_: &Failure| false);
    let mut call = Hand::new(source.hedge(hedge).fetch(ctx, ()));
    let fault = call.finish(&clock).unwrap_err();
    assert_eq!((failure(&fault), fault.attempts()), (Some(2), 2));
}

#[test]
fn the_primarys_advice_stays_with_its_error() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fail(1, 10), fail(2, 10)]);
    let retry = Retry::times(1).when(|error: &Failure| match error.0 {
        1 => Advice::After(ms(2_000)),
        _ => Advice::No,
    });
    let source = script.source().retry(retry).hedge(fifty());
    let mut call = Hand::new(source.fetch(ctx.with_timeout(ms(1_000)), ()));
    let fault = call.finish(&clock).unwrap_err();
    assert_eq!((failure(&fault), script.calls()), (Some(1), 2));
    assert_eq!(fault.retry_after(), Some(ms(2_000)));
}

#[test]
fn rule_17_a_hedge_that_was_refused_is_not_asked_for_again() {
    let (clock, ctx) = manual();
    let budget = Budget::new()
        .with_reserve(NonZeroU32::MIN)
        .with_ratio_permille(500);
    let failing = Script::new(&clock, [fail(1, 0)]);
    let spent = failing.source().retry(Retry::times(1).with_budget(&budget));
    Hand::new(spent.fetch(ctx.clone(), ()))
        .finish(&clock)
        .unwrap_err();

    let script = Script::new(&clock, [answer(1, 1_000), answer(2, 0)]);
    let source = script.source().hedge(fifty().with_budget(&budget));
    let mut call = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(call.settle().is_pending()); // pays half a token
    clock.advance(ms(50));
    assert!(call.settle().is_pending());
    assert_eq!(script.calls(), 1, "refused");
    let paying = Script::new(&clock, [answer(3, 0)]).source();
    let paying = paying.retry(Retry::times(1).with_budget(&budget));
    Hand::new(paying.fetch(ctx, ())).finish(&clock).unwrap(); // the other half
    assert_eq!(call.finish(&clock).unwrap(), 1);
    assert_eq!(script.calls(), 1);
}

#[test]
fn rule_14_the_hedge_counts_its_attempts_from_1_in_each_attempt_of_a_retry_around_it() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fail(1, 10), fail(2, 10), answer(3, 0)]);
    let retry = Retry::times(1).with_backoff(Backoff::constant(ms(10)));
    let source = script.source().hedge(fifty()).retry(retry);
    assert_eq!(Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap(), 3);
    let numbers = [0, 1, 2].map(|call| script.context(call).attempt().number());
    assert_eq!(numbers, [1, 2, 1]);
}

#[test]
fn history_counts_from_the_first_attempt_also_if_a_later_one_fails_before_it() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fail(1, 80), fail(2, 10)]);
    let mut call = Hand::new(script.source().hedge(fifty()).fetch(ctx, ()));
    let fault = call.finish(&clock).unwrap_err();
    let told: Vec<_> = fault
        .history()
        .iter()
        .map(|tried| (tried.attempt.number(), tried.after, tried.took))
        .collect();
    assert_eq!(told, [(1, ms(0), ms(80)), (2, ms(50), ms(10))]);
}
