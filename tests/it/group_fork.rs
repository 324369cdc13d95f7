//! Section 4 of the contract: forks, results of different types, each awaited by itself.

use crate::executor::{Executor, Living, LocalExecutor, Polled, Remote, remote, watched};
use crate::group::*;
use crate::support::{SECOND, at_most, manual};
use failfast::{
    BoxError, Context, ErrorKind, Fork, Group, GroupHandle, InPlaceGroup, LocalGroup,
    LocalInPlaceGroup,
};
use futures::future::{Either, join_all, select};
use smol::future::yield_now;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<&'static str>>>);

impl Diary {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    fn read(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// How many run at once, now and at most.
#[derive(Clone, Default)]
struct Running(Arc<(AtomicUsize, AtomicUsize)>);

impl Running {
    async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let now = self.0.0.fetch_add(1, SeqCst) + 1;
        self.0.1.fetch_max(now, SeqCst);
        let result = work.await;
        self.0.0.fetch_sub(1, SeqCst);
        result
    }

    fn most(&self) -> usize {
        self.0.1.load(SeqCst)
    }
}

mod answers {
    use super::*;

    /// "a `Fork<U>` gives `Result<U, Error>`": each its own type, to the body of `run`.
    #[test]
    fn forks_of_two_types_are_awaited_by_the_body() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let name = group.fork("profile", async { Ok::<_, Infallible>("Alice".to_owned()) });
        let orders = group.fork("orders", async { Ok::<_, std::io::Error>(5_u32) });
        let page = group.run(async { Ok(format!("{} | {}", name.await?, orders.await?)) });
        assert_eq!(executor.drive(page).unwrap(), "Alice | 5");
    }

    /// A fork's result is given to its waiter; `wait` gives those of tasks.
    #[test]
    fn wait_gives_no_results_of_forks() {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let fork = group.fork("profile", async { Ok::<_, Infallible>("Alice") });
        group.spawn(async { Ok::<_, Infallible>(1) });
        assert_eq!(executor.drive(group.wait()).unwrap(), [1]);
        assert_eq!(executor.drive(fork).unwrap(), "Alice");
    }

