//! The short examples run from the command line, and print what their comments promise.

use std::env::consts::EXE_SUFFIX;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `cargo test` builds the examples beside its tests: `deps/examples-…` and `examples/hello`.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("a test lies in target/<profile>/deps");
    let program = profile.join("examples").join(format!("{name}{EXE_SUFFIX}"));
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    build.args(["build", "--quiet", "--example", name]);
    build.args(cfg!(feature = "tracing").then_some("--features=tracing"));
    build.args(profile.ends_with("release").then_some("--release"));
    // `cargo test --test examples` alone builds none, or leaves those of before.
    assert!(
        build.status().expect("cargo runs").success(),
        "cannot build {name}"
    );
    program
}

/// What an example prints, of which the times differ from run to run.
#[track_caller]
fn output_of(name: &str, argument: Option<&Path>) -> String {
    let output = Command::new(program(name))
        .args(argument)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}: {output:?}");
    text
}

#[track_caller]
fn prints(name: &str, line: &str) {
    let output = Command::new(program(name)).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{name}: {errors}");
    assert_eq!(
        (printed.as_str(), errors.as_str()),
        (format!("{line}\n").as_str(), "")
    );
}

#[test]
fn hello_joins_two_answers() {
    prints("hello", "Name: Alice (7) | Order: 5");
}

#[test]
fn limit_holds_and_every_page_is_there() {
    prints("limit", "100 pages, 50500 bytes, never more than 8 at once");
}

#[test]
fn first_ok_answers_by_the_second_mirror() {
    prints("first_ok", "answered by us");
}

#[test]
fn server_answers_and_stops() {
    prints("server", "pong, stopped");
}

#[test]
fn crawler_finds_every_page_once() {
    prints("crawler", "32 pages, the first is 1");
}

#[test]
fn metrics_counts_outcomes_by_source() {
    let printed = output_of("metrics", None);
    for count in ["failed\"} 2", "succeeded\"} 18"] {
        let line = format!("source_outcomes_total{{source=\"orders\",outcome=\"{count}");
        assert!(printed.contains(&line), "{printed}");
    }
}

#[test]
fn pictures_are_drawn_with_their_traces() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    let printed = output_of("pictures", Some(&folder));
    assert!(printed.contains("\ndomino: "), "{printed}");
    for name in ["success", "domino", "deadline"] {
        let read = |ending| std::fs::read_to_string(folder.join(format!("{name}.{ending}")));
        assert!(read("svg").expect("a picture").starts_with("<svg "));
        assert!(read("json").expect("a trace").starts_with('{'));
    }
}

#[cfg(feature = "tracing")]
#[test]
fn tracing_logs_inside_of_the_spans() {
    let printed = output_of("tracing", None);
    assert!(
        printed.contains("page failed after") && printed.contains("orders: connection refused"),
        "{printed}"
    );
}

#[cfg(feature = "tracing")]
#[test]
fn opentelemetry_exports_a_span_for_each_task() {
    let printed = output_of("opentelemetry", None);
    for name in ["request", "group", "task"] {
        assert!(printed.contains(name), "no span {name}: {printed}");
    }
    assert!(printed.contains("connection refused"), "{printed}");
}

/// They are read before they are run, so each fits on a screen.
#[test]
fn each_is_short() {
    for name in ["hello", "limit", "first_ok", "server", "crawler"] {
        let path = format!("{}/examples/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        let lines = std::fs::read_to_string(path)
            .expect("its source")
            .lines()
            .count();
        assert!((20..=50).contains(&lines), "{name} has {lines} lines");
    }
}
