//! Programs that the dice write: nested groups, aggregators and contexts; and what must hold of them.

use super::world::World;
use failfast::{
    Aggregator, Context, Ending, Error, Flavour, Group, LocalGroup, LocalTask, Name, Spawn, Task,
    TaskGroup,
};
use futures::future::{Either, select};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::{Future, pending, poll_fn};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

type Served = Pin<Box<dyn Future<Output = Result<u64, Boom>> + Send>>;
type ServedLocally = Pin<Box<dyn Future<Output = Result<u64, Boom>>>>;

/// Spawns one more task into the service's own group.
type Recruit = Box<dyn Fn() + Send + Sync>;
type RecruitLocally = Box<dyn Fn()>;

#[derive(Debug, thiserror::Error)]
#[error("boom {0}")]
struct Boom(u64);

/// Who serves in a group or an aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Service(u64),
    /// A background task, which has no name.
    Attendant(u64),
}

impl Who {
    fn is_called(self, name: &str) -> bool {
        match self {
            Self::Service(id) => name == format!("t{id}"),
            Self::Attendant(number) => name == format!("task {number}"), // the first to come
        }
    }
}

/// What is known of one group or aggregation, to be compared with what it says.
struct Scope {
    alive: Mutex<BTreeSet<Who>>,
    /// Who has gone, and in which step of the world.
    gone: Mutex<Vec<(Who, usize)>>,
    started: Mutex<BTreeSet<Who>>,
    /// Whose failure came while the context was alive, before any other.
    first: Mutex<Option<Who>>,
    accepted: Mutex<Vec<u64>>,
    next: Mutex<u64>,
    /// How many services succeeded, and the world's last idle moment before the last of them did.
    succeeded: Mutex<(usize, usize)>,
    /// When the context ended, and after how many idle moments, where that is asked.
    ended: Mutex<Option<(Instant, usize)>>,
}

/// How long after the end stragglers are waited for: the grace, and the limit.
#[derive(Clone, Copy)]
struct Patience {
    grace: Duration,
    limit: Option<Duration>,
}

impl Scope {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            alive: Mutex::default(),
            gone: Mutex::default(),
            started: Mutex::default(),
            first: Mutex::new(None),
            accepted: Mutex::new(Vec::new()),
            next: Mutex::new(0),
            succeeded: Mutex::default(),
            ended: Mutex::new(None),
        })
    }

    fn next_id(&self) -> u64 {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        *next - 1
    }

    fn check_nobody_is_left(&self) {
        let alive = self.alive.lock().unwrap();
        assert!(alive.is_empty(), "{alive:?} outlived the wait");
    }

    /// Nothing is left, or the limit for stragglers has passed and the error names them all.
    fn check_who_is_left(&self, world: &World, patience: Patience, error: Option<&Error>) {
        let Some(Error::Stragglers { names, after, .. }) = error else {
            return self.check_nobody_is_left();
        };
        assert_eq!(Some(*after), patience.limit, "nobody asked for a limit");
        if let Some((ended, _)) = *self.ended.lock().unwrap() {
            let waited = world.clock().now() - ended;
            assert!(waited >= patience.grace + *after, "after {waited:?} only");
        }
        let alive = self.alive.lock().unwrap();
        let started = self.started.lock().unwrap();
        let is_named = |who: &Who| names.iter().any(|name| who.is_called(name));
        let mut running = alive.intersection(&started);
        assert!(running.all(is_named), "{names:?} are not {alive:?}");
        assert!(!names.is_empty(), "nobody is named: {error:?}");
        // The group has gone since the error was made, in this very step, and dropped some of them.
        let gone = self.gone.lock().unwrap();
        let was_gone = |name: &Name| {
            let mut before = gone.iter().filter(|(_, step)| *step < world.steps());
            before.any(|(who, _)| who.is_called(name))
        };
        assert!(!names.iter().any(was_gone), "{names:?}, but gone: {gone:?}");
    }

    /// Notes when the context ends, and takes it for a limit of stragglers.
    fn watch_the_end(self: &Arc<Self>, world: &World, ctx: &Context) {
        let (scope, world) = (self.clone(), world.clone());
        let _in_place = ctx.on_done(move || {
            *scope.ended.lock().unwrap() = Some((world.clock().now(), world.idles()));
        });
    }

    /// Once all services have succeeded and somebody waits, it is the group that ends its background tasks: at
    /// once, so before nothing else can happen.
    fn check_nobody_waited_for_attendants(&self, waited_from: usize) {
        let (count, served) = *self.succeeded.lock().unwrap();
        if let (Some((_, ended)), true) = (
            *self.ended.lock().unwrap(),
            count == self.accepted.lock().unwrap().len(),
        ) {
            assert!(ended <= served.max(waited_from), "background tasks go on");
        }
    }

    /// The first cause is kept: the error is that of who failed first, or the context's if nobody did.
    fn check_error(&self, error: &Error) {
        let error = match error {
            Error::Stragglers { error, .. } => error,
            other => other,
        };
        let first = *self.first.lock().unwrap();
        match first {
            Some(who) => assert!(
                error.name().is_some_and(|name| who.is_called(name)),
                "{who:?} was first: {error:?}"
            ),
            // The executor may also lose a source that has not been asked yet, and so has no witness.
            None => assert!(
                matches!(error, Error::Context { .. } | Error::Lost { .. }),
                "{error:?}"
            ),
        }
    }

    fn check_success(&self, values: &[u64]) {
        assert_eq!(*self.first.lock().unwrap(), None, "a failure was lost");
        assert_eq!(
            values,
            *self.accepted.lock().unwrap(),
            "results in the order of spawning"
        );
    }
}

