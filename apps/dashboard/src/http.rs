//! HTTP/1.1 on smol, as every service here speaks it: one server, one client, one form of error.

mod answer;
mod client;
mod lifetime;
mod limits;
mod pool;
mod refusal;
mod request_id;
mod server;

pub use answer::{Body, Problem, json, problem, text};
pub use client::{CallError, Client, Endpoint};
pub use limits::{Limits, read_body};
pub use refusal::refusal;
pub use request_id::RequestId;
pub use server::{Call, Farewell, Running, Server, Service};
