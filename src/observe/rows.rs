//! Which rows are drawn where there are too many for a drawing, and how the others are summarized.

use super::event::Ended;
use super::history::{History, Moment, Place, TaskPast, What};
use super::scale::Scale;
use std::collections::BTreeMap;
use std::time::Duration;

/// The rows of a drawing.
pub(super) struct Selection {
    /// In the order of the drawing.
    pub(super) rows: Vec<Place>,
    pub(super) left_out: LeftOut,
}

/// Rows that share the room in a drawing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    First,
    Running,
    Cancelled,
    Finished,
    Group,
    Step,
}

/// What is not drawn.
#[derive(Default)]
pub(super) struct LeftOut {
    pub(super) groups: usize,
    /// Attempts and the like.
    pub(super) steps: usize,
    /// How many tasks, by how they ended; `None` for those that had not.
    pub(super) tasks: BTreeMap<Option<Ended>, usize>,
    /// The shortest and the longest of those tasks.
    pub(super) took: Option<(Duration, Duration)>,
}

impl History {
    /// The most important of the rows, at most `most`: the outermost groups and the failures first. Of the others each kind
    /// has its share: what has not ended, what was cancelled, what has finished, the groups. The longest come first.
    pub(super) fn select(&self, most: usize) -> Selection {
        let mut kinds: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
        for (row, place) in self.order.iter().enumerate() {
            kinds.entry(self.kind_of(*place)).or_default().push(row);
        }
        let mut ranked = Vec::with_capacity(self.order.len());
        for (kind, rows) in &mut kinds {
            rows.sort_by_key(|row| std::cmp::Reverse(self.took(self.order[*row].what)));
            let turn = |turn| if *kind == Kind::First { 0 } else { turn };
            ranked.extend(
                rows.iter()
                    .enumerate()
                    .map(|(number, row)| (turn(number + 1), *kind, *row)),
            );
        }
        ranked.sort_unstable();
        let left_out = ranked.split_off(most.min(ranked.len()));
        let mut rows: Vec<usize> = ranked.into_iter().map(|(_, _, row)| row).collect();
        rows.sort_unstable();
        Selection {
            rows: rows.into_iter().map(|row| self.order[row]).collect(),
            left_out: self.left_out(left_out.into_iter().map(|(_, _, row)| self.order[row].what)),
        }
    }

    fn kind_of(&self, place: Place) -> Kind {
        match place.what {
            _ if place.depth == 0 => Kind::First,
            What::Group(_) => Kind::Group,
            What::Step(..) => Kind::Step,
            What::Task(task) => match self.tasks[task].end.as_ref().map(|end| end.how) {
                Some(how) if how.is_failure() => Kind::First,
                None => Kind::Running,
                Some(Ended::Cancelled) => Kind::Cancelled,
                Some(_) => Kind::Finished,
            },
        }
    }

    fn took(&self, what: What) -> Duration {
        match what {
            What::Group(group) => {
                let group = &self.groups[group];
                group
                    .closed
                    .unwrap_or(self.end)
                    .saturating_sub(group.start())
            }
            What::Task(task) => self.tasks[task].end_or(self.end) - self.tasks[task].start,
            What::Step(task, step) => {
                let step = &self.tasks[task].steps.shown()[step];
                step.to_or(self.end) - step.from
            }
        }
    }

    fn left_out(&self, rows: impl Iterator<Item = What>) -> LeftOut {
        let mut left_out = LeftOut::default();
        for row in rows {
            match row {
                What::Group(_) => left_out.groups += 1,
                What::Task(task) => left_out.add(&self.tasks[task], self.end),
                What::Step(..) => left_out.steps += 1,
            }
        }
        left_out
    }
}

impl LeftOut {
    fn add(&mut self, task: &TaskPast, last: Moment) {
        let how = task.end.as_ref().map(|end| end.how);
        *self.tasks.entry(how).or_default() += 1;
        let took = task.end_or(last) - task.start;
        let (least, most) = self.took.unwrap_or((took, took));
        self.took = Some((least.min(took), most.max(took)));
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.groups == 0 && self.steps == 0 && self.tasks.is_empty()
    }

    /// `9800 more tasks: 9750 finished, 50 cancelled; they took 0.1ms to 3ms`
    pub(super) fn text(&self, scale: Scale) -> String {
        let mut parts = Vec::new();
        if !self.tasks.is_empty() {
            let all: usize = self.tasks.values().sum();
            let each = self.tasks.iter().map(|(how, count)| match how {
                Some(how) => format!("{count} {how}"),
                None => format!("{count} not ended"),
            });
            let each = each.collect::<Vec<_>>().join(", ");
            let took = self.took.map_or_else(String::new, |(least, most)| {
                format!("; they took {} to {}", scale.show(least), scale.show(most))
            });
            parts.push(format!("{all} more {}: {each}{took}", plural(all, "task")));
        }
        if self.groups > 0 {
            parts.push(format!(
                "{} more {}",
                self.groups,
                plural(self.groups, "group")
            ));
        }
        if self.steps > 0 {
            parts.push(format!(
                "{} more {}",
                self.steps,
                plural(self.steps, "attempt")
            ));
        }
        parts.join("; ")
    }
}

pub(super) fn plural(count: usize, word: &str) -> String {
    match count {
        1 => word.to_owned(),
        _ => format!("{word}s"),
    }
}
