//! One lane in a process of its own, under valgrind: what it counts is the same on a busy machine as on an idle one.
//!
//! Each lane runs twice, the second time with more iterations: what those added is what they cost, free of
//! everything that happens once.

use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::harness::Race;

/// The flag with which we call ourselves: what follows is a lane's number, its iterations, the race's title.
pub(crate) const CHILD: &str = "--lane";

/// What is run: a lane, so often.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) race: &'a Race,
    pub(crate) lane: usize,
    pub(crate) iterations: usize,
}

impl Load<'_> {
    /// What an iteration adds to a figure.
    pub(crate) fn each(self, figure: impl Fn(Self) -> io::Result<u64>) -> io::Result<f64> {
        let more = Self {
            iterations: 2 * self.iterations,
            ..self
        };
        let (few, more) = (figure(self)?, figure(more)?);
        Ok((more as f64 - few as f64) / self.iterations as f64)
    }

    /// All instructions of a process with this load.
    pub(crate) fn instructions(self) -> io::Result<u64> {
        self.callgrind(&[])
    }

    /// Those of the C library's allocator.
    pub(crate) fn allocator(self) -> io::Result<u64> {
        self.callgrind(&[
            "--toggle-collect=malloc",
            "--toggle-collect=calloc",
            "--toggle-collect=realloc",
            "--toggle-collect=posix_memalign",
            "--toggle-collect=free",
        ])
    }

    fn callgrind(self, options: &[&str]) -> io::Result<u64> {
        let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
        let log = self.run(&[&tool, options].concat())?;
        number_after(&log, "Collected : ").ok_or_else(|| io::Error::other(log))
    }

    /// All its allocations: how many, and of how many bytes.
    pub(crate) fn allocations(self) -> io::Result<(u64, u64)> {
        let log = self.run(&[
            "--tool=memcheck",
            "--undef-value-errors=no",
            "--leak-check=no",
        ])?;
        let count = number_after(&log, "total heap usage: ");
        let bytes = number_after(&log, "frees, ");
        count.zip(bytes).ok_or_else(|| io::Error::other(log))
    }

    /// Writes what each instruction was executed to `profile`.
    pub(crate) fn profile(self, profile: &Path) -> io::Result<()> {
        let file = format!("--callgrind-out-file={}", profile.display());
        let plain = ["--compress-strings=no", "--compress-pos=no"];
        self.run(&[
            "--tool=callgrind",
            "--dump-instr=yes",
            &file,
            plain[0],
            plain[1],
        ])
        .map(drop)
    }

    /// The output of valgrind.
    fn run(self, options: &[&str]) -> io::Result<String> {
        let output = Command::new("valgrind")
            .args(options)
            .arg(env::current_exe()?)
            .args([CHILD, &self.lane.to_string(), &self.iterations.to_string()])
            .arg(&self.race.title)
            .output()?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        output
            .status
            .success()
            .then_some(())
            .ok_or_else(|| io::Error::other(log.clone()))?;
        Ok(log)
    }
}

/// From a line such as `==1234== Collected : 5,678`.
fn number_after(log: &str, words: &str) -> Option<u64> {
    let (_, rest) = log.rsplit_once(words)?;
    rest.split_whitespace()
        .next()?
        .replace(',', "")
        .parse()
        .ok()
}

/// In the child: runs that lane.
pub(crate) fn run_lane(mut races: impl Iterator<Item = Race>, args: &[String]) {
    let [lane, iterations, title] = args else {
        panic!("{CHILD} LANE ITERATIONS TITLE")
    };
    let mut race = races
        .find(|race| race.title == *title)
        .expect("a race of that title");
    let lane = &mut race.lanes[lane.parse::<usize>().expect("a lane's number")];
    lane.run(iterations.parse().expect("a number of iterations"));
}
