//! No sequence of operations hangs a group, and all end as in a simple sequential model.
//!
//! Each sequence is made from one seed: random operations on a group with a random limit and ending, with groups
//! nested in its tasks, on an executor that is driven by hand. Every task reports what happens to it to the model,
//! which keeps a few plain facts for each group and computes what the group must return.
//! A failing sequence prints its seed; `FAILFAST_SEED=<seed>` replays it alone.

use crate::executor::{Executor, Polled};
use crate::support::eventually;
use failfast::clock::ManualClock;
use failfast::group::{Scoped, TaskGroup};
use failfast::{BoxError, Canceller, Context, Ending, Error, ErrorKind, Group, InPlaceGroup, Task};
use fastrand::Rng;
use std::collections::VecDeque;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{self, Poll, Waker};
use std::time::Duration;

const SEQUENCES: u64 = 100_000;
const GRACE: Duration = Duration::from_secs(1);

/// Issue: "drives random interleavings … for at least 100,000 sequences".
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

impl Model {
    fn rng(&mut self) -> &mut Rng {
        self.rng.as_mut().unwrap()
    }

    fn members(&self, group: usize) -> impl Iterator<Item = (usize, &TaskModel)> {
        let all = self.tasks.iter().enumerate();
        all.filter(move |(_, task)| task.group == group && task.admitted)
    }

    fn live(&self, group: usize) -> usize {
        self.members(group).filter(|(_, task)| !task.gone).count()
    }

    fn live_main(&self, group: usize) -> usize {
        self.members(group)
            .filter(|(_, task)| !task.gone && !task.background)
            .count()
    }

    fn running(&self, group: usize) -> usize {
        self.live_main(group) - self.groups[group].queue.len()
    }

    fn is_full(&self, group: usize) -> bool {
        !self.groups[group].queue.is_empty() || self.running(group) >= self.groups[group].limit
    }

    fn needed(&self, group: usize) -> usize {
        match self.groups[group].ending {
            Ending::FirstOk => 1,
            Ending::Quorum(needed) => needed.get(),
            _ => 0,
        }
    }

    fn is_tolerant(&self, group: usize) -> bool {
        self.groups[group].ending != Ending::FailFast
    }

    /// First wins; and what ends a group ends those below it.
    fn end(&mut self, group: usize, end: End) {
        if self.groups[group].end.is_some() {
            return;
        }
        self.groups[group].end = Some(end);
        for below in 0..self.groups.len() {
            if self.groups[below].parent == Some(group) {
                self.end(below, End::Context);
            }
        }
    }

    /// Notes that the group has ended if its waiter saw that nothing more is to come.
    fn notice(&mut self, group: usize) {
        let this = &self.groups[group];
        if this.end.is_some() || !this.ctx.is_done() {
            return;
        }
        let possible = this.succeeded + self.live_main(group);
        let over = self.live_main(group) == 0 || possible < self.needed(group);
        assert!(
            this.waiting && over,
            "group {group} has ended without a reason: {:?}, needs {}, {} succeeded",
            this.ctx.cause(),
            self.needed(group),
            this.succeeded,
        );
        self.end(group, End::Itself);
    }

    fn serve_queue(&mut self, group: usize) {
        while self.groups[group].end.is_none() && self.start_one(group) {}
    }

    fn start_one(&mut self, group: usize) -> bool {
        if self.running(group) >= self.groups[group].limit {
            return false;
        }
        let next = self.groups[group].queue.pop_front();
        next.map(|id| self.tasks[id].queued = false).is_some()
    }

    fn polled(&mut self, id: usize) {
        let group = self.tasks[id].group;
        self.notice(group);
        let this = &self.groups[group];
        assert_eq!(this.ctx.is_done(), this.end.is_some(), "of group {group}");
        let task = &mut self.tasks[id];
        assert!(
            task.admitted && !task.queued && !task.gone,
            "task {id} must not run"
        );
        assert!(
            task.started || this.end.is_none(),
            "task {id} starts after the end"
        );
        task.started = true;
        task.polls_after_end += usize::from(this.end.is_some());
        assert!(
            this.grace || task.polls_after_end <= 1,
            "task {id} was polled on"
        );
    }

