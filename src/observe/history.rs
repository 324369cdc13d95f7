//! The events put in order: the tree of groups and tasks, on one time axis. All drawings are made from it.
//!
//! Events may be missing, because the oldest were dropped or the run is not over. What is missing is `None`, and a span
//! without a begin or an end begins with the first event or ends with the last.

use super::event::{Ended, Event, EventKind, Of};
use super::port::{GroupEvent, TaskEvent};
use super::steps::Steps;
use crate::clock::Instant;
use crate::error::Name;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// A moment, counted from the first event.
pub(super) type Moment = Duration;

#[derive(Clone)]
pub(super) struct History {
    /// In the order in which they were first seen.
    pub(super) groups: Vec<GroupPast>,
    pub(super) tasks: Vec<TaskPast>,
    /// The last event.
    pub(super) end: Moment,
    /// How many events came before, and were dropped.
    pub(super) dropped: u64,
    /// Groups and tasks as they are drawn: each group, then its tasks in the order of spawning, and below a task the
    /// groups that it made.
    pub(super) order: Vec<Place>,
}

/// A group's or a task's place in the drawing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) depth: usize,
    pub(super) what: What,
}

/// By index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Group(usize),
    Task(usize),
    /// A step of a policy: the task, and which of its steps.
    Step(usize, usize),
}

#[derive(Clone)]
pub(super) struct GroupPast {
    pub(super) number: u64,
    /// By index.
    pub(super) parent: Option<usize>,
    /// The task of the parent that made it, by index.
    pub(super) made_by: Option<usize>,
    pub(super) name: Option<Name>,
    pub(super) location: Option<&'static Location<'static>>,
    pub(super) opened: Option<Moment>,
    pub(super) closed: Option<Moment>,
    pub(super) deadline: Option<Moment>,
    pub(super) canceled: Option<Canceled>,
    /// By index, in the order of spawning.
    pub(super) tasks: Vec<usize>,
    first_seen: Moment,
    last_failed: Option<usize>,
}

#[derive(Clone)]
pub(super) struct Canceled {
    pub(super) at: Moment,
    pub(super) cause: Arc<str>,
    /// The task whose failure it was, by index: of this group, or of one above.
    pub(super) culprit: Option<usize>,
}

#[derive(Clone)]
pub(super) struct TaskPast {
    /// By index.
    pub(super) group: usize,
    pub(super) number: u64,
    pub(super) name: Name,
    pub(super) location: &'static Location<'static>,
    /// The first event, which is the spawn unless that was dropped.
    pub(super) start: Moment,
    /// When it was queued, and has not been polled yet.
    pub(super) queued: bool,
    /// In order. The end of the last is `None` while it runs.
    pub(super) polls: Vec<(Moment, Option<Moment>)>,
    pub(super) steps: Steps,
    pub(super) end: Option<TaskEnd>,
    /// Its latest event.
    latest: Moment,
}

#[derive(Clone)]
pub(super) struct TaskEnd {
    pub(super) at: Moment,
    pub(super) how: Ended,
    pub(super) error: Option<Arc<str>>,
}

impl GroupPast {
    pub(super) fn start(&self) -> Moment {
        self.opened.unwrap_or(self.first_seen)
    }

    /// Its name, or the line where it was made.
    pub(super) fn label(&self) -> String {
        match (&self.name, self.location) {
            (None, Some(location)) => {
                let file = location.file().rsplit(['/', '\\']).next();
                format!("group {}:{}", file.unwrap_or_default(), location.line())
            }
            _ => self.title(),
        }
    }

    /// Its name, or where it was made.
    pub(super) fn title(&self) -> String {
        match (&self.name, self.location) {
            (Some(name), _) => name.to_string(),
            (None, Some(location)) => format!("group at {}:{}", location.file(), location.line()),
            (None, None) => format!("group {}", self.number),
        }
    }
}

impl TaskPast {
    /// Its error, which need not repeat its name.
    pub(super) fn error(&self) -> Option<&str> {
        let error = self.end.as_ref()?.error.as_deref()?;
        let rest = error.strip_prefix(&*self.name);
        Some(
            rest.and_then(|rest| rest.strip_prefix(": "))
                .unwrap_or(error),
        )
    }

