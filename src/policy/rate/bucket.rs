//! A rate's arithmetic: a bucket of tokens that fills up with time.
//!
//! Plain data, by instants. A token is worth `per` in units of a nanosecond divided by `tokens`, so nothing is rounded when
//! tokens are earned or taken, whatever the rate. Only a wait is, up to the next nanosecond; and as a full bucket earns
//! nothing, a caller that takes each token as soon as it is there loses less than a nanosecond a token.
//!
//! # Invariants
//!
//! 1. `debt`, which is what was taken and not earned back yet, is at most `burst` tokens.
//! 2. `debt` shrinks only by time that passed between two readings. A reading that lies before the last one replaces
//!    it and earns nothing, because a clock that was set back must not stop the bucket from filling.

use crate::clock::Instant;
use std::num::NonZeroU32;
use std::time::Duration;

/// What a bucket goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) tokens: NonZeroU32,
    pub(super) per: Duration,
    pub(super) burst: NonZeroU32,
}

impl Pace {
    /// What one token is worth.
    fn price(&self) -> u128 {
        self.per.as_nanos()
    }

    fn earned_in(&self, elapsed: Duration) -> u128 {
        elapsed
            .as_nanos()
            .saturating_mul(u128::from(self.tokens.get()))
    }

    fn capacity(&self) -> u128 {
        self.price().saturating_mul(u128::from(self.burst.get()))
    }
}

/// Full when it is made.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When `debt` was right.
    at: Option<Instant>,
    debt: u128,
}

impl Bucket {
    /// Earns what the time since the last reading is worth.
    pub(super) fn refill(&mut self, pace: &Pace, now: Instant) {
        let elapsed = self
            .at
            .replace(now)
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.debt = self.debt.saturating_sub(pace.earned_in(elapsed));
    }

    /// How long it takes, from the last reading on, until there is a token for a caller with `ahead` others before it.
    pub(super) fn wait(&self, pace: &Pace, ahead: usize) -> Duration {
        let before = u128::try_from(ahead).unwrap_or(u128::MAX);
        let taken = pace.price().saturating_mul(before.saturating_add(1));
        let missing = self
            .debt
            .saturating_add(taken)
            .saturating_sub(pace.capacity());
        nanoseconds(missing.div_ceil(u128::from(pace.tokens.get())))
    }

    /// Takes a token if there is one.
    pub(super) fn take(&mut self, pace: &Pace) -> bool {
        let there = self.wait(pace, 0).is_zero();
        if there {
            self.debt = self.debt.saturating_add(pace.price());
        }
        there
    }

    /// Undoes one `take`.
    pub(super) fn give_back(&mut self, pace: &Pace) {
        self.debt = self.debt.saturating_sub(pace.price());
    }
}

fn nanoseconds(count: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    match (u64::try_from(count / SECOND), u32::try_from(count % SECOND)) {
        (Ok(seconds), Ok(nanoseconds)) => Duration::new(seconds, nanoseconds),
        _ => Duration::MAX,
    }
}

