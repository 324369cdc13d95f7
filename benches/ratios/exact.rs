//! The figures that are exact, whatever the machine: instructions, allocations and bytes beyond a bare spawn and
//! join, on tokio's current-thread runtime.

use std::future::pending;
use std::io;

use failfast::{Aggregator, Context, Group};

use crate::harness::{Goal, Race, goal};
use crate::hosts::{Drive, Host, Tokio};
use crate::report::verdict;
use crate::valgrind::Load;
use crate::work::{DEADLINE, Outcome, work, yield_once};
use crate::{fanout, floor};

pub(crate) const FAN_OUT: usize = 256;
pub(crate) const PAIR: usize = 2;

/// The lanes of [`fan_out`]: first so many of ours, and then the others'.
const OURS: usize = 2;
pub(crate) const FLOOR: usize = 2;
const BARE: usize = 3;

/// The races of this file alone, and no thread but the caller's.
pub(crate) fn races() -> Vec<Race> {
    let host = Tokio::current_thread();
    vec![
        fan_out(host, PAIR),
        fan_out(host, FAN_OUT),
        parked(host),
        aggregation(host),
    ]
}

fn fan_out(host: Tokio, n: usize) -> Race {
    let judged = host.lane("failfast", move || ours(host, n));
    Race::new(format!("exact: fan-out of {n}"), (n, "task"), judged)
        .against(host.lane("failfast, each task with a context", move || {
            fanout::ours(host, n)
        }))
        .against(host.lane("the floor: a box a task", move || floor::fan_out(host, n)))
        .against(host.lane("bare spawn and join", move || fanout::bare(host, n)))
        .against(host.lane("JoinSet + timeout", move || fanout::join_set(n)))
}

/// A group with a deadline.
async fn ours(host: Tokio, n: usize) -> Vec<usize> {
    let parent = Context::background().with_timeout(DEADLINE);
    let (group, _) = Group::with_context(&parent, host.spawner());
    (0..n).for_each(|answer| group.spawn(work(answer)));
    group.wait().await.expect("work succeeds")
}

/// Tasks that hang until they are dropped.
fn parked(host: Tokio) -> Race {
    Race::new(
        "exact: parked",
        (FAN_OUT, "task"),
        host.lane("failfast", move || park(host)),
    )
    .against(host.lane("bare spawn", park_bare))
}

async fn park(host: Tokio) {
    let group = Group::new(host.spawner());
    (0..FAN_OUT).for_each(|_| group.spawn(pending::<Outcome>()));
    yield_once().await;
    group.stop();
    group.wait().await.expect("nothing fails");
}

async fn park_bare() {
    // No vector: its bytes would count.
    let tasks: [_; FAN_OUT] = std::array::from_fn(|_| tokio::spawn(pending::<Outcome>()));
    yield_once().await;
    tasks.iter().for_each(|task| task.abort());
    for task in tasks {
        task.await.expect_err("it was aborted");
    }
}

fn aggregation(host: Tokio) -> Race {
    let answer = |_: Context, request| work(request);
    let both = Aggregator::new(host.spawner())
        .with_timeout(DEADLINE)
        .source("profile", answer)
        .source("orders", answer);
    let both = &*Box::leak(Box::new(both));
    let ours = move || async move { both.aggregate(&Context::background(), 7).await };
    Race::new(
        "exact: aggregation of two",
        (1, "call"),
        host.lane("failfast", ours),
    )
    .against(host.lane("bare spawn and join", move || fanout::bare(host, PAIR)))
}

/// A figure, what it must be, and what it is not to exceed any more.
struct Figure {
    what: String,
    value: f64,
    goal: Option<Goal>,
    held: Option<f64>,
}

/// What has been reached, with some room for another version of the compiler, of tokio or of the C library: so many
/// instructions a task and a call of two, allocations and bytes.
mod held {
    pub(super) const TASK: f64 = 850.0;
    pub(super) const CALL: f64 = 5000.0;
    pub(super) const ALLOCATIONS: f64 = 1.0;
    pub(super) const OF_GROUP: f64 = 6.0;
    pub(super) const OF_AGGREGATION: f64 = 4.0;
    pub(super) const BYTES: f64 = 200.0;
}

/// Counts and prints them all. False if one exceeds what is held.
pub(crate) fn print() -> io::Result<bool> {
    let races = races();
    let mut figures = Vec::new();
    for count in [instructions, allocations, bytes] {
        figures.extend(count(&races)?);
    }
    print_figures(&figures);
    let broken = figures.iter().filter(|figure| !figure.is_held());
    broken.clone().for_each(Figure::complain);
    Ok(broken.count() == 0)
}

