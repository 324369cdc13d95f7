//! Runs the demo as a person would: options in; standard output, standard error and the exit status
//! out.

use std::env::consts::EXE_SUFFIX;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(program);

struct Ran {
    stdout: String,
    stderr: String,
    status: Option<i32>,
    took: Duration,
}

fn demo(options: &[&str]) -> Ran {
    let mut program = Command::new(&*PROGRAM);
    let started = Instant::now();
    let output = program.args(options).output().expect("the demo runs");
    Ran {
        took: started.elapsed(),
        stdout: String::from_utf8(output.stdout).expect("text on standard output"),
        stderr: String::from_utf8(output.stderr).expect("text on standard error"),
        status: output.status.code(),
    }
}

/// `cargo test` builds the examples beside its tests: `deps/demo-…` and `examples/smol_demo`.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("a test lies in target/<profile>/deps");
    let program = profile
        .join("examples")
        .join(format!("smol_demo{EXE_SUFFIX}"));
    if !program.exists() {
        build(profile.ends_with("release"));
    }
    assert!(
        program.exists(),
        "{} is not there: cargo build --example smol_demo",
        program.display()
    );
    program
}

/// For builds without the examples, such as `cargo test --all-targets`.
fn build(release: bool) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .args(["build", "--quiet", "--example", "smol_demo"])
        .args(release.then_some("--release"));
    assert!(
        cargo.status().expect("cargo runs").success(),
        "cannot build the demo"
    );
}

impl Ran {
    #[track_caller]
    fn failed_with(&self, status: i32) {
        assert_eq!(self.status, Some(status), "{}", self.stderr);
        assert_eq!(self.stdout, "", "nothing partial");
    }

    #[track_caller]
    fn says(&self, text: &str) {
        assert!(
            self.stderr.contains(text),
            "no {text:?} in:\n{}",
            self.stderr
        );
    }

    /// The last word of a failed run.
    #[track_caller]
    fn error(&self) -> &str {
        let last = self
            .stderr
            .lines()
            .rfind(|line| line.starts_with("error: "));
        last.unwrap_or_else(|| panic!("no error in:\n{}", self.stderr))
    }

    #[track_caller]
    fn took_between(&self, least: u64, most: u64) {
        let bounds = Duration::from_millis(least)..=Duration::from_millis(most);
        assert!(
            bounds.contains(&self.took),
            "took {:?}:\n{}",
            self.took,
            self.stderr
        );
    }
}

#[test]
fn both_answer() {
    let ran = demo(&[]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, "Name: Alice | Order: 5\n");
    ran.says("profile: request for /profile/1");
    ran.says("orders: answered 200 OK");
    ran.says("INFO  dashboard succeeded");
    ran.says(" aggregation=dashboard elapsed=");
}

#[test]
fn order_of_sources_survives_the_order_of_answers() {
    let ran = demo(&["--profile-delay", "100ms", "--id", "42"]);
    assert_eq!(ran.stdout, "Name: Alice | Order: 5\n", "{}", ran.stderr);
    ran.says("profile: request for /profile/42");
}

#[test]
fn slow_poke_meets_the_deadline() {
    let ran = demo(&["--timeout", "1s", "--profile-delay", "2s"]);
    ran.failed_with(1);
    assert_eq!(
        ran.error(),
        "error: context deadline exceeded: dashboard's timeout of 1s (waiting for profile)"
    );
    ran.says("ERROR dashboard failed");
    ran.says(" source=profile error=");
    ran.took_between(900, 1800);
}

#[test]
fn domino_profile_falls_and_orders_stops() {
    // The delay lets the request for the orders arrive: without it the failure may come first, and "orders: nobody asked".
    let ran = demo(&[
        "--fail",
        "profile",
        "--profile-delay",
        "200ms",
        "--orders-delay",
        "10s",
    ]);
    ran.failed_with(1);
    assert!(
        ran.error().starts_with("error: profile: "),
        "{}",
        ran.stderr
    );
    assert!(ran.error().contains("HTTP 500"), "{}", ran.stderr);
    ran.says("ERROR dashboard failed");
    ran.says(": profile: ");
    ran.says(" source=profile error=");
    ran.says("orders: client gone after ");
    ran.says("ms, before the answer");
    ran.took_between(0, 1500);
}