#[cfg(all(test, not(failfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(tokens: u32, per: Duration, burst: u32) -> Pace {
        Pace {
            tokens: NonZeroU32::new(tokens).unwrap(),
            per,
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    #[test]
    fn a_new_bucket_gives_its_burst_and_then_one_a_period() {
        let pace = pace(10, SECOND, 3);
        let (mut bucket, begin) = (Bucket::default(), Instant::now());
        bucket.refill(&pace, begin);
        assert_eq!((0..9).filter(|_| bucket.take(&pace)).count(), 3);
        assert_eq!(bucket.wait(&pace, 0), SECOND / 10);
        assert_eq!(bucket.wait(&pace, 4), SECOND / 2);
        bucket.refill(&pace, begin + SECOND / 10);
        assert!(bucket.take(&pace));
        assert!(!bucket.take(&pace));
    }

    #[test]
    fn a_period_that_does_not_divide_gains_nothing() {
        let pace = pace(3, SECOND, 1);
        let (mut bucket, begin) = (Bucket::default(), Instant::now());
        let (mut now, mut taken) = (begin, 0);
        while now < begin + 100 * SECOND {
            bucket.refill(&pace, now);
            assert!(bucket.take(&pace));
            taken += 1;
            now += bucket.wait(&pace, 0);
        }
        assert_eq!(taken, 300, "not one more in a hundred periods of three");
        assert!(now < begin + 100 * SECOND + Duration::from_nanos(300));
    }

    #[test]
    fn an_idle_bucket_holds_no_more_than_its_burst() {
        let pace = pace(1000, SECOND, 2);
        let (mut bucket, begin) = (Bucket::default(), Instant::now());
        bucket.refill(&pace, begin);
        bucket.refill(&pace, begin + 3600 * SECOND);
        assert_eq!((0..9).filter(|_| bucket.take(&pace)).count(), 2);
    }

    #[test]
    fn a_clock_that_was_set_back_delays_by_no_more_than_the_burst_takes() {
        let pace = pace(10, SECOND, 5);
        let (mut bucket, begin) = (Bucket::default(), Instant::now());
        let late = begin + 3600 * SECOND;
        bucket.refill(&pace, late);
        while bucket.take(&pace) {}
        bucket.refill(&pace, begin);
        assert_eq!(bucket.wait(&pace, 0), SECOND / 10);
        assert_eq!(bucket.wait(&pace, 4), SECOND / 2, "the burst's full period");
        bucket.refill(&pace, begin + SECOND / 10);
        assert!(bucket.take(&pace), "it fills by the new time");
    }

    #[test]
    fn extreme_terms_saturate() {
        let begin = Instant::now();
        let sizes = [1, 2, u32::MAX];
        let periods = [
            Duration::ZERO,
            Duration::from_nanos(1),
            SECOND,
            Duration::MAX,
        ];
        for (tokens, burst) in sizes.into_iter().flat_map(|a| sizes.map(|b| (a, b))) {
            for pace in periods.map(|per| pace(tokens, per, burst)) {
                let mut bucket = Bucket::default();
                bucket.refill(&pace, begin);
                assert!(bucket.take(&pace), "{pace:?}");
                assert!(bucket.wait(&pace, 0) <= pace.per, "{pace:?}");
                assert!(bucket.wait(&pace, usize::MAX) <= Duration::MAX);
                bucket.refill(&pace, begin + 1000 * SECOND);
                bucket.take(&pace);
            }
        }
    }

    #[test]
    fn a_period_of_zero_does_not_limit() {
        let pace = pace(1, Duration::ZERO, 1);
        let mut bucket = Bucket::default();
        bucket.refill(&pace, Instant::now());
        assert!((0..1000).all(|_| bucket.take(&pace)));
    }

    proptest! {
        /// In every window: at most `burst`, and one more for each period that passed in it.
        #[test]
        fn never_more_than_burst_and_elapsed_by_period_in_any_window(
            tokens in 1_u32..50,
            per in 1_u64..3_000_000_000,
            burst in 1_u32..8,
            steps in prop::collection::vec(0_u64..400_000_000, 1..80),
        ) {
            let pace = pace(tokens, Duration::from_nanos(per), burst);
            let begin = Instant::now();
            let (mut bucket, mut now, mut taken) = (Bucket::default(), 0_u64, Vec::new());
            for step in steps {
                now += step;
                bucket.refill(&pace, begin + Duration::from_nanos(now));
                while taken.len() < 10_000 && bucket.take(&pace) {
                    taken.push(now);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let earned = u128::from(to - from) * u128::from(tokens) / u128::from(per);
                    let most = u128::from(burst) + earned;
                    prop_assert!(((last - first + 1) as u128) <= most);
                }
            }
        }

        /// A caller finds a token after the wait that the bucket returned, and not a nanosecond sooner.
        #[test]
        fn the_wait_is_exact(
            tokens in 1_u32..5000,
            interval in 1_u64..3_000_000,
            burst in 1_u32..8,
            ahead in 0_usize..20,
        ) {
            let pace = pace(tokens, Duration::from_nanos(interval * u64::from(tokens)), burst);
            let begin = Instant::now();
            let mut bucket = Bucket::default();
            bucket.refill(&pace, begin);
            for _ in 0..burst {
                bucket.take(&pace);
            }
            for place in 0..=ahead {
                let wait = bucket.wait(&pace, place);
                let mut next = Bucket { at: bucket.at, debt: bucket.debt };
                for before in 0..place {
                    next.refill(&pace, begin + bucket.wait(&pace, before));
                    prop_assert!(next.take(&pace));
                }
                let sooner = wait.saturating_sub(Duration::from_nanos(1));
                if place == 0 || sooner >= bucket.wait(&pace, place - 1) {
                    next.refill(&pace, begin + sooner);
                    prop_assert!(wait.is_zero() || !next.take(&pace));
                }
                next.refill(&pace, begin + wait);
                prop_assert!(next.take(&pace));
            }
        }
    }
}
