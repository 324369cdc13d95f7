//! How long to wait between two attempts.
//!
//! # Invariants
//!
//! 1. The n-th delay without its jitter is `first` x `factor`^(n-1), or the cap if that is less. It is made from the one
//!    before by a multiplication that saturates, so it never wraps, however large n is.
//! 2. Jitter is taken below the delay: it never exceeds the cap, and at the cap it still spreads.

use fastrand::Rng;
use std::time::Duration;

/// The cap of [`Backoff::exponential`].
const MAX: Duration = Duration::from_secs(1);
/// The first delay of a [`Retry`](super::Retry) that was given none.
const FIRST: Duration = Duration::from_millis(50);

/// How long to wait between two attempts.
///
/// # Examples
///
/// ```
/// use failfast::policy::{Backoff, Jitter};
/// use std::time::Duration;
///
/// let backoff = Backoff::exponential(Duration::from_millis(50)).with_jitter(Jitter::None);
/// let delays: Vec<_> = backoff.delays(0).take(6).map(|delay| delay.as_millis()).collect();
/// assert_eq!(delays, [50, 100, 200, 400, 800, 1000]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a backoff does nothing until a `Retry` has it"]
pub struct Backoff {
    first: Duration,
    factor: u32,
    max: Duration,
    jitter: Jitter,
}

/// How a delay is spread, so that callers that failed together do not come back together.
///
/// # Examples
///
/// ```
/// use failfast::policy::{Backoff, Jitter};
/// use std::time::Duration;
///
/// let backoff = Backoff::constant(Duration::from_millis(100)).with_jitter(Jitter::Equal);
/// assert!(backoff.delays(7).take(100).all(|delay| delay >= Duration::from_millis(50)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Anything up to the delay, and never nothing. Spreads best.
    Full,
    /// Half of the delay, and anything up to the other half.
    Equal,
    /// The delay itself.
    None,
}

impl Backoff {
    /// Delays that double, from `first` up to a second, with full jitter.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::Backoff;
    /// # use std::time::Duration;
    /// let backoff = Backoff::exponential(Duration::from_millis(50));
    /// assert!(backoff.delays(1).nth(1_000_000).unwrap() <= Duration::from_secs(1));
    /// ```
    pub fn exponential(first: Duration) -> Self {
        Self {
            first,
            factor: 2,
            max: MAX,
            jitter: Jitter::Full,
        }
    }

    /// The same delay each time: no jitter, no cap.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::Backoff;
    /// # use std::time::Duration;
    /// let delay = Duration::from_secs(5);
    /// assert!(Backoff::constant(delay).delays(0).take(9).all(|other| other == delay));
    /// ```
    pub fn constant(delay: Duration) -> Self {
        Self {
            first: delay,
            factor: 1,
            max: Duration::MAX,
            jitter: Jitter::None,
        }
    }

    /// How much longer each delay is than the one before; 2 by default. Zero counts as one: no delay is shorter than the
    /// one before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::{Backoff, Jitter};
    /// # use std::time::Duration;
    /// let backoff = Backoff::exponential(Duration::from_millis(1)).with_factor(10).with_jitter(Jitter::None);
    /// assert_eq!(backoff.delays(0).nth(2), Some(Duration::from_millis(100)));
    /// ```
    pub fn with_factor(mut self, factor: u32) -> Self {
        self.factor = factor.max(1);
        self
    }

    /// The longest delay; one second by default for an exponential backoff.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::{Backoff, Jitter};
    /// # use std::time::Duration;
    /// let ten = Duration::from_secs(10);
    /// let backoff = Backoff::exponential(Duration::from_secs(1)).with_max(ten).with_jitter(Jitter::None);
    /// assert_eq!(backoff.delays(0).nth(30), Some(ten));
    /// ```
    pub fn with_max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// How delays are spread.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::{Backoff, Jitter};
    /// # use std::time::Duration;
    /// let second = Duration::from_secs(1);
    /// let backoff = Backoff::constant(second).with_jitter(Jitter::Full);
    /// assert!(backoff.delays(3).take(100).all(|delay| delay <= second));
    /// ```
    pub fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The delays, without an end: to look at, and to test. Equal seeds give equal delays.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::Backoff;
    /// # use std::time::Duration;
    /// let backoff = Backoff::exponential(Duration::from_millis(50));
    /// assert!(backoff.delays(7).take(99).eq(backoff.delays(7).take(99)));
    /// ```
    pub fn delays(&self, seed: u64) -> impl Iterator<Item = Duration> + use<> {
        self.iter(seed)
    }

    pub(super) fn iter(&self, seed: u64) -> Delays {
        let max = self.max.as_nanos();
        Delays {
            next: self.first.as_nanos().min(max),
            factor: self.factor,
            max,
            jitter: self.jitter,
            rng: Rng::with_seed(seed),
        }
    }
}

/// Exponential from 50 ms to a second, with full jitter.
impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(FIRST)
    }
}

/// The delays of a backoff, in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Delays {
    next: u128,
    factor: u32,
    max: u128,
    jitter: Jitter,
    rng: Rng,
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = self.next;
        self.next = delay.saturating_mul(self.factor.into()).min(self.max);
        Some(duration(self.spread(delay)))
    }
}

impl Delays {
    fn spread(&mut self, delay: u128) -> u128 {
        match self.jitter {
            _ if delay == 0 => 0,
            Jitter::None => delay,
            Jitter::Full => self.rng.u128(1..=delay),
            Jitter::Equal => delay - self.rng.u128(0..=delay / 2),
        }
    }
}

fn duration(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let seconds = u64::try_from(nanos / SECOND).unwrap_or(u64::MAX);
    Duration::new(seconds, (nanos % SECOND) as u32)
}