    /// A fork is a task: its failure is the group's, and the fork gives it too.
    #[test]
    fn fork_fails() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let living = Living::default();
        group.spawn(stuck(living.one()));
        let fork = group.fork("profile", async { Err::<u32, _>("refused") });
        executor.run();
        let error = executor.drive(fork).unwrap_err();
        assert_eq!(told(&error), (ErrorKind::Task, Some("profile")));
        assert_eq!(error.to_string(), "profile: refused");
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "profile: refused");
        assert_eq!(error.others().len(), 0);
        assert_eq!(living.count(), 0);
    }

    #[test]
    fn fork_panics() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let fork = group.fork("profile", async {
            if true {
                std::panic::resume_unwind(Box::new("bug"));
            }
            Ok::<_, Infallible>(1)
        });
        let error = executor.drive(fork).unwrap_err();
        assert_eq!(told(&error), (ErrorKind::Panicked, Some("profile")));
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "profile: panicked: bug");
    }

    #[test]
    fn fork_is_lost() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let fork = group.fork("profile", pending::<Result<u32, Infallible>>());
        executor.lose(0);
        let error = executor.drive(fork).unwrap_err();
        assert_eq!(told(&error), (ErrorKind::Lost, Some("profile")));
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(told(&error), (ErrorKind::Lost, Some("profile")));
    }

    /// "one that has finished keeps its answer after the group's end"
    #[test]
    fn answer_is_kept_after_the_groups_end() {
        let executor = Executor::new();
        let living = Living::default();
        let (answer, other) = (living.one(), living.one());
        let group = group::<()>(&executor);
        let taken = group.fork("taken", async { Ok::<_, Infallible>(answer) });
        let left = group.fork("left", async { Ok::<_, Infallible>(other) });
        executor.drive(group.wait()).unwrap();
        drop(executor);
        assert_eq!(living.count(), 2);
        assert_eq!(Polled::new(taken).ready().unwrap().count(), 2);
        drop(left);
        assert_eq!(living.count(), 0);
    }

    /// … and one that has not finished gives the end.
    #[test]
    fn fork_is_pending_at_the_groups_end() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let living = Living::default();
        let fork = group.fork("profile", stuck::<u32>(living.one()));
        let mut fork = Polled::new(fork);
        assert!(fork.is_pending());
        executor.run();
        group.cancel_with("enough");
        executor.run();
        assert_eq!(fork.wakes(), 1);
        let error = fork.ready().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Canceled);
        assert!(
            error.to_string().starts_with("context canceled: enough"),
            "{error}"
        );
        assert!(executor.drive(group.wait()).unwrap_err().is_canceled());
        assert_eq!(living.count(), 0);
    }

    #[test]
    fn handle_forks_after_the_end() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let handle = group.handle();
        executor.drive(group.wait()).unwrap();
        let living = Living::default();
        let fork = handle.fork("late", stuck::<u32>(living.one()));
        assert_eq!(living.count(), 0, "it can't start any more");
        assert_eq!(
            Polled::new(fork).ready().unwrap_err().kind(),
            ErrorKind::Canceled
        );
        assert_eq!(executor.spawned(), 0);
    }

    /// The fork of a task that wakes its waiter: once, and by the waker of the last poll.
    #[test]
    fn fork_wakes_the_last_waker_once() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let (answer, task) = remote::<_, Infallible>(&Living::default());
        let mut fork = Box::pin(group.fork("profile", task));
        let first = Arc::new(crate::executor::Count::default());
        let waker = first.clone().into();
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(fork.as_mut().poll(&mut cx).is_pending());
        let mut polled = Polled::new(fork);
        assert!(polled.is_pending());
        executor.run();
        answer.succeed(5);
        executor.run();
        assert_eq!((first.get(), polled.wakes()), (0, 1));
        assert_eq!(polled.ready().unwrap(), 5);
    }
}

/// "may be cancelled (`cancel()`: it gives kind `Canceled`) without failing the group, or dropped (the task goes on)"
mod cancelled_or_dropped {
    use super::*;

