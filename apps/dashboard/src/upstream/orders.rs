//! The orders of a user. For each it calls two more services: an aggregation inside of an aggregation.

use std::sync::Arc;

use failfast::{Aggregator, Context};
use serde::{Deserialize, Serialize};

use super::service::{Work, number};
use super::{Price, ServiceError, Stock};
use crate::http::{Client, Endpoint};

/// The most products that one request may name.
const MOST: usize = 32;

const PRODUCTS: [&str; 6] = ["Teapot", "Lamp", "Atlas", "Kite", "Abacus", "Compass"];

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What was ordered.
    pub product: String,
    /// How many of it.
    pub quantity: u64,
    /// What all of it costs, in cents.
    pub cents: u64,
    /// Whether as many are in stock.
    pub in_stock: bool,
}

/// Product numbers, as they stand in a path: `1,4,5`.
type Products = Arc<str>;

pub(super) struct Orders {
    stock_and_prices: Aggregator<Products, (Vec<Stock>, Vec<Price>)>,
}

impl Orders {
    pub(super) fn new(client: &Arc<Client>, inventory: Endpoint, prices: Endpoint) -> Self {
        let stock_and_prices = Aggregator::in_place()
            .with_name("orders")
            .source("inventory", client.source(inventory))
            .source("prices", client.source(prices));
        Self { stock_and_prices }
    }
}

impl Work for Orders {
    type Answer = Vec<Order>;

    async fn work(&self, ctx: &Context, key: &str) -> Result<Vec<Order>, ServiceError> {
        let lines = lines(number(key)?);
        let products: Vec<_> = lines
            .iter()
            .map(|(product, _)| product.to_string())
            .collect();
        let products = products.join(",").into();
        let (stock, prices) = self.stock_and_prices.aggregate(ctx, products).await?;
        let lines = lines.into_iter().zip(stock.into_iter().zip(prices));
        Ok(lines
            .map(|((product, quantity), (stock, price))| Order {
                product: PRODUCTS[product as usize].to_owned(),
                quantity,
                cents: price.cents * quantity,
                in_stock: stock.left >= quantity,
            })
            .collect())
    }
}

/// What a user has ordered: product and quantity.
fn lines(user: u64) -> Vec<(u64, u64)> {
    let first = user % PRODUCTS.len() as u64;
    let product = |n| (first + 2 * n) % PRODUCTS.len() as u64;
    (0..3)
        .map(|n| (product(n), 1 + (user % 4 + n) % 4))
        .collect()
}

/// Reads product numbers.
pub(super) fn products(key: &str) -> Result<Vec<u64>, ServiceError> {
    let products: Result<Vec<_>, _> = key.split(',').take(MOST + 1).map(number).collect();
    let products = products?;
    if products.len() > MOST {
        return Err(ServiceError::Malformed(format!(
            "more than {MOST} products"
        )));
    }
    Ok(products)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_has_ordered_three_products() {
        for user in [0, 1, 7, u64::MAX - 2, u64::MAX - 1, u64::MAX] {
            let lines = lines(user);
            assert_eq!(lines.len(), 3);
            for (product, quantity) in lines {
                assert!(PRODUCTS.get(product as usize).is_some(), "{user}");
                assert!((1..=4).contains(&quantity), "{user}");
            }
        }
    }

    #[test]
    fn products_are_read_up_to_the_most() {
        let listed = |n: usize| vec!["1"; n].join(",");
        assert_eq!(products("3").unwrap(), [3]);
        assert_eq!(products("3,4").unwrap(), [3, 4]);
        assert_eq!(products(&listed(MOST)).unwrap().len(), MOST);
        assert!(products(&listed(MOST + 1)).is_err());
        for bad in ["", ",", "1,", "one"] {
            assert!(products(bad).is_err(), "{bad:?}");
        }
    }
}
