//! The sequences: random operations on one group.

use super::script::background;
use super::*;

/// What the flavors of groups do each in their way.
pub(super) trait Party {
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

pub(super) fn sequence(seed: u64) {
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

    /// Where nothing is due, a lost task's end may be waking others on another thread.
    fn go_on_until(
        woken: impl Fn() -> bool,
        world: &World,
        executor: &Executor,
        clock: &ManualClock,
    ) {
        while !woken() {
            if !Self::go_on(world, executor, clock) {
                let awake = || woken() || !executor.woken().is_empty();
                eventually("something is awake", awake);
            }
        }
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
            Self::go_on_until(|| wait.is_woken(), world, executor, clock);
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
                        let (world, executor) = (self.world, self.executor);
                        Self::go_on_until(|| next.is_woken(), world, executor, self.clock);
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
