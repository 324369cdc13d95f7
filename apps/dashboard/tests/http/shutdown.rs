//! How it stops: accept no more, drain, cut.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use dashboard::http::ShutdownOutcome;

use crate::support::{Answer, Dashboard, WATCHDOG};

#[test]
fn requests_under_way_are_answered_and_new_ones_refused() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| settings.services.profile.delay_ms = 300);
    let mut under_way = dashboard.ask(7);
    dashboard.until("the page is begun", |seen| seen.profile.in_flight == 1);
    let address = dashboard.address;
    let reader = std::thread::spawn(move || Answer::read(&mut under_way));
    assert_eq!(dashboard.shutdown(WATCHDOG), ShutdownOutcome::Drained);
    assert_eq!(reader.join().unwrap().status, 200);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn what_does_not_finish_is_cut_when_the_time_is_up() {
    let dashboard = Dashboard::start();
    dashboard.set_with(|settings| settings.services.profile.hang = true);
    let mut under_way = dashboard.ask(7);
    dashboard.until("the page is begun", |seen| seen.profile.in_flight == 1);
    let controls = dashboard.app().controls().clone();
    assert_eq!(
        dashboard.shutdown(Duration::from_millis(50)),
        ShutdownOutcome::Cut(1)
    );
    // The last poll of the connection may still send that the page was cancelled.
    assert!(matches!(Answer::read(&mut under_way).status, 0 | 503));
    let seen = controls.counts().profile;
    assert_eq!((seen.in_flight, seen.cancelled), (0, 1));
}

#[test]
fn idle_connections_do_not_hold_it_up() {
    let dashboard = Dashboard::start();
    let mut used = dashboard.connect();
    used.write_all(b"GET /api/settings HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let unused = dashboard.connect();
    crate::support::eventually(
        "both are accepted",
        || dashboard.app().open_connections().0 == 2,
        || (),
    );
    let answered = std::io::Read::read(&mut used, &mut [0; 16]).unwrap();
    assert_eq!(answered, 16);
    assert_eq!(dashboard.shutdown(WATCHDOG), ShutdownOutcome::Drained);
    drop((used, unused));
}

/// The program itself, from its first line to its exit.
#[cfg(unix)]
fn stopped_by(signal: &str) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_dashboard"))
        .args(["--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(program.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let address = url.trim().trim_start_matches("http://").to_owned();
    assert!(TcpStream::connect(&address).is_ok(), "{address}");
    let kill = Command::new("kill")
        .args([signal, &program.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert!(program.wait().unwrap().success());
    assert!(TcpStream::connect(&address).is_err());
}

#[cfg(unix)]
#[test]
fn sigterm_stops_the_program_with_success() {
    stopped_by("-TERM");
}

#[cfg(unix)]
#[test]
fn sigint_stops_the_program_with_success() {
    stopped_by("-INT");
}
