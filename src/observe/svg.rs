//! The events as a picture: one SVG, made of rows on a time axis.
//!
//! ```text
//! label            axis                                   outcome
//! dashboard        ────────────────────────╴              cancelled after 50.3ms: profile: HTTP 500
//!   profile        ▒▓▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓┐              failed after 50.2ms: profile: HTTP 500
//!   orders         ▒▓▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▼              cancelled after 50.3ms
//! ```
//!
//! Each element has a `<title>`, which browsers show when it is pointed at. Colors are custom properties of the style
//! sheet, which has them for light and for dark. Nothing of the user's is written without being escaped.

use super::event::Ended;
use super::history::{GroupPast, History, Moment, Place, TaskPast, What};
use super::label::{printable, shortened};
use super::rows::{LeftOut, Selection, plural};
use super::scale::Scale;
use super::steps::{Outcome, Step, StepKind};
use std::fmt::Write as _;
use std::time::Duration;

/// How many rows are drawn at most.
const MOST_ROWS: usize = 100;
/// Polls that lie closer together than this many units are drawn as one strip.
const LEAST_STRIP: f64 = 1.5;

const WIDTH: f64 = 1120.0;
const MARGIN: f64 = 20.0;
/// Where the axis begins and ends. Labels are left of it, outcomes right.
const AXIS: (f64, f64) = (230.0, 736.0);
const NOTE: f64 = 776.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;
/// Of an attempt.
const THIN: f64 = 8.0;
/// From the top to the first row.
const HEAD: f64 = 84.0;
/// What the curve of all tasks takes.
const CROWD: f64 = 56.0;
const INDENT: f64 = 12.0;
const MOST_DEPTH: usize = 6;
/// Some 6.6 units a character.
const LABEL_CHARS: usize = 30;
const NOTE_CHARS: usize = 50;

const STYLE: &str = "\
svg{color-scheme:light dark;--back:#fff;--text:#1f2328;--soft:#59636e;--line:#d8dee4;--finished:#b4dfc0;\
--finished-poll:#1a7f37;--failed:#ffc9c4;--failed-poll:#cf222e;--cancelled:#dfe3e8;--cancelled-poll:#6e7781;\
--running:#c4dcfb;--running-poll:#0969da;--deadline:#9a5b00;--cancel:#cf222e}\
@media(prefers-color-scheme:dark){svg{--back:#0d1117;--text:#e6edf3;--soft:#9198a1;--line:#2b323b;--finished:#1f4d2c;\
--finished-poll:#56d364;--failed:#6a2325;--failed-poll:#ff7b72;--cancelled:#343b44;--cancelled-poll:#a5adb6;\
--running:#17376a;--running-poll:#79b8ff;--deadline:#e3a23c;--cancel:#ff7b72}}\
text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:var(--text)}\
.head{font-size:16px;font-weight:600}.group{font-weight:600}.soft{fill:var(--soft)}.end{text-anchor:end}\
.mid{text-anchor:middle}.back{fill:var(--back)}.grid{stroke:var(--line)}.span{stroke:var(--soft);stroke-width:2}\
.finished{fill:var(--finished)}.failed{fill:var(--failed)}.cancelled{fill:var(--cancelled)}.running{fill:var(--running)}\
.finished.poll{fill:var(--finished-poll)}.failed.poll{fill:var(--failed-poll)}.cancelled.poll{fill:var(--cancelled-poll)}\
.running.poll{fill:var(--running-poll)}.sparse{fill-opacity:.5}.mark{fill:var(--deadline)}.queue{fill:none;stroke:var(--soft);stroke-dasharray:2 2}\
.deadline{stroke:var(--deadline);stroke-width:1.5;stroke-dasharray:6 4}text.deadline{fill:var(--deadline);stroke:none}\
.cancel{stroke:var(--cancel);stroke-width:1.5;fill:none}.tip{fill:var(--cancel)}text.failed{fill:var(--failed-poll)}";

pub(super) fn draw(history: &History) -> String {
    Picture::new(history).finish()
}

struct Picture<'a> {
    history: &'a History,
    rows: Vec<Place>,
    left_out: LeftOut,
    span: Moment,
    scale: Scale,
    svg: String,
}

/// Text in an element or an attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// The class of a task's bar.
fn class_of(how: Option<Ended>) -> &'static str {
    match how {
        None => "running",
        Some(Ended::Succeeded) => "finished",
        Some(Ended::Failed | Ended::Panicked | Ended::Lost) => "failed",
        Some(Ended::Cancelled) => "cancelled",
    }
}

