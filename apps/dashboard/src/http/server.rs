//! The server: one listener, one task a connection, all in one group for as long as it runs.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use failfast::observe::Snapshot;
use failfast::{Canceller, Context, Error, Group, GroupHandle};
use futures::FutureExt as _;
use futures::future::{Either, select};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use smol::Timer;
use smol::net::{TcpListener, TcpStream};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::write_timeout::WriteTimeout;
use super::{Body, Limits, Problem, RequestId, deadline, problem, request_id};

/// How long to wait before accepting again after a failure, which is most often a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// How long connections that were cut may take to be gone.
const CUT_GRACE: Duration = Duration::from_millis(500);

const MAX_HEADERS: usize = 64;

/// What a server serves.
pub trait Service: Send + Sync + 'static {
    /// Answers one request. Dropped, and all behind it, when the client hangs up.
    fn answer(&self, call: Call) -> impl Future<Output = Response<Body>> + Send;
}

/// One request, and its lifetime.
pub struct Call {
    /// Ends at the caller's deadline or the server's, and when the server is cut.
    pub ctx: Context,
    /// The caller's, or a new one.
    pub id: RequestId,
    /// The request.
    pub request: Request<Incoming>,
    /// The server that it came to.
    pub server: ServerHandle,
}

/// A server that runs, as its service uses it.
#[derive(Clone)]
pub struct ServerHandle {
    /// Ends when the server begins to shut down: for streams that would go on.
    pub draining: Context,
    /// All its connections.
    pub group: GroupHandle<()>,
    open: Arc<AtomicUsize>,
}

impl ServerHandle {
    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownOutcome {
    /// Every connection ended by itself.
    Drained,
    /// This many were cut off when the time was up.
    Cut(usize),
}

impl ShutdownOutcome {
    fn of(left: usize) -> Self {
        match left {
            0 => Self::Drained,
            _ => Self::Cut(left),
        }
    }
}

/// A running server. Dropping it cancels all that it does.
pub struct Server {
    name: &'static str,
    address: SocketAddr,
    running: ServerHandle,
    drain: Canceller,
    end: smol::Task<Result<(), Error>>,
}

impl Server {
    /// Listens on a loopback port, or on one of the system's choice for port 0, and serves from here on.
    ///
    /// # Errors
    ///
    /// The system's, if it can't listen there.
    pub async fn start(
        name: &'static str,
        port: u16,
        limits: Limits,
        service: impl Service,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (draining, drain) = Context::background().with_cancel();
        let (group, ctx) = Group::<()>::with_context(&Context::background(), smol::spawn);
        // The listener is a task of the group as well.
        let group = group.with_limit(limits.connections.saturating_add(1));
        let running = ServerHandle {
            draining,
            group: group.handle(),
            open: Arc::default(),
        };
        let shared = Shared {
            name,
            limits,
            service,
            ctx,
            running: running.clone(),
        };
        log::debug!("{name}: http://{address}");
        Ok(Self {
            name,
            address,
            running,
            drain,
            end: Arc::new(shared).run(group, listener),
        })
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.running.open_connections()
    }

    /// What it is doing: its connections, and all that their requests have begun.
    pub fn snapshot(&self) -> Snapshot {
        self.running.group.snapshot()
    }

    /// Stops accepting, waits for the requests under way for as long as `bound`, and cuts what is left.
    pub async fn shutdown(self, bound: Duration) -> ShutdownOutcome {
        self.drain.cancel();
        let (running, mut end) = (self.running, self.end);
        let outcome = match select(&mut end, Timer::after(bound)).await {
            Either::Left(_) => ShutdownOutcome::Drained,
            Either::Right(_) => {
                let left = running.open_connections();
                running.group.stop();
                let gone = select(&mut end, Timer::after(CUT_GRACE)).await;
                if matches!(gone, Either::Right(_)) {
                    log::error!("{}: a connection blocks its thread", self.name);
                }
                ShutdownOutcome::of(left)
            }
        };
        log::debug!("{}: {outcome:?}", self.name);
        outcome
    }
}

/// What all connections of a server share.
struct Shared<S> {
    name: &'static str,
    limits: Limits,
    service: S,
    /// The group's.
    ctx: Context,
    running: ServerHandle,
}

impl<S: Service> Shared<S> {
    /// The group's wait is pending for the server's whole life, so that finished connections leave nothing in it.
    fn run(
        self: Arc<Self>,
        group: Group<()>,
        listener: TcpListener,
    ) -> smol::Task<Result<(), Error>> {
        group.spawn_named("listener", self.listen(listener));
        smol::spawn(async move { group.wait().await.map(drop) })
    }

