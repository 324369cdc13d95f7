//! Thread-bound executors whose tasks no other thread can wake, as monoio's without its feature `sync`: a group that
//! waits for the system's clock there ends with an error that names the cure.

mod executor;

use crate::support::{Count, at_most};
use executor::{Bound, Elsewhere, First, Stuck, run};
use failfast::clock::{Clock, LocalClock, ManualClock, Sleep, SystemClock};
use failfast::policy::SourceExt;
use failfast::{
    BoxError, Context, ErrorKind, LocalAggregator, LocalGroup, LocalInPlaceGroup, Source,
};
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

fn within_an_hour() -> Context {
    Context::background().with_timeout(HOUR)
}

async fn hang() -> Result<(), Infallible> {
    pending().await
}

/// Lets the others of the executor run.
async fn yield_now() {
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

/// Runs a scenario under both kinds of first futures, on an executor whose wakers panic elsewhere.
fn each<F>(scenario: impl Fn(Bound) -> F + Copy + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    for first in [First::Task, First::Deaf] {
        assert_eq!(run(Elsewhere::Panics, first, scenario), Ok(()), "{first:?}");
    }
}

#[track_caller]
fn assert_refused(what: impl fmt::Display) {
    let text = what.to_string();
    let cure = "with_clock(LocalClock::new(monoio::time::sleep))";
    assert!(text.contains("the timer cannot fire"), "{text}");
    assert!(text.contains(cure), "{text}");
}

#[test]
fn deadline_of_a_group_is_refused_before_it_comes() {
    for tasks in [1, 2, 3, 4, 33] {
        each(move |executor| async move {
            let (group, ctx) =
                LocalGroup::<()>::with_context(&within_an_hour(), executor.spawner());
            (0..tasks).for_each(|_| group.spawn(hang()));
            let error = group.wait().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Canceled);
            assert_eq!(error.pending().len(), tasks);
            assert_refused(error);
            assert_refused(ctx.err().unwrap());
        });
    }
}

#[test]
fn one_of_two_deadlines_is_refused_if_it_is_by_the_systems_clock() {
    each(|executor| async move {
        let by_hand = |ctx: Context| ctx.with_clock(ManualClock::new()).with_timeout(HOUR);
        let (group, _) =
            LocalGroup::<()>::with_context(&by_hand(within_an_hour()), executor.spawner());
        group.spawn(hang());
        assert_refused(group.wait().await.unwrap_err());

        // What is known by now harms none whose deadlines are all by other clocks.
        let ctx = by_hand(by_hand(Context::background()));
        let (group, _) = LocalGroup::<()>::with_context(&ctx, executor.spawner());
        for _ in 0..2 {
            group.spawn(async {
                yield_now().await;
                Ok::<_, Infallible>(())
            });
        }
        assert_eq!(group.wait().await.unwrap().len(), 2);
    });
}

#[test]
fn deadline_is_refused_to_tasks_that_were_woken_meanwhile() {
    each(|executor| async move {
        let (group, _) = LocalGroup::<()>::with_context(&within_an_hour(), executor.spawner());
        for _ in 0..2 {
            group.spawn(async {
                yield_now().await;
                hang().await
            });
        }
        assert_refused(group.wait().await.unwrap_err());
    });
}

#[test]
fn deadline_is_refused_to_an_owner_that_comes_late() {
    each(|executor| async move {
        let (group, _) = LocalGroup::<()>::with_context(&within_an_hour(), executor.spawner());
        group.spawn(hang());
        for _ in 0..5 {
            yield_now().await;
        }
        assert_refused(group.wait().await.unwrap_err());
    });
}

#[test]
fn deadline_is_refused_to_next_and_to_a_body() {
    each(|executor| async move {
        let (mut group, _) = LocalGroup::<()>::with_context(&within_an_hour(), executor.spawner());
        group.spawn(hang());
        assert_refused(group.next().await.unwrap().unwrap_err());

        let (group, _) = LocalGroup::<()>::with_context(&within_an_hour(), executor.spawner());
        group.spawn(hang());
        let body = async { hang().await.map_err(BoxError::from) };
        assert_refused(group.run(body).await.unwrap_err());
    });
}