    fn returned(&mut self, id: usize, outcome: Outcome) {
        let group = self.tasks[id].group;
        let needed = self.needed(group);
        let this = &mut self.groups[group];
        let counts = !self.tasks[id].background && needed > 0;
        self.tasks[id].outcome = Some(match outcome {
            Outcome::Success if counts && this.succeeded >= needed => Outcome::Surplus,
            outcome => outcome,
        });
    }

    /// The future is gone, so the task has ended.
    fn dropped(&mut self, id: usize) {
        let group = self.tasks[id].group;
        if !self.tasks[id].admitted {
            return;
        }
        self.notice(group);
        let ended = self.groups[group].end.is_some();
        let fallback = if ended {
            Outcome::Cancelled
        } else {
            Outcome::Lost
        };
        let outcome = *self.tasks[id].outcome.get_or_insert(fallback);
        assert!(!self.tasks[id].queued || ended, "a queued task was lost");
        self.groups[group].queue.retain(|queued| *queued != id);
        self.tasks[id].queued = false;
        self.tasks[id].gone = true;
        self.groups[group].finished.push_back(id);
        self.settle(group, id, outcome);
        // Dropping a lost task starts no other: the next poll of the group does.
        if outcome != Outcome::Lost && self.groups[group].end.is_none() {
            self.start_one(group);
        }
    }

    fn settle(&mut self, group: usize, id: usize, outcome: Outcome) {
        let (needed, tolerant) = (self.needed(group), self.is_tolerant(group));
        let background = self.tasks[id].background;
        let this = &mut self.groups[group];
        match outcome {
            Outcome::Success => {
                this.succeeded += usize::from(!background);
                if needed > 0 && this.succeeded >= needed {
                    self.end(group, End::Itself);
                }
            }
            Outcome::Surplus | Outcome::Cancelled | Outcome::Echo => this.flawed |= !background,
            Outcome::Error | Outcome::Panic | Outcome::Lost => {
                this.flawed = true;
                if this.end.is_none() {
                    this.failures.push(id);
                    if !tolerant {
                        self.end(group, End::Task);
                    }
                }
            }
        }
    }

    /// What `next` returns now: `None` if it has to wait.
    fn next(&mut self, group: usize) -> Option<Told> {
        let tolerant = self.is_tolerant(group);
        let outcomes = std::mem::take(&mut self.groups[group].finished);
        let (background, mut main): (VecDeque<_>, VecDeque<_>) = outcomes
            .into_iter()
            .partition(|id| self.tasks[*id].background);
        self.groups[group].finished = background;
        while let Some(id) = main.pop_front() {
            self.tasks[id].taken = true;
            match self.tasks[id].outcome {
                Some(Outcome::Success) => {
                    self.groups[group].finished.append(&mut main);
                    return Some(Told::Value(id));
                }
                Some(Outcome::Error | Outcome::Panic | Outcome::Lost) => {
                    let first = self.groups[group].failures.first() == Some(&id);
                    if tolerant || first {
                        self.groups[group].told |= !tolerant;
                        self.groups[group].finished.append(&mut main);
                        return Some(Told::Failure(id));
                    }
                }
                _ => {}
            }
        }
        if self.live_main(group) > 0 {
            return None;
        }
        Some(self.last_word(group))
    }

