#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod aggregator;
mod clock;
mod context;
mod error;
mod group;
mod guard;
mod slot;
mod source;
mod spawn;
mod sync;

pub use aggregator::{
    Aggregator, Append, AsIs, Combine, Combined, Displayed, Host, InCaller, Joined,
    LocalAggregator, LogFields, Many, Named, OnExecutor, Sources, TaskAggregator,
};
pub use clock::{Clock, ManualClock, Sleep, SystemClock, TimerError};
pub use context::{
    Canceller, Context, Done, GrpcTimeoutError, OnDone, from_grpc_timeout, to_grpc_timeout,
};
pub use error::{BoxError, Cause, ContextError, Error, Failure, Name, Names, Others, Panic};
pub use group::{
    Ending, Group, GroupHandle, InPlace, LocalGroup, Snapshot, TaskGroup, TaskSnapshot, TaskState,
};
pub use source::Source;
pub use spawn::{Flavour, LocalTask, Spawn, Task};
