//! Looking into a group: its tasks, and the state of each.

use super::cell::Header;
use super::engine::Engine;
use super::observed::with_current_task;
use crate::clock::Instant;
use crate::context::NodeRef;
use crate::error::{Cause, Name};
use crate::json::Object;
use crate::observe::text_of;
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
    /// The aggregator's, where the group is observed.
    name: Option<Name>,
    /// The task of the group above that made it.
    made_by: Option<Name>,
    ends: Ends,
    /// How many run, and how many may.
    limit: Option<(usize, usize)>,
    tasks: Vec<TaskSnapshot>,
    /// How many groups it is below the first.
    depth: usize,
    /// Where the groups below it end.
    end: usize,
}

/// What ends the tasks of a group, if they do not end by themselves.
#[derive(Default)]
struct Ends {
    /// How long it is until the deadline of the group's context.
    deadline_in: Option<Duration>,
    /// Why the context has ended.
    cause: Option<Cause>,
}

/// The task in which a group was made, if it was made in one.
#[derive(Clone, Copy)]
pub(super) struct Maker {
    /// The address of its group; 0 for none. While the group that it made lives below that one, no other group's.
    group: usize,
    number: u64,
}

impl Maker {
    /// The task that is being polled on this thread.
    #[inline]
    pub(super) fn current() -> Self {
        let of = |header: &Header, _: &_| Self {
            group: header.shared().address() as usize,
            number: header.number,
        };
        with_current_task(of).unwrap_or(Self {
            group: 0,
            number: 0,
        })
    }
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
    /// Its number, counted from 0 in the order of spawning.
    pub number: u64,
    /// Its name, or `task 3`.
    pub name: Name,
    /// What it is doing.
    pub state: TaskState,
    /// How often it has been polled.
    pub polls: u32,
    /// How long ago it was spawned, to a tenth of a millisecond; `None` if no times were taken then: they are from the
    /// first snapshot on, and from the start in a group that is observed.
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
    /// It has been canceled, and has not been dropped yet.
    Cancelling,
}

/// Takes a snapshot of a group and of those below it.
pub(super) fn of(node: &NodeRef) -> Snapshot {
    let mut all: Vec<Group> = Vec::new();
    let mut open = vec![(node.clone(), 0, None)];
    while let Some((node, depth, parent)) = open.pop() {
        let mut group = Group::of(&node);
        group.depth = depth;
        group.made_by = parent.and_then(|(address, index): (usize, usize)| {
            let maker = Some(engine_of(&node)?.maker).filter(|maker| maker.group == address)?;
            let tasks = &all[index].tasks;
            let found = tasks
                .binary_search_by_key(&maker.number, |task| task.number)
                .ok()?;
            Some(tasks[found].name.clone())
        });
        // Taken from the end of the stack, so the first comes last.
        let below = node.groups_below().into_iter().rev();
        let parent = Some((
            std::sync::Arc::as_ptr(&node).cast::<()>() as usize,
            all.len(),
        ));
        open.extend(below.map(|node| (node, depth + 1, parent)));
        all.push(group);
    }
    close(&mut all);
    Snapshot {
        all: all.into(),
        index: 0,
    }
}

fn engine_of(node: &NodeRef) -> Option<&Engine> {
    node.kind.as_any()?.downcast_ref()
}

