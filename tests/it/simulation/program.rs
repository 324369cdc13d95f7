//! Programs that the dice write: nested groups, aggregators and contexts; and what must hold of them.

use super::world::World;
use crate::support::eventually;
use failfast::group::TaskGroup;
use failfast::{
    Aggregator, BoxError, Context, Ending, Error, ErrorKind, Fork, Group, InPlaceGroup, LocalGroup,
    LocalInPlaceGroup, Name,
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

/// Spawns one more task into the service's own group; or forks it.
type Recruit = Box<dyn Fn(bool) -> Option<Forked> + Send + Sync>;
type RecruitLocally = Box<dyn Fn(bool) -> Option<Forked>>;

#[derive(Debug, thiserror::Error)]
#[error("boom {0}")]
struct Boom(u64);

/// What serves in a group or an aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Service(u64),
    /// A background task, which has no name.
    Attendant(u64),
    /// A service that another has forked, and may await.
    Fork(u64),
    /// The body of `run`.
    Body,
}

impl Who {
    fn id(self) -> u64 {
        match self {
            Self::Service(id) | Self::Attendant(id) | Self::Fork(id) => id,
            Self::Body => u64::MAX,
        }
    }

    fn is_called(self, name: &str) -> bool {
        match self {
            Self::Service(id) | Self::Fork(id) => name == format!("t{id}"),
            Self::Body => name == "body",
            Self::Attendant(number) => name == format!("task {number}"), // the first to come
        }
    }
}

/// How deep groups may be nested in a service, and how it behaves.
#[derive(Clone, Copy)]
struct Size {
    depth: u32,
    /// So many services at once, where the dice don't choose.
    many: Option<u64>,
    /// They all succeed: of many, some would fail for certain, and no result would ever be seen.
    calm: bool,
}

impl Size {
    const fn deep(depth: u32) -> Self {
        Self {
            depth,
            many: None,
            calm: false,
        }
    }

    /// Around the thresholds at which something changes in the library, or in one below it.
    fn large(world: &World) -> Self {
        const MANY: [u64; 14] = [
            30, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000,
        ];
        Self {
            depth: 0,
            many: Some(MANY[world.roll(MANY.len() as u64) as usize]),
            calm: world.chance(2),
        }
    }

    fn below(self) -> Self {
        Self::deep(self.depth.saturating_sub(1))
    }

    fn count(self, world: &World, few: u64) -> u64 {
        self.many.unwrap_or_else(|| world.roll(few))
    }
}

