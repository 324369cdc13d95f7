//! What contexts and groups cost in memory, counted by the allocator; a binary, and a test, of its own for that.

use failfast::clock::ManualClock;
use failfast::{Context, Group, InPlaceGroup, LocalInPlaceGroup, Spawn, Task};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn, ready};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task;
use std::time::Duration;

struct Counting;

thread_local! {
    /// Of this thread alone: the test harness allocates on its own.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn live() -> isize {
    LIVE.get()
}

fn count(bytes: isize) {
    // A thread that is going away allocates and frees without being counted.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: forwards to the system's allocator, and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HOUR: Duration = Duration::from_secs(3600);

/// What `act` left behind, in bytes.
fn grown(act: impl FnOnce()) -> isize {
    let before = live();
    act();
    live() - before
}

fn allocations(act: impl FnOnce()) -> usize {
    let before = CALLS.get();
    act();
    CALLS.get() - before
}

/// A waiter that comes and goes.
fn wait_a_moment(ctx: &Context) {
    let mut cx = task::Context::from_waker(task::Waker::noop());
    assert!(Pin::new(&mut ctx.done()).poll(&mut cx).is_pending());
}

/// Every way for a child to come and go.
fn short_lives(parent: &Context, clock: &ManualClock, round: u32) {
    match round % 9 {
        8 => {
            // Linked to one that stays and one that ends, and gone before that.
            let (short, canceller) = parent.with_cancel();
            drop(Context::linked([parent.clone(), short.clone()]).on_done(|| {}));
            canceller.cancel();
        }
        0 => drop(parent.with_cancel()),
        1 => drop(parent.with_timeout(HOUR)),
        2 => drop(parent.with_timeout(Duration::ZERO)),
        3 => drop(Context::linked([parent.clone(), parent.with_value(round)])),
        4 => {
            let (child, canceller) = parent.with_cancel();
            wait_a_moment(&child.with_timeout(HOUR));
            canceller.disarm();
        }
        5 => {
            // The child is dropped by the drop of the grandchild.
            let (child, canceller) = parent.with_cancel();
            canceller.disarm();
            let (grandchild, canceller) = child.with_cancel();
            canceller.disarm();
            drop(child);
            drop(grandchild);
        }
        6 => {
            let callback = parent.with_timeout(HOUR).on_done(|| {});
            assert!(callback.stop());
        }
        _ => {
            // Called by its own timer, after the last reference to it was dropped.
            drop(parent.with_timeout(Duration::from_nanos(1)).on_done(|| {}));
            clock.advance(Duration::from_nanos(1));
        }
    }
}

/// One test after another: what they have in common, such as a thread-local, is grown once.
#[test]
fn memory_follows_the_living() {
    contexts();
    results_taken_with_next();
    results_that_waited_are_taken_with_next();
    group_that_is_waited_for_is_fed_by_a_handle();
    group_in_place_is_fed_by_a_task_of_its_own();
    background_tasks_come_and_go();
    forks_come_and_go();
    items_come_and_go_at_a_limit();
    finished_tasks_with_large_futures();
    finished_tasks_with_large_futures_in_place();
    groups_that_next_has_drained();
    tasks_of_one_size_after_those_of_another();
}

fn contexts() {
    // "Ended children unlink: a million short children under one long-lived parent leave nothing."
    let clock = ManualClock::new();
    let root = Context::background().with_clock(clock.clone());
    let (parent, canceller) = root.with_timeout(HOUR * 1_000).with_cancel();
    (0..1_000).for_each(|round| short_lives(&parent, &clock, round)); // what stays, stays once
    let left = grown(|| (0..1_000_000).for_each(|round| short_lives(&parent, &clock, round)));
    assert_eq!(left, 0, "bytes that a million children left");
    assert!(!parent.is_done() && clock.armed() == 0);

    // "cloning is a reference count; a child is one allocation"; a value too, and reading one is free.
    let [keep, room] = [parent.with_cancel(), parent.with_cancel()];
    drop(room); // the tree has room
    assert_eq!(allocations(|| drop(parent.clone())), 0);
    assert_eq!(
        allocations(|| assert!(!parent.is_done() && parent.err().is_none())),
        0
    );
    let mut child = None;
    assert_eq!(allocations(|| child = Some(parent.with_cancel())), 1);
    drop(child);
    assert_eq!(allocations(|| drop(parent.with_timeout(HOUR))), 1);
    assert_eq!(allocations(|| drop(root.with_value(1_u8))), 1);
    assert_eq!(allocations(|| drop(parent.done())), 0);

    // A peak is given back: ten thousand at once, waited for, and linked to, then ended.
    let whole = grown(|| {
        let crowd: Vec<_> = (0..10_000)
            .map(|_| parent.with_timeout(HOUR).with_cancel())
            .map(|(ctx, canceller)| (Context::linked([ctx.clone(), root.clone()]), ctx, canceller))
            .collect();
        crowd.iter().for_each(|(linked, ..)| wait_a_moment(linked));
        canceller.cancel_with("over");
        assert!(crowd.iter().all(|(linked, ..)| linked.is_done()));
        drop(crowd);
        drop((keep, parent, root, clock, canceller));
    });
    assert!(whole <= 0, "{whole} bytes left");
}

fn noop<F: Future>(future: Pin<&mut F>) -> task::Poll<F::Output> {
    future.poll(&mut task::Context::from_waker(task::Waker::noop()))
}

/// "`next` gives results as they complete and frees them", and whatever else was kept of their tasks.
fn results_taken_with_next() {
    let mut group = InPlaceGroup::new(&Context::background());
    let mut come_and_go = |rounds: u32| {
        for round in 0..rounds {
            group.spawn(ready(Ok::<_, Infallible>(round)));
            assert!(noop(pin!(group.next())).is_ready());
        }
    };
    come_and_go(1_000);
    let left = grown(|| come_and_go(100_000));
    assert_eq!(left, 0, "bytes that a hundred thousand tasks left");
}

/// What was kept for a crowd is given back while `next` takes it, in few steps.
fn results_that_waited_are_taken_with_next() {
    const CROWD: u32 = 10_000;
    let mut group = InPlaceGroup::new(&Context::background());
    let fed = grown(|| {
        for round in 0..CROWD {
            group.spawn_named("one of many", ready(Ok::<_, Infallible>(round)));
        }
        while !group.snapshot().tasks().is_empty() {
            assert!(noop(pin!(group.ready())).is_ready()); // polls them
        }
    });
    assert!(
        fed >= CROWD as isize * 32,
        "{fed} bytes for {CROWD} results"
    );
    let mut taken = 0;
    let mut calls = 0;
    let given_back = -grown(|| {
        calls = allocations(|| {
            while taken < CROWD - 100 {
                assert!(noop(pin!(group.next())).is_ready());
                taken += 1;
            }
        });
    });
    assert!(
        given_back >= fed - fed / 8,
        "{given_back} of {fed} bytes given back"
    );
    assert!(calls <= 32, "{calls} allocations to take {taken} results");
}

/// An executor that is driven by hand, and has room for so many tasks.
#[derive(Clone)]
struct Manual(Arc<Mutex<VecDeque<Task>>>);

impl Manual {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(VecDeque::with_capacity(16))))
    }

    /// Polls each task once, and keeps those that are not through.
    fn turn(&self) {
        let many = self.0.lock().unwrap().len();
        for _ in 0..many {
            let task = self.0.lock().unwrap().pop_front();
            let mut task = task.expect("it was there");
            if noop(Pin::new(&mut task)).is_pending() {
                self.0.lock().unwrap().push_back(task);
            }
        }
    }
}

