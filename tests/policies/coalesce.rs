//! `coalesce`.

use crate::nosy::{nosy, on_wake};
use crate::storm::{cancellations, storm};
use crate::support::{Failure, Hand, failure, manual, ms};
use crate::watchdog::ends;
use failfast::policy::{Fault, FaultKind};
use failfast::{Aggregator, BoxError, Context, LocalAggregator, Source, SourceExt};
use std::cell::Cell;
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
    let (desk, ctx) = (Desk::default(), Context::background());
    let source = desk.source().coalesce();
    let keys = [7, 8, 7, 7, 8];
    let mut calls: Vec<_> = keys
        .iter()
        .map(|key| Hand::new(source.clone().fetch(ctx.clone(), *key)))
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
        let mut call = Hand::new(source.fetch(Context::background(), 7));
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
    let mut calls: Vec<_> = (0..5)
        .map(|_| Hand::new(source.fetch(Context::background(), 7)))
        .collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    desk.answer(0, Ok(1));
    assert!(calls.iter_mut().all(|call| call.settle().is_ready()));
    assert_eq!(clones.load(SeqCst), 4);
}

#[test]
fn rule_01_nothing_starts_or_is_joined_once_the_callers_context_is_done() {
    let (desk, ctx) = (Desk::default(), Context::background());
    let source = desk.source().coalesce();
    let (gone, canceller) = ctx.with_cancel();
    canceller.cancel_with("client went away");
    let told = fault(Hand::new(source.fetch(gone.clone(), 7)).poll());
    assert_eq!(told.to_string(), "context canceled: client went away");
    assert_eq!((desk.calls(), told.attempts()), (0, 0));
    let mut leader = Hand::new(source.fetch(ctx, 7));
    assert!(leader.poll().is_pending());
    fault(Hand::new(source.fetch(gone, 7)).poll());
    leader.cancel();
    assert!(!desk.is_open(0), "it was not joined");
}

#[test]
fn rule_39_the_leader_leaves_and_the_flight_goes_on() {
    let (desk, ctx) = (Desk::default(), Context::background());
    let source = desk.source().coalesce();
    let mut calls: Vec<_> = (0..3)
        .map(|_| Hand::new(source.fetch(ctx.clone(), 7)))
        .collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    calls[0].cancel();
    desk.wake(0);
    assert_eq!((calls[1].wakes(), calls[2].wakes()), (1, 1));
    assert!(calls[2].poll().is_pending());
    assert_eq!(desk.polls(0), 2);
    desk.answer(0, Ok(5));
    assert_eq!(ok(calls[1].settle()), Some(5));
    assert_eq!(ok(calls[2].settle()), Some(5));
    assert_eq!(desk.calls(), 1);
}

#[test]
fn rule_39_a_leader_that_lives_and_is_not_polled_holds_nobody_up() {
    let (desk, ctx) = (Desk::default(), Context::background());
    let source = desk.source().coalesce();
    let mut leader = Hand::new(source.fetch(ctx.clone(), 7));
    assert!(leader.poll().is_pending());
    let mut follower = Hand::new(source.fetch(ctx.clone(), 7));
    assert!(follower.poll().is_pending());
    std::mem::forget(leader);
    for _ in 0..3 {
        desk.wake(0);
        assert_eq!(follower.wakes(), 1);
        assert!(follower.poll().is_pending());
    }
    desk.answer(0, Ok(5));
    assert_eq!(ok(follower.settle()), Some(5));
    let mut next = Hand::new(source.fetch(ctx, 7));
    assert!(next.poll().is_pending());
    assert_eq!(desk.calls(), 2, "and the key is free again");
}

#[test]
fn rule_39_a_follower_that_joins_after_a_wake_nobody_came_for_polls_the_flight() {
    let (desk, ctx) = (Desk::default(), Context::background());
    let source = desk.source().coalesce();
    let mut leader = Hand::new(source.fetch(ctx.clone(), 7));
    assert!(leader.poll().is_pending());
    desk.answer(0, Ok(5));
    std::mem::forget(leader); // woken, and never polled
    let mut follower = Hand::new(source.fetch(ctx, 7));
    assert_eq!(ok(follower.poll()), Some(5));
}

