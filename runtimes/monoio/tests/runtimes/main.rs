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
    let suite = suite!(local, monoio::Monoio)
        .with(
            "deadline_by_the_systems_clock_wakes_no_task",
            other_threads::deadline_by_the_systems_clock_wakes_no_task,
        )
        .with(
            "deadline_by_its_own_clock_ends_the_wait",
            other_threads::deadline_by_its_own_clock_ends_the_wait,
        )
        .with(
            "clock_on_another_thread_is_an_error",
            other_threads::clock_on_another_thread_is_an_error,
        );
    conformance::main("runtime-monoio", vec![suite])
}

#[cfg(feature = "sync")]
fn main() -> ExitCode {
    let suites = vec![suite!(local, sync::Sync)];
    conformance::main("runtime-monoio --features sync", suites)
}
