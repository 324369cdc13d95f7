//! The tests that `docs/CONTRACT.md` names exist.

use crate::sources::{quoted, read, root, table};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The cases of the conformance suite, which the published package does not have.
const CASES: &str = "conformance/src/cases";

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
        if let Some(name) = function(line.trim_start()) {
            found.insert(format!("{module}{name}"));
        }
    }
    found
}

/// The name of a function that begins on this line, also of one that a macro makes of `name: |log| …`.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
    let line = line.strip_prefix("pub async ").unwrap_or(line);
    match line.strip_prefix("fn ") {
        Some(rest) => rest.split(['(', '<']).next(),
        None => line
            .split_once(": |log")
            .map(|(name, _)| name)
            .filter(|name| !name.contains(' ')),
    }
}

/// In which file a test is, and its name there: the longest path of modules that is a file's.
pub(crate) fn place(name: &str) -> Option<(PathBuf, &str)> {
    let (folders, rest): (&[_], _) = match name.strip_prefix("matrix::") {
        Some(case) => (&[CASES], case),
        None => (&["tests", "tests/it"], name),
    };
    let ends = rest.match_indices("::").map(|(end, _)| end);
    ends.collect::<Vec<_>>().into_iter().rev().find_map(|end| {
        let path = rest[..end].replace("::", "/");
        let files = folders.iter().flat_map(|folder| {
            [
                format!("{folder}/{path}.rs"),
                format!("{folder}/{path}/main.rs"),
            ]
        });
        let file = files
            .map(|file| root().join(file))
            .find(|file| file.exists())?;
        Some((file, &rest[end + 2..]))
    })
}

/// Whether the file of a test is part of these sources.
pub(crate) fn is_here(name: &str) -> bool {
    !name.starts_with("matrix::") || root().join(CASES).exists()
}

fn exists(name: &str) -> bool {
    place(name).is_some_and(|(file, test)| functions(&read(file)).contains(test))
}

fn check(row: &str, tests: &[&str]) {
    assert!(!tests.is_empty(), "no test for: {row}");
    for test in tests.iter().filter(|test| is_here(test)) {
        assert!(exists(test), "no test `{test}`");
    }
}

/// The tables whose rows name tests, and how many rows each has at least.
const TABLES: [(&str, usize); 3] = [
    ("## Every promise and its tests", 75),
    ("## Rules of policies", 42),
    ("## Sizes", 25),
];

#[test]
fn tests_that_are_named_exist() {
    // Each row names at least one, in full.
    let contract = read("docs/CONTRACT.md");
    for (section, least) in TABLES {
        let rows = table(&contract, section);
        assert!(rows.len() >= least, "the table has moved: {rows:?}");
        for row in rows {
            let tests: Vec<_> = quoted(row.last().expect("a cell")).collect();
            check(row[0], &tests);
        }
    }
}

#[test]
fn a_name_that_no_test_has_is_noticed() {
    assert!(exists(
        "pages::promises::a_name_that_no_test_has_is_noticed"
    ));
    assert!(exists("models::groups::quorum_against_wait"));
    assert!(exists("context::end::clones_are_one_context"));
    assert!(
        !exists("context::clones_are_one_context"),
        "its module is missing"
    );
    assert!(!exists("context::end::clones_are_two_contexts"));
}

/// In that table the names begin below `observe`, but for those of `tracing`.
#[test]
fn named_tests_exist() {
    let contract = read("docs/CONTRACT.md");
    let rows = table(&contract, "## Observability and its tests");
    assert!(rows.len() > 10, "the table has moved: {rows:?}");
    for row in rows {
        let full = |name: &str| match name.starts_with("tracing::") {
            true => name.to_owned(),
            false => format!("observe::{name}"),
        };
        let tests: Vec<_> = quoted(row.last().expect("a cell")).map(full).collect();
        check(
            row[0],
            &tests.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    }
}

/// Each guarantee is held by the tests beside it: files, and behind each the names of its tests.
#[test]
fn tests_that_the_guarantees_name_exist() {
    let contract = read("docs/CONTRACT.md");
    let rows = table(&contract, "## Guarantees");
    assert!(rows.len() > 10, "the table has moved: {rows:?}");
    for row in rows {
        let cell = row.last().expect("a cell");
        let mut source = None;
        for name in quoted(cell) {
            let path = root().join("tests").join(name);
            if name.starts_with("../conformance") && !root().join("conformance").exists() {
                break; // the published package does not have the suite
            }
            if name.contains(['.', '/']) {
                assert!(path.exists(), "no tests/{name}");
                source = path.is_file().then(|| read(path));
                continue;
            }
            let source = source
                .as_deref()
                .unwrap_or_else(|| panic!("no file before `{name}`"));
            let (plain, generic) = (format!("fn {name}("), format!("fn {name}<"));
            assert!(
                source.contains(&plain) || source.contains(&generic),
                "no test `{name}`"
            );
        }
        assert!(
            source.is_some() || cell.contains('/'),
            "no evidence in `{cell}`"
        );
    }
}