/// Lives as long as its service's future, and notes if that failed, before the group can know.
struct Witness {
    world: World,
    scope: Arc<Scope>,
    ctx: Context,
    who: Who,
    ended: bool,
}

impl Witness {
    fn new(world: &World, scope: &Arc<Scope>, ctx: &Context, who: Who) -> Self {
        scope.alive.lock().unwrap().insert(who);
        world.alive().fetch_add(1, Ordering::SeqCst);
        Self {
            world: world.clone(),
            scope: scope.clone(),
            ctx: ctx.clone(),
            who,
            ended: false,
        }
    }

    fn fails(&self) {
        if !self.ctx.is_done() {
            self.scope.first.lock().unwrap().get_or_insert(self.who);
        }
    }

    async fn watch<T>(mut self, served: impl Future<Output = Result<T, Boom>>) -> Result<T, Boom> {
        self.scope.started.lock().unwrap().insert(self.who);
        let served = served.await;
        if served.is_err() {
            self.fails();
        } else if matches!(self.who, Who::Service(_)) {
            let mut succeeded = self.scope.succeeded.lock().unwrap();
            *succeeded = (succeeded.0 + 1, self.world.idles());
        }
        self.ended = true;
        served
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if !self.ended {
            if std::thread::panicking() {
                self.world.panicked();
            }
            self.fails(); // it panicked, or the executor lost it, or it was cancelled
        }
        self.scope.alive.lock().unwrap().remove(&self.who);
        let gone = (self.who, self.world.steps());
        self.scope.gone.lock().unwrap().push(gone);
        self.world.alive().fetch_sub(1, Ordering::SeqCst);
    }
}

/// One service: the task of a group, or the source of an aggregator.
fn service(
    world: &World,
    ctx: Context,
    scope: &Arc<Scope>,
    id: u64,
    depth: u32,
    recruit: Option<Recruit>,
) -> Served {
    let witness = Witness::new(world, scope, &ctx, Who::Service(id));
    let world = world.clone();
    Box::pin(async move {
        let served = serve(&world, &ctx, id, depth, recruit);
        witness.watch(served).await
    })
}

/// The same for a thread-bound executor.
fn service_locally(
    world: &World,
    ctx: Context,
    scope: &Arc<Scope>,
    id: u64,
    depth: u32,
    recruit: Option<RecruitLocally>,
) -> ServedLocally {
    let witness = Witness::new(world, scope, &ctx, Who::Service(id));
    let world = world.clone();
    Box::pin(async move {
        let served = serve_locally(&world, &ctx, id, depth, recruit);
        witness.watch(served).await
    })
}