#[test]
fn domino_orders_falls_and_profile_stops() {
    let ran = demo(&[
        "--fail",
        "orders",
        "--orders-delay",
        "50ms",
        "--profile-delay",
        "10s",
    ]);
    ran.failed_with(1);
    assert!(ran.error().starts_with("error: orders: "), "{}", ran.stderr);
    ran.says("profile: client gone after ");
    ran.took_between(50, 1500);
}

#[test]
fn orders_falls_after_profile_answered() {
    let ran = demo(&["--fail", "orders", "--orders-delay", "100ms"]);
    ran.failed_with(1);
    assert!(ran.error().starts_with("error: orders: "), "{}", ran.stderr);
    ran.says("profile: answered 200 OK");
}

#[test]
fn deadline_already_past_calls_no_service() {
    let ran = demo(&["--timeout", "0s"]);
    ran.failed_with(1);
    let said = "error: context deadline exceeded: dashboard's timeout of 0";
    assert!(ran.error().starts_with(said), "{}", ran.stderr);
    ran.says("profile: no request came");
    ran.says("orders: no request came");
    ran.took_between(0, 1000);
}

#[test]
fn wrong_options_are_refused() {
    for (options, named) in [
        (["--timeout", "banana"], "--timeout"),
        (["--fail", "nobody"], "profile, orders"),
        (["--id", "-1"], "-1"),
    ] {
        let ran = demo(&options);
        ran.failed_with(2);
        ran.says(named);
    }
}

#[test]
fn timeline_shows_which_task_was_cancelled() {
    let ran = demo(&[
        "--fail",
        "profile",
        "--profile-delay",
        "50ms",
        "--orders-delay",
        "10s",
        "--timeline",
    ]);
    ran.failed_with(1);
    let row = |name: &str| {
        ran.stderr
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
    };
    assert!(row("profile  ").contains("! failed at "), "{}", ran.stderr);
    assert!(
        row("orders  ").contains("x cancelled at "),
        "{}",
        ran.stderr
    );
    assert!(
        // The library's default of 5 s, counted from a moment before the aggregator was called.
        row("deadline  ").contains("> 50") && row("deadline  ").ends_with("ms, not reached"),
        "{}",
        ran.stderr
    );
}

#[test]
fn timeline_keeps_standard_output_clean() {
    let ran = demo(&["--timeline", "--timeout", "2s"]);
    assert_eq!(ran.stdout, "Name: Alice | Order: 5\n");
    ran.says("timeline  0ms");
}

#[test]
fn timeline_of_a_deadline_that_was_past_starts_nothing() {
    let ran = demo(&["--timeline", "--timeout", "0s"]);
    ran.failed_with(1);
    ran.says("ms: dashboard's timeout of 0");
    ran.says("deadline   ^ 0ms");
    let is_profile = |line: &str| line.starts_with("profile  ");
    assert!(!ran.stderr.lines().any(is_profile), "{}", ran.stderr);
}

/// A file of its own for each test.
fn scratch(name: &str) -> PathBuf {
    let file = format!("smol_demo-{}-{name}", std::process::id());
    std::env::temp_dir().join(file)
}

#[test]
fn svg_and_trace_are_written_after_a_failure_too() {
    let (svg, trace) = (scratch("domino.svg"), scratch("domino.json"));
    let ran = demo(&[
        "--fail",
        "profile",
        "--profile-delay", // so that the orders have been asked
        "200ms",
        "--orders-delay",
        "10s",
        "--svg",
        svg.to_str().unwrap(),
        "--trace",
        trace.to_str().unwrap(),
    ]);
    ran.failed_with(1);
    let read = |file: &PathBuf| std::fs::read_to_string(file).expect("the demo has written it");
    let drawn = read(&svg);
    assert!(
        drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"),
        "{drawn}"
    );
    assert!(
        drawn.contains("the failure of profile cancelled orders"),
        "{drawn}"
    );
    let traced: serde_json::Value = serde_json::from_str(&read(&trace)).expect("JSON");
    let events = traced["traceEvents"].as_array().expect("a list");
    let phases = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!((phases("s"), phases("f")), (1, 1), "{traced}");
    std::fs::remove_file(svg).unwrap();
    std::fs::remove_file(trace).unwrap();
}