    /// What `next` returns when no outcome is to come: failures of background tasks, which have none; then the end.
    fn last_word(&mut self, group: usize) -> Told {
        let tolerant = self.is_tolerant(group);
        while let Some(id) = self.groups[group].finished.pop_front() {
            let outcome = self.tasks[id].outcome;
            let failed = matches!(
                outcome,
                Some(Outcome::Error | Outcome::Panic | Outcome::Lost)
            );
            if tolerant && failed {
                self.tasks[id].taken = true;
                return Told::Failure(id);
            }
        }
        let this = &mut self.groups[group];
        if !this.flawed || this.told {
            return Told::Nothing;
        }
        let first = this.failures.first().copied().filter(|_| !tolerant);
        match (first, this.end) {
            (Some(id), _) => {
                this.told = true;
                Told::Failure(id)
            }
            (None, Some(End::Context)) => {
                this.told = true;
                Told::Context
            }
            _ => Told::Nothing,
        }
    }

    /// The failure that the group ends with, if it does. One that was tolerated and that `next` has returned is not
    /// returned again.
    fn failure(&self, group: usize) -> Option<usize> {
        let this = &self.groups[group];
        let mut failures = this.failures.iter().copied();
        failures.find(|id| !self.is_tolerant(group) || !self.tasks[*id].taken)
    }

    /// What `wait` returns, when all have ended.
    fn verdict(&self, group: usize) -> Result<Vec<usize>, Told> {
        let this = &self.groups[group];
        let needed = self.needed(group);
        let context = (this.end == Some(End::Context)).then_some(Told::Context);
        let failure = self.failure(group).map(Told::Failure);
        let error = match needed {
            0 => this.flawed.then_some(failure.or(context)).flatten(),
            _ => (this.succeeded < needed).then(|| context.or(failure).unwrap_or(Told::Quorum)),
        };
        match error {
            Some(error) => Err(error),
            None => Ok(self.values(group)),
        }
    }

    fn values(&self, group: usize) -> Vec<usize> {
        let mut values: Vec<_> = self
            .members(group)
            .filter(|(_, task)| task.outcome == Some(Outcome::Success))
            .filter(|(_, task)| !task.background && !task.taken)
            .map(|(id, task)| (task.number, id))
            .collect();
        values.sort_unstable();
        values.into_iter().map(|(_, id)| id).collect()
    }
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

impl World {
    fn lock(&self) -> MutexGuard<'_, Model> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn random(&self, range: std::ops::Range<usize>) -> usize {
        self.lock().rng().usize(range)
    }

    fn once_in(&self, n: usize) -> bool {
        self.random(0..n) == 0
    }

    /// A task for `group`, not yet in it.
    fn script(&self, group: usize, background: bool) -> Script {
        let mut model = self.lock();
        let manners = match model.rng().u8(0..3) {
            0 => Manners::Stubborn,
            1 => Manners::Succeeds,
            _ => Manners::Echoes,
        };
        let number = model.groups[group].spawned;
        model.tasks.push(TaskModel {
            group,
            number,
            background,
            manners,
            commands: VecDeque::new(),
            waker: None,
            admitted: false,
            queued: false,
            started: false,
            polls_after_end: 0,
            outcome: None,
            gone: false,
            taken: false,
        });
        Script {
            world: self.clone(),
            id: model.tasks.len() - 1,
            nested: None,
        }
    }

    /// Computes what a group must do with a new task, and notes it.
    fn admit(&self, script: &Script, queue: bool) -> bool {
        let mut model = self.lock();
        let id = script.id;
        let (group, background) = (model.tasks[id].group, model.tasks[id].background);
        let full = !background && model.is_full(group);
        if model.groups[group].end.is_some() || (full && !queue) {
            return false;
        }
        model.tasks[id].admitted = true;
        model.tasks[id].queued = full;
        model.groups[group].spawned += 1;
        if full {
            model.groups[group].queue.push_back(id);
            model.serve_queue(group);
        }
        true
    }

