//! Wakers, callbacks and values that panic, block or come back from inside.

use crate::context::{cancelable, waiting, why};
use crate::support::{Count, GENEROUS, SECOND, counting, manual, on_wake, poll};
use failfast::context::Done;
use failfast::{Context, ErrorKind, Group, Task};
use futures::FutureExt;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, RawWaker, RawWakerVTable, Waker};
use std::thread;

#[test]
fn a_waker_that_reads_inline_finds_it_done() {
    // "Waking runs no user code under a lock".
    let (ctx, canceller) = cancelable();
    let child = ctx.with_timeout(GENEROUS);
    let (asked, looked) = (Count::default(), ctx.clone());
    let count = asked.clone();
    let waker = on_wake(move || {
        assert!(looked.is_done() && looked.cause().is_some() && child.is_done());
        assert!(looked.with_cancel().0.is_done());
        assert_eq!(looked.done().now_or_never(), Some(()));
        count.add();
    });
    let _done = waiting(&ctx, &waker);
    canceller.cancel();
    assert_eq!(asked.get(), 1);
}

#[test]
fn a_waker_that_panics_keeps_no_other_asleep() {
    let (clock, root) = manual();
    let (ctx, canceller) = root.with_timeout(SECOND).with_cancel();
    let timed = root.with_timeout(SECOND);
    let (woken, waker) = counting();
    let bad = on_wake(|| panic!("a bad waker"));
    let _waiters: Vec<_> = [&ctx, &timed]
        .into_iter()
        .flat_map(|ctx| {
            [
                waiting(ctx, &waker),
                waiting(ctx, &bad),
                waiting(ctx, &waker),
            ]
        })
        .collect();
    canceller.cancel();
    assert_eq!(woken.get(), 2);
    clock.advance(SECOND);
    assert_eq!((woken.get(), timed.is_done()), (4, true));
}

#[test]
fn a_waker_that_blocks_holds_up_no_reader() {
    let (ctx, canceller) = cancelable();
    let (release, blocked) = mpsc::channel::<()>();
    let (inside, entered) = mpsc::channel();
    let blocked = Mutex::new(blocked);
    let waker = on_wake(move || {
        inside.send(()).unwrap();
        blocked.lock().unwrap().recv().unwrap_or(());
    });
    let done = waiting(&ctx, &waker);
    let ender = thread::spawn(move || canceller.cancel_with("slowly"));
    entered.recv_timeout(GENEROUS).unwrap();
    assert_eq!(why(&ctx), "slowly");
    let called = Count::default();
    drop(ctx.on_done(called.adder()));
    assert!(ctx.with_cancel().0.is_done());
    drop(done);
    assert_eq!(called.get(), 1);
    drop(release);
    ender.join().unwrap();
}

#[test]
fn a_waker_that_owns_the_waiter_frees_it() {
    // Hazard 5: the waker owns the task, the task owns the `Done`.
    let (ctx, canceller) = cancelable();
    let slot: Arc<Mutex<Option<Done>>> = Arc::default();
    let own = slot.clone();
    let waker = on_wake(move || drop(own.lock().unwrap().take()));
    *slot.lock().unwrap() = Some(waiting(&ctx, &waker));
    canceller.cancel();
    assert!(slot.lock().unwrap().is_none());
}

/// What a waker's clone and drop do: they enter the context in every way there is.
struct Reentrant {
    ctx: Context,
    entered: Count,
}

