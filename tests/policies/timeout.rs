//! `timeout` and `leaving`.

use crate::support::{Act, Failure, Hand, Script, failure, manual, ms};
use failfast::policy::{Fault, FaultKind};
use failfast::{Context, Source, SourceExt};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

fn timed_out(fault: &Fault) -> Option<Duration> {
    match fault.kind() {
        FaultKind::TimedOut { after } => Some(*after),
        _ => None,
    }
}

#[test]
fn an_answer_before_the_deadline_is_the_answer() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(299))]);
    let source = script.source().timeout(ms(300));
    let mut call = Hand::new(source.fetch(ctx, ()));
    assert_eq!(call.finish(&clock).unwrap(), 5);
    assert_eq!(clock.armed(), 0);
}

#[test]
fn a_source_that_ignores_its_context_is_dropped_at_the_deadline() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang]);
    let mut call = Hand::new(script.source().timeout(ms(300)).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    clock.advance(ms(300) - Duration::from_nanos(1));
    assert_eq!(call.wakes(), 0);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(call.wakes(), 1);
    let Poll::Ready(Err(fault)) = call.poll() else {
        panic!("the deadline has passed")
    };
    assert_eq!(timed_out(&fault), Some(ms(300)));
    assert_eq!(fault.to_string(), "timed out after 300ms");
    assert_eq!(fault.attempts(), 1);
    assert!(fault.stopped().is_none());
    assert_eq!((script.calls(), script.open(), clock.armed()), (1, 0, 0));
}

#[test]
fn a_timer_that_wakes_itself_is_polled_again_by_the_next_poll_of_the_call() {
    let clock = |_| {
        let mut polled_before = false;
        poll_fn(move |cx| {
            if std::mem::replace(&mut polled_before, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    };
    let script = Script::new(&manual().0, [Act::Hang]);
    let source = script.source().timeout(Duration::from_secs(60));
    let mut call = Hand::new(source.fetch(Context::background().with_clock(clock), ()));
    assert!(call.poll().is_pending() && call.wakes() == 1);
    let Poll::Ready(Err(fault)) = call.poll() else {
        panic!("its timer is ready")
    };
    assert_eq!(timed_out(&fault), Some(Duration::from_secs(60)));
}

/// The deadlines are at one moment, by two clocks: what ended the call is what that moment came by.
#[test]
fn at_the_callers_moment_the_end_is_of_the_clock_that_showed_it() {
    for (callers, own) in [(true, false), (false, true)] {
        let (clocks, caller) = (manual().0, manual());
        let at = caller.0.now() + ms(300);
        let ctx = caller.1.with_deadline(at).with_clock(clocks.clone());
        let script = Script::new(&clocks, [Act::Hang]);
        let source = script.source().timeout(at - clocks.now());
        let mut call = Hand::new(source.fetch(ctx, ()));
        assert!(call.settle().is_pending());
        if own {
            clocks.advance(at - clocks.now());
        }
        caller.0.advance(ms(300)); // the other, too, has passed by now
        let Poll::Ready(Err(fault)) = call.poll() else {
            panic!("its deadline has passed")
        };
        assert_eq!(timed_out(&fault).is_some(), own, "{fault}");
        assert_eq!(matches!(fault.kind(), FaultKind::Ended(_)), callers);
    }
}

#[test]
fn the_source_has_the_deadline() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Wait]);
    let mut call = Hand::new(script.source().timeout(ms(300)).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    assert_eq!(script.context(0).remaining(), Some(ms(300)));
    let fault = call.finish(&clock).unwrap_err();
    assert_eq!(
        timed_out(&fault),
        Some(ms(300)),
        "its echo is the policy's end"
    );
}

#[test]
fn rule_01_nothing_starts_once_the_callers_context_is_done() {
    let (clock, ctx) = manual();
    let (ctx, canceller) = ctx.with_cancel();
    canceller.cancel_with("client went away");
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    for source in [
        script.source().timeout(ms(300)),
        script.source().leaving(ms(300)),
    ] {
        let fault = Hand::new(source.fetch(ctx.clone(), ()))
            .finish(&clock)
            .unwrap_err();
        assert!(matches!(fault.kind(), FaultKind::Ended(error) if error.is_canceled()));
        assert_eq!(fault.attempts(), 0);
        assert_eq!(fault.to_string(), "context canceled: client went away");
    }
    assert_eq!(script.calls(), 0);
}

#[test]
fn rule_02_an_error_returned_at_the_deadline_is_not_replaced_by_it() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Fail(1, ms(300))]);
    let mut call = Hand::new(script.source().timeout(ms(300)).fetch(ctx, ()));
    let fault = call.finish(&clock).unwrap_err();
    assert_eq!(failure(&fault), Some(1));
    assert!(matches!(fault.kind(), FaultKind::Failed));
}

