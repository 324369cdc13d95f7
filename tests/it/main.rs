//! The integration tests, as one binary.

mod clock;
mod context;
mod grpc_timeout;
mod support;
