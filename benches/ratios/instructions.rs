//! Instructions instead of nanoseconds, as callgrind counts them: the same on a busy machine as on an idle one.
//!
//! Each lane runs twice in a process of its own under valgrind, the second time with more iterations: what
//! those added is what they cost, free of everything that happens once.

use std::env;
use std::io;
use std::process::Command;

use crate::harness::{Race, Samples};

/// The flag with which we call ourselves: what follows is a lane's number, its iterations, the race's title.
pub(crate) const CHILD: &str = "--lane";

/// A lane's tasks (or calls) per measurement, if an iteration is not longer than that.
const UNITS: usize = 4096;

/// What every lane of the race takes, per unit.
pub(crate) fn count(race: &Race) -> io::Result<Vec<Samples>> {
    let iterations = (UNITS / race.units.0).max(1);
    let lane = |lane| {
        let (few, more) = (
            total(race, lane, iterations)?,
            total(race, lane, 2 * iterations)?,
        );
        let units = (iterations * race.units.0) as f64;
        Ok(Samples::one(more.saturating_sub(few) as f64 / units))
    };
    (0..race.lanes.len()).map(lane).collect()
}

/// All instructions of a process that runs one lane so often.
fn total(race: &Race, lane: usize, iterations: usize) -> io::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([
            CHILD,
            &lane.to_string(),
            &iterations.to_string(),
            &race.title,
        ])
        .output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    collected(&log).ok_or_else(|| io::Error::other(log.into_owned()))
}

/// From callgrind's closing line, `==1234== Collected : 5678`.
fn collected(log: &str) -> Option<u64> {
    let (_, figure) = log.rsplit_once("Collected : ")?;
    figure.split_whitespace().next()?.parse().ok()
}

/// In the child: runs that lane.
pub(crate) fn run_lane(races: impl Iterator<Item = Race>, args: &[String]) {
    let [lane, iterations, title] = args else {
        panic!("{CHILD} LANE ITERATIONS TITLE")
    };
    let mut race = races
        .into_iter()
        .find(|race| race.title == *title)
        .expect("a race of that title");
    let lane = &mut race.lanes[lane.parse::<usize>().expect("a lane's number")];
    lane.run(iterations.parse().expect("a number of iterations"));
}
