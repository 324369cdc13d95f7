//! `breaker`.

use crate::storm::{cancellations, storm};
use crate::support::{Act, Failure, Hand, Script, failure, manual, ms};
use failfast::clock::{Clock, ManualClock};
use failfast::policy::{Breaker, BreakerState, Fault, FaultKind, Limit, Rate, Rejection};
use failfast::{Aggregator, BoxError, Context, Source, SourceExt};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::future::{Ready, pending, ready};
use std::num::{NonZeroU32, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use BreakerState::{Closed, HalfOpen, Open};

const NANO: Duration = Duration::from_nanos(1);
const OPEN: Duration = Duration::from_secs(5);

fn some(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// Opens at the first failure.
fn touchy() -> Breaker {
    Breaker::new("orders-db").with_trip(some(1), some(1))
}

fn retry_after(fault: &Fault) -> Option<Duration> {
    match fault.kind() {
        FaultKind::Rejected(Rejection::BreakerOpen { name, retry_after }) => {
            assert_eq!(*name, "orders-db");
            Some(*retry_after)
        }
        _ => None,
    }
}

/// Polls a call once that has nothing to wait for.
fn once<A: Source<()>>(source: &A, ctx: &Context) -> Result<A::Output, A::Error> {
    match Hand::new(source.fetch(ctx.clone(), ())).poll() {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waits"),
    }
}

/// For how long a call is refused. `None`: it is not.
fn refused<A: Source<(), Error = Fault>>(source: &A, ctx: &Context) -> Option<Duration> {
    match Hand::new(source.fetch(ctx.clone(), ())).poll() {
        Poll::Ready(Err(fault)) => retry_after(&fault),
        _ => None,
    }
}

fn fails(_: Context, (): ()) -> Ready<Result<u32, Failure>> {
    ready(Err(Failure(1)))
}

fn answers(_: Context, (): ()) -> Ready<Result<u32, Failure>> {
    ready(Ok(5))
}

fn hangs(_: Context, (): ()) -> std::future::Pending<Result<u32, Failure>> {
    pending()
}

/// A breaker that is open since now.
fn opened(breaker: Breaker, ctx: &Context) -> Breaker {
    once(&fails.breaker(&breaker), ctx).unwrap_err();
    assert_eq!(breaker.state(ctx), Open);
    breaker
}

fn half_opened(breaker: Breaker, clock: &ManualClock, ctx: &Context) -> Breaker {
    let breaker = opened(breaker, ctx);
    clock.advance(OPEN);
    assert_eq!(breaker.state(ctx), HalfOpen);
    breaker
}

#[test]
fn it_trips_at_5_failures_among_the_last_10_calls_and_opens_for_5_seconds() {
    let (clock, ctx) = manual();
    let breaker = Breaker::new("orders-db");
    let (good, bad) = (answers.breaker(&breaker), fails.breaker(&breaker));
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(failure(&once(&bad, &ctx).unwrap_err()), Some(1));
        }
        for _ in 0..6 {
            assert_eq!(once(&good, &ctx).unwrap(), 5);
        }
    }
    assert_eq!(breaker.state(&ctx), Closed);
    for _ in 0..5 {
        once(&bad, &ctx).unwrap_err();
    }
    assert_eq!(breaker.state(&ctx), Open);
    clock.advance(ms(800));
    let fault = once(&good, &ctx).unwrap_err();
    assert_eq!(retry_after(&fault), Some(ms(4200)));
    assert_eq!(fault.retry_after(), Some(ms(4200)));
    assert_eq!(fault.to_string(), "orders-db is open for another 4.2s");
}

#[test]
fn failures_older_than_10_seconds_do_not_count() {
    let (clock, ctx) = manual();
    let breaker = Breaker::new("orders-db");
    for _ in 0..20 {
        once(&fails.breaker(&breaker), &ctx).unwrap_err();
        clock.advance(ms(2500));
    }
    assert_eq!(breaker.state(&ctx), Closed, "4 at a time");
    let breaker = breaker.with_window(ms(60_000));
    for _ in 0..5 {
        once(&fails.breaker(&breaker), &ctx).unwrap_err();
        clock.advance(ms(2500));
    }
    assert_eq!(breaker.state(&ctx), Open);
}

