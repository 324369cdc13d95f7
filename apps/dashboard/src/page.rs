//! The page: what it holds, and the two ways in which it is put together.

mod fail_fast;
mod plain;
mod policies;
mod required;

pub use fail_fast::FailFast;
pub use plain::Plain;
pub use policies::Policies;

use serde::{Deserialize, Serialize};

use crate::upstream::{Ad, Order, Profile, Recommendation};

/// A user's number.
pub type UserId = u64;

/// The page of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The user.
    pub profile: Profile,
    /// What was ordered.
    pub orders: Vec<Order>,
    /// What to look at next; none if the service did not answer in time.
    pub recommendations: Option<Vec<Recommendation>>,
    /// An advertisement; none if the service did not answer in time.
    pub ads: Option<Ad>,
}

impl Page {
    /// Whether an optional part is missing.
    pub fn is_partial(&self) -> bool {
        self.recommendations.is_none() || self.ads.is_none()
    }
}