#[test]
fn rule_39_a_waiter_that_is_polled_for_another_reason_polls_the_flight() {
    let (desk, ctx) = (Desk::default(), Context::background());
    let source = desk.source().coalesce();
    let mut calls: Vec<_> = (0..2)
        .map(|_| Hand::new(source.fetch(ctx.clone(), 7)))
        .collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    // A source that wakes nobody, and is polled all the same: in a `join`, say.
    desk.with(0, |seen| seen.answer = Some(Ok(5)));
    assert_eq!(ok(calls[1].poll()), Some(5));
    assert_eq!(calls[0].wakes(), 1);
}

#[test]
fn rule_39_one_wake_is_one_poll_of_the_flight_however_many_wait() {
    for waiters in [1_usize, 2, 31, 32, 33, 64, 65, 1000, 10_000] {
        let (desk, ctx) = (Desk::default(), Context::background());
        let source = desk.source().coalesce();
        let mut calls: Vec<_> = (0..waiters)
            .map(|_| Hand::new(source.fetch(ctx.clone(), 7)))
            .collect();
        assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
        assert_eq!(
            (desk.calls(), desk.polls(0)),
            (1, 1),
            "who joins does not poll it"
        );
        for polls in 2..4 {
            desk.wake(0);
            desk.wake(0); // nobody was polled since, so nobody is woken again
            for call in &mut calls {
                assert_eq!(call.wakes(), 1);
                assert!(call.poll().is_pending());
            }
            assert_eq!(desk.polls(0), polls);
        }
        desk.answer(0, Ok(5));
        let (first, others) = calls.split_first_mut().unwrap();
        assert_eq!(ok(first.poll()), Some(5));
        assert_eq!(first.wakes(), 1, "by the flight, and not by itself");
        for call in others.iter_mut() {
            assert_eq!(
                call.wakes(),
                1,
                "by the flight; it has not been polled since"
            );
            assert_eq!(ok(call.poll()), Some(5));
            assert_eq!(call.wakes(), 0);
        }
        assert_eq!(desk.polls(0), 4);
    }
}

#[test]
fn rule_39_one_that_meets_the_flight_being_polled_registers_and_is_woken() {
    let (desk, ctx) = (Desk::default(), Context::background());
    let inner = desk.source();
    type Slot = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;
    let during: Slot = Arc::default();
    let hook = during.clone();
    let source = move |ctx: Context, key: u64| {
        let (mut call, hook) = (inner(ctx, key), hook.clone());
        poll_fn(move |cx| {
            let run = hook.lock().unwrap().take();
            run.into_iter().for_each(|run| run());
            call.as_mut().poll(cx)
        })
    };
    let source = source.coalesce();
    let mut leader = Hand::new(source.fetch(ctx.clone(), 7));
    assert!(leader.poll().is_pending());
    let follower = Arc::new(Mutex::new(Hand::new(source.fetch(ctx.clone(), 7))));
    assert!(follower.lock().unwrap().poll().is_pending());

    // While the leader polls the flight, it is woken, and the follower is polled: its wake is used up.
    let (waking, met) = (desk.clone(), follower.clone());
    *during.lock().unwrap() = Some(Box::new(move || {
        waking.wake(0);
        let mut met = met.lock().unwrap();
        assert_eq!(met.wakes(), 1);
        assert!(met.poll().is_pending());
    }));
    assert!(leader.poll().is_pending());
    std::mem::forget(leader); // it never comes back
    let mut follower = follower.lock().unwrap();
    assert_eq!(follower.wakes(), 1, "so the follower has to");
    desk.with(0, |seen| seen.answer = Some(Ok(5)));
    assert_eq!(ok(follower.poll()), Some(5));
}

