//! Fail-fast fan-out for any async runtime: Go's errgroup and context, with results, policies, and an aggregator on top.
//!
//! ```
//! use failfast::{Aggregator, Context};
//! use std::io;
//!
//! async fn profile(_ctx: Context, _user: u64) -> Result<String, io::Error> { Ok("Name: Alice".into()) }
//! async fn orders(_ctx: Context, _user: u64) -> Result<String, io::Error> { Ok("Order: 5".into()) }
//!
//! let dashboard = Aggregator::new(smol::spawn).source("profile", profile).source("orders", orders).join(" | ");
//! let line = smol::block_on(dashboard.aggregate(&Context::background(), 7))?;
//! assert_eq!(line, "Name: Alice | Order: 5");
//! # Ok::<(), failfast::Error>(())
//! ```
//!
//! Both services are called at once. If one fails, or 5 s pass, both are stopped, and the first failure is the result.
//!
//! | look at | for |
//! |---|---|
//! | [`Aggregator`] | several sources under one deadline, and one answer |
//! | [`Group`], [`LocalGroup`], [`InPlaceGroup`], [`LocalInPlaceGroup`] | tasks that stand and fall together: [`TaskGroup`](group::TaskGroup) |
//! | [`Context`], [`Canceller`] | how long a call may live, why it ended, and what travels with it |
//! | [`SourceExt`], [`policy`] | timeouts, retries, hedges, limits, breakers around a source |
//! | [`Error`], [`Cause`], [`ContextError`] | what went wrong first |
//! | [`observe`] | pictures, traces and snapshots of a run |
//! | [`clock`] | real time, a runtime's own, and virtual time for tests |
//! | [`grpc`] | deadlines that leave the machine |
//! | [`Spawn`] | what a runtime has to bring: its spawn function |
//!
//! # Features
//!
//! `tracing`, off by default: spans of groups and tasks, and events in place of log records.
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod aggregator;
mod attempt;
pub mod clock;
pub mod context;
mod error;
pub mod group;
mod json;
mod list;
pub mod observe;
pub mod policy;
mod source;
mod sync;
mod unwind;

/// Deadlines that leave the machine.
pub mod grpc {
    pub use crate::context::grpc::{GrpcTimeoutError, from_grpc_timeout, to_grpc_timeout};
}

pub use aggregator::{Aggregator, LocalAggregator};
pub use context::{Canceller, Context};
pub use error::{BoxError, Cause, ContextError, Error, ErrorKind, Name};
pub use group::{
    Ending, Fork, Group, GroupHandle, InPlaceGroup, LocalGroup, LocalInPlaceGroup, LocalTask,
    Spawn, Task,
};
pub use policy::SourceExt;
pub use source::Source;

/// Runs the front page as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod front_page {}

/// Runs the recipes as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/recipes.md")]
mod recipes {}

/// Runs the comparison with Go as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/from-go.md")]
mod from_go {}
