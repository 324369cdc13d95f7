//! Real threads.

use super::*;

/// "on real threads, 100,000 random cancellations lose no …": no flight is left, and no waiter hangs.
#[test]
fn rule_40_no_flight_is_left_after_100_000_cancellations_on_threads() {
    let open = Arc::new(AtomicUsize::new(0));
    struct Runs(Arc<AtomicUsize>);
    impl Drop for Runs {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    let count = open.clone();
    let source = move |_: Context, key: u32| {
        count.fetch_add(1, SeqCst);
        let (runs, mut left) = (Runs(count.clone()), 5);
        poll_fn(move |cx| {
            let _runs = &runs;
            cx.waker().wake_by_ref();
            left -= 1;
            match left {
                0 => Poll::Ready(Ok::<_, BoxError>(key)),
                _ => Poll::Pending,
            }
        })
    };
    let source = source.coalesce();
    storm(cancellations(), |dice| {
        source.fetch(Context::background(), dice.u32(..4))
    });
    assert_eq!(open.load(SeqCst), 0);
    assert!(format!("{source:?}").contains("flights: 0"));
}

/// Waiters on threads that are never cancelled all get their answer: no wake-up is lost.
#[test]
fn rule_39_no_wake_up_is_lost_on_threads() {
    let polls = |left: u32| {
        let mut left = left;
        poll_fn(move |cx| {
            let waker = cx.waker().clone();
            left -= 1;
            if left == 0 {
                return Poll::Ready(Ok::<_, BoxError>(5));
            }
            smol::spawn(async move { waker.wake() }).detach();
            Poll::Pending
        })
    };
    let source = (move |_: Context, _: u64| polls(20)).coalesce();
    ends("a waiter", move || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let call = source.fetch(Context::background(), 7);
                        assert_eq!(smol::block_on(call).unwrap(), 5);
                    }
                });
            }
        });
    });
}
