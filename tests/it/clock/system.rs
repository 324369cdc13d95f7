//! `SystemClock`, in real time.

use super::*;

#[test]
fn never_early_and_not_much_late() {
    for _ in 0..5 {
        let deadline = SystemClock.now() + SOON;
        assert_eq!(smol::block_on(SystemClock.sleep_until(deadline)), Ok(()));
        assert!(Instant::now() >= deadline);
        assert!(Instant::now() < deadline + GENEROUS);
    }
}

#[test]
fn a_deadline_already_past_is_ready_at_once() {
    let (_, waker) = counting();
    // Before any that is armed, so that no alarm that is just ringing covers it.
    let past = SystemClock.now() - Duration::from_secs(1);
    assert_eq!(poll(&mut SystemClock.sleep_until(past), &waker), DONE);
    // Also with others armed.
    let _later = armed(&SystemClock, HOUR, &waker);
    assert_eq!(poll(&mut SystemClock.sleep_until(past), &waker), DONE);
}

#[test]
fn an_earlier_deadline_overtakes_a_later_one() {
    let (told, waker) = telling();
    let _late = armed(&SystemClock, HOUR, Waker::noop());
    let _soon = armed(&SystemClock, SOON, &waker);
    told.recv_timeout(GENEROUS).unwrap();
}

#[test]
fn the_next_one_is_armed_when_the_earliest_is_gone() {
    let (told, waker) = telling();
    let earliest = armed(&SystemClock, SOON, Waker::noop());
    let mut next = armed(&SystemClock, SOON * 2, &waker);
    drop(earliest);
    told.recv_timeout(GENEROUS).unwrap();
    assert_eq!(poll(&mut next, &waker), DONE);
}

#[test]
fn a_dropped_sleep_wakes_no_task_and_drops_its_waker() {
    let (count, waker) = counting();
    drop(armed(&SystemClock, SOON, &waker));
    assert_eq!(Arc::strong_count(&count), 2);
    let (told, later) = telling();
    let _later = armed(&SystemClock, SOON * 2, &later);
    told.recv_timeout(GENEROUS).unwrap();
    assert_eq!(count.get(), 0);
}

#[test]
fn only_the_latest_waker_is_woken() {
    let (count, first) = counting();
    let (told, second) = telling();
    let mut sleep = armed(&SystemClock, SOON * 5, &first);
    assert!(poll(&mut sleep, &second).is_pending());
    assert_eq!(Arc::strong_count(&count), 2);
    told.recv_timeout(GENEROUS).unwrap();
    assert_eq!(count.get(), 0);
}

#[test]
fn a_panicking_waker_stops_no_other() {
    let panics: Vec<Sleep> = (0..4)
        .map(|_| armed(&SystemClock, SOON, &on_wake(|| panic!("waker"))))
        .collect();
    let (told, waker) = telling();
    let _same_time = armed(&SystemClock, SOON, &waker);
    told.recv_timeout(GENEROUS).unwrap();
    let _later = armed(&SystemClock, SOON, &waker);
    told.recv_timeout(GENEROUS).unwrap();
    drop(panics);
}

/// A waker that blocks until it is released; the others may not wait for it.
fn blocking() -> (Sender<()>, Waker) {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let block = on_wake(move || gate.lock().unwrap().recv_timeout(GENEROUS).unwrap_or(()));
    (release, block)
}

#[test]
fn a_blocking_waker_delays_no_other_of_the_same_deadline_or_later() {
    let ((one, blocks_one), (two, blocks_two)) = (blocking(), blocking());
    let deadline = SystemClock.now() + SOON;
    let (told, waker) = telling();
    let mut sleeps = Vec::new();
    for (after, waker) in [
        (0, &blocks_one),
        (0, &waker),
        (0, &blocks_two),
        (0, &waker),
        (5, &waker),
    ] {
        let mut sleep = SystemClock.sleep_until(deadline + Duration::from_millis(after));
        assert!(poll(&mut sleep, waker).is_pending());
        sleeps.push(sleep);
    }
    for _ in 0..3 {
        let at = told
            .recv_timeout(GENEROUS / 2)
            .expect("not behind the blocked ones");
        assert!(at >= deadline);
    }
    drop((one, two));
}