#[test]
fn rule_39_wakers_are_cloned_woken_and_dropped_under_no_lock() {
    let desk = Desk::default();
    let source = desk.source().coalesce();
    let looks = Arc::new(AtomicUsize::new(0));
    let mut calls: Vec<_> = (0..4)
        .map(|_| Some(Box::pin(source.fetch(Context::background(), 7))))
        .collect();
    for _ in 0..2 {
        for call in calls.iter_mut().flatten() {
            // It joins the flight, and leaves it.
            let (source, looks) = (source.clone(), looks.clone());
            let waker = nosy(move || {
                let mut other = Box::pin(source.fetch(Context::background(), 7));
                let mut cx = task::Context::from_waker(Waker::noop());
                drop(other.as_mut().poll(&mut cx));
                looks.fetch_add(1, SeqCst);
            });
            assert!(
                call.as_mut()
                    .poll(&mut task::Context::from_waker(&waker))
                    .is_pending()
            );
        }
    }
    // The first flights were those of the wakers.
    let flight = (0..desk.calls()).find(|call| desk.is_open(*call));
    desk.wake(flight.expect("the calls'"));
    calls.iter_mut().for_each(|call| *call = None);
    assert!(looks.load(SeqCst) > 0);
}

#[test]
fn rule_39_the_flights_waker_keeps_nothing_of_the_flight() {
    let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let (log, alive) = (kept.clone(), Arc::new(()));
    let weak = Arc::downgrade(&alive);
    let source = move |_: Context, _: u64| {
        let (log, alive) = (log.clone(), alive.clone());
        poll_fn(move |cx| {
            let _alive = &alive;
            log.lock().unwrap().push(cx.waker().clone());
            Poll::<Result<u32, BoxError>>::Pending
        })
    };
    let source = source.coalesce();
    let mut call = Hand::new(source.fetch(Context::background(), 7));
    assert!(call.poll().is_pending());
    call.cancel();
    drop(source);
    assert_eq!(weak.strong_count(), 0);
    kept.lock().unwrap().drain(..).for_each(Waker::wake); // late, and harmless
}

#[test]
fn rule_39_a_waiters_clone_that_panics_is_its_own_and_the_others_get_the_answer() {
    #[derive(Debug)]
    struct Touchy(Arc<AtomicBool>);
    impl Clone for Touchy {
        fn clone(&self) -> Self {
            assert!(!self.0.swap(false, SeqCst), "boom");
            Self(self.0.clone())
        }
    }
    let (desk, panics) = (Desk::default(), Arc::new(AtomicBool::new(true)));
    let (inner, flag) = (desk.source(), panics.clone());
    let source = move |ctx: Context, key: u64| {
        let (call, flag) = (inner(ctx, key), flag.clone());
        async move { call.await.map(|_| Touchy(flag)) }
    };
    let source = source.coalesce();
    let mut calls: Vec<_> = (0..3)
        .map(|_| Hand::new(source.fetch(Context::background(), 7)))
        .collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    desk.answer(0, Ok(5));
    assert!(catch_unwind(AssertUnwindSafe(|| calls[1].poll())).is_err());
    calls[1].cancel();
    assert!(matches!(calls[0].settle(), Poll::Ready(Ok(_))));
    assert!(matches!(calls[2].settle(), Poll::Ready(Ok(_))));
}

#[test]
fn rule_39_a_clone_that_polls_another_waiter_finds_the_answer_taken_out() {
    type Other = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;
    struct Nosy(Other);
    impl Clone for Nosy {
        fn clone(&self) -> Self {
            let look = self.0.lock().unwrap().take();
            look.into_iter().for_each(|look| look());
            Self(self.0.clone())
        }
    }
    let (desk, hook) = (Desk::default(), Other::default());
    let (inner, nosy) = (desk.source(), hook.clone());
    let source = move |ctx: Context, key: u64| {
        let (call, nosy) = (inner(ctx, key), nosy.clone());
        async move { call.await.map(|_| Nosy(nosy)) }
    };
    let source = source.coalesce();
    let mut leader = Hand::new(source.fetch(Context::background(), 7));
    let other = Arc::new(Mutex::new(Hand::new(
        source.fetch(Context::background(), 7),
    )));
    assert!(leader.poll().is_pending() && other.lock().unwrap().poll().is_pending());
    let polled = other.clone();
    *hook.lock().unwrap() = Some(Box::new(move || {
        let mut other = polled.lock().unwrap();
        assert!(other.poll().is_pending());
        assert_eq!(other.wakes(), 1, "by the flight's own wake");
    }));
    desk.answer(0, Ok(5));
    assert!(leader.poll().is_ready());
    let mut other = other.lock().unwrap();
    assert_eq!(other.wakes(), 1, "the answer is back");
    assert!(other.poll().is_ready());
}

