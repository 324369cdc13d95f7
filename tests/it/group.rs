//! Section 4 of the contract, sentence by sentence, on an executor that is driven by hand.

use crate::executor::{Executor, Life, Living, LocalExecutor, Polled, Remote, on_wake, remote};
use failfast::{Context, ContextError, Ending, Error, Group, LocalGroup, ManualClock};
use futures::{FutureExt, StreamExt};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn, ready};
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn at_most(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).unwrap()
}

/// A task that never ends by itself.
async fn stuck<T>(life: Life) -> Result<T, Infallible> {
    let _life = life;
    pending().await
}

/// A task that waits for the context's end, and then succeeds.
async fn until_done<T>(ctx: Context, life: Life, value: T) -> Result<T, Infallible> {
    let _life = life;
    ctx.done().await;
    Ok(value)
}

type Manual<T> = Group<crate::executor::Shared, T>;

fn group<T: Send + 'static>(executor: &Executor) -> Manual<T> {
    Group::new(executor.spawner())
}

/// A group with two tasks of the test's, both running: what to tell them, and how many are alive.
struct Pair {
    executor: Executor,
    group: Manual<u32>,
    living: Living,
    one: Remote<u32>,
    two: Remote<u32>,
}

fn pair(configure: impl FnOnce(Manual<u32>) -> Manual<u32>) -> Pair {
    let executor = Executor::new();
    let group = configure(group(&executor));
    let living = Living::default();
    let (one, task) = remote(&living);
    group.spawn_named("one", task);
    let (two, task) = remote(&living);
    group.spawn_named("two", task);
    executor.run();
    Pair {
        executor,
        group,
        living,
        one,
        two,
    }
}

mod results {
    use super::*;

    /// "in the order of spawning", whatever the order of completion.
    #[test]
    fn wait_after_the_last_finished_first() {
        let executor = Executor::new();
        let group = group(&executor);
        for number in 0..20 {
            group.spawn(async move { Ok::<_, Infallible>(number) });
        }
        executor.run_backwards();
        assert_eq!(executor.drive(group.wait()).unwrap(), Vec::from_iter(0..20));
    }

    #[test]
    fn wait_named_gives_names_and_numbers() {
        let executor = Executor::new();
        let group = group(&executor);
        group.spawn_named("profile", async { Ok::<_, Infallible>(1) });
        group.spawn(async { Ok::<_, Infallible>(2) });
        group.spawn_named(format!("page {}", 3), async { Ok::<_, Infallible>(3) });
        let named = executor.drive(group.wait_named()).unwrap();
        let named: Vec<_> = named
            .iter()
            .map(|(name, value)| (&**name, *value))
            .collect();
        assert_eq!(named, [("profile", 1), ("task 1", 2), ("page 3", 3)]);
    }

    /// "in the order of spawning", also where a later task has the place of an earlier one.
    #[test]
    fn wait_after_a_freed_place_was_used_again() {
        let executor = Executor::new();
        let mut group = group(&executor);
        for number in 0..3 {
            group.spawn(async move { Ok::<_, Infallible>(number) });
        }
        executor.run();
        assert_eq!(Polled::new(group.next()).ready().unwrap().unwrap(), 0);
        group.spawn(async { Ok::<_, Infallible>(3) });
        executor.run();
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2, 3]);
    }

    /// "An empty group returns at once."
    #[test]
    fn wait_on_an_empty_group() {
        let executor = Executor::new();
        assert_eq!(
            Polled::new(group::<u32>(&executor).wait()).ready().unwrap(),
            []
        );
        assert!(
            Polled::new(group::<u32>(&executor).next())
                .ready()
                .is_none()
        );
        let local = LocalGroup::<_, u32>::in_place(&Context::background());
        assert_eq!(Polled::new(local.wait()).ready().unwrap(), []);
    }

    /// "any Future<Output = Result<T, impl Into<BoxError>>>": each task its own error type.
    #[test]
    fn tasks_with_errors_of_different_types() {
        let executor = Executor::new();
        let group = group(&executor);
        group.spawn(async { Ok::<_, std::io::Error>(1) });
        group.spawn(async { Ok::<_, String>(2) });
        group.spawn(async { Ok::<_, failfast::BoxError>(3) });
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2, 3]);
    }

    /// "`next().await` gives results as they complete and frees them."
    #[test]
    fn next_in_the_order_of_completion() {
        let pair = pair(|group| group);
        let mut group = pair.group;
        pair.two.succeed(2);
        pair.executor.run();
        assert_eq!(pair.executor.drive(group.next()).unwrap().unwrap(), 2);
        let mut next = Polled::new(group.next_named());
        assert!(next.is_pending());
        pair.one.succeed(1);
        pair.executor.run();
        assert_eq!(next.wakes(), 1);
        let (name, value) = next.ready().unwrap();
        assert_eq!((&*name, value.unwrap()), ("one", 1));
        drop(next);
        assert!(pair.executor.drive(group.next()).is_none());
    }

    /// "(and `Stream`)"
    #[test]
    fn stream_ends_with_the_last_result() {
        let executor = Executor::new();
        let mut group = group(&executor);
        for number in 0..5 {
            group.spawn(async move { Ok::<_, Infallible>(number) });
        }
        executor.run_backwards();
        let all = executor.drive(async {
            let mut all = Vec::new();
            while let Some(number) = StreamExt::next(&mut group).await {
                all.push(number.unwrap());
            }
            all
        });
        assert_eq!(all, [4, 3, 2, 1, 0]);
    }

    /// "frees them": the results, and the tasks' places.
    #[test]
    fn next_for_a_hundred_thousand_results_keeps_none() {
        let executor = Executor::new();
        let mut group = group(&executor);
        let results = Living::default();
        for _ in 0..100_000 {
            let result = results.one();
            group.spawn(async move { Ok::<_, Infallible>(result) });
            drop(executor.drive(group.next()).unwrap().unwrap());
            assert_eq!(results.count(), 0);
        }
        // Whatever the group keeps for a task, `outcomes` would list.
        assert_eq!(executor.drive(group.outcomes()).unwrap().len(), 0);
    }

    #[test]
    fn wait_after_some_were_taken_with_next() {
        let executor = Executor::new();
        let mut group = group(&executor);
        for number in 0..4 {
            group.spawn(async move { Ok::<_, Infallible>(number) });
        }
        executor.poll(2);
        assert_eq!(executor.drive(group.next()).unwrap().unwrap(), 2);
        assert_eq!(executor.drive(group.wait()).unwrap(), [0, 1, 3]);
    }

    /// "No result is lost if it is dropped."
    #[test]
    fn next_dropped_before_the_result_came() {
        let pair = pair(|group| group);
        let mut group = pair.group;
        let mut next = Polled::new(group.next());
        assert!(next.is_pending());
        pair.one.succeed(1);
        pair.executor.run();
        drop(next);
        assert_eq!(pair.executor.drive(group.next()).unwrap().unwrap(), 1);
        drop(pair.two);
    }

    /// A failure that ends the group comes once; the echoes are not told.
    #[test]
    fn next_tells_the_first_failure_once() {
        let pair = pair(|group| group);
        let mut group = pair.group;
        pair.two.fail("connection refused");
        pair.executor.run();
        let error = pair.executor.drive(group.next()).unwrap().unwrap_err();
        assert_eq!(error.to_string(), "two: connection refused");
        assert!(pair.executor.drive(group.next()).is_none());
        assert_eq!(pair.living.count(), 0);
        drop(pair.one);
    }

    #[test]
    fn next_tells_the_contexts_end_last() {
        let pair = pair(|group| group.with_grace(SECOND));
        let mut group = pair.group;
        group.cancel_with("shutting down");
        pair.one.succeed(1);
        pair.executor.run();
        assert_eq!(pair.executor.drive(group.next()).unwrap().unwrap(), 1);
        pair.two.fail("echo");
        pair.executor.run();
        let (name, error) = pair.executor.drive(group.next_named()).unwrap();
        assert_eq!(name, "group");
        assert_eq!(
            error.unwrap_err().to_string(),
            "context canceled: shutting down"
        );
        assert!(pair.executor.drive(group.next()).is_none());
    }
}

mod fail_fast {
    use super::*;

