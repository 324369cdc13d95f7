//! `rate`.

use crate::storm::{cancellations, storm};
use crate::support::{Act, Hand, Script, manual, ms};
use crate::wakers::nosy;
use failfast::clock::{Clock, ManualClock, Sleep};
use failfast::policy::{Fault, FaultKind, Rate, Rejection};
use failfast::{BoxError, Canceller, Context, Source, SourceExt};
use proptest::prelude::*;
use std::future::{pending, ready};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::{Duration, Instant};

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);

fn rate(tokens: u32, per: Duration, burst: u32) -> Rate {
    Rate::new(NonZeroU32::new(tokens).unwrap(), per).with_burst(NonZeroU32::new(burst).unwrap())
}

fn refused(polled: Poll<Result<u32, Fault>>) -> Option<Duration> {
    let Poll::Ready(Err(fault)) = polled else {
        return None;
    };
    match fault.kind() {
        FaultKind::Rejected(Rejection::RateExceeded { retry_after }) => Some(*retry_after),
        _ => None,
    }
}

fn ended(polled: Poll<Result<u32, Fault>>) -> bool {
    matches!(polled, Poll::Ready(Err(fault)) if matches!(fault.kind(), FaultKind::Ended(_)))
}

fn waiting(rate: &Rate) -> usize {
    let text = format!("{rate:?}");
    let (_, rest) = text.split_once("waiting: ").expect("a field");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

#[test]
fn a_burst_begins_at_once_and_then_one_call_a_period() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let source = script.source().rate(&rate(10, SECOND, 3));
    let begin = clock.now();
    let mut moments = Vec::new();
    for _ in 0..6 {
        let mut call = Hand::new(source.fetch(ctx.clone(), ()));
        assert_eq!(call.finish(&clock).unwrap(), 5);
        moments.push(clock.now() - begin);
    }
    assert_eq!(moments, [ms(0), ms(0), ms(0), ms(100), ms(200), ms(300)]);
}

#[test]
fn the_burst_is_1_unless_set() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let rate = Rate::new(NonZeroU32::new(10).unwrap(), SECOND);
    let source = script.source().rate(&rate);
    assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
    assert!(Hand::new(source.fetch(ctx, ())).poll().is_pending());
}

#[test]
fn the_text_of_an_exceeded_rate_holds_when_the_next_comes() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let source = script.source().rate(&rate(100, SECOND, 2));
    for _ in 0..2 {
        assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
    }
    clock.advance(ms(3));
    let hurried = ctx.with_timeout(ms(7));
    let Poll::Ready(Err(fault)) = Hand::new(source.fetch(hurried, ())).poll() else {
        panic!("the token comes at the deadline")
    };
    assert_eq!(
        fault.to_string(),
        "rate of 100 per 1s exceeded, the next in 7ms"
    );
    assert_eq!(fault.retry_after(), Some(ms(7)));
    assert_eq!(script.calls(), 2);
}

#[test]
fn rule_01_nothing_starts_and_no_token_is_taken_once_the_callers_context_is_done() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    // Also around another policy, which looks at its context by itself.
    let rate = rate(1, SECOND, 1);
    for plain in [true, false] {
        let (ended_ctx, canceller) = ctx.with_cancel();
        canceller.cancel_with("client went away");
        let call = match plain {
            true => Hand::new(script.source().rate(&rate).fetch(ended_ctx, ())).poll(),
            false => {
                let source = script.source().timeout(ms(9)).rate(&rate);
                Hand::new(source.fetch(ended_ctx, ())).poll()
            }
        };
        let Poll::Ready(Err(fault)) = call else {
            panic!("the caller has gone")
        };
        assert_eq!(fault.to_string(), "context canceled: client went away");
        assert_eq!(fault.attempts(), 0);
    }
    assert_eq!(script.calls(), 0);
    let source = script.source().rate(&rate);
    assert!(Hand::new(source.fetch(ctx, ())).poll().is_ready());
}

#[test]
fn rule_04_the_callers_end_while_waiting_is_its_own_and_leaves_the_line() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let rate = rate(1, SECOND, 1);
    let source = script.source().rate(&rate);
    assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
    let (gone, canceller) = ctx.with_cancel();
    let mut waiter = Hand::new(source.fetch(gone, ()));
    assert!(waiter.settle().is_pending());
    assert_eq!((waiting(&rate), clock.armed()), (1, 1));
    canceller.cancel();
    assert_eq!(waiter.wakes(), 1);
    assert!(ended(waiter.poll()));
    assert_eq!((waiting(&rate), clock.armed()), (0, 0));
    assert_eq!(script.calls(), 1);
}