fn class_of_step(what: StepKind) -> &'static str {
    match what {
        StepKind::Attempt(_, Outcome::Running) => "running",
        StepKind::Attempt(_, Outcome::Succeeded) => "finished",
        StepKind::Attempt(_, Outcome::Cut) => "cancelled",
        StepKind::Attempt(_, Outcome::Failed) => "failed",
        StepKind::Rejected | StepKind::Transition => "mark",
    }
}

impl<'a> Picture<'a> {
    fn new(history: &'a History) -> Self {
        let Selection { rows, left_out } = history.select(MOST_ROWS);
        let near = history.groups.iter().filter_map(|group| group.deadline);
        let near = near.filter(|at| *at <= history.end.saturating_mul(2)).max();
        let span = near
            .unwrap_or_default()
            .max(history.end)
            .max(Duration::from_nanos(1));
        Self {
            history,
            rows,
            left_out,
            span,
            scale: Scale::of(span),
            svg: String::new(),
        }
    }

    fn finish(mut self) -> String {
        let rows = HEAD + ROW * self.rows.len() as f64;
        let is_crowded = !self.left_out.is_nothing();
        let bottom = if is_crowded { rows + CROWD } else { rows };
        let notes = self.notes();
        let height = bottom + 44.0 + 18.0 * notes.len() as f64;
        let title = escaped(&self.title());
        let _ = write!(
            self.svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\"><title>{title}</title><style>{STYLE}</style>"
        );
        self.element(
            "rect",
            &format!("class=\"back\" width=\"{WIDTH}\" height=\"{height}\""),
            &title.clone(),
        );
        self.text(MARGIN, 32.0, "head", &self.title(), 110);
        self.grid(bottom);
        for (row, place) in self.rows.clone().into_iter().enumerate() {
            self.row(row, place);
        }
        if is_crowded {
            self.crowd(rows);
        }
        self.arrows();
        self.deadlines(bottom);
        self.legend(bottom + 26.0);
        for (number, note) in notes.iter().enumerate() {
            self.text(
                MARGIN,
                bottom + 50.0 + 18.0 * number as f64,
                "soft",
                note,
                160,
            );
        }
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

/// Elements.
impl Picture<'_> {
    /// An element without text of its own. `title` is escaped already.
    fn element(&mut self, tag: &str, attributes: &str, title: &str) {
        let _ = write!(
            self.svg,
            "<{tag} {attributes}><title>{title}</title></{tag}>"
        );
    }

    /// `text` in at most `most` characters; pointed at, all of them.
    fn text(&mut self, x: f64, y: f64, class: &str, text: &str, most: usize) {
        self.text_about(x, y, class, (text, text), most);
    }

    /// `text`, and what it shows when it is pointed at.
    fn text_about(&mut self, x: f64, y: f64, class: &str, (text, all): (&str, &str), most: usize) {
        let shown = escaped(&shortened(&printable(text), most));
        let all = escaped(all);
        let _ = write!(
            self.svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{shown}<title>{all}</title></text>"
        );
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64), title: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let place = format!(
            "class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\""
        );
        self.element("line", &place, &escaped(title));
    }

    /// A bar, or a strip on one, from one moment to another.
    fn bar(&mut self, class: &str, row: usize, from: Moment, to: Moment, title: &str) {
        let (x, y) = (self.x(from), Self::y(row) - BAR / 2.0);
        let width = (self.x(to) - x).max(LEAST_STRIP);
        let place = format!(
            "class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\""
        );
        self.element("rect", &place, &escaped(title));
    }

    fn thin_bar(&mut self, class: &str, row: usize, (from, to): (Moment, Moment), title: &str) {
        let (x, y) = (self.x(from), Self::y(row) - THIN / 2.0);
        let width = (self.x(to) - x).max(2.0 * LEAST_STRIP);
        let place = format!(
            "class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{THIN}\" rx=\"2\""
        );
        self.element("rect", &place, &escaped(title));
    }

    fn x(&self, at: Moment) -> f64 {
        let share = (at.as_secs_f64() / self.span.as_secs_f64()).min(1.0);
        AXIS.0 + share * (AXIS.1 - AXIS.0)
    }

    /// The middle of a row.
    fn y(row: usize) -> f64 {
        HEAD + ROW * (row as f64 + 0.5)
    }

    fn show(&self, time: Duration) -> String {
        self.scale.show(time)
    }
}

