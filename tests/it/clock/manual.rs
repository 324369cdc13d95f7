//! `ManualClock`: virtual time.

use super::*;

#[test]
fn fires_at_its_deadline_and_not_before() {
    let clock = ManualClock::new();
    let (count, waker) = counting();
    let mut sleep = armed(&clock, HOUR, &waker);
    clock.advance(HOUR - Duration::from_nanos(1));
    assert_eq!((count.get(), poll(&mut sleep, &waker)), (0, Poll::Pending));
    clock.advance(Duration::from_nanos(1));
    assert_eq!((count.get(), poll(&mut sleep, &waker)), (1, DONE));
    assert_eq!(poll(&mut sleep, &waker), DONE);
}

#[test]
fn armed_by_the_first_poll_and_disarmed_by_drop() {
    let clock = ManualClock::new();
    let (count, waker) = counting();
    let mut sleep = clock.sleep_until(clock.now() + HOUR);
    assert_eq!(clock.armed(), 0);
    assert!(poll(&mut sleep, &waker).is_pending());
    assert_eq!(clock.armed(), 1);
    drop(sleep);
    assert_eq!(clock.armed(), 0);
    clock.advance(HOUR);
    assert_eq!((count.get(), Arc::strong_count(&count)), (0, 2));
}

#[test]
fn a_deadline_already_past_is_ready_at_once() {
    let clock = ManualClock::new();
    let (count, waker) = counting();
    assert_eq!(poll(&mut clock.sleep_until(clock.now()), &waker), DONE);
    let mut late = clock.sleep_until(clock.now() + HOUR);
    clock.advance(HOUR * 2);
    assert_eq!(poll(&mut late, &waker), DONE);
    assert_eq!((count.get(), clock.armed()), (0, 0));
}

/// Sleeps that log their name and the time they see.
fn logging(
    clock: &ManualClock,
    log: &Arc<Mutex<Vec<(u64, Duration)>>>,
    name: u64,
    at: u64,
) -> Sleep {
    let (seen, log, start) = (clock.clone(), log.clone(), clock.now());
    let waker = on_wake(move || log.lock().unwrap().push((name, seen.now() - start)));
    armed(clock, Duration::from_secs(at), &waker)
}

#[test]
fn one_long_step_fires_in_order_and_each_sees_its_own_time() {
    let (clock, log) = (ManualClock::new(), Arc::default());
    let _sleeps: Vec<Sleep> = [(1, 5), (2, 3), (3, 5), (4, 1)]
        .map(|(name, at)| logging(&clock, &log, name, at))
        .into();
    clock.advance(HOUR);
    let second = Duration::from_secs;
    let expected = [
        (4, second(1)),
        (2, second(3)),
        (1, second(5)),
        (3, second(5)),
    ];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[test]
fn advance_to_next_fires_all_that_is_due_then_and_no_more() {
    let (clock, log) = (ManualClock::new(), Arc::default());
    let _sleeps = [(1, 5), (2, 5), (3, 6)].map(|(name, at)| logging(&clock, &log, name, at));
    assert!(clock.advance_to_next());
    assert_eq!(log.lock().unwrap().len(), 2);
    assert!(clock.advance_to_next());
    assert_eq!(log.lock().unwrap().len(), 3);
    let now = clock.now();
    assert!(!clock.advance_to_next());
    assert_eq!(clock.now(), now);
}

#[test]
fn a_waker_that_arms_another_within_the_step_sees_it_fire() {
    let clock = ManualClock::new();
    let (count, waker) = counting();
    let (inner, kept) = (clock.clone(), Mutex::new(Vec::new()));
    let arms = on_wake(move || kept.lock().unwrap().push(armed(&inner, SOON, &waker)));
    let _sleep = armed(&clock, SOON, &arms);
    clock.advance(SOON * 2);
    assert_eq!(count.get(), 1);
}

#[test]
fn a_panicking_waker_stops_no_other() {
    let clock = ManualClock::new();
    let (count, waker) = counting();
    let _first = armed(&clock, SOON, &on_wake(|| panic!("waker")));
    let _second = armed(&clock, SOON, &waker);
    clock.advance(SOON);
    assert_eq!(count.get(), 1);
}

#[test]
fn a_waker_may_drop_and_poll_and_advance_inline() {
    let clock = ManualClock::new();
    let (count, waker) = counting();
    let others = Mutex::new(vec![
        armed(&clock, HOUR, &waker),
        armed(&clock, HOUR, &waker),
    ]);
    let inner = clock.clone();
    let busy = on_wake(move || {
        let mut others = others.lock().unwrap();
        others.pop();
        others
            .iter_mut()
            .for_each(|sleep| assert!(poll(sleep, &waker).is_pending()));
        drop(others);
        inner.advance(HOUR);
    });
    let start = clock.now();
    let _sleep = armed(&clock, SOON, &busy);
    clock.advance(SOON);
    assert_eq!(count.get(), 1);
    assert_eq!(clock.now() - start, HOUR + SOON, "never back");
}

#[test]
fn only_the_latest_waker_is_woken_and_the_others_are_let_go() {
    let clock = ManualClock::new();
    let ((first, one), (second, two)) = (counting(), counting());
    let mut sleep = armed(&clock, SOON, &one);
    assert!(poll(&mut sleep, &two).is_pending());
    assert_eq!(Arc::strong_count(&first), 2);
    clock.advance(SOON);
    assert_eq!((first.get(), second.get()), (0, 1));
}

#[test]
fn every_size_fires_in_order_or_is_dropped() {
    for size in SIZES {
        let clock = ManualClock::new();
        let (count, waker) = counting();
        let after = |index: u64| Duration::from_micros(1 + index * 7919 % 5000);
        let sleeps: Vec<Sleep> = (0..size)
            .map(|index| armed(&clock, after(index), &waker))
            .collect();
        assert_eq!(clock.armed() as u64, size);
        let (kept, dropped): (Vec<_>, Vec<_>) =
            (0..).zip(sleeps).partition(|(index, _)| index % 3 > 0);
        drop(dropped);
        assert_eq!(clock.armed(), kept.len());
        clock.advance(Duration::from_micros(2500));
        clock.advance(HOUR);
        assert_eq!((count.get(), clock.armed()), (kept.len(), 0), "{size}");
        for (_, mut sleep) in kept {
            assert_eq!(poll(&mut sleep, &waker), DONE);
        }
    }
}

#[test]
fn debug_shows_what_is_armed() {
    let clock = ManualClock::default();
    let mut sleep = armed(&clock, SOON, Waker::noop());
    assert!(format!("{clock:?}").contains("armed: 1"));
    assert!(format!("{sleep:?}").starts_with("Sleep { deadline: "));
    clock.advance(SOON);
    assert_eq!(poll(&mut sleep, Waker::noop()), DONE);
    assert_eq!(format!("{sleep:?}"), "Sleep { ended: Ok(()), .. }");
}
