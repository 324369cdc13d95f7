//! Runs the cases of a package's runtimes, as `cargo test` runs tests, and counts them by runtime.
//!
//! ```text
//! test smol_global::mirror ... ok
//! …
//! runtime                              passed  failed  not applicable
//! smol's global executor                   93       0               0
//! embassy                                  92       0               1
//!     panic_is_contained: why it does not apply
//! ```

use crate::registry;
use crate::runtime::{Exception, Runtime};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

type Test = (&'static str, fn());

/// The tests of one runtime. Made by [`suite!`](crate::suite).
pub struct Suite {
    runtime: &'static str,
    /// What its tests are called by.
    module: &'static str,
    tests: Vec<Test>,
    exceptions: Vec<Exception>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    passed: AtomicUsize,
    failed: AtomicUsize,
}

impl Suite {
    pub fn new<R: Runtime>(module: &'static str, cases: &[Test]) -> Self {
        let excepted = |case: &Test| R::EXCEPTIONS.iter().any(|(name, _)| *name == case.0);
        for (name, _) in R::EXCEPTIONS {
            let known = cases.iter().any(|case| case.0 == *name);
            assert!(known, "{}: there is no case {name}", R::NAME);
        }
        Suite {
            runtime: R::NAME,
            module,
            tests: cases
                .iter()
                .copied()
                .filter(|case| !excepted(case))
                .collect(),
            exceptions: R::EXCEPTIONS.to_vec(),
            tally: Arc::default(),
        }
    }

    /// None of its cases can run here, and why.
    pub fn cannot_run(mut self, reason: &'static str) -> Self {
        let cases = self.tests.drain(..).map(|(name, _)| (name, reason));
        self.exceptions.extend(cases);
        self
    }

    /// Adds a test of this runtime's own.
    pub fn with(mut self, name: &'static str, test: fn()) -> Self {
        self.tests.push((name, test));
        self
    }

    fn trials(&self) -> impl Iterator<Item = Trial> + '_ {
        self.tests.iter().map(|&(name, test)| {
            let tally = self.tally.clone();
            let counted = move || tally.count(test);
            Trial::test(format!("{}::{name}", self.module), counted)
        })
    }

    /// Whether a filter left any of it, or nothing of it can run here.
    fn is_of_interest(&self) -> bool {
        self.tests.is_empty() || self.tally.ran() > 0
    }

    fn print_line(&self) {
        let count = |count: &AtomicUsize| count.load(SeqCst);
        println!(
            "{:<36} {:>6}  {:>6}  {:>14}",
            self.runtime,
            count(&self.tally.passed),
            count(&self.tally.failed),
            self.exceptions.len(),
        );
        self.print_exceptions();
    }

    /// One line a reason.
    fn print_exceptions(&self) {
        let reasons: BTreeSet<_> = self.exceptions.iter().map(|(_, reason)| *reason).collect();
        for reason in reasons {
            let of_that = self.exceptions.iter().filter(|(_, why)| *why == reason);
            let names: Vec<_> = of_that.map(|(name, _)| *name).collect();
            let names = match self.tests.is_empty() {
                true => "every case".to_owned(),
                false => names.join(", "),
            };
            println!("    not applicable: {names}: {reason}");
        }
    }
}

impl Tally {
    fn ran(&self) -> usize {
        self.passed.load(SeqCst) + self.failed.load(SeqCst)
    }

    fn count(&self, test: fn()) -> Result<(), Failed> {
        match catch_unwind(AssertUnwindSafe(test)) {
            Ok(()) => {
                self.passed.fetch_add(1, SeqCst);
                Ok(())
            }
            Err(payload) => {
                self.failed.fetch_add(1, SeqCst);
                resume_unwind(payload)
            }
        }
    }
}

/// The `main` of a package's test: runs its suites, and checks that they are those that the registry has for it.
pub fn main(package: &str, suites: Vec<Suite>) -> ExitCode {
    let names: Vec<_> = suites.iter().map(|suite| suite.runtime).collect();
    let registered: Vec<_> = registry::of_package(package).collect();
    assert_eq!(names, registered, "the suites of {package} and registry.rs");
    let trials = suites.iter().flat_map(Suite::trials).collect();
    let arguments = Arguments::from_args();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        print_table(&suites);
    }
    conclusion.exit_code()
}

fn print_table(suites: &[Suite]) {
    println!(
        "{:<36} {:>6}  {:>6}  {:>14}",
        "runtime", "passed", "failed", "not applicable"
    );
    let shown = suites.iter().filter(|suite| suite.is_of_interest());
    shown.for_each(Suite::print_line);
    println!();
}
