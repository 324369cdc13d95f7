//! Live readers.

use crate::support::{Log, at_most, watched};
use failfast::observe::{Ended, Event, EventKind, Recorder};
use failfast::policy::Retry;
use failfast::{Context, Group, InPlaceGroup, Source, SourceExt, Task};
use futures::executor::block_on;
use futures::stream::{Stream, StreamExt as _};
use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll, Wake, Waker};
use std::thread::{self, ThreadId};

fn run(recorder: &Recorder) {
    let group = InPlaceGroup::new(&Context::background().with_observer(recorder.clone()));
    group.spawn(ready(Ok::<_, Infallible>(1)));
    block_on(group.wait()).unwrap();
}

const KINDS: [EventKind; 6] = [
    EventKind::GroupOpened,
    EventKind::TaskSpawned,
    EventKind::PollStarted,
    EventKind::PollEnded,
    EventKind::TaskEnded(Ended::Succeeded),
    EventKind::GroupClosed,
];

#[test]
fn reader_receives_every_event_from_its_subscription_on() {
    let recorder = Recorder::new();
    run(&recorder);
    let events = recorder.subscribe(at_most(6));
    run(&recorder);
    drop(recorder);
    let kinds: Vec<_> = block_on(events.map(|event| event.kind()).collect());
    assert_eq!(kinds, KINDS);
}

#[test]
fn slow_reader_loses_the_oldest_and_receives_their_number() {
    for capacity in 1..=7 {
        let recorder = Recorder::new();
        let events = recorder.subscribe(at_most(capacity));
        run(&recorder);
        drop(recorder);
        let kinds: Vec<_> = block_on(events.map(|event| event.kind()).collect());
        let lost = KINDS.len().saturating_sub(capacity);
        let told = (lost > 0).then_some(EventKind::Missed(lost as u64));
        let expected: Vec<_> = told
            .into_iter()
            .chain(KINDS[lost..].iter().copied())
            .collect();
        assert_eq!(kinds, expected, "{capacity}");
    }
}

#[test]
fn gap_in_the_middle_is_reported_in_its_place() {
    let recorder = Recorder::new();
    let mut events = pin!(recorder.subscribe(at_most(4)));
    run(&recorder);
    let first = block_on(events.next()).unwrap();
    assert_eq!(first.kind(), EventKind::Missed(2));
    assert_eq!(
        (first.group(), first.task(), first.name(), first.text()),
        (None, None, None, None)
    );
    run(&recorder);
    let rest: Vec<_> = block_on(events.by_ref().take(6).map(|event| event.kind()).collect());
    let mut expected = vec![KINDS[2], EventKind::Missed(5)];
    expected.extend_from_slice(&KINDS[2..]);
    // The first behind the old gap had been taken out already.
    assert_eq!(rest, expected);
}

#[test]
fn capacity_of_the_ring_and_of_a_reader_are_apart() {
    let recorder = Recorder::with_capacity(at_most(1));
    let events = recorder.subscribe(at_most(10));
    run(&recorder);
    drop(recorder);
    assert_eq!(block_on(events.count()), KINDS.len());
}

struct Count(AtomicUsize, Mutex<Option<ThreadId>>);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        *self.1.lock().unwrap() = Some(thread::current().id());
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counting() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count(AtomicUsize::new(0), Mutex::default()));
    (count.clone(), Waker::from(count))
}

fn poll<S: Stream + Unpin>(events: &mut S, waker: &Waker) -> Poll<Option<S::Item>> {
    events.poll_next_unpin(&mut task::Context::from_waker(waker))
}

#[test]
fn reader_that_waits_is_woken_once_by_the_next_event() {
    let recorder = Recorder::new();
    let mut events = Box::pin(recorder.subscribe(at_most(10)));
    let (count, waker) = counting();
    assert!(poll(&mut events, &waker).is_pending());
    run(&recorder);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    for kind in KINDS {
        assert!(
            matches!(poll(&mut events, &waker), Poll::Ready(Some(event)) if event.kind() == kind)
        );
    }
    assert!(poll(&mut events, &waker).is_pending());
    drop(recorder);
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    assert!(matches!(poll(&mut events, &waker), Poll::Ready(None)));
}

