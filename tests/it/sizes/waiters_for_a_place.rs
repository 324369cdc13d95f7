//! Waiters in `ready` of every number.

use super::*;

#[test]
fn each_gets_through_with_a_bounded_number_of_polls() {
    watched(|| {
        for size in SIZES.iter().copied().filter(|size| *size <= 1_000) {
            let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(1));
            let (polls, through) = (Count::default(), Count::default());
            let (line, passed) = (&group, &through);
            let crowd: futures::stream::FuturesUnordered<_> = (0..size)
                .map(|n| {
                    let one = async move {
                        line.ready().await.unwrap();
                        line.spawn(async move { Ok::<_, Infallible>(n) });
                        passed.add();
                    };
                    counted(&polls, one)
                })
                .collect();
            let drain = crowd.for_each(|()| async {});
            block_on(drain);
            assert_eq!(through.get(), size);
            assert!(
                polls.get() <= 8 * size,
                "{} polls of {size} waiters",
                polls.get()
            );
            let mut all = block_on(group.wait()).unwrap();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..size));
        }
    });
}

#[test]
fn end_wakes_each_once() {
    watched(|| {
        for &size in SIZES {
            let group = Group::<()>::new(std::mem::forget::<failfast::Task>).with_limit(at_most(1));
            group.spawn(pending::<Result<_, Infallible>>());
            let mut waits: Vec<_> = (0..size).map(|_| Polled::new(group.ready())).collect();
            waits.iter_mut().for_each(|wait| assert!(wait.is_pending()));
            group.stop();
            for wait in &mut waits {
                assert_eq!(wait.wakes(), 1, "{size}");
                assert!(wait.ready().is_err());
            }
        }
    });
}