    /// "The first failure (by completion) is recorded, *then* the context is cancelled with it as the cause,
    /// then the slot is released, then waiters wake."
    #[test]
    fn waker_of_each_waiter_finds_the_failure_recorded() {
        let pair = pair(|group| group.with_limit(at_most(2)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let look = |who: &'static str| {
            let (seen, ctx) = (seen.clone(), pair.group.context().clone());
            on_wake(move || {
                let cause = ctx.cause().map(|cause| cause.to_string());
                seen.lock().unwrap().push((who, ctx.is_done(), cause));
            })
        };
        let mut done = Box::pin(pair.group.context().done());
        let done_waker = look("done");
        assert!(
            done.as_mut()
                .poll(&mut std::task::Context::from_waker(&done_waker))
                .is_pending()
        );
        let ready_waker = look("ready");
        let wait_waker = look("wait");
        let mut turn = Box::pin(pair.group.ready());
        assert!(
            turn.as_mut()
                .poll(&mut std::task::Context::from_waker(&ready_waker))
                .is_pending()
        );
        pair.one.fail("connection refused");
        pair.executor.poll(0);
        let cause = Some("one: connection refused".to_owned());
        let told = std::mem::take(&mut *seen.lock().unwrap());
        assert!(
            told.iter().all(|(_, done, why)| *done && *why == cause),
            "{told:?}"
        );
        let who: Vec<_> = told.iter().map(|(who, ..)| *who).collect();
        assert!(who.contains(&"done") && who.contains(&"ready"), "{who:?}");
        drop(turn);
        let mut wait = Box::pin(pair.group.wait());
        assert!(
            wait.as_mut()
                .poll(&mut std::task::Context::from_waker(&wait_waker))
                .is_pending()
        );
        pair.executor.run(); // the sibling ends: the slot is released before the waiter hears of it
        assert_eq!(*seen.lock().unwrap(), [("wait", true, cause)]);
        assert!(wait.as_mut().now_or_never().unwrap().is_err());
    }

    /// "then the slot is released, then waiters wake": whoever wakes finds the task gone.
    #[test]
    fn waker_of_wait_finds_the_task_gone() {
        let pair = pair(|group| group);
        let (sender, receiver) = mpsc::channel();
        let living = pair.living.clone();
        let waker = on_wake(move || sender.send(living.count()).unwrap());
        let mut wait = Box::pin(pair.group.wait());
        assert!(
            wait.as_mut()
                .poll(&mut std::task::Context::from_waker(&waker))
                .is_pending()
        );
        pair.one.succeed(1);
        pair.executor.run();
        assert!(receiver.try_recv().is_err(), "woken for nothing");
        pair.two.succeed(2);
        pair.executor.run();
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [0]);
        assert_eq!(wait.as_mut().now_or_never().unwrap().unwrap(), [1, 2]);
    }

    /// "Siblings' echoes of the cancellation never replace or hide it."
    #[test]
    fn echoes_come_before_and_after_in_the_order_of_spawning() {
        for culprit in 0..3 {
            let executor = Executor::new();
            let group = group::<()>(&executor);
            for number in 0..3 {
                let ctx = group.context().clone();
                group.spawn(async move {
                    if number != culprit {
                        ctx.done().await;
                        return Err("context canceled".to_owned());
                    }
                    Err(format!("failure of {number}"))
                });
            }
            executor.run_backwards();
            let error = executor.drive(group.wait()).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("task {culprit}: failure of {culprit}")
            );
            assert_eq!(error.others().errors.len(), 2);
        }
    }

    /// "by completion", not by the order of spawning.
    #[test]
    fn second_task_fails_before_the_first() {
        let pair = pair(|group| group.with_grace(SECOND));
        pair.two.fail("came first");
        pair.executor.run();
        pair.one.fail("came second");
        pair.executor.run();
        let error = pair.executor.drive(pair.group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "two: came first");
        assert_eq!(error.others().errors[0].to_string(), "one: came second");
    }

    /// "bounded: the first N and a count"
    #[test]
    fn hundred_tasks_fail() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        for number in 0..100 {
            group.spawn(async move { Err(format!("failure {number}")) });
        }
        let error = executor.drive(group.wait()).unwrap_err();
        let others = error.others();
        let told: Vec<_> = others.errors.iter().map(ToString::to_string).collect();
        let first: Vec<_> = (1..=told.len())
            .map(|n| format!("task {n}: failure {n}"))
            .collect();
        assert_eq!(told, first);
        assert!((1..99).contains(&told.len()));
        assert_eq!(others.omitted + told.len(), 99);
    }

    /// "The others, in the order of their coming".
    #[test]
    fn tasks_fail_in_another_order_than_they_were_spawned() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        for number in 0..5 {
            group.spawn(async move { Err(format!("failure {number}")) });
        }
        executor.run_backwards();
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "task 4: failure 4");
        let others = error.others().errors;
        let told: Vec<_> = others
            .iter()
            .map(|other| other.name().unwrap().as_str())
            .collect();
        assert_eq!(told, ["task 3", "task 2", "task 1", "task 0"]);
    }

    /// "`next` gives results as they complete and frees them": failures, too.
    #[test]
    fn failure_is_freed_once_next_has_told_it() {
        #[derive(Debug, thiserror::Error)]
        #[error("refused")]
        struct Refused(Life);
        let executor = Executor::new();
        let mut group = group::<()>(&executor).with_ending(Ending::Settle);
        let living = Living::default();
        for count in 0..2 {
            let refused = Refused(living.one());
            group.spawn(async move { Err(refused) });
            executor.run();
            assert_eq!(living.count(), 1 + count.min(1));
            drop(Polled::new(group.next()).ready().unwrap().unwrap_err());
        }
        assert_eq!(
            living.count(),
            1,
            "the first is kept: it may be what the group ends with"
        );
    }

    /// Names are kept by place, however many had none before.
    #[test]
    fn task_with_a_name_fails_among_many_without() {
        for before in [3, 4, 5, 40] {
            let executor = Executor::new();
            let mut group = group(&executor);
            for number in 0..before {
                group.spawn(async move { Ok::<_, Infallible>(number) });
            }
            group.spawn_named("profile", async move { Ok::<_, Infallible>(before) });
            executor.run();
            for number in 0..=before {
                let (name, result) = Polled::new(group.next_named()).ready().unwrap();
                let expected = if number == before {
                    "profile".to_owned()
                } else {
                    format!("task {number}")
                };
                assert_eq!(
                    (name.as_str(), result.unwrap()),
                    (expected.as_str(), number)
                );
            }
            for number in 0..=before {
                group.spawn(async move { Ok::<_, Infallible>(number) });
            }
            executor.run();
            let named = executor.drive(group.wait_named()).unwrap();
            assert!(
                named.iter().all(|(name, _)| name.starts_with("task ")),
                "{named:?}"
            );
        }
    }

    /// "Failures are tolerated": what ends the group is the cancellation.
    #[test]
    fn context_is_cancelled_after_a_failure_that_was_tolerated() {
        let (parent, canceller) = Context::background().with_cancel();
        let executor = Executor::new();
        let (group, _) = Group::<_, u32>::with_context(&parent, executor.spawner());
        let group = group.with_ending(Ending::FirstOk);
        let living = Living::default();
        group.spawn(async { Err("refused") });
        group.spawn(stuck(living.one()));
        executor.run();
        canceller.cancel_with("client went away");
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "context canceled: client went away");
    }

    /// A place that is used again has nothing of the task before.
    #[test]
    fn task_without_a_name_fails_in_the_place_of_one_with_a_name() {
        let executor = Executor::new();
        let mut group = group(&executor);
        group.spawn_named("profile", async { Ok::<_, Infallible>(1) });
        executor.run();
        assert_eq!(Polled::new(group.next()).ready().unwrap().unwrap(), 1);
        group.spawn(async { Err::<u32, _>("refused") });
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "task 1: refused");
    }

    /// "A panic is contained in the task, cancels the siblings like an error, and is reported as one."
    #[test]
    fn task_panics() {
        let Pair {
            executor,
            group,
            living,
            ..
        } = pair(|group| group);
        group.spawn_named("orders", async {
            if true {
                panic!("index out of bounds");
            }
            Ok::<_, Infallible>(0)
        });
        let ctx = group.context().clone();
        let error = executor.drive(group.wait()).unwrap_err();
        assert!(matches!(&error, Error::Panicked { name, .. } if name == "orders"));
        assert_eq!(error.to_string(), "orders: panicked: index out of bounds");
        assert_eq!(ctx.cause().unwrap().to_string(), error.to_string());
        assert_eq!(living.count(), 0);
    }

    /// "payload kept; `resume_unwind`"
    #[test]
    fn panic_with_a_payload_that_is_no_text() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        group.spawn(async {
            std::panic::panic_any(42_u64);
            #[expect(unreachable_code, reason = "it gives the task its type")]
            Ok::<_, Infallible>(())
        });
        let error = executor.drive(group.wait()).unwrap_err();
        let resumed =
            std::panic::catch_unwind(AssertUnwindSafe(|| error.resume_unwind())).unwrap_err();
        assert_eq!(resumed.downcast_ref::<u64>(), Some(&42));
    }

    #[test]
    fn resume_unwind_of_what_is_no_panic_returns() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        group.spawn(async { Err("an error") });
        executor.drive(group.wait()).unwrap_err().resume_unwind();
    }

    /// "a `Task` dropped before it completed is reported as `Error::Lost`, with its name"
    #[test]
    fn executor_drops_a_task() {
        let pair = pair(|group| group);
        pair.executor.lose(1);
        let error = pair.executor.drive(pair.group.wait()).unwrap_err();
        assert!(matches!(&error, Error::Lost { name, .. } if name == "two"));
        assert!(error.to_string().starts_with("two: lost"));
        assert_eq!(pair.living.count(), 0);
        drop(pair.one);
    }

    /// "Parent ends while all tasks succeed: `Ok`."
    #[test]
    fn tasks_succeed_though_the_parent_has_ended() {
        let executor = Executor::new();
        let (parent, canceller) = Context::background().with_cancel();
        let (group, ctx) = Group::with_context(&parent, executor.spawner());
        let living = Living::default();
        group.spawn(until_done(ctx.clone(), living.one(), 1));
        group.spawn(until_done(ctx, living.one(), 2));
        executor.run();
        canceller.cancel();
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
        assert_eq!(living.count(), 0);
    }

    /// "Parent already ended: no task starts, `Error::Context`."
    #[test]
    fn parent_had_ended_before_the_group_was_made() {
        let executor = Executor::new();
        let late = Context::background().with_timeout(Duration::ZERO);
        let (group, ctx) = Group::with_context(&late, executor.spawner());
        let living = Living::default();
        let life = living.one();
        group.spawn(async move {
            let _life = life;
            unreachable!("it must not be polled");
            #[expect(unreachable_code, reason = "it gives the task its type")]
            Ok::<_, Infallible>(())
        });
        assert!(ctx.is_done());
        assert_eq!((executor.spawned(), living.count()), (0, 0));
        let error = executor.drive(group.wait()).unwrap_err();
        assert!(error.is_deadline_exceeded() && !error.is_canceled());
        assert!(matches!(
            error,
            Error::Context {
                error: ContextError::DeadlineExceeded,
                ..
            }
        ));
    }

    /// "The group's context ends with the group, on success too (`Canceled`)."
    #[test]
    fn context_after_success() {
        let executor = Executor::new();
        let (group, ctx) = Group::with_context(&Context::background(), executor.spawner());
        group.spawn(async { Ok::<_, Infallible>(()) });
        executor.run();
        assert!(!ctx.is_done());
        executor.drive(group.wait()).unwrap();
        assert_eq!(ctx.err(), Some(ContextError::Canceled));
        assert_eq!(ctx.cause().unwrap().to_string(), "context canceled");
    }
}