#[test]
fn clones_and_sources_share_one_state() {
    let (_clock, ctx) = manual();
    let breaker = Breaker::new("orders-db").with_trip(some(2), some(2));
    let (one, other) = (fails.breaker(&breaker.clone()), fails.breaker(&breaker));
    once(&one, &ctx).unwrap_err();
    once(&other, &ctx).unwrap_err();
    assert!(refused(&one.clone(), &ctx).is_some());
    let patient = breaker.with_open(ms(60_000));
    assert_eq!(patient.state(&ctx), Open);
    assert_eq!(refused(&answers.breaker(&patient), &ctx), Some(ms(60_000)));
}

#[test]
fn what_counting_excludes_is_a_success_and_an_error_of_another_type_a_failure() {
    #[derive(Debug, thiserror::Error)]
    #[error("other")]
    struct Other;
    let (clock, ctx) = manual();
    let breaker = touchy()
        .counting(|error: &Failure| error.0 != 404)
        .counting(|_: &Failure| unreachable!("the first decides"));
    let numbered =
        |number| move |_: Context, (): ()| ready(Err::<u32, BoxError>(Failure(number).into()));

    once(&numbered(404).breaker(&breaker), &ctx).unwrap_err();
    assert_eq!(breaker.state(&ctx), Closed);
    once(&numbered(500).breaker(&breaker), &ctx).unwrap_err();
    assert_eq!(breaker.state(&ctx), Open);
    clock.advance(OPEN);
    once(&numbered(404).breaker(&breaker), &ctx).unwrap_err();
    assert_eq!(breaker.state(&ctx), Closed, "the service answers");
    let other = |_: Context, (): ()| ready(Err::<u32, _>(Other));
    once(&other.breaker(&breaker), &ctx).unwrap_err();
    assert_eq!(breaker.state(&ctx), Open);
}

#[test]
fn counting_finds_its_type_behind_other_policies_and_a_nested_aggregator() {
    let (_clock, ctx) = manual();
    let breaker = touchy().counting(|error: &Failure| error.0 == 500);
    let nested = Aggregator::in_place().source("nested", fails);
    let mut call = Hand::new(nested.breaker(&breaker).fetch(ctx.clone(), ()));
    assert!(call.settle().is_ready());
    once(&fails.timeout(ms(5)).breaker(&breaker), &ctx).unwrap_err();
    assert_eq!(breaker.state(&ctx), Closed);
}

#[test]
fn a_timeout_from_inside_counts_whatever_counting_returns() {
    let (clock, ctx) = manual();
    let breaker = touchy().counting(|_: &Failure| false);
    let source = hangs.timeout(ms(300)).breaker(&breaker);
    let fault = Hand::new(source.fetch(ctx.clone(), ()))
        .finish(&clock)
        .unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::TimedOut { .. }));
    assert_eq!(breaker.state(&ctx), Open);
}

#[test]
fn a_panic_in_counting_is_the_calls_and_a_failure() {
    let (_clock, ctx) = manual();
    let breaker = touchy().counting(|_: &Failure| panic!("boom"));
    let source = fails.breaker(&breaker);
    let caught = catch_unwind(AssertUnwindSafe(|| once(&source, &ctx)));
    assert!(caught.is_err());
    assert_eq!(breaker.state(&ctx), Open);
}

#[test]
fn rule_01_nothing_starts_once_the_callers_context_is_done() {
    let (clock, ctx) = manual();
    let (gone, canceller) = ctx.with_cancel();
    canceller.cancel_with("client went away");
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    for breaker in [
        half_opened(touchy(), &clock, &ctx), // first, because it takes time
        opened(touchy(), &ctx),
        touchy(),
    ] {
        let before = breaker.state(&ctx);
        let source = script.source().breaker(&breaker);
        let fault = once(&source, &gone).unwrap_err();
        assert_eq!(fault.to_string(), "context canceled: client went away");
        assert_eq!(fault.attempts(), 0);
        assert_eq!(breaker.state(&ctx), before);
    }
    assert_eq!(script.calls(), 0);
}

