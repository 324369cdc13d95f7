//! The conformance suite on runtimes with few dependencies. Each other file is one runtime.

mod actix;
mod async_global_executor;
mod async_global_executor_local;
mod block_on;
mod foreground;
mod pollster;

use conformance::suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    let suites = vec![
        suite!(send, async_global_executor::AsyncGlobalExecutor),
        suite!(local, async_global_executor_local::AsyncGlobalExecutorLocal),
        suite!(local, actix::Actix).with(
            "hours_of_paused_time_pass_at_once",
            actix::hours_of_paused_time_pass_at_once,
        ),
        suite!(scoped, pollster::Pollster),
        suite!(scoped, block_on::BlockOn),
        suite!(local, foreground::Foreground)
            .with("dropped_handle_cancels", foreground::dropped_handle_cancels),
    ];
    conformance::main(env!("CARGO_PKG_NAME"), suites)
}