impl Spawn for Manual {
    type Handle = Box<u64>; // one that is dropped, and allocates

    fn spawn(&self, task: Task) -> Self::Handle {
        self.0.lock().unwrap().push_back(task);
        Box::new(0)
    }
}

const MANY: u32 = 1_000_000;

/// "A server may keep one group for months with `wait` pending, while its listener's task lives, spawn through a
/// handle, and stay flat."
fn group_that_is_waited_for_is_fed_by_a_handle() {
    let executor = Manual::new();
    let group = Group::<()>::new(executor.clone());
    let handle = group.handle();
    group.spawn(pending::<Result<(), Infallible>>()); // the listener
    let mut wait = Box::pin(group.wait());
    assert!(noop(wait.as_mut()).is_pending());
    let feed = |rounds: u32| {
        for round in 0..rounds {
            let spawned = match round % 2 {
                0 => handle.spawn(ready(Ok::<_, Infallible>(()))).is_ok(),
                _ => handle
                    .spawn_named("a connection", ready(Ok::<_, Infallible>(())))
                    .is_ok(),
            };
            assert!(spawned);
            executor.turn();
        }
    };
    feed(1_000);
    let left = grown(|| feed(MANY));
    assert_eq!(left, 0, "bytes that a million tasks left");
    assert!(noop(wait.as_mut()).is_pending());
    handle.stop();
    executor.turn();
    assert_eq!(
        noop(wait.as_mut()).map(|result| result.is_ok()),
        task::Poll::Ready(true)
    );
}

