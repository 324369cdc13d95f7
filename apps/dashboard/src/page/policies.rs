//! Which policies the page is put together with.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const TIMEOUTS_MS: std::ops::RangeInclusive<u32> = 10..=10_000;

/// The policies that can be switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policies {
    /// How long a page may take, in milliseconds.
    pub timeout_ms: u32,
    /// Whether failed calls are repeated.
    pub retry: bool,
    /// Whether a second request is sent where the recommendations are slow.
    pub hedge: bool,
    /// Whether the page does without recommendations and ads where they fail or are late.
    pub optional: bool,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            timeout_ms: 1_000,
            retry: true,
            hedge: true,
            optional: true,
        }
    }
}

impl Policies {
    /// How long a page may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.into())
    }

    /// What is wrong with them, if something is.
    pub fn check(&self) -> Result<(), String> {
        if TIMEOUTS_MS.contains(&self.timeout_ms) {
            return Ok(());
        }
        let (least, most) = (TIMEOUTS_MS.start(), TIMEOUTS_MS.end());
        Err(format!("timeout_ms is {least} to {most}"))
    }
}
