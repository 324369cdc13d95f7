//! `retry`.

use crate::support::{Act, Hand, Script, failure, manual, ms};
use failfast::policy::{Advice, Backoff, Budget, Fault, FaultKind, Hedge, Retry, Stop};
use failfast::{Aggregator, BoxError, Context, Source, SourceExt};
use std::io;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const SOON: Duration = ms(0);

/// Retries with a wait of 10 ms before each.
fn ten(times: u32) -> Retry {
    Retry::times(times).with_backoff(Backoff::constant(ms(10)))
}

fn fails(number: u32) -> Act {
    Act::Fail(number, SOON)
}

fn exhausted(fault: &Fault) -> bool {
    matches!(fault.stopped(), Some(Stop::Exhausted))
}

#[test]
fn the_first_success_is_the_answer() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fails(1), fails(2), Act::Answer(5, SOON)]);
    let mut call = Hand::new(script.source().retry(ten(9)).fetch(ctx.clone(), ()));
    let began = clock.now();
    assert_eq!(call.finish(&clock).unwrap(), 5);
    assert_eq!(clock.now() - began, ms(20));
    assert_eq!((script.calls(), script.open(), clock.armed()), (3, 0, 0));
}

#[test]
fn times_counts_the_attempts_after_the_first() {
    for more in [0, 1, 2, 31, 32, 33, 100] {
        let (clock, ctx) = manual();
        let script = Script::new(&clock, [fails(1)]);
        let retry = Retry::times(more).with_backoff(Backoff::constant(Duration::ZERO));
        let mut call = Hand::new(script.source().retry(retry).fetch(ctx, ()));
        let fault = call.finish(&clock).unwrap_err();
        assert_eq!(script.calls(), more as usize + 1);
        assert_eq!(fault.attempts(), more + 1);
        assert!(exhausted(&fault));
        assert_eq!(fault.history().len(), (more as usize + 1).min(32));
        let last = fault.history().last().unwrap();
        assert_eq!(last.attempt.number(), more + 1, "the last 32 are kept");
    }
}

#[test]
fn what_a_fault_displays() {
    let (clock, ctx) = manual();
    let show = |acts: Vec<Act>, retry: Retry, ctx: Context| {
        let script = Script::new(&clock, acts);
        let call = script.source().retry(retry).fetch(ctx, ());
        Hand::new(call).finish(&clock).unwrap_err().to_string()
    };
    let one = || vec![fails(1)];
    assert_eq!(show(one(), ten(0), ctx.clone()), "failure 1");
    assert_eq!(show(one(), ten(2), ctx.clone()), "failure 1 (3 attempts)");
    let no = || ten(2).when(|_: &crate::support::Failure| false);
    assert_eq!(show(one(), no(), ctx.clone()), "failure 1");
    let soon = ctx.with_timeout(ms(5));
    assert_eq!(
        show(one(), ten(2), soon),
        "failure 1 (1 attempt; the next in 10ms, 5ms left)"
    );
    let budget = Budget::new()
        .with_reserve(NonZeroU32::MIN)
        .with_ratio_permille(0);
    assert_eq!(
        show(one(), ten(2).with_budget(&budget), ctx.clone()),
        "failure 1 (2 attempts; retry budget spent)"
    );
    let script = Script::new(&clock, [Act::Hang]);
    let call = script
        .source()
        .timeout(ms(300))
        .retry(ten(2))
        .fetch(ctx, ());
    let fault = Hand::new(call).finish(&clock).unwrap_err();
    assert_eq!(fault.to_string(), "timed out after 300ms (3 attempts)");
}

#[test]
fn the_text_is_there_once_in_an_aggregators_error_and_the_content_is_found() {
    let source =
        |_: Context, (): ()| async { Err::<u32, _>(io::Error::other("connection refused")) };
    let retry = Retry::times(2).with_backoff(Backoff::constant(SOON));
    let page = Aggregator::in_place().source("orders", source.retry(retry));
    let error =
        futures::executor::block_on(page.aggregate(&Context::background(), ())).unwrap_err();
    assert_eq!(error.to_string(), "orders: connection refused (3 attempts)");
    assert!(error.downcast_ref::<io::Error>().is_some());
    assert_eq!(error.downcast_ref::<Fault>().unwrap().attempts(), 3);
    assert!(!error.is_timeout());
    let io: io::Error = error.downcast().unwrap();
    assert_eq!(io.to_string(), "connection refused");
}

