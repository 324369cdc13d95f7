//! The conformance suite on glib's main context.

mod main_context;
mod main_context_local;

use conformance::suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    let suites = vec![
        suite!(send, main_context::Spawn),
        suite!(local, main_context_local::SpawnLocal),
    ];
    conformance::main(env!("CARGO_PKG_NAME"), suites)
}
