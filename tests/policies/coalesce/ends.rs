//! Waiters that leave, contexts that end, and sources that panic or fail.

use super::*;

#[test]
fn rule_40_a_cancelled_waiter_starts_no_second_flight_and_the_last_drops_it() {
    let (desk, source) = desk();
    let mut calls = waiters(&source, 3);
    for leaver in [1, 0] {
        calls[leaver].cancel();
        assert!(desk.is_open(0));
    }
    assert_eq!((desk.calls(), desk.polls(0)), (1, 1));
    calls[2].cancel();
    assert!(!desk.is_open(0));
    let _next = waiter(&source);
    assert_eq!(desk.calls(), 2);
}

#[test]
fn rule_40_a_drop_at_every_await_leaves_nothing() {
    let (desk, source) = desk();
    drop(caller(&source));
    assert_eq!(desk.calls(), 0, "not polled");
    for answered in [false, true] {
        let flight = desk.calls();
        let mut calls = waiters(&source, 2);
        if answered {
            desk.answer(flight, Ok(5));
            assert_eq!(ok(calls[0].settle()), Some(5));
        }
        drop(calls); // one of them with the answer there, and not taken
        assert!(!desk.is_open(flight));
        assert!(format!("{source:?}").contains("flights: 0"));
    }
}

#[test]
fn rule_41_no_waiter_gets_anothers_contexts_end() {
    let (clock, ctx) = manual();
    let (desk, source) = desk();
    let mut leader = caller_under(&source, ctx.with_timeout(ms(100)));
    let mut follower = caller_under(&source, ctx.with_timeout(ms(200)));
    let mut patient = caller(&source);
    assert!(
        leader.poll().is_pending() && follower.poll().is_pending() && patient.poll().is_pending()
    );
    let flight = desk.with(0, |seen| seen.context.clone());
    assert_eq!(flight.remaining(), None, "no deadline");
    clock.advance(ms(100));
    assert_eq!(
        (leader.wakes(), follower.wakes(), patient.wakes()),
        (1, 0, 0)
    );
    let told = fault(leader.poll());
    assert!(matches!(told.kind(), FaultKind::Ended(end) if end.is_deadline_exceeded()));
    assert!(!flight.is_done() && desk.is_open(0));
    clock.advance(ms(100));
    assert!(matches!(fault(follower.poll()).kind(), FaultKind::Ended(_)));
    desk.answer(0, Ok(5));
    assert_eq!(ok(patient.settle()), Some(5));
    assert_eq!(clock.armed(), 0);
}

#[test]
fn rule_41_an_end_that_the_source_returns_is_a_failure_to_its_waiters() {
    let (gone, canceller) = Context::background().with_cancel();
    canceller.cancel_with("another request's");
    let source = move |_: Context, _: u64| ready(Err::<u32, _>(gone.err().unwrap()));
    let told = fault(Hand::new(source.coalesce().fetch(Context::background(), 7)).poll());
    assert!(matches!(told.kind(), FaultKind::Failed));
}

#[test]
fn rule_41_a_flight_has_the_values_and_the_clock_of_its_leader() {
    let (clock, ctx) = manual();
    let (desk, source) = desk();
    let mut leader = caller_under(&source, ctx.with_value("tenant 1"));
    let mut follower = caller_under(&source, Context::background().with_value("tenant 2"));
    assert!(leader.poll().is_pending() && follower.poll().is_pending());
    clock.advance(ms(3_600_000));
    let flight = desk.with(0, |seen| seen.context.clone());
    assert_eq!(flight.value::<&str>(), Some(&"tenant 1"));
    assert_eq!(flight.now(), clock.now());
}

#[test]
fn rule_42_a_panic_reaches_every_waiter_as_a_failure() {
    let (desk, source) = desk();
    let mut calls = waiters(&source, 3);
    desk.panic(0);
    for call in &mut calls {
        let told = fault(call.settle());
        assert_eq!(told.to_string(), "panicked: boom");
        assert!(matches!(told.kind(), FaultKind::Failed));
    }
    assert!(!desk.is_open(0));
    let _next = waiter(&source);
    assert_eq!(desk.calls(), 2, "it is not kept");
}

#[test]
fn rule_42_a_panic_before_the_first_poll_is_one_too() {
    let panics = AtomicBool::new(true);
    let source = move |_: Context, _: u64| {
        assert!(!panics.swap(false, SeqCst), "boom");
        ready(Ok::<_, BoxError>(5))
    };
    let source = source.coalesce();
    let told = fault(caller(&source).poll());
    assert_eq!(told.to_string(), "panicked: boom");
    assert_eq!(ok(caller(&source).poll()), Some(5));
}

#[test]
fn rule_42_errors_are_shared_and_not_kept() {
    let (desk, source) = desk();
    let mut calls = waiters(&source, 3);
    desk.answer(0, Err(Failure(1)));
    for call in &mut calls {
        assert_eq!(failure(&fault(call.settle())), Some(1));
    }
    let mut next = waiter(&source);
    desk.answer(1, Ok(5));
    assert_eq!(ok(next.settle()), Some(5));
}

#[test]
fn a_source_that_never_answers_is_dropped_with_its_last_waiters_context() {
    let (clock, ctx) = manual();
    let source = (|_: Context, _: u64| pending::<Result<u32, BoxError>>()).coalesce();
    let mut calls: Vec<_> = [100, 200]
        .map(|within| caller_under(&source, ctx.with_timeout(ms(within))))
        .into();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    clock.advance(ms(200));
    for call in &mut calls {
        assert!(matches!(fault(call.poll()).kind(), FaultKind::Ended(_)));
    }
    assert!(format!("{source:?}").contains("flights: 0"));
}