#[test]
fn a_blocking_waker_delays_no_foreign_timer() {
    let (release, blocks) = blocking();
    let _blocked = armed(&SystemClock, SOON, &blocks);
    let (told, waker) = telling();
    let mut foreign = futures_timer::Delay::new(SOON * 2);
    assert!(
        Pin::new(&mut foreign)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    told.recv_timeout(GENEROUS / 2).unwrap();
    drop(release);
}

#[test]
fn a_waker_may_drop_and_poll_other_sleeps_inline() {
    let others = Mutex::new(vec![
        armed(&SystemClock, HOUR, Waker::noop()),
        armed(&SystemClock, HOUR, Waker::noop()),
    ]);
    let (done, told) = mpsc::channel();
    let busy = on_wake(move || {
        let (_, fresh) = counting();
        let mut others = others.lock().unwrap();
        others.pop();
        others
            .iter_mut()
            .for_each(|sleep| assert!(poll(sleep, &fresh).is_pending()));
        others.push(armed(&SystemClock, Duration::from_millis(500), &fresh));
        done.send(()).unwrap();
    });
    let _sleep = armed(&SystemClock, SOON, &busy);
    told.recv_timeout(GENEROUS).unwrap();
}

#[test]
fn a_replaced_waker_may_drop_sleeps_when_dropped() {
    /// Owns a sleep, as a task owned by its waker does.
    struct Owner(#[allow(dead_code)] Mutex<Sleep>);
    impl Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }
    let owned = armed(&SystemClock, HOUR, Waker::noop());
    let owner = Waker::from(Arc::new(Owner(Mutex::new(owned))));
    let mut sleep = SystemClock.sleep_until(SystemClock.now() + HOUR);
    assert!(poll(&mut sleep, &owner).is_pending());
    drop(owner);
    assert!(poll(&mut sleep, Waker::noop()).is_pending());
}

/// A waker that records when it was woken for the last of `times`.
fn counting_down(times: u64) -> (Receiver<()>, Waker) {
    let (sender, receiver) = mpsc::channel();
    let left = AtomicUsize::new(times as usize);
    let count = move || {
        if left.fetch_sub(1, SeqCst) == 1 {
            sender.send(()).unwrap_or(());
        }
    };
    (receiver, on_wake(count))
}

#[test]
fn every_size_fires() {
    watched(|| {
        for size in SIZES {
            let (told, waker) = counting_down(size);
            let begin = SystemClock.now() + GENEROUS / 200;
            let mut sleeps: Vec<(Poll<_>, Sleep)> = (0..size)
                .map(|index| {
                    let after = Duration::from_micros(index * 7919 % 5000);
                    let mut sleep = SystemClock.sleep_until(begin + after);
                    (poll(&mut sleep, &waker), sleep)
                })
                .collect();
            // A crowd takes longer to arm than its earliest deadlines are away.
            let ended = sleeps.iter().filter(|(first, _)| first.is_ready()).count();
            (0..ended).for_each(|_| waker.wake_by_ref());
            if size > 0 {
                told.recv_timeout(GENEROUS).expect("all fire");
            }
            for (_, sleep) in &mut sleeps {
                assert_eq!(poll(sleep, &waker), DONE);
            }
        }
    });
}

#[test]
fn every_size_is_dropped_while_others_stay() {
    for size in SIZES {
        let (count, waker) = counting();
        let arm = |index: u64| {
            armed(
                &SystemClock,
                HOUR + Duration::from_micros(index * 7919 % 5000),
                &waker,
            )
        };
        let sleeps: Vec<Sleep> = (0..size).map(arm).collect();
        let (told, last) = telling();
        let _soon = armed(&SystemClock, Duration::from_millis(1), &last);
        let (kept, dropped): (Vec<_>, Vec<_>) =
            (0..).zip(sleeps).partition(|(index, _)| index % 3 > 0);
        drop(dropped);
        told.recv_timeout(GENEROUS).unwrap();
        assert_eq!(Arc::strong_count(&count), 2 + kept.len());
        drop(kept);
        assert_eq!((count.get(), Arc::strong_count(&count)), (0, 2));
    }
}

#[test]
fn armed_by_one_thread_polled_and_dropped_by_others() {
    watched(|| {
        let (told, waker) = telling();
        let mut soon = armed(&SystemClock, SOON, &waker);
        let far = armed(&SystemClock, HOUR, &waker);
        let polled = thread::spawn(move || {
            told.recv_timeout(GENEROUS).unwrap();
            poll(&mut soon, Waker::noop())
        });
        assert_eq!(polled.join().unwrap(), DONE);
        thread::spawn(move || drop(far)).join().unwrap();
    });
}

#[test]
fn more_threads_than_shards_each_arm_fire_and_drop() {
    watched(|| {
        let arm = |index: u64| {
            move || {
                let far = armed(&SystemClock, HOUR, Waker::noop());
                let deadline = SystemClock.now() + Duration::from_millis(index % 7);
                assert_eq!(smol::block_on(SystemClock.sleep_until(deadline)), Ok(()));
                assert!(SystemClock.now() >= deadline);
                drop(far);
            }
        };
        let threads: Vec<_> = (0..40).map(|index| thread::spawn(arm(index))).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_waker_that_panics_when_dropped_is_contained() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let clock = ManualClock::new();
    let bomb = || Waker::from(Arc::new(Bomb));
    let arm = |clock: &dyn Clock, waker: Waker| {
        let mut sleep = clock.sleep_until(clock.now() + HOUR);
        assert!(poll(&mut sleep, &waker).is_pending());
        // The sleep's clone is the last.
        std::mem::forget(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
            || drop(waker),
        )));
        sleep
    };
    for clock in [&clock as &dyn Clock, &SystemClock] {
        drop(arm(clock, bomb()));
        let mut sleep = arm(clock, bomb());
        assert!(poll(&mut sleep, Waker::noop()).is_pending());
    }
}

#[test]
fn a_hundred_thousand_at_once() {
    let (count, waker) = counting();
    let far: Vec<Sleep> = (0..100_000)
        .map(|index| {
            armed(
                &SystemClock,
                HOUR + Duration::from_micros(index * 7919 % 100_000),
                &waker,
            )
        })
        .collect();
    let (told, last) = telling();
    let _soon = armed(&SystemClock, SOON, &last);
    told.recv_timeout(GENEROUS).unwrap();
    drop(far);
    assert_eq!((count.get(), Arc::strong_count(&count)), (0, 2));
}

#[test]
fn many_threads_arming_and_dropping_and_waiting() {
    let wait = |seed: u64| {
        move || {
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..200 {
                let after = Duration::from_micros(random.u64(..2000));
                drop(armed(&SystemClock, after + HOUR, Waker::noop()));
                let sleep = SystemClock.sleep_until(SystemClock.now() + after);
                assert_eq!(smol::block_on(sleep), Ok(()));
            }
        }
    };
    let threads: Vec<_> = (0..4).map(|seed| thread::spawn(wait(seed))).collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}