/// The texts of the picture.
impl Picture<'_> {
    /// How the first group ended.
    fn title(&self) -> String {
        let Some(group) = self.history.groups.first() else {
            return "Nothing was recorded".to_owned();
        };
        let name = match &group.name {
            Some(name) => name.to_string(),
            None => "A group".to_owned(),
        };
        let count = group.tasks.len();
        let tasks = format!("{name}: {count} {}", plural(count, "task"));
        let outcome = self.outcome(group);
        match self.history.groups.len() - 1 {
            0 => format!("{tasks}, {outcome}"),
            more => format!(
                "{tasks} and {more} more {}, {outcome}",
                plural(more, "group")
            ),
        }
    }

    fn outcome(&self, group: &GroupPast) -> String {
        let took = |end: Moment| self.show(end.saturating_sub(group.start()));
        match (&group.canceled, group.closed) {
            (Some(canceled), _) => {
                format!("cancelled after {}: {}", took(canceled.at), canceled.cause)
            }
            (None, Some(closed)) => format!("finished after {}", took(closed)),
            (None, None) => format!("still open after {}", took(self.history.end)),
        }
    }

    fn outcome_of(&self, task: &TaskPast) -> String {
        let took = self.show(task.end_or(self.history.end) - task.start);
        let Some(end) = &task.end else {
            return format!("still running after {took}");
        };
        let error = task
            .error()
            .map_or_else(String::new, |error| format!(": {error}"));
        match end.how {
            Ended::Cancelled if task.polls.is_empty() => {
                format!("cancelled after {took}, never started")
            }
            how => format!("{how} after {took}{error}"),
        }
    }

    /// Below the picture.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.left_out.is_nothing() {
            notes.push(format!("Not shown: {}.", self.left_out.text(self.scale)));
        }
        if self.history.dropped > 0 {
            notes.push(format!(
                "{} earlier events were dropped, because the recorder was full.",
                self.history.dropped
            ));
        }
        notes
    }
}

