//! The contract on waiting for a context's end: `done`, `run`, `sleep`; time is virtual.

use crate::context::{cancelable, canceled, deadline_exceeded, waiting};
use crate::support::{Count, OnDrop, SECOND, counting, manual, on_wake, poll};
use failfast::Context;
use futures::FutureExt;
use std::future::{pending, ready};
use std::task::Poll;

mod done {
    use super::*;

    #[test]
    fn every_waiter_is_woken_once() {
        // "done(): any number of waiters".
        let (ctx, canceller) = cancelable();
        let wakers: Vec<_> = (0..100).map(|_| counting()).collect();
        let mut waiters: Vec<_> = wakers
            .iter()
            .map(|(_, waker)| waiting(&ctx, waker))
            .collect();
        canceller.cancel();
        canceller.cancel();
        for ((woken, waker), done) in wakers.iter().zip(&mut waiters) {
            assert_eq!(woken.get(), 1);
            assert_eq!(poll(done, waker), Poll::Ready(()));
            assert_eq!(poll(done, waker), Poll::Ready(())); // and ready it stays
        }
    }

    #[test]
    fn a_second_poll_with_another_waker_replaces_the_first() {
        let (ctx, canceller) = cancelable();
        let ((first, one), (second, two)) = (counting(), counting());
        let mut done = waiting(&ctx, &one);
        assert_eq!(poll(&mut done, &two), Poll::Pending);
        assert_eq!(poll(&mut done, &two), Poll::Pending);
        canceller.cancel();
        assert_eq!((first.get(), second.get()), (0, 1));
    }

    #[test]
    fn a_dropped_waiter_is_not_woken_and_leaves_nothing() {
        // "cancel-safe": its waker is dropped at once.
        let (ctx, canceller) = cancelable();
        let (woken, dropped) = (Count::default(), Count::default());
        let (count, guard) = (woken.clone(), OnDrop(dropped.clone()));
        let waker = on_wake(move || {
            let _held = &guard;
            count.add();
        });
        drop(waiting(&ctx, &waker));
        drop(waker);
        assert_eq!(dropped.get(), 1);
        canceller.cancel();
        assert_eq!(woken.get(), 0);
    }

    #[test]
    fn the_end_lets_go_of_the_wakers() {
        let (ctx, canceller) = cancelable();
        let dropped = Count::default();
        let guard = OnDrop(dropped.clone());
        let waker = on_wake(move || {
            let _held = &guard;
        });
        let _done = waiting(&ctx, &waker);
        drop(waker);
        canceller.cancel();
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn a_waiter_outlives_every_handle() {
        // "'static": it needs no context kept beside it.
        let (clock, root) = manual();
        let mut done = root.with_timeout(SECOND).done();
        drop(root);
        let (woken, waker) = counting();
        assert_eq!(poll(&mut done, &waker), Poll::Pending);
        clock.advance(SECOND);
        assert_eq!((woken.get(), poll(&mut done, &waker)), (1, Poll::Ready(())));
    }

    #[test]
    fn an_ended_context_completes_at_the_first_poll() {
        let (ctx, canceller) = cancelable();
        let mut before = ctx.done();
        canceller.cancel();
        let (woken, waker) = counting();
        assert_eq!(poll(&mut before, &waker), Poll::Ready(()));
        assert_eq!(poll(&mut ctx.done(), &waker), Poll::Ready(()));
        assert_eq!(woken.get(), 0);
    }
}

mod run {
    use super::*;

    #[test]
    fn gives_what_the_future_gives() {
        let (ctx, _canceller) = cancelable();
        assert_eq!(ctx.run(ready(7)).now_or_never(), Some(Ok(7)));
        assert_eq!(
            Context::background().run(ready(7)).now_or_never(),
            Some(Ok(7))
        );
    }

