//! Answers that can't be shown can't be joined.

use failfast::{Aggregator, Context};
use std::fmt::Error;

struct Profile;

async fn profile(_: Context, _: u64) -> Result<Profile, Error> {
    Ok(Profile)
}

fn main() {
    let dashboard = Aggregator::new(smol::spawn).source("profile", profile).join(" | ");
    drop(dashboard.aggregate(&Context::background(), 5));
}
