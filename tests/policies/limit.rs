//! `limit`.

use crate::storm::{cancellations, storm};
use crate::support::{Act, Hand, Script, manual, ms};
use crate::wakers::{nosy, on_wake};
use failfast::policy::{Fault, FaultKind, Limit, Rejection};
use failfast::{BoxError, Context, Source, SourceExt};
use std::future::{Future, pending, poll_fn};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{self, Poll};

/// Around the sizes at which queues change their manner.
const SIZES: [usize; 10] = [0, 1, 2, 31, 32, 33, 64, 65, 1000, 10_000];

fn limit(permits: usize) -> Limit {
    Limit::new(NonZeroUsize::new(permits).unwrap())
}

fn is_full(fault: &Fault) -> bool {
    matches!(fault.kind(), FaultKind::Rejected(Rejection::LimitFull))
}

fn ended(polled: Poll<Result<u32, Fault>>) -> Option<String> {
    match polled {
        Poll::Ready(Err(fault)) if matches!(fault.kind(), FaultKind::Ended(_)) => {
            Some(fault.to_string())
        }
        _ => None,
    }
}

/// `(taken, waiting)`, as `Debug` shows them.
fn in_use(limit: &Limit) -> (usize, usize) {
    let text = format!("{limit:?}");
    let number = |field: &str| {
        let (_, rest) = text.split_once(field).expect("a field");
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    };
    (number("taken: "), number("waiting: "))
}

#[test]
fn a_call_below_the_limit_begins_in_its_first_poll() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let limit = limit(1);
    let source = script.source().limit(&limit);
    for _ in 0..3 {
        let mut call = Hand::new(source.fetch(ctx.clone(), ()));
        assert_eq!(script.open(), 0, "nothing begins before it is polled");
        assert!(matches!(call.poll(), Poll::Ready(Ok(5))));
    }
    assert_eq!(in_use(&limit), (0, 0));
}

#[test]
fn the_text_of_a_full_limit_names_it() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang]);
    let source = script.source().limit(&limit(4).with_queue(0));
    let mut calls: Vec<_> = (0..4)
        .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
        .collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    let Poll::Ready(Err(fault)) = Hand::new(source.fetch(ctx, ())).poll() else {
        panic!("it is full")
    };
    assert_eq!(fault.to_string(), "limit of 4 reached");
    assert_eq!(fault.retry_after(), None);
}

#[test]
fn rule_01_nothing_starts_and_no_permit_is_kept_once_the_callers_context_is_done() {
    let (clock, ctx) = manual();
    let (ctx, canceller) = ctx.with_cancel();
    canceller.cancel_with("client went away");
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let limit = limit(1).with_queue(0);
    let source = script.source().limit(&limit);
    let mut call = Hand::new(source.fetch(ctx, ()));
    let Poll::Ready(Err(fault)) = call.poll() else {
        panic!("the caller has gone")
    };
    assert_eq!(fault.to_string(), "context canceled: client went away");
    assert_eq!(fault.attempts(), 0);
    assert_eq!((script.calls(), in_use(&limit)), (0, (0, 0)));
}

#[test]
fn rule_01_the_callers_end_goes_before_a_full_limit() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang]);
    let source = script.source().limit(&limit(1).with_queue(0));
    let mut holder = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(holder.poll().is_pending());
    let late = ctx.with_timeout(ms(0));
    assert!(ended(Hand::new(source.fetch(late, ())).poll()).is_some());
}

#[test]
fn rule_04_the_callers_end_while_waiting_is_its_own_and_leaves_the_line() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang]);
    let limit = limit(1);
    let source = script.source().limit(&limit);
    let mut holder = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(holder.poll().is_pending());
    let mut waiter = Hand::new(source.fetch(ctx.with_timeout(ms(300)), ()));
    assert!(waiter.settle().is_pending());
    assert_eq!(in_use(&limit), (1, 1));
    clock.advance(ms(300));
    assert_eq!(waiter.wakes(), 1);
    assert!(ended(waiter.poll()).is_some());
    assert_eq!((script.calls(), in_use(&limit)), (1, (1, 0)));
    assert_eq!(clock.armed(), 0);
}

