//! The conformance suite on the runtimes that are dev-dependencies here, in both flavors, and without any. Those with
//! heavier dependencies are packages of their own, under `runtimes/`; the cases are in `conformance/`.
//!
//! Each other file is one runtime: how to run a scenario there, how to spawn, how to sleep.

mod async_std;
mod futures_local_pool;
mod futures_thread_pool;
mod in_place;
mod in_place_local;
mod smol_executor;
mod smol_global;
mod smol_local_executor;
mod tokio_current_thread;
mod tokio_local_set;
mod tokio_multi_thread;

use conformance::suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    let suites = vec![
        suite!(send, smol_global::SmolGlobal),
        suite!(send, smol_executor::SmolExecutor),
        suite!(local, smol_local_executor::SmolLocalExecutor),
        suite!(send, tokio_multi_thread::TokioMultiThread),
        suite!(send, tokio_current_thread::TokioCurrentThread).with(
            "hours_of_paused_time_pass_at_once",
            tokio_current_thread::hours_of_paused_time_pass_at_once,
        ),
        suite!(local, tokio_local_set::TokioLocalSet).with(
            "hours_of_paused_time_pass_at_once",
            tokio_local_set::hours_of_paused_time_pass_at_once,
        ),
        suite!(send, async_std::AsyncStd),
        suite!(send, futures_thread_pool::FuturesThreadPool),
        suite!(local, futures_local_pool::FuturesLocalPool),
        suite!(scoped, in_place::InPlace),
        suite!(local_scoped, in_place_local::InPlaceLocal),
    ];
    conformance::main(env!("CARGO_PKG_NAME"), suites)
}
