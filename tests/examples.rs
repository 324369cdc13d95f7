//! The short examples run from the command line, and print what their comments promise.

use std::env::consts::EXE_SUFFIX;
use std::path::PathBuf;
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
    build.args(profile.ends_with("release").then_some("--release"));
    // `cargo test --test examples` alone builds none, or leaves those of before.
    assert!(
        build.status().expect("cargo runs").success(),
        "cannot build {name}"
    );
    program
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
