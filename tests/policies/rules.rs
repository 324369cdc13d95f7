//! That every rule has its test: read from the tests themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The rules that policies keep, by their number and in a few words.
const RULES: [&str; 42] = [
    "nothing starts once the caller's context is done",
    "nothing replaces the last real error",
    "a policy's timeout only if its deadline fired; a tie is the caller's",
    "the caller's end is never turned into an answer, nor counted against the source",
    "dropped at any await, a policy gives everything back",
    "durations count from the begin of the attempt",
    "a policy's rejection is not tried again by default",
    "a panic is never tried again, and loses nothing",
    "a delay that does not fit: the real error at once",
    "the n-th delay saturates at the cap",
    "jitter never exceeds the cap and does not collapse at it",
    "Retry-After replaces one delay and is never early",
    "no permit is held while it waits",
    "the attempt's number reaches the callee",
    "the budget is asked before the wait",
    "further attempts are at most the reserve and a ratio of the first ones",
    "denied: only the new attempt is suppressed",
    "the budget is asked",
    "the first success wins; a failure waits for those in flight",
    "a retryable failure launches the next; a fatal one ends all",
    "all failed: the primary's error",
    "losers are canceled and dropped before the answer is out",
    "the winner's context lives until its answer is out",
    "a loser is neither a failure nor a timeout",
    "a retry around a hedge asks at most (r + 1)(h + 1) times",
    "a fallback runs only in the time that is left",
    "partial answers only by type",
    "leaving gives the margin by the caller's effective deadline",
    "first come, first served",
    "the peak never exceeds the limit",
    "a wait that can't fit is rejected at once and takes no token",
    "a cancelled reservation is given back",
    "half open admits at most n probes",
    "a probe that is dropped gives its place back without a verdict",
    "late results of an older state are ignored",
    "a probe that never settles is reclaimed",
    "the state is told by the clock",
    "a call as long as slow_after is a failure however it ended",
    "the leader leaves and the flight goes on",
    "a cancelled waiter starts no second flight; with the last gone it is dropped",
    "no waiter gets another's context's end",
    "a panic reaches every waiter; errors are shared and not kept",
];

/// The tests' names by the number that they begin with.
fn tests() -> BTreeMap<usize, Vec<String>> {
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies");
    for file in fs::read_dir(folder).expect("the tests of the policies") {
        let text = fs::read_to_string(file.expect("a file").path()).expect("text");
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("fn rule_") {
                assert!(is_test, "not a test: {line}");
                let number = name[..2].parse().expect("two digits");
                let name = name[3..].split('(').next().expect("a name").to_owned();
                found.entry(number).or_default().push(name);
            }
            is_test = line == "#[test]" || (is_test && line.starts_with("#["));
        }
    }
    found
}

#[test]
fn every_rule_has_a_test_by_its_number() {
    let tests = tests();
    for (index, rule) in RULES.iter().enumerate() {
        let number = index + 1;
        assert!(
            tests.contains_key(&number),
            "no test of rule {number}: {rule}"
        );
    }
    let beyond: Vec<_> = tests
        .keys()
        .filter(|number| !(1..=RULES.len()).contains(number))
        .collect();
    assert!(beyond.is_empty(), "there are no rules {beyond:?}");
}

#[test]
fn every_test_of_a_rule_says_what_it_promises() {
    for (number, names) in tests() {
        for name in names {
            assert!(name.split('_').count() >= 4, "rule {number}: {name}");
        }
    }
}
