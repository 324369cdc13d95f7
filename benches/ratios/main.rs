//! Everybody beside us, on the same work, in one run: `cargo bench --bench ratios`.
//!
//! `-- --quick` measures for some seconds only, `-- --targets` only what has a figure to reach, and any other
//! word is a filter: `-- "fan-out of 2 on"`. With `-- --instructions` valgrind counts instead of the clock;
//! name a race or two, for that takes seconds a lane. The table is markdown. Nothing here ever fails: how
//! fast we are is for people to judge, on their own machine.

mod context;
mod dashboard;
mod failing;
mod fanout;
mod harness;
mod hosts;
mod in_place;
mod instructions;
mod report;
mod work;

use std::{env, io};

use harness::{Pace, Race, Samples};
use report::Report;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.split_first() {
        Some((flag, lane)) if flag == instructions::CHILD => instructions::run_lane(races(), lane),
        _ => compare(&Options::parse(args)),
    }
}

fn compare(options: &Options) {
    let mut report = Report::new(if options.instructions {
        "instructions"
    } else {
        "ns"
    });
    for mut race in races().filter(|race| options.wants(race)) {
        eprintln!("{}", race.title);
        match options.measure(&mut race) {
            Ok(samples) => report.add(&race, &samples),
            Err(error) => eprintln!("valgrind is needed for this: {error}"),
        }
    }
    report.print();
}

fn races() -> impl Iterator<Item = Race> {
    let topics = [
        fanout::races,
        failing::races,
        context::races,
        dashboard::races,
        in_place::races,
    ];
    topics.into_iter().flat_map(|races| races())
}

struct Options {
    pace: Pace,
    targets: bool,
    instructions: bool,
    filters: Vec<String>,
}

impl Options {
    fn parse(args: Vec<String>) -> Self {
        let (flags, filters): (Vec<_>, _) = args.into_iter().partition(|arg| arg.starts_with("--"));
        let has = |flag: &str| flags.iter().any(|given| given == flag);
        // `cargo bench` says --bench; `cargo test --all-targets` does not, and asks only whether it runs.
        let pace = match (has("--bench"), has("--quick")) {
            (false, _) => Pace::SMOKE,
            (true, true) => Pace::QUICK,
            (true, false) => Pace::FULL,
        };
        Self {
            pace,
            targets: has("--targets"),
            instructions: has("--instructions"),
            filters,
        }
    }

    fn wants(&self, race: &Race) -> bool {
        let named = |filter: &String| race.title.contains(filter.as_str());
        (!self.targets || race.has_target())
            && (self.filters.is_empty() || self.filters.iter().any(named))
    }

    fn measure(&self, race: &mut Race) -> io::Result<Vec<Samples>> {
        if self.instructions {
            instructions::count(race)
        } else {
            Ok(race.run(self.pace))
        }
    }
}