type Ask = Arc<dyn Fn(Context, u64) -> Boxed<u32> + Send + Sync>;

/// A coalesced source that asks itself.
fn asks_itself(own_context: bool, same_key: bool) -> Ask {
    let cell: Arc<OnceLock<Ask>> = Arc::default();
    let me = cell.clone();
    let source = move |ctx: Context, key: u64| -> Boxed<u32> {
        let me = me.get().unwrap().clone();
        let ctx = if own_context {
            ctx
        } else {
            Context::background()
        };
        Box::pin(async move {
            match (key, same_key) {
                (0, _) => Ok(0),
                (_, true) => me(ctx, key).await,
                (_, false) => me(ctx, key - 1).await.map(|answer| answer + 1),
            }
        })
    };
    let source = source.coalesce();
    let ask = move |ctx: Context, key: u64| -> Boxed<u32> {
        let call = source.fetch(ctx, key);
        Box::pin(async move { call.await.map_err(Into::into) })
    };
    cell.get_or_init(|| Arc::new(ask)).clone()
}

#[test]
fn rule_39_reentry_with_the_same_key_is_an_error_and_not_a_hang() {
    for own_context in [true, false] {
        let ask = asks_itself(own_context, true);
        let mut call = Hand::new(ask(Context::background(), 7));
        let Poll::Ready(Err(error)) = call.settle() else {
            panic!("it waits for itself")
        };
        assert_eq!(
            error.to_string(),
            "a coalesced call waits for itself: its source asked again for the same key"
        );
        let ask = asks_itself(own_context, false);
        let mut call = Hand::new(ask(Context::background(), 7));
        assert!(
            matches!(call.settle(), Poll::Ready(Ok(7))),
            "another key is no re-entry"
        );
    }
}

#[test]
fn rule_39_reentry_from_another_task_and_through_another_key_is_an_error() {
    let cell: Arc<OnceLock<Ask>> = Arc::default();
    let me = cell.clone();
    // 1 asks for 2, and 2 for 1, each from a task of its own.
    let source = move |ctx: Context, key: u64| -> Boxed<u32> {
        let me = me.get().unwrap().clone();
        Box::pin(async move { smol::spawn(async move { me(ctx, 3 - key).await }).await })
    };
    let source = source.coalesce();
    let ask = move |ctx: Context, key: u64| -> Boxed<u32> {
        let call = source.fetch(ctx, key);
        Box::pin(async move { call.await.map_err(Into::into) })
    };
    let ask = cell.get_or_init(|| Arc::new(ask)).clone();
    let error = ends("a call that waits for itself", move || {
        smol::block_on(ask(Context::background(), 1)).unwrap_err()
    });
    assert!(
        error
            .to_string()
            .starts_with("a coalesced call waits for itself")
    );
}

#[test]
fn rule_39_a_waiter_polled_inline_by_a_waker_in_the_flights_poll_is_no_reentry() {
    let desk = Desk::default();
    let inner = desk.source();
    let source = move |ctx: Context, key: u64| {
        let mut call = inner(ctx, key);
        poll_fn(move |cx| {
            cx.waker().wake_by_ref(); // whoever waits is polled here and now
            call.as_mut().poll(cx)
        })
    };
    let source = source.coalesce();
    let mut leader = Hand::new(source.fetch(Context::background(), 7));
    assert!(leader.poll().is_pending());
    let waiter = Arc::new(Mutex::new(Box::pin(source.fetch(Context::background(), 7))));
    let inline = waiter.clone();
    let waker = on_wake(move || {
        if let Ok(mut waiter) = inline.try_lock() {
            let mut cx = task::Context::from_waker(Waker::noop());
            assert!(waiter.as_mut().poll(&mut cx).is_pending());
        }
    });
    let mut cx = task::Context::from_waker(&waker);
    assert!(waiter.lock().unwrap().as_mut().poll(&mut cx).is_pending());
    assert!(leader.poll().is_pending());
    desk.answer(0, Ok(5));
    assert_eq!(ok(leader.settle()), Some(5));
}