/// "What happened first is the error."
mod first_is_the_error {
    use super::*;

    fn tasks_return(then: impl Fn(Remote<u32>)) -> (Error, Error) {
        let clock = ManualClock::new();
        let parent = Context::background()
            .with_clock(clock.clone())
            .with_timeout(SECOND);
        let by_deadline = ended_by(&parent, |_| clock.advance(SECOND), &then);
        let by_hand = ended_by(
            &Context::background(),
            |group| group.cancel_with(std::io::Error::other("disk full")),
            &then,
        );
        (by_deadline, by_hand)
    }

    fn ended_by(
        parent: &Context,
        end: impl FnOnce(&Manual<u32>),
        then: impl Fn(Remote<u32>),
    ) -> Error {
        let executor = Executor::new();
        let (group, _) = Group::with_context(parent, executor.spawner());
        let group = group.with_grace(SECOND);
        let living = Living::default();
        let (one, task) = remote::<_, &str>(&living);
        group.spawn(task);
        let (two, task) = remote::<_, &str>(&living);
        group.spawn(task);
        executor.run();
        end(&group);
        two.succeed(2);
        then(one);
        executor.run();
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(living.count(), 0);
        error
    }

    #[test]
    fn context_ends_before_a_task_fails() {
        let (deadline, by_hand) = tasks_return(|task| task.fail("context deadline exceeded"));
        assert!(deadline.is_deadline_exceeded());
        assert_eq!(deadline.to_string(), "context deadline exceeded");
        assert!(by_hand.is_canceled());
        assert_eq!(by_hand.to_string(), "context canceled: disk full");
        assert!(by_hand.downcast_ref::<std::io::Error>().is_some());
    }

    #[test]
    fn parent_is_cancelled_before_a_task_panics() {
        let executor = Executor::new();
        let (parent, canceller) = Context::background().with_cancel();
        let (group, ctx) = Group::<_, ()>::with_context(&parent, executor.spawner());
        group.spawn(async move {
            ctx.done().await;
            if ctx.is_done() {
                panic!("out of order");
            }
            Ok::<_, Infallible>(())
        });
        executor.run();
        canceller.cancel_with("client went away");
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "context canceled: client went away");
    }

    #[test]
    fn task_fails_before_the_deadline() {
        let clock = ManualClock::new();
        let parent = Context::background()
            .with_clock(clock.clone())
            .with_timeout(SECOND);
        let executor = Executor::new();
        let (group, ctx) = Group::<_, ()>::with_context(&parent, executor.spawner());
        group.spawn(async { Err("refused") });
        executor.run();
        clock.advance(SECOND);
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "task 0: refused");
        assert!(!error.is_deadline_exceeded() && !error.is_canceled());
        assert_eq!(ctx.err(), Some(ContextError::Canceled));
    }

    /// `cancel_with(cause)` "ends a group without a failure".
    #[test]
    fn cancel_with_after_all_succeeded() {
        let executor = Executor::new();
        let group = group(&executor);
        group.spawn(async { Ok::<_, Infallible>(1) });
        executor.run();
        group.cancel_with("too late");
        assert_eq!(executor.drive(group.wait()).unwrap(), [1]);
    }
}

/// "One error shape."
mod error_shape {
    use super::*;
    use std::error::Error as _;

    #[derive(Debug, thiserror::Error)]
    #[error("connection refused")]
    struct Refused(#[source] std::io::Error);

    fn failed(name: Option<&'static str>) -> (Error, Context) {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let ctx = group.context().clone();
        for _ in 0..3 {
            group.spawn(async { Ok::<_, Infallible>(()) });
        }
        let fail = async { Err(Refused(std::io::Error::other("port closed"))) };
        match name {
            Some(name) => group.spawn_named(name, fail),
            None => group.spawn(fail),
        }
        (executor.drive(group.wait()).unwrap_err(), ctx)
    }

    #[test]
    fn display_of_named_and_unnamed() {
        assert_eq!(
            failed(Some("profile")).0.to_string(),
            "profile: connection refused"
        );
        assert_eq!(failed(None).0.to_string(), "task 3: connection refused");
    }

    #[test]
    fn source_leads_to_the_tasks_own_error_and_on() {
        let (error, _) = failed(Some("profile"));
        let own = error.source().unwrap();
        assert_eq!(own.to_string(), "connection refused");
        assert_eq!(own.source().unwrap().to_string(), "port closed");
        assert!(own.source().unwrap().source().is_none());
    }

    #[test]
    fn downcast_gets_the_tasks_error_back() {
        let (error, _) = failed(Some("profile"));
        assert!(error.downcast_ref::<Refused>().is_some());
        assert!(error.downcast_ref::<std::io::Error>().is_some());
        assert!(error.downcast_ref::<std::fmt::Error>().is_none());
    }

    /// "It is shared, not copied, with the context's cause."
    #[test]
    fn clones_and_the_cause_share_the_error() {
        let (error, ctx) = failed(Some("profile"));
        let address = |error: &Refused| std::ptr::from_ref(error);
        let one = address(error.downcast_ref().unwrap());
        assert_eq!(one, address(error.clone().downcast_ref().unwrap()));
        assert_eq!(one, address(ctx.cause().unwrap().downcast_ref().unwrap()));
        assert_eq!(
            ctx.cause().unwrap().to_string(),
            "profile: connection refused"
        );
    }

    #[test]
    fn error_is_clone_send_and_sync() {
        fn check<E: Clone + Send + Sync + 'static>() {}
        check::<Error>();
    }
}

/// "Nothing outlives `wait`", and the ladder of cancellation.
mod ladder {
    use super::*;

    /// "each task is woken and polled once more, with its context already done, then dropped"
    #[test]
    fn sibling_that_never_looks_is_polled_once_more() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let living = Living::default();
        let (life, ctx) = (living.one(), group.context().clone());
        let polls = Arc::new(Mutex::new(Vec::new()));
        let seen = polls.clone();
        group.spawn(poll_fn(move |_| {
            let _ = &life;
            seen.lock().unwrap().push(ctx.is_done());
            Poll::<Result<(), Infallible>>::Pending
        }));
        let (fail, task) = remote::<(), &str>(&living);
        group.spawn(task);
        executor.run();
        fail.fail("refused");
        executor.poll(1);
        assert_eq!(executor.wakes(0), 1);
        assert!(executor.poll(0), "dropped after that poll");
        assert_eq!(*polls.lock().unwrap(), [false, true]);
        assert_eq!(living.count(), 0);
        assert!(executor.drive(group.wait()).is_err());
    }

    /// A task that finishes with Ok during all this is finished, not failed.
    #[test]
    fn sibling_finishes_in_its_last_poll() {
        let executor = Executor::new();
        let group = group(&executor).with_ending(Ending::Settle);
        let living = Living::default();
        group.spawn(until_done(group.context().clone(), living.one(), 1));
        group.spawn(stuck(living.one()));
        executor.run();
        group.cancel_with("enough");
        let outcomes = executor.drive(group.outcomes()).unwrap();
        assert_eq!(outcomes[0].1.as_ref().unwrap(), &1);
        assert!(outcomes[1].1.as_ref().unwrap_err().is_canceled());
        assert_eq!(living.count(), 0);
    }

    /// "It returns when every task's future has been dropped."
    #[test]
    fn wait_while_a_task_is_not_polled_any_more() {
        let pair = pair(|group| group);
        pair.one.fail("refused");
        pair.executor.poll(0);
        let mut wait = Polled::new(pair.group.wait());
        assert!(wait.is_pending());
        assert_eq!(pair.living.count(), 1);
        pair.executor.poll(1);
        assert_eq!(pair.living.count(), 0);
        assert_eq!(wait.wakes(), 1);
        assert!(wait.ready().is_err());
        drop(pair.two);
    }

