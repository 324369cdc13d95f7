//! The conformance suite on embassy's executor, on std.

mod full_pool;
mod run;
mod send_spawner;
mod spawner;

use conformance::suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    let suites = vec![
        suite!(local, spawner::LocalSpawner).with(
            "task_that_a_full_pool_refuses_is_lost",
            full_pool::task_that_a_full_pool_refuses_is_lost,
        ),
        suite!(send, send_spawner::AnySpawner),
    ];
    conformance::main(env!("CARGO_PKG_NAME"), suites)
}