#[test]
fn a_fault_with_another_reference_is_not_moved_out() {
    let page = |held: Arc<Mutex<Option<Fault>>>| {
        let failing = |_: Context, (): ()| async { Err::<u32, _>(io::Error::other("refused")) };
        let retried = failing.retry(Retry::times(1).with_backoff(Backoff::constant(SOON)));
        let keeps = move |ctx: Context, (): ()| {
            let (call, held) = (retried.fetch(ctx, ()), held.clone());
            async move {
                let fault = call.await.unwrap_err();
                *held.lock().unwrap() = fault.history()[1].error.clone();
                Err::<u32, Fault>(fault)
            }
        };
        Aggregator::in_place().source("orders", keeps)
    };
    let held = Arc::default();
    let error =
        futures::executor::block_on(page(Arc::clone(&held)).aggregate(&Context::background(), ()));
    let error = error.unwrap_err().downcast::<io::Error>().unwrap_err();
    held.lock().unwrap().take();
    assert!(error.downcast::<io::Error>().is_ok());
}

#[test]
fn rule_01_no_attempt_begins_once_the_callers_context_is_done() {
    let (clock, ctx) = manual();
    let (ctx, canceller) = ctx.with_cancel();
    canceller.cancel();
    let script = Script::new(&clock, [fails(1)]);
    let fault = Hand::new(script.source().retry(ten(2)).fetch(ctx, ()))
        .finish(&clock)
        .unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::Ended(_)));
    assert_eq!((script.calls(), fault.attempts()), (0, 0));
}

#[test]
fn rule_01_no_attempt_begins_if_the_caller_ends_as_the_wait_does() {
    let (clock, ctx) = manual();
    let (ctx, canceller) = ctx.with_cancel();
    let script = Script::new(&clock, [fails(1)]);
    let mut call = Hand::new(script.source().retry(ten(2)).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    clock.advance(ms(10));
    canceller.cancel();
    let Poll::Ready(Err(fault)) = call.settle() else {
        panic!("ended")
    };
    assert_eq!(
        (failure(&fault), script.calls(), fault.attempts()),
        (Some(1), 1, 1)
    );
    assert!(matches!(fault.stopped(), Some(Stop::Ended)));
}

#[test]
fn rule_02_cancel_during_the_wait_returns_the_last_error() {
    let (clock, ctx) = manual();
    let (ctx, canceller) = ctx.with_cancel();
    let script = Script::new(&clock, [fails(1), fails(2)]);
    let mut call = Hand::new(script.source().retry(ten(5)).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    clock.advance(ms(10));
    assert!(call.settle().is_pending());
    canceller.cancel_with("client went away");
    let Poll::Ready(Err(fault)) = call.settle() else {
        panic!("the caller has gone")
    };
    assert_eq!(failure(&fault), Some(2));
    assert!(matches!(fault.kind(), FaultKind::Failed));
    assert!(matches!(fault.stopped(), Some(Stop::Ended)));
    assert_eq!(
        fault.to_string(),
        "failure 2 (2 attempts; its context ended)"
    );
    assert_eq!(clock.armed(), 0);
}

#[test]
fn rule_02_cancel_during_the_second_attempt_returns_the_first_ones_error() {
    for second in [Act::Hang, Act::Wait] {
        let (clock, ctx) = manual();
        let (ctx, canceller) = ctx.with_cancel();
        let script = Script::new(&clock, [fails(1), second]);
        let mut call = Hand::new(script.source().retry(ten(5)).fetch(ctx, ()));
        assert!(call.settle().is_pending());
        clock.advance(ms(10));
        assert!(call.settle().is_pending());
        assert_eq!(script.calls(), 2);
        canceller.cancel();
        let Poll::Ready(Err(fault)) = call.settle() else {
            panic!("the caller has gone")
        };
        assert_eq!((failure(&fault), fault.attempts()), (Some(1), 2));
        let history = fault.history();
        assert!(history[0].error.is_some() && history[1].error.is_none());
        assert_eq!(script.open(), 0);
    }
}

#[test]
fn rule_02_a_timeout_around_it_does_not_replace_the_last_error() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fails(1), Act::Hang]);
    let source = script.source().retry(ten(5)).timeout(ms(100));
    let fault = Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap_err();
    assert_eq!((failure(&fault), fault.attempts()), (Some(1), 2));
}