impl Figure {
    fn is_held(&self) -> bool {
        self.held.is_none_or(|held| self.value <= held + 0.05)
    }

    fn complain(&self) {
        let (what, value, held) = (&self.what, self.value, self.held.unwrap_or_default());
        eprintln!("{what}: {value:.1}, which is more than the {held} that is held");
    }
}

/// What an iteration of each lane costs: as many iterations as take some seconds.
fn lanes(race: &Race, figure: impl Fn(Load<'_>) -> io::Result<u64>) -> io::Result<Vec<f64>> {
    let iterations = (2048 / race.units.0).clamp(1, 256);
    let each = |lane| {
        Load {
            race,
            lane,
            iterations,
        }
        .each(&figure)
    };
    (0..race.lanes.len()).map(each).collect()
}

fn instructions(races: &[Race]) -> io::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (race, goal, unit, held) in [
        (&races[1], goal(900.0, 600.0), "task", held::TASK),
        (&races[0], goal(4000.0, 2500.0), "call", held::CALL),
    ] {
        let units = if unit == "task" {
            race.units.0 as f64
        } else {
            1.0
        };
        let all = lanes(race, |load| load.instructions())?;
        let allocator = lanes(race, |load| load.allocator())?;
        for (at, lane) in race.lanes.iter().enumerate() {
            let beyond_bare = |each: &[f64]| (each[at] - each[BARE]) / units;
            let what = format!(
                "instructions a {unit} beyond bare, {}, {}",
                &race.title[7..],
                lane.name
            );
            // Held without the allocator's: how often that is called has a figure of its own, and what a call of it takes
            // depends on how the heap lies. glibc's took 200 less for a group of two than for two bare tasks, and 800 more
            // after one allocation had gone.
            let without = beyond_bare(&all) - beyond_bare(&allocator);
            figures.push(Figure {
                what: format!("{what}, without the allocator's"),
                value: without,
                goal: None,
                held: (at == 0).then_some(held),
            });
            figures.push(Figure {
                what,
                value: beyond_bare(&all),
                goal: (at < OURS).then_some(goal),
                held: None,
            });
        }
    }
    Ok(figures)
}

fn allocations(races: &[Race]) -> io::Result<Vec<Figure>> {
    let count = |race| lanes(race, |load| Ok(load.allocations()?.0));
    let (few, many, whole) = (count(&races[0])?, count(&races[1])?, count(&races[3])?);
    let a_task = (many[0] - few[0]) / (FAN_OUT - PAIR) as f64;
    Ok(vec![
        Figure {
            what: "allocations a task, the executor's included".into(),
            value: a_task,
            goal: Some(goal(2.0, 2.0)),
            held: Some(held::ALLOCATIONS),
        },
        Figure {
            what: "allocations of a group of two with a deadline, beyond its tasks".into(),
            value: few[0] - PAIR as f64 * a_task,
            goal: None,
            held: Some(held::OF_GROUP),
        },
        Figure {
            what: "allocations of an aggregation of two, beyond its tasks".into(),
            value: whole[0] - PAIR as f64 * a_task,
            goal: Some(goal(4.0, 4.0)),
            held: Some(held::OF_AGGREGATION),
        },
    ])
}

fn bytes(races: &[Race]) -> io::Result<Vec<Figure>> {
    let each = lanes(&races[2], |load| Ok(load.allocations()?.1))?;
    Ok(vec![Figure {
        what: "bytes that a parked task costs beyond its future and the executor's own".into(),
        value: (each[0] - each[1]) / FAN_OUT as f64,
        goal: Some(goal(256.0, 256.0)),
        held: Some(held::BYTES),
    }])
}

fn print_figures(figures: &[Figure]) {
    println!("| what | figure | held | must | aim | met? |\n|---|---|---|---|---|---|");
    for Figure {
        what,
        value,
        goal,
        held,
    } in figures
    {
        let held = held.map(|held| held.to_string()).unwrap_or_default();
        let shown = |figure: fn(Goal) -> f64| {
            goal.map(|goal| figure(goal).to_string())
                .unwrap_or_default()
        };
        // To a tenth, as the figure is shown: a queue that grows once is not a task's.
        let at_most = |goal: f64| (value * 10.0).round() <= goal * 10.0;
        let met = goal.map_or("", |goal| verdict(at_most(goal.must), at_most(goal.aim)));
        println!(
            "| {what} | {value:.1} | {held} | {} | {} | {met} |",
            shown(|goal| goal.must),
            shown(|goal| goal.aim)
        );
    }
}