/// The facts of one group or aggregation, to be compared with its result.
struct Scope {
    alive: Mutex<BTreeSet<Who>>,
    /// The services that have ended, and in which step of the world.
    gone: Mutex<Vec<(Who, usize)>>,
    started: Mutex<BTreeSet<Who>>,
    /// Whose failure came while the context was alive, before any other.
    first: Mutex<Option<Who>>,
    accepted: Mutex<Vec<u64>>,
    /// How many were forked, and which of them were cancelled.
    forked: Mutex<(usize, BTreeSet<Who>)>,
    /// Whether it was stopped while it lived.
    stopped: AtomicBool,
    next: Mutex<u64>,
    /// How many services succeeded, and the world's last idle moment before the last of them did.
    succeeded: Mutex<(usize, usize)>,
    /// When the context ended, and after how many idle moments, where that is checked.
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
            forked: Mutex::default(),
            stopped: AtomicBool::new(false),
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
        let Some(error) = error.filter(|error| error.kind() == ErrorKind::Stragglers) else {
            return self.check_nobody_is_left();
        };
        let names = error.pending();
        let after = patience.limit.expect("no limit was set");
        if let Some((ended, _)) = *self.ended.lock().unwrap() {
            let waited = world.clock().now() - ended;
            assert!(waited >= patience.grace + after, "after {waited:?} only");
        }
        let alive = self.alive.lock().unwrap();
        let started = self.started.lock().unwrap();
        let is_named = |who: &Who| names.iter().any(|name| who.is_called(name));
        let mut running = alive.intersection(&started);
        assert!(running.all(is_named), "{names:?} are not {alive:?}");
        assert!(!names.is_empty(), "no task is named: {error:?}");
        // The group has gone since the error was made, in this very step, and dropped some of them.
        let gone = self.gone.lock().unwrap();
        let was_gone = |name: &Name| {
            let mut before = gone.iter().filter(|(_, step)| *step < world.steps());
            before.any(|(who, _)| who.is_called(name))
        };
        assert!(!names.iter().any(was_gone), "{names:?}, but gone: {gone:?}");
    }

    /// Notes when the context ends, and takes it for a limit of stragglers. Where a lost task ends it, the library
    /// calls back from another thread, and the time may have gone on until then: that is not noted.
    fn watch_the_end(self: &Arc<Self>, world: &World, ctx: &Context) {
        let (scope, world) = (self.clone(), world.clone());
        let _in_place = ctx.on_done(move || {
            if world.is_this_thread() {
                *scope.ended.lock().unwrap() = Some((world.clock().now(), world.idles()));
            }
        });
    }

    /// Once all services have succeeded and there is a waiter, it is the group that ends its background tasks: at
    /// once, so before anything else can happen.
    fn check_nobody_waited_for_attendants(&self, waited_from: usize) {
        let (count, served) = *self.succeeded.lock().unwrap();
        let all = self.accepted.lock().unwrap().len() + self.forked.lock().unwrap().0;
        if let (Some((_, ended)), true) = (*self.ended.lock().unwrap(), count == all) {
            assert!(ended <= served.max(waited_from), "background tasks go on");
        }
    }

    /// The first cause is kept: the error is that of the first failure, or the context's if there was none.
    fn check_error(&self, error: &Error) {
        let is_stopped = self.stopped.load(Ordering::SeqCst);
        assert!(
            !is_stopped || error.kind() == ErrorKind::Stragglers,
            "{error:?}"
        );
        let first = *self.first.lock().unwrap();
        let is_first = |who: Who| match error.kind() {
            // It belongs to no service: what ended the group is its cause, or the first cause would be lost.
            ErrorKind::Stragglers => error.cause().is_some_and(|cause| {
                let text = cause.to_string();
                text.split_once(':')
                    .is_some_and(|(name, _)| who.is_called(name))
            }),
            _ => error.task().is_some_and(|name| who.is_called(name)),
        };
        match (first, error.kind()) {
            (Some(who), _) => assert!(is_first(who), "{who:?} was first: {error:?}"),
            // The executor may also lose a source that has not been called yet, and so has no witness.
            (None, ErrorKind::Canceled | ErrorKind::DeadlineExceeded | ErrorKind::Lost) => {}
            (None, ErrorKind::Stragglers) => assert!(error.cause().is_some(), "{error:?}"),
            (None, _) => panic!("no task failed: {error:?}"),
        }
    }

    fn check_success(&self, values: &[u64]) {
        assert_eq!(*self.first.lock().unwrap(), None, "a failure was lost");
        let mut accepted = self.accepted.lock().unwrap().clone();
        if self.stopped.load(Ordering::SeqCst) {
            accepted.retain(|id| values.contains(id)); // those that had finished
        }
        assert_eq!(values, accepted, "results in the order of spawning");
    }
}

