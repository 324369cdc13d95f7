//! Observers, and what a recorder makes of the events.

mod attempts;
mod chrome;
mod hostile;
mod json;
mod order;
mod picture;
mod recorder;
mod snapshot;
mod subscription;
mod support;
mod timeline;

/// `docs/CONTRACT.md` is true: the tests that it names exist.
#[test]
fn named_tests_exist() {
    let contract = include_str!("../../docs/CONTRACT.md");
    let (_, section) = contract
        .split_once("## Observability and its tests")
        .unwrap();
    let names = section.split('`').skip(1).step_by(2);
    let mut tests = 0;
    for (file, test) in names.filter_map(|name| name.split_once("::")) {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let files = [format!("observe/{file}.rs"), format!("{file}.rs")];
        let found = files
            .iter()
            .find_map(|file| std::fs::read_to_string(root.join(file)).ok());
        let source = found.unwrap_or_else(|| panic!("no file of {file}::{test}"));
        let is_there = [format!("fn {test}("), format!("    {test}: |log")];
        assert!(
            is_there.iter().any(|form| source.contains(form)),
            "no test {file}::{test}"
        );
        tests += 1;
    }
    assert!(tests > 15, "the table has moved: {tests}");
}
