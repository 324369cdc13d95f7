//! Every interleaving of a few threads, by loom: `RUSTFLAGS="--cfg failfast_loom" cargo test --release --lib models`.
//!
//! Each model was seen to fail with the change to the code that its comment names, and has more than one interleaving.

use super::{Breaker, BreakerState, Limit};
use crate::clock::ManualClock;
use crate::context::Context;
use crate::error::BoxError;
use crate::policy::SourceExt;
use crate::source::Source;
use crate::sync::model::{self, block_on};
use loom::thread;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn, ready};
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{self, Poll, Waker};
use std::time::Duration;

/// Runs a model, at most three preemptions deep, which finds nearly all there is to find.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    model::explore(builder, model);
}

fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut task::Context::from_waker(waker))
}

fn background() -> Context {
    Context::background()
}

/// Pending once, and woken from inside that poll.
fn yields() -> impl Future<Output = Result<u32, Infallible>> {
    let mut first = true;
    poll_fn(move |cx| {
        if std::mem::take(&mut first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(5))
    })
}

/// Weakened: `leave` that does not release a permit which the waiter was just handed loses it, and the other sleeps for
/// ever. So does `enter` that joins the line without looking for a permit again under its lock.
#[test]
fn a_permit_given_back_against_a_waiter_that_leaves_and_one_that_stays() {
    explore(|| {
        let limit = Limit::new(NonZeroUsize::MIN);
        let source = (|_: Context, (): ()| ready(Ok::<_, Infallible>(5))).limit(&limit);
        let held = (|_: Context, (): ()| pending::<Result<u32, Infallible>>()).limit(&limit);
        let mut holder = Box::pin(held.fetch(background(), ()));
        assert!(poll(holder.as_mut(), Waker::noop()).is_pending());
        let mut leaver = Box::pin(source.fetch(background(), ()));
        assert!(poll(leaver.as_mut(), Waker::noop()).is_pending());
        let stays = source.clone();
        let staying = thread::spawn(move || block_on(stays.fetch(background(), ())));
        let releasing = thread::spawn(move || drop(holder));
        drop(leaver);
        assert_eq!(staying.join().unwrap().unwrap(), 5);
        releasing.join().unwrap();
        assert!(format!("{limit:?}").contains("taken: 0, waiting: 0"));
    });
}

/// Weakened: `reserve` that checks whether there is a place, and takes it in another critical section, admits both.
#[test]
fn two_calls_for_the_only_probe() {
    explore(|| {
        let clock = ManualClock::new();
        let ctx = background().with_clock(clock.clone());
        let breaker = Breaker::new("db").with_trip(NonZeroU32::MIN, NonZeroU32::MIN);
        let fails = |_: Context, (): ()| ready(Err::<u32, BoxError>("down".into()));
        assert!(block_on(fails.breaker(&breaker).fetch(ctx.clone(), ())).is_err());
        clock.advance(Duration::from_secs(5));
        let source = (|_: Context, (): ()| pending::<Result<u32, BoxError>>()).breaker(&breaker);
        let probe = move |ctx: Context| {
            let mut call = Box::pin(source.fetch(ctx, ()));
            let admitted = poll(call.as_mut(), Waker::noop()).is_pending();
            (call, admitted)
        };
        let (other, its_ctx) = (probe.clone(), ctx.clone());
        let other = thread::spawn(move || other(its_ctx));
        let (one, first) = probe(ctx.clone());
        let (two, second) = other.join().unwrap();
        assert!(first != second, "one is admitted, and one refused");
        drop((one, two));
        assert_eq!(breaker.state(&ctx), BreakerState::HalfOpen);
    });
}

/// Weakened: with an `end_poll` that does not wake, the waiter that met the poll sleeps for ever; so it does if it looks
/// at the stage before it registers.
#[test]
fn a_flight_that_wakes_itself_against_a_waiter_that_meets_it_and_a_leader_that_leaves() {
    explore(|| {
        let source = (|_: Context, _: u32| yields()).coalesce();
        let mut leader = Box::pin(source.fetch(background(), 7));
        let stays = source.clone();
        let staying = thread::spawn(move || block_on(stays.fetch(background(), 7)));
        // Polled once, and then no more: as in a `select!` that is busy elsewhere.
        drop(poll(leader.as_mut(), Waker::noop()));
        assert_eq!(staying.join().unwrap().unwrap(), 5);
        drop(leader);
        assert!(format!("{source:?}").contains("flights: 0"));
    });
}

/// Weakened: if an answer is put back without waking, the waiter that found it taken out sleeps for ever.
#[test]
fn an_answer_taken_by_two_waiters_at_once() {
    explore(|| {
        let source = (|_: Context, _: u32| yields()).coalesce();
        let other = source.clone();
        let other = thread::spawn(move || block_on(other.fetch(background(), 7)));
        assert_eq!(block_on(source.fetch(background(), 7)).unwrap(), 5);
        assert_eq!(other.join().unwrap().unwrap(), 5);
        assert!(format!("{source:?}").contains("flights: 0"));
    });
}

/// Weakened: `join` that does not look at the stage joins a flight that the leaver has closed, and hangs.
#[test]
fn the_last_waiter_leaves_while_another_joins() {
    explore(|| {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let source = move |_: Context, _: u32| {
            let number = count.fetch_add(1, SeqCst);
            async move { yields().await.map(|_| number) }
        };
        let source = source.coalesce();
        let mut leaver = Box::pin(source.fetch(background(), 7));
        assert!(poll(leaver.as_mut(), Waker::noop()).is_pending());
        let joins = source.clone();
        let joining = thread::spawn(move || block_on(joins.fetch(background(), 7)));
        drop(leaver);
        let number = joining.join().unwrap().unwrap();
        assert_eq!(number + 1, calls.load(SeqCst));
        assert!(format!("{source:?}").contains("flights: 0"));
    });
}