    #[test]
    fn cancel_ends_this_task_alone() {
        let executor = Executor::new();
        let group = group::<u32>(&executor);
        let (living, others) = (Living::default(), Living::default());
        let fork = group.fork("profile", stuck::<u32>(living.one()));
        let (other, task) = remote::<_, Infallible>(&others);
        group.spawn(task);
        executor.run();
        fork.cancel();
        executor.run();
        assert_eq!((living.count(), others.count()), (0, 1));
        assert!(!group.context().is_done());
        let error = Polled::new(fork).ready().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Canceled);
        other.succeed(5);
        assert_eq!(executor.drive(group.wait()).unwrap(), [5]);
    }

    #[test]
    fn cancel_wakes_the_waiter() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let living = Living::default();
        let fork = group.fork("profile", stuck::<u32>(living.one()));
        let handle = group.handle();
        let (sender, receiver) = futures::channel::oneshot::channel::<()>();
        group.spawn(async move {
            let mut fork = fork;
            match select(&mut fork, receiver).await {
                Either::Left(_) => return Err("it goes on for ever"),
                Either::Right(_) => fork.cancel(),
            }
            match fork.await {
                Err(error) if error.kind() == ErrorKind::Canceled => Ok(()),
                _ => Err("it was cancelled"),
            }
        });
        executor.run();
        sender.send(()).unwrap();
        executor.drive(group.wait()).unwrap();
        assert_eq!(living.count(), 0);
        drop(handle);
    }

    #[test]
    fn cancel_of_a_fork_in_the_queue() {
        let executor = Executor::new();
        let group = group::<u32>(&executor).with_limit(at_most(1));
        let living = Living::default();
        let (first, task) = remote::<_, Infallible>(&living);
        group.spawn(task);
        let started = Running::default();
        let its = started.clone();
        let fork = group.fork("queued", async move {
            its.during(ready(())).await;
            Ok::<_, Infallible>(0)
        });
        group.spawn(async { Ok::<_, Infallible>(2) });
        fork.cancel();
        executor.run();
        first.succeed(1);
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
        let error = Polled::new(fork).ready().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Canceled);
        assert_eq!(started.most(), 0, "it never starts");
    }

    #[test]
    fn cancel_comes_after_the_answer() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let fork = group.fork("profile", async { Ok::<_, Infallible>(5) });
        executor.run();
        fork.cancel();
        assert_eq!(Polled::new(fork).ready().unwrap(), 5);
        executor.drive(group.wait()).unwrap();
    }

    /// It gives what ended its task, which is not what ended the group.
    #[test]
    fn cancel_comes_in_the_groups_grace() {
        let (_, root) = manual();
        let executor = Executor::new();
        let (group, _) = Group::<()>::with_context(&root, executor.spawner());
        let group = group.with_grace(SECOND);
        let fork = group.fork("slow", pending::<Result<(), Infallible>>());
        executor.run();
        group.cancel_with("enough");
        fork.cancel();
        let error = executor.drive(fork).unwrap_err();
        assert_eq!(error.to_string(), "context canceled: its fork was canceled");
    }

    #[test]
    fn dropped_fork_goes_on() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let living = Living::default();
        let (end, task) = remote::<u32, &str>(&living);
        drop(group.fork("profile", task));
        executor.run();
        assert_eq!(living.count(), 1);
        let mut wait = Polled::new(group.wait());
        assert!(wait.is_pending(), "it is waited for, too");
        end.succeed(5);
        executor.run();
        assert!(wait.ready().is_ok());
        assert_eq!(living.count(), 0);
    }

    #[test]
    fn dropped_fork_fails_the_group() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        drop(group.fork("profile", async { Err::<u32, _>("refused") }));
        let error = executor.drive(group.wait()).unwrap_err();
        assert_eq!(error.to_string(), "profile: refused");
    }

    /// The answer is not awaited: it goes with the task.
    #[test]
    fn answer_of_a_dropped_fork_is_not_kept() {
        let executor = Executor::new();
        let group = group::<()>(&executor);
        let living = Living::default();
        let answer = living.one();
        drop(group.fork("profile", async { Ok::<_, Infallible>(answer) }));
        executor.run();
        assert_eq!(living.count(), 0);
        executor.drive(group.wait()).unwrap();
    }
}

/// "While a task of the same group has at least one pending fork of it, it does not count against the limit."
mod limits {
    use super::*;