#[test]
fn rule_04_the_callers_end_during_the_first_attempt_is_no_failure_of_the_source() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Wait]);
    let call = script
        .source()
        .retry(ten(5))
        .fetch(ctx.with_timeout(ms(100)), ());
    let fault = Hand::new(call).finish(&clock).unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::Ended(end) if end.is_deadline_exceeded()));
    assert_eq!(fault.to_string(), "context deadline exceeded");
    assert_eq!((script.calls(), fault.attempts()), (1, 1));
}

#[test]
fn rule_05_dropped_at_any_await_it_leaves_nothing() {
    let budget = || {
        Budget::new()
            .with_reserve(NonZeroU32::MIN)
            .with_ratio_permille(0)
    };
    let full = format!("{:?}", budget());
    // Two attempts of 5 ms each with a wait of 10 ms between: dropped at every millisecond.
    for at in 0..20 {
        let (clock, ctx) = manual();
        let budget = budget();
        let script = Script::new(&clock, [Act::Fail(1, ms(5)), Act::Answer(5, ms(5))]);
        let source = script.source().retry(ten(1).with_budget(&budget));
        let mut call = Hand::new(source.fetch(ctx, ()));
        for _ in 0..at {
            assert!(call.settle().is_pending());
            clock.advance(ms(1));
        }
        call.cancel();
        assert_eq!((script.open(), clock.armed()), (0, 0), "dropped at {at} ms");
        let spent = at > 15; // the second attempt has begun
        assert_eq!(format!("{budget:?}") == full, !spent, "dropped at {at} ms");
    }
}

#[test]
fn another_contexts_end_is_a_failure_like_others() {
    let (clock, ctx) = manual();
    let (other, canceller) = ctx.with_cancel();
    canceller.cancel();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let script = Script::new(&clock, [fails(1)]);
    let elsewhere = script.source().retry(ten(0));
    let source = move |_: Context, (): ()| {
        counted.fetch_add(1, SeqCst);
        elsewhere.fetch(other.clone(), ()) // a fault of kind `Ended`, but not by this caller's end
    };
    let fault = Hand::new(source.retry(ten(3)).fetch(ctx, ()))
        .finish(&clock)
        .unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::Failed));
    assert!(fault.downcast_ref::<failfast::ContextError>().is_some());
    assert_eq!((calls.load(SeqCst), fault.attempts()), (4, 4));
}

#[test]
fn rule_08_a_panic_is_not_tried_again() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Panic, Act::Answer(5, SOON)]);
    let mut call = Hand::new(script.source().retry(ten(3)).fetch(ctx.clone(), ()));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call.poll()));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"boom"));
    call.cancel();
    assert_eq!((script.calls(), script.open()), (1, 0));
    // Nor one that a nested aggregator has contained.
    let script = Script::new(&clock, [Act::Panic, Act::Answer(5, SOON)]);
    let nested = Aggregator::in_place().source("orders", script.source());
    let call = nested.retry(ten(3)).fetch(ctx, ());
    let fault = Hand::new(call).finish(&clock).unwrap_err();
    assert_eq!(fault.to_string(), "orders: panicked: boom");
    assert!(matches!(fault.stopped(), Some(Stop::Advised)));
    assert_eq!(script.calls(), 1);
}