/// "So may an in-place group whose tasks spawn."
fn group_in_place_is_fed_by_a_task_of_its_own() {
    let rounds = Rc::new(Cell::new(0_u32));
    let group = LocalInPlaceGroup::<()>::new(&Context::background());
    let (handle, count) = (group.handle(), rounds.clone());
    group.spawn(poll_fn(move |cx| {
        for _ in 0..10 {
            assert!(handle.spawn(ready(Ok::<_, Infallible>(()))).is_ok());
        }
        count.set(count.get() + 10);
        cx.waker().wake_by_ref();
        task::Poll::<Result<(), Infallible>>::Pending
    }));
    let mut wait = Box::pin(group.wait());
    let mut feed = |until: u32| {
        while rounds.get() < until {
            assert!(noop(wait.as_mut()).is_pending());
        }
    };
    feed(10_000);
    // Where it stops, some may not have been polled yet: no more at one time than at another, but for a turn.
    let left = grown(|| feed(MANY));
    assert!(
        left.abs() <= 64 * 1024,
        "{left} bytes that a million tasks left"
    );
    let more = grown(|| feed(2 * MANY));
    assert!(
        more.abs() <= 64 * 1024,
        "{more} bytes that a million more left"
    );
}

/// "A background task nothing at all", whatever `T`, with a waiter and without.
fn background_tasks_come_and_go() {
    for waited in [false, true] {
        let executor = Manual::new();
        let group = Group::<[u64; 8]>::new(executor.clone());
        let handle = group.handle();
        group.spawn(pending::<Result<[u64; 8], Infallible>>());
        let mut wait = None;
        let mut kept = Some(group);
        if waited {
            let pending = wait.insert(Box::pin(kept.take().expect("it is there").wait()));
            assert!(noop(pending.as_mut()).is_pending());
        }
        let feed = |rounds: u32| {
            for _ in 0..rounds {
                assert!(
                    handle
                        .spawn_background(ready(Ok::<_, Infallible>(())))
                        .is_ok()
                );
                executor.turn();
            }
        };
        feed(1_000);
        let left = grown(|| feed(MANY));
        assert_eq!(
            left, 0,
            "bytes that a million background tasks left, waited for: {waited}"
        );
    }
}

/// A fork's answer goes with the fork; the group keeps none of it.
fn forks_come_and_go() {
    let executor = Manual::new();
    let group = Group::<u64>::new(executor.clone());
    let handle = group.handle();
    let mut wait = Box::pin(group.wait());
    assert!(handle.spawn(pending::<Result<u64, Infallible>>()).is_ok());
    let mut feed = |rounds: u32| {
        for round in 0..rounds {
            let fork = handle.fork("fork", ready(Ok::<_, Infallible>(round)));
            if round % 3 == 0 {
                drop(fork);
                executor.turn();
                continue;
            }
            executor.turn();
            assert!(noop(pin!(fork)).is_ready());
            assert!(noop(wait.as_mut()).is_pending());
        }
    };
    feed(1_000);
    let left = grown(|| feed(MANY / 10));
    assert_eq!(left, 0, "bytes that a hundred thousand forks left");
}

