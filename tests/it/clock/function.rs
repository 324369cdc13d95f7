//! A sleep function as a clock.

use super::*;

#[test]
fn tokio_sleep_is_a_clock() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let sleep = Clock::sleep_until(&tokio::time::sleep, Instant::now() + SOON);
    // Made outside the runtime, polled inside: the function runs there.
    assert_eq!(runtime.block_on(sleep), Ok(()));
}

#[test]
fn tokio_sleep_outside_tokio_is_an_error() {
    let sleep = Clock::sleep_until(&tokio::time::sleep, Instant::now() + SOON);
    let error = smol::block_on(sleep).unwrap_err();
    assert!(error.to_string().contains("reactor"), "{error}");
}

#[test]
fn called_on_first_poll_with_what_is_left() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let clock = move |left: Duration| {
        log.lock().unwrap().push(left);
        ready(())
    };
    let mut late = clock.sleep_until(Instant::now() + HOUR);
    assert!(asked.lock().unwrap().is_empty());
    let (_, waker) = counting();
    assert_eq!(poll(&mut late, &waker), DONE);
    let past = Instant::now() - Duration::from_millis(1);
    assert_eq!(poll(&mut clock.sleep_until(past), &waker), DONE);
    let asked = asked.lock().unwrap();
    assert!(asked[0] <= HOUR && asked[0] > HOUR / 2);
    assert_eq!(asked[1], Duration::ZERO);
}

#[test]
fn a_panic_while_making_or_polling_is_an_error_and_stays_one() {
    fn panicking(_: Duration) -> std::future::Ready<()> {
        panic!("no timer today")
    }
    let sleeps = [
        Clock::sleep_until(&panicking, Instant::now()),
        Sleep::new(async { panic!("no timer today") }),
    ];
    for mut sleep in sleeps {
        let (_, waker) = counting();
        let first = poll(&mut sleep, &waker);
        let Poll::Ready(Err(error)) = &first else {
            panic!("{first:?}")
        };
        assert!(error.to_string().ends_with("no timer today"));
        assert_eq!(poll(&mut sleep, &waker), first);
    }
}

#[test]
fn a_panic_while_dropping_is_contained() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let bomb = Bomb;
    drop(Sleep::new(async move {
        let _bomb = bomb;
        pending::<()>().await;
    }));
}

#[test]
fn ready_again_after_ready() {
    let (_, waker) = counting();
    let mut sleep = Sleep::new(async { "any output" });
    assert_eq!(poll(&mut sleep, &waker), DONE);
    assert_eq!(poll(&mut sleep, &waker), DONE);
}
