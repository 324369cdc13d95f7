//! What a user might like. Flaky and slow, by its behavior.

use failfast::Context;
use serde::{Deserialize, Serialize};

use super::ServiceError;
use super::service::{Work, number};

const KNOWN: [&str; 7] = [
    "Sextant",
    "Orrery",
    "Slide rule",
    "Gyroscope",
    "Astrolabe",
    "Sundial",
    "Metronome",
];

/// One recommendation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommendation {
    /// What to look at next.
    pub product: String,
}

pub(super) struct Recommendations;

impl Work for Recommendations {
    type Answer = Vec<Recommendation>;

    async fn work(&self, _: &Context, key: &str) -> Result<Vec<Recommendation>, ServiceError> {
        let first = (number(key)? % KNOWN.len() as u64) as usize;
        let products = KNOWN.iter().cycle().skip(first).take(3);
        Ok(products
            .map(|product| Recommendation {
                product: (*product).to_owned(),
            })
            .collect())
    }
}