#[test]
fn reader_that_is_gone_costs_nothing_any_more() {
    let recorder = Recorder::new();
    let mut events = Box::pin(recorder.subscribe(at_most(10)));
    let (count, waker) = counting();
    assert!(poll(&mut events, &waker).is_pending());
    drop(events);
    run(&recorder);
    assert_eq!(
        (count.0.load(Ordering::SeqCst), Arc::strong_count(&count)),
        (0, 2)
    );
}

/// Hazard 3: an executor that drops its tasks may hold locks of its own, which a waker would take.
#[test]
fn executor_that_drops_a_task_wakes_no_reader_on_its_thread() {
    let recorder = Recorder::new();
    let mut events = Box::pin(recorder.subscribe(at_most(100)));
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let kept = tasks.clone();
    let ctx = Context::background().with_observer(recorder.clone());
    let (group, _) =
        Group::<()>::with_context(&ctx, move |task: Task| kept.lock().unwrap().push(task));
    group.spawn(ready(Ok::<_, Infallible>(())));
    let (count, waker) = counting();
    while poll(&mut events, &waker).is_ready() {}
    tasks.lock().unwrap().clear();
    let woken = count.clone();
    watched(move || {
        while woken.0.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
    });
    assert_ne!(*count.1.lock().unwrap(), Some(thread::current().id()));
    assert!(block_on(group.wait()).is_err());
}

/// Hazard 5: a waker that owns the task which waits, of an executor that is gone, drops that task when it is woken.
#[test]
fn waker_that_drops_the_reader_does_not_hang() {
    struct Owner(Mutex<Option<Box<dyn std::any::Any + Send>>>);
    impl Wake for Owner {
        fn wake(self: Arc<Self>) {
            let reader = self.0.lock().unwrap().take();
            drop(reader);
        }
    }
    watched(|| {
        let recorder = Recorder::new();
        let mut events = Box::pin(recorder.subscribe(at_most(1)));
        let owner = Arc::new(Owner(Mutex::default()));
        assert!(poll(&mut events, &Waker::from(owner.clone())).is_pending());
        *owner.0.lock().unwrap() = Some(Box::new(events));
        run(&recorder);
        assert!(owner.0.lock().unwrap().is_none());
        run(&recorder);
    });
}

#[test]
fn panicking_waker_of_a_reader_changes_nothing() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("the waker fails");
        }
    }
    let recorder = Recorder::new();
    let mut first = Box::pin(recorder.subscribe(at_most(10)));
    let mut second = Box::pin(recorder.subscribe(at_most(10)));
    let (count, waker) = counting();
    assert!(poll(&mut first, &Waker::from(Arc::new(Bad))).is_pending());
    assert!(poll(&mut second, &waker).is_pending());
    run(&recorder);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
}

#[test]
fn readers_on_other_threads_miss_nothing() {
    watched(|| {
        let recorder = Recorder::with_capacity(at_most(10));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let events = recorder.subscribe(at_most(100_000));
                thread::spawn(move || {
                    block_on(events.map(|event| event.kind()).collect::<Vec<_>>())
                })
            })
            .collect();
        (0..1000).for_each(|_| run(&recorder));
        drop(recorder);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), KINDS.repeat(1000));
        }
    });
}

#[test]
fn room_for_any_number_of_events_takes_no_memory_before_they_come() {
    for capacity in [1 << 40, usize::MAX / 1024, usize::MAX] {
        let recorder = Recorder::new();
        let events = recorder.subscribe(at_most(capacity));
        run(&recorder);
        drop(recorder);
        let kinds: Vec<_> = block_on(events.map(|event| event.kind()).collect());
        assert_eq!(kinds, KINDS, "{capacity}");
    }
}

