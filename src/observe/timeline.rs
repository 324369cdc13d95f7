//! The events as text, for a person at a terminal.

use super::event::Ended;
use super::history::{GroupPast, History, Moment, TaskPast, What};
use super::label::{printable, shortened};
use super::rows::{Selection, plural};
use super::scale::Scale;
use super::steps::{Outcome, Step, StepKind};
use std::fmt;

/// How many rows are drawn at most: what fits on a screen.
const MOST_ROWS: usize = 50;
const WIDTH: usize = 80;
/// Narrower than this nothing can be recognized.
const LEAST_WIDTH: usize = 40;
/// A formatter pads to 65,535 characters at most, and panics beyond.
const MOST_WIDTH: usize = 10_000;
/// Even where the texts are long.
const LEAST_AXIS: usize = 10;
const MOST_DEPTH: usize = 6;

/// A drawing of what a [`Recorder`](super::Recorder) has kept: a row a group and a task, on one axis. Displays as text.
///
/// ```text
///  timeline  0ms                               50.3ms
/// dashboard  |--------------------------------------x cancelled at 50.3ms: profile: HTTP 500
/// profile    |======================================! failed at 50.2ms: profile: HTTP 500
/// orders     |======================================x cancelled at 50.3ms
/// deadline                                          > 5000ms, not reached
/// ```
///
/// Dots are a task's time in the queue of its group's limit, or a retry's wait for its next attempt. Attempts have rows
/// of their own where there are several. Of more than 50 rows it shows the most important ones, and
/// lists what it left out. Control characters in names are replaced, so that no name can disturb the terminal.
///
/// # Examples
///
/// ```
/// use failfast::observe::Recorder;
///
/// assert_eq!(Recorder::new().timeline().to_string(), "timeline  nothing was recorded\n");
/// ```
#[derive(Clone)]
pub struct Timeline {
    history: History,
    width: usize,
}

impl Timeline {
    pub(super) fn new(history: History) -> Self {
        Self {
            history,
            width: WIDTH,
        }
    }

    /// No line is longer than `width` characters; 80 by default, 40 at least, and 10,000 at most.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup, observe::Recorder};
    /// let recorder = Recorder::new();
    /// let group = InPlaceGroup::new(&Context::background().with_observer(recorder.clone()));
    /// group.spawn_named("orders", async { Ok::<_, &str>(5) });
    /// futures::executor::block_on(group.wait()).unwrap();
    /// let drawn = recorder.timeline().with_width(50).to_string();
    /// assert!(drawn.lines().all(|line| line.chars().count() <= 50));
    /// ```
    #[must_use]
    pub fn with_width(mut self, width: usize) -> Self {
        self.width = width.clamp(LEAST_WIDTH, MOST_WIDTH);
        self
    }
}

/// One line of the drawing.
struct Row {
    label: String,
    /// `None`: a line of text.
    bar: Option<Bar>,
    /// Behind the bar: what must be read, and what may be cut off.
    note: String,
    detail: String,
}

struct Bar {
    from: Moment,
    /// Until here it was in a queue.
    queued: Moment,
    to: Moment,
    line: char,
    mark: char,
}

impl Row {
    fn of_group(group: &GroupPast, history: &History, scale: Scale) -> Self {
        let canceled = group.canceled.as_ref().map(|canceled| canceled.at);
        let to = canceled.or(group.closed).unwrap_or(history.end);
        let (mark, note, detail) = match (&group.canceled, group.closed) {
            (Some(canceled), _) => (
                'x',
                format!("cancelled at {}", scale.show(canceled.at)),
                format!(": {}", canceled.cause),
            ),
            (None, Some(closed)) => (
                'o',
                format!("closed at {}", scale.show(closed)),
                String::new(),
            ),
            (None, None) => ('>', "open".to_owned(), String::new()),
        };
        let from = group.start();
        Self {
            label: group.label(),
            bar: Some(Bar {
                from,
                queued: from,
                to: to.max(from),
                line: '-',
                mark,
            }),
            note,
            detail,
        }
    }

    fn of_task(task: &TaskPast, history: &History, scale: Scale) -> Self {
        let (mark, note, detail) = end_of(task, scale);
        let to = task.end_or(history.end);
        Self {
            label: task.name.to_string(),
            bar: Some(Bar {
                from: task.start,
                queued: task.began(history.end),
                to,
                line: '=',
                mark,
            }),
            note,
            detail,
        }
    }

    fn of_step(step: &Step, history: &History, scale: Scale) -> Self {
        let mark = match step.what {
            StepKind::Attempt(_, Outcome::Succeeded) => 'o',
            StepKind::Attempt(_, Outcome::Running) => '>',
            StepKind::Attempt(_, Outcome::Cut) => 'x',
            StepKind::Attempt(_, Outcome::Failed) | StepKind::Rejected => '!',
            StepKind::Transition => '*',
        };
        let to = step.to_or(history.end);
        let text = step.text.as_ref();
        Self {
            label: step.label(),
            bar: Some(Bar {
                from: step.since(),
                queued: step.from,
                to,
                line: '-',
                mark,
            }),
            note: format!("{} at {}", step.what.word(), scale.show(to)),
            detail: text.map_or_else(String::new, |text| format!(": {text}")),
        }
    }

    fn of_deadline(at: Moment, axis: Moment, scale: Scale) -> Self {
        let (mark, note) = match at > axis {
            true => ('>', format!("{}, not reached", scale.about(at))),
            false => ('^', scale.show(at)),
        };
        let at = at.min(axis);
        Self {
            label: "deadline".to_owned(),
            bar: Some(Bar {
                from: at,
                queued: at,
                to: at,
                line: ' ',
                mark,
            }),
            note,
            detail: String::new(),
        }
    }