#[test]
fn file_that_cannot_be_written_is_an_error_that_names_it() {
    for option in ["--svg", "--trace"] {
        let ran = demo(&[option, "/nowhere/at/all"]);
        ran.failed_with(1);
        assert!(
            ran.error()
                .starts_with("error: cannot write /nowhere/at/all: "),
            "{}",
            ran.stderr
        );
    }
}

/// What the profile service answers to a client with such a timeout, and what it logs.
fn served(grpc_timeout: &str) -> (String, String) {
    let options = ["--profile-delay", "1s"];
    let mut demo = Command::new(&*PROGRAM)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the demo runs");
    let mut log = BufReader::new(demo.stderr.take().expect("it is piped"));
    let mut line = String::new();
    log.read_line(&mut line).expect("a line of the log");
    let (_, address) = line.trim_end().split_once("http://").expect("an address");
    let mut client = TcpStream::connect(address).expect("the service listens");
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {address}\r\ngrpc-timeout: {grpc_timeout}\r\nconnection: close\r\n\r\n"
    );
    client
        .write_all(request.as_bytes())
        .expect("the service reads");
    let (mut answer, mut rest) = (String::new(), String::new());
    client
        .read_to_string(&mut answer)
        .expect("an answer or none");
    log.read_to_string(&mut rest).expect("the rest of the log");
    demo.wait().expect("the demo ends");
    (answer, rest)
}

#[test]
fn services_honour_the_deadline_that_their_client_sends() {
    let (answer, log) = served("50m");
    assert_eq!(answer, "", "too late for an answer");
    assert!(log.contains("profile: deadline passed after "), "{log}");
}

#[test]
fn services_refuse_a_malformed_deadline() {
    let (answer, log) = served("banana");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}\n{log}");
    assert!(answer.contains("banana"), "{answer}");
}

#[test]
fn a_retry_outlasts_a_service_that_fails_at_first() {
    let ran = demo(&["--fail-first", "2", "--retry", "2"]);
    assert_eq!(ran.stdout, "Name: Alice | Order: 5\n", "{}", ran.stderr);
    ran.says("DEBUG orders: attempt 1 failed after ");
    ran.says("DEBUG orders: attempt 3 succeeded after ");
    ran.says("DEBUG profile: attempt 3 succeeded after ");
}

#[test]
fn a_retry_that_is_exhausted_returns_the_services_error_and_the_number_of_attempts() {
    let ran = demo(&["--fail", "orders", "--retry", "1"]);
    ran.failed_with(1);
    assert!(ran.error().starts_with("error: orders: "), "{}", ran.stderr);
    assert!(ran.error().contains("HTTP 500"), "{}", ran.stderr);
    assert!(ran.error().ends_with(" (2 attempts)"), "{}", ran.stderr);
}

#[test]
fn a_hedge_overtakes_a_slow_answer() {
    let ran = demo(&["--hiccup", "10s", "--hedge", "50ms"]);
    assert_eq!(ran.stdout, "Name: Alice | Order: 5\n", "{}", ran.stderr);
    ran.says("DEBUG orders: attempt 2 (hedge) succeeded after ");
    ran.says("DEBUG orders: attempt 1 cut after ");
    ran.says("orders: client gone after ");
    ran.took_between(50, 4_000);
}

#[test]
fn an_optional_service_that_fails_is_done_without() {
    let ran = demo(&["--fail", "orders", "--optional", "orders"]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, "Name: Alice | Order: unknown\n");
    ran.says("WARN  orders: failed, answered without: ");
    ran.says("INFO  dashboard succeeded");
}

#[test]
fn an_optional_service_that_is_late_is_done_without_in_time() {
    let ran = demo(&[
        "--optional",
        "orders",
        "--orders-delay",
        "10s",
        "--timeout",
        "1s",
    ]);
    assert_eq!(
        ran.stdout, "Name: Alice | Order: unknown\n",
        "{}",
        ran.stderr
    );
    ran.says("WARN  orders: late, answered without: timed out after ");
    ran.took_between(900, 3_000);
}

#[test]
fn the_other_service_is_still_needed() {
    let ran = demo(&["--fail", "profile", "--optional", "orders"]);
    ran.failed_with(1);
    assert!(
        ran.error().starts_with("error: profile: "),
        "{}",
        ran.stderr
    );
}
