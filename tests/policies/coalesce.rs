//! `coalesce`.

mod ends;
mod flights;
mod foreign;
mod reentry;
mod threads;

use crate::storm::{cancellations, storm};
use crate::support::{Failure, Hand, failure, manual, ms};
use crate::wakers::{nosy, on_wake};
use crate::watchdog::ends;
use failfast::policy::{Fault, FaultKind};
use failfast::{Aggregator, BoxError, Context, LocalAggregator, Source, SourceExt};
use std::cell::Cell;
use std::fmt::Debug;
use std::future::{Future, pending, poll_fn, ready};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{self, Poll, Waker};

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// A source whose calls are all answered by hand, by the number of the call.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Vec<Seen>>>);

#[derive(Default)]
struct Seen {
    key: u64,
    context: Context,
    polls: usize,
    answer: Option<Result<u32, Failure>>,
    panics: bool,
    waker: Option<Waker>,
    is_open: bool,
}

impl Desk {
    fn source(&self) -> impl Fn(Context, u64) -> Boxed<u32> + Clone + Send + Sync + use<> {
        let desk = self.clone();
        move |context, key| {
            let mut calls = desk.0.lock().unwrap();
            let number = calls.len();
            calls.push(Seen {
                key,
                context,
                is_open: true,
                ..Seen::default()
            });
            drop(calls);
            let open = Open(desk.clone(), number);
            Box::pin(poll_fn(move |cx| open.poll(cx)))
        }
    }

    fn with<T>(&self, call: usize, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap()[call])
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn polls(&self, call: usize) -> usize {
        self.with(call, |seen| seen.polls)
    }

    fn is_open(&self, call: usize) -> bool {
        self.with(call, |seen| seen.is_open)
    }

    fn wake(&self, call: usize) {
        let waker = self.with(call, |seen| seen.waker.clone());
        waker.expect("it was polled").wake();
    }

    fn answer(&self, call: usize, answer: Result<u32, Failure>) {
        self.with(call, |seen| seen.answer = Some(answer));
        self.wake(call);
    }

    fn panic(&self, call: usize) {
        self.with(call, |seen| seen.panics = true);
        self.wake(call);
    }
}

struct Open(Desk, usize);

