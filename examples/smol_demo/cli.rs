//! The options of the demo.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use humantime::parse_duration;

/// Calls two services of its own for one dashboard: the moment one fails, all stop.
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

    /// How many requests each service answers with HTTP 500 before it recovers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) fail_first: u64,

    /// How much longer each service takes for every other request, beginning with the first
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "0s")]
    pub(crate) hiccup: Duration,

    /// How often to try again when a service fails
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retry: u32,

    /// Call a service again that has not answered after so long, and take the first answer
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) hedge: Option<Duration>,

    /// The service that the dashboard can do without
    #[arg(long, value_name = "SERVICE")]
    pub(crate) optional: Option<Culprit>,

    /// Draw on standard error which task ran when
    #[arg(long)]
    pub(crate) timeline: bool,

    /// Write the same as a picture, for a browser
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Write the same as a trace, for ui.perfetto.dev or chrome://tracing
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

impl Options {
    /// Whether any policy is used: then each attempt is worth a line.
    pub(crate) fn has_policies(&self) -> bool {
        self.retry > 0 || self.hedge.is_some() || self.optional.is_some()
    }
}

/// A service that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Culprit {
    Profile,
    Orders,
}