#[test]
fn rule_09_a_delay_that_does_not_fit_returns_the_real_error_at_once() {
    for (left, fits) in [
        (0, false),
        (9, false),
        (10, false),
        (11, true),
        (1_000, true),
    ] {
        let (clock, ctx) = manual();
        let script = Script::new(&clock, [Act::Fail(1, ms(100)), Act::Answer(5, SOON)]);
        let ctx = ctx.with_timeout(ms(100 + left));
        let mut call = Hand::new(script.source().retry(ten(1)).fetch(ctx, ()));
        assert!(call.settle().is_pending());
        clock.advance(ms(100));
        match call.settle() {
            Poll::Pending => assert!(fits),
            Poll::Ready(Ok(_)) => panic!("it waits first"),
            Poll::Ready(Err(fault)) => {
                assert!(!fits, "{left} left");
                assert_eq!(failure(&fault), Some(1));
                let ended = matches!(fault.stopped(), Some(Stop::Ended));
                let no_time = matches!(fault.stopped(), Some(Stop::NoTime { needed, left: told })
                    if *needed == ms(10) && *told == ms(left));
                assert!(if left == 0 { ended } else { no_time }, "{fault:?}");
            }
        }
    }
}

#[test]
fn rule_12_retry_after_replaces_that_one_delay_and_is_never_early() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fails(1), fails(2), Act::Answer(5, SOON)]);
    let retry = Retry::times(2)
        .with_delays(|| [ms(1), ms(7)].into_iter())
        .when(|error: &crate::support::Failure| match error.0 {
            1 => Advice::After(ms(5_000)), // above every cap
            _ => Advice::Yes,
        });
    let began = clock.now();
    let mut call = Hand::new(script.source().retry(retry).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    clock.advance(ms(5_000) - Duration::from_nanos(1));
    assert!(call.settle().is_pending());
    assert_eq!(script.calls(), 1);
    assert_eq!(call.finish(&clock).unwrap(), 5);
    assert_eq!(clock.now() - began, ms(5_007));
}

#[test]
fn rule_12_retry_after_obeys_rule_9_and_the_fault_holds_it() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fails(1)]);
    let retry = ten(2).when(|_: &crate::support::Failure| Advice::After(ms(2_000)));
    let call = script
        .source()
        .retry(retry)
        .fetch(ctx.with_timeout(ms(2_000)), ());
    let Poll::Ready(Err(fault)) = Hand::new(call).settle() else {
        panic!("at once")
    };
    assert_eq!(fault.retry_after(), Some(ms(2_000)));
    assert!(matches!(fault.stopped(), Some(Stop::NoTime { needed, .. }) if *needed == ms(2_000)));
}

#[test]
fn rule_14_the_attempts_number_reaches_the_callee() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fails(1), fails(2), Act::Answer(5, SOON)]);
    let call = script.source().retry(ten(2)).fetch(ctx, ());
    Hand::new(call).finish(&clock).unwrap();
    for number in 0..3 {
        let attempt = script.context(number).attempt();
        assert_eq!(
            (attempt.number(), attempt.is_hedge()),
            (number as u32 + 1, false)
        );
    }
}

#[test]
fn rule_14_the_nearest_policy_counts() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fails(1), fails(2), fails(3), Act::Answer(5, SOON)]);
    let call = script.source().retry(ten(1)).retry(ten(1)).fetch(ctx, ());
    Hand::new(call).finish(&clock).unwrap();
    let numbers: Vec<_> = (0..4)
        .map(|call| script.context(call).attempt().number())
        .collect();
    assert_eq!(numbers, [1, 2, 1, 2]);
}

#[test]
fn nested_retries_are_one_flat_fault() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Fail(1, ms(5))]);
    let call = script
        .source()
        .retry(ten(1))
        .timeout(ms(1_000))
        .retry(ten(1))
        .fetch(ctx, ());
    let fault = Hand::new(call).finish(&clock).unwrap_err();
    assert_eq!(fault.to_string(), "failure 1 (4 attempts)");
    assert_eq!((script.calls(), fault.attempts()), (4, 4));
    let told: Vec<_> = fault
        .history()
        .iter()
        .map(|tried| (tried.attempt.number(), tried.after, tried.took))
        .collect();
    let expected = [(1, 0), (2, 15), (1, 30), (2, 45)];
    assert_eq!(
        told,
        expected.map(|(number, after)| (number, ms(after), ms(5)))
    );
    assert!(
        fault
            .history()
            .iter()
            .all(|tried| tried.error.as_ref().unwrap().history().is_empty())
    );
}