    fn command(&self, id: usize, command: Command) {
        let waker = {
            let mut model = self.lock();
            model.tasks[id].commands.push_back(command);
            model.tasks[id].waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn random_command(&self) -> Command {
        match self.random(0..8) {
            0 => Command::Fail,
            1 => Command::Panic,
            2 => Command::SpawnSibling,
            _ => Command::Succeed,
        }
    }

    /// Gives a random task an order. False if every task that is left has been given its end.
    fn command_someone(&self, endings_only: bool) -> bool {
        let ids: Vec<_> = {
            let model = self.lock();
            let tasks = model.tasks.iter().enumerate();
            let idle =
                tasks.filter(|(_, task)| task.admitted && !task.gone && task.commands.is_empty());
            idle.map(|(id, _)| id).collect()
        };
        if ids.is_empty() {
            return false;
        }
        let id = ids[self.random(0..ids.len())];
        let command = match self.random_command() {
            Command::SpawnSibling if endings_only => Command::Succeed,
            command => command,
        };
        self.command(id, command);
        true
    }

    /// Takes note of a group, and sets it up.
    fn adopt<M>(
        &self,
        group: TaskGroup<usize, M>,
        parent: Option<usize>,
    ) -> (usize, TaskGroup<usize, M>)
    where
        TaskGroup<usize, M>: Party,
    {
        let ending = match self.random(0..6) {
            0 => Ending::Settle,
            1 => Ending::FirstOk,
            2 => Ending::Quorum(NonZeroUsize::new(self.random(1..4)).unwrap()),
            _ => Ending::FailFast,
        };
        let limit = if self.once_in(2) {
            self.random(1..4)
        } else {
            usize::MAX
        };
        let grace = parent.is_none() && self.once_in(8);
        let mut group = group.with_ending(ending);
        if limit < usize::MAX {
            group = group.with_limit(NonZeroUsize::new(limit).unwrap());
        }
        if grace {
            group = group.with_grace(GRACE);
        }
        let sibling = group.sibling();
        let mut model = self.lock();
        let ctx = group.context().clone();
        let end = ctx.is_done().then_some(End::Context);
        model.groups.push(GroupModel {
            parent,
            ctx,
            ending,
            limit,
            grace,
            end,
            failures: Vec::new(),
            flawed: false,
            succeeded: 0,
            spawned: 0,
            queue: VecDeque::new(),
            finished: VecDeque::new(),
            told: false,
            waiting: false,
            sibling: Some(sibling),
        });
        (model.groups.len() - 1, group)
    }

    fn check(&self, told: Told, result: Result<usize, &Error>) {
        let model = self.lock();
        let fits = match (told, result) {
            (Told::Value(id), Ok(value)) => id == value,
            (Told::Failure(id), Err(error)) => {
                let task = &model.tasks[id];
                let named = error
                    .to_string()
                    .starts_with(&format!("task {}: ", task.number));
                named
                    && match task.outcome {
                        Some(Outcome::Error) => error.kind() == ErrorKind::Task,
                        Some(Outcome::Panic) => error.kind() == ErrorKind::Panicked,
                        _ => error.kind() == ErrorKind::Lost,
                    }
            }
            (Told::Context, Err(error)) => error.kind() == ErrorKind::Canceled,
            (Told::Quorum, Err(error)) => error.kind() == ErrorKind::Quorum,
            _ => false,
        };
        assert!(fits, "{result:?} instead of {told:?}");
    }

    fn check_wait(&self, group: usize, result: &Result<Vec<usize>, Error>) {
        let (live, verdict) = {
            let mut model = self.lock();
            model.notice(group);
            (model.live(group), model.verdict(group))
        };
        assert_eq!(live, 0, "something outlives `wait`");
        match (&verdict, result) {
            (Ok(expected), Ok(values)) => assert_eq!(expected, values),
            (Err(told), Err(error)) => self.check(*told, Err(error)),
            _ => panic!("{result:?} instead of {verdict:?}"),
        }
    }
}

impl Script {
    fn obey(&mut self, cx: &task::Context<'_>) -> Poll<Result<usize, BoxError>> {
        loop {
            let command = self.world.lock().tasks[self.id].commands.pop_front();
            match command {
                Some(Command::SpawnSibling) => self.spawn_sibling(),
                Some(Command::Succeed) => return self.finish(Outcome::Success),
                Some(Command::Fail) => return self.finish(Outcome::Error),
                Some(Command::Panic) => {
                    self.world.lock().returned(self.id, Outcome::Panic);
                    std::panic::resume_unwind(Box::new("a bug"));
                }
                None => break,
            }
        }
        let (ended, background, manners) = {
            let model = self.world.lock();
            let task = &model.tasks[self.id];
            let ended = model.groups[task.group].end.is_some();
            (ended, task.background, task.manners)
        };
        match manners {
            Manners::Succeeds if ended => self.finish(Outcome::Success),
            Manners::Echoes if ended && background => self.finish(Outcome::Echo),
            Manners::Echoes if ended => self.finish(Outcome::Error),
            _ => {
                self.world.lock().tasks[self.id].waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn finish(&self, outcome: Outcome) -> Poll<Result<usize, BoxError>> {
        self.world.lock().returned(self.id, outcome);
        Poll::Ready(match outcome {
            Outcome::Success => Ok(self.id),
            Outcome::Echo => Err(self.context().err().expect("it has ended").into()),
            _ => Err("an error".into()),
        })
    }

    fn context(&self) -> Context {
        let model = self.world.lock();
        model.groups[model.tasks[self.id].group].ctx.clone()
    }

    fn spawn_sibling(&self) {
        let group = self.world.lock().tasks[self.id].group;
        let script = self.world.script(group, false);
        let expected = self.world.admit(&script, true);
        let spawn = self.world.lock().groups[group].sibling.clone();
        let spawned = spawn.unwrap()(script).is_ok();
        assert_eq!(spawned, expected);
    }
}

impl Future for Script {
    type Output = Result<usize, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let world = self.world.clone();
        world.lock().polled(self.id);
        let Some(nested) = &mut self.nested else {
            return self.obey(cx);
        };
        let group = nested.mark.group;
        {
            let mut model = world.lock();
            model.groups[group].waiting = true;
            model.serve_queue(group);
        }
        match nested.wait.as_mut().poll(cx) {
            Poll::Pending => {
                world.lock().notice(group);
                Poll::Pending
            }
            Poll::Ready(result) => {
                self.world.check_wait(group, &result);
                self.world.lock().end(group, End::Itself);
                self.finish(if result.is_ok() {
                    Outcome::Success
                } else {
                    Outcome::Error
                })
            }
        }
    }
}

/// Background tasks have no result.
async fn background(script: Script) -> Result<(), BoxError> {
    script.await.map(drop)
}

impl Drop for Script {
    fn drop(&mut self) {
        self.nested = None;
        self.world.lock().dropped(self.id);
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.world.lock().end(self.group, End::Itself);
    }
}

/// What the flavors of groups do each in their way.
trait Party {
    fn put(&self, script: Script);
    fn try_put(&self, script: Script) -> Result<(), Script>;
    fn put_in_background(&self, script: Script);
    /// Puts a task in through a handle.
    fn sibling(&self) -> Sibling;
    fn finish(self) -> Pin<Box<dyn Future<Output = Result<Vec<usize>, Error>> + Send>>;
}

macro_rules! party {
    ($group:ty) => {
        impl Party for $group {
            fn put(&self, script: Script) {
                self.spawn(script);
            }

            fn try_put(&self, script: Script) -> Result<(), Script> {
                self.try_spawn(script)
            }

            fn put_in_background(&self, script: Script) {
                self.spawn_background(background(script));
            }

            fn sibling(&self) -> Sibling {
                let handle = self.handle();
                Arc::new(move |script| handle.spawn(script))
            }

            fn finish(self) -> Pin<Box<dyn Future<Output = Result<Vec<usize>, Error>> + Send>> {
                Box::pin(self.wait())
            }
        }
    };
}

party!(Group<usize>);
party!(InPlaceGroup<'static, usize>);

/// One sequence on its way.
struct Run<'a, M> {
    world: &'a World,
    executor: &'a Executor,
    clock: &'a ManualClock,
    group: TaskGroup<usize, M>,
    id: usize,
    parent: Option<Canceller>,
}

fn sequence(seed: u64) {
    let telling = Telling(seed);
    let world = World::default();
    world.lock().rng = Some(Rng::with_seed(seed));
    let executor = Executor::new();
    let clock = ManualClock::new();
    let root = Context::background().with_clock(clock.clone());
    let (ctx, canceller) = root.with_cancel();
    if world.once_in(4) {
        let (id, group) = world.adopt::<Scoped<'static>>(InPlaceGroup::new(&ctx), None);
        run(Run {
            world: &world,
            executor: &executor,
            clock: &clock,
            group,
            id,
            parent: Some(canceller),
        });
    } else {
        let (group, _) = Group::with_context(&ctx, executor.spawner());
        let (id, group) = world.adopt(group, None);
        run(Run {
            world: &world,
            executor: &executor,
            clock: &clock,
            group,
            id,
            parent: Some(canceller),
        });
    }
    executor.run();
    let mut model = world.lock();
    assert!(executor.alive().is_empty(), "the executor still has a task");
    let alive = model
        .tasks
        .iter()
        .filter(|task| task.admitted && !task.gone)
        .count();
    assert_eq!(alive, 0, "a future is still alive");
    assert!(model.groups.iter().all(|group| group.ctx.is_done()));
    assert_eq!(clock.armed(), 0, "a timer is still armed");
    let handles: Vec<_> = model
        .groups
        .iter_mut()
        .map(|group| group.sibling.take())
        .collect();
    drop(model);
    drop(handles);
    drop(telling);
}

/// Prints the seed of a sequence that fails.
struct Telling(u64);

impl Drop for Telling {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with FAILFAST_SEED={}", self.0);
        }
    }
}

fn run<M>(mut run: Run<'_, M>)
where
    TaskGroup<usize, M>: Party,
{
    for _ in 0..run.world.random(1..30) {
        run.operation();
    }
    match run.world.random(0..8) {
        0 => {
            run.world.lock().end(run.id, End::Itself);
            drop(run.group);
        }
        1 => run.drop_wait(),
        2 => run.drain(),
        _ => run.wait(),
    }
}

impl<M> Run<'_, M>
where
    TaskGroup<usize, M>: Party,
{
    fn operation(&mut self) {
        match self.world.random(0..24) {
            0..5 => self.spawn(),
            5 => self.try_spawn(),
            6 => self.spawn_by_handle(),
            7 => self.spawn_background(),
            8..12 => drop(self.world.command_someone(false)),
            12..17 => self.poll_one(),
            17 => self.lose_one(),
            18 | 19 => self.next(),
            20 => self.line_up(),
            21 => self.spawn_nested(),
            22 if self.world.once_in(3) => self.cancel(),
            22 if self.world.once_in(6) => self.stop(),
            _ => self.poll_for_nothing(),
        }
    }

    fn spawn(&self) {
        let script = self.world.script(self.id, false);
        self.put_in(script);
    }

    fn put_in(&self, script: Script) {
        if !self.world.admit(&script, true) {
            self.world.lock().groups[self.id].flawed = true;
        }
        self.group.put(script);
    }

    fn try_spawn(&self) {
        let script = self.world.script(self.id, false);
        let expected = self.world.admit(&script, false);
        let taken = self.group.try_put(script).is_ok();
        assert_eq!(
            taken,
            expected,
            "{:?}",
            self.world.lock().groups[self.id].ctx.cause()
        );
    }

    fn spawn_by_handle(&self) {
        let script = self.world.script(self.id, false);
        let expected = self.world.admit(&script, true);
        assert_eq!(self.group.sibling()(script).is_ok(), expected);
    }

    fn spawn_background(&self) {
        let script = self.world.script(self.id, true);
        self.world.admit(&script, true); // one that is refused is no more missed than one that is cancelled
        self.group.put_in_background(script);
    }

    /// A task with a group of its own, on the same executor or in place.
    fn spawn_nested(&self) {
        let mut script = self.world.script(self.id, false);
        let parent = self.group.context();
        script.nested = Some(match self.world.once_in(2) {
            true => self.nest::<Scoped<'static>>(InPlaceGroup::new(parent)),
            false => self.nest::<Task>(Group::with_context(parent, self.executor.spawner()).0),
        });
        self.put_in(script);
    }

    fn nest<N>(&self, group: TaskGroup<usize, N>) -> Nested
    where
        TaskGroup<usize, N>: Party,
    {
        let (id, group) = self.world.adopt(group, Some(self.id));
        for _ in 0..self.world.random(0..4) {
            let script = self.world.script(id, false);
            if !self.world.admit(&script, true) {
                self.world.lock().groups[id].flawed = true;
            }
            group.put(script);
        }
        let mark = Mark {
            world: self.world.clone(),
            group: id,
        };
        Nested {
            mark,
            wait: group.finish(),
        }
    }

    fn poll_one(&self) {
        let woken = self.executor.woken();
        if !woken.is_empty() {
            self.executor.poll(woken[self.world.random(0..woken.len())]);
        }
    }

    /// Polls a task that was not woken, or has ended.
    fn poll_for_nothing(&self) {
        if self.executor.spawned() > 0 {
            self.executor
                .poll(self.world.random(0..self.executor.spawned()));
        }
    }

    fn lose_one(&self) {
        let alive = self.executor.alive();
        if !alive.is_empty() {
            self.executor.lose(alive[self.world.random(0..alive.len())]);
        }
        let ended: Vec<_> = {
            let model = self.world.lock();
            let ended = model.groups.iter().filter(|group| group.end.is_some());
            ended.map(|group| group.ctx.clone()).collect()
        };
        eventually("ended by the loss", || ended.iter().all(Context::is_done));
    }

    fn cancel(&mut self) {
        let world = self.world;
        self.world.lock().end(self.id, End::Context);
        match self.parent.take_if(|_| world.once_in(2)) {
            Some(parent) => parent.cancel_with("the parent's"),
            None => self.group.cancel_with("the test's"),
        }
    }

    /// "Ends the group without a failure."
    fn stop(&mut self) {
        let ending = self.world.lock().groups[self.id].ending;
        if matches!(ending, Ending::FailFast | Ending::Settle) {
            self.world.lock().end(self.id, End::Itself);
            self.group.stop();
            assert!(self.group.context().is_done());
        }
    }

    /// Polls `next` once.
    fn next(&mut self) {
        let mut next = Polled::new(self.group.next());
        Self::poll_next(self.world, self.id, &mut next);
    }

    /// `None` if it has to wait, else whether it returned anything.
    fn poll_next(
        world: &World,
        id: usize,
        next: &mut Polled<'_, Option<Result<usize, Error>>>,
    ) -> Option<bool> {
        world.lock().serve_queue(id);
        let mut polled = next.poll();
        while polled.is_pending() && next.is_woken() {
            polled = next.poll(); // in place it yields now and then
        }
        let told = world.lock().next(id);
        match (polled, told) {
            (Poll::Pending, None) => None,
            (Poll::Ready(None), Some(Told::Nothing)) => Some(false),
            (Poll::Ready(Some(result)), Some(told)) => {
                world.check(told, result.as_ref().map(|value| *value));
                Some(true)
            }
            (polled, told) => panic!("{polled:?} instead of {told:?}"),
        }
    }

    /// Several wait for a place while tasks go on; they leave in any order.
    fn line_up(&self) {
        let mut line: Vec<_> = (0..self.world.random(1..4))
            .map(|_| Polled::new(self.group.ready()))
            .collect();
        for _ in 0..self.world.random(1..8) {
            if line.is_empty() {
                return;
            }
            let place = self.world.random(0..line.len());
            match self.world.random(0..4) {
                0 => self.poll_one(),
                1 => drop(self.world.command_someone(false)),
                2 => drop(line.remove(place)),
                _ => self.poll_ready(&mut line, place),
            }
        }
        let ended = self.world.lock().groups[self.id].end.is_some();
        assert!(
            !ended
                || line
                    .iter_mut()
                    .all(|one| matches!(self.poll_one_in_line(one), Poll::Ready(Err(_)))),
            "not released"
        );
    }

    /// If a lost task has ended the group, waiters are woken from another thread, which may be late.
    fn poll_one_in_line<T>(&self, one: &mut Polled<'_, T>) -> Poll<T> {
        loop {
            let polled = one.poll();
            if polled.is_ready() || self.world.lock().groups[self.id].end.is_none() {
                return polled;
            }
            eventually("called", || one.is_woken());
        }
    }

    /// The first in line is ready exactly if there is a place, and then the next is first.
    fn poll_ready(&self, line: &mut Vec<Polled<'_, Result<(), Error>>>, place: usize) {
        self.world.lock().serve_queue(self.id);
        let polled = self.poll_one_in_line(&mut line[place]); // in place this polls tasks, too
        let (ended, full) = {
            let model = self.world.lock();
            (model.groups[self.id].end.is_some(), model.is_full(self.id))
        };
        match polled {
            Poll::Ready(Err(_)) => {
                assert!(ended);
                drop(line.remove(place));
            }
            Poll::Ready(Ok(())) => {
                assert!(!ended && !full);
                drop(line.remove(place));
            }
            Poll::Pending => assert!(!ended && (full || line.len() > 1)),
        }
    }

    /// Makes something happen that was due. False if nothing is.
    fn go_on(world: &World, executor: &Executor, clock: &ManualClock) -> bool {
        let woken = executor.woken();
        if !woken.is_empty() && !world.once_in(3) {
            executor.poll(woken[world.random(0..woken.len())]);
            return true;
        }
        world.command_someone(true) || !woken.is_empty() || clock.advance_to_next()
    }

    fn wait(self) {
        let Run {
            world,
            executor,
            clock,
            group,
            id,
            parent,
        } = self;
        world.lock().groups[id].waiting = true;
        let mut wait = Polled::new(group.wait());
        loop {
            world.lock().serve_queue(id);
            if let Poll::Ready(result) = wait.poll() {
                world.check_wait(id, &result);
                world.lock().end(id, End::Itself);
                break;
            }
            world.lock().notice(id);
            while !wait.is_woken() {
                assert!(
                    Self::go_on(world, executor, clock),
                    "hangs: nobody is awake"
                );
            }
        }
        drop(parent);
    }

    fn drop_wait(self) {
        let Run {
            world,
            executor,
            clock,
            group,
            id,
            parent,
        } = self;
        world.lock().groups[id].waiting = true;
        let mut wait = Polled::new(group.wait());
        for _ in 0..world.random(0..6) {
            world.lock().serve_queue(id);
            if let Poll::Ready(result) = wait.poll() {
                world.check_wait(id, &result);
                break;
            }
            world.lock().notice(id);
            Self::go_on(world, executor, clock);
        }
        world.lock().end(id, End::Itself);
        drop(wait);
        drop(parent);
    }

    /// Takes everything with `next`, then waits for what is left: nothing.
    fn drain(mut self) {
        loop {
            let mut next = Polled::new(self.group.next());
            let told = loop {
                match Self::poll_next(self.world, self.id, &mut next) {
                    Some(told) => break told,
                    None => {
                        while !next.is_woken() {
                            assert!(
                                Self::go_on(self.world, self.executor, self.clock),
                                "hangs: nobody is awake"
                            );
                        }
                    }
                }
            };
            drop(next);
            if !told {
                return self.wait();
            }
        }
    }
}
