//! The files of the repository, as the other tests look at them.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder, or the file itself, with one of these endings, by their paths from the root.
pub(crate) fn files(below: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut open = vec![root().join(below)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if endings
            .iter()
            .any(|ending| path.extension().is_some_and(|has| has == *ending))
        {
            found.push(
                path.strip_prefix(root())
                    .expect("below the root")
                    .to_owned(),
            );
        }
    }
    found.sort();
    found
}

/// A source without its comments, and without the tests at its end.
pub(crate) fn code(path: &Path) -> String {
    let source = read(path);
    let mut lines: Vec<&str> = source.lines().collect();
    let begins_tests = |pair: &[&str]| {
        let is_of_tests =
            pair[0].starts_with("#[cfg(test)]") || pair[0].starts_with("#[cfg(all(test");
        is_of_tests && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    };
    let tests = lines.windows(2).position(begins_tests);
    lines.truncate(tests.unwrap_or(lines.len()));
    let code = lines
        .iter()
        .map(|line| line.split("//").next().unwrap_or(line));
    code.collect::<Vec<_>>().join("\n")
}

/// What stands between backticks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The cells of the rows of the first table behind a heading, without its head.
pub(crate) fn table<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = text
        .split_once(&format!("{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading:?}"));
    let section = section.split("\n#").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let cells = |row: &'a str| row.trim_matches('|').split('|').map(str::trim).collect();
    rows.skip(1).map(cells).collect()
}
