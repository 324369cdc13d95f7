//! How a service behaves: what the page's knobs turn.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use failfast::Context;
use serde::{Deserialize, Serialize};

use super::{PerService, ServiceError};

/// How many times as long a slow answer takes.
const SLOW: u32 = 10;

const LONGEST_MS: u32 = 60_000;

/// How a service treats its callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behavior {
    /// How long an answer takes, in milliseconds.
    pub delay_ms: u32,
    /// How many of a hundred answers take ten times as long.
    pub slow_percent: u8,
    /// How many of a hundred requests fail.
    pub failure_percent: u8,
    /// Whether it never answers.
    pub hang: bool,
}

impl Behavior {
    /// What each is like at the start. The recommendations are flaky and slow by design.
    pub fn by_design() -> PerService<Self> {
        let healthy = |delay_ms| Self {
            delay_ms,
            ..Self::default()
        };
        PerService {
            profile: healthy(20),
            orders: healthy(10),
            inventory: healthy(30),
            prices: healthy(25),
            recommendations: Self {
                delay_ms: 60,
                slow_percent: 10,
                failure_percent: 15,
                hang: false,
            },
            ads: healthy(40),
        }
    }

    /// What is wrong with it, if something is.
    pub fn check(&self) -> Result<(), String> {
        if self.delay_ms > LONGEST_MS {
            return Err(format!("delay_ms is at most {LONGEST_MS}"));
        }
        if self.slow_percent > 100 || self.failure_percent > 100 {
            return Err("a percentage is at most 100".to_owned());
        }
        Ok(())
    }

    /// Takes its time, and fails or not.
    pub(super) async fn act(&self, ctx: &Context) -> Result<(), ServiceError> {
        if self.hang {
            ctx.done().await;
            ctx.check()?;
        }
        ctx.sleep(self.delay()).await?;
        if chance(self.failure_percent) {
            return Err(ServiceError::Failed("failed, as its knob says".to_owned()));
        }
        Ok(())
    }

    fn delay(&self) -> Duration {
        let factor = if chance(self.slow_percent) { SLOW } else { 1 };
        Duration::from_millis(self.delay_ms.into()) * factor
    }
}

fn chance(percent: u8) -> bool {
    fastrand::u8(0..100) < percent
}

/// Sets how a service behaves from its next request on.
#[derive(Clone, Debug)]
pub struct Knob(Arc<RwLock<Behavior>>);

impl Knob {
    pub(super) fn new(behavior: Behavior) -> Self {
        Self(Arc::new(RwLock::new(behavior)))
    }

    /// How it behaves.
    pub fn get(&self) -> Behavior {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns it.
    pub fn set(&self, behavior: Behavior) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = behavior;
    }
}