#[test]
fn rule_06_a_rate_that_is_made_early_counts_from_its_first_call() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let source = script.source().rate(&rate(10, SECOND, 1));
    let mut call = Hand::new(source.fetch(ctx.clone(), ()));
    clock.advance(ms(950));
    assert!(call.poll().is_ready());
    let mut next = Hand::new(source.fetch(ctx, ()));
    assert!(next.settle().is_pending());
    clock.advance(ms(100) - NANO);
    assert!(next.settle().is_pending());
    clock.advance(NANO);
    assert!(next.settle().is_ready());
}

#[test]
fn rule_08_a_panic_spends_its_token_and_leaves_the_line_as_it_was() {
    let (clock, ctx) = manual();
    let rate = rate(1, SECOND, 1);
    let script = Script::new(&clock, [Act::Panic, Act::Answer(5, ms(0))]);
    let source = script.source().rate(&rate);
    let mut call = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(catch_unwind(AssertUnwindSafe(|| call.poll())).is_err());
    drop(call);
    let mut next = Hand::new(source.fetch(ctx, ()));
    assert!(next.settle().is_pending());
    clock.advance(SECOND);
    assert!(next.settle().is_ready());
    assert_eq!(waiting(&rate), 0);
}

#[test]
fn rule_29_first_come_first_served_and_only_the_head_sleeps() {
    let (clock, ctx) = manual();
    let begun = Arc::new(Mutex::new(Vec::new()));
    let log = begun.clone();
    let source = move |_: Context, number: usize| {
        log.lock().unwrap().push(number);
        ready(Ok::<_, BoxError>(number))
    };
    let source = source.rate(&rate(10, SECOND, 1));
    let mut calls: Vec<_> = (0..6)
        .map(|number| Hand::new(source.fetch(ctx.clone(), number)))
        .collect();
    for call in &mut calls {
        drop(call.settle());
    }
    for number in 1..6 {
        assert_eq!(clock.armed(), 1, "the head's");
        clock.advance(ms(100));
        for (other, call) in calls.iter().enumerate() {
            assert_eq!(call.wakes(), usize::from(other == number));
        }
        let mut newcomer = Hand::new(source.fetch(ctx.clone(), 9));
        assert!(newcomer.poll().is_pending(), "it does not overtake");
        assert!(calls[number].poll().is_ready());
        if let Some(next) = calls.get_mut(number + 1) {
            assert_eq!(next.wakes(), 1, "it is the head now");
            assert!(next.poll().is_pending());
        }
    }
    assert_eq!(*begun.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(clock.armed(), 0);
}

#[test]
fn rule_29_all_behind_a_leaver_move_up_at_once() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let source = script.source().rate(&rate(10, SECOND, 1));
    assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
    let mut calls: Vec<_> = (0..4)
        .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
        .collect();
    assert!(calls.iter_mut().all(|call| call.settle().is_pending()));
    // 4 wait, so a new call's token is the fifth: what fits shows where the line ends.
    let fits = |within: Duration| {
        let mut call = Hand::new(source.fetch(ctx.with_timeout(within), ()));
        refused(call.poll()).is_none()
    };
    assert!(fits(ms(500) + NANO) && !fits(ms(500)));
    calls[2].cancel();
    assert!(fits(ms(400) + NANO) && !fits(ms(400)));
    calls[0].cancel();
    assert!(fits(ms(300) + NANO) && !fits(ms(300)));
    assert_eq!((calls[1].wakes(), calls[3].wakes()), (1, 0), "the new head");
    assert!(calls[1].settle().is_pending());
    clock.advance(ms(100));
    assert!(calls[1].settle().is_ready());
    assert!(calls[3].settle().is_pending());
    clock.advance(ms(100));
    assert!(calls[3].settle().is_ready());
}

#[test]
fn rule_31_a_wait_that_cannot_fit_is_refused_at_once_and_takes_no_token() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let source = script.source().rate(&rate(10, SECOND, 1));
    assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
    for (within, fits) in [(ms(99), false), (ms(100), false), (ms(100) + NANO, true)] {
        let mut call = Hand::new(source.fetch(ctx.with_timeout(within), ()));
        let refusal = refused(call.poll());
        assert_eq!(refusal.is_none(), fits, "{within:?}");
        assert_eq!(refusal.is_some(), refusal == Some(ms(100)));
    }
    assert_eq!(clock.armed(), 0);
    clock.advance(ms(100));
    assert!(
        Hand::new(source.fetch(ctx, ())).poll().is_ready(),
        "nothing was taken"
    );
}

