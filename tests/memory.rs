//! What contexts cost in memory, counted by the allocator; a binary, and a test, of its own for that.

use failfast::{Context, Group, ManualClock};
use std::alloc::{GlobalAlloc, Layout, System};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::SeqCst};
use std::task;
use std::time::Duration;

struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: forwards to the system's allocator, and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, SeqCst);
        LIVE.fetch_add(layout.size() as isize, SeqCst);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, SeqCst);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HOUR: Duration = Duration::from_secs(3600);

/// What `act` left behind, in bytes.
fn grown(act: impl FnOnce()) -> isize {
    let before = LIVE.load(SeqCst);
    act();
    LIVE.load(SeqCst) - before
}

fn allocations(act: impl FnOnce()) -> usize {
    let before = CALLS.load(SeqCst);
    act();
    CALLS.load(SeqCst) - before
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
            // Called by its own timer, when nobody holds it any more.
            drop(parent.with_timeout(Duration::from_nanos(1)).on_done(|| {}));
            clock.advance(Duration::from_nanos(1));
        }
    }
}

#[test]
fn memory_follows_the_living() {
    // "Ended children unlink: a million short children under one long-lived parent leave nothing."
    let clock = ManualClock::new();
    let root = Context::background().with_clock(clock.clone());
    let (parent, canceller) = root.with_timeout(HOUR * 1_000).with_cancel();
    (0..1_000).for_each(|round| short_lives(&parent, &clock, round)); // what stays, stays once
    let left = grown(|| (0..1_000_000).for_each(|round| short_lives(&parent, &clock, round)));
    assert_eq!(left, 0, "bytes that a million children left");
    assert!(!parent.is_done() && clock.armed() == 0);

    // "cloning is a reference count; a child is one allocation"; a value too, and asking is free.
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

    // "`next` gives results as they complete and frees them", and their places.
    let mut group = Group::in_place(&root);
    let mut come_and_go = |rounds: u32| {
        for round in 0..rounds {
            group.spawn(std::future::ready(Ok::<_, std::fmt::Error>(round)));
            let mut cx = task::Context::from_waker(task::Waker::noop());
            assert!(pin!(group.next()).poll(&mut cx).is_ready());
        }
    };
    come_and_go(1_000);
    let left = grown(|| come_and_go(100_000));
    assert_eq!(left, 0, "bytes that a hundred thousand tasks left");
    drop(group);

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
