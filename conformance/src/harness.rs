//! Runs the cases of a package's runtimes, as `cargo test` runs tests, and counts them by runtime.
//!
//! ```text
//! test smol_global::mirror ... ok
//! …
//! runtime                              passed  failed  not applicable
//! smol's global executor                   93       0               0
//! embassy                                  92       0               1
//!     not applicable: panic_is_contained: why
//! ```
//!
//! A test that hangs ends the program, and is named: a case ends by itself where its runtime's timers work, but a thread that
//! is blocked, or a runtime that sleeps for ever, can't be helped.

use crate::registry;
use crate::runtime::{Exception, Runtime};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

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
            let (tally, name) = (self.tally.clone(), format!("{}::{name}", self.module));
            let watched = name.clone();
            let counted = move || {
                let _watch = Watch::begin(HANGS, move || hangs(&watched));
                tally.count(test)
            };
            Trial::test(name, counted)
        })
    }

    /// Whether a filter left any of it, or nothing of it can run here.
    fn is_of_interest(&self) -> bool {
        self.tests.is_empty() || self.tally.ran() > 0
    }

    /// What is printed of it: the counts, and a line for each reason why cases do not apply.
    fn lines(&self) -> Vec<String> {
        let count = |count: &AtomicUsize| count.load(SeqCst);
        let counts = format!(
            "{:<36} {:>6}  {:>6}  {:>14}",
            self.runtime,
            count(&self.tally.passed),
            count(&self.tally.failed),
            self.exceptions.len(),
        );
        let reasons: BTreeSet<_> = self.exceptions.iter().map(|(_, reason)| *reason).collect();
        let except = reasons.into_iter().map(|reason| {
            format!(
                "    not applicable: {}: {reason}",
                self.excepted_for(reason)
            )
        });
        [counts].into_iter().chain(except).collect()
    }

    fn excepted_for(&self, reason: &str) -> String {
        if self.tests.is_empty() {
            return "every case".to_owned();
        }
        let of_that = self.exceptions.iter().filter(|(_, why)| *why == reason);
        let names: Vec<_> = of_that.map(|(name, _)| *name).collect();
        names.join(", ")
    }
}

/// Longer than any test takes that ends.
const HANGS: Duration = Duration::from_secs(300);

fn hangs(name: &str) {
    eprintln!("{name} hangs: it has run for {HANGS:?}");
    std::process::exit(1);
}

/// Calls a function if it lives for too long.
struct Watch(#[allow(dead_code, reason = "its drop ends the watch")] mpsc::Sender<()>);

impl Watch {
    fn begin(limit: Duration, too_long: impl FnOnce() + Send + 'static) -> Self {
        let (alive, watch) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if watch.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                too_long();
            }
        });
        Watch(alive)
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
    shown
        .flat_map(Suite::lines)
        .for_each(|line| println!("{line}"));
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::{Nowhere, Place};
    use failfast::clock::{Clock, SystemClock};
    use failfast::group::TaskGroup;
    use failfast::{Context, InPlaceGroup};
    use std::future::Ready;

    struct Fake;

    impl Runtime for Fake {
        const NAME: &'static str = "a fake";
        const EXCEPTIONS: &'static [Exception] = &[
            ("grace", "it has no time"),
            ("stop", "it never stops"),
            ("sleep", "it has no time"),
        ];

        type Place = Nowhere;
        type Sleep = Ready<()>;

        fn run<S>(_: impl FnOnce(Self::Place) -> S + Send + 'static)
        where
            S: Future<Output = ()> + 'static,
        {
            unreachable!("the tests below are functions")
        }

        fn documented_group(ctx: Context) -> TaskGroup<(), <Nowhere as Place>::Member> {
            InPlaceGroup::new(&ctx)
        }

        fn sleep(_: Duration) -> Self::Sleep {
            std::future::ready(())
        }

        fn clock() -> impl Clock {
            SystemClock
        }
    }

    const CASES: [Test; 5] = [
        ("grace", excepted),
        ("limit", passes),
        ("sleep", excepted),
        ("stop", excepted),
        ("quorum", fails),
    ];

    fn passes() {}

    fn fails() {
        panic!("on purpose");
    }

    fn excepted() {
        unreachable!("it does not apply");
    }

    /// Runs all of a suite's tests. Which there were, and what is printed of them.
    fn run(suite: &Suite) -> (Vec<&'static str>, Vec<String>) {
        for (_, test) in &suite.tests {
            let tally = suite.tally.clone();
            let _ = catch_unwind(AssertUnwindSafe(|| tally.count(*test)));
        }
        let names = suite.tests.iter().map(|(name, _)| *name).collect();
        (names, suite.lines())
    }

    #[test]
    fn exceptions_are_not_run_and_are_printed_with_their_reasons() {
        let suite = Suite::new::<Fake>("fake", &CASES).with("own", passes);
        let (names, lines) = run(&suite);
        assert_eq!(names, ["limit", "quorum", "own"]);
        let counts = format!("{:<36} {:>6}  {:>6}  {:>14}", "a fake", 2, 1, 3);
        let time = "    not applicable: grace, sleep: it has no time";
        let stop = "    not applicable: stop: it never stops";
        assert_eq!(lines, [counts.as_str(), time, stop]);
    }

    #[test]
    fn runtime_that_cannot_run_here_says_so_for_every_case() {
        let suite = Suite::new::<Fake>("fake", &CASES).cannot_run("no kernel");
        let (names, lines) = run(&suite);
        assert!(names.is_empty());
        assert!(lines[0].ends_with(" 5"), "{lines:?}");
        assert!(lines.contains(&"    not applicable: every case: no kernel".to_owned()));
    }

    #[test]
    #[should_panic(expected = "a fake: there is no case grace")]
    fn exception_that_names_no_case_is_refused() {
        Suite::new::<Fake>("fake", &CASES[1..]);
    }

    #[test]
    fn watch_ends_with_what_it_watches_and_tells_what_takes_too_long() {
        let (late, told) = mpsc::channel();
        let watch = Watch::begin(Duration::from_millis(1), move || late.send(()).unwrap());
        assert_eq!(told.recv_timeout(HANGS), Ok(()));
        drop(watch);

        let (late, told) = mpsc::channel::<()>();
        drop(Watch::begin(HANGS, move || late.send(()).unwrap()));
        assert_eq!(
            told.recv_timeout(HANGS),
            Err(RecvTimeoutError::Disconnected)
        );
    }
}
