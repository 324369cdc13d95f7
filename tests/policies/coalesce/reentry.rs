//! Sources that call themselves.

use super::*;

type Call = Arc<dyn Fn(Context, u64) -> Boxed<u32> + Send + Sync>;

/// A coalesced source that calls itself.
fn calls_itself(own_context: bool, same_key: bool) -> Call {
    let cell: Arc<OnceLock<Call>> = Arc::default();
    let me = cell.clone();
    let source = move |ctx: Context, key: u64| -> Boxed<u32> {
        let me = me.get().unwrap().clone();
        let ctx = if own_context {
            ctx
        } else {
            Context::background()
        };
        Box::pin(async move {
            match (key, same_key) {
                (0, _) => Ok(0),
                (_, true) => me(ctx, key).await,
                (_, false) => me(ctx, key - 1).await.map(|answer| answer + 1),
            }
        })
    };
    let source = source.coalesce();
    let ask = move |ctx: Context, key: u64| -> Boxed<u32> {
        let call = source.fetch(ctx, key);
        Box::pin(async move { call.await.map_err(Into::into) })
    };
    cell.get_or_init(|| Arc::new(ask)).clone()
}

#[test]
fn rule_39_reentry_with_the_same_key_is_an_error_and_not_a_hang() {
    for own_context in [true, false] {
        let ask = calls_itself(own_context, true);
        let mut call = Hand::new(ask(Context::background(), 7));
        let Poll::Ready(Err(error)) = call.settle() else {
            panic!("it waits for itself")
        };
        assert_eq!(
            error.to_string(),
            "a coalesced call waits for itself: its source called it again with the same key"
        );
        let ask = calls_itself(own_context, false);
        let mut call = Hand::new(ask(Context::background(), 7));
        assert!(
            matches!(call.settle(), Poll::Ready(Ok(7))),
            "another key is no re-entry"
        );
    }
}

#[test]
fn rule_39_reentry_from_another_task_and_through_another_key_is_an_error() {
    let cell: Arc<OnceLock<Call>> = Arc::default();
    let me = cell.clone();
    // 1 needs 2, and 2 needs 1, each from a task of its own.
    let source = move |ctx: Context, key: u64| -> Boxed<u32> {
        let me = me.get().unwrap().clone();
        Box::pin(async move { smol::spawn(async move { me(ctx, 3 - key).await }).await })
    };
    let source = source.coalesce();
    let ask = move |ctx: Context, key: u64| -> Boxed<u32> {
        let call = source.fetch(ctx, key);
        Box::pin(async move { call.await.map_err(Into::into) })
    };
    let ask = cell.get_or_init(|| Arc::new(ask)).clone();
    let error = ends("a call that waits for itself", move || {
        smol::block_on(ask(Context::background(), 1)).unwrap_err()
    });
    assert!(
        error
            .to_string()
            .starts_with("a coalesced call waits for itself")
    );
}

#[test]
fn rule_39_a_waiter_polled_inline_by_a_waker_in_the_flights_poll_is_no_reentry() {
    let desk = Desk::default();
    let inner = desk.source();
    let source = move |ctx: Context, key: u64| {
        let mut call = inner(ctx, key);
        poll_fn(move |cx| {
            cx.waker().wake_by_ref(); // every waiter is polled here and now
            call.as_mut().poll(cx)
        })
    };
    let source = source.coalesce();
    let mut leader = waiter(&source);
    let waiter = Arc::new(Mutex::new(Box::pin(source.fetch(Context::background(), 7))));
    let inline = waiter.clone();
    let waker = on_wake(move || {
        if let Ok(mut waiter) = inline.try_lock() {
            let mut cx = task::Context::from_waker(Waker::noop());
            assert!(waiter.as_mut().poll(&mut cx).is_pending());
        }
    });
    let mut cx = task::Context::from_waker(&waker);
    assert!(waiter.lock().unwrap().as_mut().poll(&mut cx).is_pending());
    assert!(leader.poll().is_pending());
    desk.answer(0, Ok(5));
    assert_eq!(ok(leader.settle()), Some(5));
}
