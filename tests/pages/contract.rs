//! `docs/CONTRACT.md` and the tests agree.

use crate::sources::{quoted, read, table};
use std::collections::BTreeSet;

#[test]
fn rules_of_policies_are_worded_as_in_their_tests() {
    let tests = read("tests/policies/rules.rs");
    let worded: Vec<&str> = tests
        .lines()
        .filter_map(|line| line.strip_prefix("    \"")?.strip_suffix("\","))
        .collect();
    let contract = read("docs/CONTRACT.md");
    let listed: Vec<&str> = table(&contract, "## Rules of policies")
        .iter()
        .map(|row| row[2])
        .collect();
    assert_eq!(worded.len(), 42);
    assert_eq!(worded, listed);
}

#[test]
fn tests_of_a_rule_have_its_number() {
    let contract = read("docs/CONTRACT.md");
    for row in table(&contract, "## Rules of policies") {
        let number: usize = row[0].parse().expect("a number");
        let named = quoted(row[3]).all(|test| test.contains(&format!("::rule_{number:02}_")));
        assert!(named, "{row:?}");
    }
}

#[test]
fn every_section_has_promises() {
    let contract = read("docs/CONTRACT.md");
    let sections = table(&contract, "# What failfast promises, and what holds it");
    let promises = table(&contract, "## Every promise and its tests");
    let numbers = |rows: &[Vec<&str>]| {
        rows.iter()
            .map(|row| row[0].to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(numbers(&sections), numbers(&promises));
}
