//! The conformance suite of failfast: written once, run on every runtime, in both flavors, and without any.
//!
//! | file | owns |
//! |---|---|
//! | `cases/…` | the cases: the kata's rows, and what of groups and contexts a runtime could spoil |
//! | `table.rs` | the list of all cases, for the macros that make tests of them |
//! | `runtime.rs` | what a runtime has to provide: how to run a scenario, how to spawn, how to sleep |
//! | `place.rs` | where tasks run: on an executor, on a thread-bound one, or in place |
//! | `send.rs`, `local.rs` | the cases over `Group` and over `LocalGroup` |
//! | `scoped.rs`, `local_scoped.rs` | and over `InPlaceGroup` and `LocalInPlaceGroup` |
//! | `tools.rs` | gates, drop counters, a logger that remembers |
//! | `harness.rs` | runs the cases of a package's runtimes, and counts them by runtime |
//! | `registry.rs` | every runtime's name, and which package runs it: what the documents' tables are checked against |
//!
//! To add a runtime, implement [`Runtime`] in one file of a package under `runtimes/`, pass its [`suite!`] to
//! [`main`](harness::main) in that package's test, and enter it in `registry.rs` and in `docs/RUNTIMES.md`.

// The cases are functions for the macros; their names and first lines state what they check.
#![allow(missing_docs, async_fn_in_trait)]

pub mod local;
pub mod local_scoped;
pub mod place;
pub mod registry;
pub mod runtime;
pub mod scoped;
pub mod send;
mod table;
pub mod tools;

#[cfg(not(target_family = "wasm"))]
pub mod harness;

#[cfg(not(target_family = "wasm"))]
pub use harness::main;
pub use place::{Executor, LocalExecutor, LocalNowhere, Nowhere, Place};
pub use runtime::{Exception, Runtime, watched};

/// The clock of the standard library, or of the web where that one panics.
mod time {
    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    pub(crate) use std::time::Instant;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    pub(crate) use web_time::Instant;
}
