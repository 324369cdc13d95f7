//! What every public type is, besides what it does: pinned, so that no change breaks it silently.
//!
//! Nothing here runs: it compiles or it doesn't.

use failfast::*;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomPinned;
use std::rc::Rc;
use std::sync::Arc;

/// Thread-bound, as a payload.
type NotSend = Rc<()>;
/// A spawner as most are; what it returns is `Send`, and not always `Sync`.
type SyncSpawner = fn(Task) -> std::cell::Cell<u8>;
type RcSpawner = Rc<dyn Spawn<Task, Handle = ()>>;
type SyncLocalSpawner = fn(LocalTask);
type LocalSpawner = Rc<dyn Spawn<LocalTask, Handle = Rc<()>>>;

macro_rules! is {
    ($($type:ty: { $($bound:tt)+ };)*) => {
        $(
            const _: () = {
                const fn is<T: ?Sized + $($bound)+>() {}
                is::<$type>();
            };
        )*
    };
}

/// Fails to compile, for ambiguity, if the type does have the trait.
macro_rules! is_not {
    ($($type:ty: $bound:path);* $(;)?) => {
        $(
            const _: fn() = || {
                trait Ambiguous<A> {
                    fn f() {}
                }
                struct Has;
                impl<T: ?Sized> Ambiguous<()> for T {}
                impl<T: ?Sized + $bound> Ambiguous<Has> for T {}
                let _ = <$type as Ambiguous<_>>::f;
            };
        )*
    };
}

