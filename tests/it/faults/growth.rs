//! Nothing grows with the square of its size.
//!
//! Where the library calls foreign code, calls are counted. Elsewhere the size is such that what was
//! quadratic would take minutes, and the watchdog of 30 s is the judge; what is linear takes well under a second.

use super::tools::{HOUR, apart, held, inline};
use crate::executor::{Polled, watched};
use crate::support::{Count, CountedClock, SECOND, at_most, counting, manual, poll};
use failfast::clock::{Clock, ManualClock, SystemClock};
use failfast::{Context, Group, InPlaceGroup};
use futures::executor::block_on;
use std::convert::Infallible;
use std::future::{pending, ready};

const MANY: usize = 100_000;

/// Fault 31: the line of waiters for a place.
mod line {
    use super::*;

    /// A group whose only place is taken, and the waiters for it.
    fn waiting(count: usize, act: impl FnOnce(&mut Vec<Polled<'_, ()>>)) {
        let group = Group::<()>::new(std::mem::forget::<failfast::Task>).with_limit(at_most(1));
        group.spawn(pending::<Result<_, Infallible>>());
        let mut waits: Vec<_> = (0..count)
            .map(|_| Polled::new(async { drop(group.ready().await) }))
            .collect();
        waits.iter_mut().for_each(|wait| assert!(wait.is_pending()));
        act(&mut waits);
    }

    /// Fault 31: leaving it from the back, or from the front.
    #[test]
    fn left_from_the_back_and_from_the_front() {
        watched(|| {
            waiting(MANY, |waits| while waits.pop().is_some() {});
            waiting(MANY, |waits| drop(std::mem::take(waits)));
        });
    }

    /// Fault 31: being polled again in it, from the front and from the back.
    #[test]
    fn polled_again() {
        watched(|| {
            waiting(MANY, |waits| {
                waits.iter_mut().for_each(|wait| assert!(wait.is_pending()));
                waits
                    .iter_mut()
                    .rev()
                    .for_each(|wait| assert!(wait.is_pending()));
                assert_eq!(waits.iter().map(Polled::wakes).sum::<usize>(), 0);
            });
        });
    }
}

/// Fault 31: links.
mod links {
    use super::*;

    /// Fault 31: a linked context of many sources, dropped with a callback.
    #[test]
    fn dropped_with_a_callback() {
        watched(|| {
            let sources: Vec<_> = (0..MANY)
                .map(|_| Context::background().with_cancel())
                .collect();
            let linked = Context::linked(sources.iter().map(|(source, _)| source.clone()));
            let called = Count::default();
            let _ = linked.on_done(called.adder());
            drop(linked);
            sources[MANY / 2].1.cancel();
            assert_eq!(called.get(), 1);
            drop(sources);
            assert_eq!(called.get(), 1);
        });
    }

    /// Fault 31: made of many sources with deadlines, and read below.
    #[test]
    fn made_of_deadlines() {
        watched(|| {
            let asked = Count::default();
            let root =
                Context::background().with_clock(CountedClock(ManualClock::new(), asked.clone()));
            let sources: Vec<_> = (0..MANY)
                .map(|n| root.with_timeout(SECOND * (n as u32 + 2)))
                .collect();
            let made = asked.get();
            assert!(made <= 2 * MANY, "{made} readings for {MANY} deadlines");
            let linked = Context::linked(sources.iter().cloned());
            assert!(
                asked.get() - made <= 2 * MANY,
                "{} readings for a link",
                asked.get() - made
            );
            assert_eq!(linked.deadline(), sources[0].deadline());
            let below = linked.with_value(5);
            let before = asked.get();
            (0..100).for_each(|_| assert!(!below.is_done()));
            assert!(
                asked.get() - before <= 200,
                "{} readings",
                asked.get() - before
            );
        });
    }

    /// Fault 31: of one source many times, which ends.
    #[test]
    fn of_one_source_that_ends() {
        watched(|| {
            let (source, canceller) = Context::background().with_cancel();
            let (other, _never) = Context::background().with_cancel();
            let links: Vec<_> = (0..MANY)
                .map(|_| {
                    let linked = Context::linked([source.clone(), other.clone()]);
                    let called = Count::default();
                    let _ = linked.on_done(called.adder());
                    (linked, called)
                })
                .collect();
            canceller.cancel();
            assert!(
                links
                    .iter()
                    .all(|(linked, called)| linked.is_done() && called.get() == 1)
            );
        });
    }
}

/// Fault 31: chains of contexts.
mod levels {
    use super::*;