/// A key whose `Hash` and `Eq` panic when told to.
#[derive(Clone, Debug)]
struct Key(u64, Arc<AtomicUsize>);

impl Key {
    fn act(&self) {
        let left = self.1.load(SeqCst);
        if left > 0 && self.1.fetch_sub(1, SeqCst) == 1 {
            panic!("boom");
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.act();
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.act();
        self.0.hash(state);
    }
}

#[test]
fn rule_39_hash_and_eq_that_panic_are_contained() {
    let desk = Desk::default();
    let inner = desk.source();
    let source = (move |ctx: Context, key: Key| inner(ctx, key.0)).coalesce();
    // Each time another use of the key panics: joining, landing, leaving.
    for nth in 1..12 {
        let fuse = Arc::new(AtomicUsize::new(0));
        let key = || Key(7, fuse.clone());
        let before = desk.calls();
        let mut calls: Vec<_> = (0..3)
            .map(|_| Hand::new(source.fetch(Context::background(), key())))
            .collect();
        fuse.store(nth, SeqCst);
        for call in &mut calls {
            // A caller's own key, so its own panic.
            if catch_unwind(AssertUnwindSafe(|| call.poll())).is_err() {
                call.cancel();
            }
        }
        for flight in before..desk.calls() {
            if desk.is_open(flight) {
                desk.answer(flight, Ok(5));
            }
        }
        for call in calls.iter_mut().filter(|call| call.wakes() > 0) {
            assert_eq!(ok(call.settle()), Some(5));
        }
        drop(calls);
        fuse.store(0, SeqCst);
        let mut next = Hand::new(source.fetch(Context::background(), key()));
        assert!(
            next.poll().is_pending(),
            "{nth}: nothing stale is in its way"
        );
        desk.answer(desk.calls() - 1, Ok(6));
        assert_eq!(ok(next.settle()), Some(6));
    }
}

#[test]
fn rule_40_a_cancelled_waiter_starts_no_second_flight_and_the_last_drops_it() {
    let (desk, ctx) = (Desk::default(), Context::background());
    let source = desk.source().coalesce();
    let mut calls: Vec<_> = (0..3)
        .map(|_| Hand::new(source.fetch(ctx.clone(), 7)))
        .collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    for leaver in [1, 0] {
        calls[leaver].cancel();
        assert!(desk.is_open(0));
    }
    assert_eq!((desk.calls(), desk.polls(0)), (1, 1));
    calls[2].cancel();
    assert!(!desk.is_open(0));
    let mut next = Hand::new(source.fetch(ctx, 7));
    assert!(next.poll().is_pending());
    assert_eq!(desk.calls(), 2);
}

#[test]
fn rule_40_a_drop_at_every_await_leaves_nothing() {
    let (desk, ctx) = (Desk::default(), Context::background());
    let source = desk.source().coalesce();
    drop(Hand::new(source.fetch(ctx.clone(), 7)));
    assert_eq!(desk.calls(), 0, "not polled");
    for answered in [false, true] {
        let flight = desk.calls();
        let mut calls: Vec<_> = (0..2)
            .map(|_| Hand::new(source.fetch(ctx.clone(), 7)))
            .collect();
        assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
        if answered {
            desk.answer(flight, Ok(5));
            assert_eq!(ok(calls[0].settle()), Some(5));
        }
        drop(calls); // one of them with the answer there, and not taken
        assert!(!desk.is_open(flight));
        assert!(format!("{source:?}").contains("flights: 0"));
    }
}

#[test]
fn rule_41_no_waiter_gets_anothers_contexts_end() {
    let (clock, ctx) = manual();
    let desk = Desk::default();
    let source = desk.source().coalesce();
    let mut leader = Hand::new(source.fetch(ctx.with_timeout(ms(100)), 7));
    let mut follower = Hand::new(source.fetch(ctx.with_timeout(ms(200)), 7));
    let mut patient = Hand::new(source.fetch(ctx.clone(), 7));
    assert!(
        leader.poll().is_pending() && follower.poll().is_pending() && patient.poll().is_pending()
    );
    let flight = desk.with(0, |seen| seen.context.clone());
    assert_eq!(flight.remaining(), None, "no deadline");
    clock.advance(ms(100));
    assert_eq!(
        (leader.wakes(), follower.wakes(), patient.wakes()),
        (1, 0, 0)
    );
    let told = fault(leader.poll());
    assert!(matches!(told.kind(), FaultKind::Ended(end) if end.is_deadline_exceeded()));
    assert!(!flight.is_done() && desk.is_open(0));
    clock.advance(ms(100));
    assert!(matches!(fault(follower.poll()).kind(), FaultKind::Ended(_)));
    desk.answer(0, Ok(5));
    assert_eq!(ok(patient.settle()), Some(5));
    assert_eq!(clock.armed(), 0);
}

#[test]
fn rule_41_an_end_that_the_source_returns_is_a_failure_to_its_waiters() {
    let (gone, canceller) = Context::background().with_cancel();
    canceller.cancel_with("another request's");
    let source = move |_: Context, _: u64| ready(Err::<u32, _>(gone.err().unwrap()));
    let told = fault(Hand::new(source.coalesce().fetch(Context::background(), 7)).poll());
    assert!(matches!(told.kind(), FaultKind::Failed));
}

#[test]
fn rule_41_a_flight_has_the_values_and_the_clock_of_its_leader() {
    let (clock, ctx) = manual();
    let desk = Desk::default();
    let source = desk.source().coalesce();
    let mut leader = Hand::new(source.fetch(ctx.with_value("tenant 1"), 7));
    let mut follower = Hand::new(source.fetch(Context::background().with_value("tenant 2"), 7));
    assert!(leader.poll().is_pending() && follower.poll().is_pending());
    clock.advance(ms(3_600_000));
    let flight = desk.with(0, |seen| seen.context.clone());
    assert_eq!(flight.value::<&str>(), Some(&"tenant 1"));
    assert_eq!(flight.now(), clock.now());
}

#[test]
fn rule_42_a_panic_reaches_every_waiter_as_a_failure() {
    let (desk, ctx) = (Desk::default(), Context::background());
    let source = desk.source().coalesce();
    let mut calls: Vec<_> = (0..3)
        .map(|_| Hand::new(source.fetch(ctx.clone(), 7)))
        .collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    desk.panic(0);
    for call in &mut calls {
        let told = fault(call.settle());
        assert_eq!(told.to_string(), "panicked: boom");
        assert!(matches!(told.kind(), FaultKind::Failed));
    }
    assert!(!desk.is_open(0));
    let mut next = Hand::new(source.fetch(ctx, 7));
    assert!(next.poll().is_pending());
    assert_eq!(desk.calls(), 2, "it is not kept");
}

#[test]
fn rule_42_a_panic_before_the_first_poll_is_one_too() {
    let panics = AtomicBool::new(true);
    let source = move |_: Context, _: u64| {
        assert!(!panics.swap(false, SeqCst), "boom");
        ready(Ok::<_, BoxError>(5))
    };
    let source = source.coalesce();
    let told = fault(Hand::new(source.fetch(Context::background(), 7)).poll());
    assert_eq!(told.to_string(), "panicked: boom");
    assert_eq!(
        ok(Hand::new(source.fetch(Context::background(), 7)).poll()),
        Some(5)
    );
}

#[test]
fn rule_42_errors_are_shared_and_not_kept() {
    let (desk, ctx) = (Desk::default(), Context::background());
    let source = desk.source().coalesce();
    let mut calls: Vec<_> = (0..3)
        .map(|_| Hand::new(source.fetch(ctx.clone(), 7)))
        .collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    desk.answer(0, Err(Failure(1)));
    for call in &mut calls {
        assert_eq!(failure(&fault(call.settle())), Some(1));
    }
    let mut next = Hand::new(source.fetch(ctx, 7));
    assert!(next.poll().is_pending());
    desk.answer(1, Ok(5));
    assert_eq!(ok(next.settle()), Some(5));
}

#[test]
fn a_destructor_of_the_source_that_panics_does_not_lose_the_answer() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("boom");
        }
    }
    let source = |_: Context, _: u64| {
        let bad = Bad;
        let mut first = true;
        poll_fn(move |cx| {
            let _bad = &bad;
            cx.waker().wake_by_ref();
            match std::mem::take(&mut first) {
                true => Poll::Pending,
                false => Poll::Ready(Ok::<u32, BoxError>(5)),
            }
        })
    };
    let source = source.coalesce();
    let mut leader = Hand::new(source.fetch(Context::background(), 7));
    assert!(leader.poll().is_pending());
    let mut follower = Hand::new(source.fetch(Context::background(), 7));
    assert_eq!(ok(follower.poll()), Some(5), "the flight was woken");
    assert_eq!(ok(leader.settle()), Some(5));
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
    let (desk, ctx) = (Desk::default(), Context::background());
    let source = desk.source().coalesce();
    let page = |name: &'static str| Aggregator::in_place().source(name, source.clone());
    let (one, other) = (page("one"), page("other"));
    let (by_one, by_other) = (ctx.clone(), ctx);
    let mut one = Hand::new(async move { one.aggregate(&by_one, 7).await });
    let mut other = Hand::new(async move { other.aggregate(&by_other, 7).await });
    assert!(one.settle().is_pending() && other.settle().is_pending());
    desk.answer(0, Ok(5));
    assert!(matches!(other.settle(), Poll::Ready(Ok((5,)))));
    assert!(matches!(one.settle(), Poll::Ready(Ok((5,)))));
    assert_eq!(desk.calls(), 1);
}

