//! How many further attempts a backend can bear.
//!
//! # Invariants
//!
//! 1. The balance is counted in thousandths of a token, so that a ratio is an integer and nothing is rounded.
//! 2. A first attempt pays `ratio` in, a further one takes a whole token out. The balance never exceeds the reserve. So
//!    for any number of calls: further attempts <= reserve + ratio x first attempts.
//! 3. A [`Token`] is spent once its attempt begins; until then, dropping it pays it back.

use crate::sync::atomic::{AtomicU64, Ordering};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

/// One token.
const TOKEN: u64 = 1_000;
const RESERVE: u64 = 10;
const RATIO: u64 = 200;

/// Limits the further attempts (retries, hedges) of all callers of a backend to a part of the first ones, so that a
/// failing backend is not buried under retries.
///
/// Make one for each backend and share it: clones are the same budget. It holds at most its reserve of tokens (10 by
/// default), and begins with that. Each first attempt pays a part of a token in (200 thousandths by default), each
/// further attempt takes one out. If there is none, that attempt is not made, and the caller gets the error it has.
///
/// The token is taken before the wait, so an attempt that waits counts; one that is dropped while it waits gives its
/// token back.
///
/// # Examples
///
/// ```
/// use failfast::policy::{Backoff, Budget, Retry};
/// use failfast::{Context, Source, SourceExt};
/// use std::time::Duration;
///
/// # smol::block_on(async {
/// let budget = Budget::new().with_reserve(1.try_into().unwrap()).with_ratio_permille(0);
/// let retry = Retry::times(9).with_backoff(Backoff::constant(Duration::ZERO)).with_budget(&budget);
/// let source = |_: Context, _: ()| async { Err::<u32, _>("connection refused") };
/// let fault = source.retry(retry).fetch(Context::background(), ()).await.unwrap_err();
/// assert_eq!(fault.to_string(), "connection refused (2 attempts; retry budget spent)");
/// # });
/// ```
#[derive(Clone)]
pub struct Budget(Arc<Account>);

struct Account {
    balance: AtomicU64,
    reserve: u64,
    ratio: u64,
}

/// A token taken out of a budget, until its attempt begins.
#[must_use = "dropping it pays it back"]
pub(super) struct Token(Option<Budget>);

impl Budget {
    /// A budget with a reserve of 10 tokens, into which each first attempt pays 200 thousandths of one.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::{Budget, Hedge, Retry};
    /// use std::time::Duration;
    ///
    /// let budget = Budget::new();
    /// let retry = Retry::times(2).with_budget(&budget);
    /// let hedge = Hedge::after(Duration::from_millis(20)).with_budget(&budget);
    /// # drop((retry, hedge));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::with(RESERVE * TOKEN, RATIO)
    }

    fn with(reserve: u64, ratio: u64) -> Self {
        Self(Arc::new(Account {
            balance: AtomicU64::new(reserve),
            reserve,
            ratio,
        }))
    }

    /// A new, full budget with another reserve: how many tokens there are at first, and at most.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::Budget;
    /// let budget = Budget::new().with_reserve(100.try_into().unwrap());
    /// # drop(budget);
    /// ```
    #[must_use]
    pub fn with_reserve(self, reserve: NonZeroU32) -> Self {
        Self::with(u64::from(reserve.get()) * TOKEN, self.0.ratio)
    }

    /// A new, full budget with another ratio: how many thousandths of a token each first attempt pays in.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::policy::Budget;
    /// let one_in_ten = Budget::new().with_ratio_permille(100);
    /// # drop(one_in_ten);
    /// ```
    #[must_use]
    pub fn with_ratio_permille(self, ratio: u16) -> Self {
        Self::with(self.0.reserve, ratio.into())
    }

    /// An identity, unique among the budgets that exist at the same time.
    pub(super) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// A first attempt has begun.
    pub(super) fn pay_in(&self) {
        self.0.add(self.0.ratio);
    }

    /// Takes a token for a further attempt, if there is one.
    pub(super) fn take(&self) -> Option<Token> {
        // Relaxed, here and in `add`, because the count publishes no other memory.
        let taken = self
            .0
            .balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
                balance.checked_sub(TOKEN)
            });
        taken.ok().map(|_| Token(Some(self.clone())))
    }
}

impl Account {
    fn add(&self, amount: u64) {
        // A full account is only read, because otherwise all callers that succeed would write to one cache line.
        let _ = self
            .balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
                (balance < self.reserve).then(|| (balance + amount).min(self.reserve))
            });
    }
}

impl Token {
    /// For attempts that no budget limits.
    pub(super) fn free() -> Self {
        Self(None)
    }

    /// The attempt begins.
    pub(super) fn spend(mut self) {
        self.0 = None;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(budget) = &self.0 {
            budget.0.add(TOKEN);
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Relaxed, because this is a snapshot for people.
        let balance = self.0.balance.load(Ordering::Relaxed);
        f.debug_struct("Budget")
            .field("tokens", &(balance / TOKEN))
            .field("reserve", &(self.0.reserve / TOKEN))
            .field("ratio_permille", &self.0.ratio)
            .finish()
    }
}