    /// "`with_grace(d)` gives them `d` to finish on their own first."
    #[test]
    fn grace_passes() {
        let clock = ManualClock::new();
        let executor = Executor::new();
        let parent = Context::background().with_clock(clock.clone());
        let (group, ctx) = Group::with_context(&parent, executor.spawner());
        let group = group.with_grace(SECOND);
        let living = Living::default();
        group.spawn(stuck::<u32>(living.one()));
        let cleanup = ctx.clone();
        let life = living.one();
        let tidy = clock.clone();
        group.spawn(async move {
            let _life = life;
            cleanup.done().await;
            let soon = tidy.now() + SECOND / 2;
            failfast::Clock::sleep_until(&tidy, soon).await?;
            Ok::<_, failfast::BoxError>(2)
        });
        executor.run();
        group.cancel_with("enough");
        let mut wait = Polled::new(group.wait_named());
        executor.run();
        assert!(wait.is_pending());
        assert_eq!(living.count(), 2);
        clock.advance(SECOND / 2);
        executor.run();
        assert_eq!(living.count(), 1, "it finished on its own");
        clock.advance(SECOND / 2 - Duration::from_nanos(1));
        executor.run();
        assert_eq!(living.count(), 1);
        let polls = executor.polls(0);
        clock.advance(Duration::from_nanos(1));
        executor.run();
        assert_eq!(living.count(), 0);
        assert_eq!(executor.polls(0), polls + 1, "one call, to drop it");
        assert!(wait.ready().unwrap_err().is_canceled());
        assert_eq!(clock.armed(), 0);
    }

    /// "with_straggler_limit(d) bounds the wait …; what is still running then is named in the error."
    #[test]
    fn stragglers_are_named_after_grace_and_limit() {
        let clock = ManualClock::new();
        let executor = Executor::new();
        let parent = Context::background().with_clock(clock.clone());
        let (group, _) = Group::<_, u32>::with_context(&parent, executor.spawner());
        let group = group
            .with_grace(SECOND)
            .with_straggler_limit(2 * SECOND)
            .with_limit(at_most(3));
        let living = Living::default();
        group.spawn_named("slow", stuck(living.one()));
        group.spawn_named("quick", stuck(living.one()));
        group.spawn_named("slower", stuck(living.one()));
        group.spawn_named("queued", stuck(living.one()));
        executor.run();
        group.cancel_with("enough");
        let mut wait = Polled::new(group.wait());
        assert!(wait.is_pending());
        clock.advance(SECOND);
        executor.poll(1); // the others block their threads: nobody polls them
        clock.advance(2 * SECOND - Duration::from_nanos(1));
        assert!(wait.is_pending());
        clock.advance(Duration::from_nanos(1));
        let error = wait.ready().unwrap_err();
        let Error::Stragglers {
            names,
            after,
            error: first,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(**names, ["slow", "slower"]);
        assert_eq!(*after, 2 * SECOND);
        assert_eq!(first.to_string(), "context canceled: enough");
        assert!(error.is_canceled());
        drop(wait);
        executor.run();
        assert_eq!(
            living.count(),
            0,
            "they are still dropped as soon as they come back"
        );
    }

    /// The same with a thread that is really blocked, in real time.
    #[test]
    fn straggler_blocks_its_thread() {
        let pool = futures::executor::ThreadPool::builder()
            .pool_size(2)
            .create()
            .unwrap();
        let group = Group::new(move |task| pool.spawn_ok(task)).with_straggler_limit(SECOND / 10);
        let (sender, blocked) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel();
        group.spawn_named("blocker", async move {
            started.send(()).unwrap();
            let _ = blocked.recv();
            Ok::<_, Infallible>(())
        });
        starts.recv().unwrap();
        group.spawn_named("profile", async { Err("refused") });
        let error = futures::executor::block_on(group.wait()).unwrap_err();
        assert!(matches!(&error, Error::Stragglers { names, .. } if **names == ["blocker"]));
        assert!(error.to_string().ends_with("blocker"), "{error}");
        let first = std::error::Error::source(&error).unwrap();
        assert_eq!(first.to_string(), "profile: refused");
        drop(sender);
    }

    /// No limit is needed where all come back in time: no error, no timer left.
    #[test]
    fn straggler_limit_is_not_reached() {
        let clock = ManualClock::new();
        let executor = Executor::new();
        let parent = Context::background().with_clock(clock.clone());
        let (group, _) = Group::<_, u32>::with_context(&parent, executor.spawner());
        let group = group.with_straggler_limit(SECOND);
        let living = Living::default();
        group.spawn(stuck(living.one()));
        group.cancel_with("enough");
        assert!(executor.drive(group.wait()).unwrap_err().is_canceled());
        assert_eq!(clock.armed(), 0);
        assert_eq!(living.count(), 0);
    }

    /// "Dropping the group, or the `wait` future, cancels every task."
    #[test]
    fn group_and_wait_and_next_are_dropped() {
        for how in 0..3 {
            let pair = pair(|group| group.with_grace(SECOND).with_limit(at_most(2)));
            let ctx = pair.group.context().clone();
            pair.group.spawn(stuck(pair.living.one())); // in the queue: dropped at once
            match how {
                0 => drop(pair.group),
                1 => drop(pair.group.wait()),
                _ => {
                    let mut wait = Polled::new(pair.group.wait());
                    assert!(wait.is_pending());
                }
            }
            assert!(ctx.is_done());
            assert_eq!(pair.living.count(), 2);
            assert_eq!(pair.executor.woken(), [0, 1]);
            pair.executor.run();
            assert_eq!(pair.living.count(), 0);
            assert!(pair.executor.alive().is_empty());
            drop((pair.one, pair.two));
        }
    }

    #[test]
    fn group_in_place_is_dropped() {
        let living = Living::default();
        let group = Group::<_, u32>::in_place(&Context::background());
        group.spawn(stuck(living.one()));
        let handle = group.handle();
        let life = living.one();
        group.spawn(async move {
            let _all = (handle, life); // a cycle: the group holds the task, which holds the group
            pending::<Result<u32, Infallible>>().await
        });
        let mut wait = Polled::new(group.wait());
        assert!(wait.is_pending());
        drop(wait);
        assert_eq!(living.count(), 0);
    }
}

mod limits {
    use super::*;

