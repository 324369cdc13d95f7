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

/// The sources below a folder, as one text.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let texts = paths.map(|path| match path.extension() {
        None if path.is_dir() => sources(&path),
        Some(has) if has == "rs" => fs::read_to_string(&path).expect("text"),
        _ => String::new(),
    });
    texts.collect()
}

/// The paths of other crates in a cell: `glommio::timer::sleep`.
fn foreign_paths(cell: &str) -> impl Iterator<Item = &str> {
    let words = cell.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.contains("::") && word.starts_with(char::is_lowercase))
}

/// A row's line and clock name what its package uses: the crate, and the function.
#[test]
fn functions_of_the_table_are_used_by_their_packages() {
    let document = read("docs/RUNTIMES.md");
    let mut named = 0;
    for row in document
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
    {
        let row = row.replace("\\|", "/");
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let package = cells[5].trim_matches('`').split(' ').next().unwrap_or("");
        let folder = match package.strip_prefix("runtime-") {
            None => root().join("tests/matrix"),
            Some(name) => root().join("runtimes").join(name),
        };
        let source = sources(&folder);
        for path in [cells[1], cells[3]].into_iter().flat_map(foreign_paths) {
            let parts: Vec<&str> = path.split("::").collect();
            let ends = [parts.first(), parts.last()].into_iter().flatten();
            for part in ends {
                assert!(source.contains(part), "{}: {path} in {package}", cells[0]);
            }
            named += 1;
        }
    }
    assert!(named > 20, "the table has moved: {named}");
}
