//! An observer that writes down its events, and groups of every kind to observe.

use failfast::clock::ManualClock;
use failfast::observe::{AttemptEvent, GroupEvent, Observer, Outcome, TaskEvent};
use failfast::{Cause, Context};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) const fn at_most(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).unwrap()
}

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// One line for each event: `task_ended 0 failed: task 0: refused`. Groups are numbered in the order of their first
/// event.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    groups: BTreeMap<u64, usize>,
    /// The group of each line, and the line.
    lines: Vec<(usize, String)>,
}

impl Log {
    fn write(&self, group: u64, line: String) {
        let mut lines = self.0.lock().unwrap();
        let next = lines.groups.len();
        let group = *lines.groups.entry(group).or_insert(next);
        lines.lines.push((group, line));
    }

    pub(crate) fn all(&self) -> Vec<String> {
        let lines = &self.0.lock().unwrap().lines;
        lines.iter().map(|(_, line)| line.clone()).collect()
    }

    /// Those of one group.
    pub(crate) fn of(&self, group: usize) -> Vec<String> {
        let lines = &self.0.lock().unwrap().lines;
        let of_group = lines.iter().filter(|(of, _)| *of == group);
        of_group.map(|(_, line)| line.clone()).collect()
    }

    /// Those of one task of a group that is the only one.
    pub(crate) fn of_task(&self, task: u64) -> Vec<String> {
        let is_of = |line: &String| line.split(' ').nth(1) == Some(&task.to_string());
        self.all().into_iter().filter(is_of).collect()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.all()
            .iter()
            .filter(|line| line.starts_with(what))
            .count()
    }

    pub(crate) fn groups(&self) -> usize {
        self.0.lock().unwrap().groups.len()
    }
}

impl Observer for Log {
    fn group_opened(&self, group: &GroupEvent) {
        self.write(group.group(), "group_opened".to_owned());
    }

    fn group_closed(&self, group: &GroupEvent) {
        self.write(group.group(), "group_closed".to_owned());
    }

    fn task_spawned(&self, task: &TaskEvent) {
        self.write(task.group(), format!("task_spawned {}", task.task()));
    }

    fn task_queued(&self, task: &TaskEvent) {
        self.write(task.group(), format!("task_queued {}", task.task()));
    }

    fn poll_started(&self, task: &TaskEvent) {
        self.write(task.group(), format!("poll_started {}", task.task()));
    }

    fn poll_ended(&self, task: &TaskEvent) {
        self.write(task.group(), format!("poll_ended {}", task.task()));
    }

    fn task_ended(&self, task: &TaskEvent, outcome: &Outcome<'_>) {
        let outcome = match outcome {
            Outcome::Succeeded => "succeeded".to_owned(),
            Outcome::Failed(error) => format!("failed: {error}"),
            Outcome::Panicked(error) => format!("panicked: {error}"),
            Outcome::Cancelled => "cancelled".to_owned(),
            Outcome::Lost => "lost".to_owned(),
            _ => "another".to_owned(),
        };
        self.write(
            task.group(),
            format!("task_ended {} {outcome}", task.task()),
        );
    }

    fn attempt(&self, task: &TaskEvent, attempt: &AttemptEvent) {
        let number = attempt.attempt().number();
        let hedge = if attempt.attempt().is_hedge() {
            " hedge"
        } else {
            ""
        };
        let error = attempt
            .error()
            .map_or_else(String::new, |error| format!(": {error}"));
        let line = format!(
            "attempt {} {number}{hedge} {}{error}",
            task.task(),
            attempt.kind()
        );
        self.write(task.group(), line);
    }

    fn canceled(&self, group: &GroupEvent, cause: &Cause) {
        self.write(group.group(), format!("canceled: {cause}"));
    }
}

/// A task that never ends by itself.
pub(crate) async fn forever() -> Result<(), failfast::BoxError> {
    std::future::pending().await
}

/// A background that is observed.
pub(crate) fn observed() -> (Log, Context) {
    let log = Log::default();
    (log.clone(), Context::background().with_observer(log))
}

/// One that goes by a clock of its own as well.
pub(crate) fn manual(observer: impl Observer + 'static) -> (ManualClock, Context) {
    let clock = ManualClock::new();
    let ctx = Context::background()
        .with_clock(clock.clone())
        .with_observer(observer);
    (clock, ctx)
}

