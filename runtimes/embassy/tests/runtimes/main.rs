//! The conformance suite on embassy's executor, on std.

mod full_pool;
mod full_queue;
mod run;
mod send_spawner;
mod spawner;

use conformance::suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    let suites = vec![
        suite!(local, spawner::LocalSpawner)
            .with(
                "task_that_a_full_pool_refuses_is_lost",
                full_pool::task_that_a_full_pool_refuses_is_lost,
            )
            .with(
                "more_deadlines_than_the_queue_holds",
                full_queue::more_deadlines_than_the_queue_holds,
            ),
        suite!(send, send_spawner::AnySpawner),
    ];
    conformance::main(env!("CARGO_PKG_NAME"), suites)
}