#[test]
fn when_decides_by_the_first_type_that_is_found() {
    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapper(#[source] io::Error);

    let run = |retry: Retry| {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let source = move |_: Context, (): ()| {
            counted.fetch_add(1, SeqCst);
            std::future::ready(Err::<u32, BoxError>(
                Wrapper(io::Error::other("refused")).into(),
            ))
        };
        let (clock, ctx) = manual();
        Hand::new(source.retry(retry).fetch(ctx, ()))
            .finish(&clock)
            .unwrap_err();
        calls.load(SeqCst)
    };
    assert_eq!(run(ten(1).when(|_: &Wrapper| true)), 2);
    assert_eq!(run(ten(1).when(|_: &io::Error| true)), 2, "down the chain");
    assert_eq!(
        run(ten(1).when(|_: &io::Error| false).when(|_: &Wrapper| true)),
        1
    );
    assert_eq!(
        run(ten(1)
            .when(|_: &std::fmt::Error| false)
            .when(|_: &Wrapper| true)),
        2
    );
    assert_eq!(
        run(ten(1).when(|_: &std::fmt::Error| true)),
        1,
        "none is found"
    );
    assert_eq!(
        run(ten(1).when(|fault: &Fault| fault.attempts() == 1)),
        2,
        "the fault itself"
    );
}

#[test]
fn where_no_when_matches_a_policys_own_timeout_is_tried_again_all_the_same() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang, Act::Answer(5, SOON)]);
    let retry = ten(1).when(|_: &io::Error| true);
    let call = script.source().timeout(ms(100)).retry(retry).fetch(ctx, ());
    assert_eq!(Hand::new(call).finish(&clock).unwrap(), 5);
}

#[test]
fn rule_13_no_permit_is_held_while_it_waits() {
    // The attempt is gone before the wait begins, and with it whatever it holds.
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fails(1), Act::Answer(5, SOON)]);
    let mut call = Hand::new(script.source().retry(ten(1)).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    assert_eq!((script.calls(), script.open()), (1, 0));
    assert_eq!(call.finish(&clock).unwrap(), 5);
}

#[test]
fn delays_that_end_end_the_attempts() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fails(1)]);
    let retry = Retry::times(9).with_delays(|| [ms(1), ms(2)].into_iter());
    let began = clock.now();
    let fault = Hand::new(script.source().retry(retry).fetch(ctx, ()))
        .finish(&clock)
        .unwrap_err();
    assert!(exhausted(&fault));
    assert_eq!((script.calls(), clock.now() - began), (3, ms(3)));
}

#[test]
fn a_seed_gives_the_same_waits_for_every_call() {
    let run = |seed: u64| {
        let (clock, ctx) = manual();
        let began = clock.now();
        let script = Script::new(&clock, [fails(1)]);
        let call = script
            .source()
            .retry(Retry::times(5).with_seed(seed))
            .fetch(ctx, ());
        Hand::new(call).finish(&clock).unwrap_err();
        clock.now() - began
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    let delays = Backoff::default().delays(7).take(5).sum::<Duration>();
    assert_eq!(run(7), delays);
}

#[test]
fn attempts_at_once_yield_to_the_executor() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [fails(1)]);
    let retry = Retry::times(10_000).with_backoff(Backoff::constant(SOON));
    let mut call = Hand::new(script.source().retry(retry).fetch(ctx, ()));
    assert!(call.poll().is_pending());
    assert!((1..=64).contains(&script.calls()), "{}", script.calls());
    assert_eq!(call.wakes(), 1);
    assert!(call.finish(&clock).is_err());
}

#[test]
fn a_timer_that_cannot_fire_returns_the_real_error() {
    let broken = |_: Duration| async { panic!("no runtime here") };
    let ctx = Context::background().with_clock(broken);
    let (clock, _) = manual();
    let script = Script::new(&clock, [fails(1)]);
    let mut call = Hand::new(script.source().retry(ten(3)).fetch(ctx, ()));
    let Poll::Ready(Err(fault)) = call.settle() else {
        panic!("it never hangs")
    };
    assert_eq!(failure(&fault), Some(1));
}

