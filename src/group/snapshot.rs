//! Looking into a group: who is there, and what they are doing.

use super::cell::Header;
use super::engine::Engine;
use crate::clock::Instant;
use crate::context::NodeRef;
use crate::error::Name;
use crate::sync::atomic::{AtomicU32, Ordering};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// What a group was doing when it was looked at: its live tasks, and the groups below it. Displays as a tree.
///
/// Taken group by group, each under its own lock, so that groups that change meanwhile may be shown at different
/// moments. Takes time and memory in proportion to what is alive, and does not recurse, however deep groups nest.
///
/// See [`Group`](crate::Group)'s `snapshot`.
///
/// # Examples
///
/// ```
/// use failfast::{Context, InPlaceGroup};
///
/// let group = InPlaceGroup::new(&Context::background());
/// group.spawn_named("orders", async { Ok::<_, &str>(5) });
/// let snapshot = group.snapshot();
/// assert_eq!(snapshot.tasks()[0].name, "orders");
/// assert!(snapshot.to_string().starts_with("group at "));
/// ```
#[derive(Clone)]
pub struct Snapshot {
    /// All groups, each before those below it.
    all: Arc<[Group]>,
    index: usize,
}

struct Group {
    location: &'static Location<'static>,
    tasks: Vec<TaskSnapshot>,
    /// How many groups it is below the first.
    depth: usize,
    /// Where the groups below it end.
    end: usize,
}

/// One task of a [`Snapshot`].
///
/// # Examples
///
/// ```
/// use failfast::{Context, InPlaceGroup};
///
/// let group = InPlaceGroup::new(&Context::background());
/// group.spawn_named("orders", async { Ok::<_, &str>(5) });
/// let snapshot = group.snapshot();
/// let task = &snapshot.tasks()[0];
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
    /// How long ago it was spawned, to a tenth of a millisecond; `None` if no times were taken then.
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
/// use failfast::observe::TaskState;
/// use failfast::{Context, InPlaceGroup};
/// use std::num::NonZeroUsize;
///
/// let group = InPlaceGroup::new(&Context::background()).with_limit(NonZeroUsize::MIN);
/// group.spawn(async { Ok::<_, &str>(1) });
/// group.spawn(async { Ok::<_, &str>(2) });
/// let states: Vec<_> = group.snapshot().tasks().iter().map(|task| task.state).collect();
/// assert_eq!(states, [TaskState::Running, TaskState::Queued]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It waits for the limit.
    Queued,
    /// It runs.
    Running,
    /// It has been canceled, and is not gone yet.
    Cancelling,
}

/// Takes a snapshot of a group and of those below it.
pub(super) fn of(node: &NodeRef) -> Snapshot {
    let mut all: Vec<Group> = Vec::new();
    let mut open = vec![(node.clone(), 0)];
    while let Some((node, depth)) = open.pop() {
        let engine = node
            .kind
            .as_any()
            .and_then(|any| any.downcast_ref::<Engine>());
        let tasks = engine.map_or_else(Vec::new, |engine| engine.snapshot_tasks(&node));
        all.push(Group {
            location: node.origin(),
            tasks,
            depth,
            end: 0,
        });
        // Taken from the end of the stack, so the first comes last.
        let below = node.groups_below().into_iter().rev();
        open.extend(below.map(|node| (node, depth + 1)));
    }
    close(&mut all);
    Snapshot {
        all: all.into(),
        index: 0,
    }
}

/// Finds where the groups below each group end.
fn close(all: &mut [Group]) {
    let mut open: Vec<usize> = Vec::new();
    for index in 0..all.len() {
        while open
            .last()
            .is_some_and(|last| all[*last].depth >= all[index].depth)
        {
            let last = open.pop().unwrap_or_default();
            all[last].end = index;
        }
        open.push(index);
    }
    for index in open {
        all[index].end = all.len();
    }
}