    /// "at most n run. `spawn` queues beyond it"
    #[test]
    fn twenty_tasks_at_a_limit_of_three() {
        let executor = Executor::new();
        let group = group(&executor).with_limit(at_most(3));
        let running = Arc::new(AtomicUsize::new(0));
        for number in 0..20 {
            let running = running.clone();
            group.spawn(async move {
                assert!(running.fetch_add(1, SeqCst) < 3);
                let mut first = true;
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    match std::mem::take(&mut first) {
                        true => Poll::Pending,
                        false => Poll::Ready(()),
                    }
                })
                .await;
                running.fetch_sub(1, SeqCst);
                Ok::<_, Infallible>(number)
            });
        }
        assert_eq!(executor.spawned(), 3);
        assert_eq!(executor.drive(group.wait()).unwrap(), Vec::from_iter(0..20));
    }

    /// "`try_spawn(f) -> Result<(), F>` hands the future back"
    #[test]
    fn try_spawn_at_the_limit_and_below() {
        let executor = Executor::new();
        let group = group(&executor).with_limit(at_most(1));
        let living = Living::default();
        let (one, task) = remote::<_, &str>(&living);
        assert!(group.try_spawn(task).is_ok());
        let Err(back) = group.try_spawn(ready(Ok::<_, Infallible>(2))) else {
            panic!("the limit is reached");
        };
        one.succeed(1);
        executor.run();
        assert!(group.try_spawn(back).is_ok());
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
    }

    #[test]
    fn try_spawn_after_the_end_hands_the_future_back() {
        let executor = Executor::new();
        let group = group(&executor);
        group.cancel_with("enough");
        assert!(group.try_spawn(ready(Ok::<_, Infallible>(1))).is_err());
        assert_eq!(
            executor.drive(group.wait()).unwrap(),
            [],
            "nobody was promised anything"
        );
    }

    /// `ready` is "first come, first served".
    #[test]
    fn three_wait_for_one_place() {
        let pair = pair(|group| group.with_limit(at_most(2)));
        let mut line: Vec<_> = (0..3).map(|_| Polled::new(pair.group.ready())).collect();
        assert!(line.iter_mut().all(Polled::is_pending));
        pair.one.succeed(1);
        pair.executor.run();
        let wakes: Vec<_> = line.iter().map(Polled::wakes).collect();
        assert_eq!(wakes, [1, 0, 0]);
        assert!(line[1].is_pending(), "it is not its turn");
        line[0].ready().unwrap();
        assert!(pair.group.try_spawn(ready(Ok::<_, Infallible>(3))).is_ok());
        assert!(line[1].is_pending());
        pair.executor.run();
        line[1].ready().unwrap();
        line[2].ready().unwrap();
        drop((line, pair.two));
    }

    /// "A dropped front waiter passes its turn": no permit is lost (hazard 19).
    #[test]
    fn front_waiter_is_dropped_after_it_was_woken() {
        let pair = pair(|group| group.with_limit(at_most(2)));
        let mut front = Polled::new(pair.group.ready());
        let mut second = Polled::new(pair.group.ready());
        assert!(front.is_pending() && second.is_pending());
        pair.one.succeed(1);
        pair.executor.run();
        assert_eq!((front.wakes(), second.wakes()), (1, 0));
        drop(front);
        assert_eq!(second.wakes(), 1);
        second.ready().unwrap();
        drop((second, pair.two));
    }

    #[test]
    fn front_waiter_is_ready_and_does_not_use_its_place() {
        let pair = pair(|group| group.with_limit(at_most(2)));
        let mut front = Polled::new(pair.group.ready());
        let mut second = Polled::new(pair.group.ready());
        assert!(front.is_pending() && second.is_pending());
        pair.one.succeed(1);
        pair.executor.run();
        front.ready().unwrap();
        assert_eq!(second.wakes(), 1);
        second.ready().unwrap();
        drop((front, second, pair.two));
    }

    /// "released by cancellation"
    #[test]
    fn group_is_cancelled_while_two_wait_for_a_place() {
        let pair = pair(|group| group.with_limit(at_most(2)));
        let mut line: Vec<_> = (0..2).map(|_| Polled::new(pair.group.ready())).collect();
        assert!(line.iter_mut().all(Polled::is_pending));
        pair.group.cancel_with("enough");
        for one in &mut line {
            assert_eq!(one.wakes(), 1);
            assert!(one.ready().unwrap_err().is_canceled());
        }
        drop((line, pair.one, pair.two));
    }

    /// "Queued work is skipped after a failure", unpolled, and told apart from finished work.
    #[test]
    fn task_fails_before_those_in_the_queue() {
        let executor = Executor::new();
        let group = group::<()>(&executor).with_limit(at_most(1));
        let living = Living::default();
        group.spawn(async { Err("refused") });
        for _ in 0..5 {
            let life = living.one();
            group.spawn(async move {
                let _life = life;
                unreachable!("it must not be polled");
                #[expect(unreachable_code, reason = "it gives the task its type")]
                Ok::<_, Infallible>(())
            });
        }
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "task 0: refused");
        assert_eq!(error.others().errors.len(), 0);
        assert_eq!(living.count(), 0);
    }

    #[test]
    fn outcomes_of_those_that_were_skipped() {
        let executor = Executor::new();
        let group = group(&executor)
            .with_limit(at_most(1))
            .with_ending(Ending::Settle);
        let living = Living::default();
        group.spawn(until_done(group.context().clone(), living.one(), 1));
        group.spawn(until_done(group.context().clone(), living.one(), 2));
        executor.run();
        group.cancel_with("enough");
        let outcomes = executor.drive(group.outcomes()).unwrap();
        assert_eq!(outcomes[0].1.as_ref().unwrap(), &1);
        let skipped = outcomes[1].1.as_ref().unwrap_err();
        assert_eq!(skipped.to_string(), "context canceled: enough");
        assert_eq!(living.count(), 0);
    }

    /// A wider limit has room for some of those who wait.
    #[test]
    fn limit_is_raised_while_tasks_are_queued() {
        let executor = Executor::new();
        let mut group = group(&executor).with_limit(at_most(1));
        for number in 0..4 {
            group.spawn(async move { Ok::<_, Infallible>(number) });
        }
        assert_eq!(executor.spawned(), 1);
        group = group.with_limit(at_most(3));
        assert_eq!(executor.spawned(), 3);
        assert_eq!(executor.drive(group.wait()).unwrap(), [0, 1, 2, 3]);
    }
}

/// "A task may spawn into its own group through `group.handle()`."
mod handles {
    use super::*;

    /// "also during `wait` and at the limit, without deadlock"
    #[test]
    fn task_spawns_a_tree_of_tasks_at_a_limit_of_one() {
        type Handle = failfast::GroupHandle<crate::executor::Shared, u32>;
        fn node(
            handle: Handle,
            depth: u32,
        ) -> futures::future::BoxFuture<'static, Result<u32, &'static str>> {
            async move {
                for _ in 0..if depth > 0 { 2 } else { 0 } {
                    handle
                        .spawn(node(handle.clone(), depth - 1))
                        .map_err(|_| "ended")?;
                }
                Ok(depth)
            }
            .boxed()
        }
        let executor = Executor::new();
        let group = group(&executor).with_limit(at_most(1));
        group.spawn(node(group.handle(), 5));
        let mut all = executor.drive(group.wait()).unwrap();
        assert_eq!(all.len(), 63);
        all.sort_unstable();
        assert_eq!((all[0], all[62]), (0, 5));
    }

    /// "after the end it gets its future back"
    #[test]
    fn spawn_after_wait_returned() {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let handle = group.handle();
        executor.drive(group.wait()).unwrap();
        let back = handle.spawn(ready(Ok::<_, Infallible>(1))).unwrap_err();
        assert_eq!(back.into_inner().unwrap(), 1);
        assert!(
            handle
                .clone()
                .try_spawn(pending::<Result<u32, Infallible>>())
                .is_err()
        );
        assert!(
            handle
                .spawn_named("late", pending::<Result<u32, Infallible>>())
                .is_err()
        );
        assert!(handle.context().is_done());
        assert_eq!(executor.spawned(), 0);
    }

    #[test]
    fn spawn_after_the_group_was_dropped() {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let handle = group.handle();
        drop(group);
        assert!(handle.spawn(ready(Ok::<_, Infallible>(1))).is_err());
    }

    #[test]
    fn task_in_place_spawns_during_wait() {
        let executor = Executor::<failfast::Task>::new();
        let group = LocalGroup::in_place(&Context::background()).with_limit(at_most(1));
        let handle = group.handle();
        group.spawn(async move {
            let shared = Rc::new(1);
            let other = shared.clone();
            handle
                .spawn(async move { Ok::<_, Infallible>(other) })
                .map_err(|_| "ended")?;
            Ok::<_, &str>(shared)
        });
        assert_eq!(
            executor.drive(group.wait()).unwrap(),
            [Rc::new(1), Rc::new(1)]
        );
    }
}

/// The table at `TaskGroup`.
mod endings {
    use super::*;

    /// `FailFast`: all results, or the first failure; the rest cancelled.
    #[test]
    fn fail_fast() {
        let pair = pair(|group| group.with_ending(Ending::FailFast));
        pair.one.fail("refused");
        let error = pair.executor.drive(pair.group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "one: refused");
        assert_eq!(pair.living.count(), 0);
        drop(pair.two);
    }

    /// `Settle`: nothing ends it early; all results, or the first failure; the rest runs on.
    #[test]
    fn settle() {
        let pair = pair(|group| group.with_ending(Ending::Settle));
        let ctx = pair.group.context().clone();
        pair.one.fail("refused");
        pair.executor.run();
        assert!(!ctx.is_done());
        assert_eq!(pair.living.count(), 1);
        pair.two.succeed(2);
        let outcomes = pair.executor.drive(pair.group.outcomes()).unwrap();
        assert_eq!(
            outcomes[0].1.as_ref().unwrap_err().to_string(),
            "one: refused"
        );
        assert_eq!(outcomes[1].1.as_ref().unwrap(), &2);
        assert!(ctx.is_done());
    }

    #[test]
    fn settle_and_wait() {
        let failed = pair(|group| group.with_ending(Ending::Settle));
        failed.two.fail("first");
        failed.executor.run();
        failed.one.fail("second");
        let error = failed.executor.drive(failed.group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "two: first");
        assert_eq!(error.others().errors[0].to_string(), "one: second");

        let fine = pair(|group| group.with_ending(Ending::Settle));
        fine.one.succeed(1);
        fine.two.succeed(2);
        assert_eq!(fine.executor.drive(fine.group.wait()).unwrap(), [1, 2]);
    }

    #[test]
    fn settle_and_next_tell_every_failure() {
        let pair = pair(|group| group.with_ending(Ending::Settle));
        let mut group = pair.group;
        pair.one.fail("first");
        pair.executor.run();
        pair.two.fail("second");
        for expected in ["one: first", "two: second"] {
            let told = pair.executor.drive(group.next()).unwrap().unwrap_err();
            assert_eq!(told.to_string(), expected);
        }
        assert!(pair.executor.drive(group.next()).is_none());
    }

    /// `FirstOk`: the first success; that one result; the rest cancelled.
    #[test]
    fn first_ok() {
        let pair = pair(|group| group.with_ending(Ending::FirstOk));
        pair.group.spawn(async { Err("refused") });
        pair.executor.run();
        assert!(!pair.group.context().is_done());
        pair.two.succeed(2);
        assert_eq!(pair.executor.drive(pair.group.wait()).unwrap(), [2]);
        assert_eq!(pair.living.count(), 0);
        drop(pair.one);
    }