/// A group at a limit below another one, whose task is queued, and an attempt: every kind of event but a missed one.
fn told_of_each_kind(read: impl Fn(&Event) -> String) -> Vec<String> {
    let recorder = Recorder::new();
    let events = recorder.subscribe(at_most(64));
    let ctx = Context::background().with_observer(recorder.clone());
    let outer = InPlaceGroup::<()>::new(&ctx);
    let inner = InPlaceGroup::new(outer.context()).with_limit(at_most(1));
    let attempts = |ctx: Context| async move {
        let source = |_: Context, (): ()| ready(Err::<(), _>("refused"));
        source.retry(Retry::times(0)).fetch(ctx, ()).await
    };
    inner.spawn_named("orders", attempts(inner.context().clone()));
    inner.spawn_named("ads", ready(Ok::<_, Infallible>(())));
    block_on(inner.wait()).unwrap_err();
    drop((outer, ctx, recorder));
    let events: Vec<_> = block_on(events.collect());
    let groups: Vec<_> = events.iter().filter_map(Event::group).collect();
    let (outer, inner) = (groups[0], groups[1]);
    let renamed = |text: String| {
        text.replace(&format!("group {inner}"), "group B")
            .replace(&format!("group {outer}"), "group A")
    };
    events.iter().map(|event| renamed(read(event))).collect()
}

#[test]
fn each_event_says_in_a_line_what_happened() {
    let lines = told_of_each_kind(|event| event.to_string());
    assert_eq!(
        lines,
        [
            "group A: opened",
            "group B: opened",
            "orders of group B: spawned",
            "ads of group B: spawned",
            "ads of group B: queued",
            "orders of group B: poll started",
            "orders of group B: attempt 1 started",
            "orders of group B: attempt 1 failed: refused",
            "orders of group B: poll ended",
            "orders of group B: failed: orders: refused",
            "group B: canceled: orders: refused",
            "ads of group B: cancelled",
            "group B: closed",
            "group A: closed",
        ]
    );
}

#[test]
fn events_of_a_group_tell_its_parent_and_those_of_tasks_do_not() {
    let told = told_of_each_kind(|event| {
        let parent = event.parent().map(|parent| format!("group {parent}"));
        format!("{}: {}", event.kind(), parent.unwrap_or_default())
    });
    let with_parents: Vec<_> = told.iter().filter(|line| !line.ends_with(": ")).collect();
    assert_eq!(
        with_parents,
        ["opened: group A", "canceled: group A", "closed: group A"]
    );
    assert_eq!((told[0].as_str(), told.len()), ("opened: ", 14));
}

#[test]
fn a_missed_event_tells_how_many_and_is_of_no_group() {
    let recorder = Recorder::new();
    let mut events = recorder.subscribe(at_most(1));
    run(&recorder);
    let missed = block_on(events.next()).unwrap();
    assert_eq!(missed.to_string(), "5 events missed");
    assert_eq!(
        (missed.group(), missed.parent(), missed.task()),
        (None, None, None)
    );
}

#[test]
fn an_observer_behind_an_arc_receives_what_it_would_receive_itself() {
    let heard = |shared: bool| {
        let log = Log::default();
        let ctx = match shared {
            true => Context::background().with_observer(Arc::new(log.clone())),
            false => Context::background().with_observer(log.clone()),
        };
        let group = InPlaceGroup::new(&ctx).with_limit(at_most(1));
        let source = |_: Context, (): ()| ready(Err::<(), _>("refused"));
        let call = source
            .retry(Retry::times(0))
            .fetch(group.context().clone(), ());
        group.spawn(call);
        group.spawn(ready(Ok::<_, Infallible>(())));
        block_on(group.wait()).unwrap_err();
        log.all()
    };
    let known = heard(false);
    assert!(
        known.iter().any(|line| line.starts_with("task_queued")),
        "{known:#?}"
    );
    assert!(
        known.iter().any(|line| line.starts_with("attempt")),
        "{known:#?}"
    );
    assert_eq!(heard(true), known);
}
