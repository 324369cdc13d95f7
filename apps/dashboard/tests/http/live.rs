//! Events as they happen, and the views of a page that has been recorded.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{Dashboard, eventually};

/// Reads frames until one is the end of a page.
fn frames_of_one_page(dashboard: &Dashboard, ask: impl FnOnce()) -> Vec<(String, Value)> {
    let mut stream = dashboard.connect();
    stream
        .write_all(b"GET /api/live HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    assert!(lines.any(|line| line == "retry: 1000"), "it begins at once");
    ask();
    let mut frames = Vec::new();
    let mut event = String::new();
    for line in lines {
        if let Some(name) = line.strip_prefix("event: ") {
            event = name.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            frames.push((event.clone(), serde_json::from_str(data).unwrap()));
        }
        if event == "end" && line.is_empty() {
            return frames;
        }
    }
    panic!("the stream ended: {frames:?}");
}

#[test]
fn a_watcher_sees_a_page_from_its_beginning_to_its_end() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| {
        settings.services.profile.delay_ms = 100;
        settings.services.profile.failure_percent = 100;
        settings.services.ads.hang = true;
    });
    let frames = frames_of_one_page(&dashboard, || {
        assert_eq!(dashboard.get("/api/pages/7").status, 502)
    });
    assert_eq!(frames[0].0, "page");
    assert_eq!(frames[0].1["user"], 7);
    let outcome = |name: &str| {
        let of =
            |frame: &&(String, Value)| frame.1["name"] == name && !frame.1["outcome"].is_null();
        frames
            .iter()
            .find(of)
            .map(|frame| frame.1["outcome"].clone())
    };
    assert_eq!(outcome("profile").unwrap(), "failed");
    assert_eq!(outcome("ads").unwrap(), "cancelled");
    assert_eq!(outcome("orders").unwrap(), "succeeded");
    let last = &frames.last().unwrap().1;
    assert_eq!(last["status"], 502);
}

#[test]
fn a_watcher_sees_each_attempt() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| {
        settings.policies.retry = true;
        settings.services.profile.failure_percent = 100;
    });
    let frames = frames_of_one_page(&dashboard, || {
        assert_eq!(dashboard.get("/api/pages/7").status, 502)
    });
    // Profile is the first task.
    let attempts = frames
        .iter()
        .filter(|(event, data)| event == "attempt" && data["task"] == 0);
    let seen: Vec<_> = attempts
        .map(|(_, data)| (data["number"].clone(), data["outcome"].clone()))
        .collect();
    let expected = [1, 2, 3].map(|number| {
        [
            (json!(number), Value::Null),
            (json!(number), json!("failed")),
        ]
    });
    assert_eq!(seen, expected.concat());
}

#[test]
fn a_watcher_is_told_that_a_reader_has_left() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| settings.services.profile.hang = true);
    let frames = frames_of_one_page(&dashboard, || {
        let reader = dashboard.ask(7);
        dashboard.until("it is under way", |seen| seen.profile.in_flight == 1);
        drop(reader);
    });
    assert_eq!(frames.last().unwrap().1["status"], 499);
}

/// A connection that has requested the events, and the status that it got.
fn watch(dashboard: &Dashboard) -> (TcpStream, String) {
    let mut stream = dashboard.connect();
    stream
        .write_all(b"GET /api/live HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut status = String::new();
    BufReader::new(&stream).read_line(&mut status).unwrap();
    (stream, status)
}

#[test]
fn watchers_that_do_not_read_leave_connections_for_the_pages() {
    let dashboard = Dashboard::start();
    let watchers: Vec<_> = (0..256).map(|_| watch(&dashboard)).collect();
    let admitted = |(_, status): &&(_, String)| status.contains("200");
    assert_eq!(watchers.iter().filter(admitted).count(), 128);
    assert!(
        watchers[128..]
            .iter()
            .all(|(_, status)| status.contains("503"))
    );
    assert_eq!(dashboard.get("/api/pages/7").status, 200);
}

#[test]
fn watchers_that_left_make_room_for_others_without_a_page() {
    let dashboard = Dashboard::start();
    for _ in 0..3 {
        let watchers: Vec<_> = (0..128).map(|_| watch(&dashboard)).collect();
        assert!(watchers.iter().all(|(_, status)| status.contains("200")));
        drop(watchers);
        eventually(
            "all are gone",
            || dashboard.app().open_connections().0 == 0,
            || dashboard.app().open_connections(),
        );
    }
}

#[test]
fn a_watcher_does_not_hold_up_the_shutdown() {
    let dashboard = Dashboard::start();
    let mut stream = dashboard.connect();
    stream
        .write_all(b"GET /api/live HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut lines = BufReader::new(&stream).lines().map(|line| line.unwrap());
    assert!(lines.any(|line| line == "retry: 1000"));
    assert_eq!(
        dashboard.shutdown(crate::support::WATCHDOG),
        dashboard::http::ShutdownOutcome::Drained
    );
}

#[test]
fn a_page_that_was_recorded_has_a_trace_a_picture_and_a_text() {
    let dashboard = Dashboard::start();
    assert_eq!(
        dashboard
            .get_with("/api/pages/7", "x-request-id: seen\r\n")
            .status,
        200
    );
    let trace = dashboard.get("/api/recent/seen/trace.json").json();
    assert!(trace["traceEvents"].as_array().unwrap().len() > 8);
    let picture = dashboard.get("/api/recent/seen/picture.svg");
    assert_eq!(picture.header("content-type"), Some("image/svg+xml"));
    assert!(picture.body.starts_with("<svg"));
    assert!(
        dashboard
            .get("/api/recent/seen/timeline.txt")
            .body
            .contains("recommendations")
    );
    assert_eq!(dashboard.get("/api/recent/seen/other").status, 404);
    assert_eq!(dashboard.get("/api/recent/unseen/trace.json").status, 404);
}

#[test]
fn the_last_64_pages_are_kept() {
    let dashboard = Dashboard::start();
    for number in 0..65 {
        let id = format!("x-request-id: page-{number}\r\n");
        assert_eq!(dashboard.get_with("/api/pages/7", &id).status, 200);
    }
    assert_eq!(dashboard.get("/api/recent/page-0/timeline.txt").status, 404);
    for kept in [1, 64] {
        assert_eq!(
            dashboard
                .get(&format!("/api/recent/page-{kept}/timeline.txt"))
                .status,
            200
        );
    }
}

#[test]
fn the_tree_shows_the_page_below_its_connection() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| settings.services.profile.hang = true);
    let _reader = dashboard.ask(7);
    dashboard.until("it is under way", |seen| seen.profile.in_flight == 1);
    let text = dashboard.get("/api/tree").body;
    assert!(
        text.contains("listener: running") && text.contains("profile: running"),
        "{text}"
    );
    let json = dashboard.get("/api/tree.json").json().to_string();
    assert!(
        json.contains("listener") && json.contains("profile"),
        "{json}"
    );
}