impl Reentrant {
    fn enter(&self) {
        self.entered.add();
        let _ = self.ctx.err();
        drop(self.ctx.with_cancel());
        self.ctx.on_done(|| {}).stop();
        drop(Context::linked([self.ctx.clone()]).with_timeout(GENEROUS));
        let _ = poll(&mut self.ctx.done(), Waker::noop());
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

fn clone(data: *const ()) -> RawWaker {
    // SAFETY: `data` is what `Arc::into_raw` gave, and each waker owns one count of it.
    let own = unsafe { ManuallyDrop::new(Arc::from_raw(data.cast::<Reentrant>())) };
    own.enter();
    RawWaker::new(Arc::into_raw(Arc::clone(&own)).cast(), &VTABLE)
}

fn wake(data: *const ()) {
    release(data);
}

fn wake_by_ref(data: *const ()) {
    // SAFETY: as in `clone`.
    unsafe { ManuallyDrop::new(Arc::from_raw(data.cast::<Reentrant>())) }.enter();
}

fn release(data: *const ()) {
    // SAFETY: as in `clone`; this one's count is given up.
    unsafe { Arc::from_raw(data.cast::<Reentrant>()) }.enter();
}

fn reentrant(ctx: &Context) -> (Count, Waker) {
    let (ctx, entered) = (ctx.clone(), Count::default());
    let data = Arc::into_raw(Arc::new(Reentrant {
        ctx,
        entered: entered.clone(),
    }));
    // SAFETY: see above.
    (entered, unsafe {
        Waker::from_raw(RawWaker::new(data.cast(), &VTABLE))
    })
}

#[test]
fn a_waker_whose_clone_and_drop_enter_the_context_does_no_harm() {
    // "drop replaced wakers outside the lock", and clone them there.
    let (clock, root) = manual();
    let (ctx, canceller) = root.with_timeout(SECOND).with_cancel();
    let (entered, waker) = reentrant(&ctx);
    let (others, other) = reentrant(&ctx);
    let mut done = waiting(&ctx, &waker);
    assert_eq!(poll(&mut done, &other), Poll::Pending); // replaced: the first is dropped
    assert_eq!((entered.get(), others.get()), (2, 1));
    drop(waiting(&ctx, &waker));
    let mut second = waiting(&ctx, &waker);
    canceller.cancel();
    assert_eq!(poll(&mut done, &waker), Poll::Ready(()));
    assert_eq!(poll(&mut second, &waker), Poll::Ready(()));
    drop((waker, other));
    // Each clone was woken or dropped, and so were the two wakers themselves.
    assert_eq!((entered.get(), others.get()), (7, 3));
    assert_eq!(clock.armed(), 0);
}

#[test]
fn a_value_or_callback_whose_drop_enters_the_context_does_no_harm() {
    struct Enters(Context, Count);
    impl Drop for Enters {
        fn drop(&mut self) {
            drop(self.0.with_cancel());
            drop(self.0.on_done(|| {}));
            self.1.add();
        }
    }
    let (ctx, canceller) = cancelable();
    let entered = Count::default();
    let enters = || Enters(ctx.clone(), entered.clone());
    drop(ctx.with_value(enters()));
    let held = enters();
    ctx.on_done(move || drop(held)).stop();
    let held = enters();
    drop(ctx.on_done(move || drop(held)));
    canceller.cancel();
    let held = enters();
    drop(ctx.on_done(move || drop(held)));
    assert_eq!(entered.get(), 4);
}

#[test]
fn a_callback_whose_drop_panics_harms_nothing_else() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a bad destructor");
        }
    }
    let (ctx, canceller) = cancelable();
    let bomb = Bomb;
    let callback = ctx.on_done(move || drop(bomb));
    assert!(callback.stop());
    let bomb = Bomb;
    drop(Context::background().on_done(move || drop(bomb)));
    let [one, other] = [(), ()].map(|()| {
        let (source, canceller) = cancelable();
        canceller.disarm();
        source
    });
    let linked = Context::linked([one.clone(), other.clone()]);
    for bomb in [Bomb, Bomb] {
        drop(linked.on_done(move || drop(bomb)));
    }
    drop(linked); // its sources can still call them
    drop((one, other));
    let bomb = Bomb;
    drop(ctx.on_done(move || drop(bomb)));
    let called = Count::default();
    drop(ctx.on_done(called.adder()));
    canceller.cancel();
    assert_eq!(called.get(), 1);
}

/// A clock that panics while a canceller is dropped ends what that one ends, "and nothing else".
#[test]
fn canceled_while_the_clock_panics_its_siblings_live() {
    use failfast::clock::{Clock, Sleep, SystemClock};
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::time::Instant;

    static PANICS: AtomicBool = AtomicBool::new(false);

    struct Moody;

    impl Clock for Moody {
        fn now(&self) -> Instant {
            assert!(!PANICS.load(SeqCst), "no time");
            SystemClock.now()
        }

        fn sleep_until(&self, deadline: Instant) -> Sleep {
            SystemClock.sleep_until(deadline)
        }
    }

    let hour = std::time::Duration::from_secs(3600);
    let server = Context::background().with_clock(Moody).with_timeout(hour);
    let (sibling, _its_canceller) = server.with_cancel();
    for cancels in [true, false] {
        let (ctx, canceller) = server.with_cancel();
        PANICS.store(true, SeqCst);
        if cancels {
            canceller.cancel();
        }
        drop(canceller);
        PANICS.store(false, SeqCst);
        let expected = if cancels {
            "context canceled"
        } else {
            "its canceller was dropped"
        };
        assert_eq!(ctx.cause().unwrap().to_string(), expected);
        assert!(!sibling.is_done() && !server.is_done());
    }
}

/// A clock that calls back once, when it is next read: what runs then finds a walk on its way, as another thread would.
mod a_clock_that_calls_back {
    use super::*;
    use failfast::clock::{Clock, ManualClock, Sleep};
    use std::time::Instant;

    type Look = Box<dyn FnOnce() -> bool + Send>;

    #[derive(Clone, Default)]
    struct CallingBack {
        clock: ManualClock,
        look: Arc<Mutex<Option<Look>>>,
        /// What the look saw: a panic of the clock's would be contained.
        saw: Arc<Mutex<Option<bool>>>,
    }

    impl CallingBack {
        fn when_read(&self, look: impl FnOnce() -> bool + Send + 'static) {
            *self.look.lock().unwrap() = Some(Box::new(look));
        }

        fn saw(&self) -> Option<bool> {
            *self.saw.lock().unwrap()
        }
    }

    impl Clock for CallingBack {
        fn now(&self) -> Instant {
            let look = self.look.lock().unwrap().take();
            if let Some(look) = look {
                let saw = look();
                *self.saw.lock().unwrap() = Some(saw);
            }
            self.clock.now()
        }

