//! `docs/ARCHITECTURE.md` describes the sources as they are.

use crate::sources::{code, files, quoted, read, table};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn architecture() -> String {
    read("docs/ARCHITECTURE.md")
}

/// A module of the crate's, by the path of one of its files.
fn module_of(path: &Path) -> String {
    let below = path.strip_prefix("src").expect("a source");
    let first = below.components().next().expect("a name").as_os_str();
    first.to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// Which other modules a source names.
fn used(source: &str) -> impl Iterator<Item = String> + '_ {
    let named = source.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_lowercase() || c == '_'));
        rest[..end.unwrap_or(rest.len())].to_owned()
    });
    named.filter(|name| !name.is_empty())
}

#[test]
fn modules_use_those_that_the_table_allows() {
    let mut actual: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files("src", &["rs"]) {
        let module = module_of(&path);
        let is_test = path.ends_with("tests.rs")
            || path.ends_with("models.rs")
            || path.components().any(|part| part.as_os_str() == "tests");
        if module != "lib" && !is_test {
            let uses = actual.entry(module.clone()).or_default();
            uses.extend(used(&code(&path)).filter(|name| *name != module));
        }
    }
    let text = architecture();
    let listed: BTreeMap<String, BTreeSet<String>> = table(&text, "## Which module may use which")
        .into_iter()
        .map(|row| {
            (
                row[1].replace('`', ""),
                quoted(row[3]).map(str::to_owned).collect(),
            )
        })
        .collect();
    assert_eq!(actual, listed, "left: the sources; right: the table");
}

#[test]
fn of_the_observers_a_context_uses_the_port_alone() {
    for path in files("src/context", &["rs"])
        .into_iter()
        .chain(["src/context.rs".into()])
    {
        let source = code(&path);
        let mut uses = source.split("crate::observe::").skip(1);
        assert!(
            uses.all(|rest| rest.starts_with("port")),
            "{}",
            path.display()
        );
    }
}

#[test]
fn every_file_with_unsafe_code_is_listed() {
    let text = architecture();
    let listed: BTreeSet<String> = table(&text, "## Unsafe code")
        .into_iter()
        .flat_map(|row| quoted(row[0]).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let is_unsafe = |path: &Path| {
        let source = code(path);
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait"]
            .iter()
            .any(|word| source.contains(word))
    };
    let actual: BTreeSet<String> = files("src", &["rs"])
        .iter()
        .filter(|path| is_unsafe(path))
        .map(|path| {
            path.strip_prefix("src")
                .expect("a source")
                .display()
                .to_string()
        })
        .collect();
    assert_eq!(actual, listed, "left: the sources; right: the table");
}

/// The numbers behind a cited file: of "`context/links.rs` 1, 2)" they are 1 and 2.
fn numbers(after: &str) -> Vec<&str> {
    let list = after
        .split(|c: char| !(c.is_ascii_digit() || c == ' ' || c == ','))
        .next();
    let each = list.unwrap_or("").split(',').map(str::trim);
    each.take_while(|number| !number.is_empty()).collect()
}

#[test]
fn files_and_invariants_that_are_cited_exist() {
    let text = architecture();
    let mut parts = text.split('`');
    let mut cited = 0;
    while let (Some(_), Some(name), Some(after)) =
        (parts.next(), parts.next(), parts.clone().next())
    {
        if !name.ends_with(".rs") || name.contains(' ') {
            continue;
        }
        let source = read(Path::new("src").join(name));
        for number in numbers(after) {
            cited += 1;
            let head = format!("\n//! {number}. ");
            assert!(source.contains(&head), "{name} has no invariant {number}");
        }
    }
    assert!(cited > 40, "the citations are not found any more: {cited}");
}

#[test]
fn functions_that_are_cited_exist() {
    let sources: String = files("src", &["rs"])
        .iter()
        .map(|path| code(path))
        .collect();
    for name in quoted(&architecture()).filter(|name| name.contains("::") && !name.contains(' ')) {
        let last = name
            .rsplit("::")
            .next()
            .expect("a part")
            .trim_end_matches("()");
        let written = [
            format!("fn {last}("),
            format!("fn {last}<"),
            format!(" {last}: "),
            format!("struct {last}"),
        ];
        assert!(
            written.iter().any(|written| sources.contains(written)),
            "there is no {name}"
        );
    }
}