async fn serve_locally(
    world: &World,
    ctx: &Context,
    id: u64,
    depth: u32,
    recruit: Option<RecruitLocally>,
) -> Result<u64, Boom> {
    if depth > 0 && world.chance(8) {
        return local_group(world, ctx, depth - 1)
            .await
            .map(|()| id)
            .ok_or(Boom(id));
    }
    let polls = Rc::new(Cell::new(0)); // what no other thread may have
    let its_polls = polls.clone();
    let mut served = pin!(serve(world, ctx, id, depth, recruit));
    let served = poll_fn(|cx| {
        its_polls.set(its_polls.get() + 1);
        served.as_mut().poll(cx)
    });
    let served = served.await;
    assert!(polls.get() > 0);
    served
}

/// A background task: it serves the others, for ever or until it has had enough.
async fn attend(world: &World, ctx: &Context, number: u64) -> Result<(), Boom> {
    match world.roll(8) {
        0 => world.doze().await,
        1 => {
            world.doze().await;
            return Err(Boom(number));
        }
        2 => world.block().await,
        3 => ctx.done().await,
        4 => {
            yield_some(world).await;
            world.panics();
        }
        _ => pending::<()>().await,
    }
    Ok(())
}

async fn serve(
    world: &World,
    ctx: &Context,
    id: u64,
    depth: u32,
    recruit: Option<impl Fn()>,
) -> Result<u64, Boom> {
    let failed = || Boom(id);
    match world.roll(17) {
        0 => {}
        1 | 2 => yield_some(world).await,
        3 | 4 => ctx.sleep(world.span()).await.map_err(|_| failed())?,
        5 => world.doze().await,
        6 => pending::<()>().await,
        7 => {
            yield_some(world).await;
            return Err(failed());
        }
        8 if world.chance(2) => world.panics(),
        9 => {
            ctx.done().await;
            assert!(ctx.err().is_some() && ctx.cause().is_some());
            return if world.chance(2) {
                Ok(id)
            } else {
                Err(failed())
            };
        }
        10 => contexts(world, ctx).await.ok_or_else(failed)?,
        11 => {
            yield_some(world).await;
            if let Some(recruit) = recruit {
                recruit();
            }
        }
        12 | 13 if depth > 0 => group(world, ctx, depth - 1).await.ok_or_else(failed)?,
        14 | 15 if depth > 0 => aggregate(world, ctx, depth - 1).await.ok_or_else(failed)?,
        16 => world.block().await,
        _ => world.doze().await,
    }
    Ok(id)
}

