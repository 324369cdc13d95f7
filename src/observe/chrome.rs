//! The events in the Chrome trace format, in its JSON object form.
//!
//! Perfetto and chrome://tracing read it. Rules of its description, and of Perfetto's importer:
//!
//! 1. Times are in microseconds; decimals are allowed.
//! 2. A complete event (`X`) has `ts` and `dur`. Those of one thread nest.
//! 3. A flow is an `s` and an `f` with one `cat`, `name` and `id`; each lies inside a slice of its thread, and `"bp":"e"`
//!    binds the `f` to the slice around it.
//! 4. A thread number belongs to one process. 0 is the idle process of an operating system, so numbers begin at 1.

use super::history::{GroupPast, History, Moment, TaskPast};
use super::steps::{Step, StepKind};
use crate::json::Object;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

/// Writes the trace.
pub(super) fn write(history: &History, writer: impl Write) -> io::Result<()> {
    let mut trace = Trace {
        writer: BufWriter::new(writer),
        line: String::new(),
        is_empty: true,
        named: 0,
        next_tid: history.groups.len() + history.tasks.len() + 1,
    };
    trace.begin()?;
    for (index, group) in history.groups.iter().enumerate() {
        trace.group(history, index, group)?;
    }
    for (index, task) in history.tasks.iter().enumerate() {
        trace.task(history, index, task)?;
    }
    for (index, task) in history.tasks.iter().enumerate() {
        trace.flow(history, index, task)?;
    }
    trace.end(history)
}

struct Trace<W: Write> {
    writer: BufWriter<W>,
    line: String,
    is_empty: bool,
    /// How many threads have their name, which is the order in which a viewer shows them.
    named: u64,
    /// Of the next attempt.
    next_tid: usize,
}

/// Microseconds, exact to the nanosecond.
struct Micros(Duration);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        write!(f, "{}.{:03}", nanos / 1000, nanos % 1000)
    }
}

/// Where an event is: a group is a process, and its tasks are the threads.
#[derive(Clone, Copy)]
struct Track {
    pid: usize,
    tid: usize,
}

impl Track {
    /// The group's own: its first thread.
    fn of_group(index: usize) -> Self {
        Self {
            pid: index + 1,
            tid: index + 1,
        }
    }

    fn of_task(history: &History, index: usize) -> Self {
        Self {
            pid: history.tasks[index].group + 1,
            tid: history.groups.len() + index + 1,
        }
    }
}

impl<W: Write> Trace<W> {
    fn begin(&mut self) -> io::Result<()> {
        self.writer
            .write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")
    }

    fn end(mut self, history: &History) -> io::Result<()> {
        write!(
            self.writer,
            "\n],\"otherData\":{{\"dropped_events\":{}}}}}",
            history.dropped
        )?;
        self.writer.flush()
    }