    /// … the first failure if none succeeded, and all the others with it.
    #[test]
    fn first_ok_when_all_fail() {
        let executor = Executor::new();
        let group = group::<u32>(&executor).with_ending(Ending::FirstOk);
        for number in 0..30 {
            group.spawn(async move { Err(format!("mirror {number} is down")) });
        }
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "task 0: mirror 0 is down");
        assert_eq!(error.others().errors.len(), 29);
    }

    /// Two succeed at the same time: one result all the same.
    #[test]
    fn first_ok_when_two_succeed() {
        let pair = pair(|group| group.with_ending(Ending::FirstOk).with_grace(SECOND));
        pair.two.succeed(2);
        pair.executor.run();
        pair.one.succeed(1);
        assert_eq!(pair.executor.drive(pair.group.wait()).unwrap(), [2]);
    }

    /// `Quorum(k)`: k successes; the k results; the rest cancelled.
    #[test]
    fn quorum_is_reached() {
        let executor = Executor::new();
        let group = group(&executor).with_ending(Ending::Quorum(at_most(2)));
        let living = Living::default();
        group.spawn(stuck(living.one()));
        group.spawn(async { Ok::<_, Infallible>(1) });
        group.spawn(async { Err("refused") });
        group.spawn(async { Ok::<_, Infallible>(3) });
        group.spawn(async { Ok::<_, Infallible>(4) });
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 3]);
        assert_eq!(living.count(), 0);
    }

    /// … or k out of reach: the first failure; the rest cancelled.
    #[test]
    fn quorum_is_out_of_reach() {
        let executor = Executor::new();
        let group = group::<u32>(&executor).with_ending(Ending::Quorum(at_most(2)));
        let living = Living::default();
        group.spawn(stuck(living.one()));
        group.spawn(stuck(living.one()));
        group.spawn_named("first", async { Err("refused") });
        group.spawn_named("second", async { Err("refused") });
        let mut wait = Polled::new(group.wait());
        executor.poll(2);
        assert!(wait.is_pending());
        executor.run();
        assert!(wait.is_pending(), "two may still succeed");
        executor.lose(0);
        assert!(wait.is_woken());
        assert!(wait.is_pending());
        executor.run();
        let error = wait.ready().unwrap_err();
        assert_eq!(error.to_string(), "first: refused");
        assert_eq!(error.others().errors.len(), 2);
        assert_eq!(living.count(), 0);
    }

    #[test]
    fn quorum_of_too_few_tasks() {
        let executor = Executor::new();
        let group = group(&executor).with_ending(Ending::Quorum(at_most(3)));
        group.spawn(async { Ok::<_, Infallible>(1) });
        let error = executor.drive(group.wait()).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Quorum {
                    needed: 3,
                    succeeded: 1,
                    ..
                }
            ),
            "{error}"
        );
        let empty = super::group::<u32>(&executor).with_ending(Ending::FirstOk);
        assert!(matches!(
            Polled::new(empty.wait()).ready(),
            Err(Error::Quorum {
                needed: 1,
                succeeded: 0,
                ..
            })
        ));
    }

    /// "The context's end ends them all."
    #[test]
    fn context_ends_every_ending() {
        let endings = [
            Ending::FailFast,
            Ending::Settle,
            Ending::FirstOk,
            Ending::Quorum(at_most(2)),
        ];
        for ending in endings {
            let pair = pair(|group| group.with_ending(ending));
            pair.group.cancel_with("enough");
            let error = pair.executor.drive(pair.group.wait()).unwrap_err();
            assert_eq!(error.to_string(), "context canceled: enough", "{ending:?}");
            assert_eq!(pair.living.count(), 0);
            drop((pair.one, pair.two));
        }
    }

    /// An ending is spoilt by no panic and no loss either.
    #[test]
    fn settle_with_a_panic_and_a_loss() {
        let executor = Executor::new();
        let group = group(&executor).with_ending(Ending::Settle);
        group.spawn(async {
            if true {
                panic!("bug");
            }
            Ok::<_, Infallible>(0)
        });
        group.spawn(pending::<Result<u32, Infallible>>());
        group.spawn(async { Ok::<_, Infallible>(2) });
        executor.lose(1);
        let outcomes = executor.drive(group.outcomes()).unwrap();
        assert!(matches!(outcomes[0].1, Err(Error::Panicked { .. })));
        assert!(matches!(outcomes[1].1, Err(Error::Lost { .. })));
        assert_eq!(outcomes[2].1.as_ref().unwrap(), &2);
    }
}

/// `spawn_background`: "cancelled when the main tasks are done; their failure still fails the group".
mod background {
    use super::*;

    #[test]
    fn main_tasks_are_done() {
        let pair = pair(|group| group);
        pair.group.spawn_background(stuck(pair.living.one()));
        pair.executor.run();
        let mut wait = Polled::new(pair.group.wait());
        pair.one.succeed(1);
        pair.executor.run();
        assert!(wait.is_pending());
        assert_eq!(pair.living.count(), 2);
        pair.two.succeed(2);
        pair.executor.run();
        assert!(wait.is_pending());
        pair.executor.run();
        assert_eq!(wait.ready().unwrap(), [1, 2]);
        assert_eq!(pair.living.count(), 0);
    }

    #[test]
    fn background_task_fails() {
        let pair = pair(|group| group);
        pair.group.spawn_background(async { Err("heartbeat lost") });
        let error = pair.executor.drive(pair.group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "task 2: heartbeat lost");
        assert_eq!(pair.living.count(), 0);
        drop((pair.one, pair.two));
    }

    #[test]
    fn background_task_fails_in_a_local_group() {
        let executor = LocalExecutor::new();
        let group = LocalGroup::<_, u32>::new(executor.spawner());
        let lost = Rc::new("heartbeat lost");
        group.spawn_background(async move { Err(*lost) });
        executor.run();
        let error = Polled::new(group.wait()).ready().unwrap_err();
        assert_eq!(error.to_string(), "task 0: heartbeat lost");
    }

    /// An echo of the cancellation is no failure.
    #[test]
    fn background_task_returns_an_error_when_it_is_cancelled() {
        let executor = Executor::new();
        let group = group(&executor);
        let ctx = group.context().clone();
        group.spawn_background(async move {
            ctx.done().await;
            Err("context canceled")
        });
        group.spawn(async { Ok::<_, Infallible>(1) });
        assert_eq!(executor.drive(group.wait()).unwrap(), [1]);
    }

    #[test]
    fn background_task_is_done_before_the_main_tasks() {
        let pair = pair(|group| group.with_limit(at_most(2)));
        pair.group
            .spawn_background(async { Ok::<_, Infallible>(()) });
        pair.executor.run();
        assert_eq!(pair.executor.alive(), [0, 1], "the limit is not for it");
        pair.one.succeed(1);
        pair.two.succeed(2);
        assert_eq!(pair.executor.drive(pair.group.wait()).unwrap(), [1, 2]);
    }

    /// The limit is not for background tasks: or they would wait for whom they serve, or keep them out.
    #[test]
    fn background_task_runs_beside_a_limit_of_one() {
        let executor = Executor::new();
        let living = Living::default();
        let group = group(&executor).with_limit(at_most(1));
        group.spawn_background(stuck(living.one()));
        group.spawn(async { Ok::<_, Infallible>(1) });
        group.spawn_background(stuck(living.one()));
        group.spawn(async { Ok::<_, Infallible>(2) });
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
        assert_eq!(living.count(), 0);
    }

    #[test]
    fn only_background_tasks() {
        let executor = Executor::new();
        let living = Living::default();
        let group = group::<u32>(&executor);
        group.spawn_background(stuck(living.one()));
        assert_eq!(executor.drive(group.wait()).unwrap(), []);
        assert_eq!(living.count(), 0);

        let place = LocalGroup::<_, u32>::in_place(&Context::background());
        place.spawn_background(stuck(living.one()));
        assert_eq!(executor.drive(place.wait()).unwrap(), []);
        assert_eq!(living.count(), 0);
    }

    #[test]
    fn next_does_not_wait_for_background_tasks() {
        let executor = Executor::new();
        let living = Living::default();
        let mut group = group(&executor);
        group.spawn_background(stuck(living.one()));
        group.spawn(async { Ok::<_, Infallible>(1) });
        assert_eq!(executor.drive(group.next()).unwrap().unwrap(), 1);
        assert!(executor.drive(group.next()).is_none());
        assert_eq!(executor.drive(group.wait()).unwrap(), []);
        assert_eq!(living.count(), 0);
    }
}

/// "whoever polls `wait` or `next` polls the tasks (each only when it was woken)"
mod in_place {
    use super::*;

    /// A task that counts its polls and can be woken, and be told to end.
    #[derive(Clone, Default)]
    struct Lamp(Rc<State>);

    /// How often it was polled, whether it may end, and who wakes it.
    type State = (Cell<usize>, Cell<bool>, Cell<Option<Waker>>);

    impl Lamp {
        fn task(&self, value: u32) -> impl Future<Output = Result<u32, Infallible>> + use<> {
            let lamp = self.clone();
            poll_fn(move |cx| {
                let (polls, on, waker) = &*lamp.0;
                polls.set(polls.get() + 1);
                waker.set(Some(cx.waker().clone()));
                if on.get() {
                    Poll::Ready(Ok(value))
                } else {
                    Poll::Pending
                }
            })
        }

        fn polls(&self) -> usize {
            self.0.0.get()
        }

        fn wake(&self) {
            self.0.2.take().unwrap().wake();
        }

        fn end(&self) {
            self.0.1.set(true);
            self.wake();
        }
    }

