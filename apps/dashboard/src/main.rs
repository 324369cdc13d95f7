//! Starts the dashboard, and prints where it is.
//!
//! ```text
//! cargo run -p dashboard
//! cargo run -p dashboard -- --port 8080 --database users.db
//! ```

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use dashboard::app::{App, Config};
use dashboard::http::ShutdownOutcome;
use dashboard::signals::ShutdownSignal;
use dashboard::upstream::Options;
use failfast::BoxError;
use futures::future::{Either, select};

/// A page from several services that fails fast.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The port to listen on; 0 for one of the system's choice.
    #[arg(long, default_value_t = 8700)]
    port: u16,
    /// Where the profiles are kept; in memory if not given. A new file is seeded.
    #[arg(long)]
    database: Option<PathBuf>,
    /// How many seconds requests under way may take to finish after SIGINT or SIGTERM.
    #[arg(long, default_value_t = 5)]
    drain: u64,
    /// Puts the page together with `try_join!` and a timeout instead, for comparison.
    #[arg(long)]
    plain: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = env_logger::Env::default().default_filter_or("warn");
    env_logger::Builder::from_env(filter).init();
    match smol::block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dashboard: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), BoxError> {
    let mut stop = ShutdownSignal::listen()?;
    let app = App::start(Config {
        port: arguments.port,
        plain: arguments.plain,
        services: Options {
            database: arguments.database,
            ..Options::default()
        },
        ..Config::default()
    })
    .await?;
    println!("{}", app.url());
    stop.next().await;
    eprintln!(
        "stopping: requests under way have {} s; again to cut them",
        arguments.drain
    );
    let shutdown = pin!(app.shutdown(Duration::from_secs(arguments.drain)));
    match select(shutdown, pin!(stop.next())).await {
        Either::Left((ShutdownOutcome::Drained, _)) => {}
        Either::Left((ShutdownOutcome::Cut(left), _)) => eprintln!("cut {left} connections"),
        Either::Right(_) => eprintln!("cut"),
    }
    Ok(())
}
