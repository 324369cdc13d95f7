//! The conformance suite on monoio. Without its feature `sync` it goes by monoio's own timers, for no other thread can
//! wake its tasks then.

mod monoio;
#[cfg(not(feature = "sync"))]
mod other_threads;
#[cfg(feature = "sync")]
mod sync;

use conformance::suite;
use std::process::ExitCode;

#[cfg(not(feature = "sync"))]
fn main() -> ExitCode {
    let mut suite = suite!(local, monoio::Monoio);
    for (name, test) in other_threads::TESTS {
        suite = suite.with(name, *test);
    }
    conformance::main("runtime-monoio", vec![suite])
}

#[cfg(feature = "sync")]
fn main() -> ExitCode {
    let suites = vec![suite!(local, sync::Sync)];
    conformance::main("runtime-monoio --features sync", suites)
}
