//! A dashboard that runs for one test, and a client that can send anything.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dashboard::app::{App, Config};
use dashboard::front::Settings;
use dashboard::http::ShutdownOutcome;
use dashboard::upstream::{Behavior, Counted, PerService};
use serde_json::Value;

/// No test waits for longer: a hang is a failure.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(30);

/// A running dashboard.
pub(crate) struct Dashboard {
    app: App,
    pub(crate) address: SocketAddr,
}

impl Dashboard {
    /// One in which all services answer at once, and all policies are off.
    pub(crate) fn start() -> Self {
        let dashboard = Self::start_with(Config::default());
        dashboard.set(&plain_settings());
        dashboard
    }

    /// One as it comes, with these options.
    pub(crate) fn start_with(config: Config) -> Self {
        let app = smol::block_on(App::start(config)).unwrap();
        let address = app.url().trim_start_matches("http://").parse().unwrap();
        Self { app, address }
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn set(&self, settings: &Settings) {
        let body = serde_json::to_string(settings).unwrap();
        let answer = self.send(format!(
            "PUT /api/settings HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Changes the settings that all start from.
    pub(crate) fn set_with(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = plain_settings();
        change(&mut settings);
        self.set(&settings);
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    /// With more headers, each ended by CRLF.
    pub(crate) fn get_with(&self, path: &str, headers: &str) -> Answer {
        self.send(format!(
            "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n"
        ))
    }

    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> Answer {
        send_to(self.address, bytes)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect_to(self.address)
    }

    /// A connection on which a request for a page was sent, and no more.
    pub(crate) fn ask(&self, user: u64) -> TcpStream {
        let mut stream = self.connect();
        let request =
            format!("GET /api/pages/{user} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    pub(crate) fn counts(&self) -> PerService<Counted> {
        self.app.controls().counts()
    }

    /// Waits until what the services have seen is so.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&PerService<Counted>) -> bool) {
        eventually(what, || is_so(&self.counts()), || self.counts());
    }

    /// Waits until the front's figures are so.
    pub(crate) fn until_stats(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        eventually(
            what,
            || is_so(&self.get("/api/stats").json()),
            || self.get("/api/stats").body,
        );
    }

    pub(crate) fn shutdown(self, bound: Duration) -> ShutdownOutcome {
        smol::block_on(self.app.shutdown(bound))
    }
}

/// Sends bytes on a connection of their own, and reads until the server closes it.
pub(crate) fn send_to(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut stream = connect_to(address);
    // The server may answer and close before it has read all.
    let _ = stream.write_all(bytes.as_ref());
    Answer::read(&mut stream)
}

fn connect_to(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    stream
}

/// Waits until it is so, or fails with what was seen instead.
pub(crate) fn eventually<D: std::fmt::Debug>(
    what: &str,
    is_so: impl Fn() -> bool,
    seen: impl Fn() -> D,
) {
    let since = Instant::now();
    while !is_so() {
        assert!(
            since.elapsed() < WATCHDOG,
            "not so after {WATCHDOG:?}: {what}; but {:?}",
            seen()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Services that answer at once; a page without any policy but a long timeout.
pub(crate) fn plain_settings() -> Settings {
    let mut settings = Settings {
        services: PerService::default().map(|(): ()| Behavior::default()),
        ..Settings::default()
    };
    settings.policies.timeout_ms = 10_000;
    settings.policies.retry = false;
    settings.policies.hedge = false;
    settings.policies.optional = false;
    settings
}

/// One HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 if the connection was closed without one.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Reads until the end of the connection.
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A reset after the answer is what closing with unread bytes looks like.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Self {
            status: status.unwrap_or(0),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
