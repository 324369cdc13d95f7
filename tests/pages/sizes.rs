//! The sizes in `docs/CONTRACT.md` are those of the tests beside them.

use crate::promises::{is_here, place};
use crate::sources::{quoted, read, table};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Names by which tests refer to their sizes.
const NAMES: [&str; 4] = ["SIZES", "HUGE", "sizes", "cancellations"];

/// Where those are defined, if not in the test's file or in one above it.
const ELSEWHERE: [&str; 2] = ["tests/it/faults/tools.rs", "tests/policies/storm.rs"];

/// "1,000, 10,000" as "1000, 10000".
fn without_thousands(cell: &str) -> String {
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let is_kept = |&(at, c): &(usize, char)| {
        let (before, after) = (&cell[..at], &cell[at + c.len_utf8()..]);
        c != ',' || !is_digit(before.chars().last()) || !is_digit(after.chars().next())
    };
    cell.char_indices()
        .filter(is_kept)
        .map(|(_, c)| c)
        .collect()
}

/// The numbers of a cell, with "31 to 33" written out. "to 1,000" alone is a bound, and so one number.
fn numbers(cell: &str) -> Vec<u64> {
    let mut found: Vec<u64> = Vec::new();
    let (mut begin, mut is_range) = (None, false);
    for word in without_thousands(cell).split_whitespace() {
        let Ok(number) = word.trim_end_matches([',', ';', '.']).parse::<u64>() else {
            is_range = word == "to" && begin.is_some();
            continue;
        };
        match begin.filter(|_| is_range) {
            Some(begin) => found.extend(begin + 1..=number),
            None => found.push(number),
        }
        begin = word
            .ends_with(|c: char| c.is_ascii_digit())
            .then_some(number);
        is_range = false;
    }
    found
}

/// A literal's value: of `1_000` and of `0_usize`.
fn value(literal: &str) -> Option<u64> {
    let digits: String = literal.chars().filter(|c| *c != '_').collect();
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}

/// All numbers in a source.
fn literals(source: &str) -> BTreeSet<u64> {
    let words = source.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let literals = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    literals.filter_map(value).collect()
}

/// The arrays in a source that hold nothing but numbers.
fn arrays(source: &str) -> Vec<Vec<u64>> {
    let insides = source
        .split('[')
        .skip(1)
        .filter_map(|rest| rest.split(']').next());
    let of_numbers = |inside: &str| {
        let words = inside.split(',').map(str::trim);
        let words = words.filter(|word| !word.is_empty());
        words
            .map(|word| {
                word.starts_with(|c: char| c.is_ascii_digit())
                    .then(|| value(word))?
            })
            .collect::<Option<Vec<_>>>()
    };
    insides.filter_map(of_numbers).collect()
}

/// An item of a source: from the line that begins it to the one that ends it at the same indentation.
fn item(source: &str, heads: &[String]) -> Option<String> {
    let is_head = |line: &str| heads.iter().any(|head| line.trim_start().starts_with(head));
    let lines: Vec<&str> = source.lines().skip_while(|line| !is_head(line)).collect();
    let first = lines.first()?;
    let margin = &first[..first.len() - first.trim_start().len()];
    let is_end = |line: &&str| {
        let rest = line.strip_prefix(margin).unwrap_or("");
        ["}", "];", "};"].contains(&rest)
    };
    let end = match first.ends_with(';') {
        true => 0,
        false => lines.iter().position(is_end)?,
    };
    Some(lines[..=end].join("\n"))
}

fn function(source: &str, name: &str) -> Option<String> {
    let heads = ["fn ", "pub(crate) fn ", "pub async fn "];
    let heads = heads.map(|head| format!("{head}{name}"));
    item(source, &heads)
}

fn constant(source: &str, name: &str) -> Option<String> {
    item(
        source,
        &["const ", "pub(crate) const "].map(|head| format!("{head}{name}:")),
    )
}

