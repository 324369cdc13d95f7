//! Limits of every size.

use super::*;

/// How many are inside at once, and the most there ever were.
#[derive(Clone, Default)]
struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);

impl Gauge {
    fn enter(&self) {
        let now = self.0.0.fetch_add(1, SeqCst) + 1;
        self.0.1.fetch_max(now, SeqCst);
    }

    fn leave(&self) {
        self.0.0.fetch_sub(1, SeqCst);
    }

    fn most(&self) -> usize {
        self.0.1.load(SeqCst)
    }
}

fn inside(
    gauge: &Gauge,
    n: usize,
) -> impl Future<Output = Result<usize, Infallible>> + Send + use<> {
    let gauge = gauge.clone();
    async move {
        gauge.enter();
        yields(2).await;
        gauge.leave();
        Ok(n)
    }
}

#[test]
fn in_place_exactly_so_many_run_at_once() {
    watched(|| {
        for limit in SIZES.iter().copied().filter(|limit| *limit > 0) {
            for size in [0, 1, limit - 1, limit, limit + 1, 2 * limit] {
                let gauge = Gauge::default();
                let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(limit));
                (0..size).for_each(|n| group.spawn(inside(&gauge, n)));
                assert!(block_on(group.wait()).unwrap().into_iter().eq(0..size));
                assert_eq!(gauge.most(), size.min(limit), "{size} tasks, limit {limit}");
            }
        }
    });
}

#[test]
fn on_executors_no_more_run_at_once() {
    for host in HOSTS {
        watched(move || {
            for limit in [1, 2, 3, 31, 64, 65, 257] {
                let gauge = Gauge::default();
                let group = Group::new(host.spawn).with_limit(at_most(limit));
                (0..600).for_each(|n| group.spawn(inside(&gauge, n)));
                assert!(block_on(group.wait()).unwrap().into_iter().eq(0..600));
                assert!(
                    gauge.most() <= limit,
                    "{}: {} at {limit}",
                    host.name,
                    gauge.most()
                );
            }
        });
    }
}

#[test]
fn huge_queue_at_a_limit_of_one() {
    watched(|| {
        let polls = Count::default();
        let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(1));
        for n in 0..HUGE {
            group.spawn(counted(&polls, async move { Ok::<_, Infallible>(n) }));
        }
        assert!(block_on(group.wait()).unwrap().into_iter().eq(0..HUGE));
        assert_eq!(polls.get(), HUGE);
    });
}

#[test]
fn map_takes_every_item_and_keeps_the_limit() {
    watched(|| {
        for &size in SIZES {
            for limit in [1, 2, 33] {
                let gauge = Gauge::default();
                let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(limit));
                let all = block_on(group.try_map(0..size, |n| inside(&gauge, n))).unwrap();
                assert!(all.into_iter().eq(0..size));
                assert!(gauge.most() <= limit, "{} at {limit}", gauge.most());
            }
        }
    });
}

#[test]
fn map_starts_as_many_as_the_limit_lets() {
    watched(|| {
        for limit in [1, 2, 3, 31, 33, 65] {
            let entered = Count::default();
            let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(limit));
            // Each waits until as many as the limit are inside: it ends only if they are at once.
            let together = |n: usize| {
                let entered = entered.clone();
                async move {
                    entered.add();
                    let round = (n / limit + 1) * limit;
                    while entered.get() < round {
                        yields(1).await;
                    }
                    Ok::<_, Infallible>(n)
                }
            };
            let all = block_on(group.try_map(0..4 * limit, together)).unwrap();
            assert!(all.into_iter().eq(0..4 * limit));
        }
    });
}

#[test]
fn try_spawn_is_refused_from_the_limit_on() {
    watched(|| {
        for limit in SIZES.iter().copied().filter(|limit| *limit > 0) {
            let group = InPlaceGroup::<()>::new(&Context::background()).with_limit(at_most(limit));
            let stuck = pending::<Result<(), Infallible>>;
            let accepted = (0..limit + 3)
                .filter(|_| group.try_spawn(stuck()).is_ok())
                .count();
            assert_eq!(accepted, limit);
        }
    });
}
