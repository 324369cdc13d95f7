//! What every clock and every sleep is: auto traits, and clocks as trait objects.

use super::*;

fn sleep_is_a_future<T: Future<Output = Result<(), TimerError>> + Send + Sync + Unpin + 'static>() {
}
fn shared<T: Send + Sync + Clone + std::fmt::Debug + 'static>() {}

#[test]
fn auto_traits() {
    sleep_is_a_future::<Sleep>();
    shared::<SystemClock>();
    shared::<ManualClock>();
    shared::<LocalClock>();
    shared::<TimerError>();
}

#[test]
fn a_clock_is_an_object_and_an_arc_of_one_is_a_clock() {
    let clocks: Vec<Arc<dyn Clock>> = vec![
        Arc::new(SystemClock),
        Arc::new(smol::Timer::after),
        Arc::new(futures_timer::Delay::new),
        Arc::new(async_std::task::sleep),
        Arc::new((Instant::now, smol::Timer::after)),
        Arc::new(LocalClock::new(smol::Timer::after)),
        Arc::new(Arc::new(SystemClock)),
    ];
    for clock in clocks {
        let deadline = Clock::now(&clock) + Duration::from_millis(2);
        assert_eq!(smol::block_on(clock.sleep_until(deadline)), Ok(()));
        assert!(Instant::now() >= deadline);
    }
}
