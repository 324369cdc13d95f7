//! The client side: one question, one connection, one future.

use std::net::SocketAddr;
use std::pin::pin;

use failfast::Context;
use failfast::grpc::to_grpc_timeout;
use futures::future::{self, Either};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use smol::net::TcpStream;
use smol_hyper::rt::FuturesIo;

/// Why a service gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("cannot connect to {address}")]
    Connect {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("the exchange with {address} broke off")]
    Exchange {
        address: SocketAddr,
        source: hyper::Error,
    },
    #[error("{address} answered HTTP {status}")]
    Status {
        address: SocketAddr,
        status: StatusCode,
    },
    #[error("{address} answered bytes that are not text")]
    Text {
        address: SocketAddr,
        source: std::string::FromUtf8Error,
    },
}

/// Requests `path` of the service at `address`.
///
/// The connection is driven inside this very future, by no task of its own: dropping the future closes it.
pub(crate) async fn ask(
    ctx: Context,
    address: SocketAddr,
    path: String,
) -> Result<String, AskError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|source| AskError::Connect { address, source })?;
    let (sender, connection) = http1::handshake(FuturesIo::new(stream))
        .await
        .map_err(|source| AskError::Exchange { address, source })?;
    let answer = pin!(exchange(ctx, sender, address, path));
    match future::select(answer, connection).await {
        Either::Left((answer, _)) => answer,
        // The peer hung up. The answer is either complete by now, or an error that reports it.
        Either::Right((_, answer)) => answer.await,
    }
}

async fn exchange(
    ctx: Context,
    mut sender: SendRequest<String>,
    address: SocketAddr,
    path: String,
) -> Result<String, AskError> {
    let broke_off = |source| AskError::Exchange { address, source };
    let response = sender
        .send_request(request(&ctx, address, &path))
        .await
        .map_err(broke_off)?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(AskError::Status { address, status });
    }
    let body = response.into_body().collect().await.map_err(broke_off)?;
    String::from_utf8(body.to_bytes().into()).map_err(|source| AskError::Text { address, source })
}

/// Sends the service how long its client will wait.
fn request(ctx: &Context, address: SocketAddr, path: &str) -> Request<String> {
    let request = Request::get(path).header(HOST, address.to_string());
    let request = match ctx.remaining() {
        Some(left) => request.header("grpc-timeout", to_grpc_timeout(left)),
        None => request,
    };
    request
        .body(String::new())
        .expect("a path, an address and a timeout make a valid request")
}