    #[test]
    fn each_task_is_polled_only_when_it_was_woken() {
        let lamps: Vec<Lamp> = (0..10).map(|_| Lamp::default()).collect();
        let group = LocalGroup::in_place(&Context::background());
        for (number, lamp) in (0..).zip(&lamps) {
            group.spawn(lamp.task(number));
        }
        let polls = || lamps.iter().map(Lamp::polls).collect::<Vec<_>>();
        let mut wait = Polled::new(group.wait());
        assert_eq!(polls(), [0; 10], "nothing before the first poll");
        assert!(wait.is_pending() && wait.is_pending());
        assert_eq!(polls(), [1; 10]);
        lamps[3].wake();
        assert_eq!(wait.wakes(), 1);
        assert!(wait.is_pending());
        assert_eq!(polls(), [1, 1, 1, 2, 1, 1, 1, 1, 1, 1]);
        lamps.iter().for_each(Lamp::end);
        assert_eq!(wait.wakes(), 2, "one wake-up is enough for all of them");
        assert_eq!(wait.ready().unwrap(), Vec::from_iter(0..10));
        assert_eq!(polls(), [2, 2, 2, 3, 2, 2, 2, 2, 2, 2]);
    }

    /// "Same engine, same semantics": a failure ends the others, in the same poll.
    #[test]
    fn task_fails() {
        let living = Living::default();
        let group = Group::<_, u32>::in_place(&Context::background());
        group.spawn(stuck(living.one()));
        group.spawn_named("profile", async { Err("refused") });
        group.spawn(stuck(living.one()));
        let executor = Executor::<failfast::Task>::new();
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "profile: refused");
        assert_eq!(living.count(), 0);
    }

    #[test]
    fn task_panics_and_parent_ends() {
        let executor = Executor::<failfast::Task>::new();
        let group = Group::<_, u32>::in_place(&Context::background());
        group.spawn(async {
            if true {
                panic!("bug");
            }
            Ok::<_, Infallible>(0)
        });
        assert!(matches!(
            executor.drive(group.wait()),
            Err(Error::Panicked { .. })
        ));

        let living = Living::default();
        let (parent, canceller) = Context::background().with_cancel();
        let group = Group::<_, u32>::in_place(&parent);
        group.spawn(stuck(living.one()));
        let mut wait = Polled::new(group.wait());
        assert!(wait.is_pending());
        canceller.cancel();
        assert!(wait.is_woken());
        assert!(
            executor
                .drive(async move { poll_fn(|_| wait.poll()).await })
                .unwrap_err()
                .is_canceled()
        );
        assert_eq!(living.count(), 0);
    }

    #[test]
    fn next_in_the_order_of_completion() {
        let lamps: Vec<Lamp> = (0..3).map(|_| Lamp::default()).collect();
        let mut group = LocalGroup::in_place(&Context::background());
        for (number, lamp) in (0..).zip(&lamps) {
            group.spawn(lamp.task(number));
        }
        for number in [2, 0, 1] {
            let mut next = Polled::new(group.next());
            assert!(next.is_pending());
            lamps[number as usize].end();
            assert_eq!(next.ready().unwrap().unwrap(), number);
        }
        assert!(Polled::new(group.next()).ready().is_none());
    }

    #[test]
    fn limit_in_place() {
        let executor = Executor::<failfast::Task>::new();
        let group = LocalGroup::in_place(&Context::background()).with_limit(at_most(2));
        for number in 0..9 {
            group.spawn(async move { Ok::<_, Infallible>(number) });
        }
        assert_eq!(executor.drive(group.wait()).unwrap(), Vec::from_iter(0..9));
    }

    /// The other flavour with an executor: one engine, the same cases.
    #[test]
    fn local_tasks_share_an_rc() {
        let executor = LocalExecutor::new();
        let group = LocalGroup::new(executor.spawner());
        let sum = Rc::new(Cell::new(0));
        for number in 0..5 {
            let sum = sum.clone();
            group.spawn(async move {
                sum.set(sum.get() + number);
                Ok::<_, Infallible>(sum.get())
            });
        }
        assert_eq!(executor.drive(group.wait()).unwrap(), [0, 1, 3, 6, 10]);
    }
}

/// What went wrong once.
mod corners {
    use super::*;

    /// A result is due from whoever is in the queue, though the task before it was lost.
    #[test]
    fn queue_goes_on_after_a_task_was_lost() {
        let executor = Executor::new();
        let group = Group::new(executor.spawner())
            .with_limit(at_most(1))
            .with_ending(Ending::Settle);
        group.spawn(pending::<Result<u32, &str>>());
        group.spawn(async { Ok::<_, &str>(2) });
        executor.lose(0);
        let outcomes = executor.drive(group.outcomes()).unwrap();
        assert!(matches!(outcomes[0].1, Err(Error::Lost { .. })));
        assert_eq!(outcomes[1].1.as_ref().unwrap(), &2);
    }

    /// `ready` is served though the task before the queue was lost.
    #[test]
    fn ready_comes_after_a_task_was_lost_before_the_queue() {
        let executor = Executor::new();
        let group = Group::new(executor.spawner())
            .with_limit(at_most(1))
            .with_ending(Ending::Settle);
        group.spawn(pending::<Result<u32, &str>>());
        group.spawn(async { Ok::<_, &str>(2) });
        let mut turn = Polled::new(group.ready());
        assert!(turn.is_pending());
        executor.lose(0);
        while turn.is_woken() && turn.is_pending() {
            executor.run();
        }
        turn.ready().unwrap();
    }

    #[test]
    fn background_task_beyond_the_first_places_ends_while_next_is_called() {
        let executor = Executor::new();
        let mut group = Group::new(executor.spawner());
        for number in 0..4 {
            group.spawn(async move { Ok::<_, Infallible>(number) });
        }
        group.spawn_background(async { Ok::<_, Infallible>(()) });
        for number in 0..4 {
            assert_eq!(executor.drive(group.next()).unwrap().unwrap(), number);
        }
        assert!(executor.drive(group.next()).is_none());
    }

    /// "frees them": also those that came out of the queue, on an executor with handles.
    #[test]
    fn queued_tasks_are_freed_as_they_are_taken() {
        struct Handle;
        impl Drop for Handle {
            fn drop(&mut self) {}
        }
        let executor = Executor::new();
        let spawner = executor.spawner();
        let mut group = Group::new(move |task| {
            failfast::Spawn::spawn(&spawner, task);
            Handle
        })
        .with_limit(at_most(1));
        for number in 0..10 {
            group.spawn(async move { Ok::<_, Infallible>(number) });
        }
        for number in 0..10 {
            assert_eq!(executor.drive(group.next()).unwrap().unwrap(), number);
        }
        assert_eq!(executor.drive(group.outcomes()).unwrap().len(), 0);
    }

    #[test]
    fn in_place_task_takes_the_place_of_one_that_woke_itself_last() {
        let executor = Executor::<failfast::Task>::new();
        let mut group = Group::in_place(&Context::background());
        group.spawn(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(Ok::<_, Infallible>(1))
        }));
        assert_eq!(executor.drive(group.next()).unwrap().unwrap(), 1);
        assert!(executor.drive(group.next()).is_none());
        group.spawn(async { Ok::<_, Infallible>(2) });
        assert_eq!(executor.drive(group.next()).unwrap().unwrap(), 2);
    }

    /// "each only when it was woken": by its own waker, not by that of one before it.
    #[test]
    fn in_place_task_is_not_polled_for_a_late_wake_of_one_before_it() {
        let executor = Executor::<failfast::Task>::new();
        let mut group = Group::in_place(&Context::background());
        let late = Arc::new(Mutex::new(None::<Waker>));
        let keep = late.clone();
        group.spawn(poll_fn(move |cx| {
            *keep.lock().unwrap() = Some(cx.waker().clone());
            Poll::Ready(Ok::<_, Infallible>(1))
        }));
        assert_eq!(executor.drive(group.next()).unwrap().unwrap(), 1);
        let polls = Arc::new(AtomicUsize::new(0));
        let count = polls.clone();
        group.spawn(poll_fn(move |_| {
            count.fetch_add(1, SeqCst);
            Poll::<Result<u32, Infallible>>::Pending
        }));
        let mut wait = Polled::new(group.wait());
        assert!(wait.is_pending());
        assert_eq!(polls.load(SeqCst), 1);
        late.lock().unwrap().take().unwrap().wake();
        assert!(wait.is_pending());
        assert_eq!(polls.load(SeqCst), 1);
    }

    /// "The others' errors are there for who asks", whoever asked for something else before.
    #[test]
    fn others_are_complete_though_ready_told_the_error_before() {
        let executor = Executor::new();
        let group = Group::<_, ()>::new(executor.spawner()).with_grace(SECOND);
        let living = Living::default();
        let (first, task) = remote::<(), &str>(&living);
        group.spawn(task);
        let (second, task) = remote::<(), &str>(&living);
        group.spawn(task);
        executor.run();
        first.fail("first");
        executor.run();
        assert!(Polled::new(group.ready()).ready().is_err());
        second.fail("second");
        executor.run();
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.others().errors.len(), 1);
    }

    /// "Nothing hangs": an error that nobody keeps may panic when it is dropped.
    #[test]
    fn dropped_error_of_one_of_many_panics() {
        #[derive(Debug)]
        struct Bomb(Life);
        impl std::fmt::Display for Bomb {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bomb")
            }
        }
        impl std::error::Error for Bomb {}
        impl Drop for Bomb {
            fn drop(&mut self) {
                if self.0.count() > 17 {
                    panic!("dropped");
                }
            }
        }
        let executor = Executor::new();
        let group = Group::<_, ()>::new(executor.spawner());
        let living = Living::default();
        for _ in 0..18 {
            let bomb = Bomb(living.one());
            group.spawn(poll_fn({
                let mut bomb = Some(bomb);
                move |_| Poll::Ready(Err(bomb.take().unwrap()))
            }));
        }
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "task 0: bomb");
        assert_eq!(error.others().omitted, 1);
    }

    /// The first cause is never lost: nor when the failed future's destructor panics with a bomb.
    #[test]
    fn failed_task_panics_in_drop_with_a_payload_that_panics() {
        struct Payload;
        impl Drop for Payload {
            fn drop(&mut self) {
                panic!("payload dropped");
            }
        }
        struct Fails;
        impl Future for Fails {
            type Output = Result<(), &'static str>;
            fn poll(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> Poll<Self::Output> {
                Poll::Ready(Err("refused"))
            }
        }
        impl Drop for Fails {
            fn drop(&mut self) {
                std::panic::panic_any(Payload);
            }
        }
        let executor = Executor::new();
        let group = Group::new(executor.spawner());
        group.spawn(Fails);
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "task 0: refused");
    }
}

