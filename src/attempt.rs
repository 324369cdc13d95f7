//! What policies report: the types that contexts, faults and observers share.

use std::fmt;

/// Which attempt of a policy a source is called for: [`Context::attempt`](crate::Context::attempt).
///
/// Of use to log, and to make a repeated request recognizable to the service. Outside of a policy it is number 1,
/// and not a hedge.
///
/// # Examples
///
/// ```
/// use failfast::Context;
///
/// let attempt = Context::background().attempt();
/// assert_eq!(attempt.number(), 1);
/// assert!(!attempt.is_hedge());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    number: u32,
    hedge: bool,
}

impl Attempt {
    /// The only one, outside of a policy.
    pub(crate) const FIRST: Self = Self::new(1, false);

    pub(crate) const fn new(number: u32, hedge: bool) -> Self {
        Self { number, hedge }
    }

    /// Its number, counted from 1.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(failfast::Context::background().attempt().number(), 1);
    /// ```
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether it was started beside an earlier attempt that had not answered yet.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!failfast::Context::background().attempt().is_hedge());
    /// ```
    #[must_use]
    pub fn is_hedge(&self) -> bool {
        self.hedge
    }
}

/// The state of a [`Breaker`](crate::policy::Breaker).
///
/// # Examples
///
/// ```
/// use failfast::Context;
/// use failfast::policy::{Breaker, BreakerState};
///
/// let breaker = Breaker::new("orders-db");
/// assert_eq!(breaker.state(&Context::background()), BreakerState::Closed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls are let through.
    Closed,
    /// Calls are refused.
    Open,
    /// Some calls are let through, to see how the service does.
    HalfOpen,
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half open",
        })
    }
}
