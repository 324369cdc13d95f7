//! The conformance suite on glommio, by the system's clock and by its own.

mod glommio;
mod own_clock;

use conformance::suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    let suites = [
        suite!(local, glommio::Glommio),
        suite!(local, own_clock::OwnClock),
    ];
    let suites = suites.map(|suite| match glommio::is_refused() {
        None => suite,
        Some(reason) => suite.cannot_run(reason),
    });
    conformance::main(env!("CARGO_PKG_NAME"), Vec::from(suites))
}