    /// Fault 31: callbacks that moved up, level by level, as those were dropped.
    #[test]
    fn callbacks_of_levels_that_are_dropped() {
        watched(|| {
            let (top, canceller) = Context::background().with_cancel();
            let called = Count::default();
            let mut leaf = top.clone();
            for _ in 0..MANY {
                let (below, disarmed) = leaf.with_cancel();
                disarmed.disarm();
                let _ = below.on_done(called.adder());
                leaf = below;
            }
            drop(leaf);
            assert_eq!(called.get(), 0);
            canceller.cancel();
            assert_eq!(called.get(), MANY);
        });
    }

    /// Fault 31: callbacks of the bottom that move up all levels, one level dropped at a time.
    #[test]
    fn callbacks_go_up_level_by_level() {
        watched(|| {
            let (top, canceller) = Context::background().with_cancel();
            let mut chain = vec![top.clone()];
            for level in 0..10_000 {
                let (below, disarmed) = chain[level].with_cancel();
                disarmed.disarm();
                chain.push(below);
            }
            let called = Count::default();
            for _ in 0..10_000 {
                let _ = chain[10_000].on_done(called.adder());
            }
            while chain.len() > 1 {
                chain.pop();
            }
            canceller.cancel();
            assert_eq!(called.get(), 10_000);
        });
    }

    /// Fault 31: a value and a deadline on each.
    #[test]
    fn values_and_deadlines() {
        watched(|| {
            let asked = Count::default();
            let mut leaf =
                Context::background().with_clock(CountedClock(ManualClock::new(), asked.clone()));
            for level in 0..MANY {
                leaf = leaf.with_value(level).with_timeout(HOUR);
            }
            assert_eq!(leaf.value::<usize>(), Some(&(MANY - 1)));
            assert!(
                asked.get() <= 3 * MANY,
                "{} readings for {MANY} deadlines",
                asked.get()
            );
            let before = asked.get();
            assert!(!leaf.is_done());
            assert!(asked.get() - before <= 2);
        });
    }

    /// Fault 31: a clock and a deadline on each took 66 MB at 4,000 levels.
    #[test]
    fn clocks_and_deadlines_take_a_bounded_memory_each() {
        apart(|| {
            for count in [1_000, 4_000] {
                let clock = ManualClock::new();
                let before = held();
                let mut leaf = Context::background();
                for level in 0..count {
                    leaf = leaf
                        .with_clock(clock.clone())
                        .with_timeout(HOUR * (count - level));
                }
                let each = (held() - before) / count as isize;
                assert!(each <= 1_024, "{each} bytes a level at {count} levels");
                drop(leaf);
            }
        });
    }

    /// Fault 31: deep deadlines that end, from the top or from the bottom.
    #[test]
    fn deadlines_end() {
        watched(|| {
            for growing in [false, true] {
                let (clock, ctx) = manual();
                let mut leaf = ctx;
                for level in 0..10_000 {
                    leaf = leaf
                        .with_timeout(SECOND * if growing { 1 + level } else { 10_000 - level });
                }
                let (woken, waker) = counting();
                let mut done = leaf.done();
                assert!(poll(&mut done, &waker).is_pending());
                assert!(
                    clock.armed() <= 1,
                    "{} timers for one waiter",
                    clock.armed()
                );
                clock.advance(SECOND);
                assert!(leaf.is_done());
                assert_eq!((woken.get(), clock.armed()), (1, 0));
            }
        });
    }
}

/// Fault 31: peaks were kept while one stayed.
mod peaks {
    use super::*;

    /// Fault 31: of a tree: 50 MB stayed for the one that was left of a million.
    #[test]
    fn of_a_contexts_children() {
        apart(|| {
            let (root, _canceller) = Context::background().with_cancel();
            let _stays = root.with_cancel();
            let before = held();
            drop((0..MANY).map(|_| root.with_cancel()).collect::<Vec<_>>());
            let kept = held() - before;
            assert!(kept <= 16_384, "{kept} bytes");
        });
    }

