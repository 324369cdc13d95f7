//! Programs that the dice write: nested groups, aggregators and contexts; and what must hold of them.

use super::world::World;
use failfast::{Aggregator, Context, Ending, Error, Group, GroupHandle, Spawn, Task};
use futures::future::{Either, select};
use std::future::{Future, pending, poll_fn};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

type Served = Pin<Box<dyn Future<Output = Result<u64, Boom>> + Send>>;

/// Spawns one more task into the service's own group.
type Recruit = Arc<dyn Fn() + Send + Sync>;

#[derive(Debug, thiserror::Error)]
#[error("boom {0}")]
struct Boom(u64);

/// What is known of one group or aggregation, to be compared with what it says.
struct Scope {
    alive: AtomicUsize,
    started: AtomicUsize,
    /// Whose failure came while the context was alive, before any other.
    first: Mutex<Option<u64>>,
    accepted: Mutex<Vec<u64>>,
    next: Mutex<u64>,
}

impl Scope {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            alive: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            first: Mutex::new(None),
            accepted: Mutex::new(Vec::new()),
            next: Mutex::new(0),
        })
    }

    fn next_id(&self) -> u64 {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        *next - 1
    }

    fn check_nobody_is_left(&self) {
        assert_eq!(
            self.alive.load(Ordering::SeqCst),
            0,
            "something outlived the wait"
        );
    }

    /// The first cause is kept: the error is that of who failed first, or the context's if nobody did.
    fn check_error(&self, error: &Error) {
        let first = *self.first.lock().unwrap();
        match first {
            Some(id) => assert_eq!(
                error.name().map(|name| name.to_string()),
                Some(format!("t{id}")),
                "{error:?}"
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
    id: u64,
    ended: bool,
}

impl Witness {
    fn new(world: &World, scope: &Arc<Scope>, ctx: &Context, id: u64) -> Self {
        scope.alive.fetch_add(1, Ordering::SeqCst);
        world.alive().fetch_add(1, Ordering::SeqCst);
        Self {
            world: world.clone(),
            scope: scope.clone(),
            ctx: ctx.clone(),
            id,
            ended: false,
        }
    }

    fn fails(&self) {
        if !self.ctx.is_done() {
            self.scope.first.lock().unwrap().get_or_insert(self.id);
        }
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
        self.scope.alive.fetch_sub(1, Ordering::SeqCst);
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
    let witness = Witness::new(world, scope, &ctx, id);
    Box::pin(async move {
        let mut witness = witness; // all of it, and the last to be dropped
        witness.scope.started.fetch_add(1, Ordering::SeqCst);
        let served = serve(&witness.world, &ctx, id, depth, recruit).await;
        if served.is_err() {
            witness.fails();
        }
        witness.ended = true;
        served
    })
}

async fn serve(
    world: &World,
    ctx: &Context,
    id: u64,
    depth: u32,
    recruit: Option<Recruit>,
) -> Result<u64, Boom> {
    let failed = || Boom(id);
    match world.roll(16) {
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

async fn fill_and_wait<S>(
    world: &World,
    mut group: Group<S, u64>,
    depth: u32,
    may_be_ready: bool,
) -> Option<()>
where
    S: Spawn<Task> + Send + Sync + 'static,
    S::Handle: Send + 'static,
{
    let scope = Scope::new();
    let limited = world.chance(3);
    if limited {
        let limit = NonZeroUsize::MIN.saturating_add(world.roll(2) as usize);
        group = group.with_limit(limit);
    }
    if world.chance(4) {
        group = group.with_grace(world.span());
    }
    let ending = match world.roll(8) {
        0 => Ending::Settle,
        1 => Ending::FirstOk,
        2 => Ending::Quorum(NonZeroUsize::MIN.saturating_add(world.roll(2) as usize)),
        _ => Ending::FailFast,
    };
    group = group.with_ending(ending);
    let ctx = group.context().clone();
    for _ in 0..world.roll(5) {
        let id = scope.next_id();
        let recruit = recruiter(world, group.handle(), &scope, depth);
        let task = service(world, ctx.clone(), &scope, id, depth, Some(recruit));
        if may_be_ready && limited && world.chance(3) {
            if let Err(error) = group.ready().await {
                assert!(ctx.is_done());
                if ending == Ending::FailFast {
                    scope.check_error(&error);
                }
            }
        }
        scope.accepted.lock().unwrap().push(id); // before it may run, and recruit others
        group.spawn_named(format!("t{id}"), task);
        if world.chance(4) {
            yield_some(world).await;
        }
    }
    if world.chance(12) {
        group.cancel_with(Boom(97));
    }
    finish(world, group, &scope, ending, &ctx).await
}

fn recruiter<S>(
    world: &World,
    handle: GroupHandle<S, u64>,
    scope: &Arc<Scope>,
    depth: u32,
) -> Recruit
where
    S: Spawn<Task> + Send + Sync + 'static,
    S::Handle: Send + 'static,
{
    let (world, scope) = (world.clone(), scope.clone());
    Arc::new(move || {
        let id = scope.next_id();
        let ctx = handle.context().clone();
        let task = service(&world, ctx, &scope, id, depth.saturating_sub(1), None);
        let place = {
            let mut accepted = scope.accepted.lock().unwrap();
            accepted.push(id);
            accepted.len() - 1
        };
        let given_back = handle.spawn_named(format!("t{id}"), task).err();
        if given_back.is_some() {
            assert!(
                handle.context().is_done(),
                "a group that lives takes everyone"
            );
            scope.accepted.lock().unwrap().remove(place);
        }
        // Dropped unpolled, after its group's end: no failure of anybody's.
        drop(given_back);
    })
}

async fn finish<S>(
    world: &World,
    mut group: Group<S, u64>,
    scope: &Arc<Scope>,
    ending: Ending,
    ctx: &Context,
) -> Option<()>
where
    S: Spawn<Task>,
{
    match world.roll(8) {
        0 => {
            drop(group);
            assert!(ctx.is_done());
            None
        }
        1 => {
            let dropped = match select(pin!(group.wait()), pin!(world.doze())).await {
                Either::Left((outcome, _)) => return judge(scope, ending, ctx, outcome),
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
            let rest = group.wait().await;
            if let (Ending::FailFast, Ok(rest)) = (ending, &rest) {
                assert!(rest.is_empty() && failure.is_none());
            }
            judge(scope, ending, ctx, rest.map(|_| values))
        }
        4 if ending == Ending::Settle => {
            let outcomes = group.outcomes().await.ok()?;
            scope.check_nobody_is_left();
            for (name, outcome) in outcomes {
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
        _ => judge(scope, ending, ctx, group.wait().await),
    }
}

fn judge(
    scope: &Scope,
    ending: Ending,
    ctx: &Context,
    outcome: Result<Vec<u64>, Error>,
) -> Option<()> {
    scope.check_nobody_is_left();
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
    let was_done = parent.is_done() || timeout.is_zero();
    let outcome = if world.chance(2) {
        let aggregator = Aggregator::new(world.clone())
            .with_timeout(timeout)
            .sources(sources);
        drop_or_wait(world, aggregator.aggregate(&parent, scope.clone())).await
    } else {
        let aggregator = Aggregator::in_place()
            .with_timeout(timeout)
            .sources(sources);
        drop_or_wait(world, aggregator.aggregate(&parent, scope.clone())).await
    };
    let outcome = outcome?;
    scope.check_nobody_is_left();
    if was_done && count > 0 {
        assert!(outcome.is_err());
        assert_eq!(
            scope.started.load(Ordering::SeqCst),
            0,
            "no source is asked after the end"
        );
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
            match world.roll(2) {
                0 => group(&world, &request, 1).await,
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
