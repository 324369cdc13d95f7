//! A dashboard from two services: the moment one falls, all stop.
//!
//! ```text
//! cargo run --example smol_demo
//! cargo run --example smol_demo -- --timeout 1s --profile-delay 2s --timeline
//! cargo run --example smol_demo -- --fail profile --orders-delay 10s --svg domino.svg --trace domino.json
//! cargo run --example smol_demo -- --fail-first 2 --retry 2
//! cargo run --example smol_demo -- --hiccup 1s --hedge 50ms
//! cargo run --example smol_demo -- --fail orders --optional orders
//! ```
//!
//! The program starts both services itself, on loopback, calls them with a real HTTP client, and writes one line to
//! standard output. What each service received is on standard error.

mod cli;
mod client;
mod logger;
mod robust;
mod services;

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use failfast::observe::Recorder;
use failfast::{Aggregator, BoxError, Context};
use futures::future;
use smol::Timer;
use smol::future::FutureExt as _;

use crate::cli::{Culprit, Options};
use crate::client::ask;
use crate::logger::say;
use crate::robust::robust;
use crate::services::{Script, Service};

const TIMELINE_WIDTH: usize = 100;
/// How long the services may take to see their clients off.
const LAST_WORDS: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let options = Options::parse();
    logger::install(options.has_policies());
    match smol::block_on(demo(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {}\n", explain(&*error)));
            ExitCode::FAILURE
        }
    }
}

async fn demo(options: &Options) -> Result<(), BoxError> {
    let profile = Service::start(profile(options)).await?;
    let orders = Service::start(orders(options)).await?;
    let recorder = Recorder::new();
    let ctx = Context::background().with_observer(recorder.clone());
    let line = dashboard(options, &ctx, profile.address, orders.address).await;
    see_off(profile, orders).await;
    draw(options, &recorder)?;
    let line = line?;
    writeln!(io::stdout(), "{line}")
        .map_err(|error| format!("cannot write the dashboard: {error}"))?;
    Ok(())
}

/// Shows what was recorded, in the ways that the options name.
fn draw(options: &Options, recorder: &Recorder) -> Result<(), BoxError> {
    if options.timeline {
        say(&recorder.timeline().with_width(TIMELINE_WIDTH).to_string());
    }
    if let Some(file) = &options.svg {
        let written = fs::write(file, recorder.to_svg());
        written.map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    if let Some(file) = &options.trace {
        let written = File::create(file).and_then(|file| recorder.write_chrome_trace(file));
        written.map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    Ok(())
}

fn profile(options: &Options) -> Script {
    let fails = options.fail == Some(Culprit::Profile);
    Script {
        name: "profile",
        answer: "Name: Alice",
        delay: options.profile_delay,
        fails,
        fail_first: options.fail_first,
        hiccup: options.hiccup,
    }
}

fn orders(options: &Options) -> Script {
    let fails = options.fail == Some(Culprit::Orders);
    Script {
        name: "orders",
        answer: "Order: 5",
        delay: options.orders_delay,
        fails,
        fail_first: options.fail_first,
        hiccup: options.hiccup,
    }
}

/// Calls both services at once, and joins their answers.
async fn dashboard(
    options: &Options,
    ctx: &Context,
    profile: SocketAddr,
    orders: SocketAddr,
) -> Result<String, failfast::Error> {
    let source = |name: &'static str, address: SocketAddr| {
        move |ctx: Context, id: u64| ask(ctx, address, format!("/{name}/{id}"))
    };
    let mut both = Aggregator::new(smol::spawn)
        .with_name("dashboard")
        .source(
            "profile",
            robust(
                options,
                Culprit::Profile,
                "Name: unknown",
                source("profile", profile),
            ),
        )
        .source(
            "orders",
            robust(
                options,
                Culprit::Orders,
                "Order: unknown",
                source("orders", orders),
            ),
        );
    if let Some(timeout) = options.timeout {
        both = both.with_timeout(timeout);
    }
    both.join(" | ").aggregate(ctx, options.id).await
}

/// Waits, though not for long, until both services have logged how their clients left.
async fn see_off(profile: Service, orders: Service) {
    let gone = async {
        future::join(profile.close(), orders.close()).await;
    };
    let impatience = async {
        Timer::after(LAST_WORDS).await;
        log::warn!(
            "a service still has a client after {}ms; leaving all the same",
            LAST_WORDS.as_millis()
        );
    };
    gone.or(impatience).await;
}

/// The error and what led to it, down to the root cause, each once.
fn explain(mut error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    while let Some(cause) = error.source() {
        let text = cause.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        error = cause;
    }
    said
}