#[test]
fn rule_03_a_tie_is_the_callers_deadline() {
    let (clock, ctx) = manual();
    for (timeout, caller, own) in [(299, 300, true), (300, 300, false), (301, 300, false)] {
        for act in [Act::Wait, Act::Hang] {
            let script = Script::new(&clock, [act]);
            let source = script.source().timeout(ms(timeout));
            let mut call = Hand::new(source.fetch(ctx.with_timeout(ms(caller)), ()));
            let fault = call.finish(&clock).unwrap_err();
            assert_eq!(timed_out(&fault).is_some(), own, "{timeout} in {caller}");
            let ended = matches!(fault.kind(), FaultKind::Ended(end) if end.is_deadline_exceeded());
            assert_eq!(ended, !own);
        }
    }
}

#[test]
fn rule_03_an_inner_timeouts_end_is_not_the_outer_ones() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Wait]);
    let source = script.source().timeout(ms(100)).timeout(ms(200));
    let fault = Hand::new(source.fetch(ctx.clone(), ()))
        .finish(&clock)
        .unwrap_err();
    assert_eq!(timed_out(&fault), Some(ms(100)));
    let source = script.source().timeout(ms(200)).timeout(ms(100));
    let fault = Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap_err();
    assert_eq!(timed_out(&fault), Some(ms(100)));
    assert_eq!(fault.to_string(), "timed out after 100ms");
}

#[test]
fn rule_04_the_callers_cancellation_is_its_own_kind() {
    let (clock, ctx) = manual();
    let (ctx, canceller) = ctx.with_cancel();
    let script = Script::new(&clock, [Act::Hang]);
    let mut call = Hand::new(script.source().timeout(ms(300)).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    canceller.cancel_with("client went away");
    let Poll::Ready(Err(fault)) = call.settle() else {
        panic!("the caller has gone")
    };
    assert!(matches!(fault.kind(), FaultKind::Ended(_)));
    assert_eq!((script.open(), clock.armed()), (0, 0));
}

#[test]
fn rule_06_the_timeout_counts_from_the_begin_of_the_attempt() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang]);
    let source = script.source().timeout(ms(300));
    clock.advance(ms(200));
    let mut call = Hand::new(source.fetch(ctx, ()));
    clock.advance(ms(200));
    assert!(call.settle().is_pending());
    assert_eq!(script.context(0).remaining(), Some(ms(300)));
    assert!(call.finish(&clock).is_err());
}

#[test]
fn rule_28_leaving_gives_the_margin_by_the_callers_effective_deadline() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Wait]);
    // The effective deadline is the grandparent's.
    let ctx = ctx.with_timeout(ms(1_000)).with_timeout(ms(60_000));
    let mut call = Hand::new(script.source().leaving(ms(50)).fetch(ctx.clone(), ()));
    assert!(call.settle().is_pending());
    assert_eq!(script.context(0).remaining(), Some(ms(950)));
    let fault = call.finish(&clock).unwrap_err();
    assert_eq!(timed_out(&fault), Some(ms(950)));
    assert_eq!(ctx.remaining(), Some(ms(50)));
}

#[test]
fn rule_28_no_more_than_the_margin_left_calls_nothing() {
    let (clock, ctx) = manual();
    for left in [0, 1, 49, 50] {
        let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
        let ctx = ctx.with_timeout(ms(50));
        clock.advance(ms(50 - left));
        let call = script.source().leaving(ms(50)).fetch(ctx, ());
        let fault = Hand::new(call).finish(&clock).unwrap_err();
        assert_eq!(
            timed_out(&fault),
            (left > 0).then_some(ms(0)),
            "{left} left"
        );
        assert_eq!((script.calls(), fault.attempts()), (0, 0));
    }
}

#[test]
fn leaving_without_a_deadline_changes_nothing() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(10_000))]);
    let mut call = Hand::new(script.source().leaving(ms(50)).fetch(ctx, ()));
    assert_eq!(call.finish(&clock).unwrap(), 5);
    assert_eq!(script.context(0).deadline(), None);
}