/// "What `spawn` returned is kept until the task has ended".
mod spawned {
    use super::*;
    use crate::support::{Count, OnDrop};

    /// A group whose executor runs nothing by itself, with the tasks it was given, and how many of the
    /// handles that it gave back have been dropped.
    #[allow(clippy::type_complexity)]
    fn observed() -> (
        Group<impl failfast::Spawn<failfast::Task, Handle = OnDrop>, u32>,
        Arc<Mutex<Vec<failfast::Task>>>,
        Count,
    ) {
        let (tasks, dropped) = (Arc::new(Mutex::new(Vec::new())), Count::default());
        let (inbox, count) = (tasks.clone(), dropped.clone());
        let spawn = move |task| {
            inbox.lock().unwrap().push(task);
            OnDrop(count.clone())
        };
        (Group::new(spawn), tasks, dropped)
    }

    /// Runs the executor's next task to its end, and drops it.
    fn run_one(tasks: &Mutex<Vec<failfast::Task>>) {
        let task = tasks.lock().unwrap().pop();
        assert_eq!(task.unwrap().now_or_never(), Some(()));
    }

    #[test]
    fn handle_is_dropped_once_the_result_is_taken() {
        for limit in [None, Some(1)] {
            let (mut group, tasks, dropped) = observed();
            if let Some(limit) = limit {
                group = group.with_limit(at_most(limit));
            }
            for round in 0..3 {
                group.spawn(ready(Ok::<_, Infallible>(5)));
                run_one(&tasks);
                assert_eq!(dropped.get(), round);
                assert_eq!(Polled::new(group.next()).ready().unwrap().unwrap(), 5);
                assert_eq!(dropped.get(), round + 1, "at a limit of {limit:?}");
            }
        }
    }

    #[test]
    fn handle_is_kept_while_the_next_in_the_queue_runs_in_its_task() {
        let (group, tasks, dropped) = observed();
        let mut group = group.with_limit(at_most(1));
        let living = Living::default();
        let (second, task) = remote::<_, Infallible>(&living);
        group.spawn(ready(Ok::<_, Infallible>(1)));
        group.spawn(task);
        let mut running = tasks.lock().unwrap().pop().unwrap();
        assert!((&mut running).now_or_never().is_none());
        assert_eq!(Polled::new(group.next()).ready().unwrap().unwrap(), 1);
        assert_eq!(dropped.get(), 0, "the second would be cancelled");
        second.succeed(2);
        while (&mut running).now_or_never().is_none() {}
        drop(running);
        let handle = group.handle();
        assert_eq!(Polled::new(group.wait()).ready().unwrap(), [2]);
        assert_eq!(dropped.get(), 1);
        drop(handle);
    }

    #[test]
    fn handles_and_results_are_dropped_after_wait_though_a_group_handle_is_kept() {
        let (spawned, tasks, dropped) = observed();
        let results = Count::default();
        drop(spawned);
        let (inbox, count) = (tasks.clone(), dropped.clone());
        let group = Group::new(move |task| {
            inbox.lock().unwrap().push(task);
            OnDrop(count.clone())
        });
        let handle = group.handle();
        let result = OnDrop(results.clone());
        group.spawn(async { Ok::<_, Infallible>(result) });
        group.spawn(async { Err("refused") });
        tasks.lock().unwrap().reverse();
        run_one(&tasks);
        run_one(&tasks);
        assert!(Polled::new(group.wait()).ready().is_err());
        assert_eq!((dropped.get(), results.get()), (2, 1));
        drop(handle);
    }
}

/// "A deadline that is past starts no work", though nobody looked at the clock since the group was made.
#[test]
fn deadline_passes_between_the_group_and_its_first_task() {
    let clock = ManualClock::new();
    let root = Context::background().with_clock(clock.clone());
    let executor = Executor::new();
    let (group, _) = Group::with_context(&root.with_timeout(SECOND), executor.spawner());
    clock.advance(SECOND);
    let polls = Arc::new(AtomicUsize::new(0));
    let its_polls = polls.clone();
    group.spawn(poll_fn(move |_| {
        its_polls.fetch_add(1, SeqCst);
        Poll::Ready(Ok::<_, Infallible>(()))
    }));
    executor.run();
    let error = executor.drive(group.wait()).unwrap_err();
    assert!(error.is_deadline_exceeded(), "{error}");
    assert_eq!(polls.load(SeqCst), 0, "no user work starts");
}

/// "Nothing is spent without a waiter", nor without a task: though somebody has a handle to the group.
mod over {
    use super::*;
    use crate::support;

    #[test]
    fn timer_of_the_parent_is_let_go_of() {
        let (clock, root) = support::manual();
        let parent = root.with_timeout(SECOND);
        let executor = Executor::new();
        let (group, _) = Group::<_, u32>::with_context(&parent, executor.spawner());
        let handle = group.handle();
        let living = Living::default();
        let (one, task) = remote::<_, Infallible>(&living);
        group.spawn(task);
        executor.run();
        assert_eq!(clock.armed(), 1);
        one.succeed(5);
        assert_eq!(executor.drive(group.wait()).unwrap(), [5]);
        assert_eq!((clock.armed(), parent.is_done()), (0, false));
        drop(handle);
    }

    #[test]
    fn groups_below_end_with_it() {
        let executor = Executor::new();
        let (outer, ctx) = Group::with_context(&Context::background(), executor.spawner());
        let (inner, _) = Group::<_, u32>::with_context(&ctx, executor.spawner());
        let living = Living::default();
        inner.spawn(stuck(living.one()));
        outer.spawn(ready(Ok::<_, Infallible>(1)));
        executor.run();
        assert_eq!(executor.drive(outer.wait()).unwrap(), [1]);
        executor.run();
        assert_eq!(living.count(), 0);
        assert!(executor.drive(inner.wait()).unwrap_err().is_canceled());
    }

    #[test]
    fn alarms_of_the_ladder_are_stopped() {
        let (clock, root) = support::manual();
        let executor = Executor::new();
        let (group, _) = Group::<_, u32>::with_context(&root, executor.spawner());
        let group = group.with_grace(SECOND).with_straggler_limit(SECOND);
        let handle = group.handle();
        let living = Living::default();
        group.spawn(until_done(group.context().clone(), living.one(), 5));
        executor.run();
        group.cancel_with("enough");
        assert_eq!(clock.armed(), 2);
        assert_eq!(executor.drive(group.wait()).unwrap(), [5]);
        assert_eq!(clock.armed(), 0);
        drop(handle);
    }

    #[test]
    fn waker_of_a_wait_that_was_dropped_is_let_go_of() {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let handle = group.handle();
        let living = Living::default();
        group.spawn(stuck(living.one()));
        executor.run();
        let waker = Waker::from(Arc::new(Alive(living.one())));
        let mut wait = Box::pin(group.wait());
        assert!(support::poll(&mut wait, &waker).is_pending());
        assert_eq!(living.count(), 2);
        drop((wait, waker));
        assert_eq!(living.count(), 1, "the task, until the executor drops it");
        executor.run();
        assert_eq!(living.count(), 0);
        drop(handle);
    }

    /// A waker that lives.
    struct Alive(#[allow(dead_code)] Life);

    impl std::task::Wake for Alive {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn deadline_comes_while_who_waits_for_a_place_is_all_there_is() {
        let (clock, root) = support::manual();
        let parent = root.with_timeout(SECOND);
        let executor = Executor::new();
        let (group, _) = Group::<_, u32>::with_context(&parent, executor.spawner());
        let group = group.with_limit(at_most(1));
        let living = Living::default();
        group.spawn(stuck(living.one())); // never polled
        let mut ready = Polled::new(group.ready());
        assert!(ready.is_pending());
        clock.advance(SECOND);
        assert!(ready.is_woken());
        assert!(ready.ready().is_err());
        drop(ready);
    }
}

#[test]
fn debug_shows_how_many_live() {
    let pair = pair(|group| group);
    let handle = pair.group.handle();
    assert_eq!(
        format!("{:?} {handle:?}", pair.group),
        "Group { live: 2, phase: Run } GroupHandle { live: 2 }"
    );
    pair.one.fail("refused");
    pair.executor.run();
    assert_eq!(
        format!("{:?} {handle:?}", pair.group),
        "Group { live: 0, phase: Drop } GroupHandle { live: 0 }"
    );
    drop(pair.two);
}