#[test]
fn timeout_of_an_aggregator_is_refused() {
    each(|executor| async move {
        let line = LocalAggregator::new(executor.spawner())
            .source("quick", |_: Context, (): ()| async {
                Ok::<_, Infallible>(1)
            })
            .source("slow", |_: Context, (): ()| hang());
        let error = line
            .aggregate(&Context::background(), ())
            .await
            .unwrap_err();
        assert_eq!(error.pending()[0], "slow");
        assert_refused(error);
    });
}

/// The error of the one task of a group that has no deadline.
async fn error_of<F>(executor: Bound, task: impl FnOnce(Context) -> F) -> failfast::Error
where
    F: Future<Output = Result<(), BoxError>> + 'static,
{
    let (group, ctx) = LocalGroup::with_context(&Context::background(), executor.spawner());
    group.spawn(task(ctx));
    group.wait().await.unwrap_err()
}

#[test]
fn sleep_of_a_task_is_refused() {
    each(|executor| async move {
        let sleep = |ctx: Context| async move { Ok(ctx.sleep(HOUR).await?) };
        assert_refused(error_of(executor, sleep).await);
    });
}

#[test]
fn timeout_inside_of_a_task_is_refused() {
    each(|executor| async move {
        let run = |ctx: Context| async move {
            let ended = ctx.with_timeout(HOUR).run(hang()).await.unwrap_err();
            Err(ended.into())
        };
        assert_refused(error_of(executor.clone(), run).await);

        let call = |ctx: Context| async move {
            let source = (|_: Context, (): ()| hang()).timeout(HOUR);
            Ok(source.fetch(ctx, ()).await?)
        };
        assert_refused(error_of(executor.clone(), call).await);

        let group = |ctx: Context| async move {
            let group = LocalInPlaceGroup::<()>::new(&ctx.with_timeout(HOUR));
            group.spawn(hang());
            Ok(group.wait().await.map(drop)?)
        };
        assert_refused(error_of(executor, group).await);
    });
}

/// What is known once is refused at once: in the first poll, and with no other thread.
#[test]
fn second_group_of_a_thread_is_refused_at_once() {
    each(|executor| async move {
        for group in 0..3 {
            let before = executor.foreign();
            let (owner, _) = LocalGroup::<()>::with_context(&within_an_hour(), executor.spawner());
            let polls = Count::default();
            let count = polls.clone();
            owner.spawn(async move {
                poll_fn(|_| {
                    count.add();
                    Poll::<()>::Pending
                })
                .await;
                Ok::<_, Infallible>(())
            });
            assert_refused(owner.wait().await.unwrap_err());
            assert_eq!(group == 0, executor.foreign() > before);
            // Once more after the end, as every task.
            assert!(group == 0 || polls.get() == 2, "{}", polls.get());
        }
    });
}

#[test]
fn grace_that_cannot_be_kept_is_over_at_once() {
    each(|executor| async move {
        let group = LocalGroup::<()>::new(executor.spawner()).with_grace(HOUR);
        group.spawn(hang());
        group.spawn(async {
            yield_now().await;
            Err("fails")
        });
        let error = group.wait().await.unwrap_err();
        assert_eq!(error.to_string(), "task 1: fails");
    });
}

#[test]
fn stragglers_time_that_cannot_be_kept_is_over_at_once() {
    each(|executor| async move {
        let group = LocalGroup::<()>::new(executor.spawner()).with_straggler_limit(HOUR);
        let ctx = group.context().clone();
        group.spawn_named("commit", async move { ctx.shield(hang()).await });
        group.spawn(async {
            yield_now().await;
            Err("fails")
        });
        let error = group.wait().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stragglers);
        assert_eq!(error.pending(), ["commit"]);
    });
}

#[test]
fn own_timers_are_the_cure_and_nothing_is_woken_elsewhere() {
    each(|executor| async move {
        let timers = executor.clone();
        let clock = LocalClock::new(move |left| timers.sleep(left));
        let parent = Context::background().with_clock(clock);
        let moment = Duration::from_millis(5);

        let group =
            LocalGroup::<()>::with_context(&parent.with_timeout(moment), executor.spawner());
        group.0.spawn(hang());
        assert!(group.0.wait().await.unwrap_err().is_deadline_exceeded());

        let (group, ctx) = LocalGroup::with_context(&parent, executor.spawner());
        group.spawn(async move { ctx.sleep(moment).await });
        assert_eq!(group.wait().await.unwrap(), [()]);
        assert_eq!(executor.foreign(), 0);
    });
}

