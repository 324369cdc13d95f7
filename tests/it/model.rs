//! No sequence of operations hangs a group, and all end as in a simple sequential model.
//!
//! Each sequence is made from one seed: random operations on a group with a random limit and ending, with groups
//! nested in its tasks, on an executor that is driven by hand. Every task reports what happens to it to the model,
//! which keeps a few plain facts for each group and computes what the group must return.
//! A failing sequence prints its seed; `FAILFAST_SEED=<seed>` replays it alone.

mod oracle;
mod run;
mod script;
mod world;

use crate::executor::{Executor, Polled};
use crate::support::eventually;
use failfast::clock::ManualClock;
use failfast::group::{Scoped, TaskGroup};
use failfast::{BoxError, Canceller, Context, Ending, Error, ErrorKind, Group, InPlaceGroup, Task};
use fastrand::Rng;
use run::sequence;
use std::collections::VecDeque;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{self, Poll, Waker};
use std::time::Duration;

const SEQUENCES: u64 = 100_000;
const GRACE: Duration = Duration::from_secs(1);

/// Random interleavings, 100,000 sequences of them by default.
#[test]
fn random_sequences_end_as_in_the_model() {
    if let Some(seed) = from_env("FAILFAST_SEED") {
        return sequence(seed);
    }
    for seed in 0..from_env("FAILFAST_SEQUENCES").unwrap_or(SEQUENCES) {
        sequence(seed);
    }
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Success,
    /// It succeeded when no success was needed any more.
    Surplus,
    Error,
    /// It returned what had ended its group.
    Echo,
    Panic,
    Lost,
    Cancelled,
}

/// What ended a group.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Task,
    Context,
    /// It had what it needed, could not get it, was stopped, or was dropped.
    Itself,
}

/// What a task is to do next.
#[derive(Clone, Copy, Debug)]
enum Command {
    Succeed,
    Fail,
    Panic,
    SpawnSibling,
}

/// What a task does by itself when its context ends.
#[derive(Clone, Copy)]
enum Manners {
    Stubborn,
    Succeeds,
    Echoes,
}

struct TaskModel {
    group: usize,
    number: u32,
    background: bool,
    manners: Manners,
    commands: VecDeque<Command>,
    waker: Option<Waker>,
    admitted: bool,
    queued: bool,
    started: bool,
    polls_after_end: usize,
    outcome: Option<Outcome>,
    gone: bool,
    taken: bool,
}

struct GroupModel {
    parent: Option<usize>,
    ctx: Context,
    ending: Ending,
    limit: usize,
    grace: bool,
    end: Option<End>,
    /// The tasks that failed before the end, by completion.
    failures: Vec<usize>,
    flawed: bool,
    succeeded: usize,
    spawned: u32,
    queue: VecDeque<usize>,
    finished: VecDeque<usize>,
    told: bool,
    waiting: bool,
    sibling: Option<Sibling>,
}

type Sibling = Arc<dyn Fn(Script) -> Result<(), Script> + Send + Sync>;

#[derive(Default)]
struct Model {
    groups: Vec<GroupModel>,
    tasks: Vec<TaskModel>,
    rng: Option<Rng>,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Model>>);

/// A task's future: follows its orders, and reports to the model.
struct Script {
    world: World,
    id: usize,
    nested: Option<Nested>,
}

/// A group inside a task. The mark is dropped before the group.
struct Nested {
    mark: Mark,
    wait: Pin<Box<dyn Future<Output = Result<Vec<usize>, Error>> + Send>>,
}

struct Mark {
    world: World,
    group: usize,
}

/// The text of a group's error.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Value(usize),
    Failure(usize),
    Context,
    Quorum,
    Nothing,
}
