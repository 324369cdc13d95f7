//! Foreign code in a flight: wakers, clones, keys and destructors.

use super::*;

#[test]
fn rule_39_wakers_are_cloned_woken_and_dropped_under_no_lock() {
    let (desk, source) = desk();
    let looks = Arc::new(AtomicUsize::new(0));
    let mut calls: Vec<_> = (0..4)
        .map(|_| Some(Box::pin(source.fetch(Context::background(), 7))))
        .collect();
    for _ in 0..2 {
        for call in calls.iter_mut().flatten() {
            // It joins the flight, and leaves it.
            let (source, looks) = (source.clone(), looks.clone());
            let waker = nosy(move || {
                let mut other = Box::pin(source.fetch(Context::background(), 7));
                let mut cx = task::Context::from_waker(Waker::noop());
                drop(other.as_mut().poll(&mut cx));
                looks.fetch_add(1, SeqCst);
            });
            assert!(
                call.as_mut()
                    .poll(&mut task::Context::from_waker(&waker))
                    .is_pending()
            );
        }
    }
    // The first flights were those of the wakers.
    let flight = (0..desk.calls()).find(|call| desk.is_open(*call));
    desk.wake(flight.expect("the calls'"));
    calls.iter_mut().for_each(|call| *call = None);
    assert!(looks.load(SeqCst) > 0);
}

#[test]
fn rule_39_the_flights_waker_keeps_nothing_of_the_flight() {
    let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let (log, alive) = (kept.clone(), Arc::new(()));
    let weak = Arc::downgrade(&alive);
    let source = move |_: Context, _: u64| {
        let (log, alive) = (log.clone(), alive.clone());
        poll_fn(move |cx| {
            let _alive = &alive;
            log.lock().unwrap().push(cx.waker().clone());
            Poll::<Result<u32, BoxError>>::Pending
        })
    };
    let source = source.coalesce();
    let mut call = waiter(&source);
    call.cancel();
    drop(source);
    assert_eq!(weak.strong_count(), 0);
    kept.lock().unwrap().drain(..).for_each(Waker::wake); // late, and harmless
}

#[test]
fn rule_39_a_waiters_clone_that_panics_is_its_own_and_the_others_get_the_answer() {
    #[derive(Debug)]
    struct Touchy(Arc<AtomicBool>);
    impl Clone for Touchy {
        fn clone(&self) -> Self {
            assert!(!self.0.swap(false, SeqCst), "boom");
            Self(self.0.clone())
        }
    }
    let (desk, panics) = (Desk::default(), Arc::new(AtomicBool::new(true)));
    let (inner, flag) = (desk.source(), panics.clone());
    let source = move |ctx: Context, key: u64| {
        let (call, flag) = (inner(ctx, key), flag.clone());
        async move { call.await.map(|_| Touchy(flag)) }
    };
    let source = source.coalesce();
    let mut calls = waiters(&source, 3);
    desk.answer(0, Ok(5));
    assert!(catch_unwind(AssertUnwindSafe(|| calls[1].poll())).is_err());
    calls[1].cancel();
    assert!(matches!(calls[0].settle(), Poll::Ready(Ok(_))));
    assert!(matches!(calls[2].settle(), Poll::Ready(Ok(_))));
}

#[test]
fn rule_39_a_clone_that_polls_another_waiter_finds_the_answer_taken_out() {
    type Other = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;
    struct Nosy(Other);
    impl Clone for Nosy {
        fn clone(&self) -> Self {
            let look = self.0.lock().unwrap().take();
            look.into_iter().for_each(|look| look());
            Self(self.0.clone())
        }
    }
    let (desk, hook) = (Desk::default(), Other::default());
    let (inner, nosy) = (desk.source(), hook.clone());
    let source = move |ctx: Context, key: u64| {
        let (call, nosy) = (inner(ctx, key), nosy.clone());
        async move { call.await.map(|_| Nosy(nosy)) }
    };
    let source = source.coalesce();
    let mut leader = caller(&source);
    let other = Arc::new(Mutex::new(caller(&source)));
    assert!(leader.poll().is_pending() && other.lock().unwrap().poll().is_pending());
    let polled = other.clone();
    *hook.lock().unwrap() = Some(Box::new(move || {
        let mut other = polled.lock().unwrap();
        assert!(other.poll().is_pending());
        assert_eq!(other.wakes(), 1, "by the flight's own wake");
    }));
    desk.answer(0, Ok(5));
    assert!(leader.poll().is_ready());
    let mut other = other.lock().unwrap();
    assert_eq!(other.wakes(), 1, "the answer is back");
    assert!(other.poll().is_ready());
}

/// A key whose `Hash` and `Eq` panic on demand.
#[derive(Clone, Debug)]
struct Key(u64, Arc<AtomicUsize>);

impl Key {
    fn act(&self) {
        let left = self.1.load(SeqCst);
        if left > 0 && self.1.fetch_sub(1, SeqCst) == 1 {
            panic!("boom");
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.act();
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.act();
        self.0.hash(state);
    }
}

#[test]
fn rule_39_hash_and_eq_that_panic_are_contained() {
    let desk = Desk::default();
    let inner = desk.source();
    let source = (move |ctx: Context, key: Key| inner(ctx, key.0)).coalesce();
    // Each time another use of the key panics: joining, landing, leaving.
    for nth in 1..12 {
        let fuse = Arc::new(AtomicUsize::new(0));
        let key = || Key(7, fuse.clone());
        let before = desk.calls();
        let mut calls: Vec<_> = (0..3)
            .map(|_| Hand::new(source.fetch(Context::background(), key())))
            .collect();
        fuse.store(nth, SeqCst);
        for call in &mut calls {
            // A caller's own key, so its own panic.
            if catch_unwind(AssertUnwindSafe(|| call.poll())).is_err() {
                call.cancel();
            }
        }
        for flight in before..desk.calls() {
            if desk.is_open(flight) {
                desk.answer(flight, Ok(5));
            }
        }
        for call in calls.iter_mut().filter(|call| call.wakes() > 0) {
            assert_eq!(ok(call.settle()), Some(5));
        }
        drop(calls);
        fuse.store(0, SeqCst);
        let mut next = Hand::new(source.fetch(Context::background(), key()));
        assert!(
            next.poll().is_pending(),
            "{nth}: nothing stale is in its way"
        );
        desk.answer(desk.calls() - 1, Ok(6));
        assert_eq!(ok(next.settle()), Some(6));
    }
}

#[test]
fn a_destructor_of_the_source_that_panics_does_not_lose_the_answer() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("boom");
        }
    }
    let source = |_: Context, _: u64| {
        let bad = Bad;
        let mut first = true;
        poll_fn(move |cx| {
            let _bad = &bad;
            cx.waker().wake_by_ref();
            match std::mem::take(&mut first) {
                true => Poll::Pending,
                false => Poll::Ready(Ok::<u32, BoxError>(5)),
            }
        })
    };
    let source = source.coalesce();
    let mut leader = waiter(&source);
    let mut follower = caller(&source);
    assert_eq!(ok(follower.poll()), Some(5), "the flight was woken");
    assert_eq!(ok(leader.settle()), Some(5));
}