#[test]
fn rule_05_a_drop_at_every_await_gives_the_permit_back() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang]);
    let limit = limit(1);
    let source = script.source().limit(&limit);
    let call = || Hand::new(source.fetch(ctx.clone(), ()));

    drop(call());
    assert_eq!(in_use(&limit), (0, 0), "not polled");

    let (mut holder, mut waiter) = (call(), call());
    assert!(holder.poll().is_pending() && waiter.poll().is_pending());
    waiter.cancel();
    assert_eq!(in_use(&limit), (1, 0), "in line");

    let mut waiter = call();
    assert!(waiter.poll().is_pending());
    holder.cancel();
    assert_eq!(waiter.wakes(), 1);
    assert_eq!(in_use(&limit), (1, 0), "it was handed on");
    waiter.cancel();
    assert_eq!(in_use(&limit), (0, 0), "handed a permit, and not polled");

    let mut holder = call();
    assert!(holder.poll().is_pending());
    holder.cancel();
    assert_eq!(in_use(&limit), (0, 0), "in the call");
    assert_eq!(script.open(), 0);
}

/// A source whose destructor looks at the limit.
struct LooksWhenDropped(Limit, Arc<AtomicUsize>);

impl Drop for LooksWhenDropped {
    fn drop(&mut self) {
        self.1.store(in_use(&self.0).0, SeqCst);
    }
}

#[test]
fn rule_05_the_source_is_gone_before_its_permit_is_given_back() {
    let taken = Arc::new(AtomicUsize::new(9));
    let limit = limit(1);
    let (looks, seen) = (limit.clone(), taken.clone());
    let source = move |_: Context, ready: bool| {
        let looks = LooksWhenDropped(looks.clone(), seen.clone());
        async move {
            let _looks = looks;
            if ready {
                return Ok::<_, BoxError>(5);
            }
            pending().await
        }
    };
    let source = source.limit(&limit);
    let mut dropped = Hand::new(source.fetch(Context::background(), false));
    assert!(dropped.poll().is_pending());
    dropped.cancel();
    assert_eq!(taken.swap(9, SeqCst), 1);
    assert!(
        Hand::new(source.fetch(Context::background(), true))
            .poll()
            .is_ready()
    );
    assert_eq!(taken.load(SeqCst), 1);
}

#[test]
fn rule_08_a_panic_gives_the_permit_back() {
    let (clock, ctx) = manual();
    let limit = limit(1);
    let script = Script::new(&clock, [Act::Panic, Act::Answer(5, ms(0))]);
    let source = script.source().limit(&limit);
    let mut call = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(catch_unwind(AssertUnwindSafe(|| call.poll())).is_err());
    drop(call);
    assert_eq!(in_use(&limit), (0, 0));

    let panics =
        |_: Context, (): ()| -> std::future::Ready<Result<u32, BoxError>> { panic!("boom") };
    let panics = panics.limit(&limit);
    let mut call = Hand::new(panics.fetch(ctx.clone(), ()));
    assert!(catch_unwind(AssertUnwindSafe(|| call.poll())).is_err());
    drop(call);
    assert_eq!(in_use(&limit), (0, 0));
    assert!(matches!(
        Hand::new(source.fetch(ctx, ())).poll(),
        Poll::Ready(Ok(5))
    ));
}

/// A source that answers when its request's gate is open, and records which call has begun.
fn gated(
    begun: &Arc<std::sync::Mutex<Vec<usize>>>,
    open: &Arc<AtomicUsize>,
) -> impl Fn(Context, usize) -> std::pin::Pin<Box<dyn Future<Output = Result<usize, BoxError>> + Send>>
+ Send
+ Sync
+ use<> {
    let (begun, open) = (begun.clone(), open.clone());
    move |_, number| {
        begun.lock().unwrap().push(number);
        let open = open.clone();
        Box::pin(poll_fn(move |_| match number < open.load(SeqCst) {
            true => Poll::Ready(Ok(number)),
            false => Poll::Pending,
        }))
    }
}

