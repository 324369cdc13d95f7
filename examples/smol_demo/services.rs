//! The services behind the dashboard: HTTP/1.1, each with its own listener on a loopback port of
//! the system's choice.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use failfast::grpc::{GrpcTimeoutError, from_grpc_timeout};
use failfast::{Context, ContextError};
use futures::{Stream, StreamExt as _, stream};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use smol::Timer;
use smol::future::FutureExt as _;
use smol::net::{TcpListener, TcpStream};
use smol_hyper::rt::FuturesIo;

const MAX_CLIENTS: usize = 64;
/// How long a client whose deadline has passed may take to hang up by itself.
const ALLOWANCE: Duration = Duration::from_millis(200);

/// The name of a service, and how it treats its clients.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) answer: &'static str,
    pub(crate) delay: Duration,
    pub(crate) fails: bool,
    /// How many requests fail before it recovers.
    pub(crate) fail_first: u64,
    /// How much longer every other request takes, beginning with the first.
    pub(crate) hiccup: Duration,
}

/// A running service; it ends when this is dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    open: Sender<Infallible>,
    serving: smol::Task<()>,
}

impl Service {
    /// Listens from here on; the system picks the port.
    pub(crate) async fn start(script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let name = script.name;
        log::info!("{name}: listening on http://{address}");
        let (open, closing) = async_channel::bounded(1);
        let serving = smol::spawn(serve(script, listener, closing));
        Ok(Self {
            address,
            open,
            serving,
        })
    }

    /// Closes the door, and returns when the last client has gone and the service has logged it.
    pub(crate) async fn close(self) {
        drop(self.open);
        self.serving.await;
    }
}

/// One task holds the listener and every connection: nothing of the service outlives it.
async fn serve(script: Script, listener: TcpListener, closing: Receiver<Infallible>) {
    let asked = AtomicU64::new(0);
    let visits =
        clients(&listener, &closing).map(|client| Visit::new(&script, &asked).attend(client));
    if visits.buffer_unordered(MAX_CLIENTS).count().await == 0 {
        log::info!("{}: no request came", script.name);
    }
}

/// Accepts every connection that comes before closing time; those still in the backlog by then are served, too.
fn clients(
    listener: &TcpListener,
    closing: &Receiver<Infallible>,
) -> impl Stream<Item = TcpStream> {
    stream::unfold((), move |()| async move {
        let closed = async {
            let _ = closing.recv().await;
            None
        };
        let client = next_client(listener).or(closed).await?;
        Some((client, ()))
    })
}

async fn next_client(listener: &TcpListener) -> Option<TcpStream> {
    let accepted = listener.accept().await;
    accepted
        .inspect_err(|error| log::error!("cannot accept a client: {error}"))
        .ok()
        .map(|(client, _)| client)
}

/// One client, from its connection to its leaving.
struct Visit<'a> {
    script: &'a Script,
    /// How often the service has been called.
    asked: &'a AtomicU64,
    since: Instant,
    answered: AtomicBool,
}

impl<'a> Visit<'a> {
    fn new(script: &'a Script, asked: &'a AtomicU64) -> Self {
        Self {
            script,
            asked,
            since: Instant::now(),
            answered: AtomicBool::new(false),
        }
    }

    async fn attend(self, client: TcpStream) {
        let service = service_fn(|request| self.answer(request));
        // Hyper reads on while an answer is pending: if the client hangs up, the pending answer is
        // dropped there and then.
        let outcome = http1::Builder::new()
            .serve_connection(FuturesIo::new(client), service)
            .await;
        let answered = self.answered.load(Ordering::Relaxed);
        match outcome {
            Err(error) if error.is_user() => {} // the deadline passed: that has been logged
            _ if !answered => self.log_client_gone(),
            Err(error) => log::warn!("{}: the answer may be lost: {error}", self.script.name),
            Ok(()) => {}
        }
    }

    fn log_client_gone(&self) {
        let (name, elapsed) = (self.script.name, self.elapsed());
        log::warn!("{name}: client gone after {elapsed}, before the answer");
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<String>, ContextError> {
        let name = self.script.name;
        log::info!("{name}: request for {}", request.uri().path());
        let (status, body) = match lifetime(&request) {
            Ok(ctx) => self.work(&ctx).await?,
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
        };
        self.answered.store(true, Ordering::Relaxed);
        log::info!("{name}: answered {status} after {}", self.elapsed());
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }

    /// The answer; or none, once the caller has no use for it any more.
    async fn work(&self, ctx: &Context) -> Result<(StatusCode, String), ContextError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let hiccup = match number % 2 {
            0 => self.script.hiccup,
            _ => Duration::ZERO,
        };
        if let Err(late) = ctx.sleep(self.script.delay + hiccup).await {
            let (name, elapsed) = (self.script.name, self.elapsed());
            log::warn!("{name}: deadline passed after {elapsed}");
            Timer::after(ALLOWANCE).await; // the client that set the deadline is about to hang up
            return Err(late);
        }
        if self.script.fails || number < self.script.fail_first {
            return Ok((StatusCode::INTERNAL_SERVER_ERROR, String::new()));
        }
        Ok((StatusCode::OK, self.script.answer.to_owned()))
    }

    fn elapsed(&self) -> String {
        format!("{}ms", self.since.elapsed().as_millis())
    }
}

/// The lifetime the caller granted: no longer than its own.
fn lifetime(request: &Request<Incoming>) -> Result<Context, GrpcTimeoutError> {
    let Some(timeout) = request.headers().get("grpc-timeout") else {
        return Ok(Context::background());
    };
    let timeout = from_grpc_timeout(&String::from_utf8_lossy(timeout.as_bytes()))?;
    Ok(Context::background().with_timeout(timeout))
}