/// Lives as long as its service's future, and notes if that failed, before the group can see it.
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
        let is_cancelled = self.scope.forked.lock().unwrap().1.contains(&self.who);
        if !is_cancelled && !self.ctx.is_done() {
            self.scope.first.lock().unwrap().get_or_insert(self.who);
        }
    }

    async fn watch<T>(mut self, served: impl Future<Output = Result<T, Boom>>) -> Result<T, Boom> {
        assert!(!self.ctx.is_done(), "{:?} starts late", self.who);
        self.scope.started.lock().unwrap().insert(self.who);
        let served = served.await;
        if served.is_err() {
            self.fails();
        } else if matches!(self.who, Who::Service(_) | Who::Fork(_)) {
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

/// A fork of a service's own group.
struct Forked {
    fork: Fork<u64>,
    scope: Arc<Scope>,
    id: u64,
}

impl Forked {
    fn cancel(&self) {
        let mut forked = self.scope.forked.lock().unwrap();
        forked.1.insert(Who::Fork(self.id));
        drop(forked);
        self.fork.cancel();
    }

    /// Awaits it, or not. `None` if it failed.
    async fn see_to(self, world: &World, ctx: &Context) -> Option<()> {
        let fate = world.roll(4);
        match fate {
            0 => return Some(()), // dropped, so it goes on
            1 => {
                yield_some(world).await;
                self.cancel();
            }
            _ => {}
        }
        match self.fork.await {
            Ok(id) => assert_eq!(id, self.id),
            Err(error) if error.kind() == ErrorKind::Canceled => {
                assert!(fate == 1 || ctx.is_done(), "{error:?}");
                return (fate == 1 && !ctx.is_done()).then_some(());
            }
            Err(_) => return None,
        }
        Some(())
    }
}

/// One service: the task of a group, or the source of an aggregator.
fn service(
    world: &World,
    ctx: Context,
    scope: &Arc<Scope>,
    who: Who,
    size: Size,
    recruit: Option<Recruit>,
) -> Served {
    let witness = Witness::new(world, scope, &ctx, who);
    let world = world.clone();
    Box::pin(async move {
        let served = serve(&world, &ctx, who.id(), size, recruit);
        witness.watch(served).await
    })
}

/// The same for a thread-bound executor.
fn service_locally(
    world: &World,
    ctx: Context,
    scope: &Arc<Scope>,
    who: Who,
    size: Size,
    recruit: Option<RecruitLocally>,
) -> ServedLocally {
    let witness = Witness::new(world, scope, &ctx, who);
    let world = world.clone();
    Box::pin(async move {
        let served = serve_locally(&world, &ctx, who.id(), size, recruit);
        witness.watch(served).await
    })
}

async fn serve_locally(
    world: &World,
    ctx: &Context,
    id: u64,
    size: Size,
    recruit: Option<RecruitLocally>,
) -> Result<u64, Boom> {
    if size.depth > 0 && world.chance(8) {
        return local_group(world, ctx, size.below())
            .await
            .map(|()| id)
            .ok_or(Boom(id));
    }
    let polls = Rc::new(Cell::new(0)); // what no other thread may have
    let its_polls = polls.clone();
    let mut served = pin!(serve(world, ctx, id, size, recruit));
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
    size: Size,
    recruit: Option<impl Fn(bool) -> Option<Forked>>,
) -> Result<u64, Boom> {
    let failed = || Boom(id);
    match world.roll(if size.calm { 6 } else { 17 }) {
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
            let forked = recruit.and_then(|recruit| recruit(world.chance(2)));
            if let Some(forked) = forked {
                forked.see_to(world, ctx).await.ok_or_else(failed)?;
            }
        }
        12 | 13 if size.depth > 0 => group(world, ctx, size.below()).await.ok_or_else(failed)?,
        14 | 15 if size.depth > 0 => aggregate(world, ctx, size.below())
            .await
            .ok_or_else(failed)?,
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
        // The loss of a task is reported on a thread of its own: the callback may be under way there.
        eventually("the callback", || called.load(Ordering::SeqCst));
        assert!(!callback.stop());
    } else {
        assert!(callback.stop() && ran.is_ok());
    }
    // One fact: a context that is done has an error and a cause, and so have all below it.
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
async fn group(world: &World, parent: &Context, size: Size) -> Option<()> {
    let parent = context(world, parent);
    if world.chance(2) {
        let (group, _) = Group::<u64>::with_context(&parent, world.clone());
        fill_and_wait(world, group, size, true).await
    } else {
        let group = InPlaceGroup::<u64>::new(&parent);
        fill_and_wait(world, group, size, false).await
    }
}

/// The same with tasks that stay in their thread.
async fn local_group(world: &World, parent: &Context, size: Size) -> Option<()> {
    let parent = context(world, parent);
    if world.chance(2) {
        let (group, _) = LocalGroup::<u64>::with_context(&parent, world.clone());
        fill_and_wait(world, group, size, true).await
    } else {
        let group = LocalInPlaceGroup::<u64>::new(&parent);
        fill_and_wait(world, group, size, false).await
    }
}

/// What the flavors of groups do each in their way.
trait Staff {
    /// Starts a service, which may recruit others for the same group.
    fn start(&self, world: &World, scope: &Arc<Scope>, size: Size);
    fn attend(&self, world: &World, scope: &Arc<Scope>, number: u64);
}

macro_rules! staff {
    ($group:ty, $service:ident, $recruit:ident, $number:ident => $here:expr) => {
        impl Staff for $group {
            fn start(&self, world: &World, scope: &Arc<Scope>, size: Size) {
                let (ctx, handle, id) = (self.context().clone(), self.handle(), scope.next_id());
                let (its_world, its_scope) = (world.clone(), scope.clone());
                let recruit: $recruit = Box::new(move |forks| {
                    let (ctx, id) = (handle.context().clone(), its_scope.next_id());
                    let who = if forks {
                        Who::Fork(id)
                    } else {
                        Who::Service(id)
                    };
                    let task = $service(&its_world, ctx, &its_scope, who, size.below(), None);
                    let name = format!("t{id}");
                    if forks {
                        its_scope.forked.lock().unwrap().0 += 1; // before it may run, and end
                        let (fork, scope) = (handle.fork(name, task), its_scope.clone());
                        return Some(Forked { fork, scope, id });
                    }
                    let given_back = || handle.spawn_named(name, task).err();
                    enlist(&its_scope, handle.context(), id, given_back);
                    None
                });
                let who = Who::Service(id);
                let task = $service(world, ctx, scope, who, size, Some(recruit));
                scope.accepted.lock().unwrap().push(id); // before it may run, and recruit others
                self.spawn_named(format!("t{id}"), task);
            }

            fn attend(&self, world: &World, scope: &Arc<Scope>, $number: u64) {
                let ctx = self.context().clone();
                let witness = Witness::new(world, scope, &ctx, Who::Attendant($number));
                let (world, here) = (world.clone(), $here);
                self.spawn_background(
                    async move { witness.watch(attend(&world, &ctx, *here)).await },
                );
            }
        }
    };
}

staff!(Group<u64>, service, Recruit, number => Box::new(number));
staff!(InPlaceGroup<'static, u64>, service, Recruit, number => Box::new(number));
staff!(LocalGroup<u64>, service_locally, RecruitLocally, number => Rc::new(number));
staff!(LocalInPlaceGroup<'static, u64>, service_locally, RecruitLocally, number => Rc::new(number));

/// Takes in the recruited service, unless the group gives the task back.
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
    // Dropped unpolled, after its group's end: no service failed.
    drop(given_back);
}

async fn fill_and_wait<M>(
    world: &World,
    mut group: TaskGroup<u64, M>,
    size: Size,
    may_be_ready: bool,
) -> Option<()>
where
    TaskGroup<u64, M>: Staff,
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
    for _ in 0..size.count(world, 5) {
        if may_be_ready && limited && world.chance(3) {
            if let Err(error) = group.ready().await {
                assert!(ctx.is_done());
                if ending == Ending::FailFast {
                    scope.check_error(&error);
                }
            }
        }
        group.start(world, &scope, size);
        if world.chance(4) {
            yield_some(world).await;
        }
    }
    if world.chance(12) {
        group.cancel_with(Boom(97));
    }
    if matches!(ending, Ending::FailFast | Ending::Settle) && world.roll(12) == 11 {
        let lived = !ctx.is_done();
        scope.stopped.store(lived, Ordering::SeqCst);
        group.stop();
        assert!(ctx.is_done());
    }
    finish(world, group, &scope, ending, patience).await
}

async fn finish<M>(
    world: &World,
    mut group: TaskGroup<u64, M>,
    scope: &Arc<Scope>,
    ending: Ending,
    patience: Patience,
) -> Option<()> {
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
                // A straggler may have finished well after all.
                let gave_up = |error: &Error| error.kind() == ErrorKind::Stragglers;
                let well = failure.as_ref().map_or(rest.is_empty(), gave_up);
                assert!(well, "{rest:?} {failure:?}");
            }
            let all = rest.map(|rest| {
                values.extend(rest);
                values.sort_unstable();
                values
            });
            judged(all, waited_from)
        }
        4 if ending == Ending::Settle => {
            let outcomes = group.outcomes().await;
            scope.check_who_is_left(world, patience, outcomes.as_ref().err());
            for (name, outcome) in outcomes.ok()? {
                match outcome {
                    Ok(id) => assert_eq!(name, format!("t{id}").as_str()),
                    Err(error) => assert!(
                        error.task().is_none_or(|its| *its == *name),
                        "{name}: {error:?}"
                    ),
                }
            }
            Some(())
        }
        5 if ending == Ending::FailFast => {
            let ran = run_a_body(world, group, scope).await;
            scope.check_who_is_left(world, patience, ran.as_ref().err());
            assert!(ctx.is_done(), "the context ends with the group");
            match &ran {
                Ok(()) => assert_eq!(*scope.first.lock().unwrap(), None, "a failure was lost"),
                // A body that was not through when the group was stopped has no value.
                Err(error) if scope.stopped.load(Ordering::SeqCst) => assert!(
                    matches!(error.kind(), ErrorKind::Canceled | ErrorKind::Stragglers),
                    "{error:?}"
                ),
                Err(error) => scope.check_error(error),
            }
            ran.ok()
        }
        _ => judged(group.wait().await, waited_from),
    }
}

