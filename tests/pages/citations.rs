//! What the repository cites is in it.

use crate::sources::{files, quoted, read, root, table};
use std::path::{Path, PathBuf};

/// Every text of ours. The published package has not all of them.
fn texts() -> Vec<PathBuf> {
    let folders = [
        "src",
        "tests",
        "docs",
        "examples",
        "benches",
        "conformance",
        "runtimes",
        "apps",
        "fuzz/fuzz_targets",
    ];
    let below = folders
        .iter()
        .flat_map(|folder| files(folder, &["rs", "md", "toml"]));
    let others = [
        "README.md",
        "TESTING.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "RELEASING.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "deny.toml",
        "fuzz/README.md",
        "fuzz/Cargo.toml",
        ".ci/run",
        ".ci/dashboard",
        ".ci/planted",
    ];
    let others = others.into_iter().map(PathBuf::from);
    let is_ours = |path: &PathBuf| !path.starts_with("runtimes/browser/www/pkg"); // which is built
    below
        .chain(others.filter(|path| root().join(path).exists()))
        .filter(is_ours)
        .collect()
}

/// Those among them that are pages.
fn all_pages() -> Vec<PathBuf> {
    let is_page = |path: &PathBuf| path.extension().is_some_and(|has| has == "md");
    texts().into_iter().filter(is_page).collect()
}

/// The words that follow a mark in a text, each up to what can't be in a name.
fn named_after<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let names = text.split(mark).skip(1);
    let names = names.filter_map(move |rest| rest.split(|c: char| !is_part(c)).next());
    names.filter(|name| !name.is_empty() && !name.starts_with(char::is_uppercase))
}

/// The targets of the links of a page.
fn links(page: &str) -> Vec<&str> {
    let targets = page
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with('#'))
        .collect()
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    for path in all_pages() {
        let folder = path.parent().unwrap_or(Path::new(""));
        for link in links(&read(&path)) {
            let target = link.split('#').next().unwrap_or(link);
            let found = root().join(folder).join(target).exists();
            assert!(found, "{}: no {link}", path.display());
        }
    }
}

/// Names of pages in a text: what ends in `.md`.
fn pages(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_alphanumeric() || "._-/".contains(c);
    let words = text.split(move |c: char| !is_part(c));
    words
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| word.ends_with(".md") && word.len() > 3)
}

#[test]
fn pages_that_are_named_are_in_the_repository() {
    for path in texts() {
        let text = read(&path);
        // Another project's page is named by its address.
        let lines = text.lines().filter(|line| !line.contains("://"));
        for page in lines.flat_map(pages) {
            let beside = path.parent().unwrap_or(Path::new("")).join(page);
            let found = [Path::new(page), &Path::new("docs").join(page), &beside]
                .iter()
                .any(|place| root().join(place).exists());
            assert!(found, "{} names {page}, which is not here", path.display());
        }
    }
}

/// What a command in a page selects, and where it is.
const TARGETS: [(&str, &[&str]); 4] = [
    ("--example ", &["examples/NAME.rs", "examples/NAME/main.rs"]),
    ("--test ", &["tests/NAME.rs", "tests/NAME/main.rs"]),
    ("--bench ", &["benches/NAME/main.rs"]),
    (
        "--bin ",
        &[
            "apps/dashboard/src/bin/NAME/main.rs",
            "runtimes/browser/src/bin/NAME.rs",
        ],
    ),
];

#[test]
fn tests_and_examples_that_the_pages_name_exist() {
    for path in all_pages() {
        let text = read(&path);
        for (option, places) in TARGETS {
            for name in named_after(&text, option) {
                let mut places = places.iter().map(|place| place.replace("NAME", name));
                let found = places.any(|place| root().join(place).exists());
                // The published package has no apps and no runtimes.
                let is_packed = option != "--bin " || root().join("apps").exists();
                assert!(found || !is_packed, "{}: {option}{name}", path.display());
            }
        }
    }
}

/// The names of all packages of the workspace.
fn packages() -> Vec<String> {
    let folders = ["conformance", "runtimes", "apps"];
    let manifests = folders.iter().flat_map(|folder| files(folder, &["toml"]));
    manifests
        .map(|path| {
            let text = read(path);
            let (_, name) = text.split_once("name = \"").expect("a package's name");
            name.split('"').next().expect("a name").to_owned()
        })
        .collect()
}

