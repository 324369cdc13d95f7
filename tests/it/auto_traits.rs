//! What every public type is, besides what it does: pinned, so that no change breaks it silently.
//!
//! Nothing here runs: it compiles or it doesn't.

use failfast::aggregator::TaskAggregator;
use failfast::clock::*;
use failfast::context::*;
use failfast::group::*;
use failfast::grpc::*;
use failfast::observe::*;
use failfast::policy::Attempt;
use failfast::*;
use std::cell::Cell;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::marker::PhantomPinned;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::Arc;

/// Thread-bound, as a payload.
type NotSend = Rc<()>;

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
    // Contexts: the observer travels anywhere; the canceller is one, and so is its clone.
    Context: { Clone + Default + Debug + Send + Sync + Unpin + 'static };
    Canceller: { Clone + Debug + Send + Sync + Unpin + 'static };
    Done: { Future<Output = ()> + Debug + Send + Sync + Unpin + 'static };
    OnDone: { Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static };
    Attempt: { Copy + Eq + Debug + Send + Sync + Unpin + 'static };
    GrpcTimeoutError: { std::error::Error + Clone + Eq + Send + Sync + Unpin + 'static };

    // Clocks.
    SystemClock: { Clock + Copy + Default + Debug + Send + Sync + Unpin + 'static };
    ManualClock: { Clock + Clone + Default + Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static };
    LocalClock: { Clock + Clone + Debug + Send + Sync + Unpin + 'static };
    Sleep: { Future<Output = Result<(), TimerError>> + Debug + Send + Sync + Unpin + 'static };
    TimerError: { std::error::Error + Clone + Eq + Send + Sync + Unpin + 'static };

    // Errors: `Clone + Send + Sync`, as Go's `error` is.
    Error: { std::error::Error + Clone + Debug + Send + Sync + Unpin + 'static };
    ErrorKind: { Copy + Eq + Debug + Send + Sync + Unpin + 'static };
    ContextError: { std::error::Error + Clone + Eq + Debug + Send + Sync + Unpin + 'static };
    ContextErrorKind: { Copy + Eq + Debug + Send + Sync + Unpin + 'static };
    Cause: { std::error::Error + Clone + Debug + Send + Sync + Unpin + 'static };
    Name: { Display + Clone + Ord + Hash + Debug + std::borrow::Borrow<str> + Send + Sync + Unpin + 'static };
    BoxError: { Debug + Send + Sync + Unpin + 'static };

    // What executors are given; some require `Sync`.
    Task: { Future<Output = ()> + Debug + Send + Sync + Unpin + 'static };
    LocalTask: { Future<Output = ()> + Debug + Unpin + 'static };

    // Groups: shareable wherever the results can travel, though they are not `Sync`.
    Group<u8>: { Debug + Send + Sync + Unpin + 'static };
    Group<Cell<u8>>: { Send + Sync };
    Group<u8>: { futures::Stream<Item = Result<u8, Error>> };
    Group<PhantomPinned>: { Unpin };
    InPlaceGroup<'static, u8>: { Debug + Send + Sync + Unpin + 'static };
    InPlaceGroup<'static, Cell<u8>>: { Send + Sync };
    InPlaceGroup<'static, u8>: { futures::Stream<Item = Result<u8, Error>> };
    GroupHandle<u8>: { Clone + Debug + Send + Sync + Unpin + 'static };
    GroupHandle<Cell<u8>>: { Send + Sync };
    GroupHandle<Cell<u8>, Scoped<'static>>: { Clone + Send + Sync + Unpin };
    LocalGroup<NotSend>: { Debug + Unpin + 'static };
    LocalGroup<NotSend>: { futures::Stream<Item = Result<NotSend, Error>> };
    LocalInPlaceGroup<'static, NotSend>: { Debug + Unpin + 'static };
    LocalInPlaceGroup<'static, NotSend>: { futures::Stream<Item = Result<NotSend, Error>> };
    GroupHandle<NotSend, LocalTask>: { Clone + Debug + Unpin + 'static };
    Fork<u8>: { Future<Output = Result<u8, Error>> + Debug + Send + Sync + Unpin + 'static };
    Fork<Cell<u8>>: { Send + Sync };
    Fork<NotSend>: { Unpin };
    Ending: { Copy + Default + Eq + Debug + Send + Sync + Unpin + 'static };
    Snapshot: { Clone + Display + Debug + Send + Sync + Unpin + 'static };
    TaskSnapshot: { Clone + Debug + Send + Sync + Unpin + 'static };
    TaskState: { Copy + Eq + Debug + Send + Sync + Unpin + 'static };

    // Aggregators: built once, cloned and shared, whatever the request and the answer.
    Aggregator<NotSend, NotSend>: { Clone + Debug + Send + Sync + Unpin + 'static };
    Aggregator<u64, Vec<u32>>: { Source<u64, Output = Vec<u32>, Error = Error> };
    LocalAggregator<NotSend, NotSend>: { Clone + Debug + Unpin + 'static };
    LocalAggregator<NotSend, NotSend>: { Source<NotSend, Output = NotSend> };
    TaskAggregator<u64, u32, Task>: { Clone + Debug + Send + Sync + Unpin + 'static };
    LogFields: { Clone + Default + Debug + Send + Sync + Unpin + 'static };

    // Observation: recorders travel with contexts, and events to wherever they are read.
    Recorder: { Observer + Clone + Default + Debug + Send + Sync + Unpin + 'static };
    Timeline: { Clone + Display + Debug + Send + Sync + Unpin + 'static };
    Event: { Clone + Display + Debug + Send + Sync + Unpin + 'static };
    EventKind: { Copy + Eq + Display + Debug + Send + Sync + Unpin + 'static };
    Ended: { Copy + Ord + Display + Debug + Send + Sync + Unpin + 'static };
    GroupEvent: { Clone + Debug + Send + Sync + Unpin + 'static };
    TaskEvent: { Clone + Debug + Send + Sync + Unpin + 'static };
    AttemptEvent: { Clone + Debug + Send + Sync + Unpin + 'static };
    AttemptKind: { Copy + Eq + Display + Debug + Send + Sync + Unpin + 'static };
    Outcome<'static>: { Copy + Debug + Send + Sync + Unpin + 'static };

    // Object safety.
    dyn Observer: { Observer };
    Arc<dyn Observer>: { Observer + Send + Sync };
    dyn Clock: { Clock };
    Arc<dyn Clock>: { Clock + Send + Sync };
    dyn Spawn<Task, Handle = ()>: { Spawn };
    Arc<dyn Spawn<Task, Handle = ()> + Send + Sync>: { Spawn + Send + Sync };
    Rc<dyn Spawn<LocalTask, Handle = ()>>: { Spawn<LocalTask> };
}

is_not! {
    // A callee gets an observer: there is no way from here to there.
    Context: Into<Canceller>;
    Task: Clone;
    LocalTask: Send;
    LocalTask: Sync;
    // A group is waited for once, and so is a fork.
    Group<u8>: Clone;
    Fork<u8>: Clone;
    // Its results can't leave their thread, nor can it.
    Group<NotSend>: Send;
    Group<NotSend>: Sync;
    Fork<NotSend>: Send;
    // Its tasks may be on its thread, and nowhere else.
    LocalGroup<u8>: Send;
    LocalGroup<u8>: Sync;
    LocalInPlaceGroup<'static, u8>: Send;
    LocalInPlaceGroup<'static, u8>: Sync;
    GroupHandle<u8, LocalTask>: Send;
    GroupHandle<u8, LocalTask>: Sync;
    GroupHandle<u8, LocalScoped<'static>>: Send;
    LocalAggregator<u8, u8>: Send;
    LocalAggregator<u8, u8>: Sync;
}

/// One word, and so is a result that holds nothing else.
const _: () = {
    use std::mem::size_of;
    const WORD: usize = size_of::<usize>();
    assert!(size_of::<Error>() == WORD);
    assert!(size_of::<Result<(), Error>>() == WORD);
    assert!(size_of::<ContextError>() == WORD);
    assert!(size_of::<Result<(), ContextError>>() == WORD);
};

mod futures_of {
    //! The futures have no names: the traits are checked of values.

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
        drop(is_static(is_send(ctx.try_run(source(ctx.clone(), ())))));
        drop(is_static(is_send(ctx.shield(async { 5 }))));
        drop(is_static(ctx.run(async {
            let _ = Rc::new(5);
        })));
    }

    #[test]
    fn groups() {
        let group = || Group::<u8>::new(smol::spawn::<()>);
        drop(is_static(is_send(group().wait())));
        drop(is_static(is_send(group().wait_named())));
        drop(is_static(is_send(group().outcomes())));
        drop(is_send(group().run(async { Ok(5) })));
        drop(is_send(group().next()));
        drop(is_send(group().ready()));
        drop(is_send(group().handle().ready()));
        drop(is_static(is_send(
            group().ordered(0..3, |n| async move { Ok::<_, Infallible>(n) }),
        )));
        let in_place = InPlaceGroup::<u8>::new(&Context::background());
        drop(is_static(is_send(in_place.wait())));
    }

    #[test]
    fn aggregators() {
        let ctx = Context::background();
        let executor = Aggregator::new(smol::spawn).source("five", source);
        drop(is_send(executor.aggregate(&ctx, ())));
        drop(is_static(is_send(executor.fetch(ctx.clone(), ()))));
        let in_place = Aggregator::in_place().source("five", source);
        drop(is_send(in_place.aggregate(&ctx, ())));
    }
}