    fn of_text(text: String) -> Self {
        Self {
            label: String::new(),
            bar: None,
            note: String::new(),
            detail: text,
        }
    }

    fn line(&self, axis: &Axis, label: usize) -> String {
        let Some(bar) = &self.bar else {
            return self.detail.clone();
        };
        let (name, bar) = (shortened(&self.label, label), axis.draw(bar));
        format!("{name:label$}  {bar} {}{}", self.note, self.detail)
    }

    fn indented(mut self, depth: usize) -> Self {
        // The tasks of the outermost groups stand flush with them.
        let depth = depth.saturating_sub(1).min(MOST_DEPTH);
        self.label = format!(
            "{:indent$}{}",
            "",
            printable(&self.label),
            indent = depth * 2
        );
        self.detail = printable(&self.detail);
        self
    }
}

fn end_of(task: &TaskPast, scale: Scale) -> (char, String, String) {
    let Some(end) = &task.end else {
        return ('>', "running".to_owned(), String::new());
    };
    let mark = match end.how {
        Ended::Succeeded => 'o',
        Ended::Failed | Ended::Panicked | Ended::Lost => '!',
        Ended::Cancelled => 'x',
    };
    let note = match end.how {
        Ended::Cancelled if task.polls.is_empty() => "never started".to_owned(),
        how => format!("{how} at {}", scale.show(end.at)),
    };
    let error = task.error();
    let detail = error.map_or_else(String::new, |error| format!(": {error}"));
    (mark, note, detail)
}

/// From moments to columns.
struct Axis {
    span: Moment,
    columns: usize,
}

impl Axis {
    fn column(&self, at: Moment) -> usize {
        if self.span.is_zero() {
            return 0;
        }
        let share = (at.as_secs_f64() / self.span.as_secs_f64()).min(1.0);
        (share * self.columns.saturating_sub(1) as f64).round() as usize
    }

    fn draw(&self, bar: &Bar) -> String {
        let [from, queued, to] = [bar.from, bar.queued, bar.to].map(|at| self.column(at));
        let mut drawn = " ".repeat(from);
        if from < to {
            drawn.push('|');
            let (dots, rest) = (queued.clamp(from + 1, to) - from - 1, to - from - 1);
            drawn.extend(std::iter::repeat_n('.', dots));
            drawn.extend(std::iter::repeat_n(bar.line, rest - dots));
        }
        drawn.push(bar.mark);
        drawn
    }
}

impl Timeline {
    /// The axis reaches to the last event, and on to a deadline unless that is so far off that the events would shrink
    /// to a dot.
    fn span(&self) -> Moment {
        let end = self.history.end;
        let near = self
            .history
            .deadlines()
            .into_iter()
            .filter(|at| *at <= end.saturating_mul(2));
        near.max().unwrap_or_default().max(end)
    }

    fn rows(&self, span: Moment, scale: Scale) -> Vec<Row> {
        let history = &self.history;
        let Selection { rows, left_out } = history.select(MOST_ROWS);
        let row = |place: &super::history::Place| match place.what {
            What::Group(group) => Row::of_group(&history.groups[group], history, scale),
            What::Task(task) => Row::of_task(&history.tasks[task], history, scale),
            What::Step(task, step) => {
                Row::of_step(&history.tasks[task].steps.shown()[step], history, scale)
            }
        };
        let mut rows: Vec<_> = rows
            .iter()
            .map(|place| row(place).indented(place.depth))
            .collect();
        if !left_out.is_nothing() {
            rows.push(Row::of_text(format!("and {}", left_out.text(scale))));
        }
        let deadlines = history.deadlines();
        rows.extend(
            deadlines
                .iter()
                .take(3)
                .map(|at| Row::of_deadline(*at, span, scale)),
        );
        if let Some(more @ 1..) = deadlines.len().checked_sub(3) {
            rows.push(Row::of_text(format!(
                "and {more} later {}",
                plural(more, "deadline")
            )));
        }
        if history.dropped > 0 {
            rows.push(Row::of_text(format!(
                "{} earlier events were dropped",
                history.dropped
            )));
        }
        rows
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TITLE: &str = "timeline";
        let span = self.span();
        let scale = Scale::of(span);
        let rows = self.rows(span, scale);
        if rows.is_empty() {
            return writeln!(f, "{TITLE}  nothing was recorded");
        }
        let bars = || rows.iter().filter(|row| row.bar.is_some());
        let longest = |of: fn(&Row) -> usize| bars().map(of).max().unwrap_or(0);
        let label = longest(|row| count(&row.label)).clamp(TITLE.len(), self.width / 3);
        let note = longest(|row| count(&row.note));
        // A long text is cut off rather than that the axis has no room.
        let text = longest(|row| count(&row.note) + count(&row.detail));
        let text = text.min(note.max(self.width * 2 / 5));
        let axis = Axis {
            span,
            columns: self
                .width
                .saturating_sub(label + 2 + 1 + text)
                .max(LEAST_AXIS),
        };
        let last = axis.columns.saturating_sub(3);
        writeln!(f, "{TITLE:>label$}  0ms{:>last$}", scale.show(span))?;
        for row in &rows {
            writeln!(f, "{}", shortened(&row.line(&axis, label), self.width))?;
        }
        Ok(())
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
