//! The model: what a group of plain facts must return.

use super::*;

impl Model {
    pub(super) fn rng(&mut self) -> &mut Rng {
        self.rng.as_mut().unwrap()
    }

    pub(super) fn members(&self, group: usize) -> impl Iterator<Item = (usize, &TaskModel)> {
        let all = self.tasks.iter().enumerate();
        all.filter(move |(_, task)| task.group == group && task.admitted)
    }

    pub(super) fn live(&self, group: usize) -> usize {
        self.members(group).filter(|(_, task)| !task.gone).count()
    }

    pub(super) fn live_main(&self, group: usize) -> usize {
        self.members(group)
            .filter(|(_, task)| !task.gone && !task.background)
            .count()
    }

    pub(super) fn running(&self, group: usize) -> usize {
        self.live_main(group) - self.groups[group].queue.len()
    }

    pub(super) fn is_full(&self, group: usize) -> bool {
        !self.groups[group].queue.is_empty() || self.running(group) >= self.groups[group].limit
    }

    pub(super) fn needed(&self, group: usize) -> usize {
        match self.groups[group].ending {
            Ending::FirstOk => 1,
            Ending::Quorum(needed) => needed.get(),
            _ => 0,
        }
    }

    pub(super) fn is_tolerant(&self, group: usize) -> bool {
        self.groups[group].ending != Ending::FailFast
    }

    /// First wins; and what ends a group ends those below it.
    pub(super) fn end(&mut self, group: usize, end: End) {
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
    pub(super) fn notice(&mut self, group: usize) {
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

    pub(super) fn serve_queue(&mut self, group: usize) {
        while self.groups[group].end.is_none() && self.start_one(group) {}
    }

    pub(super) fn start_one(&mut self, group: usize) -> bool {
        if self.running(group) >= self.groups[group].limit {
            return false;
        }
        let next = self.groups[group].queue.pop_front();
        next.map(|id| self.tasks[id].queued = false).is_some()
    }

    pub(super) fn polled(&mut self, id: usize) {
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

    pub(super) fn returned(&mut self, id: usize, outcome: Outcome) {
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
    pub(super) fn dropped(&mut self, id: usize) {
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

    pub(super) fn settle(&mut self, group: usize, id: usize, outcome: Outcome) {
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
    pub(super) fn next(&mut self, group: usize) -> Option<Told> {
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
    pub(super) fn last_word(&mut self, group: usize) -> Told {
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
    pub(super) fn failure(&self, group: usize) -> Option<usize> {
        let this = &self.groups[group];
        let mut failures = this.failures.iter().copied();
        failures.find(|id| !self.is_tolerant(group) || !self.tasks[*id].taken)
    }

    /// What `wait` returns, when all have ended.
    pub(super) fn verdict(&self, group: usize) -> Result<Vec<usize>, Told> {
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

    pub(super) fn values(&self, group: usize) -> Vec<usize> {
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