/// Fails where a test hangs.
pub(crate) fn watched<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        let result = test();
        let _ = sender.send(());
        result
    });
    let over = receiver.recv_timeout(Duration::from_secs(60));
    assert_ne!(
        over,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout),
        "hangs"
    );
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Checks the promises of the port for every group in a log, whatever happened.
pub(crate) fn check_order(log: &Log) {
    for group in 0..log.groups() {
        let lines = log.of(group);
        assert_eq!(
            lines.first().map(String::as_str),
            Some("group_opened"),
            "{lines:#?}"
        );
        assert_eq!(
            lines.last().map(String::as_str),
            Some("group_closed"),
            "{lines:#?}"
        );
        for once in ["group_opened", "group_closed"] {
            assert_eq!(
                lines.iter().filter(|line| *line == once).count(),
                1,
                "{lines:#?}"
            );
        }
        assert!(
            lines
                .iter()
                .filter(|line| line.starts_with("canceled"))
                .count()
                <= 1,
            "{lines:#?}"
        );
        check_tasks(&lines);
    }
}

/// Spawned, perhaps queued, polled any number of times, ended.
fn check_tasks(lines: &[String]) {
    let mut states: BTreeMap<&str, &str> = BTreeMap::new();
    for line in lines {
        let mut words = line.split(' ');
        let (Some(event), Some(task)) = (words.next(), words.next()) else {
            continue;
        };
        let before = states.get(task).copied().unwrap_or("none");
        let after = match (before, event) {
            (_, "canceled:") => continue,
            ("none", "task_spawned") => "spawned",
            ("spawned", "task_queued") => "queued",
            ("spawned" | "queued" | "polled", "poll_started") => "polling",
            ("polling", "attempt") => "polling",
            ("polling", "poll_ended") => "polled",
            ("spawned" | "queued" | "polled", "task_ended") => "ended",
            _ => panic!("{line} after {before}: {lines:#?}"),
        };
        states.insert(task, after);
    }
    assert!(
        states.values().all(|state| *state == "ended"),
        "{states:?} {lines:#?}"
    );
}

/// Writes a case once, and makes a test of it for every kind of group. The case is given `ctx` and how to make a group
/// below it, and is awaited where the group's tasks run.
macro_rules! on_every_kind {
    ($($name:ident: |$log:ident, $ctx:ident, $new:ident| $case:block)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn in_place() {
                watched(|| {
                    let ($log, $ctx) = observed();
                    #[allow(unused_macros)]
                    macro_rules! $new { ($parent:expr) => { failfast::InPlaceGroup::new($parent) } }
                    futures::executor::block_on(async { $case });
                    check_order(&$log);
                });
            }

            #[test]
            fn in_place_and_local() {
                watched(|| {
                    let ($log, $ctx) = observed();
                    #[allow(unused_macros)]
                    macro_rules! $new { ($parent:expr) => { failfast::LocalInPlaceGroup::new($parent) } }
                    futures::executor::block_on(async { $case });
                    check_order(&$log);
                });
            }

            #[test]
            fn on_an_executor() {
                watched(|| {
                    let ($log, $ctx) = observed();
                    let executor = std::sync::Arc::new(smol::Executor::new());
                    let spawner = executor.clone();
                    #[allow(unused_macros)]
                    macro_rules! $new { ($parent:expr) => {{
                        let spawner = spawner.clone();
                        failfast::Group::with_context($parent, move |task| spawner.spawn(task)).0
                    }} }
                    smol::block_on(executor.run(async { $case }));
                    while executor.try_tick() {}
                    check_order(&$log);
                });
            }

            #[test]
            fn on_a_thread() {
                watched(|| {
                    let ($log, $ctx) = observed();
                    let executor = std::rc::Rc::new(smol::LocalExecutor::new());
                    let spawner = executor.clone();
                    #[allow(unused_macros)]
                    macro_rules! $new { ($parent:expr) => {{
                        let spawner = spawner.clone();
                        failfast::LocalGroup::with_context($parent, move |task| spawner.spawn(task)).0
                    }} }
                    smol::block_on(executor.run(async { $case }));
                    while executor.try_tick() {}
                    check_order(&$log);
                });
            }
        }
    )*};
}
pub(crate) use on_every_kind;
