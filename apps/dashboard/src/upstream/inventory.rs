//! What is in stock.

use failfast::Context;
use serde::{Deserialize, Serialize};

use super::ServiceError;
use super::orders::products;
use super::service::Work;

/// How many of a product are in stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// The product's number.
    pub product: u64,
    /// How many there are.
    pub left: u64,
}

pub(super) struct Inventory;

impl Work for Inventory {
    type Answer = Vec<Stock>;

    async fn work(&self, _: &Context, key: &str) -> Result<Vec<Stock>, ServiceError> {
        let left = |product: u64| Stock {
            product,
            left: product.wrapping_mul(7) % 13,
        };
        Ok(products(key)?.into_iter().map(left).collect())
    }
}