    fn event(
        &mut self,
        phase: char,
        track: Track,
        fill: impl FnOnce(Object<'_>) -> Object<'_>,
    ) -> io::Result<()> {
        self.line.clear();
        self.line.push_str(if std::mem::take(&mut self.is_empty) {
            "\n"
        } else {
            ",\n"
        });
        let object = Object::begin(&mut self.line)
            .string("ph", phase.encode_utf8(&mut [0; 4]))
            .raw("pid", track.pid)
            .raw("tid", track.tid);
        fill(object).end();
        self.writer.write_all(self.line.as_bytes())
    }

    /// What a process or a thread is called, or where it stands.
    fn metadata(&mut self, what: &str, track: Track, args: Args<'_>) -> io::Result<()> {
        self.event('M', track, |event| {
            event
                .string("name", what)
                .nested("args", |json| args.write(json))
        })
    }

    fn name_thread(&mut self, track: Track, name: &str) -> io::Result<()> {
        self.named += 1;
        let place = Arg::Number(self.named);
        self.metadata("thread_name", track, Args(&[("name", Arg::Text(name))]))?;
        self.metadata("thread_sort_index", track, Args(&[("sort_index", place)]))
    }

    fn slice(&mut self, track: Track, slice: &Slice<'_>) -> io::Result<()> {
        self.event('X', track, |event| {
            event
                .string("name", slice.name)
                .string("cat", slice.category)
                .raw("ts", Micros(slice.from))
                .raw("dur", Micros(slice.to.saturating_sub(slice.from)))
                .nested("args", |json| slice.args.write(json))
        })
    }

    fn group(&mut self, history: &History, index: usize, group: &GroupPast) -> io::Result<()> {
        let track = Track::of_group(index);
        let title = group.title();
        self.metadata("process_name", track, Args(&[("name", Arg::Text(&title))]))?;
        self.metadata(
            "process_sort_index",
            track,
            Args(&[("sort_index", Arg::Number(track.pid as u64))]),
        )?;
        self.name_thread(track, "group")?;
        let location = group.location.map(|location| location.to_string());
        let parent = group.parent.map(|parent| history.groups[parent].number);
        let to = group.closed.unwrap_or(history.end);
        self.slice(
            track,
            &Slice {
                name: &title,
                category: "group",
                from: group.start(),
                to,
                args: Args(&[
                    ("group", Arg::Number(group.number)),
                    ("parent", parent.map_or(Arg::Nothing, Arg::Number)),
                    ("location", Arg::maybe(location.as_deref())),
                    (
                        "cause",
                        Arg::maybe(group.canceled.as_ref().map(|canceled| &*canceled.cause)),
                    ),
                ]),
            },
        )?;
        if let Some(canceled) = &group.canceled {
            self.instant(track, "canceled", canceled.at)?;
        }
        match group.deadline {
            Some(deadline) => self.instant(track, "deadline", deadline),
            None => Ok(()),
        }
    }

    /// Across the tracks of the group's process.
    fn instant(&mut self, track: Track, name: &str, at: Moment) -> io::Result<()> {
        self.event('i', track, |event| {
            event
                .string("name", name)
                .string("cat", "group")
                .raw("ts", Micros(at))
                .string("s", "p")
        })
    }

    fn task(&mut self, history: &History, index: usize, task: &TaskPast) -> io::Result<()> {
        let track = Track::of_task(history, index);
        self.name_thread(track, &task.name)?;
        let outcome = task.end.as_ref().map(|end| end.how.key());
        let location = task.location.to_string();
        self.slice(
            track,
            &Slice {
                name: &task.name,
                category: "task",
                from: task.start,
                to: task.end_or(history.end),
                args: Args(&[
                    ("number", Arg::Number(task.number)),
                    ("outcome", Arg::Text(outcome.unwrap_or("not ended"))),
                    (
                        "error",
                        Arg::maybe(task.end.as_ref().and_then(|end| end.error.as_deref())),
                    ),
                    ("location", Arg::Text(&location)),
                ]),
            },
        )?;
        for (from, to) in &task.polls {
            let to = to.unwrap_or_else(|| task.end_or(history.end));
            self.slice(
                track,
                &Slice {
                    name: "poll",
                    category: "poll",
                    from: *from,
                    to,
                    args: Args(&[]),
                },
            )?;
        }
        for step in task.steps.shown() {
            self.step(history, (track, task), step)?;
        }
        Ok(())
    }

    /// An attempt has a thread of its own, because attempts may overlap; what is but a moment is an instant of its task.
    fn step(
        &mut self,
        history: &History,
        (track, task): (Track, &TaskPast),
        step: &Step,
    ) -> io::Result<()> {
        let label = step.label();
        let StepKind::Attempt(..) = step.what else {
            let text = step.text.as_deref().unwrap_or_default();
            return self.instant(track, &format!("{label}: {text}"), step.from);
        };
        let tid = self.next_tid;
        self.next_tid += 1;
        let track = Track { tid, ..track };
        self.name_thread(track, &format!("{}: {label}", task.name))?;
        let mut slice = Slice {
            name: "waiting for the next attempt",
            category: "attempt",
            from: step.since(),
            to: step.from,
            args: Args(&[]),
        };
        if step.since() < step.from {
            self.slice(track, &slice)?;
        }
        let args = [
            ("outcome", Arg::Text(step.what.word())),
            ("error", Arg::maybe(step.text.as_deref())),
        ];
        slice.name = &label;
        slice.from = step.from;
        slice.to = step.to_or(history.end);
        slice.args = Args(&args);
        self.slice(track, &slice)
    }

    /// An arrow from the failure that cancelled a task to that task.
    fn flow(&mut self, history: &History, index: usize, task: &TaskPast) -> io::Result<()> {
        let Some(culprit) = history.culprit_of(task) else {
            return Ok(());
        };
        let to = last_moment(task, history);
        let from = last_moment(&history.tasks[culprit], history).min(to);
        if from < history.tasks[culprit].start {
            return Ok(()); // the clock ran backwards in between
        }
        self.arrow('s', Track::of_task(history, culprit), index, from)?;
        self.arrow('f', Track::of_task(history, index), index, to)
    }

    /// One end of an arrow, bound to the slice around it.
    fn arrow(&mut self, phase: char, track: Track, id: usize, at: Moment) -> io::Result<()> {
        self.event(phase, track, |event| {
            let event = event
                .string("name", "cancels")
                .string("cat", "cancel")
                .raw("id", id + 1)
                .raw("ts", Micros(at));
            match phase {
                'f' => event.string("bp", "e"),
                _ => event,
            }
        })
    }
}

/// The last moment that is inside a task's slice.
fn last_moment(task: &TaskPast, history: &History) -> Moment {
    let end = task.end_or(history.end);
    end.saturating_sub(Duration::from_nanos(1)).max(task.start)
}

/// A complete event.
struct Slice<'a> {
    name: &'a str,
    category: &'a str,
    from: Moment,
    to: Moment,
    args: Args<'a>,
}

/// What a viewer shows of an event that is selected.
struct Args<'a>(&'a [(&'a str, Arg<'a>)]);

#[derive(Clone, Copy)]
enum Arg<'a> {
    Text(&'a str),
    Number(u64),
    Nothing,
}

impl<'a> Arg<'a> {
    fn maybe(text: Option<&'a str>) -> Self {
        text.map_or(Self::Nothing, Self::Text)
    }
}

impl Args<'_> {
    fn write(&self, json: &mut String) {
        let mut object = Object::begin(json);
        for (key, value) in self.0 {
            object = match value {
                Arg::Text(text) => object.string(key, text),
                Arg::Number(number) => object.raw(key, number),
                Arg::Nothing => object,
            };
        }
        object.end();
    }
}