#[test]
fn a_timeout_too_long_for_an_instant_is_none() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(10_000))]);
    let mut call = Hand::new(
        script
            .source()
            .timeout(Duration::MAX)
            .fetch(ctx.clone(), ()),
    );
    assert_eq!(call.finish(&clock).unwrap(), 5);
    let call = script.source().leaving(Duration::MAX);
    let fault = Hand::new(call.fetch(ctx.with_timeout(ms(5)), ()))
        .finish(&clock)
        .unwrap_err();
    assert_eq!(timed_out(&fault), Some(Duration::ZERO));
}

#[test]
fn dropped_while_it_waits_it_leaves_nothing() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Wait]);
    let mut call = Hand::new(script.source().timeout(ms(300)).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    assert_eq!((script.open(), clock.armed()), (1, 1));
    call.cancel();
    assert_eq!((script.open(), clock.armed()), (0, 0));
}

#[test]
fn a_clock_that_panics_ends_the_call_with_an_error() {
    let broken = |_: Duration| async { panic!("no runtime here") };
    let ctx = Context::background().with_clock(broken);
    let (clock, _) = manual();
    let script = Script::new(&clock, [Act::Hang]);
    let mut call = Hand::new(script.source().timeout(ms(300)).fetch(ctx, ()));
    let Poll::Ready(Err(fault)) = call.settle() else {
        panic!("its timer cannot fire")
    };
    assert!(matches!(fault.kind(), FaultKind::Ended(error) if error.is_canceled()));
    assert!(fault.to_string().contains("no runtime here"), "{fault}");
}

/// Waits for its context's end alone, and keeps nothing.
fn waits() -> impl Source<(), Output = u32> + Clone {
    |ctx: Context, (): ()| async move {
        ctx.done().await;
        Err::<u32, _>(ctx.err().expect("it is done"))
    }
}

#[test]
fn calls_one_after_the_other_have_deadlines_of_their_own() {
    // The memory of a call's deadline serves the next call: nothing else of it does.
    let (clock, ctx) = manual();
    for round in 1..50 {
        let fault = Hand::new(waits().timeout(ms(round)).fetch(ctx.clone(), ()))
            .finish(&clock)
            .unwrap_err();
        assert_eq!(timed_out(&fault), Some(ms(round)));
        let (below, canceller) = ctx.with_cancel();
        let mut call = Hand::new(waits().timeout(ms(round)).fetch(below, ()));
        assert!(call.settle().is_pending());
        canceller.cancel();
        let Poll::Ready(Err(fault)) = call.settle() else {
            panic!("the caller has gone")
        };
        assert!(matches!(fault.kind(), FaultKind::Ended(_)));
        assert_eq!(clock.armed(), 0);
    }
}

#[test]
fn a_context_that_outlives_its_call_stays_what_it_was() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    for call in 0..20 {
        let timeout = script.source().timeout(ms(100 * (call + 1)));
        Hand::new(timeout.fetch(ctx.clone(), ()))
            .finish(&clock)
            .unwrap();
    }
    for call in 0..20 {
        let kept = script.context(call);
        assert_eq!(kept.remaining(), Some(ms(100 * (call as u64 + 1))));
        assert!(!kept.is_done());
    }
    clock.advance(ms(1_000));
    let done = (0..20).filter(|call| script.context(*call).is_done());
    assert_eq!(done.count(), 10);
}

#[test]
fn a_cancel_from_another_thread_reaches_every_call_whatever_memory_it_has() {
    const THREADS: usize = 4;
    for _ in 0..50 {
        let (ctx, canceller) = Context::background().with_cancel();
        let started = std::sync::Barrier::new(THREADS + 1);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    started.wait();
                    // Many short calls, and then one that only the cancel ends.
                    let quick = |_: Context, (): ()| std::future::ready(Ok::<_, Failure>(5));
                    let quick = quick.timeout(ms(60_000));
                    for _ in 0..100 {
                        let _ = futures::executor::block_on(quick.fetch(ctx.clone(), ()));
                    }
                    let last = waits().timeout(ms(60_000)).fetch(ctx.clone(), ());
                    let fault = futures::executor::block_on(last).unwrap_err();
                    assert!(matches!(fault.kind(), FaultKind::Ended(end) if end.is_canceled()));
                });
            }
            started.wait();
            canceller.cancel();
        });
    }
}

