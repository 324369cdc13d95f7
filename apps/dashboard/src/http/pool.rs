//! Connections that are kept for the next request.
//!
//! A connection is driven inside the request that uses it, not by a task of its own. So dropping a request closes its
//! connection at once, which the service notices, and an idle connection costs no wake-up.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use failfast::BoxError;
use futures::future::{Either, select};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use smol::future::poll_once;
use smol::net::TcpStream;
use smol_hyper::rt::FuturesIo;

/// How many idle connections are kept for each service.
const KEPT: usize = 64;

/// How long one is kept: shorter than a server keeps it, so that the server is rarely the one that closes it.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// The bodies of this client's requests.
pub(super) type Nothing = Empty<Bytes>;

/// The idle connections, by service.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
}

struct Idle {
    connection: PooledConnection,
    since: Instant,
}

impl Pool {
    /// A connection that was open a moment ago, if one is kept.
    pub(super) async fn take(&self, address: SocketAddr) -> Option<PooledConnection> {
        while let Some(idle) = self.pop(address) {
            let mut connection = idle.connection;
            if idle.since.elapsed() < KEPT_FOR && connection.is_open().await {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request, unless it is closed or there are enough.
    pub(super) async fn put(&self, address: SocketAddr, mut connection: PooledConnection) {
        if connection.is_open().await {
            let since = Instant::now();
            self.push(address, Idle { connection, since });
        }
    }

    /// How many connections are kept.
    pub(super) fn len(&self) -> usize {
        self.idle().values().map(Vec::len).sum()
    }

    /// Closes all that are kept.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.idle());
        drop(all); // outside of the lock
    }

    /// The one used last, because the others may then grow old.
    fn pop(&self, address: SocketAddr) -> Option<Idle> {
        self.idle().get_mut(&address)?.pop()
    }

    fn push(&self, address: SocketAddr, idle: Idle) {
        let mut all = self.idle();
        let kept = all.entry(address).or_default();
        let old = kept
            .iter()
            .take_while(|idle| idle.since.elapsed() >= KEPT_FOR);
        let old = old.count();
        let closed: Vec<_> = kept.drain(..old).collect();
        let over = (kept.len() >= KEPT).then(|| kept.remove(0));
        kept.push(idle);
        drop(all);
        drop((closed, over)); // sockets are closed outside of the lock
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<SocketAddr, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection to a service.
pub(super) struct PooledConnection {
    sender: SendRequest<Nothing>,
    connection: Connection<FuturesIo<TcpStream>, Nothing>,
    ended: bool,
}

impl PooledConnection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let handshake = http1::handshake(FuturesIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        Ok(Self {
            sender,
            connection,
            ended: false,
        })
    }

    /// Sends a request and reads the answer, of at most `most` bytes.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Nothing>,
        most: usize,
    ) -> Result<Response<Bytes>, Broken> {
        let exchange = pin!(exchange(&mut self.sender, request, most));
        match select(exchange, &mut self.connection).await {
            Either::Left((answer, _)) => answer,
            // The service hung up. The answer is complete by now, or an error that reports it.
            Either::Right((_, exchange)) => {
                self.ended = true;
                exchange.await
            }
        }
    }

    /// Whether the service has not closed it, as far as the system has noticed by now.
    async fn is_open(&mut self) -> bool {
        self.ended = self.ended || poll_once(&mut self.connection).await.is_some();
        !self.ended && !self.sender.is_closed()
    }
}

/// Why an exchange broke off.
pub(super) struct Broken {
    pub(super) error: BoxError,
    /// The request, if not a byte of it was sent: it is safe to send it again.
    pub(super) unsent: Option<Request<Nothing>>,
}

impl<E: Into<BoxError>> From<E> for Broken {
    fn from(error: E) -> Self {
        let error = error.into();
        Self {
            error,
            unsent: None,
        }
    }
}

async fn exchange(
    sender: &mut SendRequest<Nothing>,
    request: Request<Nothing>,
    most: usize,
) -> Result<Response<Bytes>, Broken> {
    let answer = sender.try_send_request(request).await;
    let answer = answer.map_err(|mut refused| Broken {
        unsent: refused.take_message(),
        error: refused.into_error().into(),
    })?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, most).collect().await?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
