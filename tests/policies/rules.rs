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
    "the token is taken before the wait",
    "further attempts are at most the reserve and a ratio of the first ones",
    "denied: only the new attempt is suppressed",
    "retries and hedges take from the budget",
    "the first success wins; a failure waits for those in flight",
    "a retryable failure launches the next; a fatal one ends all",
    "all failed: the primary's error",
    "losers are canceled and dropped before the answer is out",
    "the winner's context lives until its answer is out",
    "a loser is neither a failure nor a timeout",
    "a retry around a hedge calls at most (r + 1)(h + 1) times",
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
    "the state follows the clock",
    "a call as long as slow_after is a failure however it ended",
    "the leader leaves and the flight goes on",
    "a cancelled waiter starts no second flight; with the last gone it is dropped",
    "no waiter gets another's context's end",
    "a panic reaches every waiter; errors are shared and not kept",
];

/// Public reports of a rule that was broken elsewhere, and the test that holds the same scenario here.
const REPORTS: [(&str, &str); 41] = [
    (
        "java-bigtable-hbase#1858",
        "rule_01_no_attempt_begins_if_the_caller_ends_as_the_wait_does",
    ),
    (
        "helidon#3650",
        "rule_01_no_attempt_begins_once_the_callers_context_is_done",
    ),
    (
        "temporal#3630",
        "rule_02_cancel_during_the_second_attempt_returns_the_first_ones_error",
    ),
    (
        "avast/retry-go#51",
        "rule_02_cancel_during_the_wait_returns_the_last_error",
    ),
    (
        "kotlinx.coroutines#67",
        "rule_03_an_inner_timeouts_end_is_not_the_outer_ones",
    ),
    (
        "temporal sdk-java#653",
        "rule_03_a_tie_is_the_callers_deadline",
    ),
    (
        "resilience4j#682",
        "rule_04_the_callers_end_counts_for_nothing",
    ),
    (
        "brpc#3532",
        "rule_04_the_callers_end_during_the_first_attempt_is_no_failure_of_the_source",
    ),
    (
        "failsafe#393",
        "rule_05_a_drop_at_every_await_gives_the_permit_back",
    ),
    (
        "resilience4j#332",
        "rule_05_dropped_at_any_await_the_whole_stack_gives_everything_back",
    ),
    (
        "trio#2512",
        "rule_06_the_timeout_counts_from_the_begin_of_the_attempt",
    ),
    (
        "resilience4j#920",
        "rule_07_a_policys_rejection_is_not_tried_again_by_default",
    ),
    (
        "dotnet/extensions#7701",
        "rule_09_a_delay_that_does_not_fit_returns_the_real_error_at_once",
    ),
    (
        "go-retryablehttp#272",
        "rule_09_a_delay_that_does_not_fit_returns_the_real_error_at_once",
    ),
    (
        "Polly#2163",
        "rule_10_the_nth_delay_saturates_at_the_cap_for_n_to_a_million",
    ),
    (
        "tokio-retry#22",
        "rule_10_the_nth_delay_saturates_at_the_cap_for_n_to_a_million",
    ),
    (
        "agenda#1748",
        "rule_11_no_delay_is_above_the_cap_or_below_what_its_jitter_promises",
    ),
    (
        "tenacity PR 703",
        "rule_11_jitter_does_not_collapse_at_the_cap",
    ),
    (
        "dotnet/extensions#7001",
        "rule_12_retry_after_replaces_that_one_delay_and_is_never_early",
    ),
    (
        "azure-sdk-for-net#50949",
        "rule_12_retry_after_obeys_rule_9_and_the_fault_holds_it",
    ),
    (
        "gRPC A6, attempts",
        "rule_14_the_attempts_number_reaches_the_callee",
    ),
    (
        "envoy#30205",
        "rule_15_the_token_is_taken_before_the_wait_and_retries_that_wait_count",
    ),
    (
        "tower#857",
        "rule_16_further_attempts_are_at_most_the_reserve_and_the_ratio_of_first_ones",
    ),
    (
        "failsafe-go#141",
        "rule_17_a_denied_retry_returns_the_original_error",
    ),
    (
        "aws-sdk-rust#1234",
        "rule_18_retries_and_hedges_take_from_the_budget",
    ),
    (
        "tower and resilience4j",
        "rule_19_the_first_success_wins_and_a_failure_waits_for_those_in_flight",
    ),
    (
        "gRPC A6, hedging",
        "rule_20_a_retryable_failure_launches_the_next_at_once",
    ),
    (
        "finagle#962",
        "rule_22_losers_are_canceled_and_dropped_before_the_answer_is_out",
    ),
    (
        "failsafe-go#65",
        "rule_23_the_winners_context_lives_until_its_answer_is_out",
    ),
    (
        "grpc-java#8035",
        "rule_26_both_failed_is_the_primarys_error_with_the_fallbacks_beside_it",
    ),
    (
        "failsafe#393, waiters",
        "rule_29_an_abandoned_waiters_permit_goes_on_to_the_next",
    ),
    (
        "x/time/rate",
        "rule_31_a_wait_that_cannot_fit_is_refused_at_once_and_takes_no_token",
    ),
    (
        "x/time/rate CancelAt, resilience4j#314",
        "rule_32_a_cancelled_reservation_is_given_back",
    ),
    (
        "resilience4j#544",
        "rule_34_a_dropped_probe_gives_its_place_back_without_a_verdict",
    ),
    (
        "nora#667",
        "rule_35_late_results_of_an_older_state_are_ignored",
    ),
    (
        "OmniRoute#13836",
        "rule_36_a_probe_that_never_settles_is_reclaimed_after_the_open_time",
    ),
    (
        "oxidizer#506",
        "rule_38_a_hung_backend_whose_calls_are_always_cancelled_opens_it",
    ),
    (
        "hyper-util#299",
        "rule_39_the_leader_leaves_and_the_flight_goes_on",
    ),
    (
        "janos/singleflight#4",
        "rule_40_a_cancelled_waiter_starts_no_second_flight_and_the_last_drops_it",
    ),
    (
        "cockroach#91038",
        "rule_41_no_waiter_gets_anothers_contexts_end",
    ),
    (
        "go#33519",
        "rule_42_a_panic_reaches_every_waiter_as_a_failure",
    ),
];

/// The texts of the files below a folder.
fn texts(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the tests of the policies");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => texts(&path),
            false => vec![fs::read_to_string(path).expect("text")],
        })
        .collect()
}

/// The tests' names by the number that they begin with.
fn tests() -> BTreeMap<usize, Vec<String>> {
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies");
    for text in texts(&folder) {
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
fn every_test_of_a_rule_is_named_by_its_promise() {
    for (number, names) in tests() {
        for name in names {
            assert!(name.split('_').count() >= 4, "rule {number}: {name}");
        }
    }
}

#[test]
fn every_public_report_has_its_scenario() {
    let tests = tests();
    for (report, test) in REPORTS {
        let (number, name) = test["rule_".len()..].split_once('_').expect("a number");
        let names = &tests[&number.parse().expect("two digits")];
        assert!(
            names.iter().any(|known| known == name),
            "{report}: there is no {test}"
        );
    }
}