/// The parts of the picture, from the back to the front.
impl Picture<'_> {
    fn grid(&mut self, bottom: f64) {
        for at in ticks(self.span) {
            let (x, text) = (self.x(at), self.scale.round(at));
            self.line("grid", (x, HEAD - 8.0), (x, bottom), &text);
            let is_free = |deadline: &Moment| (self.x(*deadline) - x).abs() > 24.0;
            if self
                .history
                .deadlines()
                .iter()
                .filter(|at| **at <= self.span)
                .all(is_free)
            {
                self.text(x, HEAD - 14.0, "soft mid", &text, 20);
            }
        }
    }

    fn row(&mut self, row: usize, place: Place) {
        let history = self.history;
        let x = MARGIN + INDENT * place.depth.min(MOST_DEPTH) as f64;
        let chars = LABEL_CHARS.saturating_sub(place.depth.min(MOST_DEPTH) * 2);
        match place.what {
            What::Group(group) => self.group(row, &history.groups[group], (x, chars)),
            What::Task(task) => self.task(row, &history.tasks[task], (x, chars)),
            What::Step(task, step) => {
                self.step(row, &history.tasks[task].steps.shown()[step], (x, chars));
            }
        }
    }

    fn group(&mut self, row: usize, group: &GroupPast, (x, chars): (f64, usize)) {
        let title = group.title();
        let (y, base) = (Self::y(row), Self::y(row) + 4.0);
        self.text_about(x, base, "group", (&group.label(), &title), chars);
        let outcome = self.outcome(group);
        let (from, to) = (
            self.x(group.start()),
            self.x(group.closed.unwrap_or(self.history.end)),
        );
        let about = format!("{title}: {outcome}");
        self.line("span", (from, y), (to.max(from + 1.0), y), &about);
        self.line("span", (from, y - 4.0), (from, y + 4.0), &about);
        if group.closed.is_some() {
            self.line("span", (to, y - 4.0), (to, y + 4.0), &about);
        }
        self.text(NOTE, base, "soft", &outcome, NOTE_CHARS);
    }

    fn task(&mut self, row: usize, task: &TaskPast, (x, chars): (f64, usize)) {
        let base = Self::y(row) + 4.0;
        let class = class_of(task.end.as_ref().map(|end| end.how));
        let outcome = self.outcome_of(task);
        let end = task.end_or(self.history.end);
        self.text(x, base, "", &task.name, chars);
        let start = task.began(self.history.end);
        if task.queued {
            let waited = self.show(start - task.start);
            self.bar(
                "queue",
                row,
                task.start,
                start,
                &format!("{}: in the queue for {waited}", task.name),
            );
        }
        if !task.queued || !task.polls.is_empty() {
            let about = format!("{}: {outcome}, spawned at {}", task.name, task.location);
            self.bar(class, row, start, end, &about);
        }
        for strip in self.strips(task) {
            let took = self.show(strip.to.saturating_sub(strip.from));
            let polls = format!("{} {}", strip.polls, plural(strip.polls, "poll"));
            let at = self.show(strip.from);
            self.bar(
                &format!(
                    "{class} poll{}",
                    if strip.is_sparse() { " sparse" } else { "" }
                ),
                row,
                strip.from,
                strip.to,
                &format!("{}: {polls} at {at}, {took}", task.name),
            );
        }
        let class = if task.has_failed() { "failed" } else { "soft" };
        self.text(NOTE, base, class, &outcome, NOTE_CHARS);
    }

    /// An attempt, as a bar that is thinner than a task's; what is but a moment, as a mark.
    fn step(&mut self, row: usize, step: &Step, (x, chars): (f64, usize)) {
        let (base, last) = (Self::y(row) + 4.0, self.history.end);
        let (label, to) = (step.label(), step.to_or(last));
        self.text(x, base, "soft", &label, chars);
        let text = step
            .text
            .as_ref()
            .map_or_else(String::new, |text| format!(": {text}"));
        let word = step.what.word();
        let outcome = match step.what {
            StepKind::Attempt(..) => format!("{word} after {}{text}", self.show(to - step.from)),
            StepKind::Rejected => format!("{word} at {}{text}", self.show(step.from)),
            StepKind::Transition => format!("at {}{text}", self.show(step.from)),
        };
        if step.since() < step.from {
            let waited = self.show(step.from - step.since());
            let about = format!("{label}: waited for {waited}");
            self.thin_bar("queue", row, (step.since(), step.from), &about);
        }
        let class = class_of_step(step.what);
        self.thin_bar(class, row, (step.from, to), &format!("{label}: {outcome}"));
        let class = match step.what {
            StepKind::Attempt(_, Outcome::Failed) | StepKind::Rejected => "failed",
            _ => "soft",
        };
        self.text(NOTE, base, class, &outcome, NOTE_CHARS);
    }

    /// Its polls; those that would overlap are put together.
    fn strips(&self, task: &TaskPast) -> Vec<Strip> {
        let mut strips: Vec<Strip> = Vec::new();
        for (from, to) in &task.polls {
            let to = to.unwrap_or_else(|| task.end_or(self.history.end));
            match strips.last_mut() {
                Some(last) if self.x(*from) - self.x(last.to) < LEAST_STRIP => {
                    last.to = last.to.max(to);
                    last.busy += to.saturating_sub(*from);
                    last.polls += 1;
                }
                _ => strips.push(Strip {
                    from: *from,
                    to,
                    busy: to.saturating_sub(*from),
                    polls: 1,
                }),
            }
        }
        strips
    }

    /// From each failure to the tasks that it cancelled.
    fn arrows(&mut self) {
        let history = self.history;
        let row_of = |task: usize| {
            self.rows
                .iter()
                .position(|place| place.what == What::Task(task))
        };
        let mut arrows = Vec::new();
        for (row, place) in self.rows.iter().enumerate() {
            let What::Task(task) = place.what else {
                continue;
            };
            let culprit = history.culprit_of(&history.tasks[task]);
            let from = culprit.and_then(|culprit| Some((culprit, row_of(culprit)?)));
            arrows.extend(from.map(|from| (from, (task, row))));
        }
        for ((culprit, from_row), (task, row)) in arrows {
            let depth = self.rows[from_row].depth;
            let (culprit, task) = (&history.tasks[culprit], &history.tasks[task]);
            let title = format!("the failure of {} cancelled {}", culprit.name, task.name);
            let from = (self.x(culprit.end_or(history.end)), Self::y(from_row));
            let to = (self.x(task.end_or(history.end)), Self::y(row));
            // Those of inner groups stand nearer, so that they can be distinguished.
            let reach = 30.0 / (1.0 + depth as f64).min(4.0);
            self.arrow(from, to, reach, &title);
        }
    }

    /// Down or up to the other row, and then from the right to the end of the bar.
    fn arrow(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), reach: f64, title: &str) {
        let title = escaped(title);
        let turn = x1.max(x2) + reach;
        let path = format!(
            "class=\"cancel\" d=\"M{x1:.1} {y1:.1}H{turn:.1}V{y2:.1}H{:.1}\"",
            x2 + 5.0
        );
        self.element("path", &path, &title);
        let tip = format!("class=\"tip\" d=\"M{:.1} {y2:.1}l7 -4v8z\"", x2 + 0.5);
        self.element("path", &tip, &title);
    }

    /// Where not all tasks have a row: how many there were at each moment.
    fn crowd(&mut self, bottom: f64) {
        const HEIGHT: f64 = 36.0;
        let columns = ((AXIS.1 - AXIS.0) / 3.0) as u32;
        let alive = |column: u32| {
            let at = self.span.saturating_mul(column) / columns;
            let tasks = self.history.tasks.iter();
            tasks
                .filter(|task| {
                    task.began(self.history.end) <= at && at < task.end_or(self.history.end)
                })
                .count()
        };
        let counts: Vec<usize> = (0..=columns).map(alive).collect();
        let most = counts.iter().copied().max().unwrap_or(0).max(1);
        let base = bottom + HEIGHT + 10.0;
        let mut path = format!("M{:.1} {base:.1}", AXIS.0);
        for (column, count) in counts.iter().enumerate() {
            let y = base - HEIGHT * *count as f64 / most as f64;
            let _ = write!(
                path,
                "V{y:.1}H{:.1}",
                (AXIS.0 + 3.0 * (column + 1) as f64).min(AXIS.1)
            );
        }
        let about = format!("at most {most} at once");
        let shape = format!("class=\"running\" d=\"{path}V{base:.1}z\"");
        self.element("path", &shape, &about);
        self.text(
            MARGIN,
            base - 4.0,
            "group",
            "all running tasks",
            LABEL_CHARS,
        );
        self.text(NOTE, base - 4.0, "soft", &about, NOTE_CHARS);
    }

    fn deadlines(&mut self, bottom: f64) {
        for at in self.history.deadlines().into_iter().take(3) {
            if at > self.span {
                let text = format!("deadline {}, not reached", self.scale.about(at));
                self.text(NOTE, HEAD - 14.0, "deadline", &text, 40);
                return;
            }
            let text = format!("deadline {}", self.show(at));
            let x = self.x(at);
            self.line("deadline", (x, HEAD - 30.0), (x, bottom), &text);
            self.text(x + 4.0, HEAD - 28.0, "deadline", &text, 40);
        }
    }

    /// What the marks mean that are in use.
    fn legend(&mut self, y: f64) {
        let tasks = || self.history.tasks.iter();
        let class = |task: &TaskPast| class_of(task.end.as_ref().map(|end| end.how));
        let has = |wanted: &str| {
            let mut steps = tasks().flat_map(|task| task.steps.shown());
            tasks().any(|task| class(task) == wanted)
                || steps.any(|step| class_of_step(step.what) == wanted)
        };
        let steps = || tasks().flat_map(|task| task.steps.shown());
        let waits = tasks().any(|task| task.queued) || steps().any(|step| step.waited.is_some());
        let entries = [
            ("finished", "finished", has("finished")),
            ("failed", "failed", has("failed")),
            ("cancelled", "cancelled", has("cancelled")),
            ("running", "running", has("running")),
            ("mark", "refused, or a breaker's change", has("mark")),
            ("queue", "waiting for its turn, or to retry", waits),
            (
                "finished poll",
                "being polled",
                tasks().any(|task| !task.polls.is_empty()),
            ),
        ];
        let mut x = AXIS.0;
        for (class, text, _) in entries.into_iter().filter(|(_, _, used)| *used) {
            let place = format!(
                "class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"14\" height=\"10\" rx=\"2\"",
                y - 9.0
            );
            self.element("rect", &place, &escaped(text));
            self.text(x + 20.0, y, "soft", text, 40);
            x += 40.0 + 6.6 * text.len() as f64;
        }
        if self.svg.contains("class=\"cancel\"") {
            self.line("cancel", (x, y - 4.0), (x + 14.0, y - 4.0), "cancels");
            self.text(x + 20.0, y, "soft", "a failure cancels", 40);
        }
    }
}

/// Polls that are drawn as one.
struct Strip {
    from: Moment,
    to: Moment,
    /// How long it was polled in that time.
    busy: Duration,
    polls: usize,
}

impl Strip {
    /// Whether it was not being polled for most of the time.
    fn is_sparse(&self) -> bool {
        self.polls > 1 && self.busy * 2 < self.to.saturating_sub(self.from)
    }
}

/// Round moments on the axis, four to ten of them.
fn ticks(span: Duration) -> Vec<Moment> {
    let span = span.as_nanos();
    let mut step = 1_u128;
    while span / step > 1000 {
        step *= 10;
    }
    let step = [1, 2, 5, 10, 20, 50, 100, 200, 500]
        .into_iter()
        .map(|factor| step * factor)
        .find(|step| span / step <= 8)
        .unwrap_or(span.max(1));
    (0..=span / step)
        .filter_map(|tick| u64::try_from(tick * step).ok())
        .map(Duration::from_nanos)
        .collect()
}