    pub(super) fn has_failed(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.how.is_failure())
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.end
            .as_ref()
            .is_some_and(|end| end.how == Ended::Cancelled)
    }

    /// When it could run: its spawn, or its way out of the queue.
    pub(super) fn began(&self, last: Moment) -> Moment {
        match self.polls.first() {
            _ if !self.queued => self.start,
            Some((first, _)) => *first,
            None => self.end_or(last),
        }
    }

    /// Its end, or that of the recording.
    pub(super) fn end_or(&self, last: Moment) -> Moment {
        self.end.as_ref().map_or(last, |end| end.at).max(self.start)
    }
}

impl History {
    pub(super) fn new(events: &[Event], dropped: u64) -> Self {
        let mut reader = Reader::new(events, dropped);
        events.iter().for_each(|event| reader.read(event));
        let mut history = reader.history;
        history.find_culprits_above();
        history.order = history.ordered();
        history
    }

    /// The deadlines of its groups, each once, the earliest first.
    pub(super) fn deadlines(&self) -> Vec<Moment> {
        let mut all: Vec<_> = self
            .groups
            .iter()
            .filter_map(|group| group.deadline)
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The task whose failure cancelled a task, if the events show it.
    pub(super) fn culprit_of(&self, task: &TaskPast) -> Option<usize> {
        let canceled = self.groups[task.group].canceled.as_ref()?;
        let end = task.end.as_ref()?;
        let culprit = canceled
            .culprit
            .filter(|_| task.is_cancelled() && end.at >= canceled.at)?;
        Some(culprit)
    }

    /// A group that was cancelled with one above it has the culprit of that one.
    fn find_culprits_above(&mut self) {
        for group in 0..self.groups.len() {
            let Some(canceled) = &self.groups[group].canceled else {
                continue;
            };
            if canceled.culprit.is_some() {
                continue;
            }
            let found = self.culprit_above(group, canceled);
            if let Some(canceled) = &mut self.groups[group].canceled {
                canceled.culprit = found;
            }
        }
    }

    /// A parent is seen before its children, so the one above has been looked at already.
    fn culprit_above(&self, group: usize, canceled: &Canceled) -> Option<usize> {
        let above = self.groups[group].parent?;
        let above = self.groups[above].canceled.as_ref()?;
        above.culprit.filter(|_| above.cause == canceled.cause)
    }

    /// Depth first, without recursion.
    fn ordered(&self) -> Vec<Place> {
        let (mut of_groups, mut of_tasks) = (vec![Vec::new(); self.groups.len()], BTreeMap::new());
        let mut open = Vec::new();
        for (index, group) in self.groups.iter().enumerate() {
            match (group.made_by, group.parent) {
                (Some(task), _) => of_tasks.entry(task).or_insert_with(Vec::new).push(index),
                (None, Some(parent)) => of_groups[parent].push(index),
                (None, None) => open.push(Place {
                    depth: 0,
                    what: What::Group(index),
                }),
            }
        }
        open.reverse();
        let mut order = Vec::with_capacity(self.groups.len() + self.tasks.len());
        while let Some(place) = open.pop() {
            order.push(place);
            let depth = place.depth + 1;
            let below = |what| Place { depth, what };
            match place.what {
                What::Group(group) => {
                    let tasks = self.groups[group]
                        .tasks
                        .iter()
                        .map(|task| What::Task(*task));
                    let groups = of_groups[group].iter().map(|group| What::Group(*group));
                    open.extend(tasks.chain(groups).rev().map(below));
                }
                What::Task(task) => {
                    let groups = of_tasks.get(&task).into_iter().flatten();
                    open.extend(groups.rev().map(|group| below(What::Group(*group))));
                    let steps = 0..self.tasks[task].steps.shown().len();
                    open.extend(steps.rev().map(|step| below(What::Step(task, step))));
                }
                What::Step(..) => {}
            }
        }
        order
    }
}

/// Reads the events one by one.
struct Reader {
    history: History,
    since: Option<Instant>,
    groups: BTreeMap<u64, usize>,
    tasks: BTreeMap<(u64, u64), usize>,
}

impl Reader {
    fn new(events: &[Event], dropped: u64) -> Self {
        Self {
            history: History {
                groups: Vec::new(),
                tasks: Vec::new(),
                end: Moment::ZERO,
                dropped,
                order: Vec::new(),
            },
            since: events.iter().map(|event| event.at).min(),
            groups: BTreeMap::new(),
            tasks: BTreeMap::new(),
        }
    }

    fn moment(&self, at: Instant) -> Moment {
        at.saturating_duration_since(self.since.unwrap_or(at))
    }

