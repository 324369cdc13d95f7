//! Does a task among a million cost what one of ten thousand costs?
//!
//! The executor is a shelf that polls on demand, so that little but our own cost is measured. What is left is memory:
//! a million tasks are in no cache, and their pages come from the kernel. The last rows show what that comes to for
//! boxes without any computation.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use failfast::{Canceller, Context, Group, InPlaceGroup, Spawn, Task};
use futures::executor::block_on;

use crate::harness::Pace;
use crate::work::{Outcome, poll_once, work};

const SIZES: [usize; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];

/// What a unit at 10⁶ may cost, in units at 10⁴.
const MUST: f64 = 2.0;

/// A measurement: for so many units, what they took all together.
type Measure = fn(usize) -> Duration;

const MEASURES: [(&str, Measure); 19] = [
    ("spawn", spawn),
    ("the first poll, pending", first_poll),
    ("poll to the end", poll),
    ("wait for what has ended", wait),
    ("next", next),
    ("cancel", cancel),
    ("cancel, until all are gone", gone),
    ("drop", drop_group),
    ("in place, spawn and wait", in_place),
    ("child contexts made", children),
    ("child contexts ended", end_children),
    ("child contexts dropped", drop_children),
    ("on_done, until all were called", on_done),
    ("snapshot", snapshot),
    (
        "ready line: joined, polled again, left from the back",
        ready_line,
    ),
    ("queue: one after the other", queue),
    ("for comparison: boxes of 256 bytes made", made),
    ("for comparison: boxes read", read),
    ("for comparison: boxes freed", freed),
];

/// Measures and prints all.
pub(crate) fn print(pace: Pace) {
    let heads: Vec<String> = SIZES.iter().map(|n| format!("{n}")).collect();
    println!("| ns a unit | {} | 10⁶ : 10⁴ | met? |", heads.join(" | "));
    println!("|---|{}---|---|", "---|".repeat(SIZES.len()));
    for (name, measure) in MEASURES {
        print_row(name, &medians(measure, pace));
    }
}

fn print_row(name: &str, ns: &[f64; SIZES.len()]) {
    let figures: Vec<String> = ns.iter().map(|ns| format!("{ns:.0}")).collect();
    let ratio = (ns[4] / ns[2] * 100.0).round() / 100.0;
    let met = match ratio <= MUST {
        _ if name.starts_with("for comparison") => "",
        true => "yes",
        false => "NO",
    };
    println!("| {name} | {} | {ratio:.2} | {met} |", figures.join(" | "));
}