/// "on real threads, 100,000 random cancellations lose no …": no flight is left, and no waiter hangs.
#[test]
fn rule_40_no_flight_is_left_after_100_000_cancellations_on_threads() {
    let open = Arc::new(AtomicUsize::new(0));
    struct Runs(Arc<AtomicUsize>);
    impl Drop for Runs {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    let count = open.clone();
    let source = move |_: Context, key: u32| {
        count.fetch_add(1, SeqCst);
        let (runs, mut left) = (Runs(count.clone()), 5);
        poll_fn(move |cx| {
            let _runs = &runs;
            cx.waker().wake_by_ref();
            left -= 1;
            match left {
                0 => Poll::Ready(Ok::<_, BoxError>(key)),
                _ => Poll::Pending,
            }
        })
    };
    let source = source.coalesce();
    storm(cancellations(), |dice| {
        source.fetch(Context::background(), dice.u32(..4))
    });
    assert_eq!(open.load(SeqCst), 0);
    assert!(format!("{source:?}").contains("flights: 0"));
}

/// Waiters on threads that are never cancelled all get their answer: no wake-up is lost.
#[test]
fn rule_39_no_wake_up_is_lost_on_threads() {
    let polls = |left: u32| {
        let mut left = left;
        poll_fn(move |cx| {
            let waker = cx.waker().clone();
            left -= 1;
            if left == 0 {
                return Poll::Ready(Ok::<_, BoxError>(5));
            }
            smol::spawn(async move { waker.wake() }).detach();
            Poll::Pending
        })
    };
    let source = (move |_: Context, _: u64| polls(20)).coalesce();
    ends("a waiter", move || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let call = source.fetch(Context::background(), 7);
                        assert_eq!(smol::block_on(call).unwrap(), 5);
                    }
                });
            }
        });
    });
}

#[test]
fn a_source_that_never_answers_is_dropped_with_its_last_waiters_context() {
    let (clock, ctx) = manual();
    let source = (|_: Context, _: u64| pending::<Result<u32, BoxError>>()).coalesce();
    let mut calls: Vec<_> = [100, 200]
        .map(|within| Hand::new(source.fetch(ctx.with_timeout(ms(within)), 7)))
        .into();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    clock.advance(ms(200));
    for call in &mut calls {
        assert!(matches!(fault(call.poll()).kind(), FaultKind::Ended(_)));
    }
    assert!(format!("{source:?}").contains("flights: 0"));
}

#[test]
fn debug_tells_how_many_flights_there_are() {
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