/// A walk that has marked the deadline's context, and not yet the one between, is met by a call on another thread, which
/// reads the clock itself. With what decided by the parent's end, one call in seven was wrong.
#[test]
fn rule_03_the_callers_deadline_stays_the_callers_while_its_walk_is_under_way() {
    use failfast::policy::{Breaker, BreakerState};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    for round in 0..30 {
        let clock = failfast::clock::ManualClock::new();
        let top = Context::background().with_clock(clock.clone());
        let top = top.with_timeout(Duration::from_secs(1));
        let _others: Vec<_> = (0..20_000).map(|_| top.with_cancel()).collect();
        let (parent, _canceller) = top.with_cancel(); // marked last
        let mut done = Box::pin(top.done());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(done.as_mut().poll(&mut cx).is_pending(), "armed");
        let begun = Arc::new(AtomicBool::new(false));
        let walk = {
            let (begun, clock) = (begun.clone(), clock.clone());
            std::thread::spawn(move || {
                begun.store(true, SeqCst);
                clock.advance(Duration::from_secs(1));
            })
        };
        let one = std::num::NonZeroU32::MIN;
        let breaker = Breaker::new("db").with_trip(one, one);
        let hangs = |_: Context, (): ()| std::future::pending::<Result<u32, failfast::BoxError>>();
        let source = hangs.timeout(Duration::from_secs(10)).breaker(&breaker);
        while !begun.load(SeqCst) {
            std::hint::spin_loop();
        }
        let fault = loop {
            let mut call = Box::pin(source.fetch(parent.clone(), ()));
            if let std::task::Poll::Ready(answer) = call.as_mut().poll(&mut cx) {
                break answer.unwrap_err();
            }
        };
        walk.join().unwrap();
        assert!(
            matches!(fault.kind(), FaultKind::Ended(_)),
            "round {round}: {fault:?}"
        );
        let state = breaker.state(&Context::background().with_clock(clock));
        assert_eq!(state, BreakerState::Closed, "round {round}");
    }
}

#[test]
fn rule_01_nothing_starts_where_a_deadline_has_passed_that_nothing_has_noticed() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let late = ctx.with_timeout(ms(300));
    clock.advance(ms(300));
    let mut call = Hand::new(script.source().timeout(ms(9)).fetch(late, ()));
    let Poll::Ready(Err(fault)) = call.poll() else {
        panic!("there is no time")
    };
    assert!(matches!(fault.kind(), FaultKind::Ended(end) if end.is_deadline_exceeded()));
    let mut call = Hand::new(script.source().timeout(ms(0)).fetch(ctx, ()));
    let Poll::Ready(Err(fault)) = call.poll() else {
        panic!("there is no time")
    };
    assert_eq!(timed_out(&fault), Some(ms(0)));
    assert_eq!(script.calls(), 0);
}

/// The caller's deadline goes by another clock than the call's, and comes first: it is the caller's end.
#[test]
fn callers_deadline_by_another_clock_is_no_timeout() {
    let ((callers, ctx), (calls, _)) = (manual(), manual());
    let ctx = ctx.with_timeout(ms(100)).with_clock(calls.clone());
    let script = Script::new(&calls, [Act::Hang]);
    let mut call = Hand::new(script.source().timeout(ms(300)).fetch(ctx, ()));
    assert!(call.settle().is_pending());
    callers.advance(ms(100));
    let Poll::Ready(Err(fault)) = call.poll() else {
        panic!("the caller's deadline has passed")
    };
    let FaultKind::Ended(end) = fault.kind() else {
        panic!("{fault}")
    };
    assert!(end.is_deadline_exceeded());
    assert_eq!((script.open(), callers.armed(), calls.armed()), (0, 0, 0));
}

/// A callback that was left with a link to the call's context: the call's memory is not used again while that refers
/// to it, and the callback goes on to the caller's context.
#[test]
fn callback_below_a_call_that_is_over_waits_for_the_callers_end() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    let called = Arc::new(AtomicUsize::new(0));
    let count = called.clone();
    let source = move |ctx: Context, (): ()| {
        let (other, canceller) = Context::background().with_cancel();
        canceller.disarm();
        let count = count.clone();
        let link = Context::linked([ctx, other]);
        drop(link.on_done(move || {
            count.fetch_add(1, SeqCst);
        }));
        std::future::ready(Ok::<_, Failure>(5))
    };
    let source = source.timeout(ms(300));
    let (clock, ctx) = manual();
    let ctx = ctx.with_timeout(ms(100));
    for _ in 0..3 {
        assert_eq!(
            Hand::new(source.fetch(ctx.clone(), ()))
                .finish(&clock)
                .unwrap(),
            5
        );
        assert_eq!(called.load(SeqCst), 0, "the call was in time");
    }
    clock.advance(ms(100));
    assert_eq!(called.load(SeqCst), 3);
}