impl Group {
    fn of(node: &NodeRef) -> Self {
        let engine = engine_of(node);
        let now = engine.map(|engine| engine.clock.now()); // foreign: before the lock
        let until = |at: Instant| Some(at.saturating_duration_since(now?));
        Self {
            location: node.origin(),
            name: engine.and_then(Engine::observed_name),
            made_by: None,
            ends: Ends {
                deadline_in: node.deadline().and_then(until),
                cause: node.end().map(|end| end.cause()),
            },
            limit: engine.and_then(Engine::limit),
            tasks: engine
                .zip(now)
                .map_or_else(Vec::new, |(engine, now)| engine.snapshot_tasks(node, now)),
            depth: 0,
            end: 0,
        }
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
    pub(super) fn start_timing(&self, now: Instant) -> Instant {
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
        // 0 stands for no reading.
        Some(u32::try_from(ticks + 1).unwrap_or(u32::MAX))
    }

    #[inline]
    pub(super) fn note_spawn(&self, header: &Header) {
        if let Some(ticks) = self.timing.get().and_then(|_| self.ticks_now()) {
            // Relaxed, here and below, because a snapshot needs no order between a time and other memory.
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
    fn snapshot_tasks(&self, node: &NodeRef, now: Instant) -> Vec<TaskSnapshot> {
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
            header.snapshot(state, since, now)
        };
        let mut tasks: Vec<_> = members.chain(queued).map(task).collect();
        drop(state);
        tasks.sort_by_key(|task| task.number);
        tasks
    }

    /// How many run, and how many may.
    fn limit(&self) -> Option<(usize, usize)> {
        let state = self.lock();
        let (running, most) = (state.limit.running, state.limit.most);
        (most < usize::MAX).then_some((running, most))
    }
}

impl Header {
    fn snapshot(&self, state: TaskState, since: Instant, now: Instant) -> TaskSnapshot {
        let since = now.saturating_duration_since(since);
        TaskSnapshot {
            number: self.number,
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

    /// The name of the aggregator whose group it is; `None` also if the group is not
    /// [observed](crate::Context::with_observer).
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// let group = InPlaceGroup::<()>::new(&Context::background());
    /// assert_eq!(group.snapshot().name(), None);
    /// ```
    pub fn name(&self) -> Option<&Name> {
        self.group().name.as_ref()
    }

    /// The task in which the group was made, if that is a task of the group above it and lives.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// # futures::executor::block_on(async {
    /// let outer = InPlaceGroup::new(&Context::background());
    /// let handle = outer.handle();
    /// outer.spawn_named("page", async move {
    ///     let inner = InPlaceGroup::<()>::new(handle.context());
    ///     let snapshot = handle.snapshot().groups().next();
    ///     assert_eq!(snapshot.unwrap().made_by().unwrap(), "page");
    ///     Ok::<_, &str>(drop(inner))
    /// });
    /// outer.wait().await.unwrap();
    /// # });
    /// ```
    pub fn made_by(&self) -> Option<&Name> {
        self.group().made_by.as_ref()
    }

    /// How long it was until the deadline of the group's context, which ends its tasks; `None` if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// # use std::time::Duration;
    /// let ctx = Context::background().with_timeout(Duration::from_secs(60));
    /// let group = InPlaceGroup::<()>::new(&ctx);
    /// assert!(group.snapshot().deadline_in().unwrap() <= Duration::from_secs(60));
    /// ```
    pub fn deadline_in(&self) -> Option<Duration> {
        self.group().ends.deadline_in
    }

    /// Why the group's context had ended; `None` if it had not.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup};
    /// let group = InPlaceGroup::<()>::new(&Context::background());
    /// group.cancel_with("shutting down");
    /// assert_eq!(group.snapshot().cause().unwrap().to_string(), "shutting down");
    /// ```
    pub fn cause(&self) -> Option<&Cause> {
        self.group().ends.cause.as_ref()
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

    /// The tree as JSON: `{"location":…,"name":…,"made_by":…,"deadline_in_ns":…,"cause":…,"running":…,"limit":…,"tasks":[…],
    /// "groups":[…]}`. Durations are in nanoseconds; a missing value is
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
        let cause = self.ends.cause.as_ref().map(text_of);
        let (running, most) = self.limit.unzip();
        Object::begin(json)
            .string("location", &self.location.to_string())
            .maybe_string("name", self.name.as_deref())
            .maybe_string("made_by", self.made_by.as_deref())
            .or_null(
                "deadline_in_ns",
                self.ends.deadline_in.map(|left| left.as_nanos()),
            )
            .maybe_string("cause", cause.as_deref())
            .maybe_raw("running", running)
            .maybe_raw("limit", most)
            .nested("tasks", |json| {
                json.push('[');
                for (position, task) in self.tasks.iter().enumerate() {
                    if position > 0 {
                        json.push(',');
                    }
                    task.write_json(json);
                }
                json.push(']');
            })
            .nested("groups", |json| json.push('['));
    }
}

impl TaskSnapshot {
    fn write_json(&self, json: &mut String) {
        let nanos = |time: Option<Duration>| time.map(|time| time.as_nanos());
        Object::begin(json)
            .raw("number", self.number)
            .string("name", &self.name)
            .string("state", &self.state.to_string())
            .raw("polls", self.polls)
            .or_null("age_ns", nanos(self.age))
            .or_null("since_last_poll_ns", nanos(self.since_last_poll))
            .string("location", &self.location.to_string())
            .end();
    }
}

/// `group at src/main.rs:12 (dashboard), made by page, ends in 4.2s, 2 of at most 4 running`
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group at {}", self.location)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        if let Some(maker) = &self.made_by {
            write!(f, ", made by {maker}")?;
        }
        match (&self.ends.cause, self.ends.deadline_in) {
            (Some(cause), _) => write!(f, ", ended: {}", text_of(cause))?,
            (None, Some(left)) => write!(f, ", ends in {left:.1?}")?,
            (None, None) => f.write_str(", no deadline")?,
        }
        match self.limit {
            Some((running, most)) => write!(f, ", {running} of at most {most} running"),
            None => Ok(()),
        }
    }
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
                // Outside of the tree that is drawn, no group is as deep as one below its top.
                let next = self.all.get(group.end);
                let more = next.is_some_and(|next| next.depth == group.depth);
                write_indent(f, &levels)?;
                f.write_str(branch(!more))?;
                levels.push(more);
            }
            writeln!(f, "{group}")?;
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