    fn nested(
        handle: GroupHandle<u32>,
        depth: u32,
    ) -> futures::future::BoxFuture<'static, Result<u32, BoxError>> {
        Box::pin(async move {
            if depth == 0 {
                return Ok(0);
            }
            let child = handle.fork("child", nested(handle.clone(), depth - 1));
            Ok(child.await? + 1)
        })
    }

    #[test]
    fn forks_await_forks_at_a_limit_of_one() {
        watched(|| {
            let executor = Executor::new();
            let group = group::<u32>(&executor).with_limit(at_most(1));
            group.spawn(nested(group.handle(), 100));
            assert_eq!(executor.drive(group.wait()).unwrap(), [100]);
        });
    }

    /// "no task starts while the count is at the limit": the queue is served in order, one at a time.
    #[test]
    fn queue_is_served_while_a_task_awaits_its_fork() {
        let executor = Executor::new();
        let group = group::<()>(&executor).with_limit(at_most(1));
        let (diary, running) = (Diary::default(), Running::default());
        let noted = |what| {
            let (diary, running) = (diary.clone(), running.clone());
            async move {
                diary.note(what);
                running.during(yield_now()).await;
                Ok::<_, Infallible>(())
            }
        };
        let (handle, child, notes) = (group.handle(), noted("child"), diary.clone());
        group.spawn(async move {
            notes.note("parent");
            handle.fork("child", child).await?;
            notes.note("parent again");
            yield_now().await;
            notes.note("parent's end");
            Ok::<_, failfast::Error>(())
        });
        group.spawn(noted("second"));
        group.spawn(noted("third"));
        executor.drive(group.wait()).unwrap();
        assert_eq!(
            diary.read(),
            [
                "parent",
                "second",
                "third",
                "child",
                "parent again",
                "parent's end"
            ]
        );
        assert_eq!(running.most(), 1);
    }

    /// "it counts again at once when the fork is ready": a queued task waits for the parent.
    #[test]
    fn parent_counts_again_when_its_fork_is_ready() {
        let executor = Executor::new();
        let group = group::<()>(&executor).with_limit(at_most(1));
        let living = Living::default();
        let (child, its) = remote::<u32, Infallible>(&living);
        let (parent, rest) = remote::<(), Infallible>(&living);
        let handle = group.handle();
        group.spawn(async move {
            handle.fork("child", its).await?;
            rest.await?;
            Ok::<_, BoxError>(())
        });
        executor.run();
        let started = Running::default();
        let its = started.clone();
        group.spawn(async move {
            its.during(ready(())).await;
            Ok::<_, Infallible>(())
        });
        executor.run();
        assert_eq!(started.most(), 0, "the child has the place");
        child.succeed(5);
        executor.run();
        assert_eq!(started.most(), 0, "the parent has it again");
        assert!(group.try_spawn(ready(Ok::<_, Infallible>(()))).is_err());
        parent.succeed(());
        executor.drive(group.wait()).unwrap();
        assert_eq!(started.most(), 1);
    }

    #[test]
    fn hundred_forks_are_joined_at_a_limit() {
        watched(|| {
            for limit in [1, 2, 5, 31, 64, 99, 100, 101] {
                let executor = Executor::new();
                let group = group::<u32>(&executor).with_limit(at_most(limit));
                let (handle, running) = (group.handle(), Running::default());
                let its = running.clone();
                group.spawn(async move {
                    let forks = (0..100).map(|number| {
                        let running = its.clone();
                        handle.fork(format!("fork {number}"), async move {
                            running.during(yield_now()).await;
                            Ok::<_, Infallible>(number)
                        })
                    });
                    let forks: Vec<Fork<u32>> = forks.collect();
                    let all = join_all(forks).await.into_iter();
                    all.sum::<Result<u32, _>>()
                });
                assert_eq!(executor.drive(group.wait()).unwrap(), [99 * 100 / 2]);
                assert_eq!(running.most(), limit.min(100), "at a limit of {limit}");
            }
        });
    }

    #[test]
    fn fork_is_selected_against_another_at_a_limit_of_one() {
        let executor = Executor::new();
        let group = group::<u32>(&executor).with_limit(at_most(1));
        let handle = group.handle();
        let diary = Diary::default();
        let notes = diary.clone();
        group.spawn(async move {
            let winner = handle.fork("winner", async { Ok::<_, Infallible>(1) });
            let slow = handle.fork("slow", async move {
                yield_now().await;
                notes.note("slow has ended");
                Ok::<_, Infallible>(2)
            });
            match select(winner, slow).await {
                Either::Left((first, _slow)) => first,
                Either::Right((first, _winner)) => first,
            }
        });
        assert_eq!(executor.drive(group.wait()).unwrap(), [1]);
        assert_eq!(diary.read(), ["slow has ended"], "a dropped fork goes on");
    }

    /// "it counts again at once", also if it drops the fork instead of awaiting it to its end.
    #[test]
    fn parent_counts_again_when_it_drops_its_pending_fork() {
        let executor = Executor::new();
        let group = group::<()>(&executor).with_limit(at_most(1));
        let living = Living::default();
        let (child, its) = remote::<u32, Infallible>(&living);
        let (go, gone) = remote::<(), Infallible>(&living);
        let (parent, rest) = remote::<(), Infallible>(&living);
        let handle = group.handle();
        group.spawn(async move {
            let fork = handle.fork("child", its);
            let first = select(fork, Box::pin(gone)).await;
            assert!(matches!(first, Either::Right(_)));
            drop(first);
            rest.await
        });
        executor.run();
        go.succeed(());
        executor.run();
        child.succeed(5);
        executor.run();
        assert!(group.try_spawn(ready(Ok::<_, Infallible>(()))).is_err());
        parent.succeed(());
        executor.run();
        assert!(group.try_spawn(ready(Ok::<_, Infallible>(()))).is_ok());
        executor.drive(group.wait()).unwrap();
    }

    /// The task that awaits it does not count, whichever task forked it.
    #[test]
    fn fork_is_moved_to_another_task() {
        let executor = Executor::new();
        let group = group::<u32>(&executor).with_limit(at_most(1));
        let handle = group.handle();
        group.spawn(async move {
            let child = handle.fork("child", async {
                yield_now().await;
                Ok::<_, Infallible>(5)
            });
            let spawned = handle.spawn(async move { Ok::<_, BoxError>(child.await? + 1) });
            spawned.map_err(|_| "ended")?;
            Ok::<_, &str>(1)
        });
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 6]);
    }

    /// Moved while it is pending: it is the task that polled it last that does not count.
    #[test]
    fn pending_fork_is_moved_to_another_task() {
        let executor = Executor::new();
        let group = group::<u32>(&executor).with_limit(at_most(1));
        let living = Living::default();
        let (child, its) = remote::<u32, Infallible>(&living);
        let (parent, rest) = remote::<u32, Infallible>(&living);
        let handle = group.handle();
        group.spawn(async move {
            let mut fork = handle.fork("child", its);
            assert!(futures::poll!(&mut fork).is_pending());
            let spawned = handle.spawn(async move { Ok::<_, BoxError>(fork.await? + 1) });
            spawned.map_err(|_| "ended")?;
            Ok::<_, BoxError>(rest.await?)
        });
        executor.run();
        child.succeed(5);
        executor.run();
        parent.succeed(1);
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 6]);
        assert_eq!(living.count(), 0);
    }

    /// The same while both tasks run: of the two, one counts, and it is the one that does not wait.
    #[test]
    fn pending_fork_is_handed_from_task_to_task() {
        let executor = Executor::new();
        let group = group::<u32>(&executor).with_limit(at_most(2));
        let living = Living::default();
        let (child, its) = remote::<u32, Infallible>(&living);
        let (one, rest) = remote::<u32, Infallible>(&living);
        let place = Arc::new(Mutex::new(None));
        let (handle, slot) = (group.handle(), place.clone());
        group.spawn(async move {
            let mut fork = handle.fork("child", its);
            assert!(futures::poll!(&mut fork).is_pending());
            assert!(futures::poll!(&mut fork).is_pending(), "by the same task");
            *slot.lock().unwrap() = Some(fork);
            rest.await
        });
        executor.run();
        group.spawn(async move {
            let fork = place.lock().unwrap().take();
            Ok::<_, BoxError>(fork.unwrap().await? + 1)
        });
        executor.run();
        let is_full = || group.try_spawn(ready(Ok::<_, Infallible>(7))).is_err();
        assert!(is_full(), "the child and the first task");
        child.succeed(5);
        executor.run();
        assert!(!is_full(), "the first task alone");
        one.succeed(1);
        let mut all = executor.drive(group.wait()).unwrap();
        all.sort_unstable();
        assert_eq!(all, [1, 6, 7]);
    }

    /// The fork outlives the task that waited for it: there is nothing to count again.
    #[test]
    fn fork_is_dropped_after_the_task_that_waited_for_it() {
        let executor = Executor::new();
        let group = group::<u32>(&executor).with_limit(at_most(2));
        let (child, its) = remote::<u32, Infallible>(&Living::default());
        let place = Arc::new(Mutex::new(None));
        let (handle, slot) = (group.handle(), place.clone());
        group.spawn(async move {
            let mut fork = handle.fork("child", its);
            assert!(futures::poll!(&mut fork).is_pending());
            *slot.lock().unwrap() = Some(fork);
            Ok::<_, Infallible>(1)
        });
        executor.run();
        drop(place.lock().unwrap().take().expect("pending"));
        let (other, task) = remote::<u32, Infallible>(&Living::default());
        assert!(group.try_spawn(task).is_ok(), "beside the child");
        let is_full = group.try_spawn(ready(Ok::<_, Infallible>(3))).is_err();
        assert!(is_full, "the child and the other");
        other.succeed(2);
        child.succeed(5);
        assert_eq!(executor.drive(group.wait()).unwrap(), [1, 2]);
    }

    /// … also after the task has ended that polled it first.
    #[test]
    fn pending_fork_is_moved_on_by_a_task_that_ends() {
        let executor = Executor::new();
        let group = group::<()>(&executor).with_limit(at_most(2));
        let (child, its) = remote::<(), Infallible>(&Living::default());
        let handle = group.handle();
        group.spawn(async move {
            let mut fork = handle.fork("child", its);
            assert!(futures::poll!(&mut fork).is_pending());
            let spawned = handle.spawn(fork);
            spawned.map_err(|_| "ended")
        });
        assert!(executor.poll(0));
        let more = || group.try_spawn(ready(Ok::<_, Infallible>(())));
        assert!(more().is_err(), "the child counts, and the other task");
        executor.run();
        assert!(
            more().is_ok(),
            "the child counts, and the task that awaits it does not"
        );
        child.succeed(());
        executor.drive(group.wait()).unwrap();
    }

    /// Both go on, and the group has so many places.
    fn parent_that_drops_its_pending_fork(
        executor: &Executor,
        places: usize,
    ) -> (Group<()>, Remote<(), Infallible>, Remote<u32, Infallible>) {
        let group = group::<()>(executor).with_limit(at_most(places));
        let living = Living::default();
        let (child, its) = remote::<u32, Infallible>(&living);
        let (parent, rest) = remote::<(), Infallible>(&living);
        let handle = group.handle();
        group.spawn(async move {
            let mut fork = handle.fork("child", its);
            assert!(futures::poll!(&mut fork).is_pending());
            drop(fork);
            rest.await
        });
        executor.run();
        (group, parent, child)
    }

    /// "it counts again at once when the fork is … dropped"
    #[test]
    fn parent_counts_again_when_its_fork_is_dropped_while_pending() {
        let executor = Executor::new();
        let (group, parent, child) = parent_that_drops_its_pending_fork(&executor, 1);
        let started = Running::default();
        let its = started.clone();
        group.spawn(async move {
            its.during(ready(())).await;
            Ok::<_, Infallible>(())
        });
        child.succeed(5);
        executor.run();
        assert_eq!(started.most(), 0, "the parent has the place");
        parent.succeed(());
        executor.drive(group.wait()).unwrap();
        assert_eq!(started.most(), 1);
    }

    /// … beside the fork, which goes on: the two have both places.
    #[test]
    fn parent_counts_beside_the_pending_fork_that_it_dropped() {
        let executor = Executor::new();
        let (group, parent, child) = parent_that_drops_its_pending_fork(&executor, 2);
        assert!(group.try_spawn(ready(Ok::<_, Infallible>(()))).is_err());
        child.succeed(5);
        executor.run();
        assert!(group.try_spawn(ready(Ok::<_, Infallible>(()))).is_ok());
        parent.succeed(());
        executor.drive(group.wait()).unwrap();
    }

    /// A task that ended, or was cancelled, with a fork pending gives nothing back twice.
    #[test]
    fn task_ends_with_a_fork_pending() {
        for cancelled in [false, true] {
            let executor = Executor::new();
            let group = group::<u32>(&executor).with_limit(at_most(2));
            let handle = group.handle();
            let running = Running::default();
            let (end, task) = remote::<u32, Infallible>(&Living::default());
            let outer = group.fork("outer", async move {
                let mut fork = handle.fork("inner", task);
                assert!(futures::poll!(&mut fork).is_pending());
                if cancelled {
                    fork.await?;
                }
                Ok::<_, BoxError>(())
            });
            executor.run();
            if cancelled {
                outer.cancel();
                executor.run();
            }
            for number in 0..6 {
                let running = running.clone();
                group.spawn(async move {
                    running.during(yield_now()).await;
                    Ok::<_, Infallible>(number)
                });
            }
            executor.run();
            assert_eq!(running.most(), 1, "beside the inner fork");
            end.succeed(0);
            assert_eq!(executor.drive(group.wait()).unwrap(), Vec::from_iter(0..6));
        }
    }
}

