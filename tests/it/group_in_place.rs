//! Section 4 of the contract: a poll of the group polls its tasks, each only when it was woken.

use crate::executor::{Executor, Living, LocalExecutor, Polled, remote, watched};
use crate::group::*;
use crate::support::at_most;
use failfast::{Context, ErrorKind, InPlaceGroup, LocalGroup, LocalInPlaceGroup};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Poll, Waker};

/// A task that counts its polls, and can be woken and ended.
#[derive(Clone, Default)]
struct Lamp(Rc<State>);

/// How often it was polled, whether it may end, and its waker.
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
    let group = LocalInPlaceGroup::new(&Context::background());
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
    let group = InPlaceGroup::<u32>::new(&Context::background());
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
    let group = InPlaceGroup::<u32>::new(&Context::background());
    group.spawn(async {
        if true {
            panic!("bug");
        }
        Ok::<_, Infallible>(0)
    });
    let error = executor.drive(group.wait()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);

    let living = Living::default();
    let (parent, canceller) = Context::background().with_cancel();
    let group = InPlaceGroup::<u32>::new(&parent);
    group.spawn(stuck(living.one()));
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    canceller.cancel();
    assert!(wait.is_woken());
    assert!(executor.finish(&mut wait).unwrap_err().is_canceled());
    assert_eq!(living.count(), 0);
}

#[test]
fn next_in_the_order_of_completion() {
    let lamps: Vec<Lamp> = (0..3).map(|_| Lamp::default()).collect();
    let mut group = LocalInPlaceGroup::new(&Context::background());
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
    let group = LocalInPlaceGroup::new(&Context::background()).with_limit(at_most(2));
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

/// "so they may **borrow from the caller**", for reading and for writing.
#[test]
fn tasks_borrow_from_the_caller() {
    let lines = ["one", "three"].map(str::to_owned);
    let mut buffers = vec![Vec::new(); 2];
    let executor = Executor::<failfast::Task>::new();
    let group = InPlaceGroup::new(&Context::background());
    for (line, buffer) in lines.iter().zip(&mut buffers) {
        group.spawn(async move {
            buffer.push(line.as_str());
            Ok::<_, Infallible>(line.len())
        });
    }
    assert_eq!(executor.drive(group.wait()).unwrap(), [3, 5]);
    assert_eq!(buffers, [["one"], ["three"]]);
}

#[test]
fn local_tasks_borrow_what_is_not_sync() {
    let total = Cell::new(0);
    let executor = Executor::<failfast::Task>::new();
    let group = LocalInPlaceGroup::new(&Context::background());
    for number in 1..=4 {
        let total = &total;
        group.spawn(async move {
            total.set(total.get() + number);
            Ok::<_, Infallible>(Rc::new(number))
        });
    }
    let all = executor.drive(group.wait()).unwrap();
    assert_eq!((all.len(), total.get()), (4, 10));
}

/// `Group<T>`, `InPlaceGroup<T>` and what they give are `Send` for `T: Send`.
#[test]
fn what_waits_is_send() {
    fn is_send<T: Send>(_: &T) {}
    let line = "one".to_owned();
    let group = InPlaceGroup::new(&Context::background());
    group.spawn(async { Ok::<_, Infallible>(line.as_str()) });
    let handle = group.handle();
    is_send(&handle);
    is_send(&handle.ready());
    is_send(&group.ready());
    is_send(&group);
    let wait = group.wait();
    is_send(&wait);
    drop(wait);
    let group = InPlaceGroup::<u8>::new(&Context::background());
    is_send(&group.run(async { Ok(5) }));
    let group = InPlaceGroup::<Cell<u8>>::new(&Context::background());
    is_send(&group.outcomes());
}

/// "it yields to its executor after a bounded number of polls": a task that wakes itself for ever has no more than
/// its turn.
#[test]
fn task_that_wakes_itself_for_ever() {
    watched(|| {
        let polls = Rc::new(Cell::new(0_usize));
        let count = polls.clone();
        let group = LocalInPlaceGroup::<u32>::new(&Context::background());
        group.spawn(poll_fn(move |cx| {
            count.set(count.get() + 1);
            cx.waker().wake_by_ref();
            Poll::<Result<u32, Infallible>>::Pending
        }));
        let (other, task) = remote::<_, Infallible>(&Living::default());
        group.spawn(task);
        let mut wait = Polled::new(group.wait());
        for round in 0..10 {
            let before = polls.get();
            assert!(wait.is_pending());
            assert!(wait.is_woken(), "it comes back");
            let more = polls.get() - before;
            assert!((1..1000).contains(&more), "{more} polls in round {round}");
        }
        other.succeed(1);
        assert!(wait.is_pending(), "fair, so the other has its turn, too");
    });
}

/// A turn has 32 polls, or those of eight tasks that woke themselves, which may wait for the executor's turn.
#[test]
fn turn_is_over_after_so_many_polls() {
    for (wakes_itself, tasks, turn) in [
        (true, 7, 8),
        (true, 8, 8),
        (true, 9, 8),
        (true, 100, 8),
        (false, 31, 31),
        (false, 32, 32),
        (false, 33, 32),
        (false, 100, 32),
    ] {
        let polls = Rc::new(Cell::new(0_usize));
        let group = LocalInPlaceGroup::<()>::new(&Context::background());
        for _ in 0..tasks {
            let polls = polls.clone();
            group.spawn(poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                if wakes_itself {
                    cx.waker().wake_by_ref();
                }
                Poll::<Result<(), Infallible>>::Pending
            }));
        }
        let mut wait = Polled::new(group.wait());
        assert!(wait.is_pending());
        assert_eq!(polls.get(), turn, "{tasks} tasks, {wakes_itself}");
        assert_eq!(wait.is_woken(), wakes_itself || tasks > turn);
    }
}