#[test]
fn deadline_by_a_clock_of_the_users_whose_timers_are_the_systems_is_refused() {
    #[derive(Clone)]
    struct Systems;

    impl Clock for Systems {
        fn now(&self) -> Instant {
            SystemClock.now()
        }

        fn sleep_until(&self, deadline: Instant) -> Sleep {
            SystemClock.sleep_until(deadline)
        }
    }

    each(|executor| async move {
        let parent = Context::background().with_clock(Systems).with_timeout(HOUR);
        let (group, _) = LocalGroup::<()>::with_context(&parent, executor.spawner());
        group.spawn(hang());
        assert_refused(group.wait().await.unwrap_err());
    });
}

#[test]
fn groups_that_need_no_timer_of_the_systems_are_left_alone() {
    each(|executor| async move {
        let by_manual = |ctx: &Context| ctx.with_clock(ManualClock::new()).with_timeout(HOUR);
        let manual = by_manual(&Context::background());
        let manuals = by_manual(&manual);
        for ctx in [Context::background(), manual, manuals] {
            let group = LocalGroup::<()>::with_context(&ctx, executor.spawner()).0;
            let group = group.with_limit(at_most(2));
            for _ in 0..5 {
                group.spawn(async {
                    yield_now().await;
                    Ok::<_, Infallible>(())
                });
            }
            assert_eq!(group.wait().await.unwrap().len(), 5);
        }
        assert_eq!(executor.foreign(), 0);
    });
}

/// Its tasks are shielded when it ends: a limit for stragglers needs a timer then, if it goes by the system's clock.
#[test]
fn ended_groups_that_need_no_timer_of_the_systems_are_left_alone() {
    each(|executor| async move {
        let manual = Context::background().with_clock(ManualClock::new());
        for (parent, limited) in [(Context::background(), false), (manual, true)] {
            let (group, ctx) = LocalGroup::<()>::with_context(&parent, executor.spawner());
            let group = match limited {
                true => group.with_straggler_limit(HOUR),
                false => group,
            };
            for _ in 0..3 {
                let ctx = ctx.clone();
                group.spawn(async move {
                    let commit = async {
                        for _ in 0..5 {
                            yield_now().await;
                        }
                    };
                    ctx.shield(commit).await;
                    Ok::<_, Infallible>(())
                });
            }
            yield_now().await;
            group.stop();
            assert_eq!(group.wait().await.unwrap().len(), 3);
        }
        assert_eq!(executor.foreign(), 0);
    });
}

/// What a shielded task waits for is refused to it. No limit was set, so it is no straggler.
#[test]
fn sleep_of_a_shielded_task_is_refused_after_the_end() {
    each(|executor| async move {
        let context = Context::background();
        let (group, ctx) = LocalGroup::<String>::with_context(&context, executor.spawner());
        for _ in 0..3 {
            let ctx = ctx.clone();
            group.spawn(async move {
                let sleep = async {
                    for _ in 0..5 {
                        yield_now().await;
                    }
                    Context::background().sleep(HOUR).await
                };
                let slept = ctx.shield(sleep).await;
                Ok::<_, Infallible>(slept.unwrap_err().to_string())
            });
        }
        yield_now().await;
        group.stop();
        let refusals = group.wait().await.unwrap();
        assert_eq!(refusals.len(), 3);
        refusals.iter().for_each(assert_refused);
    });
}

/// The grace goes by another clock, and so is not over with what a task waits for in it.
#[test]
fn sleep_of_a_task_in_its_grace_is_refused() {
    each(|executor| async move {
        let manual = Context::background().with_clock(ManualClock::new());
        let (group, _) = LocalGroup::<String>::with_context(&manual, executor.spawner());
        let group = group.with_grace(HOUR);
        for _ in 0..3 {
            group.spawn(async {
                for _ in 0..5 {
                    yield_now().await;
                }
                let slept = Context::background().sleep(HOUR).await;
                for _ in 0..5 {
                    yield_now().await;
                }
                Ok::<_, Infallible>(slept.unwrap_err().to_string())
            });
        }
        yield_now().await;
        group.stop();
        let refusals = group.wait().await.unwrap();
        assert_eq!(refusals.len(), 3);
        refusals.iter().for_each(assert_refused);
    });
}