#[test]
fn rule_29_first_come_first_served() {
    let (begun, open) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    let limit = limit(1);
    let source = gated(&begun, &open).limit(&limit);
    let mut calls: Vec<_> = (0..5)
        .map(|number| Hand::new(source.fetch(Context::background(), number)))
        .collect();
    for call in &mut calls {
        assert!(call.poll().is_pending());
    }
    // The last is polled first each time, and a new call tries to overtake.
    let mut newcomer = Hand::new(source.fetch(Context::background(), 5));
    for number in 0..5 {
        open.store(number + 1, SeqCst);
        assert!(calls[number].poll().is_ready());
        assert!(newcomer.poll().is_pending());
        for call in calls.iter_mut().skip(number + 1).rev() {
            assert!(call.poll().is_pending());
        }
    }
    open.store(6, SeqCst);
    assert!(newcomer.poll().is_ready());
    assert_eq!(*begun.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn rule_29_an_abandoned_waiters_permit_goes_on_to_the_next() {
    let (begun, open) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    let limit = limit(1);
    let source = gated(&begun, &open).limit(&limit);
    let mut calls: Vec<_> = (0..4)
        .map(|number| Hand::new(source.fetch(Context::background(), number)))
        .collect();
    for call in &mut calls {
        assert!(call.poll().is_pending());
    }
    calls[2].cancel(); // in the midst of the line
    calls[0].cancel(); // the holder
    assert_eq!((calls[1].wakes(), calls[3].wakes()), (1, 0));
    calls[1].cancel(); // it has been handed the permit, and was not polled
    assert_eq!(calls[3].wakes(), 1);
    assert!(calls[3].poll().is_pending());
    assert_eq!(*begun.lock().unwrap(), [0, 3]);
    assert_eq!(in_use(&limit), (1, 0));
}

#[test]
fn rule_30_the_peak_is_the_limit_across_clones_and_sources() {
    let (clock, ctx) = manual();
    for permits in [1, 2, 31, 32, 33] {
        let limit = limit(permits);
        let script = Script::new(&clock, [Act::Hang]);
        let (one, other) = (
            script.source().limit(&limit),
            script.source().limit(&limit.clone().with_queue(100)),
        );
        let mut calls: Vec<_> = (0..permits + 40)
            .map(|number| match number % 2 {
                0 => Hand::new(one.fetch(ctx.clone(), ())),
                _ => Hand::new(other.clone().fetch(ctx.clone(), ())),
            })
            .collect();
        for call in &mut calls {
            assert!(call.poll().is_pending());
        }
        assert_eq!(script.open(), permits);
        while let Some(mut call) = calls.pop() {
            call.cancel();
            calls
                .iter_mut()
                .for_each(|call| assert!(call.poll().is_pending()));
            assert_eq!(script.open(), permits.min(calls.len()));
        }
    }
}

#[test]
fn rule_31_a_line_that_is_full_refuses_at_once() {
    let (clock, ctx) = manual();
    for queue in SIZES {
        let script = Script::new(&clock, [Act::Hang]);
        let limit = limit(1);
        let source = script.source().limit(&limit.clone().with_queue(queue));
        let mut calls: Vec<_> = (0..=queue)
            .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
            .collect();
        assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
        let mut refused = Hand::new(source.fetch(ctx.clone(), ()));
        assert!(matches!(refused.poll(), Poll::Ready(Err(fault)) if is_full(&fault)));
        assert_eq!(in_use(&limit), (1, queue));
        calls.swap_remove(0).cancel();
        let mut next = Hand::new(source.fetch(ctx.clone(), ()));
        assert!(next.poll().is_pending(), "there is room again");
    }
}

#[test]
fn one_permit_wakes_one_waiter_however_many_wait() {
    let (clock, ctx) = manual();
    for waiters in SIZES {
        let script = Script::new(&clock, [Act::Hang]);
        let source = script.source().limit(&limit(1));
        let mut holder = Hand::new(source.fetch(ctx.clone(), ()));
        assert!(holder.poll().is_pending());
        let mut calls: Vec<_> = (0..waiters)
            .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
            .collect();
        assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
        holder.cancel();
        for call in &mut calls {
            assert_eq!(call.wakes(), 1);
            assert!(call.poll().is_pending());
            call.cancel();
        }
        assert_eq!(calls.iter().map(Hand::wakes).sum::<usize>(), 0);
        assert_eq!(script.calls(), waiters + 1);
    }
}

#[test]
fn only_the_waker_of_the_latest_poll_is_woken() {
    let source = (|_: Context, (): ()| pending::<Result<u32, BoxError>>()).limit(&limit(1));
    let mut holder = Hand::new(source.fetch(Context::background(), ()));
    assert!(holder.poll().is_pending());
    let mut waiter = Box::pin(source.fetch(Context::background(), ()));
    let mut poll_with = |waker: task::Waker| {
        let polled = waiter.as_mut().poll(&mut task::Context::from_waker(&waker));
        assert!(polled.is_pending());
    };
    let (old, new) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = |counter: &Arc<AtomicUsize>| {
        let counter = counter.clone();
        futures::task::waker(Arc::new(Counts(counter)))
    };
    poll_with(count(&old));
    poll_with(count(&new));
    holder.cancel();
    assert_eq!((old.load(SeqCst), new.load(SeqCst)), (0, 1));
}

struct Counts(Arc<AtomicUsize>);

impl futures::task::ArcWake for Counts {
    fn wake_by_ref(counts: &Arc<Self>) {
        counts.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn wakers_are_cloned_woken_and_dropped_under_no_lock() {
    let limit = limit(1);
    let source = (|_: Context, (): ()| pending::<Result<u32, BoxError>>()).limit(&limit);
    let looks = Arc::new(AtomicUsize::new(0));
    let waker = || {
        let (limit, looks) = (limit.clone(), looks.clone());
        nosy(move || {
            in_use(&limit);
            looks.fetch_add(1, SeqCst);
        })
    };
    let mut calls: Vec<_> = (0..4)
        .map(|_| Some(Box::pin(source.fetch(Context::background(), ()))))
        .collect();
    for _ in 0..2 {
        for call in calls.iter_mut().flatten() {
            let waker = waker(); // another one each time
            assert!(
                call.as_mut()
                    .poll(&mut task::Context::from_waker(&waker))
                    .is_pending()
            );
        }
    }
    calls[2] = None;
    calls.iter_mut().for_each(|call| *call = None);
    assert!(looks.load(SeqCst) > 0);
    assert_eq!(in_use(&limit), (0, 0));
}

#[test]
fn a_waker_that_polls_the_waiter_inline_finds_its_permit() {
    let limit = limit(1);
    let source = (|_: Context, (): ()| pending::<Result<u32, BoxError>>()).limit(&limit);
    let mut holder = Hand::new(source.fetch(Context::background(), ()));
    assert!(holder.poll().is_pending());
    let waiter = Arc::new(std::sync::Mutex::new(Box::pin(
        source.fetch(Context::background(), ()),
    )));
    let inline = waiter.clone();
    let waker = nosy(move || {
        if let Ok(mut waiter) = inline.try_lock() {
            let mut cx = task::Context::from_waker(task::Waker::noop());
            assert!(waiter.as_mut().poll(&mut cx).is_pending());
        }
    });
    let mut cx = task::Context::from_waker(&waker);
    assert!(waiter.lock().unwrap().as_mut().poll(&mut cx).is_pending());
    holder.cancel();
    assert_eq!(in_use(&limit), (1, 0));
}

/// "on real threads, 100,000 random cancellations lose no permit"
#[test]
fn rule_30_no_permit_is_lost_among_100_000_cancellations_on_threads() {
    const PERMITS: usize = 3;
    let limit = limit(PERMITS);
    let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    struct Runs(Arc<AtomicUsize>);
    impl Drop for Runs {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    let (count, most) = (running.clone(), peak.clone());
    let source = move |_: Context, polls: u32| {
        most.fetch_max(count.fetch_add(1, SeqCst) + 1, SeqCst);
        let (runs, mut left) = (Runs(count.clone()), polls);
        poll_fn(move |cx| {
            let _runs = &runs;
            cx.waker().wake_by_ref();
            left = left.saturating_sub(1);
            match left {
                0 => Poll::Ready(Ok::<_, BoxError>(polls)),
                _ => Poll::Pending,
            }
        })
    };
    let source = source.limit(&limit);
    storm(cancellations(), |dice| {
        source.fetch(Context::background(), dice.u32(1..4))
    });
    assert!(peak.load(SeqCst) <= PERMITS);
    assert_eq!((running.load(SeqCst), in_use(&limit)), (0, (0, 0)));
    let answer = pin!(source.fetch(Context::background(), 1));
    assert!(futures::executor::block_on(answer).is_ok());
}

/// A waker may poll its task inline, which then ends, and wakes the next.
#[test]
fn a_line_whose_wakers_poll_inline_needs_no_stack() {
    const WAITERS: usize = 100_000;
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let source = move |_: Context, hangs: bool| {
        let count = count.clone();
        poll_fn(move |_| match hangs {
            true => Poll::Pending,
            false => Poll::Ready(Ok::<_, BoxError>(count.fetch_add(1, SeqCst))),
        })
    };
    let limit = limit(1);
    let source = source.limit(&limit);
    let mut holder = Hand::new(source.fetch(Context::background(), true));
    assert!(holder.poll().is_pending());
    for _ in 0..WAITERS {
        let waiter = Arc::new(std::sync::Mutex::new(Box::pin(
            source.fetch(Context::background(), false),
        )));
        let inline = waiter.clone();
        let waker = on_wake(move || {
            let mut cx = task::Context::from_waker(task::Waker::noop());
            assert!(inline.lock().unwrap().as_mut().poll(&mut cx).is_ready());
        });
        let mut cx = task::Context::from_waker(&waker);
        assert!(waiter.lock().unwrap().as_mut().poll(&mut cx).is_pending());
    }
    holder.cancel();
    assert_eq!(served.load(SeqCst), WAITERS);
    assert_eq!(in_use(&limit), (0, 0));
}