/// The test's own file, those of the modules above it, and where else sizes are defined.
fn sources_of(file: &Path) -> Vec<PathBuf> {
    let above = file
        .ancestors()
        .skip(1)
        .map(|folder| folder.with_extension("rs"));
    let elsewhere = ELSEWHERE.map(|path| crate::sources::root().join(path));
    let all = [file.to_owned()].into_iter().chain(above).chain(elsewhere);
    all.filter(|path| path.is_file()).collect()
}

/// A test with the definitions of the sizes that it names.
fn text_of(test: &str) -> String {
    let (file, name) = place(test).unwrap_or_else(|| panic!("no test `{test}`"));
    let name = name.rsplit("::").next().unwrap_or(name);
    let mut text = function(&read(&file), name).unwrap_or_else(|| panic!("no fn {name}"));
    // Twice, because the one may name the other.
    for _ in 0..2 {
        let words: BTreeSet<&str> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .collect();
        let named = NAMES.into_iter().filter(|name| words.contains(name));
        let defined = named.filter_map(|name| {
            let sources = sources_of(&file);
            sources.iter().find_map(|path| {
                let source = read(path);
                constant(&source, name).or_else(|| function(&source, &format!("{name}(")))
            })
        });
        let defined = defined.collect::<Vec<_>>().join("\n");
        text = format!("{text}\n{defined}");
    }
    text
}

/// The sizes that "around" stands for, in the page and in the tests.
#[test]
fn around_is_what_the_tests_sweep() {
    let contract = read("docs/CONTRACT.md");
    let (_, sentence) = contract
        .split_once("*Around* means\n")
        .expect("what it means");
    let (sentence, _) = sentence.split_once(". ").expect("its end");
    let tools = read("tests/it/faults/tools.rs");
    let swept = constant(&tools, "SIZES").expect("the sizes");
    assert_eq!(arrays(&swept), [numbers(&sentence.replace(" and", ","))]);
}

#[test]
fn sizes_are_those_of_the_tests() {
    let contract = read("docs/CONTRACT.md");
    let mut before = String::new();
    for row in table(&contract, "## Sizes") {
        let cell = match row[1] {
            "the same" => before,
            cell => cell.to_owned(),
        };
        check(&cell, &row);
        before = cell;
    }
}

fn check(cell: &str, row: &[&str]) {
    let tests: Vec<String> = quoted(row[2])
        .filter(|test| is_here(test))
        .map(text_of)
        .collect();
    if tests.is_empty() {
        return; // the published package does not have the conformance suite
    }
    let text = tests.join("\n");
    let (cell, without) = cell.split_once("but for").unwrap_or((cell, ""));
    let (without, more) = without.split_once(';').unwrap_or((without, ""));
    for segment in cell.split(';').chain([more]) {
        let listed = numbers(segment);
        let found = literals(&text);
        let missing: Vec<_> = listed.iter().filter(|size| !found.contains(size)).collect();
        assert!(missing.is_empty(), "{row:?}: no {missing:?} in its tests");
        let is_list = listed.len() > 1 && !segment.contains("around");
        let is_swept = arrays(&text).contains(&listed);
        assert!(!is_list || is_swept, "{row:?}: no test sweeps {listed:?}");
    }
    let excepted = numbers(without);
    let swept = arrays(&text).concat();
    assert!(
        !excepted.iter().any(|size| swept.contains(size)),
        "{row:?}: swept all the same"
    );
    // "to 1,000": the test leaves out what is larger.
    for (_, bound) in cell.match_indices(" to ").map(|(at, _)| cell.split_at(at)) {
        let is_range = cell[..cell.len() - bound.len()].ends_with(|c: char| c.is_ascii_digit());
        let bound = numbers(bound).first().copied().unwrap_or(0);
        let is_kept = text.replace('_', "").contains(&format!("<= {bound}"));
        assert!(is_range || is_kept, "{row:?}: no bound of {bound}");
    }
    let is_around = |test: &String| test.contains("SIZES") || test.contains("sizes()");
    let is_swept = !cell.contains("around") || tests.iter().any(is_around);
    assert!(is_swept, "{row:?}: not around");
}