#[test]
fn rule_04_the_callers_end_counts_for_nothing() {
    let (clock, ctx) = manual();
    let breaker = touchy();
    for act in [Act::Hang, Act::Wait] {
        let script = Script::new(&clock, [act]);
        let source = script.source().breaker(&breaker);
        let mut call = Hand::new(source.fetch(ctx.with_timeout(ms(300)), ()));
        let fault = call.finish(&clock).unwrap_err();
        assert!(matches!(fault.kind(), FaultKind::Ended(_)));
    }
    assert_eq!(breaker.state(&ctx), Closed);
}

#[test]
fn rule_04_the_callers_end_frees_a_probes_place() {
    let (clock, ctx) = manual();
    let breaker = half_opened(touchy(), &clock, &ctx);
    let source = hangs.breaker(&breaker);
    let mut probe = Hand::new(source.fetch(ctx.with_timeout(ms(300)), ()));
    assert!(probe.settle().is_pending());
    assert!(refused(&source, &ctx).is_some());
    probe.finish(&clock).unwrap_err();
    assert_eq!(breaker.state(&ctx), HalfOpen);
    assert_eq!(once(&answers.breaker(&breaker), &ctx).unwrap(), 5);
    assert_eq!(breaker.state(&ctx), Closed);
}

#[test]
fn rule_07_rejections_from_inside_count_for_nothing() {
    let (clock, ctx) = manual();
    let (breaker, inner) = (touchy(), opened(touchy(), &ctx));
    let limit = Limit::new(NonZeroUsize::MIN).with_queue(0);
    let mut holder = Hand::new(hangs.limit(&limit).fetch(ctx.clone(), ()));
    assert!(holder.poll().is_pending());
    once(&answers.limit(&limit).breaker(&breaker), &ctx).unwrap_err();
    once(&answers.breaker(&inner).breaker(&breaker), &ctx).unwrap_err();
    let rate = Rate::new(some(1), ms(1000));
    let source = answers.rate(&rate).breaker(&breaker);
    once(&source, &ctx).unwrap();
    once(&source, &ctx.with_timeout(ms(10))).unwrap_err();
    assert_eq!(breaker.state(&ctx), Closed);
    clock.advance(OPEN);
    let probing = half_opened(touchy(), &clock, &ctx);
    once(&answers.limit(&limit).breaker(&probing), &ctx).unwrap_err();
    assert_eq!(probing.state(&ctx), HalfOpen, "and the place is free");
    once(&answers.breaker(&probing), &ctx).unwrap();
    assert_eq!(probing.state(&ctx), Closed);
}

#[test]
fn rule_08_a_panic_counts_at_once_even_if_what_catches_it_keeps_the_call() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Panic]);
    let in_fetch = |_: Context, (): ()| -> Ready<Result<u32, Failure>> { panic!("boom") };
    let breakers = [touchy(), half_opened(touchy(), &clock, &ctx)];
    for breaker in &breakers {
        let source = script.source().breaker(breaker);
        let mut call = Hand::new(source.fetch(ctx.clone(), ()));
        assert!(catch_unwind(AssertUnwindSafe(|| call.poll())).is_err());
        assert_eq!(breaker.state(&ctx), Open);
        clock.advance(OPEN);
        let source = in_fetch.breaker(breaker);
        let mut call = Hand::new(source.fetch(ctx.clone(), ()));
        assert!(catch_unwind(AssertUnwindSafe(|| call.poll())).is_err());
        assert_eq!(breaker.state(&ctx), Open);
    }
}