#[test]
fn rule_31_the_fit_follows_from_the_place_in_the_line() {
    let (clock, ctx) = manual();
    for ahead in [0_u32, 1, 2, 31, 32, 33, 64, 65, 1000, 10_000] {
        let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
        let source = script.source().rate(&rate(10, SECOND, 2));
        for _ in 0..2 {
            assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
        }
        let mut calls: Vec<_> = (0..ahead)
            .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
            .collect();
        assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
        let wait = ms(100) * (ahead + 1);
        let mut late = Hand::new(source.fetch(ctx.with_timeout(wait), ()));
        assert_eq!(refused(late.poll()), Some(wait));
        let mut fits = Hand::new(source.fetch(ctx.with_timeout(wait + NANO), ()));
        assert!(fits.poll().is_pending());
        assert_eq!(
            clock.armed(),
            2,
            "the head's timer, and the deadline of the last"
        );
    }
}

#[test]
fn rule_31_without_a_deadline_everything_fits() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let rate = rate(1, Duration::MAX, 1);
    let source = script.source().rate(&rate);
    assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
    let mut call = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(call.settle().is_pending());
    assert_eq!(clock.armed(), 0, "no instant is that late");
    let mut hurried = Hand::new(source.fetch(ctx.with_timeout(SECOND), ()));
    assert_eq!(refused(hurried.poll()), Some(Duration::MAX));
}

#[test]
fn rule_32_a_cancelled_reservation_is_given_back() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang]);
    let rate = rate(10, SECOND, 1);
    let source = script.source().rate(&rate);
    drop(Hand::new(source.fetch(ctx.clone(), ()))); // not polled
    let mut first = Hand::new(source.fetch(ctx.clone(), ()));
    assert!(first.poll().is_pending());
    assert_eq!(script.calls(), 1);

    let mut calls: Vec<_> = (0..3)
        .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
        .collect();
    assert!(calls.iter_mut().all(|call| call.settle().is_pending()));
    clock.advance(ms(100));
    assert_eq!(calls[0].wakes(), 1);
    calls[0].cancel(); // its token is there, and it was not polled
    assert_eq!(calls[1].wakes(), 1);
    assert!(calls[1].poll().is_pending());
    assert_eq!(script.calls(), 2, "the next has it, at once");
    calls[2].cancel();
    first.cancel();
    calls[1].cancel();
    assert_eq!((waiting(&rate), clock.armed(), script.open()), (0, 0, 0));
    clock.advance(ms(100));
    let mut last = Hand::new(source.fetch(ctx, ()));
    assert!(last.poll().is_pending());
    assert_eq!(script.calls(), 3, "nothing was lost");
}

#[test]
fn each_token_wakes_one_waiter_however_many_wait() {
    let (clock, ctx) = manual();
    for waiters in [0_usize, 1, 2, 31, 32, 33, 64, 65, 1000, 10_000] {
        let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
        let source = script.source().rate(&rate(10, SECOND, 1));
        assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
        let mut calls: Vec<_> = (0..waiters)
            .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
            .collect();
        assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
        assert!(calls.iter().all(|call| call.wakes() == 0));
        for number in 0..waiters {
            clock.advance(ms(100));
            assert_eq!(calls[number].wakes(), 1, "its token");
            assert!(calls[number].poll().is_ready());
            if let Some(next) = calls.get_mut(number + 1) {
                assert_eq!(next.wakes(), 1, "it is the head");
                assert!(next.poll().is_pending());
            }
        }
        assert_eq!(script.calls(), waiters + 1);
    }
}

#[test]
fn waiters_share_the_tokens_of_a_late_wake_up() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let source = script.source().rate(&rate(10, SECOND, 3));
    for _ in 0..3 {
        assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
    }
    let mut calls: Vec<_> = (0..4)
        .map(|_| Hand::new(source.fetch(ctx.clone(), ())))
        .collect();
    assert!(calls.iter_mut().all(|call| call.settle().is_pending()));
    clock.advance(SECOND); // 10 tokens' time, of which the bucket holds 3
    for (number, call) in calls.iter_mut().enumerate() {
        assert_eq!(call.settle().is_ready(), number < 3);
    }
}

