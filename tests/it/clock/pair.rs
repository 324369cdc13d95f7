//! A pair of a `now` and a sleep function as a clock.

use super::*;

/// Time that is paused: the pair reads and sleeps by a clock that stands still.
fn paused(
    time: &ManualClock,
) -> (
    impl Fn() -> Instant + use<>,
    impl Fn(Duration) -> Sleep + Clone + use<>,
) {
    let (now, sleep) = (time.clone(), time.clone());
    (
        move || now.now(),
        move |left| sleep.sleep_until(sleep.now() + left),
    )
}

#[test]
fn goes_by_its_own_time() {
    let time = ManualClock::new();
    let clock = paused(&time);
    time.advance(HOUR);
    assert_eq!(clock.now(), time.now());
    let (woken, waker) = counting();
    let mut sleep = armed(&clock, HOUR, &waker);
    time.advance(HOUR - Duration::from_nanos(1));
    assert_eq!((woken.get(), poll(&mut sleep, &waker)), (0, Poll::Pending));
    time.advance(Duration::from_nanos(1));
    assert_eq!((woken.get(), poll(&mut sleep, &waker)), (1, DONE));
}

#[test]
fn armed_by_the_first_poll_and_disarmed_by_drop() {
    let time = ManualClock::new();
    let clock = paused(&time);
    let mut sleep = clock.sleep_until(clock.now() + HOUR);
    assert_eq!(time.armed(), 0);
    assert_eq!(poll(&mut sleep, Waker::noop()), Poll::Pending);
    assert_eq!(time.armed(), 1);
    drop(sleep);
    assert_eq!(time.armed(), 0);
}

#[test]
fn a_deadline_already_past_is_ready_at_once() {
    let time = ManualClock::new();
    let clock = paused(&time);
    let past = clock.now() - SOON;
    assert_eq!(poll(&mut clock.sleep_until(past), Waker::noop()), DONE);
}

#[test]
fn first_polled_late_it_ends_late_but_never_early() {
    let time = ManualClock::new();
    let clock = paused(&time);
    let deadline = clock.now() + HOUR;
    let mut sleep = clock.sleep_until(deadline);
    time.advance(HOUR / 2);
    while poll(&mut sleep, Waker::noop()).is_pending() {
        assert!(time.advance_to_next());
    }
    assert!(time.now() >= deadline);
}

#[test]
fn tokio_now_and_sleep_are_a_clock() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let clock = (
        || tokio::time::Instant::now().into_std(),
        tokio::time::sleep,
    );
    runtime.block_on(async {
        let deadline = clock.now() + Duration::from_millis(2);
        assert_eq!(clock.sleep_until(deadline).await, Ok(()));
        assert!(clock.now() >= deadline);
    });
}

#[test]
fn a_panic_while_making_is_an_error() {
    fn panicking(_: Duration) -> std::future::Ready<()> {
        panic!("no timer today")
    }
    let sleep = (Instant::now, panicking).sleep_until(Instant::now());
    let error = smol::block_on(sleep).unwrap_err();
    assert!(error.to_string().ends_with("no timer today"));
}