/// One drives at a time: a task that waits in its group's `ready` polls none of the others.
#[test]
fn task_polls_ready_of_its_own_group() {
    let group = Rc::new(LocalInPlaceGroup::<()>::new(&Context::background()));
    let (polls, within) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(usize::MAX)));
    group.spawn({
        let (group, polls, within) = (group.clone(), polls.clone(), within.clone());
        async move {
            Polled::new(group.ready()).ready().unwrap();
            within.set(polls.get());
            Ok::<_, Infallible>(())
        }
    });
    group.spawn({
        let polls = polls.clone();
        async move {
            polls.set(polls.get() + 1);
            Ok::<_, Infallible>(())
        }
    });
    Polled::new(group.ready()).ready().unwrap();
    assert_eq!((within.get(), polls.get()), (0, 1));
}

/// Neither has the group itself: a crowd of ready tasks is taken in turns of bounded length.
#[test]
fn ten_thousand_tasks_are_polled_in_bounded_turns() {
    watched(|| {
        let polls = Rc::new(Cell::new(0_usize));
        let group = LocalInPlaceGroup::new(&Context::background());
        for number in 0..10_000 {
            let polls = polls.clone();
            group.spawn(async move {
                polls.set(polls.get() + 1);
                Ok::<_, Infallible>(number)
            });
        }
        let mut wait = Polled::new(group.wait());
        let mut turns = 0;
        let all = loop {
            let before = polls.get();
            let polled = wait.poll();
            assert!(polls.get() - before < 5_000, "it never yields");
            if let Poll::Ready(all) = polled {
                break all.unwrap();
            }
            assert!(wait.is_woken());
            turns += 1;
        };
        assert!(turns > 0);
        assert_eq!(all, Vec::from_iter(0..10_000));
        assert_eq!(polls.get(), 10_000, "each once");
    });
}

/// "Only what was woken is polled", "linear": exact counts at sizes around every threshold.
#[test]
fn polls_are_as_many_as_wakes() {
    watched(|| {
        for tasks in [
            1, 2, 30, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000,
        ] {
            let polls = Rc::new(Cell::new(0_usize));
            let group = LocalInPlaceGroup::<usize>::new(&Context::background());
            for number in 0..tasks {
                let polls = polls.clone();
                let mut left = number % 7;
                group.spawn(poll_fn(move |cx| {
                    polls.set(polls.get() + 1);
                    if left == 0 {
                        return Poll::Ready(Ok::<_, Infallible>(number));
                    }
                    left -= 1;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }));
            }
            let executor = Executor::<failfast::Task>::new();
            let all = executor.drive(group.wait()).unwrap();
            assert_eq!(all, Vec::from_iter(0..tasks));
            let needed: usize = (0..tasks).map(|number| number % 7 + 1).sum();
            assert_eq!(polls.get(), needed, "of {tasks} tasks");
        }
    });
}

/// "that shares a cooperative budget (tokio's), costs a bounded number of polls": 40,000 ready oneshots, at most three
/// polls each.
#[test]
fn forty_thousand_ready_oneshots_of_tokio() {
    watched(|| {
        const TASKS: usize = 40_000;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let polls: Arc<Vec<AtomicUsize>> =
            Arc::new((0..TASKS).map(|_| AtomicUsize::new(0)).collect());
        let group = InPlaceGroup::new(&Context::background());
        for number in 0..TASKS {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            sender.send(number).unwrap();
            let mut receiver = Box::pin(receiver);
            let polls = polls.clone();
            group.spawn(poll_fn(move |cx| {
                polls[number].fetch_add(1, SeqCst);
                receiver.as_mut().poll(cx)
            }));
        }
        let all = runtime.block_on(group.wait()).unwrap();
        assert_eq!(all, Vec::from_iter(0..TASKS));
        let most = polls.iter().map(|polls| polls.load(SeqCst)).max();
        assert!(most <= Some(3), "{most:?} polls of one");
    });
}

/// "Nothing outlives": a task is dropped in the poll in which it ends, in place as well.
#[test]
fn finished_task_in_place_keeps_nothing() {
    let living = Living::default();
    let group = InPlaceGroup::<u32>::new(&Context::background());
    let life = living.one();
    group.spawn(async move {
        let _life = life;
        Ok::<_, Infallible>(1)
    });
    group.spawn(stuck(Living::default().one()));
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    assert_eq!(living.count(), 0);
}