        /// No timer of it comes: a look at the clock alone shows that a deadline has passed.
        fn sleep_until(&self, _: Instant) -> Sleep {
            Sleep::new(std::future::pending::<()>())
        }
    }

    #[test]
    fn finds_a_context_done_which_the_ancestors_end_has_yet_to_reach() {
        let (clock, root) = manual();
        let calls_back = CallingBack::default();
        let parent = root.with_deadline_cause(clock.now() + SECOND * 9, "parent's");
        let read = parent.with_clock(calls_back.clone());
        let _read = read.with_deadline(clock.now() + SECOND);
        let (later, _canceller) = parent.with_cancel();
        clock.advance(SECOND * 9);
        calls_back.when_read(move || later.is_done() && why(&later) == "parent's");
        assert!(parent.is_done());
        assert_eq!(calls_back.saw(), Some(true));
    }

    #[test]
    fn cancels_above_what_is_being_canceled_and_all_that_is_linked_below_is_done() {
        let calls_back = CallingBack::default();
        let (top, tops) = cancelable();
        let (parent, parents) = top.with_cancel();
        let (source, _sources) = parent.with_cancel();
        let linked = Context::linked([source, Context::background().with_timeout(GENEROUS)]);
        let _read = parent.with_clock(calls_back.clone()).with_timeout(SECOND);
        calls_back.when_read(move || {
            tops.cancel();
            linked.is_done()
        });
        parents.cancel();
        assert_eq!(calls_back.saw(), Some(true));
    }

    #[test]
    fn cancels_another_source_of_what_is_being_ended_and_all_below_it_is_done() {
        let calls_back = CallingBack::default();
        let ((one, ones), (two, twos)) = (cancelable(), cancelable());
        let linked = Context::linked([one, two]);
        let _read = linked.with_clock(calls_back.clone()).with_timeout(SECOND);
        let (later, _canceller) = linked.with_cancel();
        calls_back.when_read(move || {
            twos.cancel();
            later.is_done()
        });
        ones.cancel();
        assert_eq!(calls_back.saw(), Some(true));
    }

    #[test]
    fn polls_a_task_whose_error_is_an_end_that_has_yet_to_reach_its_group() {
        let (deaf, calls_back) = (CallingBack::default(), CallingBack::default());
        let clock = deaf.clock.clone();
        let parent = Context::background().with_clock(deaf);
        let parent = parent.with_timeout(SECOND * 9);
        let read = parent.with_clock(calls_back.clone());
        let _read = read.with_deadline(clock.now() + SECOND);
        let (executor, spawned) = mpsc::channel::<Task>();
        let (group, ctx) = Group::<()>::with_context(&parent, move |task| {
            executor.send(task).unwrap();
        });
        let (child, canceller) = ctx.with_cancel();
        group.spawn(async move {
            let _alive = canceller;
            child.check()
        });
        let mut task = spawned.recv().unwrap();
        calls_back.when_read(move || poll(&mut task, Waker::noop()).is_ready());
        clock.advance(SECOND * 9);
        assert!(parent.is_done());
        assert_eq!(calls_back.saw(), Some(true));
        let error = group.wait().now_or_never().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }

    /// A linked context took the memory of one that the walk had met and that had gone meanwhile, and was left out.
    #[test]
    fn link_contexts_while_others_that_the_cancel_met_go_and_they_are_done() {
        let (drops, links) = (CallingBack::default(), CallingBack::default());
        let timed = |clock: &CallingBack| {
            let ctx = Context::background().with_clock(clock.clone());
            ctx.with_timeout(SECOND)
        };
        let ((source, sources), (other, others)) = (cancelable(), cancelable());
        let first = Context::linked([source.clone(), other.clone(), timed(&drops)]);
        let second = Context::linked([source, timed(&links)]);
        let ((below, _below), (beside, _beside)) = (second.with_cancel(), cancelable());
        drops.when_read(move || {
            others.cancel();
            drop((first, other));
            true
        });
        let made = Arc::new(Mutex::new(Vec::new()));
        let makes = made.clone();
        links.when_read(move || {
            let one = |_| Context::linked([below.clone(), beside.clone()]);
            makes.lock().unwrap().extend((0..32).map(one));
            true
        });
        sources.cancel();
        assert_eq!((drops.saw(), links.saw()), (Some(true), Some(true)));
        let made = made.lock().unwrap();
        assert_eq!(made.iter().filter(|ctx| ctx.is_done()).count(), 32);
    }

    #[test]
    fn cancels_above_a_source_whose_links_are_being_ended_and_they_are_done() {
        let calls_back = CallingBack::default();
        let (top, tops) = cancelable();
        let (source, sources) = top.with_cancel();
        let read = Context::background().with_clock(calls_back.clone());
        let linked = Context::linked([source, read.with_timeout(SECOND)]);
        calls_back.when_read(move || {
            tops.cancel();
            linked.is_done()
        });
        sources.cancel();
        assert_eq!(calls_back.saw(), Some(true));
    }
}