    /// Fault 31: of callbacks and waiters.
    #[test]
    fn of_a_contexts_waiters() {
        apart(|| {
            let (root, _canceller) = Context::background().with_cancel();
            let _stays = root.on_done(|| {});
            let (_, waker) = counting();
            let before = held();
            let mut waits: Vec<_> = (0..MANY).map(|_| root.done()).collect();
            waits
                .iter_mut()
                .for_each(|done| assert!(poll(done, &waker).is_pending()));
            drop(waits);
            let callbacks: Vec<_> = (0..MANY).map(|_| root.on_done(|| {})).collect();
            callbacks
                .into_iter()
                .for_each(|callback| assert!(callback.stop()));
            let kept = held() - before;
            assert!(kept <= 16_384, "{kept} bytes");
        });
    }

    /// Fault 31: of the timer: 75 MB stayed for the one sleep that was left of a million.
    #[test]
    fn of_the_timers() {
        apart(|| {
            sleeps_come_and_go(&SystemClock);
            sleeps_come_and_go(&ManualClock::new());
        });
    }

    fn sleeps_come_and_go(clock: &dyn Clock) {
        let (_, waker) = counting();
        let at = clock.now() + HOUR;
        let mut stays = clock.sleep_until(at);
        assert!(poll(&mut stays, &waker).is_pending());
        let before = held();
        let mut sleeps: Vec<_> = (0..MANY).map(|_| clock.sleep_until(at)).collect();
        sleeps
            .iter_mut()
            .for_each(|sleep| assert!(poll(sleep, &waker).is_pending()));
        drop(sleeps);
        let kept = held() - before;
        assert!(kept <= 65_536, "{kept} bytes");
    }

    /// Fault 31: of deadlines of contexts.
    #[test]
    fn of_contexts_with_deadlines() {
        apart(|| {
            let one = || {
                let (_, waker) = counting();
                let mut done = Context::background().with_timeout(HOUR).done();
                assert!(poll(&mut done, &waker).is_pending());
                done
            };
            let _stays = one();
            let before = held();
            drop((0..MANY).map(|_| one()).collect::<Vec<_>>());
            let kept = held() - before;
            assert!(kept <= 65_536, "{kept} bytes");
        });
    }

    /// Fault 31: of a group's tasks, a line and a queue.
    #[test]
    fn of_a_groups_queue() {
        apart(|| {
            let mut group = InPlaceGroup::<()>::new(&Context::background()).with_limit(at_most(1));
            let mut turn = |tasks: usize| {
                (0..tasks).for_each(|_| group.spawn(ready(Ok::<_, Infallible>(()))));
                while block_on(group.next()).is_some() {}
            };
            turn(1_000); // what the thread keeps of them serves the others
            let before = held();
            turn(MANY);
            let kept = held() - before;
            assert!(kept <= 16_384, "{kept} bytes");
        });
    }
}

/// Fault 31's kind: groups.
mod groups {
    use super::*;

    /// Fault 31: many groups of one parent, ended one by one and by the parent.
    #[test]
    fn of_one_parent() {
        watched(|| {
            let (root, canceller) = Context::background().with_cancel();
            let groups: Vec<_> = (0..10_000)
                .map(|_| Group::<()>::with_context(&root, inline).0)
                .collect();
            groups.iter().step_by(2).for_each(|group| group.stop());
            canceller.cancel();
            assert!(groups.iter().all(|group| group.context().is_done()));
        });
    }

    /// Fault 31: the names of an aggregator's many sources are read once, in an error.
    #[test]
    fn pending_of_many() {
        watched(|| {
            let (ctx, canceller) = Context::background().with_cancel();
            let group = InPlaceGroup::<()>::new(&ctx);
            (0..10_000).for_each(|_| group.spawn(pending::<Result<_, Infallible>>()));
            let mut wait = Polled::new(group.wait());
            assert!(wait.is_pending());
            canceller.cancel();
            let error = loop {
                if let std::task::Poll::Ready(ended) = wait.poll() {
                    break ended.unwrap_err();
                }
                assert!(wait.is_woken());
            };
            assert_eq!(error.pending().len(), 10_000);
            assert!(error.to_string().len() < 1_000);
        });
    }
}