#[test]
fn wakers_are_cloned_woken_and_dropped_under_no_lock() {
    let (_clock, ctx) = manual();
    let rate = rate(1, SECOND, 1);
    let source = (|_: Context, (): ()| pending::<Result<u32, BoxError>>()).rate(&rate);
    let looks = Arc::new(AtomicUsize::new(0));
    let mut calls: Vec<_> = (0..4)
        .map(|_| Some(Box::pin(source.fetch(ctx.clone(), ()))))
        .collect();
    for _ in 0..2 {
        for call in calls.iter_mut().flatten() {
            let (rate, looks) = (rate.clone(), looks.clone());
            let waker = nosy(move || {
                waiting(&rate);
                looks.fetch_add(1, SeqCst);
            });
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
    assert_eq!(waiting(&rate), 0);
}

// Clocks that misbehave.

/// Shows a time of its own, and keeps no timers of its own: they are those of a manual clock.
#[derive(Clone)]
struct Shifted {
    now: Arc<Mutex<Instant>>,
    timers: ManualClock,
}

impl Shifted {
    fn new(now: Instant) -> (Self, Context) {
        let clock = Self {
            now: Arc::new(Mutex::new(now)),
            timers: ManualClock::new(),
        };
        let ctx = Context::background().with_clock(clock.clone());
        (clock, ctx)
    }

    fn set(&self, now: Instant) {
        *self.now.lock().unwrap() = now;
    }
}

impl Clock for Shifted {
    fn now(&self) -> Instant {
        *self.now.lock().unwrap()
    }

    /// So long after the timers' own time.
    fn sleep_until(&self, deadline: Instant) -> Sleep {
        let wait = deadline.saturating_duration_since(self.now());
        self.timers.sleep_until(self.timers.now() + wait)
    }
}

#[test]
fn under_two_clocks_no_wait_is_longer_than_the_burst_takes() {
    let begin = Instant::now() + 86_400 * SECOND;
    for apart in [SECOND, 3600 * SECOND, 80_000 * SECOND] {
        let (_, ahead) = Shifted::new(begin + apart);
        let (_, behind) = Shifted::new(begin);
        let source = (|_: Context, (): ()| ready(Ok::<_, BoxError>(5))).rate(&rate(10, SECOND, 4));
        for ctx in [&ahead, &behind].into_iter().cycle().take(50) {
            let mut call = Hand::new(source.fetch(ctx.with_timeout(ms(400) + NANO), ()));
            let wait = refused(call.poll()).unwrap_or_default();
            assert!(wait <= ms(400), "{wait:?}");
            drop(call);
        }
    }
}

#[test]
fn a_sleep_by_a_clock_that_runs_backwards_counts() {
    let begin = Instant::now() + 86_400 * SECOND;
    let (clock, ctx) = Shifted::new(begin);
    let source = (|_: Context, (): ()| ready(Ok::<_, BoxError>(5))).rate(&rate(10, SECOND, 1));
    assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
    for round in 1..20 {
        let mut call = Hand::new(source.fetch(ctx.clone(), ()));
        assert!(call.settle().is_pending());
        clock.set(begin.checked_sub(round * 60 * SECOND).unwrap());
        clock.timers.advance(ms(100));
        assert!(call.settle().is_ready(), "one sleep is enough");
    }
}

#[test]
fn a_clock_that_stands_still_and_sleeps_at_once_does_not_spin_in_a_poll() {
    let begin = Instant::now();
    let clock = (move || begin, |_: Duration| ready(()));
    let ctx = Context::background().with_clock(clock);
    let source = (|_: Context, (): ()| ready(Ok::<_, BoxError>(5))).rate(&rate(10, SECOND, 1));
    for _ in 0..3 {
        let mut call = Hand::new(source.fetch(ctx.clone(), ()));
        let polls = (1..10).find(|_| call.poll().is_ready());
        assert!(polls.is_some_and(|polls| polls <= 2), "one sleep is enough");
    }
}

#[test]
fn a_clock_that_cannot_fire_is_the_error_and_the_line_goes_on() {
    let (clock, ctx) = manual();
    let begin = clock.now();
    let broken = (
        move || begin,
        |_: Duration| async { panic!("no runtime here") },
    );
    let script = Script::new(&clock, [Act::Answer(5, ms(0))]);
    let rate = rate(10, SECOND, 1);
    let source = script.source().rate(&rate);
    assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
    let mut call = Hand::new(source.fetch(ctx.with_clock(broken), ()));
    let Poll::Ready(Err(fault)) = call.settle() else {
        panic!("it can't wait")
    };
    assert_eq!(
        fault.to_string(),
        "the timer cannot fire: it panicked: no runtime here"
    );
    assert_eq!((fault.attempts(), script.calls()), (0, 1));
    assert_eq!(waiting(&rate), 0);
    assert_eq!(Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap(), 5);
}

// Properties.

#[derive(Clone, Debug)]
enum Step {
    Call { within: Option<u64> },
    Cancel(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::option::of(0_u64..800).prop_map(|within| Step::Call { within }),
        2 => (0_usize..10).prop_map(Step::Cancel),
        3 => (0_u64..300).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// "never more than burst + elapsed/period in any window, none lost after cancellations"
    #[test]
    fn rule_32_never_too_many_in_any_window_and_none_lost(
        tokens in 1_u32..30,
        burst in 1_u32..5,
        steps in steps(),
    ) {
        let (clock, ctx) = manual();
        let begun = Arc::new(Mutex::new(Vec::new()));
        let (log, time) = (begun.clone(), clock.clone());
        let source = move |_: Context, (): ()| {
            log.lock().unwrap().push(time.now());
            ready(Ok::<_, BoxError>(5))
        };
        let rate = rate(tokens, SECOND, burst);
        let source = source.rate(&rate);
        let mut calls = Vec::new();
        for step in steps {
            match step {
                Step::Call { within } => {
                    let ctx = within.map_or(ctx.clone(), |within| ctx.with_timeout(ms(within)));
                    calls.push(Hand::new(source.fetch(ctx, ())));
                }
                Step::Cancel(which) if which < calls.len() => drop(calls.remove(which)),
                Step::Cancel(_) => {}
                Step::Pass(millis) => clock.advance(ms(millis)),
            }
            // A call that is through may wake the next, so go round until nothing more happens.
            while { let before = calls.len(); calls.retain_mut(|call| call.settle().is_pending()); calls.len() < before } {}
        }
        let moments = begun.lock().unwrap().clone();
        for (first, from) in moments.iter().enumerate() {
            for (last, to) in moments.iter().enumerate().skip(first) {
                let earned = (*to - *from).as_nanos() * u128::from(tokens) / SECOND.as_nanos();
                prop_assert!((last - first + 1) as u128 <= u128::from(burst) + earned);
            }
        }
        drop(calls);
        prop_assert_eq!((waiting(&rate), clock.armed()), (0, 0));
        // The bucket fills up: so many at once, and not one more.
        clock.advance(SECOND * burst);
        for _ in 0..burst {
            prop_assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_ready());
        }
        prop_assert!(Hand::new(source.fetch(ctx.clone(), ())).poll().is_pending());
    }
}

/// "on real threads, 100,000 random cancellations lose no token"
#[test]
fn rule_32_no_token_is_lost_among_100_000_cancellations_on_threads() {
    let (clock, ctx) = manual();
    let begin = clock.now();
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    let source = move |_: Context, polls: u32| {
        count.fetch_add(1, SeqCst);
        let mut left = polls;
        std::future::poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            left -= 1;
            match left {
                0 => Poll::Ready(Ok::<_, BoxError>(polls)),
                _ => Poll::Pending,
            }
        })
    };
    let rate = rate(1000, SECOND, 5);
    let source = source.rate(&rate);
    storm(cancellations(), |dice| {
        if dice.u8(..4) == 0 {
            clock.advance(ms(1));
        }
        source.fetch(ctx.clone(), dice.u32(1..4))
    });
    assert_eq!((waiting(&rate), clock.armed()), (0, 0));
    let earned = (clock.now() - begin).as_millis() as usize;
    assert!(begun.load(SeqCst) <= 5 + earned);
    clock.advance(ms(5));
    for _ in 0..5 {
        assert!(Hand::new(source.fetch(ctx.clone(), 1)).poll().is_ready());
    }
    assert!(Hand::new(source.fetch(ctx, 1)).poll().is_pending());
}

/// A clock that ends a context when it is read.
#[derive(Clone)]
struct EndsWhenRead {
    clock: ManualClock,
    canceller: Arc<Mutex<Option<Canceller>>>,
}

impl Clock for EndsWhenRead {
    fn now(&self) -> Instant {
        if let Some(canceller) = self.canceller.lock().unwrap().take() {
            canceller.cancel();
        }
        self.clock.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        self.clock.sleep_until(deadline)
    }
}

#[test]
fn rule_32_a_token_that_is_taken_as_its_callers_context_ends_goes_to_the_next() {
    let (clock, ctx) = manual();
    let script = Script::new(&clock, [Act::Hang]);
    let source = script.source().rate(&rate(10, SECOND, 1));
    let ends = EndsWhenRead {
        clock,
        canceller: Arc::default(),
    };
    let (ending, canceller) = ctx.with_clock(ends.clone()).with_cancel();
    *ends.canceller.lock().unwrap() = Some(canceller);
    assert!(ended(Hand::new(source.fetch(ending, ())).poll()));
    assert_eq!(script.calls(), 0);
    let mut next = Hand::new(source.fetch(ctx, ()));
    assert!(next.poll().is_pending());
    assert_eq!(script.calls(), 1, "at once");
}
