//! Timers that wake themselves inside their own poll.

use super::*;

/// A poll of the sleep is one poll of the timer, whatever the timer wakes meanwhile.
fn polled_once(sleep: impl FnOnce(&Arc<Count>) -> Sleep) {
    let polls = Arc::new(Count::default());
    let mut sleep = sleep(&polls);
    let (woken, waker) = counting();
    for times in 1..5 {
        assert_eq!(poll(&mut sleep, &waker), Poll::Pending);
        assert_eq!((polls.get(), woken.get()), (times, times));
    }
    assert_eq!(poll(&mut sleep, &waker), DONE);
    assert_eq!((polls.get(), woken.get()), (5, 4));
}

fn restless(polls: &Arc<Count>) -> impl Fn(Duration) -> Restless + Clone + Send + Sync + use<> {
    let polls = polls.clone();
    move |_| Restless {
        polls: polls.clone(),
        left: 5,
    }
}

#[test]
fn of_a_function_clock() {
    polled_once(|polls| restless(polls).sleep_until(Instant::now() + HOUR));
}

#[test]
fn of_a_pair_clock() {
    polled_once(|polls| (Instant::now, restless(polls)).sleep_until(Instant::now() + HOUR));
}

#[test]
fn of_a_local_clock() {
    polled_once(|polls| LocalClock::new(restless(polls)).sleep_until(Instant::now() + HOUR));
}

#[test]
fn of_a_foreign_clock() {
    polled_once(|polls| Sleep::new(restless(polls)(HOUR)));
}

#[test]
fn tokio_with_its_budget_spent() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (woken, waker) = counting();
    let mut sleep = Clock::sleep_until(&tokio::time::sleep, Instant::now());
    runtime.block_on(async {
        let spent = std::future::poll_fn(|cx| {
            while tokio::task::coop::has_budget_remaining() {
                let step = tokio::task::coop::poll_proceed(cx);
                step.map(|step| step.made_progress()).is_ready();
            }
            Poll::Ready(poll(&mut sleep, &waker))
        });
        assert_eq!(spent.await, Poll::Pending);
        tokio::task::yield_now().await;
        assert!(woken.get() > 0, "tokio wakes it so that it is polled again");
    });
    assert_eq!(runtime.block_on(sleep), Ok(()), "in a poll of its own");
}
