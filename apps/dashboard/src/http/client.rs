//! The client that all sources share. What goes wrong has a type.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use failfast::{BoxError, Context, ContextError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Request, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::pool::{Broken, Nothing, Pool, PooledConnection};
use super::{Problem, RequestId, deadline, request_id};

/// The largest answer that is read, in bytes.
const LARGEST: usize = 256 * 1024;

/// A service, and where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, for errors.
    pub service: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Why a service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 429: it is busy, or this caller sends too many requests.
    #[error("too many requests")]
    TooMany {
        /// When it may be called again, if its answer has that.
        retry_after: Option<Duration>,
    },
    /// 504: it gave up, because something behind it did not answer in time.
    #[error("{0}")]
    Late(String, Vec<String>),
    /// Any other status.
    #[error("HTTP {status}: {text}")]
    Status {
        /// What it answered.
        status: StatusCode,
        /// The body of its refusal.
        text: String,
    },
    /// There is nothing at its address.
    #[error("can't connect to {address}")]
    Connect {
        /// Where it should listen.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke off, or what came is not HTTP.
    #[error("the connection to {address} broke off")]
    Broken {
        /// Where it listens.
        address: SocketAddr,
        /// Where it broke.
        source: BoxError,
    },
    /// It answered, but not what it should have.
    #[error("{address} answered what can't be read")]
    Unreadable {
        /// Where it listens.
        address: SocketAddr,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The caller's context ended first.
    #[error(transparent)]
    Ended(#[from] ContextError),
}

impl CallError {
    /// Whether the same request may well succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.is_server_error(),
            Self::TooMany { .. } | Self::Connect { .. } | Self::Broken { .. } => true,
            Self::NotFound(_) | Self::Late(..) | Self::Unreadable { .. } | Self::Ended(_) => false,
        }
    }

    /// Whether it means that the service is in trouble, and not that the request was wrong.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Late(..) | Self::Unreadable { .. }) || self.is_transient()
    }
}

/// An HTTP client with keep-alive.
#[derive(Default)]
pub struct Client {
    pool: Pool,
}

impl Client {
    /// Requests `path` of a service, and reads its JSON answer. The request carries its id, and how long the caller
    /// waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes its connection, so the service finds that its client has gone and cancels its own
    /// work.
    ///
    /// # Errors
    ///
    /// Every variant of [`CallError`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        endpoint: Endpoint,
        path: &str,
    ) -> Result<T, CallError> {
        let request = request(ctx, endpoint, path);
        let answer = ctx.run(self.send(endpoint.address, request)).await??;
        read(endpoint, &answer)
    }

    /// A source that requests `/{service}/{key}` of a service.
    pub fn source<K, T>(
        self: &Arc<Self>,
        endpoint: Endpoint,
    ) -> impl Fn(Context, K) -> BoxFuture<'static, Result<T, CallError>> + Clone + use<K, T>
    where
        K: Display,
        T: DeserializeOwned + 'static,
    {
        let client = self.clone();
        move |ctx, key| {
            let (client, path) = (client.clone(), format!("/{}/{key}", endpoint.service));
            async move { client.get(&ctx, endpoint, &path).await }.boxed()
        }
    }

    /// How many connections are kept for later.
    pub fn idle_connections(&self) -> usize {
        self.pool.len()
    }

    /// Closes the connections that are kept for later.
    pub fn close_idle(&self) {
        self.pool.clear();
    }

    async fn send(
        &self,
        address: SocketAddr,
        mut request: Request<Nothing>,
    ) -> Result<Response<Bytes>, CallError> {
        while let Some(mut connection) = self.pool.take(address).await {
            match connection.exchange(request, LARGEST).await {
                Ok(answer) => return Ok(self.keep(address, connection, answer).await),
                // The service closed it just now, before it got the request.
                Err(Broken {
                    unsent: Some(same), ..
                }) => request = same,
                Err(Broken { error: source, .. }) => {
                    return Err(CallError::Broken { address, source });
                }
            }
        }
        let mut connection = PooledConnection::open(address)
            .await
            .map_err(|source| CallError::Connect { address, source })?;
        match connection.exchange(request, LARGEST).await {
            Ok(answer) => Ok(self.keep(address, connection, answer).await),
            Err(Broken { error: source, .. }) => Err(CallError::Broken { address, source }),
        }
    }

    async fn keep(
        &self,
        address: SocketAddr,
        connection: PooledConnection,
        answer: Response<Bytes>,
    ) -> Response<Bytes> {
        self.pool.put(address, connection).await;
        answer
    }
}

fn request(ctx: &Context, endpoint: Endpoint, path: &str) -> Request<Nothing> {
    let mut request = Request::get(path)
        .header(HOST, endpoint.address.to_string())
        .body(Nothing::new())
        .expect("paths here are made of names and numbers");
    deadline::propagate(ctx, request.headers_mut());
    if let Some(id) = ctx.value::<RequestId>() {
        let value = HeaderValue::from_str(id.as_str()).expect("an id is checked when it is read");
        request.headers_mut().insert(request_id::HEADER, value);
    }
    request
}

fn read<T: DeserializeOwned>(endpoint: Endpoint, answer: &Response<Bytes>) -> Result<T, CallError> {
    let status = answer.status();
    if status != StatusCode::OK {
        return Err(refusal(status, answer));
    }
    serde_json::from_slice(answer.body()).map_err(|source| CallError::Unreadable {
        address: endpoint.address,
        source,
    })
}

fn refusal(status: StatusCode, answer: &Response<Bytes>) -> CallError {
    // A proxy in between, for example, answers with something else.
    let problem = serde_json::from_slice(answer.body())
        .unwrap_or_else(|_| Problem::new(status.canonical_reason().unwrap_or("no reason given")));
    match status {
        StatusCode::NOT_FOUND => CallError::NotFound(problem.error),
        StatusCode::TOO_MANY_REQUESTS => CallError::TooMany {
            retry_after: retry_after(answer.headers()),
        },
        StatusCode::GATEWAY_TIMEOUT => CallError::Late(problem.error, problem.late),
        _ => CallError::Status {
            status,
            text: problem.error,
        },
    }
}

/// In seconds. A date, which the header may hold as well, is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
