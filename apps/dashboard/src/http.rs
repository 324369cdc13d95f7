//! HTTP/1.1 on smol for every service here: one server, one client, one form of error.

mod answer;
mod client;
mod deadline;
mod failure;
mod limits;
mod pool;
mod request_id;
mod server;
mod write_timeout;

pub use answer::{Body, Problem, json, problem, text};
pub use client::{CallError, Client, Endpoint};
pub use failure::problem_for;
pub use limits::{Limits, read_body};
pub use request_id::RequestId;
pub use server::{Call, Server, ServerHandle, Service, ShutdownOutcome};
