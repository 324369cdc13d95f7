//! All others beside us, on the same work, in one run: `cargo bench --bench ratios`.
//!
//! `-- --quick` measures for some seconds only, `-- --targets` only what has a figure to reach, and any other
//! word is a filter: `-- "fan-out of 2 on"`. The tables are markdown. No ratio of times ever fails: how fast we are is
//! for people to judge, on their own machine. Exact figures fail where one is worse than what had been reached.
//!
//! Three flags print other figures. `-- --instructions` prints the exact ones, which valgrind counts; with a filter,
//! it counts the instructions of those races, seconds a lane. `-- --atomics` prints whose atomic read-modify-writes
//! were executed, and needs `CARGO_PROFILE_BENCH_DEBUG=line-tables-only`, because most are inlined.
//! `-- --linear` measures whether a task among a million costs what one of ten thousand does.

mod atomics;
mod context;
mod dashboard;
mod exact;
mod failing;
mod fanout;
mod floor;
mod harness;
mod hosts;
mod in_place;
mod instructions;
mod linear;
mod policies;
mod report;
mod requests;
mod valgrind;
mod work;

use std::process::ExitCode;
use std::{env, io};

use harness::{Pace, Race, Samples};
use report::Report;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.split_first() {
        Some((flag, lane)) if flag == valgrind::CHILD => {
            valgrind::run_lane(races(), lane);
            ExitCode::SUCCESS
        }
        _ => measure(&Options::parse(args)),
    }
}

fn measure(options: &Options) -> ExitCode {
    match options.what {
        What::Linear => linear::print(options.pace),
        What::Atomics => return verdict(atomics::print()),
        What::Instructions if options.filters.is_empty() => return verdict(exact::print()),
        _ => compare(options),
    }
    ExitCode::SUCCESS
}

/// Exact figures fail where one is worse than what had been reached, or can't be had.
fn verdict(held: io::Result<bool>) -> ExitCode {
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("valgrind and binutils are needed for this: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) {
    let mut report = Report::new(match options.what {
        What::Instructions => "instructions",
        _ => "ns",
    });
    for mut race in races()
        .skip(exact::races().len())
        .filter(|race| options.wants(race))
    {
        eprintln!("{}", race.title);
        match options.measure(&mut race) {
            Ok(samples) => report.add(&race, &samples),
            Err(error) => eprintln!("valgrind is needed for this: {error}"),
        }
    }
    report.print();
}

fn races() -> impl Iterator<Item = Race> {
    // The exact ones first, and each topic made when its turn comes: the others start threads.
    let topics = [
        exact::races,
        fanout::races,
        failing::races,
        context::races,
        dashboard::races,
        in_place::races,
        requests::races,
        policies::races,
    ];
    topics.into_iter().flat_map(|races| races())
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Time,
    Instructions,
    Atomics,
    Linear,
}

struct Options {
    pace: Pace,
    targets: bool,
    what: What,
    filters: Vec<String>,
}

impl Options {
    fn parse(args: Vec<String>) -> Self {
        let (flags, filters): (Vec<_>, _) = args.into_iter().partition(|arg| arg.starts_with("--"));
        let has = |flag: &str| flags.iter().any(|given| given == flag);
        // `cargo bench` passes --bench; `cargo test --all-targets` does not, and only checks that it runs.
        let pace = match (has("--bench"), has("--quick")) {
            (false, _) => Pace::SMOKE,
            (true, true) => Pace::QUICK,
            (true, false) => Pace::FULL,
        };
        Self {
            pace,
            targets: has("--targets"),
            what: match () {
                () if has("--instructions") => What::Instructions,
                () if has("--atomics") => What::Atomics,
                () if has("--linear") => What::Linear,
                () => What::Time,
            },
            filters,
        }
    }

    fn wants(&self, race: &Race) -> bool {
        let named = |filter: &String| race.title.contains(filter.as_str());
        (!self.targets || race.has_goal())
            && (self.filters.is_empty() || self.filters.iter().any(named))
    }

    fn measure(&self, race: &mut Race) -> io::Result<Vec<Samples>> {
        if self.what == What::Instructions {
            instructions::count(race)
        } else {
            Ok(race.run(self.pace))
        }
    }
}