#[test]
fn rule_05_a_drop_at_every_await_counts_for_nothing_and_frees_the_place() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang]);
    for breaker in [touchy(), half_opened(touchy(), &clock, &ctx)] {
        let source = script.source().breaker(&breaker);
        for polls in 0..3 {
            let before = breaker.state(&ctx);
            let mut call = Hand::new(source.fetch(ctx.clone(), ()));
            for _ in 0..polls {
                assert!(call.poll().is_pending());
            }
            call.cancel();
            assert_eq!((breaker.state(&ctx), script.open()), (before, 0));
        }
        assert_eq!(refused(&source, &ctx), None);
    }
}

#[test]
fn rule_33_half_open_admits_at_most_n_probes() {
    let (clock, ctx) = manual();
    for probes in [1, 2, 31, 32, 33, 64, 65, 1000] {
        let breaker = half_opened(touchy().with_probes(some(probes)), &clock, &ctx);
        let script = Script::new(&clock, [Act::Answer(5, ms(100))]);
        let source = script.source().breaker(&breaker);
        let mut calls: Vec<_> = (0..probes)
            .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
            .collect();
        assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
        assert_eq!(refused(&source, &ctx), Some(OPEN));
        clock.advance(ms(100));
        for call in &mut calls {
            assert_eq!(breaker.state(&ctx), HalfOpen);
            assert!(
                refused(&source, &ctx).is_some(),
                "a success keeps its place"
            );
            assert!(call.poll().is_ready());
        }
        assert_eq!(breaker.state(&ctx), Closed);
        assert_eq!(script.calls(), probes as usize);
    }
}

#[test]
fn rule_33_a_failed_probe_opens_it_again_for_the_whole_open_time() {
    let (clock, ctx) = manual();
    let breaker = half_opened(touchy().with_probes(some(3)), &clock, &ctx);
    once(&answers.breaker(&breaker), &ctx).unwrap();
    clock.advance(ms(700));
    once(&fails.breaker(&breaker), &ctx).unwrap_err();
    assert_eq!(refused(&answers.breaker(&breaker), &ctx), Some(OPEN));
}