is! {
    // Contexts: the observer travels anywhere; the canceller is one.
    Context: { Clone + Default + Debug + Send + Sync + Unpin + 'static };
    Canceller: { Debug + Send + Sync + Unpin + 'static };
    Done: { Future<Output = ()> + Debug + Send + Sync + Unpin + 'static };
    OnDone: { Debug + Send + Sync + Unpin + 'static };
    GrpcTimeoutError: { std::error::Error + Clone + Eq + Send + Sync + Unpin + 'static };

    // Clocks.
    SystemClock: { Clock + Copy + Default + Debug + Send + Sync + Unpin + 'static };
    ManualClock: { Clock + Clone + Default + Debug + Send + Sync + Unpin + 'static };
    Sleep: { Future<Output = Result<(), TimerError>> + Debug + Send + Sync + Unpin + 'static };
    TimerError: { std::error::Error + Clone + Eq + Send + Sync + Unpin + 'static };

    // Errors: `Clone + Send + Sync`, as Go's `error` is.
    Error: { std::error::Error + Clone + Debug + Send + Sync + Unpin + 'static };
    ContextError: { std::error::Error + Copy + Eq + Hash + Debug + Send + Sync + Unpin + 'static };
    Cause: { std::error::Error + Clone + Debug + Send + Sync + Unpin + 'static };
    Failure: { std::fmt::Display + Clone + Debug + Send + Sync + Unpin + 'static };
    Panic: { std::fmt::Display + Clone + Debug + Send + Sync + Unpin + 'static };
    Others<'static>: { Copy + Debug + Send + Sync + Unpin };
    Name: { std::fmt::Display + Clone + Eq + Hash + Debug + Send + Sync + Unpin + 'static };
    Names: { Clone + Eq + Debug + Send + Sync + Unpin + 'static };
    BoxError: { Debug + Send + Sync + Unpin + 'static };

    // What executors are given.
    Task: { Future<Output = ()> + Flavour + Debug + Send + Unpin + 'static };
    LocalTask: { Future<Output = ()> + Flavour + Debug + Unpin + 'static };

    // Groups: as shareable as the spawner, whatever the results.
    Group<SyncSpawner, u8>: { Debug + Send + Sync + Unpin + 'static };
    Group<SyncSpawner, std::cell::Cell<u8>>: { Send + Sync };
    Group<SyncSpawner, u8>: { futures::Stream<Item = Result<u8, Error>> };
    Group<InPlace<Task>, u8>: { Debug + Send + Sync + Unpin + 'static };
    GroupHandle<SyncSpawner, u8>: { Clone + Debug + Send + Sync + Unpin + 'static };
    LocalGroup<LocalSpawner, NotSend>: { Debug + Unpin + 'static };
    LocalGroup<LocalSpawner, NotSend>: { futures::Stream<Item = Result<NotSend, Error>> };
    LocalGroup<InPlace<LocalTask>, NotSend>: { Debug + Unpin + 'static };
    GroupHandle<LocalSpawner, NotSend, LocalTask>: { Clone + Debug + Unpin + 'static };
    Group<SyncSpawner, PhantomPinned>: { Unpin };
    Ending: { Copy + Default + Eq + Debug + Send + Sync + Unpin + 'static };
    Snapshot: { Clone + std::fmt::Display + Debug + Send + Sync + Unpin + 'static };
    TaskSnapshot: { Clone + Debug + Send + Sync + Unpin + 'static };
    TaskState: { Copy + Eq + Debug + Send + Sync + Unpin + 'static };

    // Aggregators: built once, cloned and shared, whatever the request.
    Aggregator<OnExecutor<SyncSpawner>, NotSend, (), AsIs>: { Clone + Debug + Send + Sync + Unpin + 'static };
    Aggregator<InCaller, u64, Many<SyncSpawner>, Joined>: { Clone + Debug + Send + Sync + Unpin + 'static };
    LocalAggregator<OnExecutor<LocalSpawner>, NotSend, (), AsIs>: { Clone + Debug + Unpin + 'static };
    Combined<SyncSpawner>: { Clone + Debug + Send + Sync + Unpin + 'static };
    LogFields: { Clone + Default + Debug + Send + Sync + Unpin + 'static };

    // Object safety.
    dyn Clock: { Clock };
    Arc<dyn Clock>: { Clock + Send + Sync };
    dyn Spawn<Task, Handle = ()>: { Spawn };
    Arc<dyn Spawn<Task, Handle = ()> + Send + Sync>: { Spawn + Send + Sync };
    Rc<dyn Spawn<LocalTask, Handle = ()>>: { Spawn<LocalTask> };
}

is_not! {
    // One can cancel, once.
    Canceller: Clone;
    // A callee gets an observer: there is no way from here to there.
    Context: Into<Canceller>;
    Task: Clone;
    LocalTask: Send;
    LocalTask: Sync;
    // A group is waited for once.
    Group<SyncSpawner, u8>: Clone;
    // Its tasks may be on its thread, and nowhere else.
    LocalGroup<SyncLocalSpawner, u8>: Send;
    LocalGroup<SyncLocalSpawner, u8>: Sync;
    LocalGroup<InPlace<LocalTask>, u8>: Send;
    GroupHandle<SyncLocalSpawner, u8, LocalTask>: Send;
    Group<RcSpawner, u8>: Send;
}

mod futures_of {
    //! The futures have no names: what they are is asked of values.

    use super::*;
    use std::convert::Infallible;

    fn is_send<T: Send>(value: T) -> T {
        value
    }

    fn is_static<T: 'static>(value: T) -> T {
        value
    }

    async fn source(_: Context, _: ()) -> Result<u8, Infallible> {
        Ok(5)
    }

    #[test]
    fn contexts() {
        let ctx = Context::background();
        drop(is_static(is_send(ctx.done())));
        drop(is_static(is_send(ctx.run(async { 5 }))));
        drop(is_static(is_send(ctx.sleep(std::time::Duration::ZERO))));
        drop(is_static(ctx.run(async {
            let _ = Rc::new(5);
        })));
    }

    #[test]
    fn groups() {
        let group = || Group::<_, u8>::new(smol::spawn::<()>);
        drop(is_static(is_send(group().wait())));
        drop(is_static(is_send(group().wait_named())));
        drop(is_static(is_send(group().outcomes())));
        drop(is_send(group().next()));
        drop(is_send(group().ready()));
        let in_place = Group::<_, u8>::in_place(&Context::background());
        drop(is_static(is_send(in_place.wait())));
    }

    #[test]
    fn aggregators() {
        let ctx = Context::background();
        let executor = Aggregator::new(smol::spawn).source("five", source);
        drop(is_send(executor.aggregate(&ctx, ())));
        let in_place = Aggregator::in_place().source("five", source);
        drop(is_send(in_place.aggregate(&ctx, ())));
    }
}