/// How often a task is polled that is woken once by another, in a group with a deadline.
async fn polls_of_a_task(executor: &Bound) -> usize {
    let (group, _) = LocalGroup::with_context(&within_an_hour(), executor.spawner());
    let polls = Count::default();
    let (sender, receiver) = futures::channel::oneshot::channel();
    let count = polls.clone();
    group.spawn(async move {
        let mut receiver = receiver;
        poll_fn(|cx| {
            count.add();
            std::pin::Pin::new(&mut receiver).poll(cx)
        })
        .await
    });
    group.spawn(async {
        for _ in 0..20 {
            yield_now().await;
        }
        sender.send(()).map_err(|()| "the receiver is gone")
    });
    group.wait().await.unwrap();
    polls.get()
}

#[test]
fn sound_wakers_are_tried_a_few_times_and_then_never() {
    for first in [First::Task, First::Deaf] {
        let ran = run(Elsewhere::Works, first, |executor| async move {
            let polls = polls_of_a_task(&executor).await;
            assert!((2..=5).contains(&polls), "{polls}");
            let known = executor.foreign();
            assert!((1..=3).contains(&known), "{known}");
            for _ in 0..10 {
                assert_eq!(polls_of_a_task(&executor).await, 2);
            }
            assert_eq!(executor.foreign(), known);
        });
        assert_eq!(ran, Ok(()));
    }
}

#[test]
fn another_executor_on_the_same_thread_is_judged_by_its_own_wakers() {
    let thread = std::thread::spawn(|| {
        let refused = executor::run_here(Elsewhere::Panics, First::Task, |executor| async move {
            let group = LocalGroup::<()>::with_context(&within_an_hour(), executor.spawner()).0;
            group.spawn(hang());
            group.wait().await.unwrap_err()
        });
        assert_refused(refused.unwrap());
        let other = std::rc::Rc::new(smol::LocalExecutor::new());
        let spawner = other.clone();
        smol::block_on(other.run(async move {
            let ctx = Context::background().with_timeout(Duration::from_millis(5));
            let spawn = move |task: failfast::LocalTask| spawner.spawn(task);
            let group = LocalGroup::<()>::with_context(&ctx, spawn).0;
            group.spawn(hang());
            assert!(group.wait().await.unwrap_err().is_deadline_exceeded());
        }));
    });
    thread.join().unwrap();
}

/// What can't be seen: a task that waits alone. No other is polled on its thread that could try it.
#[test]
fn task_that_waits_alone_sleeps_on() {
    let moment = Duration::from_millis(5);
    for first in [First::Task, First::Deaf] {
        let ran = run(Elsewhere::Panics, first, move |_| async move {
            Context::background().sleep(moment).await
        });
        assert_eq!(ran, Err(Stuck));
    }
}

#[test]
fn group_whose_owner_comes_late_is_refused_after_another_has_found_it_out() {
    each(|executor| async move {
        let (late, _) = LocalGroup::<()>::with_context(&within_an_hour(), executor.spawner());
        late.spawn(hang());
        for _ in 0..5 {
            yield_now().await;
        }
        let (other, _) = LocalGroup::<()>::with_context(&within_an_hour(), executor.spawner());
        other.spawn(hang());
        assert_refused(other.wait().await.unwrap_err());
        assert_refused(late.wait().await.unwrap_err());
    });
}

/// It polls what it shares in each of its own polls, by a waker of its own.
#[test]
fn sleep_that_is_shared_is_not_polled_without_end() {
    use futures::FutureExt as _;
    each(|executor| async move {
        let polls = std::rc::Rc::new(std::cell::Cell::new(0));
        let (counted, context) = (polls.clone(), Context::background());
        let (group, ctx) = LocalGroup::<()>::with_context(&context, executor.spawner());
        group.spawn(async move {
            let sleep = ctx
                .sleep(HOUR)
                .map(|slept| slept.map_err(|error| error.to_string()));
            let mut shared = sleep.boxed_local().shared();
            poll_fn(move |cx| {
                counted.set(counted.get() + 1);
                shared.poll_unpin(cx)
            })
            .await
        });
        group.spawn(async { pending::<Result<_, String>>().await });
        for _ in 0..1_000 {
            yield_now().await;
        }
        assert!((1..10).contains(&polls.get()), "{}", polls.get());
    });
}