#[test]
fn rule_33_probes_are_reserved_atomically_on_threads() {
    let (clock, ctx) = manual();
    for round in 0..50 {
        let breaker = half_opened(touchy().with_probes(some(3)), &clock, &ctx);
        let source = hangs.breaker(&breaker);
        let admitted: usize = std::thread::scope(|scope| {
            let call = || {
                let mut calls: Vec<_> = (0..4)
                    .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
                    .collect();
                calls.retain_mut(|call| call.poll().is_pending());
                calls
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
            let calls: Vec<_> = threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect();
            calls.iter().map(Vec::len).sum()
        });
        assert_eq!(admitted, 3, "round {round}");
    }
}

#[test]
fn rule_34_a_dropped_probe_gives_its_place_back_without_a_verdict() {
    let (clock, ctx) = manual();
    let breaker = half_opened(touchy().with_probes(some(2)), &clock, &ctx);
    let source = hangs.breaker(&breaker);
    let mut probes: Vec<_> = (0..2)
        .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
        .collect();
    assert!(probes.iter_mut().all(|probe| probe.poll().is_pending()));
    assert!(refused(&source, &ctx).is_some());
    probes[0].cancel();
    assert_eq!(breaker.state(&ctx), HalfOpen);
    let mut next = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(next.poll().is_pending());
    assert!(refused(&source, &ctx).is_some(), "one place, once");
}

#[test]
fn rule_35_late_results_of_an_older_state_are_ignored() {
    let (clock, ctx) = manual();
    let breaker = touchy();
    let script = Script::new(
        &clock,
        [
            Act::Fail(2, ms(1000)),
            Act::Answer(5, ms(1000)),
            Act::Fail(3, ms(6000)),
        ],
    );
    let source = script.source().breaker(&breaker);
    let mut calls: Vec<_> = (0..3)
        .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
        .collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    once(&fails.breaker(&breaker), &ctx).unwrap_err();
    clock.advance(ms(1000));
    assert!(calls[0].poll().is_ready() && calls[1].poll().is_ready());
    assert_eq!(
        refused(&source, &ctx),
        Some(ms(4000)),
        "a late failure does not open it for longer, and a late success does not close it"
    );
    clock.advance(ms(5000));
    assert_eq!(breaker.state(&ctx), HalfOpen);
    assert!(calls[2].poll().is_ready());
    assert_eq!(
        breaker.state(&ctx),
        HalfOpen,
        "nor does a late failure open it"
    );
    once(&answers.breaker(&breaker), &ctx).unwrap();
    assert_eq!(breaker.state(&ctx), Closed);
}

#[test]
fn rule_36_a_probe_that_never_settles_is_reclaimed_after_the_open_time() {
    let (clock, ctx) = manual();
    let breaker = half_opened(touchy(), &clock, &ctx);
    let source = hangs.breaker(&breaker);
    let mut lost = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(lost.poll().is_pending());
    std::mem::forget(lost);
    clock.advance(OPEN - NANO);
    assert_eq!(refused(&source, &ctx), Some(NANO));
    clock.advance(NANO);
    let mut next = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(next.poll().is_pending());
    assert_eq!(refused(&source, &ctx), Some(OPEN));
}

#[test]
fn rule_36_a_reclaimed_probes_result_is_ignored() {
    let (clock, ctx) = manual();
    for act in [Act::Answer(5, OPEN), Act::Fail(2, OPEN), Act::Hang] {
        let breaker = half_opened(touchy(), &clock, &ctx);
        let script = Script::new(&clock, [act]);
        let source = script.source().breaker(&breaker);
        let mut slow = Hand::new(source.fetch(ctx.clone(), ()));
        assert!(slow.poll().is_pending());
        clock.advance(OPEN);
        let mut next = Hand::new(hangs.breaker(&breaker).fetch(ctx.clone(), ()));
        assert!(next.poll().is_pending());
        drop(slow.poll());
        slow.cancel();
        assert_eq!(breaker.state(&ctx), HalfOpen);
        assert!(
            refused(&source, &ctx).is_some(),
            "nor does it free the place"
        );
    }
}

#[test]
fn rule_36_a_clone_with_fewer_probes_closes_it_after_a_wider_one_has_probed() {
    for (wide, succeeded, narrow) in [(3, 1, 1), (3, 2, 2), (3, 2, 1), (9, 8, 3)] {
        let (clock, ctx) = manual();
        let breaker = half_opened(touchy().with_probes(some(wide)), &clock, &ctx);
        for _ in 0..succeeded {
            assert_eq!(once(&answers.breaker(&breaker), &ctx).unwrap(), 5);
        }
        assert_eq!(breaker.state(&ctx), HalfOpen);
        let narrow = breaker.with_probes(some(narrow));
        assert_eq!(once(&answers.breaker(&narrow), &ctx).unwrap(), 5);
        assert_eq!(narrow.state(&ctx), Closed);
    }
}

#[test]
fn rule_36_a_clone_that_needs_more_successes_still_probes() {
    let (clock, ctx) = manual();
    let breaker = half_opened(touchy().with_probes(some(3)), &clock, &ctx);
    let narrow = breaker.clone().with_probes(some(2));
    assert_eq!(once(&answers.breaker(&breaker), &ctx).unwrap(), 5);
    assert_eq!(
        narrow.state(&ctx),
        HalfOpen,
        "one success is not enough for it"
    );
    assert_eq!(once(&answers.breaker(&narrow), &ctx).unwrap(), 5);
    assert_eq!(narrow.state(&ctx), Closed);
}

#[test]
fn failures_before_the_clock_was_set_back_are_as_old_as_that() {
    let window = ms(10_000);
    let set_back = |ahead: &[u64]| {
        let (clock, ctx) = manual();
        let breaker = Breaker::new("orders-db").with_trip(some(3), some(100));
        let breaker = breaker.with_window(window);
        let source = fails.breaker(&breaker);
        for ahead in ahead {
            let future = ManualClock::new();
            future.advance(ms(3_600_000 + ahead));
            once(&source, &ctx.with_clock(future)).unwrap_err();
        }
        once(&source, &ctx).unwrap_err();
        (clock, ctx, breaker)
    };
    // Both are taken for failures of now, in whichever order they came.
    for ahead in [[0, 0], [0, 1], [1, 0]] {
        let (_clock, ctx, breaker) = set_back(&ahead);
        assert_eq!(breaker.state(&ctx), Open);
    }
    // So the window drops one that was an hour ahead.
    for (passed, state) in [(window - NANO, Open), (window, Closed)] {
        let (clock, ctx, breaker) = set_back(&[0]);
        clock.advance(passed);
        once(&fails.breaker(&breaker), &ctx).unwrap_err();
        assert_eq!(breaker.state(&ctx), state);
    }
}

#[test]
fn rule_37_the_state_follows_the_clock() {
    let (clock, ctx) = manual();
    let breaker = opened(touchy(), &ctx);
    clock.advance(OPEN - NANO);
    assert_eq!(breaker.state(&ctx), Open);
    clock.advance(NANO);
    assert_eq!(breaker.state(&ctx), HalfOpen, "no call came");
    clock.advance(OPEN * 1000);
    assert_eq!(breaker.state(&ctx), HalfOpen);
}

#[test]
fn rule_37_under_two_clocks_it_is_open_no_longer_than_the_open_time() {
    let (ahead, by_ahead) = manual();
    let (behind, by_behind) = manual();
    ahead.advance(ms(3_600_000));
    let breaker = opened(touchy(), &by_ahead);
    assert_eq!(refused(&answers.breaker(&breaker), &by_behind), Some(OPEN));
    behind.advance(OPEN);
    assert_eq!(breaker.state(&by_behind), HalfOpen);
}

fn slow_after(breaker: Breaker) -> Breaker {
    breaker.with_slow_after(ms(1000))
}

#[test]
fn rule_38_a_call_as_long_as_slow_after_is_a_failure_however_it_ended() {
    let (clock, ctx) = manual();
    let short = ms(1000) - NANO;
    for (took, state) in [(short, Closed), (ms(1000), Open)] {
        // Answered, and its caller gets the answer.
        let breaker = slow_after(touchy());
        let script = Script::new(&clock, [Act::Answer(5, took)]);
        let mut call = Hand::new(script.source().breaker(&breaker).fetch(ctx.clone(), ()));
        assert_eq!(call.finish(&clock).unwrap(), 5);
        assert_eq!(breaker.state(&ctx), state);

        // Failed with what does not count.
        let breaker = slow_after(touchy()).counting(|_: &Failure| false);
        let script = Script::new(&clock, [Act::Fail(404, took)]);
        let mut call = Hand::new(script.source().breaker(&breaker).fetch(ctx.clone(), ()));
        call.finish(&clock).unwrap_err();
        assert_eq!(breaker.state(&ctx), state);

        // Ended by its caller.
        let breaker = slow_after(touchy());
        let source = hangs.breaker(&breaker);
        let mut call = Hand::new(source.fetch(ctx.with_timeout(took), ()));
        call.finish(&clock).unwrap_err();
        assert_eq!(breaker.state(&ctx), state);

        // Dropped.
        let breaker = slow_after(touchy());
        let mut call = Hand::new(hangs.breaker(&breaker).fetch(ctx.clone(), ()));
        assert!(call.poll().is_pending());
        clock.advance(took);
        call.cancel();
        assert_eq!(breaker.state(&ctx), state);
    }
}

#[test]
fn rule_38_a_slow_probe_opens_it_again_dropped_included() {
    let (clock, ctx) = manual();
    for (took, state) in [(ms(1000) - NANO, HalfOpen), (ms(1000), Open)] {
        let breaker = half_opened(slow_after(touchy()), &clock, &ctx);
        let mut probe = Hand::new(hangs.breaker(&breaker).fetch(ctx.clone(), ()));
        assert!(probe.poll().is_pending());
        clock.advance(took);
        probe.cancel();
        assert_eq!(breaker.state(&ctx), state);
    }
}

#[test]
fn rule_38_a_hung_backend_whose_calls_are_always_cancelled_opens_it() {
    let (clock, ctx) = manual();
    let breaker = slow_after(Breaker::new("orders-db"));
    for _ in 0..5 {
        assert_eq!(breaker.state(&ctx), Closed);
        let mut call = Hand::new(hangs.breaker(&breaker).fetch(ctx.clone(), ()));
        assert!(call.poll().is_pending());
        clock.advance(ms(1500));
        call.cancel();
    }
    assert_eq!(breaker.state(&ctx), Open);
}

#[test]
fn rule_38_is_off_unless_set() {
    let (clock, ctx) = manual();
    let breaker = touchy();
    let script = Script::new(&clock, [Act::Answer(5, ms(3_600_000))]);
    let mut call = Hand::new(script.source().breaker(&breaker).fetch(ctx.clone(), ()));
    call.finish(&clock).unwrap();
    let mut call = Hand::new(hangs.breaker(&breaker).fetch(ctx.clone(), ()));
    assert!(call.poll().is_pending());
    clock.advance(ms(3_600_000));
    call.cancel();
    assert_eq!(breaker.state(&ctx), Closed);
}

/// "waiting for a permit … never counts for the breaker"
#[test]
fn rule_38_a_wait_for_a_permit_does_not_count() {
    let (clock, ctx) = manual();
    let limit = Limit::new(NonZeroUsize::MIN);
    for (served, state) in [(ms(1000) - NANO, Closed), (ms(1000), Open)] {
        let breaker = slow_after(touchy());
        let source = hangs.limit(&limit).breaker(&breaker);
        let mut holder = Hand::new(hangs.limit(&limit).fetch(ctx.clone(), ()));
        assert!(holder.poll().is_pending());
        let mut given_up = Hand::new(source.fetch(ctx.clone(), ()));
        let mut call = Hand::new(source.fetch(ctx.clone(), ()));
        assert!(given_up.poll().is_pending() && call.poll().is_pending());
        clock.advance(ms(10_000));
        assert!(call.poll().is_pending(), "a poll for some other reason");
        given_up.cancel();
        assert_eq!(breaker.state(&ctx), Closed, "dropped in line");
        clock.advance(ms(10_000));
        holder.cancel();
        assert!(call.poll().is_pending());
        clock.advance(served);
        call.cancel();
        assert_eq!(breaker.state(&ctx), state);
    }
}

#[test]
fn rule_38_a_wait_for_a_token_does_not_count() {
    let (clock, ctx) = manual();
    let breaker = slow_after(touchy());
    let rate = Rate::new(some(1), ms(10_000));
    let script = Script::new(&clock, [Act::Answer(5, ms(900))]);
    let source = script.source().rate(&rate).breaker(&breaker);
    for _ in 0..3 {
        let mut call = Hand::new(source.fetch(ctx.clone(), ()));
        assert_eq!(call.finish(&clock).unwrap(), 5);
    }
    assert_eq!(breaker.state(&ctx), Closed);
    let script = Script::new(&clock, [Act::Answer(5, ms(1000))]);
    let source = script.source().rate(&rate).breaker(&breaker);
    Hand::new(source.fetch(ctx.clone(), ()))
        .finish(&clock)
        .unwrap();
    assert_eq!(breaker.state(&ctx), Open);
}

#[test]
fn a_closed_breaker_reads_no_clock_for_a_success() {
    #[derive(Clone)]
    struct Unread;
    impl Clock for Unread {
        fn now(&self) -> std::time::Instant {
            panic!("it was read")
        }
        fn sleep_until(&self, _: std::time::Instant) -> failfast::clock::Sleep {
            panic!("it was read")
        }
    }
    let ctx = Context::background().with_clock(Unread);
    let source = answers.breaker(&Breaker::new("orders-db"));
    assert_eq!(once(&source, &ctx).unwrap(), 5);
}

/// Keeps the records of one logger.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<String>>>);

impl Log for Records {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() == Level::Debug
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn each_transition_is_a_debug_record_under_the_sources_name() {
    log::set_max_level(LevelFilter::Debug);
    let (clock, ctx) = manual();
    let records = Records::default();
    let breaker = touchy();
    let script = Script::new(&clock, [Act::Fail(1, ms(0)), Act::Answer(5, ms(0))]);
    let dashboard = Aggregator::in_place()
        .with_logger(records.clone())
        .source("orders", script.source().breaker(&breaker));
    let aggregate = || {
        let (dashboard, ctx) = (dashboard.clone(), ctx.clone());
        let mut call = Hand::new(async move { dashboard.aggregate(&ctx, ()).await.map(drop) });
        drop(call.settle());
    };
    aggregate();
    clock.advance(OPEN);
    aggregate();
    let said: Vec<_> = records.0.lock().unwrap().clone();
    let said: Vec<_> = said
        .iter()
        .filter(|text| text.contains("breaker"))
        .collect();
    assert_eq!(
        said,
        [
            "orders: breaker orders-db was closed and is open",
            "orders: breaker orders-db was open and is half open",
            "orders: breaker orders-db was half open and is closed",
        ]
    );
}

/// "on real threads, 100,000 random cancellations lose no probe"
#[test]
fn rule_34_no_probe_is_lost_among_100_000_cancellations_on_threads() {
    let (clock, ctx) = manual();
    let breaker = touchy().with_probes(some(3));
    let source = |_: Context, (polls, fails): (u32, bool)| {
        let mut left = polls;
        std::future::poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            left -= 1;
            match (left, fails) {
                (0, false) => Poll::Ready(Ok(polls)),
                (0, true) => Poll::Ready(Err(Failure(1))),
                _ => Poll::Pending,
            }
        })
    };
    let source = source.breaker(&breaker);
    storm(cancellations(), |dice| {
        if dice.u8(..8) == 0 {
            clock.advance(ms(1000));
        }
        let fails = dice.u8(..6) == 0;
        source.fetch(ctx.clone(), (dice.u32(1..4), fails))
    });
    // Without waiting for anything to be reclaimed: all places are free.
    if breaker.state(&ctx) == Open {
        clock.advance(OPEN);
    }
    let mut successes = 0;
    while breaker.state(&ctx) == HalfOpen {
        let mut call = Hand::new(source.fetch(ctx.clone(), (1, false)));
        assert!(matches!(call.poll(), Poll::Ready(Ok(1))));
        successes += 1;
    }
    assert!(successes <= 3);
    assert_eq!(breaker.state(&ctx), Closed);
}