/// Times.
impl Engine {
    /// Has times taken from now on.
    fn start_timing(&self, now: Instant) -> Instant {
        *self.timing.get_or_init(|| now)
    }

    fn ticks_now(&self) -> Option<u32> {
        let start = self.timing.get()?;
        let ticks = self
            .clock
            .now()
            .saturating_duration_since(*start)
            .as_micros()
            / TICK;
        // 0 says that no times were taken.
        Some(u32::try_from(ticks + 1).unwrap_or(u32::MAX))
    }

    #[inline]
    pub(super) fn note_spawn(&self, header: &Header) {
        if let Some(ticks) = self.timing.get().and_then(|_| self.ticks_now()) {
            header.times.spawned.store(ticks, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn note_poll(&self, header: &Header) {
        if let Some(ticks) = self.timing.get().and_then(|_| self.ticks_now()) {
            header.times.polled.store(ticks, Ordering::Relaxed);
        }
    }
}

/// When a task was spawned and last polled, in ticks since the engine's first snapshot. Every task pays for these two
/// words, so they are short: a tenth of a millisecond is good enough for people, and five days are.
#[derive(Default)]
pub(super) struct Times {
    spawned: AtomicU32,
    polled: AtomicU32,
}

/// In microseconds.
const TICK: u128 = 100;

impl Times {
    /// How long before `since` and so many ticks it was.
    fn ago(ticks: &AtomicU32, since: Duration) -> Option<Duration> {
        let then = ticks.load(Ordering::Relaxed).checked_sub(1)?;
        let then = Duration::from_micros(u64::from(then) * TICK as u64);
        Some(since.saturating_sub(then))
    }
}

impl Engine {
    #[allow(unsafe_code, reason = "see `list`")]
    fn snapshot_tasks(&self, node: &NodeRef) -> Vec<TaskSnapshot> {
        let now = self.clock.now(); // foreign: before the lock
        let since = self.start_timing(now);
        let running = match node.is_marked() {
            true => TaskState::Cancelling,
            false => TaskState::Running,
        };
        let state = self.lock();
        let members = state.members.list.iter().map(|cell| (cell, running));
        let queued = state
            .limit
            .queue
            .iter()
            .map(|cell| (cell, TaskState::Queued));
        let task = |(cell, state): (super::cell::Cell, TaskState)| {
            // SAFETY: members, and those in the queue, are alive while the state is locked.
            let header = unsafe { cell.as_ref() };
            (header.number, header.snapshot(state, since, now))
        };
        let mut tasks: Vec<_> = members.chain(queued).map(task).collect();
        drop(state);
        tasks.sort_by_key(|(number, _)| *number);
        tasks.into_iter().map(|(_, task)| task).collect()
    }
}

impl Header {
    fn snapshot(&self, state: TaskState, since: Instant, now: Instant) -> TaskSnapshot {
        let since = now.saturating_duration_since(since);
        TaskSnapshot {
            name: self.name(),
            state,
            polls: self.polls(),
            age: Times::ago(&self.times.spawned, since),
            since_last_poll: Times::ago(&self.times.polled, since),
            location: self.site,
        }
    }
}

impl Snapshot {
    fn group(&self) -> &Group {
        &self.all[self.index]
    }

    /// Where in the program the group was made.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// let group = InPlaceGroup::<()>::new(&Context::background());
    /// assert_eq!(group.snapshot().location().line(), line!() - 1);
    /// ```
    pub fn location(&self) -> &'static Location<'static> {
        self.group().location
    }

    /// Its live tasks, in the order of spawning.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// let group = InPlaceGroup::<()>::new(&Context::background());
    /// assert!(group.snapshot().tasks().is_empty());
    /// ```
    pub fn tasks(&self) -> &[TaskSnapshot] {
        &self.group().tasks
    }

    /// The groups that were made under its context, the nearest.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// let outer = InPlaceGroup::<()>::new(&Context::background());
    /// let inner = InPlaceGroup::<()>::new(outer.context());
    /// assert_eq!(outer.snapshot().groups().count(), 1);
    /// assert_eq!(inner.snapshot().groups().count(), 0);
    /// ```
    pub fn groups(&self) -> impl Iterator<Item = Snapshot> + '_ {
        let end = self.group().end;
        let mut next = self.index + 1;
        std::iter::from_fn(move || {
            let index = (next < end).then_some(next)?;
            next = self.all[index].end;
            Some(Snapshot {
                all: self.all.clone(),
                index,
            })
        })
    }

    /// The tree as JSON: `{"location":…,"tasks":[…],"groups":[…]}`. Durations are in nanoseconds; what is not known is
    /// `null`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// let group = InPlaceGroup::new(&Context::background());
    /// group.spawn_named("say \"hi\"", async { Ok::<_, &str>(()) });
    /// let json = group.snapshot().to_json();
    /// assert!(json.contains(r#""name":"say \"hi\"","state":"running","polls":0,"age_ns":null"#));
    /// ```
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        let groups = &self.all[self.index..self.group().end];
        let top = self.group().depth;
        let mut open = 0;
        for (position, group) in groups.iter().enumerate() {
            let depth = group.depth - top;
            while open > depth {
                json.push_str("]}");
                open -= 1;
            }
            if position > 0 && !json.ends_with('[') {
                json.push(',');
            }
            group.write_json(&mut json);
            open += 1;
        }
        (0..open).for_each(|_| json.push_str("]}"));
        json
    }
}

impl Group {
    /// Leaves the list of groups below open.
    fn write_json(&self, json: &mut String) {
        json.push_str("{\"location\":");
        write_string(json, &self.location.to_string());
        json.push_str(",\"tasks\":[");
        for (position, task) in self.tasks.iter().enumerate() {
            if position > 0 {
                json.push(',');
            }
            task.write_json(json);
        }
        json.push_str("],\"groups\":[");
    }
}

impl TaskSnapshot {
    fn write_json(&self, json: &mut String) {
        let nanos = |time: Option<Duration>| {
            time.map_or_else(|| "null".to_owned(), |time| time.as_nanos().to_string())
        };
        json.push_str("{\"name\":");
        write_string(json, &self.name);
        json.push_str(&format!(
            ",\"state\":\"{}\",\"polls\":{},\"age_ns\":{},\"since_last_poll_ns\":{},\"location\":",
            self.state,
            self.polls,
            nanos(self.age),
            nanos(self.since_last_poll),
        ));
        write_string(json, &self.location.to_string());
        json.push('}');
    }
}

/// Writes a JSON string, after RFC 8259, section 7.
fn write_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = &self.all[self.index..self.group().end];
        let top = self.group().depth;
        // For each level: whether more follows there.
        let mut levels: Vec<bool> = Vec::new();
        for (position, group) in groups.iter().enumerate() {
            let depth = group.depth - top;
            levels.truncate(depth.saturating_sub(1));
            if depth > 0 {
                let index = self.index + position;
                let more = self.all.get(group.end).is_some_and(|next| {
                    group.end < self.group().end && next.depth == group.depth && group.end > index
                });
                write_indent(f, &levels)?;
                f.write_str(branch(!more))?;
                levels.push(more);
            }
            writeln!(f, "group at {}", group.location)?;
            let below = self.index + position + 1 < group.end;
            for (number, task) in group.tasks.iter().enumerate() {
                write_indent(f, &levels)?;
                let last = number + 1 == group.tasks.len() && !below;
                writeln!(f, "{}{task}", branch(last))?;
            }
        }
        Ok(())
    }
}

fn write_indent(f: &mut fmt::Formatter<'_>, levels: &[bool]) -> fmt::Result {
    levels
        .iter()
        .try_for_each(|more| f.write_str(if *more { "│  " } else { "   " }))
}

fn branch(last: bool) -> &'static str {
    if last { "└─ " } else { "├─ " }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
