#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

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

/// Runs the recipes as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/recipes.md")]
mod recipes {}