    /// Accepts until the server drains. Never fails, because a failure would end every connection.
    async fn listen(self: Arc<Self>, listener: TcpListener) -> Result<(), Error> {
        let running = &self.running;
        let accepting = async {
            while running.group.ready().await.is_ok() {
                match listener.accept().await {
                    Ok((stream, peer)) => self.spawn_connection(stream, peer),
                    Err(error) => self.pause(error).await,
                }
            }
        };
        let _ = running.draining.run(accepting).await;
        Ok(())
    }

    fn spawn_connection(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let name = format!("{} from {peer}", self.name);
        // Refused only once the server is cut; dropping the connection closes it.
        let _ = self
            .running
            .group
            .spawn_named(name, self.clone().serve_connection(stream));
    }

    async fn pause(&self, error: io::Error) {
        log::error!("{}: can't accept: {error}", self.name);
        Timer::after(PAUSE).await;
    }

    /// Serves one connection. Always succeeds, because neither its error nor a panic may end the others.
    async fn serve_connection(self: Arc<Self>, stream: TcpStream) -> Result<(), Error> {
        let _open = Open::count(&self.running.open);
        match AssertUnwindSafe(self.exchange(stream)).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::debug!("{}: a connection broke off: {error}", self.name),
            Err(_) => log::error!("{}: a connection panicked", self.name),
        }
        Ok(())
    }

    /// Requests and answers, until the client leaves or the server has drained.
    async fn exchange(&self, stream: TcpStream) -> hyper::Result<()> {
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("{}: {error}", self.name);
        }
        let service = service_fn(|request| self.respond(request));
        let stream = WriteTimeout::new(stream, self.limits.write);
        let connection = self
            .protocol()
            .serve_connection(FuturesIo::new(stream), service);
        let mut connection = pin!(connection);
        match select(connection.as_mut(), self.running.draining.done()).await {
            Either::Left((ended, _)) => ended,
            Either::Right(_) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    }

    fn protocol(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(SmolTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(self.limits.head_size)
            .max_headers(MAX_HEADERS);
        builder
    }

    /// One request: its id, its deadline, its answer. A panic ends the request, and nothing else.
    async fn respond(&self, request: Request<Incoming>) -> Result<Response<Body>, Error> {
        let id = RequestId::of(request.headers());
        let mut response =
            match deadline::request_context(&self.ctx, request.headers(), self.limits.request) {
                Ok(ctx) => self.call(id.attach(&ctx), id.clone(), request).await,
                Err(error) => problem(StatusCode::BAD_REQUEST, &Problem::new(error.to_string())),
            };
        if let Ok(value) = HeaderValue::from_str(id.as_str()) {
            response.headers_mut().insert(request_id::HEADER, value);
        }
        Ok(response)
    }

    async fn call(
        &self,
        ctx: Context,
        id: RequestId,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let server = self.running.clone();
        let call = Call {
            ctx,
            id,
            request,
            server,
        };
        let answer = AssertUnwindSafe(async { self.service.answer(call).await }).catch_unwind();
        answer.await.unwrap_or_else(|_| {
            log::error!("{}: a request panicked", self.name);
            let text = "internal error; the log has more";
            problem(StatusCode::INTERNAL_SERVER_ERROR, &Problem::new(text))
        })
    }
}

/// One open connection, counted while this lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn count(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
