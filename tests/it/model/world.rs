//! What the tasks and the sequences share: the model, the dice, and the checks of what a group returned.

use super::run::Party;
use super::*;

impl World {
    pub(super) fn lock(&self) -> MutexGuard<'_, Model> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn random(&self, range: std::ops::Range<usize>) -> usize {
        self.lock().rng().usize(range)
    }

    pub(super) fn once_in(&self, n: usize) -> bool {
        self.random(0..n) == 0
    }

    /// A task for `group`, not yet in it.
    pub(super) fn script(&self, group: usize, background: bool) -> Script {
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
    pub(super) fn admit(&self, script: &Script, queue: bool) -> bool {
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

    pub(super) fn command(&self, id: usize, command: Command) {
        let waker = {
            let mut model = self.lock();
            model.tasks[id].commands.push_back(command);
            model.tasks[id].waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn random_command(&self) -> Command {
        match self.random(0..8) {
            0 => Command::Fail,
            1 => Command::Panic,
            2 => Command::SpawnSibling,
            _ => Command::Succeed,
        }
    }

    /// Gives a random task an order. False if every task that is left has been given its end.
    pub(super) fn command_someone(&self, endings_only: bool) -> bool {
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
    pub(super) fn adopt<M>(
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

    pub(super) fn check(&self, told: Told, result: Result<usize, &Error>) {
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

    pub(super) fn check_wait(&self, group: usize, result: &Result<Vec<usize>, Error>) {
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
