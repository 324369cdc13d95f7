//! An advertisement. The page does without if it is late.

use failfast::Context;
use serde::{Deserialize, Serialize};

use super::ServiceError;
use super::service::{Work, number};

const SLOGANS: [&str; 3] = [
    "A kettle that boils before you ask",
    "Shoes for those who never stop",
    "One clock for every wall",
];

/// One advertisement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ad {
    /// Its answer.
    pub slogan: String,
}

pub(super) struct Ads;

impl Work for Ads {
    type Answer = Ad;

    async fn work(&self, _: &Context, key: &str) -> Result<Ad, ServiceError> {
        let slogan = SLOGANS[(number(key)? % SLOGANS.len() as u64) as usize];
        Ok(Ad {
            slogan: slogan.to_owned(),
        })
    }
}