#[test]
fn closing_forgets_the_failures_before_it_opened() {
    let (clock, ctx) = manual();
    let breaker = Breaker::new("orders-db").with_trip(some(2), some(10));
    once(&fails.breaker(&breaker), &ctx).unwrap_err();
    let breaker = half_opened(breaker, &clock, &ctx);
    once(&answers.breaker(&breaker), &ctx).unwrap();
    assert_eq!(breaker.state(&ctx), Closed);
    once(&fails.breaker(&breaker), &ctx).unwrap_err();
    assert_eq!(
        breaker.state(&ctx),
        Closed,
        "one of two, and they are recent"
    );
    once(&fails.breaker(&breaker), &ctx).unwrap_err();
    assert_eq!(breaker.state(&ctx), Open);
}

#[test]
fn rule_08_a_panic_inside_a_nested_aggregator_counts_whatever_counting_says() {
    let (_, ctx) = manual();
    let panics = |_: Context, (): ()| async { panic!("boom") as Result<u32, Failure> };
    let page = Aggregator::in_place().source("profile", panics);
    let nested = move |ctx: Context, (): ()| {
        let page = page.clone();
        async move { page.aggregate(&ctx, ()).await }
    };
    let breaker = touchy().counting(|_: &failfast::Error| false);
    once(&nested.breaker(&breaker), &ctx).unwrap_err();
    assert_eq!(breaker.state(&ctx), Open);
}