/// Gives the others their turn, now and then.
async fn yield_some(world: &World) {
    for _ in 0..world.roll(4) {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// Contexts of a service's own. `None` if the service gives up.
async fn contexts(world: &World, ctx: &Context) -> Option<()> {
    let (child, canceller) = ctx.with_cancel();
    let limited = child.with_timeout_cause(world.span(), Boom(99));
    let linked = Context::linked([limited.clone(), ctx.clone()]);
    let called = Arc::new(AtomicBool::new(false));
    let its_called = called.clone();
    let callback = linked.on_done(move || assert!(!its_called.swap(true, Ordering::SeqCst)));
    if world.chance(2) {
        canceller.cancel_with(Boom(98));
        assert!(limited.is_done() && linked.is_done());
    }
    let ran = linked.run(world.doze()).await;
    if linked.is_done() {
        assert!(called.load(Ordering::SeqCst) && !callback.stop());
    } else {
        assert!(callback.stop() && ran.is_ok());
    }
    // One fact: whoever is done has an error and a cause, and so have all below it.
    for ctx in [ctx, &child, &limited, &linked] {
        assert_eq!(ctx.is_done(), ctx.err().is_some());
        assert_eq!(ctx.is_done(), ctx.cause().is_some());
    }
    assert!(!child.is_done() || limited.is_done());
    assert!(!limited.is_done() || linked.is_done());
    ran.ok()
}

fn context(world: &World, parent: &Context) -> Context {
    match world.roll(4) {
        0 => parent.with_timeout(world.span()),
        _ => parent.clone(),
    }
}

/// A group, on the executor or in place. `None` if it failed.
async fn group(world: &World, parent: &Context, depth: u32) -> Option<()> {
    let parent = context(world, parent);
    if world.chance(2) {
        let (group, _) = Group::<_, u64>::with_context(&parent, world.clone());
        fill_and_wait(world, group, depth, true).await
    } else {
        let group = Group::<_, u64>::in_place(&parent);
        fill_and_wait(world, group, depth, false).await
    }
}

/// The same with tasks that stay in their thread.
async fn local_group(world: &World, parent: &Context, depth: u32) -> Option<()> {
    let parent = context(world, parent);
    if world.chance(2) {
        let (group, _) = LocalGroup::<_, u64>::with_context(&parent, world.clone());
        fill_and_wait(world, group, depth, true).await
    } else {
        let group = LocalGroup::<_, u64>::in_place(&parent);
        fill_and_wait(world, group, depth, false).await
    }
}

/// What the two flavours of groups do each in their way.
trait Staff {
    /// Starts a service, which may recruit others for the same group.
    fn start(&self, world: &World, scope: &Arc<Scope>, depth: u32) -> impl FnOnce();
    fn attend(&self, world: &World, scope: &Arc<Scope>, number: u64);
}

impl<S> Staff for Group<S, u64>
where
    S: Spawn<Task> + Send + Sync + 'static,
    S::Handle: Send + 'static,
{
    fn start(&self, world: &World, scope: &Arc<Scope>, depth: u32) -> impl FnOnce() {
        let (ctx, handle, id) = (self.context().clone(), self.handle(), scope.next_id());
        let (its_world, its_scope) = (world.clone(), scope.clone());
        let recruit: Recruit = Box::new(move || {
            let (ctx, id) = (handle.context().clone(), its_scope.next_id());
            let depth = depth.saturating_sub(1);
            let task = service(&its_world, ctx, &its_scope, id, depth, None);
            let given_back = || handle.spawn_named(format!("t{id}"), task).err();
            enlist(&its_scope, handle.context(), id, given_back);
        });
        let task = service(world, ctx, scope, id, depth, Some(recruit));
        move || {
            scope.accepted.lock().unwrap().push(id); // before it may run, and recruit others
            self.spawn_named(format!("t{id}"), task);
        }
    }

    fn attend(&self, world: &World, scope: &Arc<Scope>, number: u64) {
        let ctx = self.context().clone();
        let witness = Witness::new(world, scope, &ctx, Who::Attendant(number));
        let world = world.clone();
        self.spawn_background(async move { witness.watch(attend(&world, &ctx, number)).await });
    }
}

impl<S> Staff for LocalGroup<S, u64>
where
    S: Spawn<LocalTask> + 'static,
    S::Handle: 'static,
{
    fn start(&self, world: &World, scope: &Arc<Scope>, depth: u32) -> impl FnOnce() {
        let (ctx, handle, id) = (self.context().clone(), self.handle(), scope.next_id());
        let (its_world, its_scope) = (world.clone(), scope.clone());
        let recruit: RecruitLocally = Box::new(move || {
            let (ctx, id) = (handle.context().clone(), its_scope.next_id());
            let depth = depth.saturating_sub(1);
            let task = service_locally(&its_world, ctx, &its_scope, id, depth, None);
            let given_back = || handle.spawn_named(format!("t{id}"), task).err();
            enlist(&its_scope, handle.context(), id, given_back);
        });
        let task = service_locally(world, ctx, scope, id, depth, Some(recruit));
        move || {
            scope.accepted.lock().unwrap().push(id);
            self.spawn_named(format!("t{id}"), task);
        }
    }

    fn attend(&self, world: &World, scope: &Arc<Scope>, number: u64) {
        let ctx = self.context().clone();
        let witness = Witness::new(world, scope, &ctx, Who::Attendant(number));
        let (world, here) = (world.clone(), Rc::new(number));
        self.spawn_background(async move { witness.watch(attend(&world, &ctx, *here)).await });
    }
}

/// Takes in who was recruited, unless the group gives the task back.
fn enlist<T>(scope: &Scope, ctx: &Context, id: u64, spawn: impl FnOnce() -> Option<T>) {
    let place = {
        let mut accepted = scope.accepted.lock().unwrap();
        accepted.push(id);
        accepted.len() - 1
    };
    let given_back = spawn();
    if given_back.is_some() {
        assert!(ctx.is_done(), "a group that lives takes everyone");
        scope.accepted.lock().unwrap().remove(place);
    }
    // Dropped unpolled, after its group's end: no failure of anybody's.
    drop(given_back);
}

async fn fill_and_wait<S, M>(
    world: &World,
    mut group: TaskGroup<S, u64, M>,
    depth: u32,
    may_be_ready: bool,
) -> Option<()>
where
    TaskGroup<S, u64, M>: Staff,
    S: Spawn<M>,
    M: Flavour,
{
    let scope = Scope::new();
    let limited = world.chance(3);
    if limited {
        let limit = NonZeroUsize::MIN.saturating_add(world.roll(2) as usize);
        group = group.with_limit(limit);
    }
    let mut patience = Patience {
        grace: Duration::ZERO,
        limit: None,
    };
    if world.chance(4) {
        patience.grace = world.span();
        group = group.with_grace(patience.grace);
    }
    let ending = match world.roll(8) {
        0 => Ending::Settle,
        1 => Ending::FirstOk,
        2 => Ending::Quorum(NonZeroUsize::MIN.saturating_add(world.roll(2) as usize)),
        _ => Ending::FailFast,
    };
    group = group.with_ending(ending);
    let ctx = group.context().clone();
    if world.chance(3) {
        let limit = world.span();
        patience.limit = Some(limit);
        group = group.with_straggler_limit(limit);
    }
    if patience.limit.is_some() || world.chance(2) {
        scope.watch_the_end(world, &ctx);
    }
    for number in 0..world.roll(4).saturating_sub(1) {
        group.attend(world, &scope, number);
    }
    for _ in 0..world.roll(5) {
        let start = group.start(world, &scope, depth);
        if may_be_ready && limited && world.chance(3) {
            if let Err(error) = group.ready().await {
                assert!(ctx.is_done());
                if ending == Ending::FailFast {
                    scope.check_error(&error);
                }
            }
        }
        start();
        if world.chance(4) {
            yield_some(world).await;
        }
    }
    if world.chance(12) {
        group.cancel_with(Boom(97));
    }
    finish(world, group, &scope, ending, patience).await
}

async fn finish<S, M>(
    world: &World,
    mut group: TaskGroup<S, u64, M>,
    scope: &Arc<Scope>,
    ending: Ending,
    patience: Patience,
) -> Option<()>
where
    S: Spawn<M>,
    M: Flavour,
{
    let ctx = &group.context().clone();
    let mut waited_from = world.idles();
    let judged = |outcome: Result<Vec<u64>, Error>, waited_from| {
        scope.check_who_is_left(world, patience, outcome.as_ref().err());
        scope.check_nobody_waited_for_attendants(waited_from);
        judge(scope, ending, ctx, outcome)
    };
    match world.roll(8) {
        0 => {
            drop(group);
            assert!(ctx.is_done());
            None
        }
        1 => {
            let dropped = match select(pin!(group.wait()), pin!(world.doze())).await {
                Either::Left((outcome, _)) => return judged(outcome, waited_from),
                Either::Right(((), _)) => None,
            };
            assert!(ctx.is_done(), "a dropped wait cancels");
            dropped
        }
        2 | 3 => {
            let mut values = Vec::new();
            let mut failure = None;
            while let Some(result) = group.next().await {
                match result {
                    Ok(value) => values.push(value),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            values.sort_unstable(); // they came in the order of their ends
            scope.accepted.lock().unwrap().sort_unstable();
            waited_from = world.idles();
            let rest = group.wait().await;
            if let (Ending::FailFast, Ok(rest)) = (ending, &rest) {
                assert!(rest.is_empty() && failure.is_none());
            }
            judged(rest.map(|_| values), waited_from)
        }
        4 if ending == Ending::Settle => {
            let outcomes = group.outcomes().await;
            scope.check_who_is_left(world, patience, outcomes.as_ref().err());
            for (name, outcome) in outcomes.ok()? {
                match outcome {
                    Ok(id) => assert_eq!(name, format!("t{id}").as_str()),
                    Err(error) => assert!(
                        error.name().is_none_or(|its| *its == *name),
                        "{name}: {error:?}"
                    ),
                }
            }
            Some(())
        }
        _ => judged(group.wait().await, waited_from),
    }
}

fn judge(
    scope: &Scope,
    ending: Ending,
    ctx: &Context,
    outcome: Result<Vec<u64>, Error>,
) -> Option<()> {
    assert!(ctx.is_done(), "the context ends with the group");
    match (&outcome, ending) {
        (Ok(values), Ending::FailFast) => scope.check_success(values),
        (Err(error), Ending::FailFast) => scope.check_error(error),
        (Ok(values), Ending::FirstOk) => assert_eq!(values.len(), 1),
        (Ok(values), Ending::Quorum(needed)) => assert_eq!(values.len(), needed.get()),
        _ => {}
    }
    outcome.ok().map(drop)
}

/// An aggregation, on the executor or in place. `None` if it failed.
async fn aggregate(world: &World, parent: &Context, depth: u32) -> Option<()> {
    let parent = context(world, parent);
    let scope = Scope::new();
    let count = world.roll(4);
    scope.accepted.lock().unwrap().extend(0..count);
    let sources = (0..count).map(|id| {
        let world = world.clone();
        let source =
            move |ctx: Context, scope: Arc<Scope>| service(&world, ctx, &scope, id, depth, None);
        (format!("t{id}"), source)
    });
    let timeout = world.span() * 4;
    let patience = Patience {
        grace: Duration::ZERO,
        limit: world.chance(3).then(|| world.span()),
    };
    let was_done = parent.is_done() || timeout.is_zero();
    let outcome = if world.chance(2) {
        let mut aggregator = Aggregator::new(world.clone())
            .with_timeout(timeout)
            .sources(sources);
        if let Some(limit) = patience.limit {
            aggregator = aggregator.with_straggler_limit(limit);
        }
        drop_or_wait(world, aggregator.aggregate(&parent, scope.clone())).await
    } else {
        let aggregator = Aggregator::in_place()
            .with_timeout(timeout)
            .sources(sources);
        drop_or_wait(world, aggregator.aggregate(&parent, scope.clone())).await
    };
    let outcome = outcome?;
    scope.check_who_is_left(world, patience, outcome.as_ref().err());
    if was_done && count > 0 {
        assert!(outcome.is_err());
        let started = scope.started.lock().unwrap();
        assert!(started.is_empty(), "{started:?} were asked after the end");
    }
    match &outcome {
        Ok(values) => scope.check_success(values),
        Err(error) => scope.check_error(error),
    }
    outcome.ok().map(drop)
}

async fn drop_or_wait<T>(world: &World, aggregation: impl Future<Output = T>) -> Option<T> {
    if world.chance(8) {
        return match select(pin!(aggregation), pin!(world.doze())).await {
            Either::Left((outcome, _)) => Some(outcome),
            Either::Right(_) => None,
        };
    }
    Some(aggregation.await)
}

/// Plays one whole program: some users at once, under one server's context.
pub(crate) fn play(world: &World) {
    let background = Context::background().with_clock(world.clock().clone());
    let (server, shutdown) = background.with_cancel();
    for _ in 0..=world.roll(2) {
        let (world, server) = (world.clone(), server.clone());
        world.clone().run(async move {
            // Everything ends by then, so whatever waits longer hangs.
            let request = server.with_timeout(world.span() * 8);
            match world.roll(4) {
                0 => group(&world, &request, 1).await,
                1 => local_group(&world, &request, 1).await,
                _ => aggregate(&world, &request, 1).await,
            };
        });
    }
    let its_world = world.clone();
    world.run(async move {
        if its_world.chance(3) {
            its_world.doze().await;
            shutdown.cancel_with(Boom(96));
        } else {
            shutdown.disarm();
        }
    });
    world.play();
}
