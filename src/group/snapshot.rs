//! Looking into a group: who is there, and what they are doing.

use super::core::{Core, Phase};
use super::roster::Roster;
use crate::context::Life;
use crate::error::Name;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a group was doing when it was looked at: its live tasks, and the groups below it. Displays as a
/// tree.
///
/// See [`TaskGroup::snapshot`](crate::TaskGroup::snapshot).
///
/// # Examples
///
/// ```
/// use failfast::{Context, Group};
///
/// let group = Group::<_, ()>::in_place(&Context::background());
/// let snapshot = group.snapshot();
/// assert!(snapshot.tasks.is_empty());
/// assert!(snapshot.to_string().starts_with("group at "));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Where in the program the group was made.
    pub location: &'static Location<'static>,
    /// Its live tasks, in the order of spawning.
    pub tasks: Vec<TaskSnapshot>,
    /// The groups that were made under its context.
    pub groups: Vec<Snapshot>,
}

/// One task of a [`Snapshot`].
///
/// # Examples
///
/// ```
/// use failfast::{Context, Group};
///
/// let group = Group::in_place(&Context::background());
/// group.spawn_named("orders", async { Ok::<_, &str>(5) });
/// let task = &group.snapshot().tasks[0];
/// assert_eq!((task.name.as_str(), task.polls), ("orders", 0));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskSnapshot {
    /// Its name, or `task 3`.
    pub name: Name,
    /// What it is doing.
    pub state: TaskState,
    /// How often it has been polled.
    pub polls: u32,
    /// How long ago it was spawned; `None` if no times were taken then.
    pub age: Option<Duration>,
    /// How long ago its last poll began; `None` if there was none, or no times were taken then.
    pub since_last_poll: Option<Duration>,
    /// Where in the program it was spawned.
    pub location: &'static Location<'static>,
}

/// What a task is doing.
///
/// # Examples
///
/// ```
/// use failfast::{Context, Group, TaskState};
/// use std::num::NonZeroUsize;
///
/// let group = Group::in_place(&Context::background()).with_limit(NonZeroUsize::MIN);
/// group.spawn(async { Ok::<_, &str>(1) });
/// group.spawn(async { Ok::<_, &str>(2) });
/// let tasks = group.snapshot().tasks;
/// assert_eq!(tasks[0].state, TaskState::Running);
/// assert_eq!(tasks[1].state, TaskState::Queued);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It waits for a place.
    Queued,
    /// It runs.
    Running,
    /// It has been cancelled, and is not gone yet.
    Cancelling,
}

impl Core {
    /// Has times taken from now on: they cost a reading of the clock for each spawn and each poll.
    pub(crate) fn take_times(&self) -> Instant {
        let now = self.context().clock().now();
        self.start_timing(now);
        now
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.take_times();
        let tasks = self.task_snapshots(now);
        let below = self
            .context()
            .life()
            .map(Life::hooks_below)
            .unwrap_or_default();
        let cores = below
            .into_iter()
            .filter_map(|hook| hook.as_any().downcast::<Core>().ok());
        let groups = cores.map(|core: Arc<Core>| core.snapshot()).collect();
        Snapshot {
            location: self.origin,
            tasks,
            groups,
        }
    }

    fn task_snapshots(&self, now: Instant) -> Vec<TaskSnapshot> {
        let roster = self.roster();
        let live = (0..roster.length).filter(|index| self.seat(*index).is_live());
        let mut tasks: Vec<_> = live
            .map(|index| {
                (
                    self.seat(index).number(),
                    self.task_snapshot(&roster, index, now),
                )
            })
            .collect();
        drop(roster);
        tasks.sort_by_key(|(number, _)| *number);
        tasks.into_iter().map(|(_, task)| task).collect()
    }

    fn task_snapshot(&self, roster: &Roster, index: u32, now: Instant) -> TaskSnapshot {
        let seat = self.seat(index);
        let state = match (seat.is_queued(), self.phase()) {
            (true, _) => TaskState::Queued,
            (false, Phase::Run) => TaskState::Running,
            (false, _) => TaskState::Cancelling,
        };
        let ago = |then| now.saturating_duration_since(then);
        let (spawned_at, polled_at) = self.times(index);
        TaskSnapshot {
            name: self.name_in(roster, index),
            state,
            polls: seat.polls(),
            age: spawned_at.map(ago),
            since_last_poll: polled_at.map(ago),
            location: roster.site(index).unwrap_or(self.origin),
        }
    }
}

impl Snapshot {
    fn write(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        writeln!(f, "group at {}", self.location)?;
        let last = self.tasks.len() + self.groups.len();
        for (number, task) in (1..).zip(&self.tasks) {
            writeln!(f, "{indent}{} {task}", branch(number == last))?;
        }
        for (number, group) in (self.tasks.len() + 1..).zip(&self.groups) {
            write!(f, "{indent}{} ", branch(number == last))?;
            let below = if number == last { "   " } else { "│  " };
            group.write(f, &format!("{indent}{below}"))?;
        }
        Ok(())
    }
}

fn branch(last: bool) -> &'static str {
    if last { "└─" } else { "├─" }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "")
    }
}

impl fmt::Display for TaskSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            state,
            polls,
            location,
            ..
        } = self;
        write!(f, "{name}: {state}, polled {polls} times")?;
        if let Some(age) = self.age {
            write!(f, ", {age:.1?} old")?;
        }
        if let Some(since) = self.since_last_poll {
            write!(f, ", last {since:.1?} ago")?;
        }
        write!(f, ", spawned at {location}")
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
        })
    }
}