impl Open {
    fn poll(&self, cx: &mut task::Context<'_>) -> Poll<Result<u32, BoxError>> {
        let panics = self.0.with(self.1, |seen| {
            seen.polls += 1;
            seen.waker = Some(cx.waker().clone());
            seen.panics
        });
        assert!(!panics, "boom");
        match self.0.with(self.1, |seen| seen.answer.take()) {
            Some(answer) => Poll::Ready(answer.map_err(Into::into)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.with(self.1, |seen| {
            seen.is_open = false;
            seen.waker = None;
        });
    }
}

/// A source at a desk, and the same coalesced.
fn desk() -> (
    Desk,
    impl Source<u64, Output = u32, Error = Fault, Future: Send> + Clone + Debug + Send + Sync + use<>,
) {
    let desk = Desk::default();
    let source = desk.source().coalesce();
    (desk, source)
}

/// A call for a key that all callers share, under a context.
fn caller_under<S: Source<u64>>(source: &S, ctx: Context) -> Hand<S::Future> {
    Hand::new(source.fetch(ctx, 7))
}

/// A call for that key, under a background context.
fn caller<S: Source<u64>>(source: &S) -> Hand<S::Future> {
    caller_under(source, Context::background())
}

/// The same, polled once: it waits for its flight.
fn waiter<S: Source<u64>>(source: &S) -> Hand<S::Future> {
    let mut caller = caller(source);
    assert!(caller.poll().is_pending());
    caller
}

/// As many of them, which wait for one flight. The first leads it.
fn waiters<S: Source<u64>>(source: &S, count: usize) -> Vec<Hand<S::Future>> {
    (0..count).map(|_| waiter(source)).collect()
}

fn ok(polled: Poll<Result<u32, Fault>>) -> Option<u32> {
    match polled {
        Poll::Ready(Ok(answer)) => Some(answer),
        _ => None,
    }
}

fn fault<T>(polled: Poll<Result<T, Fault>>) -> Fault {
    match polled {
        Poll::Ready(Err(fault)) => fault,
        Poll::Ready(Ok(_)) => panic!("it has succeeded"),
        Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn callers_with_one_key_share_a_call_and_others_do_not() {
    let (desk, source) = desk();
    let keys = [7, 8, 7, 7, 8];
    let mut calls: Vec<_> = keys
        .iter()
        .map(|key| Hand::new(source.fetch(Context::background(), *key)))
        .collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    assert_eq!(desk.calls(), 2);
    assert_eq!(
        (desk.with(0, |seen| seen.key), desk.with(1, |seen| seen.key)),
        (7, 8)
    );
    desk.answer(0, Ok(70));
    desk.answer(1, Ok(80));
    for (key, call) in keys.iter().zip(&mut calls) {
        assert_eq!(call.wakes(), 1);
        assert_eq!(ok(call.settle()), Some(*key as u32 * 10));
    }
    assert_eq!((desk.polls(0), desk.polls(1)), (2, 2));
}

#[test]
fn a_call_that_is_answered_at_once_clones_nothing() {
    struct Once;
    impl Clone for Once {
        fn clone(&self) -> Self {
            panic!("it was cloned")
        }
    }
    let source = (|_: Context, _: u64| ready(Ok::<_, BoxError>(Once))).coalesce();
    for _ in 0..3 {
        let mut call = caller(&source);
        assert!(matches!(call.poll(), Poll::Ready(Ok(Once))));
        assert_eq!(call.wakes(), 0);
    }
}

#[test]
fn the_answer_is_cloned_once_less_than_there_are_waiters() {
    struct Counted(Arc<AtomicUsize>);
    impl Clone for Counted {
        fn clone(&self) -> Self {
            self.0.fetch_add(1, SeqCst);
            Self(self.0.clone())
        }
    }
    let (desk, clones) = (Desk::default(), Arc::new(AtomicUsize::new(0)));
    let (inner, count) = (desk.source(), clones.clone());
    let source = move |ctx: Context, key: u64| {
        let (call, count) = (inner(ctx, key), count.clone());
        async move { call.await.map(|_| Counted(count)) }
    };
    let source = source.coalesce();
    let mut calls = waiters(&source, 5);
    desk.answer(0, Ok(1));
    assert!(calls.iter_mut().all(|call| call.settle().is_ready()));
    assert_eq!(clones.load(SeqCst), 4);
}

#[test]
fn rule_01_nothing_starts_or_is_joined_once_the_callers_context_is_done() {
    let (desk, source) = desk();
    let (gone, canceller) = Context::background().with_cancel();
    canceller.cancel_with("client went away");
    let told = fault(caller_under(&source, gone.clone()).poll());
    assert_eq!(told.to_string(), "context canceled: client went away");
    assert_eq!((desk.calls(), told.attempts()), (0, 0));
    let mut leader = waiter(&source);
    fault(caller_under(&source, gone).poll());
    leader.cancel();
    assert!(!desk.is_open(0), "it was not joined");
}

#[test]
fn an_output_that_is_send_and_not_sync_is_enough() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    fn is_sync<T: Sync>(_: &T) {}
    // Neither the request, nor the answer, nor the future is `Sync`.
    let source = |_: Context, key: Cell<u64>| {
        let key = Cell::new(key.get());
        async move { Ok::<_, BoxError>(Cell::new(key.get() as u32)) }
    };
    #[derive(Clone, PartialEq, Eq)]
    struct Own(Cell<u64>);
    impl Hash for Own {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.get().hash(state);
        }
    }
    let source = (move |ctx: Context, key: Own| source(ctx, key.0)).coalesce();
    is_sync(&source);
    let call = is_send(source.fetch(Context::background(), Own(Cell::new(7))));
    assert_eq!(futures::executor::block_on(call).unwrap().get(), 7);
}

#[test]
fn a_source_that_is_not_send_is_coalesced_in_a_local_aggregator() {
    let calls = Rc::new(Cell::new(0));
    let count = calls.clone();
    let source = move |_: Context, key: u64| {
        let count = count.clone();
        async move {
            count.set(count.get() + 1);
            smol::future::yield_now().await;
            Ok::<_, BoxError>(Rc::new(key))
        }
    };
    let source = source.coalesce();
    let page = LocalAggregator::in_place()
        .source("one", source.clone())
        .source("other", source);
    let (one, other) = smol::block_on(page.aggregate(&Context::background(), 7)).unwrap();
    assert_eq!((*one, *other, calls.get()), (7, 7, 1));
    assert!(Rc::ptr_eq(&one, &other));
}

#[test]
fn two_aggregators_share_a_coalesced_source() {
    let (desk, source) = desk();
    let page = |name: &'static str| Aggregator::in_place().source(name, source.clone());
    let (one, other) = (page("one"), page("other"));
    let (by_one, by_other) = (Context::background(), Context::background());
    let mut one = Hand::new(async move { one.aggregate(&by_one, 7).await });
    let mut other = Hand::new(async move { other.aggregate(&by_other, 7).await });
    assert!(one.settle().is_pending() && other.settle().is_pending());
    desk.answer(0, Ok(5));
    assert!(matches!(other.settle(), Poll::Ready(Ok((5,)))));
    assert!(matches!(one.settle(), Poll::Ready(Ok((5,)))));
    assert_eq!(desk.calls(), 1);
}

#[test]
fn debug_shows_how_many_flights_there_are() {
    let (_, ctx) = manual();
    let hangs = |_: Context, _: u64| std::future::pending::<Result<u32, Failure>>();
    let source = hangs.coalesce();
    let mut calls = [1, 1, 2].map(|key| Hand::new(source.fetch(ctx.clone(), key)));
    for (call, flights) in calls.iter_mut().zip([1, 1, 2]) {
        assert!(call.poll().is_pending());
        assert!(format!("{source:?}").contains(&format!("flights: {flights},")));
    }
    drop(calls);
    assert!(format!("{source:?}").contains("flights: 0,"));
}