    #[test]
    fn the_end_drops_the_future_before_run_returns() {
        // "run(F): F is dropped when the context ends".
        let (ctx, canceller) = cancelable();
        let dropped = Count::default();
        let guard = OnDrop(dropped.clone());
        let mut run = Box::pin(ctx.run(async move {
            let _guard = guard;
            pending::<()>().await
        }));
        let (woken, waker) = counting();
        assert_eq!(poll(&mut run, &waker), Poll::Pending);
        canceller.cancel();
        assert_eq!((woken.get(), dropped.get()), (1, 0));
        assert_eq!(poll(&mut run, &waker), Poll::Ready(Err(canceled())));
        assert_eq!(dropped.get(), 1); // `run` itself is still there
        drop(run);
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn an_end_during_the_poll_drops_the_future_in_the_same_poll() {
        let (ctx, canceller) = cancelable();
        let dropped = Count::default();
        let guard = OnDrop(dropped.clone());
        let mut run = Box::pin(ctx.run(async move {
            let _guard = guard;
            canceller.cancel_with("by itself");
            pending::<()>().await
        }));
        let (_, waker) = counting();
        assert_eq!(poll(&mut run, &waker), Poll::Ready(Err(canceled())));
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn a_result_that_comes_with_the_end_counts() {
        let (ctx, canceller) = cancelable();
        let run = ctx.run(async move {
            canceller.cancel();
            5
        });
        assert_eq!(run.now_or_never(), Some(Ok(5)));
    }

    #[test]
    fn an_ended_context_never_polls_the_future_and_drops_it() {
        let (ctx, canceller) = cancelable();
        canceller.cancel();
        let dropped = Count::default();
        let guard = OnDrop(dropped.clone());
        let mut run = Box::pin(ctx.run(async move {
            let _guard = guard;
            unreachable!("it was polled")
        }));
        let (_, waker) = counting();
        assert_eq!(
            poll(&mut run, &waker),
            Poll::Ready(Err::<(), _>(canceled()))
        );
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn the_deadline_wakes_it_once() {
        let (clock, root) = manual();
        let ctx = root.with_timeout(SECOND);
        let mut run = Box::pin(ctx.run(pending::<()>()));
        let (woken, waker) = counting();
        assert_eq!(poll(&mut run, &waker), Poll::Pending);
        clock.advance(SECOND);
        assert_eq!(
            (woken.get(), poll(&mut run, &waker)),
            (1, Poll::Ready(Err(deadline_exceeded())))
        );
    }

    #[test]
    fn what_completes_at_once_arms_no_timer() {
        let (clock, root) = manual();
        let ctx = root.with_timeout(SECOND);
        assert_eq!(ctx.run(ready(1)).now_or_never(), Some(Ok(1)));
        drop(ctx.run(pending::<()>()));
        assert_eq!(clock.armed(), 0);
    }

    #[test]
    fn dropped_while_it_waits_it_leaves_nothing() {
        let (clock, root) = manual();
        let mut run = Box::pin(root.with_timeout(SECOND).run(pending::<()>()));
        let (woken, waker) = counting();
        assert_eq!(poll(&mut run, &waker), Poll::Pending);
        assert_eq!(clock.armed(), 1);
        drop(run);
        assert_eq!(clock.armed(), 0);
        clock.advance(SECOND);
        assert_eq!(woken.get(), 0);
    }
}

mod sleep {
    use super::*;

    #[test]
    fn sleeps_by_the_contexts_clock() {
        let (clock, root) = manual();
        let (ctx, _canceller) = root.with_cancel();
        let mut sleep = Box::pin(ctx.sleep(SECOND));
        let (woken, waker) = counting();
        assert_eq!(poll(&mut sleep, &waker), Poll::Pending);
        clock.advance(SECOND);
        assert_eq!(
            (woken.get(), poll(&mut sleep, &waker)),
            (1, Poll::Ready(Ok(())))
        );
    }

    #[test]
    fn is_cut_short_by_the_end() {
        let (clock, root) = manual();
        let ctx = root.with_timeout(SECOND);
        let mut sleep = Box::pin(ctx.sleep(SECOND * 5));
        let (woken, waker) = counting();
        assert_eq!(poll(&mut sleep, &waker), Poll::Pending);
        clock.advance(SECOND);
        assert_eq!(
            poll(&mut sleep, &waker),
            Poll::Ready(Err(deadline_exceeded()))
        );
        assert_eq!((woken.get(), clock.armed()), (1, 0));
    }

    #[test]
    fn counts_from_the_call_not_from_the_first_poll() {
        let (clock, root) = manual();
        let sleep = root.sleep(SECOND);
        clock.advance(SECOND);
        assert_eq!(sleep.now_or_never(), Some(Ok(())));
    }

    #[test]
    fn dropping_it_disarms_its_timers() {
        let (clock, root) = manual();
        let mut sleep = Box::pin(root.with_timeout(SECOND * 2).sleep(SECOND));
        let (_, waker) = counting();
        assert_eq!(poll(&mut sleep, &waker), Poll::Pending);
        assert_eq!(clock.armed(), 2);
        drop(sleep);
        assert_eq!(clock.armed(), 0);
    }
}
