//! The conformance suite on bevy's task pools: with threads, or, without the feature, on the thread that ticks them.

#[cfg(feature = "multi_threaded")]
mod multi_threaded;
#[cfg(not(feature = "multi_threaded"))]
mod single_threaded;

use conformance::suite;
use std::process::ExitCode;

#[cfg(feature = "multi_threaded")]
fn main() -> ExitCode {
    let suites = vec![suite!(send, multi_threaded::MultiThreaded)];
    conformance::main("runtime-bevy --features multi_threaded", suites)
}

#[cfg(not(feature = "multi_threaded"))]
fn main() -> ExitCode {
    let suites = vec![suite!(send, single_threaded::SingleThreaded)];
    conformance::main("runtime-bevy", suites)
}
