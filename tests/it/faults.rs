//! Faults that an earlier engine had, each with the tests that fail where it comes back, and their whole kinds.
//!
//! Each test names its fault by the number in [`FAULTS`]. Tests that can abort the process (two panics at once, an
//! overflow of the stack) run in a process of their own.

pub(crate) mod tools;

mod clocks;
mod contexts;
mod drops;
mod endings;
mod fair;
mod foreign;
mod growth;
mod late;
mod memory;
mod records;
mod shutdown;
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The faults, in the order of their numbers.
const FAULTS: [&str; 31] = [
    "31 sources or more hang, because answers register no waker",
    "a timer that wakes itself in its own poll is polled again at once, for ever",
    "work starts after the deadline, where tasks end in their first poll",
    "in place, tasks that share a cooperative budget cost the square of their number in polls",
    "memory follows the tasks that ever were, and not those that live",
    "a clock that panics hangs waiters that are not its own",
    "a chain of contexts that is dropped during a cancel unlinks another child",
    "dropping a group while a handle spawns panics",
    "a handle that a task keeps makes a cycle with the spawner",
    "lost tasks block the thread that drops them, and start a thread each",
    "the limits of grace and stragglers begin after all wakers have run",
    "an ending that is set after a tolerated failure corrupts the context",
    "a snapshot of nested groups recurses",
    "the body's echo masks the root cause",
    "a task that awaits its own child at the limit hangs",
    "after a success the context does not hold why it is over",
    "counters of tasks wrap",
    "all contexts below one root share one lock",
    "outcomes and costs of dead tasks: returned twice, omitted, or paid for by the living",
    "in place, many waiters for a place wake each other for ever",
    "a forked child relies on an alarm that was withdrawn",
    "destructors of one collection are not contained one by one",
    "making a group of large values overflows the stack",
    "a missed quorum keeps its results until the last handle is dropped",
    "a straggler limit that is set after the end is ignored",
    "orphaned callbacks of linked contexts stay with the parent",
    "a task that returns a handle after the group was dropped makes a cycle",
    "a failure is omitted from the others, because its place was used again",
    "a panic of the user's code leaves no log record",
    "a spawner that panics keeps its place",
    "costs that grow with the square of the size",
];

/// The numbers behind each "Fault" or "Faults" in a text: of "Faults 19 and 28: …" they are 19 and 28.
fn cited(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.split("Fault").skip(1).flat_map(|rest| {
        let words = rest.trim_start_matches('s').split_whitespace();
        words
            .map(|word| {
                word.trim_end_matches("'s")
                    .trim_end_matches([':', ',', '.'])
            })
            .take_while(|word| *word == "and" || word.parse::<usize>().is_ok())
            .filter_map(|word| word.parse().ok())
            .collect::<Vec<_>>()
    })
}

#[test]
fn every_fault_has_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults");
    let files = fs::read_dir(folder).expect("the tests of the faults");
    let found: BTreeSet<usize> = files
        .flat_map(|file| {
            let text = fs::read_to_string(file.expect("a file").path()).expect("text");
            cited(&text).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        found,
        (1..=FAULTS.len()).collect(),
        "left: cited; right: listed"
    );
}