/// The sizes take turns, as lanes do.
fn medians(measure: Measure, pace: Pace) -> [f64; SIZES.len()] {
    let rounds = if pace.rounds < Pace::FULL.rounds {
        1
    } else {
        5
    };
    let mut times: [Vec<f64>; SIZES.len()] = Default::default();
    for _ in 0..rounds {
        for (n, times) in SIZES.into_iter().zip(&mut times) {
            times.push(a_unit(measure, n));
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// The small ones again and again, until there is something to measure.
fn a_unit(measure: Measure, n: usize) -> f64 {
    let times = (100_000 / n).max(1);
    let sum: Duration = (0..times).map(|_| measure(n)).sum();
    sum.as_secs_f64() * 1e9 / (times * n) as f64
}

/// An executor: tasks are stored until it is made to poll them.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<VecDeque<Task>>>);

impl Spawn for Shelf {
    type Handle = ();

    fn spawn(&self, task: Task) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(task);
    }
}

impl Shelf {
    /// Polls each task once, and those that are spawned meanwhile; keeps what is pending.
    fn poll(&self) {
        let mut pending = VecDeque::new();
        while let Some(mut task) = self.take() {
            if poll_once(&mut task).is_pending() {
                pending.push_back(task);
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pending;
    }

    fn take(&self) -> Option<Task> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}

fn took<R>(act: impl FnOnce() -> R) -> Duration {
    let start = Instant::now();
    let left = black_box(act());
    let took = start.elapsed();
    drop(left);
    took
}

/// A group of so many, none of them polled yet.
fn group<F>(n: usize, task: impl Fn(usize) -> F) -> (Shelf, Group<usize>)
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let shelf = Shelf::default();
    let group = Group::new(shelf.clone());
    (0..n).for_each(|at| group.spawn(task(at)));
    (shelf, group)
}

fn hang(_: usize) -> impl Future<Output = Outcome> + Send {
    pending()
}

/// A group of so many that hang.
fn hanging(n: usize) -> (Shelf, Group<usize>) {
    let (shelf, group) = group(n, hang);
    shelf.poll();
    (shelf, group)
}

/// A group of so many that have ended.
fn ended(n: usize) -> (Shelf, Group<usize>) {
    let (shelf, group) = group(n, work);
    shelf.poll();
    shelf.poll();
    (shelf, group)
}

fn spawn(n: usize) -> Duration {
    took(|| group(n, hang))
}

fn first_poll(n: usize) -> Duration {
    let (shelf, _group) = group(n, hang);
    took(|| shelf.poll())
}

fn poll(n: usize) -> Duration {
    let (shelf, _group) = group(n, work);
    shelf.poll();
    took(|| shelf.poll())
}

fn wait(n: usize) -> Duration {
    let (_shelf, group) = ended(n);
    took(|| block_on(group.wait()).expect("work succeeds"))
}

fn next(n: usize) -> Duration {
    let (_shelf, mut group) = ended(n);
    let all = async { while group.next().await.is_some() {} };
    took(|| block_on(all))
}

fn cancel(n: usize) -> Duration {
    let (_shelf, group) = hanging(n);
    took(|| group.cancel_with("enough"))
}

fn gone(n: usize) -> Duration {
    let (shelf, group) = hanging(n);
    took(|| {
        group.cancel_with("enough");
        shelf.poll();
        block_on(group.wait())
    })
}

fn drop_group(n: usize) -> Duration {
    let (_shelf, group) = hanging(n);
    took(|| drop(group))
}

fn in_place(n: usize) -> Duration {
    took(|| {
        let group = InPlaceGroup::new(&Context::background());
        (0..n).for_each(|at| group.spawn(work(at)));
        block_on(group.wait())
    })
}

type Cancellable = (Context, Canceller);

fn family(n: usize) -> (Cancellable, Vec<Cancellable>) {
    let root = Context::background().with_cancel();
    let children = (0..n).map(|_| root.0.with_cancel()).collect();
    (root, children)
}

fn children(n: usize) -> Duration {
    took(|| family(n))
}

fn end_children(n: usize) -> Duration {
    let (root, _children) = family(n);
    took(|| root.1.cancel())
}

fn drop_children(n: usize) -> Duration {
    let (_root, children) = family(n);
    took(|| drop(children))
}

fn on_done(n: usize) -> Duration {
    let root = Context::background().with_cancel();
    took(|| {
        let callbacks: Vec<_> = (0..n).map(|_| root.0.on_done(|| ())).collect();
        root.1.cancel();
        callbacks
    })
}

fn snapshot(n: usize) -> Duration {
    let (_shelf, group) = hanging(n);
    took(|| drop(group.snapshot()))
}

/// At the limit: every spawn waits.
fn ready_line(n: usize) -> Duration {
    let shelf = Shelf::default();
    let group = Group::<usize>::new(shelf.clone()).with_limit(NonZeroUsize::MIN);
    group.spawn(hang(0));
    let mut line: Vec<_> = (0..n).map(|_| Box::pin(group.ready())).collect();
    took(|| {
        for _ in 0..2 {
            line.iter_mut()
                .for_each(|ready| assert!(poll_once(ready).is_pending()));
        }
        while line.pop().is_some() {}
    })
}

/// The executor's task that ran one goes on with the next at its next turn.
fn queue(n: usize) -> Duration {
    let shelf = Shelf::default();
    let group = Group::<usize>::new(shelf.clone()).with_limit(NonZeroUsize::MIN);
    took(|| {
        (0..n).for_each(|at| group.spawn(async move { Outcome::Ok(at) }));
        let mut wait = Box::pin(group.wait());
        while poll_once(&mut wait).is_pending() {
            shelf.poll();
        }
    })
}

/// As much memory as a small task takes, and the same again for its executor.
type Block = [usize; 32];

#[allow(clippy::vec_box, reason = "a task is a box too")]
fn boxes(n: usize) -> Vec<Box<Block>> {
    (0..n).map(|at| Box::new([at; 32])).collect()
}

fn made(n: usize) -> Duration {
    took(|| boxes(n))
}

fn read(n: usize) -> Duration {
    let boxes = boxes(n);
    took(|| {
        boxes
            .iter()
            .map(|block| block[0] + block[31])
            .sum::<usize>()
    })
}

fn freed(n: usize) -> Duration {
    let boxes = boxes(n);
    took(|| drop(boxes))
}
