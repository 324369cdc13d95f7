//! As much of a WebDriver client as these tests need: https://www.w3.org/TR/webdriver2/.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{WATCHDOG, eventually};

/// What `chromedriver` prints once it listens.
const STARTED: &str = "started successfully on port ";

/// The key that submits, as WebDriver writes it.
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const SPACE: &str = " ";

/// A browser of its own for one test.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    pub(crate) fn open(url: &str) -> Self {
        let (driver, port) = start_driver();
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
        };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,1180",
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.send("POST", "/session", &capabilities);
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        browser.go(url);
        browser
    }

    pub(crate) fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Runs a script in the page, and returns what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text of the element, as it is shown.
    pub(crate) fn text(&self, selector: &str) -> String {
        let text = self.run(&format!(
            "return document.querySelector({selector:?})?.innerText ?? ''"
        ));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// What an element's `data-state` is.
    pub(crate) fn state(&self, selector: &str) -> String {
        let state = self.run(&format!(
            "return document.querySelector({selector:?})?.dataset.state ?? ''"
        ));
        state.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a script returns true.
    pub(crate) fn until(&self, script: &str) {
        let body = || self.text("main");
        eventually(script, || self.run(script) == json!(true), body);
    }

    /// Clicks an element once nothing lies over it and it does not move.
    pub(crate) fn click(&self, selector: &str) {
        let element = self.find(selector);
        let path = self.path(&format!("/element/{element}/click"));
        let click = || exchange(self.port, "POST", &path, &json!({}))["value"].clone();
        let refused = RefCell::new(Value::Null);
        let is_clicked = || {
            *refused.borrow_mut() = click();
            refused.borrow().is_null()
        };
        eventually(selector, is_clicked, || refused.borrow().clone());
    }

    /// Replaces what an input holds, as a person would, and leaves it.
    pub(crate) fn fill(&self, selector: &str, value: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/clear"), &json!({}));
        self.post(
            &format!("/element/{element}/value"),
            &json!({"text": format!("{value}{TAB}")}),
        );
    }

    /// Sends keys to whatever has the focus.
    pub(crate) fn press(&self, keys: &str) {
        let active = self.send("GET", &self.path("/element/active"), &Value::Null);
        let element = reference(&active);
        self.post(
            &format!("/element/{element}/value"),
            &json!({ "text": keys }),
        );
    }

    /// A command of Chromium's own.
    pub(crate) fn command(&self, command: &str, params: Value) {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": params}),
        );
    }

    /// Closes this tab, and goes to a new, empty one.
    pub(crate) fn close_tab(&self) {
        let new = self.post("/window/new", &json!({"type": "tab"}));
        self.send("DELETE", &self.path("/window"), &Value::Null);
        self.post("/window", &json!({"handle": new["handle"]}));
    }

    /// What the page complained of.
    pub(crate) fn complaints(&self) -> Vec<Value> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        log.as_array().unwrap().clone()
    }

    /// Keeps a picture of all of the page.
    pub(crate) fn screenshot(&self, name: &str) {
        let shot = self.post(
            "/goog/cdp/execute",
            &json!({"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": true}}),
        );
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
        std::fs::create_dir_all(&directory).unwrap();
        let bytes = base64(shot["data"].as_str().unwrap());
        std::fs::write(directory.join(format!("{name}.png")), bytes).unwrap();
    }

    fn find(&self, selector: &str) -> String {
        let found = self.post(
            "/element",
            &json!({"using": "css selector", "value": selector}),
        );
        reference(&found)
    }

    fn path(&self, path: &str) -> String {
        format!("/session/{}{path}", self.session)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.send("POST", &self.path(path), body)
    }

    /// One command; the value of its answer.
    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = exchange(self.port, method, path, body);
        let value = answer["value"].clone();
        assert!(
            value.get("error").is_none(),
            "{method} {path} {body}: {value}"
        );
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            exchange(self.port, "DELETE", &self.path(""), &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn start_driver() -> (Child, u16) {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "can't start chromedriver ({error}): apt-get install -y chromium chromium-driver"
            )
        });
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once(STARTED)?;
        port.trim_end_matches('.').parse().ok()
    });
    (driver, port.expect("chromedriver ended before it listened"))
}

/// The one field of an element's reference.
fn reference(element: &Value) -> String {
    let fields = element.as_object().unwrap();
    fields.values().next().unwrap().as_str().unwrap().to_owned()
}

fn exchange(port: u16, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = Vec::new();
    read_answer(&mut stream, &mut answer);
    let text = String::from_utf8(answer).unwrap();
    let (_, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer to {method} {path}: {text}"));
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Until the length that it announces, because chromedriver keeps the connection.
fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) {
    let mut buffer = [0; 64 * 1024];
    while !is_whole(answer) {
        let read = stream.read(&mut buffer).unwrap();
        if read == 0 {
            return;
        }
        answer.extend_from_slice(&buffer[..read]);
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    length.is_some_and(|length: usize| answer.len() >= end + 4 + length)
}

/// Decodes base64.
fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b'=')
        .map(value)
        .collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = four
            .iter()
            .fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit));
        let bits = bits << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}
