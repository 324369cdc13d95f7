//! Which events there are, and in which order: a test for each promise of `Observer`, for every kind of group.

use crate::support::{
    Log, at_most, check_order, forever, manual, ms, observed, on_every_kind, watched,
};
use failfast::observe::{GroupEvent, Observer, Outcome, TaskEvent};
use failfast::{BoxError, Context, Ending, ErrorKind, Group, InPlaceGroup, Task};
use futures::executor::block_on;
use futures::future::{pending, poll_fn};
use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// Pending once, and then `result`.
async fn after_a_turn<T>(result: T) -> T {
    let mut turns = 0;
    poll_fn(|cx| {
        turns += 1;
        cx.waker().wake_by_ref();
        if turns > 1 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    result
}

on_every_kind! {
    success_has_every_event_in_order: |log, ctx, new| {
        let group = new!(&ctx);
        group.spawn(after_a_turn(Ok::<_, Infallible>(5)));
        assert_eq!(group.wait().await.unwrap(), [5]);
        assert_eq!(log.all(), [
            "group_opened",
            "task_spawned 0",
            "poll_started 0",
            "poll_ended 0",
            "poll_started 0",
            "poll_ended 0",
            "task_ended 0 succeeded",
            "group_closed",
        ]);
    }

    group_without_tasks_opens_and_closes: |log, ctx, new| {
        assert!(new!(&ctx).wait().await.unwrap_or_else(|_| vec![()]).is_empty());
        assert_eq!(log.all(), ["group_opened", "group_closed"]);
    }

    failure_is_recorded_then_canceled_then_released: |log, ctx, new| {
        let group = new!(&ctx);
        group.spawn(forever());
        group.spawn(after_a_turn(Err("refused")));
        assert_eq!(group.wait().await.unwrap_err().to_string(), "task 1: refused");
        let all = log.all();
        let at = |line: &str| all.iter().position(|other| other == line).unwrap_or_else(|| panic!("{line}: {all:#?}"));
        let failed = at("task_ended 1 failed: task 1: refused");
        assert_eq!(all[failed - 1], "poll_ended 1");
        assert_eq!(all[failed + 1], "canceled: task 1: refused");
        assert_eq!(all[all.len() - 2..], ["task_ended 0 cancelled", "group_closed"]);
        assert_eq!(log.count("canceled"), 1);
    }

    panic_is_a_panic: |log, ctx, new| {
        let group = new!(&ctx);
        group.spawn(async { if true { panic!("oh") } Ok::<(), Infallible>(()) });
        assert_eq!(group.wait().await.unwrap_err().kind(), ErrorKind::Panicked);
        assert_eq!(log.of_task(0).last().unwrap(), "task_ended 0 panicked: task 0: panicked: oh");
    }

    queued_tasks_are_reported_as_queued: |log, ctx, new| {
        let group = new!(&ctx).with_limit(at_most(1));
        for n in 0..3 {
            group.spawn(after_a_turn(Ok::<_, Infallible>(n)));
        }
        assert_eq!(group.wait().await.unwrap(), [0, 1, 2]);
        assert_eq!(log.count("task_queued"), 2);
        assert_eq!(log.of_task(0)[..2], ["task_spawned 0", "poll_started 0"]);
        assert_eq!(log.of_task(1)[..3], ["task_spawned 1", "task_queued 1", "poll_started 1"]);
    }

    refused_spawns_have_no_events: |log, ctx, new| {
        let group = new!(&ctx).with_limit(at_most(1));
        assert!(group.try_spawn(after_a_turn(Ok::<_, Infallible>(()))).is_ok());
        assert!(group.try_spawn(ready(Ok::<_, Infallible>(()))).is_err());
        group.stop();
        let handle = group.handle();
        assert!(handle.spawn(ready(Ok::<_, Infallible>(()))).is_err());
        drop(group.wait().await);
        assert_eq!(log.count("task_spawned"), 1);
    }

    canceled_comes_with_its_cause: |log, ctx, new| {
        let group = new!(&ctx);
        group.spawn(forever());
        group.cancel_with("shutting down");
        group.cancel_with("again");
        assert!(group.wait().await.is_err());
        assert_eq!(log.count("canceled"), 1);
        assert_eq!(log.all()[2], "canceled: shutting down");
    }

    stop_cancels: |log, ctx, new| {
        let group = new!(&ctx);
        group.spawn(forever());
        group.stop();
        assert!(group.wait().await.unwrap().is_empty());
        assert_eq!(log.count("canceled: the group made at "), 1);
        assert_eq!(log.count("task_ended 0 cancelled"), 1);
    }

    group_that_ended_well_is_not_canceled: |log, ctx, new| {
        let group = new!(&ctx).with_ending(Ending::FirstOk);
        group.spawn(async { Ok::<u8, BoxError>(pending().await) });
        group.spawn(async { Ok::<_, BoxError>(1) });
        assert_eq!(group.wait().await.unwrap(), [1]);
        assert_eq!(log.count("canceled"), 0);
        assert_eq!(log.count("task_ended 0 cancelled"), 1);
        assert_eq!(log.count("task_ended 1 succeeded"), 1);
    }

    background_tasks_are_cancelled_and_their_group_is_not: |log, ctx, new| {
        let group = new!(&ctx);
        group.spawn_background(forever());
        group.spawn(async { Ok::<_, BoxError>(1) });
        assert_eq!(group.wait().await.unwrap(), [1]);
        assert_eq!(log.count("canceled"), 0);
        assert_eq!(log.of_task(0).last().unwrap(), "task_ended 0 cancelled");
    }

    quorum_out_of_reach_cancels: |log, ctx, new| {
        let group = new!(&ctx).with_ending(Ending::Quorum(at_most(2)));
        group.spawn(forever());
        group.spawn(async { Err::<(), BoxError>("refused".into()) });
        assert!(group.wait().await.is_err());
        assert_eq!(log.count("canceled"), 1);
    }

    parents_end_cancels_every_group_below: |log, ctx, new| {
        let (ctx, canceller) = ctx.with_cancel();
        let outer = new!(&ctx);
        let inner = new!(outer.context());
        outer.spawn(forever());
        inner.spawn(forever());
        canceller.cancel_with("client went away");
        assert!(inner.wait().await.is_err());
        assert!(outer.wait().await.is_err());
        for group in 0..2 {
            assert_eq!(log.of(group)[2], "canceled: client went away");
        }
    }

    group_below_an_ended_parent_is_canceled_at_once: |log, ctx, new| {
        let (ctx, canceller) = ctx.with_cancel();
        canceller.cancel_with("client went away");
        let group = new!(&ctx);
        group.spawn(ready(Ok::<_, Infallible>(())));
        assert!(group.wait().await.is_err());
        assert_eq!(log.all(), ["group_opened", "canceled: client went away", "group_closed"]);
    }

    cancelled_fork_ends_as_cancelled: |log, ctx, new| {
        let group = new!(&ctx);
        group.spawn(after_a_turn(Ok::<_, Infallible>(())));
        let slow = group.fork("slow", forever());
        slow.cancel();
        assert!(group.wait().await.is_ok());
        assert_eq!(log.count("canceled"), 0);
        assert_eq!(log.of_task(1).last().unwrap(), "task_ended 1 cancelled");
    }

    echo_of_the_end_is_a_cancellation: |log, ctx, new| {
        let group = new!(&ctx);
        let echo = group.context().clone();
        group.spawn(async move {
            echo.done().await;
            echo.check()?;
            Ok::<(), BoxError>(())
        });
        group.spawn(after_a_turn(Err::<(), BoxError>("refused".into())));
        assert!(group.wait().await.is_err());
        assert_eq!(log.of_task(0).last().unwrap(), "task_ended 0 cancelled");
    }

    dropped_group_closes_after_its_last_task: |log, ctx, new| {
        let group = new!(&ctx);
        group.spawn(forever());
        group.spawn(forever());
        drop(group);
        assert_eq!(log.count("canceled: the group made at "), 1);
    }

    failing_body_cancels: |log, ctx, new| {
        let group = new!(&ctx);
        group.spawn(forever());
        assert!(group.run(async { Err::<(), _>("refused".into()) }).await.is_err());
        assert_eq!(log.count("canceled: body: refused"), 1);
    }

    next_sees_the_same_events: |log, ctx, new| {
        let mut group = new!(&ctx);
        group.spawn(after_a_turn(Ok::<_, Infallible>(1)));
        assert_eq!(group.next().await.unwrap().unwrap(), 1);
        assert_eq!(log.count("task_ended 0 succeeded"), 1);
        assert!(group.next().await.is_none());
        drop(group);
        assert_eq!(log.all().last().unwrap(), "group_closed");
    }

    each_of_many_tasks_has_its_events: |log, ctx, new| {
        for size in [0_usize, 1, 2, 31, 32, 33, 63, 64, 65, 1000] {
            let group = new!(&ctx);
            for n in 0..size {
                group.spawn(after_a_turn(Ok::<_, Infallible>(n)));
            }
            assert_eq!(group.wait().await.unwrap().len(), size);
        }
        assert_eq!(log.count("task_spawned"), 1291);
        assert_eq!(log.count("task_ended"), 1291);
        assert_eq!(log.count("poll_started"), 2 * 1291);
    }
}

#[test]
fn lost_task_is_reported_as_lost() {
    let (log, ctx) = observed();
    let refuses = |task: Task| drop(task);
    let (group, _) = Group::<()>::with_context(&ctx, refuses);
    group.spawn(ready(Ok::<_, Infallible>(())));
    assert_eq!(block_on(group.wait()).unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(
        log.all(),
        [
            "group_opened",
            "task_spawned 0",
            "task_ended 0 lost",
            "canceled: task 0: lost: the executor dropped the task before it completed (is it shut down?)",
            "group_closed"
        ]
    );
}

#[test]
fn group_that_is_dropped_before_its_tasks_closes_when_the_last_is_gone() {
    let (log, ctx) = observed();
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let kept = tasks.clone();
    let (group, _) =
        Group::<()>::with_context(&ctx, move |task: Task| kept.lock().unwrap().push(task));
    group.spawn(ready(Ok::<_, Infallible>(())));
    group.spawn(ready(Ok::<_, Infallible>(())));
    drop(group);
    assert_eq!(log.count("group_closed"), 0);
    let mut tasks = std::mem::take(&mut *tasks.lock().unwrap()).into_iter();
    drop(tasks.next());
    assert_eq!(log.count("group_closed"), 0);
    drop(tasks.next());
    // What an executor drops wakes others from another thread, and the last event follows there.
    watched({
        let log = log.clone();
        move || {
            while log.count("group_closed") == 0 {
                std::thread::yield_now();
            }
        }
    });
    check_order(&log);
}

#[test]
fn stragglers_group_closes_after_the_straggler() {
    let log = Log::default();
    let (clock, ctx) = manual(log.clone());
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let kept = tasks.clone();
    let (group, _) =
        Group::<()>::with_context(&ctx, move |task: Task| kept.lock().unwrap().push(task));
    let group = group.with_straggler_limit(ms(1));
    group.spawn(ready(Ok::<_, Infallible>(())));
    group.cancel_with("shutting down");
    clock.advance(ms(1));
    assert_eq!(
        block_on(group.wait()).unwrap_err().kind(),
        ErrorKind::Stragglers
    );
    assert_eq!(log.count("group_closed"), 0);
    let task = tasks.lock().unwrap().pop().unwrap();
    smol::block_on(task);
    assert_eq!(log.all().last().unwrap(), "group_closed");
    check_order(&log);
}

#[test]
fn deadline_cancels_with_its_cause_and_is_reported_for_each_group() {
    struct Deadlines(Mutex<Vec<Option<std::time::Instant>>>);
    impl Observer for Deadlines {
        fn group_opened(&self, group: &GroupEvent) {
            self.0.lock().unwrap().push(group.deadline());
        }
        fn canceled(&self, group: &GroupEvent, cause: &failfast::Cause) {
            assert_eq!(cause.to_string(), "context deadline exceeded");
            self.0.lock().unwrap().push(Some(group.at()));
        }
    }
    let seen = Arc::new(Deadlines(Mutex::default()));
    let (clock, ctx) = manual(seen.clone());
    let start = clock.now();
    let group = InPlaceGroup::new(&ctx.with_timeout(ms(5)));
    group.spawn(forever());
    clock.advance(ms(5));
    assert!(block_on(group.wait()).is_err());
    drop(InPlaceGroup::<()>::new(&ctx));
    assert_eq!(
        *seen.0.lock().unwrap(),
        [Some(start + ms(5)), Some(start + ms(5)), None]
    );
}

/// Records each event, and what holds at that moment.
struct Witness {
    ctx: Mutex<Option<Context>>,
    woken: Arc<AtomicUsize>,
    seen: Mutex<Vec<(&'static str, bool, usize)>>,
}

impl Witness {
    fn note(&self, what: &'static str) {
        let done = self
            .ctx
            .lock()
            .unwrap()
            .as_ref()
            .is_some_and(Context::is_done);
        let woken = self.woken.load(Ordering::SeqCst);
        self.seen.lock().unwrap().push((what, done, woken));
    }
}

impl Observer for Witness {
    fn task_ended(&self, _: &TaskEvent, _: &Outcome<'_>) {
        self.note("task_ended");
    }

    fn canceled(&self, _: &GroupEvent, _: &failfast::Cause) {
        self.note("canceled");
    }
}

/// Record, cancel, `task_ended`, `canceled`, release, wake.
#[test]
fn context_is_done_and_no_task_is_woken_when_task_ended_and_canceled_are_sent() {
    let woken = Arc::new(AtomicUsize::new(0));
    let witness = Arc::new(Witness {
        ctx: Mutex::default(),
        woken: woken.clone(),
        seen: Mutex::default(),
    });
    let observed = Context::background().with_observer(witness.clone());
    let (group, ctx) =
        Group::<()>::with_context(&observed, |task: Task| std::mem::forget(smol::spawn(task)));
    *witness.ctx.lock().unwrap() = Some(ctx.clone());
    struct Count(Arc<AtomicUsize>);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let waker = Waker::from(Arc::new(Count(woken)));
    let mut done = ctx.done();
    let polled = std::pin::Pin::new(&mut done).poll(&mut std::task::Context::from_waker(&waker));
    assert!(polled.is_pending());
    group.spawn(ready(Err("refused")));
    assert!(block_on(group.wait()).is_err());
    assert_eq!(
        *witness.seen.lock().unwrap(),
        [("task_ended", true, 0), ("canceled", true, 0)]
    );
    watched(move || {
        while witness.woken.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
    });
}

/// No lock is held: an observer may use the very group that the event is about.
#[test]
fn observer_may_look_into_the_group_and_spawn_into_it() {
    struct Meddles(Mutex<Option<failfast::GroupHandle<u8, failfast::group::Scoped<'static>>>>);
    impl Observer for Meddles {
        fn poll_started(&self, _: &TaskEvent) {
            let handle = self.0.lock().unwrap().clone().unwrap();
            assert!(!handle.snapshot().tasks().is_empty());
        }
        fn poll_ended(&self, _: &TaskEvent) {
            self.poll_started_again();
        }
        fn task_ended(&self, task: &TaskEvent, _: &Outcome<'_>) {
            let handle = self.0.lock().unwrap().clone().unwrap();
            assert!(
                !handle.snapshot().tasks().is_empty(),
                "it has not been released"
            );
            if task.task() < 3 {
                assert!(handle.spawn(ready(Ok::<_, Infallible>(7))).is_ok());
            }
        }
        fn canceled(&self, _: &GroupEvent, _: &failfast::Cause) {
            self.poll_started_again();
        }
    }
    impl Meddles {
        fn poll_started_again(&self) {
            drop(self.0.lock().unwrap().clone().unwrap().snapshot());
        }
    }
    watched(|| {
        let meddles = Arc::new(Meddles(Mutex::default()));
        let group = InPlaceGroup::new(&Context::background().with_observer(meddles.clone()));
        *meddles.0.lock().unwrap() = Some(group.handle());
        group.spawn(ready(Ok::<_, Infallible>(7)));
        assert_eq!(block_on(group.wait()).unwrap(), [7; 4]);
        meddles.0.lock().unwrap().take();
    });
}

#[test]
fn events_name_the_group_the_parent_and_the_place() {
    #[derive(Default)]
    struct Facts(Mutex<Vec<Fact>>);
    type Fact = (u64, Option<u64>, Option<String>, u32);
    impl Observer for Facts {
        fn group_opened(&self, group: &GroupEvent) {
            let name = group.name().map(|name| name.to_string());
            let fact = (group.group(), group.parent(), name, group.location().line());
            self.0.lock().unwrap().push(fact);
        }
        fn task_spawned(&self, task: &TaskEvent) {
            let name = Some(task.name().to_string());
            let fact = (
                task.group(),
                Some(task.task()),
                name,
                task.location().line(),
            );
            self.0.lock().unwrap().push(fact);
        }
    }
    let facts = Arc::new(Facts::default());
    let ctx = Context::background().with_observer(facts.clone());
    let line = line!();
    let outer = InPlaceGroup::<()>::new(&ctx);
    outer.spawn(ready(Ok::<_, Infallible>(())));
    outer.spawn_named("orders", ready(Ok::<_, Infallible>(())));
    let inner = InPlaceGroup::<()>::new(&outer.context().with_timeout(ms(1)));
    drop((inner, outer));
    let seen = facts.0.lock().unwrap();
    let (outer, inner) = (seen[0].0, seen[3].0);
    assert!(outer < inner);
    assert_eq!(
        *seen,
        [
            (outer, None, None, line + 1),
            (outer, Some(0), Some("task 0".to_owned()), line + 2),
            (outer, Some(1), Some("orders".to_owned()), line + 3),
            (inner, Some(outer), None, line + 4),
        ]
    );
}

#[test]
fn aggregators_group_has_its_name() {
    #[derive(Default)]
    struct Names(Mutex<Vec<Option<String>>>);
    impl Observer for Names {
        fn group_opened(&self, group: &GroupEvent) {
            self.0
                .lock()
                .unwrap()
                .push(group.name().map(|name| name.to_string()));
        }
    }
    let names = Arc::new(Names::default());
    let ctx = Context::background().with_observer(names.clone());
    let source = |_: Context, _: ()| ready(Ok::<_, Infallible>(1));
    let dashboard = failfast::Aggregator::in_place().source("a", source);
    block_on(dashboard.aggregate(&ctx, ())).unwrap();
    block_on(dashboard.with_name("dashboard").aggregate(&ctx, ())).unwrap();
    assert_eq!(
        *names.0.lock().unwrap(),
        [Some("aggregation".to_owned()), Some("dashboard".to_owned())]
    );
}

#[test]
fn nearest_observer_wins_and_is_read_when_the_group_is_made() {
    let (outer, ctx) = observed();
    let group = InPlaceGroup::<()>::new(&ctx);
    let inner = Log::default();
    let below = InPlaceGroup::<()>::new(&group.context().with_observer(inner.clone()));
    below.spawn(ready(Ok::<_, Infallible>(())));
    drop(below);
    group.spawn(ready(Ok::<_, Infallible>(())));
    drop(group);
    check_order(&outer);
    check_order(&inner);
    assert_eq!((outer.groups(), inner.groups()), (1, 1));
}

#[test]
fn linked_and_detached_contexts_keep_the_observer() {
    let (log, ctx) = observed();
    let (plain, _canceller) = Context::background().with_cancel();
    for ctx in [
        Context::linked([plain, ctx.clone()]),
        ctx.without_cancel(),
        ctx.with_value(1),
        ctx.with_timeout(ms(1)),
    ] {
        drop(InPlaceGroup::<()>::new(&ctx));
    }
    assert_eq!(log.groups(), 4);
    assert_eq!(
        format!("{:?}", ctx.with_value(1_u8)),
        "Background.with_observer.with_value(u8)"
    );
}

/// Without an observer, clock readings would be a cost without a use.
#[test]
fn clock_is_read_with_an_observer_only() {
    let readings = Arc::new(AtomicUsize::new(0));
    let count = readings.clone();
    let now = move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::time::Instant::now()
    };
    let sleep = |_: std::time::Duration| pending::<()>();
    let plain = Context::background().with_clock((now, sleep));
    let run = |ctx: &Context| {
        let group = InPlaceGroup::new(ctx);
        group.spawn(after_a_turn(Ok::<_, Infallible>(1)));
        block_on(group.wait()).unwrap();
        readings.swap(0, Ordering::SeqCst)
    };
    assert_eq!(run(&plain), 0);
    let (log, _) = observed();
    assert!(run(&plain.with_observer(log.clone())) >= log.all().len());
}

/// The clock is foreign code, and is read while the group is made.
#[test]
fn group_that_is_canceled_while_it_is_made_is_opened_first() {
    let (parent, canceller) = Context::background().with_cancel();
    let canceller = Mutex::new(Some(canceller));
    let now = move || {
        let canceller = canceller.lock().unwrap().take();
        if let Some(canceller) = canceller {
            canceller.cancel_with("closed");
        }
        std::time::Instant::now()
    };
    let sleep = |_: std::time::Duration| pending::<()>();
    let (log, _) = observed();
    let ctx = parent.with_clock((now, sleep)).with_observer(log.clone());
    drop(InPlaceGroup::<()>::new(&ctx));
    assert_eq!(
        log.all(),
        ["group_opened", "canceled: closed", "group_closed"]
    );
}

/// Group numbers from many threads at once.
#[test]
fn group_numbers_are_never_used_again() {
    #[derive(Default)]
    struct Numbers(Mutex<Vec<u64>>);
    impl Observer for Numbers {
        fn group_opened(&self, group: &GroupEvent) {
            self.0.lock().unwrap().push(group.group());
        }
    }
    let numbers = Arc::new(Numbers::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let ctx = Context::background().with_observer(numbers.clone());
            scope.spawn(move || (0..1000).for_each(|_| drop(InPlaceGroup::<()>::new(&ctx))));
        }
    });
    let mut numbers = std::mem::take(&mut *numbers.0.lock().unwrap());
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 4000);
}

/// Spawns by handles race with the end of the group, on several threads: whatever happens, the order holds.
#[test]
fn order_holds_where_spawns_and_the_end_race() {
    for round in 0..300 {
        let (log, ctx) = observed();
        let (ctx, canceller) = ctx.with_cancel();
        let (group, _) = Group::<()>::with_context(&ctx, smol::spawn);
        let group = group.with_limit(at_most(2));
        let handle = group.handle();
        let spawner = std::thread::spawn(move || {
            for _ in 0..20 {
                let _ = handle.spawn(after_a_turn(Ok::<_, Infallible>(())));
            }
        });
        let ender = std::thread::spawn(move || match round % 3 {
            0 => canceller.cancel(),
            _ => drop(canceller),
        });
        watched(move || match round % 2 {
            0 => drop(smol::block_on(group.wait())),
            _ => drop(group),
        });
        spawner.join().unwrap();
        ender.join().unwrap();
        let closed = log.clone();
        watched(move || {
            while closed.count("group_closed") == 0 {
                std::thread::yield_now();
            }
        });
        check_order(&log);
    }
}
