//! The conformance suite on compio, by the system's clock and by its own.

mod compio;
mod own_clock;

use conformance::suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    let suites = vec![
        suite!(local, compio::Compio),
        suite!(local, own_clock::OwnClock),
    ];
    conformance::main(env!("CARGO_PKG_NAME"), suites)
}