/// A group may be run by two executors. What one's wakers do says nothing of the other's.
#[test]
fn executor_that_can_be_woken_is_not_refused_for_one_beside_it() {
    let here = std::thread::spawn(|| {
        let healthy = std::rc::Rc::new(smol::LocalExecutor::new());
        let both = healthy.clone();
        let ran = executor::run_here(Elsewhere::Panics, First::Task, move |executor| async move {
            let (spawn, spawned) = (executor.spawner(), std::cell::Cell::new(0));
            let second = both.clone();
            let spawn = move |task: failfast::LocalTask| {
                spawned.set(spawned.get() + 1);
                match spawned.get() {
                    1 => spawn(task),
                    _ => second.spawn(task).detach(),
                }
            };
            let (group, ctx) = LocalGroup::<()>::with_context(&Context::background(), spawn);
            group.spawn(hang());
            for _ in 0..3 {
                yield_now().await;
            }
            group.spawn(async move { ctx.sleep(HOUR).await.map_err(|_| unreachable!()) });
            for _ in 0..5 {
                both.try_tick();
                yield_now().await;
            }
        });
        assert_eq!(ran, Ok(()));
        let spawner = healthy.clone();
        let spawn = move |task| spawner.spawn(task).detach();
        let soon = Context::background().with_timeout(Duration::from_millis(20));
        let (group, _) = LocalGroup::<()>::with_context(&soon, spawn);
        group.spawn(hang());
        let error = smol::block_on(healthy.run(group.wait())).unwrap_err();
        assert!(error.is_deadline_exceeded(), "{error}");
    });
    here.join().unwrap();
}

/// The group's own time is kept, or has no limit: what is refused to one of its tasks does not cut it short.
#[test]
fn wait_that_is_refused_after_the_groups_end_leaves_its_time_alone() {
    let manual = || Context::background().with_clock(ManualClock::new());
    let graceful = |group: LocalGroup<()>| group.with_grace(HOUR);
    let limited = |group: LocalGroup<()>| group.with_straggler_limit(HOUR);
    refused_after_the_end(manual, graceful);
    refused_after_the_end(manual, limited);
    refused_after_the_end(Context::background, |group| group);
}

fn refused_after_the_end(
    parent: impl Fn() -> Context + Copy + Send + 'static,
    configure: impl Fn(LocalGroup<()>) -> LocalGroup<()> + Copy + Send + 'static,
) {
    each(move |executor| async move {
        let (group, ctx) = LocalGroup::<()>::with_context(&parent(), executor.spawner());
        let group = configure(group);
        let (sender, receiver) = futures::channel::oneshot::channel();
        let its = ctx.clone();
        group.spawn(async move {
            let sleep = async {
                its.done().await;
                yield_now().await;
                let ended = Context::background().sleep(HOUR).await;
                sender.send(ended.unwrap_err().to_string()).unwrap();
            };
            its.shield(sleep).await;
            Ok::<_, Infallible>(())
        });
        let refusal = std::rc::Rc::new(std::cell::OnceCell::new());
        let told = refusal.clone();
        group.spawn(async move {
            let wait = async { told.set(receiver.await.unwrap()).unwrap() };
            ctx.shield(wait).await;
            Ok::<_, Infallible>(())
        });
        group.spawn(async {
            yield_now().await;
            Err("fails")
        });
        let error = group.wait().await.unwrap_err();
        assert_eq!(error.to_string(), "task 2: fails");
        assert_refused(refusal.get().expect("both tasks ran to their ends"));
    });
}

/// Another group, whose wakers are sound, is polled on the same thread after this one's owner, and before its task.
#[test]
fn deadline_is_refused_though_another_executor_polled_in_between() {
    let here = std::thread::spawn(|| {
        let healthy = std::rc::Rc::new(smol::LocalExecutor::new());
        let both = healthy.clone();
        let ran = executor::run_here(Elsewhere::Panics, First::Task, move |executor| async move {
            let second = both.clone();
            let spawn = move |task: failfast::LocalTask| second.spawn(task).detach();
            let (busy, _) = LocalGroup::<()>::with_context(&within_an_hour(), spawn);
            busy.spawn(async {
                loop {
                    yield_now().await;
                }
                #[allow(unreachable_code, reason = "for its type")]
                Ok::<_, Infallible>(())
            });
            // So many looks make its wakers sound.
            for _ in 0..100 {
                both.try_tick();
            }
            let (group, _) = LocalGroup::<()>::with_context(&within_an_hour(), executor.spawner());
            group.spawn(hang());
            let ticks = async { both.try_tick() };
            let (ended, ticked) = futures::join!(group.wait(), ticks);
            assert!(ticked);
            assert_refused(ended.unwrap_err());
        });
        assert_eq!(ran, Ok(()));
    });
    here.join().unwrap();
}
