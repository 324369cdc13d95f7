//! The integration tests, as one binary.

mod aggregator;
mod aggregator_in_place;
mod auto_traits;
mod clock;
mod conc;
mod context;
mod context_model;
mod each;
mod error;
mod executor;
mod found;
mod go_context;
mod go_errgroup;
mod group;
mod grpc_timeout;
mod hostile;
mod matrix;
mod model;
mod readme;
mod simulation;
mod snapshot;
mod spawn;
mod support;
mod testing;
