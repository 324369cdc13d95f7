//! What the demo can be told.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use humantime::parse_duration;

/// Asks two services of its own for one dashboard: the moment one falls, all stop.
#[derive(Debug, Parser)]
#[command(name = "smol_demo")]
pub(crate) struct Options {
    /// Whose dashboard to fetch
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) id: u64,

    /// How long the whole dashboard may take, such as 1s or 250ms [default: the aggregator's own]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// How long the profile service thinks before it answers
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "0s")]
    pub(crate) profile_delay: Duration,

    /// How long the orders service thinks before it answers
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "0s")]
    pub(crate) orders_delay: Duration,

    /// The service that answers HTTP 500
    #[arg(long, value_name = "SERVICE")]
    pub(crate) fail: Option<Culprit>,

    /// Draw on standard error who ran when
    #[arg(long)]
    pub(crate) timeline: bool,
}

/// A service that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Culprit {
    Profile,
    Orders,
}
