//! The tables of runtimes are the tests' own list.

use conformance::registry::RUNTIMES;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands before a runtime's flavor: `smol` of `smol::spawn`, `tokio` of `tokio, LocalSet`.
fn family(name: &str) -> &str {
    let name = name.split(", ").next().unwrap_or(name);
    name.split("::").next().unwrap_or(name)
}

#[test]
fn table_of_runtimes_has_a_row_for_each_in_order() {
    let document = read("docs/RUNTIMES.md");
    let rows = document
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1);
    let rows: Vec<(String, String)> = rows
        .map(|row| {
            let row = row.replace("\\|", "/");
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells.len(), 6, "{row}");
            (cells[0].to_owned(), cells[5].trim_matches('`').to_owned())
        })
        .collect();
    let registered = RUNTIMES
        .iter()
        .map(|(name, of)| ((*name).to_owned(), (*of).to_owned()));
    assert_eq!(rows, registered.collect::<Vec<_>>());
}

#[test]
fn readme_names_each_runtime() {
    let readme = read("README.md");
    let (_, table) = readme
        .split_once("| these pass every case")
        .expect("a table of runtimes");
    let row = table
        .lines()
        .nth(2)
        .expect("its row")
        .trim_matches('|')
        .trim();
    let row = row.replace("; in place also ", ", ");
    let named: BTreeSet<&str> = row.split(", ").collect();
    let mut registered: BTreeSet<&str> = RUNTIMES.iter().map(|(name, _)| family(name)).collect();
    assert!(registered.remove("in place"), "which is no runtime");
    assert_eq!(named, registered);
}

#[test]
fn readme_is_short() {
    assert!(read("README.md").len() < 8192);
}

/// A package's test asserts the same of its own suites; here: that each package is there.
#[test]
fn every_package_of_the_registry_exists() {
    let packages = RUNTIMES
        .iter()
        .map(|(_, of)| of.split(' ').next().unwrap_or(of));
    for package in packages.filter(|package| *package != "failfast") {
        let folder = package
            .strip_prefix("runtime-")
            .expect("a package of runtimes/");
        let manifest = read(&format!("runtimes/{folder}/Cargo.toml"));
        assert!(
            manifest.contains(&format!("name = \"{package}\"")),
            "{package}"
        );
    }
}
