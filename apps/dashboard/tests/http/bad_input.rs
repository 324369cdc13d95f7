//! What can come in through a socket: each gets a clear answer, and no other reader is harmed.

use std::io::Write as _;
use std::time::Duration;

use dashboard::app::Config;
use dashboard::http::Limits;

use crate::support::{Answer, Dashboard, WATCHDOG, eventually, plain_settings};

/// Limits that a test can wait for.
fn impatient() -> Dashboard {
    let limits = Limits {
        head: Duration::from_millis(100),
        body: Duration::from_millis(100),
        ..Limits::default()
    };
    let dashboard = Dashboard::start_with(Config {
        limits,
        ..Config::default()
    });
    dashboard.set(&plain_settings());
    dashboard
}

/// Another reader is served while `rude` is connected, and after.
fn harms_no_other(dashboard: &Dashboard, rude: impl FnOnce(&Dashboard) -> Answer) -> Answer {
    let other = dashboard.ask(7);
    let answer = rude(dashboard);
    for mut reader in [other, dashboard.ask(7)] {
        assert_eq!(Answer::read(&mut reader).status, 200);
    }
    answer
}

#[test]
fn garbage_on_the_socket_is_400() {
    let dashboard = Dashboard::start();
    let garbage: Vec<u8> = (0..512)
        .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for bytes in [
        &garbage[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELO there\r\n\r\n",
    ] {
        let answer = harms_no_other(&dashboard, |dashboard| dashboard.send(bytes));
        assert_eq!(answer.status, 400, "{answer:?}");
    }
}

#[test]
fn a_head_that_is_too_large_is_431() {
    let dashboard = Dashboard::start();
    let header = format!("x-large: {}\r\n", "a".repeat(20_000));
    let answer = harms_no_other(&dashboard, |dashboard| {
        dashboard.get_with("/api/pages/7", &header)
    });
    assert_eq!(answer.status, 431, "{answer:?}");
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = harms_no_other(&dashboard, |dashboard| {
        dashboard.get_with("/api/pages/7", &many)
    });
    assert_eq!(answer.status, 431, "{answer:?}");
}

#[test]
fn a_malformed_deadline_is_400_and_says_what_one_looks_like() {
    let dashboard = Dashboard::start();
    for value in ["soon", "1", "-5m", "999999999n", "1m 2m", "\u{e9}"] {
        let header = format!("grpc-timeout: {value}\r\n");
        let answer = harms_no_other(&dashboard, |dashboard| {
            dashboard.get_with("/api/pages/7", &header)
        });
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains("is no grpc-timeout"), "{answer:?}");
    }
}

#[test]
fn a_malformed_user_is_400_and_an_unknown_user_or_path_404() {
    let dashboard = Dashboard::start();
    for user in ["seven", "-1", "7.0", "18446744073709551616", "%37", "7%00"] {
        assert_eq!(
            dashboard.get(&format!("/api/pages/{user}")).status,
            400,
            "{user}"
        );
    }
    for user in [u64::MAX - 1, u64::MAX] {
        let answer = dashboard.get(&format!("/api/pages/{user}"));
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    for path in [
        "/api/pages",
        "/api/pages/",
        "/api/pages/7/8",
        "/../Cargo.toml",
        "/nothing",
    ] {
        assert_eq!(dashboard.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_method_that_is_not_allowed_is_405_and_says_which_are() {
    let dashboard = Dashboard::start();
    let answer =
        dashboard.send("DELETE /api/settings HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("get, put"))
    );
}

#[test]
fn a_body_that_never_comes_is_408() {
    let dashboard = impatient();
    let answer = harms_no_other(&dashboard, |dashboard| {
        dashboard.send("PUT /api/settings HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    });
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(
        answer.body.contains("did not come within 100ms"),
        "{answer:?}"
    );
}

#[test]
fn a_body_that_is_too_large_is_413() {
    let dashboard = Dashboard::start();
    let largest = Limits::default().body_size;
    for (size, status) in [(largest, 400), (largest + 1, 413)] {
        let body = "x".repeat(size);
        let request = format!(
            "PUT /api/settings HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n{body}"
        );
        let answer = harms_no_other(&dashboard, |dashboard| dashboard.send(&request));
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[test]
fn a_body_that_is_not_json_is_400() {
    let dashboard = Dashboard::start();
    let answer = dashboard.send(
        "PUT /api/settings HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{]",
    );
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("line 1 column 2"), "{answer:?}");
}

#[test]
fn a_head_that_never_ends_is_closed() {
    let dashboard = impatient();
    for begun in ["", "G", "GET /api/pages/7 HTTP/1.1\r\nhost:"] {
        let answer = harms_no_other(&dashboard, |dashboard| dashboard.send(begun));
        assert!(answer.status == 0 || answer.status == 408, "{answer:?}");
    }
}

#[test]
fn a_body_for_a_page_that_reads_none_is_harmless() {
    let dashboard = impatient();
    let answer = harms_no_other(&dashboard, |dashboard| {
        dashboard.send("GET /api/pages/7 HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n")
    });
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_flood_of_idle_connections_takes_no_more_than_its_share() {
    let dashboard = Dashboard::start_with(Config {
        limits: Limits {
            connections: 4.try_into().unwrap(),
            head: Duration::from_millis(200),
            ..Limits::default()
        },
        ..Config::default()
    });
    let flood: Vec<_> = (0..16).map(|_| dashboard.connect()).collect();
    // In its turn, once those before it have been closed for their silence.
    assert_eq!(dashboard.get("/api/settings").status, 200);
    assert!(dashboard.app().open_connections().0 <= 4);
    drop(flood);
}

#[test]
fn a_client_that_never_reads_is_disconnected() {
    let dashboard = Dashboard::start_with(Config {
        limits: Limits {
            write: Duration::from_millis(100),
            ..Limits::default()
        },
        ..Config::default()
    });
    let mut rude = dashboard.connect();
    rude.set_write_timeout(Some(WATCHDOG)).unwrap();
    let many = "GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
    // More answers than the system holds for it. An error means that the server has closed the connection.
    while rude.write_all(many.as_bytes()).is_ok() {}
    eventually(
        "it is disconnected",
        || dashboard.app().open_connections().0 == 0,
        || dashboard.app().open_connections(),
    );
    assert_eq!(dashboard.get("/api/settings").status, 200);
}

#[test]
fn requests_in_a_pipeline_are_answered_in_order() {
    let dashboard = Dashboard::start();
    let mut stream = dashboard.connect();
    let one = "GET /api/settings HTTP/1.1\r\nhost: x\r\nx-request-id: first\r\n\r\n";
    let two =
        "GET /nothing HTTP/1.1\r\nhost: x\r\nx-request-id: second\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("{one}{two}").as_bytes()).unwrap();
    let both = Answer::read(&mut stream);
    assert_eq!(both.status, 200);
    let (first, second) = (both.head.find("first"), both.body.find("second"));
    assert!(
        first.is_some() && second.is_some() && both.body.contains("404"),
        "{both:?}"
    );
}
