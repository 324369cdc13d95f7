//! What products cost.

use failfast::Context;
use serde::{Deserialize, Serialize};

use super::ServiceError;
use super::orders::products;
use super::service::Work;

/// What a product costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// The product's number.
    pub product: u64,
    /// Its price, in cents.
    pub cents: u64,
}

pub(super) struct Prices;

impl Work for Prices {
    type Answer = Vec<Price>;

    async fn work(&self, _: &Context, key: &str) -> Result<Vec<Price>, ServiceError> {
        let price = |product: u64| Price {
            product,
            cents: 495 + product.wrapping_mul(250) % 5_000,
        };
        Ok(products(key)?.into_iter().map(price).collect())
    }
}