    fn read(&mut self, event: &Event) {
        let at = self.moment(event.at);
        self.history.end = self.history.end.max(at);
        match &event.of {
            Of::Group(group) => self.read_group(event, group, at),
            Of::Task(task) => self.read_task(event, task, at),
            Of::Reader => {}
        }
    }

    fn read_group(&mut self, event: &Event, facts: &GroupEvent, at: Moment) {
        let index = self.group(facts.group, at);
        self.learn(index, facts, at);
        let group = &mut self.history.groups[index];
        match event.kind {
            EventKind::GroupOpened => group.opened = Some(at),
            EventKind::GroupClosed => group.closed = Some(at.max(group.start())),
            EventKind::Canceled => {
                let cause = event.text.clone().unwrap_or_default();
                let failed = |task: &usize| {
                    let end = self.history.tasks[*task].end.as_ref();
                    end.is_some_and(|end| {
                        end.error.as_deref() == Some(&*cause) || end.error.is_none()
                    })
                };
                let culprit = group.last_failed.filter(failed);
                let at = at.max(group.start());
                group.canceled = Some(Canceled { at, cause, culprit });
            }
            _ => {}
        }
    }

    fn read_task(&mut self, event: &Event, facts: &TaskEvent, at: Moment) {
        let index = self.task(facts, at);
        let task = &mut self.history.tasks[index];
        let at = at.max(task.latest); // a clock of the user's may run backwards
        task.latest = at;
        match event.kind {
            EventKind::TaskQueued => task.queued = true,
            EventKind::PollStarted => task.polls.push((at, None)),
            EventKind::PollEnded => task.end_poll(at),
            EventKind::Attempt(attempt, kind) => task.steps.read(attempt, kind, event, at),
            EventKind::TaskEnded(how) => {
                task.end_poll(at); // its end may have been dropped
                task.steps.cut(at);
                let error = event.text.clone();
                task.end = Some(TaskEnd { at, how, error });
                if how.is_failure() {
                    let group = task.group;
                    self.history.groups[group].last_failed = Some(index);
                }
            }
            _ => {}
        }
    }

    fn group(&mut self, number: u64, at: Moment) -> usize {
        *self.groups.entry(number).or_insert_with(|| {
            self.history.groups.push(GroupPast {
                number,
                parent: None,
                made_by: None,
                name: None,
                location: None,
                opened: None,
                closed: None,
                deadline: None,
                canceled: None,
                tasks: Vec::new(),
                first_seen: at,
                last_failed: None,
            });
            self.history.groups.len() - 1
        })
    }

    /// Takes over what each event of a group holds of it. Its parent is found if an event of the parent was kept before.
    fn learn(&mut self, index: usize, facts: &GroupEvent, at: Moment) {
        let parent = facts
            .parent
            .and_then(|parent| self.groups.get(&parent).copied());
        let parent = parent.filter(|parent| *parent < index);
        let made_by = facts.parent.zip(facts.parent_task);
        let made_by = made_by.and_then(|task| self.tasks.get(&task).copied());
        let deadline = facts.deadline.map(|deadline| self.moment(deadline));
        let group = &mut self.history.groups[index];
        group.parent = parent;
        group.made_by = made_by.filter(|_| parent.is_some());
        group.name.clone_from(&facts.name);
        group.location = Some(facts.location);
        group.deadline = deadline;
        group.first_seen = group.first_seen.min(at);
    }

    fn task(&mut self, facts: &TaskEvent, at: Moment) -> usize {
        let group = self.group(facts.group, at);
        let key = (facts.group, facts.task);
        if let Some(known) = self.tasks.get(&key) {
            return *known;
        }
        let index = self.history.tasks.len();
        self.history.tasks.push(TaskPast {
            group,
            number: facts.task,
            name: facts.name(),
            location: facts.location,
            start: at,
            queued: false,
            polls: Vec::new(),
            steps: Steps::default(),
            end: None,
            latest: at,
        });
        let tasks = &mut self.history.groups[group].tasks;
        let history = &self.history.tasks;
        let position = tasks.partition_point(|task| history[*task].number < facts.task);
        tasks.insert(position, index);
        self.tasks.insert(key, index);
        index
    }
}

impl TaskPast {
    /// An end without a beginning, which was dropped, is none.
    fn end_poll(&mut self, at: Moment) {
        if let Some((start, end @ None)) = self.polls.last_mut() {
            *end = Some(at.max(*start));
        }
    }
}