/// `try_for_each` at a limit: a million items, and no more kept than run.
fn items_come_and_go_at_a_limit() {
    let (warm, last) = (Cell::new(0), Cell::new(0));
    let items = (0..MANY).inspect(|item| match item {
        10_000 => warm.set(live()),
        999_000 => last.set(live()),
        _ => {}
    });
    let group = InPlaceGroup::<u32>::new(&Context::background()).with_limit(EIGHT);
    let each = group.try_for_each(items, |item| async move {
        let mut yielded = item % 3 == 0;
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            match std::mem::replace(&mut yielded, true) {
                true => task::Poll::Ready(()),
                false => task::Poll::Pending,
            }
        })
        .await;
        Ok::<_, Infallible>(item)
    });
    let mut each = Box::pin(each);
    while noop(each.as_mut()).is_pending() {}
    assert_ne!((warm.get(), last.get()), (0, 0));
    let left: isize = last.get() - warm.get();
    // At two moments up to eight tasks differ.
    assert!(
        left.abs() <= 8 * 1024,
        "{left} bytes that a million items left"
    );
}

const EIGHT: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// A future of 8 KiB that ends in its first poll.
async fn large(number: u32) -> Result<u32, Infallible> {
    let room = [number; 2048];
    ready(()).await;
    Ok(std::hint::black_box(&room)[7])
}

/// What a finished task may keep beyond its result.
const BEYOND: usize = 64;
const TASKS: usize = 10_000;

/// Once and for all tasks of a group: what grows in steps may have grown for one more.
const ONCE: usize = 4 * 1024;

fn assert_few(kept: isize) {
    let most = TASKS * (size_of::<u32>() + BEYOND) + ONCE;
    assert!(
        kept <= most as isize,
        "{} bytes a finished task",
        kept / TASKS as isize
    );
}

/// "A finished task keeps at most `size_of::<T>()` and 64 bytes …, whatever its future's size".
fn finished_tasks_with_large_futures() {
    assert!(size_of_val(&large(1)) >= 8 * 1024);
    let executor = Manual::new();
    let group = Group::<u32>::new(executor.clone());
    let kept = grown(|| {
        for number in 0..TASKS as u32 {
            group.spawn(large(number));
            executor.turn();
        }
    });
    assert_few(kept);
    let results = noop(pin!(group.wait()));
    assert!(
        matches!(results, task::Poll::Ready(Ok(all)) if all.len() == TASKS && all[9_999] == 9_999)
    );
}

fn finished_tasks_with_large_futures_in_place() {
    let group = InPlaceGroup::<u32>::new(&Context::background());
    let handle = group.handle();
    group.spawn(pending::<Result<u32, Infallible>>());
    let mut wait = Box::pin(group.wait());
    assert!(noop(wait.as_mut()).is_pending());
    let kept = grown(|| {
        for number in 0..TASKS as u32 {
            assert!(handle.spawn(large(number)).is_ok());
            assert!(noop(wait.as_mut()).is_pending());
        }
    });
    assert_few(kept);
}

/// What held the results that `next` took was never freed.
fn groups_that_next_has_drained() {
    for tasks in [1, 3, 4, 5, 100, 1_000] {
        let drained = || {
            let mut group = InPlaceGroup::<u64>::new(&Context::background());
            for number in 0..tasks {
                group.spawn(ready(Ok::<_, Infallible>(number)));
            }
            for _ in 0..tasks {
                let next = noop(pin!(group.next()));
                assert!(matches!(next, task::Poll::Ready(Some(Ok(_)))));
            }
        };
        drained(); // the thread keeps some memory for tasks
        assert_eq!(
            grown(|| (0..100).for_each(|_| drained())),
            0,
            "{tasks} tasks"
        );
    }
}

/// A thousand tasks of that size at once.
fn crowd<const SIZE: usize>() {
    let group = InPlaceGroup::<()>::new(&Context::background());
    for _ in 0..1_000 {
        let room = [0_u8; SIZE];
        group.spawn(async move {
            ready(()).await;
            std::hint::black_box(&room);
            Ok::<_, Infallible>(())
        });
    }
    let mut wait = Box::pin(group.wait());
    while noop(wait.as_mut()).is_pending() {}
}

/// What a thread keeps for tasks of one size makes room for those of another, and all else is given back: what is kept differs
/// by less than one task, because a task of the other size may not fit into what is left.
fn tasks_of_one_size_after_those_of_another() {
    let both = || {
        crowd::<120>();
        crowd::<20>();
    };
    (0..10).for_each(|_| both()); // what the thread kept before makes room as well
    let left = grown(|| (0..10).for_each(|_| both()));
    assert!(left.abs() < 512, "bytes that other tasks left: {left}");
}
