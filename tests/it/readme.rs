//! The guarantees are true: the tests that they name exist. (The front page's code runs as doctests.)

use std::fs;
use std::path::Path;

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The last cell of each row of the table of guarantees.
fn evidence(contract: &str) -> Vec<&str> {
    let (_, section) = contract.split_once("\n## Guarantees\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1);
    rows.map(|row| row.trim_end_matches(" |").rsplit(" | ").next().unwrap())
        .collect()
}

#[test]
fn tests_that_the_guarantees_name_exist() {
    // "Guarantees": each is held by the tests beside it.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let contract = fs::read_to_string(root.join("docs/CONTRACT.md")).unwrap();
    let evidence = evidence(&contract);
    assert!(evidence.len() > 10, "the table has moved: {evidence:?}");
    for cell in evidence {
        let mut source = None;
        for name in quoted(cell) {
            let path = root.join("tests").join(name);
            if name.starts_with("../conformance") && !root.join("conformance").exists() {
                break; // the published package does not have the suite
            }
            if name.contains(['.', '/']) {
                assert!(path.exists(), "no tests/{name}");
                source = fs::read_to_string(path).ok();
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