#[test]
fn history_holds_when_each_attempt_began_and_how_long_it_took() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Fail(1, ms(3)), Act::Fail(2, ms(4))]);
    let fault = Hand::new(script.source().retry(ten(1)).fetch(ctx, ()))
        .finish(&clock)
        .unwrap_err();
    let told: Vec<_> = fault
        .history()
        .iter()
        .map(|tried| {
            (
                tried.after,
                tried.took,
                failure(tried.error.as_ref().unwrap()).unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [(ms(0), ms(3), 1), (ms(13), ms(4), 2)]);
}

#[test]
fn one_retry_serves_sources_of_other_types() {
    let retry = ten(1).when(|_: &io::Error| true);
    let text = |_: Context, _: u8| async { Ok::<_, io::Error>("text") };
    let number = |_: Context, _: ()| async { Ok::<_, BoxError>(5) };
    let ctx = Context::background();
    futures::executor::block_on(async {
        assert_eq!(
            text.retry(retry.clone())
                .fetch(ctx.clone(), 7)
                .await
                .unwrap(),
            "text"
        );
        let both = number.retry(retry).hedge(Hedge::after(ms(1_000)));
        assert_eq!(both.fetch(ctx, ()).await.unwrap(), 5);
    });
}

/// An error that counts those that live.
#[derive(Debug, thiserror::Error)]
#[error("failure {number}")]
struct Counted {
    number: usize,
    live: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live.fetch_sub(1, SeqCst);
    }
}

#[test]
fn errors_alive_during_a_long_retry_are_bounded() {
    const KEPT: usize = 32;
    for failures in [1, KEPT, 2 * KEPT - 1, 2 * KEPT, 2 * KEPT + 1, 10_000] {
        let (live, most, calls) = <(Arc<AtomicUsize>, AtomicUsize, AtomicUsize)>::default();
        let source = |_: Context, (): ()| {
            let number = calls.fetch_add(1, SeqCst) + 1;
            most.fetch_max(live.fetch_add(1, SeqCst) + 1, SeqCst);
            let live = live.clone();
            std::future::ready(Err::<u32, _>(Counted { number, live }))
        };
        let times = u32::try_from(failures - 1).unwrap();
        let retry = Retry::times(times).with_backoff(Backoff::constant(SOON));
        let call = (&source).retry(retry).fetch(Context::background(), ());
        let fault = Hand::new(call).settle();
        let Poll::Ready(Err(fault)) = fault else {
            panic!("it never succeeds")
        };
        assert!(most.load(SeqCst) <= 2 * KEPT + 1, "{most:?} of {failures}");
        assert_eq!(fault.attempts() as usize, failures);
        let history = fault
            .history()
            .iter()
            .filter_map(|tried| tried.error.as_ref());
        let numbers: Vec<_> = history
            .map(|error| error.downcast_ref::<Counted>().unwrap().number)
            .collect();
        let first = failures.saturating_sub(KEPT) + 1;
        assert_eq!(numbers, Vec::from_iter(first..=failures));
        drop(fault);
        assert_eq!(live.load(SeqCst), 0);
    }
}

#[test]
fn a_later_failure_without_advice_takes_back_that_of_an_earlier_one() {
    let advice = |failure: &crate::support::Failure| match failure.0 {
        1 => Advice::After(ms(5)),
        _ => Advice::Yes,
    };
    let stopped = |acts: Vec<Act>, timeout: u64| {
        let (clock, ctx) = manual();
        let script = Script::new(&clock, acts);
        let source = script.source().retry(ten(9).when(advice));
        let call = source.fetch(ctx.with_timeout(ms(timeout)), ());
        let fault = Hand::new(call).finish(&clock).unwrap_err();
        (failure(&fault), fault.retry_after())
    };
    assert_eq!(stopped(vec![fails(1), fails(2)], 12), (Some(2), None));
    // An attempt that the caller's end cut short takes nothing back, because the answer is the failure before it.
    let cut = vec![fails(1), Act::Hang];
    assert_eq!(stopped(cut, 12), (Some(1), Some(ms(5))));
}
