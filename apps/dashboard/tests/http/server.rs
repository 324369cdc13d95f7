//! The server alone, with a service that misbehaves.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::TcpStream;
use std::task::Poll;
use std::time::Duration;

use dashboard::http::{Body, Call, Limits, Server, Service, ShutdownOutcome, text};
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Response;
use hyper::body::{Bytes, Frame};

use crate::support::{Answer, WATCHDOG, eventually};

struct Panicking;

impl Service for Panicking {
    async fn answer(&self, call: Call) -> Response<Body> {
        assert!(call.request.uri().path() != "/panic", "on purpose");
        if call.request.uri().path() == "/stream" {
            let frames = stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                panic!("on purpose")
            });
            return Response::new(StreamBody::new(frames).boxed_unsync());
        }
        text("text/plain", "well")
    }
}

fn get(server: &Server, path: &str) -> Answer {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    Answer::read(&mut stream)
}

#[test]
fn a_panic_is_500_for_its_request_and_nothing_for_the_others() {
    let server = Server::start("test", 0, Limits::default(), Panicking);
    let server = smol::block_on(server).unwrap();
    for _ in 0..3 {
        assert_eq!(get(&server, "/panic").status, 500);
        assert_eq!(get(&server, "/").body, "well");
    }
    assert_eq!(
        smol::block_on(server.shutdown(WATCHDOG)),
        ShutdownOutcome::Drained
    );
}

#[test]
fn a_panic_in_a_body_closes_its_connection_and_no_other() {
    let server = Server::start("test", 0, Limits::default(), Panicking);
    let server = smol::block_on(server).unwrap();
    for _ in 0..3 {
        assert_eq!(get(&server, "/stream").body, "");
        assert_eq!(get(&server, "/").body, "well");
    }
    assert_eq!(
        smol::block_on(server.shutdown(WATCHDOG)),
        ShutdownOutcome::Drained
    );
}

#[test]
fn a_connection_leaves_nothing_in_the_group() {
    let server = Server::start("test", 0, Limits::default(), Panicking);
    let server = smol::block_on(server).unwrap();
    for _ in 0..100 {
        assert_eq!(get(&server, "/").status, 200);
    }
    eventually(
        "all are gone",
        || server.open_connections() == 0,
        || server.open_connections(),
    );
    // The listener is what stays.
    eventually(
        "so are their tasks",
        || server.snapshot().tasks().len() == 1,
        || server.snapshot().to_string(),
    );
    assert_eq!(
        smol::block_on(server.shutdown(Duration::ZERO)),
        ShutdownOutcome::Drained
    );
}
