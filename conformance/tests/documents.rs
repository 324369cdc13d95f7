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

/// The cells of the rows of a table behind a heading, without its head.
fn rows(document: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = document
        .split_once(heading)
        .unwrap_or_else(|| panic!("no {heading}"));
    let lines = section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    lines.skip(2).map(cells).collect()
}

/// A bar inside of a cell is escaped.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\u{1}");
    let cells = row.trim_matches('|').split('|').map(str::trim);
    cells.map(|cell| cell.replace('\u{1}', "|")).collect()
}

/// What stands between the first two backticks.
fn code(cell: &str) -> Option<&str> {
    cell.split('`').nth(1)
}

fn runtimes() -> Vec<Vec<String>> {
    let rows = rows(&read("docs/RUNTIMES.md"), "# Runtimes");
    assert!(rows.iter().all(|row| row.len() == 6), "{rows:?}");
    rows
}

/// All sources of a package's tests that run a runtime.
fn sources(package: &str) -> Vec<String> {
    let package = package.split(' ').next().unwrap_or(package);
    let folder = match package.strip_prefix("runtime-") {
        None => "tests/matrix".to_owned(),
        Some("browser") => "runtimes/browser/tests".to_owned(),
        Some(name) => format!("runtimes/{name}/tests/runtimes"),
    };
    let entries = fs::read_dir(root().join(&folder)).unwrap_or_else(|_| panic!("no {folder}"));
    let files = entries.map(|entry| entry.expect("an entry").path());
    files
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect()
}

/// The one file that runs a runtime.
fn source(name: &str, package: &str) -> String {
    let mut found = sources(package);
    found.retain(|source| source.contains(&format!("{name:?}")));
    assert_eq!(found.len(), 1, "{name:?} in the tests of {package}");
    found.remove(0)
}

/// Without what the formatter decides.
fn bare(code: &str) -> String {
    let mut bare: String = code.split_whitespace().collect();
    for end in [")", "]", "}"] {
        bare = bare.replace(&format!(",{end}"), end);
    }
    bare
}

#[test]
fn table_of_runtimes_has_a_row_for_each_in_order() {
    let rows = runtimes();
    let rows = rows
        .iter()
        .map(|row| (row[0].as_str(), row[5].trim_matches('`')));
    assert!(rows.eq(RUNTIMES.iter().copied()), "registry.rs has others");
}

#[test]
fn line_and_clock_of_each_runtime_stand_in_the_file_that_runs_it() {
    for row in runtimes() {
        let [name, line, _, clock, _, package] = &row[..] else {
            unreachable!("six cells")
        };
        let source = bare(&source(name, package.trim_matches('`')));
        let line = code(line).expect("a line");
        assert!(source.contains(&bare(line)), "{name}: {line}");
        let clock = code(clock).filter(|_| !clock.starts_with("none"));
        let known = clock.is_none_or(|clock| source.contains(&bare(clock)));
        assert!(known, "{name}: {clock:?}");
    }
}

/// The cases that a runtime's file takes out, each with its reason.
fn exceptions(source: &str) -> Vec<(String, String)> {
    // On executors: pairs of texts in a list. In a browser: a macro for each case, and the reason in another.
    let listed = source
        .split_once("EXCEPTIONS: &'static [Exception] = &[")
        .and_then(|(_, rest)| rest.split_once("];"))
        .map_or("", |(list, _)| list);
    let texts: Vec<&str> = listed.split('"').skip(1).step_by(2).collect();
    let pairs = texts.chunks(2).map(|pair| (pair[0], pair[1]));
    let reason = source
        .split_once("#[ignore = \"not applicable: ")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("", |(reason, _)| reason);
    let ignored = source
        .split("not_applicable! { ")
        .skip(1)
        .filter_map(|rest| rest.split_once(" }"))
        .map(|(case, _)| (case, reason));
    pairs
        .chain(ignored)
        .map(|(case, reason)| (case.to_owned(), reason.to_owned()))
        .collect()
}

#[test]
fn what_does_not_apply_is_listed_with_its_reason() {
    let mut actual = Vec::new();
    for (name, package) in RUNTIMES {
        let except = exceptions(&source(name, package));
        actual.extend(except.into_iter().map(|(case, reason)| {
            assert!(!reason.is_empty(), "{name}: {case}");
            vec![(*name).to_owned(), format!("`{case}`"), reason]
        }));
    }
    let listed = rows(&read("docs/RUNTIMES.md"), "## What does not apply");
    assert_eq!(actual, listed, "left: the tests; right: the page");
}

#[test]
fn exceptions_are_found_in_a_file() {
    let executor = "const EXCEPTIONS: &'static [Exception] = &[\n(\"grace\", \"no time\"),(\"stop\", \"no end\")\n];";
    let pair = |case: &str, reason: &str| (case.to_owned(), reason.to_owned());
    let found = exceptions(executor);
    assert_eq!(found, [pair("grace", "no time"), pair("stop", "no end")]);
    assert_eq!(exceptions("const NAME: &'static str = \"x\";"), []);
}

#[test]
fn the_check_runs_each_package() {
    let run = read(".ci/run");
    let (_, packages) = run.split_once("for package in ").expect("a loop");
    let (packages, _) = packages.split_once('\n').expect("its end");
    // Quoted where there is more than a name.
    let quoted = packages
        .split('\'')
        .enumerate()
        .flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().collect::<Vec<_>>(),
            _ => vec![part],
        });
    let looped: BTreeSet<String> = quoted.map(|name| format!("runtime-{name}")).collect();
    let mut registered: BTreeSet<String> =
        RUNTIMES.iter().map(|(_, of)| (*of).to_owned()).collect();
    assert!(registered.remove("failfast"), "which `cargo test` runs");
    assert!(registered.remove("runtime-browser") && run.contains("-p runtime-browser"));
    assert_eq!(looped, registered);
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