#[test]
fn packages_that_the_pages_name_exist() {
    let packages = packages();
    if packages.is_empty() {
        return; // the published package has none of them
    }
    for path in all_pages() {
        let text = read(&path);
        let short = named_after(&text, "cargo test -p ").chain(named_after(&text, "cargo run -p "));
        for name in short.chain(named_after(&text, "--package ")) {
            // `runtime-…` and `runtime-NAME` stand for any.
            let is_there = packages.iter().any(|package| match name {
                "runtime-" | "runtime-NAME" => package.starts_with("runtime-"),
                name => package == name,
            });
            assert!(is_there, "{}: no package {name}", path.display());
        }
    }
}

/// The numbers behind a word: of "Sections 2 and 3: …" they are 2 and 3.
fn numbers_after<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.split(word).skip(1).flat_map(|rest| {
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        let words = rest.trim_start_matches(' ').split(' ');
        let words = words.map(|word| word.trim_end_matches(|c: char| !c.is_ascii_digit()));
        words
            .step_by(2) // "and" in between
            .map_while(|word| word.parse().ok())
            .collect::<Vec<_>>()
    })
}

/// What is cited by its number, and how many there are: the sections of `docs/CONTRACT.md`, and the lists in
/// `tests/it/hazards.rs` and `tests/it/faults.rs`.
const NUMBERED: [(&str, usize); 4] = [("Section ", 8), ("§", 8), ("Hazard ", 35), ("Fault ", 31)];

#[test]
fn numbers_that_are_cited_are_in_their_lists() {
    let contract = read("docs/CONTRACT.md");
    let sections = table(&contract, "# What failfast promises, and what holds it");
    assert_eq!(sections.len(), NUMBERED[0].1);
    for (list, file) in [(35, "hazards"), (31, "faults")] {
        let source = read(format!("tests/it/{file}.rs"));
        assert!(source.contains(&format!("; {list}] = [")), "{file}");
    }
    let mut cited = 0;
    for path in texts() {
        let text = read(&path);
        for (word, most) in NUMBERED {
            for number in numbers_after(&text, word) {
                assert!(
                    (1..=most).contains(&number),
                    "{}: {word}{number}",
                    path.display()
                );
                cited += 1;
            }
        }
    }
    assert!(cited > 300, "the citations are not found any more: {cited}");
}

/// A page with Rust in it is a test: `src/lib.rs` includes it.
#[test]
fn code_of_the_pages_is_compiled() {
    let included = read("src/lib.rs");
    for path in all_pages() {
        let is_included = included.contains(&format!("include_str!(\"../{}\")]", path.display()));
        let has_code = read(&path).contains("```rust");
        assert!(!has_code || is_included, "{}", path.display());
    }
}

/// What the table for those who come from Go shows of failfast is in the programs below it.
#[test]
fn table_of_go_is_in_its_programs() {
    let page = read("docs/from-go.md");
    let dense = |text: &str| text.split_whitespace().collect::<String>();
    let programs: Vec<String> = page.split("```").skip(1).step_by(2).map(dense).collect();
    let rows = table(&page, "# Coming from Go");
    assert!(rows.len() > 10, "the table has moved: {rows:?}");
    for row in rows {
        for shown in quoted(row[1]) {
            let is_there = programs.iter().any(|code| code.contains(&dense(shown)));
            assert!(is_there, "no program has {shown}");
        }
    }
}

/// Each example is run by a test, or by the check.
#[test]
fn every_example_is_run() {
    let check = root().join(".ci/run");
    let check = match check.exists() {
        true => read(check),
        false => String::new(),
    };
    let runners = [read("tests/examples.rs"), read("tests/demo.rs"), check].concat();
    for path in files("examples", &["rs"]) {
        let below = path.strip_prefix("examples").expect("an example");
        let first = below.components().next().expect("a name").as_os_str();
        let name = first.to_string_lossy().trim_end_matches(".rs").to_owned();
        let marks = [format!("\"{name}\""), format!("--example {name}")];
        let is_run = marks.iter().any(|mark| runners.contains(mark));
        let is_packed = !root().join(".ci/run").exists();
        assert!(is_run || is_packed, "examples/{name} is not run");
    }
}
