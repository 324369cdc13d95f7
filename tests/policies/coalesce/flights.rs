//! One flight for several callers: leaders, followers and wakes.

use super::*;

#[test]
fn rule_39_the_leader_leaves_and_the_flight_goes_on() {
    let (desk, source) = desk();
    let mut calls = waiters(&source, 3);
    calls[0].cancel();
    desk.wake(0);
    assert_eq!((calls[1].wakes(), calls[2].wakes()), (1, 1));
    assert!(calls[2].poll().is_pending());
    assert_eq!(desk.polls(0), 2);
    desk.answer(0, Ok(5));
    assert_eq!(ok(calls[1].settle()), Some(5));
    assert_eq!(ok(calls[2].settle()), Some(5));
    assert_eq!(desk.calls(), 1);
}

#[test]
fn rule_39_a_leader_that_lives_and_is_not_polled_holds_up_no_follower() {
    let (desk, source) = desk();
    let leader = waiter(&source);
    let mut follower = waiter(&source);
    std::mem::forget(leader);
    for _ in 0..3 {
        desk.wake(0);
        assert_eq!(follower.wakes(), 1);
        assert!(follower.poll().is_pending());
    }
    desk.answer(0, Ok(5));
    assert_eq!(ok(follower.settle()), Some(5));
    let _next = waiter(&source);
    assert_eq!(desk.calls(), 2, "and the key is free again");
}

#[test]
fn rule_39_a_follower_that_joins_after_an_unused_wake_polls_the_flight() {
    let (desk, source) = desk();
    let leader = waiter(&source);
    desk.answer(0, Ok(5));
    std::mem::forget(leader); // woken, and never polled
    let mut follower = caller(&source);
    assert_eq!(ok(follower.poll()), Some(5));
}

#[test]
fn rule_39_a_waiter_that_is_polled_for_another_reason_polls_the_flight() {
    let (desk, source) = desk();
    let mut calls = waiters(&source, 2);
    // A source that wakes no waiter, and is polled all the same: in a `join`, for example.
    desk.with(0, |seen| seen.answer = Some(Ok(5)));
    assert_eq!(ok(calls[1].poll()), Some(5));
    assert_eq!(calls[0].wakes(), 1);
}

#[test]
fn rule_39_one_wake_is_one_poll_of_the_flight_however_many_wait() {
    for count in [1_usize, 2, 31, 32, 33, 64, 65, 1000, 10_000] {
        let (desk, source) = desk();
        let mut calls = waiters(&source, count);
        assert_eq!(
            (desk.calls(), desk.polls(0)),
            (1, 1),
            "joining does not poll it"
        );
        for polls in 2..4 {
            desk.wake(0);
            desk.wake(0); // no caller was polled since, so none is woken again
            for call in &mut calls {
                assert_eq!(call.wakes(), 1);
                assert!(call.poll().is_pending());
            }
            assert_eq!(desk.polls(0), polls);
        }
        desk.answer(0, Ok(5));
        let (first, others) = calls.split_first_mut().unwrap();
        assert_eq!(ok(first.poll()), Some(5));
        assert_eq!(first.wakes(), 1, "by the flight, and not by itself");
        for call in others.iter_mut() {
            assert_eq!(
                call.wakes(),
                1,
                "by the flight; it has not been polled since"
            );
            assert_eq!(ok(call.poll()), Some(5));
            assert_eq!(call.wakes(), 0);
        }
        assert_eq!(desk.polls(0), 4);
    }
}

#[test]
fn rule_39_one_that_meets_the_flight_being_polled_registers_and_is_woken() {
    let desk = Desk::default();
    let inner = desk.source();
    type Slot = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;
    let during: Slot = Arc::default();
    let hook = during.clone();
    let source = move |ctx: Context, key: u64| {
        let (mut call, hook) = (inner(ctx, key), hook.clone());
        poll_fn(move |cx| {
            let run = hook.lock().unwrap().take();
            run.into_iter().for_each(|run| run());
            call.as_mut().poll(cx)
        })
    };
    let source = source.coalesce();
    let mut leader = waiter(&source);
    let follower = Arc::new(Mutex::new(caller(&source)));
    assert!(follower.lock().unwrap().poll().is_pending());

    // While the leader polls the flight, it is woken, and the follower is polled: its wake is used up.
    let (waking, met) = (desk.clone(), follower.clone());
    *during.lock().unwrap() = Some(Box::new(move || {
        waking.wake(0);
        let mut met = met.lock().unwrap();
        assert_eq!(met.wakes(), 1);
        assert!(met.poll().is_pending());
    }));
    assert!(leader.poll().is_pending());
    std::mem::forget(leader); // it never comes back
    let mut follower = follower.lock().unwrap();
    assert_eq!(follower.wakes(), 1, "so the follower has to");
    desk.with(0, |seen| seen.answer = Some(Ok(5)));
    assert_eq!(ok(follower.poll()), Some(5));
}
