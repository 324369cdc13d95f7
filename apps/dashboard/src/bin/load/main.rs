//! Load: many readers, services that misbehave, and the account afterwards. Loopback only.
//!
//! ```text
//! cargo run --release -p dashboard --bin load                  # 100 readers, 60 s each way
//! cargo run -p dashboard --bin load -- --seconds 10            # what CI runs
//! ```
//!
//! The same readers meet two servers, one after the other: the dashboard, and the same one with `try_join!` and a
//! timeout. Ends with an error if a request was lost, memory grew, something was left after the drain, or, in a run of a
//! minute and more, failfast was not the better of the two.

mod faults;
mod memory;
mod readers;
mod report;
mod run;

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use failfast::BoxError;

use report::Report;

/// Load on the dashboard, and on the same server with `try_join!` and a timeout.
#[derive(Clone, Copy, Parser)]
#[command(version)]
struct Arguments {
    /// How many readers there are at once.
    #[arg(long, default_value = "100")]
    readers: NonZeroUsize,
    /// How long they read, on each of the two servers.
    #[arg(long, default_value = "60", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How many pages they request at most, on each of the two servers.
    #[arg(long, default_value_t = 1_000_000)]
    pages: u64,
    /// Leaves out the server to compare with.
    #[arg(long)]
    alone: bool,
}

/// From which time on the servers are compared. In a shorter run p99 is that of a few pages, and a busy machine decides;
/// both are printed all the same.
const JUDGED: Duration = Duration::from_secs(60);

impl Arguments {
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn main() -> ExitCode {
    let filter = env_logger::Env::default().default_filter_or("off");
    env_logger::Builder::from_env(filter).init();
    match smol::block_on(load(Arguments::parse())) {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            wrong.iter().for_each(|wrong| eprintln!("load: {wrong}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs both, prints both, and returns what is wrong.
async fn load(arguments: Arguments) -> Result<Vec<String>, BoxError> {
    let fail_fast = run::run(&arguments, false).await?;
    let plain = match arguments.alone {
        true => None,
        false => Some(run::run(&arguments, true).await?),
    };
    let report = Report {
        fail_fast,
        plain,
        judges: arguments.time() >= JUDGED,
    };
    println!("{report}");
    Ok(report.wrong())
}
