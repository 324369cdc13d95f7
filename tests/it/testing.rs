//! `docs/CONTRACT.md` is true: the tests that it names exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const CONTRACT: &str = include_str!("../../docs/CONTRACT.md");

/// The cases of the conformance suite, which the published package does not have.
const CASES: &str = "conformance/src/cases";

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of the section's table, without its head.
fn rows(section: &str) -> Vec<&'static str> {
    let (_, section) = CONTRACT
        .split_once(section)
        .unwrap_or_else(|| panic!("no section {section:?}"));
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with("| "));
    rows.skip(1).collect()
}

/// The functions of a source, each with its module, as they stand: rustfmt puts a module's braces at the margin.
fn functions(source: &str) -> BTreeSet<String> {
    let mut module = String::new();
    let mut found = BTreeSet::new();
    for line in source.lines() {
        if let Some(name) = line
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(" {"))
        {
            module = format!("{name}::");
        } else if line == "}" {
            module.clear();
        }
        let line = line.trim_start();
        let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
        let line = line.strip_prefix("pub async ").unwrap_or(line);
        if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or(rest);
            found.insert(format!("{module}{name}"));
        }
    }
    found
}

/// In which file a test is, and what it is called there.
fn place(name: &str) -> (PathBuf, &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = root.join("tests");
    let (file, rest) = name.split_once("::").unwrap_or((name, ""));
    match (file, rest.split_once("::")) {
        ("matrix", Some((cases, case))) => {
            return (root.join(format!("{CASES}/{cases}.rs")), case);
        }
        ("faults", Some((kind, case))) => {
            return (tests.join(format!("it/faults/{kind}.rs")), case);
        }
        ("policies" | "observe", Some((kind, case))) => {
            return (tests.join(format!("{file}/{kind}.rs")), case);
        }
        _ => {}
    }
    match tests.join(format!("{file}.rs")) {
        own if own.exists() => (own, rest),
        _ => (tests.join(format!("it/{file}.rs")), rest),
    }
}

/// Whether the file of a test is part of these sources.
fn is_here(name: &str) -> bool {
    !name.starts_with("matrix::") || Path::new(env!("CARGO_MANIFEST_DIR")).join(CASES).exists()
}

fn exists(name: &str) -> bool {
    let (file, test) = place(name);
    let source = fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("`{name}`: {}: {error}", file.display()));
    functions(&source).contains(test)
}

/// The tables whose rows name tests, and how many rows each has at least.
const TABLES: [(&str, usize); 3] = [
    ("\n## Every promise and its tests\n", 75),
    ("\n## Rules of policies\n", 42),
    ("\n## Sizes\n", 25),
];

#[test]
fn tests_that_are_named_exist() {
    // Each row names at least one, in full.
    for (section, least) in TABLES {
        let rows = rows(section);
        assert!(rows.len() >= least, "the table has moved: {rows:?}");
        rows.into_iter().for_each(check);
    }
}

fn check(row: &str) {
    let cell = row
        .trim_end_matches(" |")
        .rsplit(" | ")
        .next()
        .unwrap_or(row);
    let tests: Vec<_> = quoted(cell).collect();
    assert!(!tests.is_empty(), "no test for: {row}");
    for test in tests.into_iter().filter(|test| is_here(test)) {
        assert!(exists(test), "no test `{test}`");
    }
}

#[test]
fn a_name_that_no_test_has_is_noticed() {
    assert!(exists("testing::a_name_that_no_test_has_is_noticed"));
    assert!(exists("models::quorum_against_wait"));
    assert!(exists("context::end::clones_are_one_context"));
    assert!(
        !exists("context::clones_are_one_context"),
        "its module is missing"
    );
    assert!(!exists("context::end::clones_are_two_contexts"));
}