/// The caller takes part in the group itself.
async fn run_a_body<M>(
    world: &World,
    group: TaskGroup<u64, M>,
    scope: &Arc<Scope>,
) -> Result<(), Error> {
    let ctx = group.context().clone();
    let witness = Witness::new(world, scope, &ctx, Who::Body);
    let body = async {
        match world.roll(6) {
            0 => yield_some(world).await,
            1 => world.doze().await,
            2 => ctx.done().await,
            3 => return Err(Boom(95)),
            4 => ctx.sleep(world.span()).await.map_err(|_| Boom(94))?,
            _ => world.panics(),
        }
        Ok(())
    };
    let body = witness.watch(body);
    group
        .run(async { body.await.map_err(BoxError::from) })
        .await
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
async fn aggregate(world: &World, parent: &Context, size: Size) -> Option<()> {
    let parent = context(world, parent);
    let scope = Scope::new();
    let count = size.count(world, 4);
    scope.accepted.lock().unwrap().extend(0..count);
    let sources = (0..count).map(|id| {
        let world = world.clone();
        let source = move |ctx: Context, scope: Arc<Scope>| {
            service(&world, ctx, &scope, Who::Service(id), size, None)
        };
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
        assert!(started.is_empty(), "{started:?} were called after the end");
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
    // Few are large: a fuzzer's dice that have run out are all 0.
    let large = (world.roll(64) == 63).then(|| Size::large(world));
    for _ in 0..=world.roll(2) {
        let (world, server) = (world.clone(), server.clone());
        world.clone().run(async move {
            // Everything ends by then, so whatever waits longer hangs.
            let request = server.with_timeout(world.span() * 8);
            let size = large.unwrap_or(Size::deep(1));
            match world.roll(4) {
                0 => group(&world, &request, size).await,
                1 => local_group(&world, &request, size).await,
                _ => aggregate(&world, &request, size).await,
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
