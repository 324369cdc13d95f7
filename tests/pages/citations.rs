//! What the repository cites is in it.

use crate::sources::{files, read, root};
use std::path::{Path, PathBuf};

/// Every text of ours.
fn texts() -> Vec<PathBuf> {
    let folders = [
        "src",
        "tests",
        "docs",
        "examples",
        "benches",
        "fuzz/fuzz_targets",
    ];
    let below = folders
        .iter()
        .flat_map(|folder| files(folder, &["rs", "md"]));
    let pages = [
        "README.md",
        "TESTING.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "RELEASING.md",
        "fuzz/README.md",
    ];
    let pages = pages.into_iter().map(PathBuf::from);
    // The published package has not all of them.
    below
        .chain(pages.filter(|page| root().join(page).exists()))
        .collect()
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
    for path in texts()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|has| has == "md"))
    {
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

#[test]
fn tests_and_examples_that_the_pages_name_exist() {
    for path in texts()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|has| has == "md"))
    {
        let text = read(&path);
        for command in text.split("--example ").skip(1) {
            let name = command
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .next()
                .unwrap_or("");
            let found = [
                format!("examples/{name}.rs"),
                format!("examples/{name}/main.rs"),
            ]
            .iter()
            .any(|place| name.is_empty() || name == "NAME" || root().join(place).exists());
            assert!(found, "{}: no example {name:?}", path.display());
        }
    }
}