/// The same of every flavor.
mod flavors {
    use super::*;

    #[test]
    fn local_group_forks_what_is_not_send() {
        let executor = LocalExecutor::new();
        let group = LocalGroup::<()>::new(executor.spawner());
        let shared = Rc::new(5);
        let fork = group.fork("profile", async move { Ok::<_, Infallible>(shared) });
        let value = executor.drive(group.run(async { Ok(*fork.await?) }));
        assert_eq!(value.unwrap(), 5);
    }

    /// "a `Fork<U>` of a local group may be `Send`"
    #[test]
    fn fork_of_a_local_group_is_awaited_on_another_thread() {
        watched(|| {
            let executor = LocalExecutor::new();
            let group = LocalGroup::<()>::new(executor.spawner());
            let (own, answer) = (Rc::new(5_u32), 7_u32);
            let fork = group.fork("profile", async move { Ok::<_, Infallible>(*own + answer) });
            let waiting = std::thread::spawn(move || futures::executor::block_on(fork));
            executor.drive(group.wait()).unwrap();
            assert_eq!(waiting.join().unwrap().unwrap(), 12);
        });
    }

    #[test]
    fn forks_in_place_borrow_from_the_caller() {
        let lines = ["one".to_owned(), "three".to_owned()];
        let total = Cell::new(0);
        let executor = Executor::<failfast::Task>::new();
        let group = LocalInPlaceGroup::<()>::new(&Context::background());
        let fork = group.fork("lengths", async {
            total.set(lines.iter().map(String::len).sum());
            Ok::<_, Infallible>(&lines[0])
        });
        let first = executor.drive(group.run(async { Ok(fork.await?.as_str()) }));
        assert_eq!((first.unwrap(), total.get()), ("one", 8));
    }

    /// In place at a limit: the thread-local finds in-place ancestors, too.
    #[test]
    fn forks_in_place_at_a_limit_of_one() {
        watched(|| {
            let executor = Executor::<failfast::Task>::new();
            let group = InPlaceGroup::<u32>::new(&Context::background()).with_limit(at_most(1));
            let handle = group.handle();
            group.spawn(async move {
                let inner = InPlaceGroup::<u32>::new(&Context::background());
                let child = handle.fork("child", async {
                    yield_now().await;
                    Ok::<_, Infallible>(5)
                });
                // It is a task of another group, in place in ours, that awaits our fork.
                inner.spawn(child);
                Ok::<_, failfast::Error>(inner.wait().await?[0])
            });
            assert_eq!(executor.drive(group.wait()).unwrap(), [5]);
        });
    }
}
